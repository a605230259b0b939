//! What calls really use of what they ask for: learned from the journal, page by page, and told.
//!
//! One writer at a time: whoever holds the cursor's row. Its place is kept in the transaction that adds what was read, so
//! each transfer is counted once, whatever dies in between. A transfer whose commit took longer than the reader waits
//! ([`learn_page`]) is passed by: these are statistics, and the books do not depend on them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::StoreError;
use super::rows::name;
use crate::domain::amounts::Tokens;
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::learned::histogram::{Histogram, Ratio};
use crate::domain::learned::lesson::{Class, Lessons};
use crate::domain::ledger::transfer::CallOutcome;
use crate::domain::tariff::Flags;
use crate::wire::learned::{AccuracyDimension, AccuracySumsBody};

/// Most transfers of one page.
pub const PAGE: i64 = 5_000;

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// Another replica is at it.
    ByAnother,
    /// So many transfers were read.
    Read(i64),
}

/// Tenant, feature, provider, model, week.
type ClassOfWeek = (String, String, String, String, DateTime<Utc>);

/// What a page adds to a class in a week.
#[derive(Default)]
struct Added {
    calls: i64,
    capped: i64,
    overruns: i64,
    sums: [Decimal; 4],
    output: Histogram,
    tokens: Histogram,
}

/// Reads the next page of the journal, up to what was asked for before `until` if one is given.
///
/// Transfers are numbered when they are asked for and seen when they are committed, so the newest are left for later.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn learn_page(
    connection: &mut PgConnection,
    until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Learned, StoreError> {
    let mut transaction = connection.begin().await?;
    let cursor: Option<Uuid> = sqlx::query_scalar("select transfer from learned_cursor for update skip locked")
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(cursor) = cursor else { return Ok(Learned::ByAnother) };
    let rows = sqlx::query(include_str!("sql/learn_page.sql"))
        .bind(cursor)
        .bind(until.map_or(Uuid::max(), first_id_at))
        .bind(PAGE)
        .fetch_all(&mut *transaction)
        .await?;
    let mut added: BTreeMap<ClassOfWeek, Added> = BTreeMap::new();
    for row in &rows {
        add_call(&mut added, row)?;
    }
    add_calls(&mut transaction, &added).await?;
    add_shares(&mut transaction, &added).await?;
    let last: Uuid = rows.last().map_or(Ok(cursor), |row| row.try_get("id"))?;
    sqlx::query("update learned_cursor set transfer = $1, learned_at = $2")
        .bind(last)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Learned::Read(i64::try_from(rows.len()).unwrap_or(i64::MAX)))
}

/// The smallest id that a transfer can be given at an instant: ids begin with their millisecond.
fn first_id_at(at: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(milliseconds.checked_shl(80).unwrap_or(u128::MAX))
}

/// Counts one row of a page. Only calls that completed and said what they used teach anything: what was cut off or charged by
/// its estimate says nothing about what such calls need.
fn add_call(added: &mut BTreeMap<ClassOfWeek, Added>, row: &PgRow) -> Result<(), StoreError> {
    let flags: i32 = row.try_get("flags")?;
    let flags = Flags::from_bits(u32::try_from(flags).map_err(|_| StoreError::Row("flags".to_owned()))?);
    let outcome: &str = row.try_get("outcome")?;
    let Some(estimated_output) = row.try_get::<Option<i64>, _>("estimated_output")? else { return Ok(()) };
    if outcome != CallOutcome::Completed.name() || flags.contains(Flags::UNCONFIRMED) {
        return Ok(());
    }
    let recorded_at: DateTime<Utc> = row.try_get("recorded_at")?;
    let week =
        PeriodSpec::WEEK.holding(Zone::UTC, recorded_at).map_err(|_| StoreError::Row("recorded_at".to_owned()))?;
    let class: ClassOfWeek =
        (row.try_get("tenant")?, row.try_get("feature")?, row.try_get("provider")?, row.try_get("model")?, week.start);
    let counts: [i64; 4] = [
        estimated_output,
        row.try_get("actual_output")?,
        row.try_get("estimated_tokens")?,
        row.try_get("actual_tokens")?,
    ];
    let tokens = |count: i64| {
        let count = u64::try_from(count).map_err(|_| StoreError::Row("tokens".to_owned()))?;
        Tokens::new(count).map_err(StoreError::Unkeepable)
    };
    let one = added.entry(class).or_default();
    one.calls = one.calls.saturating_add(1);
    for (sum, count) in one.sums.iter_mut().zip(counts) {
        *sum = sum.saturating_add(Decimal::from(count));
    }
    if flags.contains(Flags::OVERRUN) {
        one.overruns = one.overruns.saturating_add(1);
    }
    let [estimated_output, actual_output, estimated_tokens, actual_tokens] = counts;
    let output = Ratio::of(tokens(actual_output)?, tokens(estimated_output)?);
    let all = Ratio::of(tokens(actual_tokens)?, tokens(estimated_tokens)?);
    if flags.contains(Flags::CAPPED) {
        // Told what is left rather than what it asked for, a call uses another share of it.
        one.capped = one.capped.saturating_add(1);
        return Ok(());
    }
    output.into_iter().for_each(|ratio| one.output.count(ratio));
    all.into_iter().for_each(|ratio| one.tokens.count(ratio));
    Ok(())
}

/// The columns of the key, from the rows that follow.
struct KeyColumns<'a> {
    tenants: Vec<&'a str>,
    features: Vec<&'a str>,
    providers: Vec<&'a str>,
    models: Vec<&'a str>,
    weeks: Vec<DateTime<Utc>>,
}

impl<'a> KeyColumns<'a> {
    fn of(classes: impl Iterator<Item = &'a ClassOfWeek>) -> Self {
        let mut columns = Self { tenants: vec![], features: vec![], providers: vec![], models: vec![], weeks: vec![] };
        for (tenant, feature, provider, model, week) in classes {
            columns.tenants.push(tenant);
            columns.features.push(feature);
            columns.providers.push(provider);
            columns.models.push(model);
            columns.weeks.push(*week);
        }
        columns
    }
}

async fn add_calls(connection: &mut PgConnection, added: &BTreeMap<ClassOfWeek, Added>) -> Result<(), StoreError> {
    let keys = KeyColumns::of(added.keys());
    let sum =
        |place: usize| -> Vec<Decimal> { added.values().filter_map(|one| one.sums.get(place).copied()).collect() };
    sqlx::query(
        "insert into learned_calls as known (
            tenant, feature, provider, model, week, calls, capped, overruns, estimated_output, actual_output,
            estimated_tokens, actual_tokens
        )
        select * from unnest(
            $1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::numeric[], $10::numeric[], $11::numeric[], $12::numeric[]
        )
        on conflict (tenant, feature, provider, model, week) do update
        set
            calls = known.calls + excluded.calls,
            capped = known.capped + excluded.capped,
            overruns = known.overruns + excluded.overruns,
            estimated_output = known.estimated_output + excluded.estimated_output,
            actual_output = known.actual_output + excluded.actual_output,
            estimated_tokens = known.estimated_tokens + excluded.estimated_tokens,
            actual_tokens = known.actual_tokens + excluded.actual_tokens",
    )
    .bind(keys.tenants)
    .bind(keys.features)
    .bind(keys.providers)
    .bind(keys.models)
    .bind(keys.weeks)
    .bind(added.values().map(|one| one.calls).collect::<Vec<_>>())
    .bind(added.values().map(|one| one.capped).collect::<Vec<_>>())
    .bind(added.values().map(|one| one.overruns).collect::<Vec<_>>())
    .bind(sum(0))
    .bind(sum(1))
    .bind(sum(2))
    .bind(sum(3))
    .execute(connection)
    .await?;
    Ok(())
}

async fn add_shares(connection: &mut PgConnection, added: &BTreeMap<ClassOfWeek, Added>) -> Result<(), StoreError> {
    let mut classes = Vec::new();
    let (mut parts, mut buckets, mut calls) = (vec![], vec![], vec![]);
    for (class, one) in added {
        for (part, histogram) in [("output", &one.output), ("tokens", &one.tokens)] {
            for (bucket, count) in histogram.counted() {
                classes.push(class);
                parts.push(part);
                buckets.push(i16::try_from(bucket).unwrap_or(i16::MAX));
                calls.push(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }
    let keys = KeyColumns::of(classes.into_iter());
    sqlx::query(
        "insert into learned_shares as known (tenant, feature, provider, model, week, part, bucket, calls)
        select * from unnest(
            $1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::smallint[], $8::bigint[]
        )
        on conflict (tenant, feature, provider, model, week, part, bucket) do update
        set calls = known.calls + excluded.calls",
    )
    .bind(keys.tenants)
    .bind(keys.features)
    .bind(keys.providers)
    .bind(keys.models)
    .bind(keys.weeks)
    .bind(parts)
    .bind(buckets)
    .bind(calls)
    .execute(connection)
    .await?;
    Ok(())
}

/// What was learned of each class of calls since a week began: the shares of `max_output` that they used.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn lessons(connection: &mut PgConnection, from: DateTime<Utc>) -> Result<Lessons, StoreError> {
    let mut rows = sqlx::query(
        "select tenant, feature, provider, model, array_agg(bucket) as buckets, array_agg(calls) as calls
        from (
            select tenant, feature, provider, model, bucket, sum(calls)::bigint as calls
            from learned_shares
            where part = 'output' and week >= $1
            group by tenant, feature, provider, model, bucket
        ) as shares
        group by tenant, feature, provider, model",
    )
    .bind(from)
    .fetch(connection);
    let mut shares = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let class = Class {
            tenant: Some(name(&row, "tenant")?),
            feature: Some(name(&row, "feature")?),
            provider: name(&row, "provider")?,
            model: name(&row, "model")?,
        };
        let (buckets, calls): (Vec<i16>, Vec<i64>) = (row.try_get("buckets")?, row.try_get("calls")?);
        let mut output = Histogram::default();
        for (bucket, calls) in buckets.into_iter().zip(calls) {
            output.add(usize::try_from(bucket).unwrap_or(usize::MAX), u64::try_from(calls).unwrap_or(0));
        }
        shares.push((class, output));
    }
    Ok(Lessons::learn(shares))
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccuracyAsked {
    /// The first week.
    pub from: DateTime<Utc>,
    /// What is told apart.
    pub group_by: Vec<AccuracyDimension>,
    /// Only calls with these values.
    pub filters: Vec<(AccuracyDimension, String)>,
    /// Most groups.
    pub limit: i64,
}

/// One group: its values in the order asked, its sums and its shares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccuracyFound {
    /// Calls and sums.
    pub sums: AccuracySumsBody,
    /// Shares of the estimated output.
    pub output: Histogram,
    /// Shares of all estimated tokens.
    pub tokens: Histogram,
}

/// Since when nothing new was read; none if nothing ever was.
///
/// # Errors
/// When the database does not answer.
pub async fn learned_at(connection: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(sqlx::query_scalar("select learned_at from learned_cursor").fetch_one(connection).await?)
}

/// Adds up what was learned, by group.
///
/// # Errors
/// When the database does not answer, or a sum is beyond what can be told.
pub async fn accuracy(
    connection: &mut PgConnection,
    asked: &AccuracyAsked,
) -> Result<BTreeMap<Vec<String>, AccuracyFound>, StoreError> {
    let mut found: BTreeMap<Vec<String>, AccuracyFound> = BTreeMap::new();
    let mut statement = grouped(
        asked,
        "sum(calls) as calls, sum(capped) as capped, sum(overruns) as overruns,
        sum(estimated_output) as estimated_output, sum(actual_output) as actual_output,
        sum(estimated_tokens) as estimated_tokens, sum(actual_tokens) as actual_tokens from learned_calls",
        &[],
    );
    statement.push(" order by 1 limit ").push_bind(asked.limit);
    for row in statement.build().fetch_all(&mut *connection).await? {
        found.entry(row.try_get("values")?).or_default().sums = sums_from_row(&row)?;
    }
    let mut statement =
        grouped(asked, "part, bucket, sum(calls)::bigint as calls from learned_shares", &["part", "bucket"]);
    for row in statement.build().fetch_all(&mut *connection).await? {
        let Some(group) = found.get_mut(&row.try_get::<Vec<String>, _>("values")?) else { continue };
        let histogram = match row.try_get("part")? {
            "output" => &mut group.output,
            _ => &mut group.tokens,
        };
        let (bucket, calls): (i16, i64) = (row.try_get("bucket")?, row.try_get("calls")?);
        histogram.add(usize::try_from(bucket).unwrap_or(usize::MAX), u64::try_from(calls).unwrap_or(0));
    }
    Ok(found)
}

/// `select values, … where … group by values, …`
fn grouped(asked: &AccuracyAsked, what: &'static str, also_by: &[&'static str]) -> QueryBuilder<Postgres> {
    let names: Vec<&str> = asked.group_by.iter().map(|dimension| dimension.name()).collect();
    let names = names.join(", ");
    let mut statement: QueryBuilder<Postgres> = QueryBuilder::new("select array[");
    statement.push(&names).push("]::text[] as values, ").push(what);
    statement.push(" where week >= ").push_bind(asked.from);
    for (dimension, value) in &asked.filters {
        statement.push(" and ").push(dimension.name()).push(" = ").push_bind(value.clone());
    }
    // The empty grouping set: one group, also when nothing is told apart, and none where there is nothing.
    let by: Vec<&str> =
        asked.group_by.iter().map(|dimension| dimension.name()).chain(also_by.iter().copied()).collect();
    if by.is_empty() {
        statement.push(" having count(*) > 0");
    } else {
        statement.push(" group by ").push(by.join(", "));
    }
    statement
}

fn sums_from_row(row: &PgRow) -> Result<AccuracySumsBody, StoreError> {
    let count = |column: &'static str| -> Result<u64, StoreError> {
        let sum: Decimal = row.try_get(column)?;
        sum.to_u64().ok_or_else(|| StoreError::Row(column.to_owned()))
    };
    Ok(AccuracySumsBody {
        calls: count("calls")?,
        capped: count("capped")?,
        overruns: count("overruns")?,
        estimated_output: count("estimated_output")?,
        actual_output: count("actual_output")?,
        estimated_tokens: count("estimated_tokens")?,
        actual_tokens: count("actual_tokens")?,
    })
}
