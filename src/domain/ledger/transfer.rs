//! The transfer: an immutable journal row that moves one bundle of amounts from one account to one other.
//!
//! One row moves tokens, dollars and grams at once, from one credit account to one debit account: it cannot be
//! unbalanced in any unit, so no code checks that sums are zero (a view and a property test check it anyway).

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::account::Account;
use crate::domain::amounts::Usd;
use crate::domain::budget::catalogue::Priority;
use crate::domain::budget::scope::Dimensions;
use crate::domain::id::{ModelId, ReservationId, TransferId};
use crate::domain::tariff::{Flags, Priced};

/// Why a transfer was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransferKind {
    /// A reservation was settled.
    Settlement,
    /// Usage was posted without a reservation.
    Usage,
    /// Another transfer was wrong, and this one takes back what it moved, or moves what it should have moved.
    Correction,
    /// A provider's report differs from the journal, and this makes up for it.
    TrueUp,
}

/// Which way a transfer moves its amounts. They are never negative: what is taken back goes the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From supply to usage.
    Forward,
    /// From usage back to supply.
    Reverse,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Forward, Self::Reverse];

    /// The factor by which its amounts count: 1 or −1.
    #[must_use]
    pub const fn sign(self) -> i16 {
        match self {
            Self::Forward => 1,
            Self::Reverse => -1,
        }
    }
}

impl TransferKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Settlement, Self::Usage, Self::Correction, Self::TrueUp];

    /// Whether such a row may belong to another period than the one it counts in: it corrects what was said of that, or came when
    /// that was closed.
    #[must_use]
    pub const fn is_about_another_period(self, came_for_closed: bool) -> bool {
        match self {
            Self::Correction | Self::TrueUp => true,
            Self::Settlement | Self::Usage => came_for_closed,
        }
    }

    /// The name on the wire and in the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settlement => "settlement",
            Self::Usage => "usage",
            Self::Correction => "correction",
            Self::TrueUp => "true_up",
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// The provider answered.
    Completed,
    /// The provider refused or broke; without usage it is charged nothing.
    Failed,
    /// The caller hung up; without usage it is charged its estimate, unconfirmed, because providers bill what they made.
    Cancelled,
    /// No answer came; without usage it is charged its estimate, unconfirmed.
    TimedOut,
}

impl CallOutcome {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Completed, Self::Failed, Self::Cancelled, Self::TimedOut];

    /// The name on the wire and in the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }
}

/// What the caller knows about a call after it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallReport {
    /// How it ended.
    pub outcome: CallOutcome,
    /// How long it took, in milliseconds.
    pub latency_ms: Option<u32>,
    /// The provider's id of it.
    pub provider_request_id: Option<String>,
    /// What the provider says it cost, in dollars; kept beside our own price, never instead of it.
    pub provider_usd: Option<Usd>,
}

impl CallReport {
    /// How long it took.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency_ms.map(|ms| Duration::from_millis(u64::from(ms)))
    }
}

/// A journal row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// `UUIDv7`, made in the shell.
    pub id: TransferId,
    /// Why it was made.
    pub kind: TransferKind,
    /// Which way it moves what it moves.
    pub direction: Direction,
    /// What the call was about, as served.
    pub call: Dimensions,
    /// The model that was asked for, where another one served.
    pub requested_model: Option<ModelId>,
    /// How urgent it was.
    pub priority: Priority,
    /// What moved, and by which rows it was priced.
    pub priced: Priced,
    /// What the caller reported.
    pub report: CallReport,
    /// When the call happened.
    pub occurred_at: DateTime<Utc>,
    /// When it was written: one instant for a batch.
    pub recorded_at: DateTime<Utc>,
    /// The instant whose period it is counted in.
    pub period_at: DateTime<Utc>,
    /// The reservation it settles.
    pub reservation: Option<ReservationId>,
    /// The transfer it corrects.
    pub corrects: Option<TransferId>,
}

impl Transfer {
    /// How long the call took, if that was taken into account when it was priced: not for the sum of several calls, nor for
    /// one whose tokens are an estimate.
    #[must_use]
    pub fn timed(&self) -> Option<Duration> {
        let timed = self.priced.consumption.requests == 1 && !self.priced.flags.contains(Flags::UNCONFIRMED);
        self.report.latency().filter(|_| timed)
    }

    /// Where the amounts go.
    #[must_use]
    pub fn debit(&self) -> Account {
        match self.direction {
            Direction::Forward => self.consumer(),
            Direction::Reverse => self.supplier(),
        }
    }

    /// Where they come from.
    #[must_use]
    pub fn credit(&self) -> Account {
        match self.direction {
            Direction::Forward => self.supplier(),
            Direction::Reverse => self.consumer(),
        }
    }

    fn consumer(&self) -> Account {
        if self.call.tenant.is_nobody() {
            return Account::Adjustment(self.call.provider.clone());
        }
        Account::Usage(self.call.tenant.clone(), self.call.feature.clone())
    }

    fn supplier(&self) -> Account {
        Account::Supply(self.call.provider.clone(), self.call.model.clone())
    }
}
