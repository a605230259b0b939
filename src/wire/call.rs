//! What is asked of the ledger, as JSON: pre-flight, settle, release, extend, usage.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::UsageBuckets;
use super::budget::{PriorityName, parse_labels};
use super::{FieldError, optional, required};
use crate::domain::amounts::{Tokens, Usd};
use crate::domain::budget::scope::{Dimensions, Spelling};
use crate::domain::id::{ReservationId, TenantId, TransferId};
use crate::domain::ledger::call_bound::CallBound;
use crate::domain::ledger::command::{Extend, PostUsage, ReportedUsage, Reserve, Settle};
use crate::domain::ledger::reservation::{TTL_SECONDS_DEFAULT, TTL_SECONDS_MAX, TTL_SECONDS_MIN};
use crate::domain::ledger::transfer::{CallOutcome, CallReport};
use crate::domain::price::ServiceTier;
use crate::domain::usage::Usage;
use crate::domain::usage::provider::{RawUsage, is_count, is_count_of_tokens, is_list_of_counts, is_word_of_use};

/// Most leaves of a provider's usage object. The largest known has about thirty.
pub const PROVIDER_USAGE_LEAVES_MAX: usize = 200;
/// Longest word of it that is looked at, in bytes. The longest that says anything has about thirty.
const PROVIDER_USAGE_WORD_LENGTH_MAX: usize = 64;
/// Deepest nesting of it.
const PROVIDER_USAGE_DEPTH_MAX: usize = 8;
/// From here on a number that JSON could not keep whole is no duration and no cost either.
const COUNT_TOO_LARGE: f64 = 1e15;
/// Longest id a provider gives a call, in bytes.
const PROVIDER_REQUEST_ID_LENGTH_MAX: usize = 256;
/// Most calls one posted usage adds up.
const REQUESTS_MAX: u32 = 1_000_000_000;

/// What a call may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"input": 1200, "cache_read": 0, "max_output": 800}))]
pub struct EstimateBody {
    /// Prompt tokens that no cache will serve or store.
    #[serde(default)]
    pub input: u64,
    /// Prompt tokens that will be read from a cache.
    #[serde(default)]
    pub cache_read: u64,
    /// Prompt tokens that will be written to a five-minute cache.
    #[serde(default)]
    pub cache_write_5m: u64,
    /// Prompt tokens that will be written to a one-hour cache.
    #[serde(default)]
    pub cache_write_1h: u64,
    /// The most the call may generate, thinking included.
    pub max_output: u64,
    /// The smallest output worth having: a cap never goes below it. 1 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_output: Option<u64>,
}

fn tokens(field: &str, count: u64) -> Result<Tokens, FieldError> {
    Tokens::new(count).map_err(|error| FieldError::new(field, error))
}

fn checked(field: &str, usage: Usage) -> Result<Usage, FieldError> {
    usage.total().map_err(|error| FieldError::new(field, format!("in sum {error}")))?;
    Ok(usage)
}

/// May this call go ahead? The body of `POST /v1/preflight`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreflightBody {
    /// Whose call it is.
    #[schema(example = "acme")]
    pub tenant: String,
    /// What it is for.
    #[schema(example = "support-chat")]
    pub feature: String,
    /// Who serves it.
    #[schema(example = "anthropic")]
    pub provider: String,
    /// With what.
    #[schema(example = "claude-sonnet-4-5")]
    pub model: String,
    /// Where, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "eu-central-1")]
    pub region: Option<String>,
    /// The provider's service tier: `standard`, `batch`, `flex`, `priority`, `fast`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// How urgent: `interactive`, `standard` or `batch`.
    #[serde(default)]
    pub priority: PriorityName,
    /// The agent's task, if the call is part of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "r-42")]
    pub run: Option<String>,
    /// The agent, if one makes the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "triage")]
    pub agent: Option<String>,
    /// The caller's own labels; at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"team": "cx"}))]
    pub labels: BTreeMap<String, String>,
    /// What the call may use at most.
    pub estimate: EstimateBody,
    /// Whether to hold; `false` asks without holding.
    #[serde(default = "yes")]
    pub reserve: bool,
    /// How long to hold, in seconds: 1 to 86,400. 120 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 120)]
    pub ttl_seconds: Option<u32>,
    /// Whether a smaller output is acceptable.
    #[serde(default)]
    pub allow_cap: bool,
}

const fn yes() -> bool {
    true
}

fn ttl(given: Option<u32>) -> Result<u32, FieldError> {
    let ttl = given.unwrap_or(TTL_SECONDS_DEFAULT);
    if (TTL_SECONDS_MIN..=TTL_SECONDS_MAX).contains(&ttl) {
        Ok(ttl)
    } else {
        Err(FieldError::new("ttl_seconds", format!("{ttl} is not between {TTL_SECONDS_MIN} and {TTL_SECONDS_MAX}")))
    }
}

pub(super) fn service_tier(given: Option<&str>) -> Result<ServiceTier, FieldError> {
    let Some(word) = given else { return Ok(ServiceTier::Standard) };
    ServiceTier::from_word(word).ok_or_else(|| {
        FieldError::new("service_tier", format!("`{word}` is not standard, batch, flex, priority or fast"))
    })
}

/// The tier that served, if it is said.
fn reported_tier(given: Option<&str>) -> Result<Option<ServiceTier>, FieldError> {
    given.map(|word| service_tier(Some(word))).transpose()
}

impl PreflightBody {
    /// The command it asks for; `id` is what its reservation will be called.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn to_reserve(&self, id: ReservationId) -> Result<Reserve, FieldError> {
        let estimate = &self.estimate;
        let usage = Usage {
            input: tokens("estimate.input", estimate.input)?,
            cache_read: tokens("estimate.cache_read", estimate.cache_read)?,
            cache_write_5m: tokens("estimate.cache_write_5m", estimate.cache_write_5m)?,
            cache_write_1h: tokens("estimate.cache_write_1h", estimate.cache_write_1h)?,
            output: tokens("estimate.max_output", estimate.max_output)?,
            reasoning: Tokens::ZERO,
        };
        let min_output = estimate.min_output.unwrap_or(1);
        if estimate.min_output.is_some_and(|least| least == 0 || least > estimate.max_output) {
            return Err(FieldError::new("estimate.min_output", "must be between 1 and max_output"));
        }
        Ok(Reserve {
            id,
            call: Dimensions {
                tenant: required("tenant", &self.tenant)?,
                feature: required("feature", &self.feature)?,
                provider: required("provider", &self.provider)?,
                model: required("model", &self.model)?,
                region: optional("region", self.region.as_deref())?,
                run: optional("run", self.run.as_deref())?,
                agent: optional("agent", self.agent.as_deref())?,
                labels: Arc::new(parse_labels("labels", &self.labels)?),
                spelling: Spelling::AsSaid,
            },
            priority: self.priority.into(),
            service_tier: service_tier(self.service_tier.as_deref())?,
            usage: checked("estimate", usage)?,
            min_output: tokens("estimate.min_output", min_output)?,
            allow_cap: self.allow_cap,
            hold: self.reserve,
            ttl_seconds: ttl(self.ttl_seconds)?,
        })
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeName {
    /// The provider answered.
    #[default]
    Completed,
    /// The provider refused or broke; without usage it is charged nothing.
    Failed,
    /// The caller hung up; without usage it is charged its estimate, unconfirmed.
    Cancelled,
    /// No answer came; without usage it is charged its estimate, unconfirmed.
    TimedOut,
}

impl From<OutcomeName> for CallOutcome {
    fn from(name: OutcomeName) -> Self {
        match name {
            OutcomeName::Completed => Self::Completed,
            OutcomeName::Failed => Self::Failed,
            OutcomeName::Cancelled => Self::Cancelled,
            OutcomeName::TimedOut => Self::TimedOut,
        }
    }
}

/// Disjoint buckets as amounts.
pub(super) fn buckets(body: &UsageBuckets) -> Result<Usage, FieldError> {
    let usage = Usage {
        input: tokens("usage.input", body.input)?,
        cache_read: tokens("usage.cache_read", body.cache_read)?,
        cache_write_5m: tokens("usage.cache_write_5m", body.cache_write_5m)?,
        cache_write_1h: tokens("usage.cache_write_1h", body.cache_write_1h)?,
        output: tokens("usage.output", body.output)?,
        reasoning: tokens("usage.reasoning", body.reasoning)?,
    };
    checked("usage", usage)
}

/// Flattens a provider's usage object for the domain: counts, also those that are written as texts, and words.
///
/// # Errors
/// When it is not an object, is nested too deeply, or holds a number too large for a count, or too many of them.
fn flatten(value: &serde_json::Value) -> Result<RawUsage, FieldError> {
    if !value.is_object() {
        return Err(FieldError::new("provider_usage", "must be the provider's usage object"));
    }
    let mut leaves = Leaves::default();
    leaves.walk("", value, 0)?;
    Ok(RawUsage::with_words(leaves.counts, leaves.words).with_negative(leaves.negative))
}

#[derive(Default)]
struct Leaves {
    counts: BTreeMap<String, u64>,
    words: BTreeMap<String, String>,
    negative: Option<String>,
}

impl Leaves {
    fn walk(&mut self, path: &str, value: &serde_json::Value, depth: usize) -> Result<(), FieldError> {
        let under = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let is_deep = depth >= PROVIDER_USAGE_DEPTH_MAX;
        match value {
            serde_json::Value::Object(_) | serde_json::Value::Array(_) if is_deep => {
                return Err(FieldError::new(format!("provider_usage.{path}"), "is nested too deeply"));
            }
            serde_json::Value::Object(fields) => {
                for (key, inner) in fields {
                    self.walk(&under(key), inner, depth + 1)?;
                }
            }
            serde_json::Value::Array(entries) if is_list_of_counts(path) => {
                for (place, inner) in entries.iter().enumerate() {
                    self.walk(&under(&place.to_string()), inner, depth + 1)?;
                }
            }
            serde_json::Value::Number(number) => self.number(path, number)?,
            serde_json::Value::String(text) => match text.parse() {
                Ok(count) if is_count_of_tokens(path) => drop(self.counts.insert(path.to_owned(), count)),
                _ if text.len() <= PROVIDER_USAGE_WORD_LENGTH_MAX && is_word_of_use(path) => {
                    self.words.insert(path.to_owned(), text.clone());
                }
                _ => {}
            },
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Array(_) => {}
        }
        if self.counts.len() + self.words.len() > PROVIDER_USAGE_LEAVES_MAX {
            return Err(FieldError::new("provider_usage", "holds too many numbers and words"));
        }
        Ok(())
    }

    fn number(&mut self, path: &str, number: &serde_json::Number) -> Result<(), FieldError> {
        if let Some(count) = number.as_u64().or_else(|| whole_number(number)) {
            self.counts.insert(path.to_owned(), count);
            return Ok(());
        }
        match number.as_f64() {
            // Durations and costs may be fractions and even below zero; a negative or endless count can only be a mistake.
            Some(value) if value < 0.0 && is_count(path) => self.negative = Some(path.to_owned()),
            Some(value) if value >= COUNT_TOO_LARGE => {
                return Err(FieldError::new(format!("provider_usage.{path}"), "is too large for a count"));
            }
            Some(_) | None => {}
        }
        Ok(())
    }
}

/// `12.0` is twelve: some gateways write counts as floats.
fn whole_number(number: &serde_json::Number) -> Option<u64> {
    number.to_string().parse::<Decimal>().ok().filter(|value| value.fract().is_zero())?.try_into().ok()
}

fn reported(
    usage: Option<&UsageBuckets>,
    provider_usage: Option<&serde_json::Value>,
) -> Result<Option<ReportedUsage>, FieldError> {
    match (usage, provider_usage) {
        (Some(_), Some(_)) => Err(FieldError::new("provider_usage", "give either usage or provider_usage, not both")),
        (Some(body), None) => Ok(Some(ReportedUsage::Buckets(buckets(body)?))),
        (None, Some(raw)) => Ok(Some(ReportedUsage::Provider(flatten(raw)?))),
        (None, None) => Ok(None),
    }
}

fn report(
    outcome: OutcomeName,
    latency_ms: Option<u32>,
    provider_request_id: Option<&String>,
    provider_usd: Option<Decimal>,
) -> Result<CallReport, FieldError> {
    let too_long = |id: &&String| id.len() > PROVIDER_REQUEST_ID_LENGTH_MAX || id.chars().any(char::is_control);
    if provider_request_id.as_ref().is_some_and(too_long) {
        return Err(FieldError::new("provider_request_id", "is longer than 256 bytes or holds control characters"));
    }
    if latency_ms.is_some_and(|ms| i32::try_from(ms).is_err()) {
        return Err(FieldError::new("latency_ms", "is longer than 24 days"));
    }
    let provider_usd = provider_usd.map(Usd::new).transpose();
    Ok(CallReport {
        outcome: outcome.into(),
        latency_ms,
        provider_request_id: provider_request_id.cloned(),
        provider_usd: provider_usd.map_err(|error| FieldError::new("provider_usd", error))?,
    })
}

/// What a call used. The body of `POST /v1/reservations/{id}/settle`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"usage": {"input": 1200, "output": 412}, "latency_ms": 5300}))]
pub struct SettleBody {
    /// In our disjoint buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageBuckets>,
    /// Or the usage object of the provider or of its SDK, unchanged. What of it changes the price and was not read is named in
    /// `usage_unread`. One that cannot be read at all does not lose the money: the estimate that is held is posted as
    /// `unconfirmed`, and `usage_unreadable` says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub provider_usage: Option<serde_json::Value>,
    /// Whether that is only what a call that was cut off had told until then: its output is charged as it was estimated,
    /// unless more of it is told, and flagged `partial_usage` and `unconfirmed`. If not given, the usage of a call that was
    /// `cancelled` or has `timed_out` is taken for partial when it tells no more output than the first event of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_is_partial: Option<bool>,
    /// The model that served, if another one than was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_model: Option<String>,
    /// The region that served, if another one than was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_region: Option<String>,
    /// The provider that served, if another one than was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_provider: Option<String>,
    /// The service tier that served. If not given it is what the usage object says, else what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// Whether a usage object that cannot be read is refused with 422 instead, and nothing is posted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// How it ended.
    #[serde(default)]
    pub outcome: OutcomeName,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u32>,
    /// The provider's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_request_id: Option<String>,
    /// What the provider says it cost, in dollars. Kept beside our own price, never instead of it.
    #[serde(default, deserialize_with = "super::decimal::deserialize_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal")]
    pub provider_usd: Option<Decimal>,
}

impl SettleBody {
    /// The command it asks for.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn to_settle(
        &self,
        reservation: ReservationId,
        tenant: Option<TenantId>,
        transfer: TransferId,
    ) -> Result<Settle, FieldError> {
        Ok(Settle {
            reservation,
            tenant,
            transfer,
            usage: reported(self.usage.as_ref(), self.provider_usage.as_ref())?,
            is_partial: self.usage_is_partial,
            served_model: optional("served_model", self.served_model.as_deref())?,
            served_region: optional("served_region", self.served_region.as_deref())?,
            served_provider: optional("served_provider", self.served_provider.as_deref())?,
            service_tier: reported_tier(self.service_tier.as_deref())?,
            is_strict: self.strict,
            report: report(self.outcome, self.latency_ms, self.provider_request_id.as_ref(), self.provider_usd)?,
        })
    }
}

/// More time, and maybe more tokens. The body of `POST /v1/reservations/{id}/extend`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"ttl_seconds": 120, "more_output": 400}))]
pub struct ExtendBody {
    /// Time from now, in seconds: 1 to 86,400. 120 if not given. Never shortens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
    /// Output tokens to hold beyond those held.
    #[serde(default)]
    pub more_output: u64,
}

impl ExtendBody {
    /// The command it asks for.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn to_extend(&self, reservation: ReservationId, tenant: Option<TenantId>) -> Result<Extend, FieldError> {
        Ok(Extend {
            reservation,
            tenant,
            ttl_seconds: ttl(self.ttl_seconds)?,
            more_output: tokens("more_output", self.more_output)?,
            bound: CallBound::default(),
        })
    }
}

/// A call that was made without a reservation. The body of `POST /v1/usage`: one, or an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "tenant": "acme", "feature": "support-chat", "provider": "openai", "model": "gpt-4o",
    "usage": {"input": 1200, "output": 300}
}))]
pub struct UsageBody {
    /// The caller's key of this one item: sent again, it is one effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Whose call it was.
    #[schema(example = "acme")]
    pub tenant: String,
    /// What it was for.
    #[schema(example = "support-chat")]
    pub feature: String,
    /// Who served it.
    #[schema(example = "openai")]
    pub provider: String,
    /// The model that served.
    #[schema(example = "gpt-4o")]
    pub model: String,
    /// The model that was asked for, where another one served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_model: Option<String>,
    /// Where, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The service tier that served. If not given it is what the usage object says, else the ordinary one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// How urgent it was: `interactive`, `standard` or `batch`.
    #[serde(default)]
    pub priority: PriorityName,
    /// The agent's task, if the call was part of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The agent, if one made the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The caller's own labels; at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How many calls the usage adds up. 1 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// In our disjoint buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageBuckets>,
    /// Or the provider's own usage object, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub provider_usage: Option<serde_json::Value>,
    /// Whether that is only what a call that was cut off had told until then: flagged `partial_usage` and `unconfirmed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_is_partial: Option<bool>,
    /// How it ended.
    #[serde(default)]
    pub outcome: OutcomeName,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u32>,
    /// The provider's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_request_id: Option<String>,
    /// What the provider says it cost, in dollars.
    #[serde(default, deserialize_with = "super::decimal::deserialize_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal")]
    pub provider_usd: Option<Decimal>,
    /// When it happened: at most 400 days ago and 5 minutes ahead. Now if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<DateTime<Utc>>,
}

impl UsageBody {
    /// The command it asks for.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn to_post(&self, transfer: TransferId) -> Result<PostUsage, FieldError> {
        let requests = self.requests.unwrap_or(1);
        if requests == 0 || requests > REQUESTS_MAX {
            return Err(FieldError::new("requests", format!("{requests} is not between 1 and {REQUESTS_MAX}")));
        }
        let usage = reported(self.usage.as_ref(), self.provider_usage.as_ref())?;
        Ok(PostUsage {
            transfer,
            call: Dimensions {
                tenant: required("tenant", &self.tenant)?,
                feature: required("feature", &self.feature)?,
                provider: required("provider", &self.provider)?,
                model: required("model", &self.model)?,
                region: optional("region", self.region.as_deref())?,
                run: optional("run", self.run.as_deref())?,
                agent: optional("agent", self.agent.as_deref())?,
                labels: Arc::new(parse_labels("labels", &self.labels)?),
                spelling: Spelling::AsSaid,
            },
            requested_model: optional("requested_model", self.requested_model.as_deref())?,
            priority: self.priority.into(),
            service_tier: reported_tier(self.service_tier.as_deref())?,
            requests,
            usage: usage.ok_or_else(|| FieldError::new("usage", "is needed: usage or provider_usage"))?,
            is_partial: self.usage_is_partial,
            report: report(self.outcome, self.latency_ms, self.provider_request_id.as_ref(), self.provider_usd)?,
            occurred_at: self.occurred_at,
        })
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
