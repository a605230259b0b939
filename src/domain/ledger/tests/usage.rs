//! Usage that is posted without a reservation, and what is read of it.

use rust_decimal::dec;

use super::*;
use crate::domain::ledger::transfer::TransferKind;
use crate::domain::usage::provider::RawUsage;

const CALL: &str = "acme/chat unit/one";
const COMPLETED: CallOutcome = CallOutcome::Completed;

fn world() -> World {
    World::with("budget t tokens 100 day\nbudget u usd 100 day")
}

#[test]
fn usage_without_a_reservation_is_always_posted() {
    let mut world = world();
    let posted = world.post(post(1, CALL, 100, 50)).unwrap();
    assert_eq!((flags(&posted).as_str(), world.counters("t").as_str()), ("", "150+0"));
    assert_eq!((posted.hold, posted.reservation), (None, None));
    assert_eq!(world.transfer().kind, TransferKind::Usage);
    let unknown = world.post(post(2, "nobody/chat unit/one", 1, 1));
    assert_eq!(unknown, Err(Refusal::UnknownTenant("nobody".parse().unwrap())));
}

#[test]
fn usage_belongs_to_the_period_in_which_it_occurred_within_bounds() {
    let mut world = world();
    let occurred = |number, instant: &str| PostUsage { occurred_at: Some(at(instant)), ..post(number, CALL, 1, 1) };
    world.post(occurred(1, "2025-12-31T23:59:59Z")).unwrap();
    world.post(occurred(2, "2026-01-01T00:00:00Z")).unwrap();
    world.post(occurred(3, "2026-01-01T12:05:00Z")).unwrap();
    world.post(occurred(4, "2024-11-27T12:00:00Z")).unwrap();
    assert_eq!(world.counters("t"), "2+0 2+0 4+0");
    for outside in [
        "2026-01-01T12:05:00.000001Z",
        "2024-11-27T11:59:59.999999Z",
        "1700-01-01T00:00:00Z",
        "+262000-01-01T00:00:00Z",
    ] {
        assert_eq!(world.post(occurred(9, outside)), Err(Refusal::OccurredOutOfRange(at(outside))));
    }
}

#[test]
fn a_sum_of_calls_pays_the_fee_of_each_and_the_tier_of_their_mean() {
    let mut world = World::with("budget r requests 100 day");
    let search = PostUsage { requests: 10, ..post(1, "acme/chat openai/search", 1_000_000, 0) };
    assert_eq!(
        world.post(search).unwrap().priced.consumption.amounts.usd.decimal(),
        dec!(1.12),
        "1 and ten times 0.012"
    );
    assert_eq!(world.counters("r"), "10+0");
    let sonnet = |number, requests, input| PostUsage {
        requests,
        ..post(number, "acme/chat anthropic/claude-sonnet-4-5", input, 0)
    };
    let cost =
        |posted: Posted| (posted.priced.consumption.amounts.usd.decimal(), posted.priced.provenance.tier_from.count());
    assert_eq!(
        cost(world.post(sonnet(2, 10, 2_000_000)).unwrap()),
        (dec!(6), 0),
        "ten calls of 200,000 are short ones"
    );
    assert_eq!(
        cost(world.post(sonnet(3, 10, 2_000_001)).unwrap()),
        (dec!(12.000006), 200_001),
        "the mean is rounded up"
    );
    assert_eq!(cost(world.post(sonnet(4, 1, 2_000_000)).unwrap()), (dec!(12), 200_001));
    let grams = |world: &mut World, number, requests| {
        let slow = CallReport { latency_ms: Some(1), ..report(COMPLETED) };
        let post = PostUsage { requests, report: slow, ..post(number, "acme/chat openai/gpt-4o", 0, 100_000) };
        world.post(post).unwrap().priced.consumption.amounts.gco2e().unwrap()
    };
    assert!(
        grams(&mut world, 5, 100) > grams(&mut world, 6, 1),
        "the duration of one call does not bound the work of a hundred"
    );
}

#[test]
fn a_providers_own_usage_object_is_read_or_refused_and_nothing_is_posted() {
    let mut world = world();
    world.grant(1, "acme/chat openai/gpt-4o", 1, 1);
    let raw = |pairs: &[(&str, u64)]| {
        Some(ReportedUsage::Provider(RawUsage::new(
            pairs.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect(),
        )))
    };
    let inconsistent =
        raw(&[("prompt_tokens", 10), ("completion_tokens", 1), ("prompt_tokens_details.cached_tokens", 11)]);
    assert!(matches!(world.settle(settle(1, inconsistent, COMPLETED)), Err(Refusal::BadUsage(_))));
    assert!(matches!(world.settle(settle(1, raw(&[("apples", 3)]), COMPLETED)), Err(Refusal::BadUsage(_))));
    assert_eq!(world.counters("t"), "0+2");
    let posted = world.settle(settle(
        1,
        raw(&[("prompt_tokens", 10), ("completion_tokens", 5), ("prompt_tokens_details.cached_tokens", 4)]),
        COMPLETED,
    ));
    assert_eq!(posted.unwrap().priced.consumption.usage, usage([6, 4, 0, 0, 5, 0]));
}
