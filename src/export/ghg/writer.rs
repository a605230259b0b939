//! Rows of the journal into activity data.

use std::sync::Arc;

use super::{COLUMNS, GhgOptions, GhgTable};
use crate::domain::carbon::FactorBook;
use crate::export::stream::FileWriter;
use crate::export::table::{Cell, Column};
use crate::export::{ExportError, Side, Totals, csv_file::CsvFile, rows};
use crate::store::export::transfers::JournalRow;

/// Adds rows up, and writes the lines at the end.
pub struct GhgWriter {
    table: GhgTable,
    file: CsvFile,
    totals: Totals,
}

impl GhgWriter {
    /// An empty one. The book must have at least the rows that the transfers name.
    #[must_use]
    pub fn new(options: GhgOptions, book: Arc<FactorBook>, keeps_formulas: bool) -> Self {
        let file = CsvFile::after(0, &COLUMNS.map(Column::text)).keeping_formulas(keeps_formulas);
        Self { table: GhgTable::new(options, book), file, totals: Totals::default() }
    }
}

impl FileWriter<JournalRow> for GhgWriter {
    fn row(&mut self, row: &JournalRow) -> Result<(), ExportError> {
        self.table.add(&rows::emission(row)?)?;
        self.totals.add(1, &rows::signed(row))
    }

    fn end(&mut self) -> Result<(), ExportError> {
        // The totals are what was read and are what the books say; the lines must be the same.
        let (written, read) = (self.table.totals()?, &self.totals.sums);
        for (unit, written, expected) in [
            ("gco2e_usage_location", written.location, read.gco2e_usage_location),
            ("gco2e_usage_market", written.market, read.gco2e_usage_market),
            ("gco2e_embodied", written.embodied, read.gco2e_embodied),
        ] {
            if written != expected {
                return Err(ExportError::Mismatch { unit, written, expected });
            }
        }
        for line in self.table.lines() {
            for cell in line? {
                self.file.cell(Cell::Text(&cell));
            }
            self.file.end_row();
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<u8>, ExportError> {
        self.file.take()
    }

    fn totals(&self) -> &Totals {
        &self.totals
    }

    fn side(&self) -> Side {
        Side::Supplied
    }
}
