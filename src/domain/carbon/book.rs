//! The factor book: finds the rows for a call, falls back where there are none, and says so.
//!
//! | what | looked for in order | then, flagged |
//! |---|---|---|
//! | model | as given; as another spelling; under another maker | the worst model of that maker; the worst known |
//! | grid | the zone given; the region's zones, most exact first; the provider's own place | the country around; the world |
//! | serving | the provider; the model's maker | the declared range of all data centres |
//! | market | the provider's contract in the zone, then anywhere; its supplier; the residual mix | the location-based factor |
//!
//! A row with no valid vintage at the instant of the call is still better than the world average: the nearest vintage is
//! used and flagged. Resolving never fails and never gives zero.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::factors::{
    Accounting, ECOLOGITS_SET, Factor, FactorId, GridFactor, GridZone, ModelFactor, ModelSize, RegionFactor,
    ServingFactor, Validity,
};
use super::interval::Interval;
use super::model::{CarbonInputs, MarketMethod};
use super::names;
use super::profile::Profile;
use super::recorded::RecordedRows;
use super::regression::{Corner, Speed, Work, middle};
use crate::domain::id::{ModelId, ProviderId, RegionId};

/// World average, g/kWh: Ember by way of Our World in Data, 2025 (CC BY 4.0). Used when a book has no `WOR` row.
pub(super) const WORLD_G_PER_KWH: f64 = 458.29;
/// The largest model of `EcoLogits` 0.11.3 (active least and most, total), billions. Used when a book has no model at all.
const WORST_MODEL_B: (f64, f64, f64) = (540.0, 1_800.0, 5_400.0);
/// From Google's fleet to the average of the Uptime Institute's survey of 2025. Used when nothing is known of a provider.
const ANY_PUE: (f64, f64) = (1.09, 1.54);

/// Why a model's size is not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelFallback {
    /// The maker is known, the model is not: the worst of the maker's models stands in.
    WorstOfProvider,
    /// Neither is known: the worst known model stands in.
    WorstKnown,
}

/// Why a grid factor is not the one asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GridFallback {
    /// There is no row valid at that instant: the nearest vintage stands in.
    OtherVintage,
    /// The zone has no row: the country around it stands in.
    Country,
    /// The zone has no row: the world average stands in.
    WorldAverage,
}

/// Why the place is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegionFallback {
    /// No region was given: where the provider mostly serves stands in.
    ProviderDefault,
    /// No region was given and the provider's place is not known: the world stands in.
    NotGiven,
    /// A region was given that is not in the table: the world stands in.
    Unknown,
}

/// Why a provider's data centres are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServingFallback {
    /// Those of the model's maker stand in.
    Maker,
    /// The range of all data centres stands in.
    AnyDataCentre,
}

/// What had to be assumed. All empty: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fallbacks {
    /// The model's size.
    pub model: Option<ModelFallback>,
    /// The grid factor.
    pub grid: Option<GridFallback>,
    /// The place.
    pub region: Option<RegionFallback>,
    /// The data centre.
    pub serving: Option<ServingFallback>,
}

impl Fallbacks {
    /// Whether an *unknown* thing was replaced: what strict mode refuses. A region that was not given is not unknown.
    #[must_use]
    pub const fn any_unknown(&self) -> bool {
        self.model.is_some()
            || matches!(self.grid, Some(GridFallback::WorldAverage))
            || matches!(self.region, Some(RegionFallback::Unknown))
            || matches!(self.serving, Some(ServingFallback::AnyDataCentre))
    }
}

/// The rows of a call, and the figures taken from them. Where there is no row, the figure is declared in this file.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The model.
    pub model: Option<Arc<ModelFactor>>,
    /// Its size and speed.
    pub size: ModelSize,
    /// The grid, location-based.
    pub grid: Option<Arc<GridFactor>>,
    /// The market-based factor, if there is one.
    pub market: Option<Arc<GridFactor>>,
    /// How the provider serves.
    pub serving: Option<Arc<ServingFactor>>,
    /// The region, if it was found in the table.
    pub region: Option<Arc<RegionFactor>>,
    /// Power usage effectiveness.
    pub pue: Interval,
    /// Location-based factor, g/kWh.
    pub location_g_per_kwh: f64,
    /// Market-based factor, g/kWh.
    pub market_g_per_kwh: f64,
    /// How the market-based figure is made.
    pub market_method: MarketMethod,
    /// What had to be assumed.
    pub fallbacks: Fallbacks,
}

/// Rows that can be chosen by date.
trait Dated {
    fn validity(&self) -> Validity;
    fn id(&self) -> FactorId;
}

macro_rules! dated {
    ($($row:ty),+) => { $(impl Dated for $row {
        fn validity(&self) -> Validity { self.validity }
        fn id(&self) -> FactorId { self.id }
    })+ };
}

dated!(ModelFactor, GridFactor, ServingFactor, RegionFactor);

/// The rows of one key, oldest first; of two with the same date the later recorded one wins.
#[derive(Debug, Clone)]
struct Vintages<T>(Vec<Arc<T>>);

impl<T> Default for Vintages<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Dated> Vintages<T> {
    fn push(&mut self, row: &Arc<T>) {
        let place =
            self.0.partition_point(|known| (known.validity().from, known.id()) <= (row.validity().from, row.id()));
        self.0.insert(place, Arc::clone(row));
    }

    /// The newest row that holds at an instant.
    fn valid(&self, at: DateTime<Utc>) -> Option<&Arc<T>> {
        self.0.iter().rev().find(|row| row.validity().holds(at))
    }

    /// The newest row that holds, or else the last that has begun, or else the first that will; and whether it holds.
    fn nearest(&self, at: DateTime<Utc>) -> Option<(&Arc<T>, bool)> {
        let begun = || self.0.iter().rev().find(|row| row.validity().from <= at);
        self.valid(at).map(|row| (row, true)).or_else(|| begun().or_else(|| self.0.first()).map(|row| (row, false)))
    }
}

/// Whose contract it is and where, and how it is accounted.
type MarketKey = (Accounting, String, GridZone);

/// The rows one profile looks at.
#[derive(Debug, Clone, Default)]
struct Shelf {
    models: BTreeMap<String, BTreeMap<String, Vintages<ModelFactor>>>,
    makers_of: BTreeMap<String, Vec<String>>,
    dated_name_of: BTreeMap<String, BTreeMap<String, String>>,
    worst_of: BTreeMap<String, (f64, Arc<ModelFactor>)>,
    grids: BTreeMap<GridZone, Vintages<GridFactor>>,
    markets: BTreeMap<MarketKey, Vintages<GridFactor>>,
    serving: BTreeMap<String, Vintages<ServingFactor>>,
    regions: BTreeMap<String, Vintages<RegionFactor>>,
}

/// Dated, sourced factors, indexed. Immutable: when rows are added, a new book is made.
#[derive(Debug, Clone)]
pub struct FactorBook {
    ecologits: Shelf,
    extended: Shelf,
    /// Every row a transfer can name.
    pub(super) recorded: RecordedRows,
}

impl FactorBook {
    /// Indexes the rows. The order does not matter.
    pub fn new(rows: impl IntoIterator<Item = Factor>) -> Self {
        let mut book =
            Self { ecologits: Shelf::default(), extended: Shelf::default(), recorded: RecordedRows::default() };
        for row in rows {
            book.file(row);
        }
        for shelf in [&mut book.ecologits, &mut book.extended] {
            shelf.index_names();
        }
        book
    }

    fn file(&mut self, row: Factor) {
        let ecologits = row.source().set == ECOLOGITS_SET;
        match row {
            Factor::Model(model) => {
                let model = Arc::new(model);
                self.recorded.models.insert(model.id, Arc::clone(&model));
                if ecologits {
                    self.ecologits.file_model(&model);
                }
                self.extended.file_model(&model);
            }
            Factor::Grid(grid) if grid.accounting == Accounting::Location => {
                let shelf = if ecologits { &mut self.ecologits } else { &mut self.extended };
                let row = Arc::new(grid);
                self.recorded.grids.insert(row.id, Arc::clone(&row));
                shelf.grids.entry(row.zone.clone()).or_default().push(&row);
            }
            Factor::Grid(grid) => {
                let owner = grid.provider.as_ref().map_or_else(String::new, |provider| lower(provider.as_str()));
                let row = Arc::new(grid);
                self.recorded.grids.insert(row.id, Arc::clone(&row));
                for shelf in [&mut self.ecologits, &mut self.extended] {
                    let key = (row.accounting, owner.clone(), row.zone.clone());
                    shelf.markets.entry(key).or_default().push(&row);
                }
            }
            Factor::Serving(serving) => {
                let row = Arc::new(serving);
                let shelves =
                    if ecologits { vec![&mut self.ecologits, &mut self.extended] } else { vec![&mut self.extended] };
                for shelf in shelves {
                    for name in std::iter::once(&row.provider).chain(&row.also_known_as) {
                        shelf.serving.entry(lower(name.as_str())).or_default().push(&row);
                    }
                }
            }
            Factor::Region(region) => {
                let row = Arc::new(region);
                for shelf in [&mut self.ecologits, &mut self.extended] {
                    shelf.regions.entry(lower(row.region.as_str())).or_default().push(&row);
                }
            }
        }
    }

    /// Finds everything that is needed to estimate a call. Never fails: what is unknown is replaced and flagged.
    ///
    /// `zone` wins over `region`. A `region` that is not in the table but is itself a zone with a row is taken as one.
    #[must_use]
    pub fn resolve(
        &self,
        profile: Profile,
        provider: &ProviderId,
        model: &ModelId,
        region: Option<&RegionId>,
        zone: Option<&str>,
        at: DateTime<Utc>,
    ) -> CarbonInputs {
        let shelf = match profile {
            Profile::EcoLogits0113 => &self.ecologits,
            Profile::Extended1 => &self.extended,
        };
        let provider = self.extended.canonical(provider, at);
        let (model, model_fallback) = shelf.find_model(&provider, model.as_str(), at);
        let (serving, serving_fallback) = shelf.find_serving(profile, &provider, model.as_deref(), at);
        let place = shelf.find_place(region, zone, serving.as_deref(), at);
        let (grid, grid_fallback) = shelf.find_grid(&place.zones, at);
        let market = shelf.find_market(&provider, &place.zones, at);

        let size = model.as_ref().map_or_else(worst_size, |row| row.size);
        let pue = serving.as_ref().map_or_else(any_pue, |row| row.pue);
        let location_g_per_kwh = grid.as_ref().map_or(WORLD_G_PER_KWH, |row| row.g_per_kwh);
        let market_g_per_kwh = market.as_ref().map_or(location_g_per_kwh, |row| row.g_per_kwh);
        let market_method = market.as_ref().map_or(MarketMethod::LocationFallback, |row| method(row.accounting));
        let fallbacks =
            Fallbacks { model: model_fallback, grid: grid_fallback, region: place.fallback, serving: serving_fallback };
        let region = place.region;
        let resolved = Resolved {
            model,
            size,
            grid,
            market,
            serving,
            region,
            pue,
            location_g_per_kwh,
            market_g_per_kwh,
            market_method,
            fallbacks,
        };
        CarbonInputs::new(profile, resolved)
    }
}

pub(super) fn worst_size() -> ModelSize {
    let (least, most, total) = WORST_MODEL_B;
    ModelSize {
        active_params_b: Interval::between(least, most),
        total_params_b: Interval::point(total),
        tps: None,
        ttft_s: None,
    }
}

fn any_pue() -> Interval {
    let (least, most) = ANY_PUE;
    Interval::between(least, most)
}

/// Where a call is served.
struct Place {
    zones: Vec<GridZone>,
    region: Option<Arc<RegionFactor>>,
    fallback: Option<RegionFallback>,
}

pub(super) const fn method(accounting: Accounting) -> MarketMethod {
    match accounting {
        Accounting::MarketContract => MarketMethod::Contract,
        Accounting::MarketSupplier => MarketMethod::Supplier,
        Accounting::Residual => MarketMethod::Residual,
        Accounting::Location => MarketMethod::LocationFallback,
    }
}

fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// How heavy a model is, for choosing the worst: kWh of a reference call of 1,000 output tokens.
fn heaviness(model: &ModelFactor) -> f64 {
    let fixed = Profile::Extended1.parameters();
    let point = middle(model.size.active_params_b.mid, model.size.total_params_b.mid, 1.0, &fixed);
    let work = Work { output: 1_000.0, prompt: 0.0, latency_s: f64::INFINITY };
    Corner::new(&point, Speed { tps: model.size.tps, ttft_s: model.size.ttft_s }).evaluate(work).energy_kwh
}

impl Shelf {
    fn file_model(&mut self, row: &Arc<ModelFactor>) {
        let (maker, name) = (lower(row.provider.as_str()), lower(row.model.as_str()));
        let heavier = heaviness(row);
        if self.worst_of.get(&maker).is_none_or(|(known, _)| heavier > *known) {
            self.worst_of.insert(maker.clone(), (heavier, Arc::clone(row)));
        }
        self.models.entry(maker).or_default().entry(name).or_default().push(row);
    }

    /// Lists the makers of each name, and the newest dated name of each undated one.
    fn index_names(&mut self) {
        for (maker, models) in &self.models {
            for name in models.keys() {
                self.makers_of.entry(name.clone()).or_default().push(maker.clone());
                let stem = names::stem(name);
                if stem != *name {
                    // In name order the newest date comes last and wins.
                    self.dated_name_of.entry(maker.clone()).or_default().insert(stem, name.clone());
                }
            }
        }
    }

    /// Our word for a provider that came by another of its names.
    fn canonical(&self, provider: &ProviderId, at: DateTime<Utc>) -> String {
        let given = lower(provider.as_str());
        let known = self.serving.get(&given).and_then(|rows| rows.nearest(at));
        known.map_or(given, |(row, _)| lower(row.provider.as_str()))
    }

    fn find_model(
        &self,
        provider: &str,
        model: &str,
        at: DateTime<Utc>,
    ) -> (Option<Arc<ModelFactor>>, Option<ModelFallback>) {
        let spellings = names::spellings(model);
        let maker = names::maker(model);
        if let Some(row) = self.find_spelling(provider, maker, &spellings, at) {
            return (Some(Arc::clone(row)), None);
        }
        let worst = |maker: &str| self.worst_of.get(maker).map(|(_, row)| Arc::clone(row));
        if let Some(row) = maker.and_then(worst).or_else(|| worst(provider)) {
            return (Some(row), Some(ModelFallback::WorstOfProvider));
        }
        let heaviest = self.worst_of.values().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, row)| Arc::clone(row));
        (heaviest, Some(ModelFallback::WorstKnown))
    }

    /// The provider's own model first, then its dated form, then the same for whoever else makes one of that name.
    fn find_spelling(
        &self,
        provider: &str,
        maker: Option<&str>,
        spellings: &[String],
        at: DateTime<Utc>,
    ) -> Option<&Arc<ModelFactor>> {
        let of = |maker: &str, name: &str| {
            let rows = self.models.get(maker)?.get(name)?;
            rows.nearest(at).map(|(row, _)| row)
        };
        let dated = |maker: &str, name: &str| of(maker, self.dated_name_of.get(maker)?.get(name)?);
        for maker in std::iter::once(provider).chain(maker) {
            let exact = spellings.iter().find_map(|name| of(maker, name));
            if let Some(row) = exact.or_else(|| spellings.iter().find_map(|name| dated(maker, name))) {
                return Some(row);
            }
        }
        spellings.iter().find_map(|name| of(self.makers_of.get(name)?.first()?, name))
    }

    fn find_serving(
        &self,
        profile: Profile,
        provider: &str,
        model: Option<&ModelFactor>,
        at: DateTime<Utc>,
    ) -> (Option<Arc<ServingFactor>>, Option<ServingFallback>) {
        let of = |name: &str| self.serving.get(name).and_then(|rows| rows.nearest(at)).map(|(row, _)| Arc::clone(row));
        if let Some(row) = of(provider) {
            return (Some(row), None);
        }
        // EcoLogits knows no resellers: it sees the maker's client, whoever serves it.
        let maker =
            model.filter(|_| profile == Profile::EcoLogits0113).and_then(|row| of(&lower(row.provider.as_str())));
        let fallback = if maker.is_some() { ServingFallback::Maker } else { ServingFallback::AnyDataCentre };
        (maker, Some(fallback))
    }

    fn find_place(
        &self,
        region: Option<&RegionId>,
        zone: Option<&str>,
        serving: Option<&ServingFactor>,
        at: DateTime<Utc>,
    ) -> Place {
        if let Some(zone) = zone {
            let zones = GridZone::parse(zone).map(|zone| vec![zone]).unwrap_or_default();
            return Place { zones, region: None, fallback: None };
        }
        if let Some(region) = region {
            let row = self.regions.get(&lower(region.as_str())).and_then(|rows| rows.nearest(at));
            if let Some((row, _)) = row {
                return Place { zones: row.zones.clone(), region: Some(Arc::clone(row)), fallback: None };
            }
            let as_zone = GridZone::parse(region.as_str()).ok().filter(|zone| self.grids.contains_key(zone));
            let fallback = as_zone.is_none().then_some(RegionFallback::Unknown);
            return Place { zones: as_zone.into_iter().collect(), region: None, fallback };
        }
        match serving.and_then(|row| row.default_zone.as_ref()) {
            Some(zone) => {
                Place { zones: vec![zone.clone()], region: None, fallback: Some(RegionFallback::ProviderDefault) }
            }
            None => Place { zones: vec![GridZone::world()], region: None, fallback: Some(RegionFallback::NotGiven) },
        }
    }

    fn find_grid(&self, zones: &[GridZone], at: DateTime<Utc>) -> (Option<Arc<GridFactor>>, Option<GridFallback>) {
        let valid = |zone: &GridZone| self.grids.get(zone).and_then(|rows| rows.valid(at)).map(Arc::clone);
        let nearest =
            |zone: &GridZone| self.grids.get(zone).and_then(|rows| rows.nearest(at)).map(|(row, _)| Arc::clone(row));
        if let Some(row) = zones.iter().find_map(valid) {
            return (Some(row), None);
        }
        if let Some(row) = zones.iter().find_map(nearest) {
            return (Some(row), Some(GridFallback::OtherVintage));
        }
        if let Some(row) = zones.iter().filter_map(GridZone::country).find_map(|zone| nearest(&zone)) {
            return (Some(row), Some(GridFallback::Country));
        }
        (nearest(&GridZone::world()), Some(GridFallback::WorldAverage))
    }

    /// Contracts must hold at the instant: an expired one is no contract.
    fn find_market(&self, provider: &str, zones: &[GridZone], at: DateTime<Utc>) -> Option<Arc<GridFactor>> {
        let countries: Vec<GridZone> = zones.iter().filter_map(GridZone::country).collect();
        let world = [GridZone::world()];
        let places = || zones.iter().chain(&countries).chain(&world);
        let find = |accounting: Accounting, owner: &str| {
            places().find_map(|zone| {
                let rows = self.markets.get(&(accounting, owner.to_owned(), zone.clone()))?;
                rows.valid(at).map(Arc::clone)
            })
        };
        if self.markets.is_empty() {
            return None;
        }
        find(Accounting::MarketContract, provider)
            .or_else(|| find(Accounting::MarketSupplier, provider))
            .or_else(|| find(Accounting::Residual, ""))
    }
}
