//! The verdict: may this call go ahead, how large, how soon.
//!
//! | # | beat | what |
//! |---|------|------|
//! | 1 | weigh | each hard budget that governs the call: does the whole estimate fit, would it fit once holds return, or is it gone; does its pace leave room now; has the run had its time |
//! | 2 | cap | if something does not fit and the call allows it: the largest output that fits every hard budget |
//! | 3 | wait or stop | wait if everything that binds has room again within [`WAIT_SECONDS_MAX`], or is only paced; otherwise stop |
//! | 4 | warn | thresholds, soft budgets, fallbacks: never refuse |
//! | 5 | advise | the band, and what is left of the budget that binds first |
//!
//! Pure: the instant, the standings and the tariff are arguments. A refusal is an answer, not an error.

mod longer;
mod reason;
mod remarks;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::catalogue::{Budget, BudgetNumber, Enforcement, Governing, HoldRule, Priority};
use super::counter::{Counter, Standing};
use super::coverage::NotCounted;
use super::measure::Consumption;
use super::promise::{LearnedHolds, Promise};
use super::scope::Dimensions;
use crate::domain::amounts::{BadAmount, Quantity, Tokens};
use crate::domain::calendar::PeriodSpec;
use crate::domain::learned::lesson::Lessons;
use crate::domain::pacing::advice::{Advice, Band};
use crate::domain::tariff::{Priced, Tariff, TariffError};
use crate::domain::usage::Usage;
pub use longer::{HeldBefore, held_too_long};
pub use reason::{Reason, ReasonCode};
use remarks::{advise_on, warn};

/// Longest wait that is asked for, in seconds. `OpenAI`'s SDK obeys a `Retry-After` of at most 120 s, and Anthropic's sleeps
/// for whatever it says, so nothing longer is ever sent.
pub const WAIT_SECONDS_MAX: u32 = 120;
/// How soon to ask again at the latest what is paced, in seconds: what is left to [`WAIT_SECONDS_MAX`] is for the jitter.
pub const PACED_RETRY_SECONDS: u32 = 80;
/// How soon to come back when only open reservations are in the way, in seconds: they end when their calls do.
pub const HOLD_RETRY_SECONDS: u32 = 5;

/// What the fleet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Go.
    Allow,
    /// Go, with a smaller output.
    Cap,
    /// Come back at the stated time.
    Wait,
    /// The budget is gone until it resets or is raised.
    Stop,
}

impl Verdict {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Cap, Self::Wait, Self::Stop];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Cap => "cap",
            Self::Wait => "wait",
            Self::Stop => "stop",
        }
    }

    /// Whether the call may be made.
    #[must_use]
    pub const fn grants(self) -> bool {
        match self {
            Self::Allow | Self::Cap => true,
            Self::Wait | Self::Stop => false,
        }
    }
}

/// When and whether to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Seconds from now, with jitter; at most [`WAIT_SECONDS_MAX`].
    pub after_seconds: u32,
    /// How many of them are jitter.
    pub jitter_seconds: u32,
    /// The instant there is room, without jitter.
    pub not_before: DateTime<Utc>,
}

/// What is asked.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The estimate, with `output` the most the call may generate.
    pub usage: Usage,
    /// The smallest output worth having.
    pub min_output: Tokens,
    /// Whether a smaller output is acceptable.
    pub allow_cap: bool,
    /// How urgent.
    pub priority: Priority,
    /// What such a call costs.
    pub tariff: &'a Tariff<'a>,
    /// Spreads retries apart: any number that differs between callers.
    pub jitter: u64,
    /// What budgets hold of it that do not hold the whole.
    pub holding: Holding<'a>,
    /// Whether somebody has stopped the run that the call is part of.
    pub is_run_stopped: bool,
    /// The budgets that would count the call if it said more.
    pub missing: &'a [NotCounted],
    /// For how long it is held, in seconds.
    pub hold_seconds: u32,
}

/// What budgets hold of a call.
#[derive(Debug)]
pub enum Holding<'a> {
    /// The whole, whatever their rule is.
    Whole,
    /// What their rule says: the call is new.
    ByRule {
        /// What calls like this one taught.
        lessons: &'a Lessons,
        /// The call.
        call: &'a Dimensions,
    },
    /// What they hold already, and what it grows by: the call is under way.
    Grown {
        /// The whole before.
        from: &'a Consumption,
        /// What is held of it.
        learned: &'a LearnedHolds,
        /// The budgets whose window of now counts that already: in all others the whole of it is new.
        counted: &'a BTreeSet<BudgetNumber>,
    },
}

impl Ask<'_> {
    /// What a budget holds of the call if it is granted at this price.
    ///
    /// # Errors
    /// When an amount is beyond what the ledger can keep.
    pub fn promise(&self, budget: &Budget, priced: &Priced) -> Result<Promise, Undecided> {
        let consumption = &priced.consumption;
        let whole = || -> Result<Promise, Undecided> { Ok(Promise::whole(budget.measure.of(consumption)?)) };
        match &self.holding {
            Holding::Whole => whole(),
            Holding::Grown { from, learned, .. } => {
                Ok(learned.grown(from, consumption)?.promise(budget, consumption)?)
            }
            Holding::ByRule { lessons, call } => {
                let Some(lesson) = lessons.of(call, budget.reserve) else { return whole() };
                let (requested, granted) = (self.usage.output, consumption.usage.output);
                let output = lesson.output(requested);
                if output >= granted {
                    return whole();
                }
                let likely = self.tariff.price(&Usage { output, ..consumption.usage }, 1, None)?;
                let (likely, whole) = (budget.measure.of(&likely.consumption)?, budget.measure.of(consumption)?);
                let mean = lesson.mean_overrun(requested, granted);
                Ok(Promise::learned(likely, whole, mean, budget.limit)?)
            }
        }
    }

    /// Whether the call is refused however small it is made.
    fn is_refused_whatever(&self) -> bool {
        self.is_run_stopped || self.missing.iter().any(|one| one.is_refused)
    }

    /// Whether the call takes nothing of what the budget counts: all of it, or what it grows by if it is under way and counted
    /// there. Then a limit is no obstacle, however little is left of it: only what closes or times a budget is.
    fn takes_nothing(&self, budget: &Budget, priced: &Priced, promise: Promise) -> Result<bool, Undecided> {
        match &self.holding {
            Holding::Grown { from, counted, .. } if counted.contains(&budget.number) => {
                Ok(budget.measure.of(&priced.consumption)? <= budget.measure.of(from)?)
            }
            Holding::Whole | Holding::ByRule { .. } | Holding::Grown { .. } => {
                Ok(promise.held <= Quantity::ZERO && promise.at_risk <= Quantity::ZERO)
            }
        }
    }

    /// What all budgets hold that do not hold the whole.
    ///
    /// # Errors
    /// When an amount is beyond what the ledger can keep.
    pub fn learned_holds(&self, budgets: &[Governing], priced: &Priced) -> Result<LearnedHolds, Undecided> {
        let mut learned = LearnedHolds::default();
        for one in budgets.iter().filter(|one| one.budget.reserve != HoldRule::Max) {
            learned.keep(&one.budget, self.promise(&one.budget, priced)?);
        }
        Ok(learned)
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The answer.
    pub verdict: Verdict,
    /// What was granted, or what was asked when nothing was.
    pub priced: Priced,
    /// The largest output that was granted; none when nothing was.
    pub max_output: Option<Tokens>,
    /// When to come back; only with `wait`.
    pub retry: Option<Retry>,
    /// When the budget that binds has room again; only with `stop`, and none if it never has.
    pub resets_at: Option<DateTime<Utc>>,
    /// Why, the headline first.
    pub reasons: Vec<Reason>,
    /// How far the budgets have come, for calls of this priority.
    pub band: Band,
    /// What is left of the budget that binds first; none if no hard budget governs the call.
    pub pace: Option<Advice>,
}

/// Why no verdict could be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// A number is beyond what the ledger can keep.
    #[error("an amount {0}")]
    Amount(#[from] BadAmount),
    /// The call cannot be priced.
    #[error(transparent)]
    Tariff(#[from] TariffError),
}

/// One hard budget that does not fit.
struct Obstacle {
    reason: Reason,
    room: RoomAgain,
}

/// When something that is in the way no longer is.
#[derive(Clone, Copy)]
enum RoomAgain {
    /// Never by waiting.
    Never,
    /// At an instant: waited for if that is soon.
    At(DateTime<Utc>),
    /// By a pace, at this instant or before: always waited for, by asking again and again.
    Paced(DateTime<Utc>),
}

/// Decides. See the module's table.
///
/// # Errors
/// When an amount is beyond what the ledger can keep.
pub fn decide(ask: &Ask<'_>, standings: &[Standing], now: DateTime<Utc>) -> Result<Ruling, Undecided> {
    let asked = ask.tariff.price(&ask.usage, 1, None)?;
    let never = |reason| Obstacle { reason, room: RoomAgain::Never };
    let stopped = ask.is_run_stopped.then(|| Reason::of(ReasonCode::RunStopped));
    let missing = ask.missing.iter().filter(|one| one.is_refused).map(Reason::missing);
    let whatever = stopped.into_iter().chain(missing).map(never);
    let obstacles: Vec<Obstacle> = whatever.chain(obstacles(ask, &asked, standings, now)?).collect();
    let mut ruling = if obstacles.is_empty() {
        granted(Verdict::Allow, asked, ask.usage.output)
    } else if let Some((output, priced)) = largest_output_that_fits(ask, standings, now)? {
        let mut ruling = granted(Verdict::Cap, priced, output);
        ruling.reasons = obstacles.into_iter().map(|o| Reason { code: ReasonCode::OutputCapped, ..o.reason }).collect();
        ruling
    } else {
        let obstacles = only_paced(ask, standings, now)?.unwrap_or(obstacles);
        refused(ask, asked, obstacles, now)
    };
    let held = ruling.priced;
    warn(&mut ruling, standings, |budget| ask.promise(budget, &held).ok());
    advise_on(&mut ruling, ask.priority, standings, now, |budget| ask.promise(budget, &held).ok());
    Ok(ruling)
}

/// What is held already stays granted, whatever became of its budgets since: allowed, with what warns.
///
/// `standings` are without the hold.
#[must_use]
pub fn keep(
    held: Priced,
    learned: &LearnedHolds,
    priority: Priority,
    standings: &[Standing],
    now: DateTime<Utc>,
) -> Ruling {
    let promise = |budget: &Budget| learned.promise(budget, &held.consumption).ok();
    let mut ruling = granted(Verdict::Allow, held, held.consumption.usage.output);
    warn(&mut ruling, standings, promise);
    advise_on(&mut ruling, priority, standings, now, promise);
    ruling
}

fn granted(verdict: Verdict, priced: Priced, output: Tokens) -> Ruling {
    Ruling {
        verdict,
        priced,
        max_output: Some(output),
        retry: None,
        resets_at: None,
        reasons: Vec::new(),
        band: Band::Green,
        pace: None,
    }
}

fn refused(ask: &Ask<'_>, asked: Priced, obstacles: Vec<Obstacle>, now: DateTime<Utc>) -> Ruling {
    let soon = now.checked_add_signed(TimeDelta::seconds(i64::from(WAIT_SECONDS_MAX))).unwrap_or(now);
    // What is paced is waited for however long, so that it does not turn a wait into a stop.
    let mut room_at = Some(now);
    let mut paced_until = None;
    for obstacle in &obstacles {
        match obstacle.room {
            RoomAgain::Never => room_at = None,
            RoomAgain::At(at) => room_at = room_at.map(|known| known.max(at)),
            RoomAgain::Paced(at) => paced_until = paced_until.max(Some(at)),
        }
    }
    let reasons = obstacles.into_iter().map(|obstacle| obstacle.reason).collect();
    let base = Ruling {
        verdict: Verdict::Stop,
        priced: asked,
        max_output: None,
        retry: None,
        resets_at: room_at.max(room_at.and(paced_until)),
        reasons,
        band: Band::Exhausted,
        pace: None,
    };
    match room_at {
        Some(known) if known <= soon => {
            let not_before = paced_until.map_or(known, |at| at.max(known));
            let retry = match paced_until {
                Some(_) => paced_retry(not_before, ask.jitter, now),
                None => retry(not_before, WAIT_SECONDS_MAX, ask.jitter, now),
            };
            Ruling { verdict: Verdict::Wait, retry: Some(retry), resets_at: None, band: Band::Red, ..base }
        }
        Some(_) | None => base,
    }
}

/// A retry of what is paced: soon enough to meet room that comes before it is expected, and with enough jitter left that a
/// fleet which is told to wait for the next day does not ask as one.
fn paced_retry(not_before: DateTime<Utc>, jitter: u64, now: DateTime<Utc>) -> Retry {
    retry(not_before, PACED_RETRY_SECONDS, jitter, now)
}

/// Whole seconds until `not_before`, at most so many, plus up to half as much again, so that a fleet does not come back as
/// one.
fn retry(not_before: DateTime<Utc>, most: u32, jitter: u64, now: DateTime<Utc>) -> Retry {
    let left = not_before.signed_duration_since(now);
    let begun = i64::from(left.subsec_nanos() > 0);
    let seconds = u32::try_from(left.num_seconds().saturating_add(begun)).unwrap_or(most).clamp(1, most);
    // Where half as much again would go beyond the longest wait, what is left of it is spread over evenly.
    let spread = (seconds / 2).min(WAIT_SECONDS_MAX.saturating_sub(seconds));
    let extra = jitter.checked_rem(u64::from(spread).saturating_add(1)).unwrap_or(0);
    let jitter_seconds = u32::try_from(extra).unwrap_or(0);
    Retry { after_seconds: seconds.saturating_add(jitter_seconds), jitter_seconds, not_before }
}

/// Every hard budget that the consumption does not fit.
fn obstacles(
    ask: &Ask<'_>,
    priced: &Priced,
    standings: &[Standing],
    now: DateTime<Utc>,
) -> Result<Vec<Obstacle>, Undecided> {
    let mut found = Vec::new();
    for standing in standings {
        if standing.governing.budget.enforcement == Enforcement::Soft {
            continue;
        }
        let budget = &standing.governing.budget;
        let asked = ask.promise(budget, priced)?;
        let is_free = ask.takes_nothing(budget, priced, asked)?;
        let hold_ceiling = budget.hold_ceiling(&priced.consumption, ask.hold_seconds);
        found.extend(obstacle(asked, is_free, hold_ceiling, ask.priority, standing, now));
    }
    Ok(found)
}

fn obstacle(
    asked: Promise,
    is_free: bool,
    hold_ceiling: Option<Quantity>,
    priority: Priority,
    standing: &Standing,
    now: DateTime<Utc>,
) -> Option<Obstacle> {
    let budget = &standing.governing.budget;
    if let Some(over) = time_over(standing, now) {
        return Some(over);
    }
    if let Some(until) = closed_until(standing, now) {
        let (asked, available) = (Some(asked.held), Some(Quantity::ZERO));
        let budget = Some(budget.id.clone());
        let reason = Reason { budget, asked, available, ..Reason::of(ReasonCode::ClosedByProvider) };
        return Some(Obstacle { reason, room: RoomAgain::At(until) });
    }
    if is_free {
        return None;
    }
    if let Some(most) = hold_ceiling.filter(|most| asked.held > *most) {
        let (budget, asked) = (Some(budget.id.clone()), Some(asked.held));
        let reason = Reason { budget, asked, available: Some(most), ..Reason::of(ReasonCode::HoldTooLarge) };
        return Some(Obstacle { reason, room: RoomAgain::Never });
    }
    let ceiling = budget.ceiling(priority);
    if standing.has_room(asked, ceiling) {
        return paced(asked, priority, standing, now);
    }
    let available = Some(standing.left_of(ceiling));
    let needed = Some(needed(asked, standing.total, budget.limit));
    let reason = |code| Reason { budget: Some(budget.id.clone()), asked: needed, available, ..Reason::of(code) };
    if !standing.could_ever_have_room(asked, ceiling) {
        return Some(Obstacle { reason: reason(ReasonCode::LargerThanLimit), room: RoomAgain::Never });
    }
    if standing.has_room_without_holds(asked, ceiling) {
        let again = now.checked_add_signed(TimeDelta::seconds(i64::from(HOLD_RETRY_SECONDS)));
        let room = again.map_or(RoomAgain::Never, RoomAgain::At);
        return Some(Obstacle { reason: reason(ReasonCode::HeldByOthers), room });
    }
    let within_limit = standing.has_room(asked, budget.limit);
    let code = if within_limit { ReasonCode::PriorityFloor } else { ReasonCode::LimitReached };
    let room = room_at(asked, ceiling, standing).map_or(RoomAgain::Never, RoomAgain::At);
    Some(Obstacle { reason: reason(code), room })
}

/// A run that has gone on for as long as it may.
fn time_over(standing: &Standing, now: DateTime<Utc>) -> Option<Obstacle> {
    let budget = &standing.governing.budget;
    let (most, opened_at) = budget.max_seconds.zip(standing.opened_at)?;
    let gone_on = now.signed_duration_since(opened_at);
    if gone_on < TimeDelta::seconds(i64::from(most)) {
        return None;
    }
    let reason = Reason {
        budget: Some(budget.id.clone()),
        asked: Quantity::new(gone_on.num_seconds().into()).ok(),
        available: Quantity::new(most.into()).ok(),
        ..Reason::of(ReasonCode::RunTimeOver)
    };
    Some(Obstacle { reason, room: RoomAgain::Never })
}

/// The level of a pace, if the call would go beyond it.
fn paced(asked: Promise, priority: Priority, standing: &Standing, now: DateTime<Utc>) -> Option<Obstacle> {
    let level = pace_level(asked, priority, standing, now)?;
    if standing.has_room(asked, level) {
        return None;
    }
    let paced = standing.pace.as_ref()?;
    let needed = needed(asked, standing.total, standing.governing.budget.limit);
    let limit = standing.governing.budget.limit;
    let wanted = standing.total.hold(asked).and_then(|with| with.claimed(limit)).unwrap_or(Quantity::MAX);
    let again = paced.rooms.of(priority).map(|room| paced.pace.reaches(wanted, room, now))?;
    let reason = Reason {
        budget: Some(standing.governing.budget.id.clone()),
        asked: Some(needed),
        available: Some(standing.left_of(level)),
        ..Reason::of(ReasonCode::Paced)
    };
    Some(Obstacle { reason, room: RoomAgain::Paced(again) })
}

/// What is in the way of the smallest output worth having, if that is nothing but paces: then the limit stops nobody, though
/// it would not take the whole estimate.
fn only_paced(ask: &Ask<'_>, standings: &[Standing], now: DateTime<Utc>) -> Result<Option<Vec<Obstacle>>, Undecided> {
    let is_paced = standings.iter().any(|standing| standing.pace.is_some());
    if !is_paced || !ask.allow_cap || ask.min_output >= ask.usage.output || ask.is_refused_whatever() {
        return Ok(None);
    }
    let least = ask.tariff.price(&Usage { output: ask.min_output, ..ask.usage }, 1, None)?;
    let found = obstacles(ask, &least, standings, now)?;
    Ok(found.iter().all(|obstacle| matches!(obstacle.room, RoomAgain::Paced(_))).then_some(found))
}

fn pace_level(asked: Promise, priority: Priority, standing: &Standing, now: DateTime<Utc>) -> Option<Quantity> {
    if asked.held <= Quantity::ZERO {
        return None;
    }
    standing.pace.as_ref()?.level(priority, now)
}

/// Until when the provider has closed the quota, whatever our counters say.
fn closed_until(standing: &Standing, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    standing.governing.closed_until.filter(|until| *until > now)
}

/// How much less is left once this is granted: what is held, and what is kept aside for it.
fn needed(asked: Promise, total: Counter, limit: Quantity) -> Quantity {
    let aside = |counter: Counter| counter.kept_aside(limit);
    let more = total.hold(asked).map(|with| aside(with).saturating_sub(aside(total))).unwrap_or_default();
    asked.held.saturating_add(more)
}

/// When enough of the window has passed: the period's end, or for a sliding window the instant at which its oldest
/// slices that are in the way have left it.
fn room_at(asked: Promise, ceiling: Quantity, standing: &Standing) -> Option<DateTime<Utc>> {
    let PeriodSpec::Sliding { seconds } = &standing.governing.budget.period else {
        return standing.governing.period.end;
    };
    let window = TimeDelta::seconds(i64::from(seconds.get()));
    // What is left when a slice leaves is what the younger ones hold. The oldest slice that leaves room leaves first.
    let limit = standing.governing.budget.limit;
    let (mut kept, mut room) = (Counter::default().hold(asked).ok()?, None);
    for (slice, counter) in standing.slices.iter().rev() {
        if kept.claimed(limit).is_ok_and(|claimed| claimed <= ceiling) {
            room = slice.end.and_then(|end| end.checked_add_signed(window));
        }
        kept = kept.saturating_add(counter.without_credit());
    }
    room
}

/// Halves the range between the smallest output worth having and the one asked, which is known not to fit.
///
/// Every measure grows with the output (prices and emission models are monotone within a call's input), so the halving
/// finds the largest output that fits.
fn largest_output_that_fits(
    ask: &Ask<'_>,
    standings: &[Standing],
    now: DateTime<Utc>,
) -> Result<Option<(Tokens, Priced)>, Undecided> {
    let fits = |output: Tokens| -> Result<Option<Priced>, Undecided> {
        let priced = ask.tariff.price(&Usage { output, ..ask.usage }, 1, None)?;
        for standing in standings {
            let budget = &standing.governing.budget;
            if budget.enforcement == Enforcement::Hard {
                let asked = ask.promise(budget, &priced)?;
                let wall = budget.ceiling(ask.priority);
                let ceiling = pace_level(asked, ask.priority, standing, now).map_or(wall, |level| level.min(wall));
                let holds = budget.hold_ceiling(&priced.consumption, ask.hold_seconds);
                let has_room = ask.takes_nothing(budget, &priced, asked)?
                    || (standing.has_room(asked, ceiling) && holds.is_none_or(|most| asked.held <= most));
                if closed_until(standing, now).is_some() || !has_room {
                    return Ok(None);
                }
            }
        }
        Ok(Some(priced))
    };
    let is_over = ask.is_refused_whatever() || standings.iter().any(|standing| time_over(standing, now).is_some());
    if !ask.allow_cap || ask.min_output >= ask.usage.output || is_over {
        return Ok(None);
    }
    let Some(mut priced) = fits(ask.min_output)? else { return Ok(None) };
    let (mut fitting, mut too_large) = (ask.min_output.count(), ask.usage.output.count());
    while too_large.saturating_sub(fitting) > 1 {
        let middle = fitting.midpoint(too_large);
        match fits(Tokens::new(middle)?)? {
            Some(smaller) => (fitting, priced) = (middle, smaller),
            None => too_large = middle,
        }
    }
    Ok(Some((Tokens::new(fitting)?, priced)))
}
