//! The private Postgres: made, started, stopped, shared, killed and recovered.
//!
//! Some tests need a service to kill, or a service of another user: they start this test binary again, with a variable
//! that makes the same test play that part.

use std::{
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use counterfoil::store::embedded::{EmbeddedError, Fetch, Options, Ownership, PrivatePostgres};
use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};
use sqlx::{Connection, PgConnection};

use crate::support::cluster::search;

/// Set in a child: the data folder of the service that it plays.
const SERVICE: &str = "COUNTERFOIL_TEST_SERVICE";

/// A data folder that the user who runs Postgres can reach; in memory, because its making is most of the time.
pub(crate) fn data_dir() -> tempfile::TempDir {
    let parent = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let dir = tempfile::Builder::new().prefix("counterfoil_embedded").tempdir_in(parent).unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

fn options(ownership: Ownership) -> Options {
    let mut options = Options::new(search());
    options.ownership = ownership;
    options
}

async fn open(dir: &Path, ownership: Ownership) -> Result<PrivatePostgres, EmbeddedError> {
    PrivatePostgres::open(dir, options(ownership)).await
}

/// Leaves a row behind, and counts the rows that are there.
async fn visits(postgres: &PrivatePostgres) -> i64 {
    let mut connection = PgConnection::connect_with(&postgres.connect_options()).await.unwrap();
    let visit = "create table if not exists visit (); insert into visit default values";
    sqlx::raw_sql(visit).execute(&mut connection).await.unwrap();
    let count = sqlx::query_scalar("select count(*) from visit").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

/// Looks again and again until something is so.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited 30 s until {what}");
        std::thread::yield_now();
    }
}

/// A process that has ended may still be listed, if it waits for a parent that does not ask.
fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains(") Z ") || test_kill_process(process(pid)) == Err(rustix::io::Errno::SRCH)
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Starts a program, which is this test binary, to play the service of a folder in the test of that name. Its mask closes
/// to others whatever it makes: root must open the way for the user who runs Postgres.
fn service(program: &Path, test: &str, dir: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"umask 077; exec "$0" "$@""#]).arg(program).args(["--exact", test, "--nocapture"]);
    command.env(SERVICE, dir).stdin(Stdio::null());
    command
}

fn service_to_kill(test: &str, dir: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    service(&program, test, dir).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Plays the service: opens, leaves a row, says so, and waits to be killed.
async fn play_service(dir: &Path) {
    let postgres = open(dir, Ownership::Exclusive).await.unwrap();
    visits(&postgres).await;
    std::fs::write(dir.join("ready"), postgres.process_id().unwrap().to_string()).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_cluster_is_made_once_and_keeps_its_data() {
    let dir = data_dir();
    let postgres = PrivatePostgres::open(dir.path(), Options::new(search())).await.unwrap();
    assert!(postgres.is_owned());
    assert_eq!(visits(&postgres).await, 1);
    let socket_dir = postgres.socket_dir().to_owned();
    let mut connection = PgConnection::connect_with(&postgres.connect_options()).await.unwrap();
    for (setting, expect) in [
        ("listen_addresses", ""),
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("shared_buffers", "64MB"),
        ("max_connections", "60"),
        ("unix_socket_directories", socket_dir.to_str().unwrap()),
    ] {
        let value: String =
            sqlx::query_scalar("select current_setting($1)").bind(setting).fetch_one(&mut connection).await.unwrap();
        assert_eq!(value, expect, "{setting}");
    }
    let socket = std::fs::metadata(&socket_dir).unwrap();
    assert_eq!(socket.mode() & 0o777, 0o700);
    // Under root the server is somebody else's, and so are its files; the folder itself stays ours.
    assert_eq!(socket.uid(), std::fs::metadata(dir.path().join("postgres")).unwrap().uid());
    assert_eq!(socket.uid() == geteuid().as_raw(), !geteuid().is_root());

    let pid = postgres.process_id().unwrap();
    postgres.stop().await.unwrap();
    assert!(is_gone(pid) && !socket_dir.exists());
    let log = std::fs::read_to_string(dir.path().join("postgres.log")).unwrap();
    assert!(log.trim_end().ends_with("database system is shut down"), "{log}");

    let postgres = open(dir.path(), Ownership::Exclusive).await.unwrap();
    assert_eq!(visits(&postgres).await, 2);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_owner_is_told_who_holds_the_folder_and_a_guest_is_let_in() {
    let dir = data_dir();
    let guest_first = open(dir.path(), Ownership::Beside).await.unwrap();
    assert!(guest_first.is_owned(), "with nobody there a guest starts the server");
    guest_first.stop().await.unwrap();

    // A guest that comes while the owner starts waits until it answers.
    let (owner, guest) =
        tokio::join!(open(dir.path(), Ownership::Exclusive), async { open(dir.path(), Ownership::Beside).await });
    let (owner, guest) = (owner.unwrap(), guest.unwrap());
    assert!(owner.is_owned() && !guest.is_owned());
    // The folder is the same by whatever way one names it.
    let detour = dir.path().join("postgres").join("..");
    let refused = open(&detour, Ownership::Exclusive).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    assert_eq!((visits(&owner).await, visits(&guest).await), (1, 2));
    guest.stop().await.unwrap();
    assert_eq!(visits(&owner).await, 3, "a guest that leaves takes nothing with it");
    owner.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_recovered() {
    let dir = data_dir();
    let postgres = open(dir.path(), Ownership::Exclusive).await.unwrap();
    assert_eq!(visits(&postgres).await, 1);
    kill_process(process(postgres.process_id().unwrap()), Signal::KILL).unwrap();
    postgres.ended().await;
    postgres.stop().await.unwrap();

    // After a restart of the machine the recorded process id may be that of any program, of the same user even.
    let file = dir.path().join("postgres/postmaster.pid");
    let owner = std::fs::metadata(&file).unwrap();
    let mut bystander = Command::new("cat"); // goes with us, should this test fail
    bystander.stdin(Stdio::piped()).stdout(Stdio::null());
    if geteuid().is_root() {
        bystander.uid(owner.uid()).gid(owner.gid());
    }
    let mut bystander = bystander.spawn().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    std::fs::write(&file, format!("{}\n{rest}", bystander.id())).unwrap();

    let postgres = open(dir.path(), Ownership::Exclusive).await.unwrap();
    assert_eq!(visits(&postgres).await, 2);
    assert!(bystander.try_wait().unwrap().is_none(), "a bystander was ended in place of the server");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_goes_with_its_killed_service_and_is_recovered_by_the_next() {
    if let Some(dir) = std::env::var_os(SERVICE) {
        return play_service(Path::new(&dir)).await;
    }
    let parent = data_dir();
    let dir = parent.path().join("new/books");
    let test = "embedded::a_server_goes_with_its_killed_service_and_is_recovered_by_the_next";
    let mut killed = service_to_kill(test, &dir);
    let ready = dir.join("ready");
    let server = || std::fs::read_to_string(&ready).ok().and_then(|pid| pid.parse::<u32>().ok());
    wait_until("the service is ready", || server().is_some());
    let server = server().unwrap();
    assert!(!is_gone(server));
    killed.kill().unwrap(); // SIGKILL
    killed.wait().unwrap();
    // At once: the old server may still be ending.
    let postgres = open(&dir, Ownership::Exclusive).await.unwrap();
    assert!(is_gone(server));
    assert_eq!(visits(&postgres).await, 2);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_whose_making_was_killed_is_made_again() {
    if let Some(dir) = std::env::var_os(SERVICE) {
        return play_service(Path::new(&dir)).await;
    }
    let dir = data_dir();
    let mut killed = service_to_kill("embedded::a_cluster_whose_making_was_killed_is_made_again", dir.path());
    let half_made = dir.path().join(format!("postgres.making.{}", killed.id()));
    wait_until("initdb is at work", || half_made.join("global").exists());
    killed.kill().unwrap(); // SIGKILL
    killed.wait().unwrap();
    assert!(half_made.exists() && !dir.path().join("postgres").exists());
    let postgres = open(dir.path(), Ownership::Exclusive).await.unwrap();
    assert_eq!(visits(&postgres).await, 1);
    postgres.stop().await.unwrap();
    assert!(!half_made.exists());
}

#[tokio::test]
async fn a_user_who_is_not_root_runs_postgres_as_themselves() {
    /// `nobody`, on every Linux.
    const NOBODY: u32 = 65_534;
    if geteuid().is_root() {
        let (dir, home) = (data_dir(), data_dir());
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        // The build folder may be closed to others.
        let program = home.path().join("it");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let test = "embedded::a_user_who_is_not_root_runs_postgres_as_themselves";
        let mut command = service(&program, test, dir.path());
        let output = command.uid(NOBODY).gid(NOBODY).current_dir("/").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(std::fs::metadata(dir.path().join("postgres")).unwrap().uid(), NOBODY);
        // Root finds the cluster, and lends itself its owner.
        let postgres = open(dir.path(), Ownership::Exclusive).await.unwrap();
        assert_eq!(visits(&postgres).await, 2);
        assert_eq!(std::fs::metadata(postgres.socket_dir()).unwrap().uid(), NOBODY);
        return postgres.stop().await.unwrap();
    }
    let own = data_dir();
    let dir = std::env::var_os(SERVICE).map_or_else(|| own.path().to_owned(), PathBuf::from);
    let postgres = open(&dir, Ownership::Exclusive).await.unwrap();
    assert_eq!(visits(&postgres).await, 1);
    assert_eq!(std::fs::metadata(postgres.socket_dir()).unwrap().uid(), geteuid().as_raw());
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn refusals_name_the_thing_and_the_way_out() {
    async fn check(dir: &Path, options: Options, parts: &[&str]) {
        let error = PrivatePostgres::open(dir, options).await.unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }

    let dir = data_dir();
    let nowhere = data_dir();
    let mut none = options(Ownership::Exclusive);
    (none.search.configured, none.search.path) = (None, None);
    (none.search.root, none.search.cache_dir) = (nowhere.path().to_owned(), nowhere.path().to_owned());
    none.fetch = Fetch::Never;
    let ways_out = ["14 or newer", "apt-get install", "COUNTERFOIL_PG_BIN", "--fetch-postgres", "DATABASE_URL"];
    check(dir.path(), none.clone(), &ways_out).await;

    let cluster = dir.path().join("postgres");
    std::fs::create_dir(&cluster).unwrap();
    std::fs::write(cluster.join("PG_VERSION"), "99\n").unwrap();
    check(dir.path(), options(Ownership::Exclusive), &["made by Postgres 99", "pg_upgrade", " in /"]).await;
    none.fetch = Fetch::WhenMissing; // what could be fetched would not help, so nothing is
    check(dir.path(), none, &["no Postgres 99 is installed"]).await;
    std::fs::write(cluster.join("PG_VERSION"), "twelve\n").unwrap();
    check(dir.path(), options(Ownership::Exclusive), &["PG_VERSION is damaged", "backup"]).await;

    let closed = data_dir();
    if geteuid().is_root() {
        // A folder that was made by hand is left as it is.
        std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let parts = ["cannot reach", &format!("{} is closed", closed.path().display()), "--data-dir"];
        check(&closed.path().join("books"), options(Ownership::Exclusive), &parts).await;
    } else {
        std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o500)).unwrap();
        check(&closed.path().join("books"), options(Ownership::Exclusive), &["could not make the data folder"]).await;
    }
}

#[tokio::test]
async fn a_cluster_that_is_too_old_is_said_to_be_and_not_asked_for_its_own_version() {
    let dir = data_dir();
    let cluster = dir.path().join("postgres");
    std::fs::create_dir(&cluster).unwrap();
    std::fs::write(cluster.join("PG_VERSION"), "13\n").unwrap();
    let refused = open(dir.path(), Ownership::Exclusive).await.unwrap_err().to_string();
    assert!(refused.contains("Postgres 13, and 14 or newer is needed") && refused.contains("pg_dump"), "{refused}");
}
