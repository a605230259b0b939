//! Pages of the reference that are made from the code, and pages that must name everything the code has.
//!
//! `UPDATE=1 cargo test --test it generated` rewrites what is made; a diff then shows what a change does to users.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use counterfoil::domain::budget::verdict::{ReasonCode, Verdict};

use crate::tidy::root;

/// Compares a file with what it is made from, or rewrites it when `UPDATE` is set.
#[track_caller]
pub(crate) fn check_generated(path: &str, fresh: &str) {
    let file = root().join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, fresh).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    if kept == fresh {
        return;
    }
    let at = kept.lines().zip(fresh.lines()).take_while(|(kept, fresh)| kept == fresh).count();
    let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
    panic!(
        "{path}:{}: not what the code says\n    kept: {}\n    code: {}\n    fix: UPDATE=1 cargo test --test it generated",
        at + 1,
        line(&kept),
        line(fresh),
    );
}

/// A bound, as it stands in the code.
struct Bound {
    name: String,
    value: String,
    meaning: String,
}

/// Endings of the names of bounds.
const ENDINGS: [&str; 7] = ["_MAX", "_MIN", "_DEFAULT", "_KEPT", "_PATIENCE", "_INTERVAL", "_RETRY_SECONDS"];

/// Public constants that are bounds, with their docstring as one line.
fn bounds(source: &str) -> Vec<Bound> {
    let mut bounds = Vec::new();
    let mut meaning: Vec<&str> = Vec::new();
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("///") {
            meaning.push(text.trim());
            continue;
        }
        let constant = line.strip_prefix("pub const ").and_then(|rest| rest.strip_suffix(';')?.split_once(" = "));
        if let Some((head, value)) = constant
            && let Some((name, _)) = head.split_once(": ")
            && (ENDINGS.iter().any(|ending| name.ends_with(ending)) || name == "STORE_RETRY_AFTER_S")
        {
            bounds.push(Bound {
                name: name.to_owned(),
                value: value.to_owned(),
                meaning: meaning.join(" ").replace("[`", "`").replace("`]", "`").replace('|', "\\|"),
            });
        }
        if !line.starts_with('#') {
            meaning.clear();
        }
    }
    bounds
}

/// Where bounds are, and what they bound, in the order of the page.
const BOUNDS: [(&str, &[&str]); 6] = [
    ("Requests", &["src/http/limits.rs", "src/http/v1", "src/reconcile", "src/wire", "src/ingest"]),
    (
        "Names, amounts and budgets",
        &["src/domain/id.rs", "src/domain/amounts.rs", "src/domain/budget", "src/domain/calendar"],
    ),
    ("Calls and reservations", &["src/domain/ledger", "src/domain/price", "src/domain/carbon"]),
    ("Credentials", &["src/auth"]),
    ("Alerts and webhooks", &["src/domain/alert", "src/courier", "src/worker/alerts.rs"]),
    ("The service", &["src/lane", "src/worker.rs", "src/app", "src/store"]),
];

fn rust_files(under: &str) -> Vec<String> {
    let path = root().join(under);
    if path.is_file() {
        return vec![under.to_owned()];
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
        let inner = format!("{under}/{}", entry.file_name().to_str().unwrap());
        let is_rust = inner.ends_with(".rs") && !inner.ends_with("tests.rs");
        if entry.file_type().unwrap().is_dir() {
            files.extend(rust_files(&inner));
        } else if is_rust {
            files.push(inner);
        }
    }
    files.sort();
    files
}

#[test]
fn generated_limits_are_those_of_the_code() {
    let mut page = "# Limits\n\nEvery bound a caller or an operator can meet, as it stands in the code.\n\
        This page is made from the sources; `UPDATE=1 cargo test --test it generated` rewrites it.\n"
        .to_owned();
    for (title, places) in BOUNDS {
        let mut rows = String::new();
        for file in places.iter().flat_map(|place| rust_files(place)) {
            for Bound { name, value, meaning } in bounds(&std::fs::read_to_string(root().join(&file)).unwrap()) {
                assert!(!meaning.is_empty(), "{file}: {name} says nothing of itself");
                writeln!(rows, "| `{name}` | `{value}` | {meaning} | `{file}` |").unwrap();
            }
        }
        assert!(!rows.is_empty(), "no bounds in {places:?}");
        write!(page, "\n## {title}\n\n| bound | value | meaning | where |\n|---|---|---|---|\n{rows}").unwrap();
    }
    check_generated("docs/reference/limits.md", &page);
}

/// The names in the first column of a page's tables.
fn rows_of(page: &str) -> BTreeSet<&str> {
    page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn every_reason_and_verdict_is_explained() {
    let page = std::fs::read_to_string(root().join("docs/reference/verdicts.md")).unwrap();
    let explained = rows_of(&page);
    let reasons = ReasonCode::ALL.iter().map(|reason| reason.name());
    let named: BTreeSet<&str> = reasons.chain(Verdict::ALL.iter().map(|verdict| verdict.name())).collect();
    assert_eq!(explained, named, "docs/reference/verdicts.md and src/domain/budget/verdict.rs differ");
}

#[test]
fn every_variable_is_explained() {
    let page = std::fs::read_to_string(root().join("docs/reference/config.md")).unwrap();
    let explained = rows_of(&page);
    let mut read = BTreeSet::new();
    let sources: Vec<String> =
        rust_files("src").iter().map(|file| std::fs::read_to_string(root().join(file)).unwrap()).collect();
    let configuration = std::fs::read_to_string(root().join("src/config.rs")).unwrap();
    let (shipped, _) = configuration.split_once("#[cfg(test)]").unwrap();
    for opening in ["set(\"", "text(\"", "absolute(\""] {
        read.extend(shipped.split(opening).skip(1).filter_map(|rest| rest.split('"').next()));
    }
    for source in &sources {
        read.extend(source.split("env = \"").skip(1).filter_map(|rest| rest.split('"').next()));
    }
    let unexplained: Vec<_> = read.difference(&explained).collect();
    assert!(unexplained.is_empty(), "docs/reference/config.md has no row for {unexplained:?}");
    assert!(read.contains("DATABASE_URL") && read.contains("COUNTERFOIL_LISTEN"), "{read:?}");
}

#[test]
fn a_bound_is_read_with_its_whole_meaning() {
    let found = bounds(
        "/// Longest,\n/// in bytes.\n#[x]\npub const A_MAX: usize = 1;\n/// No.\npub const B: u8 = 2;\npub const C_MIN: u8 = 3;",
    );
    let told: Vec<_> = found.iter().map(|b| (b.name.as_str(), b.value.as_str(), b.meaning.as_str())).collect();
    assert_eq!(told, [("A_MAX", "1", "Longest, in bytes."), ("C_MIN", "3", "")]);
}
