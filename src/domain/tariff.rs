//! The tariff of a call: its price row and its emission factors, resolved once, so that what it costs is a pure function
//! of its usage.
//!
//! A verdict searches over the output (`cap`), a settlement looks again with the actual tokens: both ask the same tariff.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::amounts::{Amounts, BadAmount, Tokens};
use super::budget::measure::Consumption;
use super::budget::scope::{Dimensions, Spelling};
use super::carbon::{
    CarbonInputs, FactorBook, FactorId, Fallbacks, GridFallback, Profile, RecordedFactors, RegionFallback,
};
use super::id::{ModelId, ProviderId, RegionId};
use super::price::book::{Found, PriceBook};
use super::price::{PriceError, PriceId, ServiceTier, price_calls};
use super::usage::Usage;

/// What is remarkable about a price, a hold or a transfer. A set of bits, kept as a number in the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags(u32);

impl Flags {
    /// Nothing remarkable.
    pub const NONE: Self = Self(0);
    /// No price is known for the model; the provider's worst was used.
    pub const UNPRICED: Self = Self(1);
    /// No parameters are known for the model; a declared fallback was used.
    pub const MODEL_FACTOR_FALLBACK: Self = Self(1 << 1);
    /// No grid factor is known for where the call was served; the provider's default or the world average was used.
    pub const GRID_FACTOR_FALLBACK: Self = Self(1 << 2);
    /// Settled after the reservation had expired, or was released.
    pub const LATE: Self = Self(1 << 3);
    /// Charged by estimate, because the usage is not known; to be trued up by reconciliation.
    pub const UNCONFIRMED: Self = Self(1 << 4);
    /// More was used than was held.
    pub const OVERRUN: Self = Self(1 << 5);
    /// Granted with a smaller output than asked.
    pub const CAPPED: Self = Self(1 << 6);
    /// Counted in an open period, because the one it belongs to is closed.
    pub const PERIOD_CLOSED: Self = Self(1 << 7);
    /// The provider has no price for the service tier, which costs at most the ordinary price: that was used.
    pub const SERVICE_TIER_FALLBACK: Self = Self(1 << 8);
    /// Charged by estimate, because the reservation expired and a budget that held it says so.
    pub const EXPIRED: Self = Self(1 << 9);
    /// More was used than a budget held by a learned rule. The bits between are for others.
    pub const LEARNED_OVERRUN: Self = Self(1 << 10);
    /// The usage is that of a call that was cut off: its output is charged by estimate, unless more of it was told.
    pub const PARTIAL: Self = Self(1 << 11);
    /// Something in the provider's usage object changes what the call cost and was not read, or contradicts the rest.
    pub const USAGE_UNREAD: Self = Self(1 << 12);

    /// A declared fallback stood in for an emission factor.
    pub const FACTOR_FALLBACKS: Self = Self::MODEL_FACTOR_FALLBACK.with(Self::GRID_FACTOR_FALLBACK);

    const NAMES: [(Self, &'static str); 13] = [
        (Self::UNPRICED, "unpriced_model"),
        (Self::MODEL_FACTOR_FALLBACK, "model_factor_fallback"),
        (Self::GRID_FACTOR_FALLBACK, "grid_factor_fallback"),
        (Self::LATE, "late"),
        (Self::UNCONFIRMED, "unconfirmed"),
        (Self::OVERRUN, "overrun"),
        (Self::CAPPED, "capped"),
        (Self::PERIOD_CLOSED, "period_closed"),
        (Self::SERVICE_TIER_FALLBACK, "service_tier_fallback"),
        (Self::LEARNED_OVERRUN, "learned_overrun"),
        (Self::EXPIRED, "expired"),
        (Self::PARTIAL, "partial_usage"),
        (Self::USAGE_UNREAD, "usage_unread"),
    ];

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are set in both.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What had to be assumed to find emission factors.
    #[must_use]
    pub const fn assumed(fallbacks: &Fallbacks) -> Self {
        let mut flags = Self::NONE;
        if fallbacks.model.is_some() {
            flags = flags.with(Self::MODEL_FACTOR_FALLBACK);
        }
        if matches!(fallbacks.grid, Some(GridFallback::WorldAverage))
            || matches!(fallbacks.region, Some(RegionFallback::Unknown | RegionFallback::NotGiven))
        {
            flags = flags.with(Self::GRID_FACTOR_FALLBACK);
        }
        flags
    }

    /// Whether all of those are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of those is set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The number the journal keeps.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Takes a number back from the journal.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The names of what is set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

/// Which rows of the books a price stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provenance {
    /// The price row. None only when no price of any provider is known.
    pub price: Option<PriceId>,
    /// The tier of that row: total input tokens from which it holds.
    pub tier_from: Tokens,
    /// The carbon method.
    pub profile: Profile,
    /// The row of the model's parameters.
    pub model_factor: Option<FactorId>,
    /// The row of the grid's intensity.
    pub grid_factor: Option<FactorId>,
    /// The row of the market-based intensity, if a contract is known.
    pub market_factor: Option<FactorId>,
}

impl Provenance {
    /// The rows of the factor book.
    #[must_use]
    pub const fn factors(&self) -> RecordedFactors {
        let Self { profile, model_factor: model, grid_factor: grid, market_factor: market, .. } = *self;
        RecordedFactors { profile, model, grid, market }
    }
}

/// What a call costs, and on which rows that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priced {
    /// In every unit.
    pub consumption: Consumption,
    /// By which rows.
    pub provenance: Provenance,
    /// What is remarkable.
    pub flags: Flags,
}

/// Why a call has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TariffError {
    /// A number is beyond what the ledger can keep.
    #[error("an amount {0}")]
    Amount(#[from] BadAmount),
    /// The price cannot be computed.
    #[error(transparent)]
    Price(#[from] PriceError),
}

/// The price book and the factor book, as of one version.
#[derive(Debug, Clone)]
pub struct RateBooks {
    /// Prices.
    pub prices: Arc<PriceBook>,
    /// Emission factors.
    pub factors: Arc<FactorBook>,
    /// The carbon method that amounts are computed by.
    pub profile: Profile,
}

impl RateBooks {
    /// The tariff of a call to a model at an instant. Never fails: what is unknown falls back, and is flagged.
    #[must_use]
    pub fn tariff<'a>(
        &'a self,
        provider: &ProviderId,
        model: &ModelId,
        tier: ServiceTier,
        region: Option<&'a RegionId>,
        at: DateTime<Utc>,
    ) -> Tariff<'a> {
        Tariff {
            price: self.prices.find(provider, model, tier, region, at),
            tier,
            carbon: self.factors.resolve(self.profile, provider, model, region, None, at),
        }
    }

    /// The tariff of a call, by what was said of who serves it.
    #[must_use]
    pub fn tariff_of<'a>(&'a self, call: &'a Dimensions, tier: ServiceTier, at: DateTime<Utc>) -> Tariff<'a> {
        self.tariff(call.said_provider(), call.priced_model(), tier, call.region.as_ref(), at)
    }

    /// A call by the names of the book, with what was said beside them. One that has its names keeps them.
    #[must_use]
    pub fn named(&self, call: &Dimensions) -> Dimensions {
        if call.spelling != Spelling::AsSaid {
            return call.clone();
        }
        let provider = self.prices.provider_name(&call.provider);
        let model = self.prices.model_name(&call.provider, &call.model);
        call.clone().renamed(provider, model)
    }
}

/// What such a call costs.
#[derive(Debug)]
pub struct Tariff<'a> {
    price: Found<'a>,
    tier: ServiceTier,
    carbon: CarbonInputs,
}

impl Tariff<'_> {
    /// Whether a price of this very model is known.
    #[must_use]
    pub const fn is_priced(&self) -> bool {
        matches!(self.price, Found::Priced(_))
    }

    /// Whether the emission factors of this very model, grid and data centre are known. A region that was not given is not
    /// unknown.
    #[must_use]
    pub const fn has_factors(&self) -> bool {
        !self.carbon.resolved.fallbacks.any_unknown()
    }

    /// Prices a usage in every unit.
    ///
    /// `requests` is how many calls the usage adds up: each pays the fee of a call. `latency` bounds the time the hardware was
    /// busy with one call.
    ///
    /// # Errors
    /// When an amount is beyond what the ledger can keep.
    pub fn price(&self, usage: &Usage, requests: u32, latency: Option<Duration>) -> Result<Priced, TariffError> {
        let mut flags = Flags::NONE;
        let (row, priced) = match &self.price {
            Found::Priced(row) => {
                if row.service_tier != self.tier {
                    flags = flags.with(Flags::SERVICE_TIER_FALLBACK);
                }
                (row.id, price_calls(row, usage, requests)?)
            }
            Found::Unpriced(fallback) => {
                flags = flags.with(Flags::UNPRICED);
                let dearest = fallback.price_calls(usage, requests)?;
                (dearest.row.id, dearest.priced)
            }
        };
        // The duration of one call says nothing about the sum of several.
        let grams = self.carbon.grams(usage, latency.filter(|_| requests == 1))?;
        flags = flags.with(Flags::assumed(&self.carbon.resolved.fallbacks));
        let factors = self.carbon.factors();
        let amounts = Amounts {
            tokens: usage.total()?,
            usd: priced.usd,
            gco2e_usage_location: grams.usage_location,
            gco2e_usage_market: grams.usage_market,
            gco2e_embodied: grams.embodied,
        };
        let provenance = Provenance {
            price: Some(row),
            tier_from: priced.tier_from,
            profile: factors.profile,
            model_factor: factors.model,
            grid_factor: factors.grid,
            market_factor: factors.market,
        };
        Ok(Priced { consumption: Consumption { requests, usage: *usage, amounts }, provenance, flags })
    }
}

#[cfg(test)]
#[path = "tariff_tests.rs"]
mod tests;
