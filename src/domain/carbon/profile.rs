//! The named methods of estimating, and the parameters each of them fixes.
//!
//! A profile's name and version stand on every posted row: grams of two methods cannot be compared. A change of any
//! parameter below is a new profile, never an edit.

use std::fmt;
use std::str::FromStr;

use super::interval::Interval;

/// A method of estimating emissions, with its version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// `ecologits-0.11.3`: agrees with the package `ecologits` 0.11.3 to 1e-9. Input and cached tokens cost nothing.
    EcoLogits0113,
    /// `extended-1`, the default: the same regression, with prompt and cache tokens, and ranges for batch size, precision,
    /// utilisation, embodied emissions and lifetime.
    #[default]
    Extended1,
}

/// The name of a profile that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("carbon profile '{0}' is not known; use 'extended-1' or 'ecologits-0.11.3'")]
pub struct UnknownProfile(String);

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 2] = [Self::EcoLogits0113, Self::Extended1];

    /// The name on rows and in requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcoLogits0113 => "ecologits-0.11.3",
            Self::Extended1 => "extended-1",
        }
    }

    /// # Errors
    /// [`UnknownProfile`] when no profile has this name.
    pub fn parse(text: &str) -> Result<Self, UnknownProfile> {
        Self::ALL.into_iter().find(|profile| profile.name() == text).ok_or_else(|| UnknownProfile(text.to_owned()))
    }

    /// What the profile fixes for every call.
    #[must_use]
    pub const fn parameters(self) -> Parameters {
        match self {
            Self::EcoLogits0113 => Parameters {
                weight_input: Interval::point(0.0),
                weight_cache_write: 0.0,
                weight_cache_read: 0.0,
                batch: Interval::point(64.0),
                bits: Interval::point(16.0),
                utilisation: Interval::point(1.0),
                gpu_embodied_kg: Interval::point(273.0),
                lifetime_years: Interval::point(3.0),
            },
            Self::Extended1 => Parameters {
                // Decode utilisation over prefill utilisation, 0.12 / 0.50, with the ranges 0.05-0.35 and 0.30-0.70
                // (ecocost 0.2.4, method 0.3.0). Epoch AI's 2.2 Wh per 10,000 input tokens gives 0.37.
                weight_input: Interval::new(0.07, 0.24, 1.17),
                weight_cache_write: 1.0,
                weight_cache_read: 0.1,
                // No provider publishes its batch. 64 is EcoLogits' figure; its own authors were asked for a range.
                batch: Interval::new(16.0, 64.0, 256.0),
                bits: Interval::new(8.0, 16.0, 16.0),
                utilisation: Interval::new(0.5, 0.7, 1.0),
                // 273 kg: ADEME's GPU life-cycle assessment; 164 kg: NVIDIA's product carbon footprint of the H100.
                gpu_embodied_kg: Interval::new(164.0, 273.0, 273.0),
                lifetime_years: Interval::new(3.0, 3.0, 6.0),
            },
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        Self::parse(text)
    }
}

/// What a profile fixes for every call. Each interval is of the parameter itself, not of its effect: a larger batch,
/// utilisation or lifetime emits less.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// GPU energy of a fresh prompt token, in output tokens.
    pub weight_input: Interval,
    /// GPU energy of a token written to a cache, in fresh prompt tokens.
    pub weight_cache_write: f64,
    /// GPU energy of a token read from a cache, in fresh prompt tokens.
    pub weight_cache_read: f64,
    /// Requests served together.
    pub batch: Interval,
    /// Bits per weight.
    pub bits: Interval,
    /// Share of its life in which the hardware serves requests.
    pub utilisation: Interval,
    /// Emissions of making one GPU, kg CO2e.
    pub gpu_embodied_kg: Interval,
    /// Life of the hardware, years of 365 days.
    pub lifetime_years: Interval,
}
