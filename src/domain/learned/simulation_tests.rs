//! What a learned rule is worth and what it costs, on the lengths of real answers: every second call is learned from, and the
//! others are asked for.

use std::sync::Arc;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::histogram::{Histogram, Ratio};
use super::lesson::{Class, Lessons};
use crate::domain::budget::catalogue::{HoldRule, Priority};
use crate::domain::fixtures::{at, call, catalogue, rates, tokens, usage};
use crate::domain::id::{ReservationId, TransferId};
use crate::domain::ledger::books::{Books, Changes};
use crate::domain::ledger::command::{Action, Command, ReportedUsage, Reserve, Settle};
use crate::domain::ledger::outcome::Outcome;
use crate::domain::ledger::transfer::{CallOutcome, CallReport};
use crate::domain::price::ServiceTier;

const CHAT: &str = include_str!("../../../data/traces/azure_llm_2023_conv.sample.csv");
const CODE: &str = include_str!("../../../data/traces/azure_llm_2023_code.sample.csv");
/// What these calls may generate: no answer of either trace is longer.
const MAX_OUTPUT: u64 = 1_500;
const CALL: &str = "acme/chat unit/one";

/// The lengths of the answers of a trace: those to learn from, and the others.
fn halves(trace: &str) -> (Vec<u64>, Vec<u64>) {
    let length = |line: &str| line.rsplit(',').next().unwrap().trim().parse::<u64>().unwrap();
    let all: Vec<u64> = trace.lines().skip(1).map(length).collect();
    assert!(all.iter().all(|length| *length <= MAX_OUTPUT));
    (all.iter().copied().step_by(2).collect(), all.iter().copied().skip(1).step_by(2).collect())
}

fn lessons(lengths: &[u64]) -> Arc<Lessons> {
    let mut output = Histogram::default();
    lengths.iter().for_each(|length| output.count(Ratio::of(tokens(*length), tokens(MAX_OUTPUT)).unwrap()));
    let call = call(CALL);
    let class =
        Class { tenant: Some(call.tenant), feature: Some(call.feature), provider: call.provider, model: call.model };
    Arc::new(Lessons::learn([(class, output)]))
}

fn books(limit: u64, rule: &str, lessons: &Arc<Lessons>) -> Books {
    let budget = format!("tenant acme Etc/UTC\nbudget hot tokens {limit} day {rule}");
    Books { lessons: Arc::clone(lessons), ..Books::new(catalogue(&budget), rates()) }
}

fn reserve(number: u128) -> Command {
    let reserve = Reserve {
        id: ReservationId(Uuid::from_u128(number)),
        call: call(CALL),
        priority: Priority::Standard,
        service_tier: ServiceTier::Standard,
        usage: usage([0, 0, 0, 0, MAX_OUTPUT, 0]),
        min_output: tokens(1),
        allow_cap: false,
        hold: true,
        ttl_seconds: 3_600,
    };
    Command { action: Action::Reserve(Box::new(reserve)), idempotency: None }
}

fn settle(number: u128, output: u64) -> Command {
    let report =
        CallReport { outcome: CallOutcome::Completed, latency_ms: None, provider_request_id: None, provider_usd: None };
    let settle = Settle {
        reservation: ReservationId(Uuid::from_u128(number)),
        tenant: None,
        transfer: TransferId(Uuid::from_u128(number)),
        usage: Some(ReportedUsage::Buckets(usage([0, 0, 0, 0, output, 0]))),
        is_partial: None,
        served_model: None,
        served_region: None,
        served_provider: None,
        service_tier: None,
        is_strict: false,
        report,
    };
    Command { action: Action::Settle(Box::new(settle)), idempotency: None }
}

/// Whether a call is granted.
fn granted(books: &mut Books, number: u128) -> bool {
    match books.apply(&reserve(number), at("2026-01-01T12:00:00Z")) {
        Ok(Outcome::Ruled(ruled)) => ruled.granted.is_some(),
        other => panic!("not a verdict: {other:?}"),
    }
}

/// Fills a budget with open calls: how many there are, what is held for each, and what is kept aside of the limit for all.
fn fill(limit: u64, rule: &str, lessons: &Arc<Lessons>) -> (u64, u64, Decimal) {
    let mut books = books(limit, rule, lessons);
    let mut open = 0;
    while granted(&mut books, u128::from(open) + 1) {
        open += 1;
    }
    let counter = *books.counters.values().next().unwrap();
    let limit =
        catalogue(&format!("tenant acme Etc/UTC\nbudget hot tokens {limit} day")).budgets().next().unwrap().limit;
    let held = counter.held.decimal() / Decimal::from(open);
    (open, held.try_into().unwrap(), counter.kept_aside(limit).decimal())
}

/// A stream of numbers that is always the same.
struct Draw(u64);

impl Draw {
    fn from<T: Copy>(&mut self, values: &[T]) -> T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        values[usize::try_from(self.0 >> 33).unwrap() % values.len()]
    }
}

/// Of so many trials, in how many the overruns of as many open calls as fit were above the margin.
fn trials(open: u64, held: u64, margin: Decimal, asked: &[u64], trials: u32) -> u32 {
    let mut draw = Draw(17);
    let above = (0..trials).filter(|_| {
        let over: u64 = (0..open).map(|_| draw.from(asked).saturating_sub(held)).sum();
        Decimal::from(over) > margin
    });
    u32::try_from(above.count()).unwrap()
}

/// A trace, a rule and a limit; how many calls are open at once where whole estimates are held, and how many where learned ones
/// are; what is held of each.
#[track_caller]
fn check(trace: &str, rule: &str, limit: u64, expect: (u64, u64, u64)) {
    const TRIALS: u32 = 4_000;
    let (learned, asked) = halves(trace);
    let lessons = lessons(&learned);
    let (whole, _, none) = fill(limit, "", &lessons);
    assert_eq!(none, Decimal::ZERO, "nothing is kept aside of a budget that holds whole estimates");
    let (open, held, margin) = fill(limit, rule, &lessons);
    assert_eq!((whole, open, held), expect, "{rule} {limit}");
    let above = trials(open, held, margin, &asked, TRIALS);
    // Forty would be within the confidence; calls are not as bad as the worst that the margin is made for.
    assert_eq!(above, 0, "{rule} {limit}: so many of {TRIALS} trials overran the margin of {margin}");
}

#[test]
fn overruns_of_real_answers_stay_within_the_margin_as_often_as_is_stated() {
    check(CHAT, "reserve=p95", 15_000, (10, 13, 487));
    check(CHAT, "reserve=p95", 150_000, (100, 296, 487));
    check(CHAT, "reserve=p95", 1_500_000, (1_000, 2_995, 487));
    check(CHAT, "reserve=p99", 15_000, (10, 13, 631));
    check(CHAT, "reserve=p99", 150_000, (100, 232, 631));
    check(CHAT, "reserve=p99", 1_500_000, (1_000, 2_326, 631));
    check(CODE, "reserve=p95", 15_000, (10, 12, 103));
    check(CODE, "reserve=p95", 150_000, (100, 1_008, 103));
    check(CODE, "reserve=p95", 1_500_000, (1_000, 12_564, 103));
    // 490 calls are too few for p99.
    check(CODE, "reserve=p99", 150_000, (100, 100, 1_500));
}

#[test]
fn a_hot_budget_that_learns_lets_more_calls_in_at_once_and_is_not_overdrawn() {
    let (learned, asked) = halves(CHAT);
    let lessons = lessons(&learned);
    let limit = 150_000;
    // A crowd of 400 calls at once, again and again, until the budget is spent: how many were refused at the first rush, how
    // many calls were made in all, and what was posted.
    let day = |rule: &str| {
        let mut books = books(limit, rule, &lessons);
        let mut draw = Draw(5);
        let (mut number, mut made, mut first_rush) = (0_u128, 0_u32, None);
        loop {
            let open: Vec<u128> = (0..400).map(|place| number + place).filter(|id| granted(&mut books, *id)).collect();
            number += 400;
            first_rush.get_or_insert(open.len());
            if open.is_empty() {
                break;
            }
            made += u32::try_from(open.len()).unwrap();
            // A reservation is ended in a later batch than it was granted in.
            books.changes = Changes::default();
            for id in open {
                books.apply(&settle(id, draw.from(&asked)), at("2026-01-01T12:00:00Z")).unwrap();
            }
        }
        (first_rush.unwrap(), made, books.counters.values().next().unwrap().posted.decimal())
    };
    let (by_max, by_p95) = (day(""), day("reserve=p95"));
    assert_eq!((by_max.0, by_p95.0), (100, 296), "at once, of a crowd of 400");
    assert!(by_p95.1 >= by_max.1, "in all: {} by the maximum, {} by p95", by_max.1, by_p95.1);
    assert!(by_p95.2 <= Decimal::from(limit), "{} posted of {limit}", by_p95.2);
}

#[test]
fn what_is_held_is_what_was_learned() {
    let (learned, _) = halves(CODE);
    let lessons = lessons(&learned);
    let output = |rule| lessons.of(&call(CALL), rule).map(|lesson| lesson.output(tokens(MAX_OUTPUT)).count());
    let within = |held: u64| learned.iter().filter(|length| **length <= held).count() * 1_000 / learned.len();
    let (p95, p99) = (output(HoldRule::P95).unwrap(), output(HoldRule::P99));
    assert!((950..=970).contains(&within(p95)), "{p95}: {} of 1000", within(p95));
    assert_eq!(p99, None, "490 calls are too few");
}
