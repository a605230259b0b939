//! What is to come: the expected path of a pool, hour by hour, with its band, and where it meets what is left.
//!
//! Invariants: the lower edge is never above the expected path and the upper never below, at each instant, and none of the
//! three ever falls; so the instants at which they meet an amount are ordered, and come no earlier for a larger amount.

use chrono::{DateTime, Utc};

use super::errors::{ErrorBook, ErrorClass, LEVELS, Quantiles, interpolate, share_at_least};
use super::number::{after, hour_number, hour_start, hours_between};

/// The shares below and above an 80 % band.
const BAND: (f64, f64) = (0.1, 0.9);

/// No path is longer, in hours: two years.
const HOURS_MAX: usize = 17_568;

/// The hours of a path: the rest of the hour that runs, then whole ones, and what is left of the last.
#[derive(Debug, Clone)]
pub(super) struct Hours {
    pub(super) now: DateTime<Utc>,
    /// The number of the hour that runs.
    pub(super) first: i64,
    /// How much of each hour lies ahead, 0 to 1.
    pub(super) lengths: Vec<f64>,
}

impl Hours {
    pub(super) fn new(now: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        let first = hour_number(now);
        let mut lengths = Vec::new();
        let mut hour = first;
        // At the end of all dates an hour has no start: the bound ends what the dates do not.
        while hour_start(hour) < until && lengths.len() < HOURS_MAX {
            let end = hour_start(hour.saturating_add(1));
            lengths.push(hours_between(hour_start(hour).max(now), end.min(until)).clamp(0.0, 1.0));
            hour = hour.saturating_add(1);
        }
        Self { now, first, lengths }
    }

    /// The number of the hour after the last.
    pub(super) fn end(&self) -> i64 {
        self.first.saturating_add(i64::try_from(self.lengths.len()).unwrap_or(0))
    }

    /// When the hour at that place begins.
    pub(super) fn start(&self, place: usize) -> DateTime<Utc> {
        hour_start(self.first.saturating_add(i64::try_from(place).unwrap_or(0))).max(self.now)
    }
}

/// One edge of the band, or its middle: what will have been used from now to the end of each hour.
#[derive(Debug, Clone)]
pub(super) struct Edge(pub(super) Vec<f64>);

impl Edge {
    /// Hours from now until so much is used, interpolated inside the hour. `None`: not on this path.
    fn meets(&self, amount: f64, hours: &Hours) -> Option<f64> {
        if amount <= 0.0 {
            return Some(0.0);
        }
        let place = self.0.partition_point(|used| *used < amount);
        let at = *self.0.get(place)?;
        let before = place.checked_sub(1).and_then(|place| self.0.get(place)).copied().unwrap_or(0.0);
        let begin = hours_between(hours.now, hours.start(place));
        let length = hours.lengths.get(place).copied().unwrap_or(0.0);
        let share = if at > before { (amount - before) / (at - before) } else { 1.0 };
        Some(begin + share.clamp(0.0, 1.0) * length)
    }

    /// What will have been used at the end.
    pub(super) fn last(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }
}

/// The path of a pool with its band.
#[derive(Debug, Clone)]
pub(super) struct Outlook {
    pub(super) hours: Hours,
    pub(super) low: Edge,
    pub(super) middle: Edge,
    pub(super) high: Edge,
    /// What is forecast to be used, summed from now to the end of each hour.
    forecast: Vec<f64>,
    /// What is announced, likewise.
    planned: Vec<f64>,
    distributions: Vec<Quantiles>,
}

impl Outlook {
    /// From what is forecast and what is announced for each hour. The band is about the forecast alone.
    pub(super) fn new(
        hours: Hours,
        forecast: &[f64],
        planned: &[f64],
        errors: &ErrorBook,
        class: ErrorClass,
        factor_range: Option<(f64, f64)>,
    ) -> Self {
        let (factor_low, factor_high) =
            factor_range.map_or((1.0, 1.0), |(low, high)| (factor(low).min(1.0), factor(high).max(1.0)));
        let sum = |values: &[f64]| {
            running(values.iter().scan(0.0, |sum, value| {
                *sum += value;
                Some(*sum)
            }))
        };
        let (forecast, planned) = (sum(forecast), sum(planned));
        let ahead = hours.lengths.iter().scan(0.0, |sum, length| {
            *sum += length;
            Some(*sum)
        });
        let distributions: Vec<Quantiles> = ahead.map(|ahead: f64| errors.at(class, ahead)).collect();
        let edge = |factor: &dyn Fn(&Quantiles) -> f64| {
            let each = forecast.iter().zip(&planned).zip(&distributions);
            Edge(running(each.map(|((forecast, planned), errors)| forecast * factor(errors) + planned)))
        };
        let (below, above) = BAND;
        Self {
            low: edge(&|errors| interpolate(errors, below).min(0.0).exp() * factor_low),
            middle: edge(&|_| 1.0),
            high: edge(&|errors| interpolate(errors, above).max(0.0).exp() * factor_high),
            hours,
            forecast,
            planned,
            distributions,
        }
    }

    /// The earliest, expected and latest instants at which so much will have been used.
    pub(super) fn instants(&self, amount: f64) -> [Option<DateTime<Utc>>; 3] {
        [&self.high, &self.middle, &self.low].map(|edge| Some(after(self.hours.now, edge.meets(amount, &self.hours)?)))
    }

    /// The probability that so much will have been used when the hour at that place has ended: the share of the errors that
    /// reach it.
    pub(super) fn probability(&self, amount: f64, place: usize) -> f64 {
        let get = |values: &[f64]| values.get(place).copied().unwrap_or(0.0);
        let (forecast, left) = (get(&self.forecast), amount - get(&self.planned));
        let flat = [0.0; LEVELS.len()];
        match (amount <= 0.0, left <= 0.0, forecast > 0.0) {
            (true, _, _) => 1.0,
            (false, true, _) => 0.99, // announced work need not come
            (false, false, false) => 0.0,
            (false, false, true) => {
                share_at_least(self.distributions.get(place).unwrap_or(&flat), (left / forecast).ln())
            }
        }
    }

    /// The place of the last hour.
    pub(super) fn last(&self) -> usize {
        self.hours.lengths.len().saturating_sub(1)
    }
}

/// Numbers that never fall, and are finite.
fn running(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut most = 0.0_f64;
    let grow = |value: f64| {
        most = most.max(if value.is_finite() { value } else { most });
        most
    };
    values.map(grow).collect()
}

/// A factor that can be multiplied by.
fn factor(value: f64) -> f64 {
    if value.is_finite() && value > 0.0 { value } else { 1.0 }
}

/// Sums of what each zone's sources use, for the hours of a path.
pub(super) fn add_rates(rate: &super::clocks::ByHour, keys: &[u8], lengths: &[f64], into: &mut [f64]) {
    for ((total, key), length) in into.iter_mut().zip(keys).zip(lengths) {
        *total += super::clocks::at(rate, *key) * length;
    }
}
