//! Work that was announced: add, look, withdraw. A row is never deleted, because projections that counted it stay.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Postgres, Row, Transaction};
use uuid::Uuid;

use super::StoreError;
use crate::domain::id::TenantId;
use crate::wire::answer::UsageBuckets;
use crate::wire::page::Page;
use crate::wire::projection::planned::{PlannedAmountsBody, PlannedUsageRow};

const COLUMNS: &str =
    "tenant, id, feature, provider, model, region, work_start, work_end, note, requests, tokens, input,
    cache_read, cache_write_5m, cache_write_1h, output, reasoning, usd, gco2e, gco2e_market, recorded_at";

/// Begins an addition: what it reads of a key and what it writes under it are one.
///
/// # Errors
/// When the database does not answer.
pub async fn begin(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, StoreError> {
    Ok(connection.begin().await?)
}

/// Adds one.
///
/// # Errors
/// When the database does not answer, or a count is beyond a column.
pub async fn add(connection: &mut PgConnection, row: &PlannedUsageRow) -> Result<(), StoreError> {
    let count = |value: Option<u64>| {
        value.map(i64::try_from).transpose().map_err(|_| StoreError::Encode("a count above 2^63".to_owned()))
    };
    let usage = row.amounts.usage;
    let bucket = |of: fn(&UsageBuckets) -> u64| count(usage.as_ref().map(of));
    sqlx::query(
        "insert into planned_usage (
            tenant, id, feature, provider, model, region, work_start, work_end, note, requests, tokens, input,
            cache_read, cache_write_5m, cache_write_1h, output, reasoning, usd, gco2e, gco2e_market, recorded_at
        )
        values (
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21
        )",
    )
    .bind(&row.tenant)
    .bind(row.id)
    .bind(row.feature.as_deref())
    .bind(row.provider.as_deref())
    .bind(row.model.as_deref())
    .bind(row.region.as_deref())
    .bind(row.start)
    .bind(row.end)
    .bind(row.note.as_deref())
    .bind(count(row.amounts.requests)?)
    .bind(count(row.amounts.tokens)?)
    .bind(bucket(|usage| usage.input)?)
    .bind(bucket(|usage| usage.cache_read)?)
    .bind(bucket(|usage| usage.cache_write_5m)?)
    .bind(bucket(|usage| usage.cache_write_1h)?)
    .bind(bucket(|usage| usage.output)?)
    .bind(bucket(|usage| usage.reasoning)?)
    .bind(row.amounts.usd)
    .bind(row.amounts.gco2e)
    .bind(row.amounts.gco2e_market)
    .bind(row.recorded_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// A page of what is announced and not over at an instant, in the order in which it was announced.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn list(
    connection: &mut PgConnection,
    only: Option<&TenantId>,
    since: DateTime<Utc>,
    page: &Page,
    after: Option<Uuid>,
) -> Result<Vec<PlannedUsageRow>, StoreError> {
    let sql = format!(
        "select {COLUMNS} from planned_usage
        where withdrawn_at is null and work_end > $1 and ($2::text is null or tenant = $2)
            and ($3::uuid is null or id > $3)
        order by id limit $4"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(since)
        .bind(only.map(TenantId::as_str))
        .bind(after)
        .bind(page.fetch())
        .fetch_all(connection)
        .await?;
    rows.iter().map(planned_from_row).collect()
}

/// All that is announced and not over at an instant: what projections count.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn ahead(
    connection: &mut PgConnection,
    only: Option<&TenantId>,
    now: DateTime<Utc>,
) -> Result<Vec<PlannedUsageRow>, StoreError> {
    let sql = format!(
        "select {COLUMNS} from planned_usage
        where withdrawn_at is null and work_end > $1 and ($2::text is null or tenant = $2)
        order by id"
    );
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(now).bind(only.map(TenantId::as_str)).fetch_all(connection).await?;
    rows.iter().map(planned_from_row).collect()
}

/// One, unless it was withdrawn.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn get(connection: &mut PgConnection, id: Uuid) -> Result<Option<PlannedUsageRow>, StoreError> {
    let sql = format!("select {COLUMNS} from planned_usage where id = $1 and withdrawn_at is null");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(connection).await?;
    row.as_ref().map(planned_from_row).transpose()
}

/// Withdraws one. Whether it was there.
///
/// # Errors
/// When the database does not answer.
pub async fn withdraw(connection: &mut PgConnection, id: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let done = sqlx::query("update planned_usage set withdrawn_at = $2 where id = $1 and withdrawn_at is null")
        .bind(id)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

fn planned_from_row(row: &PgRow) -> Result<PlannedUsageRow, StoreError> {
    let count = |column: &str| -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = row.try_get(column)?;
        value.map(u64::try_from).transpose().map_err(|_| StoreError::Row(column.to_owned()))
    };
    let usage = match count("input")? {
        None => None,
        Some(input) => Some(UsageBuckets {
            input,
            cache_read: count("cache_read")?.unwrap_or_default(),
            cache_write_5m: count("cache_write_5m")?.unwrap_or_default(),
            cache_write_1h: count("cache_write_1h")?.unwrap_or_default(),
            output: count("output")?.unwrap_or_default(),
            reasoning: count("reasoning")?.unwrap_or_default(),
        }),
    };
    let decimal = |column: &str| -> Result<Option<rust_decimal::Decimal>, StoreError> {
        let value: Option<rust_decimal::Decimal> = row.try_get(column)?;
        Ok(value.map(|value| value.normalize()))
    };
    Ok(PlannedUsageRow {
        id: row.try_get("id")?,
        tenant: row.try_get("tenant")?,
        feature: row.try_get("feature")?,
        provider: row.try_get("provider")?,
        model: row.try_get("model")?,
        region: row.try_get("region")?,
        start: row.try_get("work_start")?,
        end: row.try_get("work_end")?,
        note: row.try_get("note")?,
        amounts: PlannedAmountsBody {
            requests: count("requests")?,
            usage,
            tokens: count("tokens")?,
            usd: decimal("usd")?,
            gco2e: decimal("gco2e")?,
            gco2e_market: decimal("gco2e_market")?,
        },
        recorded_at: row.try_get("recorded_at")?,
    })
}
