//! The rhythm of a use: how it is spread over the hours of its week, for whoever asks nothing more of the past.
//!
//! It is the profile that [`super::project()`] builds its path from.

use chrono::{DateTime, Utc};

use super::clocks::{ByHour, Keys, at};
use super::number::{after, clean, hour_number, hour_start, hours_between};
use super::profile::{Age, HISTORY, prefix_sums, profile, profile_weights};
use crate::domain::calendar::Zone;

/// Longest stretch that is added up, in hours: a leap year and a day. Of a longer one its first hours count.
pub const RHYTHM_HOURS_MAX: i64 = 8_808;

/// How much of an average hour each hour of the week is, on one zone's wall.
#[derive(Debug, Clone)]
pub struct Rhythm {
    zone: Zone,
    shape: ByHour,
}

impl Rhythm {
    /// Of what was used in each whole hour since `from`. None where that is known for less than three days since the first
    /// use; by the hour of the day alone where it is for less than two weeks.
    #[must_use]
    pub fn of(zone: Zone, from: DateTime<Utc>, hours: &[f64]) -> Option<Self> {
        let known = hours.get(hours.len().saturating_sub(HISTORY)..).unwrap_or_default();
        let unused = known.iter().take_while(|value| clean(**value) <= 0.0).count();
        let used = known.get(unused..).unwrap_or_default();
        let age = Age::of(used.len());
        if age == Age::New {
            return None;
        }
        let values: Vec<f64> = used.iter().map(|value| clean(*value)).collect();
        let skipped = i64::try_from(hours.len().saturating_sub(values.len())).ok()?;
        let first = hour_number(from).checked_add(skipped)?;
        let end = first.checked_add(i64::try_from(values.len()).ok()?)?;
        let keys = Keys::new(zone, first, end);
        let mut sums = Vec::new();
        prefix_sums(&values, &mut sums);
        let shape = profile(age, &values, keys.between(first, end), &sums, &profile_weights());
        Some(Self { zone, shape })
    }

    /// How many average hours the time from one instant to another is. Hours that are cut count by their part.
    #[must_use]
    pub fn between(&self, start: DateTime<Utc>, end: DateTime<Utc>) -> f64 {
        let first = hour_number(start);
        let last = hour_number(end).min(first.saturating_add(RHYTHM_HOURS_MAX));
        let beyond = last.saturating_add(1);
        let keys = Keys::new(self.zone, first, beyond);
        let mut sum = 0.0;
        for (hour, key) in (first..beyond).zip(keys.between(first, beyond)) {
            let begins = hour_start(hour);
            let part = hours_between(begins.max(start), after(begins, 1.0).min(end)).clamp(0.0, 1.0);
            sum += at(&self.shape, *key) * part;
        }
        sum
    }
}
