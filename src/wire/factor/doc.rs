//! The wire and storage form of a factor row.
//!
//! Figures are JSON numbers: factors are measurements, not amounts. Unknown fields are refused, so that a misspelt
//! optional field is an error and not a silent default.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::domain::carbon::{
    Accounting, BadFactor, Basis, Factor, FactorId, FactorKind, FactorSource, GridFactor, GridZone, Interval,
    ModelFactor, ModelSize, RegionFactor, ServingFactor, Validity,
};
use crate::domain::id::{BadName, ModelId, ProviderId, RegionId};
use crate::wire::objects::Objects;

/// Why a document is not a factor.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadFactorDoc {
    /// A name is not valid.
    #[error("{field} '{value}' {reason}")]
    Name {
        /// The field.
        field: &'static str,
        /// Its text.
        value: String,
        /// What is wrong with it.
        #[source]
        reason: BadName,
    },
    /// A word is not one of the known ones.
    #[error("{field} '{value}' is not known; use one of {known}")]
    Word {
        /// The field.
        field: &'static str,
        /// Its text.
        value: String,
        /// What may be written.
        known: &'static str,
    },
    /// The figures cannot be true.
    #[error(transparent)]
    Figures(#[from] BadFactor),
}

impl BadFactorDoc {
    /// The field that is to blame, as the document spells it; none where it is about several.
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Name { field, .. } | Self::Word { field, .. } => Some(field),
            Self::Figures(
                BadFactor::OutOfRange { field, .. } | BadFactor::Crossed { field } | BadFactor::Name { field, .. },
            ) => Some(field),
            Self::Figures(BadFactor::ZeroGrid) => Some("g_per_kwh"),
            Self::Figures(BadFactor::ContractWithoutProvider) => Some("provider"),
            Self::Figures(BadFactor::RegionWithoutZone) => Some("zones"),
            Self::Figures(BadFactor::EmptyValidity) => Some("valid_to"),
            Self::Figures(BadFactor::BadZone) => None,
        }
    }
}

/// A figure: one number, or a least and a most.
///
/// Read by hand rather than derived, because what `serde` derives takes `[1, 2]` for a least and a most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum FigureDoc {
    /// One number.
    Point(f64),
    /// A least and a most; the middle is their mean.
    Range {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeDoc {
    min: f64,
    max: f64,
}

struct FigureVisitor;

impl<'de> Visitor<'de> for FigureVisitor {
    type Value = FigureDoc;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or {\"min\": …, \"max\": …}")
    }

    fn visit_f64<E>(self, value: f64) -> Result<FigureDoc, E> {
        Ok(FigureDoc::Point(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<FigureDoc, E> {
        f64::deserialize(value.into_deserializer()).map(FigureDoc::Point)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<FigureDoc, E> {
        f64::deserialize(value.into_deserializer()).map(FigureDoc::Point)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FigureDoc, A::Error> {
        let RangeDoc { min, max } = RangeDoc::deserialize(MapAccessDeserializer::new(map))?;
        Ok(FigureDoc::Range { min, max })
    }
}

impl<'de> Deserialize<'de> for FigureDoc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FigureVisitor)
    }
}

impl From<FigureDoc> for Interval {
    fn from(doc: FigureDoc) -> Self {
        match doc {
            FigureDoc::Point(value) => Self::point(value),
            FigureDoc::Range { min, max } => Self::between(min, max),
        }
    }
}

impl From<Interval> for FigureDoc {
    fn from(value: Interval) -> Self {
        if value.min < value.max { Self::Range { min: value.min, max: value.max } } else { Self::Point(value.mid) }
    }
}

/// Where a row comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceDoc {
    /// The publication the row belongs to.
    pub set: String,
    /// Title of the source.
    pub title: String,
    /// Who published it.
    pub publisher: String,
    /// Where it can be read.
    #[serde(default)]
    pub url: String,
    /// Licence of the values: an SPDX id, or a plain word.
    pub licence: String,
    /// Version of the data set or of the package it was read from.
    #[serde(default)]
    pub dataset_version: String,
    /// The day it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrieved: Option<NaiveDate>,
    /// 1 published by the operator or an authority, 2 derived, 3 assumed.
    pub tier: u8,
    /// What a reader should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Size and speed of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelFactorDoc {
    /// The maker.
    pub provider: String,
    /// The model, as its maker names it.
    pub model: String,
    /// Parameters used per token, billions.
    pub active_params_b: FigureDoc,
    /// All parameters, billions.
    pub total_params_b: FigureDoc,
    /// Output tokens per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tps: Option<f64>,
    /// Seconds to the first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<f64>,
    /// Whether the maker published the architecture.
    pub released: bool,
    /// Whether the model takes or makes more than text.
    #[serde(default)]
    pub multimodal: bool,
    /// First instant at which the row holds.
    pub valid_from: DateTime<Utc>,
    /// First instant at which it no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<DateTime<Utc>>,
    /// Where the row comes from.
    pub source: SourceDoc,
}

/// Emissions of electricity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GridFactorDoc {
    /// The grid: `USA`, `US-VA`, `SE3`, `WOR`.
    pub zone: String,
    /// g CO2e per kWh.
    pub g_per_kwh: f64,
    /// The year the figure is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub year: Option<i32>,
    /// `lifecycle` or `direct`.
    pub basis: String,
    /// `location`, `market_contract`, `market_supplier` or `residual`.
    pub accounting: String,
    /// Whose contract it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// First instant at which the row holds.
    pub valid_from: DateTime<Utc>,
    /// First instant at which it no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<DateTime<Utc>>,
    /// Where the row comes from.
    pub source: SourceDoc,
}

/// How and where a provider serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServingFactorDoc {
    /// The provider.
    pub provider: String,
    /// Other names of the same provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_known_as: Vec<String>,
    /// Power usage effectiveness.
    pub pue: FigureDoc,
    /// Where it serves when no region is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_zone: Option<String>,
    /// First instant at which the row holds.
    pub valid_from: DateTime<Utc>,
    /// First instant at which it no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<DateTime<Utc>>,
    /// Where the row comes from.
    pub source: SourceDoc,
}

/// Which grids a cloud region stands on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionFactorDoc {
    /// The region, as its provider names it.
    pub region: String,
    /// The grids, the most exact one first.
    pub zones: Vec<String>,
    /// First instant at which the row holds.
    pub valid_from: DateTime<Utc>,
    /// First instant at which it no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<DateTime<Utc>>,
    /// Where the row comes from.
    pub source: SourceDoc,
}

/// A row of any kind. On the wire its kind stands in `kind`.
///
/// Read by hand rather than derived, because what `serde` derives takes an array for a row, by the order of its fields.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(example = json!({
    "kind": "grid", "zone": "SWE", "g_per_kwh": 36.7, "year": 2025, "basis": "lifecycle", "accounting": "location",
    "valid_from": "2026-01-01T00:00:00Z", "source": {
        "set": "our-audit-2026", "title": "Grid audit", "publisher": "Example AB", "licence": "private", "tier": 1
    }
}))]
pub enum FactorDoc {
    /// Size and speed of a model.
    Model(ModelFactorDoc),
    /// Emissions of electricity.
    Grid(GridFactorDoc),
    /// How and where a provider serves.
    Serving(ServingFactorDoc),
    /// Which grids a cloud region stands on.
    Region(RegionFactorDoc),
}

struct FactorVisitor;

impl<'de> Visitor<'de> for FactorVisitor {
    type Value = FactorDoc;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a factor row, an object with `kind`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FactorDoc, A::Error> {
        let (mut kind, mut fields) = (None::<FactorKindDoc>, serde_json::Map::new());
        while let Some(name) = map.next_key::<String>()? {
            if name == "kind" {
                kind = Some(map.next_value()?);
            } else {
                fields.insert(name, map.next_value()?);
            }
        }
        let kind = kind.ok_or_else(|| serde::de::Error::missing_field("kind"))?;
        let row = serde_json::Value::Object(fields);
        match kind {
            FactorKindDoc::Model => read(row).map(FactorDoc::Model),
            FactorKindDoc::Grid => read(row).map(FactorDoc::Grid),
            FactorKindDoc::Serving => read(row).map(FactorDoc::Serving),
            FactorKindDoc::Region => read(row).map(FactorDoc::Region),
        }
    }
}

/// The kinds, by the words of the wire.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FactorKindDoc {
    Model,
    Grid,
    Serving,
    Region,
}

fn read<T: DeserializeOwned, E: serde::de::Error>(value: serde_json::Value) -> Result<T, E> {
    T::deserialize(Objects(value)).map_err(E::custom)
}

impl<'de> Deserialize<'de> for FactorDoc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FactorVisitor)
    }
}

/// What identifies a row: no two rows of a book have the same. The store's columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FactorIdentity {
    /// The kind.
    pub kind: FactorKind,
    /// What the row is about.
    pub key: String,
    /// The publication.
    pub set: String,
    /// First instant at which the row holds.
    pub valid_from: DateTime<Utc>,
}

impl FactorIdentity {
    /// The identity of a row.
    #[must_use]
    pub fn of(factor: &Factor) -> Self {
        Self {
            kind: factor.kind(),
            key: factor.key(),
            set: factor.source().set.clone(),
            valid_from: factor.validity().from,
        }
    }
}

fn name<T>(field: &'static str, text: &str, parse: impl Fn(&str) -> Result<T, BadName>) -> Result<T, BadFactorDoc> {
    parse(text).map_err(|reason| BadFactorDoc::Name { field, value: text.to_owned(), reason })
}

fn word<T>(
    field: &'static str,
    text: &str,
    known: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, BadFactorDoc> {
    parse(text).ok_or_else(|| BadFactorDoc::Word { field, value: text.to_owned(), known })
}

impl From<SourceDoc> for FactorSource {
    fn from(doc: SourceDoc) -> Self {
        let SourceDoc { set, title, publisher, url, licence, dataset_version, retrieved, tier, note } = doc;
        Self { set, title, publisher, url, licence, dataset_version, retrieved, tier, note }
    }
}

impl From<&FactorSource> for SourceDoc {
    fn from(source: &FactorSource) -> Self {
        let FactorSource { set, title, publisher, url, licence, dataset_version, retrieved, tier, note } =
            source.clone();
        Self { set, title, publisher, url, licence, dataset_version, retrieved, tier, note }
    }
}

impl FactorDoc {
    /// The row, with the id the store gave it.
    ///
    /// # Errors
    /// Names the field and what is wrong with it.
    pub fn into_factor(self, id: FactorId) -> Result<Factor, BadFactorDoc> {
        let factor = match self {
            Self::Model(doc) => Factor::Model(ModelFactor {
                id,
                provider: name("provider", &doc.provider, ProviderId::parse)?,
                model: name("model", &doc.model, ModelId::parse)?,
                size: ModelSize {
                    active_params_b: doc.active_params_b.into(),
                    total_params_b: doc.total_params_b.into(),
                    tps: doc.tps,
                    ttft_s: doc.ttft_s,
                },
                released: doc.released,
                multimodal: doc.multimodal,
                validity: Validity::new(doc.valid_from, doc.valid_to)?,
                source: doc.source.into(),
            }),
            Self::Grid(doc) => Factor::Grid(GridFactor {
                id,
                zone: GridZone::parse(&doc.zone)?,
                g_per_kwh: doc.g_per_kwh,
                year: doc.year,
                basis: word("basis", &doc.basis, "lifecycle, direct", Basis::from_word)?,
                accounting: word(
                    "accounting",
                    &doc.accounting,
                    "location, market_contract, market_supplier, residual",
                    Accounting::from_word,
                )?,
                provider: doc.provider.map(|text| name("provider", &text, ProviderId::parse)).transpose()?,
                validity: Validity::new(doc.valid_from, doc.valid_to)?,
                source: doc.source.into(),
            }),
            Self::Serving(doc) => Factor::Serving(ServingFactor {
                id,
                provider: name("provider", &doc.provider, ProviderId::parse)?,
                also_known_as: doc
                    .also_known_as
                    .iter()
                    .map(|text| name("also_known_as", text, ProviderId::parse))
                    .collect::<Result<_, _>>()?,
                pue: doc.pue.into(),
                default_zone: doc.default_zone.as_deref().map(GridZone::parse).transpose()?,
                validity: Validity::new(doc.valid_from, doc.valid_to)?,
                source: doc.source.into(),
            }),
            Self::Region(doc) => Factor::Region(RegionFactor {
                id,
                region: name("region", &doc.region, RegionId::parse)?,
                zones: doc.zones.iter().map(|zone| GridZone::parse(zone)).collect::<Result<_, _>>()?,
                validity: Validity::new(doc.valid_from, doc.valid_to)?,
                source: doc.source.into(),
            }),
        };
        Ok(factor.checked()?)
    }
}

impl From<&Factor> for FactorDoc {
    fn from(factor: &Factor) -> Self {
        let (valid_from, valid_to) = (factor.validity().from, factor.validity().to);
        let source = SourceDoc::from(factor.source());
        match factor {
            Factor::Model(row) => Self::Model(ModelFactorDoc {
                provider: row.provider.to_string(),
                model: row.model.to_string(),
                active_params_b: row.size.active_params_b.into(),
                total_params_b: row.size.total_params_b.into(),
                tps: row.size.tps,
                ttft_s: row.size.ttft_s,
                released: row.released,
                multimodal: row.multimodal,
                valid_from,
                valid_to,
                source,
            }),
            Factor::Grid(row) => Self::Grid(GridFactorDoc {
                zone: row.zone.to_string(),
                g_per_kwh: row.g_per_kwh,
                year: row.year,
                basis: row.basis.word().to_owned(),
                accounting: row.accounting.word().to_owned(),
                provider: row.provider.as_ref().map(ToString::to_string),
                valid_from,
                valid_to,
                source,
            }),
            Factor::Serving(row) => Self::Serving(ServingFactorDoc {
                provider: row.provider.to_string(),
                also_known_as: row.also_known_as.iter().map(ToString::to_string).collect(),
                pue: row.pue.into(),
                default_zone: row.default_zone.as_ref().map(ToString::to_string),
                valid_from,
                valid_to,
                source,
            }),
            Factor::Region(row) => Self::Region(RegionFactorDoc {
                region: row.region.to_string(),
                zones: row.zones.iter().map(ToString::to_string).collect(),
                valid_from,
                valid_to,
                source,
            }),
        }
    }
}
