//! Scope: which calls a budget governs, and by what it is counted apart.
//!
//! Providers and models have one name each ([`crate::domain::price::naming`]), in calls as in scopes: names are compared here,
//! not spellings. What was said is kept beside the name; only a scope that is `exact` looks at it.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Whether provider and model are names of the books, and what was said if they are.
    pub spelling: Spelling,
}

/// Whether the provider and the model of a call are as they were said, or names of the books.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spelling {
    /// As they were said: a call that has not entered yet, or one that was written before there were names.
    #[default]
    AsSaid,
    /// Names of the books; with what was said, where that differs.
    Named(Option<Arc<SaidAs>>),
}

/// What was said of who serves a call, where it is not the name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaidAs {
    /// The provider.
    pub provider: Option<ProviderId>,
    /// The model: as it was asked for, if that one served.
    pub model: Option<ModelId>,
    /// The model as the provider says that it served, where that is another word for the one that was asked for.
    pub served_model: Option<ModelId>,
}

impl Dimensions {
    /// This call by other names of who serves it, with what it said so far beside them.
    #[must_use]
    pub fn renamed(mut self, provider: ProviderId, model: ModelId) -> Self {
        let said = SaidAs {
            provider: Some(self.said_provider().clone()).filter(|said| *said != provider),
            model: Some(self.said_model().clone()).filter(|said| *said != model),
            served_model: None,
        };
        self.spelling = Spelling::Named((said != SaidAs::default()).then(|| Arc::new(said)));
        Self { provider, model, ..self }
    }

    /// This call, served under another word for the same model.
    #[must_use]
    pub fn served_as(mut self, served: ModelId) -> Self {
        let mut said = self.said().cloned().unwrap_or_default();
        said.served_model = Some(served);
        self.spelling = Spelling::Named(Some(Arc::new(said)));
        self
    }

    /// What was said, where it differs from the names.
    #[must_use]
    pub fn said(&self) -> Option<&SaidAs> {
        match &self.spelling {
            Spelling::AsSaid => None,
            Spelling::Named(said) => said.as_deref(),
        }
    }

    /// The provider as it was said.
    #[must_use]
    pub fn said_provider(&self) -> &ProviderId {
        self.said().and_then(|said| said.provider.as_ref()).unwrap_or(&self.provider)
    }

    /// The model as it was said.
    #[must_use]
    pub fn said_model(&self) -> &ModelId {
        self.said().and_then(|said| said.model.as_ref()).unwrap_or(&self.model)
    }

    /// The model as whoever says most of it: what it is priced by, because a list may know more than one name.
    #[must_use]
    pub fn priced_model(&self) -> &ModelId {
        self.said().and_then(|said| said.served_model.as_ref()).unwrap_or_else(|| self.said_model())
    }
}

/// The models of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelScope {
    /// One.
    One(ModelId),
    /// Any of these.
    Any(Vec<ModelId>),
    /// A family: those whose names start so.
    StartsWith(String),
}

impl ModelScope {
    /// The model, where it is one.
    #[must_use]
    pub const fn one(&self) -> Option<&ModelId> {
        match self {
            Self::One(model) => Some(model),
            Self::Any(_) | Self::StartsWith(_) => None,
        }
    }

    /// Whether a model is among them.
    #[must_use]
    pub fn holds(&self, model: &ModelId) -> bool {
        match self {
            Self::One(one) => one == model,
            Self::Any(all) => all.contains(model),
            Self::StartsWith(beginning) => model.as_str().starts_with(beginning.as_str()),
        }
    }
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
    /// Only calls to these models.
    pub model: Option<ModelScope>,
    /// Only calls served in this region.
    pub region: Option<RegionId>,
    /// Only calls of this agent.
    pub agent: Option<AgentId>,
    /// Only calls of this run.
    pub run: Option<RunId>,
    /// Only calls that carry all of these labels.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Provider and model are compared letter by letter with what was said.
    pub exact: bool,
    /// Only calls of these tenants; of any if none is named.
    pub tenants: BTreeSet<TenantId>,
}

impl Scope {
    /// Whether the scope governs a call with these dimensions.
    #[must_use]
    pub fn matches(&self, call: &Dimensions) -> bool {
        fn fits<T: PartialEq>(wanted: Option<&T>, is: Option<&T>) -> bool {
            wanted.is_none() || wanted == is
        }
        let (provider, model) =
            if self.exact { (call.said_provider(), call.said_model()) } else { (&call.provider, &call.model) };
        fits(self.tenant.as_ref(), Some(&call.tenant))
            && (self.tenants.is_empty() || self.tenants.contains(&call.tenant))
            && fits(self.feature.as_ref(), Some(&call.feature))
            && fits(self.provider.as_ref(), Some(provider))
            && self.model.as_ref().is_none_or(|models| models.holds(model))
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
            spelling: Spelling::AsSaid,
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
