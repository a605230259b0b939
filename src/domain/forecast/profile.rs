//! The profile: how use is spread over the hours of a week, with a mean of 1.
//!
//! Each value is divided by the mean of the week around it, so that growth does not look like a shape; values of one hour of
//! the week are averaged with a half-life of 28 days, and shrunk towards the same hour of all working days or weekend days,
//! as if that had been seen once (FORECAST: K = 1). Young sources have one day for all days, new ones a flat week.

use super::clocks::{ByHour, DAY, WEEK};
use super::number::real;

/// How far back is looked, in hours: 84 days.
pub(super) const HISTORY: usize = 2_016;
/// A value loses half its weight in so many days.
const HALF_LIFE_DAYS: f64 = 28.0;
/// The weight of the parent, in observations.
const SHRINKAGE: f64 = 1.0;
/// The first hour of Saturday.
const WEEKEND: usize = 120;

/// How old a source is, which says what can be known of its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Age {
    /// Under three days: nothing.
    New,
    /// Under two weeks: the hours of a day.
    Young,
    /// The hours of a week.
    Grown,
}

impl Age {
    /// By the hours since its first use.
    pub(super) const fn of(hours: usize) -> Self {
        match hours {
            0..72 => Self::New,
            72..336 => Self::Young,
            _ => Self::Grown,
        }
    }
}

/// Weights by age: `0.5^(hours / half-life)`, the newest first.
pub(super) fn weights(half_life_days: f64, hours: usize) -> Vec<f64> {
    (0..hours).map(|hour| (-std::f64::consts::LN_2 * real(hour) / (half_life_days * 24.0)).exp()).collect()
}

/// Weights of the profile.
pub(super) fn profile_weights() -> Vec<f64> {
    weights(HALF_LIFE_DAYS, HISTORY)
}

/// Sums of the values before each place: one more than there are values.
pub(super) fn prefix_sums(values: &[f64], into: &mut Vec<f64>) {
    into.clear();
    into.push(0.0);
    let mut sum = 0.0;
    into.extend(values.iter().map(|value| {
        sum += value;
        sum
    }));
}

/// The profile of values whose hours have these keys; the last value is the newest. `sums` are their prefix sums.
pub(super) fn profile(age: Age, values: &[f64], keys: &[u8], sums: &[f64], weights: &[f64]) -> ByHour {
    let window = match age {
        Age::New => return [1.0; WEEK],
        Age::Young => whole_days(values.len()).min(WEEK),
        Age::Grown => WEEK,
    };
    let (sum, seen) = gather(values, keys, sums, weights, window);
    let shape = match age {
        Age::New | Age::Young => by_hour_of_day(&sum, &seen),
        Age::Grown => by_hour_of_week(&sum, &seen),
    };
    normalised(shape)
}

fn whole_days(hours: usize) -> usize {
    hours.saturating_sub(hours % DAY)
}

/// Weighted sums of the values over their week's mean, and of the weights, by key.
fn gather(values: &[f64], keys: &[u8], sums: &[f64], weights: &[f64], window: usize) -> (ByHour, ByHour) {
    let (mut sum, mut seen) = ([0.0; WEEK], [0.0; WEEK]);
    let length = real(window);
    let last = values.len().saturating_sub(window);
    let newest_first = values.iter().zip(keys).enumerate().rev();
    for ((place, (value, key)), weight) in newest_first.zip(weights) {
        // The window is centred, and stops at the ends: it always holds whole weeks, so that no weekend tilts it.
        let begin = place.saturating_sub(window / 2).min(last);
        let total = match (sums.get(begin.saturating_add(window)), sums.get(begin)) {
            (Some(end), Some(begin)) => end - begin,
            _ => 0.0,
        };
        let key = usize::from(*key);
        if let (true, Some(sum), Some(seen)) = (total > 0.0, sum.get_mut(key), seen.get_mut(key)) {
            *sum += weight * value * length / total;
            *seen += weight;
        }
    }
    (sum, seen)
}

/// One day for all days.
fn by_hour_of_day(sum: &ByHour, seen: &ByHour) -> ByHour {
    let fold = |numbers: &ByHour, hour: usize| numbers.iter().skip(hour).step_by(DAY).sum::<f64>();
    let mut shape = [0.0; WEEK];
    for hour in 0..DAY {
        let value = (fold(sum, hour) + SHRINKAGE) / (fold(seen, hour) + SHRINKAGE);
        shape.iter_mut().skip(hour).step_by(DAY).for_each(|place| *place = value);
    }
    shape
}

/// A week, shrunk towards a working day and a weekend day.
fn by_hour_of_week(sum: &ByHour, seen: &ByHour) -> ByHour {
    let mut shape = [0.0; WEEK];
    for hour in 0..DAY {
        for (first, end) in [(0, WEEKEND), (WEEKEND, WEEK)] {
            let days = || (first..end).skip(hour).step_by(DAY);
            let total = |numbers: &ByHour| days().filter_map(|place| numbers.get(place)).sum::<f64>();
            let (all, all_seen) = (total(sum), total(seen));
            let parent = if all_seen > 0.0 { all / all_seen } else { 1.0 };
            for place in days() {
                if let (Some(value), Some(sum), Some(seen)) = (shape.get_mut(place), sum.get(place), seen.get(place)) {
                    *value = (sum + SHRINKAGE * parent) / (seen + SHRINKAGE);
                }
            }
        }
    }
    shape
}

/// With a mean of 1; flat where there is nothing.
fn normalised(mut shape: ByHour) -> ByHour {
    let mean = shape.iter().sum::<f64>() / real(WEEK);
    if mean.is_finite() && mean > 0.0 {
        shape.iter_mut().for_each(|value| *value /= mean);
        shape
    } else {
        [1.0; WEEK]
    }
}
