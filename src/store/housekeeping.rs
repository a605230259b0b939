//! What may be forgotten: idempotency keys, signals and weeks that are old, and the rows of lanes that are gone.
//!
//! Runs that were stopped are a part of the catalogue, and are forgotten within a change of it ([`super::runs`]).

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;

use super::StoreError;
use crate::domain::budget::catalogue::BudgetNumber;

/// Most rows forgotten in one statement.
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

/// How long slices are kept after they have left their sliding window: longer than a batch can be under way, which looks at
/// the window as of its beginning.
pub const SLICES_KEPT: TimeDelta = TimeDelta::minutes(5);

/// Moves the instant by which slices that had left their window may be forgotten, and says what it is; none if nothing was ever
/// written.
///
/// Never later than what the database has seen, which no batch to come is earlier than; nor than the server's own clock, so
/// that a replica whose clock is far ahead forgets nothing that others still count.
///
/// # Errors
/// When the database does not answer.
pub async fn move_slices_forgotten(
    connection: &mut PgConnection,
    clock: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let moved = sqlx::query_scalar(
        "update catalogue_head
        set slices_forgotten = greatest(
            slices_forgotten,
            (select least(max(recorded_at), $1, statement_timestamp()) - $2::interval from lanes having count(*) > 0)
        )
        returning slices_forgotten",
    );
    let kept = super::time::interval(SLICES_KEPT);
    Ok(moved.bind(clock).bind(kept).fetch_one(connection).await?)
}

/// Forgets a page of the slices of a budget that start before an instant, and says how many. Those that a batch has locked are
/// left for the next time.
///
/// # Errors
/// When the database does not answer.
pub async fn forget_slices(
    connection: &mut PgConnection,
    budget: BudgetNumber,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "with gone as materialized (
            select budget, key, period_start
            from counters
            where budget = $1 and period_start < $2
            limit $3
            for update skip locked
        )
        delete from counters
        using gone
        where
            counters.budget = gone.budget and counters.key = gone.key and counters.period_start = gone.period_start",
    )
    .bind(budget.0)
    .bind(before)
    .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Forgets a page of the sliding windows that have no slice left, and says how many. A lane that finds one gone makes it again.
///
/// # Errors
/// When the database does not answer.
pub async fn forget_windows(connection: &mut PgConnection) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "with gone as materialized (
            select budget, key
            from windows
            where not exists (
                select from counters where counters.budget = windows.budget and counters.key = windows.key
            )
            limit $1
            for update skip locked
        )
        delete from windows
        using gone
        where windows.budget = gone.budget and windows.key = gone.key",
    )
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

/// Forgets a page of the signals that were recorded before an instant and by which no quota is closed any more, and says how
/// many.
///
/// # Errors
/// When the database does not answer.
pub async fn forget_signals(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    // Ids are in the order of time, and there is no index by the instant: the oldest are looked at, and no more. Those that
    // stay, one for each quota that is closed, leave room in the page, or else the others have their turn when they go.
    let done = sqlx::query(
        "delete from signals
        using (select tenant, id from signals order by id limit $2) as oldest
        where
            signals.tenant = oldest.tenant
            and signals.id = oldest.id
            and signals.recorded_at < $1
            and not exists (
                select from quota_closures as closure where closure.signal = signals.id and closure.closed_until > $3
            )",
    )
    .bind(before)
    .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Forgets a page of what was learned in weeks that began before an instant, and says how many rows.
///
/// # Errors
/// When the database does not answer.
pub async fn forget_lessons(connection: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    // No index by week: these tables are small beside the journal, and read as a whole every few minutes anyway.
    let done = sqlx::query(
        "with shares as (
            delete from learned_shares
            where ctid = any(array(select ctid from learned_shares where week < $1 limit $2))
            returning 1
        ), calls as (
            delete from learned_calls
            where ctid = any(array(select ctid from learned_calls where week < $1 limit $2))
            returning 1
        )
        select greatest((select count(*) from shares), (select count(*) from calls))",
    );
    let count: i64 = done
        .bind(before)
        .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
        .try_map(|row: sqlx::postgres::PgRow| sqlx::Row::try_get(&row, 0))
        .fetch_one(connection)
        .await?;
    Ok(u64::try_from(count).unwrap_or(0))
}
