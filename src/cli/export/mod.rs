//! `counterfoil export`.
//!
//! | file | what |
//! |---|---|
//! | [`partial`] | a file in the making, and how it goes on after it was cut |
//! | [`reports`] | the options of journals, activity data and intensities |
//! | this one | the command, the progress bar, the report |

mod partial;
mod reports;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use self::partial::Partial;
use self::reports::{Report, ReportArgs, Span};
use crate::app::exports::{Begun, Exports};
use crate::app::reports::Dialect;
use crate::cli::books::open_books;
use crate::clock::Clock;
use crate::config::{Environment, StoreArgs};
use crate::domain::id::TenantId;
use crate::wire::export::{FocusExportQuery, FocusVersion, FormulasWord, Grain, TableFormat, TransfersExportQuery};
use crate::wire::export_report::SciFormatWord;

/// Take a whole period out of the books, as a file that ties to the trial balance
///
/// Reads the books of a database beside a running service, as they stand when it begins, and gives way to verdicts. The file
/// gets its name when it is whole and its sums are those of the trial balance; until then it is FILE.part. After an
/// interruption `--resume` goes on with it: a CSV file from its last whole row, a Parquet file from its beginning, but with
/// the same rows.
///
/// Prints the cursor of the export, by which the next one takes only what is new.
///
/// Exit status: 0 when the file is whole, 1 when it is not.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  counterfoil export focus --period 2026-11 --zone Asia/Tokyo --tenant acme --out acme-2026-11.csv\n  counterfoil export transfers --cursor \"$(cat cursor)\" --out new.parquet > cursor"
)]
pub struct ExportArgs {
    /// What to take out
    what: What,
    #[command(flatten)]
    store: StoreArgs,
    /// The file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How it is written; by the end of the file's name if not given
    #[arg(long)]
    format: Option<Format>,
    /// A year, month or day of the zone: 2026, 2026-11 or 2026-11-21
    #[arg(long, value_name = "PERIOD", conflicts_with_all = ["from", "to"])]
    period: Option<String>,
    /// Only what counts from this instant or local day on
    #[arg(long, value_name = "INSTANT")]
    from: Option<String>,
    /// Only what counts before this instant or local day
    #[arg(long, value_name = "INSTANT")]
    to: Option<String>,
    /// The IANA zone of days and months; the tenant's own if one is named, else UTC
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Only this tenant's
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// Of focus: the version of the specification
    #[arg(long, value_name = "VERSION", default_value = "1.4", value_parser = ["1.4", "1.2"])]
    focus_version: String,
    /// Of focus: the length of a charge period
    #[arg(long, default_value = "day")]
    grain: GrainArg,
    /// Of transfers: the cursor that the export before printed, to take only what is new
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Of CSV: texts that begin like a formula (= + - @) are written as they are, without an apostrophe before them
    #[arg(long)]
    keep_formulas: bool,
    #[command(flatten)]
    report: ReportArgs,
    /// Of transfers and focus: go on with FILE.part, if there is one
    #[arg(long)]
    resume: bool,
}

/// What can be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The journal for a warehouse, a row for each transfer
    Transfers,
    /// Charges for finance, after the FinOps Open Cost and Usage Specification
    Focus,
    /// A journal of hledger, with opening balances and assertions
    Hledger,
    /// A journal of ledger
    Ledger,
    /// A file of beancount
    Beancount,
    /// Greenhouse-gas activity data, as CSV
    Ghg,
    /// Software carbon intensity: CSV, or by a name that ends in .yml a manifest of the Impact Framework
    Sci,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Comma-separated values
    Csv,
    /// Apache Parquet
    Parquet,
}

/// How long a charge period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum GrainArg {
    /// A local day
    Day,
    /// An hour, counted from local midnight
    Hour,
}

impl ExportArgs {
    /// Which of the exports it is that are no tables, if it is one.
    fn report(&self) -> Option<Report> {
        let extension = self.out.extension().and_then(|extension| extension.to_str());
        let is_manifest = matches!(extension, Some("yml" | "yaml"));
        match self.what {
            What::Transfers | What::Focus => None,
            What::Hledger => Some(Report::Journal(Dialect::Hledger)),
            What::Ledger => Some(Report::Journal(Dialect::Ledger)),
            What::Beancount => Some(Report::Journal(Dialect::Beancount)),
            What::Ghg => Some(Report::Ghg),
            What::Sci if is_manifest => Some(Report::Sci(SciFormatWord::Manifest)),
            What::Sci => Some(Report::Sci(SciFormatWord::Csv)),
        }
    }

    fn format(&self) -> anyhow::Result<TableFormat> {
        if self.report().is_some() {
            anyhow::ensure!(self.format != Some(Format::Parquet), "only transfers and focus are written as Parquet");
            anyhow::ensure!(
                !self.resume && self.cursor.is_none(),
                "its last lines are sums of all rows: export it anew"
            );
            return Ok(TableFormat::Csv);
        }
        match self.format {
            Some(Format::Csv) => Ok(TableFormat::Csv),
            Some(Format::Parquet) => Ok(TableFormat::Parquet),
            None => match self.out.extension().and_then(|extension| extension.to_str()) {
                Some("csv") => Ok(TableFormat::Csv),
                Some("parquet") => Ok(TableFormat::Parquet),
                _ => anyhow::bail!("{} ends in neither .csv nor .parquet: say --format", self.out.display()),
            },
        }
    }

    /// Begins the export that the options name, or goes on with one.
    async fn begin(&self, exports: &Exports, format: TableFormat, partial: &Partial) -> anyhow::Result<Begun> {
        let (resume, skip) = (partial.cursor().map(str::to_owned), partial.rows());
        let tenant = self.tenant.as_ref();
        let (period, from, to, zone) = (self.period.clone(), self.from.clone(), self.to.clone(), self.zone.clone());
        let formulas = if self.keep_formulas { FormulasWord::Keep } else { FormulasWord::Neutralize };
        let begun = match (self.report(), self.what) {
            (Some(report), _) => {
                let span = Span { period, from, to, zone };
                self.report.begin(exports, report, tenant, span, formulas).await?
            }
            (None, What::Transfers) => {
                // What is gone on with knows since when it is.
                let cursor = self.cursor.clone().filter(|_| resume.is_none());
                let tenant_named = tenant.map(ToString::to_string);
                let query = TransfersExportQuery {
                    format,
                    formulas,
                    period,
                    from,
                    to,
                    zone,
                    tenant: tenant_named,
                    cursor,
                    resume,
                    skip,
                };
                exports.transfers(tenant, &query).await?
            }
            (None, _) => {
                anyhow::ensure!(self.cursor.is_none(), "--cursor is for transfers: charges of a period are told whole");
                let version = if self.focus_version == "1.2" { FocusVersion::V1_2 } else { FocusVersion::V1_4 };
                let grain = match self.grain {
                    GrainArg::Day => Grain::Day,
                    GrainArg::Hour => Grain::Hour,
                };
                let tenant_named = tenant.map(ToString::to_string);
                let query = FocusExportQuery {
                    format,
                    formulas,
                    version,
                    grain,
                    period,
                    from,
                    to,
                    zone,
                    tenant: tenant_named,
                    resume,
                    skip,
                };
                exports.focus(tenant, &query).await?
            }
        };
        Ok(begun)
    }
}

pub(super) async fn run(args: &ExportArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let format = args.format()?;
    let bar = if std::io::stderr().is_terminal() { progress_bar()? } else { ProgressBar::hidden() };
    let told = bar.clone();
    let report = Arc::new(move |line: &str| told.set_message(line.to_owned()));
    let opened = open_books(&args.store, environment, report).await?;
    let place = opened.place();
    let exported = match Exports::connect(&opened.connect_options(), Clock::system()).await {
        Ok(Some(exports)) => {
            let exported = export(args, format, &exports, &bar).await;
            exports.close().await;
            exported
        }
        Ok(None) => Err(anyhow::anyhow!("there are no books at {place}: `counterfoil serve` makes them")),
        Err(error) => Err(error.into()),
    };
    bar.finish_and_clear();
    opened.stop().await?;
    exported.map(|()| ExitCode::SUCCESS)
}

async fn export(args: &ExportArgs, format: TableFormat, exports: &Exports, bar: &ProgressBar) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut partial = Partial::open(&args.out, format, args.resume)?;
    let mut begun = args.begin(exports, format, &partial).await?;
    let cursor = begun.cursor.clone();
    partial.begin(&cursor)?;
    bar.set_length(begun.transfers);
    let mut transfers = 0;
    while let Some(chunk) = begun.chunks.recv().await {
        let chunk = chunk.with_context(|| format!("{} is not whole", args.out.display()))?;
        partial.write(&chunk.bytes)?;
        transfers = chunk.transfers;
        bar.set_position(transfers);
    }
    anyhow::ensure!(transfers == begun.transfers, "{} is not whole: the export was given up", args.out.display());
    let bytes = partial.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    // Nobody may be reading either of them.
    let _unread = writeln!(
        std::io::stderr(),
        "{}: {transfers} transfers, {bytes} bytes, {seconds:.2} s; its sums are those of the trial balance",
        args.out.display()
    );
    let _unread = writeln!(std::io::stdout(), "{cursor}");
    Ok(())
}

fn progress_bar() -> anyhow::Result<ProgressBar> {
    let template = "{spinner} {msg} {bar:30} {human_pos} of {human_len} transfers, {elapsed}, {eta} to go";
    Ok(ProgressBar::new(0).with_style(ProgressStyle::with_template(template)?))
}
