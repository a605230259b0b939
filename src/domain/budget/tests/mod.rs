//! One budget as a line: `[id measure limit period …]` as in the fixtures, then `posted=` and `held=`.

mod catalogue;
mod closed;
mod search;
mod sliding;
mod verdict;

use chrono::{DateTime, Utc};

use super::catalogue::{Catalogue, Priority};
use super::counter::{Counter, Standing};
use super::scope::Dimensions;
use super::verdict::{Ask, Holding, Ruling, Undecided, decide};
use crate::domain::amounts::Quantity;
use crate::domain::fixtures::{at, budget, call, priority, quantity, rates, tokens, usage};
use crate::domain::price::ServiceTier;

/// The budgets that are written in `text`, separated by commas and a space, as they stand for a call.
fn standings(text: &str, call: &Dimensions, now: DateTime<Utc>) -> Vec<Standing> {
    let one = |text: &str| {
        let (mut counter, mut words) = (Counter::default(), Vec::new());
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("posted", amount)) => counter.posted = quantity(amount),
                Some(("held", amount)) => counter.held = quantity(amount),
                Some(_) | None => words.push(word),
            }
        }
        let catalogue = Catalogue::new(1, Vec::new(), vec![budget(1, &words.join(" "))]);
        let governing = catalogue.governing(call, now).unwrap().pop().expect("a budget that governs the call");
        let slices = vec![(governing.period, counter)];
        Standing::new(governing, slices)
    };
    text.split(", ").map(one).collect()
}

/// What is asked, in words: the call's provider and model, `in=` and `out=` tokens, `min=`, `cap`, a priority, `at=`.
struct Asked {
    call: Dimensions,
    input: u64,
    output: u64,
    min_output: u64,
    allow_cap: bool,
    priority: Priority,
    now: DateTime<Utc>,
    is_run_stopped: bool,
}

impl Asked {
    fn parse(text: &str) -> Self {
        let mut asked = Self {
            call: call("acme/chat unit/one"),
            input: 0,
            output: 0,
            min_output: 1,
            allow_cap: false,
            priority: Priority::Standard,
            now: at("2026-01-01T12:00:00Z"),
            is_run_stopped: false,
        };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("in", count)) => asked.input = count.parse().unwrap(),
                Some(("out", count)) => asked.output = count.parse().unwrap(),
                Some(("min", count)) => asked.min_output = count.parse().unwrap(),
                Some(("at", instant)) => asked.now = at(instant),
                Some((key, _)) => panic!("{text}: {key}"),
                None if word == "cap" => asked.allow_cap = true,
                None if word == "stopped" => asked.is_run_stopped = true,
                None if word.contains('/') => asked.call = call(&format!("acme/chat {word}")),
                None => asked.priority = priority(word).unwrap_or_else(|| panic!("{text}: {word}")),
            }
        }
        asked
    }

    fn decide(&self, standings: &[Standing], jitter: u64) -> Result<Ruling, Undecided> {
        let rates = rates();
        let call = &self.call;
        let tariff = rates.tariff(&call.provider, &call.model, ServiceTier::Standard, call.region.as_ref(), self.now);
        let ask = Ask {
            usage: usage([self.input, 0, 0, 0, self.output, 0]),
            min_output: tokens(self.min_output),
            allow_cap: self.allow_cap,
            priority: self.priority,
            tariff: &tariff,
            jitter,
            holding: Holding::Whole,
            is_run_stopped: self.is_run_stopped,
            missing: &[],
            hold_seconds: 120,
        };
        decide(&ask, standings, self.now)
    }
}

/// What was decided, in words: the verdict, the output, the seconds or the instant; then the reasons.
fn words(ruling: &Ruling) -> String {
    let mut words = vec![ruling.verdict.name().to_owned()];
    words.extend(ruling.max_output.map(|output| output.to_string()));
    words.extend(ruling.retry.map(|retry| format!("{}s", retry.after_seconds)));
    if ruling.verdict.name() == "stop" {
        words.push(ruling.resets_at.map_or("never".to_owned(), |instant| instant.format("%FT%TZ").to_string()));
    } else {
        assert_eq!(ruling.resets_at, None, "only a stop says when it resets");
    }
    for reason in &ruling.reasons {
        let budget = reason.budget.as_ref().map_or(String::new(), |budget| format!(":{budget}"));
        words.push(format!("{}{budget}", reason.code.name()));
    }
    words.join(" ")
}

/// One line per case: budgets `<-` what is asked `|` what is decided.
#[track_caller]
fn check(table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let (given, expected) = line.split_once('|').expect("a |");
        let (budgets, asked) = given.split_once("<-").expect("a <-");
        let asked = Asked::parse(asked);
        let ruling = asked.decide(&standings(budgets.trim(), &asked.call, asked.now), 0).unwrap();
        assert_eq!(words(&ruling), expected.trim(), "for {line}");
        // The verdict, the numbers and the hints never contradict each other.
        assert_eq!(ruling.max_output.is_some(), ruling.verdict.grants(), "{line}");
        assert_eq!(ruling.retry.is_some(), ruling.verdict.name() == "wait", "{line}");
        assert!(ruling.reasons.is_sorted_by_key(|reason| reason.code), "{line}: the headline comes first");
    }
}

/// How much of each measure a granted call takes, beside what was taken before: never above the limit.
fn within_limits(ruling: &Ruling, standings: &[Standing]) -> bool {
    let fits = |standing: &Standing| {
        let asked = standing.governing.budget.measure.of(&ruling.priced.consumption).unwrap();
        let total = [standing.total.posted, standing.total.held, asked].into_iter().map(Quantity::decimal);
        asked == Quantity::ZERO || total.sum::<rust_decimal::Decimal>() <= standing.governing.budget.limit.decimal()
    };
    standings
        .iter()
        .filter(|standing| standing.governing.budget.enforcement == super::catalogue::Enforcement::Hard)
        .all(fits)
}
