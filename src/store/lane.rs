//! The SQL of the lanes: what one batch reads, locks and writes.
//!
//! | # | statement | locks |
//! |---|---|---|
//! | 1 | [`begin`] | the catalogue, shared: it cannot change until the batch is committed |
//! | 2 | [`lock_reservations`] | the reservations named, and those whose time has passed, in the order of their ids |
//! | 3 | [`lock_counters`] | the sliding windows touched, then the counters, each in the order of their keys |
//! | 4 | [`write_batch`] | the roll-up's rows, in the order of their keys |
//! | 5 | commit | |
//!
//! The order is the same in every replica (catalogue, reservations, windows, counters, roll-up), so no two batches wait for
//! each other in a circle. Counters that do not exist yet cost one statement more, before 3: [`make_counters`]. A lane that
//! waits there for another one's new counter holds no lock on a counter that the other one could want.
//!
//! # A slice that is not there
//!
//! A sliding window is the sum of its slices, and one that counted nothing has no row. What is not there cannot be locked: two
//! replicas, one in the last moment of a slice and one in the first of the next, would each make a row that the other does not
//! see. So each window, which is one budget and one key, has one row in `windows`:
//!
//! - whoever grants by a window's slices, or writes one, holds that row until it commits: so such batches come one after the
//!   other;
//! - whoever makes a slice bumps the row. A statement sees rows as of its beginning, but a row that it waited for as it is now.
//!   Where the two versions of the row differ, slices may have been made that the statement does not see, and it is asked
//!   once more; now nobody else can make one. Slices that the statement does see are locked, and so read as they are now.
//!
//! So each decision on a window sees all that were made before it, however far the clocks are apart, because it looks at every
//! slice since the window's beginning and stops at no end. Of all grants within one length of the window the one that was
//! decided last has seen the others, and what they add up to is within the limit.
//!
//! Idempotency keys are not looked up first: writing them says whether they are new, and a batch with one that is not is
//! rolled back and tried again, now with [`read_answers`] before 3. A keyed command that is refused has its key looked up
//! after it was decided, because the refusal may be the effect of its own first time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Postgres, Row, Transaction};
use uuid::Uuid;

use super::StoreError;
use super::columns::batch_arguments;
use super::locks::Lock;
use super::rows::reservation_from_row;
use crate::domain::amounts::Quantity;
use crate::domain::budget::catalogue::BudgetNumber;
use crate::domain::budget::counter::{Counter, CounterId};
use crate::domain::budget::scope::CounterKey;
use crate::domain::calendar::Period;
use crate::domain::id::{IdempotencyKey, ReservationId, TenantId};
use crate::domain::ledger::books::{Books, Remembered};
use crate::domain::ledger::command::{Idempotency, KeySpace};
use crate::domain::ledger::outcome::{FirstAnswer, Outcome};
use crate::domain::ledger::reservation::Reservation;

/// Most reservations that one batch ends because their time has passed. A full page means there may be more.
pub const EXPIRED_PAGE: usize = 256;

/// Statements of a batch whose counters all exist and whose keys are new: begin, reservations, counters, write, commit.
pub const STATEMENTS_PER_BATCH: u32 = 5;

/// Settings of a lane's connection.
///
/// Plans stay index look-ups however the tables grow: every statement of a lane finds its rows by key, and a plan made
/// while a table was small must not scan it once it is large.
#[must_use]
pub fn lane_options(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("jit", "off"),
        // An answer that says *recorded* is on disk, whatever the server's default is.
        ("synchronous_commit", "on"),
        ("lock_timeout", "5s"),
        ("statement_timeout", "20s"),
        // One plan per statement, made once: look-ups by key do not depend on what is looked up.
        ("plan_cache_mode", "force_generic_plan"),
        ("application_name", "counterfoil lane"),
    ])
}

/// Begins a batch: nobody changes the catalogue until it is committed.
///
/// # Errors
/// When the database does not answer.
pub async fn begin(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, StoreError> {
    // One round trip for both. At any other level of isolation the versions would be read as they were before the lock was
    // there.
    let lock = Lock::Catalogue.number();
    let begin = format!("begin isolation level read committed; select pg_advisory_xact_lock_shared({lock})");
    Ok(connection.begin_with(AssertSqlSafe(begin)).await?)
}

/// What a batch finds: the catalogue's versions, its instant, the reservations named, and those whose time has passed.
#[derive(Debug)]
pub struct Found {
    /// Of tenants and budgets.
    pub version: i64,
    /// Of prices and factors.
    pub rates_version: i64,
    /// The instant of the batch ([`super::time`]).
    pub instant: DateTime<Utc>,
    /// The clock of the database's server.
    pub server_at: DateTime<Utc>,
    /// Locked until the batch is committed.
    pub reservations: BTreeMap<ReservationId, Reservation>,
    /// Those among them that were found because they are open and their time has passed: a page at most.
    pub due: Vec<ReservationId>,
}

/// Locks the reservations named and those whose time has passed.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn lock_reservations(
    connection: &mut PgConnection,
    named: &[Uuid],
    clock: DateTime<Utc>,
) -> Result<Found, StoreError> {
    let rows = sqlx::query(include_str!("sql/lock_reservations.sql"))
        .bind(named)
        .bind(clock)
        .bind(i64::try_from(EXPIRED_PAGE).unwrap_or(i64::MAX))
        .bind(super::time::ahead_max())
        .fetch_all(connection)
        .await?;
    let head = rows.first().ok_or_else(|| StoreError::Row("catalogue_head".to_owned()))?;
    let mut found = Found {
        version: head.try_get("version")?,
        rates_version: head.try_get("rates_version")?,
        instant: head.try_get("instant")?,
        server_at: head.try_get("server_at")?,
        reservations: BTreeMap::new(),
        due: Vec::new(),
    };
    for row in &rows {
        if let Some(is_due) = row.try_get::<Option<bool>, _>("is_due")? {
            let reservation = reservation_from_row(row)?;
            if is_due {
                found.due.push(reservation.id);
            }
            found.reservations.insert(reservation.id, reservation);
        }
    }
    Ok(found)
}

/// Reads what was answered to these keys before, as far as it is repeated at an instant.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn read_answers(
    connection: &mut PgConnection,
    keys: &[&Idempotency],
    now: DateTime<Utc>,
) -> Result<BTreeMap<(KeySpace, IdempotencyKey), Remembered>, StoreError> {
    let spaces: Vec<&str> = keys.iter().map(|idempotency| idempotency.space.as_str()).collect();
    let names: Vec<&str> = keys.iter().map(|idempotency| idempotency.key.as_str()).collect();
    let fingerprints: Vec<&[u8]> = keys.iter().map(|idempotency| idempotency.fingerprint.as_slice()).collect();
    let rows = sqlx::query(include_str!("sql/read_answers.sql"))
        .bind(spaces)
        .bind(names)
        .bind(fingerprints)
        .bind(now)
        .fetch_all(connection)
        .await?;
    rows.iter().map(remembered_from_row).collect()
}

fn remembered_from_row(row: &PgRow) -> Result<((KeySpace, IdempotencyKey), Remembered), StoreError> {
    let space: &str = row.try_get(0)?;
    let tenant = if space.is_empty() { None } else { Some(TenantId::parse(space).map_err(StoreError::name("space"))?) };
    let key = IdempotencyKey::stored(row.try_get(1)?).map_err(StoreError::name("key"))?;
    let fingerprint: Vec<u8> = row.try_get(2)?;
    let fingerprint = fingerprint.try_into().map_err(|_| StoreError::Row("fingerprint".to_owned()))?;
    let answer: &str = row.try_get(3)?;
    let outcome = Outcome::Repeated(FirstAnswer::Kept(Arc::from(answer)));
    // Those that are not repeated any more were not read.
    Ok(((KeySpace(tenant), key), Remembered { fingerprint, outcome, until: None }))
}

/// A counter that a batch touches: enough to make it where it does not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Its period.
    pub period: Period,
    /// The tenant whose calls it counts, if they are one tenant's alone.
    pub tenant: Option<TenantId>,
    /// Whether this batch may change it, so that it must exist. Otherwise one that is missing counts as zero.
    pub needed: bool,
    /// Whether it is a slice of a sliding window: made when it is written, under the lock of its window.
    pub slides: bool,
}

/// A sliding window: one budget, for one key.
pub type WindowId = (BudgetNumber, CounterKey);

/// A sliding window that a batch touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The start of the oldest slice that is looked at.
    pub since: DateTime<Utc>,
    /// Whether this batch may grant by its slices or write one.
    pub needed: bool,
}

/// All that a batch touches.
#[derive(Debug, Default)]
pub struct Touches {
    /// Counters that it may change.
    pub counters: BTreeMap<CounterId, Touched>,
    /// Windows that it looks at.
    pub windows: BTreeMap<WindowId, Window>,
}

impl Touches {
    /// Whether it touches nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.windows.is_empty()
    }

    fn needed_windows(&self) -> impl Iterator<Item = &WindowId> + Clone {
        self.windows.iter().filter(|(_, window)| window.needed).map(|(id, _)| id)
    }
}

/// The counters of a batch, locked until it is committed.
#[derive(Debug, Default)]
pub struct Counted {
    /// By key.
    pub counters: BTreeMap<CounterId, Counter>,
    /// When those were opened that know it.
    pub opened: BTreeMap<CounterId, DateTime<Utc>>,
    /// The windows that were locked.
    pub windows: BTreeSet<WindowId>,
    /// Whether a slice may have been made meanwhile that is not among them: then they are to be read again.
    is_stale: bool,
}

/// Locks the windows and the counters that exist, and reads them.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn lock_counters(connection: &mut PgConnection, touches: &Touches) -> Result<Counted, StoreError> {
    let found = lock_counters_once(&mut *connection, touches).await?;
    // With the windows locked nobody makes a slice, and so the second look is the last.
    if found.is_stale { lock_counters_once(connection, touches).await } else { Ok(found) }
}

async fn lock_counters_once(connection: &mut PgConnection, touches: &Touches) -> Result<Counted, StoreError> {
    let (mut budgets, mut keys, mut starts) = (vec![], vec![], vec![]);
    let (mut slides, mut locks) = (vec![], vec![]);
    for ((budget, key), window) in &touches.windows {
        budgets.push(budget.0);
        keys.push(key.as_str());
        starts.push(window.since);
        slides.push(true);
        locks.push(window.needed);
    }
    let is_seen = |id: &CounterId| {
        let window = touches.windows.get(&(id.budget, id.key.clone()));
        window.is_some_and(|window| window.since <= id.start)
    };
    for id in touches.counters.keys().filter(|id| !is_seen(id)) {
        budgets.push(id.budget.0);
        keys.push(id.key.as_str());
        starts.push(id.start);
        slides.push(false);
        locks.push(false);
    }
    let rows = sqlx::query(include_str!("sql/lock_counters.sql"))
        .bind(budgets)
        .bind(keys)
        .bind(starts)
        .bind(slides)
        .bind(locks)
        .fetch_all(connection)
        .await?;
    let mut found = Counted::default();
    for row in &rows {
        if let Some(is_current) = row.try_get::<Option<bool>, _>("is_current")? {
            found.is_stale |= !is_current;
            let key = CounterKey::stored(row.try_get("key")?);
            found.windows.insert((BudgetNumber(row.try_get("budget")?), key));
            continue;
        }
        let (id, counter) = counter_from_row(row)?;
        if let Some(opened_at) = row.try_get("opened_at")? {
            found.opened.insert(id.clone(), opened_at);
        }
        found.counters.insert(id, counter);
    }
    Ok(found)
}

/// A counter's key and numbers, from the columns of its table.
pub(super) fn counter_from_row(row: &PgRow) -> Result<(CounterId, Counter), StoreError> {
    let key = CounterKey::stored(row.try_get("key")?);
    let id = CounterId { budget: BudgetNumber(row.try_get("budget")?), key, start: row.try_get("period_start")? };
    let quantity = |column: &str| -> Result<Quantity, StoreError> {
        Quantity::new(row.try_get(column)?).map_err(StoreError::Unkeepable)
    };
    let (posted, held) = (quantity("posted")?, quantity("held")?);
    Ok((id, Counter { posted, held, margin: quantity("margin")?, at_risk: quantity("at_risk")? }))
}

/// Makes the counters that do not exist yet, at zero, and the rows of the windows that are needed, which it locks.
///
/// Another replica may do the same: whoever is second waits, and finds the first one's row.
///
/// # Errors
/// When the database does not answer.
pub async fn make_counters<'a>(
    connection: &mut PgConnection,
    touches: &Touches,
    missing: impl Iterator<Item = (&'a CounterId, &'a Touched)> + Clone,
) -> Result<(), StoreError> {
    let of_counters = missing.clone().map(|(id, _)| id);
    let ends: Vec<Option<DateTime<Utc>>> = missing.clone().map(|(_, touched)| touched.period.end).collect();
    let tenants: Vec<Option<&str>> =
        missing.map(|(_, touched)| touched.tenant.as_ref().map(TenantId::as_str)).collect();
    sqlx::query(include_str!("sql/make_counters.sql"))
        .bind(touches.needed_windows().map(|(budget, _)| budget.0).collect::<Vec<_>>())
        .bind(touches.needed_windows().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
        .bind(of_counters.clone().map(|id| id.budget.0).collect::<Vec<_>>())
        .bind(of_counters.clone().map(|id| id.key.as_str()).collect::<Vec<_>>())
        .bind(of_counters.map(|id| id.start).collect::<Vec<_>>())
        .bind(ends)
        .bind(tenants)
        .execute(connection)
        .await?;
    Ok(())
}

/// A batch, to be written.
#[derive(Debug)]
pub struct Batch<'a> {
    /// What it leaves.
    pub books: &'a Books,
    /// What it touched.
    pub touches: &'a Touches,
    /// The slices that it makes.
    pub slices: BTreeSet<CounterId>,
    /// Whose it is.
    pub lane: Uuid,
    /// Its number in the lane.
    pub number: i64,
    /// Its instant.
    pub now: DateTime<Utc>,
}

/// Whether a batch may be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Everything was written.
    Whole,
    /// One of its idempotency keys has an answer that is repeated, or got one from another replica in between.
    KeyTaken,
    /// A counter or a reservation to be changed is not there.
    RowMissing,
}

/// Writes everything a batch changed. Anything but [`Written::Whole`] must be rolled back.
///
/// # Errors
/// When the database does not answer or refuses.
pub async fn write_batch(connection: &mut PgConnection, batch: &Batch<'_>) -> Result<Written, StoreError> {
    let arguments = batch_arguments(batch)?;
    let (remembered, counted, changed): (i64, i64, i64) =
        sqlx::query_as_with(include_str!("sql/write_batch.sql"), arguments).fetch_one(connection).await?;
    let changes = &batch.books.changes;
    let is_whole = |rows: i64, wanted: usize| usize::try_from(rows).is_ok_and(|rows| rows == wanted);
    Ok(if !is_whole(remembered, changes.answers.len()) {
        Written::KeyTaken
    } else if is_whole(counted, changes.counters.len()) && is_whole(changed, changes.changed.len()) {
        Written::Whole
    } else {
        Written::RowMissing
    })
}

/// The number of the last batch of a lane that was committed, or zero.
///
/// Waits for one whose commit is still on its way: a lost connection does not mean that the server has stopped working on
/// what came through it.
///
/// # Errors
/// When the database does not answer, or the commit on its way takes too long.
pub async fn last_batch(connection: &mut PgConnection, lane: Uuid, now: DateTime<Utc>) -> Result<i64, StoreError> {
    // A plain read would look past a row that is locked. This write cannot, also where that batch is the lane's first.
    Ok(sqlx::query_scalar(
        "insert into lanes (id, batch, recorded_at) values ($1, 0, $2)
        on conflict (id) do update set batch = lanes.batch
        returning batch",
    )
    .bind(lane)
    .bind(now)
    .fetch_one(connection)
    .await?)
}
