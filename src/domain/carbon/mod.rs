//! Carbon: what a call costs in grams of CO2e, by a named method, from named factors.
//!
//! | file | what it holds |
//! |---|---|
//! | [`interval`] | minimum, middle, maximum of one figure |
//! | [`profile`] | the named methods and the parameters each of them fixes |
//! | [`regression`] | the formulas of one request under one set of point parameters |
//! | [`model`] | [`CarbonInputs`]: a resolved call, ready to be evaluated; [`CarbonEstimate`]: the answer |
//! | [`factors`] | dated, sourced rows: model sizes, grids, how a provider serves, where a region is |
//! | [`recorded`] | what a posted row stands on, evaluated again with its range |
//! | [`names`] | the ways providers spell one model |
//! | [`book`] | [`FactorBook`]: finds the rows for a call, falls back where there are none, and says so |
//!
//! Invariants: location-based, market-based and embodied grams are never added here except location + embodied and
//! market + embodied; an unknown model, grid, region or provider is never zero, it is a declared fallback with a flag;
//! more tokens never emit less. The middle figures are rounded once, half to even, to the nanogram, at
//! [`CarbonEstimate::grams`], and nowhere else.
//!
//! Deliberately absent: water, primary energy and abiotic depletion (their factors may not be redistributed), offsets,
//! and any use of the clock: the instant of the call is an argument.
#![expect(
    clippy::float_arithmetic,
    reason = "an emission model is an estimate from a regression; it is computed in f64 and rounded once at its edge"
)]

pub mod book;
pub mod factors;
pub mod interval;
pub mod model;
pub mod names;
pub mod profile;
pub mod recorded;
pub mod regression;

pub use book::{FactorBook, Fallbacks, GridFallback, ModelFallback, RegionFallback, Resolved, ServingFallback};
pub use factors::{
    Accounting, BadFactor, Basis, Factor, FactorId, FactorKind, FactorSource, GridFactor, GridZone, ModelFactor,
    ModelSize, RegionFactor, ServingFactor, Validity,
};
pub use interval::Interval;
pub use model::{CarbonEstimate, CarbonGrams, CarbonInputs, Gpus, LikelyRanges, MarketMethod};
pub use profile::{Profile, UnknownProfile};
pub use recorded::{RangeMethod, RecordedCarbon, RecordedFactors};

#[cfg(test)]
mod tests;
