//! `counterfoil backtest`: what the forecast must reach on the series that ship, and what the command makes of a file and of a
//! journal.

use std::fmt::Write as _;
use std::process::{Command, Output};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc, Weekday};
use counterfoil::clock::Clock;
use counterfoil::domain::calendar::Zone;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;

use crate::support::service::TestService;
use crate::support::story::assert_all_posted;

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

/// When a series is looked at.
#[derive(Clone, Copy)]
enum When {
    /// On day 20.
    Day20,
    /// On each day of its own.
    EachDay,
    /// Never: what it is held to is the probability alone.
    Never,
}

/// What each series that ships is held to: at most so many times the error of the straight line. The page has the same table,
/// with the reasons.
const HELD_TO: [(&str, &str, When, f64); 11] = [
    ("made: holidays", "daily rhythm", When::Day20, 0.8),
    ("made: one zone, clocks change", "daily rhythm", When::Day20, 0.8),
    ("made: weekdays only", "weekday only", When::Day20, 0.5),
    ("made: four zones", "mixed zones", When::EachDay, 1.1),
    ("made: growth", "moving level", When::Day20, 1.0),
    ("made: level shifts", "moving level", When::Day20, 1.0),
    ("made: restless", "moving level", When::Day20, 1.0),
    ("made: bursts", "bursty", When::Never, 0.0),
    ("real: BurstGPT", "bursty", When::Never, 0.0),
    ("real: ServeGen, all of a model", "young tenants", When::Never, 0.0),
    ("real: ServeGen, each client", "young tenants", When::Never, 0.0),
];

#[test]
fn the_forecast_is_as_good_as_was_promised_on_the_series_that_ship() {
    // As the page was made: with fewer seeds the medians of a day are of too few forecasts.
    let report = report(&[]);
    for (series, kind, when, most) in HELD_TO {
        let days = match when {
            When::Day20 => vec![20],
            When::EachDay => vec![3, 5, 10, 15, 20, 25],
            When::Never => continue,
        };
        for day in days {
            let row = rows(&report, kind, Some(day)).into_iter().find(|row| row["series"] == series);
            at_most(row.unwrap_or_else(|| panic!("{series} on day {day}")), "ratio", most);
        }
    }
    let covered = report["pooled"]["coverage"].as_f64().unwrap();
    assert!((0.7..=0.9).contains(&covered), "the 80 % band held {covered}");
    let all_days: Vec<_> = report["rows"].as_array().unwrap().iter().filter(|row| row["day"].is_null()).collect();
    for row in &all_days {
        at_most(row, "brier", row["brier_straight"].as_f64().unwrap());
    }
    // No series is left out of the table, and none is of another kind than it says.
    let mut shipped: Vec<_> =
        all_days.iter().map(|row| (row["series"].as_str().unwrap(), row["kind"].as_str().unwrap())).collect();
    let mut held: Vec<_> = HELD_TO.iter().map(|(series, kind, ..)| (*series, *kind)).collect();
    shipped.sort_unstable();
    held.sort_unstable();
    assert_eq!(shipped, held);
}

#[test]
fn the_page_says_what_each_series_is_held_to() {
    let page = std::fs::read_to_string(crate::tidy::root().join("docs/reference/forecast.md")).unwrap();
    for (series, kind, when, most) in HELD_TO {
        let target = match when {
            When::Day20 => format!("day 20 | {most:.1}"),
            When::EachDay => format!("each day | {most:.1}"),
            When::Never => "never | none".to_owned(),
        };
        let row = format!("| {series} | {kind} | {target} |");
        assert!(page.contains(&row), "the page has no {row:?}");
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

/// Tenants, their zones, and the tokens of one of their hours at work.
const TENANTS: [(&str, &str, u64); 3] =
    [("acme", "Europe/Berlin", 900), ("bolt", "Asia/Tokyo", 400), ("coda", "America/Sao_Paulo", 250)];

/// What a tenant uses in an hour: office hours on its clock, a tenth at night, nothing at weekends.
fn used(zone: &str, hourly: u64, at: DateTime<Utc>) -> u64 {
    let local = Zone::parse(zone).unwrap().local(at);
    if matches!(local.weekday, Weekday::Sat | Weekday::Sun) {
        0
    } else if (9..18).contains(&local.hour) {
        hourly
    } else {
        hourly / 10
    }
}

fn this_hour() -> DateTime<Utc> {
    Clock::system().now().duration_trunc(TimeDelta::hours(1)).unwrap()
}

/// Every hour from one instant to another.
fn hours(from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    std::iter::successors(Some(from), |at| Some(*at + TimeDelta::hours(1))).take_while(move |at| *at < to)
}

/// Ten weeks of three tenants in the journal of a service that lives by the machine's clock, as the command does. They begin in
/// an hour in which all of them use something.
async fn journal() -> (TestService, DateTime<Utc>, DateTime<Utc>) {
    let until = this_hour();
    let service = TestService::start_at(&Clock::system().now().to_rfc3339()).await;
    let mut from = until - TimeDelta::weeks(10);
    while TENANTS.iter().any(|(_, zone, hourly)| used(zone, *hourly, from) == 0) {
        from -= TimeDelta::hours(1);
    }
    let mut items = Vec::new();
    for (tenant, zone, hourly) in TENANTS {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": zone})).await.ok();
        for at in hours(from, until) {
            // Two calls in different quarters of the hour, one of them of another class.
            let tokens = used(zone, hourly, at);
            for (minute, part, priority) in [(5, tokens / 3, "batch"), (40, tokens - tokens / 3, "interactive")] {
                if part > 0 {
                    items.push(json!({
                        "tenant": tenant, "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
                        "priority": priority, "occurred_at": at + TimeDelta::minutes(minute), "usage": {"input": part}
                    }));
                }
            }
        }
    }
    for items in items.chunks(5_000) {
        let posted = service.call("POST", "/v1/usage", json!(items)).await.ok();
        assert_all_posted(&posted);
    }
    let quota = json!({
        "scope": {"provider": "anthropic"}, "measure": "tokens", "limit": "1000000", "period": {"kind": "month"},
        "timezone": "Etc/UTC", "enforcement": "hard", "kind": "quota"
    });
    service.call("PUT", "/v1/budgets/quota", quota).await.ok();
    (service, from, until)
}

/// Runs the command on a thread of its own: the service of the test must go on meanwhile.
async fn of_journal(service: &TestService, arguments: &[&str]) -> Output {
    let url = service.db.connect_options().to_url_lossy().to_string();
    let arguments: Vec<String> =
        ["--json", "--database-url", &url].iter().chain(arguments).map(ToString::to_string).collect();
    let command = move || backtest(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(command).await.unwrap()
}

#[tokio::test]
async fn a_journal_is_played_as_a_file_of_the_same_series_is() {
    let (service, from, until) = journal().await;
    // The series of a journal ends with the last whole hour: should one end meanwhile, it is asked again.
    let (recorded, ended) = loop {
        let before = this_hour();
        let output = of_journal(&service, &["--budget", "quota"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if this_hour() == before {
            break (serde_json::from_slice::<Value>(&output.stdout).unwrap(), before);
        }
    };
    let mut text = "hour,tenant,zone,value\n".to_owned();
    for (tenant, zone, hourly) in TENANTS {
        for at in hours(from, ended) {
            let tokens = if at < until { used(zone, hourly, at) } else { 0 };
            writeln!(text, "{},{tenant},{zone},{tokens}", at.to_rfc3339()).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("use.csv");
    std::fs::write(&path, text).unwrap();
    assert_eq!(recorded, report(&["--csv", path.to_str().unwrap()]));
    for name in ["pool", "each tenant"] {
        let found = rows(&recorded, "own", Some(20));
        let row = found.iter().find(|row| row["series"] == name).unwrap_or_else(|| panic!("{name}: {recorded:#}"));
        // What repeats exactly is forecast almost exactly, where a straight line is days off.
        at_most(&row["errors"][0], "median_h", 2.0);
        at_most(row, "ratio", 0.5);
        assert!(row["forecasts"].as_u64().unwrap() >= 5, "{row:#}");
    }
}

#[tokio::test]
async fn budgets_of_one_scope_are_one_series_and_one_that_is_not_there_is_named() {
    let (service, ..) = journal().await;
    let same = json!({
        "scope": {"provider": "anthropic"}, "measure": "tokens", "limit": "5", "period": {"kind": "week"},
        "timezone": "Asia/Tokyo", "enforcement": "soft"
    });
    service.call("PUT", "/v1/budgets/the-same", same).await.ok();
    let each = json!({
        "scope": {"provider": "anthropic"}, "each": "tenant", "measure": "requests", "limit": "100000",
        "period": {"kind": "month"}, "timezone": "Etc/UTC", "enforcement": "hard"
    });
    service.call("PUT", "/v1/budgets/apart", each).await.ok();
    let output = of_journal(&service, &[]).await;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut names: Vec<&str> =
        told["rows"].as_array().unwrap().iter().filter_map(|row| row["series"].as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, ["apart acme", "apart bolt", "apart coda", "quota"]);
    let output = of_journal(&service, &["--budget", "nobodys"]).await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("no budget nobodys at"), "{told}");
}
