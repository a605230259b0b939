//! A plain CSV of prices: a line for each tier, dollars per million tokens.
//!
//! Columns: `provider`, `model`, `input`, `source`, `source_date`, `licence`; and if needed `service_tier`, `region`,
//! `effective_from`, `effective_to` (a day, or an instant), `from` (the first token of the tier), `cache_read`,
//! `cache_write_5m`, `cache_write_1h`, `output`, `reasoning`, `request_fee_usd`. Lines of one price follow each other.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use super::{BadPriceList, ReadPrices, midnight};
use crate::wire::price::{PriceRowDoc, TierDoc};

const COLUMNS: [&str; 18] = [
    "provider",
    "model",
    "service_tier",
    "region",
    "effective_from",
    "effective_to",
    "from",
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "request_fee_usd",
    "source",
    "source_date",
    "licence",
    "note",
];

/// A line, by column.
struct Cells<'a> {
    line: u64,
    cells: BTreeMap<&'a str, &'a str>,
}

impl<'a> Cells<'a> {
    fn bad(&self, detail: impl Into<String>) -> BadPriceList {
        BadPriceList::Line { line: self.line, detail: detail.into() }
    }

    fn text(&self, column: &str) -> Option<&'a str> {
        self.cells.get(column).map(|cell| cell.trim()).filter(|cell| !cell.is_empty())
    }

    fn needed(&self, column: &str) -> Result<&'a str, BadPriceList> {
        self.text(column).ok_or_else(|| self.bad(format!("`{column}` is empty")))
    }

    fn price(&self, column: &str) -> Result<Option<Decimal>, BadPriceList> {
        let parse =
            |text: &str| Decimal::from_str_exact(text).map_err(|error| self.bad(format!("`{column}`: {error}")));
        self.text(column).map(parse).transpose()
    }

    fn instant(&self, column: &str) -> Result<Option<DateTime<Utc>>, BadPriceList> {
        let Some(text) = self.text(column) else { return Ok(None) };
        let day = text.parse::<NaiveDate>().ok().map(midnight);
        let at = day.or_else(|| text.parse().ok());
        at.map(Some).ok_or_else(|| self.bad(format!("`{column}`: `{text}` is no day and no instant")))
    }
}

/// Reads the lines.
///
/// # Errors
/// When a column is not known, or names the line and the column that is wrong.
pub fn read(text: &str) -> Result<ReadPrices, BadPriceList> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers()?.clone();
    if let Some(unknown) = header.iter().find(|column| !COLUMNS.contains(&column.trim())) {
        let detail = format!("`{unknown}` is no column: there are {}", COLUMNS.join(", "));
        return Err(BadPriceList::Line { line: 1, detail });
    }
    let mut read = ReadPrices::default();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let cells = Cells { line, cells: header.iter().map(str::trim).zip(record.iter()).collect() };
        let (row, tier) = row(&cells)?;
        match read.rows.last_mut() {
            Some(last) if (PriceRowDoc { tiers: Vec::new(), ..last.clone() }) == row => last.tiers.push(tier),
            Some(_) | None => read.rows.push(PriceRowDoc { tiers: vec![tier], ..row }),
        }
    }
    Ok(read)
}

/// What a line says: a row without tiers, and its tier.
fn row(cells: &Cells<'_>) -> Result<(PriceRowDoc, TierDoc), BadPriceList> {
    let source_date = cells.needed("source_date")?;
    let from = cells.text("from").unwrap_or("0");
    let row = PriceRowDoc {
        provider: cells.needed("provider")?.to_owned(),
        model: cells.needed("model")?.to_owned(),
        matcher: None,
        service_tier: cells.text("service_tier").unwrap_or("standard").to_owned(),
        region: cells.text("region").map(str::to_owned),
        effective_from: cells.instant("effective_from")?.unwrap_or(DateTime::<Utc>::UNIX_EPOCH),
        effective_to: cells.instant("effective_to")?,
        tiers: Vec::new(),
        request_fee_usd: cells.price("request_fee_usd")?.unwrap_or_default(),
        derived: Vec::new(),
        source: cells.needed("source")?.to_owned(),
        source_date: source_date.parse().map_err(|error| cells.bad(format!("`source_date`: {error}")))?,
        licence: cells.needed("licence")?.to_owned(),
    };
    let tier = TierDoc {
        from: from.parse().map_err(|error| cells.bad(format!("`from`: {error}")))?,
        input: cells.price("input")?.ok_or_else(|| cells.bad("`input` is empty"))?,
        cache_read: cells.price("cache_read")?,
        cache_write_5m: cells.price("cache_write_5m")?,
        cache_write_1h: cells.price("cache_write_1h")?,
        output: cells.price("output")?,
        reasoning: cells.price("reasoning")?,
    };
    Ok((row, tier))
}
