//! What a journal of accounts needs beside its transfers: what stood on each account before, and what stands on it at the end.
//!
//! Invariant: balances are added up over all of history, not from the rows that an export writes, so that
//! the two can be held against each other.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::pace::Use;
use super::reader::JournalReader;
use super::walk::Walk;
use super::{Slice, Sums, bind, unreadable};
use crate::store::StoreError;

/// What stands on an account: debit less credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountBalances {
    /// Before the slice's first instant.
    pub opening: Sums,
    /// Before the first instant after it.
    pub closing: Sums,
    /// The earliest instant in the slice that a transfer of it counts at.
    pub first_at: Option<DateTime<Utc>>,
    /// The latest instant up to the end of the slice.
    pub last_at: DateTime<Utc>,
}

impl AccountBalances {
    fn from_row(row: &PgRow) -> Result<Self, StoreError> {
        Ok(Self {
            opening: Sums::from_row(row, 1)?,
            closing: Sums::from_row(row, 6)?,
            first_at: row.try_get(11)?,
            last_at: row.try_get(12)?,
        })
    }

    /// With what later transfers moved.
    fn checked_add(&self, later: &Self) -> Option<Self> {
        Some(Self {
            opening: self.opening.checked_add(&later.opening)?,
            closing: self.closing.checked_add(&later.closing)?,
            first_at: self.first_at.or(later.first_at),
            last_at: later.last_at,
        })
    }
}

impl JournalReader {
    /// Every account that any transfer touched before the end of a slice, by name.
    ///
    /// # Errors
    /// When the database does not answer, or a sum has more digits than can be told.
    pub async fn accounts(&mut self, slice: &Slice) -> Result<BTreeMap<String, AccountBalances>, StoreError> {
        let statement = concat!(
            include_str!("../sql/export_accounts.sql"),
            include_str!("../sql/export_slice.sql"),
            "group by leg.account"
        );
        let history = Slice { from: None, since: None, ..slice.clone() };
        let mut accounts: BTreeMap<String, AccountBalances> = BTreeMap::new();
        let mut walk = Walk::begin_to(Use::AddUp, self, &history).await?;
        while let Some(page) = walk.next(self).await? {
            let rows = bind(sqlx::query(statement), &history, &page).bind(slice.from);
            for row in rows.fetch_all(self.connection()).await? {
                let (account, moved): (String, _) = (row.try_get(0)?, AccountBalances::from_row(&row)?);
                let stands = match accounts.get(&account) {
                    None => moved,
                    Some(before) => before.checked_add(&moved).ok_or_else(|| unreadable("sum"))?,
                };
                accounts.insert(account, stands);
            }
        }
        Ok(accounts)
    }
}
