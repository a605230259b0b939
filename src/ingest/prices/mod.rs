//! Price lists of others → price rows, and what they say otherwise than the book.
//!
//! | file | what |
//! |---|---|
//! | [`genai`] | the data of genai-prices, as published and as converted by `scripts/prices/convert.py` |
//! | [`litellm`] | the price map of `LiteLLM` |
//! | [`sheet`] | a plain CSV |
//! | [`compare`] | each row beside what the book says at the same instant |
//!
//! What cannot be told in our rows is listed, never bent: [`ReadPrices::skipped`].

pub mod compare;
pub mod genai;
pub mod litellm;
pub mod sheet;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use rust_decimal::Decimal;

use crate::domain::price::names::ProviderNames;
use crate::wire::price::PriceRowDoc;

/// How a price list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceFormat {
    /// The data of genai-prices: an array of providers.
    GenaiPrices,
    /// The same, as this project keeps it in `data/prices`.
    Converted,
    /// The price map of `LiteLLM`: an object of models.
    Litellm,
    /// A plain CSV.
    Csv,
}

/// What a list does not say of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Where the prices are from.
    pub source: String,
    /// The day the source spoke of.
    pub source_date: NaiveDate,
    /// The licence under which it may be used.
    pub licence: String,
    /// The first instant of prices that have none.
    pub effective_from: DateTime<Utc>,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadPrices {
    /// The rows, in the order of the list.
    pub rows: Vec<PriceRowDoc>,
    /// Why others are left out: the reason, and which.
    pub skipped: BTreeMap<String, Vec<String>>,
}

impl ReadPrices {
    fn skip(&mut self, reason: impl Into<String>, what: impl Into<String>) {
        self.skipped.entry(reason.into()).or_default().push(what.into());
    }
}

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadPriceList {
    /// Not the JSON of its format.
    #[error("is not the JSON of this format: {0}")]
    Json(#[from] serde_json::Error),
    /// Not the CSV of a price list.
    #[error("is not the CSV of a price list: {0}")]
    Csv(#[from] csv::Error),
    /// A cell of the CSV.
    #[error("line {line}: {detail}")]
    Line {
        /// Which.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
}

/// The format of a text, by how it begins.
#[must_use]
pub fn detect(text: &str) -> PriceFormat {
    let start = text.trim_start();
    if start.starts_with('[') {
        PriceFormat::GenaiPrices
    } else if start.starts_with('{') {
        let is_converted = serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(text)
            .is_ok_and(|fields| fields.contains_key("models") && fields.contains_key("source_date"));
        if is_converted { PriceFormat::Converted } else { PriceFormat::Litellm }
    } else {
        PriceFormat::Csv
    }
}

/// Reads a list.
///
/// # Errors
/// When the text is not what its format says.
pub fn read(
    format: PriceFormat,
    text: &str,
    origin: &Origin,
    names: &ProviderNames,
) -> Result<ReadPrices, BadPriceList> {
    match format {
        PriceFormat::GenaiPrices => genai::read(text, origin),
        PriceFormat::Converted => {
            Ok(ReadPrices { rows: crate::wire::price::rows_of_file(text)?, skipped: BTreeMap::new() })
        }
        PriceFormat::Litellm => litellm::read(text, origin, names),
        PriceFormat::Csv => sheet::read(text),
    }
}

/// Midnight UTC of a day.
fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// A JSON number as the decimal that was written: its shortest text, never its binary value.
fn decimal(number: &serde_json::Number) -> Option<Decimal> {
    let text = number.to_string();
    let parsed =
        if text.contains(['e', 'E']) { Decimal::from_scientific(&text) } else { Decimal::from_str_exact(&text) };
    parsed.ok().filter(|value| !value.is_sign_negative())
}

#[cfg(test)]
mod tests;
