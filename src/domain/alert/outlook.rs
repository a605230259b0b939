//! A budget that is projected to run out before it resets, and soon.
//!
//! The projection is made and kept elsewhere; here is only whether it is worth waking somebody. One that is not sure of
//! itself must be nearly certain of the end.
#![expect(
    clippy::float_arithmetic,
    reason = "probabilities are compared; no amount that is posted passes through them"
)]

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive as _;

use super::counters::{CounterFact, about, named};
use super::kind::{AlertKind, Severity};
use super::{Figure, Level, Reading};

/// How far ahead the end must be expected to be told.
pub const EXHAUSTION_WITHIN: TimeDelta = TimeDelta::days(7);
/// How near it is urgent.
const URGENT_WITHIN: TimeDelta = TimeDelta::days(1);
/// The least probability that is told.
const PROBABLE: f64 = 0.5;
/// The least probability that is told of a projection that is not sure of itself.
const PROBABLE_UNSURE: f64 = 0.8;
/// Below this probability it clears.
const IMPROBABLE: f64 = 0.35;

/// A counter, and its latest projection.
#[derive(Debug, Clone, PartialEq)]
pub struct OutlookFact {
    /// The counter.
    pub counter: CounterFact,
    /// When the projection was made.
    pub made_at: DateTime<Utc>,
    /// One in ten is earlier.
    pub p10: Option<DateTime<Utc>>,
    /// When it is expected to run out; none: not in this period.
    pub p50: Option<DateTime<Utc>>,
    /// One in ten is later.
    pub p90: Option<DateTime<Utc>>,
    /// The probability that it runs out in this period.
    pub probability: f64,
    /// How far the projection trusts itself: `high`, `medium`, `low`.
    pub confidence: String,
}

/// What a projection tells. A budget that has run out already has nothing more to be foreseen.
#[must_use]
pub fn read(fact: &OutlookFact, now: DateTime<Utc>) -> Reading {
    let budget = &fact.counter.budget;
    let gone = fact.counter.counter.posted >= budget.limit;
    let line = if fact.confidence == "low" { PROBABLE_UNSURE } else { PROBABLE };
    let left = fact.p50.map(|end| end.signed_duration_since(now));
    let soon = left.is_some_and(|left| left <= EXHAUSTION_WITHIN);
    let level = if fact.probability < IMPROBABLE {
        Level::Quiet
    } else if soon && !gone && fact.probability >= line {
        Level::Firing
    } else {
        Level::Between
    };
    let mut alert = about(&fact.counter, AlertKind::ProjectedExhaustion, "");
    let percent = Decimal::from_f64(fact.probability * 100.0).unwrap_or_default().round();
    alert.severity =
        if left.is_some_and(|left| left <= URGENT_WITHIN) { Severity::Critical } else { Severity::Warning };
    alert.message = match fact.p50 {
        Some(end) => format!(
            "budget {} is expected to run out at {} and before its reset with a probability of {percent} %",
            named(budget, &fact.counter.key),
            end.format("%Y-%m-%dT%H:%MZ")
        ),
        None => format!("budget {} runs out with a probability of {percent} %", named(budget, &fact.counter.key)),
    };
    alert.advice =
        "Look at who drives it and who is at work then: slow down what can wait, or raise the limit.".to_owned();
    let instants = [("p10", fact.p10), ("p50", fact.p50), ("p90", fact.p90)];
    alert.figures.extend(instants.into_iter().filter_map(|(name, at)| at.map(|at| (name, Figure::Instant(at)))));
    let probability = Decimal::from_f64(fact.probability).unwrap_or_default().round_dp(3);
    alert.figures.push(("probability", Figure::Decimal(probability)));
    alert.figures.push(("confidence", Figure::Word(fact.confidence.clone())));
    alert.figures.push(("projected_at", Figure::Instant(fact.made_at)));
    alert.links.insert(0, ("projection", format!("/v1/budgets/{}/projection", budget.id)));
    Reading::of(alert, level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::counters::tests::fact as counter_fact;

    #[test]
    fn projections_by_probability_nearness_and_trust() {
        let now: DateTime<Utc> = "2026-06-10T12:00:00Z".parse().unwrap();
        let level = |days: Option<i64>, probability: f64, confidence: &str, posted: u32| {
            let p50 = days.map(|days| now + TimeDelta::days(days));
            let confidence = confidence.to_owned();
            let counter = counter_fact("1000", posted);
            read(&OutlookFact { counter, made_at: now, p10: None, p50, p90: None, probability, confidence }, now).level
        };
        let table = [
            (Some(3), 0.9, "high", 500, Level::Firing),
            (Some(7), 0.5, "medium", 500, Level::Firing),
            (Some(8), 0.9, "high", 500, Level::Between),
            (Some(3), 0.45, "high", 500, Level::Between),
            (Some(3), 0.7, "low", 500, Level::Between),
            (Some(3), 0.8, "low", 500, Level::Firing),
            (None, 0.34, "high", 500, Level::Quiet),
            (Some(3), 1.0, "high", 1_000, Level::Between),
        ];
        for (days, probability, confidence, posted, expect) in table {
            assert_eq!(level(days, probability, confidence, posted), expect, "{days:?} {probability} {confidence}");
        }
    }
}
