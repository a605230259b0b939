//! Under which user Postgres runs: it refuses root, so root has to lend it somebody.
//!
//! Users are read from `/etc/passwd` alone: a service user that exists only in a directory server is passed over, and
//! `nobody` does as well.

use std::{
    fmt,
    io::ErrorKind,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use super::{EmbeddedError, cluster::Cluster, find::Binaries};

/// Users that root prefers, best first.
const PREFERRED: [&str; 3] = ["counterfoil", "postgres", "nobody"];

/// What glibc keeps at the top of a server process's heap before it gives memory back, and what it asks for at a time.
const MEMORY_KEPT_BYTES: &str = "8388608";
const MEMORY_ASKED_BYTES: &str = "1048576";

/// User and group number of `nobody` on Linux, where even `/etc/passwd` is missing.
const NOBODY: u32 = 65_534;

/// The user who runs Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    user: u32,
    /// Set when we are root and become somebody else.
    switch_to_group: Option<u32>,
    name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl Identity {
    /// Ourselves; or, for root, the owner of the cluster if there is one, else an unprivileged user.
    pub(super) fn choose(cluster: &Cluster) -> Result<Self, EmbeddedError> {
        let owner = std::fs::metadata(&cluster.cluster_dir).ok().map(|metadata| (metadata.uid(), metadata.gid()));
        let us = rustix::process::geteuid().as_raw();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        if us == 0 {
            return Ok(Self::lent_by_root(&passwd, owner.filter(|(user, _)| *user != 0)));
        }
        match owner {
            Some((owner, _)) if owner != us => {
                Err(EmbeddedError::Foreign { path: cluster.cluster_dir.clone(), owner, us })
            }
            Some(_) | None => Ok(Self { user: us, switch_to_group: None, name: name_of(&passwd, us) }),
        }
    }

    /// The user of a test, root or not: for programs that are not Postgres.
    #[cfg(test)]
    pub(super) fn ourselves() -> Self {
        Self { user: rustix::process::geteuid().as_raw(), switch_to_group: None, name: "ourselves".to_owned() }
    }

    fn lent_by_root(passwd: &str, owner: Option<(u32, u32)>) -> Self {
        if let Some((user, group)) = owner {
            return Self { user, switch_to_group: Some(group), name: name_of(passwd, user) };
        }
        let (name, user, group) = PREFERRED
            .iter()
            .find_map(|preferred| entries(passwd).find(|(name, user, _)| name == preferred && *user != 0))
            .unwrap_or(("nobody", NOBODY, NOBODY));
        Self { user, switch_to_group: Some(group), name: name.to_owned() }
    }

    /// The number of the user.
    pub(super) fn user(&self) -> u32 {
        self.user
    }

    /// A command that will run as this user, with an empty environment: our secrets are not Postgres's business.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            // A statement of a lane asks for a few hundred kB, and gives them back at its end. Left to itself, glibc gives
            // them back to the system each time, and every statement pays for its pages anew.
            .env("MALLOC_TRIM_THRESHOLD_", MEMORY_KEPT_BYTES)
            .env("MALLOC_TOP_PAD_", MEMORY_ASKED_BYTES)
            .current_dir("/")
            .stdin(Stdio::null());
        if let Some(group) = self.switch_to_group {
            command.uid(self.user).gid(group); // std also drops root's supplementary groups
        }
        command
    }

    /// Gives a folder or file to this user, if we are root.
    pub(super) fn give(&self, path: &Path) -> Result<(), EmbeddedError> {
        let Some(group) = self.switch_to_group else { return Ok(()) };
        chown(path, Some(self.user), Some(group))
            .map_err(|source| EmbeddedError::io("change the owner of", path, source))
    }

    /// Checks that this user can run the programs and can reach the data folder, by trying.
    pub(super) fn check_reach(&self, cluster: &Cluster, binaries: &Binaries) -> Result<(), EmbeddedError> {
        let program = binaries.program("postgres");
        let attempt = |folder: &Path| {
            self.command(&program)
                .arg("--version")
                .current_dir(folder) // entered after the switch of user, so by the rights of that user
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
        };
        attempt(Path::new("/")).map_err(|error| self.unreachable(&program, &error))?;
        attempt(&cluster.data_dir).map_err(|error| self.unreachable(&cluster.data_dir, &error))?;
        Ok(())
    }

    fn unreachable(&self, path: &Path, error: &std::io::Error) -> EmbeddedError {
        let problem = match self.closed_folder(path) {
            Some(folder) => format!("{folder} is closed to them"),
            None => error.to_string(),
        };
        EmbeddedError::Unreachable {
            user: self.name.clone(),
            path: path.to_owned(),
            problem,
            advice: "choose a --data-dir outside of it (/var/lib/counterfoil, say), or open it with `chmod o+x`",
        }
    }

    /// The first folder on the way that the user may not pass, going by mode bits: a hint for people, not a decision.
    fn closed_folder(&self, path: &Path) -> Option<String> {
        let mut on_the_way: Vec<&Path> = path.ancestors().collect();
        on_the_way.reverse();
        on_the_way.into_iter().find_map(|folder| {
            let metadata = std::fs::metadata(folder).ok()?;
            let execute = if metadata.uid() == self.user {
                0o100
            } else if Some(metadata.gid()) == self.switch_to_group {
                0o010
            } else {
                0o001
            };
            (metadata.mode() & execute == 0).then(|| folder.display().to_string())
        })
    }
}

/// Makes a folder and what is missing above it. Under root others may pass, whatever the umask says: the user who runs
/// Postgres has to, and the files below guard themselves.
pub(super) fn make_passable(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        make_passable(parent)?;
    }
    match std::fs::create_dir(dir) {
        Ok(()) if rustix::process::geteuid().is_root() => {
            std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755))
        }
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Name, user number and group number of each line of a passwd file.
fn entries(passwd: &str) -> impl Iterator<Item = (&str, u32, u32)> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let user = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some((name, user, group))
    })
}

fn name_of(passwd: &str, number: u32) -> String {
    entries(passwd)
        .find(|(_, user, _)| *user == number)
        .map_or_else(|| number.to_string(), |(name, _, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65533:65532::/:/bin/false\n# odd line\n\
                          postgres:x:104:106::/var/lib/postgresql:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n";

    fn check(passwd: &str, owner: Option<(u32, u32)>, expect: (&str, u32, u32)) {
        let identity = Identity::lent_by_root(passwd, owner);
        assert_eq!(
            (identity.name.as_str(), identity.user, identity.switch_to_group),
            (expect.0, expect.1, Some(expect.2))
        );
    }

    #[test]
    fn root_lends_postgres_the_owner_of_the_cluster_else_the_best_user_there_is() {
        check(PASSWD, Some((1000, 1001)), ("alice", 1000, 1001));
        check(PASSWD, Some((77, 78)), ("77", 77, 78));
        check(PASSWD, None, ("postgres", 104, 106));
        check(&format!("{PASSWD}counterfoil:x:900:901::/:/bin/false"), None, ("counterfoil", 900, 901));
        check("nobody:x:65533:65532::/:/bin/false", None, ("nobody", 65_533, 65_532));
        check("", None, ("nobody", NOBODY, NOBODY));
        check("postgres:x:0:0::/:/bin/sh\n", None, ("nobody", NOBODY, NOBODY));
    }
}
