//! The transfers of a page, whole: a row of the journal as it stands, and what the grams of a correction were computed from.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::reader::JournalReader;
use super::walk::Page;
use super::{Slice, Sums, bind, kind, unreadable};
use crate::domain::ledger::transfer::TransferKind;
use crate::store::StoreError;

/// One transfer, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the journal's columns")]
pub struct JournalRow {
    pub id: Uuid,
    pub kind: TransferKind,
    pub debit_account: String,
    pub credit_account: String,
    pub tenant: String,
    pub feature: String,
    pub provider: String,
    pub model: String,
    pub requested_model: Option<String>,
    pub region: Option<String>,
    pub run: Option<String>,
    pub agent: Option<String>,
    /// A JSON object, as text.
    pub labels: Option<String>,
    pub priority: String,
    pub requests: i32,
    /// In the order of [`crate::domain::usage::Bucket::ALL`].
    pub buckets: [i64; 6],
    pub tokens: i64,
    pub sums: Sums,
    pub price: Option<i64>,
    pub price_tier_from: i64,
    pub carbon_profile: String,
    pub model_factor: Option<i64>,
    pub grid_factor: Option<i64>,
    pub market_factor: Option<i64>,
    pub flags: i32,
    pub outcome: String,
    pub latency_ms: Option<i32>,
    pub provider_request_id: Option<String>,
    pub provider_usd: Option<Decimal>,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    pub period_at: DateTime<Utc>,
    pub reservation: Option<Uuid>,
    pub corrects: Option<Uuid>,
    /// The call whose grams it corrects, if it moves grams alone.
    pub of: Option<CorrectedCall>,
}

/// What grams are computed from, of a call whose grams are corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the journal's columns")]
pub struct CorrectedCall {
    pub requests: i32,
    /// In the order of [`crate::domain::usage::Bucket::ALL`].
    pub buckets: [i64; 6],
    pub latency_ms: Option<i32>,
    pub flags: i32,
}

impl JournalReader {
    /// The transfers of a page of a slice, in the order of time.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn transfers(&mut self, slice: &Slice, page: &Page) -> Result<Vec<JournalRow>, StoreError> {
        let statement = concat!(
            include_str!("../sql/export_transfers.sql"),
            include_str!("../sql/export_slice.sql"),
            "order by transfers.period_at, transfers.id"
        );
        let rows = bind(sqlx::query(statement), slice, page).fetch_all(self.connection()).await?;
        rows.iter().map(journal_row).collect()
    }
}

fn journal_row(row: &PgRow) -> Result<JournalRow, StoreError> {
    let mut buckets = [0; 6];
    for (place, bucket) in (14..).zip(&mut buckets) {
        *bucket = row.try_get(place)?;
    }
    let tokens: i64 = row.try_get(20)?;
    Ok(JournalRow {
        id: row.try_get(0)?,
        kind: kind(row.try_get(1)?)?,
        debit_account: row.try_get(2)?,
        credit_account: row.try_get(3)?,
        tenant: row.try_get(4)?,
        feature: row.try_get(5)?,
        provider: row.try_get(6)?,
        model: row.try_get(7)?,
        requested_model: row.try_get(8)?,
        region: row.try_get(9)?,
        run: row.try_get(10)?,
        agent: row.try_get(11)?,
        labels: row.try_get(12)?,
        priority: row.try_get(41)?,
        requests: row.try_get(13)?,
        buckets,
        tokens,
        sums: Sums {
            tokens: Decimal::from(tokens),
            usd: row.try_get(21)?,
            gco2e_usage_location: row.try_get(22)?,
            gco2e_usage_market: row.try_get(23)?,
            gco2e_embodied: row.try_get(24)?,
        },
        price: row.try_get(25)?,
        price_tier_from: row.try_get(26)?,
        carbon_profile: row.try_get(27)?,
        model_factor: row.try_get(28)?,
        grid_factor: row.try_get(29)?,
        market_factor: row.try_get(30)?,
        flags: row.try_get(31)?,
        outcome: row.try_get(32)?,
        latency_ms: row.try_get(33)?,
        provider_request_id: row.try_get(34)?,
        provider_usd: row.try_get(35)?,
        occurred_at: row.try_get(36)?,
        recorded_at: row.try_get(37)?,
        period_at: row.try_get(38)?,
        reservation: row.try_get(39)?,
        corrects: row.try_get(40)?,
        of: row.try_get::<Option<Vec<Option<i64>>>, _>(42)?.map(|figures| corrected_call(&figures)).transpose()?,
    })
}

/// From requests, buckets, flags and latency.
fn corrected_call(figures: &[Option<i64>]) -> Result<CorrectedCall, StoreError> {
    let bad = || unreadable("corrects");
    let [Some(requests), buckets @ .., Some(flags), latency_ms] = figures else { return Err(bad()) };
    let int = |figure: i64| i32::try_from(figure).map_err(|_| bad());
    let buckets = buckets.iter().copied().collect::<Option<Vec<i64>>>().ok_or_else(bad)?;
    Ok(CorrectedCall {
        requests: int(*requests)?,
        buckets: buckets.try_into().map_err(|_| bad())?,
        latency_ms: latency_ms.map(int).transpose()?,
        flags: int(*flags)?,
    })
}
