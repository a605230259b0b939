//! Tenants and budgets, as JSON: what `PUT` takes, what `GET` gives, and what the catalogue keeps.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::FieldError;
use super::answer::EnforcementName;
use super::coverage::{MissingName, OnExpiryName};
use super::learned::ReserveName;
use super::pace::PacingName;
pub use super::period_spec::{PeriodBody, PeriodKind, WeekdayName};
pub use super::scope::ScopeBody;
use crate::domain::amounts::Quantity;
use crate::domain::budget::catalogue::{Budget, BudgetClock, BudgetKind, BudgetNumber, Enforcement, Priority};
use crate::domain::budget::coverage::MissingRule;
use crate::domain::budget::measure::{BucketWeights, Measure};
use crate::domain::budget::scope::{Each, Scope};
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::id::{BadName, BudgetId, LabelKey, LabelValue, TenantId};

/// Most labels in a scope or on a call.
pub const LABELS_MAX: usize = 16;
/// Longest text about a contract, in bytes.
const CONTRACT_LENGTH_MAX: usize = 500;
/// Most tenants of a scope.
pub const SCOPE_TENANTS_MAX: usize = 1_000;
/// Most tenants that a budget names a weight for.
pub const TENANT_WEIGHTS_MAX: usize = 1_000;
/// Most thresholds of a budget.
pub const THRESHOLDS_MAX: usize = 10;

/// What a budget counts: the name of a measure, or weights of token buckets.
///
/// Read by hand rather than derived, so that an error names the weight that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum MeasureBody {
    /// `requests`, `tokens`, `usd`, `gco2e` or `gco2e_market`.
    Named(MeasureName),
    /// A weighted sum of token buckets; a bucket that is left out counts nothing.
    Weighted(WeightsBody),
}

struct MeasureVisitor;

impl<'de> Visitor<'de> for MeasureVisitor {
    type Value = MeasureBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("requests, tokens, usd, gco2e, gco2e_market, or weights of token buckets")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<MeasureBody, E> {
        MeasureName::deserialize(name.into_deserializer()).map(MeasureBody::Named)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MeasureBody, A::Error> {
        WeightsBody::deserialize(MapAccessDeserializer::new(map)).map(MeasureBody::Weighted)
    }
}

impl<'de> Deserialize<'de> for MeasureBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MeasureVisitor)
    }
}

/// The measures that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MeasureName {
    /// Calls.
    Requests,
    /// All tokens, each once.
    Tokens,
    /// Dollars.
    Usd,
    /// Grams: location-based usage plus embodied.
    Gco2e,
    /// Grams: market-based usage plus embodied.
    Gco2eMarket,
}

/// Weights of token buckets: numbers or strings, 0 to 1000 with at most 6 decimal places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WeightsBody {
    /// Uncached prompt tokens.
    #[serde(with = "super::number", skip_serializing_if = "Decimal::is_zero")]
    #[schema(value_type = f64, example = 1)]
    pub input: Decimal,
    /// Prompt tokens read from a cache.
    #[serde(with = "super::number", skip_serializing_if = "Decimal::is_zero")]
    #[schema(value_type = f64, example = 0)]
    pub cache_read: Decimal,
    /// Prompt tokens written to a five-minute cache.
    #[serde(with = "super::number", skip_serializing_if = "Decimal::is_zero")]
    #[schema(value_type = f64, example = 1)]
    pub cache_write_5m: Decimal,
    /// Prompt tokens written to a one-hour cache.
    #[serde(with = "super::number", skip_serializing_if = "Decimal::is_zero")]
    #[schema(value_type = f64, example = 1)]
    pub cache_write_1h: Decimal,
    /// Visible completion tokens.
    #[serde(with = "super::number", skip_serializing_if = "Decimal::is_zero")]
    #[schema(value_type = f64, example = 5)]
    pub output: Decimal,
    /// Completion tokens spent thinking.
    #[serde(with = "super::number", skip_serializing_if = "Decimal::is_zero")]
    #[schema(value_type = f64, example = 5)]
    pub reasoning: Decimal,
}

/// Budget or quota.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KindName {
    /// Set by the platform.
    #[default]
    Budget,
    /// Set by a provider's contract.
    Quota,
}

/// How urgent a call is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriorityName {
    /// Nobody waits for it.
    Batch,
    /// Somebody will look at it later.
    #[default]
    Standard,
    /// A person is waiting.
    Interactive,
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Self {
        match name {
            PriorityName::Batch => Self::Batch,
            PriorityName::Standard => Self::Standard,
            PriorityName::Interactive => Self::Interactive,
        }
    }
}

/// A limit on one measure over one scope in one period. The body of `PUT /v1/budgets/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "scope": {"tenant": "acme"}, "measure": "usd", "limit": "500", "period": {"kind": "month", "anchor_day": 1},
    "timezone": "tenant", "enforcement": "hard", "thresholds": ["0.8", "0.95"]
}))]
pub struct BudgetBody {
    /// The id, if it is repeated in the body: it must be that of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Which calls it governs.
    #[serde(default)]
    pub scope: ScopeBody,
    /// One counter for each: `tenant`, `feature`, `provider`, `model`, `region`, `run`, `agent`, or `label:<key>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "run")]
    pub each: Option<String>,
    /// What it counts.
    pub measure: MeasureBody,
    /// How much, in one period, for one counter.
    #[serde(deserialize_with = "super::decimal::deserialize")]
    #[schema(value_type = String, format = "decimal", example = "500")]
    pub limit: Decimal,
    /// The calendar window.
    pub period: PeriodBody,
    /// An IANA zone, or `tenant` for the tenant's own. UTC if not given.
    #[serde(default = "utc")]
    #[schema(example = "Asia/Tokyo")]
    pub timezone: String,
    /// Hard or soft.
    pub enforcement: EnforcementName,
    /// What a reservation holds of its estimate: `max`, or what such calls were learned to use, `p95` or `p99`. `max` if not
    /// given, and wherever too few calls have been seen.
    #[serde(default, skip_serializing_if = "ReserveName::is_default")]
    pub reserve: ReserveName,
    /// Shares of the limit, ascending, at which answers begin to warn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, example = json!(["0.8", "0.95"]))]
    pub thresholds: Vec<Decimal>,
    /// Shares of the limit that only calls of at least this priority may use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>, example = json!({"interactive": "0.4"}))]
    pub floors: BTreeMap<PriorityName, Decimal>,
    /// Shares of the limit up to which, whoever took them, calls of that priority are granted. `interactive` has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>, example = json!({"batch": "0.5"}))]
    pub ceilings: BTreeMap<PriorityName, Decimal>,
    /// Whether calls that are not `interactive` are slowed down before the limit is reached. `off` if not given.
    #[serde(default, skip_serializing_if = "PacingName::is_off")]
    pub pacing: PacingName,
    /// How much more than others a tenant gets where `pacing` shares what interactive calls leave over: above 0 and at most
    /// 1000, 1 for who is not named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>, example = json!({}))]
    pub weights: BTreeMap<String, Decimal>,
    /// How long a run may go on, in seconds from its first call; only with each `run` and period `once`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 3600)]
    pub max_seconds: Option<u32>,
    /// What becomes of a call that lacks what `each` tells apart (`run`, `agent`, `region`, a label) or what `scope` asks for
    /// (`region`, `labels`), and that the budget would govern if it said it: `refuse` stops it, and names the field; `ignore`
    /// does not count it, and the answer says so in `not_counted`. `refuse` if not given for a hard budget, else `ignore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingName>,
    /// Whether tenants share one counter on purpose, where `scope` names only what callers choose (`labels`, `run`, `agent`)
    /// and no tenant. Otherwise such a budget is counted for each tenant apart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// What becomes of a reservation that expires without a settlement, of a hard budget: `release` gives back what it held,
    /// `post_estimate` posts its estimate, flagged `expired` and `unconfirmed`. A reservation has one expiry: if one of the
    /// budgets that hold it says `post_estimate`, it is posted to all. `release` if not given.
    #[serde(default, skip_serializing_if = "OnExpiryName::is_default")]
    pub on_expiry: OnExpiryName,
    /// The largest share of the limit that one reservation may hold. If not given, half of a budget that several tenants share
    /// for a reservation of more than ten minutes or of more than two million tokens; otherwise all.
    #[serde(default, deserialize_with = "super::decimal::deserialize_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal", example = "0.5", nullable = false)]
    pub max_hold_share: Option<Decimal>,
    /// Budget or quota.
    #[serde(default)]
    pub kind: KindName,
    /// The contract a quota stands in. Free text, at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
}

fn utc() -> String {
    "Etc/UTC".to_owned()
}

/// Labels, parsed.
///
/// # Errors
/// Names the label that is not valid, or says that there are too many.
pub fn parse_labels(
    field: &'static str,
    labels: &BTreeMap<String, String>,
) -> Result<BTreeMap<LabelKey, LabelValue>, FieldError> {
    labels_by(field, labels, LabelValue::parse)
}

pub(super) fn labels_by(
    field: &'static str,
    labels: &BTreeMap<String, String>,
    value_of: fn(&str) -> Result<LabelValue, BadName>,
) -> Result<BTreeMap<LabelKey, LabelValue>, FieldError> {
    if labels.len() > LABELS_MAX {
        return Err(FieldError::new(field, format!("may hold at most {LABELS_MAX} labels")));
    }
    let parse = |(key, value): (&String, &String)| {
        let named = |error: BadName| FieldError::new(format!("{field}.{key}"), error);
        Ok((LabelKey::parse(key).map_err(named)?, value_of(value).map_err(named)?))
    };
    labels.iter().map(parse).collect()
}

fn parse_weights(weights: &BTreeMap<String, Decimal>) -> Result<BTreeMap<TenantId, Decimal>, FieldError> {
    if weights.len() > TENANT_WEIGHTS_MAX {
        return Err(FieldError::new("weights", format!("may hold at most {TENANT_WEIGHTS_MAX} tenants")));
    }
    let parse = |(tenant, weight): (&String, &Decimal)| {
        let tenant = TenantId::parse(tenant).map_err(|error| FieldError::new(format!("weights.{tenant}"), error))?;
        Ok((tenant, *weight))
    };
    weights.iter().map(parse).collect()
}

pub(super) fn parse_each(text: &str) -> Result<Each, FieldError> {
    let bad =
        || FieldError::new("each", "must be tenant, feature, provider, model, region, run, agent, or label:<key>");
    Ok(match text {
        "tenant" => Each::Tenant,
        "feature" => Each::Feature,
        "provider" => Each::Provider,
        "model" => Each::Model,
        "region" => Each::Region,
        "run" => Each::Run,
        "agent" => Each::Agent,
        label => {
            let key = label.strip_prefix("label:").ok_or_else(bad)?;
            Each::Label(LabelKey::parse(key).map_err(|error| FieldError::new("each", error))?)
        }
    })
}

impl TryFrom<&MeasureBody> for Measure {
    type Error = FieldError;

    fn try_from(body: &MeasureBody) -> Result<Self, FieldError> {
        Ok(match body {
            MeasureBody::Named(MeasureName::Requests) => Self::Requests,
            MeasureBody::Named(MeasureName::Tokens) => Self::Tokens,
            MeasureBody::Named(MeasureName::Usd) => Self::Usd,
            MeasureBody::Named(MeasureName::Gco2e) => Self::Gco2e,
            MeasureBody::Named(MeasureName::Gco2eMarket) => Self::Gco2eMarket,
            MeasureBody::Weighted(weights) => {
                let WeightsBody { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning } = *weights;
                let weights = [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning];
                Self::Weighted(BucketWeights::new(weights).map_err(|error| FieldError::new("measure", error))?)
            }
        })
    }
}

impl From<&Measure> for MeasureBody {
    fn from(measure: &Measure) -> Self {
        Self::Named(match measure {
            Measure::Requests => MeasureName::Requests,
            Measure::Tokens => MeasureName::Tokens,
            Measure::Usd => MeasureName::Usd,
            Measure::Gco2e => MeasureName::Gco2e,
            Measure::Gco2eMarket => MeasureName::Gco2eMarket,
            Measure::Weighted(weights) => {
                let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] = *weights.as_array();
                let weights = WeightsBody { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning };
                return Self::Weighted(weights);
            }
        })
    }
}

/// What the database adds to a budget's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetRecord {
    /// Its number.
    pub number: BudgetNumber,
    /// Counts replacements.
    pub version: i32,
    /// Since when its shape stands.
    pub counted_from: DateTime<Utc>,
}

impl BudgetBody {
    /// The budget that the document describes.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn to_budget(&self, id: BudgetId, record: BudgetRecord) -> Result<Budget, FieldError> {
        if self.id.as_ref().is_some_and(|inner| *inner != id.as_str()) {
            return Err(FieldError::new("id", "differs from the id in the path"));
        }
        if self.thresholds.len() > THRESHOLDS_MAX {
            return Err(FieldError::new("thresholds", format!("may hold at most {THRESHOLDS_MAX} shares")));
        }
        let unfit = |text: &String| text.len() > CONTRACT_LENGTH_MAX || text.chars().any(char::is_control);
        if self.contract.as_ref().is_some_and(unfit) {
            let detail = format!("may have at most {CONTRACT_LENGTH_MAX} bytes and no control characters");
            return Err(FieldError::new("contract", detail));
        }
        let clock = match self.timezone.as_str() {
            "tenant" => BudgetClock::Tenant,
            name => BudgetClock::Fixed(Zone::parse(name).map_err(|error| FieldError::new("timezone", error))?),
        };
        let BudgetRecord { number, version, counted_from } = record;
        let budget = Budget {
            id,
            number,
            version,
            kind: match self.kind {
                KindName::Budget => BudgetKind::Budget,
                KindName::Quota => BudgetKind::Quota,
            },
            scope: Scope::try_from(&self.scope)?,
            each: self.each.as_deref().map(parse_each).transpose()?,
            measure: Measure::try_from(&self.measure)?,
            limit: Quantity::new(self.limit).map_err(|error| FieldError::new("limit", error))?,
            period: PeriodSpec::try_from(&self.period).map_err(|error| error.within("period"))?,
            clock,
            enforcement: match self.enforcement {
                EnforcementName::Hard => Enforcement::Hard,
                EnforcementName::Soft => Enforcement::Soft,
            },
            reserve: self.reserve.into(),
            thresholds: self.thresholds.clone(),
            floors: self.floors.iter().map(|(class, share)| (Priority::from(*class), *share)).collect(),
            ceilings: self.ceilings.iter().map(|(class, share)| (Priority::from(*class), *share)).collect(),
            pacing: self.pacing.into(),
            weights: parse_weights(&self.weights)?,
            max_seconds: self.max_seconds,
            missing: self.missing.map_or(MissingRule::Ignore, MissingRule::from),
            counts_from: self.period.counts_from,
            max_hold_share: self.max_hold_share,
            on_expiry: self.on_expiry.into(),
            counted_from,
        };
        budget.check().map_err(|error| FieldError::new(error.field(), error))?;
        Ok(budget)
    }
}

/// A tenant. The body of `PUT /v1/tenants/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Acme KK", "timezone": "Asia/Tokyo"}))]
pub struct TenantBody {
    /// The id, if it is repeated in the body: it must be that of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What people call it. The id if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its IANA zone, whose midnights bound its budgets.
    #[schema(example = "Asia/Tokyo")]
    pub timezone: String,
    /// Whether a call without a price (`unpriced_model`) or an emission factor (`unknown_factor`) is refused instead of
    /// estimated by the worst known price and the world's average.
    #[serde(default)]
    pub strict: bool,
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
