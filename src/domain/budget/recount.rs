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
use crate::domain::calendar::{CalendarError, Period, PeriodSpec, Zone};
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
    /// Whether one of them bounds the time of what it counts.
    is_timed: bool,
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
        let is_counted = |number| only.is_empty() || only.contains(&number);
        let is_timed = catalogue.budgets().any(|budget| budget.max_seconds.is_some() && is_counted(budget.number));
        Self { catalogue, only, is_timed, counters: BTreeMap::new() }
    }

    /// Of all budgets of the catalogue, going on from what was counted before.
    #[must_use]
    pub fn going_on(catalogue: &'a Catalogue, counters: BTreeMap<CounterId, Recounted>) -> Self {
        Self { counters, ..Self::new(catalogue, Vec::new()) }
    }

    /// Counts what a transfer moved, in the period of its instant.
    ///
    /// # Errors
    /// When it cannot be counted.
    pub fn post(&mut self, call: &Dimensions, at: DateTime<Utc>, moved: &Consumption) -> Result<(), CannotRecount> {
        self.count(call, at, Some(at), |counter, budget| Ok(counter.post(budget.measure.saturating_of(moved))))
    }

    /// Counts what transfers moved that were added up, in the period of an instant. When the first of them was is for
    /// [`Recount::open`].
    ///
    /// # Errors
    /// When it cannot be counted.
    pub fn add(&mut self, call: &Dimensions, at: DateTime<Utc>, moved: &Consumption) -> Result<(), CannotRecount> {
        self.count(call, at, None, |counter, budget| Ok(counter.post(budget.measure.saturating_of(moved))))
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
        self.count(call, at, None, |counter, budget| Ok(counter.take_back(budget.measure.saturating_of(moved))))
    }

    /// Counts what an open reservation holds (its whole estimate, but for what is learned), in the period of the instant that
    /// it is held at.
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
        self.count(call, at, None, |counter, budget| counter.hold(learned.promise(budget, whole)?))
    }

    /// Takes note of when a reservation was granted, open or ended: what it opened then stays open. `at` is the instant that it
    /// is held at. The same of the first of some transfers, and any of their instants.
    ///
    /// # Errors
    /// When it cannot be counted.
    pub fn open(
        &mut self,
        call: &Dimensions,
        at: DateTime<Utc>,
        opened_at: DateTime<Utc>,
    ) -> Result<(), CannotRecount> {
        if self.is_timed {
            self.count(call, at, Some(opened_at), |counter, _| Ok(counter))?;
        }
        Ok(())
    }

    fn count(
        &mut self,
        call: &Dimensions,
        at: DateTime<Utc>,
        opened_at: Option<DateTime<Utc>>,
        add: impl Fn(Counter, &Budget) -> Result<Counter, BadAmount>,
    ) -> Result<(), CannotRecount> {
        for governing in self.catalogue.governing(call, at)? {
            if !self.only.is_empty() && !self.only.contains(&governing.budget.number) {
                continue;
            }
            let period = governing.period;
            if self.catalogue.has_forgotten(&governing.budget, &period) {
                continue;
            }
            let tenant = owner(&governing, call);
            let new = || Recounted { counter: Counter::default(), period, tenant, opened_at: None };
            let recounted = self.counters.entry(governing.counter()).or_insert_with(new);
            if let (Some(at), Some(_)) = (opened_at, governing.budget.max_seconds) {
                recounted.opened_at = Some(recounted.opened_at.map_or(at, |known| known.min(at)));
            }
            recounted.counter = add(recounted.counter, &governing.budget)?;
        }
        Ok(())
    }

    /// Whether it must be told of reservations that have ended, too ([`Recount::open`]).
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.is_timed
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
    if budget.period.slides().is_some() {
        // In no zone. What has left the window is of no use to anybody, and may be gone.
        let from = catalogue.slices_forgotten.map_or(budget.counted_from, |gone| gone.max(budget.counted_from));
        return Ok(Some(budget.period.since(Zone::UTC, from)?));
    }
    let mut earliest = budget.counted_from;
    for zone in zones {
        earliest = earliest.min(budget.period.holding(zone, budget.counted_from)?.start);
    }
    Ok(Some(earliest))
}
