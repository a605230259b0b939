//! Work that is announced, as JSON.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::amounts::{Grams, Tokens, Usd};
use crate::domain::id::{FeatureId, ModelId, ProviderId, RegionId, TenantId};
use crate::domain::usage::Usage;
use crate::wire::answer::UsageBuckets;
use crate::wire::call::buckets;
use crate::wire::{FieldError, in_calendar, optional, required};

/// Longest note, in bytes.
const NOTE_LENGTH_MAX: usize = 500;
/// Longest announced work, in days: a year and a day.
pub const PLANNED_DAYS_MAX: i64 = 367;

/// How much is announced, in at least one unit.
///
/// What is left out is told by the price and factor books where `usage`,
/// `provider` and `model` are given, and else is not known: a budget on such a measure does not count the work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"requests": 20000, "usage": {"input": 48_000_000, "output": 6_000_000}}))]
pub struct PlannedAmountsBody {
    /// Calls.
    pub requests: Option<u64>,
    /// Tokens by bucket, of all calls together.
    pub usage: Option<UsageBuckets>,
    /// Tokens of all buckets, where the buckets are not known. Not together with `usage`.
    pub tokens: Option<u64>,
    /// Dollars.
    #[serde(deserialize_with = "crate::wire::decimal::deserialize_option")]
    #[schema(value_type = Option<String>, format = "decimal", example = "310.5")]
    pub usd: Option<Decimal>,
    /// Grams: location-based usage plus embodied.
    #[serde(deserialize_with = "crate::wire::decimal::deserialize_option")]
    #[schema(value_type = Option<String>, format = "decimal", example = "9200")]
    pub gco2e: Option<Decimal>,
    /// Grams: market-based usage plus embodied.
    #[serde(deserialize_with = "crate::wire::decimal::deserialize_option")]
    #[schema(value_type = Option<String>, format = "decimal", example = "4100")]
    pub gco2e_market: Option<Decimal>,
}

/// Announce work. The body of `POST /v1/planned-usage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "tenant": "acme", "feature": "nightly-digest", "provider": "anthropic", "model": "claude-haiku-4-5",
    "start": "2026-06-12T22:00:00Z", "end": "2026-06-13T04:00:00Z",
    "amounts": {"requests": 20000, "usage": {"input": 48_000_000, "output": 6_000_000}}
}))]
pub struct PlannedUsageBody {
    /// Whose work it is.
    pub tenant: String,
    /// What it is for. A budget of a feature, provider, model or region counts only work that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// Who will serve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// When it begins.
    pub start: DateTime<Utc>,
    /// When it is over. It is taken to spread evenly over its hours.
    pub end: DateTime<Utc>,
    /// What it is, for people. At most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How much it is.
    pub amounts: PlannedAmountsBody,
}

/// Announced work, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PlannedUsage)]
pub struct PlannedUsageRow {
    /// Its id.
    pub id: Uuid,
    /// Whose work it is.
    pub tenant: String,
    /// What it is for.
    pub feature: Option<String>,
    /// Who will serve it.
    pub provider: Option<String>,
    /// With what.
    pub model: Option<String>,
    /// Where.
    pub region: Option<String>,
    /// When it begins.
    pub start: DateTime<Utc>,
    /// When it is over.
    pub end: DateTime<Utc>,
    /// What it is, for people.
    pub note: Option<String>,
    /// How much it is: what was said, and what the books tell of the rest. Null where neither does.
    pub amounts: PlannedAmountsBody,
    /// When it was announced.
    pub recorded_at: DateTime<Utc>,
}

/// Announced work, its names and amounts checked.
#[derive(Debug, Clone)]
pub struct PlannedUsage {
    /// Whose work it is.
    pub tenant: TenantId,
    /// What it is for.
    pub feature: Option<FeatureId>,
    /// Who will serve it.
    pub provider: Option<ProviderId>,
    /// With what.
    pub model: Option<ModelId>,
    /// Where.
    pub region: Option<RegionId>,
    /// Buckets, if they were said.
    pub usage: Option<Usage>,
}

impl PlannedUsageBody {
    /// Checks it.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn check(&self, now: DateTime<Utc>) -> Result<PlannedUsage, FieldError> {
        in_calendar("start", Some(self.start))?;
        in_calendar("end", Some(self.end))?;
        if self.start >= self.end {
            return Err(FieldError::new("end", format!("{} is not after start, which is {}", self.end, self.start)));
        }
        if self.end <= now {
            return Err(FieldError::new("end", format!("{} is past: post what was used to /v1/usage", self.end)));
        }
        if self.end.signed_duration_since(self.start) > TimeDelta::days(PLANNED_DAYS_MAX) {
            return Err(FieldError::new("end", format!("is more than {PLANNED_DAYS_MAX} days after start")));
        }
        let unfit = |text: &String| text.len() > NOTE_LENGTH_MAX || text.chars().any(char::is_control);
        if self.note.as_ref().is_some_and(unfit) {
            let detail = format!("may have at most {NOTE_LENGTH_MAX} bytes and no control characters");
            return Err(FieldError::new("note", detail));
        }
        let usage = self.amounts.check().map_err(|error| error.within("amounts"))?;
        Ok(PlannedUsage {
            tenant: required("tenant", &self.tenant)?,
            feature: optional("feature", self.feature.as_deref())?,
            provider: optional("provider", self.provider.as_deref())?,
            model: optional("model", self.model.as_deref())?,
            region: optional("region", self.region.as_deref())?,
            usage,
        })
    }
}

impl PlannedAmountsBody {
    fn check(&self) -> Result<Option<Usage>, FieldError> {
        let Self { requests, usage, tokens, usd, gco2e, gco2e_market } = self;
        if usage.is_some() && tokens.is_some() {
            return Err(FieldError::new("tokens", "is the sum of usage: give one of the two"));
        }
        let nothing = requests.is_none() && usage.is_none() && tokens.is_none();
        if nothing && usd.is_none() && gco2e.is_none() && gco2e_market.is_none() {
            return Err(FieldError::new("usage", "say how much it is in at least one unit"));
        }
        if requests.is_some_and(|requests| u32::try_from(requests).is_err()) {
            return Err(FieldError::new("requests", format!("must be at most {}", u32::MAX)));
        }
        let of = |field: &'static str| move |error: crate::domain::amounts::BadAmount| FieldError::new(field, error);
        tokens.map(Tokens::new).transpose().map_err(of("tokens"))?;
        usd.map(Usd::new).transpose().map_err(of("usd"))?;
        gco2e.map(Grams::new).transpose().map_err(of("gco2e"))?;
        gco2e_market.map(Grams::new).transpose().map_err(of("gco2e_market"))?;
        usage.as_ref().map(buckets).transpose()
    }
}
