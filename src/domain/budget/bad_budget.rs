//! Why a budget is refused: what no single field of it can say.

/// Why a budget's fields do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBudget {
    /// The tenant's clock on counters that several tenants share.
    #[error(
        "the clock can be `tenant` only when scope.tenant is set or each is tenant, feature, run, agent or a label"
    )]
    SharedTenantClock,
    /// A limit below zero.
    #[error("limit must not be negative")]
    NegativeLimit,
    /// A threshold outside 0 to 1, too fine, or not ascending.
    #[error("thresholds must be ascending shares above 0 and at most 1, with at most 6 decimal places")]
    Thresholds,
    /// Floors outside 0 to 1, too fine, or more than the whole in sum.
    #[error("floors must be shares between 0 and 1 with at most 6 decimal places that add up to at most 1")]
    Floors,
    /// Ceilings outside 0 to 1, or too fine.
    #[error("ceilings must be shares between 0 and 1 with at most 6 decimal places")]
    Ceilings,
    /// A ceiling for those whom only the limit may stop.
    #[error("interactive has no ceiling: only the limit stops it")]
    InteractiveCeiling,
    /// Pacing where there is no reset to land on, or nothing that is known by the quarter of an hour.
    #[error("pacing goes with a hard budget that resets, and not with a run, an agent or a label in scope or each")]
    Unpaceable,
    /// A weight that is none.
    #[error("weights must be above 0 and at most 1000, with at most 6 decimal places")]
    Weights,
    /// Weights where there is nothing to share.
    #[error("weights go with pacing `forecast` on a budget that several tenants share")]
    NothingToShare,
    /// A share that is none.
    #[error("max_hold_share must be above 0 and at most 1, with at most 6 decimal places")]
    HoldShare,
    /// A time that no run is told apart for.
    #[error("max_seconds must be 1 to 31622400, on a hard budget with each `run` and period `once`")]
    MaxSeconds,
}

impl BadBudget {
    /// The field that is to blame.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::SharedTenantClock => "timezone",
            Self::NegativeLimit => "limit",
            Self::Thresholds => "thresholds",
            Self::Floors => "floors",
            Self::Ceilings | Self::InteractiveCeiling => "ceilings",
            Self::Unpaceable => "pacing",
            Self::Weights | Self::NothingToShare => "weights",
            Self::HoldShare => "max_hold_share",
            Self::MaxSeconds => "max_seconds",
        }
    }
}
