//! The parts of a period spec, each bounded by its type, so that a spec that exists is valid.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, Timelike, Utc};

/// Longest fixed or sliding window: 3,660 days, a little over ten years, in seconds.
pub const SECONDS_MAX: u32 = 316_224_000;

// The fallbacks are never taken (the parts are literals): they are there because nothing in the domain may panic.
const DATE_MIN: NaiveDate = match NaiveDate::from_ymd_opt(1900, 1, 1) {
    Some(date) => date,
    None => NaiveDate::MAX,
};
const DATE_MAX: NaiveDate = match NaiveDate::from_ymd_opt(2199, 12, 31) {
    Some(date) => date,
    None => NaiveDate::MIN,
};
const LAST_TIME: NaiveTime = match NaiveTime::from_hms_nano_opt(23, 59, 59, 999_999_999) {
    Some(time) => time,
    None => NaiveTime::MIN,
};
const MINUTES_AN_HOUR: u16 = 60;
const MINUTES_A_DAY: u16 = 1_440;
/// Longest part of a refused text that an error repeats, in characters.
const TEXT_SHOWN_MAX: usize = 64;

/// Why a part of a period spec is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPeriod {
    /// Outside its bounds.
    #[error("{field} {value} is not between {min} and {max}")]
    OutOfBounds {
        /// The part, as the contract names it.
        field: &'static str,
        /// What was given.
        value: String,
        /// The least allowed.
        min: String,
        /// The most allowed.
        max: String,
    },
    /// A time of day that is not `HH:MM`.
    #[error("at {value:?} is not a time of day from \"00:00\" to \"23:59\"")]
    NotATimeOfDay {
        /// What was given, cut to 64 characters.
        value: String,
    },
}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident($inner:ty), $field:literal, $min:expr, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// # Errors
            /// [`BadPeriod::OutOfBounds`] outside the bounds of the type.
            pub fn new(value: $inner) -> Result<Self, BadPeriod> {
                let (min, max) = ($min, $max);
                if (min..=max).contains(&value) {
                    return Ok(Self(value));
                }
                let [value, min, max] = [value, min, max].map(|bound| bound.to_string());
                Err(BadPeriod::OutOfBounds { field: $field, value, min, max })
            }

            /// The value.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }
    };
}

bounded!(
    /// A day of the month, 1 to 31. Beyond a month's end it means the last day.
    AnchorDay(u8), "anchor_day", 1, 31
);
bounded!(
    /// A number of months, 1 to 120.
    MonthCount(u8), "every", 1, 120
);
bounded!(
    /// A length in seconds, 1 to [`SECONDS_MAX`].
    Seconds(u32), "seconds", 1, SECONDS_MAX
);
bounded!(
    /// A local date on which a period starts, in the years 1900 to 2199.
    AnchorDate(NaiveDate), "anchor_date", DATE_MIN, DATE_MAX
);
bounded!(
    /// An instant at which a period starts, in the years 1900 to 2199.
    AnchorInstant(DateTime<Utc>), "anchor_instant",
    DATE_MIN.and_time(NaiveTime::MIN).and_utc(),
    DATE_MAX.and_time(LAST_TIME).and_utc()
);

/// A local time of day, to the minute, at which a period turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay {
    /// Minutes since 00:00, below 1,440.
    minutes: u16,
}

impl TimeOfDay {
    /// 00:00: what a spec means that says nothing.
    pub const MIDNIGHT: Self = Self { minutes: 0 };

    /// Takes `HH:MM`, two digits each.
    ///
    /// # Errors
    /// [`BadPeriod::NotATimeOfDay`] for any other text.
    pub fn parse(text: &str) -> Result<Self, BadPeriod> {
        Self::from_digits(text.as_bytes())
            .ok_or_else(|| BadPeriod::NotATimeOfDay { value: text.chars().take(TEXT_SHOWN_MAX).collect() })
    }

    fn from_digits(text: &[u8]) -> Option<Self> {
        let &[h1, h2, b':', m1, m2] = text else { return None };
        let two_digits = |tens: u8, ones: u8| {
            let digit = |byte: u8| char::from(byte).to_digit(10).and_then(|digit| u16::try_from(digit).ok());
            digit(tens)?.checked_mul(10)?.checked_add(digit(ones)?)
        };
        let (hour, minute) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
        let minutes = hour.checked_mul(MINUTES_AN_HOUR)?.checked_add(minute)?;
        (minute < MINUTES_AN_HOUR && minutes < MINUTES_A_DAY).then_some(Self { minutes })
    }

    pub(super) fn time(self) -> NaiveTime {
        let seconds = u32::from(self.minutes).saturating_mul(60);
        NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0).unwrap_or(NaiveTime::MIN)
    }
}

impl FromStr for TimeOfDay {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        Self::parse(text)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.time();
        write!(f, "{:02}:{:02}", time.hour(), time.minute())
    }
}

impl AnchorDay {
    /// The first of the month.
    pub const FIRST: Self = Self(1);
}
