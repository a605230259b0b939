//! Sums of what was used: from the roll-up by quarter of an hour, or from the journal, call by call.
//!
//! Boundaries of local days and months come in as instants: there is no zone arithmetic in SQL.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Postgres, QueryBuilder, Row};

use super::StoreError;
use super::export::kind;
use crate::domain::budget::spellings::{Served, Spellings};
use crate::domain::ledger::transfer::TransferKind;
use crate::domain::tariff::Flags;
use crate::wire::usage::{Basis, Dimension, SumsBody, UsageSource};

/// What is added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SumsAsked {
    /// Where from.
    pub source: UsageSource,
    /// In which period what came late is counted. The roll-up knows only where it was posted.
    pub basis: Basis,
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The first instant no longer counted.
    pub to: DateTime<Utc>,
    /// The first instant of each span, ascending; the first is `from`.
    pub starts: Vec<DateTime<Utc>>,
    /// What is told apart.
    pub group_by: Vec<Dimension>,
    /// Only calls with one of these values.
    pub filters: Vec<(Dimension, Vec<String>)>,
    /// What rows mean that were written before there were names.
    pub spellings: Arc<Spellings>,
    /// Most rows.
    pub limit: i64,
}

/// One sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SumsFound {
    /// Which of the spans, from 0.
    pub span: usize,
    /// The values of the dimensions, in their order; none where calls have none.
    pub group: Vec<Option<String>>,
    /// What was used.
    pub sums: SumsBody,
}

/// Corrections, true-ups or late calls in one sum, of one month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrectionsFound {
    /// Which of the months that were given, from 0.
    pub month: usize,
    /// Of which kind the transfers are.
    pub kind: TransferKind,
    /// How many transfers.
    pub transfers: u64,
    /// What they add to which sum.
    pub found: SumsFound,
}

/// Pushes the condition of the index of what belongs to another period than the one it may count in.
fn push_is_correction(statement: &mut QueryBuilder<Postgres>) {
    let closed = Flags::PERIOD_CLOSED.bits();
    statement.push(format!(" and (kind in ('correction', 'true_up') or flags & {closed} <> 0)"));
}

fn push_dimension(statement: &mut QueryBuilder<Postgres>, source: UsageSource, dimension: &Dimension) {
    match (dimension, source) {
        (Dimension::Tenant, _) => statement.push("tenant"),
        (Dimension::Feature, _) => statement.push("feature"),
        (Dimension::Provider, UsageSource::Rollup) => statement.push("provider"),
        (Dimension::Provider, UsageSource::Journal) => statement.push("coalesce(named_provider, provider)"),
        (Dimension::Model, UsageSource::Rollup) => statement.push("model"),
        (Dimension::Model, UsageSource::Journal) => statement.push("coalesce(named_model, model)"),
        (Dimension::Region, UsageSource::Rollup) => statement.push("nullif(region, '')"),
        (Dimension::Region, UsageSource::Journal) => statement.push("region"),
        (Dimension::Run, _) => statement.push("run"),
        (Dimension::Agent, _) => statement.push("agent"),
        (Dimension::Label(key), _) => statement.push("labels ->> ").push_bind(key.as_str().to_owned()).push("::text"),
    };
}

/// Joins what the spellings of rows mean that have no names of their own. Bound, because a confined reader sees no table of
/// the whole installation.
fn push_spellings(statement: &mut QueryBuilder<Postgres>, spellings: &Spellings) {
    let column = |of: fn(&Served, &Served) -> String| spellings.iter().map(|(a, b)| of(a, b)).collect::<Vec<_>>();
    statement.push(" left join unnest(").push_bind(column(|spelling, _| spelling.0.to_string()));
    statement.push("::text[], ").push_bind(column(|spelling, _| spelling.1.to_string()));
    statement.push("::text[], ").push_bind(column(|_, named| named.0.to_string()));
    statement.push("::text[], ").push_bind(column(|_, named| named.1.to_string()));
    statement.push("::text[]) as spelling (said_provider, said_model, named_provider, named_model)");
    statement.push(" on said_as is null and said_provider = provider and said_model = model");
}

/// Adds up.
///
/// # Errors
/// When the database does not answer, or a sum is beyond what can be told.
pub async fn sums(connection: &mut PgConnection, asked: &SumsAsked) -> Result<Vec<SumsFound>, StoreError> {
    let rows = adding(asked, None).build().fetch_all(connection).await?;
    rows.iter().map(|row| sums_from_row(row, asked.group_by.len())).collect()
}

/// From when to when the corrections, true-ups and late calls in a span occurred; none where there are none.
///
/// # Errors
/// When the database does not answer.
pub async fn corrected_span(
    connection: &mut PgConnection,
    asked: &SumsAsked,
) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
    let mut statement: QueryBuilder<Postgres> =
        QueryBuilder::new("select min(occurred_at), max(occurred_at) from transfers");
    push_span(&mut statement, asked, UsageSource::Journal);
    push_is_correction(&mut statement);
    let (first, last): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) =
        statement.build_query_as().fetch_one(connection).await?;
    Ok(first.zip(last))
}

/// Adds up the corrections, true-ups and late calls that are contained in sums, by the month that they are about and by kind.
/// Months are their first instants, ascending.
///
/// # Errors
/// When the database does not answer, or a sum is beyond what can be told.
pub async fn corrections(
    connection: &mut PgConnection,
    asked: &SumsAsked,
    months: &[DateTime<Utc>],
) -> Result<Vec<CorrectionsFound>, StoreError> {
    let asked = SumsAsked { source: UsageSource::Journal, ..asked.clone() };
    let rows = adding(&asked, Some(months)).build().fetch_all(connection).await?;
    let found = |row: &PgRow| {
        let (month, transfers): (i32, i64) = (row.try_get("month")?, row.try_get("transfers")?);
        let month = usize::try_from(month).ok().and_then(|month| month.checked_sub(1));
        Ok(CorrectionsFound {
            month: month.ok_or_else(|| StoreError::Row("month".to_owned()))?,
            transfers: u64::try_from(transfers).map_err(|_| StoreError::Row("transfers".to_owned()))?,
            kind: kind(row.try_get("kind")?)?,
            found: sums_from_row(row, asked.group_by.len())?,
        })
    };
    rows.iter().map(found).collect()
}

/// The column by which what is added up is put into spans.
const fn instant_of(source: UsageSource, basis: Basis) -> &'static str {
    match (source, basis) {
        (UsageSource::Rollup, _) => "quarter",
        (UsageSource::Journal, Basis::AsPosted) => "period_at",
        (UsageSource::Journal, Basis::AsRestated) => "occurred_at",
    }
}

fn push_span(statement: &mut QueryBuilder<Postgres>, asked: &SumsAsked, source: UsageSource) {
    let at = instant_of(source, asked.basis);
    statement.push(" where ").push(at).push(" >= ").push_bind(asked.from);
    statement.push(" and ").push(at).push(" < ").push_bind(asked.to);
    if asked.basis == Basis::AsRestated {
        // Nothing counts before it happened, so that the index by period finds the first of them.
        statement.push(" and period_at >= ").push_bind(asked.from);
    }
}

/// The statement; with months only of what corrects, and by the month that is corrected.
fn adding(asked: &SumsAsked, months: Option<&[DateTime<Utc>]>) -> QueryBuilder<Postgres> {
    let table = match asked.source {
        UsageSource::Rollup => "usage_rollup",
        UsageSource::Journal => "transfers",
    };
    let at = instant_of(asked.source, asked.basis);
    let mut statement: QueryBuilder<Postgres> = QueryBuilder::new("select width_bucket(");
    statement.push(at).push(", ").push_bind(asked.starts.clone()).push("::timestamptz[]) as span");
    for dimension in &asked.group_by {
        statement.push(", ");
        push_dimension(&mut statement, asked.source, dimension);
    }
    if let Some(months) = months {
        statement.push(", width_bucket(occurred_at, ").push_bind(months.to_vec()).push("::timestamptz[]) as month");
        statement.push(", kind, count(*) as transfers");
    }
    // What a correction takes back is positive in the journal, and negative in the roll-up.
    let sign = match asked.source {
        UsageSource::Rollup => "",
        UsageSource::Journal => "direction * ",
    };
    statement.push(format!(
        ", sum({sign}requests)::numeric as requests, sum({sign}input) as input, sum({sign}cache_read) as cache_read,
        sum({sign}cache_write_5m) as cache_write_5m, sum({sign}cache_write_1h) as cache_write_1h,
        sum({sign}output) as output, sum({sign}reasoning) as reasoning, sum({sign}usd) as usd,
        sum({sign}gco2e_usage_location) as gco2e_usage_location, sum({sign}gco2e_usage_market) as gco2e_usage_market,
        sum({sign}gco2e_embodied) as gco2e_embodied from "
    ));
    statement.push(table);
    if asked.source == UsageSource::Journal {
        push_spellings(&mut statement, &asked.spellings);
    }
    push_span(&mut statement, asked, asked.source);
    if months.is_some() {
        push_is_correction(&mut statement);
    }
    for (dimension, value) in &asked.filters {
        statement.push(" and ");
        push_dimension(&mut statement, asked.source, dimension);
        statement.push(" = any(").push_bind(value.clone()).push(")");
    }
    // By place: a bound parameter twice is not one expression to the database.
    let columns = asked.group_by.len().saturating_add(if months.is_some() { 3 } else { 1 });
    let places: Vec<String> = (1..=columns).map(|place| place.to_string()).collect();
    let places = places.join(", ");
    statement.push(" group by ").push(&places).push(" order by ").push(&places);
    statement.push(" limit ").push_bind(asked.limit);
    statement
}

fn sums_from_row(row: &PgRow, dimensions: usize) -> Result<SumsFound, StoreError> {
    let span: i32 = row.try_get("span")?;
    let span = usize::try_from(span).ok().and_then(|span| span.checked_sub(1));
    let group = (1..=dimensions).map(|place| row.try_get(place)).collect::<Result<_, _>>()?;
    let number = |column: &str| -> Result<Decimal, StoreError> { Ok(row.try_get(column)?) };
    let counts = [
        number("requests")?,
        number("input")?,
        number("cache_read")?,
        number("cache_write_5m")?,
        number("cache_write_1h")?,
        number("output")?,
        number("reasoning")?,
    ];
    let amounts =
        [number("usd")?, number("gco2e_usage_location")?, number("gco2e_usage_market")?, number("gco2e_embodied")?];
    Ok(SumsFound {
        span: span.ok_or_else(|| StoreError::Row("span".to_owned()))?,
        group,
        sums: SumsBody::new(counts, amounts).ok_or_else(|| StoreError::Row("sum".to_owned()))?,
    })
}
