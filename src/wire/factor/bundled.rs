//! The factor rows that ship with the service, from `data/factors`, compiled in.
//!
//! What each file is, who made it and under which licence stands in `data/factors/README.md`.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::doc::{
    BadFactorDoc, FactorDoc, FigureDoc, GridFactorDoc, ModelFactorDoc, RegionFactorDoc, ServingFactorDoc, SourceDoc,
};
use crate::domain::carbon::factors::ECOLOGITS_SET;
use crate::domain::carbon::{Factor, FactorBook, FactorId};

const GRID: &str = include_str!("../../../data/factors/grid.csv");
const REGIONS: &str = include_str!("../../../data/factors/regions.csv");
const SERVING: &str = include_str!("../../../data/factors/serving.csv");
const OPEN_MODELS: &str = include_str!("../../../data/factors/models.csv");
const ECOLOGITS_MODELS: &str = include_str!("../../../data/factors/ecologits/models.json");
const ECOLOGITS_MIXES: &str = include_str!("../../../data/factors/ecologits/electricity_mixes.json");

/// The day the `EcoLogits` files were read.
const ECOLOGITS_RETRIEVED: Option<NaiveDate> = NaiveDate::from_ymd_opt(2026, 11, 22);

/// Why a file that ships with the service cannot be read. A test reads all of them, so nobody meets this.
#[derive(Debug, thiserror::Error)]
pub enum BadBundle {
    /// A table is not as it should be.
    #[error("bundled factor table '{file}' cannot be read")]
    Table {
        /// The file.
        file: &'static str,
        /// Why.
        #[source]
        reason: csv::Error,
    },
    /// A JSON file is not as it should be.
    #[error("bundled factor file '{file}' cannot be read")]
    Json {
        /// The file.
        file: &'static str,
        /// Why.
        #[source]
        reason: serde_json::Error,
    },
    /// A row is not a factor.
    #[error("bundled factor '{key}' is not valid")]
    Row {
        /// What the row is about.
        key: String,
        /// Why.
        #[source]
        reason: BadFactorDoc,
    },
}

/// The rows that ship with the service, without ids: the store gives them when it imports them.
#[derive(Debug, Clone)]
pub struct BundledFactors {
    /// Every row, in the order of the files.
    pub docs: Vec<FactorDoc>,
}

impl BundledFactors {
    /// The rows as factors, numbered from one: for a service without a store, and for tests.
    ///
    /// # Errors
    /// [`BadBundle::Row`] when a row is not a factor.
    pub fn factors(&self) -> Result<Vec<Factor>, BadBundle> {
        self.docs
            .iter()
            .zip(1_i64..)
            .map(|(doc, id)| {
                doc.clone()
                    .into_factor(FactorId(id))
                    .map_err(|reason| BadBundle::Row { key: format!("row {id}: {doc:?}"), reason })
            })
            .collect()
    }

    /// A book of these rows alone.
    ///
    /// # Errors
    /// [`BadBundle::Row`] when a row is not a factor.
    pub fn book(&self) -> Result<FactorBook, BadBundle> {
        Ok(FactorBook::new(self.factors()?))
    }
}

/// Reads the files that are compiled in.
///
/// # Errors
/// Names the file that cannot be read.
pub fn bundled() -> Result<BundledFactors, BadBundle> {
    let mut docs = ecologits_models()?;
    docs.extend(ecologits_mixes()?);
    docs.extend(table::<GridRow>("grid.csv", GRID)?.into_iter().map(GridRow::into_doc));
    docs.extend(table::<ServingRow>("serving.csv", SERVING)?.into_iter().map(ServingRow::into_doc));
    docs.extend(table::<OpenModelRow>("models.csv", OPEN_MODELS)?.iter().flat_map(OpenModelRow::docs));
    docs.extend(table::<RegionRow>("regions.csv", REGIONS)?.into_iter().map(RegionRow::into_doc));
    Ok(BundledFactors { docs })
}

/// The rows of a table like one of those that ship: by its columns it is one of grids, of serving, of models or of regions.
///
/// # Errors
/// When it has the columns of none, or a line is not as it should be.
pub fn docs_of_table(text: &str) -> Result<Vec<FactorDoc>, BadBundle> {
    const FILE: &str = "given";
    let header = csv::Reader::from_reader(text.as_bytes()).headers().cloned();
    let header = header.map_err(|reason| BadBundle::Table { file: FILE, reason })?;
    let has = |name: &str| header.iter().any(|column| column == name);
    if has("pue_min") {
        Ok(table::<ServingRow>(FILE, text)?.into_iter().map(ServingRow::into_doc).collect())
    } else if has("models") {
        Ok(table::<OpenModelRow>(FILE, text)?.iter().flat_map(OpenModelRow::docs).collect())
    } else if has("region") {
        Ok(table::<RegionRow>(FILE, text)?.into_iter().map(RegionRow::into_doc).collect())
    } else {
        Ok(table::<GridRow>(FILE, text)?.into_iter().map(GridRow::into_doc).collect())
    }
}

fn table<T: DeserializeOwned>(file: &'static str, text: &str) -> Result<Vec<T>, BadBundle> {
    csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|reason| BadBundle::Table { file, reason })
}

/// Midnight UTC of a day.
fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn list(text: &str) -> Vec<String> {
    text.split(';').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn figure(min: f64, max: f64) -> FigureDoc {
    if min < max { FigureDoc::Range { min, max } } else { FigureDoc::Point(min) }
}

/// A table row with the columns about its source that every table has. Written out by a macro, because serde's flattening
/// would turn every cell of a CSV into a guess at its type.
macro_rules! sourced_row {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        struct $name {
            $($field: $type,)+
            valid_from: NaiveDate,
            set: String,
            tier: u8,
            source_title: String,
            publisher: String,
            source_url: String,
            licence: String,
            dataset_version: String,
            retrieved: Option<NaiveDate>,
            note: Option<String>,
        }

        impl $name {
            fn source(&self) -> SourceDoc {
                SourceDoc {
                    set: self.set.clone(),
                    title: self.source_title.clone(),
                    publisher: self.publisher.clone(),
                    url: self.source_url.clone(),
                    licence: self.licence.clone(),
                    dataset_version: self.dataset_version.clone(),
                    retrieved: self.retrieved,
                    tier: self.tier,
                    note: self.note.clone(),
                }
            }
        }
    };
}

sourced_row!(
    /// A row of `grid.csv`. Every value is in g/kWh.
    GridRow {
        zone: String,
        value: f64,
        year: Option<i32>,
        valid_to: Option<NaiveDate>,
        accounting: String,
        basis: String,
    }
);

sourced_row!(
    /// A row of `serving.csv`.
    ServingRow {
        provider: String,
        also_known_as: String,
        pue_min: f64,
        pue_max: f64,
        default_zone: Option<String>,
    }
);

sourced_row!(
    /// A row of `models.csv`: one set of weights under all its names.
    OpenModelRow {
        provider: String,
        models: String,
        total_b: f64,
        active_b: f64,
        multimodal: bool,
    }
);

sourced_row!(
    /// A row of `regions.csv`.
    RegionRow {
        region: String,
        zones: String,
    }
);

impl GridRow {
    fn into_doc(self) -> FactorDoc {
        let source = self.source();
        FactorDoc::Grid(GridFactorDoc {
            zone: self.zone,
            g_per_kwh: self.value,
            year: self.year,
            basis: self.basis,
            accounting: self.accounting,
            provider: None,
            valid_from: midnight(self.valid_from),
            valid_to: self.valid_to.map(midnight),
            source,
        })
    }
}

impl ServingRow {
    fn into_doc(self) -> FactorDoc {
        let source = self.source();
        FactorDoc::Serving(ServingFactorDoc {
            provider: self.provider,
            also_known_as: list(&self.also_known_as),
            pue: figure(self.pue_min, self.pue_max),
            default_zone: self.default_zone,
            valid_from: midnight(self.valid_from),
            valid_to: None,
            source,
        })
    }
}

impl OpenModelRow {
    fn docs(&self) -> Vec<FactorDoc> {
        let doc = |model: String| {
            FactorDoc::Model(ModelFactorDoc {
                provider: self.provider.clone(),
                model,
                active_params_b: FigureDoc::Point(self.active_b),
                total_params_b: FigureDoc::Point(self.total_b),
                tps: None,
                ttft_s: None,
                released: true,
                multimodal: self.multimodal,
                valid_from: midnight(self.valid_from),
                valid_to: None,
                source: self.source(),
            })
        };
        list(&self.models).into_iter().map(doc).collect()
    }
}

impl RegionRow {
    fn into_doc(self) -> FactorDoc {
        let source = self.source();
        FactorDoc::Region(RegionFactorDoc {
            region: self.region,
            zones: list(&self.zones),
            valid_from: midnight(self.valid_from),
            valid_to: None,
            source,
        })
    }
}

/// `models.json` of `EcoLogits`, as it is.
#[derive(Deserialize)]
struct EcologitsModels {
    aliases: Vec<EcologitsAlias>,
    models: Vec<EcologitsModel>,
}

#[derive(Deserialize)]
struct EcologitsAlias {
    provider: String,
    name: String,
    alias: String,
}

#[derive(Clone, Deserialize)]
struct EcologitsModel {
    provider: String,
    name: String,
    architecture: EcologitsArchitecture,
    warnings: Option<Vec<String>>,
    sources: Option<Vec<String>>,
    deployment: Option<EcologitsDeployment>,
}

#[derive(Clone, Copy, Deserialize)]
struct EcologitsArchitecture {
    parameters: EcologitsParameters,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum EcologitsParameters {
    Parts { total: FigureDoc, active: FigureDoc },
    Whole(FigureDoc),
}

#[derive(Clone, Copy, Deserialize)]
struct EcologitsDeployment {
    tps: Option<f64>,
    ttft: Option<f64>,
}

#[derive(Deserialize)]
struct EcologitsMixes {
    electricity_mixes: Vec<EcologitsMix>,
}

#[derive(Deserialize)]
struct EcologitsMix {
    name: String,
    /// kg CO2e per kWh.
    gwp: f64,
}

/// Our word for a provider of `EcoLogits`.
fn provider_word(ecologits: &str) -> &str {
    match ecologits {
        "google_genai" => "google",
        "mistralai" => "mistral",
        "huggingface_hub" => "huggingface",
        same => same,
    }
}

fn ecologits_source(title: &str, url: String, note: Option<String>, tier: u8) -> SourceDoc {
    SourceDoc {
        set: ECOLOGITS_SET.to_owned(),
        title: title.to_owned(),
        publisher: "EcoLogits (GenAI Impact)".to_owned(),
        url,
        licence: "MPL-2.0".to_owned(),
        dataset_version: "ecologits 0.11.3".to_owned(),
        retrieved: ECOLOGITS_RETRIEVED,
        tier,
        note,
    }
}

impl EcologitsModel {
    fn into_doc(self) -> FactorDoc {
        let warned = |code: &str| self.warnings.iter().flatten().any(|warning| warning == code);
        let released = !warned("model-arch-not-released");
        let multimodal = warned("model-arch-multimodal");
        let (total_params_b, active_params_b) = match self.architecture.parameters {
            EcologitsParameters::Parts { total, active } => (total, active),
            EcologitsParameters::Whole(figure) => (figure, figure),
        };
        let url = self.sources.as_ref().and_then(|sources| sources.first()).cloned().unwrap_or_default();
        let tier = if released { 1 } else { 3 };
        FactorDoc::Model(ModelFactorDoc {
            provider: provider_word(&self.provider).to_owned(),
            model: self.name,
            active_params_b,
            total_params_b,
            tps: self.deployment.and_then(|deployment| deployment.tps),
            ttft_s: self.deployment.and_then(|deployment| deployment.ttft),
            released,
            multimodal,
            // The file names no date: the size of a model does not change.
            valid_from: DateTime::UNIX_EPOCH,
            valid_to: None,
            source: ecologits_source("EcoLogits models.json", url, None, tier),
        })
    }
}

fn ecologits_models() -> Result<Vec<FactorDoc>, BadBundle> {
    let file: EcologitsModels = serde_json::from_str(ECOLOGITS_MODELS)
        .map_err(|reason| BadBundle::Json { file: "ecologits/models.json", reason })?;
    let aliased = |alias: &EcologitsAlias| {
        let original = file.models.iter().find(|row| row.provider == alias.provider && row.name == alias.alias)?;
        Some(EcologitsModel { name: alias.name.clone(), ..original.clone() })
    };
    let aliases: Vec<EcologitsModel> = file.aliases.iter().filter_map(aliased).collect();
    Ok(file.models.into_iter().chain(aliases).map(EcologitsModel::into_doc).collect())
}

fn ecologits_mixes() -> Result<Vec<FactorDoc>, BadBundle> {
    let file: EcologitsMixes = serde_json::from_str(ECOLOGITS_MIXES)
        .map_err(|reason| BadBundle::Json { file: "ecologits/electricity_mixes.json", reason })?;
    let doc = |mix: EcologitsMix| {
        FactorDoc::Grid(GridFactorDoc {
            zone: mix.name,
            // In hundredths of a gram, as published: 0.2259 kg is 225.9 g, not the 225.89999999999998 of the product.
            g_per_kwh: (mix.gwp * 100_000.0).round() / 100.0,
            year: None,
            basis: "lifecycle".to_owned(),
            accounting: "location".to_owned(),
            provider: None,
            // The file names no year, and the profile takes one figure for all times.
            valid_from: DateTime::UNIX_EPOCH,
            valid_to: None,
            source: ecologits_source("EcoLogits electricity_mixes.json", "https://ecologits.ai".to_owned(), None, 1),
        })
    };
    // The Central African Republic stands at 0.0 in the file: a missing figure, which must not become a free one.
    Ok(file.electricity_mixes.into_iter().filter(|mix| mix.gwp > 0.0).map(doc).collect())
}
