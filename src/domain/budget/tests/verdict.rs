//! The four verdicts, case by case. `unit/one` costs a dollar a token.

use std::sync::Arc;

use chrono::TimeDelta;
use rust_decimal::dec;

use super::super::measure::{BucketWeights, Measure};
use super::super::verdict::{Reason, ReasonCode, Verdict, WAIT_SECONDS_MAX};
use super::*;
use crate::domain::amounts::BadAmount;
use crate::domain::ledger::outcome::BudgetState;

#[test]
fn a_call_is_allowed_up_to_exactly_the_limit() {
    check(
        "
        b tokens 10 day                     <- in=5 out=5          | allow 5
        b tokens 10 day posted=3            <- in=4 out=3          | allow 3
        b tokens 10 day posted=3 held=2     <- in=4 out=1          | allow 1
        b tokens 10 day posted=3 held=2     <- in=4 out=2          | wait 5s held_by_others:b
        b tokens 10 day posted=4            <- in=4 out=3          | stop 2026-01-02T00:00:00Z limit_reached:b
        b usd 10 day posted=9.999999999999  <- in=0 out=0          | allow 0
        b usd 10 day posted=9.000000000001  <- in=1 out=0          | stop 2026-01-02T00:00:00Z limit_reached:b
        b usd 10 day posted=9               <- in=1 out=0          | allow 0
        b requests 3 hour posted=2          <- in=1 out=1          | allow 1
        b requests 3 hour posted=3          <- in=1 out=1 cap      | stop 2026-01-01T13:00:00Z limit_reached:b
        b w:1,0,1,1,5,5 100 day posted=40   <- in=10 out=10        | allow 10
        b w:1,0,1,1,5,5 100 day posted=40.000001 <- in=10 out=10   | stop 2026-01-02T00:00:00Z limit_reached:b
        ",
    );
}

#[test]
fn a_cap_is_the_largest_output_that_fits_every_budget() {
    check(
        "
        b tokens 10 day posted=3 <- in=4 out=40 cap                     | cap 3 output_capped:b
        b tokens 10 day posted=3 <- in=4 out=40                         | stop never larger_than_limit:b
        b tokens 10 day held=3   <- in=4 out=5 cap                      | cap 3 output_capped:b
        b tokens 10 day held=3   <- in=4 out=5 cap min=4                | wait 5s held_by_others:b
        b tokens 10 day posted=3 <- in=4 out=4 cap min=4                | stop 2026-01-02T00:00:00Z limit_reached:b
        b tokens 10 day posted=3 <- in=4 out=4 cap min=3                | cap 3 output_capped:b
        b tokens 10 day posted=7 <- in=4 out=4 cap                      | stop 2026-01-02T00:00:00Z limit_reached:b
        b tokens 10 day posted=6 <- in=4 out=4 cap                      | stop 2026-01-02T00:00:00Z limit_reached:b
        b tokens 10 day posted=5 <- in=4 out=4 cap                      | cap 1 output_capped:b
        w w:1,0,1,1,5,5 100 day posted=50 <- in=10 out=20 cap           | cap 8 output_capped:w
        t tokens 100 day posted=90, u usd 20 day posted=15 <- in=1 out=14 cap | cap 4 output_capped:t output_capped:u
        t tokens 100 day posted=90, u usd 40 day posted=15 <- in=1 out=14 cap | cap 9 output_capped:t
        t tokens 10 day, r requests 1 day posted=1 <- in=1 out=20 cap   | stop never larger_than_limit:t limit_reached:r
        t tokens 100 day, u usd 5 day soft <- in=1 out=8 cap            | allow 8 over_soft_limit:u
        ",
    );
}

#[test]
fn wait_says_when_and_is_never_longer_than_two_minutes() {
    check(
        "
        b tokens 10 day posted=9  <- in=2 at=2026-01-01T23:58:00Z       | wait 120s limit_reached:b
        b tokens 10 day posted=9  <- in=2 at=2026-01-01T23:57:59Z       | stop 2026-01-02T00:00:00Z limit_reached:b
        b tokens 10 day posted=9  <- in=2 at=2026-01-01T23:59:59.5Z     | wait 1s limit_reached:b
        b tokens 10 day posted=9  <- in=2 at=2026-01-01T23:59:58.9999Z  | wait 2s limit_reached:b
        b tokens 10 once held=9   <- in=2                               | wait 5s held_by_others:b
        b tokens 10 once posted=9 <- in=2                               | stop never limit_reached:b
        b tokens 10 day zone=Asia/Tokyo posted=9 <- in=2                | stop 2026-01-01T15:00:00Z limit_reached:b
        // the later of two
        b tokens 10 day held=9, h tokens 10 hour posted=9  <- in=2 at=2026-01-01T12:59:00Z | wait 60s limit_reached:h held_by_others:b
        b tokens 10 day held=9, h tokens 10 month posted=9 <- in=2      | stop 2026-02-01T00:00:00Z limit_reached:h held_by_others:b
        d tokens 10 day posted=9, m tokens 10 month posted=9 <- in=2    | stop 2026-02-01T00:00:00Z limit_reached:d limit_reached:m
        // posted and held are both in the way: the holds alone would not do
        b tokens 10 day posted=9 held=1 <- in=2                         | stop 2026-01-02T00:00:00Z limit_reached:b
        ",
    );
}

#[test]
fn what_no_reset_can_help_has_no_reset() {
    check(
        "
        b tokens 10 day                       <- in=11                  | stop never larger_than_limit:b
        b tokens 10 day posted=9, m tokens 5 month <- in=6              | stop never larger_than_limit:m limit_reached:b
        b tokens 10 day                       <- in=11 at=2026-01-01T23:59:59Z | stop never larger_than_limit:b
        b tokens 0 day                        <- in=1                   | stop never larger_than_limit:b
        b tokens 0 day                        <- in=1 out=1 cap         | stop never larger_than_limit:b
        b usd 0 day                           <- local/free in=1 out=1  | allow 1
        ",
    );
}

#[test]
fn an_overdrawn_budget_refuses_even_a_tiny_call_and_no_free_one() {
    check(
        "
        b usd 10 day posted=10.5   <- unit/one in=1                     | stop 2026-01-02T00:00:00Z limit_reached:b
        b usd 10 day posted=10.5   <- openai/gpt-4o-mini in=1           | stop 2026-01-02T00:00:00Z limit_reached:b
        ",
    );
}

#[test]
fn a_budget_of_whose_measure_a_call_takes_nothing_is_no_obstacle() {
    check(
        "
        b usd 10 day posted=10       <- local/free in=1                 | allow 0
        // overdrawn
        b usd 10 day posted=10.5     <- local/free in=1                 | allow 0
        b usd 10 day posted=10.5     <- local/free in=1 out=5           | allow 5
        // lowered below what is held
        b usd 10 day posted=9 held=2 <- local/free in=1                 | allow 0
        b usd 0 day posted=9 held=2  <- local/free in=1                 | allow 0
        // under a floor
        b usd 10 day floors=interactive:0.4 posted=9 <- local/free in=1 batch | allow 0
        b usd 10 day floors=interactive:1            <- local/free in=1 batch | allow 0
        // no window has room either, and none is needed
        b usd 10 sliding:600 posted=12               <- local/free in=1 | allow 0
        // another budget is still in the way of what it counts
        b usd 10 day posted=11, c tokens 5 day posted=5 <- local/free in=1 | stop 2026-01-02T00:00:00Z limit_reached:c
        b usd 10 day posted=11, c tokens 5 day posted=2 <- local/free in=1 out=5 cap | cap 2 output_capped:c
        // a soft budget warns as before
        b usd 10 day soft posted=11  <- local/free in=1                 | allow 0 over_soft_limit:b
        // and a run that was stopped is
        b usd 10 day posted=11       <- local/free in=1 stopped         | stop never run_stopped
        ",
    );
}

#[test]
fn a_weighted_quota_is_no_obstacle_to_a_call_without_its_buckets() {
    let mut standings = standings("b tokens 10 day posted=12", &call("acme/chat unit/one"), at("2026-01-01T12:00:00Z"));
    let mut budget = (*standings[0].governing.budget).clone();
    let of_output = BucketWeights::new([dec!(0), dec!(0), dec!(0), dec!(0), dec!(1), dec!(1)]).unwrap();
    budget.measure = Measure::Weighted(of_output);
    standings[0].governing.budget = Arc::new(budget);
    let ruled = |text: &str| words(&Asked::parse(text).decide(&standings, 0).unwrap());
    assert_eq!(ruled("in=8000"), "allow 0", "an embedding under a quota of output");
    assert_eq!(ruled("in=8000 out=1"), "stop 2026-01-02T00:00:00Z limit_reached:b");
}

#[test]
fn a_credit_makes_no_limit_wider() {
    check(
        "
        b tokens 1000 day posted=-4100          <- in=1000              | allow 0
        b tokens 1000 day posted=-4100          <- in=1001              | stop never larger_than_limit:b
        b tokens 1000 day posted=-4100 held=400 <- in=600               | allow 0
        b tokens 1000 day posted=-4100 held=400 <- in=601               | wait 5s held_by_others:b
        b tokens 1000 day posted=-4100 held=400 <- in=100 out=900 cap   | cap 500 output_capped:b
        b tokens 1000 day floors=interactive:0.4 posted=-1 <- in=601 batch | stop never larger_than_limit:b
        ",
    );
    let now = at("2026-01-01T12:00:00Z");
    let standing = &standings("b tokens 1000 day posted=-4100 held=400", &call("acme/chat unit/one"), now)[0];
    assert_eq!(standing.headroom(), quantity("600"), "what is shown is what can be had");
    assert_eq!(BudgetState::of(standing, standing.total).headroom(), quantity("600"));
    assert_eq!(standing.total.posted, quantity("-4100"), "the counter says what the journal says");
}

#[test]
fn a_credit_in_one_slice_makes_no_room_for_what_stands_in_another() {
    let now = at("2026-01-01T12:00:00Z");
    let mut standing = standings("b tokens 1000 sliding:600 posted=900", &call("acme/chat unit/one"), now).remove(0);
    let (period, counter) = standing.slices[0];
    standing.slices.insert(0, (period, Counter { posted: quantity("-5000"), ..counter }));
    let standing = Standing::new(standing.governing, standing.slices);
    assert_eq!(standing.headroom(), quantity("100"));
    let ruled = |text: &str| Asked::parse(text).decide(std::slice::from_ref(&standing), 0).unwrap().verdict;
    assert_eq!([ruled("in=100"), ruled("in=101")].map(Verdict::grants), [true, false]);
}

#[test]
fn a_floor_keeps_its_share_for_the_more_urgent() {
    check(
        "
        b tokens 100 day floors=interactive:0.4 posted=59 <- in=1 standard    | allow 0
        b tokens 100 day floors=interactive:0.4 posted=60 <- in=1 standard    | stop 2026-01-02T00:00:00Z priority_floor:b
        b tokens 100 day floors=interactive:0.4 posted=60 <- in=40 interactive | allow 0
        b tokens 100 day floors=interactive:0.4 posted=60 <- in=41 interactive | stop 2026-01-02T00:00:00Z limit_reached:b
        b tokens 100 day floors=interactive:0.4 held=60   <- in=1 batch       | wait 5s held_by_others:b
        b tokens 100 day floors=interactive:0.4           <- in=61 batch      | stop never larger_than_limit:b
        b tokens 100 day floors=interactive:0.4 posted=50 <- in=5 out=20 cap batch | cap 5 output_capped:b
        b tokens 100 day floors=interactive:0.4,standard:0.1 posted=49 <- in=1 batch | allow 0
        b tokens 100 day floors=interactive:0.4,standard:0.1 posted=50 <- in=1 batch | stop 2026-01-02T00:00:00Z priority_floor:b
        b tokens 100 day floors=interactive:0.4,standard:0.1 posted=50 <- in=10 standard | allow 0
        b tokens 100 day floors=batch:0.5 posted=99       <- in=1 batch       | allow 0
        b tokens 100 day floors=interactive:1             <- in=1 standard    | stop never larger_than_limit:b
        // below the floor and beyond the limit
        b tokens 100 day floors=interactive:0.4 posted=99 <- in=2 batch       | stop 2026-01-02T00:00:00Z limit_reached:b
        ",
    );
}

#[test]
fn what_warns_never_refuses() {
    check(
        "
        s tokens 10 day soft posted=100                     <- in=5     | allow 0 over_soft_limit:s
        s tokens 10 day soft posted=5                       <- in=5     | allow 0
        s tokens 10 day soft posted=5                       <- in=6     | allow 0 over_soft_limit:s
        s tokens 0 day soft                                 <- in=1     | allow 0 over_soft_limit:s
        s tokens 0 day soft thresholds=0.5                  <- in=0     | allow 0
        s tokens 10 day soft held=100 floors=interactive:0.4 <- in=5 batch | allow 0 over_soft_limit:s
        b tokens 100 day thresholds=0.8,0.95 posted=70      <- in=9     | allow 0
        b tokens 100 day thresholds=0.8,0.95 posted=70      <- in=10    | allow 0 near_limit:b
        s tokens 100 day soft thresholds=0.8 held=75        <- in=5     | allow 0 near_limit:s
        // a refused call is not counted in
        b tokens 100 day thresholds=0.8 posted=70           <- in=40    | stop 2026-01-02T00:00:00Z limit_reached:b
        b tokens 100 day thresholds=0.8 posted=80           <- in=40    | stop 2026-01-02T00:00:00Z limit_reached:b near_limit:b
        b tokens 100 day                                    <- openai/unheard in=1 | allow 0 unpriced_model factor_fallback
        b tokens 100 day                                    <- nobody/nothing in=1 | allow 0 unpriced_model factor_fallback
        b tokens 100 day                                    <- openai/gpt-4o in=1  | allow 0
        ",
    );
}

#[test]
fn a_reason_carries_its_numbers() {
    let asked = Asked::parse("in=4 out=9 cap");
    let budgets = standings("b tokens 10 day posted=3 held=1 thresholds=0.5,0.9", &asked.call, asked.now);
    let ruling = asked.decide(&budgets, 0).unwrap();
    let reason = |code, asked, available| Reason {
        code,
        budget: Some("b".parse().unwrap()),
        asked: Some(quantity(asked)),
        available: Some(quantity(available)),
        field: None,
    };
    assert_eq!(
        ruling.reasons,
        [reason(ReasonCode::OutputCapped, "13", "6"), reason(ReasonCode::NearLimit, "6", "0.9")],
        "13 were asked where 6 were left; with the 6 that were granted, 90 % are reached"
    );
    assert_eq!(ruling.priced.consumption.usage, usage([4, 0, 0, 0, 2, 0]), "what was granted, not what was asked");

    let asked = Asked::parse("in=4");
    let overdrawn = standings("b tokens 10 day posted=12", &asked.call, asked.now);
    let ruling = asked.decide(&overdrawn, 0).unwrap();
    assert_eq!(ruling.reasons, [reason(ReasonCode::LimitReached, "4", "-2")], "what is overdrawn shows below zero");
}

#[test]
fn thresholds_and_floors_are_exact_to_the_last_digit() {
    let most = Quantity::MAX.decimal().to_string();
    let budget = budget(1, &format!("b usd {most} day thresholds=0.333333,1 floors=interactive:0.333333"));
    // 9999999999999999.999999999999 × 0.333333 = 3333329999999999.999999999999666667, and × 0.666667 = 6666669999999999.999999999999333333
    assert_eq!(budget.ceiling(Priority::Batch), quantity("6666669999999999.999999999999"), "rounded down");
    assert_eq!(budget.ceiling(Priority::Interactive), Quantity::MAX);
    assert_eq!(budget.threshold_reached(quantity("3333329999999999.999999999999")), None);
    assert_eq!(budget.threshold_reached(quantity("3333330000000000")), Some(dec!(0.333333)));
    assert_eq!(budget.threshold_reached(Quantity::MAX), Some(dec!(1)));
}

#[test]
fn retries_are_spread_over_what_is_left_of_two_minutes() {
    let after = |seconds: i64, jitter: u64| {
        let mut asked = Asked::parse("in=2");
        let reset = at("2026-01-02T00:00:00Z");
        asked.now = reset.checked_sub_signed(TimeDelta::seconds(seconds)).unwrap();
        let ruling = asked.decide(&standings("b tokens 10 day posted=9", &asked.call, asked.now), jitter).unwrap();
        let retry = ruling.retry.unwrap();
        assert_eq!(retry.not_before, reset, "the instant itself is told without jitter");
        retry.after_seconds
    };
    for seconds in [1, 2, 3, 10, 60, 79, 80, 81, 100, 119, 120] {
        let all: std::collections::BTreeSet<u32> = (0..500).map(|jitter| after(seconds, jitter)).collect();
        let least = u32::try_from(seconds).unwrap();
        let most = least.checked_add(least / 2).unwrap().min(WAIT_SECONDS_MAX);
        assert!(all.iter().eq((least..=most).collect::<Vec<_>>().iter()), "{seconds}: {all:?}");
    }
    assert!((1..=WAIT_SECONDS_MAX).contains(&after(90, u64::MAX)));
}

#[test]
fn no_number_is_so_large_that_deciding_panics_or_errs_towards_granting() {
    let most = Quantity::MAX.decimal();
    let b = |rest: &str| format!("b tokens {most} day {rest}");
    let max = "1000000000000000";
    check(&format!(
        "
        {} <- local/free in={max}                       | allow 0
        {} <- local/free in={max}                       | stop 2026-01-02T00:00:00Z limit_reached:b
        {} <- local/free in={max}                       | wait 5s held_by_others:b
        {} <- local/free in=1                           | stop 2026-01-02T00:00:00Z limit_reached:b
        s tokens 0 day soft posted={most} held={most}   <- local/free in={max} | allow 0 over_soft_limit:s
        ",
        b(""),
        b(&format!("posted={most}")),
        b(&format!("held={most}")),
        b(&format!("posted={most} held={most}")),
    ));
    let weighted = "w w:1000,0,0,0,0,0 10 day soft";
    let asked = Asked::parse(&format!("local/free in={max}"));
    let ruling = asked.decide(&standings(weighted, &asked.call, asked.now), 0).unwrap();
    assert_eq!(words(&ruling), "allow 0 over_soft_limit:w", "a soft budget never refuses, also what it cannot count");
    let hard = weighted.replace(" soft", "");
    let refused = asked.decide(&standings(&hard, &asked.call, asked.now), 0);
    assert_eq!(refused, Err(Undecided::Amount(BadAmount::TooLarge)));
}
