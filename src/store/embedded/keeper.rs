//! The thread that keeps a server: it spawns Postgres, waits for its end, and lives exactly as long.
//!
//! Linux sends the death signal when the *thread* that spawned the child ends, so neither a worker nor a blocking thread
//! of the runtime may do it.
//! Invariant: no signal is ever sent to a process id that may have been given to another process; the id is reaped and
//! marked as gone under one mutex.

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use sqlx::{Connection, PgConnection};
use tokio::sync::{oneshot, watch};

use super::{
    Durability, EmbeddedError, Options,
    cluster::{self, Cluster, STOP_WAIT_S},
    connect_options,
    find::Binaries,
    identity::Identity,
    socket,
    wait::{self, Deadline},
};

/// How long a start may take, in seconds: mostly the recovery after a crash, which can be long; it is only given up when
/// something must be very wrong.
const START_WAIT_S: u64 = 600;

/// How often a start is tried again while sessions of a crashed server still hold its shared memory.
const START_ATTEMPTS: u32 = 20;

/// A running server, and the thread that waits for its end.
#[derive(Debug)]
pub(super) struct Server {
    shared: Arc<Shared>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

#[derive(Debug)]
struct Shared {
    pid: Pid,
    /// Set under this mutex before the process id can be given to anyone else.
    reaped: Mutex<bool>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        let reaped = self.lock();
        if !*reaped {
            // It can only fail for a process that is just ending, which is what we want.
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }
}

impl Server {
    pub(super) fn process_id(&self) -> u32 {
        self.shared.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits for the end of the process.
    pub(super) async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that the keeper is gone, and so is its server.
        let _ = ended.wait_for(Option::is_some).await;
    }

    fn status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Fast shutdown: sessions are cut, a checkpoint is written.
    pub(super) async fn stop(self) -> Result<(), EmbeddedError> {
        self.shared.signal(Signal::INT);
        let patience = std::time::Duration::from_secs(STOP_WAIT_S);
        match tokio::time::timeout(patience, self.ended()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(EmbeddedError::NotStopping { pid: self.process_id() }),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.signal(Signal::INT);
    }
}

/// Starts a server and waits until it answers.
pub(super) async fn start(
    cluster: &Cluster,
    identity: &Identity,
    binaries: &Binaries,
    socket_dir: &Path,
    options: &Options,
) -> Result<Server, EmbeddedError> {
    let mut attempt = 1;
    loop {
        let server = spawn(cluster, identity, binaries, socket_dir, options).await?;
        match answers(&server, socket_dir, options).await {
            Ok(()) => return Ok(server),
            Err(status) => {
                let log = cluster.log_tail();
                // Sessions notice the death of their server within milliseconds, unless a long query keeps them busy.
                if attempt == START_ATTEMPTS || !log.contains("pre-existing shared memory block") {
                    return Err(EmbeddedError::NotStarting { status, log_file: cluster.log_file(), log });
                }
                attempt += 1;
                tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            }
        }
    }
}

/// Polls until the server lets us in; an error tells how it ended.
async fn answers(server: &Server, socket_dir: &Path, options: &Options) -> Result<(), String> {
    let maintenance = connect_options(socket_dir).database("postgres");
    let deadline = Deadline::after_seconds(START_WAIT_S);
    let slow = Deadline::after_seconds(3);
    let mut said = false;
    loop {
        if let Some(status) = server.status() {
            return Err(status.to_string());
        }
        if let Ok(connection) = PgConnection::connect_with(&maintenance).await {
            // Whether the farewell arrives does not matter: the server is there.
            let _ = connection.close().await;
            return Ok(());
        }
        if deadline.is_over() {
            return Err(format!("no answer for {START_WAIT_S} s"));
        }
        if slow.is_over() && !said {
            said = true;
            (options.report)("waiting for Postgres, which may be recovering from a crash");
        }
        wait::moment().await;
    }
}

async fn spawn(
    cluster: &Cluster,
    identity: &Identity,
    binaries: &Binaries,
    socket_dir: &Path,
    options: &Options,
) -> Result<Server, EmbeddedError> {
    let log = cluster.open_log()?;
    let program = binaries.program("postgres");
    let mut command = identity.command(&program);
    command.arg("-D").arg(&cluster.cluster_dir).arg("-k").arg(socket_dir);
    for setting in settings(options) {
        command.arg("-c").arg(setting);
    }
    let second = log.try_clone().map_err(|source| EmbeddedError::io("open", &cluster.log_file(), source))?;
    command.stdout(second).stderr(log);
    command.process_group(0); // Ctrl-C is for us: we end first, then Postgres
    dies_with_its_thread(&mut command, Signal::INT);

    let (started_sender, started) = oneshot::channel();
    let (ended_sender, ended) = watch::channel(None);
    std::thread::Builder::new()
        .name("postgres-keeper".to_owned())
        .spawn(move || match spawn_child(&mut command) {
            Ok((child, shared)) => {
                // If nobody waits for it any more, it is dropped, here or on its way, and so told to end.
                let _ = started_sender.send(Ok(Server { shared: Arc::clone(&shared), ended }));
                let status = wait_for_end(child, &shared);
                ended_sender.send_replace(Some(status));
            }
            Err(error) => {
                // As above: with nobody waiting there is nobody to tell.
                let _ = started_sender.send(Err(error));
            }
        })
        .map_err(|_| EmbeddedError::Thread)?;
    let server = started.await.map_err(|_| EmbeddedError::Thread)?;
    server.map_err(|source| EmbeddedError::io("run", &program, source))
}

fn settings(options: &Options) -> Vec<String> {
    let mut settings = vec![
        "listen_addresses=".to_owned(),
        format!("port={}", socket::PORT),
        "unix_socket_permissions=0700".to_owned(),
        format!("max_connections={}", options.connections_max),
        "cluster_name=counterfoil".to_owned(),
        "logging_collector=off".to_owned(),
    ];
    if options.durability == Durability::Scratch {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
    }
    settings
}

fn spawn_child(command: &mut Command) -> io::Result<(Child, Arc<Shared>)> {
    let child = command.spawn()?;
    let pid = cluster::process(child.id()).ok_or(io::ErrorKind::InvalidData)?;
    Ok((child, Arc::new(Shared { pid, reaped: Mutex::new(false) })))
}

/// Waits without reaping first, so that the id stays taken until it is marked as gone.
fn wait_for_end(mut child: Child, shared: &Shared) -> ExitStatus {
    while let Err(rustix::io::Errno::INTR) =
        rustix::process::waitid(WaitId::Pid(shared.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
    {}
    let mut reaped = shared.lock();
    *reaped = true;
    child.wait().unwrap_or_default()
}

/// Runs something that blocks on a thread of its own, which lives until it is done.
pub(super) async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EmbeddedError> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("postgres-maker".to_owned())
        .spawn(move || {
            // If nobody waits any more, the result is of no use to anyone.
            let _ = sender.send(work());
        })
        .map_err(|_| EmbeddedError::Thread)?;
    receiver.await.map_err(|_| EmbeddedError::Thread)
}

/// Makes a child end when the thread that spawns it does, even by `kill -9` of the whole process.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a death signal can only be set between fork and exec, and std has no safe door there")]
pub(super) fn dies_with_its_thread(command: &mut Command, signal: Signal) {
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. Both are plain system calls; nothing
    // allocates, locks or panics. It runs after the switch of user, which would have cleared the signal.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(signal))?;
            // The parent may have died before the line above: then no signal will ever come.
            if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
}

/// Other systems have no death signal: the next owner ends what was left behind.
#[cfg(not(target_os = "linux"))]
pub(super) fn dies_with_its_thread(_command: &mut Command, _signal: Signal) {}
