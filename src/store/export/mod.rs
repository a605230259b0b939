//! What exports read: one slice of the journal, page by page, and the trial balance of that slice.
//!
//! | file | what |
//! |---|---|
//! | [`reader`] | the connection an export reads by, and the mark up to which it does |
//! | [`walk`] | from page to page in the order of time |
//! | [`pace`] | how large a page is, and how long the rest after it |
//! | [`transfers`] | the rows of a page, whole |
//! | [`calls`] | the rows of a page, as charges add them up |
//! | [`accounts`] | what stood on each account before, and what stands on it at the end |
//! | this one | what a slice is, and its trial balance |
//!
//! Invariants: reads only; everything one export reads is of one [`JournalMark`], so that its rows and its balance are of the
//! same instant, whatever is written meanwhile; no transaction is longer than a page, so that the database may clear up behind
//! verdicts all the while; memory does not grow with the journal.
//!
//! A mark says what could be seen at an instant. A snapshot that is held would say it, too, and keep every version of every
//! counter since. Ids and instants cannot: batches of several replicas commit in another
//! order than the one in which their ids and instants were made, and whoever asks for "later than the last I have" misses
//! what was committed late. Far from a mark the instant of recording decides ([`MARK_WINDOW`]), near it the transaction
//! that wrote the row, which Postgres keeps with every row, and which nobody changes because no transfer is ever updated.

pub mod accounts;
pub mod calls;
pub mod pace;
pub mod reader;
pub mod transfers;
pub mod walk;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row};

use self::pace::Use;
use self::reader::JournalReader;
use self::walk::{Page, Walk};
use super::StoreError;
use crate::domain::carbon::FactorId;
use crate::domain::id::TenantId;
use crate::domain::ledger::transfer::TransferKind;
use crate::wire::export::JournalMark;
use crate::wire::usage::Basis;

/// How far the clocks of replicas may differ, plus the longest a batch takes to commit. Further from a mark than this the
/// instant of recording says on which side of it a transfer is.
pub const MARK_WINDOW: TimeDelta = TimeDelta::hours(1);

/// Whether a database has books.
///
/// # Errors
/// When it does not answer.
pub async fn has_books(pool: &PgPool) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("select to_regclass('catalogue_head') is not null").fetch_one(pool).await?)
}

/// Which part of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only what counts from this instant on.
    pub from: Option<DateTime<Utc>>,
    /// Only what counts before this instant.
    pub to: Option<DateTime<Utc>>,
    /// In which period what came late counts.
    pub basis: Basis,
    /// Only what this mark did not see.
    pub since: Option<JournalMark>,
    /// Only what this mark saw.
    pub until: JournalMark,
    /// Whether `until` is of this very export: then what is there already belongs to it, also where the clock that recorded it
    /// was ahead of ours by more than [`MARK_WINDOW`].
    pub until_now: bool,
}

/// Sums in every unit. Signed, because what is consumed is debit less credit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Tokens.
    pub tokens: Decimal,
    /// Dollars.
    pub usd: Decimal,
    /// Grams of the electricity used, by the grid.
    pub gco2e_usage_location: Decimal,
    /// Grams of the electricity used, by contracts.
    pub gco2e_usage_market: Decimal,
    /// Grams of making the hardware.
    pub gco2e_embodied: Decimal,
}

impl Sums {
    /// Each unit with its name in the trial balance.
    #[must_use]
    pub const fn units(&self) -> [(&'static str, Decimal); 5] {
        [
            ("tokens", self.tokens),
            ("usd", self.usd),
            ("gco2e_usage_location", self.gco2e_usage_location),
            ("gco2e_usage_market", self.gco2e_usage_market),
            ("gco2e_embodied", self.gco2e_embodied),
        ]
    }

    /// The sum in each unit; none where it has more digits than can be kept.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self {
            tokens: self.tokens.checked_add(other.tokens)?,
            usd: self.usd.checked_add(other.usd)?,
            gco2e_usage_location: self.gco2e_usage_location.checked_add(other.gco2e_usage_location)?,
            gco2e_usage_market: self.gco2e_usage_market.checked_add(other.gco2e_usage_market)?,
            gco2e_embodied: self.gco2e_embodied.checked_add(other.gco2e_embodied)?,
        })
    }

    fn from_row(row: &PgRow, first: usize) -> Result<Self, StoreError> {
        let at = |place: usize| row.try_get::<Decimal, _>(first.saturating_add(place));
        Ok(Self {
            tokens: at(0)?,
            usd: at(1)?,
            gco2e_usage_location: at(2)?,
            gco2e_usage_market: at(3)?,
            gco2e_embodied: at(4)?,
        })
    }
}

/// The trial balance of a slice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SliceBalance {
    /// How many transfers it has.
    pub transfers: u64,
    /// What the debit sides add up to.
    pub debit: Sums,
    /// What the credit sides add up to.
    pub credit: Sums,
    /// What `supply:` accounts gave, less what they got back: credit less debit.
    pub supplied: Sums,
}

impl SliceBalance {
    fn from_row(row: &PgRow) -> Result<Self, StoreError> {
        let transfers: i64 = row.try_get(0)?;
        Ok(Self {
            transfers: u64::try_from(transfers).map_err(|_| unreadable("count"))?,
            debit: Sums::from_row(row, 1)?,
            credit: Sums::from_row(row, 6)?,
            supplied: Sums::from_row(row, 11)?,
        })
    }

    fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self {
            transfers: self.transfers.checked_add(other.transfers)?,
            debit: self.debit.checked_add(&other.debit)?,
            credit: self.credit.checked_add(&other.credit)?,
            supplied: self.supplied.checked_add(&other.supplied)?,
        })
    }
}

impl JournalReader {
    /// The trial balance of a slice, added up from both legs of each transfer.
    ///
    /// # Errors
    /// When the database does not answer, or a sum has more digits than can be told.
    pub async fn balance(&mut self, slice: &Slice) -> Result<SliceBalance, StoreError> {
        let statement = concat!(
            include_str!("../sql/export_balance.sql"),
            include_str!("../sql/export_slice.sql"),
            include_str!("../sql/export_balance_legs.sql")
        );
        let mut balance = SliceBalance::default();
        let mut walk = Walk::begin_to(Use::AddUp, self, slice).await?;
        while let Some(page) = walk.next(self).await? {
            let row = bind(sqlx::query(statement), slice, &page).fetch_one(self.connection()).await?;
            balance = balance.checked_add(&SliceBalance::from_row(&row)?).ok_or_else(|| unreadable("sum"))?;
        }
        Ok(balance)
    }
}

/// The parameters of `sql/export_slice.sql`.
fn bind<'q>(query: Query<'q, Postgres, PgArguments>, slice: &Slice, page: &Page) -> Query<'q, Postgres, PgArguments> {
    let tenant = slice.tenant.as_ref().map(ToString::to_string);
    let before = |mark: &JournalMark| mark.at().checked_sub_signed(MARK_WINDOW);
    let after = |mark: &JournalMark| mark.at().checked_add_signed(MARK_WINDOW);
    let (since, until) = (slice.since.as_ref(), &slice.until);
    query
        .bind(tenant)
        .bind(slice.from)
        .bind(slice.to)
        .bind(since.and_then(before))
        .bind(since.and_then(after))
        .bind(since.map(JournalMark::seen))
        .bind(since.map(JournalMark::newest))
        .bind(before(until))
        .bind(after(until).filter(|_| !slice.until_now))
        .bind(until.seen())
        .bind(until.newest())
        .bind(page.after.at)
        .bind(page.after.id)
        .bind(page.upto.at)
        .bind(page.upto.id)
        .bind(slice.basis == Basis::AsRestated)
}

fn unreadable(column: &str) -> StoreError {
    StoreError::Row(column.to_owned())
}

pub(super) fn kind(text: &str) -> Result<TransferKind, StoreError> {
    TransferKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| unreadable("kind"))
}

fn factor(row: &PgRow, place: usize) -> Result<Option<FactorId>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(place)?.map(FactorId))
}
