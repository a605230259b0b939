//! Learning what calls really use: one replica at a time reads the journal, and every replica takes in what was learned.
//!
//! Nothing that decides depends on it running: without lessons, or with old ones, budgets hold more than they need.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::app::{App, AppError};

/// How often the journal is read.
pub const LEARNING_INTERVAL: Duration = Duration::from_secs(60);
/// How often what was learned is taken in: a lesson of weeks changes little in minutes.
const TICKS_PER_LESSON: u32 = 5;
/// How long a transfer may be on its way from its number to its commit. Longer than any caller is kept waiting.
pub const LEARNING_LAG: TimeDelta = TimeDelta::seconds(120);

/// Runs until it is told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let mut tick = tokio::time::interval(LEARNING_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let step = async {
            app.learn(Some(app.clock.now() - LEARNING_LAG)).await?;
            if ticks.is_multiple_of(TICKS_PER_LESSON) {
                app.take_lessons().await?;
            }
            Ok::<(), AppError>(())
        };
        // A stop in the middle rolls the page back: it is read again.
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = step => done,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "what calls use could not be learned; it will be tried again");
        }
        ticks = ticks.wrapping_add(1);
    }
}
