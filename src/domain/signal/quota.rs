//! Which quotas a signal closes, and until when.
//!
//! A provider says that *a* limit is reached, seldom which: so a quota is closed when there is no doubt, and the caller is
//! told otherwise.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::budget::catalogue::{Budget, BudgetClock, BudgetKind, Catalogue};
use crate::domain::budget::scope::Scope;
use crate::domain::id::{BudgetId, ModelId, ProviderId, RegionId, TenantId};
use crate::domain::price::names::ProviderNames;

/// How far a quota's end and the instant a provider says may be apart and still be one, in seconds.
const SAME_INSTANT_SECONDS: i64 = 60;

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
    /// When it comes back, if that is known.
    pub retry_at: Option<DateTime<Utc>>,
}

/// Why no quota is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotClosed {
    /// No budget of kind `quota` has such a scope.
    #[error("no quota matches: make a budget with kind quota whose scope is this provider")]
    NoQuota,
    /// The budget that was named is none, or no quota, or out of reach.
    #[error("budget `{0}` is no quota")]
    NotAQuota(BudgetId),
    /// Several could be meant.
    #[error("several quotas match: name one with `budget` ({0})")]
    Ambiguous(String),
    /// The quota never resets, and the provider did not say when.
    #[error("neither the provider nor the quota says when it resets")]
    NoEnd,
    /// What is said is over.
    #[error("the quota has reset by now")]
    Over,
}

/// A quota that is closed, and until when.
pub type Closing = (Arc<Budget>, DateTime<Utc>);

/// The quotas that are closed, with the instant until when.
///
/// # Errors
/// Says why there are none.
pub fn closing(
    about: &About<'_>,
    catalogue: &Catalogue,
    names: &ProviderNames,
    now: DateTime<Utc>,
) -> Result<Vec<Closing>, NotClosed> {
    let in_reach = |budget: &&Arc<Budget>| {
        budget.kind == BudgetKind::Quota && about.confined.is_none_or(|own| budget.scope.tenant.as_ref() == Some(own))
    };
    let mut candidates: Vec<&Arc<Budget>> = match about.budget {
        Some(id) => {
            let named = catalogue.budget(id).filter(in_reach);
            vec![named.ok_or_else(|| NotClosed::NotAQuota(id.clone()))?]
        }
        None => catalogue
            .budgets()
            .filter(in_reach)
            // A quota that is counted apart has many counters, of which the signal means one.
            .filter(|budget| budget.each.is_none() && covers(&budget.scope, about, names))
            .collect(),
    };
    if candidates.is_empty() {
        return Err(NotClosed::NoQuota);
    }
    if let (Some(retry_at), true) = (about.retry_at, candidates.len() > 1) {
        let ends_then = |budget: &&Arc<Budget>| {
            let apart = end(budget, catalogue, now).map(|end| end.signed_duration_since(retry_at).abs());
            apart.is_some_and(|apart| apart <= TimeDelta::seconds(SAME_INSTANT_SECONDS))
        };
        if candidates.iter().any(ends_then) {
            candidates.retain(ends_then);
        }
    }
    // Quotas of one scope stop the same calls: which of them is meant makes no difference to anybody.
    let scope = candidates.first().map(|budget| &budget.scope);
    if !candidates.iter().all(|budget| Some(&budget.scope) == scope) {
        let ids: Vec<&str> = candidates.iter().map(|budget| budget.id.as_str()).collect();
        return Err(NotClosed::Ambiguous(ids.join(", ")));
    }
    let mut closed = Vec::new();
    for budget in candidates {
        let until = about.retry_at.or_else(|| end(budget, catalogue, now)).ok_or(NotClosed::NoEnd)?;
        if until <= now {
            return Err(NotClosed::Over);
        }
        closed.push((Arc::clone(budget), until));
    }
    Ok(closed)
}

/// Whether every call that the signal may be about is in a scope: a field that is set must be what the signal names.
fn covers(scope: &Scope, about: &About<'_>, names: &ProviderNames) -> bool {
    let known = |provider: &ProviderId| {
        let lower = provider.as_str().to_ascii_lowercase();
        names.provider_of(&lower).map_or(lower.clone(), str::to_owned)
    };
    scope.provider.as_ref().is_some_and(|provider| known(provider) == known(about.provider))
        && scope.model.as_ref().is_none_or(|model| Some(model) == about.model)
        && scope.region.as_ref().is_none_or(|region| Some(region) == about.region)
        && scope.tenant.as_ref().is_none_or(|tenant| Some(tenant) == about.tenant)
        && scope.feature.is_none()
        && scope.agent.is_none()
        && scope.run.is_none()
        && scope.labels.is_empty()
}

/// When the current period of a budget ends, on its own clock.
fn end(budget: &Budget, catalogue: &Catalogue, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let zone = match budget.clock {
        BudgetClock::Fixed(zone) => zone,
        BudgetClock::Tenant => catalogue.tenant(budget.scope.tenant.as_ref()?)?.zone,
    };
    budget.period.holding(zone, now).ok()?.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{at, budget};

    fn quota(number: i32, text: &str, of: &str, model: &str) -> Budget {
        let mut one = budget(number, text);
        one.kind = BudgetKind::Quota;
        one.scope.provider = Some(ProviderId::parse(of).unwrap());
        one.scope.model = ModelId::parse(model).ok();
        one
    }

    /// The ids that are closed and until when, or why not.
    fn closed(quotas: Vec<Budget>, named: Option<&str>, model: &str, retry_at: Option<&str>) -> String {
        let catalogue = Catalogue::new(1, Vec::new(), quotas);
        let known = ["vertex_ai", "gemini", "google"].map(|name| ProviderId::parse(name).unwrap());
        let [vertex, gemini, google] = &known;
        let names = ProviderNames::new([(vertex, google), (gemini, google)], []);
        let (provider, model) = (ProviderId::parse("google").unwrap(), ModelId::parse(model).ok());
        let named = named.map(|id| BudgetId::parse(id).unwrap());
        let about = About {
            provider: &provider,
            model: model.as_ref(),
            region: None,
            tenant: None,
            budget: named.as_ref(),
            confined: None,
            retry_at: retry_at.map(at),
        };
        match closing(&about, &catalogue, &names, at("2026-06-10T12:00:00Z")) {
            Ok(found) => {
                let told =
                    found.iter().map(|(budget, until)| format!("{} {}", budget.id, until.format("%d.%m. %H:%M")));
                told.collect::<Vec<_>>().join(", ")
            }
            Err(why) => why.to_string(),
        }
    }

    const MONTH: Option<&str> = Some("2026-07-01T00:00:00Z");

    #[test]
    fn one_quota_is_closed_until_the_provider_says_or_it_resets_itself() {
        let monthly = || vec![quota(1, "m tokens 100 month", "vertex_ai", "")];
        let expect = "no quota matches: make a budget with kind quota whose scope is this provider";
        assert_eq!(closed(Vec::new(), None, "g", MONTH), expect);
        assert_eq!(closed(monthly(), None, "g", Some("2026-06-20T08:00:00Z")), "m 20.06. 08:00");
        assert_eq!(closed(monthly(), None, "g", None), "m 01.07. 00:00");
        assert_eq!(closed(monthly(), None, "g", Some("2026-06-10T11:00:00Z")), "the quota has reset by now");
        assert_eq!(closed(monthly(), Some("x"), "g", MONTH), "budget `x` is no quota");
        assert_eq!(closed(vec![budget(1, "m tokens 100 month")], Some("m"), "g", MONTH), "budget `m` is no quota");
        assert_eq!(
            closed(vec![quota(1, "m tokens 100 once", "google", "")], None, "g", None),
            "neither the provider nor the quota says when it resets"
        );
    }

    #[test]
    fn of_several_the_one_that_ends_then_and_otherwise_none() {
        let both =
            || vec![quota(1, "m tokens 100 month", "google", ""), quota(2, "d requests 100 day", "google", "pro")];
        assert_eq!(closed(both(), None, "pro", MONTH), "m 01.07. 00:00");
        assert_eq!(closed(both(), None, "pro", Some("2026-06-11T00:00:00Z")), "d 11.06. 00:00");
        assert_eq!(closed(both(), None, "flash", None), "m 01.07. 00:00", "the day's is of another model");
        assert_eq!(closed(both(), None, "pro", None), "several quotas match: name one with `budget` (m, d)");
        assert_eq!(closed(both(), Some("d"), "pro", None), "d 11.06. 00:00");
        let same = vec![quota(1, "t tokens 100 month", "google", ""), quota(2, "u usd 100 month", "gemini", "")];
        assert_eq!(closed(same, None, "pro", None), "several quotas match: name one with `budget` (t, u)");
        let same = vec![quota(1, "t tokens 100 month", "google", ""), quota(2, "u usd 100 month", "google", "")];
        assert_eq!(closed(same, None, "pro", None), "t 01.07. 00:00, u 01.07. 00:00", "they stop the same calls");
    }
}
