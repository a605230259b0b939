//! What the forecast must do, on series whose future is known because they are made.
#![expect(clippy::arithmetic_side_effects, reason = "spans of days between instants of this century")]

mod bands;
mod changes;
mod properties;
mod rhythm;
mod stories;
mod walls;

use chrono::{DateTime, TimeDelta, Utc};

use super::{ErrorBook, HourlySeries, Projection, Question, Source, project};
use crate::domain::calendar::Zone;
use crate::domain::id::TenantId;

/// An instant from its text.
fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap()
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

/// A source whose use in each hour is a function of the instant.
fn source(name: &str, zone_name: &str, from: &str, until: &str, use_at: impl Fn(DateTime<Utc>) -> f64) -> Source {
    let (start, end) = (at(from), at(until));
    let hours = (end - start).num_hours();
    let values = (0..hours).map(|hour| use_at(start + TimeDelta::hours(hour))).collect();
    Source { tenant: tenant(name), feature: None, zone: zone(zone_name), series: HourlySeries::new(start, end, values) }
}

/// Ten an hour in working hours, Monday to Friday, on a wall.
fn office(zone_name: &str) -> impl Fn(DateTime<Utc>) -> f64 {
    let week = super::WorkWeek::default();
    let zone = zone(zone_name);
    move |at| if week.is_at_work(zone.local(at)) { 10.0 } else { 0.0 }
}

/// A month's question about sources.
struct Asked {
    sources: Vec<Source>,
    errors: ErrorBook,
    now: DateTime<Utc>,
    period_start: DateTime<Utc>,
    reset: Option<DateTime<Utc>>,
    limit: f64,
    posted: f64,
}

impl Asked {
    fn new(sources: Vec<Source>, now: &str, limit: f64) -> Self {
        let now = at(now);
        let month = crate::domain::calendar::PeriodSpec::MONTH.holding(Zone::UTC, now).unwrap();
        let used = sources.iter().map(|source| source.series.used_between(month.start, now)).sum();
        let errors = ErrorBook::builtin();
        Self { sources, errors, now, period_start: month.start, reset: month.end, limit, posted: used }
    }

    fn question(&self) -> Question<'_> {
        Question {
            now: self.now,
            period_start: self.period_start,
            reset: self.reset,
            limit: self.limit,
            posted: self.posted,
            held: 0.0,
            sources: &self.sources,
            planned: &[],
            errors: &self.errors,
            factor_range: None,
        }
    }

    fn project(&self) -> Projection {
        project(&self.question())
    }
}

#[track_caller]
fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not within {tolerance} of {expected}");
}

#[track_caller]
fn close_to(found: Option<DateTime<Utc>>, expected: &str, tolerance: TimeDelta) {
    let found = found.expect("not this period");
    assert!((found - at(expected)).abs() <= tolerance, "{found} is not within {tolerance} of {expected}");
}
