//! What users of other systems complain of, one test per complaint: the rows that the core alone can show.

use proptest::prelude::*;
use rust_decimal::dec;

use super::*;
use crate::domain::amounts::{Quantity, TOKENS_MAX};
use crate::domain::budget::verdict::Verdict;
use crate::domain::usage::provider::RawUsage;

const CALL: &str = "acme/chat unit/one";
const COMPLETED: CallOutcome = CallOutcome::Completed;

fn raw(pairs: &[(&str, u64)]) -> ReportedUsage {
    ReportedUsage::Provider(RawUsage::new(pairs.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()))
}

#[test]
fn pains_a_a_crowd_at_the_edge_is_granted_the_limit_to_the_last_unit() {
    for (measure, limit) in [("tokens", "1000"), ("usd", "1000")] {
        let mut world = World::with(&format!("budget b {measure} {limit} day"));
        let ask = |number: u128| plain(Action::Reserve(Box::new(reserve(number, CALL, 3, 4))));
        let mut granted = 0;
        for batch in 0..10_u128 {
            let commands: Vec<_> =
                (1..=64).map(|place| ask(batch.checked_mul(64).unwrap().checked_add(place).unwrap())).collect();
            granted +=
                world.batch(&commands).into_iter().filter(|answer| ruled(answer.clone()).granted.is_some()).count();
        }
        assert_eq!(granted, 142, "142 sevens are 994, and six remain");
        world.grant(5_000, CALL, 6, 0);
        assert_eq!(world.counters("b"), "0+1000");
        assert!(!world.reserve(reserve(5_001, CALL, 1, 0)).ruling.verdict.grants());
    }
}

#[test]
fn pains_d_an_overrun_breaks_no_other_reservation_and_extend_keeps_a_stream_alive() {
    let mut world = World::with("budget b tokens 100 day");
    world.grant(1, CALL, 0, 40);
    world.grant(2, CALL, 0, 40);
    for _minute in 0..10 {
        world.advance(60);
        world.sweep();
        world.extend(extend(2, 120, 0)).unwrap();
        if world.reservation(1).state == ReservationState::Open {
            world.extend(extend(1, 120, 0)).unwrap();
        }
    }
    let posted = world.settle(settle(1, Some(used(0, 90)), COMPLETED)).unwrap();
    assert_eq!(flags(&posted), "overrun");
    assert_eq!(world.counters("b"), "90+40", "overdrawn, and the other hold is whole");
    assert!(posted.budgets[0].headroom() < Quantity::ZERO);
    assert_eq!(flags(&world.settle(settle(2, Some(used(0, 40)), COMPLETED)).unwrap()), "");
    assert_eq!(world.counters("b"), "130+0");
}

#[test]
fn pains_e_actual_usage_always_posts() {
    let mut world = World::with("budget b tokens 10 once\nbudget z usd 0 once");
    world.post(post(1, CALL, 500, 500)).unwrap();
    assert_eq!(world.counters("b"), "1000+0", "without a reservation and without headroom");
    assert_eq!(world.counters("z"), "1000+0", "also where nothing at all was to be spent");
    let mut world = World::with("budget b tokens 10 once");
    world.grant(1, CALL, 5, 5);
    world.post(post(1, CALL, 500, 0)).unwrap();
    world.advance(86_400);
    world.sweep();
    let posted = world.settle(settle(1, Some(used(5, 50)), COMPLETED)).unwrap();
    assert_eq!((flags(&posted).as_str(), world.counters("b").as_str()), ("late overrun", "555+0"));
}

#[test]
fn pains_e_a_counter_that_is_full_refuses_no_settlement() {
    let mut world = World::with("budget w w:1000,0,0,0,0,0 1 once soft\nbudget t tokens 9000000000000000 once");
    world.grant(1, "acme/chat local/free", 1, 0);
    for number in 1..=4 {
        world.post(post(number, "acme/chat local/free", TOKENS_MAX, 0)).unwrap();
    }
    assert_eq!(world.counters("w"), "9999999999999999.999999999999+1000", "as much as it can keep");
    world.settle(settle(1, Some(used(TOKENS_MAX, 0)), COMPLETED)).unwrap();
    assert_eq!(world.counters("t"), "5000000000000000+0");
    assert_eq!(world.counters("w"), "9999999999999999.999999999999+0");
}

#[test]
fn pains_h_a_budget_from_the_31st_turns_on_the_last_day_and_returns_to_the_31st() {
    use crate::domain::calendar::{AnchorDay, PeriodSpec, TimeOfDay};
    let mut budget = crate::domain::fixtures::budget(1, "b tokens 10 month zone=Europe/Berlin");
    budget.period = PeriodSpec::Month { anchor_day: AnchorDay::new(31).unwrap(), at: TimeOfDay::MIDNIGHT };
    let tenants = catalogue("tenant acme Etc/UTC").tenants().cloned().collect();
    let mut world = World::with("");
    world.catalogue = Arc::new(Catalogue::new(1, tenants, vec![budget]));
    for (now, expected) in [
        ("2026-01-30T22:59:59Z", "2026-01-30T23:00:00Z"),
        ("2026-01-30T23:00:00Z", "2026-02-27T23:00:00Z"),
        ("2026-02-27T23:00:00Z", "2026-03-30T22:00:00Z"),
        ("2026-03-30T22:00:00Z", "2026-04-29T22:00:00Z"),
        ("2028-02-28T22:59:59Z", "2028-02-28T23:00:00Z"),
    ] {
        world.now = at(now);
        let ruled = world.reserve(Reserve { hold: false, ..reserve(1, CALL, 1, 0) });
        assert_eq!(ruled.budgets[0].period.end, Some(at(expected)), "{now}");
    }
}

#[test]
fn pains_k_a_cut_stream_a_cancelled_call_and_an_explicit_zero_each_have_their_charge() {
    let table: [(&str, Option<ReportedUsage>, CallOutcome, &str, &str); 6] = [
        ("a cut stream that was counted", Some(used(10, 3)), CallOutcome::Cancelled, "13+0", ""),
        ("a cancelled call of which nothing is known", None, CallOutcome::Cancelled, "30+0", "unconfirmed"),
        ("a call that no answer came to", None, CallOutcome::TimedOut, "30+0", "unconfirmed"),
        ("a call that the provider refused", None, CallOutcome::Failed, "", ""),
        ("an explicit zero", Some(used(0, 0)), CallOutcome::Cancelled, "", ""),
        ("an explicit zero of a completed call", Some(used(0, 0)), COMPLETED, "", ""),
    ];
    for (what, usage, outcome, counters, marks) in table {
        let mut world = World::with("budget b tokens 100 day");
        world.grant(1, CALL, 10, 20);
        let posted = world.settle(settle(1, usage, outcome)).unwrap();
        assert_eq!((world.counters("b").as_str(), flags(&posted).as_str()), (counters, marks), "{what}");
        assert_eq!(world.store.transfers.len(), 1, "{what}: in the journal once");
    }
}

#[test]
fn pains_l_cached_tokens_are_priced_once_and_as_cached() {
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, u64)], &'a str);
    let mut world = World::with("budget u usd 100 day\nbudget t tokens 100000 day");
    let table: [Case<'_>; 4] = [
        (
            "OpenAI's prompt tokens include the cached ones",
            "openai/gpt-4o",
            &[("prompt_tokens", 2_006), ("prompt_tokens_details.cached_tokens", 1_920), ("completion_tokens", 300)],
            // 86 at 2.5, 1,920 at 1.25, 300 at 10
            "0.005615",
        ),
        (
            "OpenAI's responses too, and their output includes reasoning",
            "openai/gpt-4o",
            &[
                ("input_tokens", 2_006),
                ("input_tokens_details.cached_tokens", 1_920),
                ("output_tokens", 300),
                ("output_tokens_details.reasoning_tokens", 200),
            ],
            "0.005615",
        ),
        (
            "Anthropic's input tokens exclude what was read and written",
            "anthropic/claude-sonnet-4-5",
            &[
                ("input_tokens", 86),
                ("cache_read_input_tokens", 1_920),
                ("cache_creation_input_tokens", 1_000),
                ("cache_creation.ephemeral_5m_input_tokens", 400),
                ("cache_creation.ephemeral_1h_input_tokens", 600),
                ("output_tokens", 300),
            ],
            // 86 at 3, 1,920 at 0.3, 400 at 3.75, 600 at 6, 300 at 15
            "0.010434",
        ),
        (
            "the same counts without a cache",
            "anthropic/claude-sonnet-4-5",
            &[("input_tokens", 2_006), ("output_tokens", 300)],
            "0.010518",
        ),
    ];
    for (number, (what, model, pairs, dollars)) in (1_u128..).zip(table) {
        world.grant(number, &format!("acme/chat {model}"), 3_000, 500);
        let posted = world.settle(settle(number, Some(raw(pairs)), COMPLETED)).unwrap();
        assert_eq!(posted.priced.consumption.amounts.usd.to_string(), dollars, "{what}");
    }
    assert_eq!(world.counters("u"), "0.032182+0");
    assert_eq!(world.counters("t"), "10224+0", "2,306 three times and 3,306: every token once");
}

#[test]
fn pains_n_a_retry_is_billed_once() {
    let mut world = World::with("budget b tokens 1000 day\nbudget r requests 10 day");
    let usage = |number| keyed("call-1", 7, Action::PostUsage(Box::new(post(number, CALL, 10, 10))));
    let answers = world.batch(&[usage(1), usage(2), usage(3)]);
    assert!(
        answers[1..].iter().all(|answer| Ok(first(answer)) == answers[0].as_ref()),
        "one batch, one effect, one answer"
    );
    world.advance(3_600);
    assert_eq!(Ok(first(&world.answer(usage(4)))), answers[0].as_ref(), "an hour later");
    assert_eq!((world.counters("b"), world.counters("r")), ("20+0".to_owned(), "1+0".to_owned()));
    assert_eq!(world.store.transfers.len(), 1);
}

#[test]
fn pains_o_an_unpriced_model_costs_the_worst_known_price_and_moves_every_cap() {
    let mut world = World::with("budget u usd 1 day\nbudget g gco2e 1000000 day");
    let ruled = world.reserve(Reserve { allow_cap: true, ..reserve(1, "acme/chat openai/gpt-99", 0, 200_000) });
    assert_eq!(ruled.ruling.max_output, Some(tokens(100_000)), "at gpt-4o's 10 dollars, the dearest of its provider");
    let codes: Vec<_> = ruled.ruling.reasons.iter().map(|reason| reason.code.name()).collect();
    assert_eq!(codes, ["output_capped", "unpriced_model", "factor_fallback"]);
    assert!(ruled.ruling.priced.flags.contains(Flags::UNPRICED.with(Flags::MODEL_FACTOR_FALLBACK)));
    assert!(ruled.ruling.priced.consumption.amounts.gco2e().unwrap().decimal() > dec!(0));
    let unheard = world.reserve(Reserve { hold: false, ..reserve(2, "acme/chat nobody/nothing", 1, 0) });
    assert_eq!(
        unheard.ruling.priced.consumption.amounts.usd.decimal(),
        dec!(1),
        "of a provider nobody knows: the worst of all"
    );
}

#[test]
fn pains_r_the_tier_is_chosen_by_the_estimate_and_again_by_the_actual_and_both_are_shown() {
    let mut world = World::with("budget u usd 100 day");
    let model = "acme/chat anthropic/claude-sonnet-4-5";
    let settled = |world: &mut World, number, estimated, actual| {
        world.grant(number, model, estimated, 0);
        let posted = world.settle(settle(number, Some(used(actual, 0)), COMPLETED)).unwrap();
        let shown = |priced: &crate::domain::tariff::Priced| {
            (priced.provenance.tier_from.count(), priced.consumption.amounts.usd.to_string())
        };
        (shown(&posted.hold.unwrap()), shown(&posted.priced), flags(&posted))
    };
    assert_eq!(
        settled(&mut world, 1, 200_000, 200_001),
        ((0, "0.6".to_owned()), (200_001, "1.200006".to_owned()), "overrun".to_owned()),
        "one token over the threshold re-prices the whole call"
    );
    assert_eq!(
        settled(&mut world, 2, 200_001, 200_000),
        ((200_001, "1.200006".to_owned()), (0, "0.6".to_owned()), String::new())
    );
}

#[test]
fn pains_s_a_ceiling_for_each_run_is_one_budget() {
    let mut world = World::with("budget per-run usd 2 once each=run\nbudget loop requests 3 sliding:60 each=run");
    let call = |run: u128| format!("acme/chat unit/one run=r{run}");
    for run in 1..=20 {
        world.grant(run, &call(run), 1, 1);
    }
    assert_eq!(world.reserve(reserve(100, &call(1), 1, 0)).ruling.verdict, Verdict::Wait, "its own hold is in the way");
    world.settle(settle(1, Some(used(1, 1)), COMPLETED)).unwrap();
    let stopped = world.reserve(reserve(101, &call(1), 1, 0));
    assert_eq!(
        (stopped.ruling.verdict, stopped.ruling.resets_at),
        (Verdict::Stop, None),
        "a run that is over its ceiling stays stopped"
    );
    world.settle(settle(2, Some(used(1, 0)), COMPLETED)).unwrap();
    world.grant(102, &call(2), 1, 0);
}

#[test]
fn pains_u_a_reservation_has_one_end_and_an_expired_hold_is_not_shown_as_held() {
    let mut world = World::with("budget b tokens 100 day");
    world.grant(1, CALL, 10, 20);
    let end = |number| {
        plain(Action::Settle(Box::new(Settle {
            transfer: transfer_id(number),
            ..settle(1, Some(used(10, 5)), COMPLETED)
        })))
    };
    let answers = world.batch(&[end(1), end(2), plain(Action::Release(release(1)))]);
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(world.counters("b"), "15+0");

    world.grant(2, CALL, 10, 20);
    world.advance(120);
    assert_eq!(world.reservation(2).state, ReservationState::Open, "nobody has written it down yet");
    assert_eq!(world.reservation(2).state_at(world.now), ReservationState::Expired, "and still it counts");
    let ruled = world.reserve(Reserve { hold: false, ..reserve(3, CALL, 85, 0) });
    assert_eq!((ruled.ruling.verdict, ruled.budgets[0].counter.held), (Verdict::Allow, Quantity::ZERO));
}

#[test]
fn pains_v_a_refusal_never_turns_into_a_success_on_retry_before_its_reset() {
    let mut world = World::with("budget b tokens 30 day");
    world.answer(plain(Action::PostUsage(Box::new(post(90, CALL, 15, 0))))).unwrap();
    let ask = |number| keyed("k", 1, Action::Reserve(Box::new(reserve(number, CALL, 20, 0))));
    let refused = world.answer(ask(1));
    assert_eq!(ruled(refused.clone()).ruling.verdict, Verdict::Stop);
    world.change("tenant acme Etc/UTC\nbudget b tokens 1000 day");
    let again = world.answer(ask(2));
    assert_eq!(first(&again), refused.as_ref().unwrap(), "the first answer, although there is room now");
    assert!(world.store.reservations.is_empty());
    let other = keyed("k2", 1, Action::Reserve(Box::new(reserve(3, CALL, 20, 0))));
    assert!(ruled(world.answer(other)).granted.is_some(), "a new attempt is a new key");
}

#[test]
fn pains_x_absurd_numbers_are_refused_and_never_panic() {
    assert!(Tokens::new(u64::MAX).is_err());
    assert!(Tokens::new(TOKENS_MAX).is_ok());
    let most = Quantity::MAX;
    let mut world =
        World::with(&format!("budget u usd {most} day\nbudget w w:1000,1000,1000,1000,1000,1000 {most} day"));
    let refused = |world: &mut World, reserve: Reserve| {
        let answer = world.answer(plain(Action::Reserve(Box::new(reserve))));
        assert!(matches!(answer, Err(Refusal::Amount(_) | Refusal::Tariff(_))), "{answer:?}");
    };
    refused(&mut world, reserve(1, CALL, TOKENS_MAX, TOKENS_MAX));
    refused(&mut world, reserve(1, CALL, TOKENS_MAX, 0));
    world.grant(1, CALL, 1_000_000_000_000, 1_000_000_000_000);
    let full = world.reserve(reserve(2, CALL, 9_000_000_000_000, 0));
    assert_eq!(full.ruling.verdict, Verdict::Wait, "a sum that cannot be kept does not fit");
    assert!(world.extend(extend(1, 1, TOKENS_MAX)).is_err(), "the extension is refused, not the reservation");
    let posted = world.post(PostUsage { requests: u32::MAX, ..post(1, CALL, TOKENS_MAX, 0) }).unwrap();
    assert_eq!(posted.priced.consumption.amounts.usd.to_string(), "1000000000000000");
    assert!(world.post(post(2, CALL, TOKENS_MAX, 1)).is_err(), "more tokens than one call can have");
    world.release(release(1)).unwrap();
}

proptest! {
    #[test]
    fn pains_x_no_numbers_whatever_panic_the_books(
        limits in [any::<u64>(), any::<u64>()],
        asks in prop::collection::vec((0..=TOKENS_MAX, 0..=TOKENS_MAX, any::<bool>(), 0_u8..5), 1..12),
        scale in 0_u32..=12,
    ) {
        let limit = |raw: u64| rust_decimal::Decimal::try_from_i128_with_scale(raw.into(), scale).unwrap();
        let mut world = World::with(&format!(
            "budget u usd {} day\nbudget w w:1000,0.000001,3,4,5,999.999999 {} sliding:3600 soft\nbudget g gco2e 1 once each=run soft",
            limit(limits[0] >> 11), limit(limits[1] >> 11),
        ));
        for (number, (input, output, cap, kind)) in (1_u128..).zip(asks) {
            let model = ["unit/one", "openai/gpt-4o", "local/free", "openai/unheard"][usize::from(kind) % 4];
            let text = format!("acme/chat {model} run=r");
            let answer = world.answer(plain(Action::Reserve(Box::new(Reserve { allow_cap: cap, ..reserve(number, &text, input, output) }))));
            if kind == 4 {
                let _answer = world.answer(plain(Action::PostUsage(Box::new(post(number, &text, input, output)))));
            } else if matches!(&answer, Ok(Outcome::Ruled(ruled)) if ruled.granted.is_some()) {
                let _answer = world.extend(extend(number, 60, input));
                let _answer = world.settle(settle(number, Some(used(output, input)), COMPLETED));
            }
        }
    }
}
