//! Kinds of alerts, and how urgent they are. The names are on the wire and in subscriptions: they never change.

use std::fmt;

/// What an alert is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// A budget has used one of its thresholds.
    Threshold,
    /// A budget is used faster than its plan: the share of the period that the calls' own rhythm allots to the time.
    BurnRate,
    /// A budget is projected to run out before it resets.
    ProjectedExhaustion,
    /// More was used than the limit.
    Overdraft,
    /// A budget stops calls.
    Refusing,
    /// Reservations expired and nobody settled them.
    ExpiredReservations,
    /// Calls were priced by the fallback, because the book has no price.
    UnpricedModel,
    /// Grams were computed by a fallback, because the book has no factor.
    UnknownFactor,
    /// The share of prompt tokens that come from the cache has dropped for a feature.
    CacheHitDrop,
    /// The prompts of a feature have grown.
    PrefixGrowth,
    /// A run spends far faster than runs of its feature do.
    RunVelocity,
    /// A run goes on and on with a growing context: perhaps a loop.
    LoopSuspicion,
    /// So many alerts of one kind at once that the rest of them is only counted.
    Storm,
}

impl AlertKind {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Threshold,
        Self::BurnRate,
        Self::ProjectedExhaustion,
        Self::Overdraft,
        Self::Refusing,
        Self::ExpiredReservations,
        Self::UnpricedModel,
        Self::UnknownFactor,
        Self::CacheHitDrop,
        Self::PrefixGrowth,
        Self::RunVelocity,
        Self::LoopSuspicion,
        Self::Storm,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::BurnRate => "burn_rate",
            Self::ProjectedExhaustion => "projected_exhaustion",
            Self::Overdraft => "overdraft",
            Self::Refusing => "refusing",
            Self::ExpiredReservations => "expired_reservations",
            Self::UnpricedModel => "unpriced_model",
            Self::UnknownFactor => "unknown_factor",
            Self::CacheHitDrop => "cache_hit_drop",
            Self::PrefixGrowth => "prefix_growth",
            Self::RunVelocity => "run_velocity",
            Self::LoopSuspicion => "loop_suspicion",
            Self::Storm => "storm",
        }
    }

    /// What is so when it has cleared, in a few words.
    #[must_use]
    pub const fn cleared(self) -> &'static str {
        match self {
            Self::Threshold => "what is used is below the threshold again",
            Self::BurnRate => "the budget is used as planned again",
            Self::ProjectedExhaustion => "the budget is projected to last",
            Self::Overdraft => "what is used is within the limit again",
            Self::Refusing => "the budget grants calls again",
            Self::ExpiredReservations => "no reservation has expired unsettled for an hour",
            Self::UnpricedModel => "the model's calls have a price now",
            Self::UnknownFactor => "the model's calls have their factors now",
            Self::CacheHitDrop => "prompts come from the cache again",
            Self::PrefixGrowth => "prompts are as short as before again",
            Self::RunVelocity => "the run has slowed down or ended",
            Self::LoopSuspicion => "the run has ended or is no longer growing",
            Self::Storm => "alerts of this kind have become few again",
        }
    }

    /// The kind of that name, if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look at it today.
    Warning,
    /// Somebody should look at it now.
    Critical,
}

impl Severity {
    /// All, from the least urgent.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_are_distinct() {
        for kind in AlertKind::ALL {
            assert_eq!(AlertKind::parse(kind.name()), Some(kind));
        }
        assert_eq!(AlertKind::parse("Threshold"), None, "names are exact");
    }
}
