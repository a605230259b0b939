//! Exports: a question becomes a slice, a reader and a stream of chunks.
//!
//! The service and the command line ask the same [`Exports`]. An export holds one connection until its last
//! chunk is taken; at most [`EXPORTS_MAX`] do so at once, so that exports never take the connections that verdicts need.
//! Tenants share these places ([`Places`]); one whose reader takes long gives way when another tenant asks for its first.
//! It runs on a thread of its own of low priority ([`aside`]), and so does the database's process
//! behind it, where that can be told to ([`crate::store::yielding`]): verdicts do not wait for exports.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::{mpsc, oneshot};

use super::AppError;
use super::places::{Bounds, Place, Places};
use super::usage::{bucket_starts, start_of_day};
use crate::auth::SealKey;
use crate::clock::Clock;
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::carbon::FactorBook;
use crate::domain::id::TenantId;
use crate::export::ExportError;
use crate::export::csv_file::CsvFile;
use crate::export::focus::adding::{CHARGES_MAX, Slots};
use crate::export::focus::pages::ChargePages;
use crate::export::focus::terms::Terms;
use crate::export::focus::{self, ChargePeriod, FocusWriter};
use crate::export::parquet_file::ParquetFile;
use crate::export::stream::{self, CHUNKS_MAX, Chunk, ChunkSender, FileReader, FileWriter, STALLED_MAX, TransferPages};
use crate::export::table::{Column, Table};
use crate::export::transfers::{self, TransfersWriter};
use crate::store::StoreError;
use crate::store::catalogue_reads::get_tenant;
use crate::store::export::pace::Pace;
use crate::store::export::reader::JournalReader;
use crate::store::export::transfers::JournalRow;
use crate::store::export::{Slice, SliceBalance, has_books};
use crate::store::yielding::lower_this_thread;
use crate::wire::export::{
    ExportCursor, ExportIdentity, FocusExportQuery, FormulasWord, Grain, SpanAsked, TableFormat, TransfersExportQuery,
};
use crate::wire::usage::Basis;
use crate::wire::usage::Bound;
use crate::wire::{FieldError, in_calendar};

/// Most exports at once, of one replica.
pub const EXPORTS_MAX: usize = 4;
/// Most exports at once of one tenant, or of the platform. The last two places are left to those who have none.
pub const EXPORTS_EACH_MAX: usize = 2;
/// How long an export waits for its reader before it gives way to one of a tenant that has none.
pub const SLOW_READER_AFTER: Duration = Duration::from_secs(5);
/// How long that one waits for the place.
const GIVES_WAY_WITHIN: Duration = Duration::from_secs(5);

/// The order of rows, as cursors name it: a file that was cut goes on only in the order in which it began. Another word
/// whenever the order changes, so that a cursor of the release before is refused instead of mixing two orders.
const ORDER: &str = "by-time";

/// What exports are made with. Cheap to clone.
#[derive(Clone)]
pub struct Exports {
    pool: PgPool,
    pub(super) clock: Clock,
    places: Places,
    /// Who asks: whose places are taken, and for whom cursors are sealed.
    caller: Option<TenantId>,
    /// What seals the cursors of tenants; the command line has none, and asks for the platform.
    seals: Option<Arc<SealKey>>,
    /// The readers of those that run.
    readers: Arc<Mutex<Vec<Weak<FileReader>>>>,
}

/// An export that has begun.
pub struct Begun {
    /// What to call the file.
    pub file_name: String,
    /// Its media type.
    pub media_type: &'static str,
    /// By which the next export takes only what is new, or this one goes on if it is cut.
    pub cursor: String,
    /// How many transfers it covers.
    pub transfers: u64,
    /// The file, piece by piece. An error is the last piece, and then the file has no end.
    pub chunks: mpsc::Receiver<Result<Chunk, ExportError>>,
}

/// Which file, once the calendar and the cursors are read.
pub(super) struct Plan {
    pub(super) reader: JournalReader,
    pub(super) slice: Slice,
    pub(super) balance: SliceBalance,
    pub(super) cursor: ExportCursor,
    /// The cursor, as its caller carries it.
    pub(super) carried: String,
    pub(super) zone: Zone,
    pub(super) place: Place,
    /// Who will take the chunks; known to other exports as long as this one runs.
    pub(super) reader_of_file: Arc<FileReader>,
}

/// What all exports have in common.
pub(super) struct Question<'a> {
    pub(super) export: &'static str,
    pub(super) tenant: Option<&'a TenantId>,
    pub(super) span: SpanAsked,
    /// Whether it needs a first and a last instant: then the current month if none is named.
    pub(super) bounded: bool,
    /// In which period what came late counts.
    pub(super) basis: Basis,
    /// Everything else that changes the file, but the zone.
    pub(super) shape: String,
    pub(super) cursor: Option<&'a str>,
    pub(super) resume: Option<&'a str>,
}

impl Exports {
    /// With this pool and clock, and what seals the cursors of tenants.
    #[must_use]
    pub fn new(pool: PgPool, clock: Clock, seals: Option<Arc<SealKey>>) -> Self {
        let bounds = Bounds { all: EXPORTS_MAX, each: EXPORTS_EACH_MAX, kept: EXPORTS_MAX.saturating_sub(2) };
        Self { pool, clock, places: Places::new(bounds), caller: None, seals, readers: Arc::default() }
    }

    /// The same, asked by a caller of this tenant, or of the platform.
    #[must_use]
    pub fn asked_by(&self, tenant: Option<&TenantId>) -> Self {
        Self { caller: tenant.cloned(), ..self.clone() }
    }

    /// A place. Where there is none, and the caller has none, the export whose reader takes longest gives way.
    async fn place(&self) -> Result<Place, AppError> {
        let caller = self.caller.as_ref();
        if let Some(place) = self.places.try_take(caller) {
            return Ok(place);
        }
        let slowest = {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            readers.retain(|reader| reader.strong_count() > 0);
            readers.iter().filter_map(Weak::upgrade).max_by_key(|reader| reader.waited_for())
        };
        let slow = slowest.filter(|reader| !self.places.has_one(caller) && reader.waited_for() >= SLOW_READER_AFTER);
        slow.ok_or(AppError::TooManyExports)?.overtake();
        let taken = tokio::time::timeout(GIVES_WAY_WITHIN, self.places.take(caller)).await;
        taken.ok().flatten().ok_or(AppError::TooManyExports)
    }

    /// On connections of its own, for the command line. None if there are no books in this database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn connect(options: &PgConnectOptions, clock: Clock) -> Result<Option<Self>, StoreError> {
        let named = options.clone().application_name("counterfoil export");
        let pool = PgPoolOptions::new().max_connections(1).connect_with(named).await?;
        let there = has_books(&pool).await?;
        Ok(there.then(|| Self::new(pool, clock, None)))
    }

    /// Gives the connections back.
    pub async fn close(self) {
        self.pool.close().await;
    }

    /// Begins an export of transfers, of one tenant or of all.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::TooManyExports`]; when the database does not answer.
    pub async fn transfers(&self, tenant: Option<&TenantId>, query: &TransfersExportQuery) -> Result<Begun, AppError> {
        let (exports, tenant, query) = (self.clone(), tenant.cloned(), query.clone());
        aside(async move { exports.begin_transfers(tenant.as_ref(), &query).await }).await
    }

    async fn begin_transfers(
        &self,
        tenant: Option<&TenantId>,
        query: &TransfersExportQuery,
    ) -> Result<(Begun, Writing), AppError> {
        let skip = check_skip(query.format, query.resume.is_some(), query.skip)?;
        let texts = [&query.period, &query.from, &query.to, &query.zone].map(Option::as_deref);
        let [period, from, to, zone] = texts;
        let question = Question {
            export: "transfers",
            tenant,
            span: SpanAsked::parse(period, from, to, zone)?,
            basis: Basis::AsPosted,
            bounded: false,
            shape: format!("{}{}", query.format.name(), query.formulas.shape()),
            cursor: query.cursor.as_deref(),
            resume: query.resume.as_deref(),
        };
        let plan = self.plan(&question).await?;
        let writer =
            TransfersWriter::new(table((query.format, query.formulas), transfers::COLUMNS, skip, plan.reader.pace())?);
        let (begun, sender) = plan.begin(query.format);
        Ok((begun, plan.write_transfers(writer, sender)))
    }

    /// Begins an export of charges, of one tenant or of all.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::TooManyExports`]; when the database does not answer.
    pub async fn focus(&self, tenant: Option<&TenantId>, query: &FocusExportQuery) -> Result<Begun, AppError> {
        let (exports, tenant, query) = (self.clone(), tenant.cloned(), query.clone());
        aside(async move { exports.begin_focus(tenant.as_ref(), &query).await }).await
    }

    async fn begin_focus(
        &self,
        tenant: Option<&TenantId>,
        query: &FocusExportQuery,
    ) -> Result<(Begun, Writing), AppError> {
        let skip = check_skip(query.format, query.resume.is_some(), query.skip)?;
        let texts = [&query.period, &query.from, &query.to, &query.zone].map(Option::as_deref);
        let [period, from, to, zone] = texts;
        let (version, grain) = (query.version.name(), query.grain.name());
        let question = Question {
            export: "focus",
            tenant,
            span: SpanAsked::parse(period, from, to, zone)?,
            basis: Basis::AsPosted,
            bounded: true,
            shape: format!("{} {version} {grain}{}", query.format.name(), query.formulas.shape()),
            cursor: None,
            resume: query.resume.as_deref(),
        };
        let mut plan = self.plan(&question).await?;
        let periods = charge_periods(&plan, query.grain)?;
        let starts: Vec<DateTime<Utc>> = periods.iter().map(|period| period.start).collect();
        let end_of_last = periods.last().map_or(DateTime::UNIX_EPOCH, |period| period.end);
        let slots = Slots { starts, end: end_of_last, zone: plan.zone };
        let (prices, factors) = (plan.reader.prices().await?, plan.reader.factors().await?);
        let shape = (query.format, query.formulas);
        let table = table(shape, focus::columns::columns(query.version), skip, plan.reader.pace())?;
        let terms = Terms::new(&prices, &factors)?;
        let writer = FocusWriter::new(table, query.version, periods, terms, Arc::new(FactorBook::new(factors)));
        let (begun, sender) = plan.begin(query.format);
        let Plan { mut reader, slice, balance, place, .. } = plan;
        let writing = async move {
            let ended = match ChargePages::begin(&mut reader, slice, slots, CHARGES_MAX).await {
                Ok(pages) => stream::write(pages, writer, &balance, &sender).await,
                Err(error) => Err(error),
            };
            end(ended, sender, reader, place).await;
        };
        Ok((begun, Box::pin(writing)))
    }

    /// Opens the reader, and reads the question by it.
    pub(super) async fn plan(&self, question: &Question<'_>) -> Result<Plan, AppError> {
        let place = self.place().await?;
        let now = self.clock.now();
        let mut reader = JournalReader::open(&self.pool, question.tenant, now).await?;
        let zone = match (question.span.zone, question.tenant) {
            (Some(zone), _) => zone,
            (None, None) => Zone::UTC,
            (None, Some(tenant)) => {
                let found = get_tenant(reader.connection(), tenant).await?;
                let found = found.ok_or_else(|| AppError::UnknownTenant(tenant.clone()))?;
                Zone::parse(&found.timezone).map_err(|error| FieldError::new("zone", error))?
            }
        };
        let (mut from, mut to) = span(&question.span, zone)?;
        if question.bounded {
            let month = PeriodSpec::MONTH.holding(zone, now).map_err(|error| FieldError::new("from", error))?;
            match (from, to) {
                (None, None) => (from, to) = (Some(month.start), month.end),
                (Some(_), Some(_)) => {}
                (Some(_), None) => return Err(FieldError::new("to", "is needed beside from").into()),
                (None, Some(_)) => return Err(FieldError::new("from", "is needed beside to").into()),
            }
        }
        let of = ExportIdentity {
            export: question.export.to_owned(),
            tenant: question.tenant.map(ToString::to_string),
            from,
            to,
            shape: format!("{} {} {ORDER}", question.shape, zone.name()),
        };
        let until = reader.mark().clone();
        let (tenant, basis) = (question.tenant.cloned(), question.basis);
        let mut slice = Slice { tenant, from, to, basis, since: None, until, until_now: true };
        let cursor = self.go_on(question, of, &mut slice)?;
        let carried = self.carry(&cursor)?;
        let balance = reader.balance(&slice).await?;
        let reader_of_file = Arc::new(FileReader::default());
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.push(Arc::downgrade(&reader_of_file));
        drop(readers);
        Ok(Plan { reader, slice, balance, cursor, carried, zone, place, reader_of_file })
    }

    /// Who seals, and for which tenant; nobody for the platform, which may see how busy it is.
    fn seal(&self) -> Option<(&SealKey, &str)> {
        Some((self.seals.as_deref()?, self.caller.as_ref()?.as_str()))
    }

    fn carry(&self, cursor: &ExportCursor) -> Result<String, AppError> {
        let seal = self.seal().map(|(key, tenant)| |bytes: &[u8]| key.seal_cursor(tenant, bytes));
        cursor.write(seal).map_err(|_| AppError::NoRandomness)
    }

    fn carried(&self, field: &str, text: &str) -> Result<ExportCursor, FieldError> {
        let open = self.seal().map(|(key, tenant)| move |bytes: Vec<u8>| key.open_cursor(tenant, &bytes).ok());
        ExportCursor::parse(field, text, open)
    }

    /// Reads the cursors, narrows the slice by them, and gives the cursor of this export.
    fn go_on(
        &self,
        question: &Question<'_>,
        of: ExportIdentity,
        slice: &mut Slice,
    ) -> Result<ExportCursor, FieldError> {
        let (field, text) = match (question.cursor, question.resume) {
            (Some(_), Some(_)) => {
                return Err(FieldError::new(
                    "resume",
                    "is given together with cursor: it knows where its export began",
                ));
            }
            (None, None) => return Ok(ExportCursor { of, since: None, until: slice.until.clone() }),
            (Some(cursor), None) => ("cursor", cursor),
            (None, Some(resume)) => ("resume", resume),
        };
        let given = self.carried(field, text)?;
        if field == "resume" {
            if given.of != of {
                return Err(FieldError::new(
                    field,
                    "is of another export: repeat the parameters of the one that was cut",
                ));
            }
            slice.since.clone_from(&given.since);
            slice.until = given.until.clone();
            slice.until_now = false;
            return Ok(given);
        }
        if (&given.of.export, &given.of.tenant) != (&of.export, &of.tenant) {
            return Err(FieldError::new(field, "is of another export, or of another tenant"));
        }
        slice.since = Some(given.until.clone());
        Ok(ExportCursor { of, since: Some(given.until), until: slice.until.clone() })
    }
}

/// The first instant of a span, and the first after it.
pub(super) type Ends = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// The instants of a span.
pub(super) fn span(asked: &SpanAsked, zone: Zone) -> Result<Ends, FieldError> {
    let instant = |field: &str, bound: Option<Bound>| match bound {
        None => Ok(None),
        Some(Bound::Instant(at)) => in_calendar(field, Some(at)),
        Some(Bound::Date(date)) => start_of_day(zone, date).map(Some).map_err(|error| FieldError::new(field, error)),
    };
    let (from, to) = (instant("from", asked.from)?, instant("to", asked.to)?);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return Err(FieldError::new("to", format!("{to} is not after from, which is {from}")));
    }
    Ok((from, to))
}

/// The charge periods of a plan, in their billing periods.
fn charge_periods(plan: &Plan, grain: Grain) -> Result<Vec<ChargePeriod>, FieldError> {
    let (Some(from), Some(to)) = (plan.slice.from, plan.slice.to) else { return Ok(Vec::new()) };
    let spec = match grain {
        Grain::Day => PeriodSpec::DAY,
        Grain::Hour => PeriodSpec::Hour,
    };
    let too_many = |error: FieldError| FieldError { field: "period".to_owned(), ..error };
    let starts = bucket_starts(spec, plan.zone, from, to).map_err(too_many)?;
    let ends = starts.iter().skip(1).copied().chain([to]);
    let periods = starts.iter().zip(ends).map(|(start, end)| {
        let month = PeriodSpec::MONTH.holding(plan.zone, *start).map_err(|error| FieldError::new("from", error))?;
        let billing_end = month.end.unwrap_or(to);
        Ok(ChargePeriod { start: *start, end, billing_start: month.start, billing_end })
    });
    periods.collect()
}

/// How many rows are left out.
pub(super) fn check_skip(format: TableFormat, resumes: bool, skip: Option<u64>) -> Result<u64, FieldError> {
    match (skip, format) {
        (None | Some(0), _) => Ok(0),
        (Some(_), _) if !resumes => {
            Err(FieldError::new("skip", "needs resume: the export whose rows are there already"))
        }
        (Some(_), TableFormat::Parquet) => {
            Err(FieldError::new("skip", "is for CSV: a Parquet file without its end cannot be read, nor gone on with"))
        }
        (Some(rows), TableFormat::Csv) => Ok(rows),
    }
}

/// An empty table, which is written at the pace of its reader.
fn table(
    (format, formulas): (TableFormat, FormulasWord),
    columns: &'static [Column],
    skip: u64,
    pace: &Pace,
) -> Result<Table, AppError> {
    Ok(match format {
        TableFormat::Csv => Table::Csv(Box::new(CsvFile::after(skip, columns).keeping_formulas(formulas.keeps()))),
        TableFormat::Parquet => {
            let pace = pace.clone();
            Table::Parquet(Box::new(ParquetFile::new(columns, move || pace.rest_here())?))
        }
    })
}

impl Plan {
    /// The head of the answer, and where the chunks go.
    pub(super) fn begin(&self, format: TableFormat) -> (Begun, ChunkSender) {
        self.begin_as(format.name(), format.media_type())
    }

    /// The same for a file that is no table: what its name ends with, and its media type.
    pub(super) fn begin_as(&self, extension: &str, media_type: &'static str) -> (Begun, ChunkSender) {
        self.reader.pace().head_is_told();
        let (pieces, chunks) = mpsc::channel(CHUNKS_MAX);
        let begun = Begun {
            file_name: file_name(&self.cursor.of, self.zone, extension),
            media_type,
            cursor: self.carried.clone(),
            transfers: self.balance.transfers,
            chunks,
        };
        (begun, ChunkSender { pieces, reader: Arc::clone(&self.reader_of_file) })
    }
}

impl Plan {
    /// Writes the transfers of the slice, one by one, and gives back what the plan holds.
    pub(super) fn write_transfers(self, writer: impl FileWriter<JournalRow>, sender: ChunkSender) -> Writing {
        let Self { mut reader, slice, balance, place, .. } = self;
        Box::pin(async move {
            let ended = match TransferPages::begin(&mut reader, slice).await {
                Ok(pages) => stream::write(pages, writer, &balance, &sender).await,
                Err(error) => Err(error),
            };
            end(ended, sender, reader, place).await;
        })
    }
}

/// What is left to do of an export that has begun: write it, and give back what it holds.
pub(super) type Writing = BoxFuture<'static, ()>;

/// Runs an export on a thread of its own, of low priority, from its first look at the books. A task of the runtime would hold
/// up the requests of its thread while it computes, and all threads of the runtime are of one priority.
pub(super) async fn aside(
    export: impl Future<Output = Result<(Begun, Writing), AppError>> + Send + 'static,
) -> Result<Begun, AppError> {
    let no_thread = || AppError::Busy("there is no thread for an export now: come back later");
    let runtime = tokio::runtime::Handle::current();
    let (tell, told) = oneshot::channel();
    let work = move || {
        lower_this_thread();
        // Its connection and its timers are looked after by the runtime; only the work is done here.
        runtime.block_on(async move {
            let (begun, writing) = match export.await {
                Ok((begun, writing)) => (Ok(begun), Some(writing)),
                Err(error) => (Err(error), None),
            };
            // Nobody is told where the request was given up meanwhile: then nobody takes the first chunk, either.
            let _gone = tell.send(begun);
            if let Some(writing) = writing {
                writing.await;
            }
        });
    };
    std::thread::Builder::new().name("export".to_owned()).spawn(work).map_err(|_| no_thread())?;
    told.await.map_err(|_| no_thread())?
}

/// Gives back what an export holds, and tells whoever takes the chunks of an error: a slow reader is waited for no longer
/// than for one more chunk, and by nobody else.
async fn end(ended: Result<(), ExportError>, out: ChunkSender, reader: JournalReader, place: Place) {
    if let Err(error) = reader.close().await {
        tracing::debug!(%error, "an export's connection did not close cleanly");
    }
    drop(place);
    let error = match ended {
        Ok(()) => return,
        Err(ExportError::GivenUp) => return tracing::debug!("an export was given up by its reader"),
        Err(error @ ExportError::SlowReader) => {
            tracing::info!(%error, "an export gave way");
            error
        }
        Err(error) => {
            tracing::error!(%error, "an export ended before its end");
            error
        }
    };
    // A reader that has gone away, or takes nothing any more, does not need to know.
    let _gone = tokio::time::timeout(STALLED_MAX, out.pieces.send(Err(error))).await;
}

/// `transfers_acme_2026-11-01_2026-12-01.csv`, in local days.
fn file_name(of: &ExportIdentity, zone: Zone, extension: &str) -> String {
    let day = |at: Option<DateTime<Utc>>| at.map_or_else(|| "open".to_owned(), |at| zone.local(at).date.to_string());
    let tenant = of.tenant.as_deref().unwrap_or("all");
    format!("{}_{tenant}_{}_{}.{}", of.export, day(of.from), day(of.to), extension)
}
