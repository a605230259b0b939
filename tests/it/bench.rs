//! `counterfoil bench`: a second of it, with the real binary.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs the bench, and answers its report. What it says on the way goes to the test's own output.
fn bench(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command.args(["bench", "--json"]).args(arguments).env_remove("DATABASE_URL").stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_short_bench_measures_both_systems_and_finds_the_books_right() {
    let dir = super::embedded::data_dir();
    let path = dir.path().to_str().unwrap();
    let report = bench(&["--data-dir", path, "--callers", "8", "--seconds", "0.4", "--rounds", "1", "--shape", "hot"]);
    assert_eq!(report["ledger_mismatches"], 0, "{report:#}");
    assert_eq!(report["postgres"]["settings"]["fsync"], "on");
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);

    let runs = report["runs"].as_array().unwrap();
    let callers: Vec<_> = runs.iter().map(|run| run["callers"].as_u64().unwrap()).collect();
    assert_eq!(callers, [8, 1], "many callers, then one alone");
    for run in runs {
        for system in ["service", "naive"] {
            let measured = &run[system];
            assert_eq!(measured["errors"], 0, "{measured:#}");
            let requests = measured["requests"].as_u64().unwrap();
            assert!(requests > 0, "{measured:#}");
            assert_eq!(measured["verdicts"]["allow"], requests, "each was granted, and settled");
            for call in ["preflight", "settle"] {
                let times = ["p50_ms", "p95_ms", "p99_ms", "max_ms"].map(|name| measured[call][name].as_f64().unwrap());
                assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
            }
        }
        assert!(run["ratio"].as_f64().unwrap() > 0.0);
        assert!(run["service"]["batch_mean"].as_f64().unwrap() >= 1.0);
    }
    let memory = report["memory"]["service_peak_mb"].as_f64().unwrap();
    assert!((1.0..200.0).contains(&memory), "{memory} MB");
    let targets = report["targets"].as_array().unwrap();
    assert!(targets.iter().any(|target| target["what"] == "ledger mismatches" && target["is_met"] == true));
    assert!(!Path::new(path).join("postgres/postmaster.pid").exists(), "its Postgres has stopped");
}

/// What both sides of a comparison must say, and which they are.
fn sides_of(report: &Value) -> Vec<&str> {
    assert_eq!(report["ledger_mismatches"], 0, "{report:#}");
    let sides = report["sides"].as_array().unwrap();
    for side in sides {
        assert_eq!(side["errors"], 0, "{side:#}");
        let requests = side["requests"].as_u64().unwrap();
        assert!(requests > 0, "{side:#}");
        assert_eq!(side["verdicts"]["allow"], requests, "each was granted, and settled");
        let times = ["p50_ms", "p95_ms", "p99_ms"].map(|name| side["preflight"][name].as_f64().unwrap());
        assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
    }
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2);
    let mut ratios: Vec<f64> = rounds.iter().map(|round| round["ratio"].as_f64().unwrap()).collect();
    ratios.sort_by(f64::total_cmp);
    let spread = ["lower_quartile", "median", "upper_quartile"].map(|name| report["ratio"][name].as_f64().unwrap());
    assert!(spread.is_sorted() && spread[0] >= ratios[0] && spread[2] <= ratios[1], "{spread:?} of {ratios:?}");
    let judged: Vec<_> =
        report["targets"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert!(judged.iter().any(|what| what.starts_with("times the p99 of pre-flight")), "{judged:?}");
    sides.iter().map(|side| side["side"].as_str().unwrap()).collect()
}

#[test]
fn a_bench_beside_exports_reads_whole_files_and_finds_the_books_right() {
    let dir = super::embedded::data_dir();
    let path = dir.path().to_str().unwrap();
    let short = ["--beside", "export", "--journal", "500", "--callers", "4", "--seconds", "0.4", "--rounds", "2"];
    let report = bench(&[&["--data-dir", path], short.as_slice()].concat());
    assert_eq!(sides_of(&report), ["no exports", "beside exports"]);
    let exports = report["exports"].as_array().unwrap();
    assert_eq!(exports.len(), 4, "FOCUS and transfers, as CSV and Parquet");
    for export in exports {
        assert_eq!(export["transfers"], 500, "of the journal alone, before any call: {export:#}");
        assert!(export["bytes"].as_u64().unwrap() > 1_000, "{export:#}");
    }
    let made: u64 = exports.iter().map(|export| export["count"].as_u64().unwrap()).sum();
    assert!(made >= 2, "at least one in each slice: {made}");
    assert!(report.get("pace").is_none());
}

#[test]
fn a_bench_beside_pacing_waits_for_a_plan_and_finds_the_books_right() {
    let dir = super::embedded::data_dir();
    let path = dir.path().to_str().unwrap();
    let short = ["--beside", "pacing", "--callers", "4", "--seconds", "0.4", "--rounds", "2"];
    let report = bench(&[&["--data-dir", path], short.as_slice()].concat());
    assert_eq!(sides_of(&report), ["limits alone", "paced"]);
    let planned = [0, 1].map(|side: usize| report["sides"][side]["answers_of_a_plan"].as_f64().unwrap());
    assert!(planned[0] < 0.1, "nothing plans the side without: {planned:?}");
    assert!(planned[1] > 0.3, "two priorities of three are paced: {planned:?}");
    let told = report["pace"].as_array().unwrap();
    let priorities: Vec<_> = told.iter().map(|one| one["priority"].as_str().unwrap()).collect();
    assert_eq!(priorities, ["interactive", "standard", "batch"]);
    assert!(report.get("exports").is_none());
}
