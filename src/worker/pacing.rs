//! Pacing: plans, and what others have planned, every few seconds. Where it does not run, paces go out of date, and only
//! limits count.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How often plans are read, and made where those that are there have aged. A plan that is missed costs nothing but that
/// room is told a little later.
const INTERVAL: Duration = Duration::from_secs(10);

/// How soon it is tried again after a failure: calls are not paced while plans are out of date.
const AGAIN: Duration = Duration::from_secs(1);

/// Plans and reads until it is told to stop.
pub async fn keep_pace(app: App, stop: CancellationToken) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let step = async {
            tick.tick().await;
            app.keep_pace().await
        };
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = step => done,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "paces could not be planned; it will be tried again");
            tick.reset_after(AGAIN);
        }
    }
}
