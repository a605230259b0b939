//! Every end of a reservation. `unit/one` costs a dollar a token, `unit/two` half.

use super::*;
use crate::domain::budget::verdict::{ReasonCode, Verdict};
use crate::domain::ledger::transfer::TransferKind;

const CALL: &str = "acme/chat unit/one";
const COMPLETED: CallOutcome = CallOutcome::Completed;

fn world() -> World {
    World::with("budget t tokens 100 day\nbudget u usd 100 day")
}

#[track_caller]
fn ended(answer: Result<Posted, Refusal>, as_state: ReservationState) {
    match answer {
        Err(Refusal::ReservationEnded { state, .. }) => assert_eq!(state, as_state),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_settlement_in_time_moves_what_was_held_to_what_was_used() {
    let mut world = world();
    world.grant(1, CALL, 10, 20);
    assert_eq!(world.counters("t"), "0+30");
    world.advance(60);
    let posted = world.settle(settle(1, Some(used(10, 5)), COMPLETED)).unwrap();
    assert_eq!(world.counters("t"), "15+0");
    assert_eq!(world.counters("u"), "15+0");
    assert_eq!(flags(&posted), "");
    assert_eq!(posted.hold.unwrap().consumption.amounts.tokens, tokens(30));
    assert_eq!((posted.occurred_at, posted.recorded_at), (at("2026-01-01T12:00:00Z"), world.now));
    let reservation = world.reservation(1);
    assert_eq!(reservation.state, ReservationState::Settled);
    assert_eq!((reservation.ended_at, reservation.transfer), (Some(world.now), Some(transfer_id(1_001))));
    let transfer = world.transfer();
    assert_eq!((transfer.kind, transfer.reservation), (TransferKind::Settlement, Some(reservation_id(1))));
    assert_eq!(transfer.debit().to_string(), "usage:acme/chat");
    assert_eq!(transfer.credit().to_string(), "supply:unit/one");
}

#[test]
fn a_settlement_above_the_hold_is_posted_and_marked() {
    let mut world = world();
    world.grant(1, CALL, 10, 20);
    let posted = world.settle(settle(1, Some(used(10, 150)), COMPLETED)).unwrap();
    assert_eq!(flags(&posted), "overrun");
    assert_eq!(world.counters("t"), "160+0", "what was spent is recorded, also beyond the limit");
    let refused = world.reserve(reserve(2, CALL, 1, 0));
    assert_eq!(refused.ruling.verdict, Verdict::Stop, "and the next verdict knows it");
}

#[test]
fn an_overrun_of_one_measure_alone_is_marked() {
    let mut world = World::with("budget o w:0,0,0,0,1,1 100 day");
    world.grant(1, "acme/chat local/free", 100, 20);
    let posted = world.settle(settle(1, Some(used(50, 21)), COMPLETED)).unwrap();
    assert_eq!(flags(&posted), "overrun", "fewer tokens and no dollars, but more of what the budget counts");
}

#[test]
fn a_settlement_after_expiry_is_posted_once_and_marked_late() {
    for swept in [false, true] {
        let mut world = world();
        world.grant(1, CALL, 10, 20);
        world.advance(120);
        if swept {
            world.sweep();
            assert_eq!(world.counters("t"), "");
            assert_eq!(world.reservation(1).state, ReservationState::Expired);
        }
        let posted = world.settle(settle(1, Some(used(10, 5)), COMPLETED)).unwrap();
        assert_eq!(flags(&posted), "late", "swept: {swept}");
        assert_eq!(world.counters("t"), "15+0", "the hold is given back once");
        let reservation = world.reservation(1);
        assert_eq!(reservation.state, ReservationState::Expired);
        assert_eq!(
            reservation.ended_at,
            Some(at("2026-01-01T12:02:00Z")),
            "when its time passed, not when it was seen"
        );
        ended(world.settle(settle(1, Some(used(10, 5)), COMPLETED)), ReservationState::Expired);
        assert_eq!(world.counters("t"), "15+0");
    }
}

#[test]
fn an_unswept_expiry_is_given_back_by_the_late_settlement_itself() {
    // A lane that sweeps pages may decide before it has seen every expired reservation.
    let mut world = world();
    world.grant(1, CALL, 10, 20);
    world.advance(500);
    let mut books = Books::new(Arc::clone(&world.catalogue), Arc::clone(&world.rates));
    books.reservations.insert(reservation_id(1), world.reservation(1).clone());
    books.counters = world.store.counters.clone();
    let command = plain(Action::Settle(Box::new(settle(1, Some(used(10, 5)), COMPLETED))));
    let posted = posted(books.apply(&command, world.now).unwrap());
    assert_eq!(flags(&posted), "late");
    assert!(books.counters.values().all(|counter| (counter.posted, counter.held) == (quantity("15"), quantity("0"))));
    books.expire(reservation_id(1), transfer_id(9), world.now).unwrap();
    assert!(books.counters.values().all(|counter| counter.held == quantity("0")), "and no sweep gives it back again");
}

#[test]
fn expiry_counts_at_the_instant_and_not_a_microsecond_before() {
    let mut world = World::with("budget t tokens 30 day");
    world.grant(1, CALL, 10, 20);
    world.advance(119);
    assert_eq!(world.reserve(reserve(2, CALL, 1, 0)).ruling.verdict, Verdict::Wait);
    world.advance(1);
    world.grant(3, CALL, 10, 20);
    assert_eq!(world.reservation(1).state, ReservationState::Expired);
    assert_eq!(
        world.release(release(1)).map_err(|refusal| matches!(refusal, Refusal::ReservationEnded { .. })),
        Err(true)
    );
}

#[test]
fn a_reservation_is_settled_once_but_the_same_key_gets_the_first_answer() {
    let mut world = world();
    world.grant(1, CALL, 10, 20);
    let settlement = || Action::Settle(Box::new(settle(1, Some(used(10, 5)), COMPLETED)));
    let first = world.answer(keyed("k", 1, settlement()));
    world.advance(1_000);
    let again = world.answer(keyed("k", 1, settlement()));
    assert_eq!(super::first(&again), first.as_ref().unwrap(), "in the same words, also much later");
    assert_eq!(
        world.answer(keyed("k", 2, settlement())),
        Err(Refusal::IdempotencyMismatch("k".parse().unwrap())),
        "another body under the same key"
    );
    ended(world.settle(settle(1, Some(used(10, 5)), COMPLETED)), ReservationState::Settled);
    match world.answer(keyed("other", 1, settlement())) {
        Err(Refusal::ReservationEnded { transfer, ended_at, .. }) => {
            assert_eq!((transfer, ended_at), (Some(transfer_id(1_001)), at("2026-01-01T12:00:00Z")));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.store.transfers.len(), 1);
}

#[test]
fn a_release_gives_back_once_and_for_all() {
    let mut world = world();
    world.grant(1, CALL, 10, 20);
    world.release(release(1)).unwrap();
    assert_eq!(world.counters("t"), "");
    assert!(world.release(release(1)).is_err());
    assert!(world.extend(extend(1, 120, 0)).is_err());
    world.advance(1_000);
    world.sweep();
    assert_eq!(world.counters("t"), "");
    assert!(world.store.transfers.is_empty());
}

#[test]
fn a_settlement_after_a_release_is_posted_once_and_marked_late() {
    for pause in [0, 1_000] {
        let mut world = world();
        world.grant(1, CALL, 10, 20);
        world.advance(10);
        world.release(release(1)).unwrap();
        let released_at = world.now;
        world.advance(pause);
        let posted = world.settle(settle(1, Some(used(10, 5)), COMPLETED)).unwrap();
        assert_eq!(flags(&posted), "late", "what the provider answered all the same was spent");
        assert_eq!(world.counters("t"), "15+0");
        let reservation = world.reservation(1);
        assert_eq!((reservation.state, reservation.ended_at), (ReservationState::Released, Some(released_at)));
        assert_eq!(reservation.transfer, Some(transfer_id(1_001)));
        let again = world.settle(settle(1, Some(used(10, 5)), COMPLETED)).unwrap_err();
        let told = again.to_string();
        assert!(
            told.ends_with(&format!("it was released, and then settled late by transfer {}", transfer_id(1_001))),
            "{told}"
        );
        let released_again = world.release(release(1)).unwrap_err();
        assert_eq!(released_again, again, "nothing is given back for it any more");
        assert_eq!(world.counters("t"), "15+0");
    }
}

#[test]
fn an_expiry_posts_the_estimate_once_where_a_hard_budget_says_so() {
    for (budgets, posts) in [
        ("budget t tokens 100 day posts_estimate", true),
        ("budget t tokens 100 day\nbudget u usd 100 day posts_estimate", true),
        ("budget t tokens 100 day\nbudget u usd 100 day posts_estimate soft", false),
        ("budget t tokens 100 day\nbudget u usd 100 day posts_estimate model=two", false),
        ("budget t tokens 100 day", false),
    ] {
        let mut world = World::with(budgets);
        world.grant(1, CALL, 10, 20);
        world.advance(200);
        world.sweep();
        world.sweep();
        assert_eq!(world.counters("t"), if posts { "30+0" } else { "" }, "{budgets}");
        assert_eq!(world.store.transfers.len(), usize::from(posts));
        let reservation = world.reservation(1);
        assert_eq!((reservation.state, reservation.transfer.is_some()), (ReservationState::Expired, posts));
        assert_eq!(reservation.ended_at, Some(at("2026-01-01T12:02:00Z")));
        if posts {
            let row = world.transfer();
            let flags: Vec<_> = row.priced.flags.names().collect();
            assert_eq!(flags, ["unconfirmed", "expired"]);
            assert_eq!((row.kind, row.reservation), (TransferKind::Settlement, Some(reservation_id(1))));
            assert_eq!((row.occurred_at, row.period_at), (reservation.granted_at, reservation.granted_at));
        }
    }
}

#[test]
fn a_settlement_after_an_estimate_was_posted_takes_the_estimate_back() {
    for swept in [true, false] {
        let mut world = World::with("budget t tokens 100 day posts_estimate");
        world.grant(1, CALL, 10, 20);
        world.advance(200);
        if swept {
            world.sweep();
        }
        let posted = world.settle(settle(1, Some(used(10, 2)), COMPLETED)).unwrap();
        assert_eq!(flags(&posted), "late");
        assert_eq!(world.counters("t"), "12+0", "what was used counts, and nothing twice");
        let rows: Vec<_> = world.store.transfers.iter().map(|row| (row.kind, row.direction, row.corrects)).collect();
        let estimate = world.store.transfers[0].id;
        assert_eq!(
            rows,
            [
                (TransferKind::Settlement, Direction::Forward, None),
                (TransferKind::Correction, Direction::Reverse, Some(estimate)),
                (TransferKind::Settlement, Direction::Forward, None),
            ]
        );
        assert_eq!(world.reservation(1).transfer, Some(posted.transfer));
        ended(world.settle(settle(1, Some(used(10, 5)), COMPLETED)), ReservationState::Expired);
        assert_eq!(world.counters("t"), "12+0");
    }
}

#[test]
fn an_estimate_whose_period_is_closed_counts_in_the_open_one() {
    let mut world = World::with("budget t tokens 100 day posts_estimate");
    world.now = at("2026-01-01T23:59:00Z");
    world.grant(1, CALL, 10, 20);
    world.close(at("2026-01-02T00:00:00Z"));
    world.now = at("2026-01-02T00:01:00Z");
    world.sweep();
    let row = world.transfer();
    assert_eq!((row.occurred_at, row.period_at), (at("2026-01-01T23:59:00Z"), world.now));
    assert!(row.priced.flags.contains(Flags::PERIOD_CLOSED));
}

#[test]
fn a_call_that_was_cut_off_is_charged_its_estimate_and_unconfirmed() {
    let mut world = world();
    world.grant(1, CALL, 10, 20);
    let posted = world.settle(settle(1, Some(used(12, 1)), CallOutcome::Cancelled)).unwrap();
    assert_eq!(flags(&posted), "unconfirmed overrun partial_usage");
    assert_eq!(world.counters("t"), "32+0", "the prompt as it was told, the output as it was estimated");
    world.grant(2, CALL, 10, 20);
    let whole = Settle { is_partial: Some(false), ..settle(2, Some(used(10, 1)), CallOutcome::Cancelled) };
    assert_eq!(flags(&world.settle(whole).unwrap()), "");
    let partial = PostUsage { is_partial: Some(true), ..post(3, CALL, 1, 1) };
    assert_eq!(flags(&world.post(partial).unwrap()), "unconfirmed partial_usage");
    assert_eq!(world.counters("t"), "45+0", "without a reservation there is no estimate to charge");
}

#[test]
fn another_tenants_reservation_is_unknown() {
    let mut world = world();
    world.grant(1, CALL, 10, 20);
    let unknown = Err(Refusal::UnknownReservation(reservation_id(1)));
    let other = Some("beta".parse::<TenantId>().unwrap());
    let settlement = settle(1, Some(used(1, 1)), COMPLETED);
    assert_eq!(world.settle(Settle { tenant: other.clone(), ..settlement.clone() }), unknown);
    assert_eq!(world.release(Release { tenant: other.clone(), ..release(1) }).map(|()| unreachable!()), unknown);
    assert_eq!(world.extend(Extend { tenant: other, ..extend(1, 9, 9) }).map(|_| unreachable!()), unknown);
    assert_eq!(
        world.settle(settle(9, Some(used(1, 1)), COMPLETED)),
        Err(Refusal::UnknownReservation(reservation_id(9)))
    );
    assert_eq!(world.counters("t"), "0+30");
    assert!(world.settle(Settle { tenant: Some("acme".parse().unwrap()), ..settlement }).is_ok());
}

#[test]
fn a_call_without_usage_is_charged_by_its_outcome() {
    let mut world = World::with("budget t tokens 1000 day\nbudget u usd 1000 day\nbudget r requests 9 day");
    for number in 1..=4 {
        world.grant(number, CALL, 10, 20);
    }
    let answer = world.settle(settle(1, None, COMPLETED));
    assert_eq!(answer, Err(Refusal::UsageRequired));
    assert_eq!(world.reservation(1).state, ReservationState::Open, "and can be settled properly");

    let posted = world.settle(settle(2, None, CallOutcome::TimedOut)).unwrap();
    assert_eq!((flags(&posted).as_str(), posted.priced.consumption.amounts.tokens), ("unconfirmed", tokens(30)));
    let posted = world.settle(settle(3, None, CallOutcome::Cancelled)).unwrap();
    assert_eq!((flags(&posted).as_str(), posted.priced.consumption.amounts.tokens), ("unconfirmed", tokens(30)));
    assert_eq!(
        (world.counters("t"), world.counters("u"), world.counters("r")),
        ("60+60".into(), "60+60".into(), "2+2".into())
    );

    let posted = world.settle(settle(4, None, CallOutcome::Failed)).unwrap();
    assert_eq!(flags(&posted), "");
    assert_eq!(
        (world.counters("t"), world.counters("u"), world.counters("r")),
        ("60+30".into(), "60+30".into(), "3+1".into())
    );
}

#[test]
fn a_failed_call_pays_no_fee_and_emits_nothing() {
    let mut world = World::with("budget u usd 10 day\nbudget r requests 10 day\nbudget g gco2e 10 day");
    world.grant(1, "acme/chat openai/search", 0, 0);
    assert_eq!(world.counters("u"), "0+0.012");
    let failed = Settle {
        report: CallReport { latency_ms: Some(900), ..report(CallOutcome::Failed) },
        ..settle(1, None, COMPLETED)
    };
    let posted = world.settle(failed).unwrap();
    assert_eq!(posted.priced.consumption.amounts, Amounts::default());
    assert_eq!(
        (world.counters("u"), world.counters("g"), world.counters("r")),
        (String::new(), String::new(), "1+0".into())
    );
    world.grant(2, "acme/chat openai/search", 0, 0);
    world.settle(settle(2, Some(used(0, 0)), CallOutcome::Failed)).unwrap();
    assert_eq!(world.counters("u"), "0.012+0", "unless it says that it used nothing: then it was served");
}

#[test]
fn usage_is_charged_as_reported_whatever_the_outcome() {
    for outcome in CallOutcome::ALL {
        let mut world = world();
        world.grant(1, CALL, 10, 20);
        let posted = world.settle(settle(1, Some(used(10, 3)), outcome)).unwrap();
        assert_eq!((flags(&posted).as_str(), world.counters("t").as_str()), ("", "13+0"), "{outcome:?}");
    }
}

#[test]
fn another_model_that_served_is_posted_to_its_own_budgets() {
    let mut world = World::with(
        "budget one tokens 100 day model=one
        budget two usd 100 day model=two
        budget each tokens 100 day each=model
        budget all usd 100 day
        budget here requests 10 day region=eu-central",
    );
    world.grant(1, CALL, 10, 20);
    let settlement = Settle {
        served_model: Some("two".parse().unwrap()),
        served_region: Some("eu-central".parse().unwrap()),
        ..settle(1, Some(used(10, 6)), COMPLETED)
    };
    let posted = world.settle(settlement).unwrap();
    assert_eq!(world.counters("one"), "", "given back where it was held");
    assert_eq!(world.counters("two"), "8+0", "16 tokens at half a dollar");
    assert_eq!(world.counters("each"), "16+0");
    assert_eq!(world.counters("all"), "8+0");
    assert_eq!(world.counters("here"), "1+0");
    let transfer = world.transfer();
    assert_eq!(transfer.credit().to_string(), "supply:unit/two");
    assert_eq!(transfer.requested_model, Some("one".parse().unwrap()), "both are kept");
    let budgets: Vec<_> = posted.budgets.iter().map(|state| state.budget.as_str()).collect();
    assert_eq!(budgets, ["two", "each", "all", "here"], "the answer shows those it was posted to");

    world.grant(2, CALL, 10, 20);
    world
        .settle(Settle { served_model: Some("one".parse().unwrap()), ..settle(2, Some(used(1, 1)), COMPLETED) })
        .unwrap();
    assert_eq!(world.transfer().requested_model, None, "the same model is no other model");
}

#[test]
fn a_settlement_belongs_to_the_period_of_its_grant() {
    let mut world = world();
    world.now = at("2026-01-01T23:59:59Z");
    world.grant(1, CALL, 10, 20);
    world.advance(1);
    world.grant(2, CALL, 1, 2);
    assert_eq!(world.counters("t"), "0+30 0+3", "a request exactly on the boundary belongs to the new period");
    world.settle(settle(1, Some(used(10, 5)), COMPLETED)).unwrap();
    assert_eq!(world.counters("t"), "15+0 0+3");
    assert_eq!(world.transfer().period_at, at("2026-01-01T23:59:59Z"));
}

#[test]
fn time_is_always_extended_and_never_shortened() {
    let mut world = world();
    world.grant(1, CALL, 10, 20);
    let extension = world.extend(extend(1, 60, 0)).unwrap();
    assert_eq!(extension.expires_at, at("2026-01-01T12:02:00Z"), "never shortened");
    world.advance(100);
    assert_eq!(world.extend(extend(1, 60, 0)).unwrap().expires_at, at("2026-01-01T12:02:40Z"));

    world.change("tenant acme Etc/UTC\nbudget t tokens 5 day thresholds=0.5\nbudget u usd 100 day");
    let extension = world.extend(extend(1, 600, 0)).unwrap();
    assert_eq!(extension.ruling.verdict, Verdict::Allow, "also when the budget was lowered since");
    assert_eq!(extension.ruling.max_output, Some(tokens(20)));
    let reasons: Vec<_> = extension.ruling.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(reasons, [ReasonCode::NearLimit], "what warns is said, what would refuse is not");
    assert_eq!(world.counters("t"), "0+30");
    world.advance(601);
    assert!(world.extend(extend(1, 60, 0)).is_err(), "what has expired stays expired");
}

#[test]
fn more_tokens_are_granted_beside_what_others_hold_or_nothing_changes() {
    let mut world = world();
    world.grant(1, CALL, 10, 20);
    world.grant(2, CALL, 10, 20);
    let extension = world.extend(extend(1, 300, 40)).unwrap();
    assert_eq!((extension.ruling.verdict, extension.ruling.max_output), (Verdict::Allow, Some(tokens(60))));
    assert_eq!(extension.expires_at, at("2026-01-01T12:05:00Z"));
    assert_eq!(world.counters("t"), "0+100", "to exactly the limit");
    let before = world.reservation(1).clone();
    let extension = world.extend(extend(1, 900, 1)).unwrap();
    assert_eq!(extension.ruling.verdict, Verdict::Wait, "one more than the limit, until the others return");
    assert_eq!(extension.ruling.max_output, None);
    assert_eq!(extension.expires_at, before.expires_at, "no more tokens, then no more time either");
    assert_eq!(*world.reservation(1), before);
    assert_eq!(world.counters("t"), "0+100");
    world.grant(3, "acme/chat local/free", 0, 0);
    world.release(release(1)).unwrap();
    assert_eq!(world.counters("t"), "0+30", "what was extended is given back whole");
}

#[test]
fn more_output_counts_when_it_is_asked_and_the_reservation_moves_there() {
    let mut world = World::with("budget h tokens 30 hour");
    world.now = at("2026-01-01T12:59:00Z");
    world.grant(1, CALL, 10, 10);
    world.post(post(1, CALL, 5, 0)).unwrap();
    let full = world.extend(extend(1, 120, 6)).unwrap();
    assert_eq!(
        (full.ruling.verdict, full.ruling.retry.unwrap().not_before),
        (Verdict::Wait, at("2026-01-01T13:00:00Z"))
    );
    assert_eq!(world.counters("h"), "5+20");
    world.advance(61);
    let extension = world.extend(extend(1, 120, 0)).unwrap();
    assert_eq!(extension.budgets[0].period.end, Some(at("2026-01-01T13:00:00Z")), "more time moves nothing");
    assert_eq!(world.counters("h"), "5+20");
    assert_eq!(world.extend(extend(1, 120, 6)).unwrap().ruling.verdict, Verdict::Allow, "the new hour is empty");
    assert_eq!(world.counters("h"), "5+0 0+26");
    assert_eq!(world.extend(extend(1, 120, 5)).unwrap().ruling.verdict, Verdict::Stop, "31 of 30, in any hour");
    let posted = world.settle(settle(1, Some(used(10, 16)), COMPLETED)).unwrap();
    assert_eq!(posted.occurred_at, at("2026-01-01T12:59:00Z"), "it happened when it was granted");
    assert_eq!((world.transfer().period_at, flags(&posted)), (at("2026-01-01T13:00:01Z"), String::new()));
    assert_eq!(world.counters("h"), "5+0 26+0");
}

#[test]
fn what_is_over_lends_nothing_to_an_extension() {
    let mut world = World::with("budget h tokens 100 hour");
    world.now = at("2026-01-01T12:59:00Z");
    world.grant(1, CALL, 0, 20);
    world.advance(60);
    world.grant(2, CALL, 0, 100);
    let extension = world.extend(extend(1, 120, 80)).unwrap();
    assert_eq!(extension.ruling.verdict, Verdict::Wait, "this hour is full, whatever the last one left over");
    assert_eq!(world.counters("h"), "0+20 0+100");
}

#[test]
fn an_extension_of_a_sliding_budget_is_weighed_and_counted_in_the_window_of_now() {
    let mut world = World::with("budget s tokens 100 sliding:600");
    world.grant(1, CALL, 0, 10);
    world.extend(extend(1, 86_400, 0)).unwrap();
    world.advance(300);
    world.post(post(2, CALL, 0, 80)).unwrap();
    let extension = world.extend(extend(1, 900, 11)).unwrap();
    assert!(!extension.ruling.verdict.grants(), "10 and 80 are in the window: 11 more would be 101");
    assert_eq!(world.extend(extend(1, 900, 10)).unwrap().ruling.verdict, Verdict::Allow);
    world.advance(400);
    // The grant is 700 seconds old, but what it grew to counts since it grew.
    assert!(!world.extend(extend(1, 900, 1)).unwrap().ruling.verdict.grants());
    assert_eq!(world.reserve(reserve(3, CALL, 0, 1)).ruling.verdict, Verdict::Wait);
    world.advance(210);
    assert_eq!(world.extend(extend(1, 900, 80)).unwrap().ruling.verdict, Verdict::Allow, "all else has left");
    assert!(!world.reserve(reserve(4, CALL, 0, 1)).ruling.verdict.grants(), "and 100 of 100 count from now on");
}

#[test]
fn a_call_that_grows_is_one_more_where_it_was_not_counted() {
    for period in ["hour", "sliding:3600"] {
        let mut world = World::with(&format!("budget r requests 1 {period}"));
        world.now = at("2026-01-01T12:00:00Z");
        world.grant(1, CALL, 0, 10);
        world.extend(extend(1, 86_400, 0)).unwrap();
        world.change(&format!("tenant acme Etc/UTC\nbudget r requests 0 {period}"));
        assert_eq!(
            world.extend(extend(1, 900, 1)).unwrap().ruling.verdict,
            Verdict::Allow,
            "no more calls than before"
        );
        world.change(&format!("tenant acme Etc/UTC\nbudget r requests 1 {period}"));
        world.advance(3_660);
        world.grant(2, CALL, 0, 10);
        let before = world.reservation(1).clone();
        let extension = world.extend(extend(1, 900, 1)).unwrap();
        assert_eq!(extension.ruling.verdict, Verdict::Wait, "{period}: another call has the only place");
        assert_eq!(*world.reservation(1), before);
        world.release(release(2)).unwrap();
        assert_eq!(world.extend(extend(1, 900, 1)).unwrap().ruling.verdict, Verdict::Allow, "{period}");
        assert!(!world.reserve(reserve(3, CALL, 0, 1)).ruling.verdict.grants(), "{period}: it has moved there");
    }
}

#[test]
fn the_life_of_a_reservation_is_bounded() {
    let mut world = world();
    world.grant(1, CALL, 1, 1);
    world.extend(extend(1, 86_400, 0)).unwrap();
    world.advance(86_399);
    world.extend(extend(1, 86_400, 0)).unwrap();
    world.advance(86_000);
    let told = world.extend(extend(1, 402, 0)).unwrap_err();
    let lives_until = at("2026-01-03T12:00:00Z");
    assert!(matches!(told, Refusal::LivesTooLong { lives_until: known, .. } if known == lives_until));
    assert!(told.to_string().ends_with("settle it and ask for a new verdict for what goes on"), "{told}");
    assert_eq!(world.extend(extend(1, 401, 0)).unwrap().expires_at, lives_until);
}
