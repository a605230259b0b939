//! One time for all: an instant is the clock of the replica that asks, or what the database has seen where that is later
//! (`instant_after`, in the migrations).
//!
//! So a batch is never earlier than one whose effect its callers may know, on whatever replica that was made.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;
use sqlx::postgres::types::PgInterval;

use super::StoreError;

/// How far ahead of both the replica's clock and the database server's an instant may be for it to be followed. As far as usage
/// may say that it is ahead.
pub const AHEAD_SECONDS_MAX: i64 = 300;

/// The same, for the database.
pub(super) fn ahead_max() -> PgInterval {
    interval(TimeDelta::seconds(AHEAD_SECONDS_MAX))
}

/// A length of time, for the database.
pub(super) fn interval(length: TimeDelta) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: length.num_microseconds().unwrap_or(i64::MAX) }
}

/// The instant of what is written now.
///
/// # Errors
/// When the database does not answer.
pub async fn instant(connection: &mut PgConnection, clock: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
    let asked = sqlx::query_scalar("select instant_after($1, $2)").bind(clock).bind(ahead_max());
    Ok(asked.fetch_one(connection).await?)
}
