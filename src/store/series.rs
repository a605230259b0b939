//! What a budget's measure used, hour by hour: the series that a projection and a pace are made of, from the roll-up.
//!
//! One statement, one pass, one row per counter key, tenant and feature: the quarters come as arrays, so that two million
//! hours of a thousand tenants are a thousand rows. They are added up to hours here: grouping them in Postgres as well took
//! four times as long. Values are double precision, because nothing here is ever an amount of
//! the books. Hours are elapsed hours in UTC; whose clock they are seen on is not known here.
//!
//! The roll-up does not tell agents, runs and labels apart. The journal does, and is long: it is asked only for the truth
//! of a period that is over.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Postgres, QueryBuilder, Row};

use super::StoreError;
use crate::domain::budget::catalogue::{Budget, Priority};
use crate::domain::budget::measure::Measure;
use crate::domain::budget::scope::{CounterKey, Each, ModelScope, Scope};
use crate::domain::id::{FeatureId, TenantId};
use crate::wire::usage::UsageSource;

/// The token buckets of the roll-up, in the order of the weights.
const BUCKETS: [&str; 6] = ["input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning"];

/// Which series.
#[derive(Debug, Clone, Copy)]
pub struct SeriesAsked<'a> {
    /// Where from.
    pub source: UsageSource,
    /// Which calls.
    pub scope: &'a Scope,
    /// By what they are counted apart.
    pub each: Option<&'a Each>,
    /// What of them is counted.
    pub measure: &'a Measure,
    /// Only this counter's.
    pub key: Option<&'a CounterKey>,
    /// Only calls of this priority.
    pub priority: Option<Priority>,
    /// The first instant, from which hours count.
    pub from: DateTime<Utc>,
    /// The first instant no longer read.
    pub to: DateTime<Utc>,
}

impl<'a> SeriesAsked<'a> {
    /// What a budget counts, from one instant to another; none if the roll-up cannot tell its calls from others.
    #[must_use]
    pub fn of(budget: &'a Budget, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<Self> {
        let Budget { scope, each, measure, .. } = budget;
        let told = is_rolled_up(scope, each.as_ref());
        let source = UsageSource::Rollup;
        told.then_some(Self { source, scope, each: each.as_ref(), measure, key: None, priority: None, from, to })
    }

    /// The same of any budget, from the journal where the roll-up cannot tell.
    #[must_use]
    pub fn of_any(budget: &'a Budget, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        let Budget { scope, each, measure, .. } = budget;
        let each = each.as_ref();
        let source = if is_rolled_up(scope, each) { UsageSource::Rollup } else { UsageSource::Journal };
        Self { source, scope, each, measure, key: None, priority: None, from, to }
    }
}

/// Whether the roll-up tells the calls of a scope, and the keys they are counted apart by, from others.
#[must_use]
pub fn is_rolled_up(scope: &Scope, each: Option<&Each>) -> bool {
    let scoped = scope.agent.is_none() && scope.run.is_none() && scope.labels.is_empty();
    let apart = match each {
        None | Some(Each::Tenant | Each::Feature | Each::Provider | Each::Model | Each::Region) => true,
        Some(Each::Run | Each::Agent | Each::Label(_)) => false,
    };
    scoped && apart
}

/// What one tenant used for one feature, as far as one counter counts it. Hours without use are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesFound {
    /// The counter.
    pub key: CounterKey,
    /// Whose calls.
    pub tenant: TenantId,
    /// For what.
    pub feature: FeatureId,
    /// Elapsed hours since `from`, ascending.
    pub hours: Vec<i32>,
    /// What was used in each, in the unit of the measure.
    pub values: Vec<f64>,
}

/// How much of a measure one row is.
pub(super) fn push_value(statement: &mut QueryBuilder<Postgres>, measure: &Measure) {
    match measure {
        Measure::Requests => {
            statement.push("requests::float8");
        }
        Measure::Tokens => {
            statement.push("(").push(BUCKETS.join(" + ")).push(")::float8");
        }
        Measure::Usd => {
            statement.push("usd::float8");
        }
        Measure::Gco2e => {
            statement.push("(gco2e_usage_location + gco2e_embodied)::float8");
        }
        Measure::Gco2eMarket => {
            statement.push("(gco2e_usage_market + gco2e_embodied)::float8");
        }
        Measure::Weighted(weights) => {
            let mut separator = "(";
            for (bucket, weight) in BUCKETS.into_iter().zip(weights.as_array()).filter(|(_, weight)| !weight.is_zero())
            {
                statement.push(separator).push(bucket).push("::float8 * ");
                statement.push_bind(float(*weight)).push("::float8");
                separator = " + ";
            }
            statement.push(")");
        }
    }
}

/// A weight, which has so few digits that a double holds it.
fn float(value: Decimal) -> f64 {
    use rust_decimal::prelude::ToPrimitive as _;
    value.to_f64().unwrap_or_default()
}

/// The key of a counter, as [`Each::key`] writes it. Only the journal has runs, agents and labels.
pub(super) fn push_key(statement: &mut QueryBuilder<Postgres>, each: Option<&Each>) {
    match each {
        None => statement.push("''"),
        Some(Each::Tenant) => statement.push("tenant"),
        Some(Each::Feature) => statement.push("tenant || '/' || feature"),
        Some(Each::Provider) => statement.push("provider"),
        Some(Each::Model) => statement.push("provider || '/' || model"),
        Some(Each::Region) => statement.push("provider || '/' || region"),
        Some(Each::Run) => statement.push("tenant || '/' || run"),
        Some(Each::Agent) => statement.push("tenant || '/' || agent"),
        Some(Each::Label(label)) => {
            statement.push("tenant || '/' || (labels ->> ").push_bind(label.as_str().to_owned()).push("::text)")
        }
    };
}

/// Only what is in a scope. One that is exact is read by name: series hold no spellings, and a projection is an estimate.
pub(super) fn push_filters(statement: &mut QueryBuilder<Postgres>, asked: &SeriesAsked<'_>) {
    let Scope { tenant, feature, provider, model, region, agent, run, labels, exact: _, tenants } = asked.scope;
    let columns = [
        ("tenant", tenant.as_ref().map(TenantId::as_str)),
        ("feature", feature.as_ref().map(FeatureId::as_str)),
        ("provider", provider.as_ref().map(crate::domain::id::ProviderId::as_str)),
        ("region", region.as_ref().map(crate::domain::id::RegionId::as_str)),
        ("run", run.as_ref().map(crate::domain::id::RunId::as_str)),
        ("agent", agent.as_ref().map(crate::domain::id::AgentId::as_str)),
    ];
    for (column, value) in columns {
        if let Some(value) = value {
            statement.push(" and ").push(column).push(" = ").push_bind(value.to_owned());
        }
    }
    match model {
        None => {}
        Some(ModelScope::One(model)) => {
            statement.push(" and model = ").push_bind(model.as_str().to_owned());
        }
        Some(ModelScope::Any(models)) => {
            let models: Vec<String> = models.iter().map(ToString::to_string).collect();
            statement.push(" and model = any(").push_bind(models).push(")");
        }
        Some(ModelScope::StartsWith(beginning)) => {
            statement.push(" and starts_with(model, ").push_bind(beginning.clone()).push(")");
        }
    }
    if !tenants.is_empty() {
        let tenants: Vec<String> = tenants.iter().map(ToString::to_string).collect();
        statement.push(" and tenant = any(").push_bind(tenants).push(")");
    }
    if let Some(priority) = asked.priority {
        statement.push(" and priority = ").push_bind(priority.name());
    }
    for (label, value) in labels {
        statement.push(" and labels ->> ").push_bind(label.as_str().to_owned());
        statement.push("::text = ").push_bind(value.as_str().to_owned());
    }
    if matches!(asked.each, Some(Each::Region)) {
        statement.push(" and region <> ''");
    }
    if let Some(key) = asked.key {
        statement.push(" and ");
        push_key(statement, asked.each);
        statement.push(" = ").push_bind(key.as_str().to_owned());
        // The tenant by itself as well: the roll-up is found by it.
        if asked.each.is_some_and(Each::is_within_tenant)
            && let Some((tenant, _)) = key.as_str().split_once('/')
        {
            statement.push(" and tenant = ").push_bind(tenant.to_owned());
        }
    }
}

/// Reads the series, by key, tenant and feature.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn series(connection: &mut PgConnection, asked: &SeriesAsked<'_>) -> Result<Vec<SeriesFound>, StoreError> {
    let (table, at) = match asked.source {
        UsageSource::Rollup => ("usage_rollup", "quarter"),
        UsageSource::Journal => ("transfers", "period_at"),
    };
    let mut statement: QueryBuilder<Postgres> = QueryBuilder::new(
        "select key, tenant, feature, array_agg(hour) as hours, array_agg(value) as values from (select ",
    );
    push_key(&mut statement, asked.each);
    statement.push(" as key, tenant, feature, floor((date_part('epoch', ").push(at).push(") - ");
    statement.push_bind(asked.from.timestamp()).push("::float8) / 3600)::integer as hour, ");
    push_value(&mut statement, asked.measure);
    statement.push(" as value from ").push(table).push(" where ").push(at).push(" >= ").push_bind(asked.from);
    statement.push(" and ").push(at).push(" < ").push_bind(asked.to);
    push_filters(&mut statement, asked);
    statement.push(") as used where key is not null group by key, tenant, feature order by key, tenant, feature");
    let rows = statement.build().fetch_all(connection).await?;
    rows.iter().map(series_from_row).collect()
}

fn series_from_row(row: &PgRow) -> Result<SeriesFound, StoreError> {
    let (hours, values) = by_hour(row.try_get("hours")?, row.try_get("values")?);
    Ok(SeriesFound {
        key: CounterKey::stored(row.try_get("key")?),
        tenant: TenantId::stored(row.try_get("tenant")?).map_err(StoreError::name("tenant"))?,
        feature: FeatureId::stored(row.try_get("feature")?).map_err(StoreError::name("feature"))?,
        hours,
        values,
    })
}

/// Adds up what was used in the same hour, corrections included; hours ascending, without those in which nothing was.
fn by_hour(hours: Vec<i32>, values: Vec<f64>) -> (Vec<i32>, Vec<f64>) {
    let mut all: Vec<(i32, f64)> = hours.into_iter().zip(values).filter(|(_, value)| value.abs() > 0.0).collect();
    // Stable, and nearly sorted already: rows come in the order in which they were written.
    all.sort_by_key(|(hour, _)| *hour);
    let mut summed: (Vec<i32>, Vec<f64>) = (Vec::new(), Vec::new());
    for (hour, value) in all {
        match (summed.0.last(), summed.1.last_mut()) {
            (Some(last), Some(sum)) if *last == hour => *sum += value,
            (Some(_) | None, Some(_) | None) => {
                summed.0.push(hour);
                summed.1.push(value);
            }
        }
    }
    summed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_of_one_hour_are_one_value_and_hours_ascend() {
        let (hours, values) = by_hour(vec![5, 3, 5, 4, 3, 5], vec![1.0, 2.0, 4.0, 0.0, 8.0, 16.0]);
        assert_eq!((hours, values), (vec![3, 5], vec![10.0, 21.0]));
        assert_eq!(by_hour(Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    }
}
