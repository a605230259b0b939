//! `counterfoil backtest`: what the forecast must reach on the series that ship, and what the command makes of a file.

use std::fmt::Write as _;
use std::process::{Command, Output};

use serde_json::Value;

fn backtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_counterfoil")).arg("backtest").args(arguments).env_clear().output().unwrap()
}

fn report(arguments: &[&str]) -> Value {
    let output = backtest(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The rows of a kind, on a day or over all days.
fn rows<'a>(report: &'a Value, kind: &str, day: Option<u64>) -> Vec<&'a Value> {
    let rows = report["rows"].as_array().unwrap();
    let found: Vec<_> = rows.iter().filter(|row| row["kind"] == kind && row["day"].as_u64() == day).collect();
    assert!(!found.is_empty(), "no rows of {kind} on {day:?}");
    found
}

#[track_caller]
fn at_most(row: &Value, field: &str, most: f64) {
    let found = row[field].as_f64().unwrap();
    assert!(found <= most, "{} on day {}: {field} is {found}, more than {most}", row["series"], row["day"]);
}

#[test]
fn the_forecast_is_as_good_as_was_promised_on_the_series_that_ship() {
    let report = report(&["--seeds", "1"]);
    for row in rows(&report, "daily rhythm", Some(20)) {
        at_most(row, "ratio", 0.8);
    }
    for row in rows(&report, "weekday only", Some(20)) {
        at_most(row, "ratio", 0.5);
    }
    for day in [3, 5, 10, 15, 20, 25] {
        for row in rows(&report, "mixed zones", Some(day)) {
            at_most(row, "ratio", 1.1);
        }
    }
    let covered = report["pooled"]["coverage"].as_f64().unwrap();
    assert!((0.7..=0.9).contains(&covered), "the 80 % band held {covered}");
    for row in report["rows"].as_array().unwrap().iter().filter(|row| row["day"].is_null()) {
        at_most(row, "brier", row["brier_straight"].as_f64().unwrap());
    }
}

/// Use by the hour for ten weeks: ten in office hours, one else.
fn file() -> String {
    let mut text = "hour,tenant,zone,value\n".to_owned();
    for hour in 0..1_680 {
        let is_office = hour % 168 < 120 && (9..18).contains(&(hour % 24));
        writeln!(text, "{hour},acme,Europe/Berlin,{}", if is_office { 10 } else { 1 }).unwrap();
        writeln!(text, "{hour},globex,,{}", if is_office { 4 } else { 2 }).unwrap();
    }
    text
}

#[test]
fn a_file_is_played_as_a_pool_and_tenant_by_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("use.csv");
    std::fs::write(&path, file()).unwrap();
    let report = report(&["--csv", path.to_str().unwrap(), "--zone", "Asia/Tokyo"]);
    for name in ["pool", "each tenant"] {
        let found = rows(&report, "own", Some(20));
        let row = found.iter().find(|row| row["series"] == name).unwrap();
        // What repeats exactly is forecast almost exactly.
        at_most(&row["errors"][0], "median_h", 2.0);
        at_most(row, "ratio", 0.5);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("use.csv");
    let check = |text: &str, said: &str| {
        std::fs::write(&path, text).unwrap();
        let output = backtest(&["--csv", path.to_str().unwrap()]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(said), "{text:?}: {told}");
    };
    check("hour,tokens\n0,1\n", "there is no column `value`");
    check("hour,value\n", "there are no rows");
    check("hour,value\n0,1\nnoon,1\n", "line 3: hour \"noon\"");
    check("hour,value\n0,-1\n", "line 2: value -1 is not an amount");
    check("hour,value\n0,NaN\n", "line 2: value NaN is not an amount");
    check("hour,value,zone\n0,1,Mars/Olympus\n", "unknown time zone \"Mars/Olympus\"");
    check("hour,value\n0,1\n1,1\n", "too short");
    check("hour,value\n2026-01-01T00:00:00Z,1\n1999-01-01 00:00,1\n,1\n", "line 4: hour \"\"");
}

#[test]
fn the_tables_are_for_people() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("use.csv");
    std::fs::write(&path, file()).unwrap();
    let output = backtest(&["--csv", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    for words in ["hour_of_week", "month_to_date", "seasonal_naive", "in 80% band", "Brier of the line"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.is_ascii(), "{text}");
}
