//! `counterfoil import prices` and `counterfoil import factors`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::table::Look;
use crate::cli::books::open_books;
use crate::clock::Clock;
use crate::config::{Environment, StoreArgs};
use crate::domain::price::NewPriceRow;
use crate::ingest::factors::{self, FactorStanding};
use crate::ingest::prices::compare::{Standing, compare};
use crate::ingest::prices::{self, Origin, PriceFormat, ReadPrices};
use crate::store::rates;
use crate::wire::factor::FactorDoc;
use crate::wire::price::bundled_provider_names;
use crate::wire::rates::{check_factor, check_price};

/// Add prices or emission factors from a file
///
/// Shows what would change; `--apply` changes it. Rows are only ever added: nothing that is there is overwritten, and what is
/// posted keeps the row it was priced by.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  counterfoil import prices model_prices.json --data-dir ./books\n  \
                        counterfoil import factors grid.csv --data-dir ./books --apply")]
pub struct ImportArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Prices: data of genai-prices, the price map of `LiteLLM`, or a CSV
    Prices(PricesArgs),
    /// Emission factors: a JSON array as the API takes it, or a CSV like those of data/factors
    Factors(FactorsArgs),
}

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// As the file begins
    Auto,
    /// genai-prices
    GenaiPrices,
    /// The price map of `LiteLLM`
    Litellm,
    /// A CSV
    Csv,
}

#[derive(Debug, clap::Args)]
struct PricesArgs {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
    /// How the file is written
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    format: Format,
    /// Name and version of the source, where the file does not say [default: genai-prices or litellm]
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// The day the source spoke of, where the file does not say [default: today]
    #[arg(long, value_name = "DAY")]
    source_date: Option<NaiveDate>,
    /// The licence of the source, where the file does not say
    #[arg(long, value_name = "SPDX", default_value = "MIT")]
    licence: String,
    /// The first day of prices that have none [default: since always]
    #[arg(long, value_name = "DAY")]
    effective_from: Option<NaiveDate>,
}

#[derive(Debug, clap::Args)]
struct FactorsArgs {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
struct CommonArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Add the rows; without it nothing is changed
    #[arg(long)]
    apply: bool,
    /// Add also rows that another source in the book contradicts; of two in force the later one applies
    #[arg(long)]
    take_disagreements: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// One disagreement, as texts.
struct Disagreement {
    key: String,
    what: String,
    theirs: String,
    ours: String,
    source: String,
}

/// What an import found and did.
#[derive(Default)]
struct Report {
    read: usize,
    known: usize,
    agree: usize,
    new: usize,
    later: usize,
    differ: usize,
    invalid: Vec<String>,
    disagreements: Vec<Disagreement>,
    skipped: BTreeMap<String, Vec<String>>,
    added: Option<usize>,
}

pub(super) async fn run(args: &ImportArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let (file, common) = match &args.what {
        What::Prices(prices) => (&prices.file, &prices.common),
        What::Factors(factors) => (&factors.file, &factors.common),
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let opened = open_books(&common.store, environment, Arc::new(|_: &str| {})).await?;
    let report = async {
        let mut connection = PgConnection::connect_with(&opened.connect_options()).await?;
        let report = match &args.what {
            What::Prices(prices) => import_prices(prices, &text, &mut connection).await,
            What::Factors(factors) => import_factors(factors, &text, &mut connection).await,
        };
        connection.close().await?;
        report
    };
    let report = report.await;
    let place = opened.place();
    opened.stop().await?;
    let report = report.with_context(|| {
        format!("{} into {place} (`counterfoil migrate` makes the tables where there are none)", file.display())
    })?;
    let mut out = std::io::stdout().lock();
    if common.json {
        writeln!(out, "{:#}", to_json(&report))?;
    } else {
        write!(out, "{}", to_text(&report, file, Look::of_stdout(environment)))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn read_prices(args: &PricesArgs, text: &str, now: DateTime<Utc>) -> anyhow::Result<ReadPrices> {
    let format = match args.format {
        Format::Auto => prices::detect(text),
        Format::GenaiPrices if prices::detect(text) == PriceFormat::Converted => PriceFormat::Converted,
        Format::GenaiPrices => PriceFormat::GenaiPrices,
        Format::Litellm => PriceFormat::Litellm,
        Format::Csv => PriceFormat::Csv,
    };
    let name = if format == PriceFormat::Litellm { "litellm" } else { "genai-prices" };
    let midnight = |day: NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc();
    let origin = Origin {
        source: args.source.clone().unwrap_or_else(|| name.to_owned()),
        source_date: args.source_date.unwrap_or_else(|| now.date_naive()),
        licence: args.licence.clone(),
        effective_from: args.effective_from.map_or(DateTime::<Utc>::UNIX_EPOCH, midnight),
    };
    Ok(prices::read(format, text, &origin, &bundled_provider_names()?)?)
}

async fn import_prices(args: &PricesArgs, text: &str, connection: &mut PgConnection) -> anyhow::Result<Report> {
    let now = Clock::system().now();
    let read = read_prices(args, text, now)?;
    let mut report = Report { read: read.rows.len(), skipped: read.skipped, ..Report::default() };
    let mut rows = Vec::new();
    for doc in &read.rows {
        match check_price(doc) {
            Ok(row) => rows.push(row),
            Err(error) => report.invalid.push(format!("{}/{}: {error}", doc.provider, doc.model)),
        }
    }
    let book = rates::load(connection).await?.prices;
    let mut chosen: Vec<NewPriceRow> = Vec::new();
    for (row, standing) in rows.into_iter().zip(compare_all(&read.rows, &book, now)) {
        let take = match standing {
            Standing::Known => count(&mut report.known, false),
            Standing::Agrees(_) => count(&mut report.agree, false),
            Standing::New => count(&mut report.new, true),
            Standing::Later => count(&mut report.later, true),
            Standing::Differs { source, differences, .. } => {
                let key = format!("{}/{}", row.provider, row.model);
                report.disagreements.extend(differences.into_iter().map(|one| Disagreement {
                    key: key.clone(),
                    what: if one.from == 0 {
                        one.bucket.as_str().to_owned()
                    } else {
                        format!("{} from {}", one.bucket.as_str(), one.from)
                    },
                    theirs: one.theirs.to_string(),
                    ours: one.ours.to_string(),
                    source: source.clone(),
                }));
                count(&mut report.differ, args.common.take_disagreements)
            }
        };
        chosen.extend(take.then_some(row));
    }
    if args.common.apply {
        report.added = Some(rates::add_prices(connection, &chosen, now).await?.new_rows());
    }
    Ok(report)
}

/// The standing of the rows that are valid, in order.
fn compare_all(
    docs: &[crate::wire::price::PriceRowDoc],
    book: &crate::domain::price::book::PriceBook,
    now: DateTime<Utc>,
) -> Vec<Standing> {
    let rows: Vec<NewPriceRow> = docs.iter().filter_map(|doc| check_price(doc).ok()).collect();
    compare(&rows, book, now)
}

async fn import_factors(args: &FactorsArgs, text: &str, connection: &mut PgConnection) -> anyhow::Result<Report> {
    let now = Clock::system().now();
    let docs = factors::read(text)?;
    let mut report = Report { read: docs.len(), ..Report::default() };
    let mut valid: Vec<FactorDoc> = Vec::new();
    for doc in docs {
        match check_factor(&doc) {
            Ok(_) => valid.push(doc),
            Err(error) => report.invalid.push(error.to_string()),
        }
    }
    let book = rates::factor_docs(connection).await?;
    let standings = factors::compare(&valid, &book, now)?;
    let mut chosen = Vec::new();
    for (doc, standing) in valid.into_iter().zip(standings) {
        let take = match standing {
            FactorStanding::Known => count(&mut report.known, false),
            FactorStanding::Agrees(_) => count(&mut report.agree, false),
            FactorStanding::New => count(&mut report.new, true),
            FactorStanding::Differs { key, source, differences } => {
                report.disagreements.extend(differences.into_iter().map(|one| Disagreement {
                    key: key.clone(),
                    what: one.field,
                    theirs: one.theirs,
                    ours: one.ours,
                    source: source.clone(),
                }));
                count(&mut report.differ, args.common.take_disagreements)
            }
        };
        chosen.extend(take.then_some(doc));
    }
    if args.common.apply {
        report.added = Some(rates::add_factors(connection, &chosen, now).await?.new_rows());
    }
    Ok(report)
}

/// Counts one, and says whether it is taken.
const fn count(of: &mut usize, take: bool) -> bool {
    *of = of.saturating_add(1);
    take
}

fn to_json(report: &Report) -> Value {
    let disagreement = |one: &Disagreement| json!({"of": one.key, "what": one.what, "theirs": one.theirs, "ours": one.ours, "our_source": one.source});
    json!({
        "read": report.read,
        "known": report.known,
        "agree": report.agree,
        "new": report.new,
        "later": report.later,
        "differ": report.differ,
        "invalid": report.invalid,
        "skipped": report.skipped,
        "disagreements": report.disagreements.iter().map(disagreement).collect::<Vec<_>>(),
        "applied": report.added.is_some(),
        "added": report.added.unwrap_or(0),
    })
}

fn to_text(report: &Report, file: &Path, look: Look) -> String {
    let mut text = String::new();
    if !report.disagreements.is_empty() {
        let mut table = look.table(&["of", "what", "the file", "the book", "by"]);
        for one in &report.disagreements {
            table.add_row([&one.key, &one.what, &one.theirs, &one.ours, &one.source]);
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        text.extend(["Sources disagree:\n\n", &lines.join("\n"), "\n\n"]);
    }
    for (reason, what) in &report.skipped {
        let first = what.first().map_or("", String::as_str);
        text += &format!("left out, {reason}: {} (such as {first})\n", what.len());
    }
    for invalid in &report.invalid {
        text.extend(["not valid: ", invalid, "\n"]);
    }
    text += &format!(
        "{}: {} rows read; {} are known, {} agree with the book, {} are new, {} are later prices, {} disagree.\n",
        file.display(),
        report.read,
        report.known,
        report.agree,
        report.new,
        report.later,
        report.differ,
    );
    text.push_str(&match report.added {
        Some(added) => format!("{added} rows were added.\n"),
        None => "Nothing was changed: --apply adds the rows that are new or later.\n".to_owned(),
    });
    text
}
