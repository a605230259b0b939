//! The columns, and the cells of a line.
//!
//! Names follow what the clouds publish: `lb` and `mb` for the location-based and market-based method (AWS), `kgco2e` and the
//! version of the carbon model on every line (Google Cloud). Numbers are decimal, without exponent or grouping, in full.

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;

use super::{GhgOptions, Key, Line, ReportingBasis};
use crate::domain::amounts::BadAmount;
use crate::domain::carbon::{CarbonInputs, FactorSource, MarketMethod, Profile};
use crate::domain::tariff::Flags;
use crate::export::emission::Ranged;

/// The columns, in order.
pub const COLUMNS: [&str; 54] = [
    "period_start",
    "period_end",
    "tenant_id",
    "feature",
    "provider",
    "model",
    "region",
    "grid_zone",
    "entry",
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "energy_kwh",
    "energy_kwh_min",
    "energy_kwh_max",
    "scope3_category",
    "lb_usage_kgco2e",
    "lb_usage_kgco2e_min",
    "lb_usage_kgco2e_max",
    "mb_usage_kgco2e",
    "mb_usage_kgco2e_min",
    "mb_usage_kgco2e_max",
    "mb_method",
    "embodied_kgco2e",
    "embodied_kgco2e_min",
    "embodied_kgco2e_max",
    "total_lb_kgco2e",
    "total_lb_kgco2e_min",
    "total_lb_kgco2e_max",
    "total_mb_kgco2e",
    "total_mb_kgco2e_min",
    "total_mb_kgco2e_max",
    "range_method",
    "primary_data_share",
    "data_quality_tier",
    "fallbacks",
    "method",
    "model_version",
    "factor_set_id",
    "factor_row",
    "factor_year",
    "factor_basis",
    "factor_source",
    "factor_licence",
    "mb_factor_set_id",
    "mb_factor_row",
    "mb_factor_source",
    "model_factor_set_id",
    "model_factor_row",
    "esrs_datapoint",
    "reporting_basis",
    "reported_kgco2e",
];

/// Gross Scope 3 emissions in EFRAG's list of the data points of ESRS E1-6 (paragraphs 44(c) and 51).
const ESRS_GROSS_SCOPE_3: &str = "E1-6_11";
/// What a factor is called that no row of the book has: the figure declared in the code.
const DECLARED_SET: &str = "declared-world-average";
/// Where that figure is from.
const DECLARED_SOURCE: &str = "Ember by way of Our World in Data, world average of 2025";
/// Best tier of a figure that was computed from tokens rather than measured by the supplier.
const TIER_MODELLED: u8 = 2;
/// Tier of what was assumed.
const TIER_ASSUMED: u8 = 3;

/// The quality of a call's figures: that of the weakest row it stands on; 1 is kept for what suppliers measure.
pub(super) fn tier(rows: &CarbonInputs, flags: Flags) -> u8 {
    let resolved = &rows.resolved;
    let of_row = |source: Option<&FactorSource>| source.map_or(TIER_ASSUMED, |source| source.tier);
    let assumed = flags.intersects(Flags::MODEL_FACTOR_FALLBACK.with(Flags::GRID_FACTOR_FALLBACK));
    let tiers = [
        TIER_MODELLED,
        if assumed { TIER_ASSUMED } else { TIER_MODELLED },
        of_row(resolved.model.as_ref().map(|row| &row.source)),
        of_row(resolved.grid.as_ref().map(|row| &row.source)),
        of_row(resolved.serving.as_ref().map(|row| &row.source)),
    ];
    tiers.into_iter().max().unwrap_or(TIER_ASSUMED).min(TIER_ASSUMED)
}

/// The cells of a line, under [`COLUMNS`].
pub(super) fn cells(key: &Key, line: &Line, options: &GhgOptions) -> Result<Vec<String>, BadAmount> {
    let resolved = &line.rows.resolved;
    let (grid, market, model) = (&resolved.grid, &resolved.market, &resolved.model);
    let total_lb = line.location.plus(&line.embodied)?;
    let total_mb = line.market.plus(&line.embodied)?;
    let reported = match options.basis {
        ReportingBasis::Location => total_lb.mid,
        ReportingBasis::Market => total_mb.mid,
    };
    let id = |id: Option<i64>| id.map_or_else(String::new, |id| id.to_string());
    let source = |source: &FactorSource| if source.url.is_empty() { source.title.clone() } else { source.url.clone() };
    let mut cells = vec![
        instant(key.start),
        instant(key.end),
        key.tenant.clone(),
        key.feature.clone(),
        key.provider.clone(),
        key.model.clone(),
        key.region.clone().unwrap_or_default(),
        grid.as_ref().map_or_else(|| "WOR".to_owned(), |row| row.zone.to_string()),
        key.entry.word().to_owned(),
        line.requests.to_string(),
        number(line.input),
        number(line.cached),
        number(line.cache_write),
        number(line.output),
    ];
    cells.extend(figures(&line.energy));
    cells.push(options.category.word().to_owned());
    cells.extend(kilograms(&line.location)?);
    cells.extend(kilograms(&line.market)?);
    cells.push(market_word(resolved.market_method).to_owned());
    cells.extend(kilograms(&line.embodied)?);
    cells.extend(kilograms(&total_lb)?);
    cells.extend(kilograms(&total_mb)?);
    cells.extend([
        line.ranges.word().to_owned(),
        // Percent of the figure that suppliers measured: every method so far is computed from tokens.
        "0".to_owned(),
        line.tier.to_string(),
        fallbacks(line.fallbacks),
        method(key.factors.profile).to_owned(),
        key.factors.profile.name().to_owned(),
        grid.as_ref().map_or_else(|| DECLARED_SET.to_owned(), |row| row.source.set.clone()),
        id(key.factors.grid.map(|id| id.0)),
        grid.as_ref().and_then(|row| row.year).map_or_else(String::new, |year| year.to_string()),
        grid.as_ref().map_or("lifecycle", |row| row.basis.word()).to_owned(),
        grid.as_ref().map_or_else(|| DECLARED_SOURCE.to_owned(), |row| source(&row.source)),
        grid.as_ref().map_or_else(|| "CC-BY-4.0".to_owned(), |row| row.source.licence.clone()),
        market.as_ref().map_or_else(String::new, |row| row.source.set.clone()),
        id(key.factors.market.map(|id| id.0)),
        market.as_ref().map_or_else(String::new, |row| source(&row.source)),
        model.as_ref().map_or_else(|| "declared-worst-model".to_owned(), |row| row.source.set.clone()),
        id(key.factors.model.map(|id| id.0)),
        ESRS_GROSS_SCOPE_3.to_owned(),
        options.basis.word().to_owned(),
        number(to_kilograms(reported)?),
    ]);
    Ok(cells)
}

fn instant(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn number(value: Decimal) -> String {
    value.normalize().to_string()
}

fn figures(range: &Ranged) -> [String; 3] {
    [range.mid, range.min, range.max].map(number)
}

fn kilograms(grams: &Ranged) -> Result<[String; 3], BadAmount> {
    Ok([number(to_kilograms(grams.mid)?), number(to_kilograms(grams.min)?), number(to_kilograms(grams.max)?)])
}

/// Exact: the point moves, no digit is lost.
fn to_kilograms(grams: Decimal) -> Result<Decimal, BadAmount> {
    let mut kilograms = grams.normalize();
    kilograms.set_scale(kilograms.scale().saturating_add(3)).map_err(|_| BadAmount::TooLarge)?;
    Ok(kilograms)
}

/// The method without its version.
const fn method(profile: Profile) -> &'static str {
    match profile {
        Profile::EcoLogits0113 => "ecologits",
        Profile::Extended1 => "extended",
    }
}

/// As the GHG Protocol's Scope 2 guidance orders its instruments.
const fn market_word(method: MarketMethod) -> &'static str {
    match method {
        MarketMethod::Contract => "contractual",
        MarketMethod::Supplier => "supplier_specific",
        MarketMethod::Residual => "residual_mix",
        MarketMethod::LocationFallback => "location_fallback",
    }
}

fn fallbacks(bits: u32) -> String {
    let shown = [Flags::MODEL_FACTOR_FALLBACK, Flags::GRID_FACTOR_FALLBACK, Flags::UNCONFIRMED];
    let all = Flags::from_bits(bits);
    let names = shown.into_iter().filter(|flag| all.contains(*flag)).flat_map(Flags::names);
    names.collect::<Vec<_>>().join(" ")
}
