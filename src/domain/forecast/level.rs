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
/// Hours between its two looks.
const SHIFT_STEP: usize = 24;

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

/// The level now, and whether it has just shifted: two looks at 48 hours, a day apart, were both further from what was
/// expected than `shift_error`, in the same direction.
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
    let mut plain = [Mass::default(); 4];
    let mut recent_first = values.iter().zip(keys).rev().zip(weights.of(age)).enumerate();
    for (hour, ((value, key), weight)) in recent_first.by_ref() {
        let day = (hour / SHIFT_STEP).min(3);
        let shape = at(profile, *key);
        if let Some(mass) = weighted.get_mut(day) {
            mass.add(*weight, *value, shape);
        }
        if let (true, Some(mass)) = (hour < SHIFT_WINDOW.saturating_add(SHIFT_STEP), plain.get_mut(day)) {
            mass.add(1.0, *value, shape);
        }
    }
    let [last, second, third, rest] = weighted;
    let [last_plain, second_plain, third_plain, _] = plain;
    let before_second = third.and(rest);
    let shifted = age == Age::Grown
        && is_shift(
            [(last_plain.and(second_plain), before_second), (second_plain.and(third_plain), rest)],
            shift_error,
        );
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

/// Whether each window is further from what the level before it made expect than the error, and all on one side.
fn is_shift(looks: [(Mass, Mass); 2], error: f64) -> bool {
    let [one, other] =
        looks.map(|(window, before)| super::errors::log_error(window.used, before.level() * window.shape));
    (one > error && other > error) || (one < -error && other < -error)
}
