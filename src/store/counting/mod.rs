//! The counters of budgets that are new or count otherwise than before, counted while batches go on.
//!
//! | # | when | what |
//! |---|---|---|
//! | 1 | before the catalogue's lock | [`count_ahead`]: everything a mark saw, from the roll-up where it knows the budgets, else from the journal by pages (`walk`), and when runs began (`openings`) |
//! | 2 | under it | [`count_rest`]: what the mark did not see, and what is held |
//!
//! Invariants: only what the budgets' scopes can touch is read, and only these budgets are counted; a page is a statement of its
//! own, so that nothing here keeps old versions of the counters alive; what is counted twice or not at all is decided by the
//! transaction that wrote a row, as in [`super::export`], because neither ids nor instants are in the order of commits. What was
//! counted ahead is taken only while all stands that it was counted by: else it is counted once more, from nothing.

mod openings;
mod sums;
mod walk;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

use super::StoreError;
use super::export::MARK_WINDOW;
use super::locks::{Lock, take};
use crate::domain::budget::catalogue::{Budget, BudgetClock, BudgetNumber, Catalogue};
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::counting::Reading;
use crate::domain::budget::recount::{Recount, Recounted};
use crate::domain::budget::spellings::Spellings;
use crate::domain::calendar::Zone;
use crate::domain::id::TenantId;
use crate::wire::export::JournalMark;
use openings::Opened;
pub(super) use sums::add;
use walk::UpToMark;
pub(super) use walk::{bind_reading, hold};
pub(super) use whole::count;

/// Rows that are looked at under the lock without harm, wherever they stand.
const FEW_ROWS: i64 = 5_000;
/// Longest wait for the index of what was recorded last to be brought up to date. Without that only more of it is read.
const SUMMARY_PATIENCE: &str = "set local lock_timeout = '500ms'";
/// For work beside verdicts: one core, plans for the parameters that are given, and no sorting of what is only added up.
const BESIDE: &str = "set local max_parallel_workers_per_gather = 0; set local jit = off; set local enable_sort = off; \
    set local enable_seqscan = on; set local enable_bitmapscan = on";
/// Pages are read by the index that has their order, whatever is known of the journal's size.
const BY_PAGES: &str = "set local enable_seqscan = off; set local enable_bitmapscan = off";
/// What was recorded last is found by the index of ranges of blocks, or by the tenant's key.
const BY_RANGES: &str = "set local max_parallel_workers_per_gather = 0; set local jit = off; set local enable_sort = off; \
    set local enable_seqscan = off; set local enable_bitmapscan = on";

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
    /// What the mark did not see was recorded at this instant or later.
    since: DateTime<Utc>,
    /// Whether the tenants have so few rows that all of them can be looked at under the lock.
    few: bool,
    /// What was looked at of when runs began, where a budget bounds their time.
    opened: Option<Opened>,
    counted: UpToMark,
}

impl CountedAhead {
    /// Whether nothing is missing of what the mark saw. Calls of a tenant that the catalogue does not know are not counted by a
    /// budget on the tenant's clock: they were counted by nobody's.
    pub(super) fn is_whole(&self) -> bool {
        self.budgets.iter().all(|budget| self.knows_tenants_of(budget))
    }

    fn knows_tenants_of(&self, budget: &Budget) -> bool {
        budget.clock != BudgetClock::Tenant || self.counted.unknown.is_empty()
    }

    /// What was counted of a budget, if it is still to be counted like that.
    fn of(&self, budget: &Budget, tenant: Option<&TenantId>, catalogue: &Catalogue) -> Option<&Arc<Budget>> {
        let zone = |id: &TenantId| catalogue.tenant(id).map(|tenant| tenant.zone);
        let stand = self.tenant.as_ref() == tenant
            && self.spellings == catalogue.spellings
            && self.zones.iter().all(|(id, known)| zone(id) == Some(*known));
        // A budget of a later instant counts less, never more: what it does not count is not looked at.
        let alike = |known: &&Arc<Budget>| {
            known.id == budget.id
                && known.counts_like(budget)
                && known.counted_from == budget.counted_from
                && self.knows_tenants_of(known)
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
    let since = between_batches(connection).await?;
    let since = since.unwrap_or_else(|| now.checked_sub_signed(MARK_WINDOW).unwrap_or(now));
    connection.execute(BESIDE).await?;
    let mut rolled: Vec<Arc<Budget>> = Vec::new();
    let mut walked: Vec<Arc<Budget>> = Vec::new();
    for budget in &budgets {
        let alone = reading([budget].into_iter(), catalogue, tenant, now)?;
        if alone.is_in_rollup() { rolled.push(Arc::clone(budget)) } else { walked.push(Arc::clone(budget)) }
    }
    let (mark, added_up) = walk::from_rollup(connection, &catalogue.with_budgets(rolled.clone()), tenant, now).await?;
    let mut counted = added_up.unwrap_or_else(|| {
        walked.append(&mut rolled);
        UpToMark::default()
    });
    if !walked.is_empty() {
        let walked = catalogue.with_budgets(walked);
        counted = walk::from_journal(connection, &walked, tenant, (&mark, since), counted, now).await?;
    }
    let timed: Vec<Arc<Budget>> = budgets.iter().filter(|budget| budget.max_seconds.is_some()).cloned().collect();
    let mut opened = None;
    if !timed.is_empty() {
        let reading = reading(timed.iter(), catalogue, tenant, now)?;
        let timed = catalogue.with_budgets(timed);
        let mut recount = Recount::going_on(&timed, std::mem::take(&mut counted.counters));
        opened = Some(openings::up_to_now(connection, &mut recount, &reading, now).await?);
        counted.counters = recount.finish();
    }
    let tenants = reading(budgets.iter(), catalogue, tenant, now)?.tenants;
    let few = has_few_rows(connection, tenants.as_ref()).await?;
    if !few {
        summarize(connection).await?;
    }
    let zones = catalogue.tenants().map(|tenant| (tenant.id.clone(), tenant.zone)).collect();
    let spellings = Arc::clone(&catalogue.spellings);
    Ok(CountedAhead { budgets, tenant: tenant.cloned(), zones, spellings, mark, since, few, opened, counted })
}

/// The latest instant that a batch was recorded at, while no batch was on its way: none that comes later is recorded before it
/// ([`super::time`]). Batches wait for those that are on their way, and no longer: an hour of the journal need not be looked through
/// under the lock for what a few seconds have brought. None if there is nothing to go by, or only what the clock of the server does
/// not know yet, which a batch would not follow either.
async fn between_batches(connection: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut apart = connection.begin().await?;
    take(&mut apart, Lock::Catalogue).await?;
    let asked = sqlx::query_scalar("select max(recorded_at) from lanes where recorded_at <= statement_timestamp()");
    let latest = asked.fetch_one(&mut *apart).await?;
    // Back to the savepoint, the lock goes.
    apart.rollback().await?;
    Ok(latest)
}

/// Whether these tenants have at most [`FEW_ROWS`] in the journal.
async fn has_few_rows(connection: &mut PgConnection, tenants: Option<&BTreeSet<TenantId>>) -> Result<bool, StoreError> {
    let Some(tenants) = tenants else { return Ok(false) };
    connection.execute(BY_PAGES).await?;
    Ok(walk::rows_of(connection, tenants, FEW_ROWS.saturating_add(1)).await? <= FEW_ROWS)
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
        let now_counted = catalogue.with_budgets(counted);
        let by_number: BTreeMap<BudgetNumber, &Arc<Budget>> =
            now_counted.budgets().map(|budget| (budget.number, budget)).collect();
        let renumbered = |(id, recounted): (&CounterId, &Recounted)| {
            // A budget that is new had no number yet.
            let number = known.get(&id.budget)?;
            // What has left its window meanwhile is not counted on: it would be there in part.
            let is_gone = by_number.get(number).is_none_or(|budget| catalogue.has_forgotten(budget, &recounted.period));
            (!is_gone).then(|| (CounterId { budget: *number, ..id.clone() }, recounted.clone()))
        };
        let counters = ahead.counted.counters.iter().filter_map(renumbered).collect();
        connection.execute(BY_RANGES).await?;
        all = walk::since_mark(connection, &now_counted, tenant, ahead, counters, now).await?;
    }
    if !uncounted.is_empty() {
        if ahead.is_some() {
            tracing::warn!(
                budgets = uncounted.len(),
                "budgets are counted while verdicts wait: tenants, zones or names changed while they were counted ahead"
            );
        }
        all.extend(count(connection, catalogue, uncounted, tenant, &mut || {}).await?);
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
