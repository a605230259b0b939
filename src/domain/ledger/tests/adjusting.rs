//! Corrections, true-ups, and periods that are closed.

use super::*;

const CALL: &str = "acme/chat unit/one";

fn adjust(number: u128, text: &str, kind: Adjustment, direction: Direction, input: u64) -> Adjust {
    let amounts = Amounts { usd: Usd::new(input.into()).unwrap(), ..Amounts::default() };
    Adjust {
        transfer: transfer_id(number),
        kind,
        direction,
        call: call(text),
        priority: Priority::Standard,
        consumption: Consumption { requests: 0, usage: usage([input, 0, 0, 0, 0, 0]), amounts },
        factors: None,
        assumed: Flags::NONE,
        occurred_at: at("2026-03-10T12:00:00Z"),
        counts_at: at("2026-03-10T12:00:00Z"),
    }
}

fn of_nobody(mut adjust: Adjust) -> Adjust {
    (adjust.call.tenant, adjust.call.feature) = (TenantId::nobody(), FeatureId::nothing());
    adjust
}

fn made(world: &mut World, adjust: Adjust) -> Result<Posted, Refusal> {
    world.answer(plain(Action::Adjust(Box::new(adjust)))).map(posted)
}

fn accounts(world: &World) -> String {
    let transfer = world.transfer();
    format!("{} <- {}", transfer.debit(), transfer.credit())
}

/// March, seen from the middle of it.
fn march(budgets: &str) -> World {
    let mut world = World::with(budgets);
    world.now = at("2026-03-15T00:00:00Z");
    world
}

#[test]
fn a_correction_takes_back_what_a_call_moved_and_names_it() {
    let mut world = march("budget t tokens 100 month\nbudget u usd 100 month");
    world.post(post(1, CALL, 40, 0)).unwrap();
    let corrects = transfer_id(1);
    made(&mut world, adjust(2, CALL, Adjustment::Correction { corrects }, Direction::Reverse, 30)).unwrap();
    assert_eq!(accounts(&world), "supply:unit/one <- usage:acme/chat");
    assert_eq!((world.transfer().corrects, world.transfer().kind.name()), (Some(corrects), "correction"));
    assert_eq!((world.counters("t"), world.counters("u")), ("10+0".to_owned(), "10+0".to_owned()));
    made(&mut world, adjust(3, CALL, Adjustment::Correction { corrects }, Direction::Forward, 5)).unwrap();
    assert_eq!(accounts(&world), "usage:acme/chat <- supply:unit/one");
    assert_eq!(world.counters("t"), "15+0");
}

#[test]
fn a_true_up_of_nobody_stands_on_the_adjustment_account_and_counts_in_the_provider_s_quota() {
    let mut world = march("budget quota tokens 100 month provider=unit\nbudget own tokens 100 month tenant=acme");
    let unknown = of_nobody(adjust(1, CALL, Adjustment::TrueUp { corrects: None }, Direction::Forward, 7));
    made(&mut world, unknown).unwrap();
    assert_eq!(accounts(&world), "adjustment:unit <- supply:unit/one");
    assert_eq!((world.counters("quota"), world.counters("own")), ("7+0".to_owned(), String::new()));
    let known = adjust(2, "nobody/chat unit/one", Adjustment::TrueUp { corrects: None }, Direction::Forward, 7);
    assert_eq!(made(&mut world, known), Err(Refusal::UnknownTenant("nobody".parse().unwrap())));
}

#[test]
fn what_belongs_to_a_closed_period_is_counted_in_the_open_one_and_says_so() {
    let mut world = march("budget t tokens 100 month");
    world.post(PostUsage { occurred_at: Some(at("2026-02-27T00:00:00Z")), ..post(1, CALL, 1, 0) }).unwrap();
    world.now = at("2026-02-28T23:59:00Z");
    world.grant(2, CALL, 20, 1);
    world.now = at("2026-03-15T00:00:00Z");
    world.close(at("2026-03-01T00:00:00Z"));
    let before = at("2026-02-27T00:00:00Z");
    let late = world.post(PostUsage { occurred_at: Some(before), ..post(3, CALL, 2, 0) }).unwrap();
    assert_eq!(flags(&late), "period_closed");
    assert_eq!((world.transfer().occurred_at, world.transfer().period_at), (before, world.now));
    let settled = world.settle(settle(2, Some(used(4, 0)), CallOutcome::Completed)).unwrap();
    assert_eq!(flags(&settled), "late period_closed");
    let corrects = transfer_id(1);
    let february = Adjust {
        occurred_at: before,
        counts_at: before,
        ..adjust(4, CALL, Adjustment::Correction { corrects }, Direction::Reverse, 1)
    };
    assert_eq!(flags(&made(&mut world, february).unwrap()), "period_closed");
    assert_eq!(world.counters("t"), "1+0 5+0", "February as it was, March with 2 and 4 more and 1 less");
}

#[test]
fn a_closed_period_never_changes_through_a_clock_that_is_behind() {
    let mut world = march("budget t tokens 100 month");
    world.now = at("2026-02-28T23:59:00Z");
    world.grant(1, CALL, 10, 0);
    // Another replica, a minute ahead, has closed February.
    world.close(at("2026-03-01T00:00:00Z"));
    let usage = world.post(post(2, CALL, 2, 0)).unwrap();
    assert_eq!((flags(&usage).as_str(), world.transfer().period_at), ("period_closed", at("2026-03-01T00:00:00Z")));
    world.grant(3, CALL, 20, 0);
    assert_eq!(world.counters("t"), "0+10 2+20", "what is granted now is held in March");
    world.settle(settle(1, Some(used(4, 0)), CallOutcome::Completed)).unwrap();
    world.settle(settle(3, Some(used(5, 0)), CallOutcome::Completed)).unwrap();
    assert_eq!(world.counters("t"), "11+0");
    world.now = at("2026-03-01T00:00:01Z");
    world.grant(4, CALL, 89, 0);
    assert!(!world.reserve(reserve(5, CALL, 1, 0)).ruling.verdict.grants(), "and March knows of all of it");
}

#[test]
fn what_has_not_happened_yet_is_not_adjusted() {
    let mut world = march("budget t tokens 100 month");
    let tomorrow = at("2026-03-16T00:00:00Z");
    let early = Adjust {
        occurred_at: tomorrow,
        ..adjust(1, CALL, Adjustment::TrueUp { corrects: None }, Direction::Forward, 1)
    };
    assert_eq!(made(&mut world, early), Err(Refusal::OccurredOutOfRange(tomorrow)));
}
