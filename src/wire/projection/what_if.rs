//! What if, as JSON: the same projection with something changed, and the fair split applied.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::ProjectionBody;
use crate::wire::answer::EnforcementName;
use crate::wire::budget::PeriodBody;

/// Most changes of a kind in one question.
pub const CHANGES_MAX: usize = 20;

/// A share of a feature's calls that goes to another model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"feature": "support-chat", "share": "0.3", "provider": "anthropic", "model": "claude-haiku-4-5"}))]
pub struct ModelMixBody {
    /// Only this tenant's calls; everybody's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The feature.
    pub feature: String,
    /// How much of it, 0 to 1.
    #[serde(deserialize_with = "crate::wire::decimal::deserialize")]
    #[schema(value_type = String, format = "decimal", example = "0.3")]
    pub share: Decimal,
    /// Who would serve it.
    pub provider: String,
    /// With what.
    pub model: String,
    /// Where; where each call is served now if not given and the provider is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// A tenant that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tenant": "newcomer", "like": "acme", "timezone": "Europe/Berlin", "factor": "0.5"}))]
pub struct NewTenantBody {
    /// What it would be called.
    pub tenant: String,
    /// The tenant that it would work like, by the hours of its own clock.
    pub like: String,
    /// Its zone.
    pub timezone: String,
    /// How much of that one's use; as much if not given.
    #[serde(
        default,
        deserialize_with = "crate::wire::decimal::deserialize_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, format = "decimal", example = "0.5")]
    pub factor: Option<Decimal>,
}

/// What is changed. The body of `POST /v1/budgets/{id}/projection/what-if`; nothing is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"limit": "60000000"}))]
pub struct WhatIfBody {
    /// The counter of this key. Required where the budget is counted apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Another limit.
    #[serde(deserialize_with = "crate::wire::decimal::deserialize_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal", example = "60000000")]
    pub limit: Option<Decimal>,
    /// All prices times this, from now on. Only of a budget in dollars.
    #[serde(deserialize_with = "crate::wire::decimal::deserialize_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal", example = "0.8")]
    pub price_factor: Option<Decimal>,
    /// Shares of features that go to other models, from now on. At most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model_mix: Vec<ModelMixBody>,
    /// Tenants that are not there yet. At most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub new_tenants: Vec<NewTenantBody>,
    /// Another window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<PeriodBody>,
    /// Another zone whose midnights bound it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// How many hours of both paths to tell: 0 to 800; none if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hours: Option<usize>,
}

/// An amount as it is, and as it would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChangedBody {
    /// As it was posted.
    #[schema(value_type = String, format = "decimal", example = "120.5")]
    pub as_is: Decimal,
    /// With the change.
    #[schema(value_type = String, format = "decimal", example = "93.1")]
    pub what_if: Decimal,
}

/// What a share that goes to another model costs, in dollars and in grams: the calls of the last four weeks, priced again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MixEffectBody {
    /// The feature.
    pub feature: String,
    /// Since when its calls were looked at.
    pub since: DateTime<Utc>,
    /// Its calls.
    pub requests: u64,
    /// Its dollars.
    pub usd: ChangedBody,
    /// Its grams: location-based usage plus embodied.
    pub gco2e: ChangedBody,
    /// Its grams: market-based usage plus embodied.
    pub gco2e_market: ChangedBody,
    /// How much of the budget's measure one unit that moves would be: 0 where the budget does not govern the other model.
    #[schema(value_type = String, format = "decimal", example = "0.33")]
    pub ratio: Decimal,
    /// Whether a price of that very model is known; if not, the worst known one of its provider was used.
    pub priced: bool,
}

/// Both projections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WhatIf)]
pub struct WhatIfAnswer {
    /// As it is.
    pub as_is: ProjectionBody,
    /// With the change.
    pub what_if: ProjectionBody,
    /// What each change of the mix costs, in their order.
    pub model_mix: Vec<MixEffectBody>,
}

/// Which fair split to apply. The body of `POST /v1/budgets/{id}/projection/apply-fair-split`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApplyFairSplitBody {
    /// The counter of this key, where the budget is counted apart by provider, model or region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Hard or soft; as the shared budget if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<EnforcementName>,
}
