//! Runs: those that were stopped, and what is counted of one.
//!
//! A stop is part of the catalogue: it is written within a [`Change`](super::catalogue::Change), whose version every replica
//! compares inside each batch, so that no call of a stopped run is granted from the next batch on.

use chrono::{DateTime, Utc};
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
    let run = |row: &PgRow| {
        let tenant = TenantId::parse(row.try_get("tenant")?).map_err(StoreError::name("tenant"))?;
        Ok((tenant, RunId::parse(row.try_get("run")?).map_err(StoreError::name("run"))?))
    };
    rows.iter().map(run).collect()
}

/// Stops a run. Whether it was not stopped before: the first stop stands. To be written within a change of the catalogue.
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
        "insert into run_stops (tenant, run, reason, stopped_by, stopped_at)
        values ($1, $2, $3, $4, $5)
        on conflict (tenant, run) do nothing",
    )
    .bind(tenant.as_str())
    .bind(run.as_str())
    .bind(stop.reason.as_deref())
    .bind(&stop.stopped_by)
    .bind(stop.stopped_at)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
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
) -> Result<Vec<(CounterId, Counter, Option<DateTime<Utc>>)>, StoreError> {
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
        Ok((id, counter, row.try_get("opened_at")?))
    };
    rows.iter().map(counter).collect()
}
