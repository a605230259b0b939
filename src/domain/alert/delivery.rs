//! When an event is tried again, and when an endpoint is paused.

use chrono::{DateTime, TimeDelta, Utc};

/// The first wait after a failed attempt.
pub const RETRY_FIRST: TimeDelta = TimeDelta::seconds(5);
/// The longest wait between two attempts, before jitter.
pub const RETRY_WAIT_MAX: TimeDelta = TimeDelta::hours(6);
/// By how much each wait is longer than the one before.
const RETRY_FACTOR: i32 = 3;
/// How long an event is tried; then it is given up, which its endpoint shows.
pub const DELIVERY_TIME_MAX: TimeDelta = TimeDelta::days(3);
/// Failed attempts in a row after which an endpoint is paused, if they took at least [`PAUSE_AFTER_TIME_MIN`].
pub const PAUSE_AFTER_FAILURES_MIN: u32 = 10;
/// How long an endpoint must have failed before it is paused.
pub const PAUSE_AFTER_TIME_MIN: TimeDelta = TimeDelta::hours(1);
/// How often a paused endpoint is tried with one event, to see whether it takes events again.
pub const PROBE_INTERVAL: TimeDelta = TimeDelta::hours(6);
/// The status with which an endpoint says that it wants no more: it is paused at once (Standard Webhooks 1.0.0),
/// and not tried again by itself.
pub const GONE: u16 = 410;

/// How long to wait after the `failures`th failed attempt in a row.
///
/// [`RETRY_FIRST`] times three for each one before, at most
/// [`RETRY_WAIT_MAX`]; and up to a quarter more by `seed`, so that what failed together does not come back together.
#[must_use]
pub fn retry_wait(failures: u32, seed: u64) -> TimeDelta {
    let mut wait = RETRY_FIRST;
    for _ in 1..failures.min(64) {
        wait = wait.checked_mul(RETRY_FACTOR).map_or(RETRY_WAIT_MAX, |longer| longer.min(RETRY_WAIT_MAX));
    }
    let quarter_ms = wait.num_milliseconds().checked_div(4).unwrap_or(0);
    let spread = u64::try_from(quarter_ms).unwrap_or(0).saturating_add(1);
    let jitter = mixed(seed, failures).checked_rem(spread).unwrap_or(0);
    wait.checked_add(&TimeDelta::milliseconds(i64::try_from(jitter).unwrap_or(0))).unwrap_or(wait)
}

/// A number that looks like chance (the finalizer of splitmix64: Steele, Lea, Flood 2014).
fn mixed(seed: u64, failures: u32) -> u64 {
    let mut z = seed ^ u64::from(failures).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How an endpoint has fared since it last took an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Failed attempts in a row, over all its events.
    pub failures: u32,
    /// When the first of them was made.
    pub failing_since: Option<DateTime<Utc>>,
}

impl Health {
    /// After one failed attempt more.
    #[must_use]
    pub fn failed(self, now: DateTime<Utc>) -> Self {
        Self { failures: self.failures.saturating_add(1), failing_since: self.failing_since.or(Some(now)) }
    }

    /// Whether an endpoint that fares so is to be paused.
    #[must_use]
    pub fn is_hopeless(self, now: DateTime<Utc>, status: Option<u16>) -> bool {
        let long = self.failing_since.is_some_and(|since| now.signed_duration_since(since) >= PAUSE_AFTER_TIME_MIN);
        status == Some(GONE) || (self.failures >= PAUSE_AFTER_FAILURES_MIN && long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_threefold_to_six_hours_and_jitter_adds_at_most_a_quarter() {
        let mut base = 5_000;
        for failures in 1..20 {
            for seed in 0..500 {
                let wait = retry_wait(failures, seed).num_milliseconds();
                assert!((base..=base + base / 4).contains(&wait), "{failures}: {wait}");
            }
            base = (base * 3).min(6 * 3_600_000);
        }
        let distinct: std::collections::BTreeSet<_> = (0..500).map(|seed| retry_wait(5, seed)).collect();
        assert!(distinct.len() > 450, "{}", distinct.len());
        assert!(retry_wait(u32::MAX, u64::MAX) <= TimeDelta::minutes(450));
    }

    #[test]
    fn an_endpoint_is_paused_after_ten_failures_over_an_hour_or_when_it_is_gone() {
        let start: DateTime<Utc> = "2026-06-10T12:00:00Z".parse().unwrap();
        let mut health = Health::default();
        for n in 0..50 {
            health = health.failed(start + TimeDelta::seconds(n));
            assert!(!health.is_hopeless(start + TimeDelta::seconds(n), Some(500)), "fifty in a minute are one outage");
        }
        assert!(health.is_hopeless(start + TimeDelta::hours(1), None));
        let slow = Health { failures: 9, failing_since: Some(start) };
        assert!(!slow.is_hopeless(start + TimeDelta::days(1), Some(500)), "nine attempts are too few to tell");
        assert!(Health::default().failed(start).is_hopeless(start, Some(GONE)));
    }
}
