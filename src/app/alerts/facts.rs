//! What the rules are asked about: counters that may have moved since the last evaluation.
//!
//! A counter is looked at when something was posted with its dimensions, while an alert about it is open, and when the
//! catalogue has changed: a new threshold, a lower limit. So an evaluation costs what has happened, not what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, dec};
use sqlx::postgres::PgConnection;

use super::super::AppError;
use crate::domain::alert::Cause;
use crate::domain::alert::counters::CounterFact;
use crate::domain::budget::catalogue::{Budget, BudgetNumber, Catalogue};
use crate::domain::budget::counter::Counter;
use crate::domain::budget::scope::{CounterKey, Dimensions};
use crate::domain::calendar::{Period, PeriodSpec, Zone};
use crate::domain::id::{BudgetId, TenantId};
use crate::domain::ledger::outcome::Refusal;
use crate::store::alerts::{self as sql, OpenCounter, OpenFound};

/// The least that a counter can have posted, but nothing.
const LEAST: Decimal = dec!(0.000000000001);

/// What decides which counters are looked at.
pub(super) struct Asked<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) activity: &'a [Dimensions],
    /// Counters that are looked at whatever was posted to them.
    pub(super) also: &'a BTreeSet<Which>,
    pub(super) open: &'a BTreeMap<Cause, OpenFound>,
    /// Whether counters past a threshold are looked for among all there are.
    pub(super) all_counters: bool,
    pub(super) now: DateTime<Utc>,
}

/// One counter of one budget, whatever its period.
pub(super) type Which = (BudgetNumber, String);

/// The counters that may have moved, as they stand.
pub(super) async fn counters(connection: &mut PgConnection, asked: &Asked<'_>) -> Result<Vec<CounterFact>, AppError> {
    let Asked { catalogue, activity, also, open, all_counters, now } = *asked;
    let mut wanted: BTreeSet<Which> = also.clone();
    for one in activity {
        for governing in catalogue.governing(one, now).map_err(Refusal::Calendar)? {
            wanted.insert((governing.budget.number, governing.key.as_str().to_owned()));
        }
    }
    let mut owners: BTreeMap<Which, Option<TenantId>> = BTreeMap::new();
    for found in open.values() {
        let budget = found.budget.as_deref().and_then(|id| BudgetId::parse(id).ok());
        if let Some(budget) = budget.and_then(|id| catalogue.budget(&id)) {
            let which = (budget.number, found.key.clone());
            owners.insert(which.clone(), found.tenant.clone());
            wanted.insert(which);
        }
    }
    let budgets: BTreeMap<BudgetNumber, &Arc<Budget>> =
        catalogue.budgets().map(|budget| (budget.number, budget)).collect();
    let mut rows = Vec::new();
    if !wanted.is_empty() {
        let mut asked_for = Vec::with_capacity(wanted.len());
        for (number, key) in &wanted {
            if let Some(budget) = budgets.get(number) {
                asked_for.push((*number, key.clone(), since(budget, now)?));
            }
        }
        rows = sql::counters_of(&mut *connection, &asked_for).await?;
    }
    if all_counters {
        let mut floors = Vec::with_capacity(budgets.len());
        for budget in budgets.values() {
            floors.push((budget.number, floor(budget), since(budget, now)?));
        }
        rows.extend(sql::counters_over(connection, &floors).await?);
    }
    Ok(gather(&budgets, wanted, rows, &owners, now))
}

/// The counters of these budgets that have posted anything and count the present.
pub(super) async fn used(
    connection: &mut PgConnection,
    budgets: &[&Arc<Budget>],
    now: DateTime<Utc>,
) -> Result<Vec<CounterFact>, AppError> {
    let floors: Vec<_> = budgets.iter().map(|budget| (budget.number, LEAST, now)).collect();
    let rows = sql::counters_over(connection, &floors).await?;
    let budgets = budgets.iter().map(|budget| (budget.number, *budget)).collect();
    Ok(gather(&budgets, BTreeSet::new(), rows, &BTreeMap::new(), now))
}

/// Rows as facts: one for each counter that is wanted or was found.
fn gather(
    budgets: &BTreeMap<BudgetNumber, &Arc<Budget>>,
    wanted: BTreeSet<Which>,
    rows: Vec<OpenCounter>,
    owners: &BTreeMap<Which, Option<TenantId>>,
    now: DateTime<Utc>,
) -> Vec<CounterFact> {
    let mut by_counter: BTreeMap<Which, BTreeMap<DateTime<Utc>, OpenCounter>> =
        wanted.into_iter().map(|which| (which, BTreeMap::new())).collect();
    for row in rows {
        // A window has no end but the present's: what is counted ahead of it is counted.
        let slides = budgets.get(&row.id.budget).is_some_and(|budget| budget.period.slides().is_some());
        if slides || row.id.start <= now {
            let which = (row.id.budget, row.id.key.as_str().to_owned());
            by_counter.entry(which).or_default().insert(row.id.start, row);
        }
    }
    let fact = |(which, found): (Which, BTreeMap<DateTime<Utc>, OpenCounter>)| {
        let budget = budgets.get(&which.0)?;
        fact(budget, &which, &found, owners.get(&which).cloned().flatten(), now)
    };
    by_counter.into_iter().filter_map(fact).collect()
}

/// What a counter must have posted before it can tell anything. A sliding window is the sum of many, so each may be less.
fn floor(budget: &Budget) -> Decimal {
    let share = budget.thresholds.first().copied().unwrap_or(Decimal::ONE);
    match budget.period {
        PeriodSpec::Sliding { .. } => Decimal::ZERO,
        PeriodSpec::Hour
        | PeriodSpec::Day { .. }
        | PeriodSpec::Week { .. }
        | PeriodSpec::Month { .. }
        | PeriodSpec::Months { .. }
        | PeriodSpec::Quarter
        | PeriodSpec::Year { .. }
        | PeriodSpec::Fixed { .. }
        | PeriodSpec::Once => budget.limit.decimal().checked_mul(share).unwrap_or(Decimal::ZERO),
    }
}

/// Counters whose period ends after this instant count the present. The zone does not matter to a sliding window, which is
/// the only one that begins in the past.
fn since(budget: &Budget, now: DateTime<Utc>) -> Result<DateTime<Utc>, AppError> {
    match budget.period {
        PeriodSpec::Sliding { .. } => Ok(budget.period.since(Zone::UTC, now).map_err(Refusal::Calendar)?),
        PeriodSpec::Hour
        | PeriodSpec::Day { .. }
        | PeriodSpec::Week { .. }
        | PeriodSpec::Month { .. }
        | PeriodSpec::Months { .. }
        | PeriodSpec::Quarter
        | PeriodSpec::Year { .. }
        | PeriodSpec::Fixed { .. }
        | PeriodSpec::Once => Ok(now),
    }
}

/// One counter as it stands: the row of its period, or the slices of its window added up. Nothing for a calendar period
/// that has counted nothing.
fn fact(
    budget: &Arc<Budget>,
    which: &Which,
    found: &BTreeMap<DateTime<Utc>, OpenCounter>,
    owner: Option<TenantId>,
    now: DateTime<Utc>,
) -> Option<CounterFact> {
    let latest = found.values().next_back();
    let period = match budget.period {
        PeriodSpec::Sliding { .. } => Period { start: since(budget, now).ok()?, end: None },
        PeriodSpec::Hour
        | PeriodSpec::Day { .. }
        | PeriodSpec::Week { .. }
        | PeriodSpec::Month { .. }
        | PeriodSpec::Months { .. }
        | PeriodSpec::Quarter
        | PeriodSpec::Year { .. }
        | PeriodSpec::Fixed { .. }
        | PeriodSpec::Once => latest.map(|row| Period { start: row.id.start, end: row.end })?,
    };
    Some(CounterFact {
        budget: Arc::clone(budget),
        key: CounterKey::stored(&which.1),
        tenant: latest.and_then(|row| row.tenant.clone()).or(owner),
        period,
        counter: found.values().fold(Counter::default(), |sum, row| sum.saturating_add(row.counter)),
    })
}
