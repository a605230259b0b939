//! What alerts are told from, what is firing, and what was told.
//!
//! One replica at a time evaluates, under [`Lock::Alerts`](super::locks::Lock::Alerts): so events get their places in the order in which they are committed, and
//! who reads on after a place misses none. Nothing here locks a row that a batch of a lane waits for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::StoreError;
use super::alert_look::Seen;
use crate::domain::alert::Cause;
use crate::domain::alert::book::{Open, Told};
use crate::domain::alert::kind::AlertKind;
use crate::domain::budget::catalogue::BudgetNumber;
use crate::domain::budget::counter::{Counter, CounterId};
use crate::domain::id::{EventId, TenantId};
use crate::wire::alert::{AlertsQuery, EventBody, EventsQuery};

/// The channel on which replicas hear that there are new events.
pub const CHANNEL: &str = "counterfoil_events";

/// How far the evaluation has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What was looked at.
    pub seen: Seen,
    /// The catalogue by which counters were looked at.
    pub catalogue_version: i64,
    /// When the rules that look at hours and days were last asked.
    pub slow_at: Option<DateTime<Utc>>,
}

/// How far the evaluation has come.
///
/// # Errors
/// When the database does not answer.
pub async fn head(connection: &mut PgConnection) -> Result<Head, StoreError> {
    let row = sqlx::query("select seen, seen_at, lanes, evaluated_at, catalogue_version, slow_at from alert_head")
        .fetch_one(connection)
        .await?;
    let Json(lanes) = row.try_get("lanes")?;
    let seen = Seen {
        snapshot: row.try_get("seen")?,
        at: row.try_get("seen_at")?,
        evaluated_at: row.try_get("evaluated_at")?,
        lanes,
    };
    Ok(Head { seen, catalogue_version: row.try_get("catalogue_version")?, slow_at: row.try_get("slow_at")? })
}

/// Writes down how far it has come.
///
/// # Errors
/// When the database does not answer.
pub async fn save_head(connection: &mut PgConnection, head: &Head) -> Result<(), StoreError> {
    sqlx::query(
        "update alert_head
        set seen = $1, seen_at = $2, lanes = $3, evaluated_at = $4, catalogue_version = $5, slow_at = $6",
    )
    .bind(&head.seen.snapshot)
    .bind(head.seen.at)
    .bind(Json(&head.seen.lanes))
    .bind(head.seen.evaluated_at)
    .bind(head.catalogue_version)
    .bind(head.slow_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// A counter whose period has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCounter {
    /// Which.
    pub id: CounterId,
    /// When its period ends.
    pub end: Option<DateTime<Utc>>,
    /// The tenant whose calls it counts, if they are one tenant's alone.
    pub tenant: Option<TenantId>,
    /// Its numbers.
    pub counter: Counter,
}

fn open_counter(row: &PgRow) -> Result<OpenCounter, StoreError> {
    let (id, counter) = super::lane::counter_from_row(row)?;
    let tenant: Option<&str> = row.try_get("tenant")?;
    Ok(OpenCounter {
        id,
        counter,
        end: row.try_get("period_end")?,
        tenant: tenant.map(|tenant| TenantId::stored(tenant).map_err(StoreError::name("tenant"))).transpose()?,
    })
}

/// The counters of these budgets and keys that count the present: those whose period has not ended, and the slices of
/// sliding windows since an instant of theirs.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn counters_of(
    connection: &mut PgConnection,
    wanted: &[(BudgetNumber, String, DateTime<Utc>)],
) -> Result<Vec<OpenCounter>, StoreError> {
    let numbers: Vec<i32> = wanted.iter().map(|(number, _, _)| number.0).collect();
    let keys: Vec<&str> = wanted.iter().map(|(_, key, _)| key.as_str()).collect();
    let since: Vec<DateTime<Utc>> = wanted.iter().map(|(_, _, since)| *since).collect();
    let rows = sqlx::query(
        "select counter.budget, counter.key, counter.period_start, counter.posted, counter.held, counter.period_end,
            counter.tenant, counter.margin, counter.at_risk
        from unnest($1::integer[], $2::text[], $3::timestamptz[]) as wanted (budget, key, since)
        join counters as counter on counter.budget = wanted.budget and counter.key = wanted.key
        where counter.period_end is null or counter.period_end > wanted.since",
    )
    .bind(numbers)
    .bind(keys)
    .bind(since)
    .fetch_all(connection)
    .await?;
    rows.iter().map(open_counter).collect()
}

/// The counters of these budgets that have posted at least so much and whose period has not ended.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn counters_over(
    connection: &mut PgConnection,
    floors: &[(BudgetNumber, rust_decimal::Decimal, DateTime<Utc>)],
) -> Result<Vec<OpenCounter>, StoreError> {
    let numbers: Vec<i32> = floors.iter().map(|(number, _, _)| number.0).collect();
    let least: Vec<rust_decimal::Decimal> = floors.iter().map(|(_, floor, _)| *floor).collect();
    let since: Vec<DateTime<Utc>> = floors.iter().map(|(_, _, since)| *since).collect();
    let rows = sqlx::query(
        "select counter.budget, counter.key, counter.period_start, counter.posted, counter.held, counter.period_end,
            counter.tenant, counter.margin, counter.at_risk
        from unnest($1::integer[], $2::numeric[], $3::timestamptz[]) as wanted (budget, least, since)
        join counters as counter on counter.budget = wanted.budget and counter.posted >= wanted.least
        where counter.period_end is null or counter.period_end > wanted.since",
    )
    .bind(numbers)
    .bind(least)
    .bind(since)
    .fetch_all(connection)
    .await?;
    rows.iter().map(open_counter).collect()
}

/// An alert that fires, with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFound {
    /// Since when, and what told it.
    pub open: Open,
    /// Whose affair it is.
    pub tenant: Option<TenantId>,
    /// The budget.
    pub budget: Option<String>,
    /// The counter of it; empty if it is not counted apart.
    pub key: String,
}

/// What is firing.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn open(connection: &mut PgConnection) -> Result<BTreeMap<Cause, OpenFound>, StoreError> {
    let rows = sqlx::query("select cause, kind, tenant, budget, key, event, raised_at, ends_at from alerts")
        .fetch_all(connection)
        .await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let open = Open {
            kind: kind(row)?,
            raised_at: row.try_get("raised_at")?,
            event: row.try_get::<Option<Uuid>, _>("event")?.map(EventId),
            ends_at: row.try_get("ends_at")?,
        };
        let key: Option<String> = row.try_get("key")?;
        let tenant: Option<&str> = row.try_get("tenant")?;
        let tenant = tenant.map(|tenant| TenantId::stored(tenant).map_err(StoreError::name("tenant"))).transpose()?;
        let budget = row.try_get("budget")?;
        let one = OpenFound { open, tenant, budget, key: key.unwrap_or_default() };
        found.insert(Cause::stored(row.try_get("cause")?), one);
    }
    Ok(found)
}

fn kind(row: &PgRow) -> Result<AlertKind, StoreError> {
    AlertKind::parse(row.try_get("kind")?).ok_or_else(|| StoreError::Row("kind".to_owned()))
}

/// How many alerts were raised since an instant, by kind and group.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn told(connection: &mut PgConnection, since: DateTime<Utc>) -> Result<Told, StoreError> {
    let rows = sqlx::query(
        "select kind, grp, count(*) as count from events where occurred_at > $1 and status = 'raised' group by kind, grp",
    )
    .bind(since)
    .fetch_all(connection)
    .await?;
    let one = |row: &PgRow| {
        let count: i64 = row.try_get("count")?;
        Ok(((kind(row)?, row.try_get("grp")?), u32::try_from(count).unwrap_or(u32::MAX)))
    };
    rows.iter().map(one).collect()
}

/// What an evaluation found to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turned {
    /// Events, in their order, each with its group.
    pub events: Vec<(EventBody, String)>,
    /// Alerts that fire from now on: the cause, whether it is told, and the event that tells it or would.
    pub opened: Vec<(Cause, bool, EventBody)>,
    /// Causes that fire no more.
    pub closed: Vec<Cause>,
}

/// Writes what an evaluation found: events with their deliveries, and what is firing.
///
/// # Errors
/// When the database does not answer.
pub async fn write(connection: &mut PgConnection, turned: &Turned, now: DateTime<Utc>) -> Result<(), StoreError> {
    if !turned.closed.is_empty() {
        let causes: Vec<&str> = turned.closed.iter().map(Cause::as_str).collect();
        sqlx::query("delete from alerts where cause = any($1)").bind(causes).execute(&mut *connection).await?;
    }
    if !turned.opened.is_empty() {
        let opened = &turned.opened;
        let docs = opened.iter().map(|(_, _, doc)| serde_json::to_string(doc)).collect::<Result<Vec<_>, _>>()?;
        sqlx::query(
            "insert into alerts (cause, kind, tenant, budget, key, event, raised_at, ends_at, doc)
            select * from unnest(
                $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::timestamptz[],
                $8::timestamptz[], $9::text[]
            )
            on conflict (cause) do nothing",
        )
        .bind(opened.iter().map(|(cause, _, _)| cause.as_str()).collect::<Vec<_>>())
        .bind(opened.iter().map(|(_, _, doc)| AlertKind::from(doc.kind).name()).collect::<Vec<_>>())
        .bind(opened.iter().map(|(_, _, doc)| doc.tenant.clone()).collect::<Vec<_>>())
        .bind(opened.iter().map(|(_, _, doc)| doc.budget.clone()).collect::<Vec<_>>())
        .bind(opened.iter().map(|(_, _, doc)| doc.key.clone()).collect::<Vec<_>>())
        .bind(opened.iter().map(|(_, told, doc)| told.then_some(doc.id)).collect::<Vec<_>>())
        .bind(opened.iter().map(|(_, _, doc)| doc.raised_at).collect::<Vec<_>>())
        .bind(opened.iter().map(|(_, _, doc)| doc.ends_at).collect::<Vec<_>>())
        .bind(docs)
        .execute(&mut *connection)
        .await?;
    }
    if !turned.events.is_empty() {
        write_events(&mut *connection, &turned.events).await?;
        queue(&mut *connection, &turned.events, now).await?;
    }
    Ok(())
}

async fn write_events(connection: &mut PgConnection, events: &[(EventBody, String)]) -> Result<(), StoreError> {
    let docs = events.iter().map(|(doc, _)| serde_json::to_string(doc)).collect::<Result<Vec<_>, _>>()?;
    sqlx::query(
        "insert into events (id, tenant, kind, status, severity, grp, budget, feature, run, occurred_at, doc)
        select id, tenant, kind, status, severity, grp, budget, feature, run, occurred_at, doc
        from unnest(
            $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::timestamptz[], $11::text[]
        ) with ordinality
            as given (id, tenant, kind, status, severity, grp, budget, feature, run, occurred_at, doc, at)
        order by at",
    )
    .bind(events.iter().map(|(doc, _)| doc.id).collect::<Vec<_>>())
    .bind(events.iter().map(|(doc, _)| doc.tenant.clone()).collect::<Vec<_>>())
    .bind(events.iter().map(|(doc, _)| AlertKind::from(doc.kind).name()).collect::<Vec<_>>())
    .bind(events.iter().map(|(doc, _)| doc.status.name()).collect::<Vec<_>>())
    .bind(events.iter().map(|(doc, _)| severity(doc)).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, group)| group.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|(doc, _)| doc.budget.clone()).collect::<Vec<_>>())
    .bind(events.iter().map(|(doc, _)| doc.feature.clone()).collect::<Vec<_>>())
    .bind(events.iter().map(|(doc, _)| doc.run.clone()).collect::<Vec<_>>())
    .bind(events.iter().map(|(doc, _)| doc.occurred_at).collect::<Vec<_>>())
    .bind(docs)
    .execute(connection)
    .await?;
    Ok(())
}

fn severity(doc: &EventBody) -> &'static str {
    crate::domain::alert::kind::Severity::from(doc.severity).name()
}

/// Puts events into the outbox of every endpoint that wants them.
async fn queue(
    connection: &mut PgConnection,
    events: &[(EventBody, String)],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into deliveries (webhook, place, grp, next_attempt_at)
        select webhook.id, event.place, event.grp, $2
        from events as event
        join webhooks as webhook
            on webhook.enabled
            and (webhook.tenant is null or webhook.tenant = event.tenant)
            and (cardinality(webhook.kinds) = 0 or event.kind = any(webhook.kinds))
        where event.id = any($1)",
    )
    .bind(events.iter().map(|(doc, _)| doc.id).collect::<Vec<_>>())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Tells all replicas, when the transaction commits, that there are new events.
///
/// # Errors
/// When the database does not answer.
pub async fn wake(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("select pg_notify($1, '')").bind(CHANNEL).execute(connection).await?;
    Ok(())
}

/// An event with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its place in the order of all events.
    pub place: i64,
    /// The event.
    pub event: EventBody,
}

fn placed(row: &PgRow) -> Result<Placed, StoreError> {
    Ok(Placed { place: row.try_get("place")?, event: doc(row)? })
}

pub(super) fn doc(row: &PgRow) -> Result<EventBody, StoreError> {
    let text: &str = row.try_get("doc")?;
    serde_json::from_str(text).map_err(|error| StoreError::Row(format!("events.doc: {error}")))
}

fn push_conditions(statement: &mut QueryBuilder<Postgres>, query: &EventsQuery) {
    let kind = query.kind.map(|kind| AlertKind::from(kind).name().to_owned());
    let texts = [
        (" and tenant = ", &query.tenant),
        (" and kind = ", &kind),
        (" and budget = ", &query.budget),
        (" and feature = ", &query.feature),
        (" and run = ", &query.run),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            statement.push(condition).push_bind(value.clone());
        }
    }
    for (condition, value) in [(" and occurred_at >= ", query.from), (" and occurred_at < ", query.to)] {
        if let Some(value) = value {
            statement.push(condition).push_bind(value);
        }
    }
}

/// A page of events, newest first.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn list_events(
    connection: &mut PgConnection,
    query: &EventsQuery,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Placed>, StoreError> {
    let mut statement: QueryBuilder<Postgres> = QueryBuilder::new("select place, doc from events where true");
    push_conditions(&mut statement, query);
    if let Some(before) = before {
        statement.push(" and place < ").push_bind(before);
    }
    statement.push(" order by place desc limit ").push_bind(limit);
    statement.build().fetch_all(connection).await?.iter().map(placed).collect()
}

/// Events after a place, oldest first.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn events_after(
    connection: &mut PgConnection,
    query: &EventsQuery,
    after: i64,
    limit: i64,
) -> Result<Vec<Placed>, StoreError> {
    let mut statement: QueryBuilder<Postgres> = QueryBuilder::new("select place, doc from events where place > ");
    statement.push_bind(after);
    push_conditions(&mut statement, query);
    statement.push(" order by place limit ").push_bind(limit);
    statement.build().fetch_all(connection).await?.iter().map(placed).collect()
}

/// The place of an event, if the connection may see it.
///
/// # Errors
/// When the database does not answer.
pub async fn place_of(connection: &mut PgConnection, id: EventId) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar("select place from events where id = $1").bind(id.0).fetch_optional(connection).await?)
}

/// One event, if the connection may see it.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn event(connection: &mut PgConnection, id: EventId) -> Result<Option<EventBody>, StoreError> {
    let row = sqlx::query("select doc from events where id = $1").bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(doc).transpose()
}

/// The place of the newest event, or zero.
///
/// # Errors
/// When the database does not answer.
pub async fn newest_place(connection: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("select coalesce(max(place), 0) from events").fetch_one(connection).await?)
}

/// A page of what is firing, by cause.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn list_alerts(
    connection: &mut PgConnection,
    query: &AlertsQuery,
    now: DateTime<Utc>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<(String, EventBody)>, StoreError> {
    let rows = sqlx::query(
        "select cause, doc from alerts
        where ($1::text is null or tenant = $1) and ($2::text is null or kind = $2) and ($3::text is null or budget = $3)
            and (ends_at is null or ends_at > $4) and ($5::text is null or cause collate \"C\" > $5)
        order by cause collate \"C\" limit $6",
    )
    .bind(query.tenant.as_deref())
    .bind(query.kind.map(|kind| AlertKind::from(kind).name()))
    .bind(query.budget.as_deref())
    .bind(now)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("cause")?, doc(row)?))).collect()
}

/// Forgets events that happened before an instant and that nobody waits for.
///
/// # Errors
/// When the database does not answer.
pub async fn forget_events(connection: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "delete from events where occurred_at < $1
            and not exists (select from deliveries where deliveries.place = events.place)",
    )
    .bind(before)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
