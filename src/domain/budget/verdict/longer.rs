//! More time for what is held: what one reservation may hold of a budget depends on for how long.

use chrono::{DateTime, Utc};

use super::{Ask, Obstacle, Reason, ReasonCode, RoomAgain, Ruling, Undecided, refused};
use crate::domain::budget::counter::Standing;
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::promise::LearnedHolds;

/// What is held before, and for how long in all.
#[derive(Debug, Clone, Copy)]
pub struct HeldBefore<'a> {
    /// The whole.
    pub consumption: &'a Consumption,
    /// What is held of it.
    pub learned: &'a LearnedHolds,
    /// From its grant to its end, in seconds.
    pub seconds: u32,
}

/// The refusal of more time, where a budget would let no reservation hold so much for so long.
///
/// It does not matter whether the call takes more of what the budget counts. What was beyond that before, because the budget was changed since, goes on: it was granted.
///
/// # Errors
/// When an amount is beyond what the ledger can keep.
pub fn held_too_long(
    ask: &Ask<'_>,
    before: HeldBefore<'_>,
    standings: &[Standing],
    now: DateTime<Utc>,
) -> Result<Option<Ruling>, Undecided> {
    let asked = ask.tariff.price(&ask.usage, 1, None)?;
    let mut obstacles = Vec::new();
    for standing in standings {
        let budget = &standing.governing.budget;
        let held_before = before.learned.promise(budget, before.consumption)?.held;
        let was_beyond = budget.hold_ceiling(before.consumption, before.seconds).is_some_and(|most| held_before > most);
        let held = ask.promise(budget, &asked)?.held;
        let most = budget.hold_ceiling(&asked.consumption, ask.hold_seconds).filter(|most| held > *most);
        if let (Some(most), false) = (most, was_beyond) {
            let (budget, asked) = (Some(budget.id.clone()), Some(held));
            let reason = Reason { budget, asked, available: Some(most), ..Reason::of(ReasonCode::HoldTooLarge) };
            obstacles.push(Obstacle { reason, room: RoomAgain::Never });
        }
    }
    Ok((!obstacles.is_empty()).then(|| refused(ask, asked, obstacles, now)))
}
