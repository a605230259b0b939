//! What people do: one use case per file. Load, decide, save.
//!
//! Nothing here names HTTP: an error is what the caller can act on, and `http/problem.rs` says which status that is.
//!
//! | room | one sentence |
//! |---|---|
//! | [`start`] | everything between a database and a service that answers |
//! | [`calls`] | pre-flight, settle, release, extend, post usage: what goes through the lane |
//! | [`alternatives`] | the models that would do where the one asked does not |
//! | [`catalogue`] | tenants and budgets: create, replace, archive |
//! | [`catalogue_reads`] | tenants and budgets: look, list, history, how a budget stands |
//! | [`ingest`] | spans of instrumented applications, posted as usage |
//! | [`estimate`] | what a call would cost |
//! | [`places`] | places that tenants share |
//! | [`reads`] | how reads begin |
//! | [`rates`] | prices and factors: add, look, list; what is in the books |
//! | [`reconcile`] | a provider's report against the books, true-ups, closed periods |
//! | [`mod@restate`] | recorded grams, said anew by the factor book as it is now |
//! | [`learned`] | what calls really use of what they ask for: learn, tell |
//! | [`exports`] | whole periods, taken out |
//! | [`reports`] | journals of accounts, activity data and carbon intensity, taken out |
//! | [`projection`] | when budgets run out, and how right that was |
//! | [`pacing`] | what calls that can wait may take, planned once in a while |
//! | [`given`] | answers that were given before, of writes that do not go through the lane |
//! | [`ledger`] | the journal, balances, the trial balance |
//! | [`seen`] | what a caller sees of an answer |
//! | [`runs`] | runs: stop, resume, look |
//! | [`usage`] | what was used, added up |
//! | [`signals`] | what a provider's answer means, and the quota that is closed by it |
//! | [`verdicts`] | what was refused, and why |
//! | [`verify`] | the books, recomputed and compared |
//! | [`windows`] | sliding windows: what has left them is forgotten |
//! | [`alerts`] | what people should hear of: evaluate, deliver, look, endpoints |

pub mod alerts;
pub mod alternatives;
mod budget_warnings;
pub mod calls;
pub mod catalogue;
pub mod catalogue_reads;
pub mod estimate;
pub mod exports;
pub mod given;
pub mod ingest;
pub mod learned;
pub mod ledger;
mod names;
pub mod pacing;
pub mod places;
pub mod projection;
pub mod rates;
pub mod reads;
pub mod reconcile;
pub mod reports;
pub mod restate;
pub mod runs;
pub mod seen;
pub mod signals;
pub mod start;
pub mod usage;
pub mod verdicts;
pub mod verify;
pub mod windows;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use self::alerts::hub::EventHub;
use crate::auth::{GrantSigner, SealKey, Verifier};
use crate::clock::Clock;
use crate::courier::Courier;
use crate::domain::access::Denied;
use crate::domain::id::{BudgetId, ReservationId, TenantId, WebhookId};
use crate::domain::ledger::call_bound::CallBound;
use crate::domain::ledger::outcome::Refusal;
use crate::domain::signal::RuleBook;
use crate::export::ExportError;
use crate::ingest::mapping::Mapping;
use crate::lane::{Lane, LaneError, Snapshots};
use crate::store::StoreError;
use crate::wire::FieldError;
use crate::wire::rates::PriceBody;

/// The service, as a value. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// For everything but the lane.
    pub pool: PgPool,
    /// For the question whether the database answers and what is new in the catalogue, and nothing else.
    pub probe: PgPool,
    /// The places of reads, which tenants share.
    pub reads: places::Places,
    /// The hot path.
    pub lane: Lane,
    /// The catalogue and the rates that this replica knows.
    pub snapshots: Snapshots,
    /// The latest projections that this replica knows.
    pub projections: projection::Projections,
    /// Changes of the catalogue that count wait for each other here, before they take a connection: one at a time, and whose
    /// they are in turn.
    pub changing: places::Places,
    /// The only reader of time.
    pub clock: Clock,
    /// Who is calling.
    pub verifier: Arc<Verifier>,
    /// Proofs of reservations.
    pub grants: Arc<GrantSigner>,
    /// The stopped runs that still ask.
    pub stops_heard: runs::StopsHeard,
    /// Seals secrets of webhooks.
    pub seals: Arc<SealKey>,
    /// Wakes whoever waits for events.
    pub events: EventHub,
    /// Takes events to endpoints.
    pub courier: Courier,
    /// What the attributes of spans mean.
    pub otlp: Arc<Mapping>,
    /// What providers' answers mean.
    pub rules: Arc<RuleBook>,
    /// What takes whole periods out.
    pub exports: exports::Exports,
    /// How many tokens one call can have.
    pub call_bound: CallBound,
}

/// Why a use case could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The ledger refuses the command.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The lane gave no answer.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// The database could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller may not do it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A field is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A file cannot be begun.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// As many exports run as may, of this caller or of all.
    #[error(
        "{} exports of yours are running, or {} of all: come back when one has ended",
        exports::EXPORTS_EACH_MAX,
        exports::EXPORTS_MAX
    )]
    TooManyExports,
    /// No such tenant.
    #[error("tenant `{0}` is not known")]
    UnknownTenant(TenantId),
    /// No such budget.
    #[error("budget `{0}` is not known")]
    UnknownBudget(BudgetId),
    /// The id is that of a budget which is no part of a fair split.
    #[error(
        "the id `{0}` is that of a budget that no split has written: archive it, or make its scope, measure, period and zone those of the split"
    )]
    IdTaken(BudgetId),
    /// What is there is not what the caller said must be there.
    #[error("{}", precondition(.id, *.there))]
    PreconditionFailed {
        /// Of what.
        id: String,
        /// The version that is there, if anything is.
        there: Option<i32>,
    },
    /// A tenant would have more budgets than it may.
    #[error(
        "tenant `{tenant}` has {there} budgets, and may have {}: archive some, or let one count apart by `each`",
        catalogue::TENANT_BUDGETS_MAX
    )]
    TooManyBudgets {
        /// Which.
        tenant: String,
        /// How many it has.
        there: usize,
    },
    /// No such reconciliation.
    #[error("reconciliation {0} is not known")]
    UnknownReconciliation(Uuid),
    /// A price stands in the place of one that is added, and says something else.
    #[error(
        "price {} of {}/{} ({}, from {}, source `{}` of {}) stands there with other numbers: rows are never changed; to correct \
        it, add the row with another `source_date` or `source`, of two rows from the same day the one added last applies",
        .0.id, .0.row.provider, .0.row.model, .0.row.service_tier, .0.row.effective_from, .0.row.source, .0.row.source_date
    )]
    PriceStands(Box<PriceBody>),
    /// A change is counted for longer than an answer may take. It goes on.
    #[error(
        "the change is still being counted, which goes on without you, and nothing is written before it is whole: send the same \
         request again, without `If-None-Match`, to wait for it, or GET it until it is there"
    )]
    StillCounting,
    /// Not now.
    #[error("{0}")]
    Busy(&'static str),
    /// What was to be closed is closed.
    #[error("{until} is closed already: the books were closed until {closed_until} by {closed_by} at {closed_at}")]
    AlreadyClosed {
        /// What was asked for.
        until: DateTime<Utc>,
        /// The first instant that stayed open.
        closed_until: DateTime<Utc>,
        /// Who closed.
        closed_by: String,
        /// When.
        closed_at: DateTime<Utc>,
    },
    /// No such reservation.
    #[error("reservation {0} is not known")]
    UnknownReservation(ReservationId),
    /// No such endpoint.
    #[error("webhook `{0}` is not known")]
    UnknownWebhook(WebhookId),
    /// The machine gave no random bytes.
    #[error("the machine gave no random bytes")]
    NoRandomness,
}

fn precondition(id: &str, there: Option<i32>) -> String {
    match there {
        Some(version) => format!("`{id}` is there in version {version}: read it, and say which version you replace"),
        None => format!("`{id}` is not there: leave out If-Match to create it"),
    }
}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl App {
    /// Catches up with the catalogue when something is not in it: another replica may have just made it. Where all connections
    /// are busy it has one that is for nothing else: whether the service is ready says nothing of how busy they are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn catch_up(&self) -> Result<(), AppError> {
        let mut connection = match self.pool.try_acquire() {
            Some(connection) => connection,
            None => self.probe.acquire().await?,
        };
        self.snapshots.refresh(&mut connection).await?;
        Ok(())
    }
}
