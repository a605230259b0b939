//! What was used, by the hour.
//!
//! Invariant: a series that exists begins on a whole UTC hour, has a value for every hour that elapsed until its end, and
//! every value is finite and not negative.

use chrono::{DateTime, Utc};

use super::number::{HOUR_S, clean, hour_number, hour_start, hours_between};
use crate::domain::calendar::Zone;

/// Hours in a week.
const WEEK_HOURS: i64 = 168;

/// The longest series that is kept, in hours: ten years. What is older is left out.
pub const SERIES_HOURS_MAX: usize = 87_660;

/// Use by the hour, oldest first, in the unit of the measure. Hours without use count as zeros; the last hour may be a
/// partial one.
#[derive(Debug, Clone, PartialEq)]
pub struct HourlySeries {
    start: DateTime<Utc>,
    until: DateTime<Utc>,
    values: Vec<f64>,
}

impl HourlySeries {
    /// Takes values by the hour from `start`, which is moved back to its whole hour.
    ///
    /// Total: hours that elapsed before `until` and have no value are zeros, values of hours from `until` on are left out,
    /// and what is negative (a correction) or not finite is zero.
    #[must_use]
    pub fn new(start: DateTime<Utc>, until: DateTime<Utc>, mut values: Vec<f64>) -> Self {
        let first = hour_number(start);
        let end = elapsed(first, until);
        values.truncate(end);
        values.iter_mut().for_each(|value| *value = clean(*value));
        let excess = end.saturating_sub(SERIES_HOURS_MAX);
        let kept = values.split_off(excess.min(values.len()));
        let mut values = kept;
        values.resize(end.saturating_sub(excess), 0.0);
        let first = first.saturating_add(i64::try_from(excess).unwrap_or(0));
        Self { start: hour_start(first), until: until.max(hour_start(first)), values }
    }

    /// Adds up what was used at instants, in any order: rows of a roll-up, however fine. What lies outside `[start, until)`
    /// is left out.
    #[must_use]
    pub fn from_uses(
        start: DateTime<Utc>,
        until: DateTime<Utc>,
        uses: impl IntoIterator<Item = (DateTime<Utc>, f64)>,
    ) -> Self {
        let newest = i64::try_from(SERIES_HOURS_MAX).unwrap_or(i64::MAX);
        let first = hour_number(start).max(hour_number(until).saturating_sub(newest));
        let mut values = vec![0.0; elapsed(first, until)];
        for (at, used) in uses {
            let place = usize::try_from(hour_number(at).saturating_sub(first)).ok();
            if let Some(value) = place.and_then(|place| values.get_mut(place)).filter(|_| at >= start && at < until) {
                *value += if used.is_finite() { used } else { 0.0 };
            }
        }
        Self::new(hour_start(first), until, values)
    }

    /// Where its first hour begins.
    #[must_use]
    pub const fn start(&self) -> DateTime<Utc> {
        self.start
    }

    /// Up to when it is known: within its last hour, or at the end of it.
    #[must_use]
    pub const fn until(&self) -> DateTime<Utc> {
        self.until
    }

    /// The values, oldest first.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// What was used in `[from, until)`; hours on the edge count by their share.
    #[must_use]
    pub fn used_between(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> f64 {
        let (from, until) = (from.max(self.start), until.min(self.until));
        if from >= until {
            return 0.0;
        }
        let first = hour_number(self.start);
        let place = |hour: i64| usize::try_from(hour.saturating_sub(first)).unwrap_or(0).min(self.values.len());
        let (begin, end) = (hour_number(from), hour_number(until));
        let whole = self.values.get(place(begin)..place(end)).unwrap_or_default().iter().sum::<f64>();
        // The hour in which it begins, less what lies before; the one in which it ends, up to there.
        whole - self.used_in_hour(begin, from) + self.used_in_hour(end, until)
    }

    /// What was used in the hour of that number before the instant in it, if use was even.
    fn used_in_hour(&self, hour: i64, until: DateTime<Utc>) -> f64 {
        let place = usize::try_from(hour.saturating_sub(hour_number(self.start))).ok();
        let value = place.and_then(|place| self.values.get(place)).copied().unwrap_or(0.0);
        let begin = hour_start(hour);
        let known = hours_between(begin, hour_start(hour.saturating_add(1)).min(self.until));
        if known > 0.0 { value * (hours_between(begin, until) / known).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The same hours with every value changed; what is negative or not finite becomes zero.
    #[must_use]
    pub fn map(&self, change: impl Fn(DateTime<Utc>, f64) -> f64) -> Self {
        let hours = (hour_number(self.start)..).map(hour_start);
        let values = hours.zip(&self.values).map(|(at, value)| clean(change(at, *value))).collect();
        Self { start: self.start, until: self.until, values }
    }

    /// The same use on the clock of another zone: what was used at nine there is used at nine here. Moved by whole hours, by
    /// the difference of the offsets at the end; hours that come to lie in the future repeat from a week before.
    #[must_use]
    pub fn moved_to(&self, from: Zone, to: Zone) -> Self {
        let offset = |zone: Zone| i64::from(zone.local(self.until).offset_seconds);
        // East is earlier: nine o'clock in Tokyo comes before nine in Berlin.
        let later = offset(from).saturating_sub(offset(to)).div_euclid(HOUR_S);
        let length = i64::try_from(self.values.len()).unwrap_or(i64::MAX);
        let place = |hour: i64| {
            let mut from = hour.saturating_sub(later);
            while from >= length && from >= WEEK_HOURS {
                from = from.saturating_sub(WEEK_HOURS);
            }
            while from < 0 && from.saturating_add(WEEK_HOURS) < length {
                from = from.saturating_add(WEEK_HOURS);
            }
            usize::try_from(from).ok().and_then(|from| self.values.get(from)).copied().unwrap_or(0.0)
        };
        Self { values: (0..length).map(place).collect(), ..*self }
    }
}

/// Hours that have begun between the hour of that number and the instant.
fn elapsed(first: i64, until: DateTime<Utc>) -> usize {
    let last = hour_number(until).saturating_add(i64::from(hour_start(hour_number(until)) < until));
    // A slip of units must not take all memory: nothing is older than a century.
    usize::try_from(last.saturating_sub(first)).unwrap_or(0).min(876_600)
}
