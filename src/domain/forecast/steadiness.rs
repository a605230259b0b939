//! How much one day or week says about the next, in any unit, and so which errors a projection belongs to.

use super::clocks::DAY;
use super::errors::ErrorClass;
use super::number::real;
use super::profile::Age;

/// Days that are compared with those a week before: four weeks.
const DAYS: usize = 28;
/// Days in a week.
const WEEK_DAYS: usize = 7;
/// Most days that are kept: those compared, and the week before them.
pub(super) const DAYS_KEPT: usize = 35;
/// Up to here weeks are alike.
const STEADY_MAX: f64 = 0.10;
/// From here on use comes in bursts.
const BURSTY_MIN: f64 = 0.20;
/// Up to here the days of a young source are alike: its weekends are among them, so it is wider.
const YOUNG_STEADY_MAX: f64 = 0.20;

/// What was used in each stretch of 24 hours, counted back from the end; the newest first.
pub(super) fn add_days(days: &mut Vec<f64>, sums: &[f64]) {
    let mut end = sums.len().saturating_sub(1);
    for day in 0..DAYS_KEPT {
        let Some(begin) = end.checked_sub(DAY) else { break };
        let (Some(until), Some(from)) = (sums.get(end), sums.get(begin)) else { break };
        match days.get_mut(day) {
            Some(total) => *total += until - from,
            None => days.push(until - from),
        }
        end = begin;
    }
}

/// How much days differ from those `lag` days before: 0 is not at all, 1 is that one of two is always empty. `None` where
/// there is nothing to compare.
fn difference(days: &[f64], lag: usize) -> Option<f64> {
    let (mut apart, mut together) = (0.0, 0.0);
    for (day, before) in days.iter().zip(days.iter().skip(lag)).take(DAYS) {
        apart += (day - before).abs();
        together += day + before;
    }
    (together > 0.0).then(|| apart / together)
}

/// The class of a pool with these days, the newest first.
pub(super) fn class(age: Age, days: &[f64]) -> ErrorClass {
    match age {
        Age::New => ErrorClass::YoungBursty,
        Age::Young => match difference(days, 1) {
            Some(difference) if difference <= YOUNG_STEADY_MAX => ErrorClass::YoungSteady,
            _ => ErrorClass::YoungBursty,
        },
        Age::Grown => match difference(days, WEEK_DAYS) {
            Some(difference) if difference <= STEADY_MAX => ErrorClass::Steady,
            Some(difference) if difference < BURSTY_MIN => ErrorClass::Uneven,
            _ => ErrorClass::Bursty,
        },
    }
}

/// Days of a pool as a number of days of history.
pub(super) fn whole_days(hours: usize) -> u32 {
    u32::try_from(super::number::whole(real(hours) / 24.0)).unwrap_or(u32::MAX)
}
