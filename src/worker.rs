//! Beside requests, once in a while: what may be forgotten, projections, and [`learning`]. Nothing that decides depends on it
//! running, or running on time.
//!
//! Deliberately absent: resets (boundaries are computed) and expiry (it counts by the clock, lanes write it down).

pub mod learning;

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::Clock;
use crate::store::housekeeping;

/// How often.
const INTERVAL: Duration = Duration::from_secs(600);
/// How often projections are looked after. Cheap where nothing changed.
const PROJECTION_INTERVAL: Duration = Duration::from_secs(60);
/// How long an idempotency key is remembered: a day of the longest hold, and six more for whoever retries.
pub const KEYS_KEPT: TimeDelta = TimeDelta::days(7);
/// How long the row of a lane that is gone is kept.
const LANES_KEPT: TimeDelta = TimeDelta::days(7);

/// Runs until it is told to stop.
pub async fn run(pool: PgPool, clock: Clock, stop: CancellationToken) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = tidy(&pool, &clock, &stop).await {
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

async fn tidy(pool: &PgPool, clock: &Clock, stop: &CancellationToken) -> Result<(), crate::store::StoreError> {
    let mut connection = pool.acquire().await?;
    let now = clock.now();
    housekeeping::forget_lanes(&mut connection, now - LANES_KEPT).await?;
    let mut forgotten = 0;
    // In pages, so that no lane waits for a long delete.
    while !stop.is_cancelled() {
        let page = housekeeping::forget_keys(&mut connection, now - KEYS_KEPT).await?;
        forgotten += page;
        if page < housekeeping::PAGE {
            break;
        }
    }
    if forgotten > 0 {
        tracing::info!(forgotten, "idempotency keys older than {} days are forgotten", KEYS_KEPT.num_days());
    }
    Ok(())
}
