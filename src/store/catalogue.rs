//! The catalogue in Postgres: tenants and budgets, with their history, and the counters of a budget that is new or changed.
//!
//! A change takes [`Lock::Catalogue`] exclusively; each batch of a lane holds it shared. So a change waits until the batches that are on
//! their way are committed, sees all they wrote, recounts what it must, and lets the next batches in, which find the new
//! version and load it. No batch is decided by an old catalogue, on any replica.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Connection, Postgres, Row, Transaction};

use super::StoreError;
use super::locks::{Lock, take};
use super::rows::{reservation_from_row, transfer_from_row};
use super::signals::closures;
use crate::domain::budget::catalogue::{Budget, BudgetNumber, Catalogue, Tenant};
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::recount::{Recount, Recounted, counts_since};
use crate::domain::calendar::{Zone, tzdb_version};
use crate::domain::id::{BudgetId, TenantId};
use crate::domain::ledger::reservation::ReservationState;
use crate::domain::ledger::transfer::Direction;
use crate::wire::budget::{BudgetBody, BudgetRecord, TenantBody};

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
    let (version, _) = versions(&mut *connection).await?;
    let tenants = sqlx::query("select id, timezone, strict, archived_at is not null as archived from tenants")
        .fetch_all(&mut *connection)
        .await?;
    let tenants = tenants.iter().map(tenant_from_row).collect::<Result<_, _>>()?;
    let budgets = sqlx::query(
        "select number, id, doc, version, counted_from from budgets where archived_at is null order by number",
    )
    .fetch_all(&mut *connection)
    .await?;
    let budgets = budgets.iter().map(budget_from_row).collect::<Result<_, _>>()?;
    let stopped = super::runs::stopped(&mut *connection).await?;
    let closures = closures(&mut *connection).await?;
    let mut catalogue = Catalogue::new(version, tenants, budgets).with_closures(closures).with_stopped_runs(stopped);
    catalogue.spellings = super::names::spellings(&mut *connection).await?.into();
    (catalogue.closed_until, catalogue.slices_forgotten) =
        sqlx::query_as("select closed_until, slices_forgotten from catalogue_head").fetch_one(&mut *connection).await?;
    Ok(catalogue)
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

/// A change of the catalogue, alone with it until [`Change::commit`].
pub struct Change<'c> {
    pub(super) transaction: Transaction<'c, Postgres>,
    pub(super) now: DateTime<Utc>,
}

/// Begins a change: waits for the batches that are on their way, and keeps new ones out.
///
/// # Errors
/// When the database does not answer.
pub async fn change(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Change<'_>, StoreError> {
    let mut transaction = connection.begin().await?;
    take(&mut transaction, Lock::Catalogue).await?;
    // One time for all: a change is written at an instant that no batch before it was later than.
    let now = super::time::instant(&mut transaction, now).await?;
    Ok(Change { transaction, now })
}

/// How long before it is made a budget counts. A replica whose clock is behind by less, or is put right by less, counts in
/// periods that the budget knows.
pub const COUNTED_BEFORE: TimeDelta = TimeDelta::days(1);

/// Whether a `PUT` made something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Counts replacements, from 1.
    pub version: i32,
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

    /// The catalogue as the change leaves it.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn catalogue(&mut self) -> Result<Catalogue, StoreError> {
        load(&mut self.transaction).await
    }

    /// Creates or replaces a tenant. A new zone recounts the budgets on the tenant's clock.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put_tenant(&mut self, id: &TenantId, body: &TenantBody) -> Result<Written, StoreError> {
        let before = self.catalogue().await?;
        let name = body.name.as_deref().unwrap_or(id.as_str());
        let version: i32 = sqlx::query_scalar(
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
            returning version",
        )
        .bind(id.as_str())
        .bind(name)
        .bind(&body.timezone)
        .bind(body.strict)
        .bind(self.now)
        .fetch_one(&mut *self.transaction)
        .await?;
        self.keep_tenant_version(id).await?;
        let after = self.catalogue().await?;
        let zone = |catalogue: &Catalogue| catalogue.tenant(id).map(|tenant| tenant.zone);
        if zone(&before).is_some() && zone(&before) != zone(&after) {
            let on_its_clock = after.budgets().filter(|budget| {
                budget.clock == crate::domain::budget::catalogue::BudgetClock::Tenant
                    && budget.scope.tenant.as_ref().is_none_or(|tenant| tenant == id)
            });
            let numbers: Vec<BudgetNumber> = on_its_clock.map(|budget| budget.number).collect();
            self.recount(&after, numbers, Some(id)).await?;
        }
        Ok(Written { version })
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

    /// The tenant of the scope of a budget, also of an archived one: none if there is no such budget.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn budget_tenant(&mut self, id: &BudgetId) -> Result<Option<Option<TenantId>>, StoreError> {
        let found: Option<Option<String>> = sqlx::query_scalar("select tenant from budgets where id = $1")
            .bind(id.as_str())
            .fetch_optional(&mut *self.transaction)
            .await?;
        let parse = |tenant: String| TenantId::parse(&tenant).map_err(StoreError::name("tenant"));
        found.map(|tenant| tenant.map(parse).transpose()).transpose()
    }

    /// The connection of the change, for what must be written with it or not at all.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// The documents of some budgets, as far as they are not archived.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn budget_bodies(&mut self, ids: &[&str]) -> Result<BTreeMap<BudgetId, BudgetBody>, StoreError> {
        let rows = sqlx::query("select id, doc from budgets where id = any($1) and archived_at is null")
            .bind(ids)
            .fetch_all(&mut *self.transaction)
            .await?;
        let one = |row: &PgRow| {
            let Json(body): Json<BudgetBody> = row.try_get("doc")?;
            Ok((BudgetId::parse(row.try_get("id")?).map_err(StoreError::name("id"))?, body))
        };
        rows.iter().map(one).collect()
    }

    /// Creates or replaces a budget. One that counts otherwise than before is recounted from the journal: a monthly budget
    /// made on the tenth knows what the month has used.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put_budget(&mut self, id: &BudgetId, body: &BudgetBody) -> Result<Written, StoreError> {
        let written = self.put_budgets(&[(id.clone(), body.clone())]).await?;
        written.first().copied().ok_or_else(|| StoreError::Row("version".to_owned()))
    }

    /// Creates or replaces budgets, as [`Change::put_budget`] does, with one recount for all of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put_budgets(&mut self, budgets: &[(BudgetId, BudgetBody)]) -> Result<Vec<Written>, StoreError> {
        let before = self.catalogue().await?;
        let mut written = Vec::with_capacity(budgets.len());
        for (id, body) in budgets {
            written.push(self.write_budget(id, body).await?);
        }
        let after = self.catalogue().await?;
        let counts_alike = |id: &BudgetId| {
            let (old, new) = (before.budget(id), after.budget(id));
            matches!((old, new), (Some(old), Some(new)) if old.counts_like(new))
        };
        let recounted: Vec<&BudgetId> = budgets.iter().map(|(id, _)| id).filter(|id| !counts_alike(id)).collect();
        if !recounted.is_empty() {
            sqlx::query("update budgets set counted_from = $2 where id = any($1)")
                .bind(recounted.iter().map(|id| id.as_str()).collect::<Vec<_>>())
                .bind(self.now.checked_sub_signed(COUNTED_BEFORE).unwrap_or(self.now))
                .execute(&mut *self.transaction)
                .await?;
            let after = self.catalogue().await?;
            let numbers = recounted.iter().filter_map(|id| after.budget(id)).map(|budget| budget.number).collect();
            self.recount(&after, numbers, None).await?;
        }
        for (id, _) in budgets {
            self.keep_budget_version(id).await?;
        }
        Ok(written)
    }

    async fn write_budget(&mut self, id: &BudgetId, body: &BudgetBody) -> Result<Written, StoreError> {
        let version: i32 = sqlx::query_scalar(
            "insert into budgets (id, tenant, doc, counted_from, created_at, changed_at)
            values ($1, $2, $3, $4, $4, $4)
            on conflict on constraint budgets_id_key do update
            set
                tenant = excluded.tenant,
                doc = excluded.doc,
                version = budgets.version + 1,
                changed_at = excluded.changed_at,
                archived_at = null
            returning version",
        )
        .bind(id.as_str())
        .bind(body.scope.tenant.as_deref())
        .bind(Json(body))
        .bind(self.now)
        .fetch_one(&mut *self.transaction)
        .await?;
        Ok(Written { version })
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
        self.keep_budget_version(id).await?;
        Ok(true)
    }

    async fn keep_budget_version(&mut self, id: &BudgetId) -> Result<(), StoreError> {
        sqlx::query(
            "insert into budget_versions (id, version, tenant, doc, archived, recorded_at)
            select id, version, tenant, doc, archived_at is not null, changed_at from budgets where id = $1",
        )
        .bind(id.as_str())
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
        let catalogue = self.catalogue().await?;
        let counted = catalogue.budgets().filter(|one| one.period.slides().is_some() || one.max_seconds.is_some());
        let numbers = counted.map(|budget| budget.number).collect();
        self.recount(&catalogue, numbers, None).await?;
        Ok(true)
    }

    /// Recounts everything if the timezone rules are others than those that open periods were computed by.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn follow_timezone_rules(&mut self) -> Result<bool, StoreError> {
        let known: String =
            sqlx::query_scalar("select tzdb from catalogue_head").fetch_one(&mut *self.transaction).await?;
        if known == tzdb_version() {
            return Ok(false);
        }
        sqlx::query("update catalogue_head set tzdb = $1").bind(tzdb_version()).execute(&mut *self.transaction).await?;
        let catalogue = self.catalogue().await?;
        let numbers: Vec<_> = catalogue.budgets().map(|budget| budget.number).collect();
        self.recount(&catalogue, numbers, None).await?;
        Ok(true)
    }

    /// The documents of all budgets that are not archived.
    pub(super) async fn all_budget_bodies(&mut self) -> Result<BTreeMap<BudgetId, BudgetBody>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar("select id from budgets where archived_at is null")
            .fetch_all(&mut *self.transaction)
            .await?;
        self.budget_bodies(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// Replaces the document of a budget by another way to say it.
    pub(super) async fn rewrite_budget(&mut self, id: &BudgetId, body: &BudgetBody) -> Result<(), StoreError> {
        self.write_budget(id, body).await?;
        self.keep_budget_version(id).await
    }

    /// Replaces the counters of some budgets, of one tenant or of all, by what the journal and the open reservations say.
    pub(super) async fn recount(
        &mut self,
        catalogue: &Catalogue,
        budgets: Vec<BudgetNumber>,
        tenant: Option<&TenantId>,
    ) -> Result<(), StoreError> {
        if budgets.is_empty() {
            // To a recount none named would mean all.
            return Ok(());
        }
        let numbers: Vec<i32> = budgets.iter().map(|number| number.0).collect();
        sqlx::query("delete from counters where budget = any($1) and ($2::text is null or tenant = $2)")
            .bind(&numbers)
            .bind(tenant.map(TenantId::as_str))
            .execute(&mut *self.transaction)
            .await?;
        let counters = count(&mut self.transaction, catalogue, budgets, tenant, &mut || {}).await?;
        insert_counters(&mut self.transaction, &counters).await
    }
}

/// Adds up the journal and the open reservations for some budgets, of one tenant or of all. Rows are streamed, and each is
/// told to `on_row`: what is kept is one entry for each counter.
///
/// # Errors
/// When the database does not answer, or something cannot be counted.
pub(super) async fn count(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    budgets: Vec<BudgetNumber>,
    tenant: Option<&TenantId>,
    on_row: &mut (dyn FnMut() + Send),
) -> Result<BTreeMap<CounterId, Recounted>, StoreError> {
    let mut since = Some(DateTime::<Utc>::MAX_UTC);
    for budget in catalogue.budgets().filter(|budget| budgets.contains(&budget.number)) {
        let one = counts_since(budget, catalogue).map_err(StoreError::recount)?;
        since = since.zip(one).map(|(a, b)| a.min(b));
    }
    let mut recount = Recount::new(catalogue, budgets);
    let tenant = tenant.map(TenantId::as_str);
    let mut transfers = sqlx::query(
        "select * from transfers where ($1::timestamptz is null or period_at >= $1) and ($2::text is null or tenant = $2)",
    )
    .bind(since)
    .bind(tenant)
    .fetch(&mut *connection);
    while let Some(row) = transfers.try_next().await? {
        on_row();
        let transfer = transfer_from_row(&row)?;
        let moved = &transfer.priced.consumption;
        match transfer.direction {
            Direction::Forward => recount.post(&transfer.call, transfer.period_at, moved),
            Direction::Reverse => recount.take_back(&transfer.call, transfer.period_at, moved),
        }
        .map_err(StoreError::recount)?;
    }
    drop(transfers);
    // What has ended holds nothing, but it opened what is timed.
    let mut reservations = sqlx::query(
        "select * from reservations
        where (state = 'open' or ($2 and run is not null)) and ($1::text is null or tenant = $1)",
    )
    .bind(tenant)
    .bind(recount.is_timed())
    .fetch(&mut *connection);
    while let Some(row) = reservations.try_next().await? {
        on_row();
        let reservation = reservation_from_row(&row)?;
        let (call, held_at, held) = (&reservation.call, reservation.held_at, &reservation.hold.consumption);
        if reservation.state == ReservationState::Open {
            recount.hold(call, held_at, held, &reservation.learned).map_err(StoreError::recount)?;
        }
        recount.open(call, held_at, reservation.granted_at).map_err(StoreError::recount)?;
    }
    Ok(recount.finish())
}

async fn insert_counters(
    connection: &mut PgConnection,
    counters: &BTreeMap<CounterId, Recounted>,
) -> Result<(), StoreError> {
    let column = |of: fn(&Recounted) -> rust_decimal::Decimal| counters.values().map(of).collect::<Vec<_>>();
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
