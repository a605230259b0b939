//! Projections that were made: keep, look at the latest, find those whose truth is known, keep the score.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Postgres, Row, Transaction};
use uuid::Uuid;

use super::StoreError;
use super::locks::{Lock, try_take};
use crate::domain::budget::catalogue::BudgetNumber;
use crate::domain::budget::counter::{Counter, CounterId};
use crate::domain::budget::scope::CounterKey;
use crate::domain::calendar::Period;
use crate::domain::id::TenantId;

/// Most projections that are scored, or learnt from, in one go.
pub const PAGE: i64 = 5_000;

/// A projection, as it is kept. Quantities are double precision, in the unit of the budget's measure.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredProjection {
    /// Its id.
    pub id: Uuid,
    /// Of which budget.
    pub budget: BudgetNumber,
    /// Of which counter.
    pub key: CounterKey,
    /// The tenant whose calls alone the counter counts.
    pub tenant: Option<TenantId>,
    /// The class its errors are pooled in.
    pub class: String,
    /// The instant it speaks from.
    pub made_at: DateTime<Utc>,
    /// Usage recorded up to this instant was known.
    pub watermark: DateTime<Utc>,
    /// The version of the catalogue it was made under.
    pub catalogue_version: i64,
    /// The period.
    pub period: Period,
    /// The limit.
    pub limit: f64,
    /// What was posted.
    pub posted: f64,
    /// What was held.
    pub held: f64,
    /// One in ten is earlier; none: not this period.
    pub p10: Option<DateTime<Utc>>,
    /// The expected instant.
    pub p50: Option<DateTime<Utc>>,
    /// One in ten is later.
    pub p90: Option<DateTime<Utc>>,
    /// The probability that it runs out.
    pub p_exhaust: f64,
    /// What the counter shows at the end: low, expected, high.
    pub expected_at_end: [f64; 3],
    /// How far to trust it.
    pub confidence: String,
    /// Why not further.
    pub reasons: Vec<String>,
    /// The method.
    pub method: String,
    /// Its version.
    pub method_version: i32,
    /// Days of history.
    pub history_days: i32,
    /// Hours from `made_at`, and what was expected to be used in them.
    pub horizons: Vec<(i32, f64)>,
}

/// What came true.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredScore {
    /// Of which projection.
    pub id: Uuid,
    /// When it was scored.
    pub scored_at: DateTime<Utc>,
    /// When the budget ran out.
    pub exhausted_at: Option<DateTime<Utc>>,
    /// Hours from the truth to what was said.
    pub error_hours: Option<f64>,
    /// Whether the truth lay in the band; none where the truth cannot be known.
    pub covered: Option<bool>,
    /// The squared error of the probability; none where the truth cannot be known.
    pub brier: Option<f64>,
    /// What was used in each of the horizons; none of those that the end of the budget or of the period cut.
    pub horizon_actual: Vec<Option<f64>>,
}

/// Begins a round of making and scoring, alone. None if another replica is at it.
///
/// # Errors
/// When the database does not answer.
pub async fn begin_alone(connection: &mut PgConnection) -> Result<Option<Transaction<'_, Postgres>>, StoreError> {
    let mut transaction = connection.begin().await?;
    let alone = try_take(&mut transaction, Lock::Projections).await?;
    Ok(alone.then_some(transaction))
}

/// Keeps projections.
///
/// # Errors
/// When the database does not answer.
pub async fn keep(connection: &mut PgConnection, projections: &[StoredProjection]) -> Result<(), StoreError> {
    for one in projections {
        let [low, expected, high] = one.expected_at_end;
        let (hours, values): (Vec<i32>, Vec<f64>) = one.horizons.iter().copied().unzip();
        sqlx::query(include_str!("sql/keep_projection.sql"))
            .bind(one.id)
            .bind(one.budget.0)
            .bind(one.key.as_str())
            .bind(one.tenant.as_ref().map(TenantId::as_str))
            .bind(&one.class)
            .bind(one.made_at)
            .bind(one.watermark)
            .bind(one.catalogue_version)
            .bind(one.period.start)
            .bind(one.period.end)
            .bind(one.limit)
            .bind(one.posted)
            .bind(one.held)
            .bind(one.p10)
            .bind(one.p50)
            .bind(one.p90)
            .bind(one.p_exhaust)
            .bind(expected)
            .bind(low)
            .bind(high)
            .bind(&one.confidence)
            .bind(&one.reasons)
            .bind(&one.method)
            .bind(one.method_version)
            .bind(one.history_days)
            .bind(hours)
            .bind(values)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

const COLUMNS: &str = "id, budget, counter_key, tenant, class, made_at, watermark, catalogue_version, period_start,
    period_end, limit_quantity, posted, held, p10, p50, p90, p_exhaust, expected_at_end, expected_at_end_low,
    expected_at_end_high, confidence, reasons, method, method_version, history_days, horizon_hours, horizon_expected";

/// The latest projection of each of these counters, by budget, key and start of the period.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn latest(connection: &mut PgConnection, of: &[CounterId]) -> Result<Vec<StoredProjection>, StoreError> {
    let rows = sqlx::query(include_str!("sql/latest_projections.sql"))
        .bind(of.iter().map(|id| id.budget.0).collect::<Vec<_>>())
        .bind(of.iter().map(|id| id.key.as_str()).collect::<Vec<_>>())
        .bind(of.iter().map(|id| id.start).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    rows.iter().map(projection_from_row).collect()
}

/// When work was last announced or withdrawn.
///
/// # Errors
/// When the database does not answer.
pub async fn announced_last(connection: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    let last = sqlx::query_scalar("select max(greatest(recorded_at, withdrawn_at)) from planned_usage");
    Ok(last.fetch_one(connection).await?)
}

/// Projections without a score whose period has ended at an instant, a page of the oldest.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn unscored(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<StoredProjection>, StoreError> {
    let sql = format!(
        "select {COLUMNS} from projections where scored_at is null and period_end <= $1
        order by period_end, budget, counter_key, made_at limit $2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(now).bind(PAGE).fetch_all(connection).await?;
    rows.iter().map(projection_from_row).collect()
}

/// Keeps scores.
///
/// # Errors
/// When the database does not answer.
pub async fn keep_scores(connection: &mut PgConnection, scores: &[StoredScore]) -> Result<(), StoreError> {
    for score in scores {
        sqlx::query(
            "update projections
            set scored_at = $2, exhausted_at = $3, error_hours = $4, covered = $5, brier = $6, horizon_actual = $7
            where id = $1 and scored_at is null",
        )
        .bind(score.id)
        .bind(score.scored_at)
        .bind(score.exhausted_at)
        .bind(score.error_hours)
        .bind(score.covered)
        .bind(score.brier)
        .bind(&score.horizon_actual)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// A scored projection, as far as bands are learnt from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Learnt {
    /// Of which budget.
    pub budget: BudgetNumber,
    /// Of which counter.
    pub key: CounterKey,
    /// The class.
    pub class: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// Whether the truth lay in the band.
    pub covered: bool,
    /// Hours, what was expected in them, what was used.
    pub horizons: Vec<(i32, f64, Option<f64>)>,
}

/// The last scored projections, in the order in which they were made.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn learnt(connection: &mut PgConnection) -> Result<Vec<Learnt>, StoreError> {
    let rows = sqlx::query(
        "select * from (
            select id, budget, counter_key, class, made_at, covered, horizon_hours, horizon_expected, horizon_actual
            from projections where covered is not null order by made_at desc, id desc limit $1
        ) as last order by made_at, id",
    )
    .bind(PAGE)
    .fetch_all(connection)
    .await?;
    let one = |row: &PgRow| -> Result<Learnt, StoreError> {
        let hours: Vec<i32> = row.try_get("horizon_hours")?;
        let expected: Vec<f64> = row.try_get("horizon_expected")?;
        let actual: Vec<Option<f64>> = row.try_get("horizon_actual")?;
        let horizons = hours.into_iter().zip(expected).zip(actual);
        Ok(Learnt {
            budget: BudgetNumber(row.try_get("budget")?),
            key: CounterKey::stored(row.try_get("counter_key")?),
            class: row.try_get("class")?,
            made_at: row.try_get("made_at")?,
            covered: row.try_get("covered")?,
            horizons: horizons.map(|((hours, expected), actual)| (hours, expected, actual)).collect(),
        })
    };
    rows.iter().map(one).collect()
}

/// How right the projections of one method and class were.
#[derive(Debug, Clone, PartialEq)]
pub struct AccuracyRow {
    /// The method.
    pub method: String,
    /// Its version.
    pub method_version: i32,
    /// The class.
    pub class: String,
    /// Projections whose truth is known.
    pub scored: i64,
    /// Of these, the share whose budget ran out.
    pub exhausted_share: f64,
    /// Median and ninetieth percentile of the absolute error, in hours. None where all said, rightly, *not this period*.
    pub error_hours_median: Option<f64>,
    /// See `error_hours_median`.
    pub error_hours_p90: Option<f64>,
    /// Mean error, in hours: positive is too late.
    pub bias_hours: Option<f64>,
    /// The share of truths in the band from p10 to p90.
    pub coverage: f64,
    /// The mean squared error of the probability.
    pub brier: f64,
    /// The same of a yes or no: 1 where p50 named an instant, else 0.
    pub brier_yes_no: f64,
    /// Projections that wait for their truth, or whose truth cannot be known.
    pub unscored: i64,
}

/// How right projections made since an instant were, by method and class; of one budget if one is named.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn accuracy(
    connection: &mut PgConnection,
    budget: Option<BudgetNumber>,
    tenant: Option<&TenantId>,
    since: DateTime<Utc>,
) -> Result<Vec<AccuracyRow>, StoreError> {
    let rows = sqlx::query(include_str!("sql/projection_accuracy.sql"))
        .bind(budget.map(|budget| budget.0))
        .bind(tenant.map(TenantId::as_str))
        .bind(since)
        .fetch_all(connection)
        .await?;
    let one = |row: &PgRow| -> Result<AccuracyRow, StoreError> {
        Ok(AccuracyRow {
            method: row.try_get("method")?,
            method_version: row.try_get("method_version")?,
            class: row.try_get("class")?,
            scored: row.try_get("scored")?,
            exhausted_share: row.try_get("exhausted_share")?,
            error_hours_median: row.try_get("error_hours_median")?,
            error_hours_p90: row.try_get("error_hours_p90")?,
            bias_hours: row.try_get("bias_hours")?,
            coverage: row.try_get("coverage")?,
            brier: row.try_get("brier")?,
            brier_yes_no: row.try_get("brier_yes_no")?,
            unscored: row.try_get("unscored")?,
        })
    };
    rows.iter().map(one).collect()
}

/// A counter whose period is open, with its period as it was counted.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenCounter {
    /// Which.
    pub id: CounterId,
    /// Its period.
    pub period: Period,
    /// The tenant whose calls alone it counts.
    pub tenant: Option<TenantId>,
    /// Its numbers.
    pub counter: Counter,
}

/// The counters of some budgets whose period holds an instant: the fullest `per_budget` of each budget.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn open_counters(
    connection: &mut PgConnection,
    budgets: &[BudgetNumber],
    now: DateTime<Utc>,
    per_budget: i64,
) -> Result<BTreeMap<BudgetNumber, Vec<OpenCounter>>, StoreError> {
    let rows = sqlx::query(include_str!("sql/counters_to_project.sql"))
        .bind(budgets.iter().map(|budget| budget.0).collect::<Vec<_>>())
        .bind(now)
        .bind(per_budget)
        .fetch_all(connection)
        .await?;
    let mut found: BTreeMap<BudgetNumber, Vec<OpenCounter>> = BTreeMap::new();
    for row in &rows {
        let (id, counter) = super::lane::counter_from_row(row)?;
        let tenant: Option<&str> = row.try_get("tenant")?;
        let tenant = tenant.map(|tenant| TenantId::stored(tenant).map_err(StoreError::name("tenant"))).transpose()?;
        let period = Period { start: id.start, end: row.try_get("period_end")? };
        found.entry(id.budget).or_default().push(OpenCounter { id, period, tenant, counter });
    }
    Ok(found)
}

/// The first instant in a span at which a call was refused because of a budget, if one was.
///
/// A hard budget is never exceeded, so a counter stops short of the limit: the refusal is what says that it was reached.
///
/// # Errors
/// When the database does not answer.
pub async fn first_refusal(
    connection: &mut PgConnection,
    budget: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(sqlx::query_scalar(include_str!("sql/first_refusal.sql"))
        .bind(budget)
        .bind(from)
        .bind(to)
        .fetch_one(connection)
        .await?)
}

fn projection_from_row(row: &PgRow) -> Result<StoredProjection, StoreError> {
    let tenant: Option<&str> = row.try_get("tenant")?;
    let hours: Vec<i32> = row.try_get("horizon_hours")?;
    let expected: Vec<f64> = row.try_get("horizon_expected")?;
    Ok(StoredProjection {
        id: row.try_get("id")?,
        budget: BudgetNumber(row.try_get("budget")?),
        key: CounterKey::stored(row.try_get("counter_key")?),
        tenant: tenant.map(|tenant| TenantId::stored(tenant).map_err(StoreError::name("tenant"))).transpose()?,
        class: row.try_get("class")?,
        made_at: row.try_get("made_at")?,
        watermark: row.try_get("watermark")?,
        catalogue_version: row.try_get("catalogue_version")?,
        period: Period { start: row.try_get("period_start")?, end: row.try_get("period_end")? },
        limit: row.try_get("limit_quantity")?,
        posted: row.try_get("posted")?,
        held: row.try_get("held")?,
        p10: row.try_get("p10")?,
        p50: row.try_get("p50")?,
        p90: row.try_get("p90")?,
        p_exhaust: row.try_get("p_exhaust")?,
        expected_at_end: [
            row.try_get("expected_at_end_low")?,
            row.try_get("expected_at_end")?,
            row.try_get("expected_at_end_high")?,
        ],
        confidence: row.try_get("confidence")?,
        reasons: row.try_get("reasons")?,
        method: row.try_get("method")?,
        method_version: row.try_get("method_version")?,
        history_days: row.try_get("history_days")?,
        horizons: hours.into_iter().zip(expected).collect(),
    })
}
