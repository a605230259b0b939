//! Scopes, as JSON, and by the names of the books.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::budget::{SCOPE_TENANTS_MAX, labels_by, parse_labels};
use super::{FieldError, optional, required};
use crate::domain::budget::scope::{ModelScope, Scope};
use crate::domain::id::{LabelValue, ModelId, ProviderId};
use crate::domain::price::book::PriceBook;

/// Most models in a scope.
pub const MODELS_MAX: usize = 100;

/// Which calls a budget governs. Every field that is set must match; an empty scope governs every call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScopeBody {
    /// Only this tenant's calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only calls for this feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// Only calls to this provider, whatever it is called in them. Kept and shown by its one name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Only calls to this model, whatever it is called in them; to any of a list; or to a family, `{"starts_with": "claude-opus-"}`.
    /// Kept and shown by its one name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelScopeBody>,
    /// Only calls served in this region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Only calls of this agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Only calls of this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Only calls that carry all of these labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Only calls of these tenants, which then share one counter on purpose. Instead of `tenant`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Whether `provider` and `model` are compared letter by letter with what a call said, and not by name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
}

/// Which models: one, any of a list, or a family.
///
/// Read by hand rather than derived, so that an error says what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ModelScopeBody {
    /// One model.
    One(String),
    /// Any of these, at most 100.
    Any(Vec<String>),
    /// Those whose names start so.
    Family {
        /// The beginning of their names.
        starts_with: String,
    },
}

struct ModelScopeVisitor;

impl<'de> Visitor<'de> for ModelScopeVisitor {
    type Value = ModelScopeBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a model, a list of models, or {\"starts_with\": …} for a family")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ModelScopeBody, E> {
        Ok(ModelScopeBody::One(name.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ModelScopeBody, A::Error> {
        let mut models = Vec::new();
        while let Some(model) = list.next_element()? {
            models.push(model);
        }
        Ok(ModelScopeBody::Any(models))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ModelScopeBody, A::Error> {
        let mut starts_with = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "starts_with" {
                return Err(serde::de::Error::unknown_field(&key, &["starts_with"]));
            }
            if starts_with.replace(map.next_value()?).is_some() {
                return Err(serde::de::Error::duplicate_field("starts_with"));
            }
        }
        let starts_with = starts_with.ok_or_else(|| serde::de::Error::missing_field("starts_with"))?;
        Ok(ModelScopeBody::Family { starts_with })
    }
}

impl<'de> Deserialize<'de> for ModelScopeBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModelScopeVisitor)
    }
}

impl ModelScopeBody {
    /// The model, where it is one.
    #[must_use]
    pub fn one(&self) -> Option<&str> {
        match self {
            Self::One(model) => Some(model),
            Self::Any(_) | Self::Family { .. } => None,
        }
    }

    pub(super) fn to_models(&self) -> Result<ModelScope, FieldError> {
        Ok(match self {
            Self::One(model) => ModelScope::One(required(FIELD, model)?),
            Self::Any(models) if models.is_empty() || models.len() > MODELS_MAX => {
                return Err(FieldError::new(FIELD, format!("must name 1 to {MODELS_MAX} models")));
            }
            Self::Any(models) => ModelScope::Any(parse_list(models)?),
            Self::Family { starts_with } => {
                required::<ModelId>("scope.model.starts_with", starts_with)?;
                ModelScope::StartsWith(starts_with.clone())
            }
        })
    }
}

const FIELD: &str = "scope.model";

fn parse_list(models: &[String]) -> Result<Vec<ModelId>, FieldError> {
    let parse = |(index, model): (usize, &String)| {
        ModelId::parse(model).map_err(|error| FieldError::new(format!("{FIELD}.{index}"), error))
    };
    models.iter().enumerate().map(parse).collect()
}

impl TryFrom<&ScopeBody> for Scope {
    type Error = FieldError;

    fn try_from(body: &ScopeBody) -> Result<Self, FieldError> {
        let ScopeBody { tenant, feature, provider, model, region, agent, run, labels, tenants, exact } = body;
        if tenants.len() > SCOPE_TENANTS_MAX {
            return Err(FieldError::new("scope.tenants", format!("may hold at most {SCOPE_TENANTS_MAX} tenants")));
        }
        if tenant.is_some() && !tenants.is_empty() {
            return Err(FieldError::new("scope.tenants", "goes instead of scope.tenant, not with it"));
        }
        Ok(Self {
            tenants: tenants.iter().map(|tenant| required("scope.tenants", tenant)).collect::<Result<_, _>>()?,
            tenant: optional("scope.tenant", tenant.as_deref())?,
            feature: optional("scope.feature", feature.as_deref())?,
            provider: optional("scope.provider", provider.as_deref())?,
            model: model.as_ref().map(ModelScopeBody::to_models).transpose()?,
            region: optional("scope.region", region.as_deref())?,
            agent: optional("scope.agent", agent.as_deref())?,
            run: optional("scope.run", run.as_deref())?,
            labels: labels_by("scope.labels", labels, LabelValue::stored)?,
            exact: *exact,
        })
    }
}

impl ScopeBody {
    /// The scope by the names of the books: decided when a budget is written, and kept. A scope that is `exact` stays as it is.
    ///
    /// # Errors
    /// Names the field that is wrong, or that holds a `*`: a scope names things, and compares nothing with a pattern.
    pub fn named(&self, book: &PriceBook) -> Result<Self, FieldError> {
        self.refuse_patterns()?;
        parse_labels("scope.labels", &self.labels)?;
        let provider: Option<ProviderId> = optional("scope.provider", self.provider.as_deref())?;
        let models = self.model.as_ref().map(ModelScopeBody::to_models).transpose()?;
        if self.exact {
            return Ok(self.clone());
        }
        let names = |model: &ModelId| match &provider {
            Some(provider) => BTreeSet::from([book.model_name(provider, model)]),
            None => book.model_names(model),
        };
        let model = models.map(|models| match models {
            ModelScope::One(model) => listed(&names(&model)),
            ModelScope::Any(models) => listed(&models.iter().flat_map(names).collect()),
            ModelScope::StartsWith(beginning) => ModelScopeBody::Family { starts_with: book.family_name(&beginning) },
        });
        let provider = provider.map(|provider| book.provider_name(&provider).to_string());
        Ok(Self { provider, model, ..self.clone() })
    }

    fn refuse_patterns(&self) -> Result<(), FieldError> {
        let family = "names a model letter by letter and holds a `*`: for a family say {\"starts_with\": \"claude-opus-\"}, for \
            several models a list";
        let models: Vec<&String> = match &self.model {
            None => Vec::new(),
            Some(ModelScopeBody::One(model) | ModelScopeBody::Family { starts_with: model }) => vec![model],
            Some(ModelScopeBody::Any(models)) => models.iter().collect(),
        };
        if models.iter().any(|model| model.contains('*')) {
            return Err(FieldError::new(FIELD, family));
        }
        let others = [
            ("scope.tenant", &self.tenant),
            ("scope.feature", &self.feature),
            ("scope.provider", &self.provider),
            ("scope.region", &self.region),
            ("scope.agent", &self.agent),
            ("scope.run", &self.run),
        ];
        let is_pattern = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains('*'));
        let labels =
            self.labels.iter().find(|(_, value)| value.contains('*')).map(|(key, _)| format!("scope.labels.{key}"));
        let named = others.into_iter().find(|(_, text)| is_pattern(text)).map(|(field, _)| field.to_owned());
        match named.or(labels) {
            Some(field) => Err(FieldError::new(
                field,
                "holds a `*`, and is compared letter by letter: leave the field out to govern all, or count them apart with `each`",
            )),
            None => Ok(()),
        }
    }
}

/// One model where there is one.
fn listed(models: &BTreeSet<ModelId>) -> ModelScopeBody {
    let mut names: Vec<String> = models.iter().map(ToString::to_string).collect();
    match names.pop() {
        Some(only) if names.is_empty() => ModelScopeBody::One(only),
        Some(last) => {
            names.push(last);
            ModelScopeBody::Any(names)
        }
        None => ModelScopeBody::Any(names),
    }
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
