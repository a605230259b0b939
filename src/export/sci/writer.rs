//! Rows of the journal into intensities: a table, or a manifest.

use std::sync::Arc;

use super::{COLUMNS, SciPeriod, SciTable, manifest};
use crate::domain::carbon::FactorBook;
use crate::export::stream::FileWriter;
use crate::export::table::{Cell, Column};
use crate::export::{ExportError, Side, Totals, csv_file::CsvFile, rows};
use crate::store::export::transfers::JournalRow;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SciFormat {
    /// A line for each feature and functional unit.
    Csv,
    /// A manifest of the Impact Framework, in YAML.
    Manifest,
}

/// Adds rows up, and writes at the end.
pub struct SciWriter {
    table: SciTable,
    format: SciFormat,
    written: Vec<u8>,
    totals: Totals,
}

impl SciWriter {
    /// An empty one. The book must have at least the rows that the transfers name.
    #[must_use]
    pub fn new(format: SciFormat, period: SciPeriod, book: Arc<FactorBook>) -> Self {
        Self { table: SciTable::new(period, book), format, written: Vec::new(), totals: Totals::default() }
    }
}

impl FileWriter<JournalRow> for SciWriter {
    fn row(&mut self, row: &JournalRow) -> Result<(), ExportError> {
        let too_large = |_| ExportError::TooLarge { what: "a sum of", value: row.feature.clone() };
        self.table.add(&rows::emission(row)?).map_err(too_large)?;
        self.totals.add(1, &rows::signed(row))
    }

    fn end(&mut self) -> Result<(), ExportError> {
        let too_large = |_| ExportError::TooLarge { what: "a sum of", value: "all features".to_owned() };
        let (operational, embodied) = self.table.totals().map_err(too_large)?;
        for (unit, written, expected) in [
            ("gco2e_usage_location", operational, self.totals.sums.gco2e_usage_location),
            ("gco2e_embodied", embodied, self.totals.sums.gco2e_embodied),
        ] {
            if written != expected {
                return Err(ExportError::Mismatch { unit, written, expected });
            }
        }
        self.written = match self.format {
            SciFormat::Manifest => manifest(&self.table).into_bytes(),
            SciFormat::Csv => {
                let mut file = CsvFile::after(0, &COLUMNS.map(Column::text));
                for line in self.table.lines().map_err(too_large)? {
                    for cell in &line {
                        file.cell(Cell::Text(cell));
                    }
                    file.end_row();
                }
                file.take()?
            }
        };
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<u8>, ExportError> {
        Ok(std::mem::take(&mut self.written))
    }

    fn totals(&self) -> &Totals {
        &self.totals
    }

    fn side(&self) -> Side {
        Side::Supplied
    }
}
