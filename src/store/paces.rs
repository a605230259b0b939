//! Paces: written by whoever plans, read by every replica.
//!
//! | statement | who |
//! |---|---|
//! | [`counters`], [`taken_since`], [`waiting`], [`refused`], [`bases`], [`write()`] | the planner, in one transaction, one at a time |
//! | [`load`] | every replica, once in a while: no verdict reads this table |
//!
//! A row that cannot be read (of a later release, say) is none: then only the limit counts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Postgres, QueryBuilder, Row};

use super::StoreError;
use super::lane::counter_from_row;
use super::series::{SeriesAsked, push_filters, push_key, push_value};
use crate::domain::budget::catalogue::{BudgetNumber, Priority};
use crate::domain::budget::counter::{Counter, CounterId};
use crate::domain::budget::measure::Measure;
use crate::domain::budget::scope::CounterKey;
use crate::domain::id::{BudgetId, TenantId};
use crate::domain::pacing::pace::Paces;
use crate::wire::plan::{BasisDoc, PaceDoc, PlanDoc};

/// When the newest plan was made, of periods that have begun.
///
/// # Errors
/// When the database does not answer.
pub async fn last_made(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
    let made_at = sqlx::query_scalar("select max(made_at) from paces where made_at <= $1");
    Ok(made_at.bind(now).fetch_one(connection).await?)
}

/// A counter of an open period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCounter {
    /// Which.
    pub id: CounterId,
    /// Its numbers.
    pub counter: Counter,
    /// The tenant whose calls alone it counts.
    pub tenant: Option<TenantId>,
}

/// The counters of a budget in the periods that start at these instants.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn counters(
    connection: &mut PgConnection,
    budget: BudgetNumber,
    starts: &[DateTime<Utc>],
) -> Result<Vec<OpenCounter>, StoreError> {
    let rows = sqlx::query(
        "select budget, key, period_start, posted, held, tenant, margin, at_risk
        from counters
        where budget = $1 and period_start = any($2)
        order by key, period_start",
    )
    .bind(budget.0)
    .bind(starts)
    .fetch_all(connection)
    .await?;
    let open = |row: &PgRow| {
        let (id, counter) = counter_from_row(row)?;
        let tenant: Option<&str> = row.try_get("tenant")?;
        let tenant = tenant.map(TenantId::stored).transpose().map_err(StoreError::name("tenant"))?;
        Ok(OpenCounter { id, counter, tenant })
    };
    rows.iter().map(open).collect()
}

/// What calls of one class and tenant took.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// In which counter.
    pub key: CounterKey,
    /// Whose.
    pub tenant: TenantId,
    /// Of which class.
    pub priority: Priority,
    /// Posted since the first instant asked, and held by open reservations that were granted since.
    pub quantity: f64,
}

/// What was taken since an instant, by counter, tenant and class: posted, and held by reservations that are open.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn taken_since(connection: &mut PgConnection, asked: &SeriesAsked<'_>) -> Result<Vec<Taken>, StoreError> {
    let mut statement: QueryBuilder<Postgres> =
        QueryBuilder::new("select key, tenant, priority, sum(value) from (select ");
    push_key(&mut statement, asked.each);
    statement.push(" as key, tenant, priority, sum(");
    push_value(&mut statement, asked.measure);
    statement.push(") as value from usage_rollup where quarter >= ").push_bind(asked.from);
    push_filters(&mut statement, asked);
    statement.push(" group by 1, 2, 3 union all select ");
    push_key(&mut statement, asked.each);
    statement.push(" as key, tenant, priority, sum(");
    push_value(&mut statement, asked.measure);
    statement.push(") as value from reservations where state = 'open' and expires_at > ").push_bind(asked.to);
    statement.push(" and granted_at >= ").push_bind(asked.from);
    push_filters(&mut statement, asked);
    statement.push(" group by 1, 2, 3) as taken group by 1, 2, 3 order by 1, 2, 3");
    let rows = statement.build().fetch_all(connection).await?;
    let taken = |row: &PgRow| {
        let priority: &str = row.try_get("priority")?;
        Ok(Taken {
            key: CounterKey::stored(row.try_get("key")?),
            tenant: TenantId::stored(row.try_get("tenant")?).map_err(StoreError::name("tenant"))?,
            priority: Priority::ALL
                .into_iter()
                .find(|known| known.name() == priority)
                .ok_or_else(|| StoreError::Row("priority".to_owned()))?,
            quantity: row.try_get::<Option<f64>, _>(3)?.unwrap_or_default(),
        })
    };
    rows.iter().map(taken).collect()
}

/// The tenants whose calls a budget's pace made wait since an instant: they want more than they got.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn waiting(
    connection: &mut PgConnection,
    budget: &BudgetId,
    since: DateTime<Utc>,
) -> Result<Vec<TenantId>, StoreError> {
    let tenants: Vec<String> = sqlx::query_scalar(
        "select tenant from refusal_counts
        where budget = $1 and reason = 'paced' and minute >= $2
        union
        select tenant from refusals
        where budget = $1 and reason = 'paced' and refused_at >= $2",
    )
    .bind(budget.as_str())
    .bind(since)
    .fetch_all(connection)
    .await?;
    tenants.iter().map(|tenant| TenantId::parse(tenant).map_err(StoreError::name("tenant"))).collect()
}

/// How much of a budget's measure each tenant's calls asked for and its pace refused, between two instants.
///
/// A call that waits asks again and again, and each time counts: it is the most that its tenant would have taken. Of calls of
/// different sizes the latest counts for all; weighted tokens count as tokens.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn refused(
    connection: &mut PgConnection,
    budget: &BudgetId,
    measure: &Measure,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<BTreeMap<TenantId, f64>, StoreError> {
    let amount = match measure {
        Measure::Requests => "1",
        Measure::Tokens | Measure::Weighted(_) => "(latest.answer -> 'estimate' ->> 'tokens')",
        Measure::Usd => "(latest.answer -> 'estimate' ->> 'usd')",
        Measure::Gco2e => "(latest.answer -> 'estimate' ->> 'gco2e')",
        Measure::Gco2eMarket => "(latest.answer -> 'estimate' ->> 'gco2e_market')",
    };
    let sql = format!(
        "with asked as (
            select tenant, sum(count)::float8 as count, max(minute) as minute from refusal_counts
            where budget = $1 and reason = 'paced' and minute >= $2 and minute < $3
            group by tenant
        ), kept as (
            select tenant, count(*)::float8 as count, max(refused_at) as refused_at from refusals
            where budget = $1 and reason = 'paced' and refused_at >= $2 and refused_at < $3
            group by tenant
        )
        select tenant, sum(quantity) as quantity from (
            select asked.tenant, asked.count * {amount}::float8 as quantity
            from asked
            join lateral (
                select answer from refusal_counts as counted
                where counted.tenant = asked.tenant and counted.minute = asked.minute
                    and counted.budget = $1 and counted.reason = 'paced'
                limit 1
            ) as latest on true
            union all
            select kept.tenant, kept.count * {amount}::float8
            from kept
            join lateral (
                select answer from refusals as refused
                where refused.tenant = kept.tenant and refused.refused_at = kept.refused_at
                    and refused.budget = $1 and refused.reason = 'paced'
                limit 1
            ) as latest on true
        ) as all_of_them
        group by tenant"
    );
    let rows: Vec<(String, Option<f64>)> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(budget.as_str()).bind(from).bind(to).fetch_all(connection).await?;
    let one = |(tenant, quantity): (String, Option<f64>)| {
        let tenant = TenantId::stored(&tenant).map_err(StoreError::name("tenant"))?;
        Ok((tenant, quantity.filter(|quantity| quantity.is_finite() && *quantity > 0.0).unwrap_or_default()))
    };
    rows.into_iter().map(one).collect()
}

/// The forecasts that the plans of a budget are made from, by counter: those made since an instant.
///
/// # Errors
/// When the database does not answer.
pub async fn bases(
    connection: &mut PgConnection,
    budget: BudgetNumber,
    since: DateTime<Utc>,
) -> Result<BTreeMap<(CounterKey, DateTime<Utc>), BasisDoc>, StoreError> {
    let rows = sqlx::query("select key, period_start, basis from paces where budget = $1 and basis_made_at >= $2")
        .bind(budget.0)
        .bind(since)
        .fetch_all(connection)
        .await?;
    let mut bases = BTreeMap::new();
    for row in &rows {
        // One that cannot be read is made anew.
        if let Ok(Json(basis)) = row.try_get::<Json<BasisDoc>, _>("basis") {
            bases.insert((CounterKey::stored(row.try_get("key")?), row.try_get("period_start")?), basis);
        }
    }
    Ok(bases)
}

/// A pace to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPace {
    /// Of which counter.
    pub id: CounterId,
    /// The tenant whose calls alone it counts.
    pub tenant: Option<TenantId>,
    /// The pace.
    pub pace: PaceDoc,
    /// What explains it.
    pub plan: PlanDoc,
    /// What it is made from.
    pub basis: BasisDoc,
}

/// Writes paces over those of the same counters, and forgets those that are out of date.
///
/// # Errors
/// When the database does not answer.
pub async fn write(connection: &mut PgConnection, paces: &[NewPace], now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut documents = (Vec::new(), Vec::new(), Vec::new());
    for new in paces {
        documents.0.push(serde_json::to_string(&new.pace)?);
        documents.1.push(serde_json::to_string(&new.plan)?);
        documents.2.push(serde_json::to_string(&new.basis)?);
    }
    sqlx::query(
        "insert into paces (
            budget, key, period_start, tenant, made_at, valid_until, pace, plan, basis, basis_made_at
        )
        select budget, key, period_start, tenant, made_at, valid_until, pace::jsonb, plan::jsonb, basis::jsonb, basis_made_at
        from unnest(
            $1::integer[], $2::text[], $3::timestamptz[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[],
            $8::text[], $9::text[], $10::timestamptz[]
        ) as new (budget, key, period_start, tenant, made_at, valid_until, pace, plan, basis, basis_made_at)
        on conflict (budget, key, period_start) do update
        set
            tenant = excluded.tenant,
            made_at = excluded.made_at,
            valid_until = excluded.valid_until,
            pace = excluded.pace,
            plan = excluded.plan,
            basis = excluded.basis,
            basis_made_at = excluded.basis_made_at",
    )
    .bind(paces.iter().map(|new| new.id.budget.0).collect::<Vec<_>>())
    .bind(paces.iter().map(|new| new.id.key.as_str()).collect::<Vec<_>>())
    .bind(paces.iter().map(|new| new.id.start).collect::<Vec<_>>())
    .bind(paces.iter().map(|new| new.tenant.as_ref().map(TenantId::as_str)).collect::<Vec<_>>())
    .bind(paces.iter().map(|new| new.pace.made_at).collect::<Vec<_>>())
    .bind(paces.iter().map(|new| new.pace.valid_until).collect::<Vec<_>>())
    .bind(documents.0)
    .bind(documents.1)
    .bind(documents.2)
    .bind(paces.iter().map(|new| new.basis.made_at).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await?;
    sqlx::query("delete from paces where valid_until < $1").bind(now).execute(connection).await?;
    Ok(())
}

/// The paces that are in date, also those of periods that have not begun.
///
/// # Errors
/// When the database does not answer.
pub async fn load(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Paces, StoreError> {
    let rows = sqlx::query("select budget, key, pace from paces where valid_until > $1")
        .bind(now)
        .fetch_all(connection)
        .await?;
    let mut paces = Vec::with_capacity(rows.len());
    for row in &rows {
        let Ok(Json(doc)) = row.try_get::<Json<PaceDoc>, _>("pace") else { continue };
        if let Some(pace) = doc.to_pace() {
            paces.push((BudgetNumber(row.try_get("budget")?), CounterKey::stored(row.try_get("key")?), pace));
        }
    }
    Ok(Paces::new(paces))
}
