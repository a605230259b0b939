//! Extensions in sum: what is taken piece by piece is bounded as if it were asked for at once.

use super::*;
use crate::domain::budget::verdict::{ReasonCode, Verdict};
use crate::domain::ledger::reservation::LIFE_SECONDS_MAX;

const CALL: &str = "acme/chat unit/one";

/// A call of `input` tokens, granted for ten seconds at noon.
fn granted(budgets: &str, input: u64) -> World {
    let mut world = World::with(budgets);
    let ruled = world.reserve(Reserve { ttl_seconds: 10, ..reserve(1, CALL, input, 10) });
    assert!(ruled.granted.is_some(), "{budgets}: {:?}", ruled.ruling);
    world
}

#[test]
fn no_order_of_extensions_outlives_the_life_of_a_reservation() {
    let life = i64::from(LIFE_SECONDS_MAX);
    for step in [7, 600, 3_600, 86_399, 86_400] {
        for more in [0, 1] {
            let mut world = granted("budget b tokens 1000000000 once", 10);
            let mut refused = 0;
            while refused < 3 {
                match world.extend(extend(1, step, more)) {
                    Ok(extended) => assert_eq!(extended.ruling.verdict, Verdict::Allow),
                    Err(Refusal::LivesTooLong { .. }) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
                let reservation = world.reservation(1);
                let lives = reservation.expires_at.signed_duration_since(reservation.granted_at).num_seconds();
                assert!(lives <= life, "every {step} s: {lives} s");
                let left = reservation.expires_at.signed_duration_since(world.now).num_seconds();
                world.advance((left - 1).max(0));
            }
        }
    }
}

#[test]
fn extensions_together_have_no_more_tokens_than_one_call_can_have() {
    let bound = CallBound(100);
    // the pieces that are asked for | how many of them are granted: 20 are held already
    for (pieces, granted_of) in
        [(&[80][..], 1), (&[81], 0), (&[40, 40], 2), (&[40, 40, 1], 2), (&[30, 30, 30], 2), (&[100], 0)]
    {
        let mut world = granted("budget b tokens 1000000 once", 10);
        let mut got = 0;
        for more in pieces {
            match world.extend(Extend { bound, ..extend(1, 60, *more) }) {
                Ok(extended) => {
                    assert_eq!(extended.ruling.verdict, Verdict::Allow);
                    got += 1;
                }
                Err(Refusal::TooManyTokens { field, count, max }) => {
                    assert_eq!((field.as_str(), max), ("more_output", 100));
                    assert!(count > 100, "{count}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(got, granted_of, "{pieces:?}");
        assert!(world.reservation(1).hold.consumption.amounts.tokens.count() <= 100, "{pieces:?}");
        assert_eq!(
            world.extend(Extend { bound, ..extend(1, 60, 0) }).unwrap().ruling.verdict,
            Verdict::Allow,
            "time is no token"
        );
    }
}

#[test]
fn time_makes_no_hold_larger_than_one_reservation_may_hold_for_so_long() {
    // budgets | input held, with 10 of output | seconds | more output | what is answered
    let table = [
        // what tenants share: more than half for at most ten minutes
        ("budget b tokens 1000 once hold_share=ordinary", 890, 600, 0, "allow"),
        ("budget b tokens 1000 once hold_share=ordinary", 890, 601, 0, "hold_too_large"),
        ("budget b tokens 1000 once hold_share=ordinary", 490, 601, 0, "allow"),
        ("budget b tokens 1000 once hold_share=ordinary", 490, 601, 1, "hold_too_large"),
        ("budget b tokens 1000 once hold_share=ordinary", 489, 601, 1, "allow"),
        ("budget b tokens 1000 once hold_share=ordinary", 890, 600, 1, "allow"),
        ("budget b usd 1000 once hold_share=ordinary", 890, 86_400, 0, "hold_too_large"),
        // also where the call takes no more of what is counted
        ("budget b w:1,1,1,1,0,0 1000 once hold_share=ordinary", 890, 601, 1, "hold_too_large"),
        ("budget b w:1,1,1,1,0,0 1000 once hold_share=ordinary", 890, 600, 1, "allow"),
        // whose own it is, what warns only, and a call that is a call
        ("budget b tokens 1000 once tenant=acme hold_share=ordinary", 890, 86_400, 0, "allow"),
        ("budget b tokens 1000 once soft hold_share=ordinary", 890, 86_400, 0, "allow"),
        ("budget b requests 1 once hold_share=ordinary", 890, 86_400, 0, "allow"),
        // what is said holds at any time, so that time changes nothing
        ("budget b tokens 1000 once hold_share=0.9", 890, 86_400, 0, "allow"),
        ("budget b tokens 1000 once hold_share=0.9", 890, 20, 1, "hold_too_large"),
        ("budget b tokens 1000 once hold_share=1", 890, 86_400, 1, "allow"),
    ];
    for (budgets, input, seconds, more, answer) in table {
        // At once, and by heartbeats.
        for step in [seconds, 120] {
            let mut world = granted(budgets, input);
            let begun = world.now;
            let mut said = "allow";
            loop {
                let gone = u32::try_from(world.now.signed_duration_since(begun).num_seconds()).unwrap();
                let last = gone + step >= seconds;
                let ttl = if last { seconds - gone } else { step };
                let before = world.reservation(1).clone();
                let extended = world.extend(extend(1, ttl, if last { more } else { 0 })).unwrap();
                if extended.ruling.verdict != Verdict::Allow {
                    assert_eq!(extended.ruling.reasons[0].code, ReasonCode::HoldTooLarge, "{budgets}");
                    assert_eq!((extended.ruling.verdict, extended.expires_at), (Verdict::Stop, before.expires_at));
                    assert_eq!(*world.reservation(1), before, "it is as it was");
                    said = "hold_too_large";
                    break;
                }
                if last {
                    break;
                }
                world.advance(i64::from(ttl) - 1);
            }
            assert_eq!(said, answer, "{budgets}, {input}, {seconds} s by {step}, {more} more");
        }
    }
}

#[test]
fn a_hold_that_a_budget_would_not_give_any_more_has_its_time_all_the_same() {
    let mut world = granted("budget b tokens 1000 once hold_share=0.95", 890);
    world.change("tenant acme Etc/UTC\nbudget b tokens 1000 once hold_share=0.1");
    assert_eq!(world.extend(extend(1, 86_400, 0)).unwrap().ruling.verdict, Verdict::Allow);
    let more = world.extend(extend(1, 60, 1)).unwrap();
    assert_eq!(more.ruling.reasons[0].code, ReasonCode::HoldTooLarge, "and nothing more");
}
