//! Reconciliations: the journal of a report's days by day and model, and what was compared and approved.
//!
//! A report is about when calls occurred, whatever period they count in, so the journal is read by `occurred_at`: one walk
//! through it, because no index is worth its cost on the hot path for a question that is asked once a day.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use uuid::Uuid;

use super::StoreError;
use super::restatements::stated_from_row;
use crate::domain::id::{FeatureId, ModelId, ProviderId, RegionId, TenantId};
use crate::domain::price::PriceId;
use crate::domain::tariff::Flags;
use crate::domain::usage::Bucket;
use crate::reconcile::compare::{Journal, JournalRow, JournalSums};
use crate::reconcile::report::Counts;
use crate::wire::page::Page;
use crate::wire::reconciliation::{ReconciliationItemBody, ReconciliationState};

/// Whether the journal has anything of a provider. Reads all of it where there is nothing.
///
/// # Errors
/// When the database does not answer.
pub async fn has_provider(connection: &mut PgConnection, provider: &ProviderId) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar("select exists (select from usage_rollup where provider = $1)")
        .bind(provider.as_str())
        .fetch_one(connection)
        .await?;
    Ok(found)
}

/// Reads the journal of a provider: of the days that begin at these instants, in ascending order; the last is the end.
///
/// # Errors
/// When the database does not answer, or a sum is beyond what can be told.
pub async fn journal(
    connection: &mut PgConnection,
    provider: &ProviderId,
    days: &[(NaiveDate, DateTime<Utc>)],
    end: DateTime<Utc>,
) -> Result<Journal, StoreError> {
    let mut snapshot = connection.begin_with("begin isolation level repeatable read, read only").await?;
    let starts: Vec<DateTime<Utc>> = days.iter().map(|(_, start)| *start).collect();
    let rows = sqlx::query(
        "select
            width_bucket(occurred_at, $2::timestamptz[]) as span,
            tenant,
            feature,
            coalesce(spelling.named_model, transfers.model) as model,
            case when count(distinct coalesce(region, '')) = 1 then min(region) end as region,
            sum(direction * requests)::numeric as requests,
            sum(direction * input)::numeric as input,
            sum(direction * cache_read)::numeric as cache_read,
            sum(direction * cache_write_5m)::numeric as cache_write_5m,
            sum(direction * cache_write_1h)::numeric as cache_write_1h,
            sum(direction * output)::numeric as output,
            sum(direction * reasoning)::numeric as reasoning,
            sum(direction * usd) as usd,
            sum(direction * gco2e_usage_location) as gco2e_usage_location,
            sum(direction * gco2e_usage_market) as gco2e_usage_market,
            sum(direction * gco2e_embodied) as gco2e_embodied,
            array_remove(array_agg(distinct price), null) as prices
        from transfers
        -- A row that was written before there were names counts by what its spelling means.
        left join spellings as spelling
            on transfers.said_as is null
            and spelling.provider = transfers.provider
            and spelling.model = transfers.model
        where
            coalesce(spelling.named_provider, transfers.provider) = $1
            and occurred_at >= $3
            and occurred_at < $4
        group by span, tenant, feature, 4
        order by span, tenant, feature, 4",
    )
    .bind(provider.as_str())
    .bind(&starts)
    .bind(starts.first().copied().unwrap_or(end))
    .bind(end)
    .fetch_all(&mut *snapshot)
    .await?;
    let rows = rows.iter().map(|row| journal_row(row, days)).collect::<Result<_, _>>()?;
    // A restatement moves grams alone: the call is as unconfirmed as it was.
    let unconfirmed = sqlx::query(concat!(
        include_str!("sql/stated_rows.sql"),
        "where
            transfers.kind in ('settlement', 'usage')
            and coalesce(
                (
                    select spelling.named_provider
                    from spellings as spelling
                    where
                        transfers.said_as is null
                        and spelling.provider = transfers.provider
                        and spelling.model = transfers.model
                ),
                transfers.provider
            ) = $1
            and transfers.occurred_at >= $2
            and transfers.occurred_at < $3
            and transfers.flags & $4 <> 0
            and not exists (
                select from transfers as later
                where
                    later.corrects = transfers.id
                    and later.kind in ('true_up', 'correction')
                    and (later.tokens > 0 or later.requests > 0 or later.usd > 0)
            )
        order by transfers.id"
    ))
    .bind(provider.as_str())
    .bind(starts.first().copied().unwrap_or(end))
    .bind(end)
    .bind(i32::try_from(Flags::UNCONFIRMED.bits()).unwrap_or(i32::MAX))
    .fetch_all(&mut *snapshot)
    .await?;
    let unconfirmed = unconfirmed.iter().map(|row| Ok(stated_from_row(row)?.as_stated()));
    let unconfirmed = unconfirmed.collect::<Result<_, StoreError>>()?;
    snapshot.rollback().await?;
    Ok(Journal { rows, unconfirmed })
}

fn journal_row(row: &PgRow, days: &[(NaiveDate, DateTime<Utc>)]) -> Result<JournalRow, StoreError> {
    let beyond = |column: &str| StoreError::Row(column.to_owned());
    let span: i32 = row.try_get("span")?;
    let place = usize::try_from(span).ok().and_then(|span| span.checked_sub(1));
    let (day, _) = place.and_then(|place| days.get(place)).ok_or_else(|| beyond("span"))?;
    let count = |column: &str| -> Result<i64, StoreError> {
        row.try_get::<Decimal, _>(column)?.to_i64().ok_or_else(|| beyond(column))
    };
    let mut tokens = Counts::default();
    for bucket in Bucket::ALL {
        tokens.add(bucket, count(bucket.as_str())?).ok_or_else(|| beyond(bucket.as_str()))?;
    }
    let region: Option<&str> = row.try_get("region")?;
    let prices: Vec<i64> = row.try_get("prices")?;
    Ok(JournalRow {
        day: *day,
        tenant: TenantId::stored(row.try_get("tenant")?).map_err(StoreError::name("tenant"))?,
        feature: FeatureId::stored(row.try_get("feature")?).map_err(StoreError::name("feature"))?,
        model: ModelId::parse(row.try_get("model")?).map_err(StoreError::name("model"))?,
        region: region.map(RegionId::parse).transpose().map_err(StoreError::name("region"))?,
        sums: JournalSums {
            tokens,
            requests: count("requests")?,
            usd: row.try_get("usd")?,
            grams: [
                row.try_get("gco2e_usage_location")?,
                row.try_get("gco2e_usage_market")?,
                row.try_get("gco2e_embodied")?,
            ],
            prices: prices.into_iter().map(PriceId).collect::<BTreeSet<_>>(),
        },
    })
}

/// A reconciliation as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// How far it has come.
    pub state: ReconciliationState,
    /// The request, as JSON.
    pub request: String,
    /// The answer, as JSON.
    pub document: String,
    /// The true-ups that are being posted or are posted, as JSON.
    pub true_ups: Option<String>,
}

/// Keeps a new one.
///
/// # Errors
/// When the database does not answer.
pub async fn insert(
    connection: &mut PgConnection,
    item: &ReconciliationItemBody,
    request: &str,
    document: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into reconciliations (
            id, provider, state, first_day, last_day, request, document, requested_by, requested_at
        ) values ($1, $2, 'proposed', $3, $4, $5, $6, $7, $8)",
    )
    .bind(item.id)
    .bind(&item.provider)
    .bind(item.first_day)
    .bind(item.last_day)
    .bind(request)
    .bind(document)
    .bind(&item.requested_by)
    .bind(item.requested_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// One, if it is there.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn get(connection: &mut PgConnection, id: Uuid) -> Result<Option<Kept>, StoreError> {
    let row = sqlx::query("select state, request, document, true_ups from reconciliations where id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    let kept = |row: PgRow| -> Result<Kept, StoreError> {
        Ok(Kept {
            state: state(&row)?,
            request: row.try_get("request")?,
            document: row.try_get("document")?,
            true_ups: row.try_get("true_ups")?,
        })
    };
    row.map(kept).transpose()
}

fn state(row: &PgRow) -> Result<ReconciliationState, StoreError> {
    ReconciliationState::from_word(row.try_get("state")?).ok_or_else(|| StoreError::Row("state".to_owned()))
}

/// A page of them, newest first.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn list(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    page: &Page,
) -> Result<Vec<ReconciliationItemBody>, StoreError> {
    let rows = sqlx::query(
        "select id, state, provider, first_day, last_day, requested_by, requested_at, approved_by, approved_at
        from reconciliations
        where $1::uuid is null or id < $1
        order by id desc
        limit $2",
    )
    .bind(after)
    .bind(page.fetch())
    .fetch_all(connection)
    .await?;
    let item = |row: &PgRow| -> Result<ReconciliationItemBody, StoreError> {
        Ok(ReconciliationItemBody {
            id: row.try_get("id")?,
            state: state(row)?,
            provider: row.try_get("provider")?,
            first_day: row.try_get("first_day")?,
            last_day: row.try_get("last_day")?,
            requested_by: row.try_get("requested_by")?,
            requested_at: row.try_get("requested_at")?,
            approved_by: row.try_get("approved_by")?,
            approved_at: row.try_get("approved_at")?,
        })
    };
    rows.iter().map(item).collect()
}

/// Writes down which true-ups are about to be posted.
///
/// # Errors
/// When the database does not answer, or it is approved.
pub async fn begin_posting(connection: &mut PgConnection, id: Uuid, true_ups: &str) -> Result<(), StoreError> {
    sqlx::query("update reconciliations set state = 'approving', true_ups = $2 where id = $1")
        .bind(id)
        .bind(true_ups)
        .execute(connection)
        .await?;
    Ok(())
}

/// Approves: from now on it never changes.
///
/// # Errors
/// When the database does not answer, or it is approved.
pub async fn approve(
    connection: &mut PgConnection,
    id: Uuid,
    document: &str,
    true_ups: &str,
    (subject, now): (&str, DateTime<Utc>),
) -> Result<(), StoreError> {
    sqlx::query(
        "update reconciliations
        set state = 'approved', document = $2, true_ups = $3, approved_by = $4, approved_at = $5
        where id = $1",
    )
    .bind(id)
    .bind(document)
    .bind(true_ups)
    .bind(subject)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Which of these transfers are in the journal.
///
/// # Errors
/// When the database does not answer.
pub async fn posted(connection: &mut PgConnection, transfers: &[Uuid]) -> Result<BTreeSet<Uuid>, StoreError> {
    let found: Vec<Uuid> =
        sqlx::query_scalar("select id from transfers where id = any($1)").bind(transfers).fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

/// Until when the books are closed, and every closing, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn closings(
    connection: &mut PgConnection,
) -> Result<BTreeMap<DateTime<Utc>, (String, DateTime<Utc>)>, StoreError> {
    let rows: Vec<(DateTime<Utc>, String, DateTime<Utc>)> =
        sqlx::query_as("select closed_until, closed_by, closed_at from closings").fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(until, by, at)| (until, (by, at))).collect())
}
