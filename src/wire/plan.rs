//! Paces as documents: what the store keeps of a pace, of the figures that explain it, and of the forecast it is made from.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::amounts::Quantity;
use crate::domain::id::TenantId;
use crate::domain::pacing::curve::Curve;
use crate::domain::pacing::pace::{Pace, Permille, Room, Rooms};
use crate::domain::pacing::plan::Plan;

/// What a class may take until the next day's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomDoc {
    /// How much, beyond what interactive calls are expected to.
    #[schema(value_type = String, format = "decimal", example = "250000")]
    pub quantity: Decimal,
    /// Thousandths of what the class is expected to ask for until then.
    #[schema(example = 400)]
    pub pass_permille: u16,
}

/// The rooms of the classes that are paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomsDoc {
    /// Of standard calls.
    pub standard: RoomDoc,
    /// Of batch calls.
    pub batch: RoomDoc,
}

/// How far a counter may be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaceDoc {
    /// The start of the counter's period.
    pub period_start: DateTime<Utc>,
    /// Since when the budget's shape stood.
    pub counted_from: DateTime<Utc>,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// From when on it is out of date, and only the limit counts.
    pub valid_until: DateTime<Utc>,
    /// When the next day's share begins.
    pub share_ends: DateTime<Utc>,
    /// What was posted and held when it was made.
    #[schema(value_type = String, format = "decimal", example = "1200000")]
    pub taken: Decimal,
    /// Expected interactive use by the end of each hour after that, added up.
    #[schema(value_type = Vec<String>)]
    pub expected: Vec<Decimal>,
    /// The rooms of tenants that are not named.
    pub rooms: RoomsDoc,
    /// The rooms of tenants whose part of the day's share is their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_tenant: BTreeMap<String, RoomsDoc>,
}

fn written(quantity: Quantity) -> Decimal {
    quantity.decimal().normalize()
}

impl From<Rooms> for RoomsDoc {
    fn from(rooms: Rooms) -> Self {
        let doc = |room: Room| RoomDoc { quantity: written(room.quantity), pass_permille: room.pass_through.get() };
        Self { standard: doc(rooms.standard), batch: doc(rooms.batch) }
    }
}

impl From<&Pace> for PaceDoc {
    fn from(pace: &Pace) -> Self {
        Self {
            period_start: pace.period_start,
            counted_from: pace.counted_from,
            made_at: pace.made_at,
            valid_until: pace.valid_until,
            share_ends: pace.share_ends,
            taken: written(pace.taken),
            expected: pace.expected.iter().copied().map(written).collect(),
            rooms: pace.rooms.into(),
            by_tenant: pace.by_tenant.iter().map(|(tenant, rooms)| (tenant.to_string(), (*rooms).into())).collect(),
        }
    }
}

impl RoomsDoc {
    fn to_rooms(self) -> Option<Rooms> {
        let room = |doc: RoomDoc| {
            let quantity = Quantity::new(doc.quantity).ok()?;
            Some(Room { quantity, pass_through: Permille::new(doc.pass_permille) })
        };
        Some(Rooms { standard: room(self.standard)?, batch: room(self.batch)? })
    }
}

impl PaceDoc {
    /// The pace; none if a figure is none that could have been written here.
    #[must_use]
    pub fn to_pace(&self) -> Option<Pace> {
        let quantity = |value: &Decimal| Quantity::new(*value).ok();
        let tenant = |(tenant, rooms): (&String, &RoomsDoc)| Some((TenantId::parse(tenant).ok()?, rooms.to_rooms()?));
        Some(Pace {
            period_start: self.period_start,
            counted_from: self.counted_from,
            made_at: self.made_at,
            valid_until: self.valid_until,
            share_ends: self.share_ends,
            taken: quantity(&self.taken)?,
            expected: self.expected.iter().map(quantity).collect::<Option<_>>()?,
            rooms: self.rooms.to_rooms()?,
            by_tenant: self.by_tenant.iter().map(tenant).collect::<Option<_>>()?,
        })
    }
}

/// The figures that explain a pace, in the unit of the budget's measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanDoc {
    /// By how much the forecast of interactive use was corrected, by what was seen of it since it was made.
    pub correction: f64,
    /// What is kept for interactive calls until the reset, a margin of a tenth included.
    pub need: f64,
    /// What is left over: limit − posted − held − need.
    pub surplus: f64,
    /// The day's share of it: what others may take today, together with what they have taken.
    pub share: f64,
    /// What is left of the day's share.
    pub room: f64,
    /// What is left of it for batch calls.
    pub batch_room: f64,
    /// Whether there is enough for all that is expected, so that nobody waits for a day's share.
    pub is_ample: bool,
    /// What standard calls have taken today.
    pub standard_today: f64,
    /// What batch calls have taken today.
    pub batch_today: f64,
}

impl PlanDoc {
    /// A plan, with what it was told of today.
    #[must_use]
    pub const fn new(plan: &Plan, standard_today: f64, batch_today: f64) -> Self {
        let Plan { correction, need, surplus, share, room, batch_room, is_ample } = *plan;
        Self { correction, need, surplus, share, room, batch_room, is_ample, standard_today, batch_today }
    }
}

/// Expected use: where pieces start, in seconds since 1970, and how much is expected in each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CurveDoc {
    starts: Vec<i64>,
    expected: Vec<f64>,
    end: Option<DateTime<Utc>>,
}

impl From<&Curve> for CurveDoc {
    fn from(curve: &Curve) -> Self {
        let (starts, expected) = curve.pieces().map(|(start, expected)| (start.timestamp(), expected)).unzip();
        Self { starts, expected, end: curve.end() }
    }
}

impl From<&CurveDoc> for Curve {
    fn from(doc: &CurveDoc) -> Self {
        let starts = doc.starts.iter().map(|start| DateTime::from_timestamp(*start, 0).unwrap_or_default());
        let end = doc.end.unwrap_or_default();
        Self::new(starts.zip(doc.expected.iter().copied()), end)
    }
}

/// The forecast that the plans of a day are made from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BasisDoc {
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// The version of the budget it was made for.
    pub budget_version: i32,
    /// Of interactive calls.
    pub interactive: CurveDoc,
    /// Of standard calls.
    pub standard: CurveDoc,
    /// Of batch calls.
    pub batch: CurveDoc,
    /// What calls that can wait of each tenant are expected to use in a day.
    #[serde(default)]
    pub a_day: BTreeMap<String, f64>,
}
