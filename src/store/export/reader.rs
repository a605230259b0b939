//! The connection an export reads by, and the mark up to which it does.
//!
//! Invariants: the connection is the export's own and ends with it, so that what is set on it harms nobody; of a tenant's
//! export every row is read as that tenant, and only where pages end is looked up as the owner.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection, Executor};

use super::pace::Pace;
use crate::domain::carbon::{Factor, FactorId};
use crate::domain::id::TenantId;
use crate::domain::price::{PriceId, PriceRow};
use crate::store::{StoreError, rates, yielding};
use crate::wire::export::JournalMark;

/// What holds for every statement of an export. It takes one core of the database at most, and leaves the others to verdicts.
/// Pages are read by the index that has their order: a statement that is prepared once does not know how short they are,
/// and would look through the journal for each.
const SETTINGS: &str = "
    set default_transaction_read_only = on;
    set max_parallel_workers_per_gather = 0;
    set jit = off;
    set plan_cache_mode = force_generic_plan;
    set enable_seqscan = off;
    set enable_bitmapscan = off;
    set enable_sort = off";
/// For what is looked for by instants of recording: their index is one of ranges of blocks, which gives no order, and how many
/// ranges are to be read depends on the instant.
const BY_RANGES: &str = "set enable_bitmapscan = on; set plan_cache_mode = force_custom_plan";
/// Back to [`SETTINGS`].
const BY_ORDER: &str = "set enable_bitmapscan = off; set plan_cache_mode = force_generic_plan";
/// The role of a tenant's reads: `migrations/0002_books.sql`.
const TENANT_ROLE: &str = "counterfoil_tenant";

/// Reads the books for one export. Confined to a tenant's rows if it is opened for one.
///
/// Its connection's process gives way to verdicts where it can be told to.
pub struct JournalReader {
    connection: PgConnection,
    is_confined: bool,
    mark: JournalMark,
    pace: Pace,
    /// What people call tenants, of those that were asked for.
    names: BTreeMap<String, Option<String>>,
}

impl JournalReader {
    /// Opens one. `now` is the instant batches would be recorded at.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(pool: &PgPool, tenant: Option<&TenantId>, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let mut connection = pool.acquire().await?.detach();
        connection.execute(SETTINGS).await?;
        let (seen, pid): (String, i32) =
            sqlx::query_as("select pg_current_snapshot()::text, pg_backend_pid()").fetch_one(&mut connection).await?;
        yielding::lower_server_process(&pool.connect_options(), pid).await;
        let mark = JournalMark::new(now, &seen).map_err(|error| StoreError::Row(error.to_string()))?;
        if let Some(tenant) = tenant {
            sqlx::query("select set_config('counterfoil.tenant', $1, false), set_config('role', $2, false)")
                .bind(tenant.as_str())
                .bind(TENANT_ROLE)
                .execute(&mut connection)
                .await?;
        }
        Ok(Self { connection, is_confined: tenant.is_some(), mark, pace: Pace::new(), names: BTreeMap::new() })
    }

    /// Up to where it reads.
    #[must_use]
    pub const fn mark(&self) -> &JournalMark {
        &self.mark
    }

    /// The connection, for what else an export looks up. Of a tenant's export it sees what the tenant may see.
    pub const fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Lets verdicts go first, if somebody asks for some: to be called between pieces of work of about a millisecond.
    pub async fn rest(&mut self) {
        self.pace.rest().await;
    }

    /// How fast it goes.
    #[must_use]
    pub const fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Looks whether lanes are at work, and says how it would read now. Beyond the rows of a tenant until [`Self::confine`].
    pub(super) async fn look_around(&mut self) -> Result<(), StoreError> {
        if self.is_confined {
            self.connection.execute("set role none").await?;
        }
        let batches: i64 = sqlx::query_scalar("select coalesce(sum(batch), 0)::bigint from lanes")
            .fetch_one(&mut self.connection)
            .await?;
        self.pace.saw(batches);
        Ok(())
    }

    /// Lets statements use the index of ranges of blocks, or not.
    pub(super) async fn by_ranges(&mut self, by_ranges: bool) -> Result<(), StoreError> {
        self.connection.execute(if by_ranges { BY_RANGES } else { BY_ORDER }).await?;
        Ok(())
    }

    /// Back to the rows of the tenant, if it is opened for one.
    pub(super) async fn confine(&mut self) -> Result<(), StoreError> {
        if self.is_confined {
            sqlx::query("select set_config('role', $1, false)").bind(TENANT_ROLE).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// What people call these tenants; none where the catalogue has lost one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tenant_names(
        &mut self,
        tenants: &BTreeSet<&str>,
    ) -> Result<&BTreeMap<String, Option<String>>, StoreError> {
        let unknown: Vec<&str> = tenants.iter().copied().filter(|tenant| !self.names.contains_key(*tenant)).collect();
        if !unknown.is_empty() {
            let found: Vec<(String, String)> = sqlx::query_as("select id, name from tenants where id = any($1)")
                .bind(&unknown)
                .fetch_all(&mut self.connection)
                .await?;
            self.names.extend(unknown.iter().map(|tenant| ((*tenant).to_owned(), None)));
            self.names.extend(found.into_iter().map(|(id, name)| (id, Some(name))));
        }
        Ok(&self.names)
    }

    /// Every price row.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn prices(&mut self) -> Result<Vec<PriceRow>, StoreError> {
        let mut prices = Vec::new();
        let mut last = PriceId(0);
        loop {
            let page = rates::prices_after(&mut self.connection, last).await?;
            let Some(row) = page.last() else { return Ok(prices) };
            last = row.id;
            prices.extend(page);
            self.rest().await;
        }
    }

    /// Every factor row.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn factors(&mut self) -> Result<Vec<Factor>, StoreError> {
        let mut factors = Vec::new();
        let mut after = FactorId(0);
        loop {
            let page = rates::factors_after(&mut self.connection, after).await?;
            let Some((last, _)) = page.last() else { return Ok(factors) };
            after = *last;
            factors.extend(page.into_iter().map(|(_, factor)| factor));
            self.rest().await;
        }
    }

    /// Ends it, and its connection.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn close(self) -> Result<(), StoreError> {
        Ok(self.connection.close().await?)
    }
}
