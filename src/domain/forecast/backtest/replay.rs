//! A case played again: at instants of its past a forecast is made from what was known then, and compared with what came.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::generate::Dice;
use super::straight::{Method, hours_until};
use super::{Case, Kind, SHARES, SHARES_LASTING};
use crate::domain::forecast::errors::{ErrorBook, ErrorClass, HORIZONS, PastError, log_error};
use crate::domain::forecast::fit::fit;
use crate::domain::forecast::number::{after, hour_number, hours_between, index, real};
use crate::domain::forecast::outlook::{Hours, Outlook};
use crate::domain::forecast::project::{clocks, pool_path};
use crate::domain::forecast::question::Source;
use crate::domain::forecast::series::HourlySeries;

/// How far beyond the end of its period a forecast may run, in lengths of the period.
const BEYOND: f64 = 1.0;

/// One forecast under one limit, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The name of its case.
    pub case: String,
    /// The kind of its case.
    pub kind: Kind,
    /// The day of the period on which it was made.
    pub day: u32,
    /// The limit, as a share of what the period really used.
    pub share: f64,
    /// Hours until the budget really ran out; `None`: it lasted.
    pub truth: Option<f64>,
    /// For each method how far its instant was from the truth, in hours; empty where the budget lasted.
    pub errors: Vec<(Method, f64)>,
    /// Whether the truth was in the 80 % band; `None` where the budget lasted.
    pub covered: Option<bool>,
    /// How wide the band was, in hours; `None` where its end lay after the reset.
    pub width: Option<f64>,
    /// The probability that it would run out.
    pub probability: f64,
    /// What the straight line of the period so far said of that: 0 or 1.
    pub straight: f64,
    /// The class of the errors its band was from.
    pub class: ErrorClass,
}

/// A pool's use in each hour, summed over its sources.
struct Pool {
    first: i64,
    values: Vec<f64>,
}

impl Pool {
    fn new(sources: &[Source]) -> Self {
        let first = sources.iter().map(|source| hour_number(source.series.start())).min().unwrap_or(0);
        let mut values = Vec::new();
        for source in sources {
            let skipped = usize::try_from(hour_number(source.series.start()).saturating_sub(first)).unwrap_or(0);
            let its_values = source.series.values();
            if values.len() < skipped.saturating_add(its_values.len()) {
                values.resize(skipped.saturating_add(its_values.len()), 0.0);
            }
            values.iter_mut().skip(skipped).zip(its_values).for_each(|(total, value)| *total += value);
        }
        Self { first, values }
    }

    fn between(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> &[f64] {
        let place =
            |at| usize::try_from(hour_number(at).saturating_sub(self.first)).unwrap_or(0).min(self.values.len());
        self.values.get(place(from)..place(until)).unwrap_or_default()
    }

    fn sum(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> f64 {
        self.between(from, until).iter().sum()
    }
}

/// An instant at which a forecast is made.
#[derive(Debug, Clone, Copy)]
struct Origin {
    day: u32,
    now: DateTime<Utc>,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

/// The instants of a case, in order: on each of its days at an hour that a seed decides.
fn origins(case: &Case, seed: u64) -> Vec<Origin> {
    let mut dice = Dice::new(seed);
    let mut origins = Vec::new();
    for (start, end) in &case.periods {
        for day in case.days {
            let now = after(*start, f64::from(*day) * 24.0 + (dice.share() * 24.0).floor());
            if now < *end {
                origins.push(Origin { day: *day, now, start: *start, end: *end });
            }
        }
    }
    origins.sort_by_key(|origin| origin.now);
    origins
}

/// What is forecast at an instant, with a band.
struct Forecast {
    outlook: Outlook,
    class: ErrorClass,
}

fn forecast(case: &Case, origin: Origin, book: &ErrorBook) -> Forecast {
    let Origin { now, start, end, .. } = origin;
    let until = after(end, hours_between(start, end) * BEYOND);
    let hours = Hours::new(now, until);
    let clocks = clocks(&case.sources, now, &hours);
    let fit = fit(now, start, &case.sources, &[], &clocks, book);
    let path = pool_path(&case.sources, &fit, &clocks, &hours);
    let nothing = vec![0.0; path.len()];
    Forecast { outlook: Outlook::new(hours, &path, &nothing, book, fit.class, None), class: fit.class }
}

/// The errors of a forecast over each horizon of which the truth is known by `known_until`.
fn errors_at(forecast: &Forecast, pool: &Pool, origin: Origin, of: u64) -> impl Iterator<Item = PastError> {
    HORIZONS.into_iter().filter_map(move |hours| {
        let end = after(origin.now, f64::from(hours));
        let last = usize::try_from(hours).ok()?.checked_sub(1)?;
        let expected = forecast.outlook.middle.0.get(last)?;
        let actual = pool.between(origin.now, end);
        let error = log_error(actual.iter().sum(), *expected);
        let is_known = real(actual.len()) >= f64::from(hours);
        is_known.then_some(PastError { class: forecast.class, of, made_at: origin.now, hours, error })
    })
}

/// The errors of all forecasts of a case, for a book that others are tested with.
#[must_use]
pub fn errors_of(case: &Case, of: u64, book: &ErrorBook) -> Vec<PastError> {
    let pool = Pool::new(&case.sources);
    let of_origin = |origin: Origin| {
        let forecast = forecast(case, origin, book);
        errors_at(&forecast, &pool, origin, of).collect::<Vec<_>>()
    };
    origins(case, of).into_iter().flat_map(of_origin).collect()
}

/// Plays a case, in the order of time. The band is from the errors of `book` and, as they become known, from the case's own;
/// its scale moves when a period has ended.
#[must_use]
pub fn replay(case: &Case, of: u64, book: &ErrorBook) -> Vec<Trial> {
    let pool = Pool::new(&case.sources);
    let mut own: Vec<PastError> = Vec::new();
    let mut scales: BTreeMap<ErrorClass, f64> = BTreeMap::new();
    // What each forecast of a period that has not ended will teach the scale.
    let mut pending: Vec<(DateTime<Utc>, ErrorClass, bool)> = Vec::new();
    let mut trials = Vec::new();
    for origin in origins(case, of) {
        let known = |error: &&PastError| after(error.made_at, f64::from(error.hours)) <= origin.now;
        let known: Vec<PastError> = own.iter().filter(known).copied().collect();
        let mut book = book.clone().mixed_with(&known);
        pending.retain(|(end, class, covered)| {
            let has_ended = *end <= origin.now;
            if has_ended {
                let scale = scales.get(class).copied().unwrap_or(1.0);
                scales.insert(*class, super::super::errors::next_scale(scale, *covered));
            }
            !has_ended
        });
        for (class, scale) in &scales {
            book = book.with_scale(*class, *scale);
        }
        let forecast = forecast(case, origin, &book);
        own.extend(errors_at(&forecast, &pool, origin, of));
        let made = trials_at(case, origin, &forecast, &pool);
        let nearest = made.iter().rev().find_map(|trial| trial.covered);
        pending.extend(nearest.map(|covered| (origin.end, forecast.class, covered)));
        trials.extend(made);
    }
    trials
}

/// A forecast under each limit that is not reached yet.
fn trials_at(case: &Case, origin: Origin, forecast: &Forecast, pool: &Pool) -> Vec<Trial> {
    let Origin { day, now, start, end } = origin;
    let (used, total) = (pool.sum(start, now), pool.sum(start, end));
    let past = pool.between(hour_start_of(pool), now);
    let to_come = pool.between(now, end);
    let in_period = index(hours_between(start, now));
    let to_reset = hours_between(now, end);
    let hours_max = to_reset + hours_between(start, end) * BEYOND;
    let mut trials = Vec::new();
    for share in SHARES.into_iter().chain(SHARES_LASTING) {
        let remaining = total * share - used;
        if remaining <= 0.0 || total <= 0.0 {
            continue;
        }
        let truth = first_reaching(to_come, remaining);
        let [p10, p50, p90] = forecast.outlook.instants(remaining).map(|at| at.map(|at| hours_between(now, at)));
        let straight = hours_until(Method::MonthToDate, past, in_period, remaining, hours_max);
        let hours_of = |method: Method| match method {
            Method::HourOfWeek => p50,
            Method::MonthToDate => straight,
            Method::LastDay | Method::LastWeek | Method::SeasonalNaive => {
                hours_until(method, past, in_period, remaining, hours_max)
            }
        };
        let error = |truth: f64| move |method: Method| (method, (hours_of(method).unwrap_or(hours_max) - truth).abs());
        let covered = |truth: f64| p10.is_some_and(|p10| p10 <= truth) && p90.is_none_or(|p90| truth <= p90);
        trials.push(Trial {
            case: case.name.clone(),
            kind: case.kind,
            day,
            share,
            truth,
            errors: truth.map(|truth| Method::ALL.into_iter().map(error(truth)).collect()).unwrap_or_default(),
            covered: truth.map(covered),
            width: p90.zip(p10).filter(|(p90, _)| *p90 <= to_reset).map(|(p90, p10)| p90 - p10),
            probability: forecast.outlook.probability(remaining, index(to_reset).saturating_sub(1)),
            straight: if straight.is_some_and(|hours| hours <= to_reset) { 1.0 } else { 0.0 },
            class: forecast.class,
        });
    }
    trials
}

fn hour_start_of(pool: &Pool) -> DateTime<Utc> {
    crate::domain::forecast::number::hour_start(pool.first)
}

/// Hours until so much is used, interpolated inside the hour.
fn first_reaching(values: &[f64], amount: f64) -> Option<f64> {
    let mut left = amount;
    for (hour, value) in values.iter().enumerate() {
        if *value >= left && *value > 0.0 {
            return Some(real(hour) + left / value);
        }
        left -= value;
    }
    None
}

/// One pool from many sources, as a source of its own: their use in UTC.
#[must_use]
pub fn pooled(sources: &[Source]) -> Option<HourlySeries> {
    let pool = Pool::new(sources);
    let until = sources.iter().map(|source| source.series.until()).max()?;
    Some(HourlySeries::new(hour_start_of(&pool), until, pool.values))
}
