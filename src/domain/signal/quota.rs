//! Which quotas a signal closes, and until when; and which a success opens again.
//!
//! A provider says that *a* limit is reached, seldom which: so a quota is closed when there is no doubt, and the caller learns
//! of it otherwise.
//!
//! Until when: as the provider reports, and never a day beyond the quota's own reset, because a wrong date must not stop a
//! fleet for good. Where nothing is reported it is computed, at the instant of the refusal: a refusal that arrives late says
//! nothing about the period that has begun since.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::rule::{Comeback, LimitPeriod};
use crate::domain::budget::catalogue::{Budget, BudgetClock, BudgetKind, Catalogue};
use crate::domain::budget::closure::{Closure, early_until};
use crate::domain::budget::scope::Scope;
use crate::domain::calendar::Zone;
use crate::domain::id::{BudgetId, ModelId, ProviderId, RegionId, TenantId};
use crate::domain::price::names::ProviderNames;

/// How far a quota's end and the instant a provider reports may be apart and still be one, in seconds.
const SAME_INSTANT_SECONDS: i64 = 60;
/// How far beyond a quota's own reset it can be closed, in hours: the provider's clock may be in another zone.
const BEYOND_RESET_HOURS: i64 = 24;

/// What a signal is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Who answered, by the name the books know.
    pub provider: &'a ProviderId,
    /// Which model was asked.
    pub model: Option<&'a ModelId>,
    /// Where.
    pub region: Option<&'a RegionId>,
    /// Whose call it was.
    pub tenant: Option<&'a TenantId>,
    /// The quota, if the caller names it.
    pub budget: Option<&'a BudgetId>,
    /// Only quotas of this tenant: the token is confined to it.
    pub confined: Option<&'a TenantId>,
    /// When the answer came.
    pub occurred_at: DateTime<Utc>,
    /// Which of its limits the provider speaks of, if that is known.
    pub period: Option<LimitPeriod>,
    /// When it comes back, if that is known.
    pub comeback: Option<Comeback>,
}

/// Why no quota is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotClosed {
    /// No budget of kind `quota` has such a scope.
    #[error("no quota matches: make a budget with kind quota whose scope is this provider")]
    NoQuota,
    /// The budget that was named is none, or no quota, or out of reach.
    #[error("budget `{0}` is no quota")]
    NotAQuota(String),
    /// Several could be meant.
    #[error("several quotas match: name one with `budget` ({0})")]
    Ambiguous(String),
    /// The provider speaks of a limit that no quota stands for, and does not say when it comes back.
    #[error(
        "the provider speaks of its limit by {}, and the quota that matches has another period ({ids}): make one with that \
         period, or name one with `budget`",
        .period.word().replace('_', " ")
    )]
    OtherPeriod {
        /// What it speaks of.
        period: LimitPeriod,
        /// The quotas that match otherwise.
        ids: String,
    },
    /// The quota never resets, and the provider did not say when.
    #[error("neither the provider nor the quota says when it resets")]
    NoEnd,
    /// What is reported is over.
    #[error("the quota has reset by now")]
    Over,
}

/// A quota that is closed, and how.
pub type Closing = (Arc<Budget>, Closure);

/// The quotas that a refusal closes.
///
/// # Errors
/// Says why there are none.
pub fn closing(
    about: &About<'_>,
    catalogue: &Catalogue,
    names: &ProviderNames,
    now: DateTime<Utc>,
) -> Result<Vec<Closing>, NotClosed> {
    let mut candidates: Vec<&Arc<Budget>> = match about.budget {
        Some(id) => {
            let named = catalogue.budget(id).filter(|budget| is_in_reach(budget, about));
            vec![named.ok_or_else(|| NotClosed::NotAQuota(shown(id, about).to_owned()))?]
        }
        None => catalogue
            .budgets()
            .filter(|budget| is_in_reach(budget, about))
            // A quota that is counted apart has many counters, of which the signal means one.
            .filter(|budget| budget.each.is_none() && covers(&budget.scope, about, names))
            .collect(),
    };
    if candidates.is_empty() {
        return Err(NotClosed::NoQuota);
    }
    if let Some(period) = about.period
        && about.budget.is_none()
    {
        let is_meant = |budget: &&Arc<Budget>| LimitPeriod::of(&budget.period) == Some(period);
        if candidates.iter().any(is_meant) {
            candidates.retain(is_meant);
        } else if about.comeback.is_none() {
            return Err(NotClosed::OtherPeriod { period, ids: ids(&candidates, about) });
        }
    }
    if let (Some(comeback), true) = (about.comeback, candidates.len() > 1) {
        let ends_then = |budget: &&Arc<Budget>| {
            let end = zone(budget, catalogue).and_then(|zone| budget.period.holding(zone, about.occurred_at).ok()?.end);
            let apart = end.map(|end| end.signed_duration_since(comeback.at).abs());
            apart.is_some_and(|apart| apart <= TimeDelta::seconds(SAME_INSTANT_SECONDS))
        };
        if candidates.iter().any(ends_then) {
            candidates.retain(ends_then);
        }
    }
    // Quotas of one scope stop the same calls: which of them is meant makes no difference to anybody.
    let scope = candidates.first().map(|budget| &budget.scope);
    if !candidates.iter().all(|budget| Some(&budget.scope) == scope) {
        return Err(NotClosed::Ambiguous(ids(&candidates, about)));
    }
    let close = |budget: &Arc<Budget>| Ok((Arc::clone(budget), closure(budget, about, catalogue, now)?));
    candidates.into_iter().map(close).collect()
}

/// The closed quotas that a success shows to be open.
#[must_use]
pub fn reopening(
    about: &About<'_>,
    catalogue: &Catalogue,
    names: &ProviderNames,
    now: DateTime<Utc>,
) -> Vec<Arc<Budget>> {
    let is_meant = |budget: &&Arc<Budget>| match about.budget {
        Some(id) => budget.id == *id,
        None => covers(&budget.scope, about, names),
    };
    let is_refuted = |budget: &&Arc<Budget>| {
        let closure = catalogue.closure(budget.number).filter(|closure| closure.until > now);
        closure.is_some_and(|closure| closure.is_refuted_by(about.occurred_at, about.model))
    };
    let closed = catalogue.budgets().filter(|budget| is_in_reach(budget, about));
    closed.filter(is_refuted).filter(is_meant).map(Arc::clone).collect()
}

fn is_in_reach(budget: &Budget, about: &About<'_>) -> bool {
    budget.kind == BudgetKind::Quota && about.confined.is_none_or(|own| budget.scope.tenant.as_ref() == Some(own))
}

fn ids(budgets: &[&Arc<Budget>], about: &About<'_>) -> String {
    budgets.iter().map(|budget| shown(&budget.id, about)).collect::<Vec<_>>().join(", ")
}

/// A confined caller knows its budgets by their names in its own space.
fn shown<'a>(id: &'a BudgetId, about: &About<'_>) -> &'a str {
    if about.confined.is_some() { id.name() } else { id.as_str() }
}

/// How one quota is closed.
fn closure(
    budget: &Budget,
    about: &About<'_>,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<Closure, NotClosed> {
    let zone = zone(budget, catalogue);
    let comeback = match (about.comeback, about.period, zone) {
        (Some(comeback), _, _) => Some(comeback),
        (None, Some(period), Some(zone)) if LimitPeriod::of(&budget.period) != Some(period) => {
            period.comeback(zone, about.occurred_at)
        }
        (None, _, Some(zone)) => Comeback::of_period(&budget.period, zone, about.occurred_at),
        (None, _, None) => None,
    };
    let comeback = comeback.ok_or(NotClosed::NoEnd)?;
    let known = catalogue.closure(budget.number);
    let until = match comeback.early_in {
        Some(period) => early_until(known, period, about.occurred_at),
        None => comeback.at,
    };
    let last = zone.and_then(|zone| last_reset(budget, zone, now));
    let last = last.and_then(|reset| reset.checked_add_signed(TimeDelta::hours(BEYOND_RESET_HOURS)));
    let is_beyond = last.is_some_and(|last| until > last);
    let until = if is_beyond { last.unwrap_or(until) } else { until };
    if until <= now {
        return Err(NotClosed::Over);
    }
    let is_reported = comeback.is_reported && !is_beyond;
    Ok(Closure { until, refused_at: about.occurred_at, is_reported, model: about.model.cloned() })
}

/// When all that a quota counts now has left it; none if it never does.
fn last_reset(budget: &Budget, zone: Zone, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let end = budget.period.holding(zone, now).ok()?.end?;
    match budget.period.slides() {
        Some(window) => end.checked_add_signed(window),
        None => Some(end),
    }
}

/// The zone that bounds a quota's periods; none where each tenant has its own.
fn zone(budget: &Budget, catalogue: &Catalogue) -> Option<Zone> {
    match budget.clock {
        BudgetClock::Fixed(zone) => Some(zone),
        BudgetClock::Tenant => Some(catalogue.tenant(budget.scope.tenant.as_ref()?)?.zone),
    }
}

/// Whether every call that the signal may be about is in a scope: a field that is set must be what the signal names.
fn covers(scope: &Scope, about: &About<'_>, names: &ProviderNames) -> bool {
    let known = |provider: &ProviderId| {
        let lower = provider.as_str().to_ascii_lowercase();
        names.provider_of(&lower).map_or(lower.clone(), str::to_owned)
    };
    scope.provider.as_ref().is_some_and(|provider| known(provider) == known(about.provider))
        && scope.model.as_ref().is_none_or(|models| about.model.is_some_and(|model| models.holds(model)))
        && scope.region.as_ref().is_none_or(|region| Some(region) == about.region)
        && scope.tenant.as_ref().is_none_or(|tenant| Some(tenant) == about.tenant)
        && scope.feature.is_none()
        && scope.agent.is_none()
        && scope.run.is_none()
        && scope.labels.is_empty()
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
