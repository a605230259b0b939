//! How providers write durations and instants.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// Furthest that anybody may say it comes back, in days: the longest period of a contract is a year.
const RETURN_DAYS_MAX: i64 = 400;

/// The instant so much later; none beyond [`RETURN_DAYS_MAX`].
#[must_use]
pub fn after(at: DateTime<Utc>, delay: TimeDelta) -> Option<DateTime<Utc>> {
    let sane = delay >= TimeDelta::zero() && delay <= TimeDelta::days(RETURN_DAYS_MAX);
    if sane { at.checked_add_signed(delay) } else { None }
}

/// An instant that somebody gave, unless it is further away than anybody may say.
#[must_use]
pub fn bounded(instant: DateTime<Utc>, received_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let last = received_at.checked_add_signed(TimeDelta::days(RETURN_DAYS_MAX))?;
    (instant <= last).then_some(instant)
}

/// Seconds since the Unix epoch.
#[must_use]
pub fn epoch(text: &str, received_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let seconds = Decimal::from_str_exact(text.trim()).ok()?;
    let micros = seconds.checked_mul(Decimal::from(1_000_000))?.ceil().to_i64()?;
    bounded(DateTime::from_timestamp_micros(micros)?, received_at).filter(|at| *at > DateTime::UNIX_EPOCH)
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or an HTTP date.
#[must_use]
pub fn date_or_seconds(text: &str, received_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let seconds = go_duration(&format!("{text}s")).filter(|_| text.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    match seconds {
        Some(delay) => after(received_at, delay),
        None => bounded(DateTime::parse_from_rfc2822(text).ok()?.to_utc(), received_at),
    }
}

/// A duration as Go writes it: `1s`, `6m0s`, `1h2m3.5s`, `583ms`. Also of the protobuf JSON form, which is a part of it.
#[must_use]
pub fn go_duration(text: &str) -> Option<TimeDelta> {
    let mut rest = text.trim();
    let mut micros = Decimal::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end_of_number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(end_of_number)?;
        let end_of_unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end_of_unit)?;
        let each: u64 = match unit.trim() {
            "us" | "µs" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            _ => return None,
        };
        let part = Decimal::from_str_exact(number).ok()?.checked_mul(Decimal::from(each))?;
        micros = micros.checked_add(part)?;
        rest = after;
    }
    // Up to the next microsecond: too early is refused again.
    Some(TimeDelta::microseconds(micros.ceil().to_i64()?))
}

/// What follows the first of these words, whatever their case.
fn following<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    let lower = text.to_ascii_lowercase();
    words.iter().find_map(|word| lower.find(word).and_then(|at| text.get(at.checked_add(word.len())?..)))
}

/// How long a message says: `Please try again in 6m0s.`, `Please retry after 9 seconds.`
#[must_use]
pub fn retry_in(message: &str) -> Option<TimeDelta> {
    let rest = following(message, &["try again in ", "retry after ", "retry in "])?;
    let mut words = rest.split_whitespace();
    let first = words.next()?.trim_end_matches(['.', ',', ';', ')']);
    if let Some(delay) = go_duration(first) {
        return Some(delay);
    }
    let unit = words.next()?.trim_end_matches(['.', ',', ';', ')']).to_ascii_lowercase();
    let letter = match unit.as_str() {
        "millisecond" | "milliseconds" => "ms",
        "second" | "seconds" => "s",
        "minute" | "minutes" => "m",
        "hour" | "hours" => "h",
        _ => return None,
    };
    go_duration(&format!("{first}{letter}"))
}

/// How long a message says, as .NET writes time spans: `Quota will be replenished in 2.09:56:13.`
#[must_use]
pub fn replenished_in(message: &str) -> Option<TimeDelta> {
    let rest = following(message, &["replenished in "])?;
    let span = rest.split_whitespace().next()?.trim_end_matches('.');
    let mut clock = span.split(':');
    let (first, minutes, seconds) = (clock.next()?, clock.next()?, clock.next()?);
    let (days, hours) = first.split_once('.').unwrap_or(("0", first));
    let days: u32 = days.parse().ok()?;
    let hours = hours.parse::<u32>().ok()?.checked_add(days.checked_mul(24)?)?;
    go_duration(&format!("{hours}h{minutes}m{seconds}s"))
}

/// The instant a message states: `You will regain access on 2026-09-01 at 00:00 UTC.`
#[must_use]
pub fn stated_instant(message: &str, received_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    for (at, between) in message.match_indices(" at ") {
        let date = at.checked_sub(10).and_then(|start| message.get(start..at));
        let time = at.checked_add(between.len()).and_then(|start| message.get(start..));
        let (Some(date), Some(time)) = (date, time) else { continue };
        let Some((clock, zone)) = time.split_once(' ') else { continue };
        let is_utc = zone.get(..3).is_some_and(|zone| zone == "UTC" || zone == "GMT");
        let date = date.parse::<NaiveDate>();
        let time = NaiveTime::parse_from_str(clock, "%H:%M").or_else(|_| NaiveTime::parse_from_str(clock, "%H:%M:%S"));
        if let (true, Ok(date), Ok(time)) = (is_utc, date, time) {
            return bounded(NaiveDateTime::new(date, time).and_utc(), received_at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<T: std::fmt::Debug + PartialEq>(read: impl Fn(&str) -> Option<T>, table: &[(&str, Option<T>)]) {
        for (text, wanted) in table {
            assert_eq!(&read(text), wanted, "{text:?}");
        }
    }

    fn ms(count: i64) -> TimeDelta {
        TimeDelta::milliseconds(count)
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn durations_as_go_writes_them() {
        check(
            go_duration,
            &[
                ("1s", Some(ms(1_000))),
                ("6m0s", Some(ms(360_000))),
                ("1h2m3.5s", Some(ms(3_723_500))),
                ("583ms", Some(ms(583))),
                ("34.074824224s", Some(TimeDelta::microseconds(34_074_825))),
                ("0s", Some(ms(0))),
                ("", None),
                ("12", None),
                ("s", None),
                ("-3s", None),
                ("1y", None),
                ("9999999999999999999999999999999h", None),
            ],
        );
    }

    #[test]
    fn durations_and_instants_in_words() {
        check(
            retry_in,
            &[
                ("Rate limit reached. Please try again in 6m0s. Visit …", Some(ms(360_000))),
                ("Please try again in 583ms.", Some(ms(583))),
                ("Please retry after 9 seconds. To increase", Some(ms(9_000))),
                ("Rate limit is exceeded. Try again in 12 seconds.", Some(ms(12_000))),
                ("Please try again later.", None),
                ("try again in a while", None),
            ],
        );
        check(
            replenished_in,
            &[
                ("Out of call volume quota. Quota will be replenished in 00:12:34.", Some(ms(754_000))),
                ("Quota will be replenished in 2.09:56:13.", Some(ms(208_573_000))),
                ("Quota will be replenished in a while.", None),
            ],
        );
        check(
            |text| stated_instant(text, at("2026-06-10T12:00:00Z")),
            &[
                ("You will regain access on 2026-09-01 at 00:00 UTC.", Some(at("2026-09-01T00:00:00Z"))),
                ("Look at this: back on 2026-12-01 at 08:30 UTC", Some(at("2026-12-01T08:30:00Z"))),
                ("back on 2027-07-15 at 12:00 UTC", Some(at("2027-07-15T12:00:00Z"))),
                ("back on 2027-07-15 at 12:01 UTC", None),
                ("You will regain access on 9999-12-31 at 00:00 UTC.", None),
                ("on 2026-09-01 at 00:00 local time", None),
                ("on 2026-13-01 at 00:00 UTC", None),
                ("é at 00:00 UTC", None),
            ],
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = at("2026-06-10T12:00:00Z");
        check(
            |text| date_or_seconds(text, now),
            &[
                ("30", Some(at("2026-06-10T12:00:30Z"))),
                (" 0.5 ", Some(at("2026-06-10T12:00:00.5Z"))),
                ("Wed, 10 Jun 2026 12:01:00 GMT", Some(at("2026-06-10T12:01:00Z"))),
                ("Fri, 31 Dec 9999 23:59:59 GMT", None),
                ("1h", None),
                ("-5", None),
                ("99999999999", None),
                ("soon", None),
            ],
        );
    }

    #[test]
    fn seconds_since_the_epoch_are_bounded_as_durations_are() {
        check(
            |text| epoch(text, at("2026-06-10T12:00:00Z")),
            &[
                ("1781096400", Some(at("2026-06-10T13:00:00Z"))),
                (" 1781096400.5", Some(at("2026-06-10T13:00:00.5Z"))),
                ("253402300799", None),
                ("9999999999999999999999999", None),
                ("0", None),
                ("-1", None),
                ("", None),
                ("soon", None),
            ],
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let now = at("2026-06-10T12:00:00Z");
            let _any = (go_duration(&text), retry_in(&text), replenished_in(&text), stated_instant(&text, now), date_or_seconds(&text, now), epoch(&text, now));
        }
    }
}
