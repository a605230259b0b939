//! Tables: a row is written as `provider model tier region from..to id prices`, in the order input, cache read, cache write
//! 5m, cache write 1h, output, reasoning.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::book::{Found, PriceBook};
use super::matching::{ModelMatch, Text};
use super::names::ProviderNames;
use super::*;
use crate::domain::usage::provider::{RawUsage, read_usage};

fn usage(buckets: [u64; 6]) -> Usage {
    let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] =
        buckets.map(|count| Tokens::new(count).unwrap());
    Usage { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning }
}

fn tier(from: u64, prices: [Decimal; 6]) -> Tier {
    let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] =
        prices.map(|price| UsdPerMillion::new(price).unwrap());
    let prices = BucketPrices { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning };
    Tier { input_total_from: Tokens::new(from).unwrap(), prices }
}

fn row(tiers: Vec<Tier>) -> PriceRow {
    PriceRow {
        id: PriceId(1),
        provider: ProviderId::parse("acme-ai").unwrap(),
        model: ModelId::parse("swift-1").unwrap(),
        matcher: ModelMatch::Equals(Text::new("swift-1")),
        service_tier: ServiceTier::Standard,
        region: None,
        effective_from: "2026-01-01T00:00:00Z".parse().unwrap(),
        effective_to: None,
        tiers: Tiers::new(tiers).unwrap(),
        request_fee_usd: Usd::ZERO,
        derived: Vec::new(),
        source: "a test".to_owned(),
        source_date: NaiveDate::default(),
        licence: "none".to_owned(),
    }
}

fn flat(prices: [Decimal; 6]) -> PriceRow {
    row(vec![tier(0, prices)])
}

fn usd(row: &PriceRow, buckets: [u64; 6]) -> Decimal {
    price_call(row, &usage(buckets)).unwrap().usd.decimal()
}

#[test]
fn the_cached_gemini_call_of_litellm_14849_costs_0_1849_and_not_0_7642() {
    let leaves = [("promptTokenCount", 262_960), ("cachedContentTokenCount", 257_955), ("candidatesTokenCount", 1_744)];
    let raw = RawUsage::new(leaves.into_iter().map(|(path, count)| (path.to_owned(), count)).collect());
    let usage = read_usage(&"google".parse().unwrap(), &raw).unwrap().usage;
    // The prices the thread recomputes with: $1.25 fresh, $0.625 cached, $10 generated.
    let row = flat([dec!(1.25), dec!(0.625), dec!(1.25), dec!(1.25), dec!(10), dec!(10)]);
    assert_eq!(price_call(&row, &usage).unwrap().usd.decimal(), dec!(0.184918125));
}

#[test]
fn each_bucket_has_its_own_price_and_the_fee_comes_once() {
    let mut row = flat([dec!(3), dec!(0.3), dec!(3.75), dec!(6), dec!(15), dec!(20)]);
    let million = 1_000_000;
    for (bucket, price) in [dec!(3), dec!(0.3), dec!(3.75), dec!(6), dec!(15), dec!(20)].into_iter().enumerate() {
        let mut buckets = [0; 6];
        buckets[bucket] = million;
        assert_eq!(usd(&row, buckets), price, "bucket {bucket}");
    }
    row.request_fee_usd = Usd::new(dec!(0.012)).unwrap();
    assert_eq!(usd(&row, [million, million, 0, 0, million, 0]), dec!(18.312));
    assert_eq!(usd(&row, [0; 6]), dec!(0.012));
}

#[test]
fn a_price_is_rounded_once_half_to_even_at_the_twelfth_place() {
    let price = |per_million| flat([per_million; 6]);
    // One token at 10⁻⁶ dollars per million is 10⁻¹² dollars: the last place.
    assert_eq!(usd(&price(dec!(0.000001)), [1, 0, 0, 0, 0, 0]), dec!(0.000000000001));
    assert_eq!(usd(&price(dec!(0.0000005)), [1, 0, 0, 0, 0, 0]), dec!(0), "half to even: 0");
    assert_eq!(usd(&price(dec!(0.0000015)), [1, 0, 0, 0, 0, 0]), dec!(0.000000000002), "half to even: 2");
    assert_eq!(usd(&price(dec!(0.000000500001)), [1, 0, 0, 0, 0, 0]), dec!(0.000000000001));
    assert_eq!(
        usd(&price(dec!(0.0000004)), [1, 1, 1, 0, 0, 0]),
        dec!(0.000000000001),
        "the sum is rounded, not its parts"
    );
}

#[test]
fn the_total_input_chooses_the_tier_and_the_tier_prices_the_whole_call() {
    let row = row(vec![
        tier(0, [dec!(3), dec!(0.3), dec!(3), dec!(3), dec!(15), dec!(15)]),
        tier(200_001, [dec!(6), dec!(0.6), dec!(6), dec!(6), dec!(22.5), dec!(22.5)]),
    ]);
    let table = [
        // input, cache read, write 5m, write 1h, output | tier, dollars
        ([200_000, 0, 0, 0, 100], 0, dec!(0.6015)),
        ([200_001, 0, 0, 0, 100], 1, dec!(1.202256)),
        ([1, 200_000, 0, 0, 100], 1, dec!(0.122256)), // cached input counts
        ([0, 0, 200_000, 1, 100], 1, dec!(1.202256)), // written input counts
        ([0, 0, 0, 0, 900_000], 0, dec!(13.5)),       // output does not
    ];
    for ([input, read, write_5m, write_1h, output], tier, dollars) in table {
        let priced = price_call(&row, &usage([input, read, write_5m, write_1h, output, 0])).unwrap();
        assert_eq!((priced.tier, priced.usd.decimal()), (tier, dollars));
        assert_eq!(priced.tier_from.count(), [0, 200_001][tier]);
    }
}

#[test]
fn tiers_that_leave_a_gap_or_overlap_are_refused() {
    let at = |from| tier(from, [dec!(1); 6]);
    assert_eq!(Tiers::new(vec![]), Err(BadTiers::NotFromZero));
    assert_eq!(Tiers::new(vec![at(1)]), Err(BadTiers::NotFromZero));
    assert_eq!(Tiers::new(vec![at(0), at(5), at(5)]), Err(BadTiers::NotAscending(Tokens::new(5).unwrap())));
    assert_eq!(Tiers::new(vec![at(0), at(0)]), Err(BadTiers::NotAscending(Tokens::ZERO)));
    assert_eq!(Tiers::new((0..17).map(at).collect()), Err(BadTiers::TooMany));
    assert!(Tiers::new((0..16).map(at).collect()).is_ok());
}

#[test]
fn what_a_source_does_not_say_is_taken_from_the_next_price_and_marked() {
    let price = |text: &str| UsdPerMillion::new(text.parse().unwrap()).unwrap();
    let only = |input| PublishedPrices {
        input,
        cache_read: None,
        cache_write_5m: None,
        cache_write_1h: None,
        output: None,
        reasoning: None,
    };
    let (prices, derived) = only(price("2")).complete();
    assert_eq!(prices.in_order(), [price("2"); 6], "no multiplier is invented and nothing is free");
    assert_eq!(derived, [Bucket::CacheRead, Bucket::CacheWrite5m, Bucket::CacheWrite1h, Bucket::Output]);

    let published = PublishedPrices {
        cache_read: Some(price("0.2")),
        cache_write_5m: Some(price("2.5")),
        output: Some(price("8")),
        ..only(price("2"))
    };
    let (prices, derived) = published.complete();
    assert_eq!(prices.cache_write_1h, price("2.5"), "the only write price there is");
    assert_eq!(prices.reasoning, price("8"), "thinking is billed as output");
    assert_eq!(derived, [Bucket::CacheWrite1h]);
    assert_eq!(PublishedPrices { reasoning: Some(price("3")), ..published }.complete().0.reasoning, price("3"));
}

#[test]
fn a_price_is_refused_rather_than_rounded() {
    assert_eq!(UsdPerMillion::new(dec!(-0.1)), Err(BadAmount::Negative));
    assert_eq!(UsdPerMillion::new(dec!(1000000.000001)), Err(BadAmount::TooLarge));
    assert_eq!(UsdPerMillion::new(dec!(0.0000000000001)), Err(BadAmount::TooPrecise { places: 12 }));
    for exact in [dec!(0), dec!(0.000000000001), dec!(1.2500), dec!(1000000)] {
        assert_eq!(UsdPerMillion::new(exact).unwrap().decimal(), exact.normalize());
    }
}

#[test]
fn a_call_too_large_to_keep_is_an_error_and_not_a_panic() {
    let most = 1_000_000_000_000_000;
    let dear = flat([dec!(1_000_000); 6]);
    assert_eq!(price_call(&dear, &usage([most; 6])), Err(PriceError::TooLarge(BadAmount::TooLarge)));
    assert_eq!(price_call(&dear, &usage([0, 0, 0, 0, most, most])).unwrap().usd.decimal(), dec!(2_000_000_000_000_000));
}

// --- matching --------------------------------------------------------------------------------------------------------

#[test]
fn rules_match_names_and_the_more_telling_rule_weighs_more() {
    let text = Text::new;
    let not_speech = ModelMatch::Not(Box::new(ModelMatch::Any(vec![
        ModelMatch::EndsWith(text("-tts")),
        ModelMatch::Contains(text("-tts-")),
    ])));
    let table = [
        (ModelMatch::Equals(text("GPT-4o")), "gpt-4o", Some(usize::MAX)),
        (ModelMatch::Equals(text("gpt-4o")), "gpt-4o-mini", None),
        (ModelMatch::StartsWith(text("gpt-4")), "gpt-4o", Some(5)),
        (ModelMatch::EndsWith(text("-v1")), "nova-v1", Some(3)),
        (ModelMatch::Contains(text("nova")), "us.amazon.nova-v1", Some(4)),
        (ModelMatch::Digits(text("opus-5-########")), "opus-5-20260401", Some(usize::MAX)),
        (ModelMatch::Digits(text("opus-5-########")), "opus-5-2026040x", None),
        (ModelMatch::Digits(text("opus-5-########")), "opus-5-202604011", None),
        (ModelMatch::Any(vec![]), "anything", None),
        (
            ModelMatch::Any(vec![ModelMatch::StartsWith(text("gpt")), ModelMatch::StartsWith(text("gpt-4"))]),
            "gpt-4o",
            Some(5),
        ),
        (
            ModelMatch::All(vec![ModelMatch::StartsWith(text("gemini-2.5")), not_speech.clone()]),
            "gemini-2.5-pro",
            Some(10),
        ),
        (ModelMatch::All(vec![ModelMatch::StartsWith(text("gemini-2.5")), not_speech]), "gemini-2.5-pro-tts", None),
    ];
    for (rule, name, weight) in table {
        assert_eq!(rule.weigh(name), weight, "{rule:?} on {name}");
    }
}

#[test]
fn dates_without_dashes_are_read_as_dates() {
    let table = [
        ("gpt-5.2-20251211", Some("gpt-5.2-2025-12-11")),
        ("gpt-5.2-20251211-preview", Some("gpt-5.2-2025-12-11-preview")),
        ("gpt-5.2-20251211:free", Some("gpt-5.2-2025-12-11:free")),
        ("gpt-5.2-20251311", None),
        ("gpt-5.2-20251232", None),
        ("gpt-5.2-2025121", None),
        ("gpt-5.2-202512111", None),
        ("-20", None),
        ("x-20é51211", None),
    ];
    for (name, dashed) in table {
        assert_eq!(names::with_dashed_date(name).as_deref(), dashed, "{name}");
    }
}

// --- the book --------------------------------------------------------------------------------------------------------

/// One line a row: id, provider, model, tier, region, from, to, price of every bucket, then rules: `=name` or `^prefix`.
fn book(table: &str, names: ProviderNames) -> PriceBook {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    let rows = lines.map(|line| {
        let mut words = line.split_whitespace();
        let mut word = || words.next().expect("eight columns");
        let id = PriceId(word().parse().unwrap());
        let (provider, model) = (ProviderId::parse(word()).unwrap(), ModelId::parse(word()).unwrap());
        let service_tier = ServiceTier::from_word(word()).unwrap();
        let region = Some(word()).filter(|region| *region != "-").map(|region| RegionId::parse(region).unwrap());
        let effective_from = day(word());
        let effective_to = Some(word()).filter(|end| *end != "-").map(day);
        let prices = [word().parse().unwrap(); 6];
        let rule = |rule: &str| match rule.strip_prefix('=') {
            Some(name) => ModelMatch::Equals(Text::new(name)),
            None => ModelMatch::StartsWith(Text::new(rule.trim_start_matches('^'))),
        };
        let matcher = ModelMatch::Any(words.map(rule).collect());
        PriceRow { id, provider, model, matcher, service_tier, region, effective_from, effective_to, ..flat(prices) }
    });
    PriceBook::with_names(rows.collect(), names)
}

fn day(text: &str) -> DateTime<Utc> {
    format!("{text}T00:00:00Z").parse().unwrap()
}

/// One line a question: provider, model, tier, region, day, `|`, the id of the row found or the ids of the fallback's rows.
#[track_caller]
fn check(book: &PriceBook, table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let (question, expected) = line.split_once('|').unwrap();
        let words: Vec<&str> = question.split_whitespace().collect();
        let region = Some(words[3]).filter(|region| *region != "-").map(|region| RegionId::parse(region).unwrap());
        let answer = match book.find(
            &ProviderId::parse(words[0]).unwrap(),
            &ModelId::parse(words[1]).unwrap(),
            ServiceTier::from_word(words[2]).unwrap(),
            region.as_ref(),
            day(words[4]),
        ) {
            Found::Priced(row) => row.id.0.to_string(),
            Found::Unpriced(fallback) => {
                let ids: Vec<String> = fallback.candidates().iter().map(|row| row.id.0.to_string()).collect();
                format!("unpriced {}", ids.join(" "))
            }
        };
        let expected = expected.split("//").next().unwrap_or_default();
        assert_eq!(answer, expected.trim(), "for {line}");
    }
}

#[test]
fn the_newest_price_in_force_wins_and_then_the_highest_id() {
    let book = book(
        "
        1 acme-ai swift standard - 2026-01-01 -          10 =swift
        2 acme-ai swift standard - 2026-03-01 -          20 =swift
        3 acme-ai swift standard - 2026-03-01 -          30 =swift
        4 acme-ai swift standard - 2026-05-01 2026-06-01 5  =swift
        ",
        ProviderNames::default(),
    );
    check(
        &book,
        "
        acme-ai swift standard - 2025-12-31 | unpriced 4 3 2 1 // before the first price: those of any time
        acme-ai swift standard - 2026-01-01 | 1                // the first instant belongs to it
        acme-ai swift standard - 2026-02-28 | 1
        acme-ai swift standard - 2026-03-01 | 3                // same day: the later entry corrects the earlier
        acme-ai swift standard - 2026-05-31 | 4
        acme-ai swift standard - 2026-06-01 | 3                // an offer that ended gives way to what was before
        ACME-AI Swift standard - 2026-02-28 | 1                // names have no case
        ",
    );
}

#[test]
fn region_and_service_tier_are_met_before_they_are_given_up() {
    let book = book(
        "
        1 acme-ai swift standard -  2026-01-01 - 10 =swift
        2 acme-ai swift standard eu 2026-01-01 - 11 =swift
        3 acme-ai swift batch    -  2026-01-01 - 5  =swift
        4 acme-ai heavy standard eu 2026-01-01 - 90 =heavy
        ",
        ProviderNames::default(),
    );
    check(
        &book,
        "
        acme-ai swift standard -  2026-02-01 | 1
        acme-ai swift standard eu 2026-02-01 | 2
        acme-ai swift standard us 2026-02-01 | 1
        acme-ai swift batch    -  2026-02-01 | 3
        acme-ai swift batch    eu 2026-02-01 | 3
        acme-ai swift flex     eu 2026-02-01 | 2
        acme-ai swift priority eu 2026-02-01 | unpriced 4 3 2 1 // dearer than standard: not its price without a word
        acme-ai swift fast     -  2026-02-01 | unpriced 4 3 2 1
        acme-ai heavy standard eu 2026-02-01 | 4
        acme-ai heavy standard -  2026-02-01 | unpriced 1     // sold in one region only: not guessed elsewhere
        ",
    );
}

#[test]
fn a_name_goes_to_its_own_history_then_to_a_listed_one_then_to_the_longest_pattern() {
    let book = book(
        "
        1 acme-ai swift         standard - 2026-01-01 - 10 =swift =swift-2026 ^swift-
        2 acme-ai swift-mini    standard - 2026-01-01 - 2  =swift-mini ^swift-mini
        3 acme-ai swift-2026    standard - 2026-06-01 - 8  =swift-2026
        4 acme-ai swift         standard - 2026-09-01 - 9  =swift =swift-next
        ",
        ProviderNames::default(),
    );
    check(
        &book,
        "
        acme-ai swift-2026     standard - 2026-03-01 | 1          // listed by swift; its own price is not in force yet
        acme-ai swift-2026     standard - 2026-07-01 | 3
        acme-ai swift-mini-9   standard - 2026-03-01 | 2
        acme-ai swift-maxi     standard - 2026-03-01 | 1
        acme-ai swift-maxi     standard - 2026-10-01 | 4          // every row of a history goes by all its names
        acme-ai swift-next     standard - 2026-03-01 | 1
        acme-ai brisk          standard - 2026-03-01 | unpriced 1 2
        ",
    );
}

#[test]
fn a_provider_goes_by_its_aliases_and_sells_the_lists_it_uses() {
    let id = |text| ProviderId::parse(text).unwrap();
    let (acme, alias, cloud, other) = (id("acme-ai"), id("acme.cloud_ai"), id("cloud"), id("brisk-ai"));
    let used = [acme.clone()];
    let names = ProviderNames::new([(&alias, &acme)], [(&cloud, &used[..])]);
    assert_eq!(other.as_str(), "brisk-ai");
    let book = book(
        "
        1 acme-ai       swift standard - 2026-01-01 - 10 =swift
        2 cloud         swift standard - 2026-01-01 - 12 =swift
        3 brisk-ai      lento standard - 2026-01-01 - 1  =lento
        4 acme-ai       heavy standard - 2026-01-01 - 70 =heavy
        5 acme.cloud_ai heavy standard - 2026-01-01 - 60 =heavy
        ",
        names,
    );
    check(
        &book,
        "
        acme.cloud_ai swift         standard - 2026-02-01 | 1
        acme.cloud_ai heavy         standard - 2026-02-01 | 5              // a list under an alias is the provider's own
        acme-ai       acme-ai/swift standard - 2026-02-01 | 1
        acme-ai       acme.cloud_ai/swift standard - 2026-02-01 | 1
        acme-ai       models/swift  standard - 2026-02-01 | 1
        acme-ai       heavy         standard - 2026-02-01 | 5              // and of one day the row added last applies
        acme-ai       brisk-ai/lento standard - 2026-02-01 | unpriced 5 1
        cloud         swift         standard - 2026-02-01 | 2              // its own list first
        cloud         heavy         standard - 2026-02-01 | 5              // then the list it uses
        cloud         none          standard - 2026-02-01 | unpriced 2 5 1 // and the worst of both
        gateway       acme-ai/heavy standard - 2026-02-01 | 5
        gateway       acme-ai/none  standard - 2026-02-01 | unpriced 5 1
        gateway       swift         standard - 2026-02-01 | unpriced 5 1 3 2
        ",
    );
}

#[test]
fn the_worst_known_price_depends_on_what_was_used() {
    let mut thinks = flat([dec!(1), dec!(1), dec!(1), dec!(1), dec!(1), dec!(100)]);
    thinks.id = PriceId(1);
    let mut reads = flat([dec!(50), dec!(1), dec!(1), dec!(1), dec!(1), dec!(1)]);
    (reads.id, reads.model) = (PriceId(2), ModelId::parse("swift-2").unwrap());
    let book = PriceBook::new(vec![thinks, reads]);
    let (provider, model) = (ProviderId::parse("acme-ai").unwrap(), ModelId::parse("new").unwrap());
    let Found::Unpriced(fallback) = book.find(&provider, &model, ServiceTier::Standard, None, day("2026-02-01")) else {
        panic!("has no price");
    };
    assert_eq!(fallback.price(&usage([9, 0, 0, 0, 0, 0])).unwrap().row.id, PriceId(2));
    assert_eq!(fallback.price(&usage([9, 0, 0, 0, 0, 9])).unwrap().row.id, PriceId(1));
    assert_eq!(fallback.price(&usage([0; 6])).unwrap().priced.usd, Usd::ZERO, "nothing used is nothing owed");
}

#[test]
fn a_provider_of_free_models_only_does_not_make_an_unknown_model_free() {
    let ask = |book: &PriceBook, buckets| {
        let (provider, model) = (ProviderId::parse("gratis").unwrap(), ModelId::parse("new").unwrap());
        match book.find(&provider, &model, ServiceTier::Standard, None, day("2026-02-01")) {
            Found::Priced(row) => panic!("{row:?}"),
            Found::Unpriced(fallback) => fallback.price(&usage(buckets)).map(|dearest| dearest.row.id.0),
        }
    };
    let free = "1 gratis swift standard - 2026-01-01 - 0 =swift";
    let priced = "2 acme-ai swift standard - 2026-01-01 - 1 =swift";
    let both = book(&format!("{free}\n{priced}"), ProviderNames::default());
    assert_eq!(ask(&both, [1, 0, 0, 0, 0, 0]), Ok(2));
    let only_free = book(free, ProviderNames::default());
    assert_eq!(ask(&only_free, [1, 0, 0, 0, 0, 0]), Err(PriceError::NothingKnown));
    assert_eq!(ask(&PriceBook::default(), [1, 0, 0, 0, 0, 0]), Err(PriceError::NothingKnown));
}

#[test]
fn words_of_service_tiers_and_buckets_come_back() {
    for tier in ServiceTier::ALL {
        assert_eq!(ServiceTier::from_word(tier.as_str()), Some(tier));
    }
    assert_eq!(ServiceTier::from_word("default"), Some(ServiceTier::Standard));
    assert_eq!(ServiceTier::from_word("gold"), None);
    for bucket in Bucket::ALL {
        assert_eq!(Bucket::from_word(bucket.as_str()), Some(bucket));
    }
    assert_eq!(Bucket::from_word("tea"), None);
}

fn any_price() -> impl Strategy<Value = Decimal> {
    (0i64..=1_000_000_000_000, 6u32..=12).prop_map(|(mantissa, scale)| Decimal::new(mantissa, scale))
}

fn any_row() -> impl Strategy<Value = PriceRow> {
    let tiers = proptest::collection::btree_map(1u64..1_000_000, proptest::array::uniform6(any_price()), 0..4);
    (proptest::array::uniform6(any_price()), tiers).prop_map(|(base, above)| {
        let above: BTreeMap<u64, [Decimal; 6]> = above;
        row(std::iter::once((0, base)).chain(above).map(|(from, prices)| tier(from, prices)).collect())
    })
}

fn any_usage() -> impl Strategy<Value = [u64; 6]> {
    proptest::array::uniform6(prop_oneof![0u64..2_000_000, 0u64..=1_000_000_000_000_000])
}

proptest! {
    #[test]
    fn more_of_a_bucket_never_costs_less_within_a_tier(
        row in any_row(), buckets in any_usage(), bucket in 0usize..6, more in 0u64..1_000_000,
    ) {
        let mut larger = buckets;
        larger[bucket] = larger[bucket].saturating_add(more).min(1_000_000_000_000_000);
        let (less, more) = (price_call(&row, &usage(buckets)), price_call(&row, &usage(larger)));
        if let (Ok(less), Ok(more)) = (less, more) {
            prop_assert!(less.tier != more.tier || less.usd <= more.usd);
            prop_assert!(less.tier <= more.tier);
        }
    }

    /// Against arithmetic done another way: one `Decimal` a bucket, exact for these sizes, rounded once at the end.
    #[test]
    fn prices_equal_the_decimal_sum(prices in proptest::array::uniform6(0i64..=1_000_000_000), buckets in proptest::array::uniform6(0u64..100_000_000)) {
        let prices = prices.map(|mantissa| Decimal::new(mantissa, 9));
        let sum: Decimal = prices.iter().zip(buckets).map(|(price, count)| price * Decimal::from(count)).sum();
        let expected = Usd::round_half_even(sum / dec!(1_000_000)).unwrap();
        prop_assert_eq!(price_call(&flat(prices), &usage(buckets)).unwrap().usd, expected);
    }

    #[test]
    fn any_names_and_usage_give_an_answer(
        provider in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,12}",
        model in "[!-~]{1,40}|-20[0-9]{0,9}.?|arn:.{0,5}/[!-~]{1,5}|acme-ai/models/[a-z]{1,3}",
        rows in proptest::collection::vec(any_row(), 0..4),
        buckets in any_usage(),
    ) {
        let book = PriceBook::new(rows);
        if let (Ok(provider), Ok(model)) = (ProviderId::parse(&provider), ModelId::parse(&model)) {
            match book.find(&provider, &model, ServiceTier::Batch, None, day("2026-02-01")) {
                Found::Priced(row) => { let _ = price_call(&row, &usage(buckets)); }
                Found::Unpriced(fallback) => if let Ok(dearest) = fallback.price(&usage(buckets)) {
                    prop_assert!(dearest.priced.usd > Usd::ZERO || buckets == [0; 6]);
                }
            }
        }
    }
}
