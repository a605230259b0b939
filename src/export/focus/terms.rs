//! What rows of the books mean to a charge: unit prices by price row and tier, sets and methods by factor row.

use std::collections::BTreeMap;

use super::split::UnitPrices;
use crate::domain::carbon::{Accounting, Factor, FactorId, MarketMethod};
use crate::domain::price::{PriceId, PriceRow, UsdPerMillion};
use crate::export::ExportError;
use crate::export::table::pico;

/// One tier of one price row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceTerms {
    /// The price row.
    pub id: i64,
    /// The model it prices, by its canonical name.
    pub model: String,
    /// How it is served.
    pub service_tier: &'static str,
    /// Total input tokens from which the tier holds.
    pub tier_from: u64,
    /// The unit prices.
    pub units: UnitPrices,
    /// Where the price is from.
    pub source: String,
    /// The day the source spoke of.
    pub source_date: String,
}

/// A factor row of electricity.
#[derive(Debug, Clone, PartialEq)]
pub struct GridTerms {
    /// The publication it belongs to.
    pub set: String,
    /// 1 published by the operator or an authority, 2 derived, 3 assumed.
    pub tier: u8,
    /// g CO2e per kWh.
    g_per_kwh: f64,
}

impl GridTerms {
    /// The electricity that emits so much, in 10⁻¹² kWh: the figure the grams were computed from, read back.
    #[must_use]
    pub fn energy_kwh(&self, pico_grams: i128) -> Option<i128> {
        if self.g_per_kwh <= 0.0 {
            return None;
        }
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "an estimate that was a float before it was grams; `as` saturates"
        )]
        let pico_kwh = (pico_grams as f64 / self.g_per_kwh).round_ties_even() as i128;
        Some(pico_kwh)
    }
}

/// All of them, by id.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    prices: BTreeMap<(PriceId, u64), PriceTerms>,
    grids: BTreeMap<FactorId, GridTerms>,
    markets: BTreeMap<FactorId, MarketMethod>,
}

impl Terms {
    /// From the rows of the books.
    ///
    /// # Errors
    /// When a price has more digits than a column.
    pub fn new(prices: &[PriceRow], factors: &[Factor]) -> Result<Self, ExportError> {
        let mut terms = Self::default();
        for row in prices {
            for tier in row.tiers.iter() {
                let tier_from = tier.input_total_from.count();
                let mut per_million = [0; 6];
                let published = tier.prices.in_order().map(UsdPerMillion::decimal);
                for (unit, price) in per_million.iter_mut().zip(published) {
                    *unit = pico("the unit price", price)?;
                }
                let units = UnitPrices { per_million, per_request: pico("the fee", row.request_fee_usd.decimal())? };
                let price = PriceTerms {
                    id: row.id.0,
                    model: row.model.to_string(),
                    service_tier: row.service_tier.as_str(),
                    tier_from,
                    units,
                    source: row.source.clone(),
                    source_date: row.source_date.to_string(),
                };
                terms.prices.insert((row.id, tier_from), price);
            }
        }
        for factor in factors {
            match factor {
                Factor::Grid(grid) => {
                    let source = &grid.source;
                    let found = GridTerms { set: source.set.clone(), tier: source.tier, g_per_kwh: grid.g_per_kwh };
                    terms.grids.insert(grid.id, found);
                    terms.markets.insert(grid.id, method(grid.accounting));
                }
                Factor::Model(_) | Factor::Serving(_) | Factor::Region(_) => {}
            }
        }
        Ok(terms)
    }

    /// The terms of a price row and tier, if the books have them.
    #[must_use]
    pub fn price(&self, id: Option<PriceId>, tier_from: u64) -> Option<&PriceTerms> {
        self.prices.get(&(id?, tier_from))
    }

    /// The terms of a grid's row.
    #[must_use]
    pub fn grid(&self, id: Option<FactorId>) -> Option<&GridTerms> {
        self.grids.get(&id?)
    }

    /// How the market-based figure was made.
    #[must_use]
    pub fn market_method(&self, id: Option<FactorId>) -> &'static str {
        id.and_then(|id| self.markets.get(&id).copied()).unwrap_or(MarketMethod::LocationFallback).word()
    }
}

const fn method(accounting: Accounting) -> MarketMethod {
    match accounting {
        Accounting::MarketContract => MarketMethod::Contract,
        Accounting::MarketSupplier => MarketMethod::Supplier,
        Accounting::Residual => MarketMethod::Residual,
        Accounting::Location => MarketMethod::LocationFallback,
    }
}
