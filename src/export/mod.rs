//! Whole periods, taken out of the books: rows of the journal become a file that others can check.
//!
//! | file | what |
//! |---|---|
//! | [`stream`] | from pages of rows to chunks of a file, in constant memory |
//! | [`table`] | columns and cells: the logical rows that CSV and Parquet have in common |
//! | [`csv_file`], [`parquet_file`] | the two ways a table is written |
//! | [`transfers`] | the journal for a warehouse, row by row |
//! | [`plaintext`] | journals of hledger, ledger and beancount |
//! | [`ghg`] | greenhouse-gas activity data |
//! | [`sci`] | carbon intensity per functional unit, and a manifest that computes it again |
//! | [`emission`], [`rows`] | rows of the journal as the three above need them |
//! | [`focus`] | charges for finance, after FOCUS 1.4 and 1.2 |
//!
//! Invariants: what an export has written adds up to the trial balance of its slice, in every unit, to the last digit, or
//! it ends with an error and its file is cut; the same mark and the same question give the same rows in the same order,
//! so that an export that was cut can go on; memory does not grow with the journal.
//!
//! Deliberately absent: SQL (the store's), HTTP, files and progress bars (the shell's), the clock.

pub mod csv_file;
pub mod emission;
pub mod focus;
pub mod ghg;
pub mod parquet_file;
pub mod plaintext;
pub mod rows;
pub mod sci;
pub mod stream;
pub mod table;
pub mod transfers;

use rust_decimal::Decimal;

use crate::store::StoreError;
use crate::store::export::{SliceBalance, Sums};

/// Decimal places of every decimal column: those of dollars; grams have fewer.
pub const PLACES: u32 = 12;

/// Why an export ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database did not answer, or a row cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be written.
    #[error("the {format} file cannot be written: {cause}")]
    Write {
        /// Of which format.
        format: &'static str,
        /// What the writer says.
        cause: String,
    },
    /// A number has more digits than a file's column.
    #[error("{what} {value} has more digits than a column of an export")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// The number.
        value: String,
    },
    /// The books are out of balance.
    #[error("the trial balance of the period is not zero in {unit}: debit {debit}, credit {credit}")]
    Unbalanced {
        /// The unit.
        unit: &'static str,
        /// What the debit sides add up to.
        debit: Decimal,
        /// What the credit sides add up to.
        credit: Decimal,
    },
    /// What was written is not what the books hold.
    #[error("the export adds up to {written} {unit}, and the trial balance of the period to {expected}")]
    Mismatch {
        /// The unit, or `transfers`.
        unit: &'static str,
        /// What was written.
        written: Decimal,
        /// What the books hold.
        expected: Decimal,
    },
    /// A journal cannot be finished.
    #[error(transparent)]
    Journal(#[from] plaintext::JournalError),
    /// Lines of activity data cannot be made.
    #[error(transparent)]
    Ghg(#[from] ghg::GhgError),
    /// The reader takes longer for a piece than it may.
    #[error("its reader takes too long: ask again with `resume`, which goes on where the file was cut")]
    SlowReader,
    /// What wrote the file ended before its end.
    #[error("the export was given up")]
    GivenUp,
}

/// Adds up what an export writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Transfers that were written, or that a row which was written adds up.
    pub transfers: u64,
    /// In every unit.
    pub sums: Sums,
}

impl Totals {
    /// Counts these transfers and adds up these amounts.
    ///
    /// # Errors
    /// When a sum has more digits than can be kept.
    pub fn add(&mut self, transfers: u64, sums: &Sums) -> Result<(), ExportError> {
        let too_large = || ExportError::TooLarge { what: "the sum of a unit after", value: self.transfers.to_string() };
        self.sums = self.sums.checked_add(sums).ok_or_else(too_large)?;
        self.transfers = self.transfers.saturating_add(transfers);
        Ok(())
    }

    /// Compares with the trial balance: with the debit side where every transfer was written with its amounts, whichever
    /// way they went; with what was supplied where they were written with their sign.
    ///
    /// # Errors
    /// Names the first unit that differs.
    pub fn check(&self, balance: &SliceBalance, side: Side) -> Result<(), ExportError> {
        for ((unit, debit), (_, credit)) in balance.debit.units().into_iter().zip(balance.credit.units()) {
            if debit != credit {
                return Err(ExportError::Unbalanced { unit, debit, credit });
            }
        }
        let expected = match side {
            Side::Debit => &balance.debit,
            Side::Supplied => &balance.supplied,
        };
        let transfers = [("transfers", Decimal::from(self.transfers), Decimal::from(balance.transfers))];
        let units = self.sums.units().into_iter().zip(expected.units());
        let units = units.map(|((unit, written), (_, expected))| (unit, written, expected));
        let different = transfers.into_iter().chain(units).find(|(_, written, expected)| written != expected);
        match different {
            Some((unit, written, expected)) => Err(ExportError::Mismatch { unit, written, expected }),
            None => Ok(()),
        }
    }
}

/// Which side of the trial balance an export adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The debit side: every transfer with what it moved.
    Debit,
    /// What `supply:` accounts gave, less what they got back: corrections count down.
    Supplied,
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn the_smallest_difference_in_any_unit_is_an_error_that_names_it() {
        let sums = Sums {
            tokens: dec!(7),
            usd: dec!(0.5),
            gco2e_usage_location: dec!(3),
            gco2e_usage_market: dec!(2),
            gco2e_embodied: dec!(1),
        };
        let balance = SliceBalance { transfers: 2, debit: sums, credit: sums, supplied: sums };
        let mut totals = Totals::default();
        totals.add(2, &sums).unwrap();
        for side in [Side::Debit, Side::Supplied] {
            totals.check(&balance, side).unwrap();
        }
        let nano = dec!(0.000000001);
        let unlike = |change: &dyn Fn(&mut Sums)| {
            let mut other = totals;
            change(&mut other.sums);
            other.check(&balance, Side::Debit).unwrap_err().to_string()
        };
        assert!(unlike(&|sums| sums.tokens += dec!(1)).contains("8 tokens"));
        assert!(unlike(&|sums| sums.usd += dec!(0.000000000001)).contains("0.500000000001 usd"));
        assert!(unlike(&|sums| sums.gco2e_usage_location -= nano).contains("2.999999999 gco2e_usage_location"));
        assert!(unlike(&|sums| sums.gco2e_usage_market += nano).contains("gco2e_usage_market"));
        assert!(unlike(&|sums| sums.gco2e_embodied += nano).contains("gco2e_embodied"));
        let one_less = Totals { transfers: 1, ..totals };
        assert!(one_less.check(&balance, Side::Debit).unwrap_err().to_string().contains("1 transfers"));
        let torn = SliceBalance { credit: Sums { usd: dec!(0.4), ..sums }, ..balance };
        assert!(matches!(totals.check(&torn, Side::Debit), Err(ExportError::Unbalanced { unit: "usd", .. })));
    }
}
