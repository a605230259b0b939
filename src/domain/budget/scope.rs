//! Scope: which calls a budget governs, and by what it is counted apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::id::{AgentId, FeatureId, LabelKey, LabelValue, ModelId, ProviderId, RegionId, RunId, TenantId};

/// What a call is about: everything a budget can be scoped by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimensions {
    /// Whose call it is.
    pub tenant: TenantId,
    /// What it is for.
    pub feature: FeatureId,
    /// Who serves it.
    pub provider: ProviderId,
    /// With what.
    pub model: ModelId,
    /// Where, if known.
    pub region: Option<RegionId>,
    /// The agent's task, if the call is part of one.
    pub run: Option<RunId>,
    /// The agent, if one makes the call.
    pub agent: Option<AgentId>,
    /// The caller's own labels. Shared, because a call's labels travel from its reservation to its transfer.
    pub labels: Arc<BTreeMap<LabelKey, LabelValue>>,
}

/// Which calls a budget governs: every field that is set must match. An empty scope governs every call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only this tenant's calls.
    pub tenant: Option<TenantId>,
    /// Only calls for this feature.
    pub feature: Option<FeatureId>,
    /// Only calls to this provider.
    pub provider: Option<ProviderId>,
    /// Only calls to this model.
    pub model: Option<ModelId>,
    /// Only calls served in this region.
    pub region: Option<RegionId>,
    /// Only calls of this agent.
    pub agent: Option<AgentId>,
    /// Only calls of this run.
    pub run: Option<RunId>,
    /// Only calls that carry all of these labels.
    pub labels: BTreeMap<LabelKey, LabelValue>,
}

impl Scope {
    /// Whether the scope governs a call with these dimensions.
    #[must_use]
    pub fn matches(&self, call: &Dimensions) -> bool {
        fn fits<T: PartialEq>(wanted: Option<&T>, is: Option<&T>) -> bool {
            wanted.is_none() || wanted == is
        }
        fits(self.tenant.as_ref(), Some(&call.tenant))
            && fits(self.feature.as_ref(), Some(&call.feature))
            && fits(self.provider.as_ref(), Some(&call.provider))
            && fits(self.model.as_ref(), Some(&call.model))
            && fits(self.region.as_ref(), call.region.as_ref())
            && fits(self.agent.as_ref(), call.agent.as_ref())
            && fits(self.run.as_ref(), call.run.as_ref())
            && self.labels.iter().all(|(key, value)| call.labels.get(key) == Some(value))
    }
}

/// By what a budget is counted apart: one counter for each value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Each {
    /// One counter for each tenant.
    Tenant,
    /// One for each feature of each tenant.
    Feature,
    /// One for each provider.
    Provider,
    /// One for each model of each provider.
    Model,
    /// One for each region of each provider.
    Region,
    /// One for each run of each tenant.
    Run,
    /// One for each agent of each tenant.
    Agent,
    /// One for each value of this label, of each tenant.
    Label(LabelKey),
}

/// The value that a counter is kept for. Empty for a budget that is not counted apart.
///
/// Names that callers choose (feature, run, agent, label value) are prefixed with their tenant, so that two tenants
/// with a run of one name never share a counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey(Arc<str>);

impl CounterKey {
    /// The key of a budget that is not counted apart.
    #[must_use]
    pub fn whole() -> Self {
        Self(Arc::from(""))
    }

    /// Takes a key back from where it was kept.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Each {
    /// The key of the counter for a call, or none when the call lacks the dimension (then the budget does not govern it).
    #[must_use]
    pub fn key(&self, call: &Dimensions) -> Option<CounterKey> {
        let of_tenant = |name: &str| Some(CounterKey(Arc::from(format!("{}/{name}", call.tenant))));
        let of_provider = |name: &str| Some(CounterKey(Arc::from(format!("{}/{name}", call.provider))));
        match self {
            Self::Tenant => Some(CounterKey(Arc::from(call.tenant.as_str()))),
            Self::Feature => of_tenant(call.feature.as_str()),
            Self::Provider => Some(CounterKey(Arc::from(call.provider.as_str()))),
            Self::Model => of_provider(call.model.as_str()),
            Self::Region => call.region.as_ref().and_then(|region| of_provider(region.as_str())),
            Self::Run => call.run.as_ref().and_then(|run| of_tenant(run.as_str())),
            Self::Agent => call.agent.as_ref().and_then(|agent| of_tenant(agent.as_str())),
            Self::Label(key) => call.labels.get(key).and_then(|value| of_tenant(value.as_str())),
        }
    }

    /// Whether every counter belongs to one tenant, so that the tenant's own clock can bound its periods.
    #[must_use]
    pub const fn is_within_tenant(&self) -> bool {
        match self {
            Self::Tenant | Self::Feature | Self::Run | Self::Agent | Self::Label(_) => true,
            Self::Provider | Self::Model | Self::Region => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A call of tenant `acme` for `chat`, on `openai`'s `gpt-4o` in `us-east`, run `r1`, agent `a1`, `team=cx`.
    pub(crate) fn call() -> Dimensions {
        Dimensions {
            tenant: TenantId::parse("acme").unwrap(),
            feature: FeatureId::parse("chat").unwrap(),
            provider: ProviderId::parse("openai").unwrap(),
            model: ModelId::parse("gpt-4o").unwrap(),
            region: Some(RegionId::parse("us-east").unwrap()),
            run: Some(RunId::parse("r1").unwrap()),
            agent: Some(AgentId::parse("a1").unwrap()),
            labels: Arc::new([(LabelKey::parse("team").unwrap(), LabelValue::parse("cx").unwrap())].into()),
        }
    }

    #[test]
    fn every_field_that_is_set_must_match() {
        assert!(Scope::default().matches(&call()), "an empty scope governs every call");
        let tenant = |id| Scope { tenant: Some(TenantId::parse(id).unwrap()), ..Scope::default() };
        assert!(tenant("acme").matches(&call()));
        assert!(!tenant("other").matches(&call()));
        let run = Scope { run: Some(RunId::parse("r1").unwrap()), ..Scope::default() };
        assert!(run.matches(&call()));
        assert!(!run.matches(&Dimensions { run: None, ..call() }), "a call without a run is in no run's scope");
        let label = |value| Scope {
            labels: [(LabelKey::parse("team").unwrap(), LabelValue::parse(value).unwrap())].into(),
            ..Scope::default()
        };
        assert!(label("cx").matches(&call()));
        assert!(!label("ops").matches(&call()));
    }

    #[test]
    fn two_tenants_with_a_run_of_one_name_do_not_share_a_counter() {
        let other = Dimensions { tenant: TenantId::parse("other").unwrap(), ..call() };
        for each in [Each::Tenant, Each::Feature, Each::Run, Each::Agent, Each::Label(LabelKey::parse("team").unwrap())]
        {
            assert_ne!(each.key(&call()), each.key(&other), "{each:?}");
            assert!(each.is_within_tenant());
        }
        for each in [Each::Provider, Each::Model, Each::Region] {
            assert_eq!(each.key(&call()), each.key(&other), "{each:?}");
            assert!(!each.is_within_tenant());
        }
        assert_eq!(Each::Run.key(&Dimensions { run: None, ..call() }), None);
    }
}
