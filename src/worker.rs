//! Beside requests, once in a while: what may be forgotten, projections, and [`learning`]. Nothing that decides depends on it
//! running, or running on time.
//!
//! Deliberately absent: resets (boundaries are computed) and expiry (it counts by the clock, lanes write it down).

pub mod alerts;
pub mod learning;
mod pacing;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::app::learned::first_week_told;
use crate::app::{App, AppError};
use crate::store::housekeeping;
pub use pacing::keep_pace;

/// How often.
const INTERVAL: Duration = Duration::from_secs(600);
/// How often projections are looked after. Cheap where nothing changed.
const PROJECTION_INTERVAL: Duration = Duration::from_secs(60);
/// How long an idempotency key is remembered: a day of the longest hold, and six more for whoever retries.
pub const KEYS_KEPT: TimeDelta = TimeDelta::days(7);
/// How long an event is kept, and longer while an endpoint waits for it.
pub const EVENTS_KEPT: TimeDelta = TimeDelta::days(90);
/// How long a signal is kept, and longer while the quota that it closed is closed.
pub const SIGNALS_KEPT: TimeDelta = TimeDelta::days(90);
/// How long a stopped run is remembered after it was last heard of. More than a year: there are calls that come once a year.
///
/// It is heard of by a question that was refused, a call that was posted, an open reservation, and by who stops it again.
pub const STOPS_KEPT: TimeDelta = TimeDelta::days(400);
/// How long the row of a lane that is gone is kept.
const LANES_KEPT: TimeDelta = TimeDelta::days(7);

/// Runs until it is told to stop.
pub async fn run(app: App, stop: CancellationToken) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = tidy(&app, &stop).await {
            tracing::warn!(%error, "housekeeping could not be done; it will be tried again");
        }
    }
}

/// Makes, keeps and scores projections until it is told to stop.
pub async fn project(app: App, stop: CancellationToken) {
    let mut tick = tokio::time::interval(PROJECTION_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let round = async {
            tick.tick().await;
            app.project_round().await
        };
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = round => done,
        };
        match done {
            Ok(round) => tracing::debug!(?round, "projections"),
            Err(error) => tracing::warn!(%error, "projections could not be made; it will be tried again"),
        }
    }
}

/// One round: seals what stands in clear, and forgets what may be forgotten.
///
/// # Errors
/// When the database does not answer. What was done stays done, and the rest is tried again.
pub async fn tidy(app: &App, stop: &CancellationToken) -> Result<(), AppError> {
    let sealed = app.seal_secrets().await?;
    if sealed > 0 {
        tracing::info!(sealed, "secrets of webhooks that stood in clear are sealed");
    }
    let of_others = app.count_secrets_of_others().await?;
    if of_others > 0 {
        tracing::warn!(
            of_others,
            "webhooks have secrets that were sealed with another key: nothing is sent to them from here"
        );
    }
    let now = app.clock.now();
    forget(app, stop, now).await?;
    app.write_stops_heard().await?;
    if !stop.is_cancelled() {
        let forgotten = app.forget_stops(now - STOPS_KEPT).await?;
        if forgotten > 0 {
            tracing::info!(forgotten, "runs stopped more than {} days ago are forgotten", STOPS_KEPT.num_days());
        }
    }
    Ok(())
}

async fn forget(app: &App, stop: &CancellationToken, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut connection = app.pool.acquire().await?;
    housekeeping::forget_lanes(&mut connection, now - LANES_KEPT).await?;
    housekeeping::forget_events(&mut connection, now - EVENTS_KEPT).await?;
    app.forget_slices(&mut connection, stop).await?;
    // In pages, so that no lane waits for a long delete.
    for what in Forgettable::ALL {
        let mut forgotten = 0;
        while !stop.is_cancelled() {
            let page = match what {
                Forgettable::Keys => housekeeping::forget_keys(&mut connection, now - KEYS_KEPT).await?,
                Forgettable::Signals => housekeeping::forget_signals(&mut connection, now - SIGNALS_KEPT, now).await?,
                Forgettable::Lessons => housekeeping::forget_lessons(&mut connection, first_week_told(now)?).await?,
            };
            forgotten += page;
            if page < housekeeping::PAGE {
                break;
            }
        }
        if forgotten > 0 {
            tracing::info!(forgotten, ?what, "what is older than it is kept is forgotten");
        }
    }
    Ok(())
}

/// What is forgotten page by page.
#[derive(Debug, Clone, Copy)]
enum Forgettable {
    Keys,
    Signals,
    Lessons,
}

impl Forgettable {
    const ALL: [Self; 3] = [Self::Keys, Self::Signals, Self::Lessons];
}
