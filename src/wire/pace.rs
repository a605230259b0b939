//! Pacing, as JSON: what a budget says about it, and what an answer does.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::budget::catalogue::Pacing;
use crate::domain::pacing::advice::{Advice, Band};

/// Whether a budget slows down calls that can wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PacingName {
    /// Only the limit, its floors and its ceilings count.
    #[default]
    Off,
    /// Calls that are not `interactive` get what the projected interactive need leaves over, a day's share at a time.
    Forecast,
}

impl PacingName {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference whether to skip a field")]
    pub(super) const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }
}

impl From<PacingName> for Pacing {
    fn from(name: PacingName) -> Self {
        match name {
            PacingName::Off => Self::Off,
            PacingName::Forecast => Self::Forecast,
        }
    }
}

/// How far the budgets have come, for calls of this priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BandName {
    /// There is room.
    #[default]
    Green,
    /// There is, but a threshold is passed, the output was made smaller, or calls of this priority are slowed down.
    Amber,
    /// Nothing now: calls of this priority must wait.
    Red,
    /// Nothing until something resets, or is changed by people.
    Exhausted,
}

impl BandName {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference whether to skip a field")]
    pub(super) const fn is_green(&self) -> bool {
        matches!(self, Self::Green)
    }
}

impl From<Band> for BandName {
    fn from(band: Band) -> Self {
        match band {
            Band::Green => Self::Green,
            Band::Amber => Self::Amber,
            Band::Red => Self::Red,
            Band::Exhausted => Self::Exhausted,
        }
    }
}

/// What is left for calls of this priority, of the hard budget that binds first: how to slow down before being told to wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaceBody {
    /// The budget that binds first.
    pub budget: String,
    /// What it counts, and so the unit of `units_available`.
    #[schema(example = "tokens")]
    pub measure: String,
    /// For how many seconds there is no more than that; none for a budget that never resets.
    pub window_s: Option<u32>,
    /// How much such calls may take in that time, all callers of the budget together.
    #[schema(value_type = String, format = "decimal", example = "180000")]
    pub units_available: Decimal,
    /// How much of what such calls are expected to ask for that is, from 0 to 1: let so many of them pass.
    #[serde(with = "super::number")]
    #[schema(value_type = f64, example = 1)]
    pub pass_through: Decimal,
    /// How many calls as large as this one fit at once; at most 10,000.
    pub max_concurrency: u32,
    /// Until when this holds; none for ever.
    pub valid_until: Option<DateTime<Utc>>,
}

impl From<&Advice> for PaceBody {
    fn from(advice: &Advice) -> Self {
        Self {
            budget: advice.budget.to_string(),
            measure: advice.measure.to_owned(),
            window_s: advice.window_seconds,
            units_available: advice.units_available.decimal().normalize(),
            pass_through: Decimal::new(advice.pass_through.get().into(), 3).normalize(),
            max_concurrency: advice.max_concurrency,
            valid_until: advice.valid_until,
        }
    }
}
