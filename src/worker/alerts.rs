//! Drives alerts: evaluate and deliver, every few seconds and whenever somebody says that there are new events.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::alerts::hub::Wake;

/// How often alerts are evaluated, and retries looked for.
pub const ALERTS_INTERVAL: Duration = Duration::from_secs(10);
/// How long a listener that lost the database waits before it tries again.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// Runs until it is told to stop; then streams of events end as well.
pub async fn run(app: App, stop: CancellationToken) {
    tokio::join!(evaluate(&app, &stop), deliver(&app, &stop), listen(&app, &stop));
    app.events.close();
}

async fn evaluate(app: &App, stop: &CancellationToken) {
    let mut tick = tokio::time::interval(ALERTS_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = app.evaluate_alerts(app.clock.now()).await {
            tracing::warn!(%error, "alerts could not be evaluated; it will be tried again");
        }
    }
}

async fn deliver(app: &App, stop: &CancellationToken) {
    let mut wakes = app.events.subscribe();
    let mut tick = tokio::time::interval(ALERTS_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
            woken = wakes.changed() => if woken.is_err() || *wakes.borrow_and_update() == Wake::Stop { return },
        }
        // What is on its way when the service stops is sent again by whoever comes after the claim: at least once.
        tokio::select! {
            () = stop.cancelled() => return,
            sent = app.deliver_events() => if let Err(error) = sent {
                tracing::warn!(%error, "events could not be delivered; it will be tried again");
            }
        }
    }
}

async fn listen(app: &App, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = app.events.listen(&app.pool, stop).await {
            tracing::warn!(%error, "nobody listens for new events; it will be tried again");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LISTEN_AGAIN) => {}
            }
        }
    }
}
