//! Dated, sourced rows that estimates are made of. Append-only: a better figure is a new row with a later date.
//!
//! A row is identified by (kind, key, set, `valid_from`). Within one set the newest row that is valid at the instant of the
//! call is used; sets are whole publications, and a profile says which of them it looks at.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};

use super::interval::Interval;
use crate::domain::id::{BadName, ModelId, ProviderId, RegionId};

/// The set of rows that the `ecologits-0.11.3` profile is confined to.
pub const ECOLOGITS_SET: &str = "ecologits-0.11.3";
/// Largest model that is believed, in billions of parameters.
pub const PARAMETERS_B_MAX: f64 = 1_000_000.0;
/// Largest grid factor that is believed, g/kWh. The dirtiest grids are near 1,300.
pub const GRID_G_PER_KWH_MAX: f64 = 5_000.0;
/// Largest power usage effectiveness that is believed.
pub const PUE_MAX: f64 = 10.0;
/// Longest zone name, in bytes.
pub const ZONE_LENGTH_MAX: usize = 64;

/// The id the store gives a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactorId(pub i64);

impl fmt::Display for FactorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why a row is not a factor.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum BadFactor {
    /// A figure is outside what is believed, not a number, or its bounds are crossed.
    #[error("{field} is {value}, which is not between {min} and {max}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
        /// The least that is believed.
        min: f64,
        /// The most that is believed.
        max: f64,
    },
    /// The minimum is above the maximum.
    #[error("{field} has a minimum above its maximum")]
    Crossed {
        /// The field.
        field: &'static str,
    },
    /// A location factor of zero is a missing figure.
    #[error("a grid factor of zero is a missing figure; only a contract may be zero")]
    ZeroGrid,
    /// A zone is empty, too long, or holds something else than letters, digits and hyphens.
    #[error("a grid zone holds 1 to 64 letters, digits, '-' or '_'")]
    BadZone,
    /// A contract without the provider who signed it.
    #[error("a market contract needs a provider")]
    ContractWithoutProvider,
    /// A region row without zones.
    #[error("a region needs at least one grid zone")]
    RegionWithoutZone,
    /// The row stops being valid before it starts.
    #[error("valid_to is not after valid_from")]
    EmptyValidity,
    /// A name inside the row is not valid.
    #[error("{field} {reason}")]
    Name {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: BadName,
    },
}

/// Where a row comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorSource {
    /// The publication the row belongs to: `ember-owid`, `egrid-2023`, a tenant's own.
    pub set: String,
    /// Title of the source.
    pub title: String,
    /// Who published it.
    pub publisher: String,
    /// Where it can be read.
    pub url: String,
    /// Licence of the values: an SPDX id, or a plain word.
    pub licence: String,
    /// Version of the data set or of the package it was read from.
    pub dataset_version: String,
    /// The day it was read.
    pub retrieved: Option<NaiveDate>,
    /// 1 published by the operator or an authority, 2 derived, 3 assumed.
    pub tier: u8,
    /// What a reader should know.
    pub note: Option<String>,
}

/// When a row holds: `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Validity {
    /// First instant.
    pub from: DateTime<Utc>,
    /// First instant after, if it ends.
    pub to: Option<DateTime<Utc>>,
}

impl Validity {
    /// # Errors
    /// [`BadFactor::EmptyValidity`] when `to` is not after `from`.
    pub fn new(from: DateTime<Utc>, to: Option<DateTime<Utc>>) -> Result<Self, BadFactor> {
        if to.is_some_and(|to| to <= from) { Err(BadFactor::EmptyValidity) } else { Ok(Self { from, to }) }
    }

    /// Whether the row holds at an instant.
    #[must_use]
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// An electricity grid, in upper case.
///
/// An ISO 3166-1 alpha-3 country, an ISO 3166-2 subdivision (`US-VA`), a bidding zone (`SE3`), a cloud region as its operator
/// reports it (`GCP-US-CENTRAL1`), `EEE` for Europe, or `WOR` for the world.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GridZone(Arc<str>);

impl GridZone {
    /// # Errors
    /// [`BadFactor::BadZone`] when the text is empty, too long, or holds other characters.
    pub fn parse(text: &str) -> Result<Self, BadFactor> {
        let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > ZONE_LENGTH_MAX || !text.bytes().all(valid) {
            return Err(BadFactor::BadZone);
        }
        Ok(Self(Arc::from(text.to_ascii_uppercase())))
    }

    /// The world.
    #[must_use]
    pub fn world() -> Self {
        Self(Arc::from("WOR"))
    }

    /// The text, in upper case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The country around a subdivision or bidding zone that has rows of its own.
    #[must_use]
    pub fn country(&self) -> Option<Self> {
        let country = match self.0.as_bytes() {
            [b'U', b'S', b'-', ..] => "USA",
            [b'C', b'N', b'-', ..] => "CHN",
            [b'S', b'E', b'1'..=b'4'] => "SWE",
            [b'N', b'O', b'1'..=b'5'] => "NOR",
            _ => return None,
        };
        Some(Self(Arc::from(country)))
    }
}

impl fmt::Display for GridZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GridZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! word_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The word on rows and in requests.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value of a word, if it is one.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

word_enum!(
    /// What a grid factor covers.
    Basis {
        /// Fuel, upstream methane, and building the plants.
        Lifecycle = "lifecycle",
        /// What leaves the chimney only.
        Direct = "direct",
    }
);

word_enum!(
    /// Which view of the emission a grid factor serves.
    Accounting {
        /// The grid where the electricity was used.
        Location = "location",
        /// What a provider's contracts bought.
        MarketContract = "market_contract",
        /// What a provider's electricity supplier declares.
        MarketSupplier = "market_supplier",
        /// What is left on a grid after everyone's contracts.
        Residual = "residual",
    }
);

word_enum!(
    /// The kinds of rows.
    FactorKind {
        /// Size and speed of a model.
        Model = "model",
        /// Emissions of electricity.
        Grid = "grid",
        /// How and where a provider serves.
        Serving = "serving",
        /// Which grids a cloud region stands on.
        Region = "region",
    }
);

/// Size and speed of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFactor {
    /// The store's id.
    pub id: FactorId,
    /// The maker, in our words: `openai`, `google`.
    pub provider: ProviderId,
    /// The model, as its maker names it.
    pub model: ModelId,
    /// Its size and speed.
    pub size: ModelSize,
    /// Whether the maker published the architecture; else the sizes are a guess.
    pub released: bool,
    /// Whether the model takes or makes more than text, which the regression does not know of.
    pub multimodal: bool,
    /// When the row holds.
    pub validity: Validity,
    /// Where the row comes from.
    pub source: FactorSource,
}

/// What the regression needs to know of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelSize {
    /// Parameters used per token, billions.
    pub active_params_b: Interval,
    /// All parameters, billions.
    pub total_params_b: Interval,
    /// Output tokens per second, where measured.
    pub tps: Option<f64>,
    /// Seconds to the first token, where measured.
    pub ttft_s: Option<f64>,
}

/// Emissions of electricity.
#[derive(Debug, Clone, PartialEq)]
pub struct GridFactor {
    /// The store's id.
    pub id: FactorId,
    /// The grid. `WOR` on a contract means wherever the provider serves.
    pub zone: GridZone,
    /// g CO2e per kWh.
    pub g_per_kwh: f64,
    /// The year the figure is of.
    pub year: Option<i32>,
    /// What it covers.
    pub basis: Basis,
    /// Which view it serves.
    pub accounting: Accounting,
    /// Who signed the contract; none on factors of a whole grid.
    pub provider: Option<ProviderId>,
    /// When the row holds.
    pub validity: Validity,
    /// Where the row comes from.
    pub source: FactorSource,
}

/// How and where a provider serves.
#[derive(Debug, Clone, PartialEq)]
pub struct ServingFactor {
    /// The store's id.
    pub id: FactorId,
    /// The provider, in our words.
    pub provider: ProviderId,
    /// Other names of the same provider: `gcp.gemini`, `mistralai`.
    pub also_known_as: Vec<ProviderId>,
    /// Power usage effectiveness of its data centres.
    pub pue: Interval,
    /// Where it serves when no region is given.
    pub default_zone: Option<GridZone>,
    /// When the row holds.
    pub validity: Validity,
    /// Where the row comes from.
    pub source: FactorSource,
}

/// Which grids a cloud region stands on.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionFactor {
    /// The store's id.
    pub id: FactorId,
    /// The region, as its provider names it. The names of the clouds do not overlap.
    pub region: RegionId,
    /// The grids, the most exact one first.
    pub zones: Vec<GridZone>,
    /// When the row holds.
    pub validity: Validity,
    /// Where the row comes from.
    pub source: FactorSource,
}

/// A row of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Factor {
    /// Size and speed of a model.
    Model(ModelFactor),
    /// Emissions of electricity.
    Grid(GridFactor),
    /// How and where a provider serves.
    Serving(ServingFactor),
    /// Which grids a cloud region stands on.
    Region(RegionFactor),
}

/// Refuses a figure that is not a number or outside what is believed.
fn check(field: &'static str, value: f64, min: f64, max: f64) -> Result<(), BadFactor> {
    if value >= min && value <= max { Ok(()) } else { Err(BadFactor::OutOfRange { field, value, min, max }) }
}

fn check_interval(field: &'static str, value: Interval, min: f64, max: f64) -> Result<(), BadFactor> {
    for figure in [value.min, value.mid, value.max] {
        check(field, figure, min, max)?;
    }
    if value.min <= value.mid && value.mid <= value.max { Ok(()) } else { Err(BadFactor::Crossed { field }) }
}

impl Factor {
    /// Refuses a row whose figures cannot be true, so that no estimate has to look again.
    ///
    /// # Errors
    /// Names the field and what is wrong with it.
    pub fn checked(self) -> Result<Self, BadFactor> {
        match &self {
            Self::Model(model) => {
                check_interval("active_params_b", model.size.active_params_b, 1e-6, PARAMETERS_B_MAX)?;
                check_interval("total_params_b", model.size.total_params_b, 1e-6, PARAMETERS_B_MAX)?;
                check("tps", model.size.tps.unwrap_or(1.0), 1e-3, 1e6)?;
                check("ttft_s", model.size.ttft_s.unwrap_or(0.0), 0.0, 3_600.0)?;
            }
            Self::Grid(grid) => {
                check("g_per_kwh", grid.g_per_kwh, 0.0, GRID_G_PER_KWH_MAX)?;
                let contract = matches!(grid.accounting, Accounting::MarketContract | Accounting::MarketSupplier);
                if contract && grid.provider.is_none() {
                    return Err(BadFactor::ContractWithoutProvider);
                }
                if !contract && grid.g_per_kwh <= 0.0 {
                    return Err(BadFactor::ZeroGrid);
                }
            }
            Self::Serving(serving) => check_interval("pue", serving.pue, 1.0, PUE_MAX)?,
            Self::Region(region) => {
                if region.zones.is_empty() {
                    return Err(BadFactor::RegionWithoutZone);
                }
            }
        }
        Validity::new(self.validity().from, self.validity().to)?;
        Ok(self)
    }

    /// The kind of the row.
    #[must_use]
    pub const fn kind(&self) -> FactorKind {
        match self {
            Self::Model(_) => FactorKind::Model,
            Self::Grid(_) => FactorKind::Grid,
            Self::Serving(_) => FactorKind::Serving,
            Self::Region(_) => FactorKind::Region,
        }
    }

    /// What the row is about, unique within kind, set and `valid_from`: `openai/gpt-4o`, `USA`, `market_contract:google/WOR`.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Model(model) => format!("{}/{}", model.provider, model.model),
            Self::Grid(grid) => match (&grid.provider, grid.accounting) {
                (None, Accounting::Location) => grid.zone.to_string(),
                (None, accounting) => format!("{}:{}", accounting.word(), grid.zone),
                (Some(provider), accounting) => format!("{}:{provider}/{}", accounting.word(), grid.zone),
            },
            Self::Serving(serving) => serving.provider.to_string(),
            Self::Region(region) => region.region.to_string(),
        }
    }

    /// The store's id.
    #[must_use]
    pub const fn id(&self) -> FactorId {
        match self {
            Self::Model(row) => row.id,
            Self::Grid(row) => row.id,
            Self::Serving(row) => row.id,
            Self::Region(row) => row.id,
        }
    }

    /// When the row holds.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        match self {
            Self::Model(row) => row.validity,
            Self::Grid(row) => row.validity,
            Self::Serving(row) => row.validity,
            Self::Region(row) => row.validity,
        }
    }

    /// Where the row comes from.
    #[must_use]
    pub const fn source(&self) -> &FactorSource {
        match self {
            Self::Model(row) => &row.source,
            Self::Grid(row) => &row.source,
            Self::Serving(row) => &row.source,
            Self::Region(row) => &row.source,
        }
    }
}
