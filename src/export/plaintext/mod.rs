//! The books as a journal of hledger, ledger or beancount: plain text that proves itself.
//!
//! | phase | what is written |
//! |---|---|
//! | [`Journal::begin`] | what the file holds, the units, the accounts, the payees, and what stood on each account before |
//! | [`Journal::movement`] | one transaction for each transfer, or one for each day, pair of accounts, kind and month that is corrected |
//! | [`Journal::end`] | what stands on each account at the end, as assertions that the reading program checks |
//!
//! Invariants: every transaction adds up to zero in every unit by itself; the balances that are asserted come from the
//! books, never from the rows that were written, so a row that is missing, doubled or changed makes the file fail; before
//! they are written both are compared here too; no id or label can be read as anything but text ([`names`]); two accounts
//! of the books are two accounts of the file.
//!
//! Deliberately absent: prices and conversions between units. Tokens, dollars and grams do not convert into each other.

pub mod names;
mod syntax;
pub mod units;
mod writer;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};

pub use units::{Bundle, Commodity};
pub use writer::JournalWriter;

/// Who reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// hledger 1.25 or newer.
    Hledger,
    /// ledger 3.3.
    Ledger,
    /// beancount 3.
    Beancount,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hledger, Self::Ledger, Self::Beancount];

    /// The word in requests and commands.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hledger => "hledger",
            Self::Ledger => "ledger",
            Self::Beancount => "beancount",
        }
    }

    /// What a file of it is called.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Hledger => "journal",
            Self::Ledger => "ledger",
            Self::Beancount => "beancount",
        }
    }
}

/// How transfers become transactions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Group {
    /// One transaction for each transfer, with everything that is known of it.
    Call,
    /// One for each local day, pair of accounts, kind of transfer, and month that is corrected.
    #[default]
    Day,
}

impl Group {
    /// The word in requests and commands.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Day => "day",
        }
    }
}

/// What stands on an account of the books before the period and at its end: debit less credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSpan {
    /// Its name in the books: `usage:acme/support-chat`.
    pub account: String,
    /// Before the period.
    pub opening: Bundle,
    /// At its end.
    pub closing: Bundle,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whose books, for people: a tenant, or everybody's.
    pub title: String,
    /// The first instant of the period; none from the beginning.
    pub start: Option<DateTime<Utc>>,
    /// The first instant after the period; none when it has no end yet.
    pub end: Option<DateTime<Utc>>,
    /// The name of the zone whose days are the file's.
    pub zone: String,
    /// The local day on which the period starts. Opening balances are of this day.
    pub first_day: NaiveDate,
    /// The last local day that has an instant of the period. Balances are asserted at its end.
    pub last_day: NaiveDate,
    /// Every account that has anything before or in the period.
    pub accounts: Vec<AccountSpan>,
}

/// A transfer, as a journal needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Its id.
    pub id: String,
    /// Its kind: `settlement`, `usage`, …
    pub kind: &'static str,
    /// The local day it is counted in.
    pub day: NaiveDate,
    /// The account that is debited, by its name in the books.
    pub debit: String,
    /// The account that is credited.
    pub credit: String,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// What moved. Never below zero: a correction swaps the accounts.
    pub bundle: Bundle,
    /// Of a correction, a true-up, or a call of a closed period, the local month that it is about: `2026-10`.
    pub corrected_period: Option<String>,
    /// What else is known, as names of [`TAGS`] and their values.
    pub tags: Vec<(&'static str, String)>,
}

/// The tags a transaction may have, in order. They are declared, because `ledger --pedantic` asks for it.
pub const TAGS: [&str; 27] = [
    "transfers",
    "kind",
    "model",
    "requested_model",
    "region",
    "run",
    "agent",
    "outcome",
    "requests",
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "price",
    "carbon_profile",
    "model_factor",
    "grid_factor",
    "market_factor",
    "flags",
    "labels",
    "provider_request_id",
    "occurred_at",
    "reservation",
    "corrects",
    "corrected_period",
];

/// Why a journal cannot be finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A sum has more digits than can be kept.
    #[error("a sum of {account} has more digits than can be written")]
    TooLarge {
        /// The account.
        account: String,
    },
    /// A movement is of an account that the head does not list.
    #[error("account {account} has transfers in the period and no balance")]
    UnknownAccount {
        /// The account.
        account: String,
    },
    /// The rows do not add up to what the books say.
    #[error("account {account} adds up to {rows} {unit} by its transfers, and the books say {books}")]
    Mismatch {
        /// The account.
        account: String,
        /// The commodity.
        unit: &'static str,
        /// By the rows that were written.
        rows: String,
        /// By the books.
        books: String,
    },
    /// Rows of a journal by call came out of their order in time.
    #[error("a transfer of {day} came after one of {after}")]
    OutOfOrder {
        /// The later row's day.
        day: NaiveDate,
        /// The day that was written already.
        after: NaiveDate,
    },
}

/// A day's sums are kept apart by day, debit, credit, kind, and of corrections by the month that they are about.
type DayKey = (NaiveDate, String, String, &'static str, Option<String>);

/// What a day adds up to.
#[derive(Debug, Clone, Default)]
struct DaySum {
    transfers: u64,
    provider: String,
    model: String,
    bundle: Bundle,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    dialect: Dialect,
    group: Group,
    head: Head,
    /// What stands on each account by what was written so far.
    standing: BTreeMap<String, Bundle>,
    /// Grows with days and pairs of accounts, never with transfers.
    days: BTreeMap<DayKey, DaySum>,
    written_to: Option<NaiveDate>,
}

impl Journal {
    /// A journal of what the head says.
    #[must_use]
    pub fn new(dialect: Dialect, group: Group, head: Head) -> Self {
        let standing = head.accounts.iter().map(|span| (span.account.clone(), span.opening)).collect();
        Self { dialect, group, head, standing, days: BTreeMap::new(), written_to: None }
    }

    /// Writes what comes before the first transaction, and the opening balances.
    pub fn begin(&self, out: &mut String) {
        let payees: BTreeSet<&str> =
            self.head.accounts.iter().filter_map(|span| names::provider(&span.account)).collect();
        syntax::header(self.dialect, self.group, &self.head, &payees, out);
        let opening: Vec<(&str, Bundle)> = self
            .head
            .accounts
            .iter()
            .filter(|span| !span.opening.is_zero())
            .map(|span| (span.account.as_str(), span.opening))
            .collect();
        if !opening.is_empty() {
            syntax::opening(self.dialect, self.head.first_day, &opening, out);
        }
    }

    /// Takes one transfer: writes it, or adds it to its day.
    ///
    /// # Errors
    /// When a sum cannot be kept, an account is not in the head, or a journal by call gets its rows out of order.
    pub fn movement(&mut self, movement: Movement, out: &mut String) -> Result<(), JournalError> {
        for (account, bundle) in [(&movement.debit, movement.bundle), (&movement.credit, movement.bundle.negated())] {
            let Some(standing) = self.standing.get_mut(account) else {
                return Err(JournalError::UnknownAccount { account: account.clone() });
            };
            *standing = standing.checked_add(&bundle).ok_or_else(|| too_large(account))?;
        }
        match self.group {
            Group::Call => {
                if let Some(after) = self.written_to.filter(|after| movement.day < *after) {
                    return Err(JournalError::OutOfOrder { day: movement.day, after });
                }
                self.written_to = Some(movement.day);
                syntax::transaction(self.dialect, &movement, out);
            }
            Group::Day => {
                let Movement { day, debit, credit, kind, corrected_period, .. } = movement;
                let key = (day, debit, credit, kind, corrected_period);
                let sum = self.days.entry(key).or_default();
                let total = sum.bundle.checked_add(&movement.bundle);
                sum.bundle = total.ok_or_else(|| too_large(&movement.provider))?;
                sum.transfers = sum.transfers.saturating_add(1);
                sum.provider = movement.provider;
                sum.model = movement.model;
            }
        }
        Ok(())
    }

    /// Writes the days, and what must stand on each account at the end.
    ///
    /// # Errors
    /// [`JournalError::Mismatch`] when the rows do not add up to what the books say. Then the file is not to be used.
    pub fn end(mut self, out: &mut String) -> Result<(), JournalError> {
        for ((day, debit, credit, kind, corrected_period), sum) in std::mem::take(&mut self.days) {
            let tags = vec![("transfers", sum.transfers.to_string()), ("kind", kind.to_owned())];
            let movement = Movement {
                id: String::new(),
                kind,
                day,
                debit,
                credit,
                provider: sum.provider,
                model: sum.model,
                bundle: sum.bundle,
                corrected_period,
                tags,
            };
            syntax::transaction(self.dialect, &movement, out);
        }
        for span in &self.head.accounts {
            let rows = self.standing.get(&span.account).copied().unwrap_or_default();
            for commodity in Commodity::ALL {
                let (rows, books) = (rows.of(commodity), span.closing.of(commodity));
                if rows != books {
                    return Err(JournalError::Mismatch {
                        account: span.account.clone(),
                        unit: commodity.symbol(),
                        rows: rows.normalize().to_string(),
                        books: books.normalize().to_string(),
                    });
                }
            }
        }
        syntax::assertions(self.dialect, &self.head, out);
        Ok(())
    }
}

fn too_large(account: &str) -> JournalError {
    JournalError::TooLarge { account: account.to_owned() }
}

#[cfg(test)]
mod tests;
