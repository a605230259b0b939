//! A provider with four models: `big` (dear), `mid`, `small` (cheap), `small-tts` (cheap, another trade), and one without
//! emission factors.

use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use proptest::prelude::*;
use rust_decimal::{Decimal, dec};

use super::*;
use crate::domain::amounts::Tokens;
use crate::domain::budget::catalogue::{BudgetClock, BudgetKind, BudgetNumber, HoldRule, OnExpiry, Pacing, Tenant};
use crate::domain::budget::closure::Closure;
use crate::domain::budget::coverage::MissingRule;
use crate::domain::budget::scope::tests::call;
use crate::domain::budget::scope::{ModelScope, Scope};
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::carbon::{
    Factor, FactorBook, FactorId, FactorSource, Interval, ModelFactor, ModelSize, Profile, Validity,
};
use crate::domain::pacing::pace::{Pace, Permille, Room, Rooms};
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
        PriceRow { source: "genai-prices 0.2.3".to_owned(), ..price(7, "gift", dec!(0)) },
        price(8, "frugal", dec!(200)),
        price(9, "own-tts", dec!(0)),
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
        ceilings: BTreeMap::new(),
        pacing: Pacing::Off,
        weights: BTreeMap::new(),
        max_seconds: None,
        missing: MissingRule::Ignore,
        counts_from: None,
        max_hold_share: None,
        on_expiry: OnExpiry::Release,
        counted_from: now(),
    }
}

/// 1,000 tokens asked of `big`, which cost $0.1 there, $0.01 on `mid` and $0.001 on `small`.
fn names(budgets: Vec<Budget>, headroom: &[(&str, Decimal)], model: &str, priority: Priority) -> Vec<String> {
    names_in(|catalogue| catalogue, &Paces::default(), budgets, headroom, model, priority)
}

fn names_in(
    change: impl FnOnce(Catalogue) -> Catalogue,
    paces: &Paces,
    budgets: Vec<Budget>,
    headroom: &[(&str, Decimal)],
    model: &str,
    priority: Priority,
) -> Vec<String> {
    let call = Dimensions { model: ModelId::parse(model).unwrap(), ..call() };
    let tenant = Tenant { id: call.tenant.clone(), zone: Zone::UTC, strict: false, archived: false };
    let catalogue = change(Catalogue::new(1, vec![tenant], budgets));
    let headroom = headroom
        .iter()
        .map(|(id, free)| ((BudgetId::parse(id).unwrap(), CounterKey::whole()), Quantity::new(*free).unwrap()));
    let usage = Usage { output: Tokens::new(1000).unwrap(), ..Usage::default() };
    let asked = Asked { call: &call, usage, service_tier: ServiceTier::Standard, priority };
    let (books, headroom, lessons) = (books(), headroom.collect(), Lessons::default());
    let known = Known { books: &books, catalogue: &catalogue, lessons: &lessons, paces, headroom: &headroom };
    let found = alternatives(&asked, &known, now());
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
        names(vec![dollars()], &[("usd", dec!(0.05))], "big-tts", Priority::Standard).get(..2),
        Some(["own-tts".to_owned(), "small-tts".to_owned()].as_slice()),
        "who asks for speech is offered speech"
    );
}

#[test]
fn a_model_of_ones_own_that_costs_nothing_is_offered_when_no_dollar_is_left() {
    // `own-tts` has no emission factors, as most models of one's own: what it costs is known all the same.
    let of = |free| names(vec![budget("usd", Measure::Usd, dec!(1))], &[("usd", free)], "big-tts", Priority::Standard);
    assert_eq!(of(dec!(0)), ["own-tts"]);
    assert_eq!(of(dec!(-3)), ["own-tts"]);
    let calls = names(vec![budget("n", Measure::Requests, dec!(1))], &[("n", dec!(0))], "big-tts", Priority::Standard);
    assert_eq!(calls, [""; 0], "a call it is, whatever it costs");
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
fn a_model_with_a_hard_budget_that_is_not_in_the_answer_is_not_offered() {
    let scoped = |model: &str, limit| Budget {
        scope: Scope { model: Some(ModelScope::One(ModelId::parse(model).unwrap())), ..Scope::default() },
        ..budget("other", Measure::Usd, limit)
    };
    let of = |one, shown: &[(&str, Decimal)]| names(vec![one], shown, "big", Priority::Standard);
    assert_eq!(of(scoped("small", dec!(1)), &[]), ["mid", "frugal"], "nobody knows what is left of it");
    assert_eq!(of(scoped("small", dec!(1)), &[("other", dec!(0.5))]), ["small", "mid", "frugal"]);
    assert_eq!(of(scoped("small", dec!(1)), &[("other", dec!(0.0005))]), ["mid", "frugal"]);
    let soft = Budget { enforcement: Enforcement::Soft, ..scoped("small", dec!(0.0001)) };
    assert_eq!(of(soft, &[]), ["small", "mid", "frugal"]);
    assert_eq!(
        of(scoped("big", dec!(0.0001)), &[("other", dec!(0))]),
        ["small", "mid", "frugal"],
        "a budget of the model that was asked does not govern the others"
    );
}

/// A pace of the budget `usd`, made now with so much taken of a dollar, that leaves so much room for standard and batch calls.
fn pace(taken: Decimal, standard: Decimal, batch: Decimal, valid_minutes: i64) -> Paces {
    let quantity = |amount| Quantity::new(amount).unwrap();
    let room = |amount| Room { quantity: quantity(amount), pass_through: Permille::ALL };
    let pace = Pace {
        period_start: "2026-06-01T00:00:00Z".parse().unwrap(),
        counted_from: now(),
        made_at: now(),
        valid_until: now() + TimeDelta::minutes(valid_minutes),
        share_ends: now() + TimeDelta::hours(12),
        taken: quantity(taken),
        expected: Vec::new(),
        rooms: Rooms { standard: room(standard), batch: room(batch) },
        by_tenant: BTreeMap::new(),
    };
    Paces::new([(BudgetNumber(1), CounterKey::whole(), pace)])
}

#[test]
fn what_a_pace_leaves_no_room_for_is_not_offered() {
    let paced = |pacing| Budget { pacing, ..budget("usd", Measure::Usd, dec!(1)) };
    let of = |pacing, paces: &Paces, priority| {
        names_in(|catalogue| catalogue, paces, vec![paced(pacing)], &[("usd", dec!(0.8))], "big", priority)
    };
    let all = ["small", "mid", "frugal"];
    // A fifth of the dollar is taken: there is room for all on the wall, and for a cent and a tenth of one by the pace.
    let paces = pace(dec!(0.2), dec!(0.011), dec!(0.0015), 1);
    assert_eq!(of(Pacing::Forecast, &paces, Priority::Interactive), all, "people are not paced");
    assert_eq!(of(Pacing::Forecast, &paces, Priority::Standard), ["small", "mid"]);
    assert_eq!(of(Pacing::Forecast, &paces, Priority::Batch), ["small"]);
    assert_eq!(of(Pacing::Off, &paces, Priority::Batch), all, "a budget that is not paced any more");
    let spent = pace(dec!(0.15), dec!(0.05), dec!(0), 1);
    assert_eq!(of(Pacing::Forecast, &spent, Priority::Standard), [""; 0], "others have taken the room since");
    let old = pace(dec!(0.2), dec!(0), dec!(0), 0);
    assert_eq!(of(Pacing::Forecast, &old, Priority::Batch), all, "a pace that is out of date");
}

#[test]
fn nothing_is_offered_to_a_stopped_run_or_for_a_closed_quota() {
    let of = |change: &dyn Fn(Catalogue) -> Catalogue| {
        let dollars = vec![budget("usd", Measure::Usd, dec!(1))];
        names_in(change, &Paces::default(), dollars, &[("usd", dec!(0.5))], "big", Priority::Standard)
    };
    let own = call();
    assert_eq!(of(&|catalogue| catalogue), ["small", "mid", "frugal"]);
    let run = own.run.clone().unwrap();
    assert_eq!(of(&|catalogue| catalogue.with_stopped_runs([(own.tenant.clone(), run.clone())])), [""; 0]);
    let until = |minutes| {
        let until = now() + TimeDelta::minutes(minutes);
        BTreeMap::from([(BudgetNumber(1), Closure { until, refused_at: now(), is_reported: true, model: None })])
    };
    assert_eq!(of(&|catalogue| catalogue.with_closures(until(1))), [""; 0]);
    assert_eq!(of(&|catalogue| catalogue.with_closures(until(0))), ["small", "mid", "frugal"]);
}

proptest! {
    /// The verdict that is asked anew, on a counter that really holds what the answer only adds up.
    #[test]
    fn what_is_offered_is_allowed_when_it_is_asked_for(
        posted in 0_u32..1000,
        held in 0_u32..1000,
        standard in 0_u32..300,
        batch in 0_u32..300,
        priority in prop::sample::select(vec![Priority::Interactive, Priority::Standard, Priority::Batch]),
        floor in prop::sample::select(vec![dec!(0), dec!(0.1), dec!(0.5)]),
    ) {
        let thousandths = |count: u32| Decimal::new(count.into(), 3);
        let one = Budget {
            pacing: Pacing::Forecast,
            floors: BTreeMap::from([(Priority::Interactive, floor)]),
            ..budget("usd", Measure::Usd, dec!(1))
        };
        let paces = pace(thousandths(posted), thousandths(standard), thousandths(batch.min(standard)), 1);
        let free = dec!(1) - thousandths(posted) - thousandths(held);
        let offered = names_in(|same| same, &paces, vec![one.clone()], &[("usd", free)], "big", priority);
        let catalogue = Catalogue::new(1, Vec::new(), vec![one]);
        let books = books();
        let usage = Usage { output: Tokens::new(1000).unwrap(), ..Usage::default() };
        for model in ["small", "mid", "frugal"] {
            let call = Dimensions { model: ModelId::parse(model).unwrap(), ..call() };
            let governing = catalogue.governing(&call, now()).unwrap().pop().unwrap();
            let counter = Counter {
                posted: Quantity::new(thousandths(posted)).unwrap(),
                held: Quantity::new(thousandths(held)).unwrap(),
                ..Counter::default()
            };
            let pace = paces.of(&governing, &call.tenant, now());
            let standing = Standing { pace, ..Standing::new(governing.clone(), vec![(governing.period, counter)]) };
            let tariff = books.tariff(&call.provider, &call.model, ServiceTier::Standard, None, now());
            let ask = Ask {
                usage,
                min_output: usage.output,
                allow_cap: false,
                priority,
                tariff: &tariff,
                jitter: 0,
                holding: Holding::Whole,
                is_run_stopped: false,
                missing: &[],
                hold_seconds: 120,
            };
            let allowed = decide(&ask, &[standing], now()).unwrap().verdict == Verdict::Allow;
            prop_assert_eq!(offered.iter().any(|name| name == model), allowed, "{}", model);
        }
    }
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
