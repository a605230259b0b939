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
