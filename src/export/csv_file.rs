//! A table as comma-separated values (RFC 4180): a header, `\n` after each row, quotes where they are needed.
//!
//! Nothing is an empty field.
//! A text that a spreadsheet would take for a formula ([`is_formula`]) gets an apostrophe before it: names of models, runs and
//! tenants are what callers say, and a file goes to people who open it. [`CsvFile::keeping_formulas`] leaves them as they are.
//! Rows that the caller has already ([`CsvFile::after`]) are counted and not written, nor is the header.

use chrono::SecondsFormat;
use rust_decimal::Decimal;

use super::ExportError;
use super::table::{Cell, Column, write_pico};

/// A file in the making.
pub struct CsvFile {
    writer: csv::Writer<Vec<u8>>,
    /// Rows that are still to be left out.
    skip: u64,
    text: String,
    failed: Option<String>,
    keeps_formulas: bool,
}

/// Whether a spreadsheet would take a text for a formula: it begins like one, and is neither a number nor mere signs, such as
/// the tenant of what belongs to nobody.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
        && text.contains(char::is_alphanumeric)
        && text.parse::<Decimal>().is_err()
}

impl CsvFile {
    /// A file with these columns, after so many rows. With none it begins with the header.
    #[must_use]
    pub fn after(rows: u64, columns: &[Column]) -> Self {
        let mut file = Self { writer: writer(), skip: 0, text: String::new(), failed: None, keeps_formulas: false };
        if rows == 0 {
            for column in columns {
                file.field(column.name);
            }
            file.end_row();
        }
        Self { skip: rows, ..file }
    }

    /// The same, with every text as it is: for programs that join by it.
    #[must_use]
    pub fn keeping_formulas(self, keeps_formulas: bool) -> Self {
        Self { keeps_formulas, ..self }
    }

    /// Writes the next cell of the row.
    pub fn cell(&mut self, cell: Cell<'_>) {
        if self.skip > 0 {
            return;
        }
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        match cell {
            Cell::Null => self.field(""),
            Cell::Text(given) if is_formula(given) && !self.keeps_formulas => {
                text.push('\'');
                text.push_str(given);
                self.field(&text);
            }
            Cell::Text(given) => self.field(given),
            Cell::Integer(number) => self.field(&number.to_string()),
            Cell::Decimal(pico) => {
                write_pico(&mut text, pico);
                self.field(&text);
            }
            Cell::Instant(at) => self.field(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        }
        self.text = text;
    }

    fn field(&mut self, text: &str) {
        let written = self.writer.write_field(text);
        self.note(written);
    }

    /// Ends the row.
    pub fn end_row(&mut self) {
        if self.skip > 0 {
            self.skip = self.skip.saturating_sub(1);
            return;
        }
        let written = self.writer.write_record(None::<&[u8]>);
        self.note(written);
    }

    fn note(&mut self, written: Result<(), csv::Error>) {
        if let Err(error) = written {
            self.failed.get_or_insert_with(|| error.to_string());
        }
    }

    /// What was written since it was last taken.
    ///
    /// # Errors
    /// When the writer refused something.
    pub fn take(&mut self) -> Result<Vec<u8>, ExportError> {
        let fail = |cause| ExportError::Write { format: "CSV", cause };
        if let Some(cause) = self.failed.take() {
            return Err(fail(cause));
        }
        std::mem::replace(&mut self.writer, writer()).into_inner().map_err(|error| fail(error.to_string()))
    }
}

fn writer() -> csv::Writer<Vec<u8>> {
    // Rows are of one length because one function writes them all; checking it again would hold back a row.
    csv::WriterBuilder::new().flexible(true).from_writer(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [Column::text("name"), Column::decimal("amount"), Column::instant("at")];

    fn file(after: u64) -> String {
        let mut file = CsvFile::after(after, &COLUMNS);
        for (name, amount) in [("plain", 1), ("with \"quotes\", and a comma", -2_500_000_000_000), ("two\nlines", 0)] {
            file.cell(Cell::Text(name));
            file.cell(Cell::Decimal(amount));
            file.cell(if amount == 0 {
                Cell::Null
            } else {
                Cell::Instant("2026-06-10T12:00:00.250Z".parse().unwrap())
            });
            file.end_row();
        }
        String::from_utf8(file.take().unwrap()).unwrap()
    }

    #[test]
    fn rows_are_read_by_any_reader_of_csv() {
        let expected = "name,amount,at\n\
            plain,0.000000000001,2026-06-10T12:00:00.250Z\n\
            \"with \"\"quotes\"\", and a comma\",-2.5,2026-06-10T12:00:00.250Z\n\
            \"two\nlines\",0.0,\n";
        assert_eq!(file(0), expected);
    }

    #[test]
    fn texts_that_begin_like_formulas_are_none_unless_they_are_kept() {
        let formulas = ["=1+1", "+1+cmd|' /C calc'!A0", "-a", "@SUM(1+1)", "\t=1", "\r=1"];
        let others = ["gpt-4o", "-12.5", "+3", "a=b", "", "'=1", "-", "-/-"];
        let written = |keeps: bool| {
            let mut file = CsvFile::after(1, &COLUMNS).keeping_formulas(keeps);
            file.end_row();
            formulas.iter().chain(&others).for_each(|text| file.cell(Cell::Text(text)));
            file.end_row();
            let bytes = file.take().unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes.as_slice());
            reader.records().next().unwrap().unwrap().iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(written(true), [&formulas[..], &others].concat());
        let neutral: Vec<String> = formulas.iter().map(|text| format!("'{text}")).collect();
        assert_eq!(written(false)[..formulas.len()], neutral);
        assert_eq!(written(false)[formulas.len()..], others);
    }

    #[test]
    fn a_file_that_goes_on_has_what_was_missing_and_nothing_twice() {
        let whole = file(0);
        let two = whole.match_indices('\n').nth(2).unwrap().0 + 1;
        assert_eq!(file(2), whole[two..]);
        assert_eq!(file(3), "");
    }
}
