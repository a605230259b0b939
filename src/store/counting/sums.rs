//! Calls that the database added up, as what is counted.

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, dec};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::StoreError;
use super::super::rows::dimensions_from_row;
use crate::domain::amounts::{Amounts, Grams, TOKENS_MAX, Tokens, Usd};
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::recount::Recount;
use crate::domain::id::TenantId;
use crate::domain::usage::Usage;

/// Counts calls that were added up: what they took, what was taken back of it, and when the first of them was. Says whose they are.
pub(in crate::store) fn add(recount: &mut Recount<'_>, row: &PgRow) -> Result<TenantId, StoreError> {
    let call = dimensions_from_row(row)?;
    let at: DateTime<Utc> = row.try_get("at")?;
    let sums = Sums::from_row(row)?;
    for part in sums.parts(false)? {
        recount.add(&call, at, &part).map_err(StoreError::recount)?;
    }
    for part in sums.parts(true)? {
        recount.take_back(&call, at, &part).map_err(StoreError::recount)?;
    }
    if let Some(opened_at) = row.try_get("opened_at")? {
        recount.open(&call, at, opened_at).map_err(StoreError::recount)?;
    }
    Ok(call.tenant)
}

/// Sums over calls, less what was taken back: requests, the buckets in the order of [`Usage::buckets`], dollars, and grams
/// (location-based, market-based, embodied).
struct Sums {
    requests: Decimal,
    buckets: [Decimal; 6],
    usd: Decimal,
    grams: [Decimal; 3],
}

impl Sums {
    fn from_row(row: &PgRow) -> Result<Self, StoreError> {
        let sum = |column: &str| row.try_get::<Decimal, _>(column);
        Ok(Self {
            requests: sum("requests")?,
            buckets: [
                sum("input")?,
                sum("cache_read")?,
                sum("cache_write_5m")?,
                sum("cache_write_1h")?,
                sum("output")?,
                sum("reasoning")?,
            ],
            usd: sum("usd")?,
            grams: [sum("gco2e_usage_location")?, sum("gco2e_usage_market")?, sum("gco2e_embodied")?],
        })
    }

    /// What is above zero, or what is below: as calls no larger than a call may be, because a sum may be. Measures are linear, so
    /// it does not matter how it is cut. The part that was taken is never nothing: a call that used nothing was made, too.
    fn parts(&self, taken_back: bool) -> Result<Vec<Consumption>, StoreError> {
        let side = |sum: Decimal| (if taken_back { Decimal::ZERO.saturating_sub(sum) } else { sum }).max(Decimal::ZERO);
        let mut requests = side(self.requests);
        let mut buckets = self.buckets.map(side);
        let mut usd = side(self.usd);
        let mut grams = self.grams.map(side);
        // Together the buckets of a call are no more than one may be.
        let tokens_most = Decimal::from(TOKENS_MAX / 6);
        let mut parts = Vec::new();
        loop {
            let nothing = requests.is_zero() && usd.is_zero() && buckets.iter().chain(&grams).all(Decimal::is_zero);
            if nothing && (taken_back || !parts.is_empty()) {
                return Ok(parts);
            }
            let unkeepable = StoreError::Unkeepable;
            let count = |sum: &mut Decimal, most: Decimal| {
                let part = take(sum, most);
                u64::try_from(part).map_err(|_| StoreError::Row("tokens".to_owned()))
            };
            let [input, cache_read, write_5m, write_1h, output, reasoning] = &mut buckets;
            let tokens = |sum: &mut Decimal| Tokens::new(count(sum, tokens_most)?).map_err(unkeepable);
            let usage = Usage {
                input: tokens(input)?,
                cache_read: tokens(cache_read)?,
                cache_write_5m: tokens(write_5m)?,
                cache_write_1h: tokens(write_1h)?,
                output: tokens(output)?,
                reasoning: tokens(reasoning)?,
            };
            let [location, market, embodied] = &mut grams;
            let gram = |sum: &mut Decimal| Grams::new(take(sum, UNIT_MOST)).map_err(unkeepable);
            let amounts = Amounts {
                tokens: usage.total().map_err(unkeepable)?,
                usd: Usd::new(take(&mut usd, UNIT_MOST)).map_err(unkeepable)?,
                gco2e_usage_location: gram(location)?,
                gco2e_usage_market: gram(market)?,
                gco2e_embodied: gram(embodied)?,
            };
            let calls = count(&mut requests, Decimal::from(u32::MAX))?;
            parts.push(Consumption { requests: u32::try_from(calls).unwrap_or(u32::MAX), usage, amounts });
        }
    }
}

/// Most dollars or grams of a part.
const UNIT_MOST: Decimal = dec!(1000000000000000);

/// Takes as much as there is, and at most so much.
fn take(sum: &mut Decimal, most: Decimal) -> Decimal {
    let part = (*sum).min(most);
    *sum = sum.saturating_sub(part);
    part
}
