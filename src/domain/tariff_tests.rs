//! Unpriced is never zero, fallbacks are flagged, and every amount says which rows it stands on.

use proptest::prelude::*;
use rust_decimal::dec;

use super::*;
use crate::domain::amounts::TOKENS_MAX;
use crate::domain::carbon::FactorBook;
use crate::domain::fixtures::{at, rates, usage};
use crate::domain::price::book::PriceBook;

fn tariff<'a>(rates: &'a RateBooks, model: &str, region: Option<&'a RegionId>) -> Tariff<'a> {
    let (provider, model) = model.split_once('/').unwrap();
    let (provider, model) = (provider.parse().unwrap(), model.parse().unwrap());
    rates.tariff(&provider, &model, ServiceTier::Standard, region, at("2026-01-01T00:00:00Z"))
}

#[test]
fn what_is_unknown_is_never_free_and_always_flagged() {
    let rates = rates();
    // model, region | dollars of a million input tokens, flags
    let table = [
        ("openai/gpt-4o", None, dec!(2.5), ""),
        ("openai/gpt-4o", Some("eu-central"), dec!(2.5), ""),
        ("openai/gpt-4o", Some("atlantis-1"), dec!(2.5), "grid_factor_fallback"),
        ("openai/gpt-99", None, dec!(2.5), "unpriced_model model_factor_fallback"),
        ("openai/gpt-99", Some("atlantis-1"), dec!(2.5), "unpriced_model model_factor_fallback grid_factor_fallback"),
        ("nobody/nothing", None, dec!(1_000_000), "unpriced_model model_factor_fallback grid_factor_fallback"),
        ("local/free", None, dec!(0), ""),
    ];
    for (model, region, dollars, flags) in table {
        let region = region.map(|region| RegionId::parse(region).unwrap());
        let tariff = tariff(&rates, model, region.as_ref());
        let priced = tariff.price(&usage([1_000_000, 0, 0, 0, 0, 0]), 1, None).unwrap();
        assert_eq!(priced.consumption.amounts.usd.decimal(), dollars, "{model}");
        assert_eq!(priced.flags.names().collect::<Vec<_>>().join(" "), flags, "{model} {region:?}");
        assert_eq!(tariff.is_priced(), !priced.flags.contains(Flags::UNPRICED));
        let amounts = tariff.price(&usage([0, 0, 0, 0, 1_000, 0]), 1, None).unwrap().consumption.amounts;
        assert!(amounts.gco2e_usage_location > crate::domain::amounts::Grams::ZERO, "{model}");
        assert!(amounts.gco2e_embodied > crate::domain::amounts::Grams::ZERO, "{model}");
    }
}

#[test]
fn an_amount_keeps_the_ids_of_the_rows_it_stands_on() {
    let rates = rates();
    let region = RegionId::parse("eu-central").unwrap();
    let known = tariff(&rates, "openai/gpt-4o", Some(&region)).price(&usage([1, 0, 0, 0, 1, 0]), 1, None).unwrap();
    assert_eq!(
        known.provenance,
        Provenance {
            price: Some(PriceId(1)),
            tier_from: Tokens::ZERO,
            profile: Profile::Extended1,
            model_factor: Some(FactorId(1)),
            grid_factor: Some(FactorId(12)),
            market_factor: Some(FactorId(13)),
        }
    );
    assert!(known.consumption.amounts.gco2e_usage_market <= known.consumption.amounts.gco2e_usage_location);
    let long = tariff(&rates, "anthropic/claude-sonnet-4-5", None);
    let provenance = long.price(&usage([200_000, 1, 0, 0, 0, 0]), 1, None).unwrap().provenance;
    assert_eq!((provenance.price, provenance.tier_from.count()), (Some(PriceId(3)), 200_001), "cached input counts");
    let unknown = tariff(&rates, "openai/gpt-99", None).price(&usage([0, 0, 0, 0, 1_000_000, 0]), 1, None).unwrap();
    assert_eq!(unknown.provenance.price, Some(PriceId(1)), "the dearest row of the provider");
    assert_eq!(unknown.provenance.market_factor, None);
}

#[test]
fn books_without_a_row_price_nothing_at_zero() {
    let empty = RateBooks {
        prices: Arc::new(PriceBook::new(Vec::new())),
        factors: Arc::new(FactorBook::new([])),
        profile: Profile::Extended1,
    };
    let tariff = tariff(&empty, "openai/gpt-4o", None);
    let nothing_known = tariff.price(&usage([1, 0, 0, 0, 0, 0]), 1, None);
    assert_eq!(nothing_known, Err(TariffError::Price(PriceError::NothingKnown)));
}

#[test]
fn a_tier_without_a_price_says_so_and_a_premium_one_is_unpriced() {
    let rates = rates();
    let (provider, model) = ("openai".parse().unwrap(), "gpt-4o-mini".parse().unwrap());
    let at = at("2026-01-01T00:00:00Z");
    for (tier, flag) in [
        (ServiceTier::Standard, None),
        (ServiceTier::Batch, Some(Flags::SERVICE_TIER_FALLBACK)),
        (ServiceTier::Flex, Some(Flags::SERVICE_TIER_FALLBACK)),
        (ServiceTier::Priority, Some(Flags::UNPRICED)),
        (ServiceTier::Fast, Some(Flags::UNPRICED)),
    ] {
        let tariff = rates.tariff(&provider, &model, tier, None, at);
        let priced = tariff.price(&usage([1_000_000, 0, 0, 0, 0, 0]), 1, None).unwrap();
        let both = Flags::SERVICE_TIER_FALLBACK.with(Flags::UNPRICED);
        assert_eq!(priced.flags.common(both), flag.unwrap_or(Flags::NONE), "{tier:?}");
        assert_eq!(tariff.is_priced(), flag != Some(Flags::UNPRICED), "{tier:?}: what strict tenants are refused for");
        let standard = rust_decimal::dec!(0.15);
        let usd = priced.consumption.amounts.usd.decimal();
        assert!(if tier.is_dearer_than_standard() { usd > standard } else { usd == standard }, "{tier:?}: {usd}");
    }
}

#[test]
fn flags_survive_the_journal_and_have_a_name_each() {
    let all = Flags::NAMES.iter().fold(Flags::NONE, |all, (flag, _)| all.with(*flag));
    assert_eq!(Flags::from_bits(all.bits()), all);
    assert_eq!(all.names().count(), Flags::NAMES.len());
    assert_eq!(all.without(Flags::LATE).names().count(), Flags::NAMES.len() - 1);
    assert!(!Flags::NONE.intersects(all) && Flags::NONE.names().next().is_none());
    assert!(i32::try_from(all.bits()).is_ok(), "the journal's column is an integer");
}

proptest! {
    #[test]
    fn a_price_is_an_amount_or_an_error_and_grows_with_the_output(
        buckets in prop::array::uniform6(0..=TOKENS_MAX),
        shift in 0_u32..50,
        more in 0_u64..1_000_000,
        model in prop::sample::select(vec!["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "openai/gpt-99", "nobody/x"]),
    ) {
        let rates = rates();
        let tariff = tariff(&rates, model, None);
        let buckets = buckets.map(|count| count >> shift);
        let larger = { let mut larger = buckets; larger[4] = larger[4].saturating_add(more).min(TOKENS_MAX); larger };
        if let (Ok(less), Ok(more)) = (tariff.price(&usage(buckets), 1, None), tariff.price(&usage(larger), 1, None)) {
            let (less, more) = (less.consumption.amounts, more.consumption.amounts);
            prop_assert!(less.usd <= more.usd && less.tokens <= more.tokens);
            prop_assert!(less.gco2e().unwrap() <= more.gco2e().unwrap());
            prop_assert!(less.gco2e_market().unwrap() <= more.gco2e_market().unwrap());
        }
    }
}
