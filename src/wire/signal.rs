//! A provider's answer as a caller tells it, what it means, and the rules that ship.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{FieldError, optional, required};
use crate::domain::budget::closure::Closure;
use crate::domain::calendar::Zone;
use crate::domain::id::{BudgetId, ModelId, ProviderId, RegionId, TenantId};
use crate::domain::price::names::ProviderNames;
use crate::domain::signal::limits::{LimitHeaders, ReportedLimit, ResetForm, UsedForm};
use crate::domain::signal::rule::{Condition, LimitPeriod, Place, Return, Rule, Test};
use crate::domain::signal::{ProviderAnswer, RuleBook, Signal, SignalClass, SignalKind};

/// Most headers of one signal.
pub const SIGNAL_HEADERS_MAX: usize = 200;
/// Most leaves of a body that are looked at.
pub const SIGNAL_LEAVES_MAX: usize = 2_000;
/// Deepest nesting of a body that is looked at.
const DEPTH_MAX: usize = 16;

const RULES: &str = include_str!("../../data/signals/rules.json");

/// What a provider answered. Nothing of headers and body is kept: they are compared with rules, and forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignalRequest)]
#[schema(example = json!({
    "provider": "anthropic", "model": "claude-sonnet-4-5", "status": 429, "headers": {"retry-after": "30"},
    "body": {"type": "error", "error": {"type": "rate_limit_error", "message": "This request would exceed your rate limit."}}
}))]
pub struct SignalBody {
    /// Who answered.
    #[schema(example = "anthropic")]
    pub provider: String,
    /// Which model was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whose call it was, where the provider's limit is one tenant's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The quota that the answer is about, where several could be meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// The HTTP status of the answer.
    #[schema(example = 429)]
    pub status: u16,
    /// Its headers. Those of rate limits are enough.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Its body: JSON as it is, or a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub body: Option<Value>,
    /// When it came: at most a day ago and 5 minutes ahead. Now if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<DateTime<Utc>>,
}

/// A signal's names, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalNames {
    /// Who answered, by the name the books know.
    pub provider: ProviderId,
    /// Which model was asked.
    pub model: Option<ModelId>,
    /// Where.
    pub region: Option<RegionId>,
    /// Whose call it was.
    pub tenant: Option<TenantId>,
    /// The quota it is about: which one its caller means is looked up apart.
    pub budget: Option<BudgetId>,
}

impl SignalBody {
    /// Its names.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn names(&self, known: &ProviderNames) -> Result<SignalNames, FieldError> {
        let given: ProviderId = required("provider", &self.provider)?;
        let provider = known.provider_of(&given.as_str().to_ascii_lowercase()).map(str::to_owned);
        Ok(SignalNames {
            provider: provider.map_or(Ok(given), |name| required("provider", &name))?,
            model: optional("model", self.model.as_deref())?,
            region: optional("region", self.region.as_deref())?,
            tenant: optional("tenant", self.tenant.as_deref())?,
            budget: None,
        })
    }

    /// What rules look at.
    ///
    /// # Errors
    /// Names the field that holds too much, or a status that is none.
    pub fn answer(&self, names: &SignalNames) -> Result<ProviderAnswer, FieldError> {
        if !(100..600).contains(&self.status) {
            return Err(FieldError::new("status", format!("{} is no HTTP status", self.status)));
        }
        if self.headers.len() > SIGNAL_HEADERS_MAX {
            return Err(FieldError::new("headers", format!("holds more than {SIGNAL_HEADERS_MAX} headers")));
        }
        let mut body = BTreeMap::new();
        match &self.body {
            // A client that could not read JSON sends it as a text.
            Some(Value::String(text)) => match serde_json::from_str::<Value>(text) {
                Ok(value) if value.is_object() || value.is_array() => flatten("", &value, 0, &mut body)?,
                Ok(_) | Err(_) => {
                    body.insert("text".to_owned(), vec![text.clone()]);
                }
            },
            Some(value) => flatten("", value, 0, &mut body)?,
            None => {}
        }
        let given = self.provider.to_ascii_lowercase();
        let known = names.provider.to_string();
        let all = if given == known { vec![known] } else { vec![given, known] };
        let headers = self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        Ok(ProviderAnswer { names: all, status: self.status, headers, body })
    }
}

fn flatten(
    path: &str,
    value: &Value,
    depth: usize,
    leaves: &mut BTreeMap<String, Vec<String>>,
) -> Result<(), FieldError> {
    if depth > DEPTH_MAX {
        return Err(FieldError::new("body", "is nested too deeply"));
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let leaf = match value {
        Value::Null => return Ok(()),
        Value::Object(fields) => {
            return fields.iter().try_for_each(|(key, inner)| flatten(&below(key), inner, depth + 1, leaves));
        }
        Value::Array(items) => {
            return items.iter().try_for_each(|inner| flatten(&below("*"), inner, depth + 1, leaves));
        }
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    leaves.entry(path.to_owned()).or_default().push(leaf);
    if leaves.values().map(Vec::len).sum::<usize>() > SIGNAL_LEAVES_MAX {
        return Err(FieldError::new("body", format!("holds more than {SIGNAL_LEAVES_MAX} values")));
    }
    Ok(())
}

/// What a provider's answer means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SignalAnswer)]
pub struct SignalAnswer {
    /// What the caller should do: `allow`, `cap` (the same call made smaller), `wait`, `stop`, or `unknown`.
    #[schema(example = "wait")]
    pub class: String,
    /// What it is about: `none`, `rate_limit`, `quota`, `credit`, `pool`, `unknown`.
    #[schema(example = "rate_limit")]
    pub kind: String,
    /// When it comes back, if the answer says so or the provider's rule is known.
    pub retry_at: Option<DateTime<Utc>>,
    /// The rule that decided; null where none did.
    pub rule: Option<String>,
    /// Where the rule is from.
    pub rule_source: Option<String>,
    /// The limits that the headers tell.
    pub limits: Vec<ReportedLimitBody>,
    /// The quotas that are closed by it: their verdicts are `stop` until then.
    pub closed: Vec<ClosedQuotaBody>,
    /// The quotas that a success has opened again. Absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reopened: Vec<String>,
    /// Why a `stop` closes no quota, or what else is worth knowing.
    pub note: Option<String>,
    /// Under which id it was recorded; null for a success, which is not, unless it opened a quota.
    pub signal: Option<Uuid>,
    /// When it was recorded.
    pub recorded_at: Option<DateTime<Utc>>,
}

impl SignalAnswer {
    /// What a signal means, before anything was recorded.
    #[must_use]
    pub fn of(signal: &Signal<'_>) -> Self {
        Self {
            class: signal.class.word().to_owned(),
            kind: signal.kind.word().to_owned(),
            retry_at: signal.retry_at(),
            rule: signal.rule.map(|rule| rule.name.clone()),
            rule_source: signal.rule.map(|rule| format!("{} (read {})", rule.source, rule.source_date)),
            limits: signal.limits.iter().map(ReportedLimitBody::from).collect(),
            closed: Vec::new(),
            reopened: Vec::new(),
            note: None,
            signal: None,
            recorded_at: None,
        }
    }
}

/// A quota that is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ClosedQuota)]
pub struct ClosedQuotaBody {
    /// Which budget.
    #[schema(example = "anthropic-quota")]
    pub budget: String,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Whether the instant was computed, because the provider gave none: then one call a minute is let through, and the first
    /// that succeeds opens the quota. Absent where the provider gave it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub computed: bool,
}

impl ClosedQuotaBody {
    /// Of a quota that is closed.
    #[must_use]
    pub fn of(budget: &BudgetId, closure: &Closure) -> Self {
        Self { budget: budget.to_string(), until: closure.until, computed: !closure.is_reported }
    }
}

/// A limit, as the headers tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ReportedLimit)]
pub struct ReportedLimitBody {
    /// What is limited: `requests`, `tokens`, `input_tokens`, `output_tokens`; of a subscription its window: `five_hours`, `week`,
    /// `primary_window`, `secondary_window`.
    #[schema(example = "tokens")]
    pub counts: String,
    /// How much.
    pub limit: Option<u64>,
    /// How much is left.
    pub remaining: Option<u64>,
    /// How much is used, as a share: above 1 where more was used than the limit. Absent where the provider does not say.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rust_decimal::serde::str_option")]
    #[schema(value_type = Option<String>, example = "0.42")]
    pub used: Option<Decimal>,
    /// How long its window is, in seconds. Absent where the provider does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    /// When it is whole again.
    pub resets_at: Option<DateTime<Utc>>,
}

impl From<&ReportedLimit> for ReportedLimitBody {
    fn from(limit: &ReportedLimit) -> Self {
        Self {
            counts: limit.counts.clone(),
            limit: limit.limit,
            remaining: limit.remaining,
            used: limit.used,
            window_seconds: limit.window_seconds,
            resets_at: limit.resets_at,
        }
    }
}

/// A signal as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RecordedSignal)]
pub struct SignalRow {
    /// Its id.
    pub signal: Uuid,
    /// Whose call it was; null where the limit is the platform's.
    pub tenant: Option<String>,
    /// Who answered.
    pub provider: String,
    /// Which model was asked.
    pub model: Option<String>,
    /// Where.
    pub region: Option<String>,
    /// The HTTP status.
    pub status: i32,
    /// What the caller should do.
    pub class: String,
    /// What it is about.
    pub kind: String,
    /// The rule that decided.
    pub rule: Option<String>,
    /// When it comes back.
    pub retry_at: Option<DateTime<Utc>>,
    /// The quotas that it closed.
    pub budgets: Vec<String>,
    /// Until when.
    pub closed_until: Option<DateTime<Utc>>,
    /// Who told.
    pub subject: String,
    /// When it came.
    pub occurred_at: DateTime<Utc>,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
}

/// Why the rules that ship cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadRules {
    /// No JSON of rules.
    #[error("data/signals/rules.json: {0}")]
    Json(#[from] serde_json::Error),
    /// A rule that makes no sense.
    #[error("data/signals/rules.json: {name}: {detail}")]
    Rule {
        /// Which.
        name: String,
        /// What is wrong.
        detail: String,
    },
}

/// The rules that ship.
///
/// # Errors
/// When the file is not what it must be; a test reads it.
pub fn bundled_rules() -> Result<RuleBook, BadRules> {
    let doc: RulesDoc = serde_json::from_str(RULES)?;
    let rules = doc.rules.into_iter().map(RuleDoc::into_rule).collect::<Result<_, _>>()?;
    Ok(RuleBook { rules, limits: doc.limits.into_iter().map(LimitDoc::into_limit).collect() })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesDoc {
    #[serde(rename = "licence")]
    _licence: String,
    rules: Vec<RuleDoc>,
    limits: Vec<LimitDoc>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleDoc {
    name: String,
    providers: Vec<String>,
    status: Vec<u16>,
    when: Vec<ConditionDoc>,
    class: String,
    kind: String,
    period: Option<String>,
    returns: Vec<ReturnDoc>,
    source: String,
    source_date: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionDoc {
    header: Option<String>,
    body: Option<Vec<String>>,
    present: Option<bool>,
    equals: Option<Vec<String>>,
    contains: Option<Vec<String>>,
    above: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReturnDoc {
    Header(String),
    HeaderMilliseconds(String),
    HeaderEpoch(String),
    BodyDuration(Vec<String>),
    BodySeconds(Vec<String>),
    BodyEpoch(Vec<String>),
    MessageInstant,
    MessageRetryIn,
    MessageReplenishedIn,
    ExhaustedLimit,
    Month(String),
    Day(String),
    Seconds(u32),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitDoc {
    providers: Vec<String>,
    counts: String,
    limit: Option<String>,
    remaining: Option<String>,
    used: Option<String>,
    used_form: Option<UsedFormDoc>,
    status: Option<String>,
    #[serde(default)]
    refusing: Vec<String>,
    window_minutes: Option<String>,
    window_seconds: Option<u64>,
    resets: Vec<ResetDoc>,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "source_date")]
    _source_date: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UsedFormDoc {
    Share,
    Percent,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResetDoc {
    Instant(String),
    Duration(String),
    Epoch(String),
    Seconds(String),
}

impl RuleDoc {
    fn into_rule(self) -> Result<Rule, BadRules> {
        let name = self.name;
        let bad = |detail: String| BadRules::Rule { name: name.clone(), detail };
        let class = SignalClass::from_word(&self.class).ok_or_else(|| bad(format!("class `{}`", self.class)))?;
        let kind = SignalKind::from_word(&self.kind).ok_or_else(|| bad(format!("kind `{}`", self.kind)))?;
        let is_period = |word: &String| LimitPeriod::ALL.into_iter().find(|period| period.word() == word.as_str());
        let period = self
            .period
            .as_ref()
            .map(|word| is_period(word).ok_or_else(|| bad(format!("period `{word}`"))))
            .transpose()?;
        let conditions = self.when.into_iter().map(ConditionDoc::into_condition);
        let conditions = conditions.collect::<Option<_>>().ok_or_else(|| bad("a condition".to_owned()))?;
        let returns = self.returns.into_iter().map(ReturnDoc::into_return);
        let returns = returns.collect::<Result<_, _>>().map_err(bad)?;
        let (source, source_date) = (self.source, self.source_date);
        Ok(Rule {
            name,
            providers: self.providers,
            statuses: self.status,
            conditions,
            class,
            kind,
            period,
            returns,
            source,
            source_date,
        })
    }
}

impl ConditionDoc {
    fn into_condition(self) -> Option<Condition> {
        let place = match (self.header, self.body) {
            (Some(name), None) => Place::Header(name),
            (None, Some(paths)) => Place::Body(paths),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let test = match (self.present, self.equals, self.contains, self.above) {
            (Some(true), None, None, None) => Test::Present,
            (Some(false), None, None, None) => Test::Absent,
            (None, Some(wanted), None, None) => Test::Equals(wanted),
            (None, None, Some(wanted), None) => Test::Contains(wanted),
            (None, None, None, Some(least)) => Test::Above(least),
            _ => return None,
        };
        Some(Condition { place, test })
    }
}

impl ReturnDoc {
    fn into_return(self) -> Result<Return, String> {
        let zone = |name: &str| Zone::parse(name).map_err(|error| error.to_string());
        Ok(match self {
            Self::Header(name) => Return::Header(name),
            Self::HeaderMilliseconds(name) => Return::HeaderMilliseconds(name),
            Self::HeaderEpoch(name) => Return::HeaderEpoch(name),
            Self::BodyDuration(paths) => Return::BodyDuration(paths),
            Self::BodySeconds(paths) => Return::BodySeconds(paths),
            Self::BodyEpoch(paths) => Return::BodyEpoch(paths),
            Self::MessageInstant => Return::MessageInstant,
            Self::MessageRetryIn => Return::MessageRetryIn,
            Self::MessageReplenishedIn => Return::MessageReplenishedIn,
            Self::ExhaustedLimit => Return::ExhaustedLimit,
            Self::Month(name) => Return::Month(zone(&name)?),
            Self::Day(name) => Return::Day(zone(&name)?),
            Self::Seconds(seconds) => Return::Seconds(seconds),
        })
    }
}

impl LimitDoc {
    fn into_limit(self) -> LimitHeaders {
        let form = self.used_form.map_or(UsedForm::Share, |form| match form {
            UsedFormDoc::Share => UsedForm::Share,
            UsedFormDoc::Percent => UsedForm::Percent,
        });
        let refusing = self.refusing;
        let resets = self.resets.into_iter().map(|reset| match reset {
            ResetDoc::Instant(name) => (name, ResetForm::Instant),
            ResetDoc::Duration(name) => (name, ResetForm::Duration),
            ResetDoc::Epoch(name) => (name, ResetForm::Epoch),
            ResetDoc::Seconds(name) => (name, ResetForm::Seconds),
        });
        LimitHeaders {
            providers: self.providers,
            counts: self.counts,
            limit: self.limit,
            remaining: self.remaining,
            used: self.used.map(|name| (name, form)),
            status: self.status.map(|name| (name, refusing)),
            window_minutes: self.window_minutes,
            window_seconds: self.window_seconds,
            resets: resets.collect(),
        }
    }
}

#[cfg(test)]
#[path = "signal_tests.rs"]
mod tests;
