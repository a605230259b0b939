//! A resolved call, and what it emits.
//!
//! [`CarbonInputs`] holds everything that does not depend on the tokens, already reduced to a few numbers per corner of the
//! parameter space, so that a verdict can search over [`CarbonInputs::grams`]. The three figures of an interval are exact:
//! every parameter moves a result in one direction only, so the extremes are the two corners where all of them agree.

use std::time::Duration;

use rust_decimal::Decimal;

use super::book::{Fallbacks, Resolved};
use super::interval::Interval;
use super::profile::{Parameters, Profile};
use super::regression::{
    Corner, Outcome, Point, Speed, Work, embodied_per_gpu_kg, generation_latency_s, gpus_required, highest,
    latency_per_token_s, lowest, middle,
};
use crate::domain::amounts::{BadAmount, Grams, Tokens};
use crate::domain::usage::Usage;

/// Nanograms in a gram.
const NANOGRAMS_PER_GRAM: f64 = 1e9;
/// Above this many nanograms (10^27) an amount of grams cannot be kept anyway.
const NANOGRAMS_MAX: f64 = 1e27;

/// How the market-based figure was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarketMethod {
    /// From a contract of the provider.
    Contract,
    /// From what the provider's electricity supplier declares.
    Supplier,
    /// From the residual mix of the grid.
    Residual,
    /// There is no market factor: it is the location-based figure.
    LocationFallback,
}

impl MarketMethod {
    /// The word on rows and in answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Supplier => "supplier",
            Self::Residual => "residual",
            Self::LocationFallback => "location_fallback",
        }
    }
}

/// GPUs that hold the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gpus {
    /// The least.
    pub min: u32,
    /// At the middle of the parameters.
    pub mid: u32,
    /// The most.
    pub max: u32,
}

/// The middle figures, in grams to the nanogram. Location and market are two views of one emission: never add them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarbonGrams {
    /// Emissions of the electricity used, by the grid where it was used.
    pub usage_location: Grams,
    /// Emissions of the electricity used, by the contracts it was bought under.
    pub usage_market: Grams,
    /// The share of making the hardware.
    pub embodied: Grams,
}

/// Where the figures are likely to lie: half-widths in the logarithm, added in quadrature, within the outer bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LikelyRanges {
    /// Energy, kWh.
    pub energy_kwh: Interval,
    /// Location-based emissions of the electricity, g CO2e.
    pub usage_location_g: Interval,
    /// Market-based emissions of the electricity, g CO2e.
    pub usage_market_g: Interval,
    /// Embodied emissions, g CO2e.
    pub embodied_g: Interval,
}

/// What a call emits, by one profile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CarbonEstimate {
    /// The method.
    pub profile: Profile,
    /// Energy, kWh.
    pub energy_kwh: Interval,
    /// Location-based emissions of the electricity, g CO2e.
    pub usage_location_g: Interval,
    /// Market-based emissions of the electricity, g CO2e.
    pub usage_market_g: Interval,
    /// Embodied emissions, g CO2e.
    pub embodied_g: Interval,
    /// The likely ranges.
    pub likely: LikelyRanges,
    /// Seconds the request occupies the server.
    pub generation_latency_s: Interval,
    /// GPUs that hold the model.
    pub gpus: Gpus,
    /// How the market-based figure was made.
    pub market_method: MarketMethod,
    /// What had to be assumed.
    pub fallbacks: Fallbacks,
}

impl CarbonEstimate {
    /// The middle figures, rounded half to even to the nanogram. What the ledger posts.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a figure cannot be kept.
    pub fn grams(&self) -> Result<CarbonGrams, BadAmount> {
        round_grams(self.usage_location_g.mid, self.usage_market_g.mid, self.embodied_g.mid)
    }

    /// `gco2e`: location-based plus embodied.
    #[must_use]
    pub fn gco2e_g(&self) -> Interval {
        self.usage_location_g.plus(self.embodied_g)
    }

    /// `gco2e_market`: market-based plus embodied.
    #[must_use]
    pub fn gco2e_market_g(&self) -> Interval {
        self.usage_market_g.plus(self.embodied_g)
    }
}

/// Squared half-widths in the logarithm, down and up.
#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    down: f64,
    up: f64,
}

impl Spread {
    /// Adds one parameter that multiplies the result: its value at the low end, in the middle, at the high end.
    fn and(self, low: f64, mid: f64, high: f64) -> Self {
        let square = |from: f64, to: f64| {
            let width = (to / from).ln();
            if width.is_finite() { width * width } else { 0.0 }
        };
        Self { down: self.down + square(low, mid), up: self.up + square(mid, high) }
    }

    /// The likely range around a middle, within outer bounds.
    fn around(self, outer: Interval) -> Interval {
        Interval {
            min: (outer.mid * (-self.down.sqrt()).exp()).max(outer.min),
            mid: outer.mid,
            max: (outer.mid * self.up.sqrt().exp()).min(outer.max),
        }
    }
}

/// A pair of corners in which one parameter is at its low and at its high end, and all others in the middle.
#[derive(Debug, Clone, Copy)]
struct Swing {
    low: Corner,
    high: Corner,
}

/// Everything that is known of a call before its tokens are: cheap to clone and to evaluate.
#[derive(Debug, Clone)]
pub struct CarbonInputs {
    /// The method.
    pub profile: Profile,
    /// The rows it was resolved from.
    pub resolved: Resolved,
    /// Location-based factor, g/kWh.
    pub location_g_per_kwh: f64,
    /// Market-based factor, g/kWh.
    pub market_g_per_kwh: f64,
    low: Corner,
    mid: Corner,
    high: Corner,
    size: Swing,
    batch: Swing,
    prompt: Swing,
    spread_energy: Spread,
    spread_embodied: Spread,
    latency_per_token_s: Interval,
    first_token_s: f64,
    gpus: Gpus,
}

impl CarbonInputs {
    pub(super) fn new(profile: Profile, resolved: Resolved) -> Self {
        let fixed = profile.parameters();
        let size = resolved.size;
        let (active, total, pue) = (size.active_params_b, size.total_params_b, resolved.pue);
        let speed = Speed { tps: size.tps, ttft_s: size.ttft_s };
        let mid = middle(active.mid, total.mid, pue.mid, &fixed);
        let corner = |point: Point| Corner::new(&point, speed);
        let gpus = Gpus {
            min: gpus_required(total.min, fixed.bits.min),
            mid: gpus_required(total.mid, fixed.bits.mid),
            max: gpus_required(total.max, fixed.bits.max),
        };
        Self {
            profile,
            location_g_per_kwh: resolved.location_g_per_kwh,
            market_g_per_kwh: resolved.market_g_per_kwh,
            low: corner(lowest(active.min, total.min, pue.min, &fixed)),
            mid: corner(mid),
            high: corner(highest(active.max, total.max, pue.max, &fixed)),
            // Active and total parameters are one unknown: a model that is larger is larger in both.
            size: Swing {
                low: corner(Point { active_b: active.min, total_b: total.min, ..mid }),
                high: corner(Point { active_b: active.max, total_b: total.max, ..mid }),
            },
            batch: Swing {
                low: corner(Point { batch: fixed.batch.max, ..mid }),
                high: corner(Point { batch: fixed.batch.min, ..mid }),
            },
            prompt: Swing {
                low: corner(Point { weight_input: fixed.weight_input.min, ..mid }),
                high: corner(Point { weight_input: fixed.weight_input.max, ..mid }),
            },
            spread_energy: multiplied_energy(&fixed, total.mid, pue),
            spread_embodied: multiplied_embodied(&fixed, total.mid),
            // Latency grows with the batch while emissions shrink with it, so its bounds are of other corners.
            latency_per_token_s: Interval {
                min: latency_per_token_s(active.min, fixed.batch.min, speed),
                mid: latency_per_token_s(active.mid, fixed.batch.mid, speed),
                max: latency_per_token_s(active.max, fixed.batch.max, speed),
            },
            first_token_s: size.ttft_s.unwrap_or(0.0),
            gpus,
            resolved,
        }
    }

    /// What the call emits, with ranges.
    ///
    /// `latency` is the measured duration of the call, none when it was not measured. It can only shorten what the model
    /// is thought to have needed. A duration of zero is not a measurement, except in the `ecologits-0.11.3` profile, which
    /// takes it at its word.
    #[must_use]
    pub fn estimate(&self, usage: &Usage, latency: Option<Duration>) -> CarbonEstimate {
        let work = self.work(usage, latency);
        let (low, high) = (self.low.evaluate(work), self.high.evaluate(work));
        let mid = self.middle(work, low, high);
        let energy_kwh = Interval::new(low.energy_kwh, mid.energy_kwh, high.energy_kwh);
        let embodied_g = Interval::new(low.embodied_g, mid.embodied_g, high.embodied_g);
        let usage_location_g = energy_kwh.scale(self.location_g_per_kwh);
        let usage_market_g = energy_kwh.scale(self.market_g_per_kwh);
        CarbonEstimate {
            profile: self.profile,
            energy_kwh,
            usage_location_g,
            usage_market_g,
            embodied_g,
            likely: self.likely(work, mid, energy_kwh, embodied_g),
            generation_latency_s: self.generation_latency_s(work),
            gpus: self.gpus,
            market_method: self.resolved.market_method,
            fallbacks: self.resolved.fallbacks,
        }
    }

    /// The middle figures only, rounded: the same as [`CarbonEstimate::grams`], for a search over many candidates.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a figure cannot be kept.
    pub fn grams(&self, usage: &Usage, latency: Option<Duration>) -> Result<CarbonGrams, BadAmount> {
        let work = self.work(usage, latency);
        let mid = match self.profile {
            Profile::Extended1 => self.mid.evaluate(work),
            Profile::EcoLogits0113 => self.middle(work, self.low.evaluate(work), self.high.evaluate(work)),
        };
        let energy = mid.energy_kwh;
        round_grams(energy * self.location_g_per_kwh, energy * self.market_g_per_kwh, mid.embodied_g)
    }

    fn middle(&self, work: Work, low: Outcome, high: Outcome) -> Outcome {
        match self.profile {
            // `EcoLogits` has no middle; its exporter takes the mean.
            Profile::EcoLogits0113 => Outcome {
                energy_kwh: f64::midpoint(low.energy_kwh, high.energy_kwh),
                embodied_g: f64::midpoint(low.embodied_g, high.embodied_g),
            },
            Profile::Extended1 => self.mid.evaluate(work),
        }
    }

    fn work(&self, usage: &Usage, latency: Option<Duration>) -> Work {
        let fixed = self.profile.parameters();
        let written = count(usage.cache_write_5m) + count(usage.cache_write_1h);
        let measured = match self.profile {
            Profile::EcoLogits0113 => latency,
            Profile::Extended1 => latency.filter(|latency| !latency.is_zero()),
        };
        Work {
            output: count(usage.output) + count(usage.reasoning),
            prompt: count(usage.input)
                + fixed.weight_cache_write * written
                + fixed.weight_cache_read * count(usage.cache_read),
            latency_s: measured.map_or(f64::INFINITY, |latency| latency.as_secs_f64()),
        }
    }

    fn generation_latency_s(&self, work: Work) -> Interval {
        let seconds = |per_token: f64| generation_latency_s(per_token, self.first_token_s, work);
        let per_token = self.latency_per_token_s;
        let (min, max) = (seconds(per_token.min), seconds(per_token.max));
        match self.profile {
            Profile::EcoLogits0113 => Interval::between(min, max),
            Profile::Extended1 => Interval::new(min, seconds(per_token.mid), max),
        }
    }

    fn likely(&self, work: Work, mid: Outcome, energy_kwh: Interval, embodied_g: Interval) -> LikelyRanges {
        let (energy, embodied) = match self.profile {
            // It has no likely range of its own: its bounds are what it says.
            Profile::EcoLogits0113 => (energy_kwh, embodied_g),
            Profile::Extended1 => {
                let (mut energy, mut embodied) = (self.spread_energy, self.spread_embodied);
                for swing in [&self.size, &self.batch] {
                    let (low, high) = (swing.low.evaluate(work), swing.high.evaluate(work));
                    energy = energy.and(low.energy_kwh, mid.energy_kwh, high.energy_kwh);
                    embodied = embodied.and(low.embodied_g, mid.embodied_g, high.embodied_g);
                }
                let (low, high) = (self.prompt.low.evaluate(work), self.prompt.high.evaluate(work));
                energy = energy.and(low.energy_kwh, mid.energy_kwh, high.energy_kwh);
                (energy.around(energy_kwh), embodied.around(embodied_g))
            }
        };
        LikelyRanges {
            energy_kwh: energy,
            usage_location_g: energy.scale(self.location_g_per_kwh),
            usage_market_g: energy.scale(self.market_g_per_kwh),
            embodied_g: embodied,
        }
    }
}

/// The spread of energy by what only multiplies it, whatever the call: GPUs by precision, and PUE.
fn multiplied_energy(fixed: &Parameters, total_b: f64, pue: Interval) -> Spread {
    let gpus = |bits: f64| f64::from(gpus_required(total_b, bits));
    Spread::default()
        .and(gpus(fixed.bits.min), gpus(fixed.bits.mid), gpus(fixed.bits.max))
        .and(pue.min, pue.mid, pue.max)
}

/// The spread of embodied emissions by what only multiplies them: GPUs by precision, utilisation, lifetime, and making a GPU.
fn multiplied_embodied(fixed: &Parameters, total_b: f64) -> Spread {
    let gpus = |bits: f64| f64::from(gpus_required(total_b, bits));
    let share = embodied_per_gpu_kg;
    let (kg, utilisation, years) = (fixed.gpu_embodied_kg, fixed.utilisation, fixed.lifetime_years);
    Spread::default()
        .and(gpus(fixed.bits.min), gpus(fixed.bits.mid), gpus(fixed.bits.max))
        .and(share(kg.min), share(kg.mid), share(kg.max))
        // The more the hardware serves, and the longer, the less of it each call carries.
        .and(1.0 / utilisation.max, 1.0 / utilisation.mid, 1.0 / utilisation.min)
        .and(1.0 / years.max, 1.0 / years.mid, 1.0 / years.min)
}

/// A count of tokens for the regression. Exact: [`crate::domain::amounts::TOKENS_MAX`] is below 2^53.
#[expect(
    clippy::as_conversions,
    reason = "u64 has no From into f64; counts are at most 10^15, which f64 holds exactly"
)]
fn count(tokens: Tokens) -> f64 {
    tokens.count() as f64
}

/// Rounds half to even to the nanogram, the only place where a model's figure becomes an amount.
pub(super) fn to_grams(grams: f64) -> Result<Grams, BadAmount> {
    let nanograms = (grams * NANOGRAMS_PER_GRAM).round_ties_even();
    if !(0.0..=NANOGRAMS_MAX).contains(&nanograms) {
        return Err(if nanograms < 0.0 { BadAmount::Negative } else { BadAmount::TooLarge });
    }
    #[expect(clippy::as_conversions, reason = "checked above: a whole number between zero and 10^27")]
    let nanograms = nanograms as i128;
    let exact = Decimal::try_from_i128_with_scale(nanograms, 9).map_err(|_| BadAmount::TooLarge)?;
    Grams::new(exact)
}

fn round_grams(location: f64, market: f64, embodied: f64) -> Result<CarbonGrams, BadAmount> {
    Ok(CarbonGrams {
        usage_location: to_grams(location)?,
        usage_market: to_grams(market)?,
        embodied: to_grams(embodied)?,
    })
}
