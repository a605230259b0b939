//! The hot path: group commit.
//!
//! | phase | what |
//! |---|---|
//! | queue | commands wait in a bounded queue; when it is full the caller is told to come back |
//! | batch | whatever waited while the last batch was on its way, up to [`BATCH_MAX`]; no timer, an empty queue sends at once |
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
mod snapshot;

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::ledger::command::Command;
use crate::domain::ledger::outcome::Answer;
use batch::Worker;
pub use snapshot::{Snapshot, Snapshots};

/// Commands that may wait. At 5,000 a second this is less than a second of waiting; beyond it callers are told to come back.
pub const QUEUE_MAX: usize = 4096;
/// Commands decided in one transaction. The curve of throughput flattens at 200 to 500 (`docs/reference/benchmarks.md`).
pub const BATCH_MAX: usize = 512;
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

struct Envelope {
    command: Command,
    reply: oneshot::Sender<Result<Answer, LaneError>>,
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Lane {
    sender: mpsc::Sender<Envelope>,
}

impl Lane {
    /// Starts a lane on a connection of its own. It ends when the last [`Lane`] is dropped and the queue is empty.
    #[must_use]
    pub fn start(options: PgConnectOptions, snapshots: Snapshots, clock: Clock, tasks: &TaskTracker) -> Self {
        Self::start_within(QUEUE_MAX, options, snapshots, clock, tasks)
    }

    /// [`Lane::start`] with a bound on the queue of one's own.
    #[must_use]
    pub fn start_within(
        queue_max: usize,
        options: PgConnectOptions,
        snapshots: Snapshots,
        clock: Clock,
        tasks: &TaskTracker,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(queue_max);
        let worker = Worker::new(crate::store::lane::lane_options(options), snapshots, clock);
        tasks.spawn(worker.run(receiver));
        Self { sender }
    }

    /// Sends one command and waits for its answer.
    ///
    /// # Errors
    /// [`LaneError::Overloaded`] at once when the queue is full.
    pub async fn submit(&self, command: Command) -> Result<Answer, LaneError> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(Envelope { command, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                metrics::counter!(crate::telemetry::names::LANE_OVERLOADED).increment(1);
                LaneError::Overloaded
            }
            mpsc::error::TrySendError::Closed(_) => LaneError::Stopping,
        })?;
        answer.await.unwrap_or(Err(LaneError::Stopping))
    }

    /// Sends many commands of one caller, and answers in their order. A caller with ten thousand items is slowed down, not
    /// refused half-way, and takes at most one batch's room in the queue at a time: others are not refused for its sake.
    pub async fn submit_all(&self, commands: Vec<Command>) -> Vec<Result<Answer, LaneError>> {
        let mut answers = Vec::with_capacity(commands.len());
        let mut commands = commands.into_iter();
        loop {
            let mut waiting = Vec::with_capacity(BATCH_MAX.min(commands.len()));
            for command in commands.by_ref().take(BATCH_MAX) {
                let (reply, answer) = oneshot::channel();
                // When nobody takes it, its reply is dropped with it, and it is answered as one that came too late.
                let _stopping = self.sender.send(Envelope { command, reply }).await;
                waiting.push(answer);
            }
            if waiting.is_empty() {
                return answers;
            }
            for answer in waiting {
                answers.push(answer.await.unwrap_or(Err(LaneError::Stopping)));
            }
        }
    }

    /// How many commands are waiting.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.sender.max_capacity().saturating_sub(self.sender.capacity())
    }
}
