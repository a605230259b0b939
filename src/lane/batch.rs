//! One batch after another: load, decide, save, answer.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::{AWAY_PATIENCE, BATCH_MAX, Envelope, LaneError, SWEEP_INTERVAL, Snapshots};
use crate::clock::Clock;
use crate::domain::budget::catalogue::Governing;
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::recount::owner;
use crate::domain::budget::scope::Dimensions;
use crate::domain::id::ReservationId;
use crate::domain::ledger::books::Books;
use crate::domain::ledger::command::{Action, Command};
use crate::domain::ledger::outcome::Answer;
use crate::domain::ledger::reservation::ReservationState;
use crate::store::StoreError;
use crate::store::lane::{self as sql, Touched};
use crate::telemetry::names;

/// Counters that are remembered to exist, so that a batch need not try to make them. Forgotten all at once beyond this.
const KNOWN_COUNTERS_MAX: usize = 100_000;
/// Pause between tries while the database is away, doubled up to the last.
const AWAY_PAUSE_FIRST: Duration = Duration::from_millis(20);
const AWAY_PAUSE_LAST: Duration = Duration::from_millis(500);
/// Tries of one batch against serialization failures and other replicas' keys.
const CONFLICT_TRIES_MAX: u32 = 50;

/// What became of one try.
enum Tried {
    /// Decided, and after the commit written.
    Committed(Vec<Answer>),
    /// A page of reservations was expired, and there may be more: these come first, so that none of them causes a refusal.
    ExpiredOnly,
    /// Another replica wrote one of the keys in between.
    Conflict,
}

/// A lane's worker.
pub(super) struct Worker {
    id: Uuid,
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    snapshots: Snapshots,
    clock: Clock,
    batch: i64,
    catalogue_version: i64,
    known: HashSet<CounterId>,
}

impl Worker {
    pub(super) fn new(options: PgConnectOptions, snapshots: Snapshots, clock: Clock) -> Self {
        Self {
            id: Uuid::now_v7(),
            options,
            connection: None,
            snapshots,
            clock,
            batch: 0,
            catalogue_version: 0,
            known: HashSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut receiver: mpsc::Receiver<Envelope>) {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut envelopes = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                biased;
                count = receiver.recv_many(&mut envelopes, BATCH_MAX) => {
                    if count == 0 {
                        break;
                    }
                    sweep.reset();
                    self.answer(&mut envelopes).await;
                }
                _ = sweep.tick() => {
                    // An empty batch writes down what has expired. If it fails, the next one will.
                    if let Err(error) = self.decide(&[]).await {
                        tracing::warn!(%error, "reservations that expired could not be written down");
                        self.connection = None;
                    }
                }
            }
        }
        if let Some(connection) = self.connection.take() {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "the lane's connection did not close cleanly");
            }
        }
    }

    async fn answer(&mut self, envelopes: &mut Vec<Envelope>) {
        let (commands, replies): (Vec<_>, Vec<_>) =
            envelopes.drain(..).map(|envelope| (envelope.command, envelope.reply)).unzip();
        let began = Instant::now();
        let answers = match self.decide(&commands).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if error.is_away() => {
                tracing::warn!(%error, commands = commands.len(), "the database is away");
                self.connection = None;
                vec![Err(LaneError::StoreAway); commands.len()]
            }
            Err(error) => self.one_by_one(&commands, &error).await,
        };
        metrics::histogram!(names::LANE_BATCH_DURATION).record(began.elapsed());
        metrics::histogram!(names::LANE_BATCH_SIZE).record(u32::try_from(commands.len()).unwrap_or(u32::MAX));
        for (reply, answer) in replies.into_iter().zip(answers) {
            // A caller that has gone away does not need its answer; the effect stands.
            let _gone = reply.send(answer);
        }
    }

    /// One command that cannot be written must not take its neighbours with it.
    async fn one_by_one(&mut self, commands: &[Command], error: &StoreError) -> Vec<Result<Answer, LaneError>> {
        tracing::error!(%error, commands = commands.len(), "a batch could not be written");
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            let alone = if commands.len() == 1 { None } else { Some(self.decide(std::slice::from_ref(command)).await) };
            answers.push(match alone {
                Some(Ok(mut one)) => one.pop().ok_or(LaneError::Unwritable),
                Some(Err(error)) if error.is_away() => Err(LaneError::StoreAway),
                Some(Err(_)) | None => {
                    self.connection = None;
                    Err(LaneError::Unwritable)
                }
            });
        }
        answers
    }

    /// Decides a batch and writes it, trying again while the database asks for it or is away for a moment.
    async fn decide(&mut self, commands: &[Command]) -> Result<Vec<Answer>, StoreError> {
        let patience = Instant::now() + AWAY_PATIENCE;
        let mut pause = AWAY_PAUSE_FIRST;
        let mut conflicts = 0;
        let mut doubt = None;
        loop {
            match self.attempt(commands, &mut doubt).await {
                Ok(Tried::Committed(answers)) => return Ok(answers),
                Ok(Tried::ExpiredOnly) => {}
                Ok(Tried::Conflict) if conflicts < CONFLICT_TRIES_MAX => conflicts += 1,
                Ok(Tried::Conflict) => return Err(StoreError::Contended),
                Err(error) if error.is_transient() && conflicts < CONFLICT_TRIES_MAX => {
                    tracing::debug!(%error, "a batch is tried again");
                    metrics::counter!(names::LANE_RETRIES).increment(1);
                    conflicts += 1;
                }
                Err(error) if error.is_away() && Instant::now() < patience => {
                    self.connection = None;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AWAY_PAUSE_LAST);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One try. `doubt` is a try whose commit was sent and whose answer was lost: before anything is decided again, the
    /// lane's own row says whether it happened.
    async fn attempt(&mut self, commands: &[Command], doubt: &mut Option<(i64, Tried)>) -> Result<Tried, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.options).await?,
        };
        if let Some((batch, tried)) = doubt.take() {
            match sql::last_batch(&mut connection, self.id).await {
                Ok(last) if last >= Some(batch) => {
                    self.connection = Some(connection);
                    return Ok(tried);
                }
                Ok(_) => {}
                Err(error) => {
                    *doubt = Some((batch, tried));
                    return Err(error);
                }
            }
        }
        self.batch = self.batch.saturating_add(1);
        let mut transaction = sql::begin(&mut connection).await?;
        match self.prepare(&mut transaction, commands).await {
            Ok(Tried::Conflict) => {
                transaction.rollback().await?;
                self.connection = Some(connection);
                Ok(Tried::Conflict)
            }
            Ok(tried) => match transaction.commit().await {
                Ok(()) => {
                    self.connection = Some(connection);
                    Ok(tried)
                }
                Err(error) => {
                    *doubt = Some((self.batch, tried));
                    Err(error.into())
                }
            },
            Err(error) => {
                if transaction.rollback().await.is_ok() {
                    self.connection = Some(connection);
                }
                Err(error)
            }
        }
    }

    /// Load, decide, save: everything but the commit.
    async fn prepare(&mut self, connection: &mut PgConnection, commands: &[Command]) -> Result<Tried, StoreError> {
        let now = self.clock.now();
        let named: Vec<Uuid> =
            commands.iter().filter_map(|command| command.action.reservation()).map(|id| id.0).collect();
        let found = sql::lock_reservations(connection, &named, now).await?;
        let snapshot = self.snapshots.of_versions(connection, found.version, found.rates_version).await?;
        if self.catalogue_version != found.version {
            // A change may have deleted counters to recount them.
            self.known.clear();
            self.catalogue_version = found.version;
        }
        let mut books = Books::new(snapshot.catalogue, snapshot.rates);
        books.reservations = found.reservations;
        let expired: Vec<ReservationId> = books
            .reservations
            .values()
            .filter(|reservation| reservation.state == ReservationState::Open && !reservation.is_held(now))
            .map(|reservation| reservation.id)
            .collect();
        let commands = if found.more_expired { &[] } else { commands };

        let keys: Vec<_> = commands.iter().filter_map(|command| command.idempotency.as_ref()).collect();
        books.answers = sql::read_answers(connection, &keys).await?;
        let touched = touched(&books, commands, &expired, now);
        self.load_counters(connection, &mut books, &touched).await?;

        for id in expired {
            if let Err(refusal) = books.expire(id, now) {
                tracing::error!(reservation = %id, %refusal, "a reservation that expired cannot be given back");
            }
        }
        let answers = commands.iter().map(|command| books.apply(command, now)).collect();
        if books.changes != crate::domain::ledger::books::Changes::default()
            && !sql::write_batch(connection, &books, self.id, self.batch, now).await?
        {
            return Ok(Tried::Conflict);
        }
        Ok(if found.more_expired { Tried::ExpiredOnly } else { Tried::Committed(answers) })
    }

    /// Locks and reads the counters. Those not known to exist are made first, before any lock on a counter is held: a lane
    /// that waits for another one's new counter must not hold what that one waits for.
    async fn load_counters(
        &mut self,
        connection: &mut PgConnection,
        books: &mut Books,
        touched: &BTreeMap<CounterId, Touched>,
    ) -> Result<(), StoreError> {
        if touched.is_empty() {
            return Ok(());
        }
        let unknown = touched.iter().filter(|(id, touched)| touched.written && !self.known.contains(id));
        if unknown.clone().next().is_some() {
            sql::make_counters(connection, unknown).await?;
        }
        books.counters = sql::lock_counters(connection, touched).await?;
        if self.known.len() > KNOWN_COUNTERS_MAX {
            self.known.clear();
        }
        // Only what was read under a lock is known to be committed, or to be this batch's own.
        let new = books.counters.keys().filter(|id| !self.known.contains(*id)).cloned().collect::<Vec<_>>();
        self.known.extend(new);
        Ok(())
    }
}

/// The counters that the commands and the expired reservations touch.
fn touched(
    books: &Books,
    commands: &[Command],
    expired: &[ReservationId],
    now: DateTime<Utc>,
) -> BTreeMap<CounterId, Touched> {
    let mut all = BTreeMap::new();
    let mut add = |governing: Vec<Governing>, call: &Dimensions| {
        for one in governing {
            let tenant = owner(&one, call);
            for period in &one.window {
                let written = *period == one.period;
                let touched = Touched { period: *period, tenant: tenant.clone(), written };
                let known = all.entry(one.counter_at(*period)).or_insert_with(|| touched.clone());
                known.written |= written;
            }
        }
    };
    // An instant outside the calendar touches nothing here, and is refused when the command is applied.
    for command in commands {
        let Some(call) = call_of(books, &command.action) else { continue };
        add(books.touches(&command.action, now).unwrap_or_default(), call);
    }
    for reservation in expired.iter().filter_map(|id| books.reservations.get(id)) {
        add(books.touched_by(reservation).unwrap_or_default(), &reservation.call);
    }
    all
}

fn call_of<'a>(books: &'a Books, action: &'a Action) -> Option<&'a Dimensions> {
    match action {
        Action::Reserve(reserve) => Some(&reserve.call),
        Action::PostUsage(post) => Some(&post.call),
        Action::Settle(_) | Action::Release(_) | Action::Extend(_) => {
            let id = action.reservation()?;
            books.reservations.get(&id).map(|reservation| &reservation.call)
        }
    }
}
