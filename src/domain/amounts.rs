//! Amounts: tokens, dollars, grams. Exact, bounded, and impossible to mix up.
//!
//! Invariants: an amount is never negative (a correction swaps the accounts instead); dollars have at most 12 decimal
//! places and grams at most 9 (a nanogram); every amount fits the column that keeps it (`NUMERIC(28,12)`,
//! `NUMERIC(28,9)`, `BIGINT`), so that what Postgres returns is what was stored, to the last digit. Arithmetic is
//! checked: an overflow is an error value, never a panic and never a wrapped number. No float appears here.

use std::fmt;

use rust_decimal::{Decimal, RoundingStrategy, dec};

/// Decimal places of dollars.
pub const USD_PLACES: u32 = 12;
/// Decimal places of grams: a nanogram.
pub const GRAMS_PLACES: u32 = 9;
/// Decimal places of a [`Quantity`].
pub const QUANTITY_PLACES: u32 = 12;
/// Largest count of tokens in one amount: 10^15, above what the largest providers serve in a month.
pub const TOKENS_MAX: u64 = 1_000_000_000_000_000;

/// The most dollars of one amount: the 28 digits that `NUMERIC(28,12)` holds.
pub(crate) const USD_MAX: Decimal = dec!(9999999999999999.999999999999);
/// The most grams of one amount: the 28 digits that `NUMERIC(28,9)` holds.
pub(crate) const GRAMS_MAX: Decimal = dec!(9999999999999999999.999999999);

/// Why a number is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    /// Below zero.
    #[error("is negative")]
    Negative,
    /// More decimal places than the unit keeps.
    #[error("has more than {places} decimal places")]
    TooPrecise {
        /// Decimal places kept.
        places: u32,
    },
    /// Above what the ledger can keep.
    #[error("is larger than the ledger can keep")]
    TooLarge,
}

/// A count of tokens.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tokens(u64);

impl Tokens {
    /// No tokens.
    pub const ZERO: Self = Self(0);

    /// # Errors
    /// [`BadAmount::TooLarge`] above [`TOKENS_MAX`].
    pub const fn new(count: u64) -> Result<Self, BadAmount> {
        if count > TOKENS_MAX { Err(BadAmount::TooLarge) } else { Ok(Self(count)) }
    }

    /// The count.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.0
    }

    /// The count as a decimal.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        Decimal::from(self.0)
    }

    /// # Errors
    /// [`BadAmount::TooLarge`] when the sum is above [`TOKENS_MAX`].
    pub fn checked_add(self, other: Self) -> Result<Self, BadAmount> {
        self.0.checked_add(other.0).ok_or(BadAmount::TooLarge).and_then(Self::new)
    }

    /// `self - other`, or zero when `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0)
    }
}

fn check(value: Decimal, places: u32, max: Decimal) -> Result<Decimal, BadAmount> {
    let value = value.normalize();
    if value < Decimal::ZERO {
        Err(BadAmount::Negative)
    } else if value.scale() > places {
        Err(BadAmount::TooPrecise { places })
    } else if value > max {
        Err(BadAmount::TooLarge)
    } else {
        Ok(value)
    }
}

macro_rules! decimal_amount {
    ($(#[$doc:meta])* $name:ident, $places:expr, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Decimal);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(Decimal::ZERO);

            /// Takes an exact value.
            ///
            /// # Errors
            /// When the value is negative, finer than the unit keeps, or too large.
            pub fn new(value: Decimal) -> Result<Self, BadAmount> {
                check(value, $places, $max).map(Self)
            }

            /// Takes a computed value and rounds it, half to even, to the places the unit keeps.
            ///
            /// # Errors
            /// When the value is negative or too large.
            pub fn round_half_even(value: Decimal) -> Result<Self, BadAmount> {
                Self::new(value.round_dp_with_strategy($places, RoundingStrategy::MidpointNearestEven))
            }

            /// The value.
            #[must_use]
            pub const fn decimal(self) -> Decimal {
                self.0
            }

            /// # Errors
            /// [`BadAmount::TooLarge`] when the sum cannot be kept.
            pub fn checked_add(self, other: Self) -> Result<Self, BadAmount> {
                self.0.checked_add(other.0).ok_or(BadAmount::TooLarge).and_then(Self::new)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.normalize(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", stringify!($name)), self.0.normalize())
            }
        }
    };
}

decimal_amount!(
    /// US dollars, to 12 decimal places.
    Usd, USD_PLACES, USD_MAX
);
decimal_amount!(
    /// Grams of CO2e, to the nanogram.
    Grams, GRAMS_PLACES, GRAMS_MAX
);

/// An amount of a budget's measure: requests, tokens, dollars, grams, or weighted tokens.
///
/// Signed, because a correction may bring a period's sum below what later corrections expect; at most 12 decimal places.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(Decimal);

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);
    /// The largest that can be kept.
    pub const MAX: Self = Self(USD_MAX);
    /// The smallest that can be kept.
    pub const MIN: Self = Self(dec!(-9999999999999999.999999999999));

    /// # Errors
    /// When the value has more than [`QUANTITY_PLACES`] places or its magnitude is above what `NUMERIC(28,12)` holds.
    pub fn new(value: Decimal) -> Result<Self, BadAmount> {
        let value = value.normalize();
        check(value.abs(), QUANTITY_PLACES, USD_MAX).map(|_| Self(value))
    }

    /// The value.
    #[must_use]
    pub const fn decimal(self) -> Decimal {
        self.0
    }

    /// # Errors
    /// [`BadAmount::TooLarge`] when the sum cannot be kept.
    pub fn checked_add(self, other: Self) -> Result<Self, BadAmount> {
        self.0.checked_add(other.0).ok_or(BadAmount::TooLarge).and_then(Self::new)
    }

    /// # Errors
    /// [`BadAmount::TooLarge`] when the difference cannot be kept.
    pub fn checked_sub(self, other: Self) -> Result<Self, BadAmount> {
        self.0.checked_sub(other.0).ok_or(BadAmount::TooLarge).and_then(Self::new)
    }

    /// The sum, or the largest quantity where the sum cannot be kept. For what is *spent*: the journal has the truth, and a
    /// counter that is full stays full.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        // Only two of one sign can be too much.
        self.checked_add(other).unwrap_or(if self < Self::ZERO { Self::MIN } else { Self::MAX })
    }

    /// The difference, or the nearest quantity that can be kept.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        self.checked_sub(other).unwrap_or(if self < other { Self::MIN } else { Self::MAX })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.normalize(), f)
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The bundle one transfer moves, in every unit at once.
///
/// Location-based and market-based grams are two views of one emission: separate fields, so that nothing can add them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Amounts {
    /// Tokens of all buckets.
    pub tokens: Tokens,
    /// Dollars.
    pub usd: Usd,
    /// Emissions of the electricity used, by the grid where it was used.
    pub gco2e_usage_location: Grams,
    /// Emissions of the electricity used, by the contracts it was bought under.
    pub gco2e_usage_market: Grams,
    /// The share of making the hardware.
    pub gco2e_embodied: Grams,
}

impl Amounts {
    /// # Errors
    /// [`BadAmount::TooLarge`] when a unit's sum cannot be kept.
    pub fn checked_add(self, other: Self) -> Result<Self, BadAmount> {
        Ok(Self {
            tokens: self.tokens.checked_add(other.tokens)?,
            usd: self.usd.checked_add(other.usd)?,
            gco2e_usage_location: self.gco2e_usage_location.checked_add(other.gco2e_usage_location)?,
            gco2e_usage_market: self.gco2e_usage_market.checked_add(other.gco2e_usage_market)?,
            gco2e_embodied: self.gco2e_embodied.checked_add(other.gco2e_embodied)?,
        })
    }

    /// `gco2e`, the default carbon measure: location-based usage plus embodied.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when the sum cannot be kept.
    pub fn gco2e(&self) -> Result<Grams, BadAmount> {
        self.gco2e_usage_location.checked_add(self.gco2e_embodied)
    }

    /// `gco2e_market`: market-based usage plus embodied.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when the sum cannot be kept.
    pub fn gco2e_market(&self) -> Result<Grams, BadAmount> {
        self.gco2e_usage_market.checked_add(self.gco2e_embodied)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_is_refused_rather_than_rounded_or_wrapped() {
        assert_eq!(Usd::new(dec!(-0.01)), Err(BadAmount::Negative));
        assert_eq!(Usd::new(dec!(0.0000000000001)), Err(BadAmount::TooPrecise { places: 12 }));
        assert_eq!(Usd::new(dec!(10000000000000000)), Err(BadAmount::TooLarge));
        assert!(Usd::new(dec!(9999999999999999.999999999999)).is_ok());
        assert_eq!(Grams::new(dec!(0.0000000001)), Err(BadAmount::TooPrecise { places: 9 }));
        assert_eq!(Tokens::new(TOKENS_MAX + 1), Err(BadAmount::TooLarge));
        let max = Usd::new(dec!(9999999999999999.999999999999)).unwrap();
        assert_eq!(max.checked_add(Usd::new(dec!(0.000000000001)).unwrap()), Err(BadAmount::TooLarge));
        assert_eq!(Usd::new(dec!(1.500000000000000)).unwrap().to_string(), "1.5", "trailing zeros are not precision");
    }

    #[test]
    fn rounding_is_half_to_even_and_named() {
        assert_eq!(Grams::round_half_even(dec!(0.0000000005)).unwrap(), Grams::ZERO);
        assert_eq!(Grams::round_half_even(dec!(0.0000000015)).unwrap().decimal(), dec!(0.000000002));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_sums_are_exact(a in any::<i128>(), b in any::<i128>(), scale in 0u32..=28) {
            let decimal = |n: i128| Decimal::try_from_i128_with_scale(n >> 32, scale);
            if let (Ok(a), Ok(b)) = (decimal(a), decimal(b)) {
                if let (Ok(ua), Ok(ub)) = (Usd::new(a), Usd::new(b))
                    && let Ok(sum) = ua.checked_add(ub)
                {
                    prop_assert_eq!(sum.decimal().checked_sub(ub.decimal()), Some(ua.decimal()));
                }
                if let (Ok(qa), Ok(qb)) = (Quantity::new(a), Quantity::new(b)) {
                    match qa.checked_sub(qb) {
                        Ok(difference) => {
                            prop_assert_eq!(difference.checked_add(qb), Ok(qa));
                            prop_assert_eq!(qa.saturating_sub(qb), difference);
                        }
                        Err(_) => prop_assert_eq!(qa.saturating_sub(qb).decimal().abs(), Quantity::MAX.decimal()),
                    }
                }
            }
        }
    }
}
