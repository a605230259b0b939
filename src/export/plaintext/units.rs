//! The units of the books as commodities, and bundles of them.
//!
//! Location-based and market-based grams are two views of one emission. They are two commodities, so that no accounting
//! program can add them.

use rust_decimal::Decimal;

/// A unit of the books, as plain-text accounting names it: upper case, because beancount takes nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commodity {
    /// Tokens of all buckets.
    Tokens,
    /// US dollars.
    Dollars,
    /// Grams of CO2e of the electricity used, location-based.
    Location,
    /// Grams of CO2e of the electricity used, market-based.
    Market,
    /// Grams of CO2e of making the hardware.
    Embodied,
}

impl Commodity {
    /// All of them, in the order of a [`Bundle`].
    pub const ALL: [Self; 5] = [Self::Tokens, Self::Dollars, Self::Location, Self::Market, Self::Embodied];

    /// The symbol.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Tokens => "TOK",
            Self::Dollars => "USD",
            Self::Location => "GCO2E.LB",
            Self::Market => "GCO2E.MB",
            Self::Embodied => "GCO2E.EMB",
        }
    }

    /// What it is, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Tokens => "tokens of all buckets",
            Self::Dollars => "US dollars",
            Self::Location => "grams of CO2e, electricity, location-based",
            Self::Market => "grams of CO2e, electricity, market-based",
            Self::Embodied => "grams of CO2e, making the hardware",
        }
    }

    /// The number one with all the decimal places that the books keep of it.
    #[must_use]
    pub const fn one(self) -> &'static str {
        match self {
            Self::Tokens => "1.",
            Self::Dollars => "1.000000000000",
            Self::Location | Self::Market | Self::Embodied => "1.000000000",
        }
    }
}

/// An amount of each unit. Signed: what stands on a supply account is below zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Tokens.
    pub tokens: Decimal,
    /// Dollars.
    pub usd: Decimal,
    /// Grams, location-based.
    pub location: Decimal,
    /// Grams, market-based.
    pub market: Decimal,
    /// Grams, embodied.
    pub embodied: Decimal,
}

impl Bundle {
    /// The amount of one unit.
    #[must_use]
    pub const fn of(&self, commodity: Commodity) -> Decimal {
        match commodity {
            Commodity::Tokens => self.tokens,
            Commodity::Dollars => self.usd,
            Commodity::Location => self.location,
            Commodity::Market => self.market,
            Commodity::Embodied => self.embodied,
        }
    }

    /// Both together; none when a sum has more digits than can be kept.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self {
            tokens: self.tokens.checked_add(other.tokens)?,
            usd: self.usd.checked_add(other.usd)?,
            location: self.location.checked_add(other.location)?,
            market: self.market.checked_add(other.market)?,
            embodied: self.embodied.checked_add(other.embodied)?,
        })
    }

    /// The same on the other side.
    #[must_use]
    pub fn negated(&self) -> Self {
        let negate = |mut amount: Decimal| {
            amount.set_sign_positive(amount.is_sign_negative() || amount.is_zero());
            amount
        };
        Self {
            tokens: negate(self.tokens),
            usd: negate(self.usd),
            location: negate(self.location),
            market: negate(self.market),
            embodied: negate(self.embodied),
        }
    }

    /// Whether there is nothing of any unit.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        Commodity::ALL.into_iter().all(|commodity| self.of(commodity).is_zero())
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn a_bundle_and_its_negation_are_nothing() {
        let bundle = Bundle { tokens: dec!(3), usd: dec!(-0.5), location: dec!(0), market: dec!(1), embodied: dec!(2) };
        assert!(bundle.checked_add(&bundle.negated()).unwrap().is_zero());
        assert_eq!(Bundle::default().negated().tokens.to_string(), "0", "never minus zero");
        assert_eq!(Bundle { usd: Decimal::MAX, ..bundle }.checked_add(&Bundle { usd: Decimal::ONE, ..bundle }), None);
    }
}
