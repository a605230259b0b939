//! Closures: until when a provider's refusal keeps a quota closed, and what opens it again.
//!
//! An instant that the provider gave is believed. One that was computed, from the calendar or from the quota's own period, is a
//! guess: it is probed while it lasts, and the first success refutes it.
//!
//! Pure. Deliberately absent: which quota a refusal is about (`domain/signal/quota.rs`).

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::calendar::Period;
use crate::domain::id::ModelId;

/// How often one call is let through to a quota whose reopening was computed, in seconds.
pub const PROBE_SECONDS: i64 = 60;
/// How long a refusal at the very beginning of a period closes a quota for the first time, in seconds.
const EARLY_FIRST_SECONDS: i64 = 60;
/// The longest that counts as the very beginning of a period, in seconds. Of a short period it is a tenth.
const EARLY_SECONDS_MAX: i64 = 600;

/// A quota that is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// Until when.
    pub until: DateTime<Utc>,
    /// When the provider refused.
    pub refused_at: DateTime<Utc>,
    /// Whether the provider gave the instant. Otherwise it was computed, and is probed.
    pub is_reported: bool,
    /// The model that was refused, if it is known.
    pub model: Option<ModelId>,
}

impl Closure {
    /// Whether it takes the place of one that is known: it is later, or the provider's own word instead of a guess.
    #[must_use]
    pub fn replaces(&self, known: &Self) -> bool {
        let is_over = known.until <= self.refused_at;
        let is_later = self.until > known.until;
        match (self.is_reported, known.is_reported) {
            // An answer that was delivered late does not speak against what was said after it.
            (true, false) => self.refused_at >= known.refused_at || is_later,
            (false, true) => is_over,
            (true, true) | (false, false) => is_over || is_later,
        }
    }

    /// Whether a call that succeeded shows that it no longer holds. An instant that the provider gave may be about one model,
    /// so that a call of another one says nothing against it.
    #[must_use]
    pub fn is_refuted_by(&self, succeeded_at: DateTime<Utc>, model: Option<&ModelId>) -> bool {
        let is_same_model = self.model.is_none() || model.is_none() || self.model.as_ref() == model;
        succeeded_at > self.refused_at && (!self.is_reported || is_same_model)
    }

    /// Whether a call may be let through at an instant, to see whether the quota is open again.
    #[must_use]
    pub fn is_probed_at(&self, now: DateTime<Utc>, last_probe: Option<DateTime<Utc>>) -> bool {
        let last = last_probe.map_or(self.refused_at, |probe| probe.max(self.refused_at));
        !self.is_reported && now.signed_duration_since(last) >= TimeDelta::seconds(PROBE_SECONDS)
    }
}

/// Whether an instant is so soon after the beginning of a period that a refusal is likely to be about the one before: providers
/// reset some seconds late, and calls are under way when they do.
#[must_use]
pub fn is_early(period: Period, at: DateTime<Utc>) -> bool {
    let Some(length) = period.duration() else { return false };
    let most = TimeDelta::seconds((length.num_seconds() / 10).min(EARLY_SECONDS_MAX));
    at >= period.start && at.signed_duration_since(period.start) < most
}

/// Until when a refusal at the very beginning of a period closes a quota.
///
/// For a minute, and for twice as long each time that the provider still refuses. Refusals of calls that were under way together
/// count once.
#[must_use]
pub fn early_until(known: Option<&Closure>, period: Period, refused_at: DateTime<Utc>) -> DateTime<Utc> {
    let first = TimeDelta::seconds(EARLY_FIRST_SECONDS);
    let of_this_period = known.filter(|known| !known.is_reported && period.contains(known.refused_at));
    let until = match of_this_period {
        Some(known) if refused_at.signed_duration_since(known.refused_at) < first => return known.until,
        Some(known) => known.until.signed_duration_since(known.refused_at).checked_mul(2),
        None => Some(first),
    };
    let until = until.and_then(|length| refused_at.checked_add_signed(length)).unwrap_or(refused_at);
    period.end.map_or(until, |end| until.min(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::at;

    fn closure(refused: &str, until: &str, is_reported: bool) -> Closure {
        let model = ModelId::parse("opus").ok();
        Closure { until: at(until), refused_at: at(refused), is_reported, model }
    }

    #[test]
    fn the_providers_word_takes_the_place_of_a_guess_and_not_the_other_way_round() {
        const NOON: &str = "2026-06-10T12:00:00Z";
        const LATER: &str = "2026-06-10T13:00:00Z";
        const SOON: &str = "2026-06-12T00:00:00Z";
        const FAR: &str = "2026-07-01T00:00:00Z";
        for (new, known, replaces) in [
            (closure(NOON, SOON, true), closure(NOON, FAR, false), true),
            (closure(NOON, FAR, false), closure(NOON, SOON, true), false),
            (closure(NOON, FAR, true), closure(NOON, SOON, true), true),
            (closure(NOON, SOON, true), closure(NOON, FAR, true), false),
            (closure(NOON, FAR, false), closure(NOON, SOON, false), true),
            (closure(NOON, FAR, false), closure(NOON, FAR, false), false),
            (closure(NOON, FAR, true), closure(NOON, FAR, true), false),
            (closure(NOON, SOON, true), closure(LATER, FAR, false), false),
            // What is known is over.
            (closure(SOON, FAR, false), closure(NOON, SOON, true), true),
        ] {
            assert_eq!(new.replaces(&known), replaces, "{new:?} {known:?}");
        }
    }

    #[test]
    fn a_later_success_refutes_a_guess_and_of_the_same_model_the_providers_word() {
        let (before, after) = (at("2026-06-10T12:00:00Z"), at("2026-06-10T12:00:01Z"));
        let (same, other) = (ModelId::parse("opus").unwrap(), ModelId::parse("haiku").unwrap());
        let one = |is_reported| closure("2026-06-10T12:00:00Z", "2026-07-01T00:00:00Z", is_reported);
        for (is_reported, at, model, refuted) in [
            (false, before, Some(&same), false),
            (false, after, Some(&other), true),
            (true, after, Some(&other), false),
            (true, after, Some(&same), true),
            (true, after, None, true),
        ] {
            assert_eq!(one(is_reported).is_refuted_by(at, model), refuted, "{is_reported} {at} {model:?}");
        }
    }

    #[test]
    fn a_guess_is_probed_once_a_minute_and_the_providers_word_is_not() {
        let one = |is_reported| closure("2026-06-10T12:00:00Z", "2026-07-01T00:00:00Z", is_reported);
        let probe = Some(at("2026-06-10T12:01:00Z"));
        for (is_reported, now, last, probed) in [
            (false, "2026-06-10T12:00:59Z", None, false),
            (false, "2026-06-10T12:01:00Z", None, true),
            (false, "2026-06-10T12:01:59Z", probe, false),
            (false, "2026-06-10T12:02:00Z", probe, true),
            (true, "2026-06-20T12:00:00Z", None, false),
        ] {
            assert_eq!(one(is_reported).is_probed_at(at(now), last), probed, "{is_reported} {now}");
        }
    }

    #[test]
    fn refusals_that_go_on_after_a_reset_close_for_twice_as_long_each_time() {
        let month = Period { start: at("2027-01-01T00:00:00Z"), end: Some(at("2027-02-01T00:00:00Z")) };
        assert!(is_early(month, month.start) && is_early(month, at("2027-01-01T00:09:59Z")));
        assert!(!is_early(month, at("2027-01-01T00:10:00Z")));
        assert!(!is_early(Period::ONCE, DateTime::UNIX_EPOCH));
        let hour = Period { start: month.start, end: Some(at("2027-01-01T01:00:00Z")) };
        assert!(is_early(hour, at("2027-01-01T00:05:59Z")) && !is_early(hour, at("2027-01-01T00:06:00Z")));

        let mut known: Option<Closure> = Some(closure("2026-12-20T00:00:00Z", "2027-01-01T00:00:00Z", false));
        for (refused, until) in [
            ("2027-01-01T00:00:01Z", "2027-01-01T00:01:01Z"),
            // Under way at the same time.
            ("2027-01-01T00:00:30Z", "2027-01-01T00:01:01Z"),
            ("2027-01-01T00:01:02Z", "2027-01-01T00:03:02Z"),
            ("2027-01-01T00:03:03Z", "2027-01-01T00:07:03Z"),
        ] {
            let found = early_until(known.as_ref(), month, at(refused));
            assert_eq!(found, at(until), "{refused}");
            let new = closure(refused, until, false);
            known = known.filter(|known| !new.replaces(known)).or(Some(new));
        }
    }
}
