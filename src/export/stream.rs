//! From pages of rows to chunks of a file, in constant memory.
//!
//! | # | beat | how |
//! |---|---|---|
//! | 1 | read a page of rows | a transaction of its own, after the rest that verdicts need ([`JournalReader::rest`]) |
//! | 2 | write them, as bytes of the file | the same thread |
//! | 3 | hand over the bytes, and wait until they are taken | a slow reader slows the reading, and nothing piles up |
//! | 4 | at the end compare what was written with the trial balance, then the file's own end | |
//!
//! All of it computes: reading a row takes as long as writing it. So whoever calls [`write()`] does so on a thread that is none
//! of the runtime's, and of low priority (`app::exports`): it must not hold up requests.
//!
//! Invariant: the end of a file is written only when the sums are right: whoever has a whole file has right sums.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ExportError, Side, Totals};
use crate::store::export::reader::JournalReader;
use crate::store::export::transfers::JournalRow;
use crate::store::export::walk::Walk;
use crate::store::export::{Slice, SliceBalance};

/// Rows that are written at a time before others go first: some 0.2 ms.
const ROWS_PER_TURN: usize = 32;
/// Chunks that may wait for their reader.
pub const CHUNKS_MAX: usize = 2;
/// Longest time a reader may take for one chunk: an export that nobody reads holds a connection, and the place of another.
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
pub struct ChunkSender {
    /// The next piece, or why there is none.
    pub pieces: mpsc::Sender<Result<Chunk, ExportError>>,
    /// Who takes them.
    pub reader: Arc<FileReader>,
}

/// Who takes the chunks of an export, as seen from outside of it.
#[derive(Debug, Default)]
pub struct FileReader {
    /// Since when the export waits for it, if it does.
    waited_for_since: Mutex<Option<Instant>>,
    overtaken: CancellationToken,
}

impl FileReader {
    /// For how long the export has been waiting for it.
    #[must_use]
    pub fn waited_for(&self) -> Duration {
        let since = *self.waited_for_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Ends the export the next time that it waits for its reader.
    pub fn overtake(&self) {
        self.overtaken.cancel();
    }

    fn wait(&self, since: Option<Instant>) {
        *self.waited_for_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// Where the rows of a file come from.
pub trait Pages<Row>: Send {
    /// The next rows; none at the end.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<Row>>, ExportError>> + Send;

    /// Lets verdicts go first, if somebody asks for some.
    fn rest(&mut self) -> impl Future<Output = ()> + Send;
}

/// The transfers of a slice as they stand, in the order of time.
pub struct TransferPages<'r> {
    reader: &'r mut JournalReader,
    slice: Slice,
    walk: Walk,
}

impl<'r> TransferPages<'r> {
    /// Begins to read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(reader: &'r mut JournalReader, slice: Slice) -> Result<Self, ExportError> {
        let walk = Walk::begin(reader, &slice).await?;
        Ok(Self { reader, slice, walk })
    }
}

impl Pages<JournalRow> for TransferPages<'_> {
    async fn next(&mut self) -> Result<Option<Vec<JournalRow>>, ExportError> {
        let Some(page) = self.walk.next(self.reader).await? else { return Ok(None) };
        Ok(Some(self.reader.transfers(&self.slice, &page).await?))
    }

    async fn rest(&mut self) {
        self.reader.rest().await;
    }
}

/// Writes a file of these rows, chunk by chunk, and compares its sums with the trial balance.
///
/// # Errors
/// When the database does not answer, the file cannot be written, or the sums differ; the file then has no end.
/// [`ExportError::GivenUp`] when nobody takes the chunks any more, [`ExportError::SlowReader`] when it takes too long.
pub async fn write<Row: Sync + Send>(
    mut pages: impl Pages<Row>,
    mut writer: impl FileWriter<Row>,
    balance: &SliceBalance,
    out: &ChunkSender,
) -> Result<(), ExportError> {
    while let Some(rows) = pages.next().await? {
        for turn in rows.chunks(ROWS_PER_TURN) {
            pages.rest().await;
            turn.iter().try_for_each(|row| writer.row(row))?;
        }
        hand_over(&mut writer, out).await?;
    }
    writer.totals().check(balance, writer.side())?;
    writer.end()?;
    hand_over(&mut writer, out).await
}

/// Waits until what was written is taken.
async fn hand_over<Row>(writer: &mut impl FileWriter<Row>, out: &ChunkSender) -> Result<(), ExportError> {
    let bytes = writer.take()?;
    if bytes.is_empty() {
        return Ok(());
    }
    let chunk = Chunk { bytes: bytes.into(), transfers: writer.totals().transfers };
    out.reader.wait(Some(Instant::now()));
    let taken = tokio::select! {
        biased;
        taken = out.pieces.send(Ok(chunk)) => taken.map_err(|_| ExportError::GivenUp),
        () = out.reader.overtaken.cancelled() => Err(ExportError::SlowReader),
        () = tokio::time::sleep(STALLED_MAX) => Err(ExportError::SlowReader),
    };
    out.reader.wait(None);
    taken
}

#[cfg(test)]
mod tests {
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

    /// Pages of so many rows of one token each.
    struct Ones {
        left: u32,
        page: u32,
    }

    impl Pages<u32> for Ones {
        async fn next(&mut self) -> Result<Option<Vec<u32>>, ExportError> {
            let rows = self.left.min(self.page);
            self.left -= rows;
            Ok(Some(vec![1; usize::try_from(rows).unwrap()]).filter(|rows| !rows.is_empty()))
        }

        async fn rest(&mut self) {}
    }

    const PAGE: u32 = 100;

    fn to(pieces: mpsc::Sender<Result<Chunk, ExportError>>) -> ChunkSender {
        ChunkSender { pieces, reader: Arc::default() }
    }

    /// Writes so many rows of one token each; the balance says how many there are. The file, and how it ended.
    async fn file(rows: u32, tokens: u32) -> (String, Result<(), ExportError>) {
        let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
        let writing = tokio::spawn(async move {
            let sums = Sums { tokens: Decimal::from(tokens), ..Sums::default() };
            let balance = SliceBalance { transfers: rows.into(), debit: sums, credit: sums, supplied: sums };
            let letters = Letters { written: Vec::new(), totals: Totals::default() };
            write(Ones { left: rows, page: PAGE }, letters, &balance, &to(sender)).await
        });
        let mut text = String::new();
        while let Some(chunk) = receiver.recv().await {
            text.push_str(std::str::from_utf8(&chunk.unwrap().bytes).unwrap());
        }
        (text, writing.await.unwrap())
    }

    #[tokio::test]
    async fn a_file_of_right_sums_is_whole_whatever_its_length() {
        for rows in [0, 1, PAGE - 1, PAGE, PAGE + 1, 10 * PAGE] {
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
        let sums = Sums { tokens: Decimal::TEN, ..Sums::default() };
        let balance = SliceBalance { transfers: 10, debit: sums, credit: sums, supplied: sums };
        let ended = write(Ones { left: 10, page: PAGE }, letters, &balance, &to(sender)).await;
        assert!(matches!(ended, Err(ExportError::GivenUp)), "{ended:?}");
    }
    #[tokio::test]
    async fn an_export_that_waits_for_its_reader_gives_way_and_says_so() {
        let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
        let out = Arc::new(to(sender));
        let writing = tokio::spawn({
            let out = Arc::clone(&out);
            let sums = Sums { tokens: Decimal::ONE_THOUSAND, ..Sums::default() };
            let balance = SliceBalance { transfers: 1000, debit: sums, credit: sums, supplied: sums };
            let letters = Letters { written: Vec::new(), totals: Totals::default() };
            async move { write(Ones { left: 1000, page: PAGE }, letters, &balance, &out).await }
        });
        assert_eq!(out.reader.waited_for(), Duration::ZERO);
        // The pieces that fit are written, and one waits.
        while out.pieces.capacity() > 0 || out.reader.waited_for() == Duration::ZERO {
            tokio::task::yield_now().await;
        }
        assert!(!writing.is_finished());
        receiver.recv().await.unwrap().unwrap();
        out.reader.overtake();
        assert!(matches!(writing.await.unwrap(), Err(ExportError::SlowReader)));
    }
}
