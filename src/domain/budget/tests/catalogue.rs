//! Which budgets govern a call, and which budgets are none.

use rust_decimal::dec;

use super::super::catalogue::{BadBudget, Budget, BudgetClock};
use super::super::measure::Measure;
use super::super::promise::Promise;
use super::*;
use crate::domain::fixtures::catalogue;

/// The counters of a call: budget, key and start.
fn governing(world: &str, text: &str, instant: &str) -> String {
    let governing = catalogue(world).governing(&call(text), at(instant)).unwrap();
    let name = |one: &super::super::catalogue::Governing| {
        let key = one.key.as_str();
        format!("{}{}{key} {}", one.budget.id, if key.is_empty() { "" } else { "@" }, one.period.start.format("%FT%R"))
    };
    governing.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_budget_counts_apart_by_what_it_says() {
    let noon = "2026-01-01T12:00:00Z";
    let full = "acme/chat openai/gpt-4o region=us-east run=r1 agent=a1 team=cx";
    let of = |each: &str, text: &str| {
        governing(&format!("tenant acme Etc/UTC\nbudget b tokens 10 day each={each}"), text, noon)
    };
    for (each, key) in [
        ("tenant", "acme"),
        ("feature", "acme/chat"),
        ("provider", "openai"),
        ("model", "openai/gpt-4o"),
        ("region", "openai/us-east"),
        ("run", "acme/r1"),
        ("agent", "acme/a1"),
        ("team", "acme/cx"),
    ] {
        assert_eq!(of(each, full), format!("b@{key} 2026-01-01T00:00"), "{each}");
    }
    for each in ["region", "run", "agent", "team"] {
        assert_eq!(
            of(each, "acme/chat openai/gpt-4o"),
            "",
            "a call without a {each} is not governed by a budget for each"
        );
    }
}

#[test]
fn the_tenants_clock_bounds_its_periods_and_a_boundary_belongs_to_the_new_one() {
    let world = "
        tenant acme Asia/Tokyo
        tenant beta America/Sao_Paulo
        budget own tokens 10 day tenant=acme zone=tenant
        budget all tokens 10 day each=tenant zone=tenant
        budget utc tokens 10 day";
    let at_instant = |tenant: &str, instant: &str| governing(world, &format!("{tenant}/chat openai/gpt-4o"), instant);
    assert_eq!(
        at_instant("acme", "2026-01-01T14:59:59.999999Z"),
        "all@acme 2025-12-31T15:00, utc 2026-01-01T00:00, own 2025-12-31T15:00"
    );
    assert_eq!(
        at_instant("acme", "2026-01-01T15:00:00Z"),
        "all@acme 2026-01-01T15:00, utc 2026-01-01T00:00, own 2026-01-01T15:00"
    );
    assert_eq!(at_instant("beta", "2026-01-01T02:59:59Z"), "all@beta 2025-12-31T03:00, utc 2026-01-01T00:00");
    assert_eq!(at_instant("nobody", "2026-01-01T02:59:59Z"), "utc 2026-01-01T00:00", "no tenant, no clock");
}

#[test]
fn periods_that_ended_before_a_budget_was_made_are_not_its_own() {
    let world = "
        tenant acme Etc/UTC
        budget b tokens 10 day from=2026-01-02T12:00:00Z
        budget o tokens 10 once from=2026-01-02T12:00:00Z";
    let of = |instant| governing(world, "acme/chat openai/gpt-4o", instant);
    assert_eq!(of("2026-01-01T23:59:59Z"), "o 1970-01-01T00:00");
    assert_eq!(of("2026-01-02T00:00:00Z"), "b 2026-01-02T00:00, o 1970-01-01T00:00", "the day it was made in is");
}

#[test]
fn budgets_that_make_no_sense_are_refused_and_the_field_is_named() {
    let sound = || budget(1, "b tokens 10 day");
    let check = |broken: Budget, expected: BadBudget, field: &str| {
        assert_eq!(broken.check(), Err(expected));
        assert_eq!(expected.field(), field);
    };
    let limit = Quantity::new(dec!(-1)).unwrap();
    check(Budget { limit, ..sound() }, BadBudget::NegativeLimit, "limit");
    check(Budget { clock: BudgetClock::Tenant, ..sound() }, BadBudget::SharedTenantClock, "timezone");
    for shares in [
        vec![dec!(0)],
        vec![dec!(1.1)],
        vec![dec!(0.9), dec!(0.8)],
        vec![dec!(0.8), dec!(0.8)],
        vec![dec!(-0.1)],
        vec![dec!(0.1234567)],
    ] {
        check(Budget { thresholds: shares, ..sound() }, BadBudget::Thresholds, "thresholds");
    }
    for share in [dec!(1.1), dec!(-0.1), dec!(0.1234567)] {
        check(Budget { floors: [(Priority::Interactive, share)].into(), ..sound() }, BadBudget::Floors, "floors");
    }
    let together = [(Priority::Interactive, dec!(0.6)), (Priority::Standard, dec!(0.5))].into();
    check(Budget { floors: together, ..sound() }, BadBudget::Floors, "floors");
    assert_eq!(Budget { thresholds: vec![dec!(0.500000), dec!(1)], ..sound() }.check(), Ok(()));
}

#[test]
fn two_versions_count_alike_unless_their_shape_differs() {
    let one = budget(1, "b tokens 10 day");
    let same = ["b tokens 99 day", "b tokens 10 day soft thresholds=0.5 floors=interactive:0.1"];
    assert!(same.iter().all(|text| one.counts_like(&budget(1, text))));
    let other = [
        "b usd 10 day",
        "b tokens 10 hour",
        "b tokens 10 day each=run",
        "b tokens 10 day zone=Asia/Tokyo",
        "b tokens 10 day model=x",
    ];
    assert!(other.iter().all(|text| !one.counts_like(&budget(1, text))));
}

#[test]
fn spent_is_counted_also_where_a_counter_is_full() {
    let full = Counter { posted: Quantity::MAX, ..Counter::default() };
    let one = quantity("1");
    assert_eq!(full.post(one), full);
    assert!(
        Counter { held: Quantity::MAX, ..Counter::default() }.hold(Promise::whole(one)).is_err(),
        "a promise can be refused"
    );
    assert_eq!(Counter::default().post(one).post(Quantity::MAX), Counter::default().post(Quantity::MAX).post(one));
    let weights = budget(1, "b w:1000,0,0,0,0,0 1 day").measure;
    let consumption = super::super::measure::Consumption {
        usage: usage([1_000_000_000_000_000, 0, 0, 0, 0, 0]),
        ..Default::default()
    };
    assert!(weights.of(&consumption).is_err());
    assert_eq!(weights.saturating_of(&consumption), Quantity::MAX);
    assert_eq!(Measure::Tokens.name(), "tokens");
}
