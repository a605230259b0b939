//! How many commands a batch may hold while several parties ask, so that none waits long for what another one sends.
//!
//! A command that arrives waits for the batch under way and is decided in the next one. Alone a party may fill whole batches:
//! that is what makes bulk requests quick. While others ask too, a batch holds what took [`SHARED_TIME`] in the last ones.

use std::time::Duration;

use tokio::time::Instant;

use super::BATCH_MAX;

/// How long a batch may take, about, while several parties ask: the time of a batch of some hundred single commands.
const SHARED_TIME: Duration = Duration::from_millis(20);
/// For how long after a batch of several parties others are expected.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// Fewest places of a batch: below this most of its time is not for its commands.
const PLACES_MIN: usize = 16;
/// A new time weighs as much as so many old ones.
const OLD_TIMES: u32 = 3;

/// The length of the next batch.
#[derive(Debug, Default)]
pub(super) struct Length {
    /// How long a place of a batch took, in the mean of the last ones.
    of_place: Option<Duration>,
    /// When a batch last held commands of several parties.
    shared_at: Option<Instant>,
}

impl Length {
    /// How many places the next batch has.
    pub(super) fn places(&self, now: Instant) -> usize {
        let is_shared = self.shared_at.is_some_and(|at| now.saturating_duration_since(at) < SHARED_FOR);
        let Some(of_place) = self.of_place.filter(|_| is_shared) else { return BATCH_MAX };
        let places = SHARED_TIME.as_nanos().checked_div(of_place.as_nanos()).unwrap_or(u128::MAX);
        usize::try_from(places).unwrap_or(BATCH_MAX).clamp(PLACES_MIN, BATCH_MAX)
    }

    /// A batch took so long for so many places.
    pub(super) fn note(&mut self, took: Duration, places: usize, is_shared: bool, now: Instant) {
        if is_shared {
            self.shared_at = Some(now);
        }
        let Some(of_place) = u32::try_from(places).ok().and_then(|places| took.checked_div(places)) else { return };
        let old = self.of_place.unwrap_or(of_place);
        self.of_place = old.saturating_mul(OLD_TIMES).saturating_add(of_place).checked_div(OLD_TIMES.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_short_while_several_parties_ask_and_whole_when_one_does() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        // how long a batch of a hundred places takes, in ms | places while others ask
        for (took, places) in [(4, 500), (10, 200), (100, 20), (10_000, PLACES_MIN), (0, BATCH_MAX)] {
            let mut length = Length::default();
            assert_eq!(length.places(start), BATCH_MAX, "nothing is known");
            length.note(ms(took), 100, false, start);
            assert_eq!(length.places(start), BATCH_MAX, "alone");
            length.note(ms(took), 100, true, start);
            assert_eq!(length.places(start), places, "{took} ms");
            assert_eq!(length.places(start + SHARED_FOR), BATCH_MAX, "no other party has asked for a while");
        }
    }

    #[test]
    fn one_batch_that_took_long_does_not_make_the_next_ones_short_for_good() {
        let start = Instant::now();
        let mut length = Length::default();
        for _ in 0..10 {
            length.note(Duration::from_millis(10), 100, true, start);
        }
        length.note(Duration::from_secs(1), 100, true, start);
        assert!(length.places(start) < 20);
        for _ in 0..20 {
            length.note(Duration::from_millis(10), 100, true, start);
        }
        assert!(length.places(start) > 150, "{}", length.places(start));
        length.note(Duration::from_secs(1), 0, true, start);
        assert!(length.places(start) > 150, "an empty one says nothing");
    }
}
