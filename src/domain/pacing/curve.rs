//! A curve: expected use over time.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::prelude::ToPrimitive as _;

/// Expected use, added up, at instants that ascend; straight in between. Before the first and after the last of them nothing
/// is expected.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve(Vec<(DateTime<Utc>, f64)>);

impl Curve {
    /// Nothing, ever.
    #[must_use]
    pub const fn nothing() -> Self {
        Self(Vec::new())
    }

    /// From pieces that follow each other: where each starts, and what is expected in it. The last ends at `end`. What is
    /// not a number, or below zero, counts as nothing; a piece that does not start after the one before it is left out.
    #[must_use]
    pub fn new(pieces: impl IntoIterator<Item = (DateTime<Utc>, f64)>, end: DateTime<Utc>) -> Self {
        let (mut points, mut sum): (Vec<(DateTime<Utc>, f64)>, f64) = (Vec::new(), 0.0);
        for (start, expected) in pieces {
            if start >= end || points.last().is_some_and(|(last, _)| *last >= start) {
                continue;
            }
            points.push((start, sum));
            sum += if expected.is_finite() { expected.max(0.0) } else { 0.0 };
        }
        if !points.is_empty() {
            points.push((end, sum));
        }
        Self(points)
    }

    /// From what is expected of consecutive elapsed hours.
    #[must_use]
    pub fn hourly(start: DateTime<Utc>, hours: &[f64]) -> Self {
        let at = |hour: usize| {
            let hours = i64::try_from(hour).ok().and_then(TimeDelta::try_hours);
            hours.and_then(|hours| start.checked_add_signed(hours)).unwrap_or(DateTime::<Utc>::MAX_UTC)
        };
        Self::new(hours.iter().enumerate().map(|(hour, expected)| (at(hour), *expected)), at(hours.len()))
    }

    /// The pieces, as [`Curve::new`] takes them.
    pub fn pieces(&self) -> impl Iterator<Item = (DateTime<Utc>, f64)> {
        let next = self.0.iter().skip(1);
        self.0.iter().zip(next).map(|((start, before), (_, after))| (*start, after - before))
    }

    /// Where the last piece ends; none of a curve that expects nothing.
    #[must_use]
    pub fn end(&self) -> Option<DateTime<Utc>> {
        self.0.last().map(|(end, _)| *end)
    }

    /// Expected use before an instant.
    fn by(&self, at: DateTime<Utc>) -> f64 {
        let next = self.0.partition_point(|(start, _)| *start <= at);
        let Some((start, before)) = next.checked_sub(1).and_then(|place| self.0.get(place)) else { return 0.0 };
        let Some((end, after)) = self.0.get(next) else { return *before };
        let seconds = |to: DateTime<Utc>| {
            let length = to.signed_duration_since(*start);
            length.num_milliseconds().to_f64().unwrap_or(0.0)
        };
        before + (after - before) * (seconds(at) / seconds(*end))
    }

    /// Expected use between two instants; nothing if the second is not after the first.
    #[must_use]
    pub fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
        (self.by(to) - self.by(from)).max(0.0)
    }
}
