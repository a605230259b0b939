//! The counters of budgets that are new or count otherwise than before, counted while batches go on.
//!
//! | # | when | what |
//! |---|---|---|
//! | 1 | before the catalogue's lock | [`count_ahead`]: everything a mark saw, from the roll-up where it knows the budgets, else from the journal by pages |
//! | 2 | under it | [`count_rest`]: what the mark did not see, and what is held |
//!
//! Invariants: only what the budgets' scopes can touch is read, and only these budgets are counted; a page is a statement of its
//! own, so that nothing here keeps old versions of the counters alive; what is counted twice or not at all is decided by the
//! transaction that wrote a row, as in [`super::export`], because neither ids nor instants are in the order of commits.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use rust_decimal::{Decimal, dec};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Connection, Executor, Postgres, Row};
use uuid::Uuid;

use super::StoreError;
use super::export::MARK_WINDOW;
use super::rows::{dimensions_from_row, reservation_from_row};
use crate::domain::amounts::{Amounts, Grams, TOKENS_MAX, Tokens, Usd};
use crate::domain::budget::catalogue::{Budget, BudgetNumber, Catalogue};
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::counting::Reading;
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::recount::{Recount, Recounted};
use crate::domain::budget::spellings::Spellings;
use crate::domain::calendar::Zone;
use crate::domain::id::{FeatureId, TenantId};
use crate::domain::usage::Usage;
use crate::wire::export::JournalMark;

/// Rows of the journal in one page: some tens of milliseconds of the database's work.
const PAGE_ROWS: i64 = 20_000;
/// Rows that are looked at under the lock without harm, wherever they stand.
const FEW_ROWS: i64 = 5_000;
/// Longest wait for the index of what was recorded last to be brought up to date. Without that only more of it is read.
const SUMMARY_PATIENCE: &str = "set local lock_timeout = '500ms'";
/// For work beside verdicts: one core, and plans for the parameters that are given.
const BESIDE: &str = "set local max_parallel_workers_per_gather = 0; set local jit = off; set local enable_seqscan = on; \
    set local enable_bitmapscan = on";
/// Pages are read by the index that has their order, whatever is known of the journal's size.
const BY_PAGES: &str = "set local enable_seqscan = off; set local enable_bitmapscan = off";
/// What was recorded last is found by the index of ranges of blocks, or by the tenant's key.
const BY_RANGES: &str = "set local max_parallel_workers_per_gather = 0; set local jit = off; set local enable_seqscan = off; \
    set local enable_bitmapscan = on";

/// What was counted ahead of a change.
#[derive(Debug, Clone)]
pub struct CountedAhead {
    /// The budgets that were counted, as they will be.
    budgets: Vec<Arc<Budget>>,
    /// Only this tenant's counters were counted; none if everybody's.
    tenant: Option<TenantId>,
    /// The zones that were counted by.
    zones: BTreeMap<TenantId, Zone>,
    /// By which names calls were counted that were written down as they were said.
    spellings: Arc<Spellings>,
    mark: JournalMark,
    /// Whether the tenants have so few rows that all of them can be looked at under the lock.
    few: bool,
    counters: BTreeMap<CounterId, Recounted>,
}

impl CountedAhead {
    /// What was counted of a budget, if it is still to be counted like that.
    fn of(&self, budget: &Budget, tenant: Option<&TenantId>, catalogue: &Catalogue) -> Option<&Arc<Budget>> {
        let zone = |id: &TenantId| catalogue.tenant(id).map(|tenant| tenant.zone);
        let stand = self.tenant.as_ref() == tenant
            && self.spellings == catalogue.spellings
            && self.zones.iter().all(|(id, known)| zone(id) == Some(*known));
        // A budget of a later instant counts less, never more: what it does not count is not looked at.
        let alike = |known: &&Arc<Budget>| {
            known.id == budget.id && known.counts_like(budget) && known.counted_from == budget.counted_from
        };
        if stand { self.budgets.iter().find(alike) } else { None }
    }
}

/// Counts all that can be seen now for some budgets, of one tenant or of all.
///
/// The transaction must read what is committed at each statement, and have written nothing.
///
/// # Errors
/// When the database does not answer, or something cannot be counted.
pub async fn count_ahead(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    budgets: Vec<Arc<Budget>>,
    tenant: Option<&TenantId>,
    now: DateTime<Utc>,
) -> Result<CountedAhead, StoreError> {
    connection.execute(BESIDE).await?;
    // The time of runs is opened by reservations that have ended, too: these are few, and counted whole under the lock.
    let budgets: Vec<Arc<Budget>> = budgets.into_iter().filter(|budget| budget.max_seconds.is_none()).collect();
    let mut rolled: Vec<Arc<Budget>> = Vec::new();
    let mut walked: Vec<Arc<Budget>> = Vec::new();
    for budget in &budgets {
        let alone = reading([budget].into_iter(), catalogue, tenant, now)?;
        if alone.is_in_rollup() { rolled.push(Arc::clone(budget)) } else { walked.push(Arc::clone(budget)) }
    }
    let (mark, added_up) = from_rollup(connection, &catalogue.with_budgets(rolled.clone()), tenant, now).await?;
    let mut counters = added_up.unwrap_or_else(|| {
        walked.append(&mut rolled);
        BTreeMap::new()
    });
    if !walked.is_empty() {
        let walked = catalogue.with_budgets(walked);
        counters = from_journal(connection, &walked, tenant, &mark, counters, now).await?;
    }
    let tenants = reading(budgets.iter(), catalogue, tenant, now)?.tenants;
    let few = has_few_rows(connection, tenants.as_ref()).await?;
    if !few {
        summarize(connection).await?;
    }
    let zones = catalogue.tenants().map(|tenant| (tenant.id.clone(), tenant.zone)).collect();
    let spellings = Arc::clone(&catalogue.spellings);
    Ok(CountedAhead { budgets, tenant: tenant.cloned(), zones, spellings, mark, few, counters })
}

/// Whether these tenants have at most [`FEW_ROWS`] in the journal: asked of its key alone.
async fn has_few_rows(connection: &mut PgConnection, tenants: Option<&BTreeSet<TenantId>>) -> Result<bool, StoreError> {
    if tenants.is_none() {
        return Ok(false);
    }
    connection.execute(BY_PAGES).await?;
    let count: i64 = sqlx::query_scalar(
        "select count(*) from (select 1 from transfers where tenant = any($1) limit $2) as some_of_them",
    )
    .bind(texts::<TenantId>(tenants))
    .bind(FEW_ROWS.saturating_add(1))
    .persistent(false)
    .fetch_one(connection)
    .await?;
    Ok(count <= FEW_ROWS)
}

/// Brings the index of instants of recording up to date, which is one of ranges of blocks: those that are not summarized yet would
/// be read under the lock, whatever is in them.
async fn summarize(connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut apart = connection.begin().await?;
    apart.execute(SUMMARY_PATIENCE).await?;
    let done = sqlx::query("select brin_summarize_new_values('transfers_recorded_at')").execute(&mut *apart).await;
    if let Err(error) = done {
        tracing::debug!(%error, "an index is not up to date: more is read under the lock of the catalogue");
    }
    // The index keeps what was summarized; the setting goes.
    Ok(apart.rollback().await?)
}

/// The counters of some budgets, of one tenant or of all: what was counted ahead, what was recorded since, and what is held.
///
/// Under the catalogue's lock, so that nothing comes in between. What was not counted ahead is counted from nothing.
///
/// # Errors
/// When the database does not answer, or something cannot be counted.
pub async fn count_rest(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    budgets: &[BudgetNumber],
    tenant: Option<&TenantId>,
    ahead: Option<&CountedAhead>,
    now: DateTime<Utc>,
) -> Result<BTreeMap<CounterId, Recounted>, StoreError> {
    let wanted: BTreeSet<BudgetNumber> = budgets.iter().copied().collect();
    let mut known: BTreeMap<BudgetNumber, BudgetNumber> = BTreeMap::new();
    let (mut counted, mut uncounted) = (Vec::new(), Vec::new());
    for budget in catalogue.budgets().filter(|budget| wanted.contains(&budget.number)) {
        match ahead.and_then(|ahead| ahead.of(budget, tenant, catalogue)) {
            Some(was) => {
                known.insert(was.number, budget.number);
                counted.push(Arc::clone(budget));
            }
            None => uncounted.push(budget.number),
        }
    }
    let mut all = BTreeMap::new();
    if let Some(ahead) = ahead.filter(|_| !counted.is_empty()) {
        // A budget that is new had no number yet.
        let renumbered = |(id, recounted): (&CounterId, &Recounted)| {
            Some((CounterId { budget: *known.get(&id.budget)?, ..id.clone() }, recounted.clone()))
        };
        let counters = ahead.counters.iter().filter_map(renumbered).collect();
        connection.execute(BY_RANGES).await?;
        all = since_mark(connection, &catalogue.with_budgets(counted), tenant, ahead, counters, now).await?;
    }
    if !uncounted.is_empty() {
        tracing::warn!(
            budgets = uncounted.len(),
            "budgets are counted while verdicts wait: the catalogue changed meanwhile"
        );
        all.extend(super::catalogue::count(connection, catalogue, uncounted, tenant, &mut || {}).await?);
    }
    Ok(all)
}

/// What is read of the journal for some budgets, of one tenant or of all.
pub(super) fn reading<'a>(
    budgets: impl Iterator<Item = &'a Arc<Budget>> + Clone,
    catalogue: &Catalogue,
    tenant: Option<&TenantId>,
    now: DateTime<Utc>,
) -> Result<Reading, StoreError> {
    let mut reading = Reading::of(budgets.map(AsRef::as_ref), catalogue, now).map_err(StoreError::recount)?;
    if let Some(tenant) = tenant {
        reading.tenants = Some(BTreeSet::from([tenant.clone()]));
    }
    Ok(reading)
}

fn texts<T: ToString>(names: Option<&BTreeSet<T>>) -> Option<Vec<String>> {
    names.map(|names| names.iter().map(ToString::to_string).collect())
}

/// What the roll-up says, and the mark: what it saw. Nothing where it has a row under a spelling: it does not know whether that was
/// said, and means another name, or was the name of its day.
async fn from_rollup(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    tenant: Option<&TenantId>,
    now: DateTime<Utc>,
) -> Result<(JournalMark, Option<BTreeMap<CounterId, Recounted>>), StoreError> {
    let reading = reading(catalogue.budgets(), catalogue, tenant, now)?;
    let rows = sqlx::query(include_str!("sql/count_rollup.sql"))
        .bind(texts::<TenantId>(reading.tenants.as_ref()))
        .bind(texts::<FeatureId>(reading.features.as_ref()))
        .bind(reading.since)
        .bind(reading.turns)
        .bind(reading.turns_until)
        .bind(catalogue.budgets().next().is_some())
        // Planned for these parameters.
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let seen: &str = rows.first().ok_or_else(|| StoreError::Row("seen".to_owned()))?.try_get("seen")?;
    let mark = JournalMark::new(now, seen).map_err(|error| StoreError::Row(error.to_string()))?;
    let mut recount = Recount::going_on(catalogue, BTreeMap::new());
    for row in &rows {
        if row.try_get::<Option<&str>, _>("tenant")?.is_some() {
            if matches!(catalogue.spellings.named(&dimensions_from_row(row)?), Cow::Owned(_)) {
                return Ok((mark, None));
            }
            add(&mut recount, row)?;
        }
    }
    Ok((mark, Some(recount.finish())))
}

/// What the journal says up to a mark, page by page in the order of time.
async fn from_journal(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    tenant: Option<&TenantId>,
    mark: &JournalMark,
    counters: BTreeMap<CounterId, Recounted>,
    now: DateTime<Utc>,
) -> Result<BTreeMap<CounterId, Recounted>, StoreError> {
    let reading = reading(catalogue.budgets(), catalogue, tenant, now)?;
    let stretches = match &reading.tenants {
        None => vec![(reading.since.unwrap_or(DateTime::UNIX_EPOCH), far())],
        Some(_) => {
            let quarters: Vec<DateTime<Utc>> = sqlx::query_scalar(include_str!("sql/count_quarters.sql"))
                .bind(texts::<TenantId>(reading.tenants.as_ref()))
                .bind(texts::<FeatureId>(reading.features.as_ref()))
                // The quarter in which a counter turns counts as well.
                .bind(reading.since.and_then(|since| since.checked_sub_signed(TimeDelta::minutes(15))))
                .persistent(false)
                .fetch_all(&mut *connection)
                .await?;
            Reading::stretches(&quarters)
        }
    };
    connection.execute(BY_PAGES).await?;
    let statement = concat!(
        include_str!("sql/count_calls.sql"),
        "from transfers\n",
        include_str!("sql/count_calls_where.sql"),
        include_str!("sql/count_calls_page.sql"),
        include_str!("sql/count_calls_sums.sql")
    );
    let mut recount = Recount::going_on(catalogue, counters);
    for (start, end) in stretches {
        let mut after = (before(start), Uuid::max());
        let last = (before(end), Uuid::max());
        while after < last {
            let upto = page_end(connection, after, last).await?.unwrap_or(last);
            let page = bind(sqlx::query(statement), &reading, mark)
                .bind(after.0)
                .bind(after.1)
                .bind(upto.0)
                .bind(upto.1)
                .persistent(false);
            for row in page.fetch_all(&mut *connection).await? {
                add(&mut recount, &row)?;
            }
            after = upto;
        }
    }
    Ok(recount.finish())
}

/// The place of a page's last row; none where less than a page is left.
async fn page_end(
    connection: &mut PgConnection,
    after: (DateTime<Utc>, Uuid),
    last: (DateTime<Utc>, Uuid),
) -> Result<Option<(DateTime<Utc>, Uuid)>, StoreError> {
    Ok(sqlx::query_as(
        "select period_at, id from transfers
        where (period_at, id) > ($1, $2) and (period_at, id) <= ($3, $4)
        order by period_at, id
        offset $5 limit 1",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(last.0)
    .bind(last.1)
    .bind(PAGE_ROWS.saturating_sub(1))
    .persistent(false)
    .fetch_optional(connection)
    .await?)
}

/// The last instant before one; the database keeps microseconds.
fn before(at: DateTime<Utc>) -> DateTime<Utc> {
    at.checked_sub_signed(TimeDelta::microseconds(1)).unwrap_or(at)
}

/// After all that is ever counted: the calendar's last instant.
fn far() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// What the mark did not see, and what is held.
async fn since_mark(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    tenant: Option<&TenantId>,
    ahead: &CountedAhead,
    counters: BTreeMap<CounterId, Recounted>,
    now: DateTime<Utc>,
) -> Result<BTreeMap<CounterId, Recounted>, StoreError> {
    let reading = reading(catalogue.budgets(), catalogue, tenant, now)?;
    let by_ranges = concat!(
        include_str!("sql/count_calls.sql"),
        "from transfers\n",
        include_str!("sql/count_calls_where.sql"),
        include_str!("sql/count_calls_rest.sql"),
        include_str!("sql/count_calls_sums.sql")
    );
    // Kept apart, so that no plan can prefer another index, whatever is known of the tables.
    let by_tenant = concat!(
        include_str!("sql/count_calls.sql"),
        "from (select transfers.*, transfers.xmin from transfers where tenant = any($1) offset 0) as transfers\n",
        include_str!("sql/count_calls_where.sql"),
        include_str!("sql/count_calls_rest.sql"),
        include_str!("sql/count_calls_sums.sql")
    );
    let statement = if ahead.few { by_tenant } else { by_ranges };
    let mut recount = Recount::going_on(catalogue, counters);
    let rest = bind(sqlx::query(statement), &reading, &ahead.mark).persistent(false);
    for row in rest.fetch_all(&mut *connection).await? {
        add(&mut recount, &row)?;
    }
    let mut reservations = sqlx::query(
        "select * from reservations
        where state = 'open' and ($1::text[] is null or tenant = any($1)) and ($2::text[] is null or feature = any($2))",
    )
    .bind(texts::<TenantId>(reading.tenants.as_ref()))
    .bind(texts::<FeatureId>(reading.features.as_ref()))
    .persistent(false)
    .fetch(&mut *connection);
    while let Some(row) = reservations.try_next().await? {
        hold(&mut recount, &row)?;
    }
    drop(reservations);
    Ok(recount.finish())
}

/// Counts what an open reservation holds.
pub(super) fn hold(recount: &mut Recount<'_>, row: &PgRow) -> Result<(), StoreError> {
    let reservation = reservation_from_row(row)?;
    let held = &reservation.hold.consumption;
    recount.hold(&reservation.call, reservation.held_at, held, &reservation.learned).map_err(StoreError::recount)
}

/// The parameters of `sql/count_calls.sql` and those of the mark.
fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    reading: &Reading,
    mark: &JournalMark,
) -> Query<'q, Postgres, PgArguments> {
    bind_reading(query, reading)
        .bind(mark.at().checked_sub_signed(MARK_WINDOW).unwrap_or(mark.at()))
        .bind(mark.seen().to_owned())
        .bind(mark.newest())
}

/// The parameters of `sql/count_calls.sql`.
pub(super) fn bind_reading<'q>(
    query: Query<'q, Postgres, PgArguments>,
    reading: &Reading,
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(texts::<TenantId>(reading.tenants.as_ref()))
        .bind(texts::<FeatureId>(reading.features.as_ref()))
        .bind(reading.since)
        .bind(reading.turns.clone())
        .bind(reading.turns_until)
        .bind(reading.runs)
        .bind(reading.agents)
        .bind(reading.labels)
        .bind(reading.said)
}

/// Counts calls that were added up: what they took, and what was taken back of it.
pub(super) fn add(recount: &mut Recount<'_>, row: &PgRow) -> Result<(), StoreError> {
    let call = dimensions_from_row(row)?;
    let at: DateTime<Utc> = row.try_get("at")?;
    let sums = Sums::from_row(row)?;
    for part in sums.parts(false)? {
        recount.post(&call, at, &part).map_err(StoreError::recount)?;
    }
    for part in sums.parts(true)? {
        recount.take_back(&call, at, &part).map_err(StoreError::recount)?;
    }
    Ok(())
}

/// Sums over calls, less what was taken back: requests, the buckets in the order of [`Usage::buckets`], dollars, and grams
/// (location-based, market-based, embodied).
struct Sums {
    requests: Decimal,
    buckets: [Decimal; 6],
    usd: Decimal,
    grams: [Decimal; 3],
}

impl Sums {
    fn from_row(row: &PgRow) -> Result<Self, StoreError> {
        let sum = |column: &str| row.try_get::<Decimal, _>(column);
        Ok(Self {
            requests: sum("requests")?,
            buckets: [
                sum("input")?,
                sum("cache_read")?,
                sum("cache_write_5m")?,
                sum("cache_write_1h")?,
                sum("output")?,
                sum("reasoning")?,
            ],
            usd: sum("usd")?,
            grams: [sum("gco2e_usage_location")?, sum("gco2e_usage_market")?, sum("gco2e_embodied")?],
        })
    }

    /// What is above zero, or what is below: as calls no larger than a call may be, because a sum may be. Measures are linear, so
    /// it does not matter how it is cut. The part that was taken is never nothing: a call that used nothing was made, too.
    fn parts(&self, taken_back: bool) -> Result<Vec<Consumption>, StoreError> {
        let side = |sum: Decimal| (if taken_back { Decimal::ZERO.saturating_sub(sum) } else { sum }).max(Decimal::ZERO);
        let mut requests = side(self.requests);
        let mut buckets = self.buckets.map(side);
        let mut usd = side(self.usd);
        let mut grams = self.grams.map(side);
        // Together the buckets of a call are no more than one may be.
        let tokens_most = Decimal::from(TOKENS_MAX / 6);
        let mut parts = Vec::new();
        loop {
            let nothing = requests.is_zero() && usd.is_zero() && buckets.iter().chain(&grams).all(Decimal::is_zero);
            if nothing && (taken_back || !parts.is_empty()) {
                return Ok(parts);
            }
            let unkeepable = StoreError::Unkeepable;
            let count = |sum: &mut Decimal, most: Decimal| {
                let part = take(sum, most);
                u64::try_from(part).map_err(|_| StoreError::Row("tokens".to_owned()))
            };
            let [input, cache_read, write_5m, write_1h, output, reasoning] = &mut buckets;
            let tokens = |sum: &mut Decimal| Tokens::new(count(sum, tokens_most)?).map_err(unkeepable);
            let usage = Usage {
                input: tokens(input)?,
                cache_read: tokens(cache_read)?,
                cache_write_5m: tokens(write_5m)?,
                cache_write_1h: tokens(write_1h)?,
                output: tokens(output)?,
                reasoning: tokens(reasoning)?,
            };
            let [location, market, embodied] = &mut grams;
            let gram = |sum: &mut Decimal| Grams::new(take(sum, UNIT_MOST)).map_err(unkeepable);
            let amounts = Amounts {
                tokens: usage.total().map_err(unkeepable)?,
                usd: Usd::new(take(&mut usd, UNIT_MOST)).map_err(unkeepable)?,
                gco2e_usage_location: gram(location)?,
                gco2e_usage_market: gram(market)?,
                gco2e_embodied: gram(embodied)?,
            };
            let calls = count(&mut requests, Decimal::from(u32::MAX))?;
            parts.push(Consumption { requests: u32::try_from(calls).unwrap_or(u32::MAX), usage, amounts });
        }
    }
}

/// Most dollars or grams of a part.
const UNIT_MOST: Decimal = dec!(1000000000000000);

/// Takes as much as there is, and at most so much.
fn take(sum: &mut Decimal, most: Decimal) -> Decimal {
    let part = (*sum).min(most);
    *sum = sum.saturating_sub(part);
    part
}

/// Writes counters that have no row.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn insert_counters(
    connection: &mut PgConnection,
    counters: &BTreeMap<CounterId, Recounted>,
) -> Result<(), StoreError> {
    let column = |of: fn(&Recounted) -> Decimal| counters.values().map(of).collect::<Vec<_>>();
    sqlx::query(
        "insert into counters (
            budget, key, period_start, period_end, tenant, posted, held, margin, at_risk, opened_at
        )
        select * from unnest(
            $1::integer[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::numeric[], $7::numeric[],
            $8::numeric[], $9::numeric[], $10::timestamptz[]
        )",
    )
    .bind(counters.keys().map(|id| id.budget.0).collect::<Vec<_>>())
    .bind(counters.keys().map(|id| id.key.as_str()).collect::<Vec<_>>())
    .bind(counters.keys().map(|id| id.start).collect::<Vec<_>>())
    .bind(counters.values().map(|recounted| recounted.period.end).collect::<Vec<_>>())
    .bind(counters.values().map(|recounted| recounted.tenant.as_ref().map(TenantId::as_str)).collect::<Vec<_>>())
    .bind(column(|recounted| recounted.counter.posted.decimal()))
    .bind(column(|recounted| recounted.counter.held.decimal()))
    .bind(column(|recounted| recounted.counter.margin.decimal()))
    .bind(column(|recounted| recounted.counter.at_risk.decimal()))
    .bind(counters.values().map(|recounted| recounted.opened_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
