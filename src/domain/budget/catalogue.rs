//! The catalogue: tenants and budgets as one consistent version, and which budgets govern a call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

pub use super::bad_budget::BadBudget;
use super::closure::Closure;
use super::counter::CounterId;
use super::coverage::{MissingRule, NotCounted};
use super::measure::{Measure, WEIGHT_MAX};
use super::scope::{CounterKey, Dimensions, Each, Scope};
use super::share::share_of;
use super::spellings::Spellings;
use crate::domain::amounts::Quantity;
use crate::domain::calendar::{CalendarError, Period, PeriodSpec, Zone};
use crate::domain::id::{BudgetId, RunId, TenantId};

/// Most decimal places of a threshold, a floor, a ceiling or a tenant's weight.
pub const SHARE_PLACES: u32 = 6;
/// Longest time that a run can be given, in seconds: 366 days.
pub const RUN_SECONDS_MAX: u32 = 31_622_400;

/// A customer of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The caller's slug.
    pub id: TenantId,
    /// The zone whose midnights bound budgets on the tenant's clock.
    pub zone: Zone,
    /// Whether a model without a price, or a call without an emission factor, is refused instead of estimated.
    pub strict: bool,
    /// Whether it was archived: it starts nothing new, but what is open still ends.
    pub archived: bool,
}

/// The database's number of a budget: short, because it stands in every counter's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetNumber(pub i32);

/// Whose midnights bound a budget's periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetClock {
    /// One zone for every counter.
    Fixed(Zone),
    /// The zone of the tenant whose call it is. Only for budgets whose every counter belongs to one tenant.
    Tenant,
}

/// What happens at the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// Never exceeded by what is granted.
    Hard,
    /// Warns, never refuses.
    Soft,
}

/// How urgent a call is, from the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Nobody waits for it.
    Batch,
    /// Somebody will look at it later.
    Standard,
    /// A person is waiting.
    Interactive,
}

impl Priority {
    /// All, from the least urgent.
    pub const ALL: [Self; 3] = [Self::Batch, Self::Standard, Self::Interactive];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Standard => "standard",
            Self::Interactive => "interactive",
        }
    }
}

/// What a reservation holds of its estimate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HoldRule {
    /// All of it.
    #[default]
    Max,
    /// With the output that 95 of 100 such calls stay within.
    P95,
    /// With the output that 99 of 100 such calls stay within.
    P99,
}

impl HoldRule {
    /// Those that are learned.
    pub const LEARNED: [Self; 2] = [Self::P95, Self::P99];

    /// How many of a thousand calls stay within what is held. None where it is their maximum.
    #[must_use]
    pub const fn of_thousand(self) -> Option<u32> {
        match self {
            Self::Max => None,
            Self::P95 => Some(950),
            Self::P99 => Some(990),
        }
    }
}

/// What becomes of a reservation that expires without a settlement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExpiry {
    /// What it held is given back.
    #[default]
    Release,
    /// Its estimate is posted, unconfirmed: whoever forgets to settle has spent it until it is known better.
    PostEstimate,
}

/// What a budget is for; a quota is a budget on the provider's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetKind {
    /// Set by the platform.
    Budget,
    /// Set by a provider's contract.
    Quota,
}

/// Whether calls that can wait are slowed down before the limit is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pacing {
    /// Only the limit, its floors and its ceilings count.
    #[default]
    Off,
    /// Calls that are not interactive get what the projected interactive need leaves over, a day's share at a time.
    Forecast,
}

/// A limit on one measure over one scope in one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The caller's slug.
    pub id: BudgetId,
    /// The database's number.
    pub number: BudgetNumber,
    /// Counts replacements, from 1.
    pub version: i32,
    /// Budget or quota.
    pub kind: BudgetKind,
    /// Which calls it governs.
    pub scope: Scope,
    /// By what it is counted apart.
    pub each: Option<Each>,
    /// What it counts.
    pub measure: Measure,
    /// How much, in one period, for one counter.
    pub limit: Quantity,
    /// The calendar window.
    pub period: PeriodSpec,
    /// Whose midnights bound it.
    pub clock: BudgetClock,
    /// What happens at the limit.
    pub enforcement: Enforcement,
    /// What a reservation holds.
    pub reserve: HoldRule,
    /// Shares of the limit, ascending, at which answers begin to warn.
    pub thresholds: Vec<Decimal>,
    /// Shares of the limit that only calls of at least this priority may use.
    pub floors: BTreeMap<Priority, Decimal>,
    /// Shares of the limit up to which, whoever took them, calls of that priority are granted.
    pub ceilings: BTreeMap<Priority, Decimal>,
    /// Whether calls that can wait are slowed down before the limit is reached.
    pub pacing: Pacing,
    /// How much more than others a tenant gets where pacing shares what is left over; 1 for who is not named.
    pub weights: BTreeMap<TenantId, Decimal>,
    /// How long a run may go on, in seconds from its first call; only for a budget of each run.
    pub max_seconds: Option<u32>,
    /// What becomes of a call that lacks a field which it needs to count it.
    pub missing: MissingRule,
    /// The instant from which a budget that never resets counts; of all time if none.
    pub counts_from: Option<DateTime<Utc>>,
    /// The largest share of the limit that one reservation may hold, if it says so.
    pub max_hold_share: Option<Decimal>,
    /// What becomes of a reservation that expires, if the budget is hard.
    pub on_expiry: OnExpiry,
    /// Since when its shape (scope, each, measure, period, clock) stands. Periods that ended before are not its own.
    pub counted_from: DateTime<Utc>,
}

impl Budget {
    /// Checks what no single field can say.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), BadBudget> {
        if self.clock == BudgetClock::Tenant && !self.is_within_tenant() {
            return Err(BadBudget::SharedTenantClock);
        }
        if self.limit < Quantity::ZERO {
            return Err(BadBudget::NegativeLimit);
        }
        let share = |value: &Decimal| {
            *value >= Decimal::ZERO && *value <= Decimal::ONE && value.normalize().scale() <= SHARE_PLACES
        };
        let ascending = self.thresholds.iter().zip(self.thresholds.iter().skip(1)).all(|(a, b)| a < b);
        if !ascending || !self.thresholds.iter().all(|value| share(value) && !value.is_zero()) {
            return Err(BadBudget::Thresholds);
        }
        let kept = self.floors.values().try_fold(Decimal::ZERO, |sum, value| sum.checked_add(*value));
        if !self.floors.values().all(share) || kept.is_none_or(|sum| sum > Decimal::ONE) {
            return Err(BadBudget::Floors);
        }
        if !self.ceilings.values().all(share) {
            return Err(BadBudget::Ceilings);
        }
        if self.ceilings.contains_key(&Priority::Interactive) {
            return Err(BadBudget::InteractiveCeiling);
        }
        if self.max_hold_share.is_some_and(|value| !share(&value) || value.is_zero()) {
            return Err(BadBudget::HoldShare);
        }
        self.check_pacing()?;
        let times_runs = self.each == Some(Each::Run)
            && self.period == PeriodSpec::Once
            && self.enforcement == Enforcement::Hard
            && self.max_seconds.is_some_and(|seconds| (1..=RUN_SECONDS_MAX).contains(&seconds));
        if self.max_seconds.is_some() && !times_runs {
            return Err(BadBudget::MaxSeconds);
        }
        Ok(())
    }

    fn check_pacing(&self) -> Result<(), BadBudget> {
        let is_weight = |value: &Decimal| {
            *value > Decimal::ZERO && *value <= WEIGHT_MAX && value.normalize().scale() <= SHARE_PLACES
        };
        if !self.weights.values().all(is_weight) {
            return Err(BadBudget::Weights);
        }
        if self.pacing == Pacing::Off {
            return if self.weights.is_empty() { Ok(()) } else { Err(BadBudget::NothingToShare) };
        }
        let resets = !matches!(self.period, PeriodSpec::Once | PeriodSpec::Sliding { .. });
        // The roll-up knows no runs, agents and labels, so that nothing can be projected for them.
        let scope = &self.scope;
        let is_known =
            scope.run.is_none() && scope.agent.is_none() && scope.labels.is_empty() && scope.tenants.is_empty();
        let is_told_apart = match &self.each {
            None | Some(Each::Tenant | Each::Feature | Each::Provider | Each::Model | Each::Region) => true,
            Some(Each::Run | Each::Agent | Each::Label(_)) => false,
        };
        if self.enforcement == Enforcement::Soft || !resets || !is_known || !is_told_apart {
            return Err(BadBudget::Unpaceable);
        }
        if !self.weights.is_empty() && self.is_within_tenant() {
            return Err(BadBudget::NothingToShare);
        }
        Ok(())
    }

    /// Whether it counts what happens at an instant: not before it is told to.
    fn counts_at(&self, at: DateTime<Utc>) -> bool {
        self.counts_from.is_none_or(|from| at >= from)
    }

    /// Whether each of its counters counts one tenant's calls alone.
    #[must_use]
    pub fn is_within_tenant(&self) -> bool {
        self.scope.tenant.is_some() || self.each.as_ref().is_some_and(Each::is_within_tenant)
    }

    /// The part of the limit that calls of this priority may use: the limit less the floors of more urgent classes, and at
    /// most the class's own ceiling; rounded down to what a quantity keeps.
    #[must_use]
    pub fn ceiling(&self, priority: Priority) -> Quantity {
        let above = self.floors.iter().filter(|(class, _)| **class > priority);
        let kept = above.fold(Decimal::ZERO, |sum, (_, share)| sum.saturating_add(*share));
        let own = self.ceilings.get(&priority).copied().unwrap_or(Decimal::ONE);
        let left = Decimal::ONE.saturating_sub(kept).max(Decimal::ZERO).min(own);
        if left == Decimal::ONE {
            return self.limit;
        }
        // A share that `check` refuses, and so none that is stored, leaves nothing.
        share_of(self.limit, left).map_or(Quantity::ZERO, |(floor, _)| floor)
    }

    /// The highest threshold that so much has reached. None where the limit is zero: every share of nothing is reached.
    #[must_use]
    pub fn threshold_reached(&self, taken: Quantity) -> Option<Decimal> {
        if self.limit == Quantity::ZERO {
            return None;
        }
        let reached = |share: &&Decimal| {
            share_of(self.limit, **share).is_some_and(|(floor, exact)| taken > floor || (exact && taken == floor))
        };
        self.thresholds.iter().rev().find(reached).copied()
    }

    /// Until when what is counted in a period counts: its end, or of a slice the instant at which it has left the window. None
    /// if for ever.
    #[must_use]
    pub fn counts_until(&self, period: &Period) -> Option<DateTime<Utc>> {
        let length = self.period.slides().unwrap_or_default();
        period.end.and_then(|end| end.checked_add_signed(length))
    }

    /// Whether two versions count alike, so that the counters of one serve the other.
    #[must_use]
    pub fn counts_like(&self, other: &Self) -> bool {
        self.scope == other.scope
            && self.each == other.each
            && self.measure == other.measure
            && self.period == other.period
            && self.clock == other.clock
            && self.counts_from == other.counts_from
            // Only counters of a budget that bounds time know when they were opened.
            && self.max_seconds.is_some() == other.max_seconds.is_some()
    }
}

/// A budget that governs a call, with the counters that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Governing {
    /// The budget.
    pub budget: Arc<Budget>,
    /// The counter's key.
    pub key: CounterKey,
    /// The zone its periods are bounded in.
    pub zone: Zone,
    /// The period the call is counted in.
    pub period: Period,
    /// The start of the oldest counter that is added up: of the period above, or of the oldest slice of a sliding window.
    ///
    /// A window has no other end: what was counted by a clock that is ahead, and usage that says it is, counts as well.
    pub since: DateTime<Utc>,
    /// The provider has said that the quota is gone, until this instant; none at an instant after it.
    pub closed_until: Option<DateTime<Utc>>,
}

impl Governing {
    /// The counter that a call is counted in.
    #[must_use]
    pub fn counter(&self) -> CounterId {
        self.counter_from(self.period.start)
    }

    /// What a person calls the period: the one the call is counted in, or of a sliding window the whole of it. That ends when
    /// the last of what is counted now has left it.
    #[must_use]
    pub fn span(&self) -> Period {
        let PeriodSpec::Sliding { seconds } = self.budget.period else {
            return Period { start: self.budget.counts_from.unwrap_or(self.period.start), ..self.period };
        };
        let length = TimeDelta::seconds(i64::from(seconds.get()));
        Period { start: self.since, end: self.period.end.and_then(|end| end.checked_add_signed(length)) }
    }

    /// The same counter, looked at from a later instant: a sliding window has moved on, whatever else has not.
    ///
    /// # Errors
    /// When the instant is outside the calendar's range.
    pub fn seen_at(&self, at: DateTime<Utc>) -> Result<Self, CalendarError> {
        match self.budget.period {
            PeriodSpec::Sliding { .. } => Ok(Self { since: self.budget.period.since(self.zone, at)?, ..self.clone() }),
            PeriodSpec::Hour
            | PeriodSpec::Day { .. }
            | PeriodSpec::Week { .. }
            | PeriodSpec::Month { .. }
            | PeriodSpec::Months { .. }
            | PeriodSpec::Quarter
            | PeriodSpec::Year { .. }
            | PeriodSpec::Fixed { .. }
            | PeriodSpec::Once => Ok(self.clone()),
        }
    }

    /// The counter of the period that starts at an instant.
    #[must_use]
    pub fn counter_from(&self, start: DateTime<Utc>) -> CounterId {
        CounterId { budget: self.budget.number, key: self.key.clone(), start }
    }

    /// Whether the limit bounds what was counted earlier together with what is counted here: in the same period, or in a slice
    /// that has not left the window.
    #[must_use]
    pub fn counts(&self, earlier: &Self) -> bool {
        let slides = self.budget.period.slides().is_some();
        let is_within = earlier.period.start == self.period.start || (slides && earlier.period.start >= self.since);
        self.budget.number == earlier.budget.number && self.key == earlier.key && is_within
    }

    /// The counters that the limit bounds together, of those at hand: that of the period, or the slices of a sliding window
    /// since it begins, oldest first.
    pub fn window<'a, T>(&'a self, counters: &'a BTreeMap<CounterId, T>) -> impl Iterator<Item = (Period, &'a T)> {
        let slides = self.budget.period.slides().is_some();
        let is_its = move |id: &CounterId| {
            id.budget == self.budget.number && id.key == self.key && (slides || id.start == self.period.start)
        };
        let start = if slides { self.since } else { self.period.start };
        let found = counters.range(self.counter_from(start)..).take_while(move |(id, _)| is_its(id));
        found.map(|(id, value)| (self.budget.period.slice_from(id.start).unwrap_or(self.period), value))
    }
}

/// Tenants and budgets, as of one version.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// Counts changes; a lane compares it inside each batch's transaction.
    pub version: i64,
    /// Periods before this instant are closed: nothing is counted there any more. None if none was ever closed.
    pub closed_until: Option<DateTime<Utc>>,
    /// By which names calls count that were written down as they were said.
    pub spellings: Arc<Spellings>,
    /// Slices that had left their sliding window by this instant may be gone: a recount leaves them out. As of when the
    /// catalogue was loaded, because forgetting is no change of it. None if none was ever forgotten.
    pub slices_forgotten: Option<DateTime<Utc>>,
    tenants: BTreeMap<TenantId, Tenant>,
    budgets_by_tenant: BTreeMap<TenantId, Vec<Arc<Budget>>>,
    budgets_of_all: Vec<Arc<Budget>>,
    budgets_by_id: BTreeMap<BudgetId, Arc<Budget>>,
    stopped_runs: BTreeMap<TenantId, BTreeSet<RunId>>,
    closures: BTreeMap<BudgetNumber, Closure>,
}

impl Catalogue {
    /// Builds a catalogue.
    #[must_use]
    pub fn new(version: i64, tenants: Vec<Tenant>, budgets: Vec<Budget>) -> Self {
        let tenants = tenants.into_iter().map(|tenant| (tenant.id.clone(), tenant)).collect();
        Self { version, tenants, ..Self::default() }.with_budgets(budgets.into_iter().map(Arc::new))
    }

    /// This catalogue with these budgets instead of its own.
    #[must_use]
    pub fn with_budgets(&self, budgets: impl IntoIterator<Item = Arc<Budget>>) -> Self {
        let (budgets_by_tenant, budgets_by_id) = (BTreeMap::new(), BTreeMap::new());
        let mut catalogue = Self { budgets_by_tenant, budgets_by_id, budgets_of_all: Vec::new(), ..self.clone() };
        for budget in budgets {
            catalogue.budgets_by_id.insert(budget.id.clone(), Arc::clone(&budget));
            match &budget.scope.tenant {
                Some(tenant) => catalogue.budgets_by_tenant.entry(tenant.clone()).or_default().push(budget),
                None => catalogue.budgets_of_all.push(budget),
            }
        }
        catalogue
    }

    /// This catalogue with one tenant's zone changed; as it is where the tenant is not known.
    #[must_use]
    pub fn with_zone(mut self, tenant: &TenantId, zone: Zone) -> Self {
        if let Some(known) = self.tenants.get_mut(tenant) {
            known.zone = zone;
        }
        self
    }

    /// This catalogue with these runs stopped.
    #[must_use]
    pub fn with_stopped_runs(mut self, runs: impl IntoIterator<Item = (TenantId, RunId)>) -> Self {
        for (tenant, run) in runs {
            self.stopped_runs.entry(tenant).or_default().insert(run);
        }
        self
    }

    /// Whether somebody has stopped the run that a call is part of.
    #[must_use]
    pub fn is_run_stopped(&self, call: &Dimensions) -> bool {
        let Some(run) = &call.run else { return false };
        self.stopped_runs.get(&call.tenant).is_some_and(|runs| runs.contains(run))
    }

    /// This catalogue with these quotas closed.
    #[must_use]
    pub fn with_closures(self, closures: BTreeMap<BudgetNumber, Closure>) -> Self {
        Self { closures, ..self }
    }

    /// Until when a quota is closed, if it is at an instant.
    #[must_use]
    pub fn quota_closed_until(&self, budget: BudgetNumber, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.closure(budget).map(|closure| closure.until).filter(|until| *until > at)
    }

    /// How a quota is closed, or was the last time.
    #[must_use]
    pub fn closure(&self, budget: BudgetNumber) -> Option<&Closure> {
        self.closures.get(&budget)
    }

    /// Whether any quota is closed at an instant.
    #[must_use]
    pub fn has_closed_quotas(&self, at: DateTime<Utc>) -> bool {
        self.closures.values().any(|closure| closure.until > at)
    }

    /// The instant in whose period something is counted that belongs to `at` and is written at `now`: its own, unless that
    /// is closed, and then the open one.
    #[must_use]
    pub fn counted_at(&self, at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        match self.closed_until {
            // A replica that is behind must not count in what another has closed.
            Some(closed) if at < closed => closed.max(now),
            Some(_) | None => at,
        }
    }

    /// Whether the counter of a period may be gone: a slice that left its sliding window long ago.
    #[must_use]
    pub fn has_forgotten(&self, budget: &Budget, period: &Period) -> bool {
        let gone = self.slices_forgotten.filter(|_| budget.period.slides().is_some());
        gone.zip(budget.counts_until(period)).is_some_and(|(gone, until)| until <= gone)
    }

    /// One tenant.
    #[must_use]
    pub fn tenant(&self, id: &TenantId) -> Option<&Tenant> {
        self.tenants.get(id)
    }

    /// All tenants, by id.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.values()
    }

    /// All budgets, those without a tenant first.
    pub fn budgets(&self) -> impl Iterator<Item = &Arc<Budget>> + Clone {
        self.budgets_of_all.iter().chain(self.budgets_by_tenant.values().flatten())
    }

    /// One budget by id.
    #[must_use]
    pub fn budget(&self, id: &BudgetId) -> Option<&Arc<Budget>> {
        self.budgets_by_id.get(id)
    }

    /// The zone that bounds the periods of a budget's counter for a tenant's calls; none for a tenant that is not known where
    /// its own zone would.
    #[must_use]
    pub fn zone_of(&self, budget: &Budget, tenant: &TenantId) -> Option<Zone> {
        match budget.clock {
            BudgetClock::Fixed(zone) => Some(zone),
            BudgetClock::Tenant => self.tenants.get(tenant).map(|tenant| tenant.zone),
        }
    }

    /// The budgets that would govern a call counted at an instant if the call said more.
    #[must_use]
    pub fn not_counting(&self, call: &Dimensions, at: DateTime<Utc>) -> Vec<NotCounted> {
        let call = &*self.spellings.named(call);
        let own = self.budgets_by_tenant.get(&call.tenant).into_iter().flatten();
        let all = self.budgets_of_all.iter().chain(own).filter(|budget| budget.counts_at(at));
        all.filter_map(|budget| budget.not_counting(call)).collect()
    }

    /// The budgets that govern a call counted at an instant, with the counters it touches.
    ///
    /// A call of a tenant that is not in the catalogue is governed by the budgets of all tenants that keep a zone of
    /// their own.
    ///
    /// # Errors
    /// When the instant is outside the calendar's range.
    pub fn governing(&self, call: &Dimensions, at: DateTime<Utc>) -> Result<Vec<Governing>, CalendarError> {
        let call = &*self.spellings.named(call);
        let own = self.budgets_by_tenant.get(&call.tenant).into_iter().flatten();
        let mut governing = Vec::new();
        for budget in self.budgets_of_all.iter().chain(own) {
            if !budget.scope.matches(call) || !budget.counts_at(at) {
                continue;
            }
            let key = match &budget.each {
                None => CounterKey::whole(),
                Some(each) => match each.key(call) {
                    Some(key) => key,
                    None => continue,
                },
            };
            let Some(zone) = self.zone_of(budget, &call.tenant) else { continue };
            let (period, since) = (budget.period.holding(zone, at)?, budget.period.since(zone, at)?);
            if budget.counts_until(&period).is_some_and(|end| end <= budget.counted_from) {
                continue;
            }
            let closed_until = self.quota_closed_until(budget.number, at);
            governing.push(Governing { budget: Arc::clone(budget), key, zone, period, since, closed_until });
        }
        Ok(governing)
    }
}
