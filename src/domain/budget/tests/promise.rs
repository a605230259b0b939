//! What is held, what is kept aside, and what a margin is worth.

use proptest::prelude::*;

use super::*;
use crate::domain::budget::counter::Counter;
use crate::domain::fixtures::{budget, quantity, rates, usage};
use crate::domain::id::{ModelId, ProviderId};
use crate::domain::price::ServiceTier;

/// A promise of `likely` and `whole` with a mean overrun in millionths, under a limit; then what is kept aside of it.
#[track_caller]
fn check(likely: &str, whole: &str, mean: u64, limit: &str, expect: &str) {
    let promise = Promise::learned(quantity(likely), quantity(whole), mean, quantity(limit)).unwrap();
    let told = format!("{} {} {}", promise.held, promise.margin, promise.at_risk);
    assert_eq!(told, expect, "{likely} of {whole}, {mean} under {limit}");
}

#[test]
fn the_margin_grows_from_the_mean_overrun_to_the_whole_rest_as_calls_grow_against_the_limit() {
    // θ c = 4.6 c / (2 % of the limit): 0.00023, 0.23, 2.3, 23, 230 for c = 100.
    check("100", "200", 10_000, "100000000", "100 1.000114 100");
    check("100", "200", 10_000, "100000", "100 1.1230455 100");
    check("100", "200", 10_000, "10000", "100 3.7426498 100");
    check("100", "200", 10_000, "1000", "100 80.0000001 100");
    check("100", "200", 10_000, "100", "100 98 100");
}

#[test]
fn where_there_is_nothing_to_learn_the_whole_is_held() {
    check("200", "200", 10_000, "1000", "200 0 0");
    check("100", "200", 10_000, "0", "100 100 100");
    check("0.000000000001", "0.000000000002", 1, "0.000000000001", "0.000000000001 0.000000000001 0.000000000001");
}

#[test]
fn a_budget_that_counts_something_else_by_now_holds_the_whole() {
    let priced = |output| {
        let tariff = |rates: &crate::domain::tariff::RateBooks| {
            let (provider, model) = (ProviderId::parse("unit").unwrap(), ModelId::parse("two").unwrap());
            let tariff = rates.tariff(
                &provider,
                &model,
                ServiceTier::Standard,
                None,
                crate::domain::fixtures::at("2026-01-01T12:00:00Z"),
            );
            tariff.price(&usage([10, 0, 0, 0, output, 0]), 1, None).unwrap().consumption
        };
        tariff(&rates())
    };
    let (tokens, usd) = (budget(1, "b tokens 1000 day reserve=p95"), budget(1, "b usd 1000 day reserve=p95"));
    let promise = Promise { held: quantity("30"), margin: quantity("2"), at_risk: quantity("80") };
    let mut learned = LearnedHolds::default();
    learned.keep(&tokens, promise);
    let whole = priced(100);
    assert_eq!(learned.promise(&tokens, &whole), Ok(promise));
    assert_eq!(learned.promise(&usd, &whole), Ok(Promise::whole(quantity("55"))));
    assert_eq!(learned.promise(&budget(2, "c tokens 9 day"), &whole), Ok(Promise::whole(quantity("110"))));
    let grown = learned.grown(&whole, &priced(120)).unwrap();
    assert_eq!(grown.promise(&tokens, &priced(120)), Ok(Promise { held: quantity("50"), ..promise }));
    assert!(learned.are_overrun_by(&priced(21)) && !learned.are_overrun_by(&priced(20)));
}

#[test]
fn the_margin_holds_as_often_as_stated_for_the_worst_calls_there_are() {
    // All or nothing: of each call's rest everything is used, one time in fifty.
    const TRIALS: u64 = 20_000;
    for (open, rest, limit) in [(20_u64, 500, 100_000), (100, 200, 100_000), (400, 100, 100_000), (60, 1_500, 100_000)]
    {
        let number = |value: u64| Quantity::new(value.into()).unwrap();
        let promise = Promise::learned(Quantity::ZERO, number(rest), 20_000, number(limit)).unwrap();
        let mut counter = Counter::default();
        for _call in 0..open {
            counter = counter.hold(promise).unwrap();
        }
        let aside = counter.kept_aside(number(limit));
        let mut state = 11_u64;
        let mut overruns = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if (state >> 33).is_multiple_of(50) { rest } else { 0 }
        };
        let (mut above, mut above_the_mean) = (0_u64, 0_u64);
        for _trial in 0..TRIALS {
            let over: u64 = (0..open).map(|_| overruns()).sum();
            above += u64::from(number(over) > aside);
            above_the_mean += u64::from(over * 50 > open * rest);
        }
        let allowed = TRIALS * u64::from(1_000 - CONFIDENCE_PER_MILLE) / 1_000;
        assert!(above <= allowed, "{open} calls of {rest}: {above} of {TRIALS} above {aside}");
        assert!(above_the_mean * 10 > TRIALS, "{open} calls of {rest}: the mean alone is no margin");
        assert!(aside.decimal() < Decimal::from(open * rest), "{open} calls of {rest}: all of it is no margin either");
    }
}

proptest! {
    #[test]
    fn held_and_margin_are_never_more_than_the_whole_and_the_margin_never_less_than_the_mean(
        likely in 0_u64..1_000_000, more in 1_u64..1_000_000, mean in 0_u64..=1_000_000, limit in 0_u64..1_000_000_000,
    ) {
        let number = |value: u64| Quantity::new(value.into()).unwrap();
        let promise = Promise::learned(number(likely), number(likely + more), mean, number(limit)).unwrap();
        prop_assert_eq!(promise.held.checked_add(promise.at_risk).unwrap(), number(likely + more));
        prop_assert!(promise.margin <= promise.at_risk);
        let expected = promise.at_risk.decimal() * Decimal::new(i64::try_from(mean).unwrap(), 6);
        prop_assert!(promise.margin.decimal() >= expected.round_dp(6), "{promise:?} {expected}");
        // With it a learned rule never holds more than the whole.
        let learned = Counter::default().hold(promise).unwrap().claimed(number(limit)).unwrap();
        prop_assert!(learned <= number(likely + more));
    }

    #[test]
    fn the_margin_grows_with_the_mean_and_with_the_rest(
        rest in 1_u64..100_000, mean in 0_u64..900_000, limit in 1_u64..10_000_000,
    ) {
        let number = |value: u64| Quantity::new(value.into()).unwrap();
        let margin = |rest, mean| Promise::learned(Quantity::ZERO, number(rest), mean, number(limit)).unwrap().margin;
        prop_assert!(margin(rest, mean) <= margin(rest, mean + 100_000));
        prop_assert!(margin(rest, mean) <= margin(rest + 1, mean));
    }
}
