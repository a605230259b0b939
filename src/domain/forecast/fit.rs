//! What the past says: for each source its rate by the hour of its week, and for the pool the class of its errors.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::clocks::{ByHour, Clocks};
use super::errors::{ErrorBook, ErrorClass};
use super::level::{LevelWeights, Uses, level};
use super::number::{hour_number, hour_start, hours_between};
use super::profile::{Age, HISTORY, prefix_sums, profile, profile_weights};
use super::question::{Planned, Source};
use super::series::HourlySeries;
use super::steadiness;

/// One source.
#[derive(Debug, Clone)]
pub(super) struct Fitted {
    pub(super) age: Age,
    /// Expected use in each hour of its week.
    pub(super) rate: ByHour,
    pub(super) shifted: bool,
    pub(super) used_in_period: f64,
}

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    pub(super) sources: Vec<Fitted>,
    pub(super) class: ErrorClass,
    /// Hours since the first use of the pool, at most [`HISTORY`].
    pub(super) hours: usize,
}

/// Fits the sources to what is known at `now`.
pub(super) fn fit(
    now: DateTime<Utc>,
    period_start: DateTime<Utc>,
    sources: &[Source],
    planned: &[Planned],
    clocks: &Clocks,
    errors: &ErrorBook,
) -> Fit {
    let (profile_weights, level_weights) = (profile_weights(), LevelWeights::new());
    let (mut sums, mut days, mut pool_days) = (Vec::new(), Vec::new(), Vec::new());
    let mut fitted = Vec::with_capacity(sources.len());
    let mut hours = 0;
    for source in sources {
        let series = without_planned(source, planned, now);
        let known_until = series.until().min(now);
        let end = hour_number(known_until);
        let values = history(&series, end);
        let first = end.saturating_sub(i64::try_from(values.len()).unwrap_or(0));
        let keys = clocks.between(source.zone, first, end);
        let age = Age::of(values.len());
        hours = hours.max(values.len());

        prefix_sums(values, &mut sums);
        let shape = profile(age, values, keys, &sums, &profile_weights);
        days.clear();
        steadiness::add_days(&mut days, &sums);
        steadiness::add_days(&mut pool_days, &sums);
        let class = steadiness::class(age, &days);

        let running_key = clocks.between(source.zone, end, end.saturating_add(1)).first().copied().unwrap_or(0);
        let elapsed = hours_between(hour_start(end), known_until).clamp(0.0, 1.0);
        let uses = Uses {
            values,
            keys,
            in_period: usize::try_from(end.saturating_sub(hour_number(period_start))).unwrap_or(0),
            running: (series.used_between(hour_start(end), known_until), running_key, elapsed),
        };
        let (level, shifted) = level(age, uses, &shape, &level_weights, shift_error(errors, class));
        fitted.push(Fitted {
            age,
            rate: shape.map(|value| value * level),
            shifted,
            used_in_period: source.series.used_between(period_start, now),
        });
    }
    Fit { sources: fitted, class: steadiness::class(Age::of(hours), &pool_days), hours }
}

/// Whole hours before `end` since the first use, at most [`HISTORY`] of them.
fn history(series: &HourlySeries, end: i64) -> &[f64] {
    let length = usize::try_from(end.saturating_sub(hour_number(series.start()))).unwrap_or(0);
    let values = series.values();
    let values = values.get(..length.min(values.len())).unwrap_or_default();
    let values = values.get(values.len().saturating_sub(HISTORY)..).unwrap_or_default();
    let before_first = values.iter().take_while(|value| **value <= 0.0).count();
    values.get(before_first..).unwrap_or_default()
}

/// The error over two days that one in twenty exceeds, on either side.
fn shift_error(errors: &ErrorBook, class: ErrorClass) -> f64 {
    errors.quantile(class, 48.0, 0.95).max(-errors.quantile(class, 48.0, 0.05))
}

/// The series without announced work that has elapsed: it was not the rhythm, and will not come back by itself.
fn without_planned<'a>(source: &'a Source, planned: &[Planned], now: DateTime<Utc>) -> Cow<'a, HourlySeries> {
    let mut series = Cow::Borrowed(&source.series);
    let its_own = planned.iter().filter(|planned| planned.tenant == source.tenant && planned.feature == source.feature);
    for planned in its_own.filter(|planned| planned.from < now) {
        series = Cow::Owned(series.map(|start, value| value - planned.within(start, super::number::after(start, 1.0))));
    }
    series
}
