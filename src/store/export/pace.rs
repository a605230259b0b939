//! How an export gives way: how large a page is, and how long the rest after it.
//!
//! Who wants a core that is taken waits for the end of the other's time slice: milliseconds, which no priority shortens and which
//! are longer than a verdict takes. So where verdicts are asked for, an export works for less than one millisecond at a
//! time, and rests for several; where nobody asks for any it works on. Whether somebody does, it learns from the numbers of the
//! batches that lanes write: those of every replica, whichever process exports.
//!
//! Why these figures: `docs/reference/benchmarks.md`, "What runs beside".

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long after a batch more of them are expected.
const BUSY: Duration = Duration::from_secs(1);
/// How long verdicts are expected to be asked for while nothing is known yet.
const UNKNOWN: Duration = Duration::from_millis(100);
/// How many times as long as it worked an export rests.
const RESTS: u32 = 8;
/// Longest time that counts as work at a stretch: beyond it the reader of the file was waited for.
const STRETCH_MAX: Duration = Duration::from_millis(5);

/// Longest time that an export rests before the head of its answer is told: whoever asked is told within 30 seconds or not at
/// all, and a journal may be so long that adding it up at rest takes longer.
const HEAD_RESTS_MAX: Duration = Duration::from_secs(10);

/// What is done with the rows of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// They are brought here.
    Bring,
    /// The database adds them up, which is less work for each.
    AddUp,
}

impl Use {
    /// While verdicts are asked for: less than half a millisecond of the database.
    const fn beside(self) -> Stride {
        match self {
            Self::Bring => Stride { rows: 128, pages: 16 },
            Self::AddUp => Stride { rows: 256, pages: 8 },
        }
    }

    /// While nobody asks for any.
    const fn alone(self) -> Stride {
        match self {
            Self::Bring | Self::AddUp => Stride { rows: 1_024, pages: 4 },
        }
    }
}

/// How far an export goes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stride {
    /// Rows of a page.
    pub(super) rows: i64,
    /// Pages that are looked ahead for, and after which is looked whether somebody asks for verdicts.
    pub(super) pages: i64,
}

/// How fast an export goes. Clones are of the same export.
#[derive(Debug, Clone)]
pub struct Pace {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// What the numbers of the batches of all lanes added up to when they were last looked at.
    batches: Option<i64>,
    /// Until when verdicts are expected to be asked for.
    busy_until: Option<Instant>,
    /// Since when it works.
    since: Instant,
    /// How long it may still rest; without an end once the head of its answer is told.
    left: Option<Duration>,
}

impl State {
    /// Beyond the end of the clock nothing is known, and nobody is in the way.
    fn is_busy(&self, now: Instant) -> bool {
        self.busy_until.is_some_and(|until| now < until)
    }

    /// What is to be rested now for the work since the last rest.
    fn owed(&self, now: Instant) -> Duration {
        if self.is_busy(now) {
            let owed = now.saturating_duration_since(self.since).min(STRETCH_MAX).saturating_mul(RESTS);
            self.left.map_or(owed, |left| left.min(owed))
        } else {
            Duration::ZERO
        }
    }

    /// Takes note of a rest, and works again.
    fn rested(&mut self, began: Instant, now: Instant) {
        self.left = self.left.map(|left| left.saturating_sub(now.saturating_duration_since(began)));
        self.since = now;
    }
}

impl Pace {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let left = Some(HEAD_RESTS_MAX);
        let state = State { batches: None, busy_until: now.checked_add(UNKNOWN), since: now, left };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn with<Told>(&self, tell: impl FnOnce(&mut State) -> Told) -> Told {
        // Whoever panicked with it left numbers that are each as good as before.
        tell(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes note of the numbers of the batches of all lanes, added up.
    pub(super) fn saw(&self, batches: i64) {
        self.with(|state| {
            if state.batches.replace(batches).is_some_and(|before| before != batches) {
                state.busy_until = Instant::now().checked_add(BUSY);
            }
        });
    }

    /// The head of the answer is told: from now on there is time for every rest.
    pub fn head_is_told(&self) {
        self.with(|state| state.left = None);
    }

    /// How far to go now.
    pub(super) fn stride(&self, of: Use) -> Stride {
        if self.with(|state| state.is_busy(Instant::now())) { of.beside() } else { of.alone() }
    }

    /// Lets verdicts go first, if somebody asks for some: to be called between pieces of work of less than a millisecond.
    pub async fn rest(&self) {
        let began = Instant::now();
        let owed = self.with(|state| state.owed(began));
        if !owed.is_zero() {
            tokio::time::sleep(owed).await;
        }
        self.with(|state| state.rested(began, Instant::now()));
    }

    /// The same in the middle of what cannot be left: blocks the thread, which has to be the export's own.
    pub fn rest_here(&self) {
        let began = Instant::now();
        let owed = self.with(|state| state.owed(began));
        if !owed.is_zero() {
            std::thread::sleep(owed);
        }
        self.with(|state| state.rested(began, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(batches: Option<i64>) -> Pace {
        let state = State { batches, busy_until: None, since: Instant::now(), left: None };
        Pace { state: Arc::new(Mutex::new(state)) }
    }

    #[test]
    fn who_knows_nothing_yet_expects_verdicts() {
        assert_eq!(Pace::new().stride(Use::Bring), Use::Bring.beside());
    }

    #[test]
    fn batches_are_what_tells_of_verdicts() {
        let pace = state(None);
        pace.saw(7);
        assert_eq!(pace.stride(Use::AddUp), Use::AddUp.alone(), "one number says nothing");
        pace.saw(7);
        assert_eq!(pace.stride(Use::AddUp), Use::AddUp.alone(), "no batch since");
        pace.saw(8);
        assert_eq!(pace.stride(Use::AddUp), Use::AddUp.beside());
        let other = state(Some(8));
        other.saw(5);
        assert_eq!(
            other.stride(Use::Bring),
            Use::Bring.beside(),
            "a lane that is gone was forgotten: something was written"
        );
    }

    #[test]
    fn rest_is_owed_for_work_and_only_beside_verdicts() {
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        let mut state = State { batches: Some(1), busy_until: None, since: began, left: None };
        assert_eq!(state.owed(after(2)), Duration::ZERO);
        state.busy_until = Some(after(10));
        assert_eq!(state.owed(after(2)), Duration::from_millis(2) * RESTS);
        assert_eq!(state.owed(after(9)), STRETCH_MAX * RESTS, "who takes the file was waited for");
        assert_eq!(state.owed(after(10)), Duration::ZERO, "nobody asks any more");
    }

    #[test]
    fn until_the_head_is_told_rests_add_up_to_no_more_than_whoever_waits_has() {
        let began = Instant::now();
        let busy_until = began.checked_add(Duration::from_secs(3_600));
        let mut state = State { batches: Some(1), busy_until, since: began, left: Some(HEAD_RESTS_MAX) };
        let (mut now, mut rested) = (began, Duration::ZERO);
        for _page in 0..10_000 {
            now += Duration::from_millis(1);
            let owed = state.owed(now);
            state.rested(now, now + owed);
            now += owed;
            rested += owed;
        }
        assert_eq!(rested, HEAD_RESTS_MAX);
        let pace = Pace { state: Arc::new(Mutex::new(state)) };
        pace.head_is_told();
        let owed = pace.with(|state| state.owed(now + Duration::from_millis(1)));
        assert_eq!(owed, Duration::from_millis(1) * RESTS);
    }

    #[tokio::test]
    async fn what_was_rested_for_is_not_owed_again() {
        let pace = Pace::new();
        let worked = Duration::from_micros(200);
        std::thread::sleep(worked);
        let began = Instant::now();
        pace.rest().await;
        assert!(began.elapsed() >= worked * RESTS);
        assert!(pace.with(|state| state.since) >= began + worked * RESTS);
    }
}
