//! What must be read of the journal to count some budgets anew, and how far its rows may be added up before they are counted.
//!
//! A counter is a sum over calls, and every measure is linear. So calls that no budget in question tells apart, and that lie
//! between two instants at which none of its counters turns, may be added up first: by the database, or long ago by the
//! roll-up, where it tells apart all that the budgets do.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::catalogue::{Budget, BudgetClock, Catalogue};
use super::measure::Measure;
use super::recount::counts_since;
use super::scope::{Each, Scope};
use crate::domain::calendar::{CalendarError, PeriodSpec, Zone};
use crate::domain::id::{FeatureId, TenantId};

/// Length of the roll-up's stretches of time, in seconds.
const QUARTER_SECONDS: i64 = 900;
/// How far beyond now turns are looked for, in seconds: usage may say that it occurs a little later, and clocks differ.
const AHEAD_SECONDS: i64 = 8 * QUARTER_SECONDS;
/// Most turns of one counter that are worth looking for: what lies beyond is read row by row.
const TURNS_MAX: usize = 20_000;

/// What of the journal some budgets can have counted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says of another column whether it is told apart")]
pub struct Reading {
    /// Only calls counted from this instant on; none if all of time is.
    pub since: Option<DateTime<Utc>>,
    /// Only calls of these tenants; none if anybody's.
    pub tenants: Option<BTreeSet<TenantId>>,
    /// Only calls for these features; none if for any.
    pub features: Option<BTreeSet<FeatureId>>,
    /// Instants at which a counter turns, ascending. Calls between two of them are in the same periods.
    pub turns: Vec<DateTime<Utc>>,
    /// Calls from this instant on are not added up: turns were not looked for there.
    pub turns_until: DateTime<Utc>,
    /// Whether runs are told apart.
    pub runs: bool,
    /// Whether agents are told apart.
    pub agents: bool,
    /// Whether labels are told apart.
    pub labels: bool,
    /// Whether what was said of providers and models is told apart from their names.
    pub said: bool,
    /// Whether features are told apart.
    pub features_apart: bool,
    /// Whether providers, models and regions are told apart.
    pub served: bool,
    /// Whether tokens are counted, in any way.
    pub tokens: bool,
    /// Whether dollars are.
    pub usd: bool,
    /// Whether grams are.
    pub grams: bool,
}

impl Reading {
    /// What these budgets read.
    ///
    /// # Errors
    /// When an instant is outside the calendar.
    pub fn of<'a>(
        budgets: impl Iterator<Item = &'a Budget> + Clone,
        catalogue: &Catalogue,
        now: DateTime<Utc>,
    ) -> Result<Self, CalendarError> {
        let scope = |of: fn(&Budget) -> bool| budgets.clone().any(of);
        let quarter = now.timestamp().div_euclid(QUARTER_SECONDS).saturating_mul(QUARTER_SECONDS);
        let until = DateTime::from_timestamp(quarter.saturating_add(AHEAD_SECONDS), 0);
        let mut reading = Self {
            since: Some(DateTime::<Utc>::MAX_UTC),
            tenants: budgets
                .clone()
                .map(tenants)
                .collect::<Option<Vec<_>>>()
                .map(|all| all.into_iter().flatten().collect()),
            features: budgets.clone().map(|budget| budget.scope.feature.clone()).collect(),
            turns: Vec::new(),
            turns_until: until.unwrap_or(now),
            runs: scope(|budget| budget.scope.run.is_some() || budget.each == Some(Each::Run)),
            agents: scope(|budget| budget.scope.agent.is_some() || budget.each == Some(Each::Agent)),
            said: scope(|budget| budget.scope.exact),
            labels: scope(|budget| !budget.scope.labels.is_empty() || matches!(budget.each, Some(Each::Label(_)))),
            features_apart: scope(|budget| budget.scope.feature.is_some() || budget.each == Some(Each::Feature)),
            served: scope(|budget| {
                let Scope { provider, model, region, .. } = &budget.scope;
                let is_named = provider.is_some() || model.is_some() || region.is_some();
                is_named || matches!(budget.each, Some(Each::Provider | Each::Model | Each::Region))
            }),
            tokens: scope(|budget| matches!(budget.measure, Measure::Tokens | Measure::Weighted(_))),
            usd: scope(|budget| budget.measure == Measure::Usd),
            grams: scope(|budget| matches!(budget.measure, Measure::Gco2e | Measure::Gco2eMarket)),
        };
        let mut turns = BTreeSet::new();
        for budget in budgets {
            let since = counts_since(budget, catalogue)?;
            reading.since = reading.since.zip(since).map(|(known, since)| known.min(since));
            let Some(since) = since else { continue };
            // Of a budget that never turns this is where it begins.
            turns.insert(since);
            for zone in zones(budget, catalogue) {
                let found = reading.turns_of(budget.period, zone, since)?;
                turns.extend(found);
            }
        }
        reading.turns = turns.into_iter().collect();
        Ok(reading)
    }

    /// The turns of one counter. Where there are too many, those beyond are left out, and so is what lies there.
    fn turns_of(
        &mut self,
        period: PeriodSpec,
        zone: Zone,
        since: DateTime<Utc>,
    ) -> Result<Vec<DateTime<Utc>>, CalendarError> {
        let mut turns = Vec::new();
        let mut next = Some(period.holding(zone, since)?.start);
        while let Some(turn) = next.filter(|turn| *turn < self.turns_until) {
            if turns.len() >= TURNS_MAX {
                self.turns_until = turn;
                break;
            }
            turns.push(turn);
            next = period.holding(zone, turn)?.end;
        }
        Ok(turns)
    }

    /// Whether the roll-up can be read in place of the journal: it tells apart all that the budgets do, and none of their
    /// counters turns within a quarter of an hour.
    #[must_use]
    pub fn is_in_rollup(&self) -> bool {
        let is_whole = |turn: &DateTime<Utc>| {
            turn.timestamp().rem_euclid(QUARTER_SECONDS) == 0 && turn.timestamp_subsec_nanos() == 0
        };
        !self.runs
            && !self.agents
            && !self.labels
            && !self.said
            && self.since.as_ref().is_none_or(is_whole)
            && self.turns.iter().chain([&self.turns_until]).all(is_whole)
    }

    /// The stretches of time, each from its start to before its end, that hold these quarters of an hour; short gaps are bridged,
    /// so that there are few.
    #[must_use]
    pub fn stretches(quarters: &[DateTime<Utc>]) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        const STRETCHES: i32 = 500;
        let quarter = TimeDelta::seconds(QUARTER_SECONDS);
        let span = quarters.first().zip(quarters.last()).map(|(first, last)| last.signed_duration_since(*first));
        let bridged = span.and_then(|span| span.checked_div(STRETCHES)).unwrap_or_default().max(quarter);
        let mut stretches: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
        for start in quarters {
            let Some(end) = start.checked_add_signed(quarter) else { continue };
            match stretches.last_mut() {
                Some((_, last)) if start.signed_duration_since(*last) <= bridged => *last = end,
                _ => stretches.push((*start, end)),
            }
        }
        stretches
    }
}

/// The tenants whose calls a budget counts; none if anybody's.
fn tenants(budget: &Budget) -> Option<BTreeSet<TenantId>> {
    match &budget.scope.tenant {
        Some(tenant) => Some(BTreeSet::from([tenant.clone()])),
        None => Some(budget.scope.tenants.clone()).filter(|tenants| !tenants.is_empty()),
    }
}

/// The zones whose midnights bound the counters of a budget.
fn zones(budget: &Budget, catalogue: &Catalogue) -> BTreeSet<Zone> {
    match (budget.clock, &budget.scope.tenant) {
        (BudgetClock::Fixed(zone), _) => BTreeSet::from([zone]),
        (BudgetClock::Tenant, Some(tenant)) => catalogue.tenant(tenant).map(|tenant| tenant.zone).into_iter().collect(),
        (BudgetClock::Tenant, None) => catalogue.tenants().map(|tenant| tenant.zone).collect(),
    }
}

#[cfg(test)]
#[path = "tests/counting.rs"]
mod tests;
