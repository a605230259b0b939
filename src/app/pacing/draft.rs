//! What a plan is made of: the counter, what was taken of it today and by whom, and the day's forecast ([`super::basis`]),
//! which what was seen since corrects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sqlx::postgres::PgConnection;

use super::basis::{Asked, forecast};
use crate::app::AppError;
use crate::domain::amounts::Quantity;
use crate::domain::budget::catalogue::{Budget, BudgetClock, Catalogue, Priority};
use crate::domain::budget::counter::CounterId;
use crate::domain::calendar::{Period, PeriodSpec, Zone};
use crate::domain::id::TenantId;
use crate::domain::ledger::outcome::Refusal;
use crate::domain::pacing::curve::Curve;
use crate::domain::pacing::plan::{Seen, Situation};
use crate::store::paces::{self, OpenCounter, Taken};
use crate::store::series::SeriesAsked;
use crate::wire::plan::BasisDoc;

/// How long a forecast is good for that was made without any use before the day's start.
const GUESS_VALID: TimeDelta = TimeDelta::hours(1);
/// How long a tenant whose calls were made to wait counts as wanting more than it got.
const WAITING: TimeDelta = TimeDelta::minutes(10);

/// What calls of a tenant took today of one counter.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Today {
    pub(super) standard: f64,
    pub(super) batch: f64,
}

/// One counter to be planned.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) budget: Arc<Budget>,
    pub(super) id: CounterId,
    pub(super) tenant: Option<TenantId>,
    pub(super) basis: BasisDoc,
    /// What each tenant took today.
    pub(super) by_tenant: BTreeMap<TenantId, Today>,
    /// Tenants whose calls were made to wait.
    pub(super) waiting: BTreeSet<TenantId>,
    /// What tenants asked for and did not get: within the last day, or a week ago in the hours that are still to come today.
    pub(super) refused: BTreeMap<TenantId, f64>,
    now: DateTime<Utc>,
    reset: DateTime<Utc>,
    day: (DateTime<Utc>, DateTime<Utc>),
    next: Option<(Period, Period)>,
    taken: Quantity,
    interactive: Curve,
    standard: Curve,
    batch: Curve,
    seen: Seen,
}

impl Draft {
    /// What others than interactive calls took today: standard and batch.
    pub(super) fn today(&self) -> (f64, f64) {
        let sum = |of: fn(&Today) -> f64| self.by_tenant.values().map(of).sum();
        (sum(|today| today.standard), sum(|today| today.batch))
    }

    pub(super) fn situation(&self) -> Situation<'_> {
        let floor = |class| crate::domain::pacing::plan::share(self.budget.floors.get(&class).copied());
        let (standard_today, batch_today) = self.today();
        Situation {
            now: self.now,
            period_start: self.id.start,
            reset: self.reset,
            day: self.day,
            counted_from: self.budget.counted_from,
            limit: self.budget.limit,
            taken: self.taken,
            standard_today,
            batch_today,
            interactive: &self.interactive,
            standard: &self.standard,
            batch: &self.batch,
            seen: self.seen,
            standard_floor: floor(Priority::Standard),
            batch_floor: floor(Priority::Batch),
        }
    }

    /// The first instant of the next period, of which nothing is taken.
    pub(super) fn next_situation(&self) -> Option<Situation<'_>> {
        let (period, day) = self.next?;
        Some(Situation {
            now: period.start,
            period_start: period.start,
            reset: period.end?,
            day: (day.start, day.end?),
            taken: Quantity::ZERO,
            standard_today: 0.0,
            batch_today: 0.0,
            ..self.situation()
        })
    }

    /// The part of the local day that is still to come.
    pub(super) fn rest_of_day(&self) -> f64 {
        let hours = (self.day.1.min(self.reset) - self.now).num_minutes().max(0);
        f64::from(u32::try_from(hours).unwrap_or(0)) / 1440.0
    }
}

pub(super) fn quarter(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::minutes(15)).unwrap_or(at)
}

fn holding(spec: &PeriodSpec, zone: Zone, at: DateTime<Utc>) -> Result<Period, AppError> {
    Ok(spec.holding(zone, at).map_err(Refusal::Calendar)?)
}

/// The counters of a budget in their open periods, zone by zone.
pub(super) async fn drafts(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    budget: &Arc<Budget>,
    now: DateTime<Utc>,
) -> Result<Vec<Draft>, AppError> {
    let zones: BTreeSet<Zone> = match (budget.clock, &budget.scope.tenant) {
        (BudgetClock::Fixed(zone), _) => BTreeSet::from([zone]),
        (BudgetClock::Tenant, Some(tenant)) => catalogue.tenant(tenant).map(|tenant| tenant.zone).into_iter().collect(),
        (BudgetClock::Tenant, None) => catalogue.tenants().map(|tenant| tenant.zone).collect(),
    };
    let waiting: BTreeSet<TenantId> =
        paces::waiting(connection, &budget.id, now - WAITING).await?.into_iter().collect();
    let known = paces::bases(connection, budget.number, now - TimeDelta::hours(26)).await?;
    let mut drafts = Vec::new();
    for zone in zones {
        let period = holding(&budget.period, zone, now)?;
        let Some(reset) = period.end else { continue };
        let on_this_clock = |open: &OpenCounter| match (budget.clock, &open.tenant) {
            (BudgetClock::Fixed(_), _) => true,
            (BudgetClock::Tenant, Some(tenant)) => catalogue.tenant(tenant).is_some_and(|tenant| tenant.zone == zone),
            (BudgetClock::Tenant, None) => false,
        };
        let mut open = paces::counters(connection, budget.number, &[period.start]).await?;
        open.retain(on_this_clock);
        if open.is_empty() {
            continue;
        }
        let day = holding(&PeriodSpec::DAY, zone, now)?;
        let anchor = quarter(day.start.max(period.start));
        let today = taken_since(connection, budget, anchor, now).await?;
        let next = holding(&budget.period, zone, reset)?;
        let horizon = next.end.unwrap_or(reset);
        let is_fresh = |basis: &&BasisDoc| {
            basis.budget_version == budget.version
                && (basis.made_at == anchor || (basis.made_at > anchor && now - basis.made_at < GUESS_VALID))
        };
        let missing = open.iter().any(|one| known.get(&(one.id.key.clone(), one.id.start)).filter(is_fresh).is_none());
        let made = if missing {
            let asked = Asked { catalogue, budget, anchor, now, horizon };
            forecast(connection, &asked).await?
        } else {
            BTreeMap::new()
        };
        let refused = refused(connection, budget, day.end.unwrap_or(reset), now).await?;
        let day_after = holding(&PeriodSpec::DAY, zone, reset)?;
        for one in open {
            let stored = known.get(&(one.id.key.clone(), one.id.start)).filter(is_fresh);
            let basis = stored.or_else(|| made.get(&one.id.key)).cloned().unwrap_or_else(|| BasisDoc {
                made_at: anchor,
                budget_version: budget.version,
                ..BasisDoc::default()
            });
            let mut draft = Draft {
                budget: Arc::clone(budget),
                tenant: one.tenant.clone(),
                by_tenant: BTreeMap::new(),
                waiting: waiting.clone(),
                refused: refused.clone(),
                now,
                reset,
                day: (day.start, day.end.unwrap_or(reset)),
                next: Some((next, day_after)),
                taken: one.counter.claimed(budget.limit).unwrap_or(Quantity::MAX),
                interactive: Curve::from(&basis.interactive),
                standard: Curve::from(&basis.standard),
                batch: Curve::from(&basis.batch),
                seen: Seen::NOTHING,
                basis,
                id: one.id,
            };
            draft.see(connection, &today, anchor).await?;
            drafts.push(draft);
        }
    }
    Ok(drafts)
}

/// What tenants asked for and did not get. Demand is what is asked for, not what was granted: a tenant that comes late in the
/// day, when the day's share is gone, would otherwise have no demand at midnight, and would come too late every day.
async fn refused(
    connection: &mut PgConnection,
    budget: &Budget,
    day_end: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<BTreeMap<TenantId, f64>, AppError> {
    let (day, week) = (TimeDelta::days(1), TimeDelta::days(7));
    let mut wanted = paces::refused(&mut *connection, &budget.id, &budget.measure, now - day, now).await?;
    let a_week_ago = paces::refused(connection, &budget.id, &budget.measure, now - week, day_end - week).await?;
    for (tenant, quantity) in a_week_ago {
        let known = wanted.entry(tenant).or_default();
        *known = known.max(quantity);
    }
    Ok(wanted)
}

async fn taken_since(
    connection: &mut PgConnection,
    budget: &Budget,
    from: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Taken>, AppError> {
    match SeriesAsked::of(budget, from, now) {
        Some(asked) => Ok(paces::taken_since(connection, &asked).await?),
        None => Ok(Vec::new()),
    }
}

impl Draft {
    /// Adds up what was taken today, and what was seen of interactive use since the forecast was made.
    async fn see(
        &mut self,
        connection: &mut PgConnection,
        today: &[Taken],
        anchor: DateTime<Utc>,
    ) -> Result<(), AppError> {
        let mut interactive = 0.0;
        for taken in today.iter().filter(|taken| taken.key == self.id.key) {
            match taken.priority {
                Priority::Interactive => interactive += taken.quantity,
                Priority::Standard => {
                    self.by_tenant.entry(taken.tenant.clone()).or_default().standard += taken.quantity;
                }
                Priority::Batch => {
                    self.by_tenant.entry(taken.tenant.clone()).or_default().batch += taken.quantity;
                }
            }
        }
        let made_at = self.basis.made_at;
        if made_at != anchor {
            let since = taken_since(connection, &self.budget, made_at, self.now).await?;
            let of_people = |taken: &&Taken| taken.key == self.id.key && taken.priority == Priority::Interactive;
            interactive = since.iter().filter(of_people).map(|taken| taken.quantity).sum();
        }
        self.seen = Seen {
            used: interactive,
            expected: self.interactive.between(made_at, self.now),
            a_day: self.interactive.between(made_at, made_at + TimeDelta::days(1)),
        };
        Ok(())
    }
}
