//! The files of a cluster: where they are, how they come into being, what they say about a running server.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal};

use super::{
    Durability, EmbeddedError, NAME, Report,
    files::ours_alone,
    find::Binaries,
    identity::{self, Identity},
    keeper,
    socket::PORT,
    wait::{Deadline, moment_blocking},
};

/// The cluster within the data folder.
pub(super) const CLUSTER_DIR: &str = "postgres";

/// How long a server may take to end, in seconds: the checkpoint of a busy ledger on a slow disk.
pub(super) const STOP_WAIT_S: u64 = 60;

/// A log larger than this is put aside, in bytes, so that logs take at most twice as much and what is written in
/// [`super::LOG_LOOK`].
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How much of a log is shown in an error, in bytes.
const LOG_TAIL_BYTES: u64 = 2_000;

/// Settings that an operator may change in `postgresql.conf`, or with `alter system`.
const SETTINGS: &str = "
# Counterfoil: modest memory, for a service that shares its machine.
shared_buffers = 64MB
jit = off # no query of a ledger runs long enough to repay it
log_checkpoints = off
";

/// A data folder, and the paths in it.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// Canonical, so that every way to name the folder leads to the same server.
    pub(super) data_dir: PathBuf,
    pub(super) cluster_dir: PathBuf,
}

/// What `postmaster.pid` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: u32,
    pub(super) socket_dir: Option<PathBuf>,
}

impl Postmaster {
    /// Reads the file's lines: process id, data folder, start time, port, socket folder, …
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let socket_dir = lines.nth(3).map(str::trim).filter(|line| !line.is_empty()).map(PathBuf::from);
        Some(Self { pid, socket_dir })
    }
}

impl Cluster {
    /// Makes the data folder if it is missing.
    pub(super) fn in_folder(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let data_dir = &std::path::absolute(data_dir)
            .map_err(|source| EmbeddedError::io("find the data folder", data_dir, source))?;
        identity::make_passable(data_dir)
            .map_err(|source| EmbeddedError::io("make the data folder", data_dir, source))?;
        let data_dir = std::fs::canonicalize(data_dir).map_err(|source| EmbeddedError::io("find", data_dir, source))?;
        Ok(Self { cluster_dir: data_dir.join(CLUSTER_DIR), data_dir })
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        self.data_dir.join("counterfoil.lock")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    /// The major version that made the cluster; `None` if there is no cluster yet.
    pub(super) fn major(&self) -> Result<Option<u32>, EmbeddedError> {
        if !self.cluster_dir.exists() {
            return Ok(None);
        }
        let path = self.cluster_dir.join("PG_VERSION");
        let text = std::fs::read_to_string(&path).map_err(|source| EmbeddedError::io("read", &path, source))?;
        match text.trim().parse() {
            Ok(major) => Ok(Some(major)),
            Err(_) => Err(EmbeddedError::Damaged { path, problem: format!("{:?} is no version", text.trim()) }),
        }
    }

    /// What the server wrote about itself; `None` if none runs or ever died here.
    pub(super) fn postmaster(&self) -> Result<Option<Postmaster>, EmbeddedError> {
        let path = self.postmaster_file();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Postmaster::parse(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(EmbeddedError::io("read", &path, source)),
        }
    }

    fn postmaster_file(&self) -> PathBuf {
        self.cluster_dir.join("postmaster.pid")
    }

    /// Removes what a killed `initdb` left. Something may still be writing there: what stays is removed the next time.
    pub(super) fn remove_unfinished(&self) {
        let Ok(entries) = std::fs::read_dir(&self.data_dir) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with("postgres.making.") {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Makes the cluster beside its place, then moves it there: it is whole or not there at all.
    pub(super) fn make(
        &self,
        identity: &Identity,
        binaries: &Binaries,
        durability: Durability,
    ) -> Result<(), EmbeddedError> {
        let making = self.data_dir.join(format!("postgres.making.{}", std::process::id()));
        // C.UTF-8 sorts by code point and knows what a letter is; not every system has it.
        let mut made = initdb(&making, "C.UTF-8", identity, binaries, durability);
        if let Err(EmbeddedError::Failed { output, .. }) = &made
            && output.contains("invalid locale")
        {
            made = initdb(&making, "C", identity, binaries, durability);
        }
        made?;
        append_settings(&making.join("postgresql.conf"))?;
        std::fs::rename(&making, &self.cluster_dir)
            .map_err(|source| EmbeddedError::io("move into place", &making, source))?;
        File::open(&self.data_dir)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| EmbeddedError::io("sync", &self.data_dir, source))
    }

    /// Ends the server of an owner that died, or was left by one. Call it with the lock in hand: then no server here has
    /// a living owner.
    pub(super) fn end_orphan(&self, report: &Report) -> Result<(), EmbeddedError> {
        let Some(postmaster) = self.postmaster()? else { return Ok(()) };
        let Some(pid) = process(postmaster.pid) else { return Ok(()) };
        if !exists(pid) {
            return Ok(()); // Postgres itself recognises and removes the stale file
        }
        if !self.is_server(postmaster.pid) {
            return self.disown(&postmaster);
        }
        report("ending the Postgres of a service that was killed");
        let deadline = Deadline::after_seconds(STOP_WAIT_S);
        // Sent again and again: a server that is still recovering may have missed the first one.
        while exists(pid) && self.is_server(postmaster.pid) {
            if deadline.is_over() {
                return Err(EmbeddedError::NotStopping { pid: postmaster.pid });
            }
            let _ = rustix::process::kill_process(pid, Signal::INT);
            moment_blocking();
        }
        // One that was killed meanwhile, and whose parent has not asked after it yet.
        if exists(pid) { self.disown(&postmaster) } else { Ok(()) }
    }

    /// Whether a process is the server of this cluster: servers stand in their data folder.
    fn is_server(&self, pid: u32) -> bool {
        if cfg!(target_os = "linux") {
            std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == self.cluster_dir)
        } else {
            true // no cheap way to tell; Postgres would refuse to start beside that process anyway
        }
    }

    /// After a crash the recorded process id may be that of another program (in a container it often is), and Postgres
    /// would refuse to start. Our own id takes its place, which Postgres knows to be no server, being its parent. The
    /// file is not removed: its other lines let Postgres check for living sessions of the crashed server.
    /// The socket's lock file has no such lines, and names the same process: it goes.
    fn disown(&self, postmaster: &Postmaster) -> Result<(), EmbeddedError> {
        if let Some(socket_dir) = &postmaster.socket_dir {
            let _ = std::fs::remove_file(socket_dir.join(format!(".s.PGSQL.{PORT}.lock")));
        }
        let path = self.postmaster_file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(EmbeddedError::io("read", &path, source)),
        };
        let rewritten = text.replacen(&postmaster.pid.to_string(), &std::process::id().to_string(), 1);
        std::fs::write(&path, rewritten).map_err(|source| EmbeddedError::io("write", &path, source))
    }

    /// Opens the log for a new server; a large one is put aside first.
    pub(super) fn open_log(&self) -> Result<File, EmbeddedError> {
        let path = self.log_file();
        self.turn_log().map_err(|source| EmbeddedError::io("put aside", &path, source))?;
        // Errors in it may quote data.
        ours_alone(OpenOptions::new().create(true).append(true), &path)
            .map_err(|source| EmbeddedError::io("open", &path, source))
    }

    /// Puts a large log aside. The server goes on writing to the same file, at its new end; what it writes between the copy and
    /// the cut is lost, which are milliseconds of a log.
    pub(super) fn turn_log(&self) -> std::io::Result<()> {
        let mut log = match ours_alone(OpenOptions::new().read(true).write(true), &self.log_file()) {
            Ok(log) => log,
            Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let length = log.metadata()?.len();
        if length <= LOG_BYTES_MAX {
            return Ok(());
        }
        let aside = self.data_dir.join("postgres.log.old");
        // Removed rather than written over: whatever stands there now is not ours to follow.
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut old = ours_alone(OpenOptions::new().write(true).create_new(true), &aside)?;
        // The end of it says most, and is all that is kept of one that grew faster than it is looked at.
        log.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_MAX)))?;
        std::io::copy(&mut (&log).take(LOG_BYTES_MAX), &mut old)?;
        log.set_len(0)
    }

    /// The end of the log.
    pub(super) fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(self.log_file())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }
}

fn initdb(
    dir: &Path,
    locale: &str,
    identity: &Identity,
    binaries: &Binaries,
    durability: Durability,
) -> Result<(), EmbeddedError> {
    let _ = std::fs::remove_dir_all(dir);
    DirBuilder::new().mode(0o700).create(dir).map_err(|source| EmbeddedError::io("make", dir, source))?;
    identity.give(dir)?;
    let program = binaries.program("initdb");
    let mut command = identity.command(&program);
    command.arg("-D").arg(dir).args(["-U", NAME, "-A", "trust", "-E", "UTF8", "--locale", locale, "--data-checksums"]);
    if durability == Durability::Scratch {
        command.arg("--no-sync");
    }
    keeper::dies_with_its_thread(&mut command, Signal::KILL);
    let output = command.output().map_err(|source| EmbeddedError::io("run", &program, source))?;
    if output.status.success() {
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(dir);
    Err(EmbeddedError::Failed {
        program: program.display().to_string(),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn append_settings(path: &Path) -> Result<(), EmbeddedError> {
    OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(SETTINGS.as_bytes())?;
            file.sync_all()
        })
        .map_err(|source| EmbeddedError::io("write", path, source))
}

/// A process id that can be asked about.
pub(super) fn process(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Whether there is such a process, ours or not.
fn exists(pid: Pid) -> bool {
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_large_log_is_turned_under_its_writer_and_logs_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::in_folder(dir.path()).unwrap();
        let mut writer = cluster.open_log().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let half = vec![b'a'; usize::try_from(LOG_BYTES_MAX / 2).unwrap()];
        writer.write_all(&half).unwrap();
        cluster.turn_log().unwrap();
        assert_eq!(std::fs::metadata(cluster.log_file()).unwrap().len(), LOG_BYTES_MAX / 2, "it is not large yet");
        for _ in 0..3 {
            writer.write_all(&half).unwrap();
        }
        writer.write_all(b"the end").unwrap();
        cluster.turn_log().unwrap();
        let old = dir.path().join("postgres.log.old");
        assert_eq!(std::fs::metadata(&old).unwrap().len(), LOG_BYTES_MAX);
        assert!(std::fs::read(&old).unwrap().ends_with(b"the end"));
        writer.write_all(b"and a new beginning").unwrap();
        assert_eq!(std::fs::read(cluster.log_file()).unwrap(), b"and a new beginning");
        assert_eq!((mode(&old), mode(&cluster.log_file())), (0o600, 0o600));
    }

    #[test]
    fn a_log_that_is_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::in_folder(dir.path()).unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, cluster.log_file()).unwrap();
        assert!(cluster.open_log().is_err());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn postmaster_files_are_read_whole_cut_off_or_not_at_all() {
        let check = |text: &str, expect: Option<(u32, Option<&str>)>| {
            let expect = expect.map(|(pid, dir)| Postmaster { pid, socket_dir: dir.map(PathBuf::from) });
            assert_eq!(Postmaster::parse(text), expect, "{text:?}");
        };
        check("41\n/data\n1790000000\n5432\n/run/x\n\n  1234 5\nready   \n", Some((41, Some("/run/x"))));
        check("41\n/data\n1790000000\n5432\n\n\n", Some((41, None)));
        check("41\n/data\n", Some((41, None)));
        check("", None);
        check("-41\n", None);
    }
}
