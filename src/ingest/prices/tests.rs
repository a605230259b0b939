use serde_json::json;

use super::compare::{Standing, compare};
use super::*;
use crate::domain::price::book::PriceBook;
use crate::domain::price::{NewPriceRow, PriceId};
use crate::wire::price::bundled_provider_names;
use crate::wire::rates::check_price;

fn origin(source: &str) -> Origin {
    Origin {
        source: source.to_owned(),
        source_date: "2026-11-22".parse().unwrap(),
        licence: "MIT".to_owned(),
        effective_from: DateTime::<Utc>::UNIX_EPOCH,
    }
}

fn read_as(format: PriceFormat, text: &str, source: &str) -> ReadPrices {
    read(format, text, &origin(source), &bundled_provider_names().unwrap()).unwrap()
}

/// `provider model from…: input/cache_read/cache_write_5m/cache_write_1h/output/reasoning` of each tier.
fn words(read: &ReadPrices) -> Vec<String> {
    let price = |price: Option<Decimal>| price.map_or("-".to_owned(), |price| price.normalize().to_string());
    let row = |row: &PriceRowDoc| {
        let tiers: Vec<String> = row
            .tiers
            .iter()
            .map(|tier| {
                let all = [
                    Some(tier.input),
                    tier.cache_read,
                    tier.cache_write_5m,
                    tier.cache_write_1h,
                    tier.output,
                    tier.reasoning,
                ];
                format!("{}: {}", tier.from, all.map(price).join("/"))
            })
            .collect();
        format!("{} {} {} {}", row.provider, row.model, row.effective_from.date_naive(), tiers.join(", "))
    };
    read.rows.iter().map(row).collect()
}

fn checked(read: &ReadPrices) -> Vec<NewPriceRow> {
    read.rows.iter().map(|doc| check_price(doc).unwrap()).collect()
}

fn genai() -> String {
    json!([{"id": "anthropic", "name": "Anthropic", "models": [
        {"id": "claude-a", "match": {"or": [{"starts_with": "claude-a"}, {"equals": "A"}]},
         "prices": {"input_mtok": 0.8, "cache_write_mtok": 1, "cache_read_mtok": 0.08, "output_mtok": 4}},
        {"id": "claude-b", "match": {"starts_with": "claude-b"}, "prices": [
            {"prices": {"input_mtok": {"base": 5, "tiers": [{"start": 200_000, "price": 10}]}, "output_mtok": 25}},
            {"constraint": {"start_date": "2026-03-13"}, "prices": {"input_mtok": 5, "output_mtok": 25}},
            {"constraint": {"start_time": "16:30:00Z", "end_time": "00:30:00Z"}, "prices": {"input_mtok": 1}},
        ]},
        {"id": "speech", "match": {"regex": "^speech-.*"}, "prices": {"input_audio_mtok": 3}},
    ]}])
    .to_string()
}

#[test]
fn genai_prices_are_read_with_tiers_and_history_and_what_has_no_place_is_listed() {
    let text = genai();
    assert_eq!(detect(&text), PriceFormat::GenaiPrices);
    let read = read_as(PriceFormat::GenaiPrices, &text, "genai-prices 0.3.0");
    assert_eq!(
        words(&read),
        [
            "anthropic claude-a 1970-01-01 0: 0.8/0.08/1/-/4/-",
            "anthropic claude-b 1970-01-01 0: 5/-/-/-/25/-, 200001: 10/-/-/-/25/-",
            "anthropic claude-b 2026-03-13 0: 5/-/-/-/25/-",
        ]
    );
    assert!(checked(&read)[0].matcher.weigh("a").is_some(), "names are compared in lower case");
    let skipped: Vec<(&str, &[String])> =
        read.skipped.iter().map(|(why, what)| (why.as_str(), what.as_slice())).collect();
    assert_eq!(skipped[0], ("`input_audio_mtok` is priced as text", &["anthropic/speech".to_owned()][..]));
    assert!(read.skipped.contains_key("a price by something else than its first day"));
    assert!(read.skipped.contains_key("no price for input"));
}

#[test]
fn our_own_form_is_read_as_the_bundle_is() {
    let text = include_str!("../../../data/prices/genai-prices.json");
    assert_eq!(detect(text), PriceFormat::Converted);
    let read = read_as(PriceFormat::Converted, text, "-");
    assert_eq!(checked(&read), crate::wire::price::bundled_rows().unwrap());
}

fn litellm() -> String {
    json!({
        "sample_spec": {"input_cost_per_token": 0.0, "mode": "one of …"},
        "gpt-4o": {"cache_read_input_token_cost": 1.25e-06, "input_cost_per_token": 2.5e-06, "litellm_provider": "openai", "mode": "chat", "output_cost_per_token": 1e-05},
        "gemini/gemini-2.5-pro": {"input_cost_per_token": 1.25e-06, "input_cost_per_token_above_200k_tokens": 2.5e-06, "litellm_provider": "gemini", "mode": "chat", "output_cost_per_token": 1e-05, "output_cost_per_token_above_200k_tokens": 1.5e-05},
        "claude-x": {"cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06, "input_cost_per_token": 3e-06, "litellm_provider": "anthropic", "mode": "chat", "output_cost_per_token": 1.5e-05},
        "azure/eu/gpt-4o": {"input_cost_per_token": 2.75e-06, "litellm_provider": "azure", "mode": "chat", "output_cost_per_token": 1.1e-05},
        "dall-e-3": {"input_cost_per_pixel": 4e-08, "litellm_provider": "openai", "mode": "image_generation"},
        "noise": {"input_cost_per_token": 4.0000000000000003e-07, "litellm_provider": "x", "mode": "chat"},
        "openrouter/free": {"input_cost_per_token": 0.0, "litellm_provider": "openrouter", "mode": "chat", "output_cost_per_token": 0.0},
    })
    .to_string()
}

#[test]
fn the_map_of_litellm_is_read_by_the_decimals_that_were_written() {
    let text = litellm();
    assert_eq!(detect(&text), PriceFormat::Litellm);
    let read = read_as(PriceFormat::Litellm, &text, "litellm 1.109.1");
    assert_eq!(
        words(&read),
        [
            "anthropic claude-x 1970-01-01 0: 3/-/3.75/6/15/-",
            "google gemini-2.5-pro 1970-01-01 0: 1.25/-/-/-/10/-, 200001: 2.5/-/-/-/15/-",
            "openai gpt-4o 1970-01-01 0: 2.5/1.25/-/-/10/-",
            "x noise 1970-01-01 0: 0.4/-/-/-/-/-",
        ]
    );
    let skipped: Vec<&str> = read.skipped.keys().map(String::as_str).collect();
    assert_eq!(skipped, ["a region or commitment in the name", "no price, or free", "not priced by tokens of text"]);
}

const SHEET: &str = "provider,model,effective_from,from,input,output,source,source_date,licence
openai,gpt-4o,2026-12-01,0,2.25,9,contract 7,2026-11-20,private
openai,gpt-4o,2026-12-01,200001,4.5,18,contract 7,2026-11-20,private
in-house,m,,,0.1,,contract 7,2026-11-20,private
";

#[test]
fn a_sheet_has_a_line_for_each_tier() {
    assert_eq!(detect(SHEET), PriceFormat::Csv);
    assert_eq!(
        words(&read_as(PriceFormat::Csv, SHEET, "-")),
        [
            "openai gpt-4o 2026-12-01 0: 2.25/-/-/-/9/-, 200001: 4.5/-/-/-/18/-",
            "in-house m 1970-01-01 0: 0.1/-/-/-/-/-",
        ]
    );
    let refused = |from: &str, to: &str| sheet::read(&SHEET.replacen(from, to, 1)).unwrap_err().to_string();
    assert!(refused("output", "ouptut").starts_with("line 1: `ouptut` is no column: there are provider"));
    assert_eq!(refused("openai,", ","), "line 2: `provider` is empty");
    assert!(refused("2.25", "two").starts_with("line 2: `input`"));
    assert_eq!(refused("2026-12-01", "December"), "line 2: `effective_from`: `December` is no day and no instant");
}

/// Where each row of a list stands in a book of other rows.
fn standing(book: &ReadPrices, rows: &ReadPrices) -> Vec<String> {
    let book = checked(book).into_iter().zip(1..).map(|(row, id)| row.with_id(PriceId(id))).collect();
    let book = PriceBook::with_names(book, bundled_provider_names().unwrap());
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    compare(&checked(rows), &book, now)
        .into_iter()
        .map(|standing| match standing {
            Standing::Known => "known".to_owned(),
            Standing::Agrees(source) => format!("agrees with {source}"),
            Standing::New => "new".to_owned(),
            Standing::Later => "later".to_owned(),
            Standing::Differs { source, differences, .. } => {
                let told = differences
                    .iter()
                    .map(|one| format!("{}@{} {}≠{}", one.bucket.as_str(), one.from, one.theirs, one.ours));
                format!("differs from {source}: {}", told.collect::<Vec<_>>().join(" "))
            }
        })
        .collect()
}

#[test]
fn sources_that_disagree_are_told_bucket_by_bucket() {
    let sheet = |line: &str| {
        let text =
            format!("provider,model,effective_from,input,cache_read,output,source,source_date,licence\n{line}\n");
        read_as(PriceFormat::Csv, &text, "-")
    };
    let book = sheet("openai,gpt-4o,,2.5,1.25,10,genai-prices 0.2.3,2026-11-04,MIT");
    for (line, expect) in [
        ("openai,gpt-4o,,2.5,1.25,10,genai-prices 0.2.3,2026-11-04,MIT", "known"),
        ("openai,gpt-4o,,2.5,1.25,10,litellm,2026-11-22,MIT", "agrees with genai-prices 0.2.3"),
        ("openai,gpt-4o,,2.5,,10,litellm,2026-11-22,MIT", "agrees with genai-prices 0.2.3"),
        (
            "openai,gpt-4o,,2.5,1,12,litellm,2026-11-22,MIT",
            "differs from genai-prices 0.2.3: cache_read@0 1≠1.25 output@0 12≠10",
        ),
        ("openai,gpt-4o,2026-11-10,2,1,8,genai-prices 0.3.0,2026-11-20,MIT", "later"),
        (
            "openai,gpt-4o,,2,1.25,10,genai-prices 0.3.0,2026-11-20,MIT",
            "differs from genai-prices 0.2.3: input@0 2≠2.5",
        ),
        ("openai,gpt-5,,2,1,8,litellm,2026-11-22,MIT", "new"),
    ] {
        assert_eq!(standing(&book, &sheet(line)), [expect], "{line}");
    }
}
