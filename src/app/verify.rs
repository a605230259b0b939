//! Verify: the books, recomputed from nothing and compared, in one snapshot beside whatever is being written.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::clock::Clock;
use crate::domain::calendar::tzdb_version;
use crate::store::StoreError;
pub use crate::store::balance::UnitBalance;
pub use crate::store::verify::{Difference, Findings};

/// What is compared with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Counters with the journal and the open reservations.
    Counters,
    /// The debit side of each unit with its credit side.
    TrialBalance,
    /// Account balances with the transfers of each account.
    Accounts,
    /// The roll-up with the journal.
    Rollup,
    /// Reservations with the transfers that settled them.
    Reservations,
    /// The columns of each journal row with each other.
    Rows,
}

impl Check {
    /// All checks, in the order in which they are made.
    pub const ALL: [Self; 6] =
        [Self::Counters, Self::TrialBalance, Self::Accounts, Self::Rollup, Self::Reservations, Self::Rows];

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::TrialBalance => "trial_balance",
            Self::Accounts => "accounts",
            Self::Rollup => "usage_rollup",
            Self::Reservations => "reservations",
            Self::Rows => "transfers",
        }
    }

    /// What must hold.
    #[must_use]
    pub const fn claim(self) -> &'static str {
        match self {
            Self::Counters => "posted is what the journal says, held what the open reservations say",
            Self::TrialBalance => "debit equals credit in every unit",
            Self::Accounts => "each balance is the sum of the account's transfers",
            Self::Rollup => "each quarter of an hour is the sum of its transfers, both ways",
            Self::Reservations => "each has exactly one end, and a settled one exactly one transfer",
            Self::Rows => "tokens are the sum of the buckets, accounts follow from the call",
        }
    }
}

/// What one check found, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Which.
    pub check: Check,
    /// What it found.
    pub findings: Findings,
    /// How long it took.
    pub took: Duration,
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// When the snapshot was taken.
    pub as_of: DateTime<Utc>,
    /// Each check.
    pub checks: Vec<Checked>,
    /// Both sides of each unit.
    pub trial_balance: Vec<UnitBalance>,
    /// The timezone rules by which open periods were counted, where they are others than ours: then counters may differ until
    /// the service starts once with the new rules.
    pub other_timezone_rules: Option<String>,
}

impl VerifyReport {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.differences().next().is_none()
    }

    /// Every difference that is listed, with the check that found it.
    pub fn differences(&self) -> impl Iterator<Item = (Check, &Difference)> {
        self.checks.iter().flat_map(|one| one.findings.differences.iter().map(|difference| (one.check, difference)))
    }
}

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The check that is being made.
    pub check: Check,
    /// Rows read so far.
    pub done: u64,
    /// Rows one walk reads; nothing is known of checks that the database makes alone.
    pub of: Option<u64>,
}

/// Verifies the books of a database, on a connection of its own. None if there are no books in it.
///
/// # Errors
/// When the database does not answer, or a row cannot be read at all.
pub async fn verify(
    options: &PgConnectOptions,
    clock: &Clock,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<Option<VerifyReport>, StoreError> {
    let options = options.clone().application_name("counterfoil verify");
    let mut connection = PgConnection::connect_with(&options).await?;
    let as_of = clock.now();
    let Some(mut snapshot) = crate::store::verify::snapshot(&mut connection).await? else {
        connection.close().await?;
        return Ok(None);
    };
    let rules = snapshot.timezone_rules().await?;
    let mut trial_balance = Vec::new();
    let mut checks = Vec::with_capacity(Check::ALL.len());
    for check in Check::ALL {
        let began = Instant::now();
        watch(Progress { check, done: 0, of: None });
        let findings = match check {
            Check::Counters => {
                let of = Some(snapshot.rows_to_walk().await?);
                let mut done = 0_u64;
                let mut on_row = || {
                    done = done.saturating_add(1);
                    watch(Progress { check, done, of });
                };
                snapshot.counters(&mut on_row).await?
            }
            Check::TrialBalance => {
                let (findings, units) = snapshot.trial_balance().await?;
                trial_balance = units;
                findings
            }
            Check::Accounts => snapshot.accounts().await?,
            Check::Rollup => snapshot.rollup().await?,
            Check::Reservations => snapshot.reservations().await?,
            Check::Rows => snapshot.rows().await?,
        };
        checks.push(Checked { check, findings, took: began.elapsed() });
    }
    snapshot.close().await?;
    connection.close().await?;
    let other_timezone_rules = Some(rules).filter(|rules| rules != tzdb_version());
    Ok(Some(VerifyReport { as_of, checks, trial_balance, other_timezone_rules }))
}
