//! The SQL of the lanes: what one batch reads, locks and writes.
//!
//! | # | statement | locks |
//! |---|---|---|
//! | 1 | [`begin`] | the catalogue, shared: it cannot change until the batch is committed |
//! | 2 | [`lock_reservations`] | the reservations named, and those whose time has passed, in the order of their ids |
//! | 3 | [`lock_counters`] | the counters touched, in the order of their keys |
//! | 4 | [`write_batch`] | the roll-up's rows, in the order of their keys |
//! | 5 | commit | |
//!
//! The order is the same in every replica (catalogue, reservations, counters, roll-up), so no two batches wait for each
//! other in a circle. Counters that do not exist yet cost one statement more, before 3: [`make_counters`]. A lane that waits
//! there for another one's new counter holds no lock on a counter that the other one could want.
//!
//! Idempotency keys are not looked up first: writing them says whether they are new, and a batch with one that is not is
//! rolled back and tried again, now with [`read_answers`] before 3. A keyed command that is refused has its key looked up
//! after it was decided, because the refusal may be the effect of its own first time.

use std::collections::BTreeMap;
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

/// What a batch finds: the catalogue's versions, the reservations named, and those whose time has passed.
#[derive(Debug, Default)]
pub struct Found {
    /// Of tenants and budgets.
    pub version: i64,
    /// Of prices and factors.
    pub rates_version: i64,
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
    now: DateTime<Utc>,
) -> Result<Found, StoreError> {
    let rows = sqlx::query(include_str!("sql/lock_reservations.sql"))
        .bind(named)
        .bind(now)
        .bind(i64::try_from(EXPIRED_PAGE).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    let mut found = Found::default();
    for row in &rows {
        found.version = row.try_get("version")?;
        found.rates_version = row.try_get("rates_version")?;
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
    /// Whether it must exist, because this batch may change it or grants by it. Otherwise one that is missing counts as zero.
    pub needed: bool,
    /// Whether it is kept when it was opened, because its budget bounds the time of what it counts.
    pub is_timed: bool,
}

fn key_arrays<'a>(ids: impl Iterator<Item = &'a CounterId>) -> (Vec<i32>, Vec<&'a str>, Vec<DateTime<Utc>>) {
    let (mut budgets, mut keys, mut starts) = (vec![], vec![], vec![]);
    for id in ids {
        budgets.push(id.budget.0);
        keys.push(id.key.as_str());
        starts.push(id.start);
    }
    (budgets, keys, starts)
}

/// Counters, by key.
type Counters = BTreeMap<CounterId, Counter>;
/// When counters were opened, of those that know it.
type Opened = BTreeMap<CounterId, DateTime<Utc>>;

/// Locks the counters that exist, and reads them; and when those were opened that are timed.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn lock_counters(
    connection: &mut PgConnection,
    touched: &BTreeMap<CounterId, Touched>,
) -> Result<(Counters, Opened), StoreError> {
    let (budgets, keys, starts) = key_arrays(touched.keys());
    let rows = sqlx::query(
        "select counter.budget, counter.key, counter.period_start, counter.posted, counter.held, counter.margin,
            counter.at_risk, counter.opened_at
        from unnest($1::integer[], $2::text[], $3::timestamptz[]) as asked (budget, key, period_start)
        join counters as counter
            on counter.budget = asked.budget
            and counter.key = asked.key
            and counter.period_start = asked.period_start
        order by counter.budget, counter.key, counter.period_start
        for update of counter",
    )
    .bind(budgets)
    .bind(keys)
    .bind(starts)
    .fetch_all(connection)
    .await?;
    let (mut counters, mut opened) = (Counters::new(), Opened::new());
    for row in &rows {
        let (id, counter) = counter_from_row(row)?;
        if let Some(opened_at) = row.try_get(7)? {
            opened.insert(id.clone(), opened_at);
        }
        counters.insert(id, counter);
    }
    Ok((counters, opened))
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

/// Makes the counters that do not exist yet, at zero, opened at the batch's instant. Another replica may do the same: whoever is second waits, and finds
/// the first one's row.
///
/// # Errors
/// When the database does not answer.
pub async fn make_counters<'a>(
    connection: &mut PgConnection,
    missing: impl Iterator<Item = (&'a CounterId, &'a Touched)> + Clone,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (budgets, keys, starts) = key_arrays(missing.clone().map(|(id, _)| id));
    let ends: Vec<Option<DateTime<Utc>>> = missing.clone().map(|(_, touched)| touched.period.end).collect();
    let tenants: Vec<Option<&str>> =
        missing.clone().map(|(_, touched)| touched.tenant.as_ref().map(TenantId::as_str)).collect();
    let opened: Vec<Option<DateTime<Utc>>> = missing.map(|(_, touched)| touched.is_timed.then_some(now)).collect();
    sqlx::query(
        "insert into counters (budget, key, period_start, period_end, tenant, posted, held, opened_at)
        select budget, key, period_start, period_end, tenant, 0, 0, opened_at
        from unnest($1::integer[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::timestamptz[])
            as new (budget, key, period_start, period_end, tenant, opened_at)
        on conflict (budget, key, period_start) do nothing",
    )
    .bind(budgets)
    .bind(keys)
    .bind(starts)
    .bind(ends)
    .bind(tenants)
    .bind(opened)
    .execute(connection)
    .await?;
    Ok(())
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
pub async fn write_batch(
    connection: &mut PgConnection,
    books: &Books,
    lane: Uuid,
    batch: i64,
    now: DateTime<Utc>,
) -> Result<Written, StoreError> {
    let arguments = batch_arguments(books, lane, batch, now)?;
    let (remembered, counted, changed): (i64, i64, i64) =
        sqlx::query_as_with(include_str!("sql/write_batch.sql"), arguments).fetch_one(connection).await?;
    let changes = &books.changes;
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
