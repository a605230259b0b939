//! What callers count while they call: times, verdicts, and what they were told.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde::Serialize;

use super::process::float;

/// What one tenant's calls were told to have used, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) requests: u64,
    pub(super) tokens: u64,
    pub(super) usd: Decimal,
}

impl Told {
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.tokens += other.tokens;
        self.usd += other.usd;
    }
}

/// One caller's counts, or those of many, added up.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Times in microseconds.
    pub(super) preflight: Vec<u32>,
    pub(super) settle: Vec<u32>,
    pub(super) verdicts: BTreeMap<String, u64>,
    /// Pre-flights whose answer was of a plan.
    pub(super) paced: u64,
    /// Pre-flights that were granted.
    pub(super) granted: u64,
    /// Grants that were settled: a request is one of these.
    pub(super) settled: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// Answers that contradict what was asked.
    pub(super) wrong_answers: u64,
    /// By the tenant's number.
    pub(super) told: BTreeMap<usize, Told>,
}

/// A time in whole microseconds.
pub(super) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

impl Tally {
    pub(super) fn error(&mut self, error: &dyn std::fmt::Display) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| format!("{error:#}"));
    }

    pub(super) fn verdict(&mut self, name: &str) {
        match self.verdicts.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.verdicts.insert(name.to_owned(), 1)),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.preflight.extend(other.preflight);
        self.settle.extend(other.settle);
        for (name, count) in other.verdicts {
            *self.verdicts.entry(name).or_default() += count;
        }
        self.paced += other.paced;
        self.granted += other.granted;
        self.settled += other.settled;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.wrong_answers += other.wrong_answers;
        for (tenant, told) in other.told {
            self.told.entry(tenant).or_default().add(told);
        }
    }
}

/// How long something took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Latency {
    /// Of times in microseconds, in any order. None of none.
    pub(super) fn of(mut times: Vec<u32>) -> Option<Self> {
        times.sort_unstable();
        let at = |share: usize| quantile(&times, share).map(|us| float(u64::from(us)) / 1000.0);
        Some(Self { p50_ms: at(50)?, p95_ms: at(95)?, p99_ms: at(99)?, max_ms: at(100)? })
    }
}

/// The smallest of these ascending times that at least so many of a hundred do not exceed.
pub(super) fn quantile(ascending: &[u32], share: usize) -> Option<u32> {
    let place = ascending.len().saturating_mul(share).div_ceil(100).max(1);
    ascending.get(place - 1).copied()
}

/// The quartiles: values of which at least one, two and three of four do not exceed them. None of none.
pub(super) fn quartiles(mut values: Vec<f64>) -> Option<[f64; 3]> {
    let middle = median(values.clone())?;
    values.sort_unstable_by(f64::total_cmp);
    let at = |quarters: usize| values.get(values.len().saturating_mul(quarters).div_ceil(4).max(1) - 1).copied();
    Some([at(1)?, middle, at(3)?])
}

/// The middle one, or the mean of the two in the middle. None of none.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let times: Vec<u32> = (1..=200).rev().map(|ms| ms * 1000).collect();
        let expect = Latency { p50_ms: 100.0, p95_ms: 190.0, p99_ms: 198.0, max_ms: 200.0 };
        assert_eq!(Latency::of(times), Some(expect));
        assert_eq!(Latency::of(vec![7]).map(|one| (one.p50_ms, one.max_ms)), Some((0.007, 0.007)));
        assert_eq!(Latency::of(vec![]), None);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
        assert_eq!(quartiles(vec![4.0, 1.0, 2.0, 3.0]), Some([1.0, 2.5, 3.0]));
        assert_eq!(quartiles(vec![5.0]), Some([5.0, 5.0, 5.0]));
        assert_eq!(quartiles(vec![]), None);
    }

    #[test]
    fn tallies_of_many_callers_add_up() {
        let mut one = Tally::default();
        one.verdict("allow");
        one.told.entry(3).or_default().add(Told { requests: 1, tokens: 10, usd: Decimal::ONE });
        let mut both = one.clone();
        one.error(&"broken");
        both.add(one);
        assert_eq!(both.verdicts["allow"], 2);
        assert_eq!(both.told[&3], Told { requests: 2, tokens: 20, usd: Decimal::TWO });
        assert_eq!((both.errors, both.first_error.as_deref()), (1, Some("broken")));
    }
}
