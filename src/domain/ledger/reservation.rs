//! The reservation: a pending transfer, held against every budget that governs it until it reaches exactly one end.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::budget::catalogue::Priority;
use crate::domain::budget::promise::LearnedHolds;
use crate::domain::budget::scope::Dimensions;
use crate::domain::id::{ReservationId, TransferId};
use crate::domain::price::ServiceTier;
use crate::domain::tariff::{Flags, Priced};

/// Shortest hold, in seconds.
pub const TTL_SECONDS_MIN: u32 = 1;
/// Longest hold, in seconds: a day, the longest a provider's batch API takes.
pub const TTL_SECONDS_MAX: u32 = 86_400;
/// Longest life of a reservation, in seconds since it was granted: the longest hold, and a day of extensions.
pub const LIFE_SECONDS_MAX: u32 = 172_800;
/// Hold when the caller names none, in seconds: a long non-streaming call.
pub const TTL_SECONDS_DEFAULT: u32 = 120;

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationState {
    /// Held. Past its expiry it counts as expired, whether or not that was written down yet.
    Open,
    /// Ended by a transfer.
    Settled,
    /// Given back. A transfer may still follow, once, marked late: the provider may have answered all the same.
    Released,
    /// Ended by the clock, and its estimate posted if a budget says so. A transfer may still follow, once, marked late.
    Expired,
}

impl ReservationState {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

/// A pending transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// `UUIDv7`, made in the shell.
    pub id: ReservationId,
    /// What the call is about, as requested.
    pub call: Dimensions,
    /// How urgent.
    pub priority: Priority,
    /// The provider's service tier it is priced by.
    pub service_tier: ServiceTier,
    /// The whole estimate: what is held, but for [`Self::learned`].
    pub hold: Priced,
    /// What budgets hold that do not hold all of it.
    pub learned: LearnedHolds,
    /// When it was granted: the instant at which the call happens.
    pub granted_at: DateTime<Utc>,
    /// The instant whose periods it is counted in: that of the grant, or of the extension that took more output after a period
    /// had turned. What is asked counts when it is asked, and the whole of a reservation counts in one place.
    pub held_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
    /// Where it stands.
    pub state: ReservationState,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The transfer that settled it, in time or late.
    pub transfer: Option<TransferId>,
}

impl Reservation {
    /// Whether its hold counts at an instant: expiry counts when it happens, not when it is written down.
    #[must_use]
    pub fn is_held(&self, now: DateTime<Utc>) -> bool {
        self.state == ReservationState::Open && now < self.expires_at
    }

    /// Whether it expired and its estimate was posted, and nothing else is known of it yet.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.hold.flags.contains(Flags::EXPIRED)
    }

    /// The last instant to which it can be extended.
    #[must_use]
    pub fn lives_until(&self) -> DateTime<Utc> {
        let life = TimeDelta::seconds(i64::from(LIFE_SECONDS_MAX));
        self.granted_at.checked_add_signed(life).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Where it stands at an instant.
    #[must_use]
    pub fn state_at(&self, now: DateTime<Utc>) -> ReservationState {
        match self.state {
            ReservationState::Open if now >= self.expires_at => ReservationState::Expired,
            ReservationState::Open
            | ReservationState::Settled
            | ReservationState::Released
            | ReservationState::Expired => self.state,
        }
    }
}
