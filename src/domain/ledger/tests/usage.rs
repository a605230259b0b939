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

/// A usage object of counts.
fn raw(pairs: &[(&str, u64)]) -> ReportedUsage {
    let counts = pairs.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect();
    ReportedUsage::Provider(RawUsage::new(counts))
}

/// One with a word that says how it was served.
fn served_as(word: &str) -> ReportedUsage {
    let counts = [("prompt_tokens", 10), ("completion_tokens", 5)].map(|(key, count)| (key.to_owned(), count));
    let words = [("service_tier".to_owned(), word.to_owned())];
    ReportedUsage::Provider(RawUsage::with_words(counts.into(), words.into()))
}

#[test]
fn a_providers_own_usage_object_is_read_and_what_was_not_read_is_named_and_flagged() {
    let mut world = world();
    for number in 1..=2 {
        world.grant(number, "acme/chat openai/gpt-4o", 1, 1);
    }
    let plain = raw(&[("prompt_tokens", 10), ("completion_tokens", 5), ("prompt_tokens_details.cached_tokens", 4)]);
    let posted = world.settle(settle(1, Some(plain), COMPLETED)).unwrap();
    assert_eq!(posted.priced.consumption.usage, usage([6, 4, 0, 0, 5, 0]));
    assert!(posted.unread.is_empty() && !posted.priced.flags.contains(Flags::USAGE_UNREAD));
    let more = raw(&[("prompt_tokens", 10), ("completion_tokens", 5), ("prompt_tokens_details.audio_tokens", 4)]);
    let posted = world.settle(settle(2, Some(more), COMPLETED)).unwrap();
    assert_eq!(posted.unread.iter().collect::<Vec<_>>(), ["prompt_tokens_details.audio_tokens"]);
    assert!(posted.priced.flags.contains(Flags::USAGE_UNREAD));
}

#[test]
fn a_usage_object_that_cannot_be_read_posts_the_estimate_as_unconfirmed_unless_asked_to_be_strict() {
    for outcome in [COMPLETED, CallOutcome::Failed, CallOutcome::Cancelled, CallOutcome::TimedOut] {
        let mut world = world();
        world.grant(1, "acme/chat openai/gpt-4o", 10, 20);
        let settlement = settle(1, Some(raw(&[("apples", 3)])), outcome);
        let strict = world.settle(Settle { is_strict: true, ..settlement.clone() });
        assert!(matches!(strict, Err(Refusal::BadUsage(_))), "{strict:?}");
        assert_eq!(world.counters("t"), "0+30");
        let posted = world.settle(settlement).unwrap();
        assert_eq!(posted.priced.consumption, posted.hold.unwrap().consumption, "{outcome:?}");
        assert!(posted.priced.flags.contains(Flags::UNCONFIRMED));
        assert!(posted.unreadable.unwrap().to_string().contains("keys seen: apples"));
        assert_eq!(world.counters("t"), "30+0");
    }
}

#[test]
fn usage_without_an_estimate_that_cannot_be_read_is_refused_and_nothing_is_posted() {
    let mut world = world();
    let refused = world.post(PostUsage { usage: raw(&[("apples", 3)]), ..post(1, CALL, 0, 0) });
    assert!(matches!(refused, Err(Refusal::BadUsage(_))), "{refused:?}");
}

#[test]
fn the_tier_that_served_is_what_the_caller_says_then_the_object_then_what_was_asked() {
    let falls_back = |reported: Option<ServiceTier>, object: &str| {
        let mut world = world();
        world.grant(1, "acme/chat openai/gpt-4o", 10, 20);
        let settlement = Settle { service_tier: reported, ..settle(1, Some(served_as(object)), COMPLETED) };
        world.settle(settlement).unwrap().priced.flags.contains(Flags::SERVICE_TIER_FALLBACK)
    };
    assert!(!falls_back(None, "default"));
    assert!(falls_back(None, "flex"), "no price of that tier is in these books");
    assert!(!falls_back(Some(ServiceTier::Standard), "flex"));
    assert!(falls_back(Some(ServiceTier::Batch), "default"));
}

#[test]
fn a_settlement_that_another_provider_served_costs_and_counts_there() {
    let mut world = world();
    world.grant(1, "acme/chat openai/gpt-4o", 10, 20);
    let other = Settle {
        served_provider: Some("anthropic".parse().unwrap()),
        served_model: Some("claude-sonnet-4-5".parse().unwrap()),
        ..settle(1, Some(raw(&[("input_tokens", 10), ("output_tokens", 5)])), COMPLETED)
    };
    world.settle(other).unwrap();
    let row = world.transfer();
    assert_eq!((row.call.provider.as_str(), row.call.model.as_str()), ("anthropic", "claude-sonnet-4-5"));
}
