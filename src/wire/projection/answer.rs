//! A projection, as JSON.
//!
//! Quantities are decimal strings in the unit of the budget's measure, as everywhere; those of the future have six digits
//! that matter. An instant that is null means *not in this period*.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Most hours of a path in one answer: a month, and room.
pub const PATH_HOURS_MAX: usize = 800;
/// Most drivers in one answer.
pub const DRIVERS_MAX: usize = 100;

/// When a budget runs out, as a distribution. Null: not in this period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExhaustsAtBody {
    /// One in ten is earlier.
    pub p10: Option<DateTime<Utc>>,
    /// The expected instant.
    pub p50: Option<DateTime<Utc>>,
    /// One in ten is later.
    pub p90: Option<DateTime<Utc>>,
}

/// The same instants, on the clock of the budget's zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExhaustsAtLocalBody {
    /// One in ten is earlier.
    #[schema(example = "2026-06-24T18:20:00+09:00")]
    pub p10: Option<String>,
    /// The expected instant.
    pub p50: Option<String>,
    /// One in ten is later.
    pub p90: Option<String>,
}

/// A quantity of the future.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BandBody {
    /// One in ten is below.
    #[schema(value_type = String, format = "decimal", example = "480")]
    pub low: Decimal,
    /// What is expected.
    #[schema(value_type = String, format = "decimal", example = "533.5")]
    pub expected: Decimal,
    /// One in ten is above.
    #[schema(value_type = String, format = "decimal", example = "610")]
    pub high: Decimal,
}

/// One reason why a projection is not more certain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CaveatBody {
    /// A stable code.
    #[schema(example = "level_shift")]
    pub code: String,
    /// In words.
    pub detail: String,
}

/// What was known when a projection was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WatermarkBody {
    /// Usage recorded up to this instant.
    pub recorded_until: DateTime<Utc>,
    /// The version of tenants and budgets.
    pub catalogue_version: i64,
}

/// One projection, without its path and its people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProjectionSummary)]
pub struct SummaryBody {
    /// Which budget.
    pub budget: String,
    /// Which counter of it, where it is counted apart: `acme`.
    pub key: String,
    /// What it counts.
    #[schema(example = "usd")]
    pub measure: String,
    /// The instant it speaks from.
    pub made_at: DateTime<Utc>,
    /// When the period began.
    pub period_start: DateTime<Utc>,
    /// When it ends; null for a budget that counts once and for ever.
    pub resets_at: Option<DateTime<Utc>>,
    /// The same, on the clock of `timezone`.
    pub resets_at_local: Option<String>,
    /// The zone whose midnights bound the period.
    #[schema(example = "Etc/UTC")]
    pub timezone: String,
    /// How much, in one period.
    #[schema(value_type = String, format = "decimal", example = "500")]
    pub limit: Decimal,
    /// What the journal says.
    #[schema(value_type = String, format = "decimal", example = "431.2")]
    pub posted: Decimal,
    /// What the open reservations say: it counts as used.
    #[schema(value_type = String, format = "decimal", example = "1.9")]
    pub held: Decimal,
    /// `limit − posted − held`; below zero when overdrawn.
    #[schema(value_type = String, format = "decimal", example = "66.9")]
    pub headroom: Decimal,
    /// When it runs out.
    pub exhausts_at: ExhaustsAtBody,
    /// The same, on the clock of `timezone`.
    pub exhausts_at_local: ExhaustsAtLocalBody,
    /// The probability that it runs out before it resets, 0 to 1.
    #[schema(value_type = String, format = "decimal", example = "0.73")]
    pub p_exhaust: Decimal,
    /// What the counter would show at its reset if nobody stopped anybody: posted, held and expected.
    pub expected_at_reset: BandBody,
    /// How far to trust it: `high`, `medium`, `low`.
    #[schema(example = "medium")]
    pub confidence: String,
    /// Why not further.
    pub reasons: Vec<CaveatBody>,
    /// How it was made.
    #[schema(example = "hour_of_week")]
    pub method: String,
    /// The version of the method.
    pub version: u32,
    /// The class of projections whose past errors made the band.
    #[schema(example = "steady")]
    pub class: String,
    /// Days of history it stands on.
    pub history_days: u32,
    /// What was known.
    pub watermark: WatermarkBody,
}

/// One hour to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PathHourBody {
    /// When it begins.
    pub start: DateTime<Utc>,
    /// What is expected to be used in it.
    #[schema(value_type = String, format = "decimal", example = "1.25")]
    pub expected: Decimal,
    /// What the counter shows at its end, if nobody stops anybody.
    #[schema(value_type = String, format = "decimal", example = "434.4")]
    pub used: Decimal,
    /// The same at the lower end of the band.
    #[schema(value_type = String, format = "decimal", example = "433.9")]
    pub used_low: Decimal,
    /// The same at the upper end.
    #[schema(value_type = String, format = "decimal", example = "435.2")]
    pub used_high: Decimal,
}

/// Who uses the budget, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DriverBody {
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// The tenant's zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// What it used in this period.
    #[schema(value_type = String, format = "decimal", example = "120")]
    pub used: Decimal,
    /// What it is expected to use until the reset.
    #[schema(value_type = String, format = "decimal", example = "80")]
    pub expected_to_reset: Decimal,
    /// Its share of what is expected of all until the reset, 0 to 1.
    #[schema(value_type = String, format = "decimal", example = "0.31")]
    pub share: Decimal,
}

/// A tenant at the instant a budget runs out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TenantAtWorkBody {
    /// Who.
    pub tenant: String,
    /// Its zone.
    pub timezone: String,
    /// What its clock shows.
    #[schema(example = "2026-06-24T18:20:00+09:00")]
    pub local: String,
    /// Whether that is working time there: Monday to Friday, nine to six.
    pub at_work: bool,
}

/// What one zone bears of the empty end: the time from when a budget runs out until it resets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ZoneBody {
    /// The zone.
    pub timezone: String,
    /// Its tenants.
    pub tenants: u32,
    /// What the clock there shows when the budget runs out.
    pub local: String,
    /// What it shows at the reset.
    pub reset_local: String,
    /// Working hours of one tenant there that lie in the empty end.
    #[schema(value_type = String, format = "decimal", example = "27")]
    pub working_hours: Decimal,
    /// Its share of the working hours of all tenants in the empty end, 0 to 1.
    #[schema(value_type = String, format = "decimal", example = "0.5")]
    pub share: Decimal,
    /// What was expected to be used there in the empty end.
    #[schema(value_type = String, format = "decimal", example = "35")]
    pub expected: Decimal,
    /// Its share of all that was expected to be used in the empty end, 0 to 1.
    #[schema(value_type = String, format = "decimal", example = "0.44")]
    pub expected_share: Decimal,
}

/// Whose working day the empty end hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EmptyEndBody {
    /// When it begins: the expected instant, or where that is not in this period the earliest likely one.
    pub start: DateTime<Utc>,
    /// Which instant that is: `p50` or `p10`.
    #[schema(example = "p50")]
    pub quantile: String,
    /// When it ends: the reset.
    pub end: DateTime<Utc>,
    /// Its length in hours.
    #[schema(value_type = String, format = "decimal", example = "78.5")]
    pub hours: Decimal,
    /// Who is at work at its start, by tenant; the largest drivers, at most 100.
    pub tenants: Vec<TenantAtWorkBody>,
    /// Tenants at work at its start, of all.
    pub tenants_at_work: u32,
    /// What each zone bears of it, the most burdened first.
    pub zones: Vec<ZoneBody>,
}

/// A tenant's part of a fair split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FairShareBody {
    /// Whose.
    pub tenant: String,
    /// The id of the budget that would hold it.
    #[schema(example = "anthropic-quota.acme")]
    pub budget: String,
    /// The limit it would have, in the unit of the shared budget, on the shared budget's clock.
    #[schema(value_type = String, format = "decimal", example = "8000000")]
    pub limit: Decimal,
    /// What it has used in this period.
    #[schema(value_type = String, format = "decimal", example = "5100000")]
    pub used: Decimal,
    /// What it would use in the whole period if nobody stopped it.
    #[schema(value_type = String, format = "decimal", example = "9300000")]
    pub demand: Decimal,
}

/// A projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Projection)]
pub struct ProjectionBody {
    /// When it runs out, and how far to trust that.
    #[serde(flatten)]
    pub summary: SummaryBody,
    /// The range of the emission factors that the band carries: the least and the most over the figure that is posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor_range: Option<FactorRangeBody>,
    /// Hours from now to the reset, the first `path_hours` of them.
    pub path: Vec<PathHourBody>,
    /// Hours there are until the reset, or as far as is looked ahead.
    pub path_hours_total: usize,
    /// Tenants by what they are expected to use, the largest first; at most 100.
    pub tenants: Vec<DriverBody>,
    /// Features of all tenants together, the largest first; at most 100.
    pub features: Vec<DriverBody>,
    /// Whose working day the time without the budget hits; null where it is not expected to run out.
    pub empty_end: Option<EmptyEndBody>,
    /// Tenant budgets that would bear a shortage evenly; only of a budget that several tenants share. One call applies them:
    /// `POST /v1/budgets/{id}/projection/apply-fair-split`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fair_split: Vec<FairShareBody>,
}

/// The range of the emission factors of what was used, relative to what was posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FactorRangeBody {
    /// The least.
    #[schema(value_type = String, format = "decimal", example = "0.62")]
    pub low: Decimal,
    /// The most.
    #[schema(value_type = String, format = "decimal", example = "1.7")]
    pub high: Decimal,
}

/// Projections of the counters of one budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProjectionList {
    /// By key.
    pub items: Vec<SummaryBody>,
    /// Give it as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// A projection that the service made and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = KeptProjection)]
pub struct KeptBody {
    /// Its id.
    pub id: Uuid,
    /// The instant it spoke from.
    pub made_at: DateTime<Utc>,
    /// When it said the budget would run out.
    pub exhausts_at: ExhaustsAtBody,
    /// The probability it gave.
    #[schema(value_type = String, format = "decimal", example = "0.73")]
    pub p_exhaust: Decimal,
}

/// What was applied of a fair split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppliedBody {
    /// The shared budget.
    pub budget: String,
    /// Budgets that are new or have another limit than before.
    pub written: u32,
    /// Budgets that stood as they should already.
    pub unchanged: u32,
    /// The split, by tenant.
    pub items: Vec<FairShareBody>,
}
