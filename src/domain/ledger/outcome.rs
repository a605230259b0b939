//! Outcomes: what the ledger answers, with the numbers that explain it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::reservation::{LIFE_SECONDS_MAX, ReservationState};
use crate::domain::amounts::{BadAmount, Quantity};
use crate::domain::budget::catalogue::{Enforcement, HoldRule, Priority};
use crate::domain::budget::counter::{Counter, Standing};
use crate::domain::budget::coverage::NotCounted;
use crate::domain::budget::scope::{CounterKey, Dimensions};
use crate::domain::budget::verdict::{Ruling, Undecided, Verdict};
use crate::domain::calendar::{CalendarError, Period, Zone};
use crate::domain::id::{BudgetId, IdempotencyKey, ModelId, ProviderId, RegionId, ReservationId, TenantId, TransferId};
use crate::domain::tariff::{Priced, TariffError};
use crate::domain::usage::provider::BadUsage;

/// How one budget stands after the decision, in the words of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetState {
    /// Which budget.
    pub budget: BudgetId,
    /// Which counter of it.
    pub key: CounterKey,
    /// Whether the counter counts calls of several tenants.
    pub is_shared: bool,
    /// The measure's name.
    pub measure: String,
    /// How much, in one period.
    pub limit: Quantity,
    /// Used and promised.
    pub counter: Counter,
    /// Hard or soft.
    pub enforcement: Enforcement,
    /// What its reservations hold.
    pub reserve: HoldRule,
    /// The period, with the zone that bounds it; of a sliding window the whole window.
    pub period: Period,
    /// The zone.
    pub zone: Zone,
    /// The provider has said that the quota is gone, until this instant.
    pub closed_until: Option<DateTime<Utc>>,
}

impl BudgetState {
    /// How a standing stands once `counter` is what its window adds up to.
    #[must_use]
    pub fn of(standing: &Standing, counter: Counter) -> Self {
        let governing = &standing.governing;
        Self {
            budget: governing.budget.id.clone(),
            key: governing.key.clone(),
            is_shared: !governing.budget.is_within_tenant(),
            measure: governing.budget.measure.name().to_owned(),
            limit: governing.budget.limit,
            counter,
            enforcement: governing.budget.enforcement,
            reserve: governing.budget.reserve,
            period: governing.span(),
            zone: governing.zone,
            closed_until: governing.closed_until,
        }
    }

    /// What is kept aside for open calls that use more than is held for them.
    #[must_use]
    pub fn margin(&self) -> Quantity {
        self.counter.kept_aside(self.limit)
    }

    /// `limit − posted − held`, less the margin; below zero when overdrawn.
    #[must_use]
    pub fn headroom(&self) -> Quantity {
        self.limit.saturating_sub(self.counter.taken()).saturating_sub(self.margin())
    }
}

/// A reservation that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Its id.
    pub reservation: ReservationId,
    /// When it was granted.
    pub granted_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
}

/// The answer to a pre-flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruled {
    /// What was decided.
    pub ruling: Ruling,
    /// What was held, if anything.
    pub granted: Option<Granted>,
    /// How each governing budget stands, this call included.
    pub budgets: Vec<BudgetState>,
    /// The budgets that would govern the call if it said more.
    pub not_counted: Vec<NotCounted>,
}

/// The answer to a settlement or to usage posted directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The journal row.
    pub transfer: TransferId,
    /// The reservation it settles, if one.
    pub reservation: Option<ReservationId>,
    /// What moved. The flags say late, overrun, unconfirmed.
    pub priced: Priced,
    /// What was held for it, if anything was.
    pub hold: Option<Priced>,
    /// When the call happened.
    pub occurred_at: DateTime<Utc>,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
    /// How each governing budget stands, this call included.
    pub budgets: Vec<BudgetState>,
    /// The budgets that would govern the call if it said more.
    pub not_counted: Vec<NotCounted>,
    /// What of the provider's usage object was not read ([`Reading::unread`](crate::domain::usage::provider::Reading::unread)).
    pub unread: BTreeSet<String>,
    /// Why its estimate was posted instead of what it used, if its usage object could not be read.
    pub unreadable: Option<BadUsage>,
}

/// The answer to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// Which reservation.
    pub reservation: ReservationId,
    /// When.
    pub released_at: DateTime<Utc>,
}

/// The answer to an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extended {
    /// Which reservation.
    pub reservation: ReservationId,
    /// When it now ends by itself: unchanged if the verdict does not grant.
    pub expires_at: DateTime<Utc>,
    /// Whether the extra tokens were granted, and why not.
    pub ruling: Ruling,
    /// How each governing budget stands.
    pub budgets: Vec<BudgetState>,
}

/// Why a command had no effect. In order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key was used before for something else.
    #[error("idempotency key `{0}` was used before with another request")]
    IdempotencyMismatch(IdempotencyKey),
    /// No such tenant, or it is archived.
    #[error("tenant `{0}` is not known")]
    UnknownTenant(TenantId),
    /// No such reservation, or it is another tenant's.
    #[error("reservation {0} is not known")]
    UnknownReservation(ReservationId),
    /// It has ended already.
    #[error("reservation {reservation} has ended: {}", how_it_ended(*.state, *.transfer))]
    ReservationEnded {
        /// Which.
        reservation: ReservationId,
        /// How it ended.
        state: ReservationState,
        /// When.
        ended_at: DateTime<Utc>,
        /// The transfer that settled it, if one did.
        transfer: Option<TransferId>,
    },
    /// It would live too long.
    #[error(
        "reservation {reservation} cannot be extended beyond {lives_until}, {LIFE_SECONDS_MAX} seconds after it was granted: \
         ask for less, or settle it and ask for a new verdict for what goes on"
    )]
    LivesTooLong {
        /// Which.
        reservation: ReservationId,
        /// The last instant to which it can be extended.
        lives_until: DateTime<Utc>,
    },
    /// The tenant is strict, and the model has no price.
    #[error("model `{model}` of provider `{provider}` has no price")]
    UnpricedModel {
        /// The provider.
        provider: ProviderId,
        /// The model.
        model: ModelId,
    },
    /// The tenant is strict, and an emission factor of the call is not known.
    #[error("no emission factor is known for model `{model}` of provider `{provider}` {}", place(.region.as_ref()))]
    UnknownFactor {
        /// The provider.
        provider: ProviderId,
        /// The model.
        model: ModelId,
        /// Where, if given.
        region: Option<RegionId>,
    },
    /// A completed call must say what it used.
    #[error("a completed call must say what it used")]
    UsageRequired,
    /// What the provider says was used does not add up.
    #[error(transparent)]
    BadUsage(#[from] BadUsage),
    /// More tokens than one call can have.
    #[error("`{field}` makes {count} tokens, and one call can have {max} at most (`--call-tokens-max` of the service)")]
    TooManyTokens {
        /// The field that says them.
        field: String,
        /// How many.
        count: u64,
        /// The most.
        max: u64,
    },
    /// Too far in the past or the future.
    #[error("occurred_at {0} is more than 400 days ago or more than 5 minutes ahead")]
    OccurredOutOfRange(DateTime<Utc>),
    /// A number is beyond what the ledger can keep.
    #[error("an amount {0}")]
    Amount(#[from] BadAmount),
    /// The call cannot be priced.
    #[error(transparent)]
    Tariff(#[from] TariffError),
    /// The instant is outside the calendar.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
}

fn how_it_ended(state: ReservationState, transfer: Option<TransferId>) -> String {
    match (state, transfer) {
        (ReservationState::Expired | ReservationState::Released, Some(transfer)) => {
            format!("it was {}, and then settled late by transfer {transfer}", state.name())
        }
        (_, Some(transfer)) => format!("it was settled by transfer {transfer}"),
        (_, None) => format!("it is {}", state.name()),
    }
}

fn place(region: Option<&RegionId>) -> String {
    region.map_or_else(|| "where it is served".to_owned(), |region| format!("in region `{region}`"))
}

impl From<Undecided> for Refusal {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::Amount(bad) => Self::Amount(bad),
            Undecided::Tariff(bad) => Self::Tariff(bad),
        }
    }
}

/// What the ledger answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A verdict.
    Ruled(Box<Ruled>),
    /// A transfer was posted.
    Posted(Box<Posted>),
    /// A reservation was given back.
    Released(Released),
    /// A reservation was extended, or not.
    Extended(Box<Extended>),
    /// The first answer to this idempotency key.
    Repeated(FirstAnswer),
}

/// An answer that was given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstAnswer {
    /// As the store keeps it.
    Kept(Arc<str>),
    /// Given a moment ago, in the same batch.
    Fresh(Arc<Outcome>),
}

impl Outcome {
    /// Until when this answer is repeated to whoever asks again under its key; none for as long as answers are kept.
    ///
    /// What changed the books happened once, and is repeated. A refusal changed nothing: `wait` says to ask again, so that the
    /// same key is decided anew at once, and `stop` holds until the budget resets. One without a reset ends when a person raises the
    /// limit or resumes the run, which no instant foretells: it is decided anew, too. A verdict that held nothing, because nothing
    /// was to be held, is as old as its instant.
    #[must_use]
    pub fn repeated_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let refused = |ruling: &Ruling| match ruling.verdict {
            Verdict::Stop => ruling.resets_at.unwrap_or(now),
            Verdict::Allow | Verdict::Cap | Verdict::Wait => now,
        };
        match self {
            Self::Ruled(ruled) if ruled.granted.is_none() => Some(refused(&ruled.ruling)),
            Self::Extended(extended) if !extended.ruling.verdict.grants() => Some(refused(&extended.ruling)),
            Self::Ruled(_) | Self::Extended(_) | Self::Posted(_) | Self::Released(_) | Self::Repeated(_) => None,
        }
    }
}

/// What the ledger answers, or why it did nothing.
pub type Answer = Result<Outcome, Refusal>;

/// A verdict that did not grant: kept, because why an agent was stopped is a question the books answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCall {
    /// The id its reservation would have had.
    pub id: ReservationId,
    /// What the call was about.
    pub call: Dimensions,
    /// How urgent.
    pub priority: Priority,
    /// The caller's key, if it gave one: then the refusal is kept one by one, otherwise counted by budget and minute.
    pub key: Option<IdempotencyKey>,
    /// When.
    pub refused_at: DateTime<Utc>,
    /// The decision with its numbers.
    pub ruled: Ruled,
}
