//! `counterfoil bench`: how fast, how big, and whether the books are right meanwhile.
//!
//! | file | what |
//! |---|---|
//! | [`bed`] | the Postgres, its database for a while, the service in a process of its own |
//! | [`load`] | the calls that are made |
//! | [`callers`] | who makes them: over HTTP to the service, over a socket to the baseline |
//! | [`tally`] | what they count |
//! | [`check`] | whether the books say what they were told |
//! | [`process`] | what it cost, and on which machine |
//! | [`report`] | the page and the JSON |
//! | [`beside`] | instead of a baseline, the same load with and without something that runs beside it |
//!
//! The service and the baseline are measured in turns, slice by slice, on the same Postgres: what disturbs the machine
//! disturbs both. `docs/reference/benchmarks.md` states the method and the figures.
//!
//! Deliberately absent: an open-loop generator. A caller here waits for its answer, as an agent does before its model call.

mod bed;
mod beside;
mod callers;
mod check;
mod load;
mod process;
mod report;
mod tally;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::SecondsFormat;
use clap::builder::ArgPredicate;
use hyper::Method;
use serde_json::json;
use sqlx::PgConnection;

use self::bed::{Bed, Service};
use self::beside::Beside;
use self::callers::{Caller, HttpCaller, NaiveCaller, Slice, drive};
use self::check::Standing;
use self::load::Shape;
use self::report::{Audit, Flush, Measured, Memory, Postgres, Report, Run, Setting, Used};
use self::tally::{Tally, Told};
use crate::cli::client::Client;
use crate::cli::table::Look;
use crate::clock::Clock;
use crate::config::{Environment, StoreArgs};
use crate::store::scratch;
use crate::telemetry::names;

/// How long both systems run before they are measured: connections, plans, caches.
const WARM_UP: Duration = Duration::from_secs(1);
/// Most differences that are listed.
const MISMATCHES_LISTED_MAX: usize = 20;

/// Measure the service, and a naive baseline on the same Postgres.
///
/// Starts the service in a process of its own on a private Postgres in a folder that is removed afterwards (with
/// `--data-dir`, `--database-url` or `DATABASE_URL`: in a database of its own there, dropped afterwards), and drives it over
/// HTTP: each request is a pre-flight that reserves and its settlement. Then compares the books with what callers were told;
/// exits with 1 on any difference.
///
/// With `--beside` there is no baseline: slices of the same load without and with something beside it take turns, and the
/// report says what that does to the latency of pre-flight.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  counterfoil bench\n  counterfoil bench --shape hot --seconds 5 --json\n  \
    counterfoil bench --beside pacing\n  counterfoil bench --beside export --rounds 10\n  \
    counterfoil bench --url http://127.0.0.1:8080 --token $TOKEN")]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a command line")]
pub struct BenchArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Measure what this does to pre-flight, instead of the baseline
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["shape", "no_naive", "no_lone"])]
    beside: Option<Beside>,
    /// How many callers at once, each on a connection of its own [default: 64, with --beside 16]
    #[arg(long, value_name = "N", hide_default_value = true, default_value = "64",
        default_value_if("beside", ArgPredicate::IsPresent, "16"),
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    callers: u16,
    /// Milliseconds that a caller thinks between requests: half to one and a half of it [default: 0, with --beside 50]
    #[arg(long, value_name = "MS", hide_default_value = true, default_value = "0",
        default_value_if("beside", ArgPredicate::IsPresent, "50"),
        value_parser = clap::value_parser!(u32).range(0..=60_000))]
    think_ms: u32,
    /// Seconds of one slice; each load has so many slices of each side as there are rounds [default: 10, with --beside pacing 3, with --beside export 20]
    #[arg(long, value_name = "SECONDS", hide_default_value = true, default_value = "10",
        default_value_ifs([("beside", "pacing", "3"), ("beside", "export", "20")]), value_parser = seconds)]
    seconds: f64,
    /// How often the two sides take turns [default: 3, with --beside pacing 10, with --beside export 5]
    #[arg(long, value_name = "N", hide_default_value = true, default_value = "3",
        default_value_ifs([("beside", "pacing", "10"), ("beside", "export", "5")]),
        value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Transfers of the journal that exports read; only with --beside export
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "beside",
        value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    journal: u32,
    /// Load: everybody on one hot budget, spread over 256 tenants, or both
    #[arg(long, value_name = "SHAPE", default_value = "both")]
    shape: Shapes,
    /// Send no idempotency keys
    #[arg(long)]
    no_keys: bool,
    /// Do not measure the baseline
    #[arg(long)]
    no_naive: bool,
    /// Do not measure one caller alone
    #[arg(long)]
    no_lone: bool,
    /// A running service to measure instead of one of our own; without baseline. Its books will hold the bench's calls
    #[arg(long, value_name = "URL", requires = "token", value_parser = address)]
    url: Option<SocketAddr>,
    /// A token for it, with the scope admin
    #[arg(long, value_name = "TOKEN", requires = "url")]
    token: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shapes {
    /// One budget for everybody.
    Hot,
    /// 256 tenants with budgets of their own.
    Spread,
    /// One after the other.
    Both,
}

impl Shapes {
    const fn each(self) -> &'static [Shape] {
        match self {
            Self::Hot => &[Shape::Hot],
            Self::Spread => &[Shape::Spread],
            Self::Both => &[Shape::Hot, Shape::Spread],
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("must be between 0.1 and 3600".to_owned()) }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let inner = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    inner.parse().map_err(|_| format!("`{text}` is not http://ADDRESS:PORT with an IP address"))
}

pub(super) async fn run(args: BenchArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    // Callers have one thread of their own, so that the service and Postgres are left as much of the machine as can be.
    let environment = environment.clone();
    let bench = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure_all(&args, &environment))
    };
    tokio::task::spawn_blocking(bench).await.context("the bench panicked")?
}

fn say(line: &str) {
    // Progress is for people; if nobody can read it, nothing is lost.
    let _ = writeln!(std::io::stderr(), "{line}");
}

async fn measure_all(args: &BenchArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let machine = process::Machine::look();
    let (bed, service) = match (&args.url, &args.token) {
        (Some(address), Some(token)) => (None, Service::running(*address, token.clone())),
        _ => {
            let bed = Bed::open(&args.store, environment, args.callers, Arc::new(say)).await?;
            match bed.start_service().await {
                Ok(service) => (Some(bed), service),
                Err(error) => {
                    bed.close().await?;
                    return Err(error);
                }
            }
        }
    };
    // Whatever happens, what we started is stopped and what we made is removed.
    let measured = tokio::select! {
        measured = measure(args, machine, bed.as_ref(), &service) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let stopped = service.stop().await;
    let closed = match bed {
        Some(bed) => bed.close().await,
        None => Ok(()),
    };
    let report = measured?;
    stopped?;
    closed?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report.page(Look::of_stdout(environment)))?;
    }
    Ok(if report.ledger_mismatches() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was found.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Findings {
    /// Beside a baseline.
    Speed(Report),
    /// Without and with something beside.
    Beside(beside::Report),
}

impl Findings {
    fn page(&self, look: Look) -> String {
        match self {
            Self::Speed(report) => report.page(look),
            Self::Beside(report) => report.page(look),
        }
    }

    const fn ledger_mismatches(&self) -> u64 {
        match self {
            Self::Speed(report) => report.audit.ledger_mismatches,
            Self::Beside(report) => report.audit.ledger_mismatches,
        }
    }
}

async fn measure(
    args: &BenchArgs,
    machine: process::Machine,
    bed: Option<&Bed>,
    service: &Service,
) -> anyhow::Result<Findings> {
    Ok(match args.beside {
        None => Findings::Speed(measure_speed(args, machine, bed, service).await?),
        Some(beside) => Findings::Beside(beside::measure(args, beside, machine, bed, service).await?),
    })
}

async fn measure_speed(
    args: &BenchArgs,
    machine: process::Machine,
    bed: Option<&Bed>,
    service: &Service,
) -> anyhow::Result<Report> {
    let mut bench = Bench::prepare(args, args.shape.each(), bed, service).await?;
    bench.look(args.shape.each()).await?;
    if let Some(bed) = bed.filter(|_| !args.no_naive) {
        bed.lay_naive().await?;
    }
    let mut runs = Vec::new();
    for shape in args.shape.each() {
        runs.push(bench.run(*shape, args.callers).await?);
    }
    if args.callers > 1 && !args.no_lone {
        runs.push(bench.run(args.shape.each().first().copied().unwrap_or(Shape::Hot), 1).await?);
    }
    let mut report = Report {
        setting: bench.setting(machine).await?,
        runs,
        memory: bench.memory(),
        audit: bench.audit().await?,
        targets: Vec::new(),
    };
    report.judge();
    Ok(report)
}

/// The command as it may be repeated; without a token or a URL with a password.
fn command_line(args: &BenchArgs) -> String {
    let BenchArgs { callers, think_ms, seconds, rounds, .. } = args;
    let mut line =
        format!("counterfoil bench --callers {callers} --think-ms {think_ms} --seconds {seconds} --rounds {rounds}");
    match args.beside {
        None => line.push_str(match args.shape {
            Shapes::Hot => " --shape hot",
            Shapes::Spread => " --shape spread",
            Shapes::Both => " --shape both",
        }),
        Some(Beside::Pacing) => line.push_str(" --beside pacing"),
        Some(Beside::Export) => line.push_str(&format!(" --beside export --journal {}", args.journal)),
    }
    let switches = [
        ("--no-keys", args.no_keys),
        ("--no-naive", args.no_naive),
        ("--no-lone", args.no_lone),
        ("--json", args.json),
    ];
    for (name, _) in switches.iter().filter(|(_, is_on)| *is_on) {
        line.push(' ');
        line.push_str(name);
    }
    line
}

/// A bench under way.
struct Bench<'a> {
    args: &'a BenchArgs,
    bed: Option<&'a Bed>,
    service: &'a Service,
    admin: Client,
    watcher: Option<PgConnection>,
    /// No other run has this name: idempotency keys begin with it.
    name: String,
    before: BTreeMap<&'static str, (Shape, Standing)>,
    told: BTreeMap<&'static str, BTreeMap<usize, Told>>,
    wrong: Vec<String>,
    memory: Memory,
}

impl<'a> Bench<'a> {
    /// Lays the tenants and budgets of these shapes.
    async fn prepare(
        args: &'a BenchArgs,
        shapes: &[Shape],
        bed: Option<&'a Bed>,
        service: &'a Service,
    ) -> anyhow::Result<Self> {
        let mut admin = Client::connect(service.address, &service.token).await?;
        for shape in shapes {
            lay(&mut admin, *shape).await?;
        }
        let watcher = match bed {
            Some(bed) => Some(bed.connect().await?),
            None => None,
        };
        Ok(Self {
            args,
            bed,
            service,
            admin,
            watcher,
            name: uuid::Uuid::now_v7().simple().to_string(),
            before: BTreeMap::new(),
            told: BTreeMap::new(),
            wrong: Vec::new(),
            memory: Memory::default(),
        })
    }

    /// Remembers how the budgets of these shapes stand: what they gain from now on is compared with what callers are told.
    async fn look(&mut self, shapes: &[Shape]) -> anyhow::Result<()> {
        for shape in shapes {
            self.before.insert(shape.name(), (*shape, check::standing(&mut self.admin, *shape).await?));
        }
        Ok(())
    }

    /// Callers of the service. The load's name tells their idempotency keys from those of other callers of the same shape.
    async fn callers(&self, shape: Shape, callers: u16, load: &str) -> anyhow::Result<Vec<HttpCaller>> {
        let (address, token) = (self.service.address, &self.service.token);
        let run = format!("{}-{}-{load}-{callers}", self.name, shape.name());
        let mut all = Vec::new();
        for number in 0..usize::from(callers) {
            let who = (run.as_str(), number);
            all.push(HttpCaller::connect(address, token, shape, who, !self.args.no_keys).await?);
        }
        Ok(all)
    }

    fn think(&self) -> Duration {
        Duration::from_millis(self.args.think_ms.into())
    }

    /// One load on both systems, in turns.
    async fn run(&mut self, shape: Shape, callers: u16) -> anyhow::Result<Run> {
        let mut ours = self.callers(shape, callers, "speed").await?;
        let mut theirs = Vec::new();
        if let Some(bed) = self.bed.filter(|_| !self.args.no_naive) {
            let run = format!("{}-{}-{callers}", self.name, shape.name());
            for number in 0..usize::from(callers) {
                let who = (run.as_str(), number);
                theirs.push(NaiveCaller::connect(&bed.options(), shape, who, !self.args.no_keys).await?);
            }
        }
        let slice = Duration::from_secs_f64(self.args.seconds);
        let warm_up = slice.min(WARM_UP);
        say(&format!("{}, {callers} callers: warming up", shape.name()));
        let warm = drive(&mut ours, warm_up, self.think()).await?;
        self.keep(shape, &warm.tally);
        let mut naive_tally = Tally::default();
        if !theirs.is_empty() {
            naive_tally.add(drive(&mut theirs, warm_up, self.think()).await?.tally);
        }

        let (mut service_sum, mut naive_sum) = (Sum::default(), Sum::default());
        let mut ratios = Vec::new();
        for round in 1..=self.args.rounds {
            let (one, used) = self.slice(&mut ours, slice).await?;
            self.keep(shape, &one.tally);
            let speed = speed(&one);
            let mut said = format!("{}, round {round}: service {speed:.0} requests/s", shape.name());
            service_sum.add(one, used);
            if !theirs.is_empty() {
                let (other, used) = self.slice(&mut theirs, slice).await?;
                let naive_speed = self::speed(&other);
                ratios.push(speed / naive_speed.max(f64::MIN_POSITIVE));
                said.push_str(&format!(", naive {naive_speed:.0}"));
                naive_sum.add(other, used);
            }
            say(&said);
        }
        self.memory.postgres_mb =
            self.bed.and_then(Bed::postmaster).and_then(process::family_memory_mb).or(self.memory.postgres_mb);
        let has_naive = !theirs.is_empty();
        for caller in theirs {
            caller.leave().await;
        }
        let naive = has_naive.then(|| naive_sum.measured());
        Ok(Run::new(shape.name(), callers, service_sum.measured(), naive, ratios))
    }

    /// One slice, and what it used. Both systems start from a checkpoint.
    async fn slice<C: Caller>(&mut self, callers: &mut Vec<C>, time: Duration) -> anyhow::Result<(Slice, Used)> {
        if let Some(watcher) = &mut self.watcher {
            // A server that we do not own may refuse; then both systems start from the same nothing.
            let _allowed = scratch::checkpoint(watcher).await;
        }
        let before = self.used().await?;
        let slice = drive(callers, time, self.think()).await?;
        Ok((slice, self.used().await?.since(before)))
    }

    async fn used(&mut self) -> anyhow::Result<Used> {
        let wal_bytes = match &mut self.watcher {
            Some(watcher) => Some(process::float(u64::try_from(scratch::wal_bytes(watcher).await?)?)),
            None => None,
        };
        let page = self.admin.send(Method::GET, "/metrics", None, &json!(null)).await?;
        let page = String::from_utf8_lossy(&page.body).into_owned();
        Ok(Used {
            service_cpu_s: self.service.process().and_then(process::cpu_seconds),
            postgres_cpu_s: self.bed.and_then(Bed::postmaster).and_then(process::family_cpu_seconds),
            callers_cpu_s: process::cpu_seconds(std::process::id()),
            wal_bytes,
            batches: metric(&page, &format!("{}_count", names::LANE_BATCH_SIZE)),
            batched: metric(&page, &format!("{}_sum", names::LANE_BATCH_SIZE)),
        })
    }

    /// Keeps what callers were told, for the comparison with the books.
    fn keep(&mut self, shape: Shape, tally: &Tally) {
        let told = self.told.entry(shape.name()).or_default();
        for (tenant, one) in &tally.told {
            told.entry(*tenant).or_default().add(*one);
        }
        if tally.wrong_answers > 0 {
            self.wrong.push(format!("{}: {} answers contradict what was asked", shape.name(), tally.wrong_answers));
        }
    }

    /// Every difference between the books and what callers were told. Nobody is calling now.
    async fn mismatches(&mut self) -> anyhow::Result<Vec<String>> {
        let mut found = std::mem::take(&mut self.wrong);
        for (shape, before) in self.before.values() {
            let after = check::standing(&mut self.admin, *shape).await?;
            let told = self.told.remove(shape.name()).unwrap_or_default();
            found.extend(check::differences(before, &after, &shape.shared_budgets(), &told));
        }
        Ok(found)
    }

    /// The same as a page of a report has it.
    async fn audit(&mut self) -> anyhow::Result<Audit> {
        let found = self.mismatches().await?;
        let ledger_mismatches = u64::try_from(found.len())?;
        Ok(Audit { ledger_mismatches, mismatches: found.into_iter().take(MISMATCHES_LISTED_MAX).collect() })
    }

    async fn setting(&mut self, machine: process::Machine) -> anyhow::Result<Setting> {
        Ok(Setting {
            version: env!("CARGO_PKG_VERSION"),
            command: command_line(self.args),
            at: Clock::system().now().to_rfc3339_opts(SecondsFormat::Secs, true),
            is_release_build: !cfg!(debug_assertions),
            machine,
            postgres: self.postgres().await?,
            seconds_per_slice: self.args.seconds,
            rounds: self.args.rounds,
            think_ms: self.args.think_ms,
            idempotency_keys: !self.args.no_keys,
        })
    }

    async fn postgres(&mut self) -> anyhow::Result<Option<Postgres>> {
        let Some(watcher) = &mut self.watcher else { return Ok(None) };
        let facts = scratch::server_facts(watcher).await?;
        let flush = match self.bed.and_then(Bed::disk) {
            Some(folder) => {
                let taken = process::flush_latency(folder).context("cannot measure the disk")?;
                let at = |share| tally::quantile(&taken, share);
                at(50).zip(at(99)).map(|(p50_us, p99_us)| Flush { p50_us, p99_us })
            }
            None => None,
        };
        Ok(Some(Postgres { version: facts.version, settings: facts.settings.into_iter().collect(), flush }))
    }

    fn memory(&self) -> Memory {
        Memory { service_peak_mb: self.service.process().and_then(process::peak_memory_mb), ..self.memory }
    }
}

/// Slices of one system, added up.
#[derive(Default)]
struct Sum {
    tally: Tally,
    seconds: f64,
    used: Option<Used>,
}

impl Sum {
    fn add(&mut self, slice: Slice, used: Used) {
        self.tally.add(slice.tally);
        self.seconds += slice.seconds;
        self.used = Some(self.used.map_or(used, |sum| sum.plus(used)));
    }

    fn measured(mut self) -> Measured {
        Measured::of(&mut self.tally, self.seconds, &self.used.unwrap_or_default())
    }
}

fn speed(slice: &Slice) -> f64 {
    process::float(slice.tally.settled) / slice.seconds.max(f64::MIN_POSITIVE)
}

/// The value of a metric without labels on a Prometheus page.
fn metric(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Makes tenants and budgets of a shape.
async fn lay(admin: &mut Client, shape: Shape) -> anyhow::Result<()> {
    for number in 0..shape.tenants() {
        let path = format!("/v1/tenants/{}", shape.tenant(number));
        let reply = admin.send(Method::PUT, &path, None, &json!({"timezone": "Europe/Berlin"})).await?;
        reply.json::<serde_json::Value>().with_context(|| format!("making {path}"))?;
    }
    for (id, body) in shape.budgets(Clock::system().now().date_naive()) {
        let reply = admin.send(Method::PUT, &format!("/v1/budgets/{id}"), None, &body).await?;
        reply.json::<serde_json::Value>().with_context(|| format!("making the budget {id}"))?;
    }
    Ok(())
}
