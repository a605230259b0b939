//! Work that gives way to verdicts: a thread of this process, and the server process behind a connection, get a tenth
//! of the processor where others want it.
//!
//! SQL has no word for it, so the operating system is asked: on Linux, where the server is on this machine, and where its
//! processes may be reached (ours, or we are root). Everywhere else nothing is changed, and that is no error: on another
//! machine the server's other cores are left to verdicts anyway.
//!
//! Invariant: only a connection that is closed afterwards may be given low priority. What was lowered cannot be raised again
//! without privilege, so such a connection never goes back to a pool.

use std::path::PathBuf;

use rustix::process::{Pid, setpriority_process};
use sqlx::postgres::PgConnectOptions;
use tokio::net::UnixStream;

/// How low, as `nice` counts: a tenth of the share of work of normal priority. The lowest, 19, has a seventieth, and an export on
/// a machine that is busy with something else would hold its snapshot for ever.
const NICE: i32 = 10;

/// Gives the calling thread a tenth of the share of others.
pub fn lower_this_thread() {
    // Elsewhere the whole process would be meant.
    if cfg!(target_os = "linux")
        && let Err(error) = setpriority_process(None, NICE)
    {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// Does the same with the server process `pid` behind a connection, if it is a child of the server that listens on this machine's socket of `options`.
pub(super) async fn lower_server_process(options: &PgConnectOptions, pid: i32) {
    if let Err(why) = try_lower(options, pid).await {
        tracing::debug!(pid, why, "a process of the database keeps its priority");
    }
}

async fn try_lower(options: &PgConnectOptions, pid: i32) -> Result<(), &'static str> {
    let server = listener(options).await.ok_or("it is not on this machine")?;
    // The number is that of the server's own view of processes, which may be another than ours.
    if parent(pid) != Some(server) {
        return Err("it is not to be seen from here");
    }
    let process = Pid::from_raw(pid).ok_or("it has no number")?;
    setpriority_process(Some(process), NICE).map_err(|_| "it is not ours")?;
    // Postgres makes each of its processes a session of its own. Where the kernel shares the processor out by sessions first
    // (`sched_autogroup_enabled`), it is the session that has to be lowered; elsewhere there is no such file.
    let _absent = std::fs::write(format!("/proc/{pid}/autogroup"), NICE.to_string());
    Ok(())
}

/// The process that listens on the socket of these options, as the kernel names it.
async fn listener(options: &PgConnectOptions) -> Option<i32> {
    let by_host = || Some(options.get_host()).filter(|host| host.starts_with('/')).map(PathBuf::from);
    let folder = options.get_socket().cloned().or_else(by_host)?;
    let socket = UnixStream::connect(folder.join(format!(".s.PGSQL.{}", options.get_port()))).await.ok()?;
    socket.peer_cred().ok()?.pid()
}

/// The parent of a process.
fn parent(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may itself hold blanks and brackets; after it are the state and the parent.
    let (_, after) = text.rsplit_once(") ")?;
    after.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn a_thread_is_lowered_and_the_others_are_not() {
        let lowered = std::thread::spawn(|| {
            lower_this_thread();
            getpriority_process(None).unwrap()
        });
        assert_eq!(lowered.join().unwrap(), NICE);
        let untouched = std::thread::spawn(|| getpriority_process(None).unwrap()).join().unwrap();
        assert!(untouched < NICE);
    }

    #[test]
    fn a_process_has_the_parent_that_the_kernel_says() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(parent(me), rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get()));
        assert_eq!(parent(i32::MAX), None);
    }

    #[tokio::test]
    async fn a_process_that_is_not_the_servers_is_left_alone() {
        let options = PgConnectOptions::new().socket("/nonexistent");
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(try_lower(&options, me).await, Err("it is not on this machine"));
    }
}
