//! The catalogue in Postgres: tenants and budgets, with their history, and the counters of a budget that is new or changed.
//!
//! A change takes [`Lock::Catalogue`] exclusively; each batch of a lane holds it shared. So a change waits until the batches that
//! are on their way are committed, sees all they wrote, and lets the next batches in, which find the new version and load what is
//! new in it. No batch is decided by an old catalogue, on any replica, nor by a counter that is not whole.
//!
//! A change that makes counters anew counts them in a [`Preparation`](super::preparation::Preparation), while batches go on: under
//! the lock only what was recorded since is added ([`super::counting`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Connection, Postgres, Row, Transaction};

use super::StoreError;
use super::catalogue_reads::{self, StoredBudget};
use super::counting::{CountedAhead, count_rest, insert_counters};
use super::locks::{Lock, take};
use super::signals::closures;
use crate::domain::budget::catalogue::{Budget, BudgetClock, BudgetNumber, Catalogue, Tenant};
use crate::domain::calendar::{Zone, tzdb_version};
use crate::domain::id::{BudgetId, TenantId};
use crate::wire::budget::{BudgetBody, BudgetRecord, TenantBody};
use crate::wire::catalogue::{BudgetRow, TenantRow};

/// The rules by which sliding windows and the time of runs are counted. One more each time that they change.
const WINDOWS_COUNTING: i32 = 1;

/// The versions of the catalogue and of the rates.
///
/// # Errors
/// When the database does not answer.
pub async fn versions(connection: &mut PgConnection) -> Result<(i64, i64), StoreError> {
    Ok(sqlx::query_as("select version, rates_version from catalogue_head").fetch_one(connection).await?)
}

/// Loads the catalogue as the connection sees it.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn load(connection: &mut PgConnection) -> Result<Catalogue, StoreError> {
    load_since(connection, &Catalogue::default()).await
}

/// Loads the catalogue as the connection sees it. Budgets that are as they were in another one are taken over from there: making a
/// thousand budgets must not read a thousand each time.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn load_since(connection: &mut PgConnection, known: &Catalogue) -> Result<Catalogue, StoreError> {
    let (version, closed_until, slices_forgotten) = head(&mut *connection).await?;
    let tenants = sqlx::query("select id, timezone, strict, archived_at is not null as archived from tenants")
        .fetch_all(&mut *connection)
        .await?;
    let tenants = tenants.iter().map(tenant_from_row).collect::<Result<_, _>>()?;
    let budgets = budgets_since(&mut *connection, known).await?;
    let stopped = super::runs::stopped(&mut *connection).await?;
    let closures = closures(&mut *connection).await?;
    let catalogue = Catalogue::new(version, tenants, Vec::new()).with_budgets(budgets);
    let mut catalogue = catalogue.with_closures(closures).with_stopped_runs(stopped);
    catalogue.spellings = super::names::spellings(&mut *connection).await?.into();
    catalogue.closed_until = closed_until;
    catalogue.slices_forgotten = slices_forgotten;
    Ok(catalogue)
}

/// The same, but for what a change has written and not committed: where nothing was committed since, what is known is taken over
/// without a look.
pub(super) async fn load_newer(connection: &mut PgConnection, known: &Catalogue) -> Result<Catalogue, StoreError> {
    let (version, _, slices_forgotten) = head(&mut *connection).await?;
    if version == known.version {
        let mut catalogue = known.clone();
        catalogue.slices_forgotten = slices_forgotten;
        return Ok(catalogue);
    }
    load_since(connection, known).await
}

/// The version, until when periods are closed, and what of sliding windows may be gone.
async fn head(
    connection: &mut PgConnection,
) -> Result<(i64, Option<DateTime<Utc>>, Option<DateTime<Utc>>), StoreError> {
    Ok(sqlx::query_as("select version, closed_until, slices_forgotten from catalogue_head")
        .fetch_one(connection)
        .await?)
}

async fn budgets_since(connection: &mut PgConnection, known: &Catalogue) -> Result<Vec<Arc<Budget>>, StoreError> {
    type Stamp = (i32, i32, DateTime<Utc>);
    let mut found: BTreeMap<BudgetNumber, Arc<Budget>> = BTreeMap::new();
    if known.budgets().next().is_some() {
        let stamps: Vec<Stamp> =
            sqlx::query_as("select number, version, counted_from from budgets where archived_at is null")
                .fetch_all(&mut *connection)
                .await?;
        let stamps: BTreeSet<Stamp> = stamps.into_iter().collect();
        let is_as_it_was =
            |budget: &&Arc<Budget>| stamps.contains(&(budget.number.0, budget.version, budget.counted_from));
        found = known.budgets().filter(is_as_it_was).map(|budget| (budget.number, Arc::clone(budget))).collect();
    }
    let rows = sqlx::query(
        "select number, id, doc, version, counted_from from budgets where archived_at is null and number <> all($1)",
    )
    .bind(found.keys().map(|number| number.0).collect::<Vec<_>>())
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        let budget = budget_from_row(row)?;
        found.insert(budget.number, Arc::new(budget));
    }
    Ok(found.into_values().collect())
}

fn tenant_from_row(row: &PgRow) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: TenantId::parse(row.try_get("id")?).map_err(StoreError::name("id"))?,
        zone: Zone::parse(row.try_get("timezone")?).map_err(|_| StoreError::Row("timezone".to_owned()))?,
        strict: row.try_get("strict")?,
        archived: row.try_get("archived")?,
    })
}

fn budget_from_row(row: &PgRow) -> Result<Budget, StoreError> {
    let id = BudgetId::parse(row.try_get("id")?).map_err(StoreError::name("id"))?;
    let Json(body): Json<BudgetBody> = row.try_get("doc")?;
    let record = BudgetRecord {
        number: BudgetNumber(row.try_get("number")?),
        version: row.try_get("version")?,
        counted_from: row.try_get("counted_from")?,
    };
    body.to_budget(id, record).map_err(|error| StoreError::Row(format!("budgets.doc: {error}")))
}

pub(super) fn by_id(catalogue: &Catalogue) -> BTreeMap<&BudgetId, &Arc<Budget>> {
    catalogue.budgets().map(|budget| (&budget.id, budget)).collect()
}

pub(super) fn as_written(id: &BudgetId, body: &BudgetBody, record: BudgetRecord) -> Result<Budget, StoreError> {
    body.to_budget(id.clone(), record).map_err(|error| StoreError::Row(format!("budgets.doc: {error}")))
}

/// The budgets with counters on a tenant's clock.
pub(super) fn on_the_clock_of<'a>(
    tenant: &'a TenantId,
    catalogue: &'a Catalogue,
) -> impl Iterator<Item = &'a Arc<Budget>> {
    catalogue.budgets().filter(move |budget| {
        budget.clock == BudgetClock::Tenant && budget.scope.tenant.as_ref().is_none_or(|one| one == tenant)
    })
}

/// A change of the catalogue, alone with it until [`Change::commit`].
pub struct Change<'c> {
    pub(super) transaction: Transaction<'c, Postgres>,
    pub(super) now: DateTime<Utc>,
    /// From when budgets count that it makes.
    pub(super) counted_from: DateTime<Utc>,
}

/// Begins a change that counts nothing: waits for the batches that are on their way, and keeps new ones out.
///
/// # Errors
/// When the database does not answer.
pub async fn change(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Change<'_>, StoreError> {
    let mut transaction = connection.begin_with("begin isolation level read committed").await?;
    take(&mut transaction, Lock::Catalogue).await?;
    // One time for all: a change is written at an instant that no batch before it was later than.
    let now = super::time::instant(&mut transaction, now).await?;
    Ok(Change { transaction, now, counted_from: counted_before(now) })
}

/// How long before it is made a budget counts. A replica whose clock is behind by less, or is put right by less, counts in
/// periods that the budget knows.
pub const COUNTED_BEFORE: TimeDelta = TimeDelta::days(1);

/// From when a budget counts that is made at an instant.
pub(super) fn counted_before(now: DateTime<Utc>) -> DateTime<Utc> {
    now.checked_sub_signed(COUNTED_BEFORE).unwrap_or(now)
}

/// The documents of some budgets, as far as they are not archived.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
async fn budget_bodies(
    connection: &mut PgConnection,
    ids: &[&str],
) -> Result<BTreeMap<BudgetId, BudgetBody>, StoreError> {
    let rows = sqlx::query("select id, doc from budgets where id = any($1) and archived_at is null")
        .bind(ids)
        .fetch_all(connection)
        .await?;
    let one = |row: &PgRow| {
        let Json(body): Json<BudgetBody> = row.try_get("doc")?;
        Ok((BudgetId::parse(row.try_get("id")?).map_err(StoreError::name("id"))?, body))
    };
    rows.iter().map(one).collect()
}

/// What is there of a budget, before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetHead {
    /// Counts replacements, from 1.
    pub version: i32,
    /// The tenant of its scope.
    pub tenant: Option<TenantId>,
}

impl Change<'_> {
    /// Bumps the version, so that every replica loads the change, and commits.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::query("update catalogue_head set version = version + 1, changed_at = $1")
            .bind(self.now)
            .execute(&mut *self.transaction)
            .await?;
        Ok(self.transaction.commit().await?)
    }

    /// Changes nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn abandon(self) -> Result<(), StoreError> {
        Ok(self.transaction.rollback().await?)
    }

    /// The catalogue before this change writes to it, loaded by way of what is known of it.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn catalogue(&mut self, known: &Catalogue) -> Result<Catalogue, StoreError> {
        load_newer(&mut self.transaction, known).await
    }

    /// Creates or replaces a tenant. A new zone makes the counters on its clock anew, by what was counted ahead of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put_tenant(
        &mut self,
        id: &TenantId,
        body: &TenantBody,
        before: &Catalogue,
        ahead: Option<&CountedAhead>,
    ) -> Result<TenantRow, StoreError> {
        let name = body.name.as_deref().unwrap_or(id.as_str());
        let written = sqlx::query(
            "insert into tenants (id, name, timezone, strict, created_at, changed_at)
            values ($1, $2, $3, $4, $5, $5)
            on conflict (id) do update
            set
                name = excluded.name,
                timezone = excluded.timezone,
                strict = excluded.strict,
                version = tenants.version + 1,
                changed_at = excluded.changed_at,
                archived_at = null
            returning id, name, timezone, strict, version, created_at, changed_at, archived_at",
        )
        .bind(id.as_str())
        .bind(name)
        .bind(&body.timezone)
        .bind(body.strict)
        .bind(self.now)
        .fetch_one(&mut *self.transaction)
        .await?;
        self.keep_tenant_version(id).await?;
        let zone = Zone::parse(&body.timezone).map_err(|_| StoreError::Row("timezone".to_owned()))?;
        if before.tenant(id).is_some_and(|tenant| tenant.zone != zone) {
            let after = before.clone().with_zone(id, zone);
            let numbers = on_the_clock_of(id, &after).map(|budget| budget.number).collect();
            self.recount(&after, numbers, Some(id), ahead).await?;
        }
        catalogue_reads::tenant(&written)
    }

    /// Archives a tenant: it starts nothing new. Whether there was one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn archive_tenant(&mut self, id: &TenantId) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "update tenants set archived_at = $2, changed_at = $2, version = version + 1
            where id = $1 and archived_at is null",
        )
        .bind(id.as_str())
        .bind(self.now)
        .execute(&mut *self.transaction)
        .await?;
        if done.rows_affected() == 1 {
            self.keep_tenant_version(id).await?;
        }
        Ok(done.rows_affected() == 1)
    }

    async fn keep_tenant_version(&mut self, id: &TenantId) -> Result<(), StoreError> {
        sqlx::query(
            "insert into tenant_versions (id, version, name, timezone, strict, archived, recorded_at)
            select id, version, name, timezone, strict, archived_at is not null, changed_at from tenants where id = $1",
        )
        .bind(id.as_str())
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Closes all periods before an instant. Whether any was open: what is closed stays closed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn close_until(&mut self, until: DateTime<Utc>, subject: &str) -> Result<bool, StoreError> {
        let done =
            sqlx::query("update catalogue_head set closed_until = $1 where closed_until is null or closed_until < $1")
                .bind(until)
                .execute(&mut *self.transaction)
                .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("insert into closings (closed_until, closed_by, closed_at) values ($1, $2, $3)")
            .bind(until)
            .bind(subject)
            .bind(self.now)
            .execute(&mut *self.transaction)
            .await?;
        Ok(true)
    }

    /// What is there of some budgets, archived ones as well.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn budget_heads(&mut self, ids: &[&str]) -> Result<BTreeMap<BudgetId, BudgetHead>, StoreError> {
        let rows: Vec<(String, i32, Option<String>)> =
            sqlx::query_as("select id, version, tenant from budgets where id = any($1)")
                .bind(ids)
                .fetch_all(&mut *self.transaction)
                .await?;
        let head = |(id, version, tenant): (String, i32, Option<String>)| {
            let tenant =
                tenant.map(|tenant| TenantId::parse(&tenant).map_err(StoreError::name("tenant"))).transpose()?;
            Ok((BudgetId::parse(&id).map_err(StoreError::name("id"))?, BudgetHead { version, tenant }))
        };
        rows.into_iter().map(head).collect()
    }

    /// The version of a tenant that is there, archived or not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tenant_version(&mut self, id: &TenantId) -> Result<Option<i32>, StoreError> {
        Ok(sqlx::query_scalar("select version from tenants where id = $1")
            .bind(id.as_str())
            .fetch_optional(&mut *self.transaction)
            .await?)
    }

    /// The connection of the change, for what must be written with it or not at all.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Creates or replaces budgets. One that counts otherwise than before is counted, unless it was counted ahead.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put_budgets(
        &mut self,
        budgets: &[(BudgetId, BudgetBody)],
        before: &Catalogue,
        ahead: Option<&CountedAhead>,
    ) -> Result<Vec<BudgetRow>, StoreError> {
        let by_id = by_id(before);
        let mut counted = Vec::with_capacity(budgets.len());
        for (id, body) in budgets {
            let unwritten = BudgetRecord { number: BudgetNumber(0), version: 0, counted_from: self.now };
            let budget = as_written(id, body, unwritten)?;
            counted.push(by_id.get(id).is_none_or(|was| !was.counts_like(&budget)));
        }
        let written = self.write_budgets(budgets, &counted).await?;
        let mut after: BTreeMap<BudgetNumber, Arc<Budget>> =
            before.budgets().map(|budget| (budget.number, Arc::clone(budget))).collect();
        let mut numbers = Vec::new();
        for (((id, body), is_counted), StoredBudget { number, row }) in budgets.iter().zip(counted).zip(&written) {
            let record = BudgetRecord { number: *number, version: row.version, counted_from: row.counted_from };
            after.insert(*number, Arc::new(as_written(id, body, record)?));
            if is_counted {
                numbers.push(*number);
            }
        }
        self.recount(&before.with_budgets(after.into_values()), numbers, None, ahead).await?;
        self.keep_budget_versions(budgets.iter().map(|(id, _)| id)).await?;
        Ok(written.into_iter().map(|stored| stored.row).collect())
    }

    /// Writes the rows of budgets, in the order in which they are given.
    async fn write_budgets(
        &mut self,
        budgets: &[(BudgetId, BudgetBody)],
        counted: &[bool],
    ) -> Result<Vec<StoredBudget>, StoreError> {
        let docs: Vec<_> = budgets.iter().map(|(_, body)| Json(body)).collect();
        let rows = sqlx::query(
            "insert into budgets as budget (id, tenant, doc, counted_from, created_at, changed_at)
            select id, tenant, doc, $6, $5, $5
            from unnest($1::text[], $2::text[], $3::jsonb[]) as new (id, tenant, doc)
            on conflict on constraint budgets_id_key do update
            set
                tenant = excluded.tenant,
                doc = excluded.doc,
                counted_from = case when budget.id = any($4) then excluded.counted_from else budget.counted_from end,
                version = budget.version + 1,
                changed_at = excluded.changed_at,
                archived_at = null
            returning id, number, tenant, doc, version, counted_from, created_at, changed_at, archived_at",
        )
        .bind(budgets.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>())
        .bind(budgets.iter().map(|(_, body)| body.scope.tenant.as_deref()).collect::<Vec<_>>())
        .bind(docs)
        .bind(budgets.iter().zip(counted).filter(|(_, is)| **is).map(|((id, _), _)| id.as_str()).collect::<Vec<_>>())
        .bind(self.now)
        .bind(self.counted_from)
        .fetch_all(&mut *self.transaction)
        .await?;
        let mut stored = BTreeMap::new();
        for row in &rows {
            stored.insert(row.try_get::<&str, _>("id")?, catalogue_reads::budget(row)?);
        }
        let in_order = budgets.iter().map(|(id, _)| stored.remove(id.as_str()));
        in_order.map(|row| row.ok_or_else(|| StoreError::Row("budgets.id".to_owned()))).collect()
    }

    /// Archives a budget: it governs nothing any more, and its counters go. Whether there was one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn archive_budget(&mut self, id: &BudgetId) -> Result<bool, StoreError> {
        let number: Option<i32> = sqlx::query_scalar(
            "update budgets set archived_at = $2, changed_at = $2, version = version + 1
            where id = $1 and archived_at is null
            returning number",
        )
        .bind(id.as_str())
        .bind(self.now)
        .fetch_optional(&mut *self.transaction)
        .await?;
        let Some(number) = number else { return Ok(false) };
        sqlx::query("delete from counters where budget = $1").bind(number).execute(&mut *self.transaction).await?;
        self.keep_budget_versions([id].into_iter()).await?;
        Ok(true)
    }

    async fn keep_budget_versions(&mut self, ids: impl Iterator<Item = &BudgetId>) -> Result<(), StoreError> {
        sqlx::query(
            "insert into budget_versions (id, version, tenant, doc, archived, recorded_at)
            select id, version, tenant, doc, archived_at is not null, changed_at from budgets where id = any($1)",
        )
        .bind(ids.map(BudgetId::as_str).collect::<Vec<_>>())
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Recounts what earlier releases counted otherwise, once: sliding windows, which forgot what they had counted before the
    /// budget was made, and what is timed, which was opened by questions. What has left its window long ago is not counted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn follow_counting_rules(&mut self) -> Result<bool, StoreError> {
        let known: i32 =
            sqlx::query_scalar("select windows_counting from catalogue_head").fetch_one(&mut *self.transaction).await?;
        if known >= WINDOWS_COUNTING {
            return Ok(false);
        }
        sqlx::query("update catalogue_head set windows_counting = $1")
            .bind(WINDOWS_COUNTING)
            .execute(&mut *self.transaction)
            .await?;
        super::housekeeping::move_slices_forgotten(&mut self.transaction, self.now).await?;
        let catalogue = load(&mut self.transaction).await?;
        let counted = catalogue.budgets().filter(|one| one.period.slides().is_some() || one.max_seconds.is_some());
        let numbers = counted.map(|budget| budget.number).collect();
        self.recount(&catalogue, numbers, None, None).await?;
        Ok(true)
    }

    /// Notes by which timezone rules open periods are computed. Whether they are others than before: then every counter is made
    /// anew, by what was counted ahead.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn follow_timezone_rules(&mut self, ahead: Option<&CountedAhead>) -> Result<bool, StoreError> {
        if has_timezone_rules(&mut self.transaction).await? {
            return Ok(false);
        }
        sqlx::query("update catalogue_head set tzdb = $1").bind(tzdb_version()).execute(&mut *self.transaction).await?;
        let catalogue = load(&mut self.transaction).await?;
        let numbers = catalogue.budgets().map(|budget| budget.number).collect();
        self.recount(&catalogue, numbers, None, ahead).await?;
        Ok(true)
    }

    /// The documents of all budgets that are not archived.
    pub(super) async fn all_budget_bodies(&mut self) -> Result<BTreeMap<BudgetId, BudgetBody>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar("select id from budgets where archived_at is null")
            .fetch_all(&mut *self.transaction)
            .await?;
        budget_bodies(&mut self.transaction, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// Replaces the document of a budget by another way to say it.
    pub(super) async fn rewrite_budget(&mut self, id: &BudgetId, body: &BudgetBody) -> Result<(), StoreError> {
        self.write_budgets(&[(id.clone(), body.clone())], &[false]).await?;
        self.keep_budget_versions([id].into_iter()).await
    }

    /// Replaces the counters of some budgets, of one tenant or of all, by what the journal and the open reservations say: what was
    /// not counted ahead is counted now, while batches wait.
    ///
    /// # Errors
    /// When the database does not answer, or something cannot be counted.
    pub(super) async fn recount(
        &mut self,
        catalogue: &Catalogue,
        budgets: Vec<BudgetNumber>,
        tenant: Option<&TenantId>,
        ahead: Option<&CountedAhead>,
    ) -> Result<(), StoreError> {
        if budgets.is_empty() {
            return Ok(());
        }
        sqlx::query("delete from counters where budget = any($1) and ($2::text is null or tenant = $2)")
            .bind(budgets.iter().map(|number| number.0).collect::<Vec<_>>())
            .bind(tenant.map(TenantId::as_str))
            .execute(&mut *self.transaction)
            .await?;
        let counters = count_rest(&mut self.transaction, catalogue, &budgets, tenant, ahead, self.now).await?;
        insert_counters(&mut self.transaction, &counters).await
    }
}

/// Whether open periods were computed by the timezone rules of this program.
///
/// # Errors
/// When the database does not answer.
pub async fn has_timezone_rules(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let known: String = sqlx::query_scalar("select tzdb from catalogue_head").fetch_one(connection).await?;
    Ok(known == tzdb_version())
}
