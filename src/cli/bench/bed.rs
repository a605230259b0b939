//! What is measured, brought up and taken down: a Postgres, a database in it that is dropped afterwards, and the service in
//! a process of its own, so that its memory and CPU are its alone.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::auth::{Caller, LocalKey, Scope, ScopeSet, TokenRules, mint};
use crate::clock::Clock;
use crate::config::{Environment, StoreArgs};
use crate::store::embedded::{Ownership, PrivatePostgres, Report};
use crate::store::open::{Opened, open_store, private_options};
use crate::store::{naive, scratch};

/// Connections of a private Postgres beside those of the baseline's callers: the service, ourselves, and a reserve.
const CONNECTIONS_BESIDE: u16 = 40;
/// How long the service may take to listen: it migrates, and imports the books of prices and factors.
const LISTEN_TIME_MAX: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(30);
/// Where the private cluster is kept meanwhile: on a disk. In `/tmp` it might be in memory, where a flush costs nothing.
const FOLDER_PARENT: &str = "/var/tmp";

/// The service's keys and what it says, in the folder.
const KEYS: &str = "bench-keys";
const LOG: &str = "bench-service.log";

/// A folder that is removed at the end, if we made it.
struct Folder {
    path: PathBuf,
    is_ours: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_ours {
            // What cannot be removed is left to whoever cleans temporary files.
            let _removed = std::fs::remove_dir_all(&self.path);
        }
    }
}

impl Folder {
    fn given_or_made(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = given {
            return Ok(Self { path: path.to_owned(), is_ours: false });
        }
        let path = Path::new(FOLDER_PARENT).join(format!("counterfoil-bench-{}", std::process::id()));
        // Postgres runs as somebody else when we are root, and must get in.
        let made = std::fs::DirBuilder::new().mode(0o755).create(&path);
        made.with_context(|| format!("cannot make {}; say --data-dir DIR", path.display()))?;
        Ok(Self { path, is_ours: true })
    }
}

enum Server {
    Private(Box<PrivatePostgres>),
    Other(Box<Opened>),
}

/// A Postgres with a database for the bench.
pub(super) struct Bed {
    server: Server,
    database: String,
    folder: Folder,
}

impl Bed {
    /// Opens the Postgres that the options name, and makes a database in it.
    pub(super) async fn open(
        args: &StoreArgs,
        environment: &Environment,
        callers: u16,
        report: Report,
    ) -> anyhow::Result<Self> {
        let names_server = args.database_url.is_some() || environment.database_url.is_some();
        let is_private = args.data_dir.is_some() && args.database_url.is_none() || !names_server;
        let folder = Folder::given_or_made(args.data_dir.as_deref())?;
        let server = if is_private {
            let mut options = private_options(args, environment, &folder.path, Ownership::Exclusive, report);
            options.connections_max = callers.saturating_add(CONNECTIONS_BESIDE);
            Server::Private(Box::new(PrivatePostgres::open(&folder.path, options).await?))
        } else {
            Server::Other(Box::new(open_store(args, environment, Ownership::Beside, report).await?))
        };
        let database = format!("counterfoil_bench_{}", std::process::id());
        let bed = Self { server, database, folder };
        scratch::create_database(&bed.server_options(), &bed.database).await.context("cannot make a database")?;
        Ok(bed)
    }

    fn server_options(&self) -> PgConnectOptions {
        match &self.server {
            Server::Private(private) => private.connect_options(),
            Server::Other(opened) => opened.connect_options(),
        }
    }

    /// How to connect to the bench's database.
    pub(super) fn options(&self) -> PgConnectOptions {
        self.server_options().database(&self.database).application_name("counterfoil bench")
    }

    pub(super) async fn connect(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect_with(&self.options()).await?)
    }

    /// The folder of a private cluster: on the same disk as its write-ahead log.
    pub(super) fn disk(&self) -> Option<&Path> {
        match &self.server {
            Server::Private(_) => Some(&self.folder.path),
            Server::Other(_) => None,
        }
    }

    /// The process of a Postgres of ours.
    pub(super) fn postmaster(&self) -> Option<u32> {
        match &self.server {
            Server::Private(private) => private.process_id(),
            Server::Other(_) => None,
        }
    }

    /// Drops the database, stops a Postgres of ours, removes its folder if we made it.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let goes_with_cluster = self.folder.is_ours && matches!(self.server, Server::Private(_));
        if !goes_with_cluster {
            scratch::drop_database(&self.server_options(), &self.database).await.context("cannot drop the database")?;
        }
        if !self.folder.is_ours {
            // Ours alone; what cannot be removed is overwritten next time.
            let _removed = std::fs::remove_dir_all(self.folder.path.join(KEYS));
            let _removed = std::fs::remove_file(self.folder.path.join(LOG));
        }
        match self.server {
            Server::Private(private) => private.stop().await?,
            Server::Other(opened) => opened.stop().await?,
        }
        Ok(())
    }

    /// Makes the baseline's tables.
    pub(super) async fn lay_naive(&self) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        naive::create(&mut connection, super::load::naive_budgets_count()).await?;
        connection.close().await?;
        Ok(())
    }

    /// Starts the service on the bench's database.
    pub(super) async fn start_service(&self) -> anyhow::Result<Service> {
        let keys = self.folder.path.join(KEYS);
        let key = LocalKey::load_or_create(&keys)?;
        let mut command = Command::new(std::env::current_exe().context("this program's own file is not known")?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--keys-dir"]).arg(&keys);
        // Not on the command line, where everybody could read its password.
        command.env("DATABASE_URL", self.options().to_url_lossy().as_str());
        command.env_remove("COUNTERFOIL_JWKS");
        let log = self.folder.path.join(LOG);
        let log_file = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start the service")?;
        let address = tokio::time::timeout(LISTEN_TIME_MAX, listening(&mut child)).await;
        let address = address.context("it took too long").flatten();
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let address = address.with_context(|| format!("the service does not listen; it said:\n{}", said()))?;
        let caller = Caller { subject: Arc::from("bench"), scopes: ScopeSet::of(&[Scope::Admin]), tenant: None };
        let token = mint(&key, &TokenRules::local(), &caller, Clock::system().now(), TimeDelta::days(1))?;
        Ok(Service { address, token, child: Some(child) })
    }
}

/// Waits for the line that says where it listens.
async fn listening(child: &mut Child) -> anyhow::Result<SocketAddr> {
    let stdout = child.stdout.take().context("no pipe")?;
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        let after = line.split_once("http://").map(|(_, after)| after);
        if let Some(address) = after.and_then(|after| after.split([' ', '/']).next()?.parse().ok()) {
            return Ok(address);
        }
    }
    anyhow::bail!("it ended at once")
}

/// A service to be measured.
pub(super) struct Service {
    pub(super) address: SocketAddr,
    pub(super) token: String,
    child: Option<Child>,
}

impl Service {
    /// One that somebody else runs.
    pub(super) fn running(address: SocketAddr, token: String) -> Self {
        Self { address, token, child: None }
    }

    /// Its process, if it is ours.
    pub(super) fn process(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Stops one of ours as an operator would.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            kill_process(pid, Signal::TERM).context("cannot stop the service")?;
        }
        let ended = tokio::time::timeout(STOP_TIME_MAX, child.wait()).await;
        let status = ended.context("the service does not stop")??;
        anyhow::ensure!(status.success(), "the service ended with {status}");
        Ok(())
    }
}
