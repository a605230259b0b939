//! What can stand in the way of a private Postgres, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The reason why a private Postgres could not be opened or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Another process owns the folder.
    #[error("the data folder {} is in use by {holder}; stop that one, or choose another --data-dir", data_dir.display())]
    Held {
        /// The folder.
        data_dir: PathBuf,
        /// Process id and name, as the holder wrote them.
        holder: String,
    },
    /// Another process owns the folder, but its server does not answer.
    #[error("the data folder {} has an owner, but its Postgres does not answer; see postgres.log there", data_dir.display())]
    NotAnswering {
        /// The folder.
        data_dir: PathBuf,
    },
    /// No Postgres programs anywhere, and none were to be fetched.
    #[error(
        "no Postgres {wanted} is installed{too_old}; install it (Debian: apt-get install postgresql), or point \
         COUNTERFOIL_PG_BIN at the folder that holds `postgres` and `initdb`, or let it be fetched \
         (--fetch-postgres auto), or name a server in DATABASE_URL"
    )]
    NoPostgres {
        /// Which version.
        wanted: String,
        /// What is there instead, in brackets, or nothing.
        too_old: String,
    },
    /// `COUNTERFOIL_PG_BIN` does not lead to Postgres.
    #[error("COUNTERFOIL_PG_BIN is {}, but {problem}; it must be the folder that holds `postgres` and `initdb`", dir.display())]
    BadConfigured {
        /// The configured folder.
        dir: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The cluster was made by another major version.
    #[error(
        "the cluster in {} was made by Postgres {made_by}, found only {found}; install Postgres {made_by}, \
         or point COUNTERFOIL_PG_BIN at its programs, or move the data with pg_upgrade",
        data_dir.display()
    )]
    OtherMajor {
        /// The folder.
        data_dir: PathBuf,
        /// Major version of the cluster.
        made_by: u32,
        /// Versions that are installed.
        found: String,
    },
    /// A file of the cluster does not say what it should.
    #[error("{} is damaged: {problem}; restore the folder from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The user who runs Postgres cannot reach a folder or program.
    #[error("Postgres must run as user {user}, who cannot reach {}: {problem}; {advice}", path.display())]
    Unreachable {
        /// Name or number of the user.
        user: String,
        /// What cannot be reached.
        path: PathBuf,
        /// Which folder stands in the way.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// The cluster belongs to somebody else.
    #[error("the cluster {} belongs to user id {owner}, and this process runs as {us}; run as that user or as root", path.display())]
    Foreign {
        /// The cluster.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// The cluster is older than any that the ledger runs on.
    #[error(
        "the data folder {} holds a cluster of Postgres {made_by}, and {least} or newer is needed: \
         dump it with pg_dump of Postgres {made_by}, and restore it in a new folder, or run pg_upgrade",
        data_dir.display()
    )]
    OldCluster {
        /// The folder.
        data_dir: PathBuf,
        /// The major version that made it.
        made_by: u32,
        /// The least one.
        least: u32,
    },
    /// No folder for the socket that is ours alone.
    #[error("no safe folder for the Unix socket: {problem}; remove it, or choose another --data-dir")]
    NoSocketDir {
        /// What was found instead.
        problem: String,
    },
    /// A program ended badly.
    #[error("{program} failed ({status}): {output}")]
    Failed {
        /// Which program.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of what it said.
        output: String,
    },
    /// The server did not come up.
    #[error("Postgres did not start ({status}); the end of {}:\n{log}", log_file.display())]
    NotStarting {
        /// Exit status, or how long we waited.
        status: String,
        /// Where the rest of the log is.
        log_file: PathBuf,
        /// The last lines.
        log: String,
    },
    /// The server did not go.
    #[error("the Postgres with process id {pid} does not stop; see postgres.log in the data folder")]
    NotStopping {
        /// Its process id.
        pid: u32,
    },
    /// Postgres programs could not be fetched.
    #[error(
        "could not fetch Postgres ({problem}); install it (Debian: apt-get install postgresql), or point \
         COUNTERFOIL_PG_BIN at the folder that holds `postgres` and `initdb`, or name a server in DATABASE_URL"
    )]
    Fetch {
        /// Every way that was tried, and how it failed.
        problem: String,
    },
    /// The server is up, but refuses us.
    #[error("could not connect to the private Postgres")]
    Connect(#[source] sqlx::Error),
    /// The file system said no.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The machine refused a thread, or a thread died.
    #[error("could not run a thread for Postgres")]
    Thread,
}

impl EmbeddedError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
