//! Passages between counts, instants and `f64`: the only place of the forecast where a number changes its type.

use chrono::{DateTime, TimeDelta, Utc};

/// Seconds in an hour.
pub(super) const HOUR_S: i64 = 3_600;

/// A count as a real number. Counts here are hours and tenants: above `u32::MAX` they stop there.
pub(super) fn real(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A whole number of hours as a real one, exact within 240,000 years.
pub(super) fn real_hours(hours: i64) -> f64 {
    let most = if hours < 0 { i32::MIN } else { i32::MAX };
    f64::from(i32::try_from(hours).unwrap_or(most))
}

/// The whole part of a number, towards zero; 0 of what is not a number, the last one of what is too large.
#[expect(clippy::as_conversions, reason = "the only way from f64 to an integer; it saturates, and NaN becomes 0")]
pub(super) fn whole(value: f64) -> i64 {
    value as i64
}

/// [`whole`] as an index; 0 of what is negative.
pub(super) fn index(value: f64) -> usize {
    usize::try_from(whole(value)).unwrap_or(0)
}

/// Hours from one instant to another, to the second; negative backwards.
pub(super) fn hours_between(from: DateTime<Utc>, until: DateTime<Utc>) -> f64 {
    real_hours(until.signed_duration_since(from).num_seconds()) / 3_600.0
}

/// The instant so many hours after another, to the second; the other one where no calendar reaches that far.
pub(super) fn after(from: DateTime<Utc>, hours: f64) -> DateTime<Utc> {
    let span = TimeDelta::try_seconds(whole((hours * 3_600.0).round())).unwrap_or(TimeDelta::zero());
    from.checked_add_signed(span).unwrap_or(from)
}

/// The number of the UTC hour that holds the instant, counted from the Unix epoch.
pub(super) fn hour_number(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(HOUR_S)
}

/// The instant at which the UTC hour of that number begins; the epoch beyond the years dates can have.
pub(super) fn hour_start(number: i64) -> DateTime<Utc> {
    number.checked_mul(HOUR_S).and_then(|second| DateTime::from_timestamp(second, 0)).unwrap_or_default()
}

/// No amount is counted as more than this, so that no sum of hours can leave the range of `f64`.
const AMOUNT_MAX: f64 = 1e24;

/// The number as an amount: not below 0, at most [`AMOUNT_MAX`]; 0 of what is not finite.
pub(super) fn clean(value: f64) -> f64 {
    if value.is_finite() { value.clamp(0.0, AMOUNT_MAX) } else { 0.0 }
}
