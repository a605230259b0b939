//! The only reader of the time.
//!
//! Instants have whole microseconds, as Postgres keeps them: what is read back equals what was written.
//! Time never runs backwards within a process, also when the machine's clock is set back: a reservation cannot be settled
//! before it was granted.
//! Deliberately absent: zones (`domain/calendar`), and waiting.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};

/// The latest instant that any system clock of this process has told, in microseconds since 1970.
static LATEST_US: AtomicI64 = AtomicI64::new(i64::MIN);

/// A source of the present instant; clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is moved by hand.
    #[must_use]
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.timestamp_micros()))))
    }

    /// The present instant, cut to whole microseconds; never before one that was told earlier.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => {
                #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
                let now_us = Utc::now().timestamp_micros();
                from_micros(LATEST_US.fetch_max(now_us, Ordering::AcqRel).max(now_us))
            }
            Source::Manual(now_us) => from_micros(now_us.load(Ordering::Acquire)),
        }
    }

    /// Moves a manual clock forward; a negative step moves nothing, and so does any step of the system's clock.
    ///
    /// Answers the new instant.
    pub fn advance(&self, step: TimeDelta) -> DateTime<Utc> {
        if let Source::Manual(now_us) = &self.0 {
            let step_us = step.num_microseconds().unwrap_or(i64::MAX).max(0);
            // The closure always answers, so there is no failure to look at.
            let _ = now_us.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(now.saturating_add(step_us)));
        }
        self.now()
    }

    /// Moves a manual clock to an instant, if that is not in its past. Answers the new instant.
    pub fn advance_to(&self, instant: DateTime<Utc>) -> DateTime<Utc> {
        if let Source::Manual(now_us) = &self.0 {
            now_us.fetch_max(instant.timestamp_micros(), Ordering::AcqRel);
        }
        self.now()
    }
}

fn from_micros(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_system_clock_tells_whole_microseconds_and_never_goes_back() {
        let clocks = [Clock::system(), Clock::system()];
        let mut before = clocks[0].now();
        for round in 0..10_000 {
            let now = clocks[round % 2].now();
            assert!(now >= before);
            assert_eq!(now.timestamp_subsec_nanos() % 1_000, 0);
            before = now;
        }
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_only_forward() {
        let clock = Clock::manual(at("2026-03-29T00:59:59.123456789Z"));
        let clone = clock.clone();
        assert_eq!(clock.now(), at("2026-03-29T00:59:59.123456Z"));
        assert_eq!(clock.advance(TimeDelta::seconds(1)), at("2026-03-29T01:00:00.123456Z"));
        assert_eq!(clone.now(), clock.now());
        assert_eq!(clock.advance(TimeDelta::seconds(-5)), clone.now());
        assert_eq!(clock.advance_to(at("2026-03-28T00:00:00Z")), at("2026-03-29T01:00:00.123456Z"));
        assert_eq!(clock.advance_to(at("2027-01-01T00:00:00Z")), at("2027-01-01T00:00:00Z"));
        assert_eq!(clock.advance(TimeDelta::MAX), DateTime::<Utc>::MAX_UTC);
    }
}
