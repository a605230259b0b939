//! From the books to a question: what was used by the hour, what is announced, how wrong projections were.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | read | one statement for the series of all counters of a budget, one for what is announced |
//! | 2 | shape | one source per tenant, on its own clock; features as shares of it |
//! | 3 | project | beside the requests, because a thousand tenants take a while |

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use super::range::factor_range;
use super::subject::{Subject, real};
use crate::app::{App, AppError};
use crate::domain::budget::catalogue::{Budget, Catalogue, Priority};
use crate::domain::budget::measure::Measure;
use crate::domain::budget::scope::{CounterKey, Each, Scope};
use crate::domain::calendar::Zone;
use crate::domain::forecast::{ErrorBook, HourlySeries, Planned, Projection, Question, Source, project};
use crate::domain::id::{BudgetId, FeatureId, TenantId};
use crate::lane::LaneError;
use crate::store::planned_usage;
use crate::store::series::{SeriesAsked, SeriesFound, is_rolled_up, series};
use crate::wire::projection::planned::PlannedUsageRow;

/// How many days of history are read. FORECAST: the profile looks at twelve weeks.
const HISTORY_DAYS: i64 = 84;
/// The longest period whose use is read back to its start, in days.
const PERIOD_DAYS_MAX: i64 = 400;
/// Days by which the use of a tenant is shared out among its features.
const FEATURE_DAYS: i64 = 28;

/// What one feature of one tenant used.
#[derive(Debug, Clone, Default)]
pub(super) struct FeatureUse {
    /// In this period.
    pub(super) used: f64,
    /// In the last four weeks, by which what is expected of its tenant is shared out.
    pub(super) recent: f64,
}

/// Everything one projection is made of.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) subject: Subject,
    pub(super) now: DateTime<Utc>,
    pub(super) catalogue_version: i64,
    pub(super) sources: Vec<Source>,
    pub(super) features: BTreeMap<(TenantId, FeatureId), FeatureUse>,
    pub(super) planned: Vec<Planned>,
    /// Announced work that this measure cannot count, because it was not said in its unit.
    pub(super) uncounted: usize,
    pub(super) book: Arc<ErrorBook>,
    pub(super) factor_range: Option<(f64, f64)>,
    /// Whether the roll-up tells this counter's calls from others; if not, the source is the counter's own straight line.
    pub(super) rolled_up: bool,
}

impl Asked {
    pub(super) fn question(&self) -> Question<'_> {
        Question {
            now: self.now,
            period_start: self.subject.period.start,
            reset: self.subject.period.end,
            limit: real(self.subject.limit),
            posted: real(self.subject.posted),
            held: real(self.subject.held),
            sources: &self.sources,
            planned: &self.planned,
            errors: &self.book,
            factor_range: self.factor_range,
        }
    }
}

/// Projects beside the requests: nobody's pre-flight waits for it.
///
/// # Errors
/// When the service is stopping.
pub(super) async fn project_beside(asked: Vec<Asked>) -> Result<Vec<(Asked, Projection)>, AppError> {
    let work = move || {
        let one = |asked: Asked| {
            let projection = project(&asked.question());
            (asked, projection)
        };
        asked.into_iter().map(one).collect()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(projected) => Ok(projected),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(LaneError::Stopping.into()),
        },
    }
}

impl App {
    /// Reads what a budget's measure used by the hour, for calls of one priority if one is named; none if the roll-up
    /// cannot tell its calls from others. Hours count from the first of the two instants.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn budget_series(
        &self,
        budget: &Budget,
        key: Option<&CounterKey>,
        priority: Option<Priority>,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        confined: Option<&TenantId>,
    ) -> Result<Option<Vec<SeriesFound>>, AppError> {
        let Some(asked) = SeriesAsked::of(budget, from, to) else { return Ok(None) };
        let mut read = self.begin_read(confined).await?;
        let found = series(&mut read, &SeriesAsked { key, priority, ..asked }).await?;
        read.commit().await?;
        Ok(Some(found))
    }

    /// Reads what projections of some counters of one budget are made of.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn ask(
        &self,
        subjects: Vec<Subject>,
        confined: Option<&TenantId>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Asked>, AppError> {
        let Some(budget) = subjects.first().map(|subject| Arc::clone(&subject.budget)) else { return Ok(Vec::new()) };
        let snapshot = self.snapshots.latest();
        let catalogue = &snapshot.catalogue;
        let from = history_start(&subjects, now);
        let only = match subjects.as_slice() {
            [one] if budget.each.is_some() => Some(&one.key),
            _ => None,
        };
        let found = match only {
            Some(key) => self.budget_series(&budget, Some(key), None, (from, now), confined).await?,
            None => self.whole_series(&budget, from, now, confined).await?,
        };
        let range = factor_range(self, &budget, confined, now).await?;
        let mut read = self.begin_read(confined).await?;
        let announced = planned_usage::ahead(&mut read, budget.scope.tenant.as_ref(), now).await?;
        read.commit().await?;
        let mut by_key: BTreeMap<CounterKey, Vec<SeriesFound>> = BTreeMap::new();
        for one in found.into_iter().flatten() {
            by_key.entry(one.key.clone()).or_default().push(one);
        }
        let book = self.projections.book();
        let asked = subjects.into_iter().map(|subject| {
            let rolled_up = is_rolled_up(&budget.scope, budget.each.as_ref());
            let cells = by_key.remove(&subject.key).unwrap_or_default();
            let (sources, features) = if rolled_up {
                shape(&cells, catalogue, from, now, subject.period.start)
            } else {
                (straight_line(&subject, now), BTreeMap::new())
            };
            let (planned, uncounted) = planned_for(&subject, &announced);
            Asked {
                subject,
                now,
                catalogue_version: catalogue.version,
                sources,
                features,
                planned,
                uncounted,
                book: Arc::clone(&book),
                factor_range: range,
                rolled_up,
            }
        });
        Ok(asked.collect())
    }
}

/// The whole hour from which use is read: twelve weeks ago, or the start of the period where that is earlier.
fn history_start(subjects: &[Subject], now: DateTime<Utc>) -> DateTime<Utc> {
    let oldest = now - TimeDelta::days(PERIOD_DAYS_MAX);
    let twelve_weeks = now - TimeDelta::days(HISTORY_DAYS);
    let period = subjects.iter().map(|subject| subject.period.start).min().unwrap_or(now);
    let from = twelve_weeks.min(period).max(oldest);
    from.duration_trunc(TimeDelta::hours(1)).unwrap_or(from)
}

/// The hours that a row has no value for are zeros.
pub(super) fn dense(hours: &[i32], values: &[f64], into: &mut Vec<f64>) {
    for (hour, value) in hours.iter().zip(values) {
        let Ok(place) = usize::try_from(*hour) else { continue };
        if into.len() <= place {
            into.resize(place.saturating_add(1), 0.0);
        }
        if let Some(slot) = into.get_mut(place) {
            *slot += value;
        }
    }
}

/// One source for each tenant, from its first use on, and what each of its features used.
fn shape(
    cells: &[SeriesFound],
    catalogue: &Catalogue,
    from: DateTime<Utc>,
    now: DateTime<Utc>,
    period_start: DateTime<Utc>,
) -> (Vec<Source>, BTreeMap<(TenantId, FeatureId), FeatureUse>) {
    let mut tenants: BTreeMap<&TenantId, Vec<f64>> = BTreeMap::new();
    let mut features = BTreeMap::new();
    let since = |at: DateTime<Utc>| at.signed_duration_since(from).num_hours();
    let (period_hour, recent_hour) = (since(period_start), since(now - TimeDelta::days(FEATURE_DAYS)));
    for cell in cells {
        dense(&cell.hours, &cell.values, tenants.entry(&cell.tenant).or_default());
        let sum_since = |hour: i64| {
            let both = cell.hours.iter().zip(&cell.values);
            both.filter(|(at, _)| i64::from(**at) >= hour).map(|(_, value)| *value).sum::<f64>()
        };
        let key = (cell.tenant.clone(), cell.feature.clone());
        let one: &mut FeatureUse = features.entry(key).or_default();
        one.used += sum_since(period_hour);
        one.recent += sum_since(recent_hour);
    }
    let source = |(tenant, mut values): (&TenantId, Vec<f64>)| {
        let first = values.iter().position(|value| *value > 0.0).unwrap_or(0);
        let values = values.split_off(first.min(values.len()));
        let start = from + TimeDelta::hours(i64::try_from(first).unwrap_or(0));
        let zone = catalogue.tenant(tenant).map_or(Zone::UTC, |tenant| tenant.zone);
        Source { tenant: tenant.clone(), feature: None, zone, series: HourlySeries::new(start, now, values) }
    };
    (tenants.into_iter().map(source).collect(), features)
}

/// A counter that the roll-up does not know: its own use, spread evenly over the period so far.
fn straight_line(subject: &Subject, now: DateTime<Utc>) -> Vec<Source> {
    let posted = real(subject.posted);
    // A stand-in with the budget's own name: it is never shown.
    let stand_in = |id: &BudgetId| TenantId::parse(id.as_str()).ok();
    let Some(tenant) = subject.tenant.clone().or_else(|| stand_in(&subject.budget.id)) else { return Vec::new() };
    // The epoch stands for the beginning of a period that has none.
    let start = subject.period.start.max(now - TimeDelta::days(HISTORY_DAYS)).max(subject.budget.counted_from.min(now));
    let first = start.duration_trunc(TimeDelta::hours(1)).unwrap_or(start);
    let hours = usize::try_from(now.signed_duration_since(first).num_hours()).unwrap_or(0).saturating_add(1);
    let count = u32::try_from(hours).map_or(1.0, f64::from);
    let values = vec![posted / count; hours];
    vec![Source { tenant, feature: None, zone: subject.zone, series: HourlySeries::new(first, now, values) }]
}

/// The announced work that a counter counts, and how much of it cannot be said in its unit.
fn planned_for(subject: &Subject, announced: &[PlannedUsageRow]) -> (Vec<Planned>, usize) {
    let mut planned = Vec::new();
    let mut uncounted = 0;
    for row in announced.iter().filter(|row| is_counted(subject, row)) {
        match (quantity(&subject.budget.measure, row), TenantId::parse(&row.tenant)) {
            (Some(quantity), Ok(tenant)) => {
                planned.push(Planned { tenant, feature: None, from: row.start, until: row.end, quantity });
            }
            (None, _) => uncounted += 1,
            (Some(_), Err(_)) => {}
        }
    }
    (planned, uncounted)
}

/// Whether the models of a scope hold one that is announced.
fn holds_model(scope: &Scope, model: Option<&str>) -> bool {
    let Some(models) = &scope.model else { return true };
    model.and_then(|model| model.parse().ok()).is_some_and(|model| models.holds(&model))
}

/// Whether a counter will count announced work: every field that the scope or the key needs must be said.
fn is_counted(subject: &Subject, row: &PlannedUsageRow) -> bool {
    let Budget { scope, each, .. } = &*subject.budget;
    let fits = |wanted: Option<&str>, is: Option<&str>| wanted.is_none() || wanted == is;
    let scoped = fits(scope.tenant.as_ref().map(TenantId::as_str), Some(&row.tenant))
        && (scope.tenants.is_empty() || scope.tenants.iter().any(|tenant| tenant.as_str() == row.tenant))
        && fits(scope.feature.as_ref().map(FeatureId::as_str), row.feature.as_deref())
        && fits(scope.provider.as_ref().map(crate::domain::id::ProviderId::as_str), row.provider.as_deref())
        && holds_model(scope, row.model.as_deref())
        && fits(scope.region.as_ref().map(crate::domain::id::RegionId::as_str), row.region.as_deref())
        && scope.agent.is_none()
        && scope.run.is_none()
        && scope.labels.is_empty();
    let joined = |left: Option<&str>, right: Option<&str>| Some(format!("{}/{}", left?, right?));
    let key = match each {
        None => Some(String::new()),
        Some(Each::Tenant) => Some(row.tenant.clone()),
        Some(Each::Feature) => joined(Some(&row.tenant), row.feature.as_deref()),
        Some(Each::Provider) => row.provider.clone(),
        Some(Each::Model) => joined(row.provider.as_deref(), row.model.as_deref()),
        Some(Each::Region) => joined(row.provider.as_deref(), row.region.as_deref()),
        Some(Each::Run | Each::Agent | Each::Label(_)) => None,
    };
    scoped && key.as_deref() == Some(subject.key.as_str())
}

/// How much of a measure announced work is; none where it was not said in its unit.
fn quantity(measure: &Measure, row: &PlannedUsageRow) -> Option<f64> {
    let amounts = &row.amounts;
    let count = |value: Option<u64>| value.map(|value| real(value.into()));
    match measure {
        Measure::Requests => count(amounts.requests),
        Measure::Tokens => count(amounts.tokens),
        Measure::Usd => amounts.usd.map(real),
        Measure::Gco2e => amounts.gco2e.map(real),
        Measure::Gco2eMarket => amounts.gco2e_market.map(real),
        Measure::Weighted(weights) => {
            let usage = amounts.usage.as_ref()?;
            let buckets = [
                usage.input,
                usage.cache_read,
                usage.cache_write_5m,
                usage.cache_write_1h,
                usage.output,
                usage.reasoning,
            ];
            Some(
                buckets
                    .into_iter()
                    .zip(weights.as_array())
                    .map(|(tokens, weight)| real(tokens.into()) * real(*weight))
                    .sum(),
            )
        }
    }
}
