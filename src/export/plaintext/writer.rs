//! Rows of the journal into a plain-text file.

use super::{Dialect, Group, Head, Journal};
use crate::domain::calendar::Zone;
use crate::export::stream::FileWriter;
use crate::export::{ExportError, Side, Totals, rows};
use crate::store::export::transfers::JournalRow;

/// Writes a journal of accounts.
pub struct JournalWriter {
    journal: Option<Journal>,
    group: Group,
    zone: Zone,
    text: String,
    totals: Totals,
}

impl JournalWriter {
    /// Begins one. Rows of a journal by call must come in the order of time.
    #[must_use]
    pub fn new(dialect: Dialect, group: Group, zone: Zone, head: Head) -> Self {
        let journal = Journal::new(dialect, group, head);
        let mut text = String::new();
        journal.begin(&mut text);
        Self { journal: Some(journal), group, zone, text, totals: Totals::default() }
    }
}

impl FileWriter<JournalRow> for JournalWriter {
    fn row(&mut self, row: &JournalRow) -> Result<(), ExportError> {
        let movement = rows::movement(row, self.zone, self.group == Group::Call)?;
        if let Some(journal) = &mut self.journal {
            journal.movement(movement, &mut self.text)?;
        }
        self.totals.add(1, &row.sums)
    }

    fn end(&mut self) -> Result<(), ExportError> {
        if let Some(journal) = self.journal.take() {
            journal.end(&mut self.text)?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<u8>, ExportError> {
        Ok(std::mem::take(&mut self.text).into_bytes())
    }

    fn totals(&self) -> &Totals {
        &self.totals
    }

    fn side(&self) -> Side {
        Side::Debit
    }
}
