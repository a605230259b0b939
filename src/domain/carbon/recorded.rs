//! What a posted row stands on, evaluated again: the journal keeps middles, a report needs ranges.
//!
//! A transfer names its profile and its rows of the factor book, and the book never loses a row. So the estimate can be made
//! again, years later and whatever has been added since: [`FactorBook::recall`] takes the recorded rows where today's would
//! be others, and [`CarbonInputs::recorded`] gives the range around what was posted.
//!
//! | the middle made again | then the range is |
//! |---|---|
//! | is the posted one, to the nanogram | as the profile gives it: [`RangeMethod::Recomputed`] |
//! | is another (the data centre's row is not named in a transfer, or the amount was set by hand) | of the same proportions around the posted middle: [`RangeMethod::Proportional`] |
//!
//! Invariants: the middle is always the posted one, never the one made again; `min <= mid <= max`; energy stays in
//! proportion to the posted location-based grams, so that grams = energy x grid factor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::book::{FactorBook, Resolved, WORLD_G_PER_KWH, method, worst_size};
use super::factors::{FactorId, GridFactor, ModelFactor};
use super::interval::Interval;
use super::model::{CarbonGrams, CarbonInputs, MarketMethod, to_grams};
use super::profile::Profile;
use crate::domain::amounts::{BadAmount, Grams};
use crate::domain::id::{ModelId, ProviderId, RegionId};
use crate::domain::usage::Usage;

/// Decimal places of an energy in kWh: a picowatt-hour. Finer than what a nanogram of any grid needs.
pub const ENERGY_PLACES: u32 = 15;
/// Units of the last place in a kWh.
const ENERGY_UNITS: f64 = 1e15;
/// Above this many of them an energy cannot be kept.
const ENERGY_UNITS_MAX: f64 = 1e27;

/// The rows that a transfer can name, by id.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordedRows {
    pub(super) models: BTreeMap<FactorId, Arc<ModelFactor>>,
    pub(super) grids: BTreeMap<FactorId, Arc<GridFactor>>,
}

/// The rows of the factor book that a transfer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordedFactors {
    /// The method.
    pub profile: Profile,
    /// The row of the model's parameters.
    pub model: Option<FactorId>,
    /// The row of the grid's intensity.
    pub grid: Option<FactorId>,
    /// The row of the market-based intensity, if a contract was known.
    pub market: Option<FactorId>,
}

/// How a range around a posted middle was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RangeMethod {
    /// From the recorded rows, which give the posted middle again to the nanogram.
    Recomputed,
    /// From the recorded rows, whose range was carried to the posted middle in proportion.
    Proportional,
}

impl RangeMethod {
    /// The word in exports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Recomputed => "recomputed",
            Self::Proportional => "proportional",
        }
    }
}

/// A decimal figure with its bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds<T> {
    /// The least.
    pub min: T,
    /// The middle.
    pub mid: T,
    /// The most.
    pub max: T,
}

/// What was posted, with its ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedCarbon {
    /// Energy in kWh, to [`ENERGY_PLACES`].
    pub energy_kwh: Bounds<Decimal>,
    /// Location-based emissions of the electricity. The middle is the posted one.
    pub usage_location: Bounds<Grams>,
    /// Market-based emissions of the electricity. The middle is the posted one.
    pub usage_market: Bounds<Grams>,
    /// Embodied emissions. The middle is the posted one.
    pub embodied: Bounds<Grams>,
    /// How the ranges were made.
    pub ranges: RangeMethod,
}

impl FactorBook {
    /// The inputs of a call that was posted at an instant, by the rows it was posted with.
    ///
    /// What a transfer does not name (the data centre, the region's grids) is resolved as it was then: by the instant. A row
    /// that is named and not in the book is left as resolved; the range is then one in proportion.
    #[must_use]
    pub fn recall(
        &self,
        named: RecordedFactors,
        provider: &ProviderId,
        model: &ModelId,
        region: Option<&RegionId>,
        at: DateTime<Utc>,
    ) -> CarbonInputs {
        let inputs = self.resolve(named.profile, provider, model, region, None, at);
        if inputs.factors() == named {
            return inputs;
        }
        let mut resolved: Resolved = inputs.resolved;
        match named.model.map(|id| self.recorded.models.get(&id)) {
            Some(Some(row)) => {
                resolved.size = row.size;
                resolved.model = Some(Arc::clone(row));
            }
            Some(None) => {}
            None => {
                resolved.size = worst_size();
                resolved.model = None;
            }
        }
        match named.grid.map(|id| self.recorded.grids.get(&id)) {
            Some(Some(row)) => {
                resolved.location_g_per_kwh = row.g_per_kwh;
                resolved.grid = Some(Arc::clone(row));
            }
            Some(None) => {}
            None => {
                resolved.location_g_per_kwh = WORLD_G_PER_KWH;
                resolved.grid = None;
            }
        }
        match named.market.map(|id| self.recorded.grids.get(&id)) {
            Some(Some(row)) => {
                resolved.market_g_per_kwh = row.g_per_kwh;
                resolved.market_method = method(row.accounting);
                resolved.market = Some(Arc::clone(row));
            }
            Some(None) => {}
            None => {
                resolved.market_g_per_kwh = resolved.location_g_per_kwh;
                resolved.market_method = MarketMethod::LocationFallback;
                resolved.market = None;
            }
        }
        CarbonInputs::new(named.profile, resolved)
    }

    /// The set that a row belongs to which a transfer can name; none if the book has no such row.
    #[must_use]
    pub fn set_of(&self, id: FactorId) -> Option<&str> {
        let model = self.recorded.models.get(&id).map(|row| &row.source);
        let source = model.or_else(|| self.recorded.grids.get(&id).map(|row| &row.source));
        source.map(|source| source.set.as_str())
    }
}

impl RecordedFactors {
    /// Whether it names no row at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.model.is_none() && self.grid.is_none() && self.market.is_none()
    }
}

impl CarbonInputs {
    /// The rows that a transfer names which is priced by these.
    #[must_use]
    pub fn factors(&self) -> RecordedFactors {
        let id_of = |row: &Option<Arc<GridFactor>>| row.as_ref().map(|row| row.id);
        RecordedFactors {
            profile: self.profile,
            model: self.resolved.model.as_ref().map(|row| row.id),
            grid: id_of(&self.resolved.grid),
            market: id_of(&self.resolved.market),
        }
    }

    /// The ranges around what was posted for a call.
    ///
    /// `latency` is what it was posted with: none for a call whose duration was not taken into account.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a figure cannot be kept.
    pub fn recorded(
        &self,
        usage: &Usage,
        latency: Option<Duration>,
        posted: CarbonGrams,
    ) -> Result<RecordedCarbon, BadAmount> {
        let estimate = self.estimate(usage, latency);
        let again = self.grams(usage, latency)?;
        let location = share(again.usage_location, posted.usage_location);
        Ok(RecordedCarbon {
            energy_kwh: energy(estimate.energy_kwh.scale(location))?,
            usage_location: around(estimate.usage_location_g.scale(location), posted.usage_location)?,
            usage_market: around(
                estimate.usage_market_g.scale(share(again.usage_market, posted.usage_market)),
                posted.usage_market,
            )?,
            embodied: around(estimate.embodied_g.scale(share(again.embodied, posted.embodied)), posted.embodied)?,
            ranges: if again == posted { RangeMethod::Recomputed } else { RangeMethod::Proportional },
        })
    }
}

/// Posted over made again: exactly 1 where they agree.
fn share(again: Grams, posted: Grams) -> f64 {
    if again == posted {
        return 1.0;
    }
    let ratio = posted.decimal().checked_div(again.decimal()).and_then(|ratio| f64::try_from(ratio).ok());
    // Nothing was expected and something was posted: there are no proportions to carry, the range is the point itself.
    ratio.unwrap_or(0.0)
}

fn around(range: Interval, posted: Grams) -> Result<Bounds<Grams>, BadAmount> {
    Ok(Bounds { min: to_grams(range.min)?.min(posted), mid: posted, max: to_grams(range.max)?.max(posted) })
}

fn energy(kwh: Interval) -> Result<Bounds<Decimal>, BadAmount> {
    Ok(Bounds { min: to_energy(kwh.min)?, mid: to_energy(kwh.mid)?, max: to_energy(kwh.max)? })
}

/// Rounds half to even to [`ENERGY_PLACES`].
fn to_energy(kwh: f64) -> Result<Decimal, BadAmount> {
    let units = (kwh * ENERGY_UNITS).round_ties_even();
    if !(0.0..=ENERGY_UNITS_MAX).contains(&units) {
        return Err(if units < 0.0 { BadAmount::Negative } else { BadAmount::TooLarge });
    }
    #[expect(clippy::as_conversions, reason = "checked above: a whole number between zero and 10^27")]
    let units = units as i128;
    Decimal::try_from_i128_with_scale(units, ENERGY_PLACES).map_err(|_| BadAmount::TooLarge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::fixtures::{at, call, rates, usage};

    /// The inputs by today's rows and those recalled by the rows `of` a call.
    fn recalled(today: &str, of: &str) -> CarbonInputs {
        let (today, of) = (call(today), call(of));
        let book = &rates().factors;
        let at = at("2026-01-01T00:00:00Z");
        let posted = book.resolve(Profile::Extended1, &of.provider, &of.model, of.region.as_ref(), None, at);
        book.recall(posted.factors(), &today.provider, &today.model, today.region.as_ref(), at)
    }

    #[test]
    fn a_range_is_made_again_from_the_rows_that_were_recorded_not_from_those_of_today() {
        let tokens = usage([1_000, 200, 0, 0, 500, 0]);
        for (today, then) in [
            ("a/b openai/gpt-4o region=us-east", "a/b openai/gpt-4o region=us-east"),
            // Today the call would be of another model and another grid, with a contract.
            ("a/b openai/gpt-4o-mini region=eu-central", "a/b openai/gpt-4o region=us-east"),
            ("a/b openai/gpt-4o", "a/b openai/gpt-4o region=eu-central"),
        ] {
            let posted = recalled(then, then).grams(&tokens, None).unwrap();
            let again = recalled(today, then).recorded(&tokens, None, posted).unwrap();
            assert_eq!(again.ranges, RangeMethod::Recomputed, "{today} for {then}");
            assert_eq!(again.usage_location.mid, posted.usage_location);
            assert!(
                again.usage_location.min < posted.usage_location && posted.usage_location < again.usage_location.max
            );
            assert!(again.embodied.min < posted.embodied && posted.embodied < again.embodied.max);
        }
    }

    #[test]
    fn a_middle_that_cannot_be_made_again_keeps_the_proportions_of_its_range() {
        let tokens = usage([0, 0, 0, 0, 500, 0]);
        let inputs = recalled("a/b openai/gpt-4o", "a/b openai/gpt-4o");
        let whole = inputs.grams(&tokens, None).unwrap();
        let half = |grams: Grams| Grams::round_half_even(grams.decimal().checked_div(Decimal::TWO).unwrap()).unwrap();
        let posted = CarbonGrams {
            usage_location: half(whole.usage_location),
            usage_market: half(whole.usage_market),
            embodied: half(whole.embodied),
        };
        let (range, of_whole) =
            (inputs.recorded(&tokens, None, posted).unwrap(), inputs.recorded(&tokens, None, whole).unwrap());
        assert_eq!(range.ranges, RangeMethod::Proportional);
        assert_eq!(range.usage_location.mid, posted.usage_location, "the posted middle is never replaced");
        let near = |a: Decimal, b: Decimal| a.checked_sub(b).unwrap().abs() <= Decimal::new(2, 9);
        assert!(near(range.usage_location.max.decimal(), half(of_whole.usage_location.max).decimal()));
        assert!(near(range.embodied.min.decimal(), half(of_whole.embodied.min).decimal()));
    }

    #[test]
    fn what_failed_without_usage_has_no_range_either() {
        let inputs = recalled("a/b openai/gpt-4o", "a/b openai/gpt-4o");
        let nothing = CarbonGrams { usage_location: Grams::ZERO, usage_market: Grams::ZERO, embodied: Grams::ZERO };
        let range = inputs.recorded(&usage([0, 0, 0, 0, 500, 0]), None, nothing).unwrap();
        assert_eq!(range.usage_location, Bounds::default());
        assert_eq!(range.embodied, Bounds::default());
        assert_eq!(range.energy_kwh.mid, Decimal::ZERO);
    }

    proptest! {
        #[test]
        fn bounds_never_cross_and_the_middle_is_the_posted_one(
            buckets in any::<[u32; 6]>(), nanograms in any::<u32>(), latency in proptest::option::of(0u64..100_000),
        ) {
            let inputs = recalled("a/b openai/gpt-4o region=eu-central", "a/b openai/gpt-4o region=eu-central");
            let tokens = usage(buckets.map(u64::from));
            let latency = latency.map(Duration::from_millis);
            let any = Grams::new(Decimal::new(i64::from(nanograms), 9)).unwrap();
            let exact = inputs.grams(&tokens, latency).unwrap();
            for posted in [exact, CarbonGrams { usage_location: any, usage_market: any, embodied: any }] {
                let range = inputs.recorded(&tokens, latency, posted).unwrap();
                for (bounds, posted) in [
                    (range.usage_location, posted.usage_location),
                    (range.usage_market, posted.usage_market),
                    (range.embodied, posted.embodied),
                ] {
                    prop_assert!(bounds.min <= bounds.mid && bounds.mid <= bounds.max);
                    prop_assert_eq!(bounds.mid, posted);
                }
                prop_assert!(range.energy_kwh.min <= range.energy_kwh.mid && range.energy_kwh.mid <= range.energy_kwh.max);
            }
        }
    }
}
