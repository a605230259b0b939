//! What is asked: the budget's numbers, who uses it, and what is known to come.

use chrono::{DateTime, Utc};

use super::errors::ErrorBook;
use super::number::{clean, hours_between};
use super::series::HourlySeries;
use crate::domain::calendar::Zone;
use crate::domain::id::{FeatureId, TenantId};

/// One tenant of the pool, or one feature of it where the drivers are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Who uses.
    pub tenant: TenantId,
    /// For what; `None` is all of the tenant.
    pub feature: Option<FeatureId>,
    /// The tenant's zone, on whose clock its hours of the week are kept.
    pub zone: Zone,
    /// What it used, in the unit of the measure. 84 days are looked at; more is harmless.
    pub series: HourlySeries,
}

/// Announced work, spread evenly over its hours. A known batch cannot be forecast from the past, so it is added.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Whose.
    pub tenant: TenantId,
    /// For what; `None` is no feature in particular.
    pub feature: Option<FeatureId>,
    /// When it begins.
    pub from: DateTime<Utc>,
    /// When it ends. What has elapsed at `now` is taken out of the history it stands in, so that it is not expected again.
    pub until: DateTime<Utc>,
    /// How much in all, in the unit of the measure.
    pub quantity: f64,
}

impl Planned {
    /// How much of it lies in an interval.
    #[must_use]
    pub fn within(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> f64 {
        let length = hours_between(self.from, self.until);
        let within = hours_between(self.from.max(from), self.until.min(until));
        if length > 0.0 && within > 0.0 { clean(self.quantity) * (within / length) } else { 0.0 }
    }
}

/// A question about one budget, for one key, in one period.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The instant of the question.
    pub now: DateTime<Utc>,
    /// When the period began.
    pub period_start: DateTime<Utc>,
    /// When it ends; `None` is never. At most [`HORIZON_HOURS_MAX`](super::HORIZON_HOURS_MAX) are looked ahead.
    pub reset: Option<DateTime<Utc>>,
    /// The limit, in the unit of the measure.
    pub limit: f64,
    /// What is posted in this period.
    pub posted: f64,
    /// What open reservations hold.
    pub held: f64,
    /// Who uses the budget. What they used in the period need not add up to `posted`, which is what counts.
    pub sources: &'a [Source],
    /// What is announced.
    pub planned: &'a [Planned],
    /// How wrong such projections have been.
    pub errors: &'a ErrorBook,
    /// For carbon: smallest and largest of the factors over the ones that were used (such as 0.7 and 1.6), which widen the band.
    pub factor_range: Option<(f64, f64)>,
}

impl<'a> Question<'a> {
    /// Of the demand alone, which no limit bounds and nothing announces: its path is what pacing plans with.
    #[must_use]
    pub const fn of_demand(
        now: DateTime<Utc>,
        (period_start, reset): (DateTime<Utc>, DateTime<Utc>),
        sources: &'a [Source],
        errors: &'a ErrorBook,
    ) -> Self {
        let (posted, held) = (0.0, 0.0);
        let reset = Some(reset);
        Self {
            now,
            period_start,
            reset,
            limit: f64::MAX,
            posted,
            held,
            sources,
            planned: &[],
            errors,
            factor_range: None,
        }
    }

    /// What is left: limit less posted less held, and not less than zero.
    #[must_use]
    pub fn remaining(&self) -> f64 {
        let remaining = self.limit - self.posted - self.held;
        if remaining.is_nan() { 0.0 } else { remaining.max(0.0) }
    }
}
