//! The data of genai-prices, as published: `prices/data.json` of <https://github.com/pydantic/genai-prices>.
//!
//! Dollars per million tokens. A price is a number, or a base with tiers that begin *above* their start; ours begin *at* their
//! first token. A list of prices has constraints, of which a first day is a history; others (an hour of the day) are left out.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Number, Value};

use super::{BadPriceList, Origin, ReadPrices, decimal, midnight};
use crate::wire::price::{MatchDoc, PriceRowDoc, TierDoc};

#[derive(Deserialize)]
struct Provider {
    id: String,
    #[serde(default)]
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    #[serde(rename = "match")]
    matcher: Value,
    prices: Prices,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Prices {
    Always(BTreeMap<String, Value>),
    Dated(Vec<Dated>),
}

#[derive(Deserialize)]
struct Dated {
    constraint: Option<BTreeMap<String, Value>>,
    prices: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Price {
    Flat(Number),
    Tiered { base: Number, tiers: Vec<Tier> },
}

#[derive(Deserialize)]
struct Tier {
    start: u64,
    price: Number,
}

/// Reads the data.
///
/// # Errors
/// When it is not that JSON.
pub fn read(text: &str, origin: &Origin) -> Result<ReadPrices, BadPriceList> {
    let providers: Vec<Provider> = serde_json::from_str(text)?;
    let mut read = ReadPrices::default();
    for provider in &providers {
        for model in &provider.models {
            let name = format!("{}/{}", provider.id, model.id);
            let matcher = matcher(&model.matcher);
            if matcher.is_none() {
                read.skip("a matching rule that has no equivalent: the whole name only", &name);
            }
            for (from, prices) in history(&model.prices, &name, &mut read) {
                let Some(tiers) = tiers(prices, &name, &mut read) else { continue };
                read.rows.push(PriceRowDoc {
                    provider: provider.id.clone(),
                    model: model.id.clone(),
                    matcher: matcher.clone(),
                    service_tier: "standard".to_owned(),
                    region: None,
                    effective_from: from.map_or(origin.effective_from, midnight),
                    effective_to: None,
                    tiers,
                    request_fee_usd: request_fee(prices),
                    derived: Vec::new(),
                    source: origin.source.clone(),
                    source_date: origin.source_date,
                    licence: origin.licence.clone(),
                });
            }
        }
    }
    Ok(read)
}

type PricesByName = BTreeMap<String, Value>;

/// The prices with the day from which each holds.
fn history<'a>(prices: &'a Prices, name: &str, read: &mut ReadPrices) -> Vec<(Option<NaiveDate>, &'a PricesByName)> {
    let dated = match prices {
        Prices::Always(prices) => return vec![(None, prices)],
        Prices::Dated(dated) => dated,
    };
    let mut rows = Vec::new();
    for one in dated {
        let constraint = one.constraint.iter().flatten();
        let day = constraint.clone().find(|(key, _)| *key == "start_date");
        let day = day.and_then(|(_, value)| value.as_str()?.parse::<NaiveDate>().ok());
        // The kind of a constraint stands beside it in some versions of the data.
        let others = constraint.filter(|(key, _)| !["start_date", "type"].contains(&key.as_str())).count();
        if others > 0 || (one.constraint.is_some() && day.is_none()) {
            read.skip("a price by something else than its first day", name);
        } else {
            rows.push((day, &one.prices));
        }
    }
    rows
}

fn price(prices: &PricesByName, key: &str) -> Option<Price> {
    serde_json::from_value(prices.get(key)?.clone()).ok()
}

/// The price in force for a total input just above `start`.
fn at(price: &Price, start: Option<u64>) -> Option<Decimal> {
    match price {
        Price::Flat(number) => decimal(number),
        Price::Tiered { base, tiers } => {
            let reached = tiers.iter().filter(|tier| start.is_some_and(|start| tier.start <= start));
            decimal(reached.max_by_key(|tier| tier.start).map_or(base, |tier| &tier.price))
        }
    }
}

fn tiers(prices: &PricesByName, name: &str, read: &mut ReadPrices) -> Option<Vec<TierDoc>> {
    let keys = [
        "input_mtok",
        "cache_read_mtok",
        "cache_write_mtok",
        "cache_write_1h_mtok",
        "output_mtok",
        "output_reasoning_mtok",
    ];
    let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] = keys.map(|key| price(prices, key));
    for other in prices.keys().filter(|key| !keys.contains(&key.as_str()) && *key != "requests_kcount") {
        read.skip(format!("`{other}` is priced as text"), name);
    }
    let Some(input) = input else {
        read.skip("no price for input", name);
        return None;
    };
    let all = [
        Some(&input),
        cache_read.as_ref(),
        cache_write_5m.as_ref(),
        cache_write_1h.as_ref(),
        output.as_ref(),
        reasoning.as_ref(),
    ];
    let mut starts = BTreeSet::new();
    for tiered in all.into_iter().flatten() {
        if let Price::Tiered { tiers, .. } = tiered {
            starts.extend(tiers.iter().map(|tier| tier.start));
        }
    }
    let of = |price: &Option<Price>, start| price.as_ref().and_then(|price| at(price, start));
    let tier = |start: Option<u64>| {
        Some(TierDoc {
            from: start.map_or(0, |start| start.saturating_add(1)),
            input: at(&input, start)?,
            cache_read: of(&cache_read, start),
            cache_write_5m: of(&cache_write_5m, start),
            cache_write_1h: of(&cache_write_1h, start),
            output: of(&output, start),
            reasoning: of(&reasoning, start),
        })
    };
    let tiers = std::iter::once(None).chain(starts.into_iter().map(Some)).map(tier).collect::<Option<Vec<_>>>();
    if tiers.is_none() {
        read.skip("a price that is no decimal", name);
    }
    tiers
}

/// Dollars for each call, of a price for a thousand.
fn request_fee(prices: &PricesByName) -> Decimal {
    let thousand = prices.get("requests_kcount").and_then(Value::as_number).and_then(decimal).unwrap_or_default();
    thousand.checked_div(Decimal::ONE_THOUSAND).unwrap_or_default().normalize()
}

/// The rule as ours; none where it has no equivalent.
fn matcher(rule: &Value) -> Option<MatchDoc> {
    let (kind, value) = rule.as_object().and_then(|rule| rule.iter().next())?;
    let text = || value.as_str().map(str::to_lowercase);
    let all = || value.as_array()?.iter().map(matcher).collect::<Option<Vec<_>>>();
    match kind.as_str() {
        "equals" => text().map(MatchDoc::Equals),
        "starts_with" => text().map(MatchDoc::StartsWith),
        "ends_with" => text().map(MatchDoc::EndsWith),
        "contains" => text().map(MatchDoc::Contains),
        "or" => all().map(MatchDoc::Any),
        "and" => all().map(MatchDoc::All),
        _ => None,
    }
}
