//! Counters that stop calls and grant them again, and reservations that expired and that nobody settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::PgConnection;

use super::super::AppError;
use super::facts::Which;
use crate::domain::alert::counters::CounterFact;
use crate::domain::alert::expired::{self, EXPIRED_WINDOW, ExpiredFact};
use crate::domain::alert::kind::AlertKind;
use crate::domain::alert::refusing::{self, RefusingFact};
use crate::domain::alert::{Cause, Reading};
use crate::domain::amounts::Quantity;
use crate::domain::budget::catalogue::{Budget, BudgetNumber, Catalogue};
use crate::domain::budget::counter::Counter;
use crate::domain::budget::scope::CounterKey;
use crate::domain::calendar::Period;
use crate::domain::id::{BudgetId, TenantId};
use crate::domain::ledger::outcome::Refusal;
use crate::store::alert_look::{self as sql, Look, Stops};
use crate::store::alerts::OpenFound;

/// How far back stops and grants are recent.
const RECENT: TimeDelta = TimeDelta::minutes(3);

/// What counters stopped and granted lately.
#[derive(Debug, Default)]
pub(super) struct Refused {
    stops: BTreeMap<Which, Stops>,
    /// What an alert is open about.
    open: BTreeSet<Which>,
    /// Open alerts about budgets that are gone do not count.
    grants: BTreeMap<Which, DateTime<Utc>>,
    changed: BTreeMap<BudgetNumber, DateTime<Utc>>,
}

/// Looks at what was stopped, and, where an alert may clear, at what was granted.
pub(super) async fn look(
    connection: &mut PgConnection,
    look: &Look,
    catalogue: &Catalogue,
    open: &BTreeMap<Cause, OpenFound>,
    now: DateTime<Utc>,
) -> Result<Refused, AppError> {
    let since = now.checked_sub_signed(RECENT).unwrap_or(now);
    let number = |id: &str| catalogue.budget(&BudgetId::parse(id).ok()?).map(|budget| budget.number);
    let mut found = Refused::default();
    for one in look.stops(&mut *connection, since, now).await? {
        if let Some(number) = number(&one.budget) {
            found.stops.insert((number, one.key.clone()), one);
        }
    }
    for (cause, known) in open {
        if known.open.kind == AlertKind::Refusing
            && let Some((budget, key)) = refusing::about_whom(cause)
            && let Some(number) = number(budget)
        {
            found.open.insert((number, key.to_owned()));
        }
    }
    if found.open.is_empty() && !found.stops.values().any(|one| one.is_new) {
        return Ok(found);
    }
    for (call, at) in sql::granted_since(&mut *connection, since).await? {
        for governing in catalogue.governing(&call, at).map_err(Refusal::Calendar)? {
            let which = (governing.budget.number, governing.key.as_str().to_owned());
            let known = found.grants.entry(which).or_insert(at);
            *known = at.max(*known);
        }
    }
    let numbers: Vec<BudgetNumber> = found.wanted().map(|(number, _)| *number).collect();
    found.changed = sql::changed_at(connection, &numbers).await?;
    Ok(found)
}

impl Refused {
    fn wanted(&self) -> impl Iterator<Item = &Which> {
        self.open.iter().chain(self.stops.iter().filter(|(_, one)| one.is_new).map(|(which, _)| which))
    }

    /// The counters that are to be looked at.
    pub(super) fn counters(&self) -> BTreeSet<Which> {
        self.wanted().cloned().collect()
    }

    /// What they tell; and whether every counter that an alert is open about was read.
    pub(super) fn read(
        &self,
        catalogue: &Catalogue,
        counters: &[CounterFact],
        now: DateTime<Utc>,
    ) -> (Vec<Reading>, bool) {
        let facts: BTreeMap<Which, &CounterFact> =
            counters.iter().map(|fact| ((fact.budget.number, fact.key.as_str().to_owned()), fact)).collect();
        let mut readings = Vec::new();
        let mut all = true;
        for which in self.counters() {
            let stops = self.stops.get(&which);
            // One that has counted nothing has no row: a call that is larger than the limit, say.
            let budget = || catalogue.budgets().find(|budget| budget.number == which.0);
            let counter = facts.get(&which).map(|fact| (*fact).clone());
            let Some(counter) = counter.or_else(|| as_answered(budget()?, stops?)) else {
                all = false;
                continue;
            };
            let fact = RefusingFact {
                counter,
                stopped: stops.map_or(0, |one| one.count),
                is_new: stops.is_some_and(|one| one.is_new),
                last_stop: stops.map(|one| one.last_at),
                reason: stops.map(|one| one.reason.clone()),
                last_grant: self.grants.get(&which).copied(),
                changed_at: self.changed.get(&which.0).copied(),
            };
            readings.push(refusing::read(&fact, now));
        }
        (readings, all)
    }
}

/// A counter as the latest of the calls that it stopped was answered.
fn as_answered(budget: &Arc<Budget>, stops: &Stops) -> Option<CounterFact> {
    let (posted, held) = stops.amounts;
    let (start, end) = stops.period;
    Some(CounterFact {
        budget: Arc::clone(budget),
        key: CounterKey::stored(&stops.key),
        tenant: budget.is_within_tenant().then(|| stops.tenant.clone()),
        period: Period { start, end },
        counter: Counter { posted: Quantity::new(posted).ok()?, held: Quantity::new(held).ok()?, ..Counter::default() },
    })
}

/// Reads the reservations that expired lately, and the tenants that an alert is open about.
pub(super) async fn expired(
    connection: &mut PgConnection,
    open: &BTreeMap<Cause, OpenFound>,
    now: DateTime<Utc>,
) -> Result<Vec<Reading>, AppError> {
    let since = now.checked_sub_signed(EXPIRED_WINDOW).unwrap_or(now);
    let of_open = open.iter().filter(|(_, known)| known.open.kind == AlertKind::ExpiredReservations);
    let nothing = |tenant: TenantId| ExpiredFact { tenant, count: 0, usd: Decimal::ZERO, last_at: None };
    let mut facts: BTreeMap<TenantId, ExpiredFact> = of_open
        .filter_map(|(cause, _)| expired::about_whom(cause))
        .map(|tenant| (tenant.clone(), nothing(tenant)))
        .collect();
    for one in sql::expired_since(connection, since).await? {
        let fact =
            ExpiredFact { tenant: one.tenant.clone(), count: one.count, usd: one.usd, last_at: Some(one.last_at) };
        facts.insert(one.tenant, fact);
    }
    Ok(facts.values().map(expired::read).collect())
}
