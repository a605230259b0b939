use std::sync::OnceLock;

use proptest::prelude::*;
use rust_decimal::dec;

use super::*;
use crate::domain::price::book::{Found, PriceBook};
use crate::domain::price::{PriceId, PriceRow, price_call};
use crate::domain::usage::Usage;
use crate::domain::usage::provider::{RawUsage, read_usage};

const CASES: &str = include_str!("../../tests/data/price_cases.csv");

/// The bundled book, read once for all tests of this file.
fn book() -> &'static PriceBook {
    static BOOK: OnceLock<PriceBook> = OnceLock::new();
    BOOK.get_or_init(|| {
        let rows = bundled_rows().unwrap().into_iter().zip(1..).map(|(row, id)| row.with_id(PriceId(id))).collect();
        PriceBook::with_names(rows, bundled_provider_names().unwrap())
    })
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn find(provider: &str, model: &str, tier: ServiceTier, at: &str) -> Found<'static> {
    book().find(&ProviderId::parse(provider).unwrap(), &ModelId::parse(model).unwrap(), tier, None, instant(at))
}

/// `provider/model` of the row found, with its service tier where it is not standard, or `unpriced`.
fn found(provider: &str, model: &str, tier: ServiceTier) -> String {
    match find(provider, model, tier, "2026-11-20T00:00:00Z") {
        Found::Priced(row) if row.service_tier == ServiceTier::Standard => format!("{}/{}", row.provider, row.model),
        Found::Priced(row) => format!("{}/{} {}", row.provider, row.model, row.service_tier.as_str()),
        Found::Unpriced(_) => "unpriced".to_owned(),
    }
}

fn usage(buckets: [u64; 6]) -> Usage {
    let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] =
        buckets.map(|count| Tokens::new(count).unwrap());
    Usage { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning }
}

#[test]
fn prices_equal_the_sources_own_calculation_to_the_last_digit() {
    let mut reader = csv::Reader::from_reader(CASES.as_bytes());
    let mut wrong = Vec::new();
    let mut models = std::collections::BTreeSet::new();
    for case in reader.records() {
        let case = case.unwrap();
        let (provider, model, tier, at) = (&case[0], &case[1], &case[2], &case[3]);
        let buckets: Vec<u64> = (4..10).map(|column| case[column].parse().unwrap()).collect();
        let expected: Decimal = case[10].parse().unwrap();
        models.insert(format!("{provider} {model}"));
        let tier = ServiceTier::from_word(tier).unwrap();
        let answer = match find(provider, model, tier, at) {
            Found::Priced(row) => {
                price_call(&row, &usage(buckets.try_into().unwrap())).unwrap().usd.decimal().to_string()
            }
            // Where a list has no premium price, its own calculation takes the standard one; the books do not.
            Found::Unpriced(_) if tier.is_dearer_than_standard() => continue,
            Found::Unpriced(_) => "unpriced".to_owned(),
        };
        if answer != expected.normalize().to_string() {
            wrong.push(format!("{case:?}: {answer}"));
        }
    }
    assert!(models.len() >= 50, "only {} models", models.len());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_long_cached_gemini_call_is_priced_by_its_tier_and_its_cache_reads() {
    // The call of litellm#14849, which was priced at $0.7642, at the provider's own list.
    let leaves = [("promptTokenCount", 262_960), ("cachedContentTokenCount", 257_955), ("candidatesTokenCount", 1_744)];
    let raw = RawUsage::new(leaves.into_iter().map(|(path, count)| (path.to_owned(), count)).collect());
    let usage = read_usage(&ProviderId::parse("google").unwrap(), &raw).unwrap().usage;
    let Found::Priced(row) = find("vertex_ai", "gemini-2.5-pro", ServiceTier::Standard, "2025-09-24T00:00:00Z") else {
        panic!("gemini-2.5-pro has a price");
    };
    let priced = price_call(&row, &usage).unwrap();
    assert_eq!((priced.tier, priced.tier_from.count()), (1, 200_001), "the tier above 200,000 tokens");
    // 5,005 × $2.50 + 257,955 × $0.25 + 1,744 × $15, per million.
    assert_eq!(priced.usd.decimal(), dec!(0.01251250) + dec!(0.06448875) + dec!(0.02616000));
}

#[test]
fn the_names_of_gateways_and_sdks_lead_to_the_same_price_list() {
    let table = [
        ("openai", "gpt-4o", "openai/gpt-4o"),
        ("OpenAI", "GPT-4o", "openai/gpt-4o"),
        ("openai", "openai/gpt-4o", "openai/gpt-4o"),
        ("litellm", "openai/gpt-4o", "openai/gpt-4o"),
        ("my-gateway", "vertex_ai/gemini-2.5-pro", "google/gemini-2.5-pro"),
        (
            "my-gateway",
            "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("my-gateway", "openrouter/openai/gpt-4o", "openrouter/openai/gpt-4o"),
        ("google", "models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("gcp.gemini", "gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("google_genai", "gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("vertex", "publishers/google/models/gemini-2.5-flash", "google/gemini-2.5-flash"),
        (
            "vertex",
            "projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5@20250929",
            "google/claude-sonnet-4-5",
        ),
        ("google", "gemini-2.5-pro-preview-tts", "google/gemini-2.5-pro-tts"),
        (
            "aws.bedrock",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (
            "aws",
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws/global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (
            "aws",
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("azure.ai.openai", "gpt-4o", "openai/gpt-4o"),
        ("azure_openai", "o1", "azure/o1"),
        ("anthropic", "claude-opus-5-20260401", "anthropic/claude-opus-5"),
        ("openai", "gpt-5.2-20251211", "openai/gpt-5.2"),
        ("xai", "grok-4.3-20260401", "x-ai/grok-4.3"),
        ("mistral_ai", "mistral-large-latest", "mistral/mistral-large"),
        ("openrouter", "anthropic/claude-sonnet-4.5", "openrouter/anthropic/claude-sonnet-4.5"),
    ];
    for (provider, model, expected) in table {
        assert_eq!(found(provider, model, ServiceTier::Standard), expected, "{provider} {model}");
    }
}

#[test]
fn what_nobody_has_priced_is_unpriced_and_costs_the_worst_known_price() {
    for (provider, model) in [
        ("openai", "gpt-99-turbo"),
        ("openai", "gpt-4o-tuned-by-acme"),
        ("openai", "gpt-4o-2031-01-01"),
        ("openrouter", "somebody/gpt-4o-finetune"),
        ("nobody", "gpt-4o"),
        ("nobody", "nothing/gpt-4o"),
        ("anthropic", "gpt-4o"),
    ] {
        let Found::Unpriced(fallback) = find(provider, model, ServiceTier::Standard, "2026-11-20T00:00:00Z") else {
            panic!("{provider} {model} should have no price");
        };
        let call = usage([1000, 0, 0, 0, 500, 0]);
        let dearest = fallback.price(&call).unwrap();
        let candidates = fallback.candidates();
        assert!(candidates.iter().all(|row| price_call(row, &call).unwrap().usd <= dearest.priced.usd));
        assert!(dearest.priced.usd > Usd::ZERO);
        let own = book().rows().iter().any(|row| row.provider.as_str() == provider);
        assert!(!own || dearest.row.provider.as_str() == provider, "{provider}'s own worst price, not {dearest:?}");
    }
}

#[test]
fn a_service_tier_has_its_own_price_and_only_a_cheaper_one_is_served_as_standard() {
    assert_eq!(found("openai", "gpt-5.2", ServiceTier::Batch), "openai/gpt-5.2 batch");
    assert_eq!(found("openai", "gpt-5.2", ServiceTier::Priority), "openai/gpt-5.2 priority");
    assert_eq!(found("anthropic", "claude-sonnet-4-5", ServiceTier::Batch), "anthropic/claude-sonnet-4-5 batch");
    assert_eq!(found("anthropic", "claude-sonnet-4-5", ServiceTier::Flex), "anthropic/claude-sonnet-4-5");
    assert_eq!(found("anthropic", "claude-sonnet-4-5", ServiceTier::Priority), "unpriced");
    assert_eq!(found("anthropic", "claude-opus-4-6", ServiceTier::Fast), "unpriced");
}

#[test]
fn every_bundled_model_is_found_by_every_whole_name_it_lists() {
    let mut lost = Vec::new();
    for row in book().rows() {
        let (names, _) = row.matcher.split();
        let canonical = row.matcher.weigh(&row.model.as_str().to_lowercase()).map(|_| row.model.as_str().to_owned());
        for name in names.iter().map(|text| text.as_str().to_owned()).chain(canonical) {
            let at = row.effective_from.to_rfc3339();
            match find(row.provider.as_str(), &name, row.service_tier, &at) {
                Found::Priced(hit) if hit.id == row.id => {}
                other @ (Found::Priced(_) | Found::Unpriced(_)) => {
                    lost.push(format!("{} {} by {name}: {other:?}", row.provider, row.model));
                }
            }
        }
    }
    assert!(lost.is_empty(), "{} lost, the first: {}", lost.len(), lost[0]);
}

#[test]
fn the_bundled_book_says_where_it_is_from() {
    let rows = book().rows();
    assert!(rows.len() > 2500, "{}", rows.len());
    assert!(rows.iter().all(|row| row.source.starts_with("genai-prices ") && row.licence == "MIT"));
    assert!(PRICES.len() < 1_500_000, "the file is part of the binary");
    let largest = rows.iter().map(|row| row.matcher.texts()).max().unwrap();
    assert!(largest * 4 < TEXTS_MAX, "{largest} texts in one rule");
}

#[test]
fn every_bundled_row_survives_its_json_form() {
    for row in bundled_rows().unwrap() {
        let text = serde_json::to_string(&PriceRowDoc::from(&row)).unwrap();
        let back = NewPriceRow::try_from(serde_json::from_str::<PriceRowDoc>(&text).unwrap()).unwrap();
        assert_eq!(back, row);
    }
}

#[test]
fn a_document_that_is_no_price_is_refused_by_field() {
    let good = r#"{"provider":"openai","model":"m","effective_from":"2026-01-01T00:00:00Z",
        "tiers":[{"from":0,"input":"1.5"}],"source":"contract","source_date":"2026-01-01","licence":"own"}"#;
    let read = |json: &str| {
        let doc: PriceRowDoc = serde_json::from_str(json).map_err(|error| error.to_string())?;
        NewPriceRow::try_from(doc).map_err(|error| error.to_string())
    };
    let row = read(good).unwrap();
    assert_eq!(row.derived, [Bucket::CacheRead, Bucket::CacheWrite5m, Bucket::CacheWrite1h, Bucket::Output]);
    assert_eq!(row.matcher, ModelMatch::Equals(Text::new("m")));

    let table = [
        (r#""provider":"openai""#, r#""provider":"open ai""#, "`provider` may hold only letters"),
        (r#""model":"m""#, r#""model":"""#, "`model` is empty"),
        (r#""model":"m""#, r#""model":"m","region":"a b""#, "`region` may hold only letters"),
        (r#""model":"m""#, r#""model":"m","service_tier":"gold""#, "`service_tier` \"gold\" is none of standard"),
        (r#""model":"m""#, r#""model":"m","derived":["tea"]"#, "`derived` \"tea\" is no token bucket"),
        (r#""model":"m""#, r#""model":"m","match":{"contains":""}"#, "`match` must hold"),
        (r#""model":"m""#, r#""model":"m","match":{"any":[]}"#, "`match` must hold"),
        (r#""model":"m""#, r#""model":"m","match":{"regex":".*"}"#, "unknown variant `regex`"),
        (r#""model":"m""#, r#""model":"m","price":1"#, "unknown field `price`"),
        (r#""input":"1.5""#, r#""input":"-1""#, "`tiers.input` is negative"),
        (r#""input":"1.5""#, r#""input":"1000001""#, "`tiers.input` is larger"),
        (r#""input":"1.5""#, r#""input":"0.0000000000001""#, "`tiers.input` has more than 12 decimal places"),
        (r#""from":0"#, r#""from":1"#, "`tiers`: the first tier must begin at 0"),
        (r#"[{"from":0,"#, r#"[{"from":0,"input":"1"},{"from":0,"#, "`tiers`: tiers must begin at ever larger"),
        (r#""model":"m""#, r#""model":"m","request_fee_usd":"-1""#, "`request_fee_usd` is negative"),
        (r#""model":"m""#, r#""model":"m","effective_to":"2026-01-01T00:00:00Z""#, "`effective_to` must be later"),
    ];
    for (from, to, expected) in table {
        let error = read(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
    }
}

proptest! {
    /// Whatever is asked, a usage that is not empty never costs nothing when its model has no price, and nothing panics.
    #[test]
    fn no_unpriced_call_is_free(
        provider in "[a-z]{1,8}|openai|groq|huggingface_publicai|cursor|typesafe",
        model in "[a-z0-9/:.#-]{1,24}|arn:[/a-z]{0,9}|[a-z]{1,4}-20[0-9]{6}",
        buckets in proptest::array::uniform6(prop_oneof![Just(0u64), 0u64..1_000_000, Just(1_000_000_000_000_000)]),
        tier in proptest::sample::select(&ServiceTier::ALL[..]),
        year in 1960i32..2040,
    ) {
        let at = format!("{year}-06-01T00:00:00Z");
        if let Found::Unpriced(fallback) = find(&provider, &model, tier, &at) {
            match fallback.price(&usage(buckets)) {
                Ok(dearest) => prop_assert!(dearest.priced.usd > Usd::ZERO || buckets == [0; 6]),
                Err(error) => prop_assert!(buckets.iter().sum::<u64>() > 1_000_000_000, "{error}"),
            }
        }
    }
}

/// Keeps the type of a stored row nameable beside the new one.
#[test]
fn a_stored_row_has_the_same_document_as_a_new_one() {
    let new = bundled_rows().unwrap().remove(0);
    let stored: PriceRow = new.clone().with_id(PriceId(7));
    assert_eq!(PriceRowDoc::from(&stored), PriceRowDoc::from(&new));
}
