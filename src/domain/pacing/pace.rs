//! A pace: how far the whole of one counter may be taken at an instant, by calls of each class and tenant.
//!
//! `level(t) = taken when it was made + expected interactive use since + room`. A call fits if `posted + held + asked` stays
//! at or below the level. More interactive use than expected leaves less for the others at once, less leaves more.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::{Decimal, RoundingStrategy};

use crate::domain::amounts::{QUANTITY_PLACES, Quantity};
use crate::domain::budget::catalogue::{Budget, BudgetNumber, Governing, Pacing, Priority};
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::scope::CounterKey;
use crate::domain::id::TenantId;

const HOUR_MICROSECONDS: i64 = 3_600_000_000;

/// Thousandths: 1000 is all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permille(u16);

impl Permille {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self(1000);

    /// So many thousandths, at most all.
    #[must_use]
    pub fn new(thousandths: u16) -> Self {
        Self(thousandths).min(Self::ALL)
    }

    /// The count of thousandths.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// What a class may take beyond what interactive calls are expected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// How much, all callers of the counter together, from when the pace was made until the next day's share.
    pub quantity: Quantity,
    /// How much of what the class is expected to ask until then that is.
    pub pass_through: Permille,
}

impl Room {
    /// None.
    pub const NONE: Self = Self { quantity: Quantity::ZERO, pass_through: Permille::NONE };
}

/// The rooms of the classes that are paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rooms {
    /// Of standard calls.
    pub standard: Room,
    /// Of batch calls: at most that of standard ones.
    pub batch: Room,
}

impl Rooms {
    /// The room of a class; none for interactive calls, which are not paced.
    #[must_use]
    pub const fn of(&self, priority: Priority) -> Option<Room> {
        match priority {
            Priority::Interactive => None,
            Priority::Standard => Some(self.standard),
            Priority::Batch => Some(self.batch),
        }
    }
}

/// How far one counter may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// The start of the counter's period.
    pub period_start: DateTime<Utc>,
    /// Since when the budget's shape stood when it was made: a pace in another measure is none.
    pub counted_from: DateTime<Utc>,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// From when on it is out of date, and only the limit counts.
    pub valid_until: DateTime<Utc>,
    /// When the next day's share begins: the local day's end, or the reset.
    pub share_ends: DateTime<Utc>,
    /// What was posted and held when it was made.
    pub taken: Quantity,
    /// Expected interactive use from `made_at` to the end of each hour after it, added up.
    pub expected: Vec<Quantity>,
    /// The rooms of tenants that are not named.
    pub rooms: Rooms,
    /// The rooms of tenants whose part of the day's share is their own.
    pub by_tenant: BTreeMap<TenantId, Rooms>,
}

impl Pace {
    /// The rooms of a tenant's calls.
    #[must_use]
    pub fn rooms_of(&self, tenant: &TenantId) -> Rooms {
        self.by_tenant.get(tenant).copied().unwrap_or(self.rooms)
    }

    /// Whether it says something about a counter of a budget at an instant: it is in date, and in the budget's measure.
    #[must_use]
    pub fn governs(&self, budget: &Budget, now: DateTime<Utc>) -> bool {
        now < self.valid_until && self.counted_from == budget.counted_from
    }

    /// Interactive use that is expected from when it was made to an instant, straight within each hour, rounded down.
    fn expected_by(&self, at: DateTime<Utc>) -> Quantity {
        let elapsed = at.signed_duration_since(self.made_at).num_microseconds().unwrap_or(i64::MAX).max(0);
        let hours = elapsed.checked_div(HOUR_MICROSECONDS).and_then(|hours| usize::try_from(hours).ok()).unwrap_or(0);
        let into = elapsed.checked_rem(HOUR_MICROSECONDS).unwrap_or(0);
        let by = |hours: usize| match hours.checked_sub(1) {
            Some(place) => self.expected.get(place).or(self.expected.last()).copied().unwrap_or_default(),
            None => Quantity::ZERO,
        };
        let (before, after) = (by(hours), by(hours.saturating_add(1)));
        let step = after.saturating_sub(before).decimal();
        let part = step
            .checked_mul(Decimal::from(into))
            .and_then(|product| product.checked_div(Decimal::from(HOUR_MICROSECONDS)))
            .map(|part| part.round_dp_with_strategy(QUANTITY_PLACES, RoundingStrategy::ToZero))
            .and_then(|part| Quantity::new(part).ok());
        before.saturating_add(part.unwrap_or_default())
    }

    /// How far the counter may be taken at an instant by calls with this room.
    #[must_use]
    pub fn level(&self, room: Room, at: DateTime<Utc>) -> Quantity {
        self.taken.saturating_add(self.expected_by(at)).saturating_add(room.quantity)
    }

    /// The first instant at which calls with this room may take the counter so far, looked for by whole minutes: when
    /// interactive use that is expected in between makes room, or else when the next day's share begins.
    #[must_use]
    pub fn reaches(&self, wanted: Quantity, room: Room, now: DateTime<Utc>) -> DateTime<Utc> {
        let after = |minutes: i64| now.checked_add_signed(TimeDelta::minutes(minutes)).unwrap_or(self.share_ends);
        let until = self.share_ends.signed_duration_since(now).num_minutes();
        if until <= 1 || self.level(room, after(until)) < wanted {
            return self.share_ends.max(after(1));
        }
        // The level never falls, so that halving finds the first minute.
        let (mut short, mut enough) = (0, until);
        while enough.saturating_sub(short) > 1 {
            let middle = i64::midpoint(short, enough);
            if self.level(room, after(middle)) < wanted { short = middle } else { enough = middle }
        }
        after(enough)
    }
}

/// A pace that governs a call, with the rooms of the call's tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paced {
    /// The pace.
    pub pace: Arc<Pace>,
    /// The tenant's rooms.
    pub rooms: Rooms,
}

impl Paced {
    /// How far calls of a class may take the counter at an instant; none for interactive ones.
    #[must_use]
    pub fn level(&self, priority: Priority, at: DateTime<Utc>) -> Option<Quantity> {
        self.rooms.of(priority).map(|room| self.pace.level(room, at))
    }
}

/// The paces that a replica knows, by counter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paces(BTreeMap<CounterId, Arc<Pace>>);

impl Paces {
    /// These paces.
    #[must_use]
    pub fn new(paces: impl IntoIterator<Item = (BudgetNumber, CounterKey, Pace)>) -> Self {
        let entry = |(budget, key, pace): (BudgetNumber, CounterKey, Pace)| {
            (CounterId { budget, key, start: pace.period_start }, Arc::new(pace))
        };
        Self(paces.into_iter().map(entry).collect())
    }

    /// The pace that governs a tenant's call in a counter at an instant.
    #[must_use]
    pub fn of(&self, governing: &Governing, tenant: &TenantId, now: DateTime<Utc>) -> Option<Paced> {
        match governing.budget.pacing {
            Pacing::Off => None,
            Pacing::Forecast => {
                let pace = self.0.get(&governing.counter())?;
                pace.governs(&governing.budget, now)
                    .then(|| Paced { pace: Arc::clone(pace), rooms: pace.rooms_of(tenant) })
            }
        }
    }
}
