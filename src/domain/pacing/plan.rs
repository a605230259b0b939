//! A plan: from how a budget stands and what is expected until it resets, the pace until the next plan.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | need | expected interactive use to the reset × correction × [`MARGIN`] |
//! | 2 | surplus | limit − posted − held − need |
//! | 3 | share | what others have taken today and the surplus, × the day's part of the time left; all of it where there is enough for all |
//! | 4 | room | the share less what others have taken today |
//! | 5 | classes | batch gets what standard calls are not expected to need of it today |
//!
//! Source of the rule: a simulation of five policies on three series with half the volume interactive, and `LinkedIn`'s and
//! Yahoo's pacing of advertisements (KDD 2014 and 2015): the plan has the shape of the forecast, and the least urgent layer
//! moves first.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};

use super::curve::Curve;
use super::fair::Allotments;
use super::pace::{Pace, Permille, Room, Rooms};
use crate::domain::amounts::{QUANTITY_PLACES, Quantity};
use crate::domain::id::TenantId;

/// What is kept for interactive calls beyond what they are expected to need: 10 %.
pub const MARGIN: f64 = 1.10;
/// The correction of a forecast by what was seen today is kept within these.
pub const CORRECTION_MIN: f64 = 0.5;
/// See [`CORRECTION_MIN`].
pub const CORRECTION_MAX: f64 = 2.0;
/// Where the others' demand to the reset, times this, fits in the surplus, nobody has to wait for a day's share.
///
/// Then the budget is not expected to run out, and an even drip would only be in the way of bursts.
pub const AMPLE: f64 = 1.25;
/// How long a pace is good for without a newer one: long enough for a worker that is restarted, short enough that nobody is
/// paced by yesterday.
pub const VALID: TimeDelta = TimeDelta::hours(2);
/// Longest look ahead for when there is room again, in hours: the longest local day, and the hour it began in.
const AHEAD_HOURS: usize = 26;

/// Seen against expected, of interactive use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// What was used since the forecast was made.
    pub used: f64,
    /// What the forecast said for that time.
    pub expected: f64,
    /// What the forecast says for a whole day: an eighth of it is how much must have been expected before what was seen
    /// counts as much as what was said.
    pub a_day: f64,
}

impl Seen {
    /// Nothing was seen yet.
    pub const NOTHING: Self = Self { used: 0.0, expected: 0.0, a_day: 0.0 };

    /// By how much the forecast is corrected: near 1 early in the day, and within [`CORRECTION_MIN`] and [`CORRECTION_MAX`].
    #[must_use]
    pub fn correction(&self) -> f64 {
        let doubt = (self.a_day / 8.0).max(0.0);
        let ratio = (self.used + doubt) / (self.expected + doubt);
        if ratio.is_finite() { ratio.clamp(CORRECTION_MIN, CORRECTION_MAX) } else { 1.0 }
    }
}

/// How a budget stands, and what is expected of it.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// The instant.
    pub now: DateTime<Utc>,
    /// The start of the counter's period.
    pub period_start: DateTime<Utc>,
    /// When it resets.
    pub reset: DateTime<Utc>,
    /// The local day that holds the instant, on the budget's clock.
    pub day: (DateTime<Utc>, DateTime<Utc>),
    /// Since when the budget's shape stands.
    pub counted_from: DateTime<Utc>,
    /// The limit.
    pub limit: Quantity,
    /// Posted and held.
    pub taken: Quantity,
    /// What was taken today by standard calls, posted and held.
    pub standard_today: f64,
    /// What was taken today by batch calls, posted and held.
    pub batch_today: f64,
    /// Expected use by interactive calls.
    pub interactive: &'a Curve,
    /// Expected use by standard calls.
    pub standard: &'a Curve,
    /// Expected use by batch calls.
    pub batch: &'a Curve,
    /// What was seen of interactive use since the forecast was made.
    pub seen: Seen,
    /// The share of the day's share that standard calls have before batch, whatever is expected of them.
    pub standard_floor: f64,
    /// The share of the day's share that batch calls have, whatever is expected of standard ones.
    pub batch_floor: f64,
}

/// What was planned, with the figures that explain it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// By how much the forecast of interactive use was corrected.
    pub correction: f64,
    /// What is kept for interactive calls until the reset.
    pub need: f64,
    /// What is left over.
    pub surplus: f64,
    /// What others may take today, together with what they have taken.
    pub share: f64,
    /// What is left of it.
    pub room: f64,
    /// What is left of it for batch calls.
    pub batch_room: f64,
    /// Whether there is enough for all that is expected, so that the share is all that is left over.
    pub is_ample: bool,
}

/// Plans. Whatever is asked, no figure is below zero or no number.
#[must_use]
pub fn plan(asked: &Situation<'_>) -> Plan {
    let correction = asked.seen.correction();
    let need = asked.interactive.between(asked.now, asked.reset) * correction * MARGIN;
    let remaining = to_float(asked.limit) - to_float(asked.taken);
    let surplus = (remaining - need).max(0.0);
    let today = figure(asked.standard_today) + figure(asked.batch_today);
    let to_come = asked.standard.between(asked.now, asked.reset) + asked.batch.between(asked.now, asked.reset);
    // Where nothing is known of the others, nothing says that there is enough for them.
    let is_ample = to_come > 0.0 && surplus >= to_come * AMPLE;
    let share = if is_ample { surplus + today } else { (surplus + today) * part_of_time_left(asked) };
    let room = (share - today).clamp(0.0, surplus);
    let day_end = asked.day.1.min(asked.reset);
    let standard_to_come = asked.standard.between(asked.now, day_end);
    let standard_claim = standard_to_come.max(asked.standard_floor * share - figure(asked.standard_today)).max(0.0);
    let batch_claim = (asked.batch_floor * share - figure(asked.batch_today)).max(0.0);
    let batch_room = (room - standard_claim).max(batch_claim.min(room)).max(0.0);
    Plan { correction, need, surplus, share, room, batch_room, is_ample }
}

/// The day's part of the time from its start to the reset: all of it on the last day. The day is the local one, of 23 to 25
/// hours, so that the parts add up over a change of the clocks.
fn part_of_time_left(asked: &Situation<'_>) -> f64 {
    let start = asked.day.0.max(asked.period_start);
    let seconds = |to: DateTime<Utc>| to.signed_duration_since(start).num_seconds();
    let (day, left) = (seconds(asked.day.1.min(asked.reset)), seconds(asked.reset));
    match (day.to_f64(), left.to_f64()) {
        (Some(day), Some(left)) if left > 0.0 => (day / left).clamp(0.0, 1.0),
        (_, _) => 1.0,
    }
}

impl Plan {
    /// The pace until the next plan. With `allotments` each tenant that is named has a part of the day's share of its own.
    #[must_use]
    pub fn pace(&self, asked: &Situation<'_>, allotments: Option<&Allotments>) -> Pace {
        let share_ends = asked.day.1.min(asked.reset);
        let standard_to_come = asked.standard.between(asked.now, share_ends);
        let batch_to_come = asked.batch.between(asked.now, share_ends);
        let elastic = standard_to_come + batch_to_come;
        // What is kept of the whole room for standard calls is kept of each tenant's part of it as well: else the tenant's own
        // batch work takes what its agents are expected to need.
        let batch_of = |most: f64| {
            if most < self.room { most * (self.batch_room / self.room).min(1.0) } else { self.batch_room }
        };
        let rooms = |most: f64| Rooms {
            standard: room(self.room.min(most), elastic),
            batch: room(batch_of(most), batch_to_come),
        };
        let expected_by = |hours: usize| {
            let hours = i64::try_from(hours).ok().and_then(TimeDelta::try_hours);
            let to = hours.and_then(|hours| asked.now.checked_add_signed(hours)).unwrap_or(asked.reset);
            quantity(asked.interactive.between(asked.now, to.min(asked.reset)) * self.correction)
        };
        let by_tenant = allotments.map(|allotments| {
            let part = |(tenant, left): (&TenantId, &f64)| (tenant.clone(), rooms(*left));
            allotments.by_tenant.iter().map(part).collect()
        });
        Pace {
            period_start: asked.period_start,
            counted_from: asked.counted_from,
            made_at: asked.now,
            valid_until: asked.now.checked_add_signed(VALID).unwrap_or(asked.reset).min(asked.reset),
            share_ends,
            taken: asked.taken,
            expected: (1..=AHEAD_HOURS).map(expected_by).collect(),
            rooms: allotments.map_or_else(|| rooms(f64::MAX), |allotments| rooms(allotments.of_others)),
            by_tenant: by_tenant.unwrap_or_default(),
        }
    }
}

fn room(most: f64, to_come: f64) -> Room {
    let quantity = quantity(most);
    let passes = if quantity == Quantity::ZERO {
        Permille::NONE
    } else if to_come <= most {
        Permille::ALL
    } else {
        Permille::new((most / to_come * 1000.0).floor().to_u16().unwrap_or(0))
    };
    Room { quantity, pass_through: passes }
}

/// A figure that was measured: nothing where it is no number, or below zero.
fn figure(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

/// A quantity as a float, for what is expected of it.
#[must_use]
pub fn to_float(quantity: Quantity) -> f64 {
    quantity.decimal().to_f64().unwrap_or(0.0)
}

/// An expectation as a quantity, rounded down; the nearest that can be kept.
#[must_use]
pub fn quantity(value: f64) -> Quantity {
    if !value.is_finite() || value <= 0.0 {
        return if value == f64::INFINITY { Quantity::MAX } else { Quantity::ZERO };
    }
    let decimal = Decimal::try_from(value).ok();
    let kept = decimal.map(|value| value.round_dp_with_strategy(QUANTITY_PLACES, RoundingStrategy::ToZero));
    let nearest = if value < 1.0 { Quantity::ZERO } else { Quantity::MAX };
    kept.and_then(|value| Quantity::new(value).ok()).unwrap_or(nearest)
}

/// A share of a budget's document as a float, from 0 to 1; nothing where none is said.
#[must_use]
pub fn share(value: Option<Decimal>) -> f64 {
    value.and_then(|value| value.to_f64()).unwrap_or(0.0).clamp(0.0, 1.0)
}
