//! When runs were begun by reservations, which opens the counters of budgets that bound time: also by those that have ended.
//!
//! What is seen twice does no harm, because the first instant counts: so what can have come after a look is looked at again, found
//! by its id, which begins with the time at which the reservation was asked for, or among those that were open.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{Executor, Postgres, Row};
use uuid::{NoContext, Timestamp, Uuid};

use super::super::StoreError;
use super::super::rows::dimensions_from_row;
use super::{BY_PAGES, texts};
use crate::domain::budget::counting::Reading;
use crate::domain::budget::recount::Recount;
use crate::domain::id::{FeatureId, TenantId};
use crate::domain::ledger::reservation::LIFE_SECONDS_MAX;

/// Reservations in one page.
const PAGE_ROWS: i64 = 50_000;
/// How far the clocks that made ids may be apart, plus the longest that what carries them waits to be written.
const IDS_APART: TimeDelta = TimeDelta::hours(1);
/// How far before the first instant that counts ids are looked at, beyond the longest life of a reservation: what was extended
/// may be counted long after it was granted.
const LOOKED_AT_BEFORE: TimeDelta = TimeDelta::days(1);

/// What was looked at before the lock.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    /// What was not there yet has an id from here on.
    from: Uuid,
    /// What was open, and so may have been extended since.
    open: Vec<Uuid>,
}

/// Takes note of what reservations opened, page by page.
pub(super) async fn up_to_now(
    connection: &mut PgConnection,
    recount: &mut Recount<'_>,
    reading: &Reading,
    now: DateTime<Utc>,
) -> Result<Opened, StoreError> {
    // Ids are made by the clock of the machine, which in tests and demos is not that of the books.
    let ids_now: DateTime<Utc> = sqlx::query_scalar("select statement_timestamp()").fetch_one(&mut *connection).await?;
    let open: Vec<Uuid> = sqlx::query_scalar(
        "select id from reservations
        where state = 'open' and run is not null and ($1::text[] is null or tenant = any($1))",
    )
    .bind(texts::<TenantId>(reading.tenants.as_ref()))
    .persistent(false)
    .fetch_all(&mut *connection)
    .await?;
    let opened = Opened { from: id_before(ids_now, IDS_APART), open };
    let life = TimeDelta::seconds(i64::from(LIFE_SECONDS_MAX));
    let first = reading.since.map(|since| {
        let age = now.signed_duration_since(since).max(TimeDelta::zero());
        let before = age.checked_add(&life).and_then(|before| before.checked_add(&LOOKED_AT_BEFORE));
        before.map_or(Uuid::nil(), |before| id_before(ids_now, before))
    });
    connection.execute(BY_PAGES).await?;
    let mut after = first.unwrap_or(Uuid::nil());
    while after < Uuid::max() {
        let upto: Option<Uuid> =
            sqlx::query_scalar("select id from reservations where id > $1 order by id, tenant offset $2 limit 1")
                .bind(after)
                .bind(PAGE_ROWS.saturating_sub(1))
                .persistent(false)
                .fetch_optional(&mut *connection)
                .await?;
        let upto = upto.unwrap_or(Uuid::max());
        let page = bind(sqlx::query(PAGE), reading).bind(after).bind(upto);
        note(connection, recount, page).await?;
        after = upto;
    }
    Ok(opened)
}

/// Takes note of what was opened since.
pub(super) async fn since(
    connection: &mut PgConnection,
    recount: &mut Recount<'_>,
    reading: &Reading,
    opened: &Opened,
) -> Result<(), StoreError> {
    let rest = bind(sqlx::query(REST), reading).bind(opened.from).bind(opened.open.as_slice());
    note(connection, recount, rest).await
}

const PAGE: &str = concat!(
    include_str!("../sql/count_openings.sql"),
    "and reservation.id > $8 and reservation.id <= $9\n",
    include_str!("../sql/count_openings_first.sql")
);
const REST: &str = concat!(
    include_str!("../sql/count_openings.sql"),
    "and (reservation.id >= $8 or reservation.id = any($9::uuid[]))\n",
    include_str!("../sql/count_openings_first.sql")
);

fn bind<'q>(query: Query<'q, Postgres, PgArguments>, reading: &Reading) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(texts::<TenantId>(reading.tenants.as_ref()))
        .bind(texts::<FeatureId>(reading.features.as_ref()))
        .bind(reading.since)
        .bind(reading.turns.clone())
        .bind(reading.agents)
        .bind(reading.labels)
        .bind(reading.said)
        .persistent(false)
}

async fn note(
    connection: &mut PgConnection,
    recount: &mut Recount<'_>,
    rows: Query<'_, Postgres, PgArguments>,
) -> Result<(), StoreError> {
    for row in rows.fetch_all(connection).await? {
        let (call, at, opened_at) = (dimensions_from_row(&row)?, row.try_get("at")?, row.try_get("opened_at")?);
        recount.open(&call, at, opened_at).map_err(StoreError::recount)?;
    }
    Ok(())
}

/// An id that was made so long before an instant.
fn id_before(at: DateTime<Utc>, before: TimeDelta) -> Uuid {
    let seconds = at.timestamp().saturating_sub(before.num_seconds());
    u64::try_from(seconds).map_or(Uuid::nil(), |seconds| Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0)))
}
