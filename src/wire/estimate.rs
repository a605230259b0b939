//! What a call would cost, and a period of the calendar, as JSON: the questions that touch nothing.
//!
//! Figures of energy and emissions are decimal strings that read back as the very number the model computed: without
//! exponent, as many digits as it takes, at most 17 that matter.

use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::UsageBuckets;
use super::budget::PeriodBody;
use super::call::{buckets, service_tier};
use super::factor::doc::SourceDoc;
use super::rates::{FactorUsedBody, PriceUsedBody};
use super::{FieldError, optional, required};
use crate::domain::calendar::{Period, PeriodSpec, Zone, tzdb_version};
use crate::domain::carbon::{
    Factor, Fallbacks, GridFallback, GridZone, Interval, ModelFallback, Profile, RegionFallback, Resolved,
    ServingFallback,
};
use crate::domain::estimate::{Estimate, Question};

/// The years that an instant may be in.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2199;

/// What would this call cost? The body of `POST /v1/estimate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "provider": "anthropic", "model": "claude-sonnet-4-5", "region": "eu-central-1",
    "usage": {"input": 1200, "output": 400}, "latency_ms": 5300
}))]
pub struct EstimateQuestion {
    /// Who would serve it.
    pub provider: String,
    /// With what.
    pub model: String,
    /// Where, as the provider names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// On which grid, instead of the region's: `USA`, `US-VA`, `SE3`, `WOR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid_zone: Option<String>,
    /// What it would use.
    pub usage: UsageBuckets,
    /// How long it took, in milliseconds, if measured: it can only lower the energy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u32>,
    /// When; now if not given. Prices and factors are those of that instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// The carbon method, `extended-1` or `ecologits-0.11.3`; the one that amounts are posted by if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The provider's service tier: `standard`, `batch`, `flex`, `priority`, `fast`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
}

/// An instant that prices, factors and the calendar can speak of.
fn instant(field: &str, at: DateTime<Utc>) -> Result<DateTime<Utc>, FieldError> {
    if YEARS.contains(&at.year()) {
        Ok(at)
    } else {
        Err(FieldError::new(field, format!("{at} is not in the years 1900 to 2199")))
    }
}

impl EstimateQuestion {
    /// The question, with what was not given.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn to_question(&self, now: DateTime<Utc>, profile: Profile) -> Result<Question, FieldError> {
        if self.region.is_some() && self.grid_zone.is_some() {
            return Err(FieldError::new("grid_zone", "give either region or grid_zone, not both"));
        }
        let grid_zone = self.grid_zone.as_deref().map(GridZone::parse).transpose();
        let profile = self.profile.as_deref().map_or(Ok(profile), Profile::parse);
        Ok(Question {
            provider: required("provider", &self.provider)?,
            model: required("model", &self.model)?,
            service_tier: service_tier(self.service_tier.as_deref())?,
            region: optional("region", self.region.as_deref())?,
            grid_zone: grid_zone.map_err(|error| FieldError::new("grid_zone", error))?,
            usage: buckets(&self.usage)?,
            latency: self.latency_ms.map(|ms| Duration::from_millis(ms.into())),
            profile: profile.map_err(|error| FieldError::new("profile", error))?,
            at: instant("at", self.at.unwrap_or(now))?,
        })
    }
}

/// A figure with its range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FigureBody {
    /// The least it can be.
    #[schema(format = "decimal", example = "0.0000102")]
    pub min: String,
    /// The figure.
    #[schema(format = "decimal", example = "0.0000211")]
    pub mid: String,
    /// The most it can be.
    #[schema(format = "decimal", example = "0.0000873")]
    pub max: String,
    /// The range it likely lies in.
    pub likely: RangeBody,
}

/// A range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RangeBody {
    /// From.
    #[schema(format = "decimal", example = "0.0000153")]
    pub min: String,
    /// To.
    #[schema(format = "decimal", example = "0.0000402")]
    pub max: String,
}

/// The shortest decimal that reads back as this very number. Rust's `Display` of a float never uses an exponent.
fn digits(value: f64) -> String {
    value.to_string()
}

impl FigureBody {
    fn of(figure: Interval, likely: Interval) -> Self {
        Self {
            min: digits(figure.min),
            mid: digits(figure.mid),
            max: digits(figure.max),
            likely: RangeBody { min: digits(likely.min), max: digits(likely.max) },
        }
    }
}

/// What had to be assumed; null where nothing was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FallbacksBody {
    /// The model's size: `worst_of_provider` or `worst_known`.
    pub model: Option<String>,
    /// The grid factor: `other_vintage`, `country` or `world_average`.
    pub grid: Option<String>,
    /// The place: `provider_default`, `not_given` or `unknown`.
    pub region: Option<String>,
    /// The data centre: `maker` or `any_data_centre`.
    pub serving: Option<String>,
}

impl From<Fallbacks> for FallbacksBody {
    fn from(fallbacks: Fallbacks) -> Self {
        let model = |fallback| match fallback {
            ModelFallback::WorstOfProvider => "worst_of_provider",
            ModelFallback::WorstKnown => "worst_known",
        };
        let grid = |fallback| match fallback {
            GridFallback::OtherVintage => "other_vintage",
            GridFallback::Country => "country",
            GridFallback::WorldAverage => "world_average",
        };
        let region = |fallback| match fallback {
            RegionFallback::ProviderDefault => "provider_default",
            RegionFallback::NotGiven => "not_given",
            RegionFallback::Unknown => "unknown",
        };
        let serving = |fallback| match fallback {
            ServingFallback::Maker => "maker",
            ServingFallback::AnyDataCentre => "any_data_centre",
        };
        Self {
            model: fallbacks.model.map(|fallback| model(fallback).to_owned()),
            grid: fallbacks.grid.map(|fallback| grid(fallback).to_owned()),
            region: fallbacks.region.map(|fallback| region(fallback).to_owned()),
            serving: fallbacks.serving.map(|fallback| serving(fallback).to_owned()),
        }
    }
}

/// Energy and emissions. Location-based and market-based grams are two views of one emission: never add them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CarbonBody {
    /// The method.
    #[schema(example = "extended-1")]
    pub profile: String,
    /// Energy, kWh.
    pub energy_kwh: FigureBody,
    /// Grams of the electricity used, by the grid where it was used.
    pub usage_location_g: FigureBody,
    /// Grams of the electricity used, by the contracts it was bought under.
    pub usage_market_g: FigureBody,
    /// Grams of making the hardware.
    pub embodied_g: FigureBody,
    /// How the market-based figure was made: `contract`, `supplier`, `residual` or `location_fallback`.
    pub market_method: String,
    /// What had to be assumed.
    pub fallbacks: FallbacksBody,
    /// The factor rows it stands on.
    pub factors: Vec<FactorUsedBody>,
}

/// What a call would cost, and why.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EstimateAnswer {
    /// The instant whose prices and factors were used.
    pub at: DateTime<Utc>,
    /// Tokens of all buckets.
    pub tokens: u64,
    /// Dollars.
    #[schema(value_type = String, format = "decimal", example = "0.0096")]
    pub usd: Decimal,
    /// Grams as the ledger would post them: location-based usage plus embodied.
    #[schema(value_type = String, format = "decimal", example = "0.41")]
    pub gco2e: Decimal,
    /// Grams as the ledger would post them: market-based usage plus embodied.
    #[schema(value_type = String, format = "decimal", example = "0.41")]
    pub gco2e_market: Decimal,
    /// The price row and its tier.
    pub price: PriceUsedBody,
    /// Energy and emissions, with ranges.
    pub carbon: CarbonBody,
}

fn factors_used(resolved: &Resolved) -> Vec<FactorUsedBody> {
    let rows = [
        ("model", resolved.model.as_ref().map(|row| Factor::Model(row.as_ref().clone()))),
        ("grid", resolved.grid.as_ref().map(|row| Factor::Grid(row.as_ref().clone()))),
        ("market", resolved.market.as_ref().map(|row| Factor::Grid(row.as_ref().clone()))),
        ("serving", resolved.serving.as_ref().map(|row| Factor::Serving(row.as_ref().clone()))),
        ("region", resolved.region.as_ref().map(|row| Factor::Region(row.as_ref().clone()))),
    ];
    let used = |(used_for, factor): (&str, Option<Factor>)| {
        let factor = factor?;
        Some(FactorUsedBody {
            id: factor.id().0,
            used_for: used_for.to_owned(),
            key: factor.key(),
            valid_from: factor.validity().from,
            valid_to: factor.validity().to,
            source: SourceDoc::from(factor.source()),
        })
    };
    rows.into_iter().filter_map(used).collect()
}

impl EstimateAnswer {
    /// The answer to a question asked of an instant.
    #[must_use]
    pub fn of(estimate: &Estimate, at: DateTime<Utc>) -> Self {
        let Estimate { tokens, priced, row, unpriced, carbon, grams, resolved } = estimate;
        let sum = |usage: crate::domain::amounts::Grams| {
            usage.checked_add(grams.embodied).unwrap_or_default().decimal().normalize()
        };
        let likely = &carbon.likely;
        Self {
            at,
            tokens: tokens.count(),
            usd: priced.usd.decimal().normalize(),
            gco2e: sum(grams.usage_location),
            gco2e_market: sum(grams.usage_market),
            price: PriceUsedBody {
                id: row.id.0,
                provider: row.provider.to_string(),
                model: row.model.to_string(),
                service_tier: row.service_tier.as_str().to_owned(),
                region: row.region.as_ref().map(ToString::to_string),
                effective_from: row.effective_from,
                effective_to: row.effective_to,
                tier_from: priced.tier_from.count(),
                unpriced: *unpriced,
                derived: row.derived.iter().map(|bucket| bucket.as_str().to_owned()).collect(),
                source: row.source.clone(),
                source_date: row.source_date,
                licence: row.licence.clone(),
            },
            carbon: CarbonBody {
                profile: carbon.profile.name().to_owned(),
                energy_kwh: FigureBody::of(carbon.energy_kwh, likely.energy_kwh),
                usage_location_g: FigureBody::of(carbon.usage_location_g, likely.usage_location_g),
                usage_market_g: FigureBody::of(carbon.usage_market_g, likely.usage_market_g),
                embodied_g: FigureBody::of(carbon.embodied_g, likely.embodied_g),
                market_method: carbon.market_method.word().to_owned(),
                fallbacks: carbon.fallbacks.into(),
                factors: factors_used(resolved),
            },
        }
    }
}

/// Which period holds an instant? The body of `POST /v1/calendar/period`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"zone": "Asia/Tokyo", "period": {"kind": "month"}, "at": "2026-11-21T10:00:00Z"}))]
pub struct PeriodQuestion {
    /// An IANA zone.
    pub zone: String,
    /// The calendar window.
    pub period: PeriodBody,
    /// The instant; now if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
}

/// The boundaries of a period: it holds `start` and not `end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PeriodAnswer {
    /// Its first instant. Of `once`, which has no beginning, 1970-01-01T00:00:00Z. Of `sliding`, that of the oldest slice
    /// that is counted.
    pub start: DateTime<Utc>,
    /// The first instant of the next one; null for `once`, which has no next.
    pub end: Option<DateTime<Utc>>,
    /// `start` on the zone's clock.
    #[schema(example = "2026-11-01T00:00:00+09:00")]
    pub start_local: String,
    /// `end` on the zone's clock.
    #[schema(example = "2026-12-01T00:00:00+09:00")]
    pub end_local: Option<String>,
    /// How long it is, in elapsed seconds.
    pub seconds: Option<i64>,
    /// The release of the timezone rules that were used.
    #[schema(example = "2026e")]
    pub tzdb: String,
}

impl PeriodQuestion {
    /// Answers it: a pure function of the question.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn answer(&self, now: DateTime<Utc>) -> Result<PeriodAnswer, FieldError> {
        let zone = Zone::parse(&self.zone).map_err(|error| FieldError::new("zone", error))?;
        let spec = PeriodSpec::try_from(&self.period).map_err(|error| error.within("period"))?;
        let at = instant("at", self.at.unwrap_or(now))?;
        let start = spec.since(zone, at).map_err(|error| FieldError::new("at", error))?;
        let end = spec.holding(zone, at).map_err(|error| FieldError::new("at", error))?.end;
        Ok(PeriodAnswer {
            start,
            end,
            start_local: zone.to_local_rfc3339(start),
            end_local: end.map(|end| zone.to_local_rfc3339(end)),
            seconds: Period { start, end }.duration().map(|length| length.num_seconds()),
            tzdb: tzdb_version().to_owned(),
        })
    }
}
