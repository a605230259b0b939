//! What alerts about models, prompts, runs and projections are told from. Nothing here is ever an amount of the books.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::StoreError;
use super::alert_look::Look;
use crate::domain::alert::prompts::{PROMPT_DAYS_MAX, PromptDay, PromptFact};
use crate::domain::alert::rates::RatesFact;
use crate::domain::alert::runs::{RunSlice, RunTrack, Sums, Usual, UsualRuns};
use crate::domain::budget::catalogue::BudgetNumber;
use crate::domain::id::{BadName, FeatureId, ModelId, ProviderId, RegionId, RunId, TenantId};
use crate::domain::tariff::Flags;

fn name<T: std::str::FromStr<Err = BadName>>(row: &PgRow, column: &'static str) -> Result<T, StoreError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(StoreError::name(column))
}

fn count(row: &PgRow, column: &'static str) -> Result<u64, StoreError> {
    let count: i64 = row.try_get(column)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Models and regions of the calls that are new, with what is remarkable about the newest.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn rates_used(connection: &mut PgConnection, look: &Look) -> Result<Vec<RatesFact>, StoreError> {
    let rows = look
        .fetch(
            connection,
            "with grouped as (
            select provider, model, region, count(*) as calls, max(recorded_at) as newest_at,
                (array_agg(flags order by recorded_at desc, id desc))[1] as newest,
                (array_agg(id order by recorded_at desc, id desc))[1] as newest_id
            from {new}
            where kind in ('settlement', 'usage')
            group by provider, model, region
        )
        select *,
            newest_id = first_value(newest_id) over (
                partition by provider, model order by newest_at desc, newest_id desc
            ) as of_model
        from grouped",
        )
        .await?;
    let fact = |row: &PgRow| {
        let region: Option<&str> = row.try_get("region")?;
        let newest: i32 = row.try_get("newest")?;
        Ok(RatesFact {
            provider: name::<ProviderId>(row, "provider")?,
            model: name::<ModelId>(row, "model")?,
            region: region.map(|region| RegionId::parse(region).map_err(StoreError::name("region"))).transpose()?,
            calls: count(row, "calls")?,
            newest: Flags::from_bits(u32::try_from(newest).map_err(|_| StoreError::Row("flags".to_owned()))?),
            newest_of_model: row.try_get("of_model")?,
        })
    };
    rows.iter().map(fact).collect()
}

/// The days of every feature, each of 24 hours that end at the instant or whole days before it.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn prompt_days(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<PromptFact>, StoreError> {
    let rows = sqlx::query(
        "select tenant, feature, floor(extract(epoch from $1 - quarter) / 86400)::integer as days_ago,
            least(sum(requests), 9223372036854775807)::bigint as calls,
            least(sum(input::numeric + cache_read + cache_write_5m + cache_write_1h), 9223372036854775807)::bigint as prompt,
            least(sum(cache_read), 9223372036854775807)::bigint as cache_read
        from usage_rollup
        where quarter > $1 - make_interval(days => $2) and quarter <= $1
        group by tenant, feature, days_ago
        order by tenant, feature, days_ago desc",
    )
    .bind(now)
    .bind(i32::from(PROMPT_DAYS_MAX))
    .fetch_all(connection)
    .await?;
    let mut facts: Vec<PromptFact> = Vec::new();
    for row in &rows {
        let (tenant, feature) = (name::<TenantId>(row, "tenant")?, name::<FeatureId>(row, "feature")?);
        let days_ago: i32 = row.try_get("days_ago")?;
        let day = PromptDay {
            days_ago: u16::try_from(days_ago).unwrap_or(0),
            calls: count(row, "calls")?,
            prompt: count(row, "prompt")?,
            cache_read: count(row, "cache_read")?,
        };
        match facts.last_mut() {
            Some(last) if last.tenant == tenant && last.feature == feature => last.days.push(day),
            Some(_) | None => facts.push(PromptFact { tenant, feature, days: vec![day] }),
        }
    }
    Ok(facts)
}

/// What a run is known by.
pub type RunKey = (TenantId, FeatureId, RunId);

fn run_key(row: &PgRow) -> Result<RunKey, StoreError> {
    Ok((name(row, "tenant")?, name(row, "feature")?, name(row, "run")?))
}

/// The calls of runs that are new, by tens of minutes, in their order.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn run_slices(
    connection: &mut PgConnection,
    look: &Look,
) -> Result<BTreeMap<RunKey, Vec<RunSlice>>, StoreError> {
    let rows = look
        .fetch(
            connection,
            "select tenant, feature, run, date_bin('10 minutes', occurred_at, timestamptz 'epoch') as span_at,
            min(occurred_at) as first_at, max(occurred_at) as last_at, sum(requests)::float8 as calls,
            sum(usd)::float8 as usd, sum(input + cache_read + cache_write_5m + cache_write_1h)::float8 as prompt
        from {new}
        where run is not null and kind in ('settlement', 'usage')
        group by tenant, feature, run, span_at
        order by span_at",
        )
        .await?;
    let mut found: BTreeMap<RunKey, Vec<RunSlice>> = BTreeMap::new();
    for row in &rows {
        found.entry(run_key(row)?).or_default().push(RunSlice {
            span_at: row.try_get("span_at")?,
            first_at: row.try_get("first_at")?,
            last_at: row.try_get("last_at")?,
            calls: row.try_get("calls")?,
            usd: row.try_get("usd")?,
            prompt: row.try_get("prompt")?,
        });
    }
    Ok(found)
}

const TRACK: &str = "tenant, feature, run, first_at, last_at, calls, early_calls, early_prompt, span_at, span, span_before, \
     peak_calls, peak_usd";

fn track(row: &PgRow) -> Result<(RunKey, RunTrack), StoreError> {
    let sums = |column: &'static str| -> Result<Sums, StoreError> {
        let [calls, usd, prompt] = numbers(row, column)?;
        Ok(Sums { calls, usd, prompt })
    };
    let track = RunTrack {
        first_at: row.try_get("first_at")?,
        last_at: row.try_get("last_at")?,
        calls: row.try_get("calls")?,
        early: (row.try_get("early_calls")?, row.try_get("early_prompt")?),
        span_at: row.try_get("span_at")?,
        span: sums("span")?,
        span_before: sums("span_before")?,
        peak: (row.try_get("peak_calls")?, row.try_get("peak_usd")?),
    };
    Ok((run_key(row)?, track))
}

fn numbers<const N: usize>(row: &PgRow, column: &'static str) -> Result<[f64; N], StoreError> {
    let values: Vec<f64> = row.try_get(column)?;
    values.try_into().map_err(|_| StoreError::Row(column.to_owned()))
}

/// Runs, as far as they are followed.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn tracks(
    connection: &mut PgConnection,
    wanted: &[RunKey],
) -> Result<BTreeMap<RunKey, RunTrack>, StoreError> {
    let sql = format!(
        "select {TRACK} from alert_runs
        where (tenant, feature, run) in (select * from unnest($1::text[], $2::text[], $3::text[]))"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(wanted.iter().map(|(tenant, _, _)| tenant.as_str()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, feature, _)| feature.as_str()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, _, run)| run.as_str()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    rows.iter().map(track).collect()
}

/// Keeps runs as far as they have come.
///
/// # Errors
/// When the database does not answer.
pub async fn keep_tracks(connection: &mut PgConnection, tracks: &[(RunKey, RunTrack)]) -> Result<(), StoreError> {
    let column = |of: fn(&RunTrack) -> f64| tracks.iter().map(|(_, track)| of(track)).collect::<Vec<_>>();
    let at = |of: fn(&RunTrack) -> DateTime<Utc>| tracks.iter().map(|(_, track)| of(track)).collect::<Vec<_>>();
    sqlx::query(
        "insert into alert_runs (
            tenant, feature, run, first_at, last_at, calls, early_calls, early_prompt, span_at, span, span_before,
            peak_calls, peak_usd
        )
        select tenant, feature, run, first_at, last_at, calls, early_calls, early_prompt, span_at,
            array[span_calls, span_usd, span_prompt], array[before_calls, before_usd, before_prompt], peak_calls, peak_usd
        from unnest(
            $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::float8[], $7::float8[],
            $8::float8[], $9::timestamptz[], $10::float8[], $11::float8[], $12::float8[], $13::float8[], $14::float8[],
            $15::float8[], $16::float8[], $17::float8[]
        ) as given (
            tenant, feature, run, first_at, last_at, calls, early_calls, early_prompt, span_at, span_calls, span_usd,
            span_prompt, before_calls, before_usd, before_prompt, peak_calls, peak_usd
        )
        on conflict (tenant, feature, run) do update
        set
            first_at = excluded.first_at,
            last_at = excluded.last_at,
            calls = excluded.calls,
            early_calls = excluded.early_calls,
            early_prompt = excluded.early_prompt,
            span_at = excluded.span_at,
            span = excluded.span,
            span_before = excluded.span_before,
            peak_calls = excluded.peak_calls,
            peak_usd = excluded.peak_usd",
    )
    .bind(tracks.iter().map(|((tenant, _, _), _)| tenant.as_str()).collect::<Vec<_>>())
    .bind(tracks.iter().map(|((_, feature, _), _)| feature.as_str()).collect::<Vec<_>>())
    .bind(tracks.iter().map(|((_, _, run), _)| run.as_str()).collect::<Vec<_>>())
    .bind(at(|track| track.first_at))
    .bind(at(|track| track.last_at))
    .bind(column(|track| track.calls))
    .bind(column(|track| track.early.0))
    .bind(column(|track| track.early.1))
    .bind(at(|track| track.span_at))
    .bind(column(|track| track.span.calls))
    .bind(column(|track| track.span.usd))
    .bind(column(|track| track.span.prompt))
    .bind(column(|track| track.span_before.calls))
    .bind(column(|track| track.span_before.usd))
    .bind(column(|track| track.span_before.prompt))
    .bind(column(|track| track.peak.0))
    .bind(column(|track| track.peak.1))
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes runs without a call since an instant out, a page of the oldest.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn take_ended(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(RunKey, RunTrack)>, StoreError> {
    let sql = format!(
        "delete from alert_runs where (tenant, feature, run) in (
            select tenant, feature, run from alert_runs where last_at < $1 order by last_at limit $2
        ) returning {TRACK}"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(before).bind(limit).fetch_all(connection).await?;
    rows.iter().map(track).collect()
}

/// A feature of a tenant.
pub type FeatureKey = (TenantId, FeatureId);

/// What runs of some features are usually like.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn usual_runs(
    connection: &mut PgConnection,
    wanted: &[FeatureKey],
) -> Result<BTreeMap<FeatureKey, UsualRuns>, StoreError> {
    let rows = sqlx::query(
        "select tenant, feature, runs, usual from alert_usual_runs
        where (tenant, feature) in (select * from unnest($1::text[], $2::text[]))",
    )
    .bind(wanted.iter().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>())
    .bind(wanted.iter().map(|(_, feature)| feature.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let one = |row: &PgRow| {
        let [a, b, c, d, e, f] = numbers(row, "usual")?;
        let usual = UsualRuns {
            count: row.try_get("runs")?,
            calls: Usual { mean: a, variance: b },
            peak_calls: Usual { mean: c, variance: d },
            peak_usd: Usual { mean: e, variance: f },
        };
        Ok(((name(row, "tenant")?, name(row, "feature")?), usual))
    };
    rows.iter().map(one).collect()
}

/// Keeps what runs of some features are usually like.
///
/// # Errors
/// When the database does not answer.
pub async fn keep_usual(
    connection: &mut PgConnection,
    usual: &BTreeMap<FeatureKey, UsualRuns>,
) -> Result<(), StoreError> {
    let column = |of: fn(&UsualRuns) -> f64| usual.values().map(of).collect::<Vec<_>>();
    sqlx::query(
        "insert into alert_usual_runs (tenant, feature, runs, usual)
        select tenant, feature, runs, array[a, b, c, d, e, f]
        from unnest(
            $1::text[], $2::text[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[], $8::float8[],
            $9::float8[]
        ) as given (tenant, feature, runs, a, b, c, d, e, f)
        on conflict (tenant, feature) do update set runs = excluded.runs, usual = excluded.usual",
    )
    .bind(usual.keys().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>())
    .bind(usual.keys().map(|(_, feature)| feature.as_str()).collect::<Vec<_>>())
    .bind(column(|usual| usual.count))
    .bind(column(|usual| usual.calls.mean))
    .bind(column(|usual| usual.calls.variance))
    .bind(column(|usual| usual.peak_calls.mean))
    .bind(column(|usual| usual.peak_calls.variance))
    .bind(column(|usual| usual.peak_usd.mean))
    .bind(column(|usual| usual.peak_usd.variance))
    .execute(connection)
    .await?;
    Ok(())
}

/// The latest projection of a counter.
#[derive(Debug, Clone, PartialEq)]
pub struct LatestProjection {
    /// The budget.
    pub budget: BudgetNumber,
    /// Which counter of it.
    pub key: String,
    /// The period it is of.
    pub period_start: DateTime<Utc>,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// One in ten is earlier.
    pub p10: Option<DateTime<Utc>>,
    /// The expected instant.
    pub p50: Option<DateTime<Utc>>,
    /// One in ten is later.
    pub p90: Option<DateTime<Utc>>,
    /// The probability that it runs out in the period.
    pub probability: f64,
    /// How far it trusts itself.
    pub confidence: String,
}

/// The latest projection of each counter that was made since an instant and whose period has not ended.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn latest_projections(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<LatestProjection>, StoreError> {
    let rows = sqlx::query(
        "select distinct on (budget, counter_key)
            budget, counter_key, period_start, made_at, p10, p50, p90, p_exhaust, confidence
        from projections
        where made_at > $1 and made_at <= $2 and period_start <= $2 and period_end > $2
        order by budget, counter_key, made_at desc",
    )
    .bind(since)
    .bind(now)
    .fetch_all(connection)
    .await?;
    let one = |row: &PgRow| {
        Ok(LatestProjection {
            budget: BudgetNumber(row.try_get("budget")?),
            key: row.try_get("counter_key")?,
            period_start: row.try_get("period_start")?,
            made_at: row.try_get("made_at")?,
            p10: row.try_get("p10")?,
            p50: row.try_get("p50")?,
            p90: row.try_get("p90")?,
            probability: row.try_get("p_exhaust")?,
            confidence: row.try_get("confidence")?,
        })
    };
    rows.iter().map(one).collect()
}
