//! The price map of `LiteLLM`: `model_prices_and_context_window.json` of <https://github.com/BerriAI/litellm> (MIT).
//!
//! Dollars per token as floats, no history: a cross-check more than a source. A float is read by its shortest text and moved by
//! six places, so that `1.25e-06` is 1.25 dollars per million and nothing else. Some were computed, and end in the noise of
//! their making (`4.0000000000000003e-07`): beyond what a price keeps it is rounded away.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

use super::{BadPriceList, Origin, ReadPrices, decimal};
use crate::domain::price::PRICE_PLACES;
use crate::domain::price::names::ProviderNames;
use crate::wire::price::{PriceRowDoc, TierDoc};

/// The entry that documents the others.
const SAMPLE: &str = "sample_spec";
/// What is priced by tokens.
const MODES: [&str; 4] = ["chat", "completion", "embedding", "responses"];
const INPUT: &str = "input_cost_per_token";
const CACHE_READ: &str = "cache_read_input_token_cost";
const CACHE_WRITE: &str = "cache_creation_input_token_cost";
const CACHE_WRITE_1H: &str = "cache_creation_input_token_cost_above_1hr";
const OUTPUT: &str = "output_cost_per_token";
const REASONING: &str = "output_cost_per_reasoning_token";

/// Reads the map.
///
/// # Errors
/// When it is not that JSON.
pub fn read(text: &str, origin: &Origin, names: &ProviderNames) -> Result<ReadPrices, BadPriceList> {
    let map: BTreeMap<String, Value> = serde_json::from_str(text)?;
    let mut read = ReadPrices::default();
    for (key, entry) in map.iter().filter(|(key, _)| *key != SAMPLE) {
        let word = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        if !MODES.contains(&word("mode")) {
            read.skip("not priced by tokens of text", key);
            continue;
        }
        let listed = word("litellm_provider");
        let (provider, model) = name(key, listed, names);
        if model.contains('/') && ["azure", "aws"].contains(&provider.as_str()) {
            read.skip("a region or commitment in the name", key);
            continue;
        }
        let tiers = tiers(entry);
        if tiers.iter().flatten().all(|tier| tier.input.is_zero() && tier.output.is_none_or(|output| output.is_zero()))
        {
            read.skip("no price, or free", key);
            continue;
        }
        read.rows.extend(tiers.map(|tiers| PriceRowDoc {
            provider,
            model,
            matcher: None,
            service_tier: "standard".to_owned(),
            region: None,
            effective_from: origin.effective_from,
            effective_to: None,
            tiers,
            request_fee_usd: Decimal::ZERO,
            derived: Vec::new(),
            source: origin.source.clone(),
            source_date: origin.source_date,
            licence: origin.licence.clone(),
        }));
    }
    Ok(read)
}

/// Provider and model, by the names of the books: `gemini/gemini-2.5-pro` is google's `gemini-2.5-pro`.
fn name(key: &str, listed: &str, names: &ProviderNames) -> (String, String) {
    let known = |name: &str| {
        let lower = name.to_lowercase();
        // `vertex_ai-language-models` is a part of vertex_ai's list.
        let lower = if lower.starts_with("vertex_ai") { "vertex_ai".to_owned() } else { lower };
        names.provider_of(&lower).map_or(lower.clone(), str::to_owned)
    };
    let provider = known(listed);
    let model = match key.split_once('/') {
        Some((head, rest)) if known(head) == provider || head == listed => rest,
        Some(_) | None => key,
    };
    (provider, model.to_owned())
}

/// Dollars per million tokens.
fn per_million(entry: &Value, field: &str) -> Option<Decimal> {
    let per_token = decimal(entry.get(field)?.as_number()?)?;
    let price = per_token.checked_mul(Decimal::ONE_THOUSAND)?.checked_mul(Decimal::ONE_THOUSAND)?;
    Some(price.round_dp_with_strategy(PRICE_PLACES, RoundingStrategy::MidpointNearestEven).normalize())
}

/// The tiers: fields that end in `_above_200k_tokens` price a call whose input is larger.
fn tiers(entry: &Value) -> Option<Vec<TierDoc>> {
    let threshold = |field: &String| {
        let thousands = field.strip_prefix(INPUT)?.strip_prefix("_above_")?.strip_suffix("k_tokens")?;
        thousands.parse::<u64>().ok()
    };
    let above: BTreeSet<u64> = entry.as_object()?.keys().filter_map(threshold).collect();
    let tier = |above: Option<u64>| {
        let price = |field: &str| {
            let own = above.and_then(|thousands| per_million(entry, &format!("{field}_above_{thousands}k_tokens")));
            own.or_else(|| per_million(entry, field))
        };
        Some(TierDoc {
            from: above.map_or(0, |thousands| thousands.saturating_mul(1000).saturating_add(1)),
            input: price(INPUT)?,
            cache_read: price(CACHE_READ),
            cache_write_5m: price(CACHE_WRITE),
            cache_write_1h: price(CACHE_WRITE_1H),
            output: price(OUTPUT),
            reasoning: price(REASONING),
        })
    };
    std::iter::once(None).chain(above.into_iter().map(Some)).map(tier).collect()
}
