//! Prices: what a call costs in dollars, exactly.
//!
//! A [`PriceRow`] is one dated, sourced price of one model on one service tier. [`price_call`] applies a row to a usage;
//! [`book::PriceBook`] finds the row for a call; [`matching`] says which names a model goes by.
//!
//! Invariants:
//! - exact: prices are integers of 10⁻¹² dollars per million tokens, so a call is an integer sum of 10⁻¹⁸ dollars, rounded once,
//!   half to even, to the 12 places of [`Usd`]; no float, and no intermediate rounding of a `Decimal` product;
//! - a tier is chosen by the *total* input of the call and re-prices the whole call, as every provider that has context
//!   tiers bills it (pain R: litellm#40002);
//! - every bucket has a price: one that the source does not give is taken from the next one that contains it, by the rule
//!   of [`PublishedPrices::complete`], and named in [`PriceRow::derived`]; a multiplier is never invented;
//! - rows are append-only; among rows of equal key the newest `effective_from` at or before the call wins, then the highest id.
//!
//! Deliberately absent: currencies (dollars only), time-of-day prices, prices of audio, images, searches and storage.

pub mod book;
pub mod matching;
pub mod names;
pub mod naming;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "expected values are computed another way, on bounded numbers")]
mod tests;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::{Decimal, dec};

use crate::domain::amounts::{BadAmount, Tokens, Usd};
use crate::domain::id::{ModelId, ProviderId, RegionId};
use crate::domain::usage::{Bucket, Usage};

use matching::ModelMatch;

/// Decimal places of a price per million tokens.
pub const PRICE_PLACES: u32 = 12;
/// Most tiers in one row. The catalogues have at most three.
pub const TIERS_MAX: usize = 16;
/// Highest price per million tokens: a dollar a token, a thousand times today's dearest.
const PRICE_MAX: Decimal = dec!(1_000_000);
/// 10⁻¹⁸ dollars (a token times 10⁻¹² dollars per million) in one 10⁻¹² dollar.
const ATTO_PER_PICO: u128 = 1_000_000;

/// The database key of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PriceId(pub i64);

/// How quickly or cheaply a provider was asked to serve: it changes the price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceTier {
    /// The ordinary price.
    #[default]
    Standard,
    /// Answered within hours, at a discount.
    Batch,
    /// Answered when there is room, at a discount.
    Flex,
    /// Answered first, at a premium.
    Priority,
    /// Generated faster, at a premium.
    Fast,
}

impl ServiceTier {
    /// Every tier.
    pub const ALL: [Self; 5] = [Self::Standard, Self::Batch, Self::Flex, Self::Priority, Self::Fast];

    /// The word on the wire and in stored rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Fast => "fast",
        }
    }

    /// Whether a call on it costs more than on the ordinary one.
    #[must_use]
    pub const fn is_dearer_than_standard(self) -> bool {
        match self {
            Self::Standard | Self::Batch | Self::Flex => false,
            Self::Priority | Self::Fast => true,
        }
    }

    /// The tier of a word, also in the providers' own words for the ordinary one (`default`, `auto`, `on_demand`).
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "default" | "auto" | "on_demand" | "standard_only" => Some(Self::Standard),
            _ => Self::ALL.into_iter().find(|tier| tier.as_str() == word),
        }
    }
}

/// A price: dollars per million tokens, at most 12 decimal places, at most a million.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsdPerMillion {
    /// In 10⁻¹² dollars per million tokens.
    pico: u64,
}

impl UsdPerMillion {
    /// Free.
    pub const ZERO: Self = Self { pico: 0 };

    /// Takes an exact price.
    ///
    /// # Errors
    /// When the price is negative, finer than [`PRICE_PLACES`], or above a million dollars.
    pub fn new(price: Decimal) -> Result<Self, BadAmount> {
        let price = price.normalize();
        if price < Decimal::ZERO {
            return Err(BadAmount::Negative);
        }
        if price > PRICE_MAX {
            return Err(BadAmount::TooLarge);
        }
        let pico = at_scale(price, PRICE_PLACES).ok_or(BadAmount::TooPrecise { places: PRICE_PLACES })?;
        u64::try_from(pico).map(|pico| Self { pico }).map_err(|_| BadAmount::TooLarge)
    }

    /// The price in dollars per million tokens.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        // 64 bits always fit the 96 of a `Decimal`, and 12 is below its largest scale.
        Decimal::try_from_i128_with_scale(i128::from(self.pico), PRICE_PLACES).unwrap_or_default().normalize()
    }
}

/// The mantissa of a value at a scale, if the value is not negative and no digit is lost.
fn at_scale(value: Decimal, scale: u32) -> Option<u128> {
    let missing = scale.checked_sub(value.scale())?;
    let mantissa = u128::try_from(value.mantissa()).ok()?;
    10_u128.checked_pow(missing).and_then(|factor| mantissa.checked_mul(factor))
}

/// The price of every bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct BucketPrices {
    /// Fresh prompt tokens.
    pub input: UsdPerMillion,
    /// Prompt tokens read from a cache.
    pub cache_read: UsdPerMillion,
    /// Prompt tokens written to a five-minute cache.
    pub cache_write_5m: UsdPerMillion,
    /// Prompt tokens written to a one-hour cache.
    pub cache_write_1h: UsdPerMillion,
    /// Visible completion tokens.
    pub output: UsdPerMillion,
    /// Completion tokens spent thinking.
    pub reasoning: UsdPerMillion,
}

impl BucketPrices {
    /// The prices in the order of [`Usage::buckets`].
    #[must_use]
    pub const fn in_order(&self) -> [UsdPerMillion; 6] {
        [self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.output, self.reasoning]
    }
}

/// The prices a source gives. Only the price of fresh input is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPrices {
    /// Fresh prompt tokens.
    pub input: UsdPerMillion,
    /// Prompt tokens read from a cache.
    pub cache_read: Option<UsdPerMillion>,
    /// Prompt tokens written to a five-minute cache, or to any cache where the source knows one write price.
    pub cache_write_5m: Option<UsdPerMillion>,
    /// Prompt tokens written to a one-hour cache.
    pub cache_write_1h: Option<UsdPerMillion>,
    /// Visible completion tokens. Absent for models that generate none (embeddings).
    pub output: Option<UsdPerMillion>,
    /// Completion tokens spent thinking.
    pub reasoning: Option<UsdPerMillion>,
}

impl PublishedPrices {
    /// Gives every bucket a price, and names the buckets whose price the source does not give.
    ///
    /// An unpriced cache read or write is an input token like any other; an unpriced one-hour write costs what the source's
    /// only write price is; an unpriced output costs what input costs, so that no token is free by omission.
    /// Thinking costs what output costs unless the source says otherwise: that is how providers bill it, and is not
    /// counted as derived.
    #[must_use]
    pub fn complete(self) -> (BucketPrices, Vec<Bucket>) {
        let cache_write_5m = self.cache_write_5m.unwrap_or(self.input);
        let output = self.output.unwrap_or(self.input);
        let prices = BucketPrices {
            input: self.input,
            cache_read: self.cache_read.unwrap_or(self.input),
            cache_write_5m,
            cache_write_1h: self.cache_write_1h.unwrap_or(cache_write_5m),
            output,
            reasoning: self.reasoning.unwrap_or(output),
        };
        let given = [
            (Bucket::CacheRead, self.cache_read),
            (Bucket::CacheWrite5m, self.cache_write_5m),
            (Bucket::CacheWrite1h, self.cache_write_1h),
            (Bucket::Output, self.output),
        ];
        let derived = given.into_iter().filter(|(_, price)| price.is_none()).map(|(bucket, _)| bucket).collect();
        (prices, derived)
    }
}

/// The prices of calls whose total input is at least `input_total_from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// The smallest total input (fresh, cached and written) that this tier prices.
    pub input_total_from: Tokens,
    /// What each bucket then costs.
    pub prices: BucketPrices,
}

/// Why a list of tiers prices nothing, or prices something twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTiers {
    /// No tier begins at zero tokens: small calls would have no price.
    #[error("the first tier must begin at 0 tokens")]
    NotFromZero,
    /// A tier begins where the one before it does, or earlier.
    #[error("tiers must begin at ever larger totals: {0} does not")]
    NotAscending(Tokens),
    /// More than [`TIERS_MAX`].
    #[error("has more than {TIERS_MAX} tiers")]
    TooMany,
}

/// Tiers in ascending order, the first from zero: exactly one prices any call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    base: Tier,
    above: Vec<Tier>,
}

impl Tiers {
    /// Takes tiers in ascending order.
    ///
    /// # Errors
    /// When the first does not begin at zero, or a later one does not begin above the one before it.
    pub fn new(tiers: Vec<Tier>) -> Result<Self, BadTiers> {
        if tiers.len() > TIERS_MAX {
            return Err(BadTiers::TooMany);
        }
        let mut rest = tiers.into_iter();
        let base = rest.next().filter(|tier| tier.input_total_from == Tokens::ZERO).ok_or(BadTiers::NotFromZero)?;
        let above: Vec<Tier> = rest.collect();
        let mut last = base.input_total_from;
        for tier in &above {
            if tier.input_total_from <= last {
                return Err(BadTiers::NotAscending(tier.input_total_from));
            }
            last = tier.input_total_from;
        }
        Ok(Self { base, above })
    }

    /// The tiers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &Tier> {
        std::iter::once(&self.base).chain(&self.above)
    }

    /// The tier of a call with this total input, and its place in the list.
    #[must_use]
    pub fn of(&self, input_total: Tokens) -> (usize, &Tier) {
        let reached = |(_, tier): &(usize, &Tier)| tier.input_total_from <= input_total;
        self.iter().enumerate().filter(reached).last().unwrap_or((0, &self.base))
    }
}

/// One dated price of one model on one service tier.
///
/// `Id` is `()` for a row that the database has not named yet: [`NewPriceRow`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRow<Id = PriceId> {
    /// The database key.
    pub id: Id,
    /// Who serves the model.
    pub provider: ProviderId,
    /// The model's canonical name: rows with the same provider and model are one price history.
    pub model: ModelId,
    /// Every other name the model goes by.
    pub matcher: ModelMatch,
    /// How it is served.
    pub service_tier: ServiceTier,
    /// Where it is served; `None` is anywhere.
    pub region: Option<RegionId>,
    /// The first instant of this price.
    pub effective_from: DateTime<Utc>,
    /// The first instant after this price, if it ends without a successor.
    pub effective_to: Option<DateTime<Utc>>,
    /// The prices, by total input.
    pub tiers: Tiers,
    /// Charged once for each call, on top.
    pub request_fee_usd: Usd,
    /// Buckets whose price is not the source's own but follows from the rule of [`PublishedPrices::complete`].
    pub derived: Vec<Bucket>,
    /// Where the price is from.
    pub source: String,
    /// The day the source spoke of.
    pub source_date: NaiveDate,
    /// The licence under which the source may be used.
    pub licence: String,
}

/// A price that the database has not named yet.
pub type NewPriceRow = PriceRow<()>;

impl NewPriceRow {
    /// The same row under its database key.
    #[must_use]
    pub fn with_id(self, id: PriceId) -> PriceRow {
        PriceRow {
            id,
            provider: self.provider,
            model: self.model,
            matcher: self.matcher,
            service_tier: self.service_tier,
            region: self.region,
            effective_from: self.effective_from,
            effective_to: self.effective_to,
            tiers: self.tiers,
            request_fee_usd: self.request_fee_usd,
            derived: self.derived,
            source: self.source,
            source_date: self.source_date,
            licence: self.licence,
        }
    }
}

/// How the sources of public price lists begin: those that ship, and those that `import prices` reads.
const PUBLIC_LISTS: [&str; 2] = ["genai-prices", "litellm"];

impl<Id> PriceRow<Id> {
    /// Whether the price is from a public list, and not one's own.
    #[must_use]
    pub fn is_listed_publicly(&self) -> bool {
        let source = self.source.to_ascii_lowercase();
        PUBLIC_LISTS.iter().any(|list| source.starts_with(list))
    }

    /// Whether this price holds at an instant.
    #[must_use]
    pub fn in_force(&self, at: DateTime<Utc>) -> bool {
        self.effective_from <= at && self.effective_to.is_none_or(|end| at < end)
    }
}

/// What a call costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priced {
    /// Dollars.
    pub usd: Usd,
    /// Which of the row's tiers priced it, counted from zero.
    pub tier: usize,
    /// Where that tier begins.
    pub tier_from: Tokens,
}

/// Why a call has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// More tokens or dollars than the ledger keeps.
    #[error("the price of the call {0}")]
    TooLarge(#[from] BadAmount),
    /// The fallback has no price to fall back on: no row of any provider makes this usage cost anything.
    #[error("no known price applies to the call: import a price book, or add a price for its model")]
    NothingKnown,
}

/// Prices a call by a row: one tier, chosen by the total input, prices every bucket.
///
/// # Errors
/// [`PriceError::TooLarge`] when the call's tokens or dollars cannot be kept.
pub fn price_call<Id>(row: &PriceRow<Id>, usage: &Usage) -> Result<Priced, PriceError> {
    price_calls(row, usage, 1)
}

/// Prices the usage of several calls added up.
///
/// The fee comes once for each, and the tier is that of a call of their mean input, rounded up. No one can say more of a
/// sum: who wants tiers to be exact reports calls one by one.
///
/// # Errors
/// [`PriceError::TooLarge`] when the tokens or dollars cannot be kept.
pub fn price_calls<Id>(row: &PriceRow<Id>, usage: &Usage, requests: u32) -> Result<Priced, PriceError> {
    let mean_input = usage.input_total()?.count().div_ceil(u64::from(requests.max(1)));
    let (tier, priced_by) = row.tiers.of(Tokens::new(mean_input)?);
    // In 10⁻¹⁸ dollars.
    let fee = at_scale(row.request_fee_usd.decimal(), PRICE_PLACES).and_then(|pico| pico.checked_mul(ATTO_PER_PICO));
    let fee = fee.and_then(|fee| fee.checked_mul(u128::from(requests)));
    let mut atto_usd = fee.ok_or(BadAmount::TooLarge)?;
    for (tokens, price) in usage.buckets().into_iter().zip(priced_by.prices.in_order()) {
        let cost = u128::from(tokens.count()).checked_mul(u128::from(price.pico));
        atto_usd = cost.and_then(|cost| atto_usd.checked_add(cost)).ok_or(BadAmount::TooLarge)?;
    }
    let pico_usd = i128::try_from(div_half_even(atto_usd)).map_err(|_| BadAmount::TooLarge)?;
    let usd = Decimal::try_from_i128_with_scale(pico_usd, PRICE_PLACES).map_err(|_| BadAmount::TooLarge)?;
    Ok(Priced { usd: Usd::new(usd)?, tier, tier_from: priced_by.input_total_from })
}

/// 10⁻¹⁸ dollars to 10⁻¹² dollars, half to even.
const fn div_half_even(atto: u128) -> u128 {
    let (whole, rest) = (atto / ATTO_PER_PICO, atto % ATTO_PER_PICO);
    let half = ATTO_PER_PICO / 2;
    // `whole` is at most a millionth of the largest u128: one more fits.
    if rest > half || (rest == half && whole % 2 == 1) { whole.saturating_add(1) } else { whole }
}
