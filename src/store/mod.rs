//! Where it is kept: all SQL, one file per aggregate, and the Postgres below it.
//!
//! | room | one sentence |
//! |---|---|
//! | [`embedded`] | a private Postgres in a data folder, for people who have not set up one of their own |
//! | [`open`] | which Postgres a command talks to, and that it is new enough |
//! | [`lane`] | the statements of a batch |
//! | [`catalogue`] | tenants and budgets, and the counters of a budget that is new or changed |
//! | [`counting`] | the counters of such a budget, counted before the change keeps batches out |
//! | [`preparation`] | a change of the catalogue while it counts |
//! | [`catalogue_reads`] | tenants and budgets, to be looked at |
//! | [`reads`] | how reads begin |
//! | [`reconciliations`] | the journal of a report's days, and what was reconciled |
//! | [`restatements`] | rows of the journal with what is said of their grams now |
//! | [`reservations`] | reservations, to be looked at |
//! | [`housekeeping`] | what may be forgotten |
//! | [`paces`] | how far counters may be taken by calls that can wait |
//! | [`rates`] | the price book and the factor book |
//! | [`alerts`] | what alerts are told from, what is firing, what was told |
//! | [`alert_facts`] | models, prompts, runs and projections, as alerts look at them |
//! | [`webhooks`] | endpoints, and the outbox of what is still to be sent to them |
//! | [`webhook_secrets`] | their secrets, as they are kept |
//! | [`naive`] | the baseline that `bench` measures against |
//! | [`runs`] | runs that were stopped, and what is counted of a run |
//! | [`scratch`] | a database for a while, for `bench` |
//! | [`learned`] | what calls really use of what they ask for |
//! | [`export`] | a slice of the journal up to a mark, page by page |
//! | [`ledger`] | the journal, account balances |
//! | [`balance`] | the trial balance |
//! | `comparing` | what is derived against what it is derived from |
//! | [`series`] | what a budget's measure used, hour by hour |
//! | [`projections`] | projections that were made, and what came true of them |
//! | [`planned_usage`] | work that was announced |
//! | [`usage`] | sums of what was used |
//! | [`time`] | one time for all replicas |
//! | [`signals`] | what providers said, and the quotas that are closed by it |
//! | [`verdicts`] | what was refused, and why |
//! | [`verify`] | the books, checked against each other |
//! | [`yielding`] | the priority of work that can wait, where Postgres is on this machine |
//! | [`locks`] | the numbers of the advisory locks |
//! | [`migrations`] | the schema, brought up to date |
//! | `columns`, `rows` | values as array columns, rows as values |
//!
//! Locking doctrine: catalogue (advisory), reservations by id, sliding windows by key, counters by key, roll-up by key. Never the other way round.

pub mod alert_facts;
pub mod alert_look;
pub mod alerts;
pub mod balance;
pub mod catalogue;
pub mod catalogue_reads;
pub mod closing;
mod columns;
pub mod comparing;
pub mod counting;
pub mod embedded;
pub mod export;
pub mod housekeeping;
pub mod idempotency;
pub mod lane;
pub mod learned;
pub mod ledger;
pub mod locks;
pub mod migrations;
pub mod naive;
pub mod names;
pub mod open;
pub mod paces;
pub mod planned_usage;
pub mod preparation;
pub mod projections;
pub mod rates;
pub mod reads;
pub mod reconciliations;
pub mod reservations;
pub mod restatements;
mod rows;
pub mod runs;
pub mod scratch;
pub mod series;
pub mod signals;
pub mod time;
pub mod usage;
pub mod verdicts;
pub mod verify;
pub mod webhook_secrets;
pub mod webhooks;
pub mod yielding;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;

use crate::domain::amounts::BadAmount;
use crate::domain::budget::recount::CannotRecount;
use crate::domain::id::{BadName, TenantId};

/// The numbered migrations, embedded.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or did not answer.
    #[error("the database says: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration failed.
    #[error("a migration failed: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A row holds what no valid value can be.
    #[error("column `{0}` holds a value that is not valid")]
    Row(String),
    /// A number is beyond what the ledger can keep.
    #[error("an amount {0}")]
    Unkeepable(BadAmount),
    /// The counters cannot be recounted.
    #[error("the counters cannot be recounted: {0}")]
    Recount(CannotRecount),
    /// Other replicas kept getting in between.
    #[error("other replicas wrote the same keys again and again")]
    Contended,
    /// The idempotency key has an answer already.
    #[error("the idempotency key has an answer already")]
    KeyTaken,
    /// A value cannot be written.
    #[error("a value cannot be written: {0}")]
    Encode(String),
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Encode(error.to_string())
    }
}

impl StoreError {
    /// For a recount that is not possible.
    fn recount(error: impl Into<CannotRecount>) -> Self {
        Self::Recount(error.into())
    }

    /// For names read back from a column.
    fn name(column: &'static str) -> impl Fn(BadName) -> Self {
        move |_| Self::Row(column.to_owned())
    }

    /// Whether the same transaction may succeed if it is tried again: serialization failures, deadlocks, time-outs of locks
    /// and of statements.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        const AGAIN: [&str; 4] = ["40001", "40P01", "55P03", "57014"];
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| AGAIN.contains(&&*code)),
            Self::Database(_)
            | Self::Migrate(_)
            | Self::Row(_)
            | Self::Unkeepable(_)
            | Self::Encode(_)
            | Self::Recount(_)
            | Self::Contended
            | Self::KeyTaken => false,
        }
    }

    /// Whether the database is away: the connection is lost, it is starting or stopping, it has run out of disk, memory or
    /// connections, or it has become a standby that only reads.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                const AWAY: [&str; 4] = ["57P", "08", "53", "25006"];
                error.code().is_some_and(|code| AWAY.iter().any(|prefix| code.starts_with(prefix)))
            }
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
                    | sqlx::Error::Protocol(_)
            ),
            Self::Migrate(_)
            | Self::Row(_)
            | Self::Unkeepable(_)
            | Self::Encode(_)
            | Self::Recount(_)
            | Self::Contended
            | Self::KeyTaken => false,
        }
    }

    /// Whether a statement took longer than it may.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| code == "57014"),
            Self::Database(_)
            | Self::Migrate(_)
            | Self::Row(_)
            | Self::Unkeepable(_)
            | Self::Encode(_)
            | Self::Recount(_)
            | Self::KeyTaken
            | Self::Contended => false,
        }
    }
}

/// Confines the rest of a transaction to one tenant's rows: it goes on under the role that row-level security binds.
///
/// # Errors
/// When the database does not answer.
pub async fn confine(connection: &mut PgConnection, tenant: &TenantId) -> Result<(), StoreError> {
    sqlx::query("select set_config('role', 'counterfoil_tenant', true), set_config('counterfoil.tenant', $1, true)")
        .bind(tenant.as_str())
        .execute(connection)
        .await?;
    Ok(())
}
