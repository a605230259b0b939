//! What the roll-up and the journal say for some budgets, up to a mark and since.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Executor, Postgres, Row};
use uuid::Uuid;

use super::super::StoreError;
use super::super::rows::{dimensions_from_row, reservation_from_row};
use super::sums::add;
use super::{BY_PAGES, CountedAhead, openings, reading, texts};
use crate::domain::budget::catalogue::Catalogue;
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::counting::Reading;
use crate::domain::budget::recount::{Recount, Recounted};
use crate::domain::id::{FeatureId, TenantId};
use crate::wire::export::JournalMark;

/// Rows of the journal in one page: about a tenth of a second of the database's work.
const PAGE_ROWS: i64 = 50_000;
/// Most rows of some tenants that are counted in their key, to know which way through the journal is shorter.
const LOOKED_FOR_MAX: i64 = 1_000_000;

/// What was counted up to a mark.
#[derive(Debug, Clone, Default)]
pub(super) struct UpToMark {
    pub(super) counters: BTreeMap<CounterId, Recounted>,
    /// Whose calls were seen of whom the catalogue knows nothing: they were made known after it was loaded.
    pub(super) unknown: BTreeSet<TenantId>,
}

impl UpToMark {
    fn see(&mut self, tenant: TenantId, catalogue: &Catalogue) {
        if catalogue.tenant(&tenant).is_none() {
            self.unknown.insert(tenant);
        }
    }
}

/// What the roll-up says, and the mark: what it saw. Nothing where it has a row under a spelling: it does not know whether that was
/// said, and means another name, or was the name of its day.
pub(super) async fn from_rollup(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    tenant: Option<&TenantId>,
    now: DateTime<Utc>,
) -> Result<(JournalMark, Option<UpToMark>), StoreError> {
    let reading = reading(catalogue.budgets(), catalogue, tenant, now)?;
    let rows = sqlx::query(include_str!("../sql/count_rollup.sql"))
        .bind(texts::<TenantId>(reading.tenants.as_ref()))
        .bind(texts::<FeatureId>(reading.features.as_ref()))
        .bind(reading.since)
        .bind(reading.turns)
        .bind(reading.turns_until)
        .bind(catalogue.budgets().next().is_some())
        // Planned for these parameters.
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let seen: &str = rows.first().ok_or_else(|| StoreError::Row("seen".to_owned()))?.try_get("seen")?;
    let mark = JournalMark::new(now, seen).map_err(|error| StoreError::Row(error.to_string()))?;
    let mut counted = UpToMark::default();
    let mut recount = Recount::going_on(catalogue, BTreeMap::new());
    for row in &rows {
        if row.try_get::<Option<&str>, _>("tenant")?.is_some() {
            if matches!(catalogue.spellings.named(&dimensions_from_row(row)?), Cow::Owned(_)) {
                return Ok((mark, None));
            }
            counted.see(add(&mut recount, row)?, catalogue);
        }
    }
    counted.counters = recount.finish();
    Ok((mark, Some(counted)))
}

/// What the journal says up to a mark, page by page: in the order of time, or tenant by tenant where that is shorter.
pub(super) async fn from_journal(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    tenant: Option<&TenantId>,
    mark: (&JournalMark, DateTime<Utc>),
    mut counted: UpToMark,
    now: DateTime<Utc>,
) -> Result<UpToMark, StoreError> {
    let reading = reading(catalogue.budgets(), catalogue, tenant, now)?;
    connection.execute(BY_PAGES).await?;
    let mut recount = Recount::going_on(catalogue, std::mem::take(&mut counted.counters));
    match &reading.tenants {
        Some(tenants) if is_shorter_by_key(connection, tenants, reading.since).await? => {
            for one in tenants {
                let mut after = Uuid::nil();
                while after < Uuid::max() {
                    let upto = page_end_by_key(connection, one, after).await?.unwrap_or(Uuid::max());
                    let page = bind(sqlx::query(PAGE_BY_KEY), &reading, mark).bind(one.as_str()).bind(after).bind(upto);
                    for row in page.persistent(false).fetch_all(&mut *connection).await? {
                        counted.see(add(&mut recount, &row)?, catalogue);
                    }
                    after = upto;
                }
            }
        }
        Some(_) | None => {
            for (start, end) in stretches(connection, &reading).await? {
                let mut after = (before(start), Uuid::max());
                let last = (before(end), Uuid::max());
                while after < last {
                    let upto = page_end(connection, after, last).await?.unwrap_or(last);
                    let page = bind(sqlx::query(PAGE_IN_TIME), &reading, mark)
                        .bind(after.0)
                        .bind(after.1)
                        .bind(upto.0)
                        .bind(upto.1);
                    for row in page.persistent(false).fetch_all(&mut *connection).await? {
                        counted.see(add(&mut recount, &row)?, catalogue);
                    }
                    after = upto;
                }
            }
        }
    }
    counted.counters = recount.finish();
    Ok(counted)
}

const PAGE_IN_TIME: &str = concat!(
    include_str!("../sql/count_calls.sql"),
    "from transfers\n",
    include_str!("../sql/count_calls_where.sql"),
    include_str!("../sql/count_calls_seen.sql"),
    "and (transfers.period_at, transfers.id) > ($18::timestamptz, $19::uuid)
    and (transfers.period_at, transfers.id) <= ($20::timestamptz, $21::uuid)\n",
    include_str!("../sql/count_calls_sums.sql")
);

// The key's part is kept apart, so that no plan can prefer another index, whatever is known of the tables.
const PAGE_BY_KEY: &str = concat!(
    include_str!("../sql/count_calls.sql"),
    "from (
        select transfers.*, transfers.xmin from transfers where tenant = $18 and id > $19 and id <= $20 offset 0
    ) as transfers\n",
    include_str!("../sql/count_calls_where.sql"),
    include_str!("../sql/count_calls_seen.sql"),
    include_str!("../sql/count_calls_sums.sql")
);

/// The stretches of time in which there can be anything to count.
async fn stretches(
    connection: &mut PgConnection,
    reading: &Reading,
) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
    if reading.tenants.is_none() && reading.features.is_none() {
        return Ok(vec![(reading.since.unwrap_or(DateTime::UNIX_EPOCH), far())]);
    }
    let quarters: Vec<DateTime<Utc>> = sqlx::query_scalar(include_str!("../sql/count_quarters.sql"))
        .bind(texts::<TenantId>(reading.tenants.as_ref()))
        .bind(texts::<FeatureId>(reading.features.as_ref()))
        // The quarter in which a counter turns counts as well.
        .bind(reading.since.and_then(|since| since.checked_sub_signed(TimeDelta::minutes(15))))
        .persistent(false)
        .fetch_all(connection)
        .await?;
    Ok(Reading::stretches(&quarters))
}

/// Whether these tenants have fewer rows of all time than everybody has since an instant: asked of the keys alone, and not beyond
/// [`LOOKED_FOR_MAX`].
async fn is_shorter_by_key(
    connection: &mut PgConnection,
    tenants: &BTreeSet<TenantId>,
    since: Option<DateTime<Utc>>,
) -> Result<bool, StoreError> {
    let theirs = rows_of(connection, tenants, LOOKED_FOR_MAX).await?;
    let everybodys: i64 = sqlx::query_scalar(
        "select count(*) from (
            select 1 from transfers where $1::timestamptz is null or period_at >= $1 limit $2
        ) as some_of_them",
    )
    .bind(since)
    .bind(theirs)
    .persistent(false)
    .fetch_one(connection)
    .await?;
    Ok(theirs < LOOKED_FOR_MAX && theirs <= everybodys)
}

/// How many rows some tenants have in the journal, and at most so many: asked of its key alone.
pub(super) async fn rows_of(
    connection: &mut PgConnection,
    tenants: &BTreeSet<TenantId>,
    most: i64,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(
        "select count(*) from (select 1 from transfers where tenant = any($1) limit $2) as some_of_them",
    )
    .bind(texts::<TenantId>(Some(tenants)))
    .bind(most)
    .persistent(false)
    .fetch_one(connection)
    .await?)
}

/// The id of a page's last row of a tenant; none where less than a page is left.
async fn page_end_by_key(
    connection: &mut PgConnection,
    tenant: &TenantId,
    after: Uuid,
) -> Result<Option<Uuid>, StoreError> {
    Ok(sqlx::query_scalar(
        "select id from transfers where tenant = $1 and id > $2 order by tenant, id offset $3 limit 1",
    )
    .bind(tenant.as_str())
    .bind(after)
    .bind(PAGE_ROWS.saturating_sub(1))
    .persistent(false)
    .fetch_optional(connection)
    .await?)
}

/// The place of a page's last row; none where less than a page is left.
async fn page_end(
    connection: &mut PgConnection,
    after: (DateTime<Utc>, Uuid),
    last: (DateTime<Utc>, Uuid),
) -> Result<Option<(DateTime<Utc>, Uuid)>, StoreError> {
    Ok(sqlx::query_as(
        "select period_at, id from transfers
        where (period_at, id) > ($1, $2) and (period_at, id) <= ($3, $4)
        order by period_at, id
        offset $5 limit 1",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(last.0)
    .bind(last.1)
    .bind(PAGE_ROWS.saturating_sub(1))
    .persistent(false)
    .fetch_optional(connection)
    .await?)
}

/// The last instant before one; the database keeps microseconds.
fn before(at: DateTime<Utc>) -> DateTime<Utc> {
    at.checked_sub_signed(TimeDelta::microseconds(1)).unwrap_or(at)
}

/// After all that is ever counted: the calendar's last instant.
fn far() -> DateTime<Utc> {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// What the mark did not see, and what is held.
pub(super) async fn since_mark(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    tenant: Option<&TenantId>,
    ahead: &CountedAhead,
    counters: BTreeMap<CounterId, Recounted>,
    now: DateTime<Utc>,
) -> Result<BTreeMap<CounterId, Recounted>, StoreError> {
    let reading = reading(catalogue.budgets(), catalogue, tenant, now)?;
    let by_ranges = concat!(
        include_str!("../sql/count_calls.sql"),
        "from transfers\n",
        include_str!("../sql/count_calls_where.sql"),
        include_str!("../sql/count_calls_rest.sql"),
        include_str!("../sql/count_calls_sums.sql")
    );
    // Kept apart, so that no plan can prefer another index, whatever is known of the tables.
    let by_tenant = concat!(
        include_str!("../sql/count_calls.sql"),
        "from (select transfers.*, transfers.xmin from transfers where tenant = any($1) offset 0) as transfers\n",
        include_str!("../sql/count_calls_where.sql"),
        include_str!("../sql/count_calls_rest.sql"),
        include_str!("../sql/count_calls_sums.sql")
    );
    let statement = if ahead.few { by_tenant } else { by_ranges };
    let mut recount = Recount::going_on(catalogue, counters);
    let rest = bind(sqlx::query(statement), &reading, (&ahead.mark, ahead.since)).persistent(false);
    for row in rest.fetch_all(&mut *connection).await? {
        add(&mut recount, &row)?;
    }
    if let Some(opened) = &ahead.opened {
        openings::since(connection, &mut recount, &reading, opened).await?;
    }
    let mut reservations = sqlx::query(
        "select * from reservations
        where state = 'open' and ($1::text[] is null or tenant = any($1)) and ($2::text[] is null or feature = any($2))",
    )
    .bind(texts::<TenantId>(reading.tenants.as_ref()))
    .bind(texts::<FeatureId>(reading.features.as_ref()))
    .persistent(false)
    .fetch(&mut *connection);
    while let Some(row) = reservations.try_next().await? {
        hold(&mut recount, &row)?;
    }
    drop(reservations);
    Ok(recount.finish())
}

/// Counts what an open reservation holds.
pub(in crate::store) fn hold(recount: &mut Recount<'_>, row: &PgRow) -> Result<(), StoreError> {
    let reservation = reservation_from_row(row)?;
    let (call, held_at, held) = (&reservation.call, reservation.held_at, &reservation.hold.consumption);
    recount.hold(call, held_at, held, &reservation.learned).map_err(StoreError::recount)?;
    recount.open(call, held_at, reservation.granted_at).map_err(StoreError::recount)
}

/// The parameters of `sql/count_calls.sql` and those of the mark: what was recorded before its instant was seen by it.
fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    reading: &Reading,
    (mark, since): (&JournalMark, DateTime<Utc>),
) -> Query<'q, Postgres, PgArguments> {
    bind_reading(query, reading).bind(since).bind(mark.seen().to_owned()).bind(mark.newest())
}

/// The parameters of `sql/count_calls.sql`.
pub(in crate::store) fn bind_reading<'q>(
    query: Query<'q, Postgres, PgArguments>,
    reading: &Reading,
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(texts::<TenantId>(reading.tenants.as_ref()))
        .bind(texts::<FeatureId>(reading.features.as_ref()))
        .bind(reading.since)
        .bind(reading.turns.clone())
        .bind(reading.turns_until)
        .bind(reading.runs)
        .bind(reading.agents)
        .bind(reading.labels)
        .bind(reading.said)
        .bind(reading.features_apart)
        .bind(reading.served)
        .bind(reading.tokens)
        .bind(reading.usd)
        .bind(reading.grams)
}
