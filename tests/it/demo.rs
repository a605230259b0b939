//! The demo, as a person runs it: the real binary, on a private Postgres of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A folder that the unprivileged user of a private Postgres can enter, also when the test runs as root.
pub(crate) fn folder() -> tempfile::TempDir {
    let permissions = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("counterfoil-it-").permissions(permissions).tempdir().expect("a folder")
}

/// The binary, on the books of a folder.
pub(crate) fn counterfoil(command: &str, data_dir: &Path) -> Command {
    let mut binary = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    binary.arg(command).arg("--data-dir").arg(data_dir).env_remove("DATABASE_URL").stdin(Stdio::null());
    binary
}

#[track_caller]
fn demo(data_dir: &Path, more: &[&str]) -> Value {
    let output = counterfoil("demo", data_dir)
        .args(["--exit", "--json", "--listen", "127.0.0.1:0"])
        .args(more)
        .output()
        .expect("the binary runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

fn count(document: &Value, pointer: &str) -> u64 {
    document.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

#[track_caller]
fn balances(document: &Value) {
    let lines = document["trial_balance"].as_array().expect("a trial balance");
    assert!(lines.len() >= 5, "{lines:#?}");
    for line in lines {
        assert_eq!(line["debit"], line["credit"], "{line}");
        assert_eq!(line["difference"], "0", "{line}");
        assert_ne!(line["debit"], "0", "nothing was posted: {line}");
    }
}

/// The calls of one priority, and what they were told.
fn class<'a>(document: &'a Value, priority: &str) -> &'a Value {
    let classes = document["pacing"]["calls"].as_array().expect("classes");
    classes.iter().find(|class| class["priority"] == priority).unwrap_or_else(|| panic!("no {priority}: {classes:#?}"))
}

/// What the callers of the paced quota were told: by whatever weekday and hour it is.
#[track_caller]
fn nobody_is_refused_and_batch_waits(document: &Value) {
    let told = |priority: &str, field: &str| count(class(document, priority), field);
    let sum = ["interactive", "standard", "batch"].map(|priority| told(priority, "/asked")).iter().sum::<u64>();
    assert!((600..=1000).contains(&sum), "{sum} calls");
    let people = class(document, "interactive");
    assert_eq!(people["allowed"], people["asked"], "no person waits: {people:#}");
    let batch = class(document, "batch");
    assert!(told("batch", "/waited") > 0, "batch waits: {batch:#}");
    assert_eq!(batch["because"]["paced"], batch["waited"], "by its pace, and by nothing else: {batch:#}");
    for class in document["pacing"]["calls"].as_array().expect("classes") {
        assert_eq!(count(class, "/stopped"), 0, "{class:#}");
        assert_eq!(count(class, "/asked"), count(class, "/allowed") + count(class, "/waited"), "{class:#}");
        let tenants = class["tenants"].as_array().expect("tenants");
        assert_eq!(tenants.iter().map(|one| count(one, "/asked")).sum::<u64>(), count(class, "/asked"), "{class:#}");
        for tenant in tenants.iter().filter(|one| count(one, "/waited") > 0) {
            assert!(tenant["not_before_first"].as_str() > document["at"].as_str(), "in the future: {tenant:#}");
            assert!(tenant["not_before_last"].as_str() >= tenant["not_before_first"].as_str(), "{tenant:#}");
        }
    }
}

/// What the same demand comes to until the reset.
#[track_caller]
fn pacing_is_worth_it(until_reset: &Value) {
    let share = |pointer: &str| -> f64 {
        let value = until_reset.pointer(pointer).and_then(Value::as_str);
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{pointer}: {until_reset:#}"))
    };
    assert!(share("/limit_alone/interactive_refused") > 0.05, "{until_reset:#}");
    assert!(until_reset["limit_alone"]["runs_out_at"].as_str() < until_reset["resets_at"].as_str(), "{until_reset:#}");
    assert!(share("/paced/interactive_refused") <= 0.01 && share("/paced/unused") <= 0.01, "{until_reset:#}");
    assert!(
        share("/paced/batch/missed") > share("/limit_alone/batch/missed"),
        "the shortage is batch's: {until_reset:#}"
    );
}

#[test]
fn the_demo_sees_all_four_verdicts_balances_and_goes_on_when_run_again() {
    let folder = folder();
    let books = folder.path().join("books");
    let first = demo(&books, &[]);
    for verdict in ["allow", "cap", "wait", "stop"] {
        assert!(count(&first, &format!("/replay/verdicts/{verdict}")) > 0, "{verdict}: {:#}", first["replay"]);
    }
    // What each part of the script is there to show.
    for pointer in [
        "/replay/reasons/cap/output_capped/per-run-usd",
        "/replay/reasons/wait/held_by_others/per-run-usd",
        "/replay/reasons/stop/limit_reached/per-run-usd",
        "/replay/reasons/stop/larger_than_limit/per-run-usd",
        "/replay/went_after_wait",
        "/replay/never_asked",
        "/replay/repeated",
        "/replay/flags/late",
        "/replay/flags/overrun",
        "/replay/flags/unconfirmed",
        "/replay/flags/unpriced_model",
        "/replay/ended/released",
        "/replay/ended/open",
    ] {
        assert!(count(&first, pointer) > 0, "{pointer}: {:#}", first["replay"]);
    }
    let asked: u64 =
        ["allow", "cap", "wait", "stop"].map(|v| count(&first, &format!("/replay/verdicts/{v}"))).iter().sum();
    let granted: u64 = first["replay"]["ended"].as_object().expect("ends").values().filter_map(Value::as_u64).sum();
    assert_eq!(granted, count(&first, "/replay/verdicts/allow") + count(&first, "/replay/verdicts/cap"));
    let asked_again = count(&first, "/replay/reasons/wait/held_by_others/per-run-usd");
    assert!(asked + count(&first, "/replay/never_asked") <= 3132 + asked_again, "{:#}", first["replay"]);
    balances(&first);
    let projection = &first["projection"];
    assert_eq!(projection["budget"], "mistral-quota");
    let zones: Vec<_> = projection["tenants"].as_array().expect("tenants").iter().map(|one| &one["timezone"]).collect();
    for zone in ["Asia/Tokyo", "Europe/Berlin", "America/Sao_Paulo", "America/Los_Angeles"] {
        assert!(zones.contains(&&Value::from(zone)), "{zones:?}");
    }
    assert_eq!(projection["tenants"].as_array().map(Vec::len), Some(4), "only those who share it: {projection:#}");
    assert!(projection["fair_split"].as_array().is_some_and(|split| split.len() >= 4), "{projection:#}");
    nobody_is_refused_and_batch_waits(&first);
    pacing_is_worth_it(&first["pacing"]["until_reset"]);

    let second = demo(&books, &["--calls", "200"]);
    balances(&second);
    nobody_is_refused_and_batch_waits(&second);
    let calls = |document: &Value| -> u64 {
        document["features"].as_array().expect("features").iter().filter_map(|line| line["requests"].as_u64()).sum()
    };
    let backtest = counterfoil("backtest", &books).args(["--budget", "mistral-quota", "--json"]).output();
    let backtest = backtest.expect("the binary runs");
    let report: Value = serde_json::from_slice(&backtest.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&backtest.stderr)));
    assert!(report["rows"].as_array().is_some_and(|rows| rows.len() > 4), "six weeks can be played: {report:#}");
    let verified = counterfoil("verify", &books).output().expect("the binary runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    assert!(calls(&second) > calls(&first), "the second demo did not go on with the books of the first");
}
