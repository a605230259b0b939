//! A provider with four models: `big` (dear), `mid`, `small` (cheap), `small-tts` (cheap, another trade), and one without
//! emission factors.

use std::sync::Arc;

use chrono::NaiveDate;
use rust_decimal::{Decimal, dec};

use super::*;
use crate::domain::amounts::Tokens;
use crate::domain::budget::catalogue::{BudgetClock, BudgetKind, BudgetNumber, HoldRule, Tenant};
use crate::domain::budget::scope::Scope;
use crate::domain::budget::scope::tests::call;
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::carbon::{
    Factor, FactorBook, FactorId, FactorSource, Interval, ModelFactor, ModelSize, Profile, Validity,
};
use crate::domain::price::book::PriceBook;
use crate::domain::price::matching::{ModelMatch, Text};
use crate::domain::price::{BucketPrices, PriceId, Tier, Tiers, UsdPerMillion};

const PROVIDER: &str = "openai";

fn now() -> DateTime<Utc> {
    "2026-06-10T12:00:00Z".parse().unwrap()
}

fn price(id: i64, model: &str, per_million: Decimal) -> PriceRow {
    let each = UsdPerMillion::new(per_million).unwrap();
    let prices = BucketPrices {
        input: each,
        cache_read: each,
        cache_write_5m: each,
        cache_write_1h: each,
        output: each,
        reasoning: each,
    };
    PriceRow {
        id: PriceId(id),
        provider: ProviderId::parse(PROVIDER).unwrap(),
        model: ModelId::parse(model).unwrap(),
        matcher: ModelMatch::Equals(Text::new(model)),
        service_tier: ServiceTier::Standard,
        region: None,
        effective_from: "2026-01-01T00:00:00Z".parse().unwrap(),
        effective_to: None,
        tiers: Tiers::new(vec![Tier { input_total_from: Tokens::ZERO, prices }]).unwrap(),
        request_fee_usd: Usd::ZERO,
        derived: Vec::new(),
        source: "a test".to_owned(),
        source_date: NaiveDate::default(),
        licence: "none".to_owned(),
    }
}

fn size(id: i64, model: &str, billions: f64) -> Factor {
    Factor::Model(ModelFactor {
        id: FactorId(id),
        provider: ProviderId::parse(PROVIDER).unwrap(),
        model: ModelId::parse(model).unwrap(),
        size: ModelSize {
            active_params_b: Interval::point(billions),
            total_params_b: Interval::point(billions),
            tps: None,
            ttft_s: None,
        },
        released: true,
        multimodal: false,
        validity: Validity::new("2026-01-01T00:00:00Z".parse().unwrap(), None).unwrap(),
        source: FactorSource {
            set: "test".to_owned(),
            title: "a test".to_owned(),
            publisher: "us".to_owned(),
            url: String::new(),
            licence: "none".to_owned(),
            dataset_version: String::new(),
            retrieved: None,
            tier: 3,
            note: None,
        },
    })
}

fn books() -> RateBooks {
    let mut embeddings = price(6, "vectors", dec!(0.01));
    embeddings.derived = vec![Bucket::Output];
    let prices = vec![
        price(1, "big", dec!(100)),
        price(2, "mid", dec!(10)),
        price(3, "small", dec!(1)),
        price(4, "small-tts", dec!(0.5)),
        price(5, "unknown-size", dec!(0.1)),
        embeddings,
        price(7, "gift", dec!(0)),
        price(8, "frugal", dec!(200)),
    ];
    let sizes = [("big", 500.0), ("mid", 100.0), ("small", 8.0), ("small-tts", 8.0), ("gift", 8.0), ("frugal", 4.0)];
    let factors = sizes.into_iter().zip(1..).map(|((model, billions), id)| size(id, model, billions));
    RateBooks {
        prices: Arc::new(PriceBook::new(prices)),
        factors: Arc::new(FactorBook::new(factors)),
        profile: Profile::Extended1,
    }
}

fn budget(id: &str, measure: Measure, limit: Decimal) -> Budget {
    Budget {
        id: BudgetId::parse(id).unwrap(),
        number: BudgetNumber(1),
        version: 1,
        kind: BudgetKind::Budget,
        scope: Scope::default(),
        each: None,
        measure,
        limit: Quantity::new(limit).unwrap(),
        period: PeriodSpec::MONTH,
        clock: BudgetClock::Fixed(Zone::UTC),
        enforcement: Enforcement::Hard,
        reserve: HoldRule::Max,
        thresholds: Vec::new(),
        floors: BTreeMap::new(),
        counted_from: now(),
    }
}

/// 1,000 tokens asked of `big`, which cost $0.1 there, $0.01 on `mid` and $0.001 on `small`.
fn names(budgets: Vec<Budget>, headroom: &[(&str, Decimal)], model: &str, priority: Priority) -> Vec<String> {
    let call = Dimensions { model: ModelId::parse(model).unwrap(), ..call() };
    let tenant = Tenant { id: call.tenant.clone(), zone: Zone::UTC, strict: false, archived: false };
    let catalogue = Catalogue::new(1, vec![tenant], budgets);
    let headroom = headroom
        .iter()
        .map(|(id, free)| ((BudgetId::parse(id).unwrap(), CounterKey::whole()), Quantity::new(*free).unwrap()));
    let usage = Usage { output: Tokens::new(1000).unwrap(), ..Usage::default() };
    let asked = Asked { call: &call, usage, service_tier: ServiceTier::Standard, priority };
    let found = alternatives(&asked, &books(), &catalogue, &headroom.collect(), now());
    found.into_iter().map(|one| one.model.to_string()).collect()
}

#[test]
fn the_cheapest_that_fits_comes_first_and_what_is_no_alternative_never() {
    let dollars = || budget("usd", Measure::Usd, dec!(1));
    let of = |free| names(vec![dollars()], &[("usd", free)], "big", Priority::Standard);
    assert_eq!(
        of(dec!(0.05)),
        ["small", "mid"],
        "no tts, no embeddings, no gift, no guess; frugal is cleaner but too dear"
    );
    assert_eq!(of(dec!(0.5)), ["small", "mid", "frugal"], "dearer but cleaner");
    assert_eq!(of(dec!(0.005)), ["small"]);
    assert_eq!(of(dec!(0)), [""; 0], "the budget is gone for every model");
    assert_eq!(of(dec!(-3)), [""; 0]);
    assert_eq!(
        names(vec![dollars()], &[("usd", dec!(0.05))], "small", Priority::Standard),
        [""; 0],
        "nothing is better"
    );
    assert_eq!(
        names(vec![dollars()], &[("usd", dec!(0.05))], "big-tts", Priority::Standard).first().map(String::as_str),
        Some("small-tts"),
        "who asks for speech is offered speech"
    );
}

#[test]
fn a_budget_of_calls_or_tokens_is_met_by_every_model_alike() {
    for measure in [Measure::Tokens, Measure::Requests] {
        let one = budget("n", measure, dec!(5000));
        assert_eq!(names(vec![one.clone()], &[("n", dec!(0.5))], "big", Priority::Standard), [""; 0], "{measure:?}");
        assert_eq!(names(vec![one], &[("n", dec!(1000))], "big", Priority::Standard), ["small", "mid", "frugal"]);
    }
}

#[test]
fn a_budget_of_the_other_model_counts_by_its_limit() {
    let scoped = |model: &str, limit| Budget {
        scope: Scope { model: Some(ModelId::parse(model).unwrap()), ..Scope::default() },
        ..budget("other", Measure::Usd, limit)
    };
    assert_eq!(names(vec![scoped("small", dec!(0.0001))], &[], "big", Priority::Standard), ["mid", "frugal"]);
    assert_eq!(names(vec![scoped("small", dec!(1))], &[], "big", Priority::Standard), ["small", "mid", "frugal"]);
    let own = scoped("big", dec!(0.0001));
    assert_eq!(
        names(vec![own], &[("other", dec!(0))], "big", Priority::Standard),
        ["small", "mid", "frugal"],
        "a budget of the model that was asked does not govern the others"
    );
}

#[test]
fn floors_are_kept_and_soft_budgets_bind_nobody() {
    let floored = Budget {
        floors: BTreeMap::from([(Priority::Interactive, dec!(0.5))]),
        ..budget("usd", Measure::Usd, dec!(0.1))
    };
    let of = |priority| names(vec![floored.clone()], &[("usd", dec!(0.055))], "big", priority);
    assert_eq!(of(Priority::Interactive), ["small", "mid"]);
    assert_eq!(of(Priority::Batch), ["small"], "0.05 of the 0.055 is kept");
    let soft = Budget { enforcement: Enforcement::Soft, ..budget("usd", Measure::Usd, dec!(0.1)) };
    assert_eq!(names(vec![soft], &[("usd", dec!(-1))], "big", Priority::Batch), ["small", "mid", "frugal"]);
}
