//! Advice: what a fleet is told about the budget that binds it first, so that it slows down before it is told to wait.

use chrono::{DateTime, Utc};

use super::pace::Permille;
use crate::domain::amounts::Quantity;
use crate::domain::budget::catalogue::Priority;
use crate::domain::budget::counter::Standing;
use crate::domain::id::BudgetId;

/// For how long the room of a pace is told, in seconds: about as long as the next pace takes to come.
pub const PACE_WINDOW_SECONDS: u32 = 60;
/// Most calls at once that are advised: beyond it the budget is not what bounds them.
pub const CONCURRENCY_MAX: u32 = 10_000;

/// How far a budget has come, for whoever paints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Band {
    /// There is room.
    Green,
    /// There is, but it is getting tight: a threshold is passed, a soft limit is, or calls of this priority are slowed down.
    Amber,
    /// Nothing now: calls of this priority must wait.
    Red,
    /// Nothing until something resets, or is changed by people.
    Exhausted,
}

impl Band {
    /// All, from the best.
    pub const ALL: [Self; 4] = [Self::Green, Self::Amber, Self::Red, Self::Exhausted];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
            Self::Exhausted => "exhausted",
        }
    }
}

/// What is left of one budget for calls of one priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The budget that binds first.
    pub budget: BudgetId,
    /// The name of its measure, and so of the unit.
    pub measure: &'static str,
    /// For how many seconds there is no more than that; none for a budget that never resets.
    pub window_seconds: Option<u32>,
    /// How much calls of this priority may take in that time, all callers of the counter together.
    pub units_available: Quantity,
    /// How much of what they are expected to ask for that is.
    pub pass_through: Permille,
    /// How many calls as large as this one fit at once.
    pub max_concurrency: u32,
    /// Until when this holds; none for ever.
    pub valid_until: Option<DateTime<Utc>>,
}

/// What one budget leaves for calls of a priority, once `granted` more is taken of it. `asked` is the size of the call.
#[must_use]
pub fn advise(
    standing: &Standing,
    priority: Priority,
    asked: Quantity,
    granted: Quantity,
    now: DateTime<Utc>,
) -> Advice {
    let budget = &standing.governing.budget;
    let wall = budget.ceiling(priority);
    let until_reset = standing.governing.period.end.map(|end| seconds_until(end, now));
    let paced = standing.pace.as_ref().and_then(|paced| paced.rooms.of(priority).map(|room| (&paced.pace, room)));
    let free = |level: Quantity| standing.left_of(level.min(wall)).saturating_sub(granted).max(Quantity::ZERO);
    let (units, window, passes, valid_until) = match paced {
        Some((pace, room)) => {
            let window = PACE_WINDOW_SECONDS.min(until_reset.unwrap_or(PACE_WINDOW_SECONDS));
            let end = now.checked_add_signed(chrono::TimeDelta::seconds(i64::from(window))).unwrap_or(now);
            (free(pace.level(room, end)), Some(window), room.pass_through, Some(pace.valid_until))
        }
        None => (free(wall), until_reset, Permille::ALL, standing.governing.period.end),
    };
    Advice {
        budget: budget.id.clone(),
        measure: budget.measure.name(),
        window_seconds: window,
        units_available: units,
        pass_through: if units == Quantity::ZERO { Permille::NONE } else { passes },
        max_concurrency: calls_that_fit(units, asked),
        valid_until,
    }
}

/// Whole seconds until an instant, at least one.
fn seconds_until(at: DateTime<Utc>, now: DateTime<Utc>) -> u32 {
    let left = at.signed_duration_since(now).num_seconds().max(1);
    u32::try_from(left).unwrap_or(u32::MAX)
}

fn calls_that_fit(units: Quantity, asked: Quantity) -> u32 {
    use rust_decimal::prelude::ToPrimitive as _;
    if units == Quantity::ZERO {
        return 0;
    }
    let whole = units.decimal().checked_div(asked.decimal()).map(|calls| calls.trunc());
    whole.and_then(|calls| calls.to_u32()).unwrap_or(CONCURRENCY_MAX).min(CONCURRENCY_MAX)
}
