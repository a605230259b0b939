//! The level: what an average hour uses now.
//!
//! A geometric blend of a level of the last days (half-life 5 days) and that of the period so far, which counts more the
//! longer the period runs. A young source's last days have a half-life of 2 days, a new one's none at all. After a shift
//! only the days since count (half-life 1.5 days).

use super::clocks::{ByHour, at};
use super::number::real;
use super::profile::{Age, HISTORY, weights};

/// How far back the recent level looks, in hours: 42 days.
const RECENT: usize = 1_008;
/// The most the period's own level counts, in the exponent.
const BLEND_MAX: f64 = 0.5;
/// Days of the period after which it counts half of that.
const BLEND_HALF_DAYS: f64 = 7.0;
/// Average hours of the recent level that are added to the period's: its first night without use is not a level of zero.
const PRIOR_HOURS: f64 = 24.0;
/// Hours of the window in which a shift shows.
const SHIFT_WINDOW: usize = 48;
/// Hours between its two looks, and of each of its two days.
const SHIFT_STEP: usize = 24;
/// How far each of its days must be off, as a part of the error: the day that both looks hold is no level by itself.
const SHIFT_DAY: f64 = 0.5;
/// What one hour counts at most in a look, as a multiple of what was expected of it, or of an average hour if that is more: one
/// busy hour is no level.
const SHIFT_HOUR_MAX: f64 = 4.0;

/// Weights of the recent level by age in hours, the newest first.
#[derive(Debug, Clone)]
pub(super) struct LevelWeights {
    grown: Vec<f64>,
    young: Vec<f64>,
    shifted: Vec<f64>,
    new: Vec<f64>,
}

impl LevelWeights {
    pub(super) fn new() -> Self {
        let [grown, young, shifted] = [5.0, 2.0, 1.5].map(|days| weights(days, RECENT));
        Self { grown, young, shifted, new: vec![1.0; RECENT] }
    }

    fn of(&self, age: Age) -> &[f64] {
        match age {
            Age::New => &self.new,
            Age::Young => &self.young,
            Age::Grown => &self.grown,
        }
    }
}

/// Weighted use, and weighted profile: their ratio is a level.
#[derive(Debug, Clone, Copy, Default)]
struct Mass {
    used: f64,
    shape: f64,
}

impl Mass {
    fn add(&mut self, weight: f64, used: f64, shape: f64) {
        self.used += weight * used;
        self.shape += weight * shape;
    }

    fn and(self, other: Self) -> Self {
        Self { used: self.used + other.used, shape: self.shape + other.shape }
    }

    /// 0 where nothing could have been used.
    fn level(self) -> f64 {
        if self.shape > 0.0 { self.used / self.shape } else { 0.0 }
    }
}

/// What the level is from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uses<'a> {
    /// Whole hours, the newest last.
    pub(super) values: &'a [f64],
    /// Their keys.
    pub(super) keys: &'a [u8],
    /// How many of them lie in the period.
    pub(super) in_period: usize,
    /// The hour that runs: what it used, its key, and the share of it that has elapsed.
    pub(super) running: (f64, u8, f64),
}

/// The level now, and whether it has just shifted.
///
/// It has where two looks at 48 hours, a day apart, were both further from what was expected than `shift_error`, and the last 24
/// hours and the 24 before each by half of that, all in one direction.
pub(super) fn level(
    age: Age,
    uses: Uses<'_>,
    profile: &ByHour,
    weights: &LevelWeights,
    shift_error: f64,
) -> (f64, bool) {
    let Uses { values, keys, in_period, running: (running, running_key, elapsed) } = uses;
    // By age: the last day, the one before, the one before that, and all the rest.
    let mut weighted = [Mass::default(); 4];
    let recent_first = values.iter().zip(keys).rev().zip(weights.of(age)).enumerate();
    for (hour, ((value, key), weight)) in recent_first {
        if let Some(mass) = weighted.get_mut((hour / SHIFT_STEP).min(3)) {
            mass.add(*weight, *value, at(profile, *key));
        }
    }
    let [last, second, third, rest] = weighted;
    let before_second = third.and(rest);
    // What the looks are compared with is not made of one busy hour either.
    let all = last.and(second).and(before_second).level();
    let mut bounded = [Mass::default(); 4];
    for (hour, ((value, key), weight)) in values.iter().zip(keys).rev().zip(weights.of(age)).enumerate() {
        if let Some(mass) = bounded.get_mut((hour / SHIFT_STEP).min(3)) {
            let shape = at(profile, *key);
            mass.add(*weight, value.min(SHIFT_HOUR_MAX * all * shape.max(1.0)), shape);
        }
    }
    let [_, second_day, third_day, older] = bounded;
    let look = |days_ago: usize, hours: usize, before: Mass| {
        let level = before.level();
        let mut seen = Mass::default();
        let skipped = days_ago.saturating_mul(SHIFT_STEP);
        for (value, key) in values.iter().zip(keys).rev().skip(skipped).take(hours) {
            let shape = at(profile, *key);
            seen.add(1.0, value.min(SHIFT_HOUR_MAX * level * shape.max(1.0)), shape);
        }
        super::errors::log_error(seen.used, level * seen.shape)
    };
    let before_window = third_day.and(older);
    let windows = [look(0, SHIFT_WINDOW, before_window), look(1, SHIFT_WINDOW, older)];
    let days = [look(0, SHIFT_STEP, second_day.and(before_window)), look(1, SHIFT_STEP, before_window)];
    let is_off = |side: f64| {
        let beyond = |errors: &[f64], least: f64| errors.iter().all(|error| error * side > least);
        beyond(&windows, shift_error) && beyond(&days, shift_error * SHIFT_DAY)
    };
    let shifted = age == Age::Grown && (is_off(1.0) || is_off(-1.0));
    if shifted {
        let mut mass = Mass::default();
        for ((value, key), weight) in values.iter().zip(keys).rev().zip(&weights.shifted) {
            mass.add(*weight, *value, at(profile, *key));
        }
        return (mass.level(), true);
    }
    let mut recent = last.and(second).and(before_second);
    if values.is_empty() {
        recent.add(1.0, running, at(profile, running_key) * elapsed);
    }
    let recent = recent.level();
    let mut period = Mass { used: recent * PRIOR_HOURS, shape: PRIOR_HOURS };
    let in_period = in_period.min(values.len()).min(HISTORY);
    for (value, key) in values.iter().zip(keys).rev().take(in_period) {
        period.add(1.0, *value, at(profile, *key));
    }
    period.add(1.0, running, at(profile, running_key) * elapsed);
    let days = real(in_period) / 24.0;
    let exponent = BLEND_MAX * days / (days + BLEND_HALF_DAYS);
    let level = if recent > 0.0 { recent * (period.level() / recent).powf(exponent) } else { 0.0 };
    (if level.is_finite() { level } else { recent }, false)
}
