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

/// By how much a clock may differ from what the database has seen before that is worth a word.
const OFF_MIN: TimeDelta = TimeDelta::seconds(1);

/// A source of the present instant; clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    /// By how many microseconds it was ahead when it was last compared.
    ahead_us: Arc<AtomicI64>,
}

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::of(Source::System)
    }

    /// A clock that stands still until it is moved by hand.
    #[must_use]
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self::of(Source::Manual(Arc::new(AtomicI64::new(start.timestamp_micros()))))
    }

    fn of(source: Source) -> Self {
        Self { source, ahead_us: Arc::default() }
    }

    /// Compares an instant that this clock told with the one that a batch then got by what the database has seen, and with the
    /// clock of the database's server; keeps and answers by how much it is ahead, below zero if it is behind.
    ///
    /// A clock that is moved by hand is not compared with the server's.
    pub fn compare(&self, told: DateTime<Utc>, seen: DateTime<Utc>, server: DateTime<Utc>) -> TimeDelta {
        let is_machines = matches!(self.source, Source::System);
        let latest = if is_machines { seen.max(server) } else { seen };
        let behind = told.signed_duration_since(latest).min(TimeDelta::zero());
        let ahead = if is_machines { told.signed_duration_since(server) } else { TimeDelta::zero() };
        let off = if behind < TimeDelta::zero() { behind } else { ahead };
        self.ahead_us.store(off.num_microseconds().unwrap_or(i64::MAX), Ordering::Release);
        off
    }

    /// By how much it was off when it was last compared, if that was more than a second; below zero if it was behind.
    #[must_use]
    pub fn off(&self) -> Option<TimeDelta> {
        let off = TimeDelta::microseconds(self.ahead_us.load(Ordering::Acquire));
        (off.abs() > OFF_MIN).then_some(off)
    }

    /// The present instant, cut to whole microseconds; never before one that was told earlier.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.source {
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
        if let Source::Manual(now_us) = &self.source {
            let step_us = step.num_microseconds().unwrap_or(i64::MAX).max(0);
            // The closure always answers, so there is no failure to look at.
            let _ = now_us.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(now.saturating_add(step_us)));
        }
        self.now()
    }

    /// Moves a manual clock to an instant, if that is not in its past. Answers the new instant.
    pub fn advance_to(&self, instant: DateTime<Utc>) -> DateTime<Utc> {
        if let Source::Manual(now_us) = &self.source {
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
    fn a_clock_that_is_off_by_more_than_a_second_says_so() {
        let told = at("2026-03-29T12:00:00Z");
        let after = |ms: i64| told.checked_add_signed(TimeDelta::milliseconds(ms)).unwrap();
        // What the database has seen and what its server's clock is, in milliseconds after what was told; then by how much the
        // machine's clock, and one moved by hand, are ahead.
        for (seen, server, of_machine, by_hand) in [
            (0, 3, -3, 0),
            (900, 0, -900, -900),
            (5_000, 20, -5_000, -5_000),
            (0, -7_000, 7_000, 0),
            (0, 1_001, -1_001, 0),
        ] {
            for (clock, expected) in [(Clock::system(), of_machine), (Clock::manual(told), by_hand)] {
                let off = clock.compare(told, after(seen), after(server));
                assert_eq!(off.num_milliseconds(), expected, "{seen} {server}");
                assert_eq!(clock.off(), Some(off).filter(|_| i64::abs(expected) > 1_000), "{seen} {server}");
            }
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
