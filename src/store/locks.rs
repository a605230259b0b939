//! The advisory locks of the database: one list, so that no two purposes share a number.
//!
//! All are held until the transaction that took them ends.
//! Deliberately absent: the lock of a data folder, which is a lock on a file (`embedded/lock.rs`).

use sqlx::PgConnection;

use super::StoreError;

/// What an advisory lock protects. The discriminant is its number in the database: the compiler refuses one that is taken.
///
/// Numbers are never reused or exchanged, because during an upgrade replicas of two releases share one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Lock {
    /// The catalogue and the rate books: shared by each batch of a lane, exclusive for a change.
    Catalogue = 7_308_332,
    /// Evaluating alerts: one replica at a time, so that events get their places in the order of commits.
    Alerts = 7_308_333,
    /// Posting adjustments (true-ups, restatements): two that compared the same rows would both post what is missing.
    Adjustments = 7_308_334,
    /// Planning paces: one replica at a time.
    Pacing = 7_308_335,
    /// Making and scoring projections: one replica at a time.
    Projections = 7_308_336,
    /// Changes of the catalogue that count before they take it: one at a time, so that what was counted still holds.
    Counting = 7_308_340,
}

impl Lock {
    /// The number in the database.
    #[must_use]
    pub const fn number(self) -> i64 {
        #[expect(clippy::as_conversions, reason = "the discriminant of an enum that is represented as the number")]
        {
            self as i64
        }
    }
}

/// Waits for a lock, exclusively.
pub(super) async fn take(connection: &mut PgConnection, lock: Lock) -> Result<(), StoreError> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(lock.number()).execute(connection).await?;
    Ok(())
}

/// Takes a lock exclusively if nobody holds it. Whether it was free.
///
/// # Errors
/// When the database does not answer.
pub async fn try_take(connection: &mut PgConnection, lock: Lock) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("select pg_try_advisory_xact_lock($1)").bind(lock.number()).fetch_one(connection).await?)
}
