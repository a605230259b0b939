//! What the callers saw, counted by themselves: each caller has a tally, and they are added up at the end.
//!
//! The ledger's own figures are read from it afterwards; these are the fleet's side.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::wire::answer::{PostedAnswer, PreflightAnswer, VerdictName};

/// Counts by name.
pub(super) type Counts = BTreeMap<String, u64>;

/// What was seen.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Tally {
    /// Requests of any kind.
    pub(super) requests: u64,
    /// Pre-flights by verdict.
    pub(super) verdicts: BTreeMap<&'static str, u64>,
    /// The headline of every answer that was not `allow`: by verdict, code and budget.
    pub(super) reasons: BTreeMap<&'static str, BTreeMap<String, Counts>>,
    /// Warnings that came with a grant.
    pub(super) warnings: Counts,
    /// How granted calls ended.
    pub(super) ended: BTreeMap<&'static str, u64>,
    /// What was remarkable about what was posted.
    pub(super) flags: Counts,
    /// Calls that waited as they were told, and went.
    pub(super) went_after_wait: u64,
    /// Calls that were never asked, because their run was stopped.
    pub(super) never_asked: u64,
    /// Settlements that were sent twice and posted once.
    pub(super) repeated: u64,
    #[serde(skip)]
    preflights: Vec<Duration>,
    #[serde(skip)]
    settlements: Vec<Duration>,
}

/// How long requests took, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Latency {
    pub(super) p50: String,
    pub(super) p99: String,
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, more: u64) {
    *counts.entry(key).or_default() += more;
}

fn add_all<K: Ord>(counts: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, count) in more {
        add(counts, key, count);
    }
}

/// The name on the wire.
pub(super) const fn verdict_name(verdict: VerdictName) -> &'static str {
    match verdict {
        VerdictName::Allow => "allow",
        VerdictName::Cap => "cap",
        VerdictName::Wait => "wait",
        VerdictName::Stop => "stop",
    }
}

impl Tally {
    /// An answer to a pre-flight.
    pub(super) fn preflight(&mut self, answer: &PreflightAnswer, took: Duration) {
        self.requests += 1;
        self.preflights.push(took);
        let verdict = verdict_name(answer.verdict);
        add(&mut self.verdicts, verdict, 1);
        let mut reasons = answer.reasons.iter();
        if answer.verdict != VerdictName::Allow
            && let Some(headline) = reasons.next()
        {
            let by_budget = self.reasons.entry(verdict).or_default().entry(headline.code.clone()).or_default();
            add(by_budget, headline.budget.clone().unwrap_or_default(), 1);
        }
        if answer.reservation.is_some() {
            for warning in reasons.filter(|reason| reason.code != "output_capped") {
                add(&mut self.warnings, warning.code.clone(), 1);
            }
        }
    }

    /// A settlement.
    pub(super) fn posted(&mut self, answer: &PostedAnswer, ended: &'static str, took: Duration) {
        self.requests += 1;
        self.settlements.push(took);
        add(&mut self.ended, ended, 1);
        for flag in &answer.flags {
            add(&mut self.flags, flag.clone(), 1);
        }
    }

    /// A granted call that posted nothing.
    pub(super) fn ended(&mut self, ended: &'static str) {
        add(&mut self.ended, ended, 1);
    }

    /// Adds what another caller saw.
    pub(super) fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        add_all(&mut self.verdicts, other.verdicts);
        for (verdict, by_code) in other.reasons {
            let codes = self.reasons.entry(verdict).or_default();
            for (code, by_budget) in by_code {
                add_all(codes.entry(code).or_default(), by_budget);
            }
        }
        add_all(&mut self.warnings, other.warnings);
        add_all(&mut self.ended, other.ended);
        add_all(&mut self.flags, other.flags);
        self.went_after_wait += other.went_after_wait;
        self.never_asked += other.never_asked;
        self.repeated += other.repeated;
        self.preflights.extend(other.preflights);
        self.settlements.extend(other.settlements);
    }

    /// Pre-flights.
    pub(super) fn asked(&self) -> u64 {
        self.verdicts.values().sum()
    }

    /// How long pre-flights took.
    pub(super) fn preflight_latency(&mut self) -> Latency {
        Latency::of(&mut self.preflights)
    }

    /// How long settlements took.
    pub(super) fn settlement_latency(&mut self) -> Latency {
        Latency::of(&mut self.settlements)
    }
}

impl Latency {
    /// The nearest rank.
    fn of(durations: &mut [Duration]) -> Self {
        durations.sort_unstable();
        let rank = |hundredths: usize| {
            let at = (durations.len() * hundredths).div_ceil(100).saturating_sub(1);
            let micros = durations.get(at).map_or(0, Duration::as_micros);
            format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
        };
        Self { p50: rank(50), p99: rank(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut durations: Vec<Duration> = (1..=200).rev().map(|n| Duration::from_micros(n * 1005)).collect();
        let Latency { p50, p99 } = Latency::of(&mut durations);
        assert_eq!((p50.as_str(), p99.as_str()), ("100.50", "198.99"));
        let Latency { p50, .. } = Latency::of(&mut []);
        assert_eq!(p50, "0.00");
    }
}
