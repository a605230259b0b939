//! What a journal of accounts needs beside its transfers: what stood on each account before, what stands on it at the end,
//! and the transfers in the order of time.
//!
//! Invariant: balances are added up by the database over all of history, not from the rows that an export writes, so that
//! the two can be held against each other.

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use sqlx::Row;

use super::StoreError;
use super::export::{JournalRow, Slice, Snapshot, Sums, bind, journal_row};

/// What stands on an account: debit less credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountBalances {
    /// Its name.
    pub account: String,
    /// Before the slice's first instant.
    pub opening: Sums,
    /// Before the first instant after it.
    pub closing: Sums,
    /// The earliest instant in the slice that a transfer of it counts at.
    pub first_at: Option<DateTime<Utc>>,
    /// The latest instant up to the end of the slice.
    pub last_at: DateTime<Utc>,
}

impl Snapshot {
    /// Every account that any transfer touched before the end of a slice, by name. Marks of the slice are not looked at:
    /// a balance is of everything that the snapshot sees.
    ///
    /// # Errors
    /// When the database does not answer, or a sum has more digits than can be told.
    pub async fn accounts(&mut self, slice: &Slice) -> Result<Vec<AccountBalances>, StoreError> {
        let rows = sqlx::query(include_str!("sql/export_accounts.sql"))
            .bind(slice.tenant.as_ref().map(ToString::to_string))
            .bind(slice.from)
            .bind(slice.to)
            .fetch_all(self.connection())
            .await?;
        let balances = rows.iter().map(|row| {
            Ok(AccountBalances {
                account: row.try_get(0)?,
                opening: Sums::from_row(row, 1)?,
                closing: Sums::from_row(row, 6)?,
                first_at: row.try_get(11)?,
                last_at: row.try_get(12)?,
            })
        });
        balances.collect()
    }

    /// The transfers of a slice in the order of the instants they count at. The database sorts them, on its disk if need be.
    pub fn transfers_in_time(&mut self, slice: &Slice) -> BoxStream<'_, Result<JournalRow, StoreError>> {
        let statement = concat!(
            include_str!("sql/export_transfers.sql"),
            include_str!("sql/export_slice.sql"),
            "order by transfers.period_at, transfers.id"
        );
        let rows = bind(sqlx::query(statement), slice).fetch(self.connection());
        Box::pin(rows.map(|row| journal_row(&row?)))
    }
}
