//! `kill -9`, as a real process under load: the service, its Postgres, and both. What was acknowledged is there afterwards,
//! the books are clean, and what was held comes back.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use counterfoil::app::verify::verify;
use counterfoil::cli::client::Client;
use counterfoil::clock::Clock;
use counterfoil::store::embedded::{Options, Ownership, PrivatePostgres};
use hyper::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Mutex;

use crate::support::audit::{assert_none, findings};
use crate::support::cluster::search;
use crate::support::story::{ask, on, until};

const CALLERS: usize = 16;
/// Writes that are acknowledged before something is killed.
const ACKNOWLEDGED_MIN: usize = 300;

/// A service as a process of its own.
struct Service {
    process: Child,
    address: SocketAddr,
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // In good order: it takes the folder of its socket with it.
            let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
            let _asked = kill_process(pid, Signal::TERM);
            let _reaped = self.process.wait();
        }
    }
}

fn program(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command.args(arguments).arg("--data-dir").arg(dir).env_remove("DATABASE_URL").stdin(Stdio::null());
    command
}

impl Service {
    fn start(dir: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(dir.join("service.log")).unwrap();
        let mut command = program(dir, &["serve", "--listen", "127.0.0.1:0"]);
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut addresses = lines.filter_map(|line| {
            let rest = line.split_once("listening on http://")?.1;
            rest.split_whitespace().next()?.parse().ok()
        });
        let Some(address) = addresses.next() else {
            let log = std::fs::read_to_string(dir.join("service.log")).unwrap();
            panic!("the service did not start:\n{log}")
        };
        Self { process, address }
    }

    async fn client(&self, token: &str) -> Client {
        Client::connect(self.address, token).await.unwrap()
    }
}

fn token(dir: &Path) -> String {
    let output = program(dir, &["token", "--scope", "admin"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What the service said was written.
#[derive(Default)]
struct Acknowledged {
    reservations: Mutex<BTreeSet<String>>,
    transfers: Mutex<BTreeSet<String>>,
    writes: AtomicUsize,
}

/// One caller: reserve, settle, and now and then abandon or post directly; until the service does not answer any more.
async fn call_until_it_ends(mut client: Client, caller: usize, acknowledged: Arc<Acknowledged>) {
    let post = async |client: &mut Client, path: &str, key: String, body: Value| {
        let reply = client.send(Method::POST, path, Some(&key), &body).await.ok()?;
        reply.json::<Value>().ok()
    };
    for round in 0.. {
        let key = |what: &str| format!("{what}-{caller}-{round}");
        let short = json!({"ttl_seconds": 2, "run": format!("run-{caller}")});
        let Some(answer) = post(&mut client, "/v1/preflight", key("ask"), ask(9, 1, short)).await else { return };
        let Some(reservation) = answer["reservation"].as_str() else { continue };
        acknowledged.reservations.lock().await.insert(reservation.to_owned());
        let (path, body) = match round % 5 {
            0 => continue, // abandoned: held until it expires
            1 => {
                let usage = json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o",
                    "usage": {"input": 3}});
                ("/v1/usage".to_owned(), usage)
            }
            _ => (on(reservation, "settle"), json!({"usage": {"input": 9, "output": 1}})),
        };
        let Some(posted) = post(&mut client, &path, key("post"), body).await else { return };
        acknowledged.transfers.lock().await.insert(posted["transfer"].as_str().unwrap().to_owned());
        acknowledged.writes.fetch_add(2, Ordering::Relaxed);
    }
}

/// The process id of the folder's Postgres.
fn postgres(dir: &Path) -> Pid {
    let text = std::fs::read_to_string(dir.join("postgres/postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().trim().parse().unwrap()).unwrap()
}

async fn survives(name: &str, kill: impl FnOnce(&mut Service, &Path)) {
    let parent = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let parent = tempfile::Builder::new().prefix("counterfoil_kill").tempdir_in(parent).unwrap();
    // The user who runs Postgres must get there.
    std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let dir = parent.path();

    let mut service = Service::start(dir);
    let token = token(dir);
    let mut admin = service.client(&token).await;
    let put = async |client: &mut Client, path: &str, body: Value| {
        client.send(Method::PUT, path, None, &body).await.unwrap().json::<Value>().unwrap()
    };
    put(&mut admin, "/v1/tenants/acme", json!({"timezone": "Asia/Tokyo"})).await;
    let budget = json!({
        "scope": {"tenant": "acme"}, "measure": "tokens", "limit": "100000000", "period": {"kind": "year"},
        "timezone": "tenant", "enforcement": "hard"
    });
    put(&mut admin, "/v1/budgets/year", budget).await;
    let runs = json!({
        "scope": {}, "each": "run", "measure": "requests", "limit": "1000000", "period": {"kind": "once"},
        "timezone": "Etc/UTC", "enforcement": "hard"
    });
    put(&mut admin, "/v1/budgets/runs", runs).await;

    let acknowledged = Arc::new(Acknowledged::default());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(call_until_it_ends(service.client(&token).await, caller, Arc::clone(&acknowledged)));
    }
    until("enough was acknowledged", || {
        let enough = acknowledged.writes.load(Ordering::Relaxed) >= ACKNOWLEDGED_MIN;
        async move { enough }
    })
    .await;
    kill(&mut service, dir);
    // A service whose Postgres was killed ends too.
    let ended = tokio::task::spawn_blocking(move || {
        service.process.wait().unwrap();
    });
    callers.join_all().await;
    ended.await.unwrap();

    let service = Service::start(dir);
    let mut admin = service.client(&token).await;
    let mut options = Options::new(search());
    options.ownership = Ownership::Beside;
    let beside = PrivatePostgres::open(dir, options).await.unwrap();
    let pool = PgPoolOptions::new().max_connections(4).connect_with(beside.connect_options()).await.unwrap();
    for (table, wanted) in [
        ("reservations", acknowledged.reservations.lock().await.clone()),
        ("transfers", acknowledged.transfers.lock().await.clone()),
    ] {
        let all = sqlx::AssertSqlSafe(format!("select id::text from {table}"));
        let kept: BTreeSet<String> = sqlx::query_scalar(all).fetch_all(&pool).await.unwrap().into_iter().collect();
        let lost: Vec<_> = wanted.difference(&kept).collect();
        assert!(lost.is_empty(), "{name}: {} acknowledged {table} are lost: {lost:?}", lost.len());
    }
    // What was held by calls that nobody will settle comes back: the API's own word for it.
    let mut held = String::new();
    for _ in 0..10_000 {
        let reply =
            admin.send(Method::POST, "/v1/preflight", None, &ask(0, 1, json!({"reserve": false}))).await.unwrap();
        let answer: Value = reply.json().unwrap();
        held = answer["budgets"][0]["held"].as_str().unwrap().to_owned();
        if held == "0" {
            break;
        }
    }
    assert_eq!(held, "0", "{name}: held by nobody");
    let again = admin.send(Method::POST, "/v1/preflight", None, &ask(9, 1, json!({"run": "after"}))).await.unwrap();
    assert_eq!(again.json::<Value>().unwrap()["verdict"], "allow");
    let mut gate = pool.begin().await.unwrap();
    let lock = "select pg_advisory_xact_lock($1)";
    sqlx::query(lock).bind(counterfoil::store::locks::Lock::Catalogue.number()).execute(&mut *gate).await.unwrap();
    assert_none(&findings(&pool).await);
    // What an operator would run, besides the check that shares no code with it.
    let report = verify(&beside.connect_options(), &Clock::system(), &mut |_| {}).await.unwrap().unwrap();
    assert!(report.is_consistent(), "{:#?}", report.differences().collect::<Vec<_>>());
    gate.rollback().await.unwrap();
    pool.close().await;
    beside.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_under_load_loses_nothing_it_acknowledged() {
    survives("the service", |service, _| service.process.kill().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_killed_under_load_loses_nothing_that_was_acknowledged() {
    survives("Postgres", |_, dir| kill_process(postgres(dir), Signal::KILL).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_and_its_postgres_killed_at_once_lose_nothing_that_was_acknowledged() {
    survives("both", |service, dir| {
        let server = postgres(dir);
        service.process.kill().unwrap();
        // Its keeper may have been faster.
        let _gone = kill_process(server, Signal::KILL);
    })
    .await;
}
