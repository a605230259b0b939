//! Recounting: what the counters must be, from the journal and the open reservations alone.
//!
//! The same function serves a budget that is new or changed, and `verify`: a counter is never anything but this sum.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::catalogue::{Budget, BudgetClock, BudgetNumber, Catalogue, Governing};
use super::counter::{Counter, CounterId};
use super::measure::Consumption;
use super::promise::LearnedHolds;
use super::scope::Dimensions;
use crate::domain::amounts::BadAmount;
use crate::domain::calendar::{CalendarError, Period, PeriodSpec};
use crate::domain::id::TenantId;

/// A counter as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recounted {
    /// Its numbers.
    pub counter: Counter,
    /// Its period.
    pub period: Period,
    /// The tenant whose calls it counts, if they are one tenant's alone.
    pub tenant: Option<TenantId>,
    /// The first instant that was counted, where the budget bounds the time of what it counts.
    pub opened_at: Option<DateTime<Utc>>,
}

/// Why a recount is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotRecount {
    /// A sum is beyond what the ledger can keep.
    #[error("a counter {0}")]
    Amount(#[from] BadAmount),
    /// An instant is outside the calendar.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
}

/// Adds up.
#[derive(Debug)]
pub struct Recount<'a> {
    catalogue: &'a Catalogue,
    /// Only these budgets; all if empty.
    only: Vec<BudgetNumber>,
    counters: BTreeMap<CounterId, Recounted>,
}

/// The tenant whose calls alone a counter counts.
#[must_use]
pub fn owner(governing: &Governing, call: &Dimensions) -> Option<TenantId> {
    governing.budget.is_within_tenant().then(|| call.tenant.clone())
}

impl<'a> Recount<'a> {
    /// Of these budgets, or of all if none is named.
    #[must_use]
    pub fn new(catalogue: &'a Catalogue, only: Vec<BudgetNumber>) -> Self {
        Self { catalogue, only, counters: BTreeMap::new() }
    }

    /// Counts what a transfer moved, in the period of its instant.
    ///
    /// # Errors
    /// When it cannot be counted.
    pub fn post(&mut self, call: &Dimensions, at: DateTime<Utc>, moved: &Consumption) -> Result<(), CannotRecount> {
        self.count(call, at, |counter, budget| Ok(counter.post(budget.measure.saturating_of(moved))))
    }

    /// Counts what a transfer took back, in the period of its instant.
    ///
    /// # Errors
    /// When it cannot be counted.
    pub fn take_back(
        &mut self,
        call: &Dimensions,
        at: DateTime<Utc>,
        moved: &Consumption,
    ) -> Result<(), CannotRecount> {
        self.count(call, at, |counter, budget| Ok(counter.take_back(budget.measure.saturating_of(moved))))
    }

    /// Counts what an open reservation holds (its whole estimate, but for what is learned), in the period of the instant it was
    /// granted.
    ///
    /// # Errors
    /// When it cannot be counted.
    pub fn hold(
        &mut self,
        call: &Dimensions,
        at: DateTime<Utc>,
        whole: &Consumption,
        learned: &LearnedHolds,
    ) -> Result<(), CannotRecount> {
        self.count(call, at, |counter, budget| counter.hold(learned.promise(budget, whole)?))
    }

    fn count(
        &mut self,
        call: &Dimensions,
        at: DateTime<Utc>,
        add: impl Fn(Counter, &Budget) -> Result<Counter, BadAmount>,
    ) -> Result<(), CannotRecount> {
        for governing in self.catalogue.governing(call, at)? {
            if !self.only.is_empty() && !self.only.contains(&governing.budget.number) {
                continue;
            }
            let tenant = owner(&governing, call);
            let period = governing.period;
            let new = || Recounted { counter: Counter::default(), period, tenant, opened_at: None };
            let recounted = self.counters.entry(governing.counter()).or_insert_with(new);
            if governing.budget.max_seconds.is_some() {
                recounted.opened_at = Some(recounted.opened_at.map_or(at, |known| known.min(at)));
            }
            recounted.counter = add(recounted.counter, &governing.budget)?;
        }
        Ok(())
    }

    /// The counters, by key.
    #[must_use]
    pub fn finish(self) -> BTreeMap<CounterId, Recounted> {
        self.counters
    }
}

/// The earliest instant whose calls a budget counts; none if it counts all of time.
///
/// # Errors
/// When `counted_from` is outside the calendar.
pub fn counts_since(budget: &Budget, catalogue: &Catalogue) -> Result<Option<DateTime<Utc>>, CalendarError> {
    if budget.period == PeriodSpec::Once {
        return Ok(budget.counts_from);
    }
    let zones: Vec<_> = match (budget.clock, &budget.scope.tenant) {
        (BudgetClock::Fixed(zone), _) => vec![zone],
        (BudgetClock::Tenant, Some(tenant)) => catalogue.tenant(tenant).map(|tenant| tenant.zone).into_iter().collect(),
        (BudgetClock::Tenant, None) => catalogue.tenants().map(|tenant| tenant.zone).collect(),
    };
    let mut earliest = budget.counted_from;
    for zone in zones {
        earliest = earliest.min(budget.period.holding(zone, budget.counted_from)?.start);
    }
    Ok(Some(earliest))
}
