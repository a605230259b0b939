//! Rows of the journal as journals of accounts and carbon reports need them.
//!
//! A row was checked when it was written; it is read back through the same doors, and a row that does not pass them ends the
//! export rather than being left out.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use rust_decimal::Decimal;

use super::emission::{Emission, Entry};
use super::plaintext::{Bundle, Movement, names};
use crate::domain::amounts::{Grams, Tokens};
use crate::domain::calendar::Zone;
use crate::domain::carbon::{CarbonGrams, FactorId, Profile, RecordedFactors};
use crate::domain::id::{FeatureId, TenantId};
use crate::domain::tariff::Flags;
use crate::domain::usage::{Bucket, Usage};
use crate::store::StoreError;
use crate::store::export::Sums;
use crate::store::export::transfers::JournalRow;

/// Names of accounts that supply.
const SUPPLY: &str = "supply:";

/// Sums as amounts of commodities.
#[must_use]
pub fn bundle(sums: &Sums) -> Bundle {
    Bundle {
        tokens: sums.tokens,
        usd: sums.usd,
        location: sums.gco2e_usage_location,
        market: sums.gco2e_usage_market,
        embodied: sums.gco2e_embodied,
    }
}

/// Whether a row's amounts went back to their supplier.
#[must_use]
pub fn gives_back(row: &JournalRow) -> bool {
    row.debit_account.starts_with(SUPPLY) && !row.credit_account.starts_with(SUPPLY)
}

/// The row's sums, counted down where they went back.
#[must_use]
pub fn signed(row: &JournalRow) -> Sums {
    if !gives_back(row) {
        return row.sums;
    }
    let negate = |amount: Decimal| Entry::Reversal.signed(amount);
    Sums {
        tokens: negate(row.sums.tokens),
        usd: negate(row.sums.usd),
        gco2e_usage_location: negate(row.sums.gco2e_usage_location),
        gco2e_usage_market: negate(row.sums.gco2e_usage_market),
        gco2e_embodied: negate(row.sums.gco2e_embodied),
    }
}

/// The local day of an instant.
#[must_use]
pub fn day(zone: Zone, at: DateTime<Utc>) -> NaiveDate {
    zone.local(at).date
}

/// The row as a transaction of a journal. Everything that is known of it comes along `with_tags`.
///
/// # Errors
/// When its labels cannot be read.
pub fn movement(row: &JournalRow, zone: Zone, with_tags: bool) -> Result<Movement, StoreError> {
    let is_about_another = row.kind.is_about_another_period(flags(row)?.contains(Flags::PERIOD_CLOSED));
    Ok(Movement {
        id: row.id.to_string(),
        kind: row.kind.name(),
        day: day(zone, row.period_at),
        debit: row.debit_account.clone(),
        credit: row.credit_account.clone(),
        provider: row.provider.clone(),
        model: row.model.clone(),
        bundle: bundle(&row.sums),
        corrected_period: is_about_another.then(|| day(zone, row.occurred_at).format("%Y-%m").to_string()),
        tags: if with_tags { tags(row)? } else { Vec::new() },
    })
}

/// What is known of a row beside its amounts, without what it does not have.
fn tags(row: &JournalRow) -> Result<Vec<(&'static str, String)>, StoreError> {
    let number = |value: Option<i64>| value.map(|value| value.to_string());
    let count = |bucket: Bucket| {
        let counts = Bucket::ALL.into_iter().zip(row.buckets);
        counts.filter(|(of, count)| *of == bucket && *count != 0).map(|(_, count)| count.to_string()).next()
    };
    let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string());
    let flags: Vec<&str> = flags(row)?.names().collect();
    let tags = [
        ("kind", Some(row.kind.name().to_owned())),
        ("requested_model", row.requested_model.clone()),
        ("region", row.region.clone()),
        ("run", row.run.clone()),
        ("agent", row.agent.clone()),
        ("outcome", Some(row.outcome.clone())),
        ("requests", Some(row.requests.to_string())),
        ("input", count(Bucket::Input)),
        ("cache_read", count(Bucket::CacheRead)),
        ("cache_write_5m", count(Bucket::CacheWrite5m)),
        ("cache_write_1h", count(Bucket::CacheWrite1h)),
        ("output", count(Bucket::Output)),
        ("reasoning", count(Bucket::Reasoning)),
        ("price", number(row.price)),
        ("carbon_profile", Some(row.carbon_profile.clone())),
        ("model_factor", number(row.model_factor)),
        ("grid_factor", number(row.grid_factor)),
        ("market_factor", number(row.market_factor)),
        ("flags", Some(flags.join("+")).filter(|flags| !flags.is_empty())),
        ("labels", labels(row)?),
        ("provider_request_id", row.provider_request_id.clone()),
        ("occurred_at", Some(row.occurred_at.to_rfc3339_opts(SecondsFormat::AutoSi, true))),
        ("reservation", id(row.reservation)),
        ("corrects", id(row.corrects)),
    ];
    Ok(tags.into_iter().filter_map(|(tag, value)| Some((tag, value?))).collect())
}

fn labels(row: &JournalRow) -> Result<Option<String>, StoreError> {
    let Some(text) = &row.labels else { return Ok(None) };
    let pairs: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| bad("labels"))?;
    let pairs = names::labels(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    Ok(Some(pairs).filter(|pairs| !pairs.is_empty()))
}

fn flags(row: &JournalRow) -> Result<Flags, StoreError> {
    flags_of(row.flags)
}

fn flags_of(bits: i32) -> Result<Flags, StoreError> {
    u32::try_from(bits).map(Flags::from_bits).map_err(|_| bad("flags"))
}

fn tokens_of(buckets: [i64; 6]) -> Result<Usage, StoreError> {
    let tokens =
        |count: i64| u64::try_from(count).ok().and_then(|count| Tokens::new(count).ok()).ok_or_else(|| bad("tokens"));
    let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] = buckets.map(tokens);
    Ok(Usage {
        input: input?,
        cache_read: cache_read?,
        cache_write_5m: cache_write_5m?,
        cache_write_1h: cache_write_1h?,
        output: output?,
        reasoning: reasoning?,
    })
}

fn bad(column: &str) -> StoreError {
    StoreError::Row(column.to_owned())
}

/// The row as a carbon report needs it.
///
/// # Errors
/// When a column holds what was never written.
pub fn emission(row: &JournalRow) -> Result<Emission, StoreError> {
    let grams = |grams: Decimal| Grams::new(grams).map_err(StoreError::Unkeepable);
    let factor = |id: Option<i64>| id.map(FactorId);
    let flags = flags(row)?;
    let usage = tokens_of(row.buckets)?;
    // The grams of a correction of grams alone are those of the call it corrects, of whose tokens it has none.
    let (basis, requests, priced_with, latency_ms) = match &row.of {
        Some(of) => (tokens_of(of.buckets)?, of.requests, flags_of(of.flags)?, of.latency_ms),
        None => (usage, row.requests, flags, row.latency_ms),
    };
    // As it was priced: neither the duration of a call whose tokens are an estimate, nor that of several calls, was used.
    let timed = requests == 1 && !priced_with.contains(Flags::UNCONFIRMED);
    let latency = latency_ms.filter(|_| timed).and_then(|ms| u64::try_from(ms).ok());
    Ok(Emission {
        entry: Entry::of(row.kind, gives_back(row)),
        tenant: TenantId::stored(&row.tenant).map_err(|_| bad("tenant"))?,
        feature: FeatureId::stored(&row.feature).map_err(|_| bad("feature"))?,
        provider: row.provider.parse().map_err(|_| bad("provider"))?,
        model: row.model.parse().map_err(|_| bad("model"))?,
        region: row.region.as_deref().map(str::parse).transpose().map_err(|_| bad("region"))?,
        requests: u32::try_from(row.requests).map_err(|_| bad("requests"))?,
        usage,
        basis,
        latency: latency.map(Duration::from_millis),
        factors: RecordedFactors {
            profile: Profile::parse(&row.carbon_profile).map_err(|_| bad("carbon_profile"))?,
            model: factor(row.model_factor),
            grid: factor(row.grid_factor),
            market: factor(row.market_factor),
        },
        posted: CarbonGrams {
            usage_location: grams(row.sums.gco2e_usage_location)?,
            usage_market: grams(row.sums.gco2e_usage_market)?,
            embodied: grams(row.sums.gco2e_embodied)?,
        },
        flags,
        occurred_at: row.occurred_at,
        at: row.period_at,
    })
}
