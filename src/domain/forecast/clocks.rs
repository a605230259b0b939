//! The hours of the week that the walls of each zone show, over one stretch of UTC hours.
//!
//! Invariant: the key of an hour is what the wall shows in the middle of it, through the zone's real rules, so that nine
//! o'clock stays nine o'clock across a change of the clocks, and a zone at half past has whole keys, too.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::number::{HOUR_S, hour_start};
use super::question::Source;
use crate::domain::calendar::Zone;

/// Hours in a day.
pub(super) const DAY: usize = 24;
/// Hours in a week.
pub(super) const WEEK: usize = 168;
/// The Unix epoch was a Thursday: hours from Monday's midnight to it.
const EPOCH_HOUR_OF_WEEK: i64 = 72;

/// The keys of one zone: hours since Monday's midnight there, 0 to 167.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    first: i64,
    keys: Vec<u8>,
}

impl Keys {
    /// The keys of the hours `[first, end)`.
    pub(super) fn new(zone: Zone, first: i64, end: i64) -> Self {
        let mut keys = Vec::with_capacity(usize::try_from(end.saturating_sub(first)).unwrap_or(0));
        let offset = |hour: i64| i64::from(zone.local(middle(hour)).offset_seconds);
        let mut hour = first;
        let mut begins = offset(hour);
        while hour < end {
            // Asking the rules for every hour would cost more than the forecast. A day whose ends have one offset has it
            // throughout: no zone changes its clocks twice within one.
            let next = hour.saturating_add(24).min(end);
            let ends = offset(next);
            for hour in hour..next {
                let offset = if begins == ends { begins } else { offset(hour) };
                let local = hour.saturating_mul(HOUR_S).saturating_add(HOUR_S / 2).saturating_add(offset);
                let key = local.div_euclid(HOUR_S).saturating_add(EPOCH_HOUR_OF_WEEK).rem_euclid(168);
                keys.push(u8::try_from(key).unwrap_or(0));
            }
            (hour, begins) = (next, ends);
        }
        Self { first, keys }
    }

    /// The keys of the hours `[first, end)`, as far as they are known.
    pub(super) fn between(&self, first: i64, end: i64) -> &[u8] {
        let place = |hour: i64| usize::try_from(hour.saturating_sub(self.first)).unwrap_or(0).min(self.keys.len());
        self.keys.get(place(first)..place(end)).unwrap_or_default()
    }
}

fn middle(hour: i64) -> DateTime<Utc> {
    let start = hour_start(hour);
    start.checked_add_signed(chrono::TimeDelta::minutes(30)).unwrap_or(start)
}

/// The keys of every zone of the sources.
#[derive(Debug, Clone)]
pub(super) struct Clocks(BTreeMap<Zone, Keys>);

impl Clocks {
    /// Over the hours `[first, end)`.
    pub(super) fn new(sources: &[Source], first: i64, end: i64) -> Self {
        let mut zones = BTreeMap::new();
        for source in sources {
            zones.entry(source.zone).or_insert_with(|| Keys::new(source.zone, first, end));
        }
        Self(zones)
    }

    /// The keys of a zone in the hours `[first, end)`; none of a zone that no source has.
    pub(super) fn between(&self, zone: Zone, first: i64, end: i64) -> &[u8] {
        self.0.get(&zone).map(|keys| keys.between(first, end)).unwrap_or_default()
    }
}

/// One number for each hour of the week.
pub(super) type ByHour = [f64; WEEK];

/// The number of a key.
pub(super) fn at(numbers: &ByHour, key: u8) -> f64 {
    numbers.get(usize::from(key)).copied().unwrap_or(0.0)
}
