//! One batch after another: load, decide, save, answer.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::length::Length;
use super::queue::{Envelope, Receiver, party};
use super::turns::Party;
use super::{AWAY_PATIENCE, LaneError, SWEEP_INTERVAL, Snapshots};
use crate::clock::Clock;
use crate::domain::budget::catalogue::{BudgetNumber, Governing};
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::recount::owner;
use crate::domain::budget::scope::Dimensions;
use crate::domain::id::{ReservationId, TransferId};
use crate::domain::ledger::books::{Books, Changes};
use crate::domain::ledger::command::{Action, Command, Idempotency};
use crate::domain::ledger::outcome::{Answer, Outcome};
use crate::domain::ledger::reservation::{Reservation, ReservationState};
use crate::domain::tariff::Flags;
use crate::store::StoreError;
use crate::store::lane::{self as sql, Batch, Found, Touched, Touches, Window, WindowId, Written};
use crate::telemetry::names;

/// Counters that are remembered to exist, so that a batch need not try to make them. Forgotten all at once beyond this.
const KNOWN_COUNTERS_MAX: usize = 100_000;
/// Pause between tries while the database is away, doubled up to the last.
const AWAY_PAUSE_FIRST: Duration = Duration::from_millis(20);
const AWAY_PAUSE_LAST: Duration = Duration::from_millis(500);
/// How long one batch is tried against deadlocks, lock time-outs and other replicas' keys. Below the time that a request is
/// given, so that its caller is told.
const CONFLICT_PATIENCE: Duration = Duration::from_secs(20);
/// How often it is said that the clock is off.
const OFF_INTERVAL: Duration = Duration::from_secs(600);
/// Longest time to connect.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest time of one try. The database's own time-outs end every statement long before; this one is for a machine that
/// went silent in the middle of a conversation.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(60);

/// What became of one try.
enum Tried {
    /// Decided, and after the commit written.
    Committed(Vec<Answer>),
    /// A page of reservations was expired, and there may be more: these come first, so that none of them causes a refusal.
    ExpiredOnly {
        /// Whether the next page will be another one. Reservations that cannot be expired must not stop everything else.
        progress: bool,
    },
    /// One of the keys has an answer that is repeated: asked before, or written by another replica in between.
    KeyTaken,
    /// A row that was to be changed is not there.
    RowMissing,
}

/// How a batch is tried.
#[derive(Debug, Clone, Copy)]
struct How {
    /// Whether a full page of expired reservations is written down alone, before anything is decided.
    expired_first: bool,
    /// Whether the idempotency keys are looked up before the commands are decided.
    keys: Keys,
}

/// Idempotency keys are nearly always new, and writing them says so: the first try does not look them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// Decide as if all were new. A key that is not makes the write come short, and the batch is tried anew.
    ExpectNew,
    /// Look them up first.
    Read,
}

/// A try whose commit was sent and whose answer is not known yet.
struct Doubt {
    batch: i64,
    tried: Tried,
}

/// Why a batch was given up.
enum Failed {
    /// The database is away, or does not let this batch in; also when it is not known what became of it.
    Away,
    /// The database refuses something in it.
    Unwritable,
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
    /// Counters that are committed, and need not be made. Slices are not among them.
    known: HashSet<CounterId>,
    /// Sliding windows that are committed.
    known_windows: HashSet<WindowId>,
    /// Counters that the try under way has found or made: known once it is committed, and not before.
    found: Vec<CounterId>,
    /// When this replica last let a call through to each quota that is closed by a guess.
    probes: BTreeMap<BudgetNumber, DateTime<Utc>>,
    /// The same of windows.
    found_windows: Vec<WindowId>,
    /// How many commands of each party the last batch decided, and on how many counters in all.
    weighed: Weighed,
    /// How many commands the next batch may hold.
    length: Length,
    /// When it was last said that the clock is off.
    said_off: Option<Instant>,
    /// Whether the last batch found the database away: then the next ones do not wait for it.
    away: bool,
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
            known_windows: HashSet::new(),
            found: Vec::new(),
            probes: BTreeMap::new(),
            found_windows: Vec::new(),
            weighed: Weighed::new(),
            length: Length::default(),
            said_off: None,
            away: false,
        }
    }

    pub(super) async fn run(mut self, receiver: Receiver) {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                taken = receiver.take(self.length.places(Instant::now())) => {
                    let Some(taken) = taken else { break };
                    sweep.reset();
                    let began = Instant::now();
                    self.answer(taken.together, &receiver).await;
                    for (party, envelopes) in taken.apart {
                        if self.answer(envelopes, &receiver).await {
                            receiver.trust(&party);
                        }
                    }
                    self.length.note(began.elapsed(), taken.places, taken.is_shared, Instant::now());
                }
                _ = sweep.tick() => {
                    // An empty batch writes down what has expired. If it fails, the next one will.
                    let _failed = self.decide(&[]).await;
                }
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the lane's connection did not close cleanly");
        }
    }

    /// Decides a batch and answers. Whether all of it was written.
    ///
    /// Commands that cannot be written must not take their neighbours with them: of a batch that is refused the tenants are
    /// halved until one stands alone, and its commands are set aside for later batches. The order of its commands is kept.
    async fn answer(&mut self, envelopes: Vec<Envelope>, queue: &Receiver) -> bool {
        let mut all_written = true;
        let mut parts = vec![envelopes];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let (commands, replies): (Vec<_>, Vec<_>) =
                part.into_iter().map(|envelope| (envelope.command, envelope.reply)).unzip();
            let began = Instant::now();
            let decided = self.decide(&commands).await;
            let weighed = std::mem::take(&mut self.weighed).into_iter();
            queue.weigh(weighed.map(|(party, (count, counters))| (party, counters.checked_div(count).unwrap_or(0))));
            metrics::histogram!(names::LANE_BATCH_DURATION).record(began.elapsed());
            metrics::histogram!(names::LANE_BATCH_SIZE).record(u32::try_from(commands.len()).unwrap_or(u32::MAX));
            match decided {
                Ok(answers) => {
                    for (reply, answer) in replies.into_iter().zip(answers) {
                        send(reply, Ok(answer));
                    }
                }
                Err(Failed::Away) => {
                    // Whoever comes after in this batch would only wait for the same.
                    for envelope in together(commands, replies).chain(parts.drain(..).flatten()) {
                        send(envelope.reply, Err(LaneError::StoreAway));
                    }
                    return false;
                }
                Err(Failed::Unwritable) => {
                    all_written = false;
                    parts.extend(refused(together(commands, replies).collect(), queue));
                }
            }
        }
        all_written
    }

    /// Decides a batch and writes it, trying again while the database asks for it or is away for a moment.
    async fn decide(&mut self, commands: &[Command]) -> Result<Vec<Answer>, Failed> {
        let began = Instant::now();
        let patience = if self.away { Duration::ZERO } else { AWAY_PATIENCE };
        let mut pause = AWAY_PAUSE_FIRST;
        let mut doubt = None;
        let mut how = How { expired_first: true, keys: Keys::ExpectNew };
        loop {
            let tried = match tokio::time::timeout(ATTEMPT_TIME_MAX, self.attempt(commands, how, &mut doubt)).await {
                Ok(tried) => tried,
                Err(_elapsed) => Err(silent("the database went silent")),
            };
            self.found.clear();
            self.found_windows.clear();
            match tried {
                Ok(Tried::Committed(answers)) => {
                    self.away = false;
                    // A sweep that finds nothing to write down says nothing of writing.
                    if !commands.is_empty() {
                        self.snapshots.standing.written();
                    }
                    return Ok(answers);
                }
                Ok(Tried::ExpiredOnly { progress }) => how.expired_first = progress,
                Ok(Tried::KeyTaken | Tried::RowMissing) if began.elapsed() < CONFLICT_PATIENCE => {
                    // A caller that asks again is no contention: only a key that came in between counts as one.
                    if how.keys == Keys::Read {
                        metrics::counter!(names::LANE_RETRIES).increment(1);
                    }
                    how.keys = Keys::Read;
                }
                Ok(Tried::KeyTaken | Tried::RowMissing) => {
                    return Err(self.given_up(&StoreError::Contended, commands, doubt.is_some()));
                }
                Err(error) if error.is_transient() && began.elapsed() < CONFLICT_PATIENCE => {
                    tracing::debug!(%error, "a batch is tried again");
                    metrics::counter!(names::LANE_RETRIES).increment(1);
                }
                Err(error) if error.is_away() && began.elapsed() < patience => {
                    self.connection = None;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AWAY_PAUSE_LAST);
                }
                Err(error) => return Err(self.given_up(&error, commands, doubt.is_some())),
            }
        }
    }

    fn given_up(&mut self, error: &StoreError, commands: &[Command], in_doubt: bool) -> Failed {
        self.connection = None;
        self.away = error.is_away();
        if in_doubt || error.is_away() || error.is_transient() || matches!(error, StoreError::Contended) {
            tracing::warn!(%error, commands = commands.len(), in_doubt, "the database is away");
            self.snapshots.standing.failed(self.clock.now());
            Failed::Away
        } else {
            tracing::error!(%error, commands = commands.len(), "a batch could not be written");
            Failed::Unwritable
        }
    }

    async fn connect(&self) -> Result<PgConnection, StoreError> {
        match tokio::time::timeout(CONNECT_TIME_MAX, PgConnection::connect_with(&self.options)).await {
            Ok(connected) => Ok(connected?),
            Err(_elapsed) => Err(silent("the database does not take connections")),
        }
    }

    /// One try. `doubt` is a try whose commit was sent and whose answer was lost: before anything is decided again, the
    /// lane's own row says whether it happened. May be dropped at any point: what is not known then is in `doubt`.
    async fn attempt(
        &mut self,
        commands: &[Command],
        how: How,
        doubt: &mut Option<Doubt>,
    ) -> Result<Tried, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        if doubt.is_some() {
            let last = sql::last_batch(&mut connection, self.id, self.clock.now()).await?;
            if let Some(Doubt { tried, .. }) = doubt.take().filter(|doubt| doubt.batch <= last) {
                self.connection = Some(connection);
                return Ok(tried);
            }
        }
        self.batch = self.batch.saturating_add(1);
        let mut transaction = sql::begin(&mut connection).await?;
        match self.prepare(&mut transaction, commands, how).await {
            Ok(tried @ (Tried::KeyTaken | Tried::RowMissing)) => {
                transaction.rollback().await?;
                self.connection = Some(connection);
                Ok(tried)
            }
            Ok(tried) => {
                let sent = doubt.insert(Doubt { batch: self.batch, tried });
                transaction.commit().await?;
                self.connection = Some(connection);
                self.known.extend(self.found.drain(..));
                self.known_windows.extend(self.found_windows.drain(..));
                let tried = std::mem::replace(&mut sent.tried, Tried::RowMissing);
                *doubt = None;
                Ok(tried)
            }
            Err(error) => {
                if transaction.rollback().await.is_ok() {
                    self.connection = Some(connection);
                }
                Err(error)
            }
        }
    }

    /// Load, decide, save: everything but the commit.
    async fn prepare(
        &mut self,
        connection: &mut PgConnection,
        commands: &[Command],
        how: How,
    ) -> Result<Tried, StoreError> {
        let clock = self.clock.now();
        let named: Vec<Uuid> =
            commands.iter().filter_map(|command| command.action.reservation()).map(|id| id.0).collect();
        let found = sql::lock_reservations(connection, &named, clock).await?;
        // One time for all: never behind what the database has seen.
        let now = found.instant;
        self.compare_clock(clock, &found);
        let snapshot = self.snapshots.of_versions(connection, found.version, found.rates_version).await?;
        if self.catalogue_version != found.version {
            // A change may have deleted counters to recount them.
            self.forget_known();
            self.catalogue_version = found.version;
        }
        let mut books = Books::new(snapshot.catalogue, snapshot.rates);
        books.lessons = self.snapshots.lessons();
        books.reservations = found.reservations;
        books.paces = self.snapshots.paces();
        books.probes.clone_from(&self.probes);
        let is_over =
            |reservation: &&Reservation| reservation.state == ReservationState::Open && !reservation.is_held(now);
        let expired: Vec<ReservationId> = books.reservations.values().filter(is_over).map(|one| one.id).collect();
        let page_is_full = found.due.len() >= sql::EXPIRED_PAGE;
        let expired_only = page_is_full && how.expired_first;
        let commands = if expired_only { &[] } else { commands };

        if how.keys == Keys::Read {
            let keys: Vec<_> = commands.iter().filter_map(|command| command.idempotency.as_ref()).collect();
            books.answers = sql::read_answers(connection, &keys, now).await?;
        }
        let (touched, weighed) = touched(&books, commands, &expired, now);
        self.weighed = weighed;
        let Some(slices) = self.load_counters(connection, &mut books, &touched).await? else {
            self.forget_known();
            return Ok(Tried::RowMissing);
        };

        metrics::counter!(names::RESERVATIONS_EXPIRED).increment(u64::try_from(expired.len()).unwrap_or(0));
        for id in expired {
            if let Err(refusal) = books.expire(id, TransferId(Uuid::now_v7()), now) {
                tracing::error!(reservation = %id, %refusal, "a reservation that expired cannot be given back");
            }
        }
        let mut answers: Vec<Answer> = commands.iter().map(|command| books.apply(command, now)).collect();
        if how.keys == Keys::ExpectNew {
            self.recall(connection, commands, &mut answers, now).await?;
        }
        if books.changes != Changes::default() {
            let slices = books.changes.counters.iter().filter(|id| slices.contains(*id)).cloned().collect();
            let (lane, number) = (self.id, self.batch);
            let batch = Batch { books: &books, touches: &touched, slices, lane, number, now };
            match sql::write_batch(connection, &batch).await? {
                Written::Whole => {}
                Written::KeyTaken => return Ok(Tried::KeyTaken),
                Written::RowMissing => {
                    tracing::error!("a counter or reservation that the lane knew is gone: all are looked up anew");
                    self.forget_known();
                    return Ok(Tried::RowMissing);
                }
            }
        }
        if expired_only {
            // Another replica may have ended some of them in between: that is progress too.
            let over = |id: &ReservationId| books.reservations.get(id).as_ref().is_none_or(|one| !is_over(one));
            return Ok(Tried::ExpiredOnly { progress: found.due.iter().any(over) });
        }
        // Should the commit fail, a minute passes without a probe.
        self.probes = books.probes;
        Ok(Tried::Committed(answers))
    }

    /// A keyed command that was refused may be one that was answered before: settled, say, and so nothing is left to settle.
    /// It had no effect, so that its first answer can take the place of the refusal whatever else is in the batch.
    async fn recall(
        &self,
        connection: &mut PgConnection,
        commands: &[Command],
        answers: &mut [Answer],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let refused = |answer: &Answer| answer.is_err();
        let keyed = commands.iter().zip(&*answers).filter(|(_, answer)| refused(answer));
        let keys: Vec<_> = keyed.filter_map(|(command, _)| command.idempotency.as_ref()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let known = sql::read_answers(connection, &keys, now).await?;
        for (command, answer) in commands.iter().zip(answers).filter(|(_, answer)| refused(answer)) {
            if let Some(idempotency) = &command.idempotency
                && let Some(remembered) = known.get(&(idempotency.space.clone(), idempotency.key.clone()))
            {
                *answer = remembered.answer_to(idempotency);
            }
        }
        Ok(())
    }

    /// Locks and reads the counters, and says which of the slices to be written are to be made: none if a window is gone that
    /// was there before. Counters and windows not known to exist are made first, before any lock on a counter is held: a lane
    /// that waits for another one's new counter must not hold what that one waits for.
    async fn load_counters(
        &mut self,
        connection: &mut PgConnection,
        books: &mut Books,
        touched: &Touches,
    ) -> Result<Option<HashSet<CounterId>>, StoreError> {
        if touched.is_empty() {
            return Ok(Some(HashSet::new()));
        }
        let is_unknown =
            |id: &CounterId, touched: &Touched| touched.needed && !touched.slides && !self.known.contains(id);
        let unknown = touched.counters.iter().filter(|(id, touched)| is_unknown(id, touched));
        let needed = || touched.windows.iter().filter(|(_, window)| window.needed).map(|(id, _)| id);
        if unknown.clone().next().is_some() || needed().any(|id| !self.known_windows.contains(id)) {
            sql::make_counters(connection, touched, unknown).await?;
        }
        let found = sql::lock_counters(connection, touched).await?;
        if needed().any(|id| !found.windows.contains(id)) {
            return Ok(None);
        }
        if self.known.len().saturating_add(self.known_windows.len()) > KNOWN_COUNTERS_MAX {
            self.forget_known();
        }
        // What this batch made is not known before it is committed: after a rollback it would be missed, and counted nowhere.
        let stays = |id: &&CounterId| touched.counters.get(*id).is_some_and(|touched| !touched.slides);
        let is_new = |id: &&CounterId| !self.known.contains(*id);
        self.found = found.counters.keys().filter(stays).filter(is_new).cloned().collect();
        self.found_windows = found.windows.into_iter().filter(|id| !self.known_windows.contains(id)).collect();
        let slices =
            touched.counters.iter().filter(|(id, touched)| touched.slides && !found.counters.contains_key(*id));
        let slices = slices.map(|(id, _)| id.clone()).collect();
        (books.counters, books.opened) = (found.counters, found.opened);
        Ok(Some(slices))
    }

    fn forget_known(&mut self) {
        self.known.clear();
        self.known_windows.clear();
    }

    /// Compares the clock with what the database has seen, and says so where it is off.
    fn compare_clock(&mut self, clock: DateTime<Utc>, found: &Found) {
        let off = self.clock.compare(clock, found.instant, found.server_at);
        metrics::gauge!(names::CLOCK_OFFSET).set(off.as_seconds_f64());
        if self.clock.off().is_none() {
            self.said_off = None;
        } else if self.said_off.is_none_or(|said| said.elapsed() >= OFF_INTERVAL) {
            self.said_off = Some(Instant::now());
            tracing::warn!(
                offset_ms = off.num_milliseconds(),
                "this machine's clock is off from what the database has seen: is it synchronised?"
            );
        }
    }
}

type Reply = oneshot::Sender<Result<Answer, LaneError>>;

fn together(commands: Vec<Command>, replies: Vec<Reply>) -> impl Iterator<Item = Envelope> {
    commands.into_iter().zip(replies).map(|(command, reply)| Envelope { command, reply })
}

/// What is to be tried again at once of commands that the database refused together.
fn refused(mut envelopes: Vec<Envelope>, queue: &Receiver) -> [Vec<Envelope>; 2] {
    let parties: BTreeSet<Party> = envelopes.iter().map(|envelope| party(&envelope.command.action)).collect();
    let Some(middle) = parties.iter().nth(parties.len() / 2) else { return [vec![], vec![]] };
    if parties.len() > 1 {
        let (second, first) = envelopes.into_iter().partition(|envelope| party(&envelope.command.action) >= *middle);
        return [second, first];
    }
    if envelopes.len() > 1 {
        queue.set_aside(middle, envelopes);
    } else if let Some(envelope) = envelopes.pop() {
        queue.distrust(middle);
        send(envelope.reply, Err(LaneError::Unwritable));
    }
    [vec![], vec![]]
}

/// Answers one caller. One that has gone away does not need its answer; the effect stands.
fn send(reply: Reply, answer: Result<Answer, LaneError>) {
    count(&answer);
    let _gone = reply.send(answer);
}

/// A database that says nothing, as the error it amounts to.
fn silent(what: &'static str) -> StoreError {
    StoreError::Database(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, what)))
}

/// What was answered, for the metrics.
fn count(answer: &Result<Answer, LaneError>) {
    match answer {
        Ok(Ok(Outcome::Ruled(ruled))) => {
            metrics::counter!(names::VERDICTS, "verdict" => ruled.ruling.verdict.name()).increment(1);
        }
        Ok(Ok(Outcome::Posted(posted))) if posted.priced.flags.contains(Flags::UNPRICED) => {
            metrics::counter!(names::UNPRICED_CALLS).increment(1);
        }
        Ok(Ok(Outcome::Posted(_) | Outcome::Released(_) | Outcome::Extended(_) | Outcome::Repeated(_)) | Err(_))
        | Err(_) => {}
    }
}

/// How many commands of each party are decided, and on how many counters in all.
type Weighed = BTreeMap<Party, (usize, usize)>;

/// The counters and windows that the commands and the expired reservations touch, and how the commands' are spread.
fn touched(books: &Books, commands: &[Command], expired: &[ReservationId], now: DateTime<Utc>) -> (Touches, Weighed) {
    let (mut all, mut weighed) = (Touches::default(), Weighed::new());
    let mut add = |governing: Vec<Governing>, call: &Dimensions, needed: bool| {
        for one in governing {
            let slides = one.budget.period.slides().is_some();
            let touched = Touched { period: one.period, tenant: owner(&one, call), needed, slides };
            all.counters.entry(one.counter()).or_insert(touched).needed |= needed;
            // An instant outside the calendar has been refused before there was a window.
            if let Some(seen) = one.seen_at(now).ok().filter(|_| slides) {
                let id = (one.budget.number, one.key);
                let window = all.windows.entry(id).or_insert(Window { since: seen.since, needed });
                window.since = window.since.min(seen.since);
                window.needed |= needed;
            }
        }
    };
    // An instant outside the calendar touches nothing here, and is refused when the command is applied.
    for command in commands {
        let Some(call) = call_of(books, command) else { continue };
        // A question takes nothing: it makes no row, and waits for nobody's.
        let needed = !matches!(&command.action, Action::Reserve(reserve) if !reserve.hold);
        let governing = books.touches(&command.action, now).unwrap_or_default();
        let (count, counters) = weighed.entry(party(&command.action)).or_default();
        *count = count.saturating_add(1);
        *counters = counters.saturating_add(governing.len());
        add(governing, call, needed);
    }
    for reservation in expired.iter().filter_map(|id| books.reservations.get(id)) {
        add(books.touched_by_expiry(reservation, now).unwrap_or_default(), &reservation.call, true);
    }
    (all, weighed)
}

/// The call whose budgets a command touches; none if it will be answered from memory or refused, and touches nothing.
fn call_of<'a>(books: &'a Books, command: &'a Command) -> Option<&'a Dimensions> {
    let is_remembered =
        |idempotency: &Idempotency| books.answers.contains_key(&(idempotency.space.clone(), idempotency.key.clone()));
    if command.idempotency.as_ref().is_some_and(is_remembered) {
        return None;
    }
    let of_known_tenant = |call: &&Dimensions| books.catalogue.tenant(&call.tenant).is_some();
    let of_known_or_nobody = |call: &&Dimensions| call.tenant.is_nobody() || of_known_tenant(call);
    match &command.action {
        Action::Reserve(reserve) => Some(&reserve.call).filter(of_known_tenant),
        Action::PostUsage(post) => Some(&post.call).filter(of_known_tenant),
        Action::Adjust(adjust) => Some(&adjust.call).filter(of_known_or_nobody),
        Action::Restate(restate) => Some(&restate.reversal.call).filter(of_known_or_nobody),
        Action::Settle(_) | Action::Release(_) | Action::Extend(_) => {
            let id = command.action.reservation()?;
            books.reservations.get(&id).map(|reservation| &reservation.call)
        }
    }
}
