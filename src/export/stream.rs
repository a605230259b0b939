//! From a snapshot to chunks of a file, in constant memory.
//!
//! | # | beat | how |
//! |---|---|---|
//! | 1 | read [`ROWS_PER_BATCH`] rows of the journal from the snapshot | the export's thread |
//! | 2 | write them, as bytes of the file | the same |
//! | 3 | hand over the bytes, and wait until they are taken | a slow reader slows the query, and nothing piles up |
//! | 4 | at the end compare what was written with the trial balance, then the file's own end | |
//!
//! All of it computes: reading a row takes as long as writing it. So whoever calls [`write()`] does so on a thread that is none
//! of the runtime's, and of low priority (`app::exports`): it must not hold up requests.
//!
//! Invariant: the end of a file is written only when the sums are right: whoever has a whole file has right sums.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use super::{ExportError, Side, Totals};
use crate::store::StoreError;
use crate::store::export::SliceBalance;

/// Rows that are written at once.
pub const ROWS_PER_BATCH: usize = 1024;
/// After how many rows the thread lets others go first: some hundred microseconds. Whoever wakes while it computes would wait
/// for the end of its slice otherwise, which is milliseconds, whatever its priority.
const ROWS_PER_TURN: usize = 32;
/// Chunks that may wait for their reader.
pub const CHUNKS_MAX: usize = 2;
/// Longest time a reader may take for one chunk: an export that nobody reads holds a snapshot, and a snapshot keeps the
/// database from clearing up.
pub const STALLED_MAX: Duration = Duration::from_secs(60);

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes.
    pub bytes: Bytes,
    /// Transfers in the file so far, for a progress bar.
    pub transfers: u64,
}

/// Turns rows of the journal into a file, and adds up what it writes.
pub trait FileWriter<Row>: Send + 'static {
    /// Writes what one row of the journal becomes.
    ///
    /// # Errors
    /// When it cannot be written.
    fn row(&mut self, row: &Row) -> Result<(), ExportError>;

    /// Writes the end of the file.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end(&mut self) -> Result<(), ExportError>;

    /// What was written since it was last taken.
    ///
    /// # Errors
    /// When it cannot be written.
    fn take(&mut self) -> Result<Vec<u8>, ExportError>;

    /// What it has written so far, added up from what stands in the file.
    fn totals(&self) -> &Totals;

    /// Which side of the trial balance that is.
    fn side(&self) -> Side;
}

/// Where the chunks go: to a body of HTTP, or to a file.
pub type ChunkSender = mpsc::Sender<Result<Chunk, ExportError>>;

/// Writes a file of these rows, chunk by chunk, and compares its sums with the trial balance.
///
/// # Errors
/// When the database does not answer, the file cannot be written, or the sums differ; the file then has no end.
/// [`ExportError::GivenUp`] when nobody takes the chunks any more.
pub async fn write<Row, Writer>(
    mut rows: BoxStream<'_, Result<Row, StoreError>>,
    mut writer: Writer,
    balance: &SliceBalance,
    out: &ChunkSender,
) -> Result<(), ExportError>
where
    Writer: FileWriter<Row>,
{
    loop {
        let mut batch = Vec::with_capacity(ROWS_PER_BATCH);
        while batch.len() < ROWS_PER_BATCH
            && let Some(row) = rows.next().await
        {
            batch.push(row?);
            if batch.len().is_multiple_of(ROWS_PER_TURN) {
                std::thread::yield_now();
            }
        }
        let last = batch.len() < ROWS_PER_BATCH;
        let bytes = write_batch(&mut writer, &batch, last.then_some(balance))?;
        if !bytes.is_empty() {
            let chunk = Chunk { bytes: bytes.into(), transfers: writer.totals().transfers };
            let sent = tokio::time::timeout(STALLED_MAX, out.send(Ok(chunk))).await;
            sent.map_err(|_| ExportError::GivenUp)?.map_err(|_| ExportError::GivenUp)?;
        }
        if last {
            return Ok(());
        }
    }
}

fn write_batch<Row, Writer: FileWriter<Row>>(
    writer: &mut Writer,
    batch: &[Row],
    end_with: Option<&SliceBalance>,
) -> Result<Vec<u8>, ExportError> {
    for turn in batch.chunks(ROWS_PER_TURN) {
        for row in turn {
            writer.row(row)?;
        }
        std::thread::yield_now();
    }
    if let Some(balance) = end_with {
        writer.totals().check(balance, writer.side())?;
        writer.end()?;
    }
    writer.take()
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use rust_decimal::Decimal;

    use super::*;
    use crate::store::export::Sums;

    /// Writes each number as a letter, and `.` at the end.
    struct Letters {
        written: Vec<u8>,
        totals: Totals,
    }

    impl FileWriter<u32> for Letters {
        fn row(&mut self, row: &u32) -> Result<(), ExportError> {
            self.written.push(b'x');
            self.totals.add(1, &Sums { tokens: Decimal::from(*row), ..Sums::default() })
        }

        fn end(&mut self) -> Result<(), ExportError> {
            self.written.push(b'.');
            Ok(())
        }

        fn take(&mut self) -> Result<Vec<u8>, ExportError> {
            Ok(std::mem::take(&mut self.written))
        }

        fn totals(&self) -> &Totals {
            &self.totals
        }

        fn side(&self) -> Side {
            Side::Debit
        }
    }

    /// Writes so many rows of one token each; the balance says how many there are. The file, and how it ended.
    async fn file(rows: u32, tokens: u32) -> (String, Result<(), ExportError>) {
        let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
        let writing = tokio::spawn(async move {
            let sums = Sums { tokens: Decimal::from(tokens), ..Sums::default() };
            let balance = SliceBalance { transfers: rows.into(), debit: sums, credit: sums, supplied: sums };
            let letters = Letters { written: Vec::new(), totals: Totals::default() };
            let rows = stream::iter((0..rows).map(|_| Ok(1))).boxed();
            write(rows, letters, &balance, &sender).await
        });
        let mut text = String::new();
        while let Some(chunk) = receiver.recv().await {
            text.push_str(std::str::from_utf8(&chunk.unwrap().bytes).unwrap());
        }
        (text, writing.await.unwrap())
    }

    #[tokio::test]
    async fn a_file_of_right_sums_is_whole_whatever_its_length() {
        let batch = u32::try_from(ROWS_PER_BATCH).unwrap();
        for rows in [0, 1, batch - 1, batch, batch + 1, 3 * batch] {
            let (text, ended) = file(rows, rows).await;
            ended.unwrap();
            assert_eq!(text, format!("{}.", "x".repeat(usize::try_from(rows).unwrap())));
        }
    }

    #[tokio::test]
    async fn a_file_of_wrong_sums_has_no_end() {
        let (text, ended) = file(3000, 3001).await;
        assert!(matches!(ended, Err(ExportError::Mismatch { unit: "tokens", .. })), "{ended:?}");
        assert!(!text.contains('.'));
    }

    #[tokio::test]
    async fn an_export_that_nobody_reads_ends() {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        drop(receiver);
        let letters = Letters { written: Vec::new(), totals: Totals::default() };
        let rows = stream::iter((0..10).map(|_| Ok(1))).boxed();
        let sums = Sums { tokens: Decimal::TEN, ..Sums::default() };
        let balance = SliceBalance { transfers: 10, debit: sums, credit: sums, supplied: sums };
        let ended = write(rows, letters, &balance, &sender).await;
        assert!(matches!(ended, Err(ExportError::GivenUp)), "{ended:?}");
    }
}
