//! Reasons: why a verdict is what it is, in order of precedence.

use crate::domain::amounts::Quantity;
use crate::domain::budget::coverage::{CallField, NotCounted};
use crate::domain::id::BudgetId;

/// Why the verdict is what it is. In order of precedence: the first is the headline, all that apply are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonCode {
    /// Somebody has stopped the run.
    RunStopped,
    /// The call does not say what the budget counts it by.
    FieldMissing,
    /// The run has gone on for as long as its budget lets it.
    RunTimeOver,
    /// The provider has said that the quota is gone.
    ClosedByProvider,
    /// The estimate alone is larger than what this priority may ever use of the limit: no reset will help.
    LargerThanLimit,
    /// The estimate alone is larger than what one reservation may hold of the budget.
    HoldTooLarge,
    /// What is posted leaves no room for the estimate.
    LimitReached,
    /// The part of the limit that this priority may use, by floors and ceilings, is gone.
    PriorityFloor,
    /// There is room, but what is left over by more urgent calls is given out a day's share at a time.
    Paced,
    /// There would be room if open reservations returned what they do not use.
    HeldByOthers,
    /// The output was made smaller so that it fits.
    OutputCapped,
    /// A soft budget is above its limit.
    OverSoftLimit,
    /// A threshold of the budget is passed.
    NearLimit,
    /// The model has no price: the provider's worst known price was used.
    Unpriced,
    /// The model or the grid has no emission factor: a declared fallback was used.
    FactorFallback,
}

impl ReasonCode {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunStopped => "run_stopped",
            Self::FieldMissing => "field_missing",
            Self::RunTimeOver => "run_time_over",
            Self::ClosedByProvider => "closed_by_provider",
            Self::LargerThanLimit => "larger_than_limit",
            Self::HoldTooLarge => "hold_too_large",
            Self::LimitReached => "limit_reached",
            Self::PriorityFloor => "priority_floor",
            Self::Paced => "paced",
            Self::HeldByOthers => "held_by_others",
            Self::OutputCapped => "output_capped",
            Self::OverSoftLimit => "over_soft_limit",
            Self::NearLimit => "near_limit",
            Self::Unpriced => "unpriced_model",
            Self::FactorFallback => "factor_fallback",
        }
    }

    /// All, in order of precedence.
    pub const ALL: [Self; 15] = [
        Self::RunStopped,
        Self::FieldMissing,
        Self::RunTimeOver,
        Self::ClosedByProvider,
        Self::LargerThanLimit,
        Self::HoldTooLarge,
        Self::LimitReached,
        Self::PriorityFloor,
        Self::Paced,
        Self::HeldByOthers,
        Self::OutputCapped,
        Self::OverSoftLimit,
        Self::NearLimit,
        Self::Unpriced,
        Self::FactorFallback,
    ];
}

/// One reason, with its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Why.
    pub code: ReasonCode,
    /// Which budget, if one.
    pub budget: Option<BudgetId>,
    /// How much of the budget's measure was asked for.
    pub asked: Option<Quantity>,
    /// How much there was: the headroom, or for `near_limit` the share of the limit that is passed. Of a run's time: seconds.
    pub available: Option<Quantity>,
    /// Which field the call lacks; only with [`ReasonCode::FieldMissing`].
    pub field: Option<CallField>,
}

impl Reason {
    /// A reason without a budget and numbers.
    pub(super) const fn of(code: ReasonCode) -> Self {
        Self { code, budget: None, asked: None, available: None, field: None }
    }

    /// Why a call is stopped that lacks a field.
    pub(super) fn missing(one: &NotCounted) -> Self {
        let (budget, field) = (Some(one.budget.clone()), Some(one.field.clone()));
        Self { budget, field, ..Self::of(ReasonCode::FieldMissing) }
    }
}
