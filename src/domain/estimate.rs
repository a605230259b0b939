//! What a call would cost in every unit, with everything that explains it. Touches nothing.
//!
//! The same books and formulas as a pre-flight or a settlement, with the ranges, the profile and the place that those do not
//! choose.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::amounts::Tokens;
use super::carbon::{CarbonEstimate, CarbonGrams, GridZone, Profile, Resolved};
use super::id::{ModelId, ProviderId, RegionId};
use super::price::book::Found;
use super::price::{PriceRow, Priced, ServiceTier, price_call};
use super::tariff::{RateBooks, TariffError};
use super::usage::Usage;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who would serve it.
    pub provider: ProviderId,
    /// With what.
    pub model: ModelId,
    /// How.
    pub service_tier: ServiceTier,
    /// Where: prices and grids of a region.
    pub region: Option<RegionId>,
    /// On which grid; goes before the region's.
    pub grid_zone: Option<GridZone>,
    /// What it would use.
    pub usage: Usage,
    /// How long it would take, if measured.
    pub latency: Option<Duration>,
    /// The carbon method.
    pub profile: Profile,
    /// When.
    pub at: DateTime<Utc>,
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// All tokens.
    pub tokens: Tokens,
    /// Dollars, and the tier used.
    pub priced: Priced,
    /// The row they are from.
    pub row: Arc<PriceRow>,
    /// Whether that row is of another model, because this one has no price.
    pub unpriced: bool,
    /// Energy and emissions, with ranges.
    pub carbon: CarbonEstimate,
    /// The middle figures, as the ledger would post them.
    pub grams: CarbonGrams,
    /// The factor rows.
    pub resolved: Resolved,
}

/// Answers.
///
/// # Errors
/// When an amount is beyond what the ledger can keep, or no price is known at all.
pub fn estimate(books: &RateBooks, question: &Question) -> Result<Estimate, TariffError> {
    let Question { provider, model, service_tier, region, grid_zone, usage, latency, profile, at } = question;
    let (row, priced, unpriced) = match books.prices.find(provider, model, *service_tier, region.as_ref(), *at) {
        Found::Priced(row) => {
            let priced = price_call(&row, usage)?;
            (row, priced, false)
        }
        Found::Unpriced(fallback) => {
            let dearest = fallback.price(usage)?;
            (dearest.row, dearest.priced, true)
        }
    };
    let zone = grid_zone.as_ref().map(GridZone::as_str);
    let inputs = books.factors.resolve(*profile, provider, model, region.as_ref(), zone, *at);
    let carbon = inputs.estimate(usage, *latency);
    let grams = carbon.grams()?;
    Ok(Estimate { tokens: usage.total()?, priced, row, unpriced, carbon, grams, resolved: inputs.resolved })
}
