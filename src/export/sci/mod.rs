//! Software carbon intensity after ISO/IEC 21031:2024: `SCI = ((E x I) + M) per R`.
//!
//! | term | here |
//! |---|---|
//! | `E` | energy of the calls, kWh, made again from the rows they were posted with |
//! | `I` | location-based grid factor, g/kWh; of several, the mean weighted by energy, so that `E x I` is what was posted |
//! | `M` | embodied emissions of the calls, g, as posted |
//! | `R` | [`FunctionalUnit`]: 1,000 output tokens, one request, or the feature as a whole |
//!
//! The boundary is the model calls of one feature of one tenant: the servers that answer, with their share of being made.
//! What the caller's own machines do, the network, and training are outside it.
//!
//! Invariants: `E x I` and `M` are sums of what was posted, exact to the nanogram; the market-based view is not used, because
//! the standard knows no contracts; a unit of which there are none has no figure, it is not zero.

mod manifest;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::{Decimal, RoundingStrategy};

pub use manifest::manifest;
pub use writer::{SciFormat, SciWriter};

use super::emission::{Emission, Ranged, Recaller, decimals};
use crate::domain::amounts::BadAmount;
use crate::domain::carbon::{FactorBook, RangeMethod};

/// Decimal places of an intensity per unit: a femtogram.
const INTENSITY_PLACES: u32 = 15;
/// Output tokens of one functional unit.
const TOKENS_PER_UNIT: Decimal = Decimal::ONE_THOUSAND;

/// `R`: what carbon is counted per.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionalUnit {
    /// 1,000 output tokens, visible and reasoning.
    OutputKilotokens,
    /// One call.
    Request,
    /// The feature, over the whole period.
    Feature,
}

impl FunctionalUnit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OutputKilotokens, Self::Request, Self::Feature];

    /// The word in exports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::OutputKilotokens => "1000_output_tokens",
            Self::Request => "request",
            Self::Feature => "feature",
        }
    }
}

/// The columns of the table, in order.
pub const COLUMNS: [&str; 21] = [
    "period_start",
    "period_end",
    "tenant_id",
    "feature",
    "functional_unit",
    "functional_units",
    "requests",
    "output_tokens",
    "energy_kwh",
    "grid_gco2e_per_kwh",
    "operational_gco2e",
    "embodied_gco2e",
    "carbon_gco2e",
    "carbon_gco2e_min",
    "carbon_gco2e_max",
    "sci_gco2e_per_unit",
    "sci_gco2e_per_unit_min",
    "sci_gco2e_per_unit_max",
    "range_method",
    "model_version",
    "standard",
];

/// The standard that the figures follow.
pub const STANDARD: &str = "ISO/IEC 21031:2024";

/// The first instant of the period and the first after it, as far as it has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SciPeriod {
    /// The first instant; none from the beginning.
    pub start: Option<DateTime<Utc>>,
    /// The first instant after; none when it has no end yet.
    pub end: Option<DateTime<Utc>>,
}

/// What a feature's calls add up to.
#[derive(Debug, Clone, Default)]
struct Feature {
    requests: i64,
    output: Decimal,
    energy: Ranged,
    operational: Ranged,
    embodied: Ranged,
    proportional: bool,
    methods: BTreeMap<&'static str, ()>,
}

impl Feature {
    fn carbon(&self) -> Result<Ranged, BadAmount> {
        self.operational.plus(&self.embodied)
    }

    /// `I`: grams over kilowatt-hours, zero where there was no energy.
    fn intensity(&self) -> Decimal {
        self.operational.mid.checked_div(self.energy.mid).unwrap_or_default()
    }

    /// `R`.
    fn units(&self, unit: FunctionalUnit) -> Decimal {
        match unit {
            FunctionalUnit::OutputKilotokens => self.output.checked_div(TOKENS_PER_UNIT).unwrap_or_default(),
            FunctionalUnit::Request => Decimal::from(self.requests),
            FunctionalUnit::Feature => Decimal::ONE,
        }
    }
}

/// Features that are being added up. Memory grows with features, never with calls.
#[derive(Debug)]
pub struct SciTable {
    period: SciPeriod,
    recaller: Recaller,
    features: BTreeMap<(String, String), Feature>,
}

impl SciTable {
    /// An empty one. The book must have at least the rows that the transfers name.
    #[must_use]
    pub fn new(period: SciPeriod, book: Arc<FactorBook>) -> Self {
        Self { period, recaller: Recaller::new(book), features: BTreeMap::new() }
    }

    /// Adds a transfer to its feature.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a sum cannot be kept.
    pub fn add(&mut self, emission: &Emission) -> Result<(), BadAmount> {
        let (carbon, _) = self.recaller.recall(emission)?;
        let key = (emission.tenant.to_string(), emission.feature.to_string());
        let feature = self.features.entry(key).or_default();
        let entry = emission.entry;
        feature.requests = entry.count(feature.requests, emission.requests);
        let output = entry.signed(emission.usage.output_total()?.decimal());
        feature.output = feature.output.checked_add(output).ok_or(BadAmount::TooLarge)?;
        feature.energy.add(entry, carbon.energy_kwh)?;
        feature.operational.add(entry, decimals(carbon.usage_location))?;
        feature.embodied.add(entry, decimals(carbon.embodied))?;
        feature.proportional |= carbon.ranges == RangeMethod::Proportional;
        feature.methods.insert(emission.factors.profile.name(), ());
        Ok(())
    }

    /// What the features add up to: operational and embodied grams, to be compared with the trial balance.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a sum cannot be kept.
    pub fn totals(&self) -> Result<(Decimal, Decimal), BadAmount> {
        self.features.values().try_fold((Decimal::ZERO, Decimal::ZERO), |(operational, embodied), feature| {
            let operational = operational.checked_add(feature.operational.mid).ok_or(BadAmount::TooLarge)?;
            Ok((operational, embodied.checked_add(feature.embodied.mid).ok_or(BadAmount::TooLarge)?))
        })
    }

    /// One line for each feature and functional unit, as cells under [`COLUMNS`].
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a sum cannot be kept.
    pub fn lines(&self) -> Result<Vec<Vec<String>>, BadAmount> {
        let mut lines = Vec::new();
        for ((tenant, name), feature) in &self.features {
            let carbon = feature.carbon()?;
            for unit in FunctionalUnit::ALL {
                let units = feature.units(unit);
                let per_unit = |grams: Decimal| per_unit(grams, units).map_or_else(String::new, number);
                lines.push(vec![
                    instant(self.period.start),
                    instant(self.period.end),
                    tenant.clone(),
                    name.clone(),
                    unit.word().to_owned(),
                    number(units),
                    feature.requests.to_string(),
                    number(feature.output),
                    number(feature.energy.mid),
                    number(feature.intensity().round_dp_with_strategy(9, RoundingStrategy::MidpointNearestEven)),
                    number(feature.operational.mid),
                    number(feature.embodied.mid),
                    number(carbon.mid),
                    number(carbon.min),
                    number(carbon.max),
                    per_unit(carbon.mid),
                    per_unit(carbon.min),
                    per_unit(carbon.max),
                    if feature.proportional { RangeMethod::Proportional } else { RangeMethod::Recomputed }
                        .word()
                        .to_owned(),
                    feature.methods.keys().copied().collect::<Vec<_>>().join(" "),
                    STANDARD.to_owned(),
                ]);
            }
        }
        Ok(lines)
    }
}

/// Carbon per functional unit; none where there are no units.
fn per_unit(grams: Decimal, units: Decimal) -> Option<Decimal> {
    let each = grams.checked_div(units).filter(|_| units > Decimal::ZERO)?;
    Some(each.round_dp_with_strategy(INTENSITY_PLACES, RoundingStrategy::MidpointNearestEven))
}

fn instant(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn number(value: Decimal) -> String {
    value.normalize().to_string()
}

#[cfg(test)]
mod tests;
