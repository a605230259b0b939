//! Which attributes name tenant, feature, run, agent, region and labels.
//!
//! Names are asked in order, and of each the span's own value goes before its resource's. A tenant must be a slug as it
//! is, because it decides whose money it is. Feature, run and agent are names people give to programs. A run and an agent
//! are kept as the API keeps them (`Math Tutor`, `数学家教`), so that they are the same by both doors; what the API refuses in them
//! (control characters, what is not seen) is left out, because a span that is refused is a call in nobody's books. In a
//! feature what an id may not hold becomes `-`.

use std::collections::BTreeMap;

use super::attributes::Attributes;
use crate::domain::id::{AgentId, BadName, FeatureId, LabelKey, LabelValue, NAME_LENGTH_MAX, SLUG_LENGTH_MAX};
use crate::domain::id::{RegionId, RunId, TenantId, is_unseen};
use crate::domain::price::names::ProviderNames;

/// Most labels a call keeps; those that come after are left out. The bound of the API.
const LABELS_MAX: usize = 16;

/// Attributes that name the tenant, unless configured.
pub const TENANT: [&str; 2] = ["counterfoil.tenant", "tenant.id"];
/// Attributes that name the feature, unless configured.
pub const FEATURE: [&str; 3] = ["counterfoil.feature", "gen_ai.workflow.name", "service.name"];
/// Attributes that name the run, unless configured.
pub const RUN: [&str; 2] = ["counterfoil.run", "gen_ai.conversation.id"];
/// Attributes that name the agent, unless configured.
pub const AGENT: [&str; 3] = ["counterfoil.agent", "gen_ai.agent.id", "gen_ai.agent.name"];
/// Attributes that name the region, unless configured.
pub const REGION: [&str; 1] = ["counterfoil.region"];
/// Attributes that start so are labels, unless configured.
pub const LABEL_PREFIX: &str = "counterfoil.label.";
/// The feature of a span that names none, unless configured.
pub const FEATURE_DEFAULT: &str = "otlp";

/// Names of attributes, in the order they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Whose call it is.
    pub tenant: Vec<String>,
    /// The tenant where no attribute says; a token's own goes before it.
    pub tenant_default: Option<TenantId>,
    /// What it is for.
    pub feature: Vec<String>,
    /// The feature where no attribute says.
    pub feature_default: FeatureId,
    /// The agent's task.
    pub run: Vec<String>,
    /// The agent.
    pub agent: Vec<String>,
    /// Where the model was served. Not where the program runs that called it, which is what `cloud.region` says.
    pub region: Vec<String>,
    /// Attributes that start so become labels.
    pub label_prefix: String,
    /// What providers are called.
    pub providers: ProviderNames,
}

/// Why a span has no tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTenant {
    /// No attribute names it.
    #[error("no attribute names a tenant: set one of {0}")]
    Absent(String),
    /// The attribute's value is no tenant's id.
    #[error("the tenant {0}")]
    Name(BadName),
}

impl Mapping {
    /// The mapping where nobody says otherwise: the ledger's own names, then those of the conventions.
    #[must_use]
    pub fn standard(providers: ProviderNames, feature_default: FeatureId) -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            tenant: names(&TENANT),
            tenant_default: None,
            feature: names(&FEATURE),
            feature_default,
            run: names(&RUN),
            agent: names(&AGENT),
            region: names(&REGION),
            label_prefix: LABEL_PREFIX.to_owned(),
            providers,
        }
    }

    /// Whose call it is: as an attribute says, else the token's own tenant, else the default.
    ///
    /// # Errors
    /// When nothing says it, or not with a tenant's id.
    pub fn tenant(&self, attributes: &Attributes<'_>, own: Option<&TenantId>) -> Result<TenantId, BadTenant> {
        match attributes.text(&self.tenant) {
            Some(text) => TenantId::parse(&text).map_err(BadTenant::Name),
            None => {
                let otherwise = own.or(self.tenant_default.as_ref()).cloned();
                otherwise.ok_or_else(|| BadTenant::Absent(self.tenant.join(", ")))
            }
        }
    }

    /// What it is for.
    #[must_use]
    pub fn feature(&self, attributes: &Attributes<'_>) -> FeatureId {
        let named = attributes.text(&self.feature).and_then(|text| FeatureId::parse(&slug(&text)).ok());
        named.unwrap_or_else(|| self.feature_default.clone())
    }

    /// The agent's task, if an attribute names one.
    #[must_use]
    pub fn run(&self, attributes: &Attributes<'_>) -> Option<RunId> {
        attributes.text(&self.run).and_then(|text| RunId::parse(&name(&text)).ok())
    }

    /// The agent, if an attribute names one.
    #[must_use]
    pub fn agent(&self, attributes: &Attributes<'_>) -> Option<AgentId> {
        attributes.text(&self.agent).and_then(|text| AgentId::parse(&name(&text)).ok())
    }

    /// Where the model was served, if an attribute says.
    #[must_use]
    pub fn region(&self, attributes: &Attributes<'_>) -> Option<RegionId> {
        attributes.text(&self.region).and_then(|text| RegionId::parse(&slug(&text)).ok())
    }

    /// The labels: those that can be kept, in the order of their keys.
    #[must_use]
    pub fn labels(&self, attributes: &Attributes<'_>) -> BTreeMap<LabelKey, LabelValue> {
        let parsed = attributes
            .with_prefix(&self.label_prefix)
            .filter_map(|(key, value)| Some((LabelKey::parse(key).ok()?, LabelValue::parse(&value).ok()?)));
        let all: BTreeMap<_, _> = parsed.collect();
        all.into_iter().take(LABELS_MAX).collect()
    }
}

/// The text as a slug: what it may not hold becomes `-`, and it starts with a letter or digit.
fn slug(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    let mended: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).take(SLUG_LENGTH_MAX).collect();
    mended.trim_start_matches(['.', '_', '-', '@', '+']).to_owned()
}

/// The text as a name that people give: without what is refused in one, and cut to what one may hold.
fn name(text: &str) -> String {
    let spaced = text.chars().map(|c| if c == '\t' || c == '\n' || c == '\r' { ' ' } else { c });
    let seen: String = spaced.filter(|c| !is_unseen(*c)).collect();
    let seen = seen.trim();
    let end = seen
        .char_indices()
        .map(|(start, c)| start.saturating_add(c.len_utf8()))
        .take_while(|end| *end <= NAME_LENGTH_MAX);
    seen.get(..end.last().unwrap_or(0)).unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_people_give_become_ids() {
        assert_eq!(slug("My Service"), "My-Service");
        assert_eq!(slug("-équipe/a"), "quipe-a");
        assert_eq!(slug("  "), "");
        assert_eq!(slug(&"a".repeat(500)).len(), SLUG_LENGTH_MAX);
        assert_eq!(name("urn:run/7"), "urn:run/7");
        for (given, kept) in
            [("Math Tutor", "Math Tutor"), ("数学家教", "数学家教"), (" a\u{202e}b\n", "ab"), ("a\tb", "a b")]
        {
            assert_eq!(name(given), kept);
            assert_eq!(AgentId::parse(&name(given)).unwrap().as_str(), kept);
        }
        assert_eq!(name(&"数".repeat(100)).len(), 255, "cut between characters");
    }
}
