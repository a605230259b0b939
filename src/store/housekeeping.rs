//! What may be forgotten: old idempotency keys, and the rows of lanes that are gone.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::StoreError;

/// Most keys forgotten in one statement.
pub const PAGE: u64 = 2_000;

/// Forgets a page of the keys that were recorded before an instant, and says how many.
///
/// # Errors
/// When the database does not answer.
pub async fn forget_keys(connection: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "delete from idempotency_keys
        where (space, key) in (
            select space, key from idempotency_keys where recorded_at < $1 limit $2
        )",
    )
    .bind(before)
    .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Forgets events that happened before an instant, and that no endpoint waits for.
///
/// # Errors
/// When the database does not answer.
pub async fn forget_events(connection: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    super::alerts::forget_events(connection, before).await
}

/// Forgets lanes that did nothing since an instant.
///
/// # Errors
/// When the database does not answer.
pub async fn forget_lanes(connection: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = sqlx::query("delete from lanes where recorded_at < $1").bind(before).execute(connection).await?;
    Ok(done.rows_affected())
}
