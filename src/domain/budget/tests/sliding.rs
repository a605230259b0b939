//! Sliding windows: when there is room again, exactly.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::super::counter::CounterId;
use super::super::verdict::Verdict;
use super::*;

const BUDGET: &str = "b tokens 100 sliding:600";

fn noon() -> DateTime<Utc> {
    at("2026-01-01T12:00:00Z")
}

/// Seconds from noon.
fn after(seconds: i64) -> DateTime<Utc> {
    noon().checked_add_signed(TimeDelta::seconds(seconds)).unwrap()
}

/// The budget at an instant, after these calls: seconds from noon, and tokens.
fn standing(posted: &[(i64, u32)], now: DateTime<Utc>) -> Standing {
    let catalogue = Catalogue::new(1, Vec::new(), vec![budget(1, BUDGET)]);
    let governing = |instant| catalogue.governing(&call("acme/chat unit/one"), instant).unwrap().pop().unwrap();
    let mut counters: BTreeMap<CounterId, Counter> = BTreeMap::new();
    for (seconds, tokens) in posted {
        let counter = counters.entry(governing(after(*seconds)).counter()).or_default();
        *counter = counter.post(Quantity::new((*tokens).into()).unwrap());
    }
    let current = governing(now);
    let slices = current.window(&counters).map(|(period, counter)| (period, *counter)).collect();
    Standing::new(current, slices)
}

fn ruled(posted: &[(i64, u32)], input: u64, now: DateTime<Utc>) -> Ruling {
    let asked = Asked { now, input, ..Asked::parse("") };
    asked.decide(&[standing(posted, now)], 0).unwrap()
}

#[test]
fn room_comes_back_when_the_slices_in_the_way_have_left() {
    // 60 tokens in the slice of 11:55:00 to 11:55:10, 40 in that of 11:58:20 to 11:58:30.
    let posted = [(-300, 60), (-95, 40)];
    let first = "stop 2026-01-01T12:05:10Z limit_reached:b";
    assert_eq!(words(&ruled(&posted, 1, noon())), first);
    assert_eq!(words(&ruled(&posted, 60, noon())), first, "the first slice alone makes room for 60");
    assert_eq!(words(&ruled(&posted, 61, noon())), "stop 2026-01-01T12:08:30Z limit_reached:b");
    assert_eq!(words(&ruled(&posted, 1, after(200))), "wait 110s limit_reached:b", "near enough to wait for");
    assert_eq!(words(&ruled(&posted, 60, after(310))), "allow 0", "and true when it comes");
}

#[test]
fn what_is_counted_ahead_of_the_clock_is_counted() {
    // By another replica, or as usage that says it is ahead of time: in this slice, in the next, in five minutes.
    for ahead in [0, 9, 11, 300] {
        let refused = ruled(&[(ahead, 90)], 20, noon());
        assert_eq!(words(&refused), format!("stop {}Z limit_reached:b", after(ahead / 10 * 10 + 610).format("%FT%T")));
        assert_eq!(words(&ruled(&[(ahead, 90)], 10, noon())), "allow 0");
    }
}

#[test]
fn a_window_counts_what_was_there_before_its_budget_was_made() {
    let catalogue = |from: &str| Catalogue::new(1, Vec::new(), vec![budget(1, &format!("{BUDGET} from={from}"))]);
    let governs =
        |from: &str, at: DateTime<Utc>| !catalogue(from).governing(&call("acme/chat unit/one"), at).unwrap().is_empty();
    let made = "2026-01-01T12:00:00Z";
    assert!(governs(made, after(0)) && governs(made, after(-595)));
    assert!(!governs(made, after(-611)), "that slice has left the window");
    let one = catalogue(made);
    let since = super::super::recount::counts_since(one.budgets().next().unwrap(), &one).unwrap();
    assert_eq!(since, Some(after(-600)), "the journal is read from there on");
}

#[test]
fn the_window_of_an_answer_is_the_whole_window() {
    let standing = standing(&[], noon());
    let span = standing.governing.span();
    assert_eq!(span.start, after(-600));
    assert_eq!(span.end, Some(after(610)), "what is counted now is gone ten minutes after its slice");
}

proptest! {
    #[test]
    fn the_instant_that_is_told_is_the_first_with_room(
        posted in prop::collection::vec((-650_i64..0, 0_u32..60), 0..8),
        input in 1_u64..=100,
    ) {
        let ruling = ruled(&posted, input, noon());
        let told = ruling.retry.map(|retry| retry.not_before).or(ruling.resets_at);
        if ruling.verdict == Verdict::Allow {
            prop_assert_eq!(told, None);
        } else {
            let told = told.expect("no single call is larger than the limit");
            let just_before = told.checked_sub_signed(TimeDelta::microseconds(1)).unwrap();
            prop_assert_eq!(ruled(&posted, input, told).verdict, Verdict::Allow);
            prop_assert_ne!(ruled(&posted, input, just_before).verdict, Verdict::Allow);
        }
    }

    #[test]
    fn no_window_of_the_true_length_ever_holds_more_than_the_limit_whatever_the_clocks_say(
        calls in prop::collection::vec((0_i64..2_000, 1_u32..70), 1..40),
        in_order in any::<bool>(),
    ) {
        // In the order of time, or as replicas decide whose clocks have nothing to do with each other.
        let mut calls = calls;
        if in_order {
            calls.sort_unstable();
        }
        let mut granted: Vec<(i64, u32)> = Vec::new();
        for (seconds, tokens) in calls {
            if ruled(&granted, tokens.into(), after(seconds)).verdict == Verdict::Allow {
                granted.push((seconds, tokens));
            }
        }
        for (end, _) in &granted {
            let inside = granted.iter().filter(|(seconds, _)| seconds <= end && end.saturating_sub(*seconds) < 600);
            prop_assert!(inside.map(|(_, tokens)| *tokens).sum::<u32>() <= 100);
        }
    }
}
