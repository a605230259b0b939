//! What budgets used by the hour, and their projections.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::prelude::ToPrimitive as _;
use sqlx::postgres::PgConnection;

use super::super::AppError;
use super::super::catalogue_reads::zone_of;
use super::facts;
use crate::domain::alert::Reading;
use crate::domain::alert::burn::{self, BURN_HISTORY_HOURS, BURN_PERIOD_MIN, BurnFact};
use crate::domain::alert::counters::CounterFact;
use crate::domain::alert::outlook::{self, OutlookFact};
use crate::domain::budget::catalogue::{Budget, Catalogue};
use crate::domain::calendar::PeriodSpec;
use crate::store::alert_facts as sql;
use crate::store::series::{SeriesAsked, series};

/// The oldest projection that still says something.
const PROJECTION_AGE_MAX: TimeDelta = TimeDelta::days(1);

/// Reads burn rates and projections of every counter whose budget is resolved by the roll-up and lasts a while.
pub(super) async fn budgets(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<Vec<Reading>, AppError> {
    let into_hour = now.timestamp().rem_euclid(3_600);
    let this_hour = now.checked_sub_signed(TimeDelta::seconds(into_hour)).unwrap_or(now);
    let from = this_hour.checked_sub_signed(TimeDelta::hours(BURN_HISTORY_HOURS)).unwrap_or(this_hour);
    let watched: Vec<&Arc<Budget>> =
        catalogue.budgets().filter(|budget| has_end(budget) && SeriesAsked::of(budget, from, now).is_some()).collect();
    let mut by_budget: BTreeMap<_, Vec<CounterFact>> = BTreeMap::new();
    for fact in facts::used(&mut *connection, &watched, now).await? {
        by_budget.entry(fact.budget.number).or_default().push(fact);
    }
    let since = now.checked_sub_signed(PROJECTION_AGE_MAX).unwrap_or(now);
    let projected = sql::latest_projections(&mut *connection, since, now).await?;
    let projected: BTreeMap<_, _> =
        projected.into_iter().map(|one| ((one.budget, one.key.clone(), one.period_start), one)).collect();
    let mut readings = Vec::new();
    for budget in watched {
        let Some(counters) = by_budget.remove(&budget.number) else { continue };
        let lasting = counters.iter().any(|fact| {
            fact.period.end.is_some_and(|end| end.signed_duration_since(fact.period.start) >= BURN_PERIOD_MIN)
        });
        let mut hours = match SeriesAsked::of(budget, from, now) {
            Some(asked) if lasting => by_key(connection, &asked).await?,
            Some(_) | None => BTreeMap::new(),
        };
        for counter in counters {
            let key = counter.key.as_str().to_owned();
            if let Some(one) = projected.get(&(budget.number, key.clone(), counter.period.start)) {
                let fact = OutlookFact {
                    counter: counter.clone(),
                    made_at: one.made_at,
                    p10: one.p10,
                    p50: one.p50,
                    p90: one.p90,
                    probability: one.probability,
                    confidence: one.confidence.clone(),
                };
                readings.push(outlook::read(&fact, now));
            }
            let zone = zone_of(budget, catalogue, counter.tenant.as_ref());
            if let (Some(hours), Some(zone)) = (hours.remove(&key), zone) {
                let limit = budget.limit.decimal().to_f64().unwrap_or_default();
                readings.extend(burn::read(&BurnFact { counter, zone, limit, from, hours }, now));
            }
        }
    }
    Ok(readings)
}

/// What each counter used, by hours since `from`; the last is the present one.
async fn by_key(
    connection: &mut PgConnection,
    asked: &SeriesAsked<'_>,
) -> Result<BTreeMap<String, Vec<f64>>, AppError> {
    let length = usize::try_from(BURN_HISTORY_HOURS.saturating_add(1)).unwrap_or(0);
    let mut found: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for one in series(connection, asked).await? {
        let hours = found.entry(one.key.as_str().to_owned()).or_insert_with(|| vec![0.0; length]);
        for (hour, value) in one.hours.into_iter().zip(one.values) {
            if let Some(sum) = usize::try_from(hour).ok().and_then(|hour| hours.get_mut(hour)) {
                *sum += value;
            }
        }
    }
    Ok(found)
}

/// Whether the budget's periods end, so that there is something to run out before.
fn has_end(budget: &Budget) -> bool {
    match budget.period {
        PeriodSpec::Sliding { .. } | PeriodSpec::Once => false,
        PeriodSpec::Hour
        | PeriodSpec::Day { .. }
        | PeriodSpec::Week { .. }
        | PeriodSpec::Month { .. }
        | PeriodSpec::Months { .. }
        | PeriodSpec::Quarter
        | PeriodSpec::Year { .. }
        | PeriodSpec::Fixed { .. } => true,
    }
}
