//! Holding: how much of a budget one reservation may hold.
//!
//! What is held is kept from others until it is settled, so that one giant estimate could stop all who share a budget for as
//! long as it is held. Where the budget names no share, ordinary calls are not bounded, however small the limit: only what no
//! single call needs is, a hold of many minutes or of more tokens than a context takes, and only of a budget that several
//! tenants share.

use rust_decimal::{Decimal, dec};

use super::catalogue::{Budget, Enforcement};
use super::measure::{Consumption, Measure};
use super::share::share_of;
use crate::domain::amounts::Quantity;

/// Largest share of a budget that tenants share which one reservation that is no ordinary call may hold.
const SHARED_HOLD_SHARE: Decimal = dec!(0.5);
/// Longest hold of an ordinary call, in seconds.
pub const ORDINARY_HOLD_SECONDS_MAX: u32 = 600;
/// Most tokens of an ordinary call: more than any context window takes.
pub const ORDINARY_HOLD_TOKENS_MAX: u64 = 2_000_000;

impl Budget {
    /// The most that one reservation may hold; none where only the limit bounds it.
    #[must_use]
    pub fn hold_ceiling(&self, asked: &Consumption, seconds: u32) -> Option<Quantity> {
        let share = match self.max_hold_share {
            Some(share) => share,
            None if self.is_within_tenant() || self.measure == Measure::Requests => return None,
            None => {
                let is_ordinary =
                    seconds <= ORDINARY_HOLD_SECONDS_MAX && asked.amounts.tokens.count() <= ORDINARY_HOLD_TOKENS_MAX;
                if is_ordinary { return None } else { SHARED_HOLD_SHARE }
            }
        };
        (self.enforcement == Enforcement::Hard && share < Decimal::ONE)
            .then(|| share_of(self.limit, share).map_or(Quantity::ZERO, |(floor, _)| floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::amounts::{Amounts, Tokens};
    use crate::domain::fixtures::{budget, quantity};

    #[test]
    fn one_reservation_that_is_no_ordinary_call_holds_at_most_half_of_what_tenants_share() {
        // budget | tokens | seconds | the most it may hold
        let table = [
            ("b tokens 1000 day", 900, 600, "-"),
            ("b tokens 1000 day", 900, 601, "500"),
            ("b tokens 100000000 day", 2_000_000, 120, "-"),
            ("b tokens 100000000 day", 2_000_001, 120, "50000000"),
            ("b usd 0.03 day provider=unit", 1, 86_400, "0.015"),
            // a call is a call
            ("b requests 1 day", 1, 86_400, "-"),
            // whose own it is
            ("b tokens 1000 day tenant=acme", 900, 86_400, "-"),
            ("b tokens 1000 day each=tenant", 900, 86_400, "-"),
            ("b tokens 1000 day soft", 900, 86_400, "-"),
            // what is said holds always
            ("b tokens 1000 day hold_share=0.1", 900, 1, "100"),
            ("b tokens 1000 day tenant=acme hold_share=0.1", 900, 1, "100"),
            ("b tokens 1000 day hold_share=1", 900, 86_400, "-"),
        ];
        for (text, tokens, seconds, most) in table {
            let mut budget = budget(1, text);
            if !text.contains("hold_share") {
                budget.max_hold_share = None;
            }
            let amounts = Amounts { tokens: Tokens::new(tokens).unwrap(), ..Amounts::default() };
            let asked = Consumption { amounts, ..Consumption::default() };
            let expected = (most != "-").then(|| quantity(most));
            assert_eq!(budget.hold_ceiling(&asked, seconds), expected, "{text}");
        }
    }
}
