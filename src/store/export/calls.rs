//! The transfers of a page, as charges add them up.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::reader::JournalReader;
use super::walk::Page;
use super::{Slice, bind, factor, kind, unreadable};
use crate::domain::carbon::{FactorId, Profile};
use crate::domain::ledger::transfer::TransferKind;
use crate::domain::price::PriceId;
use crate::domain::tariff::Flags;
use crate::store::StoreError;

/// Whose calls, what they were for, and with what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Whose calls.
    pub tenant: String,
    /// What they were for.
    pub feature: String,
    /// Who served them.
    pub provider: String,
    /// With what.
    pub model: String,
    /// Where.
    pub region: Option<String>,
    /// Their labels: a JSON object, as text.
    pub labels: Option<String>,
}

/// Why transfers were made, and the rows of the books that they stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Basis {
    /// Why the transfers were made.
    pub kind: TransferKind,
    /// Whether they went back: from what was consumed to what supplied it.
    pub returned: bool,
    /// The price row.
    pub price: Option<PriceId>,
    /// The tier of that row.
    pub price_tier_from: u64,
    /// The carbon method.
    pub carbon_profile: Profile,
    /// The row of the model's parameters.
    pub model_factor: Option<FactorId>,
    /// The row of the grid.
    pub grid_factor: Option<FactorId>,
    /// The row of contracts.
    pub market_factor: Option<FactorId>,
    /// What is remarkable.
    pub flags: Flags,
}

/// One transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    /// The instant whose period it counts in.
    pub at: DateTime<Utc>,
    /// Whose and what.
    pub subject: Subject,
    /// Why, and by which rows.
    pub basis: Basis,
    /// How many calls it is.
    pub requests: u64,
    /// Tokens, in the order of [`crate::domain::usage::Bucket::ALL`].
    pub buckets: [u64; 6],
    /// Dollars.
    pub usd: Decimal,
    /// Grams: location-based, market-based, embodied.
    pub grams: [Decimal; 3],
    /// The transfer that it corrects.
    pub corrects: Option<Uuid>,
    /// When what it is about happened: of a correction the call that it corrects, of a true-up the day of the report.
    pub occurred_at: DateTime<Utc>,
    /// That transfer, if it is of the same subject.
    pub of: Option<CorrectedRow>,
}

/// A transfer that another one corrects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorrectedRow {
    /// The instant whose period it counts in; none if it itself corrects another.
    pub at: Option<DateTime<Utc>>,
    /// Why, and by which rows.
    pub basis: Basis,
    /// Its tokens, in the order of [`crate::domain::usage::Bucket::ALL`].
    pub buckets: [u64; 6],
}

impl JournalReader {
    /// The transfers of a page of a slice, in the order of time.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn calls(&mut self, slice: &Slice, page: &Page) -> Result<Vec<CallRow>, StoreError> {
        let statement = concat!(
            include_str!("../sql/export_calls.sql"),
            include_str!("../sql/export_slice.sql"),
            "order by transfers.period_at, transfers.id"
        );
        let rows = bind(sqlx::query(statement), slice, page).fetch_all(self.connection()).await?;
        rows.iter().map(call_row).collect()
    }
}

fn call_row(row: &PgRow) -> Result<CallRow, StoreError> {
    let requests: i32 = row.try_get(16)?;
    let of = match row.try_get::<Option<&str>, _>(28)? {
        None => None,
        Some(of_kind) => {
            Some(CorrectedRow { at: row.try_get(29)?, basis: basis(row, of_kind, 30)?, buckets: buckets(row, 38)? })
        }
    };
    Ok(CallRow {
        at: row.try_get(0)?,
        subject: Subject {
            tenant: row.try_get(1)?,
            feature: row.try_get(2)?,
            provider: row.try_get(3)?,
            model: row.try_get(4)?,
            region: row.try_get(5)?,
            labels: row.try_get(6)?,
        },
        basis: basis(row, row.try_get(7)?, 8)?,
        requests: u64::try_from(requests).map_err(|_| unreadable("requests"))?,
        buckets: buckets(row, 17)?,
        usd: row.try_get(23)?,
        grams: [row.try_get(24)?, row.try_get(25)?, row.try_get(26)?],
        corrects: row.try_get(27)?,
        occurred_at: row.try_get(44)?,
        of,
    })
}

/// From the column that says whether it went back, to its flags.
fn basis(row: &PgRow, of_kind: &str, first: usize) -> Result<Basis, StoreError> {
    let at = |place: usize| first.saturating_add(place);
    let flags: i32 = row.try_get(at(7))?;
    Ok(Basis {
        kind: kind(of_kind)?,
        returned: row.try_get(at(0))?,
        price: row.try_get::<Option<i64>, _>(at(1))?.map(PriceId),
        price_tier_from: count(row, at(2), "price_tier_from")?,
        carbon_profile: Profile::parse(row.try_get(at(3))?).map_err(|_| unreadable("carbon_profile"))?,
        model_factor: factor(row, at(4))?,
        grid_factor: factor(row, at(5))?,
        market_factor: factor(row, at(6))?,
        flags: Flags::from_bits(u32::try_from(flags).map_err(|_| unreadable("flags"))?),
    })
}

fn buckets(row: &PgRow, first: usize) -> Result<[u64; 6], StoreError> {
    let mut buckets = [0; 6];
    for (place, bucket) in (first..).zip(&mut buckets) {
        *bucket = count(row, place, "tokens")?;
    }
    Ok(buckets)
}

fn count(row: &PgRow, place: usize, column: &str) -> Result<u64, StoreError> {
    let count: i64 = row.try_get(place)?;
    u64::try_from(count).map_err(|_| unreadable(column))
}
