//! The calendar: which period of a budget holds an instant, in any zone.
//!
//! Rules, the same in code, contract and tests:
//!
//! 1. A period is a half-open interval of *instants*, `[start, end)` in UTC. An instant exactly on a boundary belongs to
//!    the new period. Nothing is ever decided by a local date label: St John's had midnights that came twice.
//! 2. A boundary is the first instant whose local date-time is at or after the nominal one. A midnight that the clocks
//!    skip begins at the first instant after the gap; a midnight that comes twice begins at the first.
//! 3. An anchor day beyond the end of a month clamps to its last day, and returns to the anchor in the next month.
//! 4. Boundaries that fall on one instant collapse: a local day that does not exist (Apia, 2011-12-30) has no period.
//! 5. Hours are elapsed hours counted from local midnight; a day of 23.5 hours ends with a short one (Lord Howe).
//! 6. Fixed and sliding windows are elapsed seconds, in no zone at all.
//!
//! Two libraries, one job each. `chrono_tz` is the list of *names* a zone may have. The *rules* come from the database
//! compiled into jiff, because the one compiled into `chrono_tz` is older and wrong today by an hour in several zones (a
//! test lists them), and the one of the machine is whatever the machine has.
//!
//! Deliberately absent: the current time, a job that runs at midnight, the zone of the machine, arithmetic in SQL.

mod anchor;
mod boundary;
mod period;
mod zone;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};

pub use anchor::{AnchorDate, AnchorDay, AnchorInstant, BadPeriod, MonthCount, SECONDS_MAX, Seconds, TimeOfDay};
pub use period::{Period, PeriodSpec, SLICES};
pub use zone::{LocalTime, UnknownZone, Zone, tzdb_version, zone_names_version};

/// 1900-01-01T00:00:00Z, the first second the calendar answers for, in seconds since the Unix epoch.
const INSTANT_MIN_S: i64 = -2_208_988_800;
/// 2200-01-01T00:00:00Z, the first second it no longer answers for.
const INSTANT_MAX_S: i64 = 7_258_118_400;

/// Why an instant has no period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Before 1900 or from 2200 on: a slip of units (milliseconds for seconds) rather than a call.
    #[error("instant {at} is outside the years 1900 to 2199")]
    InstantOutOfRange {
        /// The instant.
        at: DateTime<Utc>,
    },
}

/// Takes an instant the calendar answers for; a leap second counts as the last nanosecond of its minute.
fn check_instant(at: DateTime<Utc>) -> Result<DateTime<Utc>, CalendarError> {
    const NANOSECOND_MAX: u32 = 999_999_999;
    if (INSTANT_MIN_S..INSTANT_MAX_S).contains(&at.timestamp()) {
        DateTime::from_timestamp(at.timestamp(), at.timestamp_subsec_nanos().min(NANOSECOND_MAX))
            .ok_or(CalendarError::InstantOutOfRange { at })
    } else {
        Err(CalendarError::InstantOutOfRange { at })
    }
}
