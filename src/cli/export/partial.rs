//! A file in the making: FILE.part, and beside it FILE.part.cursor, which says of which export it is.
//!
//! Invariant: FILE itself is whole, always: it gets its name when the last byte is on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::wire::export::TableFormat;

/// A file in the making.
#[derive(Debug)]
pub(super) struct Partial {
    whole: PathBuf,
    part: PathBuf,
    cursor_file: PathBuf,
    file: BufWriter<File>,
    cursor: Option<String>,
    rows: u64,
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

impl Partial {
    /// Opens FILE.part: an empty one, or the one that is there, cut to its whole rows.
    pub(super) fn open(whole: &Path, format: TableFormat, resume: bool) -> anyhow::Result<Self> {
        let (part, cursor_file) = (beside(whole, ".part"), beside(whole, ".part.cursor"));
        let cursor = if resume { fs::read_to_string(&cursor_file).ok() } else { None };
        let cursor = cursor.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let (rows, bytes) = match (format, &cursor) {
            (TableFormat::Csv, Some(_)) => whole_rows(&part).unwrap_or_default(),
            (TableFormat::Parquet, _) | (TableFormat::Csv, None) => (0, 0),
        };
        let file = OpenOptions::new().create(true).append(true).open(&part);
        let file = file.with_context(|| format!("{} cannot be written", part.display()))?;
        file.set_len(bytes)?;
        Ok(Self { whole: whole.to_owned(), part, cursor_file, file: BufWriter::new(file), cursor, rows })
    }

    /// Of which export it is, if it goes on with one.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Rows that are there already.
    pub(super) fn rows(&self) -> Option<u64> {
        Some(self.rows).filter(|rows| *rows > 0)
    }

    /// Writes down of which export it is, before its first byte.
    pub(super) fn begin(&self, cursor: &str) -> anyhow::Result<()> {
        fs::write(&self.cursor_file, cursor)
            .with_context(|| format!("{} cannot be written", self.cursor_file.display()))
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes).with_context(|| format!("{} cannot be written", self.part.display()))
    }

    /// Gives the file its name. How many bytes it has.
    pub(super) fn finish(mut self) -> anyhow::Result<u64> {
        self.file.flush()?;
        let file = self.file.get_ref();
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(&self.part, &self.whole).with_context(|| format!("{} cannot be named", self.whole.display()))?;
        // It would only mislead a later export; that it is left behind harms nothing else.
        let _left_behind = fs::remove_file(&self.cursor_file);
        Ok(bytes)
    }
}

/// How many rows of a CSV file are whole for certain, without its header, and how many bytes they and the header have. The
/// last row is not: nothing says whether it was cut.
fn whole_rows(path: &Path) -> Option<(u64, u64)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(path).ok()?;
    let mut record = csv::ByteRecord::new();
    let (mut records, mut last_starts_at) = (0_u64, 0);
    loop {
        let starts_at = reader.position().byte();
        if !reader.read_byte_record(&mut record).ok()? {
            break;
        }
        records = records.saturating_add(1);
        last_starts_at = starts_at;
    }
    let whole = records.saturating_sub(1);
    // A header alone is written again.
    if whole <= 1 { Some((0, 0)) } else { Some((whole.saturating_sub(1), last_starts_at)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "name,text\na,\"one\ntwo, \"\"three\"\"\"\nb,x\nc,y\n";

    #[test]
    fn a_file_cut_at_any_byte_goes_on_and_ends_as_it_would_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.csv");
        let lines = ["name,text\n", "a,\"one\ntwo, \"\"three\"\"\"\n", "b,x\n", "c,y\n"];
        assert_eq!(lines.concat(), WHOLE);
        for cut in 0..=WHOLE.len() {
            fs::write(beside(&path, ".part"), &WHOLE[..cut]).unwrap();
            fs::write(beside(&path, ".part.cursor"), "the cursor\n").unwrap();
            let mut partial = Partial::open(&path, TableFormat::Csv, true).unwrap();
            assert_eq!(partial.cursor(), Some("the cursor"));
            // What an export answers to `skip`: the rows after, and the header only before the first.
            let rest = match partial.rows() {
                None => lines.concat(),
                Some(rows) => lines[usize::try_from(rows).unwrap() + 1..].concat(),
            };
            partial.begin("the cursor").unwrap();
            partial.write(rest.as_bytes()).unwrap();
            assert_eq!(usize::try_from(partial.finish().unwrap()).unwrap(), WHOLE.len());
            assert_eq!(fs::read_to_string(&path).unwrap(), WHOLE, "cut after {cut} bytes");
            assert!(!beside(&path, ".part").exists() && !beside(&path, ".part.cursor").exists());
        }
    }

    #[test]
    fn without_resume_and_as_parquet_it_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        for (format, resume) in [(TableFormat::Csv, false), (TableFormat::Parquet, true)] {
            fs::write(beside(&path, ".part"), WHOLE).unwrap();
            fs::write(beside(&path, ".part.cursor"), "the cursor").unwrap();
            let partial = Partial::open(&path, format, resume).unwrap();
            assert_eq!(partial.rows(), None);
            assert_eq!(partial.cursor().is_some(), resume, "the same rows once more");
            assert_eq!(fs::metadata(beside(&path, ".part")).unwrap().len(), 0);
        }
    }
}
