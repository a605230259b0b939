//! Anthropic's usage report (`usage_report/messages`) and cost report.
//!
//! Traps: `uncached_input_tokens` excludes what a cache served or stored; `output_tokens` includes thinking; the `amount` of
//! a cost is a decimal text *in cents* (`"123.45"` is 1.23 dollars); both are by UTC day; a report that was not asked for by
//! model says `null` where the model would be.
//! Source: the admin API's reference of both endpoints, as of autumn 2026.

use rust_decimal::{Decimal, dec};
use serde_json::Value;

use super::decimal;
use super::pages::{Fields, line_name, model};
use super::report::{BadReport, ReportKind, RowKey, RowSums};
use crate::domain::id::ModelId;
use crate::domain::usage::Bucket;
use chrono::NaiveDate;

/// One dollar is so many cents.
const CENTS: Decimal = dec!(100);
/// What names a row, and is not counted.
const NAMES: [&str; 13] = [
    "api_key_id",
    "workspace_id",
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
    "account_id",
    "service_account_id",
    "speed",
    "description",
    "token_type",
    "cost_type",
    "currency",
];

/// Which of the two a result is, if it shows.
#[must_use]
pub fn detect(result: &Fields<'_>) -> Option<ReportKind> {
    if result.has("amount") {
        return Some(ReportKind::AnthropicCosts);
    }
    result.has("uncached_input_tokens").then_some(ReportKind::AnthropicUsage)
}

/// A row of the usage report.
///
/// # Errors
/// Names the field.
pub fn usage_row(result: &Fields<'_>, day: NaiveDate) -> Result<(RowKey, RowSums), BadReport> {
    let known =
        ["uncached_input_tokens", "cache_creation", "cache_read_input_tokens", "output_tokens", "server_tool_use"];
    result.only(&[&known[..], &NAMES[..]].concat())?;
    let mut sums = RowSums::default();
    let mut add =
        |bucket, count| sums.tokens.add(bucket, count).ok_or_else(|| result.wrong("output_tokens", "too large"));
    add(Bucket::Input, result.required_count("uncached_input_tokens")?)?;
    add(Bucket::CacheRead, result.count("cache_read_input_tokens")?)?;
    add(Bucket::Output, result.required_count("output_tokens")?)?;
    if let Some(writes) = result.get("cache_creation") {
        let place = result.at("cache_creation");
        let writes = Fields::of(writes, &place)?;
        writes.only(&["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"])?;
        add(Bucket::CacheWrite5m, writes.count("ephemeral_5m_input_tokens")?)?;
        add(Bucket::CacheWrite1h, writes.count("ephemeral_1h_input_tokens")?)?;
    }
    let name = result.text("model")?.ok_or_else(|| not_by_model(result, "group_by[]=model"))?;
    let model = model(name, result.at("model"))?;
    Ok((RowKey { day, model, workspace: workspace(result)? }, sums))
}

/// A row of the cost report.
///
/// # Errors
/// Names the field.
pub fn cost_row(result: &Fields<'_>, day: NaiveDate) -> Result<(RowKey, RowSums), BadReport> {
    result.only(&[&["amount"][..], &NAMES[..]].concat())?;
    let currency = result.text("currency")?.ok_or_else(|| result.wrong("currency", "is required: `USD`"))?;
    if currency != "USD" {
        return Err(result.wrong("currency", format!("`{currency}` is not USD")));
    }
    let Some(amount) = result.get("amount").and_then(Value::as_str) else {
        return Err(result.wrong("amount", "must be a decimal text in cents, such as \"123.45\""));
    };
    let cents =
        decimal::parse(amount).ok_or_else(|| result.wrong("amount", format!("`{amount}` is not a decimal number")))?;
    let usd = cents.checked_div(CENTS).ok_or_else(|| result.wrong("amount", "is too large"))?;
    let sums = RowSums { usd, cost_rows: 1, ..RowSums::default() };
    Ok((RowKey { day, model: cost_model(result)?, workspace: workspace(result)? }, sums))
}

fn cost_model(result: &Fields<'_>) -> Result<ModelId, BadReport> {
    match (result.text("model")?, result.text("cost_type")?) {
        (Some(name), _) => model(name, result.at("model")),
        // Searches and code execution are no model's tokens.
        (None, Some(kind)) if kind != "tokens" => line_name(kind, result.at("cost_type")),
        (None, _) => Err(not_by_model(result, "group_by[]=description")),
    }
}

fn not_by_model(result: &Fields<'_>, ask: &str) -> BadReport {
    result.wrong("model", format!("is not said: ask the provider with `{ask}`"))
}

fn workspace(result: &Fields<'_>) -> Result<Option<String>, BadReport> {
    Ok(result.text("workspace_id")?.map(str::to_owned))
}
