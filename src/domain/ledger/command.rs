//! Commands: what a caller asks of the ledger. Ids are made in the shell and come in with the command.

use chrono::{DateTime, Utc};

use super::call_bound::CallBound;
use super::transfer::{CallReport, Direction};
use crate::domain::amounts::Tokens;
use crate::domain::budget::catalogue::Priority;
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::scope::Dimensions;
use crate::domain::carbon::RecordedFactors;
use crate::domain::id::{IdempotencyKey, ModelId, ProviderId, RegionId, ReservationId, TenantId, TransferId};
use crate::domain::price::ServiceTier;
use crate::domain::tariff::Flags;
use crate::domain::usage::Usage;
use crate::domain::usage::provider::RawUsage;

/// Furthest into the past that usage may say it occurred, in days: a year and a month, for late invoices.
pub const OCCURRED_DAYS_PAST_MAX: i64 = 400;
/// Furthest into the future that usage may say it occurred, in seconds: what clocks differ by.
pub const OCCURRED_SECONDS_AHEAD_MAX: i64 = 300;

/// The caller's key of a write, and what was asked with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key it is.
    pub space: KeySpace,
    /// The key, unique within its space.
    pub key: IdempotencyKey,
    /// SHA-256 of the operation and its body: the same key with another one is an error.
    pub fingerprint: [u8; 32],
}

/// What was used: in our buckets, or as the provider says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportedUsage {
    /// In our disjoint buckets.
    Buckets(Usage),
    /// The provider's raw usage object.
    Provider(RawUsage),
}

/// May this call go ahead, and if so hold what it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    /// The id the reservation gets if it is granted.
    pub id: ReservationId,
    /// What the call is about.
    pub call: Dimensions,
    /// How urgent.
    pub priority: Priority,
    /// The provider's service tier.
    pub service_tier: ServiceTier,
    /// The estimate, with `output` the most it may generate.
    pub usage: Usage,
    /// The smallest output worth having.
    pub min_output: Tokens,
    /// Whether a smaller output is acceptable.
    pub allow_cap: bool,
    /// Whether to hold; otherwise only the verdict is given.
    pub hold: bool,
    /// How long to hold, in seconds.
    pub ttl_seconds: u32,
}

/// The call was made: post what it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// Which reservation.
    pub reservation: ReservationId,
    /// Only if it is this tenant's.
    pub tenant: Option<TenantId>,
    /// The id the transfer gets.
    pub transfer: TransferId,
    /// What was used, if it is known.
    pub usage: Option<ReportedUsage>,
    /// Whether that is only what a call that was cut off had told until then ([`super::partial`]), if the caller says.
    pub is_partial: Option<bool>,
    /// The model that served, if another one than was asked.
    pub served_model: Option<ModelId>,
    /// The region that served, if another one than was asked.
    pub served_region: Option<RegionId>,
    /// The provider that served, if another one than was asked.
    pub served_provider: Option<ProviderId>,
    /// The service tier that served, if the caller says. Otherwise the one that the usage object reports, or that was asked for.
    pub service_tier: Option<ServiceTier>,
    /// Whether a usage object that cannot be read is refused. Else the estimate that is held is posted as unconfirmed: what was
    /// spent is in the books, whatever its words.
    pub is_strict: bool,
    /// How it ended.
    pub report: CallReport,
}

/// The call will not be made: give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which reservation.
    pub reservation: ReservationId,
    /// Only if it is this tenant's.
    pub tenant: Option<TenantId>,
}

/// The call is still going on: more time, and maybe more tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extend {
    /// Which reservation.
    pub reservation: ReservationId,
    /// Only if it is this tenant's.
    pub tenant: Option<TenantId>,
    /// Time from now, in seconds.
    pub ttl_seconds: u32,
    /// Output tokens to hold beyond those held.
    pub more_output: Tokens,
    /// Most tokens of the whole call, with what it holds already.
    pub bound: CallBound,
}

/// A call that was made without a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostUsage {
    /// The id the transfer gets.
    pub transfer: TransferId,
    /// What the call was about, as served.
    pub call: Dimensions,
    /// The model that was asked for, where another one served.
    pub requested_model: Option<ModelId>,
    /// How urgent it was.
    pub priority: Priority,
    /// The service tier that served, if the caller says. Otherwise the one that the usage object reports, or the ordinary one.
    pub service_tier: Option<ServiceTier>,
    /// How many calls the usage adds up.
    pub requests: u32,
    /// What was used.
    pub usage: ReportedUsage,
    /// Whether that is only what a call that was cut off had told until then, if the caller says.
    pub is_partial: Option<bool>,
    /// How it ended.
    pub report: CallReport,
    /// When it happened; now if the caller does not say.
    pub occurred_at: Option<DateTime<Utc>>,
}

/// A row that no call makes: a correction, or a true-up with a provider's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjust {
    /// The id the transfer gets.
    pub transfer: TransferId,
    /// What kind of row.
    pub kind: Adjustment,
    /// Whether it moves amounts as a call does, or takes them back.
    pub direction: Direction,
    /// Whose and what it is about. The tenant is nobody where it is not known.
    pub call: Dimensions,
    /// How urgent the calls were.
    pub priority: Priority,
    /// How many calls, which tokens and which amounts, exactly. Of the amounts, tokens are not looked at: they are the sum
    /// of the usage.
    pub consumption: Consumption,
    /// The rows of the factor book that its grams stand on, if they are known.
    pub factors: Option<RecordedFactors>,
    /// What those rows had to assume: the flags of fallbacks.
    pub assumed: Flags,
    /// The day or the call it belongs to.
    pub occurred_at: DateTime<Utc>,
    /// The instant whose period it counts in, unless that is closed. Of a row that was itself counted in a later period than
    /// it occurred in this is the later one.
    pub counts_at: DateTime<Utc>,
}

/// Says anew what a row said: what it said is taken back, and posted as it is now. Both or neither, at one instant. Both
/// are about the same call and count in the same period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restate {
    /// Takes back.
    pub reversal: Adjust,
    /// Says anew.
    pub posting: Adjust,
}

/// Why there is an adjustment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// Another row was wrong.
    Correction {
        /// Which.
        corrects: TransferId,
    },
    /// A provider's report says otherwise.
    TrueUp {
        /// The row that it confirms or replaces, if one.
        corrects: Option<TransferId>,
    },
}

/// What a caller asks of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Pre-flight.
    Reserve(Box<Reserve>),
    /// Settle a reservation.
    Settle(Box<Settle>),
    /// Release a reservation.
    Release(Release),
    /// Extend a reservation.
    Extend(Extend),
    /// Post usage directly.
    PostUsage(Box<PostUsage>),
    /// Correct, or true up.
    Adjust(Box<Adjust>),
    /// Take back and say anew.
    Restate(Box<Restate>),
}

impl Action {
    /// The tenant whose books it changes. None where only the reservation says it.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Reserve(reserve) => Some(&reserve.call.tenant),
            Self::PostUsage(post) => Some(&post.call.tenant),
            Self::Adjust(adjust) => Some(&adjust.call.tenant),
            Self::Restate(restate) => Some(&restate.reversal.call.tenant),
            Self::Settle(settle) => settle.tenant.as_ref(),
            Self::Release(release) => release.tenant.as_ref(),
            Self::Extend(extend) => extend.tenant.as_ref(),
        }
    }

    /// The reservation that must be at hand before the action can be decided.
    #[must_use]
    pub const fn reservation(&self) -> Option<ReservationId> {
        match self {
            Self::Settle(settle) => Some(settle.reservation),
            Self::Release(release) => Some(release.reservation),
            Self::Extend(extend) => Some(extend.reservation),
            Self::Reserve(_) | Self::PostUsage(_) | Self::Adjust(_) | Self::Restate(_) => None,
        }
    }
}

/// Whose idempotency keys: those of the tenant a credential is confined to, or of the platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySpace(pub Option<TenantId>);

impl KeySpace {
    /// The tenant's name, or nothing for the platform.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", TenantId::as_str)
    }
}

/// An action with the key of its write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What is asked.
    pub action: Action,
    /// Its key, if the caller gave one.
    pub idempotency: Option<Idempotency>,
}
