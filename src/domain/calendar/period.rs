//! Periods: the windows of a budget, from the words of a budget's author to two instants.
//!
//! Invariants: a [`PeriodSpec`] that exists is valid; the periods of a spec in a zone tile time, without gap or overlap.
//! Deliberately absent: a list of periods kept anywhere, and so anything that has to run when one ends.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc, Weekday};

use super::anchor::{AnchorDate, AnchorDay, AnchorInstant, MonthCount, Seconds, TimeOfDay};
use super::boundary::Grid;
use super::zone::Zone;
use super::{CalendarError, check_instant};

/// A sliding window is counted in slices of this fraction of its length.
pub const SLICES: u32 = 60;

const HOUR_S: i64 = 3_600;
const DAYS_A_WEEK: i64 = 7;
const MONTHS_A_QUARTER: i64 = 3;
const MONTHS_A_YEAR: i64 = 12;

/// What a budget's author says about its windows. With a [`Zone`] it cuts all of time into [`Period`]s.
///
/// Anchors only say where boundaries fall: periods before the anchor exist too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeriodSpec {
    /// Elapsed hours, counted from local midnight.
    Hour,
    /// A local day.
    Day {
        /// When it turns.
        at: TimeOfDay,
    },
    /// Seven local days.
    Week {
        /// The day on which it turns.
        week_start: Weekday,
        /// When it turns.
        at: TimeOfDay,
    },
    /// A month, from one anchor day to the next.
    Month {
        /// The day on which it turns, or the last of a shorter month.
        anchor_day: AnchorDay,
        /// When it turns.
        at: TimeOfDay,
    },
    /// A number of months.
    Months {
        /// How many.
        every: MonthCount,
        /// A local date on which one starts.
        anchor_date: AnchorDate,
        /// When it turns.
        at: TimeOfDay,
    },
    /// Three months, from 1 January.
    Quarter,
    /// Twelve months.
    Year {
        /// A local date on which one starts, or 1 January. 29 February is the 28th in other years.
        anchor_date: Option<AnchorDate>,
    },
    /// Elapsed seconds, in no zone.
    Fixed {
        /// The length.
        seconds: Seconds,
        /// An instant at which one starts.
        anchor_instant: AnchorInstant,
    },
    /// The last so many elapsed seconds, whenever asked. Counted in slices: see [`PeriodSpec::window`].
    Sliding {
        /// The length.
        seconds: Seconds,
    },
    /// All of time: the budget never comes back.
    Once,
}

/// A half-open interval of instants, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    /// The first instant. Of [`PeriodSpec::Once`] it is the Unix epoch: a stand-in that every column can hold, as that
    /// period has no beginning.
    pub start: DateTime<Utc>,
    /// The first instant of the next period. `None` only for [`PeriodSpec::Once`], which has no next.
    pub end: Option<DateTime<Utc>>,
}

impl Period {
    /// All of time.
    pub const ONCE: Self = Self { start: DateTime::UNIX_EPOCH, end: None };

    /// Whether the instant lies in the period.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.end.is_none_or(|end| self.start <= at && at < end)
    }

    /// Its length; `None` for [`PeriodSpec::Once`].
    #[must_use]
    pub fn duration(&self) -> Option<TimeDelta> {
        self.end.map(|end| end.signed_duration_since(self.start))
    }
}

impl PeriodSpec {
    /// The local day, from midnight.
    pub const DAY: Self = Self::Day { at: TimeOfDay::MIDNIGHT };
    /// The local week, from Monday's midnight.
    pub const WEEK: Self = Self::Week { week_start: Weekday::Mon, at: TimeOfDay::MIDNIGHT };
    /// The calendar month.
    pub const MONTH: Self = Self::Month { anchor_day: AnchorDay::FIRST, at: TimeOfDay::MIDNIGHT };
    /// The calendar year.
    pub const YEAR: Self = Self::Year { anchor_date: None };

    /// The word for its kind in the contract: `month` and so on.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day { .. } => "day",
            Self::Week { .. } => "week",
            Self::Month { .. } => "month",
            Self::Months { .. } => "months",
            Self::Quarter => "quarter",
            Self::Year { .. } => "year",
            Self::Fixed { .. } => "fixed",
            Self::Sliding { .. } => "sliding",
            Self::Once => "once",
        }
    }

    /// The period that holds the instant. Of a sliding window it is the slice that holds it.
    ///
    /// # Errors
    /// [`CalendarError::InstantOutOfRange`] outside the years 1900 to 2199.
    pub fn holding(&self, zone: Zone, at: DateTime<Utc>) -> Result<Period, CalendarError> {
        let at = check_instant(at)?;
        self.find(zone, at).ok_or(CalendarError::InstantOutOfRange { at })
    }

    /// The periods whose sum is what a limit bounds at the instant: the one that holds it, or, for a sliding window, the
    /// slices that overlap `(at − seconds, at]`, oldest first.
    ///
    /// A slice is a sixtieth of the window, rounded up to whole seconds, and starts at a multiple of its length since the
    /// Unix epoch. There are at most 61. The oldest may reach back beyond the window: a limit errs towards refusing.
    ///
    /// # Errors
    /// [`CalendarError::InstantOutOfRange`] outside the years 1900 to 2199.
    pub fn window(&self, zone: Zone, at: DateTime<Utc>) -> Result<Vec<Period>, CalendarError> {
        let newest = self.holding(zone, at)?;
        let Self::Sliding { seconds } = *self else { return Ok(vec![newest]) };
        // The slice that holds (at − seconds) also holds instants after it, because its end is not in it.
        let since = at.checked_sub_signed(TimeDelta::seconds(i64::from(seconds.get())));
        let slice_of = |at| elapsed_window(DateTime::UNIX_EPOCH, slice_length(seconds), at);
        let oldest = since.and_then(slice_of).ok_or(CalendarError::InstantOutOfRange { at })?;
        let slices = std::iter::successors(Some(oldest), |slice| slice_of(slice.end?));
        Ok(slices.take_while(|slice| *slice <= newest).collect())
    }

    /// Where what a limit bounds at the instant begins: at the start of the period that holds it, or, for a sliding window, at
    /// that of the oldest slice of [`PeriodSpec::window`].
    ///
    /// # Errors
    /// [`CalendarError::InstantOutOfRange`] outside the years 1900 to 2199.
    pub fn since(&self, zone: Zone, at: DateTime<Utc>) -> Result<DateTime<Utc>, CalendarError> {
        let newest = self.holding(zone, at)?;
        let Some(length) = self.slides() else { return Ok(newest.start) };
        let since = at.checked_sub_signed(length).ok_or(CalendarError::InstantOutOfRange { at })?;
        Ok(self.find(zone, since).ok_or(CalendarError::InstantOutOfRange { at })?.start)
    }

    /// The length of a sliding window; none of a period that stands still.
    #[must_use]
    pub fn slides(&self) -> Option<TimeDelta> {
        match *self {
            Self::Sliding { seconds } => Some(TimeDelta::seconds(i64::from(seconds.get()))),
            Self::Hour
            | Self::Day { .. }
            | Self::Week { .. }
            | Self::Month { .. }
            | Self::Months { .. }
            | Self::Quarter
            | Self::Year { .. }
            | Self::Fixed { .. }
            | Self::Once => None,
        }
    }

    /// The slice of a sliding window that starts at an instant, which is one of its starts.
    #[must_use]
    pub fn slice_from(&self, start: DateTime<Utc>) -> Option<Period> {
        let Self::Sliding { seconds } = *self else { return None };
        let end = start.checked_add_signed(TimeDelta::try_seconds(slice_length(seconds))?)?;
        Some(Period { start, end: Some(end) })
    }

    fn find(&self, zone: Zone, at: DateTime<Utc>) -> Option<Period> {
        let grid = match *self {
            Self::Hour => {
                let day = Self::DAY.find(zone, at)?;
                let hour = elapsed_window(day.start, HOUR_S, at)?;
                return Some(Period { end: hour.end.min(day.end), ..hour });
            }
            Self::Fixed { seconds, anchor_instant } => {
                return elapsed_window(check_instant(anchor_instant.get()).ok()?, i64::from(seconds.get()), at);
            }
            Self::Sliding { seconds } => return elapsed_window(DateTime::UNIX_EPOCH, slice_length(seconds), at),
            Self::Once => return Some(Period::ONCE),
            Self::Day { at } => Grid::Days { every: 1, first_day: 0, at },
            Self::Week { week_start, at } => {
                // Day 1 of the Common Era is a Monday.
                let first_day = i64::from(week_start.number_from_monday());
                Grid::Days { every: DAYS_A_WEEK, first_day, at }
            }
            Self::Month { anchor_day, at } => {
                Grid::Months { every: 1, first_month: 0, day: u32::from(anchor_day.get()), at }
            }
            Self::Months { every, anchor_date, at } => Grid::months_from(anchor_date.get(), i64::from(every.get()), at),
            Self::Quarter => Grid::months_from_january(MONTHS_A_QUARTER),
            Self::Year { anchor_date: None } => Grid::months_from_january(MONTHS_A_YEAR),
            Self::Year { anchor_date: Some(date) } => Grid::months_from(date.get(), MONTHS_A_YEAR, TimeOfDay::MIDNIGHT),
        };
        let (start, end) = grid.around(zone, at)?;
        Some(Period { start, end: Some(end) })
    }
}

/// The length of the slices of a sliding window, in seconds.
fn slice_length(window: Seconds) -> i64 {
    i64::from(window.get().div_ceil(SLICES))
}

/// The window of `seconds` elapsed seconds that holds `at`, where one starts at `anchor`.
fn elapsed_window(anchor: DateTime<Utc>, seconds: i64, at: DateTime<Utc>) -> Option<Period> {
    let mut elapsed = at.timestamp().checked_sub(anchor.timestamp())?;
    if at.timestamp_subsec_nanos() < anchor.timestamp_subsec_nanos() {
        elapsed = elapsed.checked_sub(1)?; // the floor in whole seconds
    }
    let into_window = elapsed.checked_rem_euclid(seconds)?;
    let start = anchor.checked_add_signed(TimeDelta::try_seconds(elapsed.checked_sub(into_window)?)?)?;
    Some(Period { start, end: Some(start.checked_add_signed(TimeDelta::try_seconds(seconds)?)?) })
}

/// As a person would say it: `month from day 31 at 09:00`. Two specs that read alike are equal.
impl fmt::Display for PeriodSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Hour | Self::Quarter | Self::Once | Self::Year { anchor_date: None } => f.write_str(kind),
            Self::Day { at } => write!(f, "{kind} at {at}"),
            Self::Week { week_start, at } => write!(f, "{kind} from {week_start} at {at}"),
            Self::Month { anchor_day, at } => write!(f, "{kind} from day {} at {at}", anchor_day.get()),
            Self::Months { every, anchor_date, at } => {
                write!(f, "{} {kind} from {} at {at}", every.get(), anchor_date.get())
            }
            Self::Year { anchor_date: Some(date) } => write!(f, "{kind} from {}", date.get()),
            Self::Fixed { seconds, anchor_instant } => {
                write!(f, "{kind} {} s from {:?}", seconds.get(), anchor_instant.get())
            }
            Self::Sliding { seconds } => write!(f, "{kind} {} s", seconds.get()),
        }
    }
}
