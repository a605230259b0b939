//! Endpoints, and the outbox of what is still to be sent to them.
//!
//! A row of the outbox is claimed for a while and sent outside of any transaction. Whoever claimed it and died has it
//! claimed by another when the time is over: at least once. Of one endpoint and group only the first row can be claimed: in
//! order.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::StoreError;
use super::webhook_secrets::{KeptSecret, SealedSecret, kept_secret};
use crate::domain::alert::delivery::{GONE, Health, PROBE_INTERVAL};
use crate::domain::alert::endpoint::WebhookKey;
use crate::domain::alert::kind::AlertKind;
use crate::domain::id::{TenantId, WebhookId};
use crate::wire::alert::{AlertKindName, EventBody};
use crate::wire::page::Page;
use crate::wire::webhook::{WebhookBody, WebhookPutBody, WebhookState};

/// What a confined read may see of an endpoint: everything but its secret.
const WEBHOOK: &str = "id as key, coalesce(name, id) as id, tenant, url, kinds, enabled, created_at, changed_at, version, paused_at, \
     failures, failing_since, last_delivered_at, last_failed_at, last_status, last_error, given_up";

/// The endpoint of an id in the space of a tenant, or of the platform: it has an index.
const NAMED: &str = "coalesce(tenant, '') = $1 and coalesce(name, id) = $2";

/// An endpoint, with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is known by here.
    pub key: WebhookKey,
    /// The endpoint.
    pub webhook: WebhookBody,
}

fn found(row: &PgRow) -> Result<Found, StoreError> {
    Ok(Found { key: WebhookKey::stored(row.try_get("key")?), webhook: webhook(row)? })
}

fn webhook(row: &PgRow) -> Result<WebhookBody, StoreError> {
    let kinds: Vec<String> = row.try_get("kinds")?;
    let kind = |name: &String| {
        AlertKind::parse(name).map(AlertKindName::from).ok_or_else(|| StoreError::Row("kinds".to_owned()))
    };
    let paused_at: Option<DateTime<Utc>> = row.try_get("paused_at")?;
    let failures: i32 = row.try_get("failures")?;
    let given_up: i64 = row.try_get("given_up")?;
    let last_status: Option<i32> = row.try_get("last_status")?;
    let enabled: bool = row.try_get("enabled")?;
    Ok(WebhookBody {
        id: row.try_get("id")?,
        url: row.try_get("url")?,
        tenant: row.try_get("tenant")?,
        kinds: kinds.iter().map(kind).collect::<Result<_, _>>()?,
        state: match (enabled, paused_at) {
            (false, _) => WebhookState::Disabled,
            (true, Some(_)) => WebhookState::Paused,
            (true, None) => WebhookState::Enabled,
        },
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        changed_at: row.try_get("changed_at")?,
        paused_at,
        failures: u32::try_from(failures).unwrap_or(0),
        failing_since: row.try_get("failing_since")?,
        last_delivered_at: row.try_get("last_delivered_at")?,
        last_failed_at: row.try_get("last_failed_at")?,
        last_status: last_status.and_then(|status| u16::try_from(status).ok()),
        last_error: row.try_get("last_error")?,
        waiting: 0,
        given_up: u64::try_from(given_up).unwrap_or(0),
    })
}

/// The tenants that have an endpoint of this id; none stands for the platform.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn tenants_of(connection: &mut PgConnection, id: &WebhookId) -> Result<Vec<Option<TenantId>>, StoreError> {
    let tenants: Vec<Option<String>> =
        sqlx::query_scalar("select tenant from webhooks where coalesce(name, id) = $1 order by tenant")
            .bind(id.as_str())
            .fetch_all(connection)
            .await?;
    let parse = |tenant: String| TenantId::parse(&tenant).map_err(StoreError::name("tenant"));
    tenants.into_iter().map(|tenant| tenant.map(parse).transpose()).collect()
}

/// The endpoint of an id in the space of a tenant, or of the platform.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn get(
    connection: &mut PgConnection,
    tenant: Option<&TenantId>,
    id: &WebhookId,
) -> Result<Option<Found>, StoreError> {
    named(connection, tenant, id, "").await
}

/// The same, locked until the transaction ends.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn lock(
    connection: &mut PgConnection,
    tenant: Option<&TenantId>,
    id: &WebhookId,
) -> Result<Option<Found>, StoreError> {
    named(connection, tenant, id, " for update").await
}

async fn named(
    connection: &mut PgConnection,
    tenant: Option<&TenantId>,
    id: &WebhookId,
    locked: &str,
) -> Result<Option<Found>, StoreError> {
    let sql = format!("select {WEBHOOK} from webhooks where {NAMED}{locked}");
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.map_or("", TenantId::as_str))
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(found).transpose()
}

/// How many endpoints a tenant has, or the platform.
///
/// # Errors
/// When the database does not answer.
pub async fn count_of(connection: &mut PgConnection, tenant: Option<&TenantId>) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("select count(*) from webhooks where coalesce(tenant, '') = $1")
        .bind(tenant.map_or("", TenantId::as_str))
        .fetch_one(connection)
        .await?)
}

fn kinds(body: &WebhookPutBody) -> Vec<&'static str> {
    body.kinds.iter().map(|kind| AlertKind::from(*kind).name()).collect()
}

/// Creates an endpoint. None where its key, or its id in the tenant's space, is taken.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn insert(
    connection: &mut PgConnection,
    (key, tenant, id): (&WebhookKey, Option<&TenantId>, &WebhookId),
    body: &WebhookPutBody,
    secret: &SealedSecret,
    now: DateTime<Utc>,
) -> Result<Option<Found>, StoreError> {
    let sql = format!(
        "insert into webhooks (id, name, tenant, url, kinds, enabled, sealed_secret, sealed_by, created_at, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
        on conflict do nothing
        returning {WEBHOOK}"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(key.as_str())
        .bind(id.as_str())
        .bind(tenant.map(TenantId::as_str))
        .bind(&body.url)
        .bind(kinds(body))
        .bind(body.enabled)
        .bind(&secret.bytes)
        .bind(&secret.by)
        .bind(now)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(found).transpose()
}

/// Replaces an endpoint that is locked.
///
/// Without a secret it keeps its own. What it had been paused for is forgotten, because it may be another place now. One that is
/// disabled is owed nothing.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn replace(
    connection: &mut PgConnection,
    key: &WebhookKey,
    body: &WebhookPutBody,
    secret: Option<&SealedSecret>,
    now: DateTime<Utc>,
) -> Result<Found, StoreError> {
    if !body.enabled {
        sqlx::query("delete from deliveries where webhook = $1").bind(key.as_str()).execute(&mut *connection).await?;
    }
    let sql = format!(
        "update webhooks
        set
            url = $2,
            kinds = $3,
            enabled = $4,
            secret = case when $5::bytea is null then secret end,
            sealed_secret = coalesce($5, sealed_secret),
            sealed_by = coalesce($6, sealed_by),
            changed_at = $7,
            version = version + 1,
            paused_at = null,
            probed_at = null,
            failures = 0,
            failing_since = null,
            last_error = null
        where id = $1
        returning {WEBHOOK}"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(key.as_str())
        .bind(&body.url)
        .bind(kinds(body))
        .bind(body.enabled)
        .bind(secret.map(|secret| &secret.bytes))
        .bind(secret.map(|secret| &secret.by))
        .bind(now)
        .fetch_one(connection)
        .await?;
    found(&row)
}

/// A page of endpoints, by key.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn list(
    connection: &mut PgConnection,
    tenant: Option<&TenantId>,
    page: &Page,
) -> Result<Vec<Found>, StoreError> {
    let sql = format!(
        "select {WEBHOOK} from webhooks
        where ($1::text is null or tenant = $1) and ($2::text is null or webhooks.id > $2)
        order by webhooks.id limit $3"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.map(TenantId::as_str))
        .bind(page.after.as_deref())
        .bind(page.fetch())
        .fetch_all(connection)
        .await?;
    rows.iter().map(found).collect()
}

/// How many events wait for each of these endpoints, in their order. The outbox has no rights for confined reads: ask with
/// the keys such a read has found.
///
/// # Errors
/// When the database does not answer.
pub async fn waiting(connection: &mut PgConnection, keys: &[&str]) -> Result<Vec<u64>, StoreError> {
    let counts: Vec<i64> = sqlx::query_scalar(
        "select (select count(*) from deliveries where webhook = wanted.id)
        from unnest($1::text[]) with ordinality as wanted (id, at) order by at",
    )
    .bind(keys)
    .fetch_all(connection)
    .await?;
    Ok(counts.into_iter().map(|count| u64::try_from(count).unwrap_or(0)).collect())
}

/// Where and by which key an endpoint is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub url: String,
    /// By which key.
    pub secret: KeptSecret,
    /// Whose it is; none of the platform. What is said of a tenant's gives no address away, and is in the tenant's words.
    pub tenant: Option<TenantId>,
}

fn target(row: &PgRow) -> Result<Target, StoreError> {
    let tenant: Option<&str> = row.try_get("tenant")?;
    let tenant = tenant.map(|tenant| TenantId::parse(tenant).map_err(StoreError::name("tenant"))).transpose()?;
    Ok(Target { url: row.try_get("url")?, secret: kept_secret(row)?, tenant })
}

/// Where and by which key an endpoint is sent to.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn target_of(connection: &mut PgConnection, id: &WebhookKey) -> Result<Option<Target>, StoreError> {
    let row = sqlx::query("select url, tenant, secret, sealed_by, sealed_secret from webhooks where id = $1")
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(target).transpose()
}

/// Removes an endpoint and what waits for it.
///
/// # Errors
/// When the database does not answer.
pub async fn delete(connection: &mut PgConnection, id: &WebhookKey) -> Result<(), StoreError> {
    sqlx::query("delete from deliveries where webhook = $1").bind(id.as_str()).execute(&mut *connection).await?;
    sqlx::query("delete from webhooks where id = $1").bind(id.as_str()).execute(connection).await?;
    Ok(())
}

/// Sends to a paused endpoint again: what waits for it is due now, the oldest first. Its time to be given up begins anew.
///
/// # Errors
/// When the database does not answer.
pub async fn resume(connection: &mut PgConnection, id: &WebhookKey, now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query(
        "update webhooks set paused_at = null, probed_at = null, failures = 0, failing_since = null where id = $1",
    )
    .bind(id.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query("update deliveries set next_attempt_at = $2, tried_since = null, attempts = 0 where webhook = $1")
        .bind(id.as_str())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// An event on its way to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The endpoint.
    pub webhook: WebhookKey,
    /// Where and by which key.
    pub target: Target,
    /// The place of the event.
    pub place: i64,
    /// The event.
    pub event: EventBody,
    /// How often it was tried before.
    pub attempts: u32,
    /// Since when it is tried.
    pub tried_since: DateTime<Utc>,
    /// Whether the endpoint is paused, and this is to see whether it takes anything again.
    pub is_probe: bool,
    /// How the endpoint has fared.
    pub health: Health,
}

/// How many events may be on their way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// To the endpoints of one tenant; those of the platform are like those of one.
    pub tenant: i64,
    /// To one endpoint: one that hangs leaves room for the others.
    pub webhook: i64,
}

/// Claims what is due: of each endpoint and group the first, if it is due, within the shares.
///
/// Tenants take turns, and of one the longest due comes first. A paused endpoint is tried with one event every [`PROBE_INTERVAL`],
/// unless it said that it is gone.
///
/// An endpoint whose secret was sealed by another key than this one is left to those that hold it.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn claim(
    connection: &mut PgConnection,
    key: &str,
    now: DateTime<Utc>,
    lease: TimeDelta,
    shares: Shares,
    limit: i64,
) -> Result<Vec<Claimed>, StoreError> {
    // The heads are chosen without locks, so two replicas may choose the same: the second waits for the first one's row,
    // finds it claimed, and takes nothing.
    let rows = sqlx::query(
        "with heads as (
            select distinct on (delivery.webhook, delivery.grp)
                delivery.webhook, delivery.place, delivery.next_attempt_at, delivery.claimed_until,
                webhook.tenant, webhook.paused_at is not null as is_probe
            from deliveries as delivery
            join webhooks as webhook
                on webhook.id = delivery.webhook
                and webhook.enabled
                and (
                    webhook.paused_at is null
                    or (webhook.last_status is distinct from $7 and coalesce(webhook.probed_at, webhook.paused_at) <= $8)
                )
                and coalesce(webhook.sealed_by, $5) = $5
            order by delivery.webhook, delivery.grp, delivery.place
        ), busy as (
            select delivery.webhook, webhook.tenant, count(*) as count
            from deliveries as delivery
            join webhooks as webhook on webhook.id = delivery.webhook
            where delivery.claimed_until > $1
            group by delivery.webhook, webhook.tenant
        ), due as (
            select head.*,
                row_number() over (partition by head.webhook order by head.next_attempt_at, head.place)
                    + coalesce((select count from busy where busy.webhook = head.webhook), 0) as turn
            from heads as head
            where (head.is_probe or head.next_attempt_at <= $1) and (head.claimed_until is null or head.claimed_until <= $1)
        ), shared as (
            select due.*,
                row_number() over (partition by due.tenant order by due.next_attempt_at, due.place)
                    + coalesce((select sum(count) from busy where busy.tenant is not distinct from due.tenant), 0)
                    as tenant_turn
            from due
            where due.turn <= case when due.is_probe then 1 else $3 end
        ), chosen as (
            select webhook, place, is_probe from shared
            where tenant_turn <= $6
            order by tenant_turn, next_attempt_at, place
            limit $4
        ), claimed as (
            update deliveries as delivery
            set claimed_until = $2, attempts = delivery.attempts + 1, tried_since = coalesce(delivery.tried_since, $1)
            from chosen
            where delivery.webhook = chosen.webhook and delivery.place = chosen.place
                and (delivery.claimed_until is null or delivery.claimed_until <= $1)
            returning delivery.webhook, delivery.place, delivery.attempts, delivery.tried_since, chosen.is_probe
        ), probed as (
            update webhooks set probed_at = $1 from claimed where webhooks.id = claimed.webhook and claimed.is_probe
        )
        select claimed.webhook, claimed.place, claimed.attempts, claimed.tried_since, claimed.is_probe, event.doc,
            webhook.url, webhook.tenant, webhook.secret, webhook.sealed_by, webhook.sealed_secret, webhook.failures, webhook.failing_since
        from claimed
        join events as event on event.place = claimed.place
        join webhooks as webhook on webhook.id = claimed.webhook
        order by claimed.place",
    )
    .bind(now)
    .bind(now.checked_add_signed(lease).unwrap_or(now))
    .bind(shares.webhook)
    .bind(limit)
    .bind(key)
    .bind(shares.tenant)
    .bind(i32::from(GONE))
    .bind(now.checked_sub_signed(PROBE_INTERVAL).unwrap_or(now))
    .fetch_all(connection)
    .await?;
    rows.iter().map(claimed).collect()
}

fn claimed(row: &PgRow) -> Result<Claimed, StoreError> {
    let attempts: i32 = row.try_get("attempts")?;
    let failures: i32 = row.try_get("failures")?;
    Ok(Claimed {
        webhook: WebhookKey::stored(row.try_get("webhook")?),
        target: target(row)?,
        place: row.try_get("place")?,
        event: super::alerts::doc(row)?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        tried_since: row.try_get("tried_since")?,
        is_probe: row.try_get("is_probe")?,
        health: Health {
            failures: u32::try_from(failures).unwrap_or(u32::MAX),
            failing_since: row.try_get("failing_since")?,
        },
    })
}

/// Writes down that an endpoint took an event. One that was paused is resumed by that: what waits for it is due now.
///
/// # Errors
/// When the database does not answer.
pub async fn delivered(
    connection: &mut PgConnection,
    claimed: &Claimed,
    status: u16,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "with done as (
            delete from deliveries where webhook = $1 and place = $2
        ), resumed as (
            update deliveries set next_attempt_at = $4, tried_since = null, attempts = 0
            where webhook = $1 and place <> $2 and $5
        )
        update webhooks
        set
            failures = 0,
            failing_since = null,
            paused_at = case when $5 then null else paused_at end,
            probed_at = null,
            last_error = null,
            last_status = $3,
            last_delivered_at = $4
        where id = $1",
    )
    .bind(claimed.webhook.as_str())
    .bind(claimed.place)
    .bind(i32::from(status))
    .bind(now)
    .bind(claimed.is_probe)
    .execute(connection)
    .await?;
    Ok(())
}

/// What becomes of an event that an endpoint did not take, and of the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why.
    pub error: String,
    /// When it is tried again; none if it is given up.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Whether the endpoint is paused.
    pub pause: bool,
}

/// Writes down that an endpoint did not take an event.
///
/// # Errors
/// When the database does not answer.
pub async fn failed(
    connection: &mut PgConnection,
    claimed: &Claimed,
    failed: &Failed,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "with again as (
            update deliveries set next_attempt_at = $3, claimed_until = null, last_error = $4
            where webhook = $1 and place = $2 and $3::timestamptz is not null
        ), given_up as (
            delete from deliveries where webhook = $1 and place = $2 and $3::timestamptz is null
        )
        update webhooks
        set
            failures = failures + 1,
            failing_since = coalesce(failing_since, $5),
            last_failed_at = $5,
            last_error = $4,
            last_status = $6,
            paused_at = case when $7 then coalesce(paused_at, $5) else paused_at end,
            given_up = given_up + case when $3::timestamptz is null then 1 else 0 end
        where id = $1",
    )
    .bind(claimed.webhook.as_str())
    .bind(claimed.place)
    .bind(failed.next_attempt_at)
    .bind(&failed.error)
    .bind(now)
    .bind(failed.status.map(i32::from))
    .bind(failed.pause)
    .execute(connection)
    .await?;
    Ok(())
}
