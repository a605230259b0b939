//! What has happened since alerts were last evaluated: in the order of commits.
//!
//! Ids and instants are of the clock of the replica that wrote a row. Whoever goes on after the newest id it has seen is deaf to a
//! replica whose clock is behind, and to everybody once a clock was ahead. So a look has a snapshot of the database: what the
//! last one did not see is new, whatever its instant. The instants say only where such rows can be, so that the journal is not
//! searched: each lane has one batch at a time, so its next rows begin where its last batch was ([`windows`]).

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Executor as _, Postgres, Row};
use uuid::Uuid;

use super::StoreError;
use super::rows::dimensions_from_row;
use crate::domain::budget::catalogue::BudgetNumber;
use crate::domain::budget::scope::Dimensions;
use crate::domain::id::TenantId;

/// Longest that a lane tries one batch: how far its first rows may be before its first commit.
const ATTEMPT: TimeDelta = TimeDelta::seconds(60);
/// How much of the journal the very first evaluation looks at.
const FIRST_LOOK: TimeDelta = TimeDelta::hours(1);
/// Beyond every instant that a lane can write.
const AHEAD: TimeDelta = TimeDelta::days(3_660);

/// How far a lane had come: the number of its last batch, and its instant in microseconds since the Unix epoch.
type LaneMark = (i64, i64);

/// What has been looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The snapshot that saw it; none before the first look.
    pub snapshot: Option<String>,
    /// When, by the clock of the database.
    pub at: Option<DateTime<Utc>>,
    /// When, by the clock of the replica that looked.
    pub evaluated_at: Option<DateTime<Utc>>,
    /// Where each lane was.
    pub lanes: BTreeMap<Uuid, LaneMark>,
}

/// One look: what one snapshot sees, and another did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What will have been looked at.
    pub seen: Seen,
    since: Option<String>,
    newest: i64,
    windows: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

/// Where rows can be that were written since the last look, as spans of instants that do not overlap.
fn windows(
    last: &Seen,
    lanes: &BTreeMap<Uuid, LaneMark>,
    database_now: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let instant = |micros: i64| DateTime::from_timestamp_micros(micros).unwrap_or(now);
    let Some(at) = last.at else {
        let newest = lanes.values().map(|(_, micros)| instant(*micros)).max();
        let from =
            last.evaluated_at.unwrap_or_else(|| before(newest.map_or(now, |newest| newest.min(now)), FIRST_LOOK));
        return vec![(from, now.checked_add_signed(AHEAD).unwrap_or(now))];
    };
    let elapsed = database_now.signed_duration_since(at).max(TimeDelta::zero());
    let mut found: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
    for (lane, (batch, micros)) in lanes {
        let newest = instant(*micros);
        match last.lanes.get(lane) {
            Some((known, _)) if known == batch => {}
            Some((_, known)) => found.push((newest.min(instant(*known)), newest.max(instant(*known)))),
            // It was started since: by its own clock no longer ago than by the database's, and by ours not before.
            None => {
                let started = before(newest, elapsed);
                let started = last.evaluated_at.map_or(started, |evaluated| started.min(evaluated));
                found.push((before(started, ATTEMPT), newest));
            }
        }
    }
    found.sort_unstable();
    let mut merged: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
    for (start, end) in found {
        match merged.last_mut() {
            Some((_, last)) if start <= *last => *last = end.max(*last),
            Some(_) | None => merged.push((start, end)),
        }
    }
    merged
}

fn before(at: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    at.checked_sub_signed(by).unwrap_or(at)
}

impl Look {
    /// Begins a look that goes on after another.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(connection: &mut PgConnection, last: &Seen, now: DateTime<Utc>) -> Result<Self, StoreError> {
        // One statement, so that the snapshot and what it sees of the lanes are of one instant.
        let row = sqlx::query(
            "select
                pg_current_snapshot()::text as snapshot,
                pg_snapshot_xmax(pg_current_snapshot())::text::bigint as newest,
                clock_timestamp() as at,
                coalesce(pg_snapshot_xmax($1::text::pg_snapshot)::text::bigint, 0) as newest_before,
                (select array_agg(id order by id) from lanes) as ids,
                (select array_agg(batch order by id) from lanes) as batches,
                (select array_agg(recorded_at order by id) from lanes) as instants",
        )
        .bind(&last.snapshot)
        .fetch_one(connection)
        .await?;
        let newest: i64 = row.try_get("newest")?;
        let at: DateTime<Utc> = row.try_get("at")?;
        let ids: Option<Vec<Uuid>> = row.try_get("ids")?;
        let batches: Option<Vec<i64>> = row.try_get("batches")?;
        let instants: Option<Vec<DateTime<Utc>>> = row.try_get("instants")?;
        let marks = batches.unwrap_or_default().into_iter().zip(instants.unwrap_or_default());
        let marks = marks.map(|(batch, instant)| (batch, instant.timestamp_micros()));
        let lanes: BTreeMap<Uuid, LaneMark> = ids.unwrap_or_default().into_iter().zip(marks).collect();
        // A snapshot from beyond the newest transaction is of another database, from which this one was restored.
        let is_foreign = row.try_get::<i64, _>("newest_before")? > newest;
        let known = if is_foreign { Seen { evaluated_at: last.evaluated_at, ..Seen::default() } } else { last.clone() };
        let windows = windows(&known, &lanes, at, now);
        let seen = Seen { snapshot: row.try_get("snapshot")?, at: Some(at), evaluated_at: Some(now), lanes };
        Ok(Self { seen, since: known.snapshot, newest, windows })
    }

    /// Whether nothing can have been written since the last look.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.windows.is_empty()
    }

    /// A query of the transfers that are new. `{new}` of the text stands for them: a join after `from`.
    ///
    /// A row keeps 32 bits of the transaction that wrote it: they are completed from the newest one (`export_slice.sql`).
    fn query<'q>(&'q self, text: &str) -> Query<'q, Postgres, PgArguments> {
        const NEW: &str = "unnest($1::timestamptz[], $2::timestamptz[]) as look (first_at, last_at)
            join lateral (
                select *,
                    greatest(
                        3,
                        $3::bigint - 2147483648
                            + (transfers.xmin::text::bigint - ($3::bigint & 4294967295) + 6442450944) % 4294967296
                    )::text::xid8 as written_by
                from transfers
                where transfers.recorded_at >= look.first_at and transfers.recorded_at <= look.last_at
            ) as transfer
                on pg_visible_in_snapshot(transfer.written_by, $4::text::pg_snapshot)
                and ($5::text is null or not pg_visible_in_snapshot(transfer.written_by, $5::text::pg_snapshot))";
        sqlx::query(AssertSqlSafe(text.replace("{new}", NEW)))
            .bind(self.windows.iter().map(|(start, _)| *start).collect::<Vec<_>>())
            .bind(self.windows.iter().map(|(_, end)| *end).collect::<Vec<_>>())
            .bind(self.newest)
            .bind(&self.seen.snapshot)
            .bind(&self.since)
    }

    /// The rows of [`Self::query`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn fetch(&self, connection: &mut PgConnection, text: &str) -> Result<Vec<PgRow>, StoreError> {
        if self.is_idle() {
            return Ok(Vec::new());
        }
        // The window is found by block ranges; the planner takes it for a large part of a small journal.
        connection.execute("set local enable_seqscan = off").await?;
        let rows = self.query(text).fetch_all(&mut *connection).await?;
        connection.execute("set local enable_seqscan = on").await?;
        Ok(rows)
    }

    /// What was posted, by dimensions.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn activity(&self, connection: &mut PgConnection) -> Result<Vec<Dimensions>, StoreError> {
        let rows = self
            .fetch(
                connection,
                "select tenant, feature, provider, model, region, run, agent, labels, said_as from {new}
                group by tenant, feature, provider, model, region, run, agent, labels, said_as",
            )
            .await?;
        rows.iter().map(dimensions_from_row).collect()
    }

    /// The counters that stopped calls, since the last look or within `recent` of now.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn stops(
        &self,
        connection: &mut PgConnection,
        recent: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Stops>, StoreError> {
        let mut spans: Vec<(DateTime<Utc>, DateTime<Utc>, bool)> =
            self.windows.iter().map(|(start, end)| (*start, *end, true)).collect();
        spans.push((recent, now, false));
        let rows = sqlx::query(
            "with stopped as (
                select counted.tenant, counted.budget, counted.reason, counted.count, counted.last_at, counted.answer,
                    look.is_new
                from unnest($1::timestamptz[], $2::timestamptz[], $3::boolean[]) as look (first_at, last_at, is_new)
                join refusal_counts as counted
                    on counted.minute >= date_trunc('minute', look.first_at)
                    and counted.minute <= look.last_at
                    and counted.last_at >= look.first_at
                    and counted.last_at <= look.last_at
                where counted.verdict = 'stop' and counted.budget <> ''
                union all
                select kept.tenant, kept.budget, kept.reason, 1, kept.refused_at, kept.answer, look.is_new
                from unnest($1::timestamptz[], $2::timestamptz[], $3::boolean[]) as look (first_at, last_at, is_new)
                join refusals as kept on kept.refused_at >= look.first_at and kept.refused_at <= look.last_at
                where kept.verdict = 'stop' and kept.budget is not null
            ), told as (
                select stopped.*, coalesce(state.value ->> 'key', '') as key, state.value
                from stopped
                cross join lateral (
                    select value from jsonb_array_elements(stopped.answer -> 'budgets') as state (value)
                    where state.value ->> 'budget' = stopped.budget
                    limit 1
                ) as state
            )
            select
                budget,
                key,
                max(tenant) as tenant,
                (coalesce(sum(count) filter (where is_new), 0))::bigint as count,
                max(last_at) as last_at,
                bool_or(is_new) as is_new,
                (array_agg(reason order by last_at desc))[1] as reason,
                (array_agg(value order by last_at desc))[1] as state
            from told
            group by budget, key",
        )
        .bind(spans.iter().map(|(start, _, _)| *start).collect::<Vec<_>>())
        .bind(spans.iter().map(|(_, end, _)| *end).collect::<Vec<_>>())
        .bind(spans.iter().map(|(_, _, is_new)| *is_new).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
        rows.iter().map(stops).collect()
    }
}

/// What stood in the way of calls, as the latest of them was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Stops {
    /// The budget.
    pub budget: String,
    /// Which counter of it.
    pub key: String,
    /// Whose call it was.
    pub tenant: TenantId,
    /// How many since the last look.
    pub count: u64,
    /// When the latest was stopped.
    pub last_at: DateTime<Utc>,
    /// Whether there was one since the last look.
    pub is_new: bool,
    /// Why, in the word of the verdict.
    pub reason: String,
    /// What was posted, and what was held.
    pub amounts: (Decimal, Decimal),
    /// The period.
    pub period: (DateTime<Utc>, Option<DateTime<Utc>>),
}

#[derive(serde::Deserialize)]
struct StoppedState {
    #[serde(default)]
    posted: Decimal,
    #[serde(default)]
    held: Decimal,
    period_start: DateTime<Utc>,
    resets_at: Option<DateTime<Utc>>,
}

fn stops(row: &PgRow) -> Result<Stops, StoreError> {
    let count: i64 = row.try_get("count")?;
    let Json(state): Json<StoppedState> = row.try_get("state")?;
    Ok(Stops {
        budget: row.try_get("budget")?,
        key: row.try_get("key")?,
        tenant: TenantId::stored(row.try_get("tenant")?).map_err(StoreError::name("tenant"))?,
        count: u64::try_from(count).unwrap_or(0),
        last_at: row.try_get("last_at")?,
        is_new: row.try_get("is_new")?,
        reason: row.try_get("reason")?,
        amounts: (state.posted, state.held),
        period: (state.period_start, state.resets_at),
    })
}

/// What was granted since an instant, by dimensions, each with the latest.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn granted_since(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
) -> Result<Vec<(Dimensions, DateTime<Utc>)>, StoreError> {
    // By id, which is made of the instant: there is no index by the instant itself, and none is needed for three minutes.
    let ms = u128::try_from(before(since, ATTEMPT).timestamp_millis()).unwrap_or(0);
    let rows = sqlx::query(
        "select tenant, feature, provider, model, region, run, agent, labels, said_as, max(granted_at) as granted_at
        from reservations where id >= $1 and granted_at >= $2
        group by tenant, feature, provider, model, region, run, agent, labels, said_as",
    )
    .bind(Uuid::from_u128(ms << 80))
    .bind(since)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((dimensions_from_row(row)?, row.try_get("granted_at")?))).collect()
}

/// When budgets were last replaced.
///
/// # Errors
/// When the database does not answer.
pub async fn changed_at(
    connection: &mut PgConnection,
    budgets: &[BudgetNumber],
) -> Result<BTreeMap<BudgetNumber, DateTime<Utc>>, StoreError> {
    let rows: Vec<(i32, DateTime<Utc>)> =
        sqlx::query_as("select number, changed_at from budgets where number = any($1)")
            .bind(budgets.iter().map(|number| number.0).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|(number, at)| (BudgetNumber(number), at)).collect())
}

/// Reservations of one tenant that expired and that nobody settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Whose.
    pub tenant: TenantId,
    /// How many.
    pub count: u64,
    /// What was held for them.
    pub usd: Decimal,
    /// When the latest expired.
    pub last_at: DateTime<Utc>,
}

/// Reservations that expired since an instant and that nobody settled, by tenant.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn expired_since(connection: &mut PgConnection, since: DateTime<Utc>) -> Result<Vec<Expired>, StoreError> {
    let rows = sqlx::query(
        "select tenant, count(*) as count, sum(usd) as usd, max(ended_at) as last_at
        from reservations where state = 'expired' and transfer is null and ended_at > $1
        group by tenant",
    )
    .bind(since)
    .fetch_all(connection)
    .await?;
    let one = |row: &PgRow| {
        let count: i64 = row.try_get("count")?;
        Ok(Expired {
            tenant: TenantId::stored(row.try_get("tenant")?).map_err(StoreError::name("tenant"))?,
            count: u64::try_from(count).unwrap_or(0),
            usd: row.try_get("usd")?,
            last_at: row.try_get("last_at")?,
        })
    };
    rows.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-06-10T{text}Z").parse().unwrap()
    }

    fn lane(number: u128, batch: i64, instant: &str) -> (Uuid, LaneMark) {
        (Uuid::from_u128(number), (batch, at(instant).timestamp_micros()))
    }

    fn spans(found: &[(DateTime<Utc>, DateTime<Utc>)]) -> Vec<String> {
        found.iter().map(|(start, end)| format!("{} {}", start.format("%H:%M:%S"), end.format("%H:%M:%S"))).collect()
    }

    #[test]
    fn new_rows_begin_where_the_last_batch_of_their_lane_was_whatever_its_clock_says() {
        let last = Seen {
            snapshot: Some("1:1:".to_owned()),
            at: Some(at("12:00:00")),
            evaluated_at: Some(at("12:00:00")),
            lanes: BTreeMap::from([lane(1, 5, "11:59:58"), lane(2, 7, "09:00:00"), lane(3, 1, "12:00:00")]),
        };
        let look = |lanes: &[(Uuid, LaneMark)]| {
            spans(&windows(&last, &lanes.iter().copied().collect(), at("12:00:10"), at("12:00:10")))
        };
        assert_eq!(look(&[lane(1, 5, "11:59:58"), lane(3, 1, "12:00:00")]), [""; 0], "nothing was written");
        assert_eq!(look(&[lane(1, 6, "12:00:09")]), ["11:59:58 12:00:09"]);
        assert_eq!(look(&[lane(1, 6, "12:00:09"), lane(2, 8, "09:00:09")]), ["09:00:00 09:00:09", "11:59:58 12:00:09"]);
        assert_eq!(look(&[lane(1, 6, "12:00:09"), lane(3, 2, "12:00:05")]), ["11:59:58 12:00:09"], "they overlap");
        assert_eq!(look(&[lane(3, 2, "11:00:00")]), ["11:00:00 12:00:00"], "its clock was set back");
        assert_eq!(look(&[lane(4, 1, "12:00:08")]), ["11:58:58 12:00:08"], "it was started since");
        assert_eq!(look(&[lane(4, 1, "08:00:08")]), ["07:58:58 08:00:08"], "and is four hours behind");
    }

    #[test]
    fn the_first_look_begins_an_hour_ago_or_where_the_release_before_ended() {
        let lanes = BTreeMap::from([lane(1, 5, "11:00:00")]);
        let first = windows(&Seen::default(), &lanes, at("12:00:00"), at("12:00:00"));
        assert_eq!(first.first().map(|(start, _)| *start), Some(at("10:00:00")));
        let ahead =
            windows(&Seen::default(), &BTreeMap::from([lane(1, 5, "20:00:00")]), at("12:00:00"), at("12:00:00"));
        assert_eq!(ahead.first().map(|(start, _)| *start), Some(at("11:00:00")), "never beyond the own clock");
        let upgraded = Seen { evaluated_at: Some(at("11:59:50")), ..Seen::default() };
        let first = windows(&upgraded, &lanes, at("12:00:00"), at("12:00:00"));
        assert_eq!(first.first().map(|(start, _)| *start), Some(at("11:59:50")));
    }
}
