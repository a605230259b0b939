//! The style is a test: each rule fails with file, line, reason and fix.
//!
//! A rule has exceptions, each with its reason, and an exception that nothing needs any more fails too.
//! Test code is what stands in `tests/`, in `tests.rs`, `*_tests.rs` and after `#[cfg(test)] mod … {`, which ends a file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Longest Rust file, in lines: beyond it there are two subjects in one file.
const LINES_MAX: usize = 600;

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A text file of the project.
pub(crate) struct Source {
    /// From the project's folder, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_test_file(&self) -> bool {
        !self.path.starts_with("src/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("/fixtures.rs")
            || self.path.ends_with("_tests.rs")
    }

    /// The room it belongs to: the first folder or file under `src/`.
    fn room(&self) -> Option<&str> {
        let first = self.path.strip_prefix("src/")?.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// Numbered lines of code that ships: without comments, without tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = if self.is_test_file() { Vec::new() } else { self.text.lines().collect() };
        let end = (0..lines.len())
            .find(|&at| {
                let rest = &lines[at..];
                // Attributes, also those over many lines, start with something else.
                let item = rest.iter().skip(1).find(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()));
                rest[0] == "#[cfg(test)]"
                    && item.is_some_and(|line| {
                        line.trim_start_matches("pub(crate) ").starts_with("mod ") && line.ends_with('{')
                    })
            })
            .unwrap_or(lines.len());
        let code = lines.into_iter().take(end).enumerate().map(|(at, line)| (at + 1, line));
        code.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Every text file that could be in the repository, sorted: folders that hold products or the version control's files are
/// left out.
pub(crate) fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                let product = ["target", "node_modules", "books"].contains(&name.as_str());
                let hidden = name.starts_with('.') && name != ".ci";
                if !product && !hidden {
                    walk(&entry.path(), found);
                }
            } else if entry.file_type().unwrap().is_file() && name != ".git" {
                found.push(entry.path());
            }
        }
    }
    let mut paths = Vec::new();
    walk(root(), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = String::from_utf8(std::fs::read(&path).unwrap()).ok()?;
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        Some(Source { path, text })
    };
    let sources: Vec<Source> = paths.into_iter().filter_map(read).collect();
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "no sources in {}", root().display());
    sources
}

/// What a rule found.
struct Finding {
    pub(crate) path: String,
    line: usize,
    what: String,
}

/// Fails with every finding that no exception covers, and every exception that covers nothing.
#[track_caller]
fn check(reason: &str, fix: &str, exceptions: &[(&str, &str)], findings: Vec<Finding>) {
    let mut used = BTreeSet::new();
    let mut report = String::new();
    for Finding { path, line, what } in findings {
        if let Some((exception, _)) = exceptions.iter().find(|(exception, _)| *exception == path) {
            used.insert(*exception);
        } else {
            writeln!(report, "{path}:{line}: {what}\n    why: {reason}\n    fix: {fix}").unwrap();
        }
    }
    for (exception, its_reason) in exceptions.iter().filter(|(exception, _)| !used.contains(exception)) {
        writeln!(report, "{exception}: the exception ({its_reason}) is no longer needed: remove it from tidy.rs")
            .unwrap();
    }
    assert!(report.is_empty(), "\n{report}");
}

/// Lines of shipped code of which `of` says what is wrong.
fn in_code(applies: impl Fn(&Source) -> bool, of: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust() && applies(source)) {
        let found = source.code().filter_map(|(line, text)| of(text).map(|what| (line, what)));
        findings.extend(found.map(|(line, what)| Finding { path: source.path.clone(), line, what }));
    }
    findings
}

/// The first of the words that a line has.
fn names(line: &str, words: &[&str]) -> Option<String> {
    words.iter().find(|word| line.contains(*word)).map(|word| format!("`{word}`"))
}

#[test]
fn sql_is_only_in_the_store() {
    // As they begin a statement, in the lower case this project writes SQL in.
    const STATEMENTS: [&str; 12] = [
        "sqlx::query",
        "QueryBuilder",
        "\"select ",
        "\"insert into ",
        "\"update ",
        "\"delete from ",
        "\"with ",
        "\"create ",
        "\"drop ",
        "\"truncate ",
        "\"begin",
        "\"set local ",
    ];
    check(
        "one room knows the schema, so that a migration has one place to look at",
        "move the statement to the aggregate's file in src/store, and call that",
        &[],
        in_code(|source| source.room() != Some("store"), |line| names(line, &STATEMENTS)),
    );
}

#[test]
fn statuses_are_only_in_problem_rs() {
    check(
        "an error has one status, wherever it comes from",
        "return a `Problem`; its `ProblemCode` knows the status",
        &[
            ("src/http/service.rs", "the status of an answer that is no error: metrics"),
            ("src/ingest/span.rs", "the status of a span, which is no answer of ours"),
        ],
        in_code(
            // The command line is the other side: it reads statuses.
            |source| source.path != "src/http/problem.rs" && source.room() != Some("cli"),
            |line| names(line, &["StatusCode"]),
        ),
    );
}

#[test]
fn only_the_clock_reads_the_time() {
    check(
        "a test moves the clock by hand, so nobody may look past it",
        "take `now` as an argument, or ask `Clock`",
        &[],
        in_code(
            |source| source.path != "src/clock.rs",
            |line| names(line, &["Utc::now", "Local::now", "SystemTime::now", "UNIX_EPOCH.elapsed"]),
        ),
    );
    check(
        "elapsed time is measured in the shell only, and never decides anything",
        "measure in lane, http/middleware or cli",
        &[
            (
                "src/lane/batch.rs",
                "the duration of a batch, and how many commands the next one holds; the patience with a database that is away",
            ),
            ("src/http/middleware.rs", "the duration of a request"),
            ("src/store/embedded/wait.rs", "waiting for a process, with a limit"),
            ("src/app/verify.rs", "how long each check took, for whoever reads the report"),
            ("src/export/stream.rs", "how long a reader keeps an export waiting; what it gets is the same"),
            ("src/store/export/pace.rs", "how long an export worked, and rests for it; what it reads is the same"),
        ],
        in_code(|source| source.room() != Some("cli"), |line| names(line, &["Instant::now"])),
    );
}

#[test]
fn advisory_locks_are_numbered_in_one_place() {
    check(
        "two purposes that share a number exclude each other, and neither the compiler nor a test can see it",
        "add a variant to `Lock` in src/store/locks.rs, and take it by name",
        &[
            ("src/store/locks.rs", "the place"),
            ("src/store/lane.rs", "the shared form, in one round trip with `begin`"),
        ],
        in_code(|_| true, |line| names(line, &["advisory_lock", "advisory_xact_lock"])),
    );
}

#[test]
fn only_the_configuration_reads_the_environment() {
    const READS: [&str; 6] =
        ["env::var", "env::set_var", "env::remove_var", "env::home_dir", "env::current_dir", "env::temp_dir"];
    check(
        "what a machine can change is written down in one place, docs/reference/config.md",
        "read it in src/config.rs and pass it on",
        &[],
        in_code(|source| source.path != "src/config.rs", |line| names(line, &READS)),
    );
}

#[test]
fn the_domain_is_pure() {
    const FOREIGN: [&str; 12] = [
        "serde",
        "utoipa",
        "sqlx::",
        "axum::",
        "tokio::",
        "hyper::",
        "tracing::",
        "metrics::",
        "async fn",
        ".await",
        "std::fs",
        "std::io",
    ];
    check(
        "rules over values can be read, tested and fuzzed without a service",
        "give the domain a value, and do the rest in wire (JSON), store (SQL), lane or app",
        &[],
        in_code(|source| source.room() == Some("domain"), |line| names(line, &FOREIGN)),
    );
}

/// Which rooms a room may name. `ARCHITECTURE.md` says why.
const MAY_NAME: [(&str, &[&str]); 18] = [
    ("domain", &[]),
    ("clock", &[]),
    ("config", &[]),
    ("telemetry", &[]),
    ("reconcile", &["domain"]),
    ("wire", &["domain", "reconcile"]),
    ("auth", &["domain"]),
    ("ingest", &["domain", "wire"]),
    ("store", &["config", "domain", "reconcile", "telemetry", "wire"]),
    ("lane", &["clock", "domain", "store", "telemetry"]),
    ("export", &["domain", "store", "wire"]),
    ("courier", &["domain"]),
    (
        "app",
        &["auth", "clock", "courier", "domain", "export", "ingest", "lane", "reconcile", "store", "telemetry", "wire"],
    ),
    ("worker", &["app", "clock", "domain", "store", "telemetry"]),
    ("http", &["app", "auth", "clock", "domain", "ingest", "telemetry", "wire"]),
    (
        "cli",
        &[
            "app",
            "auth",
            "clock",
            "config",
            "courier",
            "domain",
            "export",
            "http",
            "ingest",
            "lane",
            "reconcile",
            "store",
            "telemetry",
            "wire",
            "worker",
        ],
    ),
    ("lib", &[]),
    ("main", &[]),
];

#[test]
fn dependencies_point_one_way() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        let Some(room) = source.room() else { continue };
        let allowed = MAY_NAME.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed);
        let allowed =
            allowed.unwrap_or_else(|| panic!("{}: say in tidy.rs what the room `{room}` may name", source.path));
        for (line, text) in source.code() {
            for after in text.split("crate::").skip(1) {
                let named = after.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or("");
                let is_room = MAY_NAME.iter().any(|(name, _)| *name == named);
                if is_room && named != room && !allowed.contains(&named) {
                    let what = format!("`{room}` names `{named}`");
                    findings.push(Finding { path: source.path.clone(), line, what });
                }
            }
        }
    }
    check(
        "cli → {http, worker} → app → {lane, store, auth, ingest} → wire → domain",
        "move the code to the room that may know both, or pass a value",
        &[("src/http/state.rs", "translates the errors of lane and store, which app passes on, into problems")],
        findings,
    );
}

#[test]
fn no_lint_is_switched_off_in_silence() {
    let attributes = [concat!("#[", "allow("), concat!("#![", "allow(")];
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        for (at, line) in source.text.lines().enumerate() {
            if let Some(what) = names(line, &attributes) {
                findings.push(Finding { path: source.path.clone(), line: at + 1, what });
            }
        }
    }
    check("a lint that is off stays off after its cause is gone", "#[expect(…, reason = \"…\")]", &[], findings);
}

#[test]
fn nothing_that_ships_panics_on_purpose() {
    const PANICS: [&str; 6] = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "unimplemented!(", ".unwrap_err()"];
    check(
        "no input may end a request, and no state may end the service",
        "return an error, or write it so that the case cannot exist",
        &[],
        in_code(|_| true, |line| names(line, &PANICS)),
    );
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut long = Vec::new();
    let mut silent = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        let count = source.text.lines().count();
        if count > LINES_MAX {
            long.push(Finding { path: source.path.clone(), line: count, what: format!("{count} lines") });
        }
        if !source.text.starts_with("//!") && !source.path.ends_with("tests.rs") {
            silent.push(Finding { path: source.path.clone(), line: 1, what: "no `//!` at the top".to_owned() });
        }
    }
    check("a long file has two subjects", "make it two files, each with a name of its own", &[], long);
    check(
        "a reader should know within three lines whether this is the file",
        "say what it is for, its invariants, and what is deliberately absent",
        &[],
        silent,
    );
}

#[test]
fn nothing_is_left_for_later_and_no_machine_is_named() {
    // Written in two parts, because this file is checked as well.
    let later =
        [concat!("to", "do!("), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("TO", "DO:"), concat!("db", "g!(")];
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut findings = Vec::new();
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            // Alice's home is the example of a home.
            let line = line.replace(concat!("/ho", "me/alice"), "");
            let Some(what) = names(&line, &later).or_else(|| names(&line, &places)) else { continue };
            findings.push(Finding { path: source.path.clone(), line: at + 1, what });
        }
    }
    check(
        "a repository is read on other machines, by people who cannot ask",
        "do it now, or say it in prose",
        &[],
        findings,
    );
}

/// The anchor that a heading gets on a page.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.path.ends_with(".md")) {
        let folder = root().join(&source.path).parent().unwrap().to_owned();
        for (at, line) in source.text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (file, part) = target.split_once('#').unwrap_or((target, ""));
                let path = if file.is_empty() { root().join(&source.path) } else { folder.join(file) };
                let there = path.exists()
                    && (part.is_empty()
                        || std::fs::read_to_string(&path).is_ok_and(|page| anchors(&page).contains(part)));
                if !there {
                    findings.push(Finding {
                        path: source.path.clone(),
                        line: at + 1,
                        what: format!("link to `{target}`"),
                    });
                }
            }
        }
    }
    check("a link that leads nowhere costs a reader's trust", "mend the path or the anchor", &[], findings);
}

#[test]
fn the_rules_see_what_they_should() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let code = |source: &Source| source.code().map(|(line, _)| line).collect::<Vec<_>>();
    let shipped = source("src/app/x.rs", "a\n// b\nc\n#[cfg(test)]\n#[expect(\n    x\n)]\nmod tests {\nd\n}\n");
    assert_eq!(code(&shipped), [1, 3]);
    assert_eq!(shipped.room(), Some("app"));
    let with_declaration = source("src/app/x.rs", "#[cfg(test)]\nmod tests;\na\n");
    assert_eq!(code(&with_declaration), [1, 2, 3]);
    assert_eq!(code(&source("src/app/tests.rs", "a\n")), [0; 0]);
    assert_eq!(source("src/clock.rs", "").room(), Some("clock"));
    assert_eq!(anchors("## One `two`, three\n"), BTreeSet::from(["one-two-three".to_owned()]));
}
