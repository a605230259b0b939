//! Calls that were added up first, against the calls one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::recount::{Recount, Recounted};
use crate::domain::budget::scope::{Dimensions, Spelling};
use crate::domain::fixtures::{at, call, catalogue, usage};

const NOW: &str = "2026-03-29T12:34:56.789Z";
const TENANTS: &str = "tenant acme Asia/Tokyo\ntenant bolt Asia/Kathmandu\ntenant cito Europe/Berlin\n";

/// The catalogue of these budgets, all counted from now on.
fn counted(budgets: &str) -> Arc<Catalogue> {
    let lines: Vec<String> = budgets.split(", ").map(|line| format!("budget {line} from={NOW}")).collect();
    catalogue(&format!("{TENANTS}{}", lines.join("\n")))
}

fn reading(catalogue: &Catalogue) -> Reading {
    Reading::of(catalogue.budgets().map(AsRef::as_ref), catalogue, at(NOW)).unwrap()
}

#[test]
fn what_is_read_is_what_the_scopes_can_touch() {
    for (budgets, since, tenants, features, apart, rolled) in [
        ("a usd 1 month tenant=acme", Some("2026-03-01T00:00:00Z"), Some("acme"), None, "", true),
        (
            "a usd 1 day zone=tenant tenant=acme feature=chat",
            Some("2026-03-28T15:00:00Z"),
            Some("acme"),
            Some("chat"),
            "",
            true,
        ),
        ("a usd 1 day zone=tenant each=tenant", Some("2026-03-28T15:00:00Z"), None, None, "", true),
        (
            "a usd 1 month tenant=acme, b usd 1 day tenant=bolt",
            Some("2026-03-01T00:00:00Z"),
            Some("acme bolt"),
            None,
            "",
            true,
        ),
        ("a usd 1 month tenant=acme, b usd 1 month", Some("2026-03-01T00:00:00Z"), None, None, "", true),
        ("a usd 1 once", None, None, None, "", true),
        ("a usd 1 once each=run", None, None, None, "run", false),
        ("a usd 1 once run=r-1", None, None, None, "run", false),
        ("a usd 1 once each=agent", None, None, None, "agent", false),
        ("a usd 1 once each=team", None, None, None, "label", false),
        ("a usd 1 month team=cx", Some("2026-03-01T00:00:00Z"), None, None, "label", false),
        ("a usd 1 hour tenant=acme", Some("2026-03-29T12:00:00Z"), Some("acme"), None, "", true),
    ] {
        let read = reading(&counted(budgets));
        let told = [(read.runs, "run"), (read.agents, "agent"), (read.labels, "label")];
        let told: Vec<&str> = told.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        let tenants_read =
            read.tenants.as_ref().map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        let features_read =
            read.features.as_ref().map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(read.since, since.map(at), "{budgets}");
        assert_eq!((tenants_read.as_deref(), features_read.as_deref()), (tenants, features), "{budgets}");
        assert_eq!((told.join(" ").as_str(), read.is_in_rollup()), (apart, rolled), "{budgets}");
    }
}

#[test]
fn a_window_whose_slices_are_no_quarters_of_an_hour_is_not_in_the_rollup() {
    for (budgets, rolled) in [
        ("a usd 1 sliding:600 tenant=acme", false),
        ("a usd 1 sliding:54000 tenant=acme", true),
        ("a usd 1 sliding:60 tenant=acme", false),
    ] {
        assert_eq!(reading(&counted(budgets)).is_in_rollup(), rolled, "{budgets}");
    }
}

#[test]
fn stretches_hold_every_quarter_and_are_few() {
    let quarter = |n: i64| DateTime::from_timestamp(n.saturating_mul(900), 0).unwrap();
    let of = |quarters: &[i64]| Reading::stretches(&quarters.iter().map(|n| quarter(*n)).collect::<Vec<_>>());
    assert_eq!(of(&[]), []);
    assert_eq!(of(&[4]), [(quarter(4), quarter(5))]);
    assert_eq!(of(&[4, 5, 9]), [(quarter(4), quarter(6)), (quarter(9), quarter(10))]);
    let scattered: Vec<i64> = (0..40_000).step_by(7).collect();
    let stretches = of(&scattered);
    assert!(stretches.len() <= 501, "{}", stretches.len());
    for n in scattered {
        assert!(stretches.iter().any(|(start, end)| *start <= quarter(n) && quarter(n) < *end), "{n}");
    }
}

type Call = (Dimensions, DateTime<Utc>, u64);

/// Calls around now, mostly close to where something turns.
fn calls() -> impl Strategy<Value = Vec<Call>> {
    let name = prop_oneof![Just("acme/chat"), Just("acme/search"), Just("bolt/chat"), Just("cito/chat")];
    let model = prop_oneof![Just("unit/one"), Just("unit/two")];
    let more = prop_oneof![Just(""), Just(" run=r1 agent=a1"), Just(" run=r2 team=cx"), Just(" team=ops")];
    let seconds = prop_oneof![-3_456_000_i64..7_200, -90_000_i64..8_000, -900_i64..900];
    let one = (name, model, more, seconds, 0_i64..1_000_000, 0_u64..1000).prop_map(
        |(name, model, more, seconds, micros, tokens)| {
            let at = at(NOW).checked_add_signed(TimeDelta::seconds(seconds)).unwrap();
            let at = at.checked_add_signed(TimeDelta::microseconds(micros)).unwrap();
            (call(&format!("{name} {model}{more}")), at, tokens)
        },
    );
    prop::collection::vec(one, 0..60)
}

fn of(tokens: u64) -> Consumption {
    let usage = usage([tokens, 0, 0, 0, 0, 0]);
    let amounts = crate::domain::amounts::Amounts { tokens: usage.total().unwrap(), ..Default::default() };
    Consumption { requests: 1, usage, amounts }
}

/// Adds up as the database does, and counts what comes of it.
fn added_up(calls: &[Call], read: &Reading, catalogue: &Catalogue, by_quarter: bool) -> BTreeMap<CounterId, Recounted> {
    /// The call, when it counts, how many there are, their tokens, and when the first one was.
    type Group = (Dimensions, DateTime<Utc>, u32, u64, DateTime<Utc>);
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for (call, at, tokens) in calls {
        let quarter = DateTime::from_timestamp(at.timestamp().div_euclid(900).saturating_mul(900), 0).unwrap();
        let at = if by_quarter { quarter } else { *at };
        let is_read = read.since.is_none_or(|since| at >= since)
            && read.tenants.as_ref().is_none_or(|tenants| tenants.contains(&call.tenant))
            && read.features.as_ref().is_none_or(|features| features.contains(&call.feature));
        if !is_read {
            continue;
        }
        let mut call = call.clone();
        call.run = call.run.filter(|_| read.runs);
        call.agent = call.agent.filter(|_| read.agents);
        call.labels = if read.labels { call.labels } else { Arc::default() };
        if !read.features_apart {
            call.feature = "any".parse().unwrap();
        }
        if !read.served {
            call = Dimensions {
                provider: "any".parse().unwrap(),
                model: "any".parse().unwrap(),
                region: None,
                spelling: Spelling::AsSaid,
                ..call
            };
        }
        let between = read.turns.partition_point(|turn| *turn <= at);
        let own = (at >= read.turns_until).then_some(at);
        let group = groups.entry(format!("{call:?} {between} {own:?}")).or_insert_with(|| (call, at, 0, 0, at));
        // Any instant of them will do, but for the first.
        group.1 = group.1.max(at);
        group.2 = group.2.saturating_add(1);
        group.3 = group.3.saturating_add(if read.tokens { *tokens } else { 0 });
        group.4 = group.4.min(at);
    }
    let mut recount = Recount::going_on(catalogue, BTreeMap::new());
    for (call, at, requests, tokens, opened_at) in groups.into_values() {
        recount.add(&call, at, &Consumption { requests, ..of(tokens) }).unwrap();
        recount.open(&call, at, opened_at).unwrap();
    }
    recount.finish()
}

proptest! {
    #[test]
    fn calls_that_are_added_up_first_count_like_calls_one_by_one(
        calls in calls(),
        budgets in prop::sample::subsequence(
            vec![
                "a tokens 9 month tenant=acme", "b tokens 9 day zone=tenant each=tenant", "c requests 9 hour each=model",
                "d tokens 9 once each=run", "e tokens 9 sliding:600 tenant=bolt", "f requests 9 week each=team",
                "g tokens 9 month zone=tenant each=feature", "h tokens 9 day zone=Asia/Kathmandu feature=chat",
                "i tokens 9 once run=r1", "j requests 9 sliding:54000", "k tokens 9 month agent=a1",
                "l requests 9 once each=run max_seconds=600", "m tokens 9 month model=one",
            ],
            1..5,
        ),
    ) {
        let catalogue = counted(&budgets.join(", "));
        let read = reading(&catalogue);
        let mut recount = Recount::new(&catalogue, Vec::new());
        for (call, at, tokens) in &calls {
            recount.post(call, *at, &of(*tokens)).unwrap();
        }
        let one_by_one = recount.finish();
        prop_assert_eq!(&added_up(&calls, &read, &catalogue, false), &one_by_one);
        if read.is_in_rollup() {
            prop_assert_eq!(&added_up(&calls, &read, &catalogue, true), &one_by_one);
        }
    }
}
