//! What a budget holds of a call that was granted: its whole estimate, or what such calls really use and a margin for the rest.
//!
//! | rule | held | kept aside |
//! |---|---|---|
//! | `max` | the whole estimate | nothing |
//! | `p95`, `p99` | the estimate with the output that such calls stay within so often | the margin |
//!
//! **The margin.** A call may use more than is held for it, by `o` between nothing and `c`, the rest of its estimate. What all
//! open calls together use more stays, with [`CONFIDENCE_PER_MILLE`], within `Σ a + ε × limit`, where
//! `a = ln(1 + μ (exp(θ c) − 1)) / θ`, `θ = ln(1 / δ) / (ε × limit)`, δ = 1 %, ε = [`NOISE_PER_MILLE`], and μ is the mean of
//! `o / c` that was learned. It is never more than `Σ c`: with it a learned rule holds no more than `max` would.
//!
//! Source: Chernoff's bound on a sum of independent variables, `P(Σ o > t) ≤ exp(Σ ln E exp(θ o) − θ t)`, with the largest
//! moment generating function that a variable between 0 and `c` of mean `μ c` can have (Hoeffding 1963, eq. 4.2). θ is fixed by
//! the limit rather than by what is open, so that each call's share of the margin is a number of its own: it is added when
//! the call is granted and taken off when it ends.
//!
//! Invariants: a promise is kept with the reservation as it was made, so that what is given back is what was held, whatever
//! was learned since; `held + at_risk` is the whole estimate; `margin ≤ at_risk`.
//!
//! Deliberately absent: calls that are not independent. Where a whole feature changes its habits at once, overruns come
//! together, and the margin does not cover them: they are posted, and the next verdict knows.
#![expect(clippy::float_arithmetic, reason = "the margin is an estimate: it is computed in f64 and rounded up once")]

use std::collections::BTreeMap;

use rust_decimal::prelude::{FromPrimitive as _, ToPrimitive as _};
use rust_decimal::{Decimal, RoundingStrategy, dec};

use super::catalogue::{Budget, BudgetNumber};
use super::measure::{Consumption, Measure};
use crate::domain::amounts::{BadAmount, QUANTITY_PLACES, Quantity};

/// How often overruns stay within the margin, in a thousand.
pub const CONFIDENCE_PER_MILLE: u32 = 990;
/// The part of the margin that does not depend on how many calls are open, in thousandths of the limit.
pub const NOISE_PER_MILLE: u32 = 20;
/// `ln(1 / δ)` for δ = 1 %.
const LOG_ODDS: f64 = 4.605_170_185_988_091;
/// The same as [`NOISE_PER_MILLE`].
const NOISE: Decimal = dec!(0.02);
/// Decimal places of the share of `c` that is kept aside.
const FRACTION_PLACES: u32 = 9;

/// What one budget holds of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Promise {
    /// What is held.
    pub held: Quantity,
    /// What is kept aside, with others', for a call that uses more.
    pub margin: Quantity,
    /// How much more the call may use within its estimate.
    pub at_risk: Quantity,
}

impl Promise {
    /// All of it is held.
    #[must_use]
    pub const fn whole(held: Quantity) -> Self {
        Self { held, margin: Quantity::ZERO, at_risk: Quantity::ZERO }
    }

    /// `likely` of `whole` is held; of the rest such calls use so many millionths in the mean.
    ///
    /// # Errors
    /// [`BadAmount`] when a part cannot be kept.
    pub fn learned(likely: Quantity, whole: Quantity, mean_overrun: u64, limit: Quantity) -> Result<Self, BadAmount> {
        let at_risk = whole.checked_sub(likely)?;
        if at_risk <= Quantity::ZERO {
            return Ok(Self::whole(whole));
        }
        let share = expected_share(at_risk, mean_overrun, noise(limit));
        let margin = at_risk.decimal().checked_mul(share).ok_or(BadAmount::TooLarge)?;
        let margin = Quantity::new(margin.round_dp_with_strategy(QUANTITY_PLACES, RoundingStrategy::AwayFromZero))?;
        Ok(Self { held: likely, margin: margin.min(at_risk), at_risk })
    }
}

/// The part of the margin that does not depend on how many calls are open: [`NOISE_PER_MILLE`] of the limit.
#[must_use]
pub fn noise(limit: Quantity) -> Quantity {
    let noise = limit.decimal().checked_mul(NOISE).map(|noise| noise.trunc_with_scale(QUANTITY_PLACES));
    noise.and_then(|noise| Quantity::new(noise).ok()).unwrap_or_default()
}

/// `a / c` of the module's formula, rounded up: everything where the limit leaves no noise.
fn expected_share(at_risk: Quantity, mean_overrun: u64, noise: Quantity) -> Decimal {
    let number = |quantity: Quantity| quantity.decimal().to_f64().filter(|value| *value > 0.0);
    let (Some(c), Some(noise)) = (number(at_risk), number(noise)) else { return Decimal::ONE };
    let mean = f64::from(u32::try_from(mean_overrun.min(1_000_000)).unwrap_or(1_000_000)) / 1e6;
    let x = LOG_ODDS * c / noise;
    // Two ways to write one function: the first is exact where x is small, the second does not overflow where it is large.
    let logarithm = if x < 1.0 { (mean * x.exp_m1()).ln_1p() } else { x + (mean + (1.0 - mean) * (-x).exp()).ln() };
    let share = Decimal::from_f64(logarithm / x).unwrap_or(Decimal::ONE);
    share.round_dp_with_strategy(FRACTION_PLACES, RoundingStrategy::AwayFromZero).clamp(Decimal::ZERO, Decimal::ONE)
}

/// What a budget held by a learned rule, with the measure it is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnedHold {
    /// What the budget counted when it was held.
    pub measure: Measure,
    /// What was held.
    pub promise: Promise,
}

/// The budgets of a reservation that hold less than its whole estimate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LearnedHolds(pub BTreeMap<BudgetNumber, LearnedHold>);

impl LearnedHolds {
    /// Whether every budget holds the whole estimate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps what a budget holds, if it is less than the whole.
    pub fn keep(&mut self, budget: &Budget, promise: Promise) {
        if promise.at_risk > Quantity::ZERO {
            self.0.insert(budget.number, LearnedHold { measure: budget.measure, promise });
        }
    }

    /// What a budget holds: the whole, unless it was said otherwise when it was granted. A budget that counts something else
    /// since then holds the whole, too.
    ///
    /// # Errors
    /// [`BadAmount`] when it cannot be kept.
    pub fn promise(&self, budget: &Budget, whole: &Consumption) -> Result<Promise, BadAmount> {
        match self.0.get(&budget.number) {
            Some(hold) if hold.measure == budget.measure => Ok(hold.promise),
            Some(_) | None => budget.measure.of(whole).map(Promise::whole),
        }
    }

    /// The same for a hold that has grown: what it grew by is held whole, because a call that asks for more is no longer like
    /// those that were learned from.
    ///
    /// # Errors
    /// [`BadAmount`] when it cannot be kept.
    pub fn grown(&self, from: &Consumption, to: &Consumption) -> Result<Self, BadAmount> {
        let grow = |(number, hold): (&BudgetNumber, &LearnedHold)| {
            let more = hold.measure.of(to)?.checked_sub(hold.measure.of(from)?)?;
            let promise = Promise { held: hold.promise.held.checked_add(more)?, ..hold.promise };
            Ok((*number, LearnedHold { promise, ..*hold }))
        };
        self.0.iter().map(grow).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a call used more than any budget held for it by a learned rule.
    #[must_use]
    pub fn are_overrun_by(&self, actual: &Consumption) -> bool {
        self.0.values().any(|hold| hold.measure.saturating_of(actual) > hold.promise.held)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
#[path = "tests/promise.rs"]
mod tests;
