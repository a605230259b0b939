//! The hot path: group commit.
//!
//! | phase | what |
//! |---|---|
//! | queue | commands wait in bounded queues, one for each tenant; when there is no place the caller is told to come back |
//! | turn | tenants are served in turn, single commands before those of bulk requests (`turns.rs`) |
//! | batch | whatever waited while the last batch was on its way, up to [`BATCH_MAX`], and less while several tenants ask (`length.rs`); no timer, an empty queue sends at once |
//! | load | one transaction: reservations and counters, locked in one order ([`crate::store::lane`]) |
//! | decide | [`crate::domain::ledger::books::Books::apply`], in memory, in order: one refusal never harms its neighbours |
//! | save | one statement, one row per counter, one commit |
//! | answer | everyone at once, after the commit: an answer that says *recorded* is on disk |
//!
//! One batch in flight per lane and one lane per replica: concurrency becomes batch size, never more commits. Replicas meet
//! in Postgres, in its row locks.
//!
//! Deliberately absent: a retry that decides anew without asking what became of the last try. After a lost connection the
//! lane reads whether its batch was committed, and answers accordingly.

mod batch;
mod length;
mod queue;
mod snapshot;
mod standing;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::ledger::command::Command;
use crate::domain::ledger::outcome::Answer;
use batch::Worker;
use queue::{Envelope, Sender};
pub use snapshot::{Snapshot, Snapshots};
pub use standing::{FAILING_FOR, Standing};

/// Single commands that may wait, of all tenants. At 5,000 a second this is less than a second of waiting; beyond it the tenant
/// that has most of them waiting is told to come back.
pub const QUEUE_MAX: usize = 4096;
/// Commands decided in one transaction. The curve of throughput flattens at 200 to 500 (`docs/reference/benchmarks.md`).
pub const BATCH_MAX: usize = 512;
/// Bulk requests under way of one tenant; another one is told to come back. Each has up to [`BATCH_MAX`] commands waiting.
pub const BULK_REQUESTS_PER_TENANT_MAX: usize = 128;
/// Bulk requests under way of all tenants. Beyond it only a tenant that has none may begin one.
pub const BULK_REQUESTS_MAX: usize = 1024;
/// How often reservations whose time has passed are written down when nothing else is going on.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long a batch keeps trying while the database is away before its callers are told so.
pub const AWAY_PATIENCE: Duration = Duration::from_secs(5);

/// Why a command got no answer. Whether it had an effect is not known for [`LaneError::StoreAway`]: ask again with the same
/// idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// Too many commands are waiting.
    #[error("too many commands are waiting")]
    Overloaded,
    /// The database does not answer.
    #[error("the database does not answer")]
    StoreAway,
    /// The database refused this command.
    #[error("the command could not be written")]
    Unwritable,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Lane {
    sender: Arc<Sender>,
}

impl Lane {
    /// Starts a lane on a connection of its own. It ends when the last [`Lane`] is dropped and the queue is empty.
    #[must_use]
    pub fn start(options: PgConnectOptions, snapshots: Snapshots, clock: Clock, tasks: &TaskTracker) -> Self {
        Self::start_within(QUEUE_MAX, options, snapshots, clock, tasks)
    }

    /// [`Lane::start`] with another bound on the single commands that may wait.
    #[must_use]
    pub fn start_within(
        queue_max: usize,
        options: PgConnectOptions,
        snapshots: Snapshots,
        clock: Clock,
        tasks: &TaskTracker,
    ) -> Self {
        let (sender, receiver) = queue::queue(queue_max);
        let worker = Worker::new(crate::store::lane::lane_options(options), snapshots, clock);
        tasks.spawn(worker.run(receiver));
        Self { sender: Arc::new(sender) }
    }

    /// Sends one command and waits for its answer.
    ///
    /// # Errors
    /// [`LaneError::Overloaded`] when all places are taken and its tenant has no fewer than others, or has to make place for
    /// one that has fewer. Then it had no effect.
    pub async fn submit(&self, command: Command) -> Result<Answer, LaneError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Envelope { command, reply }).inspect_err(|error| {
            if *error == LaneError::Overloaded {
                count_overloaded();
            }
        })?;
        answer.await.unwrap_or(Err(LaneError::Stopping))
    }

    /// Sends many commands of one caller, and answers in their order. A caller with ten thousand items is slowed down, not
    /// refused half-way: it has at most one batch's worth of commands waiting at a time, in the queues of their tenants. All
    /// are [`LaneError::Overloaded`] when too many such requests are under way.
    pub async fn submit_all(&self, commands: Vec<Command>) -> Vec<Result<Answer, LaneError>> {
        let request = match self.sender.begin_bulk(&commands) {
            Ok(request) => request,
            Err(error) => {
                count_overloaded();
                return commands.iter().map(|_| Err(error)).collect();
            }
        };
        let mut answers = Vec::with_capacity(commands.len());
        let mut commands = commands.into_iter();
        loop {
            let (envelopes, waiting): (Vec<_>, Vec<_>) = commands
                .by_ref()
                .take(BATCH_MAX)
                .map(|command| {
                    let (reply, answer) = oneshot::channel();
                    (Envelope { command, reply }, answer)
                })
                .unzip();
            if waiting.is_empty() {
                return answers;
            }
            request.send(envelopes);
            for answer in waiting {
                answers.push(answer.await.unwrap_or(Err(LaneError::Stopping)));
            }
        }
    }

    /// How many commands are waiting.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.sender.queued()
    }
}

fn count_overloaded() {
    metrics::counter!(crate::telemetry::names::LANE_OVERLOADED).increment(1);
}
