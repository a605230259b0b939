//! Runs: those that were stopped, and what is counted of one.
//!
//! A stop is part of the catalogue: it is written within a [`Change`](super::catalogue::Change), whose version every replica
//! compares inside each batch, so that no call of a stopped run is granted from the next batch on.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::StoreError;
use super::lane::counter_from_row;
use crate::domain::budget::catalogue::BudgetNumber;
use crate::domain::budget::counter::{Counter, CounterId};
use crate::domain::budget::scope::CounterKey;
use crate::domain::id::{RunId, TenantId};

/// That a run was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStop {
    /// When.
    pub stopped_at: DateTime<Utc>,
    /// By whom: the subject of the token.
    pub stopped_by: String,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
}

/// All runs that are stopped.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn stopped(connection: &mut PgConnection) -> Result<Vec<(TenantId, RunId)>, StoreError> {
    let rows = sqlx::query("select tenant, run from run_stops").fetch_all(connection).await?;
    rows.iter().map(run_of).collect()
}

fn run_of(row: &PgRow) -> Result<(TenantId, RunId), StoreError> {
    let tenant = TenantId::parse(row.try_get("tenant")?).map_err(StoreError::name("tenant"))?;
    Ok((tenant, RunId::parse(row.try_get("run")?).map_err(StoreError::name("run"))?))
}

/// How long it is not written again that a stopped run was heard of, so that doing so often writes nothing.
const HEARD_AGAIN: TimeDelta = TimeDelta::days(1);

/// Stops a run. Whether anything was written: the first stop stands, and is remembered from the latest on. To be written
/// within a change of the catalogue.
///
/// # Errors
/// When the database does not answer.
pub async fn stop(
    connection: &mut PgConnection,
    tenant: &TenantId,
    run: &RunId,
    stop: &RunStop,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "insert into run_stops as known (tenant, run, reason, stopped_by, stopped_at)
        values ($1, $2, $3, $4, $5)
        on conflict (tenant, run) do update
        set seen_at = excluded.stopped_at
        where coalesce(known.seen_at, known.stopped_at) < $6",
    )
    .bind(tenant.as_str())
    .bind(run.as_str())
    .bind(stop.reason.as_deref())
    .bind(&stop.stopped_by)
    .bind(stop.stopped_at)
    .bind(stop.stopped_at.checked_sub_signed(HEARD_AGAIN).unwrap_or(stop.stopped_at))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Most stops that are looked at in one round.
pub const STOPS_PAGE: i64 = 1_000;

/// The stops of runs that nobody is known to have heard of since an instant, the longest silent first.
///
/// None before one of them has been silent for a day more, so that the journal is searched once a day at most.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn silent_stops(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
) -> Result<Vec<(TenantId, RunId)>, StoreError> {
    let rows = sqlx::query(
        "select tenant, run
        from run_stops
        where
            coalesce(seen_at, stopped_at) < $1
            and exists (select from run_stops where coalesce(seen_at, stopped_at) < $2)
        order by coalesce(seen_at, stopped_at)
        limit $3",
    )
    .bind(since)
    .bind(since.checked_sub_signed(TimeDelta::days(1)).unwrap_or(since))
    .bind(STOPS_PAGE)
    .fetch_all(connection)
    .await?;
    rows.iter().map(run_of).collect()
}

/// Writes down that these runs were heard of, if they are stopped, and not more often than once a day.
///
/// # Errors
/// When the database does not answer.
pub async fn write_heard(
    connection: &mut PgConnection,
    runs: &[(TenantId, RunId)],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "update run_stops
        set seen_at = $3
        from unnest($1::text[], $2::text[]) as heard (tenant, run)
        where
            run_stops.tenant = heard.tenant
            and run_stops.run = heard.run
            and coalesce(run_stops.seen_at, run_stops.stopped_at) < $4",
    )
    .bind(runs.iter().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>())
    .bind(runs.iter().map(|(_, run)| run.as_str()).collect::<Vec<_>>())
    .bind(now)
    .bind(now.checked_sub_signed(HEARD_AGAIN).unwrap_or(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes down when these runs were last heard of, of those that were since an instant.
///
/// That is a call that was posted, one that was refused, or a reservation that is still open. It reads the journal since then,
/// without a lock.
///
/// # Errors
/// When the database does not answer.
pub async fn hear_of(
    connection: &mut PgConnection,
    runs: &[(TenantId, RunId)],
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "with silent as (
            select * from unnest($1::text[], $2::text[]) as silent (tenant, run)
        ), heard as (
            select tenant, run, recorded_at as at from transfers join silent using (tenant, run) where recorded_at >= $3
            union all
            select tenant, run, refused_at from refusals join silent using (tenant, run) where refused_at >= $3
            union all
            select tenant, run, $4 from reservations join silent using (tenant, run) where state = 'open'
        ), last as (
            select tenant, run, max(at) as at from heard group by tenant, run
        )
        update run_stops set seen_at = last.at from last where run_stops.tenant = last.tenant and run_stops.run = last.run",
    )
    .bind(runs.iter().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>())
    .bind(runs.iter().map(|(_, run)| run.as_str()).collect::<Vec<_>>())
    .bind(since)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets those of these stops whose runs have not been heard of since an instant, and says how many. To be written within a
/// change of the catalogue.
///
/// # Errors
/// When the database does not answer.
pub async fn forget_stops(
    connection: &mut PgConnection,
    runs: &[(TenantId, RunId)],
    since: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "delete from run_stops
        using unnest($1::text[], $2::text[]) as silent (tenant, run)
        where
            run_stops.tenant = silent.tenant
            and run_stops.run = silent.run
            and coalesce(run_stops.seen_at, run_stops.stopped_at) < $3",
    )
    .bind(runs.iter().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>())
    .bind(runs.iter().map(|(_, run)| run.as_str()).collect::<Vec<_>>())
    .bind(since)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Lets a run go on. Whether it was stopped. To be written within a change of the catalogue.
///
/// # Errors
/// When the database does not answer.
pub async fn resume(connection: &mut PgConnection, tenant: &TenantId, run: &RunId) -> Result<bool, StoreError> {
    let done = sqlx::query("delete from run_stops where tenant = $1 and run = $2")
        .bind(tenant.as_str())
        .bind(run.as_str())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The stop of a run, if it is stopped.
///
/// # Errors
/// When the database does not answer.
pub async fn get_stop(
    connection: &mut PgConnection,
    tenant: &TenantId,
    run: &RunId,
) -> Result<Option<RunStop>, StoreError> {
    let row = sqlx::query("select stopped_at, stopped_by, reason from run_stops where tenant = $1 and run = $2")
        .bind(tenant.as_str())
        .bind(run.as_str())
        .fetch_optional(connection)
        .await?;
    let stop = |row: PgRow| {
        Ok(RunStop {
            stopped_at: row.try_get("stopped_at")?,
            stopped_by: row.try_get("stopped_by")?,
            reason: row.try_get("reason")?,
        })
    };
    row.map(stop).transpose()
}

/// The counters of one key in some budgets, and when they were opened.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn counters(
    connection: &mut PgConnection,
    budgets: &[BudgetNumber],
    key: &CounterKey,
) -> Result<BTreeMap<CounterId, (Counter, Option<DateTime<Utc>>)>, StoreError> {
    let rows = sqlx::query(
        "select budget, key, period_start, posted, held, opened_at, margin, at_risk
        from counters
        where budget = any($1) and key = $2
        order by budget, period_start",
    )
    .bind(budgets.iter().map(|budget| budget.0).collect::<Vec<_>>())
    .bind(key.as_str())
    .fetch_all(connection)
    .await?;
    let counter = |row: &PgRow| {
        let (id, counter) = counter_from_row(row)?;
        Ok((id, (counter, row.try_get("opened_at")?)))
    };
    rows.iter().map(counter).collect()
}
