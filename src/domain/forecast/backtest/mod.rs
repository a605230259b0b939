//! The back-test: how good the forecast would have been, beside what dashboards do.
//!
//! | file | what it holds |
//! |---|---|
//! | [`generate`] | made series: a known shape with seeded noise |
//! | [`mod@replay`] | a case played again: forecasts at instants of the past, and what came |
//! | [`straight`] | the methods it is compared with |
//! | [`report`] | medians, coverage and Brier scores of what was found |
//!
//! Invariants: a forecast sees nothing from the future of its own case, neither use nor errors; the same cases give the same
//! report.
//!
//! Deliberately absent: where series come from. Files are read by the command, the journal by the store.

pub mod generate;
pub mod replay;
pub mod report;
pub mod straight;

use chrono::{DateTime, Utc};

use super::errors::{ErrorBook, PastError};
use super::question::Source;

pub use replay::{Trial, errors_of, replay};
pub use report::{Report, Row, summarise};

/// The limits that are tried, as a share of what the period really used: under these the budget runs out.
pub const SHARES: [f64; 5] = [0.6, 0.7, 0.8, 0.9, 0.97];
/// Under these it lasts: for the probability alone.
pub const SHARES_LASTING: [f64; 3] = [1.03, 1.1, 1.25];
/// Days of a month at which forecasts are made.
pub const DAYS_MONTH: [u32; 6] = [3, 5, 10, 15, 20, 25];
/// Days of a week at which forecasts are made.
pub const DAYS_WEEK: [u32; 5] = [1, 2, 3, 4, 5];

/// What kind of use a case is, which says what is asked of the forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One zone, days and nights.
    Daily,
    /// One zone, and nothing at weekends.
    WeekdayOnly,
    /// Many zones that share a budget.
    MixedZones,
    /// A level that moves: growth, shifts.
    Moving,
    /// A single service whose use comes in bursts.
    Bursty,
    /// Tenants with a week of history.
    Young,
    /// A user's own.
    Own,
}

impl Kind {
    /// The word in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily rhythm",
            Self::WeekdayOnly => "weekday only",
            Self::MixedZones => "mixed zones",
            Self::Moving => "moving level",
            Self::Bursty => "bursty",
            Self::Young => "young tenants",
            Self::Own => "own",
        }
    }
}

/// A pool of the past, and the periods that are played again.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name; cases of one name are reported together.
    pub name: String,
    /// What kind of use it is.
    pub kind: Kind,
    /// Who used what. All know the same hours.
    pub sources: Vec<Source>,
    /// The periods, oldest first, each with days of history before it.
    pub periods: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    /// Days after the start of a period at which forecasts are made.
    pub days: &'static [u32],
    /// Whether one half of the cases of this name is calibrated on the other: they are many, and alike.
    pub halves: bool,
}

impl Case {
    /// A pool whose periods follow from how long it is known: calendar months in UTC after four weeks of history, or else
    /// windows of 30 days after two weeks, or else weeks after one. A pool of less than two weeks has no period.
    #[must_use]
    pub fn of(name: &str, kind: Kind, sources: Vec<Source>) -> Self {
        let start = sources.iter().map(|source| source.series.start()).min().unwrap_or_default();
        let until = sources.iter().map(|source| source.series.until()).max().unwrap_or_default();
        let months = generate::months(start, until, 28.0);
        let windows = generate::windows(start, until, 14.0, 30.0, 3.0);
        let (periods, days): (_, &'static [u32]) = match (months.len() > 1, windows.is_empty()) {
            (true, _) => (months, &DAYS_MONTH),
            (false, false) => (windows, &DAYS_MONTH),
            (false, true) => (generate::windows(start, until, 7.0, 7.0, 7.0), &DAYS_WEEK),
        };
        Self { name: name.to_owned(), kind, sources, periods, days, halves: false }
    }
}

/// Plays all cases, each with the errors of the others: nothing is calibrated on what it is tested with.
///
/// Cases of one name are calibrated without each other, or by halves where they say so. A user's own cases are not
/// calibrated on each other beyond that: a pool and its tenants are the same use seen twice.
#[must_use]
pub fn run(cases: &[Case]) -> Vec<Trial> {
    let builtin = ErrorBook::builtin();
    let numbered = || cases.iter().enumerate();
    let of = |place: usize| u64::try_from(place).unwrap_or(u64::MAX);
    let errors: Vec<Vec<PastError>> = numbered().map(|(place, case)| errors_of(case, of(place), &builtin)).collect();
    let mut trials = Vec::new();
    for (place, case) in numbered() {
        let is_other = |other_place: usize, other: &Case| match other.name == case.name {
            true => case.halves && other_place % 2 != place % 2,
            false => case.kind != Kind::Own || other.kind != Kind::Own,
        };
        let others = numbered().zip(&errors).filter(|((place, other), _)| is_other(*place, other));
        let others: Vec<PastError> = others.flat_map(|(_, errors)| errors.iter().copied()).collect();
        let book = if others.is_empty() { builtin.clone() } else { ErrorBook::measured(&others) };
        trials.extend(replay(case, of(place), &book));
    }
    trials
}
