//! What is answered: the path, the distribution of the instant at which the budget runs out, and how far to trust it.

use chrono::{DateTime, Utc};

use super::errors::ErrorClass;
use crate::domain::calendar::Zone;
use crate::domain::id::{FeatureId, TenantId};

/// One hour to come. The first begins at the instant of the question, the last ends at the reset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hour {
    /// When it begins.
    pub start: DateTime<Utc>,
    /// What is expected to be used in it.
    pub expected: f64,
    /// What the budget shows at its end: posted, held and expected.
    pub used: f64,
    /// The same at the lower end of the band: in nine of ten cases it is more.
    pub used_low: f64,
    /// The same at the upper end of the band: in nine of ten cases it is less.
    pub used_high: f64,
}

/// The part of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePath {
    /// Who.
    pub tenant: TenantId,
    /// For what.
    pub feature: Option<FeatureId>,
    /// On whose clock.
    pub zone: Zone,
    /// What it used in this period so far.
    pub used_in_period: f64,
    /// What it is expected to use until the reset, announced work included.
    pub expected_to_reset: f64,
    /// What it is expected to use in each hour of [`Projection::path`], for the first [`SOURCE_HOURS_MAX`] of them.
    ///
    /// [`SOURCE_HOURS_MAX`]: super::SOURCE_HOURS_MAX
    pub path: Vec<f64>,
}

/// An amount with its band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Banded {
    /// One in ten is below.
    pub low: f64,
    /// What is expected.
    pub expected: f64,
    /// One in ten is above.
    pub high: f64,
}

/// How far to trust a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// The shape is guessed: look again tomorrow.
    Low,
    /// The shape is known, the level moves.
    Medium,
    /// Weeks of regular use.
    High,
}

impl Confidence {
    /// The word in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What lowers the confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nothing was ever used: nothing is expected.
    NoHistory,
    /// A fifth or more of what is expected comes from sources that are younger than three days: a straight line.
    NewTenant,
    /// A fifth or more of what is expected comes from sources that are younger than two weeks: no weekdays are known.
    YoungTenant,
    /// The pool is younger than four weeks.
    ShortHistory,
    /// A fifth or more of what is expected comes from sources whose level has just changed, and is taken from their last days.
    LevelShift,
    /// One week says little about the next: use comes in bursts.
    Bursty,
    /// The expected end is more than ten days away, where the level matters and the hours of the week do not.
    FarAway,
    /// The range of the emission factors is wider than that of the use.
    FactorRange,
    /// The reset is further away than is looked ahead.
    BeyondHorizon,
}

impl Reason {
    /// All of them, in the order of the contract.
    pub const ALL: [Self; 9] = [
        Self::NoHistory,
        Self::NewTenant,
        Self::YoungTenant,
        Self::ShortHistory,
        Self::LevelShift,
        Self::Bursty,
        Self::FarAway,
        Self::FactorRange,
        Self::BeyondHorizon,
    ];

    /// The word in the contract.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoHistory => "no_history",
            Self::NewTenant => "new_tenant",
            Self::YoungTenant => "young_tenant",
            Self::ShortHistory => "short_history",
            Self::LevelShift => "level_shift",
            Self::Bursty => "bursty",
            Self::FarAway => "far_away",
            Self::FactorRange => "factor_range",
            Self::BeyondHorizon => "beyond_horizon",
        }
    }

    /// The most confidence there can be with this reason.
    #[must_use]
    pub const fn confidence_max(self) -> Confidence {
        match self {
            Self::NoHistory | Self::NewTenant | Self::Bursty => Confidence::Low,
            Self::YoungTenant
            | Self::ShortHistory
            | Self::LevelShift
            | Self::FarAway
            | Self::FactorRange
            | Self::BeyondHorizon => Confidence::Medium,
        }
    }
}

/// When a budget runs out, as far as that can be said.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// Hours from now to the reset.
    pub path: Vec<Hour>,
    /// The part of each source, in the order of the question; announced work of others comes last.
    pub by_source: Vec<SourcePath>,
    /// One in ten is earlier. `None` of these three: not this period.
    pub p10: Option<DateTime<Utc>>,
    /// The expected instant.
    pub p50: Option<DateTime<Utc>>,
    /// One in ten is later.
    pub p90: Option<DateTime<Utc>>,
    /// The probability that the budget runs out before its reset, 0 to 1.
    pub p_exhaust: f64,
    /// What the budget shows at its reset if nobody stops anybody: posted, held and expected.
    pub expected_at_reset: Banded,
    /// How far to trust it.
    pub confidence: Confidence,
    /// Why not further.
    pub reasons: Vec<Reason>,
    /// The errors the band is from.
    pub class: ErrorClass,
    /// [`METHOD`](super::METHOD).
    pub method: &'static str,
    /// [`VERSION`](super::VERSION) of it.
    pub version: u32,
    /// Days since the first use of the pool, at most those that are looked at.
    pub history_days: u32,
}
