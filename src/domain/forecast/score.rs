//! A stored projection against the truth.

use chrono::{DateTime, Utc};

use super::errors::{ErrorClass, HORIZONS, PastError, log_error};
use super::number::{after, hours_between};
use super::projection::Projection;
use super::series::HourlySeries;

/// What a projection said, as it was stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claim {
    /// One in ten is earlier; `None` of these three: not this period.
    pub p10: Option<DateTime<Utc>>,
    /// The expected instant.
    pub p50: Option<DateTime<Utc>>,
    /// One in ten is later.
    pub p90: Option<DateTime<Utc>>,
    /// The probability that the budget runs out before its reset.
    pub p_exhaust: f64,
}

impl From<&Projection> for Claim {
    fn from(projection: &Projection) -> Self {
        let Projection { p10, p50, p90, p_exhaust, .. } = *projection;
        Self { p10, p50, p90, p_exhaust }
    }
}

/// What came of it, once the period has ended under the limit that was in force when the projection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    /// When the budget ran out; `None` if it lasted.
    pub exhausted_at: Option<DateTime<Utc>>,
    /// When the period ended.
    pub reset: DateTime<Utc>,
}

/// How good a projection was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Hours from the truth to the expected instant: positive is too late. *Not this period* counts as the reset. `None`
    /// where both say so: there is nothing to be wrong about.
    pub error_hours: Option<f64>,
    /// Whether the truth lies in the 80 % band.
    pub covered: bool,
    /// `(p_exhaust − what happened)²`: 0 is best, 0.25 is a coin (Brier 1950).
    pub brier: f64,
}

/// Scores a projection.
#[must_use]
pub fn score(claim: &Claim, truth: &Truth) -> Score {
    let or_reset = |at: Option<DateTime<Utc>>| at.unwrap_or(truth.reset).min(truth.reset);
    let error_hours = match (claim.p50, truth.exhausted_at) {
        (None, None) => None,
        (said, was) => Some(hours_between(or_reset(was), or_reset(said))),
    };
    let covered = match truth.exhausted_at {
        Some(at) => claim.p10.is_some_and(|p10| p10 <= at) && claim.p90.is_none_or(|p90| at <= p90),
        // It lasted: inside the band when the band reaches to the reset.
        None => claim.p90.is_none(),
    };
    let happened = if truth.exhausted_at.is_some() { 1.0 } else { 0.0 };
    let said = if claim.p_exhaust.is_finite() { claim.p_exhaust.clamp(0.0, 1.0) } else { 0.5 };
    Score { error_hours, covered, brier: (said - happened) * (said - happened) }
}

/// The errors of a projection over each horizon that has passed, for an [`ErrorBook`](super::ErrorBook).
///
/// `expected` is what was expected in each hour from `made_at` on (the first a partial one), as in
/// [`Projection::path`]; `actual` is what the pool used since; `of` tells budgets and keys apart. Announced work belongs in
/// neither.
#[must_use]
pub fn past_errors(
    class: ErrorClass,
    of: u64,
    made_at: DateTime<Utc>,
    expected: &[f64],
    actual: &HourlySeries,
) -> Vec<PastError> {
    let mut errors = Vec::new();
    for hours in HORIZONS {
        let end = after(made_at, f64::from(hours));
        let planned_hours = usize::try_from(hours).unwrap_or(0);
        if end <= actual.until() && expected.len() >= planned_hours {
            // Whole hours of the path: the partial first one and its rest at the end differ by less than an hour's use.
            let said: f64 = expected.iter().take(planned_hours).sum();
            let error = log_error(actual.used_between(made_at, end), said);
            errors.push(PastError { class, of, made_at, hours, error });
        }
    }
    errors
}
