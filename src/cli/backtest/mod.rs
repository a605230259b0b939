//! `counterfoil backtest`: how good the forecast would have been, beside what dashboards do.

mod series;
mod show;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};

use crate::app::projection::past::pasts;
use crate::cli::books::open_books;
use crate::clock::Clock;
use crate::config::{Environment, StoreArgs};
use crate::domain::calendar::Zone;
use crate::domain::forecast::backtest::{Case, Kind, Report, errors_of, generate, run as play, summarise};
use crate::domain::forecast::errors::{ErrorBook, ErrorClass, HORIZONS, PastError, distribution};
use crate::domain::forecast::{Question, project};
use crate::domain::id::BudgetId;

/// Tenants in the measurement of speed.
const SPEED_TENANTS: usize = 1_000;
/// How often it is repeated.
const SPEED_RUNS: usize = 20;

/// Measure the forecast on the past, beside straight lines
///
/// Forecasts are made at instants of the past from what was known then: on days 3, 5, 10, 15, 20 and 25 of each month, under
/// limits of 60 to 97 percent of what the month really used. Without a file on the series that ship, real and made. With one
/// on yours: columns `hour` (2026-11-01T09:00:00Z, or a number) and `value`, and if you like `tenant` and `zone`. With
/// `--data-dir` or `--database-url` on the journal of an installation: what each of its budgets has used.
///
/// Prints the distance of the projected instant from the real one, how often the 80 percent band held it, and the Brier score
/// of the probability (0 is best).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  counterfoil backtest\n  counterfoil backtest --csv use.csv --zone Europe/Berlin\n  counterfoil backtest --data-dir ./books --budget anthropic-quota"
)]
pub struct BacktestArgs {
    /// Use by the hour
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// The zone of tenants that the file gives none
    #[arg(long, default_value = "Etc/UTC")]
    zone: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Only this budget of the journal
    #[arg(long, value_name = "ID", conflicts_with = "csv")]
    budget: Option<String>,
    /// Seeds of each made series
    #[arg(long, default_value_t = 3)]
    seeds: u32,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Measure how long a projection of 1,000 tenants with twelve weeks takes instead
    #[arg(long, conflicts_with_all = ["csv", "json"])]
    speed: bool,
    /// Print the errors of the series as the table that is built in
    #[arg(long, hide = true)]
    errors: bool,
}

pub(super) async fn run(args: &BacktestArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    if args.speed {
        write!(std::io::stdout(), "{}", speed()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let zone = Zone::parse(&args.zone)?;
    // Only where it is named: books that happen to be on a machine are not looked at unasked.
    let journal = args.store.data_dir.is_some() || args.store.database_url.is_some();
    let cases = match &args.csv {
        None if journal => recorded(args, environment).await?,
        Some(path) => {
            let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            let sources = series::read_csv(file, zone).with_context(|| format!("cannot read {}", path.display()))?;
            series::cases_of(sources)
        }
        None => shipped(args.seeds)?,
    };
    anyhow::ensure!(
        cases.iter().any(|case| !case.periods.is_empty()),
        "too short: two weeks are needed, and more for months"
    );
    let mut out = std::io::stdout().lock();
    if args.errors {
        write!(out, "{}", show::errors(&errors(&cases)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = backtest(&cases);
    if args.json {
        writeln!(out, "{:#}", show::json(&report))?;
    } else {
        write!(out, "{}", show::text(&report, crate::cli::table::Look::of_stdout(environment)))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What the budgets of an installation have used: each a pool, with its tenants where only one budget is asked for.
async fn recorded(args: &BacktestArgs, environment: &Environment) -> anyhow::Result<Vec<Case>> {
    let only = args.budget.as_deref().map(BudgetId::parse).transpose().context("--budget")?;
    let quiet = Arc::new(|_: &str| {});
    let opened = open_books(&args.store, environment, quiet).await?;
    let found = pasts(&opened.connect_options(), Clock::system().now(), only.as_ref()).await;
    let place = opened.place();
    opened.stop().await?;
    let found = found.with_context(|| format!("the journal of {place} cannot be read"))?;
    let known = if let Some(only) = &only { format!("budget {only}") } else { "budget".to_owned() };
    anyhow::ensure!(!found.is_empty(), "no {known} at {place} has a past that the roll-up can tell");
    Ok(match found.as_slice() {
        [one] => series::cases_of(one.sources.clone()),
        many => many.iter().map(|past| Case::of(&past.name, Kind::Own, past.sources.clone())).collect(),
    })
}

/// The series that ship: the real ones, and the made ones from so many seeds each.
///
/// # Errors
/// Where a file that ships cannot be read.
pub fn shipped(seeds: u32) -> anyhow::Result<Vec<Case>> {
    let mut cases = series::bundled()?;
    cases.extend(generate::cases(u64::from(seeds)));
    Ok(cases)
}

/// Plays cases.
#[must_use]
pub fn backtest(cases: &[Case]) -> Report {
    summarise(&play(cases))
}

fn errors(cases: &[Case]) -> Vec<PastError> {
    let book = ErrorBook::builtin();
    let numbered = (0_u64..).zip(cases);
    numbered.flat_map(|(number, case)| errors_of(case, number, &book)).collect()
}

/// One distribution for each class and horizon.
fn distributions(errors: &[PastError]) -> Vec<show::Distribution> {
    let mut found = Vec::new();
    for class in ErrorClass::ALL {
        for hours in HORIZONS {
            let own: Vec<PastError> =
                errors.iter().filter(|error| error.class == class && error.hours == hours).copied().collect();
            let count = own.len();
            let (quantiles, independent) = distribution(own.into_iter(), hours).unzip();
            found.push(show::Distribution { class, hours, count, independent: independent.unwrap_or(0.0), quantiles });
        }
    }
    found
}

fn speed() -> anyhow::Result<String> {
    let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(20);
    let sources = series::many(SPEED_TENANTS, now)?;
    let book = ErrorBook::builtin();
    let question = Question {
        now,
        period_start: now - TimeDelta::days(10),
        reset: Some(now + TimeDelta::days(21)),
        limit: 1e12,
        posted: 0.0,
        held: 0.0,
        sources: &sources,
        planned: &[],
        errors: &book,
        factor_range: None,
    };
    let mut took = Vec::new();
    for _ in 0..SPEED_RUNS {
        let began = Instant::now();
        let projection = std::hint::black_box(project(std::hint::black_box(&question)));
        took.push(began.elapsed());
        drop(projection);
    }
    took.sort();
    let at = |place: usize| took.get(place).map_or(0.0, |took| took.as_secs_f64() * 1e3);
    Ok(format!(
        "{SPEED_TENANTS} tenants, 12 weeks of hours each, 21 days ahead, {SPEED_RUNS} runs: fastest {:.1} ms, median {:.1} ms, slowest {:.1} ms\n",
        at(0),
        at(SPEED_RUNS / 2),
        at(SPEED_RUNS - 1)
    ))
}
