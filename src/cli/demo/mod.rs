//! `counterfoil demo`: all of the main job in one command.
//!
//! | # | beat | what |
//! |---|------|------|
//! | 1 | start | the service, as `serve` starts it, on books of its own |
//! | 2 | set up | five tenants on five clocks, their budgets, two quotas on providers' clocks |
//! | 3 | replay | one hour of real calls, over HTTP, from many callers at once |
//! | 4 | pace | the projection of a quota that four more tenants share, and a morning's calls against it: people, agents, batch |
//! | 5 | show | both, budgets, features, the trial balance, verdicts with their reasons |
//! | 6 | serve | until told to stop; `--exit` leaves this out |
//!
//! Invariants: never touches books that were not named or made by a demo; the same rows play the same parts each time; a
//! second demo on the same books goes on where the first ended.

mod books;
mod cast;
mod fleet;
mod foresight;
mod pacing;
mod progress;
mod provider;
mod quota;
mod replay;
mod script;
mod show;
mod summary;
mod tally;
mod trace;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use chrono::TimeDelta;
use hyper::Method;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::pacing::Pacing;
use self::progress::note;
use self::replay::{CALLERS, Stage, replay};
use self::summary::{Speed, Summary, TraceLine};
use super::boot::{Edges, Running, boot, start_telemetry};
use super::client::Client;
use super::table::Look;
use crate::auth::{Caller, Scope, ScopeSet, mint};
use crate::config::{AuthArgs, ConnectionArgs, Environment, OtlpArgs, StoreArgs, StoreChoice, WebhookArgs};
use crate::domain::ledger::call_bound::CallBound;

/// Where it listens unless told otherwise; if somebody else does, at a port that is free.
const LISTEN_DEFAULT: &str = "127.0.0.1:8080";
/// The folder below the default data folder: a demo never writes into the books of a service unasked.
const FOLDER: &str = "demo";
/// How long the token that is printed is valid.
const TOKEN_HOURS: i64 = 24;

/// See all of it at work: start, replay a real trace through the API, show the books, keep serving.
///
/// Shows when a provider's quota that tenants on four clocks share will run out, and whose working day that hits; then
/// paces it, and shows who goes and who waits.
///
/// Makes tenants in Tokyo, Kathmandu, Berlin, São Paulo and San Francisco with budgets on their own clocks, and replays
/// 3,132 real model calls (Azure Public Dataset 2023) through pre-flight and settle.
///
/// Keeps its books in a folder of its own, and does not look at `DATABASE_URL`: say --data-dir or --database-url to use
/// other books. Run again, it goes on with the same books.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  counterfoil demo\n  counterfoil demo --exit --json --data-dir ./demo-books")]
pub struct DemoArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    auth: AuthArgs,
    /// Address to listen on; port 0 picks one [default: 127.0.0.1:8080, or another port if that one is taken]
    #[arg(long, value_name = "ADDR:PORT", env = "COUNTERFOIL_LISTEN")]
    listen: Option<SocketAddr>,
    /// Replay only so many calls of the trace
    #[arg(long, value_name = "N")]
    calls: Option<usize>,
    /// End when the books are shown, instead of serving on
    #[arg(long)]
    exit: bool,
    /// Print one JSON document instead of tables
    #[arg(long)]
    json: bool,
}

/// Why the demo ends.
enum End {
    Told,
    StoreEnded,
}

struct Signals {
    terminated: Signal,
    interrupted: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminated: signal(SignalKind::terminate())?, interrupted: signal(SignalKind::interrupt())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminated.recv() => {}
            _ = self.interrupted.recv() => {}
        }
    }
}

pub(super) async fn run(args: &DemoArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let mut environment = environment.clone();
    // The tables are the output; only what goes wrong is logged beside them.
    environment.log_filter.get_or_insert_with(|| "warn".to_owned());
    let (_spans, metrics) = start_telemetry(&environment)?;
    let mut signals = Signals::listen()?;
    let store = own_books(&args.store, &environment)?;
    let listen = args.listen.map_or_else(free_address, Ok)?;
    let report = Arc::new(|line: &str| note(line));
    let connections = ConnectionArgs::default();
    let (otlp, webhooks, call_bound) = (OtlpArgs::default(), WebhookArgs::default(), CallBound::default());
    let edges = Edges { otlp: &otlp, webhooks: &webhooks, connections: &connections, call_bound };
    let running = boot(&store, &args.auth, edges, &environment, listen, report, metrics).await?;
    let books = match store.choose(&environment)? {
        StoreChoice::Private { data_dir } => data_dir.display().to_string(),
        StoreChoice::Server(_) => running.place(),
    };
    note(&format!("listening on http://{}, the demo's books are in {books}", running.address));

    let look = Look::of_stdout(&environment);
    let played = tokio::select! {
        played = play(args, &running, books, began) => Some(played),
        () = signals.any() => None,
        () = running.store_ended() => Some(Err(anyhow::anyhow!("the private Postgres has ended"))),
    };
    let shown = match played {
        Some(Ok(summary)) => show_to_people(args, look, &running, &summary),
        Some(Err(error)) => Err(error),
        None => return stopped(running, Ok(End::Told)).await,
    };
    if shown.is_err() || args.exit {
        return stopped(running, shown.map(|()| End::Told)).await;
    }
    let end = tokio::select! {
        () = signals.any() => End::Told,
        () = running.store_ended() => End::StoreEnded,
    };
    stopped(running, Ok(end)).await
}

/// Stops the service whatever came before, and says what went wrong first.
async fn stopped(running: Running, outcome: anyhow::Result<End>) -> anyhow::Result<ExitCode> {
    let stopped = running.stop().await.context("the service did not stop cleanly");
    let end = outcome?;
    stopped?;
    match end {
        End::Told => Ok(ExitCode::SUCCESS),
        End::StoreEnded => anyhow::bail!("the private Postgres has ended; see postgres.log in the data folder"),
    }
}

/// The books that were named, or else those of the demo.
fn own_books(named: &StoreArgs, environment: &Environment) -> anyhow::Result<StoreArgs> {
    let mut store = named.clone();
    if store.data_dir.is_none() {
        store.data_dir = Some(store.data_dir(environment)?.join(FOLDER));
    }
    Ok(store)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let usual: SocketAddr = LISTEN_DEFAULT.parse()?;
    // Asked and given back at once: nobody is likely to come between.
    Ok(match TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::new(usual.ip(), 0),
    })
}

fn token(running: &Running, scopes: &[Scope]) -> anyhow::Result<String> {
    let caller = Caller { subject: Arc::from("demo"), scopes: ScopeSet::of(scopes), tenant: None };
    let now = running.app.clock.now();
    Ok(mint(&running.local_key, &running.rules, &caller, now, TimeDelta::hours(TOKEN_HOURS))?)
}

async fn play(args: &DemoArgs, running: &Running, books_in: String, began: Instant) -> anyhow::Result<Summary> {
    let token = token(running, &[Scope::Admin])?;
    let mut client = Client::connect(running.address, &token).await?;
    set_up(&mut client).await?;
    quota::set_up(&mut client, running.app.clock.now()).await?;
    let mut trace = trace::calls()?;
    trace.truncate(args.calls.unwrap_or(usize::MAX));
    let session = uuid::Uuid::now_v7().simple().to_string();
    let stage = Stage {
        address: running.address,
        token,
        session: Arc::from(session.get(20..).unwrap_or(&session)),
        jobs: Arc::new(script::jobs(&trace)),
        clock: running.app.clock.clone(),
    };
    let mut replayed = replay(&stage).await?;
    let foresight = foresight::read(&mut client).await?;
    let until_reset = pacing::until_reset(&running.app).await?;
    let answers = fleet::ask_all(running, &stage.token, &stage.session).await?;
    let books = books::read(&mut client).await?;
    let replay_ms = u64::try_from(replayed.took.as_millis())?;
    let speed = Speed {
        replay_ms,
        total_ms: u64::try_from(began.elapsed().as_millis())?,
        requests_per_second: replayed.tally.requests.saturating_mul(1000) / replay_ms.max(1),
        preflight_ms: replayed.tally.preflight_latency(),
        settle_ms: replayed.tally.settlement_latency(),
    };
    Ok(Summary {
        address: format!("http://{}", running.address),
        books: books_in,
        at: running.app.clock.now(),
        trace: TraceLine { source: trace::ATTRIBUTION, calls: trace.len(), callers: CALLERS },
        speed,
        replay: replayed.tally,
        projection: foresight,
        pacing: Pacing::new(&answers, until_reset),
        budgets: books.budgets,
        features: books.features,
        trial_balance: books.trial_balance,
    })
}

/// Creates what is not there, and replaces what is by the same.
async fn set_up(client: &mut Client) -> anyhow::Result<()> {
    for tenant in &cast::TENANTS {
        let document = json!({"name": tenant.name, "timezone": tenant.timezone});
        put(client, &format!("/v1/tenants/{}", tenant.id), &document).await?;
    }
    for budget in cast::budgets() {
        put(client, &format!("/v1/budgets/{}", budget.id), &budget.document).await?;
    }
    Ok(())
}

async fn put(client: &mut Client, path: &str, document: &Value) -> anyhow::Result<()> {
    let written: Value = client.send(Method::PUT, path, None, document).await?.json()?;
    anyhow::ensure!(written.is_object(), "PUT {path} answered {written}");
    Ok(())
}

fn show_to_people(args: &DemoArgs, look: Look, running: &Running, summary: &Summary) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, summary)?;
        writeln!(out)?;
    } else {
        let token = token(running, &[Scope::Preflight, Scope::UsageWrite, Scope::Read])?;
        let next = (!args.exit).then_some(token.as_str());
        writeln!(out, "{}", show::page(look, summary, next))?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{DatabaseUrl, FetchPostgres};

    #[test]
    fn a_demo_never_uses_books_that_were_not_named() {
        let url: DatabaseUrl = "postgres://production".parse().unwrap();
        let environment = Environment {
            database_url: Some(url.clone()),
            home: Some(PathBuf::from("/home/alice")),
            ..Environment::default()
        };
        let args = |data_dir, database_url| StoreArgs { data_dir, database_url, fetch_postgres: FetchPostgres::Never };
        let choose = |named: &StoreArgs| own_books(named, &environment).unwrap().choose(&environment).unwrap();
        let private = |dir: &str| StoreChoice::Private { data_dir: dir.into() };
        assert_eq!(choose(&args(None, None)), private("/home/alice/.local/share/counterfoil/demo"));
        assert_eq!(choose(&args(Some("/d".into()), None)), private("/d"));
        assert_eq!(choose(&args(None, Some(url.clone()))), StoreChoice::Server(url));
    }
}
