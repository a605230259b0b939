//! What is still open before the books are closed: read-only, for the check-list of a closing.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::StoreError;
use crate::domain::tariff::Flags;

/// What a provider charged on one UTC day, by the roll-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedDay {
    /// Who.
    pub provider: String,
    /// The place of the day in the list that was asked for.
    pub day: usize,
    /// How much, in dollars.
    pub usd: Decimal,
}

/// A count of things, and their dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many.
    pub count: i64,
    /// Dollars, all together.
    pub usd: Decimal,
}

/// When anything was first used from an instant on, by the roll-up; none if nothing was before another.
///
/// # Errors
/// When the database does not answer.
pub async fn first_used(
    connection: &mut PgConnection,
    since: Option<DateTime<Utc>>,
    until: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let first = sqlx::query_scalar(
        "select min(quarter) from usage_rollup where ($1::timestamptz is null or quarter >= $1) and quarter < $2",
    );
    Ok(first.bind(since).bind(until).fetch_one(connection).await?)
}

/// What each provider charged on days that begin at these instants, in ascending order.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn used_days(
    connection: &mut PgConnection,
    starts: &[DateTime<Utc>],
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<UsedDay>, StoreError> {
    let rows = sqlx::query(
        "select provider, width_bucket(quarter, $1::timestamptz[]) as day, sum(usd) as usd
        from usage_rollup
        where quarter >= $2 and quarter < $3
        group by provider, day
        order by provider, day",
    )
    .bind(starts)
    .bind(since)
    .bind(until)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let day: i32 = row.try_get("day")?;
            let day = usize::try_from(day).ok().and_then(|day| day.checked_sub(1));
            let day = day.ok_or_else(|| StoreError::Row("day".to_owned()))?;
            Ok(UsedDay { provider: row.try_get("provider")?, day, usd: row.try_get("usd")? })
        })
        .collect()
}

/// The spans of days whose reconciliation was approved: provider, first and last day.
///
/// # Errors
/// When the database does not answer.
pub async fn reconciled(connection: &mut PgConnection) -> Result<Vec<(String, NaiveDate, NaiveDate)>, StoreError> {
    let rows = sqlx::query_as("select provider, first_day, last_day from reconciliations where state = 'approved'");
    Ok(rows.fetch_all(connection).await?)
}

/// Calls that were charged by their estimate and have not been confirmed or replaced since.
///
/// # Errors
/// When the database does not answer.
pub async fn unconfirmed(
    connection: &mut PgConnection,
    since: Option<DateTime<Utc>>,
    until: DateTime<Utc>,
) -> Result<Counted, StoreError> {
    let row = sqlx::query(
        "select count(*) as count, coalesce(sum(usd), 0) as usd
        from transfers
        where
            ($1::timestamptz is null or period_at >= $1)
            and period_at < $2
            and kind in ('settlement', 'usage')
            and flags & $3 <> 0
            and not exists (
                select from transfers as later
                where
                    later.corrects = transfers.id
                    and later.kind in ('true_up', 'correction')
                    and (later.tokens > 0 or later.requests > 0 or later.usd > 0)
            )",
    )
    .bind(since)
    .bind(until)
    .bind(i32::try_from(Flags::UNCONFIRMED.bits()).unwrap_or(i32::MAX))
    .fetch_one(connection)
    .await?;
    Ok(Counted { count: row.try_get("count")?, usd: row.try_get("usd")? })
}

/// Reservations that were granted before an instant and are held at another: what they settle counts in the open period.
///
/// # Errors
/// When the database does not answer.
pub async fn open_reservations(
    connection: &mut PgConnection,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Counted, StoreError> {
    let row = sqlx::query(
        "select count(*) as count, coalesce(sum(usd), 0) as usd
        from reservations where state = 'open' and granted_at < $1 and expires_at > $2",
    )
    .bind(until)
    .bind(now)
    .fetch_one(connection)
    .await?;
    Ok(Counted { count: row.try_get("count")?, usd: row.try_get("usd")? })
}
