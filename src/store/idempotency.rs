//! Idempotency keys outside the lane: what was answered under a key, and keeping an answer.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;
use crate::domain::ledger::command::Idempotency;

/// What was asked and answered under a key, if that is repeated at an instant: the fingerprint and the text.
///
/// # Errors
/// When the database does not answer.
pub async fn remembered(
    connection: &mut PgConnection,
    key: &Idempotency,
    now: DateTime<Utc>,
) -> Result<Option<(Vec<u8>, String)>, StoreError> {
    let found = sqlx::query_as(
        "select fingerprint, answer from idempotency_keys
        where space = $1 and key = $2 and (replay_until is null or replay_until > $3)",
    )
    .bind(key.space.as_str())
    .bind(key.key.as_str())
    .bind(now)
    .fetch_optional(connection)
    .await?;
    Ok(found)
}

/// Keeps the answer to a key that is known to be new: the caller holds a lock that excludes every other writer of it.
///
/// # Errors
/// [`StoreError::KeyTaken`] when the key has an answer that is repeated; when the database does not answer.
pub async fn remember(
    connection: &mut PgConnection,
    key: &Idempotency,
    answer: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if write(connection, key, answer, now).await? { Ok(()) } else { Err(StoreError::KeyTaken) }
}

/// Writes the answer to a key that is new, or whose answer is a refusal whose time has passed. Whether it was written.
async fn write(
    connection: &mut PgConnection,
    key: &Idempotency,
    answer: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "insert into idempotency_keys as known (space, key, fingerprint, answer, recorded_at, replay_until)
        values ($1, $2, $3, $4, $5, 'infinity')
        on conflict (space, key) do update
        set
            fingerprint = excluded.fingerprint,
            answer = excluded.answer,
            recorded_at = excluded.recorded_at,
            replay_until = excluded.replay_until
        where known.replay_until <= excluded.recorded_at",
    )
    .bind(key.space.as_str())
    .bind(key.key.as_str())
    .bind(key.fingerprint.as_slice())
    .bind(answer)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
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
    if write(connection, key, answer, now).await? {
        return Ok(None);
    }
    remembered(connection, key, now).await?.map(Some).ok_or(StoreError::Contended)
}
