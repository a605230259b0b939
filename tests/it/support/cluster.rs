//! A Postgres for the tests: one throw-away cluster per run of the test binary, a fresh database per test.
//!
//! | # | when | what |
//! |---|---|---|
//! | 1 | first call of [`fresh_database`] | a thread of its own starts a private cluster in memory, without fsync |
//! | 2 | first call with a migrator | a template database is made and migrated |
//! | 3 | each call | `create database … template …`, one at a time: Postgres refuses two copies of one template |
//! | 4 | [`TestDb`] is dropped | the database is dropped behind the test's back |
//! | 5 | the process ends, however | the server goes with its thread, and a child that waited for that removes the folder |
//!
//! With `COUNTERFOIL_TEST_DATABASE_URL` the databases are made on that server instead, and dropped before the test ends.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use counterfoil::{
    app::start::prepare,
    clock::Clock,
    config::Environment,
    store::{
        MIGRATOR,
        embedded::{Durability, Options, PrivatePostgres, find::Search},
    },
};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::oneshot;

/// Names every database of a run, and its folder.
const PREFIX: &str = "counterfoil_test";

/// Connections one test may hold; with 20 tests at once this stays far below the cluster's bound.
const CONNECTIONS_PER_TEST: u32 = 8;

/// Upper bound of connections to the throw-away cluster.
const CONNECTIONS_MAX: u16 = 300;

/// A database that belongs to one test.
#[derive(Debug)]
pub(crate) struct TestDb {
    pool: PgPool,
    options: PgConnectOptions,
    name: String,
}

impl TestDb {
    /// Connections to it, as the superuser of the cluster.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How to connect to it, for a service under test or a second replica.
    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        self.options.clone()
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let cluster = cluster();
        let (done, dropped) = mpsc::channel();
        let order = Order::Drop { name: std::mem::take(&mut self.name), done };
        if cluster.orders.send(order).is_ok() && cluster.external {
            // A server that outlives us must not keep our databases. Our own goes anyway: then nobody waits.
            let _ = dropped.recv_timeout(Duration::from_secs(10));
        }
    }
}

/// Makes an empty, migrated database.
pub(crate) async fn fresh_database(migrator: &'static Migrator) -> TestDb {
    let (done, made) = oneshot::channel();
    cluster().orders.send(Order::Create { migrator, done }).expect("the cluster's thread ended; see its panic above");
    let (name, options) = made.await.expect("the cluster's thread ended; see its panic above");
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS_PER_TEST)
        .connect_with(options.clone())
        .await
        .expect("connect to a fresh database");
    TestDb { pool, options, name }
}

/// What the cluster's thread is asked to do, one after the other.
enum Order {
    Create { migrator: &'static Migrator, done: oneshot::Sender<(String, PgConnectOptions)> },
    Drop { name: String, done: mpsc::Sender<()> },
}

struct Cluster {
    orders: mpsc::Sender<Order>,
    external: bool,
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let url = external_url();
        let (orders, inbox) = mpsc::channel();
        let external = url.is_some();
        std::thread::Builder::new()
            .name("test-cluster".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(serve(&inbox, url));
            })
            .expect("a thread for the test cluster");
        Cluster { orders, external }
    })
}

fn external_url() -> Option<String> {
    std::env::var_os("COUNTERFOIL_TEST_DATABASE_URL")?.into_string().ok().filter(|url| !url.is_empty())
}

/// Works off the orders. One connection and one at a time: nothing here can be copied while it is in use.
async fn serve(inbox: &mpsc::Receiver<Order>, url: Option<String>) {
    // Held until the process ends.
    let mut _private = None;
    let server = match url {
        Some(url) => url.parse().expect("COUNTERFOIL_TEST_DATABASE_URL is a Postgres URL"),
        None => _private.insert(start_in_memory().await).connect_options(),
    };
    let mut admin = PgConnection::connect_with(&server).await.expect("connect to the test cluster");
    let mut number = 0_u64;
    // Blocks the thread between orders: its runtime has nothing else to do.
    while let Ok(order) = inbox.recv() {
        match order {
            Order::Create { migrator, done } => {
                let template = template(&mut admin, &server, migrator).await;
                number += 1;
                let name = format!("{PREFIX}_{}_{number}", std::process::id());
                execute(&mut admin, format!("create database {name} template {template}")).await;
                // A test that was cut off no longer waits for its database.
                let _ = done.send((name.clone(), server.clone().database(&name)));
            }
            Order::Drop { name, done } => {
                execute(&mut admin, format!("drop database if exists {name} with (force)")).await;
                let _ = done.send(());
            }
        }
    }
}

async fn execute(connection: &mut PgConnection, statement: String) {
    if let Err(error) = sqlx::query(AssertSqlSafe(statement.clone())).execute(connection).await {
        panic!("{statement}: {error}");
    }
}

/// The name of a database with the migrations of a migrator, made if it is missing. It gets its name only when it is
/// whole, and other test binaries on the same server wait for it.
async fn template(admin: &mut PgConnection, server: &PgConnectOptions, migrator: &Migrator) -> String {
    let mut name = format!("{PREFIX}_template");
    for migration in migrator.iter() {
        for byte in migration.checksum.iter().take(3) {
            write!(name, "{byte:02x}").expect("a String takes everything");
        }
    }
    // Postgres cuts names at 63 bytes; the last migrations are the ones that change.
    let name = if name.len() > 60 { format!("{PREFIX}_template{}", &name[name.len() - 36..]) } else { name };
    execute(admin, "select pg_advisory_lock(hashtext('counterfoil test template'))".to_owned()).await;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut *admin)
        .await
        .expect("read pg_database");
    if !exists {
        let making = format!("{PREFIX}_making");
        execute(admin, format!("drop database if exists {making} with (force)")).await;
        execute(admin, format!("create database {making}")).await;
        let mut connection =
            PgConnection::connect_with(&server.clone().database(&making)).await.expect("connect to the template");
        migrator.run(&mut connection).await.expect("the migrations run on an empty database");
        connection.close().await.expect("leave the template");
        if std::ptr::eq(migrator, &raw const MIGRATOR) {
            // The bundled prices and factors once, not once per test.
            let options = server.clone().database(&making);
            prepare(&options, &Clock::system()).await.expect("the bundled books are imported");
            // Tests have instants of their own, and no batch is earlier than what the database has seen.
            let mut connection = PgConnection::connect_with(&options).await.expect("connect to the template");
            let forget = "update catalogue_head set changed_at = null".to_owned();
            execute(&mut connection, forget).await;
            connection.close().await.expect("leave the template");
        }
        execute(admin, format!("alter database {making} rename to {name}")).await;
    }
    execute(admin, "select pg_advisory_unlock(hashtext('counterfoil test template'))".to_owned()).await;
    name
}

/// Starts a cluster in a folder in memory that is removed when this process has ended.
async fn start_in_memory() -> PrivatePostgres {
    let parent = [PathBuf::from("/dev/shm"), std::env::temp_dir()]
        .into_iter()
        .find(|parent| tempfile::tempfile_in(parent).is_ok())
        .expect("a folder for temporary files");
    remove_leftovers(&parent);
    let dir = parent.join(format!("{PREFIX}.{}", std::process::id()));
    let mut cleaner = remove_after_our_end(&dir);
    let mut options = Options::new(search());
    options.durability = Durability::Scratch;
    options.connections_max = CONNECTIONS_MAX;
    match PrivatePostgres::open(&dir, options).await {
        Ok(postgres) => {
            writeln!(cleaner, "{}", postgres.socket_dir().display()).expect("tell the cleaner");
            // The pipe stays open until this process ends; its closing is the message.
            std::mem::forget(cleaner);
            postgres
        }
        Err(error) => panic!("no Postgres for the tests: {error:?}\n{error}"),
    }
}

/// Where the service would look for Postgres.
pub(crate) fn search() -> Search {
    let environment = Environment::read();
    Search {
        configured: environment.pg_bin.clone(),
        cache_dir: environment.cache_dir_default().unwrap_or_else(std::env::temp_dir),
        path: environment.path,
        root: PathBuf::from("/"),
    }
}

/// Removes folders of runs that are over and whose cleaner was killed too.
fn remove_leftovers(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let over = name
            .strip_prefix(&format!("{PREFIX}."))
            .and_then(|rest| rest.parse::<i32>().ok())
            .and_then(rustix::process::Pid::from_raw)
            .is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH));
        if over {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Leaves a small process behind that notices our end, waits for the server's, and removes its folders: tests end by
/// `exit`, by panic and by signal, and none of these runs code of ours. Answers the pipe that tells it the socket folder.
#[expect(clippy::zombie_processes, reason = "it outlives us: that is its purpose")]
fn remove_after_our_end(dir: &Path) -> ChildStdin {
    use std::os::unix::process::CommandExt;
    let script = r#"read -r socket; cat >/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -e "$0/postgres/postmaster.pid" ] && sleep 0.1
done
rm -rf "$0"; [ -n "$socket" ] && rmdir "$socket""#;
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0) // Ctrl-C is for the tests
        .spawn()
        .expect("spawn sh");
    child.stdin.take().expect("a pipe to sh")
}

#[test]
fn twenty_tests_at_once_get_a_database_each_that_goes_with_them() {
    static NO_MIGRATIONS: Migrator = Migrator::DEFAULT;
    let threads: Vec<_> = (0..20)
        .map(|number: i32| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let database = fresh_database(&NO_MIGRATIONS).await;
                    sqlx::query("create table mine (number int4)").execute(database.pool()).await.unwrap();
                    sqlx::query("insert into mine values ($1)").bind(number).execute(database.pool()).await.unwrap();
                    let mut second = PgConnection::connect_with(&database.connect_options()).await.unwrap();
                    let seen: Vec<i32> =
                        sqlx::query_scalar("select number from mine").fetch_all(&mut second).await.unwrap();
                    assert_eq!(seen, [number]);
                    database.name.clone()
                })
            })
        })
        .collect();
    let mut names: Vec<String> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let left: i64 = runtime.block_on(async {
        // Orders are worked off one after the other, so the drops are done before this database is made.
        let last = fresh_database(&NO_MIGRATIONS).await;
        sqlx::query_scalar("select count(*) from pg_database where datname = any($1)")
            .bind(names)
            .fetch_one(last.pool())
            .await
            .unwrap()
    });
    assert_eq!(left, 0);
}
