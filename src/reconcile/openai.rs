//! `OpenAI`'s usage report (`organization/usage/completions`) and costs.
//!
//! Traps: times are unix seconds; `input_tokens` includes the cached ones, and cache writes where they are told; `output_tokens`
//! includes reasoning; the `value` of a cost is dollars *as a float*, read here by its shortest decimal text; audio and
//! image tokens are in `input_tokens` in some versions and beside it in others, so they are counted only where the parts
//! add up to it.
//! Source: the API reference of both endpoints, as of autumn 2026.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::Value;

use super::decimal;
use super::pages::{Fields, line_name, model};
use super::report::{BadReport, ReportKind, RowKey, RowSums};
use crate::domain::usage::Bucket;

/// What names a row, and is not counted.
const NAMES: [&str; 10] = [
    "object",
    "project_id",
    "user_id",
    "api_key_id",
    "model",
    "batch",
    "service_tier",
    "line_item",
    "organization_id",
    "api_source",
];
/// Parts of the prompt by what they are of; with the first of them they add up to `input_tokens`.
const INPUT_PARTS: [&str; 3] = ["input_text_tokens", "input_audio_tokens", "input_image_tokens"];
/// Parts of the output.
const OUTPUT_PARTS: [&str; 3] = ["output_text_tokens", "output_audio_tokens", "output_image_tokens"];
/// Parts of what was cached: within `input_cached_tokens`.
const CACHED_PARTS: [&str; 3] = ["input_cached_text_tokens", "input_cached_audio_tokens", "input_cached_image_tokens"];

/// Which of the two a result is, if it shows.
#[must_use]
pub fn detect(result: &Fields<'_>) -> Option<ReportKind> {
    if result.has("amount") {
        return Some(ReportKind::OpenAiCosts);
    }
    result.has("input_tokens").then_some(ReportKind::OpenAiUsage)
}

/// Whether a result tells cache writes from other input.
#[must_use]
pub fn tells_writes(result: &Fields<'_>) -> bool {
    result.get("input_cache_write_tokens").is_some()
}

/// A row of the usage report.
///
/// # Errors
/// Names the field.
pub fn usage_row(result: &Fields<'_>, day: NaiveDate) -> Result<(RowKey, RowSums), BadReport> {
    let known = [
        "input_tokens",
        "input_cached_tokens",
        "input_uncached_tokens",
        "input_cache_write_tokens",
        "output_tokens",
        "num_model_requests",
    ];
    result.only(&[&known[..], &NAMES[..], &INPUT_PARTS[..], &OUTPUT_PARTS[..], &CACHED_PARTS[..]].concat())?;
    let (input, output) = (result.required_count("input_tokens")?, result.required_count("output_tokens")?);
    parts_within(result, &INPUT_PARTS, input, "input_tokens")?;
    parts_within(result, &OUTPUT_PARTS, output, "output_tokens")?;
    let (read, write) = (result.count("input_cached_tokens")?, result.count("input_cache_write_tokens")?);
    let fresh = input.checked_sub(read).and_then(|rest| rest.checked_sub(write)).filter(|rest| *rest >= 0);
    let fresh = fresh.ok_or_else(|| {
        result.wrong(
            "input_cached_tokens",
            format!("{read} and cache writes of {write} are more than `input_tokens`, {input}"),
        )
    })?;
    let mut sums = RowSums { requests: result.count("num_model_requests")?, ..RowSums::default() };
    for (bucket, count) in
        [(Bucket::Input, fresh), (Bucket::CacheRead, read), (Bucket::CacheWrite5m, write), (Bucket::Output, output)]
    {
        sums.tokens.add(bucket, count).ok_or_else(|| result.wrong("input_tokens", "is too large"))?;
    }
    let name = result.text("model")?;
    let name = name.ok_or_else(|| result.wrong("model", "is not said: ask the provider with `group_by=model`"))?;
    let model = model(name, result.at("model"))?;
    Ok((RowKey { day, model, workspace: project(result)? }, sums))
}

/// Tokens of sound and pictures count where the parts add up to the whole; otherwise it is not known what the whole is.
fn parts_within(result: &Fields<'_>, parts: &[&str], whole: i64, name: &str) -> Result<(), BadReport> {
    let mut sum = 0_i64;
    let mut first_beyond_text = None;
    for (place, part) in parts.iter().enumerate() {
        let count = result.count(part)?;
        sum = sum.saturating_add(count);
        if place > 0 && count > 0 {
            first_beyond_text = first_beyond_text.or(Some(*part));
        }
    }
    match first_beyond_text {
        Some(part) if sum != whole => {
            Err(result.wrong(part, format!("text, audio and image tokens are {sum} together, and `{name}` is {whole}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// A row of the costs.
///
/// # Errors
/// Names the field.
pub fn cost_row(result: &Fields<'_>, day: NaiveDate) -> Result<(RowKey, RowSums), BadReport> {
    result.only(&[&["amount", "quantity"][..], &NAMES[..]].concat())?;
    let place = result.at("amount");
    let amount = result.get("amount").ok_or_else(|| result.wrong("amount", "is required"))?;
    let amount = Fields::of(amount, &place)?;
    amount.only(&["value", "currency"])?;
    let currency = amount.text("currency")?.ok_or_else(|| amount.wrong("currency", "is required: `usd`"))?;
    if !currency.eq_ignore_ascii_case("usd") {
        return Err(amount.wrong("currency", format!("`{currency}` is not usd")));
    }
    let value = amount.get("value").ok_or_else(|| amount.wrong("value", "is required"))?;
    let usd = dollars(value).ok_or_else(|| amount.wrong("value", format!("{value} is not a number of dollars")))?;
    let item = result.text("line_item")?;
    let item =
        item.ok_or_else(|| result.wrong("line_item", "is not said: ask the provider with `group_by=line_item`"))?;
    // `gpt-4o-2024-08-06, input`: the model, and what of it.
    let model = match item.split_once(", ") {
        Some((name, _)) if !name.contains(' ') => model(name, result.at("line_item"))?,
        _ => line_name(item, result.at("line_item"))?,
    };
    let sums = RowSums { usd, cost_rows: 1, ..RowSums::default() };
    Ok((RowKey { day, model, workspace: project(result)? }, sums))
}

/// A float by its shortest decimal text, which is what the provider wrote, or that text itself.
fn dollars(value: &Value) -> Option<Decimal> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    decimal::parse(&text)
}

fn project(result: &Fields<'_>) -> Result<Option<String>, BadReport> {
    Ok(result.text("project_id")?.map(str::to_owned))
}
