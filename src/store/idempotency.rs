//! Idempotency keys outside the lane: what was answered under a key, and keeping an answer.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use crate::domain::ledger::command::Idempotency;

/// What was asked and answered under a key: the fingerprint and the text.
///
/// # Errors
/// When the database does not answer.
pub async fn remembered(
    connection: &mut PgConnection,
    key: &Idempotency,
) -> Result<Option<(Vec<u8>, String)>, StoreError> {
    let found = sqlx::query_as("select fingerprint, answer from idempotency_keys where space = $1 and key = $2")
        .bind(key.space.as_str())
        .bind(key.key.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(found)
}

/// Keeps the answer to a key that is known to be new: the caller holds a lock that excludes every other writer of it.
///
/// # Errors
/// When the database does not answer, or the key is there.
pub async fn remember(
    connection: &mut PgConnection,
    key: &Idempotency,
    answer: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into idempotency_keys (space, key, fingerprint, answer, recorded_at) values ($1, $2, $3, $4, $5)",
    )
    .bind(key.space.as_str())
    .bind(key.key.as_str())
    .bind(key.fingerprint.as_slice())
    .bind(answer)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps the answer to a key, or returns what was answered to it before.
///
/// The key's own row is the lock: of two transactions that race on a key the second waits here for the first to end, and no
/// other transaction waits.
///
/// # Errors
/// When the database does not answer; [`StoreError::Contended`] when the earlier answer was forgotten in between.
pub async fn claim(
    connection: &mut PgConnection,
    key: &Idempotency,
    answer: &str,
    now: DateTime<Utc>,
) -> Result<Option<(Vec<u8>, String)>, StoreError> {
    let claimed = sqlx::query(
        "insert into idempotency_keys (space, key, fingerprint, answer, recorded_at) values ($1, $2, $3, $4, $5)
        on conflict (space, key) do nothing",
    )
    .bind(key.space.as_str())
    .bind(key.key.as_str())
    .bind(key.fingerprint.as_slice())
    .bind(answer)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if claimed.rows_affected() == 1 {
        return Ok(None);
    }
    remembered(connection, key).await?.map(Some).ok_or(StoreError::Contended)
}
