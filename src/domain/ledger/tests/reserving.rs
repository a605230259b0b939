//! Pre-flight: who may ask, what is held, and what is remembered.

use super::*;
use crate::domain::budget::verdict::Verdict;

const CALL: &str = "acme/chat unit/one";

#[test]
fn unknown_and_archived_tenants_start_nothing_but_what_is_open_still_ends() {
    let mut world = World::new("tenant acme Etc/UTC\nbudget t tokens 100 day");
    world.grant(1, CALL, 1, 1);
    let refused = |world: &mut World, text: &str| {
        let answer = world.answer(plain(Action::Reserve(Box::new(reserve(2, text, 1, 1)))));
        let tenant = text.split('/').next().unwrap().parse().unwrap();
        assert_eq!(answer, Err(Refusal::UnknownTenant(tenant)));
    };
    refused(&mut world, "nobody/chat unit/one");
    world.change("tenant acme Etc/UTC archived\nbudget t tokens 100 day");
    refused(&mut world, CALL);
    world.extend(extend(1, 600, 1)).unwrap();
    world.settle(settle(1, Some(used(1, 2)), CallOutcome::Completed)).unwrap();
    world.post(post(5, CALL, 1, 1)).unwrap();
    assert_eq!(world.counters("t"), "5+0", "and what was spent is recorded");
}

#[test]
fn a_strict_tenant_is_refused_a_model_without_a_price_but_its_spending_is_recorded() {
    let mut world = World::new("tenant acme Etc/UTC strict\nbudget u usd 100 day");
    let answer = world.answer(plain(Action::Reserve(Box::new(reserve(1, "acme/chat openai/unheard", 1, 1)))));
    assert_eq!(
        answer,
        Err(Refusal::UnpricedModel { provider: "openai".parse().unwrap(), model: "unheard".parse().unwrap() })
    );
    assert!(world.store.reservations.is_empty() && world.store.refusals.is_empty());
    let posted = world.post(post(1, "acme/chat openai/unheard", 1_000_000, 0)).unwrap();
    assert_eq!(flags(&posted), "unpriced_model model_factor_fallback");
    assert_eq!(world.counters("u"), "2.5+0", "at the worst known price of the provider");
    world.grant(2, "acme/chat openai/gpt-4o", 1, 1);
}

#[test]
fn a_strict_tenant_is_refused_a_call_without_a_factor_but_its_emissions_are_recorded() {
    let mut world = World::new("tenant acme Etc/UTC strict\nbudget g gco2e 100000 day");
    let nowhere = "acme/chat openai/gpt-4o region=atlantis";
    let Err(refusal) = world.answer(plain(Action::Reserve(Box::new(reserve(1, nowhere, 1, 1))))) else {
        panic!("granted by a guess")
    };
    assert_eq!(
        refusal.to_string(),
        "no emission factor is known for model `gpt-4o` of provider `openai` in region `atlantis`"
    );
    assert!(world.store.reservations.is_empty() && world.store.refusals.is_empty());
    let posted = world.post(post(1, nowhere, 1000, 1000)).unwrap();
    assert_eq!(flags(&posted), "grid_factor_fallback", "by the world's grid");
    assert!(!posted.priced.consumption.amounts.gco2e().unwrap().decimal().is_zero());
    world.grant(2, "acme/chat openai/gpt-4o", 1, 1);
    world.grant(3, "acme/chat openai/gpt-4o region=us-east", 1, 1);
}

#[test]
fn asking_without_holding_changes_nothing() {
    let mut world = World::with("budget t tokens 10 day");
    let ruled = world.reserve(Reserve { hold: false, ..reserve(1, CALL, 5, 5) });
    assert_eq!((ruled.ruling.verdict, ruled.granted), (Verdict::Allow, None));
    let ruled = world.reserve(Reserve { hold: false, ..reserve(1, CALL, 5, 6) });
    assert_eq!(ruled.ruling.verdict, Verdict::Stop);
    assert!(world.store.reservations.is_empty() && world.store.refusals.is_empty());
    assert_eq!(world.counters("t"), "");
}

#[test]
fn a_cap_holds_what_it_grants_and_says_so_to_the_end() {
    let mut world = World::with("budget t tokens 10 day");
    let ruled = world.reserve(Reserve { allow_cap: true, ..reserve(1, CALL, 5, 50) });
    assert_eq!((ruled.ruling.verdict, ruled.ruling.max_output), (Verdict::Cap, Some(tokens(5))));
    assert!(ruled.ruling.priced.flags.contains(Flags::CAPPED));
    assert_eq!(world.counters("t"), "0+10");
    assert_eq!(world.reservation(1).hold.consumption.usage, usage([5, 0, 0, 0, 5, 0]));
    let posted = world.settle(settle(1, Some(used(5, 5)), CallOutcome::Completed)).unwrap();
    assert_eq!(flags(&posted), "capped");
}

#[test]
fn the_answer_shows_each_budget_with_this_call_in_it() {
    let mut world =
        World::with("budget t tokens 100 day\nbudget s tokens 50 sliding:600 soft\nbudget r requests 9 day each=run");
    world.post(post(1, CALL, 30, 0)).unwrap();
    let ruled = world.reserve(reserve(1, "acme/chat unit/one run=r1", 5, 5));
    let state = |state: &crate::domain::ledger::outcome::BudgetState| {
        format!(
            "{}@{} {}+{} of {}, {} left",
            state.budget,
            state.key.as_str(),
            state.counter.posted,
            state.counter.held,
            state.limit,
            state.headroom()
        )
    };
    let states: Vec<_> = ruled.budgets.iter().map(state).collect();
    assert_eq!(states, ["t@ 30+10 of 100, 60 left", "s@ 30+10 of 50, 10 left", "r@acme/r1 0+1 of 9, 8 left"]);
    let sliding = ruled.budgets[1].period;
    assert_eq!((sliding.start, sliding.end), (at("2026-01-01T11:50:00Z"), Some(at("2026-01-01T12:10:10Z"))));
}

#[test]
fn every_verdict_that_did_not_grant_is_kept_with_its_numbers() {
    let mut world = World::with("budget t tokens 20 day");
    world.answer(plain(Action::PostUsage(Box::new(post(90, CALL, 15, 0))))).unwrap();
    let refused = ruled(world.answer(keyed("k", 1, Action::Reserve(Box::new(reserve(1, CALL, 5, 6))))));
    assert_eq!(world.store.refusals.len(), 1);
    let kept = &world.store.refusals[0];
    assert_eq!(
        (kept.id, kept.refused_at, kept.key.as_ref().map(|key| key.as_str())),
        (reservation_id(1), world.now, Some("k"))
    );
    assert_eq!(kept.ruled, refused);
    world.answer(keyed("k", 1, Action::Reserve(Box::new(reserve(2, CALL, 5, 6))))).unwrap();
    assert_eq!(world.store.refusals.len(), 1, "a retry is not a second refusal");
    world.reserve(reserve(3, CALL, 5, 6));
    assert_eq!(world.store.refusals[1].key, None);
}

#[test]
fn a_budget_for_each_counts_each_apart() {
    for (each, same, other) in [
        ("run", "acme/chat unit/one run=r1", "acme/chat unit/one run=r2"),
        ("agent", "acme/chat unit/one agent=a", "acme/chat unit/one agent=b"),
        ("feature", "acme/chat unit/one", "acme/search unit/one"),
        ("tenant", "acme/chat unit/one", "beta/chat unit/one"),
        ("team", "acme/chat unit/one team=x", "acme/chat unit/one team=y"),
        ("run", "acme/chat unit/one run=r1", "beta/chat unit/one run=r1"),
        ("region", "acme/chat unit/one region=eu", "acme/chat unit/one region=us"),
    ] {
        let mut world =
            World::new(&format!("tenant acme Etc/UTC\ntenant beta Etc/UTC\nbudget e tokens 10 once each={each}"));
        world.grant(1, same, 5, 5);
        assert!(!world.reserve(reserve(2, same, 1, 0)).ruling.verdict.grants(), "{each}");
        world.grant(3, other, 5, 5);
        assert_eq!(world.counters("e"), "0+10 0+10", "{each}");
    }
}

#[test]
fn a_call_without_the_dimension_is_not_governed_by_a_budget_for_each() {
    let mut world = World::with("budget r usd 1 once each=run\nbudget g usd 1 once each=region");
    world.grant(1, CALL, 50, 50);
    assert_eq!((world.counters("r"), world.counters("g")), (String::new(), String::new()));
    let ruled = world.reserve(reserve(2, "acme/chat unit/one run=r", 2, 0));
    assert_eq!(ruled.ruling.verdict, Verdict::Stop);
}

#[test]
fn the_same_key_twice_in_one_batch_is_one_effect() {
    let mut world = World::with("budget t tokens 100 day");
    let ask = |number| keyed("k", 1, Action::Reserve(Box::new(reserve(number, CALL, 5, 5))));
    let other = keyed("k", 2, Action::Reserve(Box::new(reserve(3, CALL, 1, 1))));
    let answers = world.batch(&[ask(1), ask(2), other]);
    assert_eq!(answers[0].as_ref(), Ok(first(&answers[1])));
    assert_eq!(answers[2], Err(Refusal::IdempotencyMismatch("k".parse().unwrap())));
    assert_eq!(world.store.reservations.len(), 1);
    assert_eq!(world.counters("t"), "0+10");
}

#[test]
fn keys_of_two_spaces_do_not_meet() {
    let mut world = World::with("budget t tokens 100 day");
    let ask = |space: Option<&str>, number| {
        let mut command = keyed("k", 1, Action::Reserve(Box::new(reserve(number, CALL, 5, 5))));
        command.idempotency.as_mut().unwrap().space = KeySpace(space.map(|tenant| tenant.parse().unwrap()));
        command
    };
    world.batch(&[ask(None, 1), ask(Some("acme"), 2), ask(Some("beta"), 3)]);
    assert_eq!(world.store.reservations.len(), 3);
}

#[test]
fn a_command_that_is_refused_changes_nothing_and_is_not_remembered() {
    let mut world = World::with("budget t tokens 100 day");
    let ask = || keyed("k", 1, Action::Reserve(Box::new(reserve(1, "beta/chat unit/one", 5, 5))));
    assert!(world.answer(ask()).is_err());
    assert!(world.store.answers.is_empty());
    world.change("tenant acme Etc/UTC\ntenant beta Etc/UTC\nbudget t tokens 100 day");
    assert!(
        ruled(world.answer(ask())).granted.is_some(),
        "an error is not an answer: it may be mended and asked again"
    );
}

/// Each row: the limit, what is used and held of it before, what asks, and its answer; then whether the same key is answered
/// anew a second later, in a minute's time, and after the reset.
#[test]
fn a_refusal_is_repeated_until_its_time_has_passed_and_what_changed_the_books_for_good() {
    for (what, used, held, hold, verdict, anew) in [
        ("granted", 0, 0, true, Verdict::Allow, [false, false, false]),
        ("a question that was allowed", 0, 0, false, Verdict::Allow, [true, true, true]),
        ("in the way of holds", 0, 95, true, Verdict::Wait, [true, true, true]),
        ("used up", 95, 0, true, Verdict::Stop, [false, false, true]),
        ("a question that was stopped", 95, 0, false, Verdict::Stop, [false, false, true]),
    ] {
        let mut world = World::with("budget t tokens 100 day");
        if used > 0 {
            world.answer(plain(Action::PostUsage(Box::new(post(90, CALL, used, 0))))).unwrap();
        }
        if held > 0 {
            world.grant(91, CALL, held, 0);
        }
        let mut number = 0;
        let mut ask = |world: &mut World| {
            number += 1;
            let reserve = Reserve { hold, ..reserve(number, CALL, 5, 5) };
            world.answer(keyed("k", 1, Action::Reserve(Box::new(reserve))))
        };
        assert_eq!(ruled(ask(&mut world)).ruling.verdict, verdict, "{what}");
        for (seconds, is_anew) in [1, 60, 86_400].into_iter().zip(anew) {
            world.advance(seconds);
            let answer = ask(&mut world).unwrap();
            assert_eq!(!matches!(answer, Outcome::Repeated(_)), is_anew, "{what}, {seconds} s later: {answer:?}");
        }
    }
}

#[test]
fn a_stop_that_no_reset_ends_is_decided_anew_each_time() {
    let mut world = World::with("budget t tokens 100 day");
    let ask = |number| keyed("k", 1, Action::Reserve(Box::new(reserve(number, CALL, 500, 5))));
    for number in 1..4 {
        let stopped = ruled(world.answer(ask(number)));
        assert_eq!((stopped.ruling.verdict, stopped.ruling.resets_at), (Verdict::Stop, None), "larger than the limit");
        world.advance(60);
    }
    let other = keyed("k", 2, Action::Reserve(Box::new(reserve(9, CALL, 1, 1))));
    assert!(ruled(world.answer(other)).granted.is_some(), "nothing was done under the key");
}

#[test]
fn a_key_that_was_told_to_wait_is_granted_once_and_then_for_good() {
    let mut world = World::with("budget t tokens 100 day");
    world.grant(9, CALL, 95, 0);
    let ask = |number| keyed("k", 1, Action::Reserve(Box::new(reserve(number, CALL, 5, 5))));
    assert_eq!(ruled(world.answer(ask(1))).ruling.verdict, Verdict::Wait);
    world.answer(plain(Action::Release(release(9)))).unwrap();
    let granted = world.answer(ask(2));
    assert!(ruled(granted.clone()).granted.is_some());
    world.advance(86_400);
    assert_eq!(Ok(first(&world.answer(ask(3)))), granted.as_ref());
    let other = keyed("k", 2, Action::Reserve(Box::new(reserve(4, CALL, 1, 1))));
    assert_eq!(world.answer(other), Err(Refusal::IdempotencyMismatch("k".parse().unwrap())));
    assert_eq!(world.store.refusals.len(), 1);
}

#[test]
fn a_reservation_of_this_very_batch_is_not_known_yet() {
    let mut world = World::with("budget t tokens 100 day");
    let ask = plain(Action::Reserve(Box::new(reserve(1, CALL, 5, 5))));
    let end =
        Settle { served_model: Some("two".parse().unwrap()), ..settle(1, Some(used(1, 1)), CallOutcome::Completed) };
    let answers = world.batch(&[ask, plain(Action::Settle(Box::new(end.clone())))]);
    assert_eq!(answers[1], Err(Refusal::UnknownReservation(reservation_id(1))));
    assert!(world.settle(end).is_ok());
}

#[test]
fn one_refusal_never_harms_its_neighbours() {
    let mut world = World::with("budget t tokens 25 day");
    let ask = |number, input| plain(Action::Reserve(Box::new(reserve(number, CALL, input, 0))));
    let verdicts: Vec<_> = world
        .batch(&[ask(1, 10), ask(2, 20), plain(Action::Release(release(9))), ask(3, 15), ask(4, 1)])
        .into_iter()
        .map(|answer| answer.map(|outcome| ruled(Ok(outcome)).ruling.verdict.name()).unwrap_or("refused"))
        .collect();
    assert_eq!(verdicts, ["allow", "wait", "refused", "allow", "wait"]);
    assert_eq!(world.counters("t"), "0+25", "to the last token");
}
