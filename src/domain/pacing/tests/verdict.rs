//! The verdict with a pace: a pace only ever makes it stricter, and never for people.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::advice::Band;
use super::super::pace::Paced;
use super::pace::pace;
use crate::domain::amounts::Quantity;
use crate::domain::budget::catalogue::{Catalogue, Priority};
use crate::domain::budget::counter::{Counter, Standing};
use crate::domain::budget::verdict::{Ask, Holding, ReasonCode, Ruling, Verdict, WAIT_SECONDS_MAX, decide};
use crate::domain::fixtures::{at, budget, call, quantity, rates, tokens, usage};
use crate::domain::price::ServiceTier;

/// What is decided at half past twelve on a budget of so many tokens a day, with a pace or without.
fn decided(asked: &Asked, rooms: Option<[u32; 2]>) -> Ruling {
    let (now, call) = (at("2026-01-01T12:30:00Z"), call("acme/chat unit/one"));
    let text = format!("b tokens {} day paced {}", asked.limit, asked.extra);
    let catalogue = Catalogue::new(1, Vec::new(), vec![budget(1, &text)]);
    let governing = catalogue.governing(&call, now).unwrap().pop().unwrap();
    let counter = Counter {
        posted: quantity(&asked.posted.to_string()),
        held: quantity(&asked.held.to_string()),
        ..Counter::default()
    };
    let mut standing = Standing::new(governing.clone(), vec![(governing.period, counter)]);
    standing.pace = rooms.map(|[standard, batch]| {
        let pace = pace(&asked.taken.to_string(), &standard.to_string(), &batch.to_string(), &["10", "15"]);
        Paced { rooms: pace.rooms, pace: Arc::new(pace) }
    });
    let rates = rates();
    let tariff = rates.tariff(&call.provider, &call.model, ServiceTier::Standard, None, now);
    let ask = Ask {
        usage: usage([asked.input, 0, 0, 0, asked.output, 0]),
        min_output: tokens(1),
        allow_cap: asked.allow_cap,
        priority: asked.priority,
        tariff: &tariff,
        jitter: asked.jitter,
        is_run_stopped: false,
        holding: Holding::Whole,
        missing: &[],
        hold_seconds: 120,
    };
    decide(&ask, &[standing], now).unwrap()
}

#[derive(Debug, Clone)]
struct Asked {
    limit: u32,
    extra: &'static str,
    posted: u32,
    held: u32,
    taken: u32,
    input: u64,
    output: u64,
    allow_cap: bool,
    priority: Priority,
    jitter: u64,
}

fn any_asked() -> impl Strategy<Value = Asked> {
    let priority = prop::sample::select(Priority::ALL.to_vec());
    let extra = prop::sample::select(vec!["", "floors=interactive:0.3", "ceilings=batch:0.5", "thresholds=0.5"]);
    (
        50_u32..200,
        extra,
        0_u32..150,
        0_u32..60,
        0_u32..150,
        [0_u64..60, 0_u64..60],
        any::<bool>(),
        priority,
        any::<u64>(),
    )
        .prop_map(|(limit, extra, posted, held, taken, [input, output], allow_cap, priority, jitter)| Asked {
            limit,
            extra,
            posted,
            held,
            taken,
            input,
            output,
            allow_cap,
            priority,
            jitter,
        })
}

proptest! {
    #[test]
    fn a_pace_never_makes_a_verdict_better_and_never_changes_that_of_people(asked in any_asked(), rooms in [0_u32..100, 0_u32..100]) {
        let (without, with) = (decided(&asked, None), decided(&asked, Some(rooms)));
        prop_assert!(with.verdict >= without.verdict, "{:?} became {:?}", without.verdict, with.verdict);
        prop_assert!(with.max_output <= without.max_output);
        if asked.priority == Priority::Interactive {
            prop_assert_eq!(&with, &without);
        }
        // Whom the limit does not stop, a pace does not stop either.
        prop_assert_eq!(with.verdict == Verdict::Stop, without.verdict == Verdict::Stop);
        if with.verdict == Verdict::Wait {
            let retry = with.retry.unwrap();
            prop_assert!((1..=WAIT_SECONDS_MAX).contains(&retry.after_seconds));
            prop_assert!(retry.jitter_seconds < retry.after_seconds);
            prop_assert_eq!(with.band, Band::Red);
        }
    }

    #[test]
    fn what_is_granted_stays_below_the_level_and_more_room_is_never_worse(asked in any_asked(), rooms in [0_u32..100, 0_u32..100], more in 0_u32..50) {
        let ruling = decided(&asked, Some(rooms));
        let more_room = decided(&asked, Some(rooms.map(|room| room + more)));
        prop_assert!(more_room.verdict <= ruling.verdict);
        prop_assert!(more_room.max_output >= ruling.max_output);
        if ruling.verdict.grants() && asked.priority != Priority::Interactive {
            let used = ruling.priced.consumption.amounts.tokens.count();
            let place = usize::from(asked.priority == Priority::Batch);
            let level = u64::from(asked.taken + 5 + rooms[place]);
            prop_assert!(used == 0 || u64::from(asked.posted + asked.held) + used <= level);
        }
    }

    #[test]
    fn the_advice_is_what_is_left_and_a_call_of_that_size_is_granted(asked in any_asked(), rooms in [0_u32..100, 0_u32..100]) {
        let ruling = decided(&asked, Some(rooms));
        let advice = ruling.pace.clone().unwrap();
        if ruling.verdict.grants() && advice.max_concurrency > 0 && asked.input + asked.output > 0 {
            let used = u32::try_from(ruling.priced.consumption.amounts.tokens.count()).unwrap();
            prop_assert!(quantity(&(u64::from(used) * u64::from(advice.max_concurrency)).to_string()) <= advice.units_available);
        }
        prop_assert!(advice.units_available >= Quantity::ZERO);
        prop_assert_eq!(ruling.verdict == Verdict::Stop, ruling.band == Band::Exhausted);
    }
}

#[test]
fn the_limit_comes_before_the_pace_and_a_hold_is_waited_for_with_it() {
    let asked = Asked {
        limit: 100,
        extra: "",
        posted: 0,
        held: 0,
        taken: 0,
        input: 10,
        output: 0,
        allow_cap: false,
        priority: Priority::Batch,
        jitter: 0,
    };
    let code = |asked: &Asked| decided(asked, Some([0, 0])).reasons[0].code;
    assert_eq!(code(&asked), ReasonCode::Paced);
    assert_eq!(code(&Asked { posted: 95, ..asked.clone() }), ReasonCode::LimitReached);
    assert_eq!(code(&Asked { held: 95, ..asked.clone() }), ReasonCode::HeldByOthers);
    assert_eq!(code(&Asked { input: 101, ..asked.clone() }), ReasonCode::LargerThanLimit);
    let nothing = decided(&Asked { input: 0, posted: 50, ..asked }, Some([0, 0]));
    assert_eq!(nothing.verdict, Verdict::Allow, "what takes nothing is not slowed down");
}
