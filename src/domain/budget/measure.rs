//! Measure: what a budget counts of a call.

use rust_decimal::Decimal;

use crate::domain::amounts::{Amounts, BadAmount, Quantity};
use crate::domain::usage::Usage;

/// Everything one call consumed, or is estimated to: what a measure looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consumption {
    /// Calls: one, or more when usage is posted in aggregate.
    pub requests: u32,
    /// Its token buckets.
    pub usage: Usage,
    /// Its bundle of amounts.
    pub amounts: Amounts,
}

/// The weight of each token bucket, in the order of [`Usage::buckets`]. Between zero and [`WEIGHT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketWeights([Decimal; 6]);

/// Largest weight of a bucket. Known quotas burn output down at up to 15 times.
pub const WEIGHT_MAX: Decimal = Decimal::ONE_THOUSAND;
/// Most decimal places of a weight.
pub const WEIGHT_PLACES: u32 = 6;

/// Why weights are not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadWeights {
    /// A weight is below zero or above [`WEIGHT_MAX`].
    #[error("a weight must be between 0 and 1000")]
    OutOfRange,
    /// A weight has more than [`WEIGHT_PLACES`] decimal places.
    #[error("a weight may have at most 6 decimal places")]
    TooPrecise,
    /// Every weight is zero: such a budget would count nothing.
    #[error("at least one weight must be above 0")]
    AllZero,
}

impl BucketWeights {
    /// # Errors
    /// When a weight is out of range or too fine, or all are zero.
    pub fn new(weights: [Decimal; 6]) -> Result<Self, BadWeights> {
        if weights.iter().any(|weight| *weight < Decimal::ZERO || *weight > WEIGHT_MAX) {
            return Err(BadWeights::OutOfRange);
        }
        if weights.iter().any(|weight| weight.normalize().scale() > WEIGHT_PLACES) {
            return Err(BadWeights::TooPrecise);
        }
        if weights.iter().all(Decimal::is_zero) {
            return Err(BadWeights::AllZero);
        }
        Ok(Self(weights))
    }

    /// The weights, in the order of [`Usage::buckets`].
    #[must_use]
    pub const fn as_array(&self) -> &[Decimal; 6] {
        &self.0
    }
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Calls.
    Requests,
    /// All tokens, each once.
    Tokens,
    /// Dollars.
    Usd,
    /// Grams: location-based usage plus embodied.
    Gco2e,
    /// Grams: market-based usage plus embodied.
    Gco2eMarket,
    /// A weighted sum of the token buckets: a provider that does not count cache reads, or counts output five times.
    Weighted(BucketWeights),
}

impl Measure {
    /// How much of the measure a call is.
    ///
    /// # Errors
    /// [`BadAmount`] when it cannot be kept.
    pub fn of(&self, call: &Consumption) -> Result<Quantity, BadAmount> {
        let value = match self {
            Self::Requests => Decimal::from(call.requests),
            Self::Tokens => call.amounts.tokens.decimal(),
            Self::Usd => call.amounts.usd.decimal(),
            Self::Gco2e => call.amounts.gco2e()?.decimal(),
            Self::Gco2eMarket => call.amounts.gco2e_market()?.decimal(),
            Self::Weighted(weights) => {
                let parts = call.usage.buckets().into_iter().zip(weights.0);
                parts.into_iter().try_fold(Decimal::ZERO, |sum, (tokens, weight)| {
                    let part = tokens.decimal().checked_mul(weight).ok_or(BadAmount::TooLarge)?;
                    sum.checked_add(part).ok_or(BadAmount::TooLarge)
                })?
            }
        };
        Quantity::new(value)
    }

    /// How much of the measure a call was, or the largest quantity. For what was spent, which is never refused.
    #[must_use]
    pub fn saturating_of(&self, call: &Consumption) -> Quantity {
        self.of(call).unwrap_or(Quantity::MAX)
    }

    /// The measure's name on the wire; `weighted` for a weighted sum.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Usd => "usd",
            Self::Gco2e => "gco2e",
            Self::Gco2eMarket => "gco2e_market",
            Self::Weighted(_) => "weighted",
        }
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;
    use crate::domain::amounts::{Grams, Tokens, Usd};

    fn tokens(count: u64) -> Tokens {
        Tokens::new(count).unwrap()
    }

    #[test]
    fn each_measure_counts_its_own_unit() {
        let usage = Usage {
            input: tokens(100),
            cache_read: tokens(1000),
            cache_write_5m: tokens(10),
            cache_write_1h: tokens(1),
            output: tokens(50),
            reasoning: tokens(5),
        };
        let call = Consumption {
            requests: 1,
            usage,
            amounts: Amounts {
                tokens: usage.total().unwrap(),
                usd: Usd::new(dec!(0.25)).unwrap(),
                gco2e_usage_location: Grams::new(dec!(3)).unwrap(),
                gco2e_usage_market: Grams::new(dec!(0.5)).unwrap(),
                gco2e_embodied: Grams::new(dec!(0.1)).unwrap(),
            },
        };
        let of = |measure: Measure| measure.of(&call).unwrap().decimal();
        assert_eq!(of(Measure::Requests), dec!(1));
        assert_eq!(of(Measure::Tokens), dec!(1166));
        assert_eq!(of(Measure::Usd), dec!(0.25));
        assert_eq!(of(Measure::Gco2e), dec!(3.1));
        assert_eq!(of(Measure::Gco2eMarket), dec!(0.6));
        let weights = BucketWeights::new([dec!(1), dec!(0), dec!(1), dec!(1), dec!(5), dec!(5)]).unwrap();
        assert_eq!(of(Measure::Weighted(weights)), dec!(386), "cache reads free, output five times");
    }

    #[test]
    fn weights_that_would_count_nothing_are_refused() {
        assert_eq!(BucketWeights::new([dec!(0); 6]), Err(BadWeights::AllZero));
        assert_eq!(BucketWeights::new([dec!(-1); 6]), Err(BadWeights::OutOfRange));
        assert_eq!(BucketWeights::new([dec!(0.0000001); 6]), Err(BadWeights::TooPrecise));
    }
}
