//! Boundaries: the nominal local date-times at which periods turn, and the two of them around an instant.
//!
//! A grid is an endless, sorted row of nominal date-times, numbered. To find the period of an instant, guess a number
//! from the local date, then correct the guess by comparing *instants*: the label alone is wrong where a midnight comes
//! twice.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Utc};

use super::anchor::TimeOfDay;
use super::zone::Zone;

const MONTHS_A_YEAR: i64 = 12;

/// The nominal local date-times at which one kind of period turns.
#[derive(Debug, Clone, Copy)]
pub(super) enum Grid {
    /// Every `every` days; boundary 0 is `first_day`, counted in days since the Common Era.
    Days { every: i64, first_day: i64, at: TimeOfDay },
    /// Every `every` months on `day` or the last of the month; boundary 0 is in `first_month`, counted from the year 0.
    Months { every: i64, first_month: i64, day: u32, at: TimeOfDay },
}

impl Grid {
    /// Every `every` months from `date` on, and back from it.
    pub(super) fn months_from(date: NaiveDate, every: i64, at: TimeOfDay) -> Self {
        Self::Months { every, first_month: month_number(date), day: date.day(), at }
    }

    /// Every `every` months, a divisor of twelve, from the midnight of 1 January.
    pub(super) fn months_from_january(every: i64) -> Self {
        Self::Months { every, first_month: 0, day: 1, at: TimeOfDay::MIDNIGHT }
    }

    /// The boundary number `number`; `None` beyond the years that dates can have.
    fn nominal(self, number: i64) -> Option<NaiveDateTime> {
        match self {
            Self::Days { every, first_day, at } => {
                let day = number.checked_mul(every)?.checked_add(first_day)?;
                Some(NaiveDate::from_num_days_from_ce_opt(i32::try_from(day).ok()?)?.and_time(at.time()))
            }
            Self::Months { every, first_month, day, at } => {
                let month = number.checked_mul(every)?.checked_add(first_month)?;
                let year = i32::try_from(month.div_euclid(MONTHS_A_YEAR)).ok()?;
                let month = u32::try_from(month.rem_euclid(MONTHS_A_YEAR)).ok()?;
                // chrono clamps to the month's end, and always from the anchor: the 31st comes back after February.
                let january = NaiveDate::from_ymd_opt(year, 1, day)?;
                Some(january.checked_add_months(Months::new(month))?.and_time(at.time()))
            }
        }
    }

    /// The number of the last boundary whose date is at or before `date`, give or take one.
    fn guess(self, date: NaiveDate) -> Option<i64> {
        match self {
            Self::Days { every, first_day, .. } => {
                i64::from(date.num_days_from_ce()).checked_sub(first_day)?.checked_div_euclid(every)
            }
            Self::Months { every, first_month, .. } => {
                month_number(date).checked_sub(first_month)?.checked_div_euclid(every)
            }
        }
    }

    /// The boundaries around `at`: the last at or before it and the first after it.
    pub(super) fn around(self, zone: Zone, at: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let boundary = |number: i64| zone.first_instant(self.nominal(number)?);
        let mut number = self.guess(zone.local(at).date)?;
        let mut start = boundary(number)?;
        while start > at {
            number = number.checked_sub(1)?;
            start = boundary(number)?;
        }
        loop {
            number = number.checked_add(1)?;
            let end = boundary(number)?;
            if end > at {
                return Some((start, end));
            }
            start = end; // also where both are one instant: a day that does not exist is passed over
        }
    }
}

/// Months since January of the year 0.
fn month_number(date: NaiveDate) -> i64 {
    i64::from(date.year()).saturating_mul(MONTHS_A_YEAR).saturating_add(i64::from(date.month0()))
}
