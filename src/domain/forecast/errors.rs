//! How wrong projections have been: errors by horizon, pooled over everything of one class.
//!
//! An error is `ln(actual / expected)` of what was used from the instant of the projection over a number of hours (the
//! horizon). A band from the errors of one tenant's own short history is far too narrow, so errors are pooled (split
//! conformal prediction within classes: Vovk's *Mondrian* conformal prediction). A class is what can be known in advance
//! and in any unit: how long the history is, and how much one week says about the next.
//!
//! Each class has a scale, moved by every miss and hit of the published band (adaptive conformal inference, Gibbs and
//! Candès 2021), so that a band that is too narrow here, for whatever reason, widens.
//!
//! Invariants: at each horizon quantiles rise with their level, the lower end of a band is at most 0 and the upper at least
//! 0, and every one is finite.
//!
//! Deliberately absent: where errors are kept. The shell stores projections, scores them, and hands the errors in.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::builtin::BUILTIN;
use super::number::{hours_between, index, real};

/// The horizons at which errors are kept, in hours: six hours to thirty days.
pub const HORIZONS: [u32; 9] = [6, 12, 24, 48, 96, 168, 288, 480, 720];

/// The levels at which a distribution of errors is kept.
pub const LEVELS: [f64; 13] = [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98];

/// One distribution: an error for each of [`LEVELS`].
pub type Quantiles = [f64; LEVELS.len()];

/// No error is counted as more than this: a factor of 400.
pub const ERROR_MAX: f64 = 6.0;
/// How much a miss of the 80 % band widens its scale. FORECAST: adaptive conformal, steps of 0.02.
const SCALE_STEP_MISS: f64 = 0.02;
/// How much a hit narrows it: a quarter, because one miss to four hits is what an 80 % band promises.
const SCALE_STEP_HIT: f64 = 0.005;
/// Between these a scale stays.
const SCALE_BOUNDS: (f64, f64) = (0.5, 4.0);
/// With so many independent errors of one's own, they count half; the built-in ones the other half. The pooling that was
/// measured asked for at least 20.
const ERRORS_HALF: f64 = 20.0;

/// What projections are alike in how wrong they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// Less than two weeks of history, and days that are much alike.
    YoungSteady,
    /// Less than two weeks of history, and days that differ.
    YoungBursty,
    /// One week is much like the last.
    Steady,
    /// Weeks differ by a tenth or more.
    Uneven,
    /// Weeks differ by a fifth or more: use comes in bursts.
    Bursty,
}

impl ErrorClass {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::YoungSteady, Self::YoungBursty, Self::Steady, Self::Uneven, Self::Bursty];

    /// The word it is stored by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::YoungSteady => "young_steady",
            Self::YoungBursty => "young_bursty",
            Self::Steady => "steady",
            Self::Uneven => "uneven",
            Self::Bursty => "bursty",
        }
    }

    /// The class of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// One error of a projection whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastError {
    /// The class the projection had.
    pub class: ErrorClass,
    /// Any number that tells one budget and key from another: errors of one budget overlap and count for less.
    pub of: u64,
    /// When the projection was made.
    pub made_at: DateTime<Utc>,
    /// Over how many hours.
    pub hours: u32,
    /// `ln(actual / expected)` of what was used in them: [`log_error`].
    pub error: f64,
}

/// `ln(actual / expected)`, kept finite: within ±[`ERROR_MAX`], and 0 where both are nothing.
#[must_use]
pub fn log_error(actual: f64, expected: f64) -> f64 {
    let actual = if actual.is_finite() { actual.max(0.0) } else { 0.0 };
    let expected = if expected.is_finite() { expected.max(0.0) } else { 0.0 };
    if actual <= 0.0 && expected <= 0.0 {
        return 0.0;
    }
    let error = (actual / expected).ln();
    if error.is_nan() { 0.0 } else { error.clamp(-ERROR_MAX, ERROR_MAX) }
}

/// The errors of one class.
#[derive(Debug, Clone, PartialEq)]
struct ClassErrors {
    /// One distribution for each of [`HORIZONS`].
    horizons: [Quantiles; HORIZONS.len()],
    scale: f64,
}

/// How wrong projections of each class have been.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorBook {
    classes: BTreeMap<ErrorClass, ClassErrors>,
}

impl Default for ErrorBook {
    fn default() -> Self {
        Self::builtin()
    }
}

impl ErrorBook {
    /// The errors measured on the series that ship with the project, for installations without a history of their own.
    #[must_use]
    pub fn builtin() -> Self {
        let of = |(class, horizons): (ErrorClass, [Quantiles; HORIZONS.len()])| {
            (class, ClassErrors { horizons: horizons.map(ordered), scale: 1.0 })
        };
        Self { classes: BUILTIN.into_iter().map(of).collect() }
    }

    /// The built-in errors, [mixed](Self::mixed_with) with those of one's own.
    #[must_use]
    pub fn learned(errors: &[PastError]) -> Self {
        Self::builtin().mixed_with(errors)
    }

    /// These errors, mixed with others in proportion to how many independent ones there are: two errors of one budget are
    /// independent when their horizons do not overlap.
    #[must_use]
    pub fn mixed_with(self, errors: &[PastError]) -> Self {
        self.weighed(errors, |independent| independent / (independent + ERRORS_HALF))
    }

    /// These errors alone, where there are enough of them; the built-in ones elsewhere.
    #[must_use]
    pub fn measured(errors: &[PastError]) -> Self {
        Self::builtin().weighed(errors, |independent| if independent >= ERRORS_HALF { 1.0 } else { 0.0 })
    }

    fn weighed(mut self, errors: &[PastError], share: impl Fn(f64) -> f64) -> Self {
        for (class, entry) in &mut self.classes {
            for (hours, quantiles) in HORIZONS.iter().zip(&mut entry.horizons) {
                let own = errors.iter().filter(|error| error.class == *class && error.hours == *hours);
                if let Some((learned, independent)) = distribution(own.copied(), *hours) {
                    let share = share(independent);
                    for (value, own) in quantiles.iter_mut().zip(learned) {
                        *value += (own - *value) * share;
                    }
                }
            }
        }
        self
    }

    /// The scale of the band of a class: 1 is as measured.
    #[must_use]
    pub fn scale(&self, class: ErrorClass) -> f64 {
        self.classes.get(&class).map_or(1.0, |errors| errors.scale)
    }

    /// The book with another scale, such as a stored one. Kept between 0.5 and 4; 1 where it is not a number.
    #[must_use]
    pub fn with_scale(mut self, class: ErrorClass, scale: f64) -> Self {
        if let Some(errors) = self.classes.get_mut(&class) {
            errors.scale = bounded_scale(scale);
        }
        self
    }

    /// Widens the band of a class after a miss, narrows it after a hit: a truth outside or inside `[p10, p90]`.
    pub fn observe(&mut self, class: ErrorClass, covered: bool) {
        if let Some(errors) = self.classes.get_mut(&class) {
            errors.scale = next_scale(errors.scale, covered);
        }
    }

    /// The error that a share `level` of all stay below, over so many hours; at a level between 0.02 and 0.98.
    #[must_use]
    pub fn quantile(&self, class: ErrorClass, hours: f64, level: f64) -> f64 {
        interpolate(&self.at(class, hours), level)
    }

    /// The distribution of the errors over so many hours, scaled: between the horizons by the logarithm of the hours.
    pub(super) fn at(&self, class: ErrorClass, hours: f64) -> Quantiles {
        let Some(errors) = self.classes.get(&class) else { return [0.0; LEVELS.len()] };
        let (mut below, mut above, mut share) = (errors.horizons.first(), errors.horizons.last(), 1.0);
        let steps = HORIZONS.iter().zip(HORIZONS.iter().skip(1));
        for ((near, far), (lower, upper)) in steps.zip(errors.horizons.iter().zip(errors.horizons.iter().skip(1))) {
            let (near, far) = (f64::from(*near), f64::from(*far));
            if hours <= far {
                (below, above) = (Some(lower), Some(upper));
                share = if hours <= near { 0.0 } else { (hours / near).ln() / (far / near).ln() };
                break;
            }
        }
        let (Some(below), Some(above)) = (below, above) else { return [0.0; LEVELS.len()] };
        let mut found = *below;
        for (value, above) in found.iter_mut().zip(above) {
            *value = (*value + (above - *value) * share) * errors.scale;
        }
        found
    }
}

/// The scale after one more projection whose truth is known.
#[must_use]
pub fn next_scale(scale: f64, covered: bool) -> f64 {
    bounded_scale(if covered { scale - SCALE_STEP_HIT } else { scale + SCALE_STEP_MISS })
}

fn bounded_scale(scale: f64) -> f64 {
    let (low, high) = SCALE_BOUNDS;
    if scale.is_finite() { scale.clamp(low, high) } else { 1.0 }
}

/// The quantiles of some errors over one horizon, and how many of them are independent. `None` of none.
#[must_use]
pub fn distribution(errors: impl Iterator<Item = PastError>, hours: u32) -> Option<(Quantiles, f64)> {
    let mut values = Vec::new();
    let mut spans: BTreeMap<u64, (DateTime<Utc>, DateTime<Utc>)> = BTreeMap::new();
    for PastError { of, made_at, error, .. } in errors.filter(|error| error.error.is_finite()) {
        values.push(error.clamp(-ERROR_MAX, ERROR_MAX));
        let span = spans.entry(of).or_insert((made_at, made_at));
        *span = (span.0.min(made_at), span.1.max(made_at));
    }
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let horizon = f64::from(hours.max(1));
    let independent: f64 = spans.values().map(|(first, last)| 1.0 + hours_between(*first, *last) / horizon).sum();
    let last = real(values.len().saturating_sub(1));
    let quantiles = LEVELS.map(|level| {
        // Finite-sample correction of conformal prediction: the quantiles of n errors reach a little further out.
        let n = last + 1.0;
        let corrected = (0.5 + (level - 0.5) * (n + 1.0) / n).clamp(0.0, 1.0);
        between(&values, corrected * last)
    });
    Some((ordered(quantiles), independent.min(real(values.len()))))
}

/// The value at a place between two of a list.
fn between(values: &[f64], place: f64) -> f64 {
    let lower = values.get(index(place)).copied().unwrap_or(0.0);
    let upper = values.get(index(place).saturating_add(1)).copied().unwrap_or(lower);
    lower + (upper - lower) * (place - place.floor())
}

/// Quantiles that rise, finite.
fn ordered(mut quantiles: Quantiles) -> Quantiles {
    quantiles.iter_mut().for_each(|value| *value = if value.is_finite() { *value } else { 0.0 });
    quantiles.sort_by(f64::total_cmp);
    quantiles
}

/// The error at a level of a distribution.
pub(super) fn interpolate(quantiles: &Quantiles, level: f64) -> f64 {
    let mut below: Option<(f64, f64)> = None;
    for (at, value) in LEVELS.iter().zip(quantiles) {
        if *at >= level {
            return match below {
                Some((low_at, low)) => low + (value - low) * (level - low_at) / (at - low_at),
                None => *value,
            };
        }
        below = Some((*at, *value));
    }
    below.map_or(0.0, |(_, value)| value)
}

/// The share of the errors of a distribution that are at least `error`, 0.01 to 0.99: nothing is certain.
pub(super) fn share_at_least(quantiles: &Quantiles, error: f64) -> f64 {
    let mut below: Option<(f64, f64)> = None;
    let mut share_below = 0.99;
    for (at, value) in LEVELS.iter().zip(quantiles) {
        if *value >= error {
            share_below = match below {
                Some((low_at, low)) if *value > low => low_at + (at - low_at) * (error - low) / (value - low),
                Some((low_at, _)) => low_at,
                None => 0.01,
            };
            break;
        }
        below = Some((*at, *value));
    }
    (1.0 - share_below).clamp(0.01, 0.99)
}
