//! What a ruling says beside its verdict: what warns, and how much is left. Nothing here grants or refuses.

use chrono::{DateTime, Utc};

use super::{Reason, ReasonCode, Ruling, needed};
use crate::domain::amounts::Quantity;
use crate::domain::budget::catalogue::{Budget, Enforcement, Priority};
use crate::domain::budget::counter::Standing;
use crate::domain::budget::promise::Promise;
use crate::domain::pacing::advice::{Advice, Band, advise};
use crate::domain::pacing::pace::Permille;
use crate::domain::tariff::Flags;

/// Adds what warns but never refuses. Thresholds look at the budget as it stands with this call in it.
pub(super) fn warn(ruling: &mut Ruling, standings: &[Standing], promise: impl Fn(&Budget) -> Option<Promise>) {
    for standing in standings {
        let budget = &standing.governing.budget;
        let asked = promise(budget).map_or(Quantity::MAX, |promise| promise.held);
        let added = if ruling.verdict.grants() { asked } else { Quantity::ZERO };
        let with = standing.total.taken().saturating_add(added);
        let warning = |code, available| Reason {
            budget: Some(budget.id.clone()),
            asked: Some(asked),
            available,
            ..Reason::of(code)
        };
        if budget.enforcement == Enforcement::Soft && with > budget.limit {
            ruling.reasons.push(warning(ReasonCode::OverSoftLimit, Some(standing.headroom())));
            continue;
        }
        if let Some(share) = budget.threshold_reached(with) {
            ruling.reasons.push(warning(ReasonCode::NearLimit, Quantity::new(share).ok()));
        }
    }
    let fallback = Reason::of;
    if ruling.priced.flags.contains(Flags::UNPRICED) {
        ruling.reasons.push(fallback(ReasonCode::Unpriced));
    }
    if ruling.priced.flags.intersects(Flags::MODEL_FACTOR_FALLBACK.with(Flags::GRID_FACTOR_FALLBACK)) {
        ruling.reasons.push(fallback(ReasonCode::FactorFallback));
    }
    ruling.reasons.sort_by_key(|reason| reason.code);
}

/// Adds the band, and what is left of the hard budget that binds first: the one with room for the fewest such calls. A
/// budget of which the call takes nothing binds only where it is in the way by something else.
pub(super) fn advise_on(
    ruling: &mut Ruling,
    priority: Priority,
    standings: &[Standing],
    now: DateTime<Utc>,
    promise: impl Fn(&Budget) -> Option<Promise>,
) {
    let is_granted = ruling.verdict.grants();
    let mut binding: Option<Advice> = None;
    for standing in standings.iter().filter(|one| one.governing.budget.enforcement == Enforcement::Hard) {
        let budget = &standing.governing.budget;
        let asked = promise(budget).map_or(Quantity::MAX, |promise| needed(promise, standing.total, budget.limit));
        if is_granted && asked <= Quantity::ZERO {
            continue;
        }
        let taken = if is_granted { asked } else { Quantity::ZERO };
        let advice = advise(standing, priority, asked, taken, now);
        let is_tighter = |known: &Advice| {
            (advice.max_concurrency, advice.pass_through) < (known.max_concurrency, known.pass_through)
        };
        if binding.as_ref().is_none_or(is_tighter) {
            binding = Some(advice);
        }
    }
    if let (Some(advice), Some(retry)) = (&mut binding, ruling.retry) {
        // Until it may come back there is nothing for this call.
        advice.window_seconds = Some(retry.after_seconds.saturating_sub(retry.jitter_seconds));
        advice.units_available = Quantity::ZERO;
        advice.pass_through = Permille::NONE;
        advice.max_concurrency = 0;
    }
    if is_granted {
        let warns = ruling.reasons.iter().any(|reason| match reason.code {
            ReasonCode::OutputCapped | ReasonCode::OverSoftLimit | ReasonCode::NearLimit => true,
            ReasonCode::RunStopped
            | ReasonCode::FieldMissing
            | ReasonCode::RunTimeOver
            | ReasonCode::HoldTooLarge
            | ReasonCode::ClosedByProvider
            | ReasonCode::LargerThanLimit
            | ReasonCode::LimitReached
            | ReasonCode::PriorityFloor
            | ReasonCode::Paced
            | ReasonCode::HeldByOthers
            | ReasonCode::Unpriced
            | ReasonCode::FactorFallback => false,
        });
        let slowed = binding.as_ref().is_some_and(|advice| advice.pass_through < Permille::ALL);
        ruling.band = if warns || slowed { Band::Amber } else { Band::Green };
    }
    ruling.pace = binding;
}
