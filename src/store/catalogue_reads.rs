//! The catalogue, to be looked at: tenants and budgets one by one, as lists and with their history, and how a budget stands.
//!
//! Every query runs on the connection it is given, which a caller may have confined to one tenant's rows. Histories have no
//! row-level security: their queries name the tenant.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;

use super::StoreError;
use super::rows::reservation_from_row;
use crate::domain::budget::catalogue::BudgetNumber;
use crate::domain::budget::counter::{Counter, CounterId};
use crate::domain::budget::scope::CounterKey;
use crate::domain::id::{BudgetId, TenantId};
use crate::domain::ledger::reservation::Reservation;
use crate::wire::budget::BudgetBody;
use crate::wire::catalogue::{BudgetRow, BudgetVersionBody, TenantRow, TenantVersionBody};
use crate::wire::page::Page;

const TENANT: &str = "id, name, timezone, strict, version, created_at, changed_at, archived_at";
const BUDGET: &str = "id, number, tenant, doc, version, counted_from, created_at, changed_at, archived_at";

pub(super) fn tenant(row: &PgRow) -> Result<TenantRow, StoreError> {
    Ok(TenantRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        timezone: row.try_get("timezone")?,
        strict: row.try_get("strict")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        changed_at: row.try_get("changed_at")?,
        archived_at: row.try_get("archived_at")?,
    })
}

/// A budget's row, with the number its counters are kept under.
#[derive(Debug, Clone)]
pub struct StoredBudget {
    /// The number.
    pub number: BudgetNumber,
    /// The row.
    pub row: BudgetRow,
}

pub(super) fn budget(row: &PgRow) -> Result<StoredBudget, StoreError> {
    let Json(definition): Json<BudgetBody> = row.try_get("doc")?;
    Ok(StoredBudget {
        number: BudgetNumber(row.try_get("number")?),
        row: BudgetRow {
            definition: BudgetBody { id: Some(row.try_get("id")?), ..definition },
            version: row.try_get("version")?,
            counted_from: row.try_get("counted_from")?,
            created_at: row.try_get("created_at")?,
            changed_at: row.try_get("changed_at")?,
            archived_at: row.try_get("archived_at")?,
            warnings: Vec::new(),
        },
    })
}

/// One tenant, also an archived one.
///
/// # Errors
/// When the database does not answer.
pub async fn get_tenant(connection: &mut PgConnection, id: &TenantId) -> Result<Option<TenantRow>, StoreError> {
    let sql = format!("select {TENANT} from tenants where id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(tenant).transpose()
}

/// A page of what is selected, by id. The selection binds the tenant it is confined to as `$1`.
async fn listed(
    connection: &mut PgConnection,
    selection: String,
    only: Option<&TenantId>,
    archived: bool,
    page: &Page,
) -> Result<Vec<PgRow>, StoreError> {
    let sql =
        format!("{selection} and ($2 or archived_at is null) and ($3::text is null or id > $3) order by id limit $4");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(only.map(TenantId::as_str))
        .bind(archived)
        .bind(page.after.as_deref())
        .bind(page.fetch())
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

/// A page of the tenants, by id; archived ones only if they are asked for.
///
/// # Errors
/// When the database does not answer.
pub async fn list_tenants(
    connection: &mut PgConnection,
    only: Option<&TenantId>,
    archived: bool,
    page: &Page,
) -> Result<Vec<TenantRow>, StoreError> {
    let rows = listed(
        connection,
        format!("select {TENANT} from tenants where ($1::text is null or id = $1)"),
        only,
        archived,
        page,
    );
    rows.await?.iter().map(tenant).collect()
}

/// A page of a tenant's history, the first version first.
///
/// # Errors
/// When the database does not answer.
pub async fn tenant_versions(
    connection: &mut PgConnection,
    id: &TenantId,
    after: i64,
    limit: i64,
) -> Result<Vec<TenantVersionBody>, StoreError> {
    let rows = sqlx::query(
        "select version, name, timezone, strict, archived, recorded_at from tenant_versions
        where id = $1 and version > $2
        order by version limit $3",
    )
    .bind(id.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let version = |row: &PgRow| {
        Ok(TenantVersionBody {
            version: row.try_get("version")?,
            name: row.try_get("name")?,
            timezone: row.try_get("timezone")?,
            strict: row.try_get("strict")?,
            archived: row.try_get("archived")?,
            recorded_at: row.try_get("recorded_at")?,
        })
    };
    rows.iter().map(version).collect()
}

/// One budget, also an archived one.
///
/// # Errors
/// When the database does not answer.
pub async fn get_budget(connection: &mut PgConnection, id: &BudgetId) -> Result<Option<StoredBudget>, StoreError> {
    let sql = format!("select {BUDGET} from budgets where id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(budget).transpose()
}

/// Which of these budgets are a tenant's, by scope: with whether each is archived.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn budgets_of(
    connection: &mut PgConnection,
    tenant: &TenantId,
    ids: &[BudgetId],
) -> Result<BTreeMap<BudgetId, bool>, StoreError> {
    let rows: Vec<(String, bool)> =
        sqlx::query_as("select id, archived_at is not null from budgets where tenant = $1 and id = any($2)")
            .bind(tenant.as_str())
            .bind(ids.iter().map(BudgetId::as_str).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
    let one = |(id, archived): (String, bool)| Ok((BudgetId::parse(&id).map_err(StoreError::name("id"))?, archived));
    rows.into_iter().map(one).collect()
}

/// The documents of some budgets, as far as they are not archived: every version, the present one last.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn budget_histories(
    connection: &mut PgConnection,
    ids: &[&str],
) -> Result<BTreeMap<BudgetId, Vec<BudgetBody>>, StoreError> {
    let rows = sqlx::query(
        "select version.id, version.doc from budget_versions as version
        join budgets as budget on budget.id = version.id and budget.archived_at is null
        where version.id = any($1) order by version.id, version.version",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let mut histories: BTreeMap<BudgetId, Vec<BudgetBody>> = BTreeMap::new();
    for row in &rows {
        let Json(body): Json<BudgetBody> = row.try_get("doc")?;
        let id = BudgetId::parse(row.try_get("id")?).map_err(StoreError::name("id"))?;
        histories.entry(id).or_default().push(body);
    }
    Ok(histories)
}

/// A page of the budgets, by id: of one tenant's scope if one is named; archived ones only if they are asked for.
///
/// # Errors
/// When the database does not answer.
pub async fn list_budgets(
    connection: &mut PgConnection,
    only: Option<&TenantId>,
    archived: bool,
    page: &Page,
) -> Result<Vec<StoredBudget>, StoreError> {
    let rows = listed(
        connection,
        format!("select {BUDGET} from budgets where ($1::text is null or tenant = $1)"),
        only,
        archived,
        page,
    );
    rows.await?.iter().map(budget).collect()
}

/// A page of a budget's history, the first version first; of one tenant's scope if one is named, because a budget may have
/// been another tenant's before.
///
/// # Errors
/// When the database does not answer.
pub async fn budget_versions(
    connection: &mut PgConnection,
    id: &BudgetId,
    only: Option<&TenantId>,
    after: i64,
    limit: i64,
) -> Result<Vec<BudgetVersionBody>, StoreError> {
    let rows = sqlx::query(
        "select version, doc, archived, recorded_at from budget_versions
        where id = $1 and version > $2 and ($3::text is null or tenant = $3)
        order by version limit $4",
    )
    .bind(id.as_str())
    .bind(after)
    .bind(only.map(TenantId::as_str))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let version = |row: &PgRow| {
        let Json(definition): Json<BudgetBody> = row.try_get("doc")?;
        Ok(BudgetVersionBody {
            version: row.try_get("version")?,
            definition: BudgetBody { id: Some(id.to_string()), ..definition },
            archived: row.try_get("archived")?,
            recorded_at: row.try_get("recorded_at")?,
        })
    };
    rows.iter().map(version).collect()
}

/// The counters of one key that are open: one, or the slices of a sliding window.
#[derive(Debug, Clone, Default)]
pub struct OpenCounters {
    /// The tenant whose calls they count, if they are one tenant's alone.
    pub tenant: Option<TenantId>,
    /// By the start of their period.
    pub counters: BTreeMap<DateTime<Utc>, Counter>,
}

/// A period of a budget that is open.
#[derive(Debug, Clone, Copy)]
pub struct OpenPeriod {
    /// The budget.
    pub budget: BudgetNumber,
    /// The zone that bounds it, where each tenant's own does; empty if it is that of every counter.
    pub zone: &'static str,
    /// Its start; of a sliding window the start of its oldest slice.
    pub start: DateTime<Utc>,
    /// Whether what begins later counts as well: the slices of a sliding window.
    pub slides: bool,
}

/// Which counters of budgets are asked for.
#[derive(Debug, Clone)]
pub struct OpenAsked<'a> {
    /// Those of these periods.
    pub open: Vec<OpenPeriod>,
    /// Only this key.
    pub key: Option<&'a str>,
    /// Only keys after this one.
    pub after: Option<&'a str>,
    /// At most so many keys of each budget.
    pub limit: i64,
}

/// The open counters of budgets, by key.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn open_counters(
    connection: &mut PgConnection,
    asked: &OpenAsked<'_>,
) -> Result<BTreeMap<BudgetNumber, BTreeMap<CounterKey, OpenCounters>>, StoreError> {
    let open = || asked.open.iter();
    let budgets: Vec<i32> = open().map(|period| period.budget.0).collect();
    let zones: Vec<&str> = open().map(|period| period.zone).collect();
    let starts: Vec<DateTime<Utc>> = open().map(|period| period.start).collect();
    let slides: Vec<bool> = open().map(|period| period.slides).collect();
    let rows = sqlx::query(include_str!("sql/open_counters.sql"))
        .bind(budgets)
        .bind(zones)
        .bind(starts)
        .bind(slides)
        .bind(asked.key)
        .bind(asked.after)
        .bind(asked.limit)
        .fetch_all(connection)
        .await?;
    let mut found: BTreeMap<BudgetNumber, BTreeMap<CounterKey, OpenCounters>> = BTreeMap::new();
    for row in &rows {
        let (CounterId { budget, key, start }, counter) = super::lane::counter_from_row(row)?;
        let tenant: Option<&str> = row.try_get("tenant")?;
        let open = found.entry(budget).or_default().entry(key).or_default();
        open.tenant = tenant.map(|tenant| TenantId::stored(tenant).map_err(StoreError::name("tenant"))).transpose()?;
        open.counters.insert(start, counter);
    }
    Ok(found)
}

/// Reservations whose time has passed and whose end is not written down yet: their holds count no more.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn expired_reservations(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<Vec<Reservation>, StoreError> {
    let rows = sqlx::query("select * from reservations where state = 'open' and expires_at <= $1")
        .bind(now)
        .fetch_all(connection)
        .await?;
    rows.iter().map(reservation_from_row).collect()
}
