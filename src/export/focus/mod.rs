//! Charges for finance, after FOCUS 1.4 and 1.2: one row for each token bucket and price, so that quantity times unit price
//! is the cost of the row.
//!
//! | file | what |
//! |---|---|
//! | [`adding`] | calls into charges |
//! | [`pages`] | the charges of a slice, read and added up period by period |
//! | [`columns`] | the columns, by version |
//! | [`mod@split`] | one charge into lines: dollars by unit price, grams by token weight |
//! | [`terms`] | what rows of the books mean to a charge: unit prices, factor sets |
//! | [`ranges`] | the least and the most that a charge may have emitted |
//! | [`mod@key`] | what names a row, and the row that a correction is about |
//! | this one | a line as a row |
//!
//! A charge is what the transfers of one charge period (a local day, or an hour), tenant, feature, provider, model, region,
//! price row and tier, set of factors, set of labels and remarkable flags add up to. Calls one by one would be what nobody
//! loads into a finance tool; anything that changes a price, a tag or a method still has a row of its own.
//!
//! Invariant: `BilledCost` adds up to the dollars of the slice and each column of grams to its grams, to the last digit.

pub mod adding;
pub mod columns;
pub mod key;
pub mod pages;
pub mod ranges;
pub mod split;
pub mod terms;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::json;

use self::adding::ChargeRow;
use self::key::{corrected_key, key};
use self::ranges::Ranges;
use self::split::{Charge, Line, Meter, split};
use self::terms::{PriceTerms, Terms};
use super::stream::FileWriter;
use super::table::{Cell, Table, pico};
use super::{ExportError, Side, Totals};
use crate::domain::carbon::FactorBook;
use crate::domain::ledger::transfer::TransferKind;
use crate::domain::tariff::Flags;
use crate::domain::usage::Bucket;
use crate::store::export::Sums;
use crate::wire::export::FocusVersion;

/// The flags that tell charges apart. The others say how a call came about, not what it cost.
pub const FLAGS: Flags =
    Flags::UNPRICED.with(Flags::FACTOR_FALLBACKS).with(Flags::UNCONFIRMED).with(Flags::PERIOD_CLOSED);

/// 10⁻¹² in one 10⁻⁹.
const PICO_PER_NANO: i128 = 1_000;
/// Tokens in a pricing unit.
const PRICING_TOKENS: i128 = 1_000_000;
/// 10⁻¹² in one.
const PICO_PER_ONE: i128 = 1_000_000_000_000;

/// A charge period, in the billing period that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargePeriod {
    /// Its first instant.
    pub start: DateTime<Utc>,
    /// The first instant after it.
    pub end: DateTime<Utc>,
    /// The first instant of the local month that holds its start.
    pub billing_start: DateTime<Utc>,
    /// The first instant after that month.
    pub billing_end: DateTime<Utc>,
}

/// Writes charges.
pub struct FocusWriter {
    table: Table,
    version: FocusVersion,
    periods: Vec<ChargePeriod>,
    terms: Terms,
    ranges: Ranges,
    totals: Totals,
}

impl FocusWriter {
    /// Into this table, whose columns are those of the version. The book must have at least the rows that the charges name.
    #[must_use]
    pub fn new(
        table: Table,
        version: FocusVersion,
        periods: Vec<ChargePeriod>,
        terms: Terms,
        book: Arc<FactorBook>,
    ) -> Self {
        Self { table, version, periods, terms, ranges: Ranges::new(book), totals: Totals::default() }
    }
}

impl FileWriter<ChargeRow> for FocusWriter {
    fn row(&mut self, row: &ChargeRow) -> Result<(), ExportError> {
        let too_large = || ExportError::TooLarge { what: "a charge of", value: row.usd.to_string() };
        let nano = |what, grams| Ok::<_, ExportError>(pico(what, grams)?.checked_div(PICO_PER_NANO).unwrap_or(0));
        let period = self.periods.get(row.slot).copied().ok_or_else(too_large)?;
        let bounds = self.ranges.of(row, period.start)?;
        let three = |[location, market, embodied]: [Decimal; 3]| {
            Ok::<_, ExportError>([nano("grams", location)?, nano("grams", market)?, nano("grams", embodied)?])
        };
        let charge = Charge {
            transfers: row.transfers,
            requests: row.requests,
            buckets: row.buckets,
            usd: pico("usd", row.usd)?,
            grams: three(row.grams)?,
            least: three(bounds.map_or(row.grams, |bounds| bounds.map(|one| one.min.decimal())))?,
            most: three(bounds.map_or(row.grams, |bounds| bounds.map(|one| one.max.decimal())))?,
        };
        let price = self.terms.price(row.basis.price, row.basis.price_tier_from);
        let lines = split(&charge, price.map(|price| &price.units), row.basis.carbon_profile).ok_or_else(too_large)?;
        let corrected = corrected_key(row, &self.periods, &self.terms);
        let shared = Shared { corrected, ..Shared::of(row) };
        for (place, line) in lines.iter().enumerate() {
            // Calls and transfers are counted once, on the first row of the charge.
            let counted = if place == 0 { (row.requests, row.transfers) } else { (0, 0) };
            let periods = self.periods.as_slice();
            let has_range = bounds.is_some();
            let one = Row { row, line, period: &period, periods, price, shared: &shared, counted, has_range };
            let written = one.write(&mut self.table, self.version, &self.terms)?;
            self.totals.add(counted.1, &written)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ExportError> {
        self.table.end()
    }

    fn take(&mut self) -> Result<Vec<u8>, ExportError> {
        self.table.take()
    }

    fn totals(&self) -> &Totals {
        &self.totals
    }

    fn side(&self) -> Side {
        Side::Supplied
    }
}

/// `Correction` for what changes charges that were told before: a correction always, a true-up where the period that it is
/// about is closed.
const fn charge_class(kind: TransferKind, flags: Flags) -> Option<&'static str> {
    match kind {
        TransferKind::Settlement | TransferKind::Usage => None,
        TransferKind::Correction => Some("Correction"),
        TransferKind::TrueUp if flags.contains(Flags::PERIOD_CLOSED) => Some("Correction"),
        TransferKind::TrueUp => None,
    }
}

/// What all lines of a charge have in common.
struct Shared {
    resource: String,
    flags: String,
    service: String,
    method: (String, String),
    /// The key of the row that is corrected, if it is in the same file.
    corrected: Option<String>,
    /// The transfer that is corrected, if it is one.
    corrects: Option<String>,
}

impl Shared {
    fn of(row: &ChargeRow) -> Self {
        let profile = row.basis.carbon_profile.name();
        let (method, version) = profile.rsplit_once('-').unwrap_or((profile, ""));
        Self {
            resource: format!("{}/{}", row.subject.tenant, row.subject.feature),
            flags: row.basis.flags.names().collect::<Vec<_>>().join(" "),
            service: format!("{} API", row.subject.provider),
            method: (method.to_owned(), version.to_owned()),
            corrected: None,
            corrects: row.corrects.map(|id| id.to_string()),
        }
    }
}

/// One row of the file.
struct Row<'a> {
    row: &'a ChargeRow,
    line: &'a Line,
    period: &'a ChargePeriod,
    periods: &'a [ChargePeriod],
    price: Option<&'a PriceTerms>,
    shared: &'a Shared,
    counted: (u64, u64),
    /// Whether the least and the most that it may have emitted are known.
    has_range: bool,
}

/// How a meter is named: `SkuMeter`, the part of a SKU's id, direction and cache action after the working draft of FOCUS 1.5.
const fn names(meter: Meter) -> (&'static str, &'static str, Option<(&'static str, Option<&'static str>)>) {
    match meter {
        Meter::Tokens(Bucket::Input) => ("Input Tokens", "input", Some(("Input", Some("Uncached")))),
        Meter::Tokens(Bucket::CacheRead) => ("Cache Read Input Tokens", "cache_read", Some(("Input", Some("Read")))),
        Meter::Tokens(Bucket::CacheWrite5m) => {
            ("Cache Write Input Tokens (5 Minutes)", "cache_write_5m", Some(("Input", Some("Write"))))
        }
        Meter::Tokens(Bucket::CacheWrite1h) => {
            ("Cache Write Input Tokens (1 Hour)", "cache_write_1h", Some(("Input", Some("Write"))))
        }
        Meter::Tokens(Bucket::Output) => ("Output Tokens", "output", Some(("Output", None))),
        Meter::Tokens(Bucket::Reasoning) => ("Reasoning Output Tokens", "reasoning", Some(("Output", None))),
        Meter::Requests => ("Requests", "requests", None),
        Meter::Difference => ("Difference", "difference", None),
    }
}

/// The nearest number that a column of whole numbers can say.
fn saturated(number: i128) -> i64 {
    let farthest = if number < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(number).unwrap_or(farthest)
}

/// The amounts of a row, with their sign.
struct Figures {
    billed: i128,
    list: i128,
    quantity: Option<i128>,
    pricing_quantity: Option<i128>,
    tokens: i128,
    unit_price: Option<i128>,
    grams: [i128; 3],
    least: [i128; 3],
    most: [i128; 3],
}

impl Row<'_> {
    fn figures(&self) -> Result<Figures, ExportError> {
        let too_large = || ExportError::TooLarge { what: "a quantity of", value: self.line.quantity.to_string() };
        // What went back counts down.
        let sign = if self.row.basis.returned { -1 } else { 1 };
        let signed = |number: i128| number.checked_mul(sign).ok_or_else(too_large);
        let quantity = signed(i128::try_from(self.line.quantity).map_err(|_| too_large())?)?;
        let count = quantity;
        let in_pico = quantity.checked_mul(PICO_PER_ONE).ok_or_else(too_large)?;
        let (quantity, pricing_quantity) = match self.line.meter {
            Meter::Tokens(_) => (Some(in_pico), in_pico.checked_div(PRICING_TOKENS)),
            Meter::Requests => (Some(in_pico), Some(in_pico)),
            Meter::Difference => (None, None),
        };
        let tokens = match self.line.meter {
            Meter::Tokens(_) | Meter::Difference => count,
            Meter::Requests => 0,
        };
        let grams = |[location, market, embodied]: [i128; 3]| {
            let one = |nano: i128| signed(nano.checked_mul(PICO_PER_NANO).ok_or_else(too_large)?);
            Ok::<_, ExportError>([one(location)?, one(market)?, one(embodied)?])
        };
        Ok(Figures {
            billed: signed(self.line.billed)?,
            list: signed(self.line.list)?,
            quantity,
            pricing_quantity,
            tokens,
            unit_price: self.line.unit_price,
            grams: grams(self.line.grams)?,
            least: grams(self.line.least)?,
            most: grams(self.line.most)?,
        })
    }

    /// What stands in the file, in every unit.
    fn sums(figures: &Figures) -> Sums {
        let decimal = |pico: i128| Decimal::try_from_i128_with_scale(pico, 12).unwrap_or_default();
        let [location, market, embodied] = figures.grams;
        Sums {
            tokens: Decimal::try_from_i128_with_scale(figures.tokens, 0).unwrap_or_default(),
            usd: decimal(figures.billed),
            gco2e_usage_location: decimal(location),
            gco2e_usage_market: decimal(market),
            gco2e_embodied: decimal(embodied),
        }
    }

    fn write(&self, table: &mut Table, version: FocusVersion, terms: &Terms) -> Result<Sums, ExportError> {
        let figures = self.figures()?;
        self.cost_cells(table, &figures, version)?;
        self.sku_cells(table)?;
        let provider = Cell::Text(&self.row.subject.provider);
        table.cell(provider)?;
        table.cell(provider)?;
        match version {
            FocusVersion::V1_4 => {}
            FocusVersion::V1_2 => table.cell(Cell::Null)?,
        }
        self.own_cells(table, &figures, terms)?;
        table.end_row()?;
        Ok(Self::sums(&figures))
    }

    /// What people call the tenant. The validator of 1.2 takes ASCII only: then a name that is not is the tenant's id.
    fn account_name(&self, version: FocusVersion) -> &str {
        let name = self.row.tenant_name.as_deref().unwrap_or(&self.row.subject.tenant);
        match version {
            FocusVersion::V1_2 if !name.is_ascii() => &self.row.subject.tenant,
            FocusVersion::V1_2 | FocusVersion::V1_4 => name,
        }
    }

    /// From `BilledCost` to `RegionName`.
    fn cost_cells(&self, table: &mut Table, figures: &Figures, version: FocusVersion) -> Result<(), ExportError> {
        let (row, period) = (self.row, self.period);
        let (meter, ..) = names(self.line.meter);
        let decimal = |pico: Option<i128>| pico.map_or(Cell::Null, Cell::Decimal);
        let (category, consumed_unit, pricing_unit) = match self.line.meter {
            Meter::Tokens(_) => ("Usage", Cell::Text("Tokens"), Cell::Text("1000000 Tokens")),
            Meter::Requests => ("Usage", Cell::Text("Requests"), Cell::Text("Requests")),
            Meter::Difference => ("Adjustment", Cell::Null, Cell::Null),
        };
        let pricing = match (self.line.meter, self.price) {
            (Meter::Difference, _) | (_, None) => Cell::Null,
            (_, Some(_)) => Cell::Text("Standard"),
        };
        let description = format!("{} {meter}", row.subject.model);
        let unit_price = decimal(figures.unit_price);
        let cells = [
            Cell::Decimal(figures.billed),
            Cell::Text(&row.subject.tenant),
            Cell::Text(self.account_name(version)),
            Cell::Text("Tenant"),
            Cell::Text("USD"),
            Cell::Instant(period.billing_end),
            Cell::Instant(period.billing_start),
            Cell::Text(category),
            Cell::optional(charge_class(row.basis.kind, row.basis.flags)),
            Cell::Text(&description),
            Cell::Text("Usage-Based"),
            Cell::Instant(period.end),
            Cell::Instant(period.start),
            decimal(figures.quantity),
            consumed_unit,
            Cell::Decimal(figures.list),
            unit_price,
            Cell::Decimal(figures.billed),
            Cell::Null,
            Cell::Text(&row.subject.provider),
            Cell::Decimal(figures.list),
            unit_price,
            pricing,
            Cell::Text("USD"),
            unit_price,
            Cell::Decimal(figures.billed),
            unit_price,
            decimal(figures.pricing_quantity),
            pricing_unit,
            Cell::optional(row.subject.region.as_deref()),
            Cell::optional(row.subject.region.as_deref()),
        ];
        cells.into_iter().try_for_each(|cell| table.cell(cell))
    }

    /// From `ResourceId` to `Tags`.
    fn sku_cells(&self, table: &mut Table) -> Result<(), ExportError> {
        let (row, shared) = (self.row, self.shared);
        let (meter, part, _) = names(self.line.meter);
        let sku =
            self.price.map(|price| format!("{}/{}/{}/{part}", row.subject.provider, price.model, price.service_tier));
        let sku_price = self.price.map(|price| format!("{}/{}/{part}", price.id, price.tier_from));
        let details = self.price_details();
        // A difference has no unit, and what has no unit has no price.
        let priced = |text: Option<&str>| match self.line.meter {
            Meter::Tokens(_) | Meter::Requests => text.map(str::to_owned),
            Meter::Difference => None,
        };
        let (sku, sku_price) = (priced(sku.as_deref()), priced(sku_price.as_deref()));
        let has_sku = sku.is_some();
        let cells = [
            Cell::Text(&shared.resource),
            Cell::Text(&row.subject.feature),
            Cell::Text("Feature"),
            Cell::Text("AI and Machine Learning"),
            Cell::Text(&shared.service),
            Cell::Text("Generative AI"),
            Cell::optional(sku.as_deref()),
            Cell::optional(Some(meter).filter(|_| has_sku)),
            Cell::optional(Some(details.as_str()).filter(|_| has_sku)),
            Cell::optional(sku_price.as_deref()),
            Cell::Text(&shared.resource),
            Cell::Text(&row.subject.feature),
            Cell::Text("Feature"),
            Cell::Text(row.subject.labels.as_deref().unwrap_or("{}")),
        ];
        cells.into_iter().try_for_each(|cell| table.cell(cell))
    }

    /// A flat JSON object. The names are those of the working draft of FOCUS 1.5, which until then need the prefix.
    fn price_details(&self) -> String {
        let mut details = serde_json::Map::new();
        let mut put = |name: &str, value: serde_json::Value| drop(details.insert(name.to_owned(), value));
        put("x_ModelId", json!(self.row.subject.model));
        if let (.., Some((direction, cache))) = names(self.line.meter) {
            put("x_TokenDirection", json!(direction));
            if let Some(cache) = cache {
                put("x_TokenCacheAction", json!(cache));
            }
        }
        if let Some(price) = self.price {
            put("x_ServiceTier", json!(price.service_tier));
            put("x_InputTokensFrom", json!(price.tier_from));
            put("x_PriceSource", json!(price.source));
            put("x_PriceSourceDate", json!(price.source_date));
        }
        serde_json::Value::Object(details).to_string()
    }

    /// Ours: from `x_ChargeKey` on.
    fn own_cells(&self, table: &mut Table, figures: &Figures, terms: &Terms) -> Result<(), ExportError> {
        let (row, shared) = (self.row, self.shared);
        let yes = |yes: bool| Cell::Text(if yes { "true" } else { "false" });
        let remainder = match self.line.meter {
            Meter::Tokens(_) | Meter::Requests => figures.billed.saturating_sub(figures.list),
            Meter::Difference => 0,
        };
        let (requests, transfers) = self.counted;
        let count = |count: u64| Cell::Integer(i64::try_from(count).unwrap_or(i64::MAX));
        let [location, market, embodied] = figures.grams;
        let grid = terms.grid(row.basis.grid_factor);
        // In proportion to the grams of this grid, at each bound.
        let energy = |[location, ..]: [i128; 3]| {
            grid.and_then(|grid| grid.energy_kwh(location)).map_or(Cell::Null, Cell::Decimal)
        };
        let ([least_lb, least_mb, least_emb], [most_lb, most_mb, most_emb]) = (figures.least, figures.most);
        let bound = |cell| if self.has_range { cell } else { Cell::Null };
        let (method, version) = &shared.method;
        let (_, part, _) = names(self.line.meter);
        let key = key(row, self.periods, part);
        let estimated = row.basis.flags.intersects(Flags::MODEL_FACTOR_FALLBACK.with(Flags::GRID_FACTOR_FALLBACK));
        let cells = [
            Cell::Text(&key),
            Cell::optional(shared.corrected.as_deref()),
            Cell::optional(shared.corrects.as_deref()),
            row.corrected_month.map_or(Cell::Null, Cell::Instant),
            Cell::Text(&shared.flags),
            yes(row.basis.flags.contains(Flags::UNPRICED)),
            yes(row.basis.flags.contains(Flags::UNCONFIRMED)),
            Cell::Decimal(remainder),
            // As much as the column can say; the quantity says all of it.
            Cell::Integer(saturated(figures.tokens)),
            count(requests),
            count(transfers),
            energy(figures.grams),
            bound(energy(figures.least)),
            bound(energy(figures.most)),
            Cell::Decimal(location),
            bound(Cell::Decimal(least_lb)),
            bound(Cell::Decimal(most_lb)),
            Cell::Decimal(market),
            bound(Cell::Decimal(least_mb)),
            bound(Cell::Decimal(most_mb)),
            Cell::Decimal(embodied),
            bound(Cell::Decimal(least_emb)),
            bound(Cell::Decimal(most_emb)),
            Cell::Text(terms.market_method(row.basis.market_factor)),
            Cell::Text(method),
            Cell::Text(version),
            Cell::optional(grid.map(|grid| grid.set.as_str())),
            Cell::optional_integer(grid.map(|grid| i64::from(grid.tier))),
            yes(estimated),
        ];
        cells.into_iter().try_for_each(|cell| table.cell(cell))
    }
}
