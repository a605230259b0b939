//! Who is at work: working time on each tenant's own clock.
//!
//! Invariant: a working day is decided by what the wall shows there, through the zone's real rules.
//!
//! Deliberately absent: public holidays.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc, Weekday};

use super::number::{hours_between, real};
use super::projection::Projection;
use super::question::Source;
use crate::domain::calendar::{LocalTime, Zone};
use crate::domain::id::TenantId;

/// How finely working time is looked at, in seconds: offsets of zones are multiples of a quarter of an hour.
const STEP_S: i64 = 900;
/// The longest interval that is looked at: 366 days in steps.
const STEPS_MAX: usize = 35_136;

/// When people work: the same local hours on each working day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkWeek {
    /// The working days, Monday first.
    pub days: [bool; 7],
    /// The local hour at which work begins, 0 to 23.
    pub begins: u32,
    /// The local hour at which it ends, 1 to 24; before `begins` for work through the night, which counts to its evening's day.
    pub ends: u32,
}

impl Default for WorkWeek {
    /// Monday to Friday, nine to six.
    fn default() -> Self {
        Self { days: [true, true, true, true, true, false, false], begins: 9, ends: 18 }
    }
}

impl WorkWeek {
    /// The same hours on other days: Sunday to Thursday, say.
    #[must_use]
    pub fn on(self, days: &[Weekday]) -> Self {
        let mut week = Self { days: [false; 7], ..self };
        for day in days {
            week.set(*day);
        }
        week
    }

    fn set(&mut self, day: Weekday) {
        let place = usize::try_from(day.num_days_from_monday()).unwrap_or(0);
        if let Some(works) = self.days.get_mut(place) {
            *works = true;
        }
    }

    fn works_on(&self, day: Weekday) -> bool {
        let place = usize::try_from(day.num_days_from_monday()).unwrap_or(0);
        self.days.get(place).copied().unwrap_or(false)
    }

    /// Whether somebody whose wall shows this is at work.
    #[must_use]
    pub fn is_at_work(&self, local: LocalTime) -> bool {
        if self.begins < self.ends {
            self.works_on(local.weekday) && (self.begins..self.ends).contains(&local.hour)
        } else {
            (self.works_on(local.weekday) && local.hour >= self.begins)
                || (self.works_on(local.weekday.pred()) && local.hour < self.ends)
        }
    }
}

/// Hours of working time in `[from, until)` on the clock of a zone. At most the first 366 days are looked at.
#[must_use]
pub fn at_work(zone: Zone, week: WorkWeek, from: DateTime<Utc>, until: DateTime<Utc>) -> f64 {
    let mut hours = 0.0;
    for (begin, end) in steps(from, until) {
        if week.is_at_work(zone.local(begin)) {
            hours += hours_between(begin, end);
        }
    }
    hours
}

/// The interval in steps of a quarter of an hour, which begin and end at multiples of it.
fn steps(from: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)> {
    let next = move |at: DateTime<Utc>| {
        let to_next = STEP_S.checked_sub(at.timestamp().rem_euclid(STEP_S)).and_then(TimeDelta::try_seconds)?;
        Some(at.checked_add_signed(to_next)?.min(until))
    };
    let begins = std::iter::successors(Some(from), move |at| next(*at)).take_while(move |at| *at < until);
    begins.take(STEPS_MAX).filter_map(move |begin| Some((begin, next(begin)?)))
}

/// A tenant, and what its wall shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtWork {
    /// Who.
    pub tenant: TenantId,
    /// Where.
    pub zone: Zone,
    /// What the clock there shows.
    pub local: LocalTime,
    /// Whether that is working time.
    pub at_work: bool,
}

/// Each tenant of the sources once, by name, and whether it is at work at the instant.
#[must_use]
pub fn who_is_at_work(sources: &[Source], week: WorkWeek, at: DateTime<Utc>) -> Vec<AtWork> {
    let tenants: BTreeMap<&TenantId, Zone> = sources.iter().map(|source| (&source.tenant, source.zone)).collect();
    let look = |(tenant, zone): (&TenantId, Zone)| {
        let local = zone.local(at);
        AtWork { tenant: tenant.clone(), zone, local, at_work: week.is_at_work(local) }
    };
    tenants.into_iter().map(look).collect()
}

/// What one zone bears of the empty end of a period: the time between the budget's end and its reset.
#[derive(Debug, Clone, PartialEq)]
pub struct EmptyEnd {
    /// The zone.
    pub zone: Zone,
    /// How many tenants there are in it.
    pub tenants: u32,
    /// Working hours of one tenant there that lie in the empty end.
    pub working_hours: f64,
    /// Its share of all tenants' working hours in the empty end, 0 to 1; 0 where nobody works in it.
    pub share: f64,
    /// What was expected to be used there in the empty end, in the unit of the measure.
    pub expected: f64,
    /// Its share of everything that was expected to be used in the empty end, 0 to 1.
    pub expected_share: f64,
}

/// Who bears the empty end, by zone, the most burdened first.
#[must_use]
pub fn empty_end_shares(
    projection: &Projection,
    week: WorkWeek,
    exhausted_at: DateTime<Utc>,
    reset: DateTime<Utc>,
) -> Vec<EmptyEnd> {
    let mut by_zone: BTreeMap<Zone, (BTreeMap<&TenantId, ()>, f64)> = BTreeMap::new();
    for source in &projection.by_source {
        let entry = by_zone.entry(source.zone).or_default();
        entry.0.insert(&source.tenant, ());
        let hours =
            projection.path.iter().zip(projection.path.iter().skip(1).map(|hour| Some(hour.start)).chain([None]));
        for ((hour, end), expected) in hours.zip(&source.path) {
            let end = end.unwrap_or(reset);
            let length = hours_between(hour.start, end);
            let empty = hours_between(hour.start.max(exhausted_at), end.min(reset)).max(0.0);
            if length > 0.0 {
                entry.1 += expected * (empty / length).min(1.0);
            }
        }
    }
    let mut ends: Vec<EmptyEnd> = by_zone
        .into_iter()
        .map(|(zone, (tenants, expected))| EmptyEnd {
            zone,
            tenants: u32::try_from(tenants.len()).unwrap_or(u32::MAX),
            working_hours: at_work(zone, week, exhausted_at, reset),
            share: real(tenants.len()),
            expected,
            expected_share: 0.0,
        })
        .collect();
    let hours: f64 = ends.iter().map(|end| end.share * end.working_hours).sum();
    let expected: f64 = ends.iter().map(|end| end.expected).sum();
    for end in &mut ends {
        end.share = if hours > 0.0 { end.share * end.working_hours / hours } else { 0.0 };
        end.expected_share = if expected > 0.0 { end.expected / expected } else { 0.0 };
    }
    ends.sort_by(|one, other| other.share.total_cmp(&one.share).then(one.zone.cmp(&other.zone)));
    ends
}
