//! `counterfoil verify`, `migrate` and `openapi`, as a person runs them.

use std::process::{Command, Output};

use serde_json::Value;
use sqlx::ConnectOptions;

use super::world;
use crate::support::cluster::{TestDb, fresh_database};

/// Runs the binary on a database.
fn run(database: &TestDb, arguments: &[&str]) -> Output {
    let url = database.connect_options().to_url_lossy().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command.args(arguments).env_remove("DATABASE_URL").args(["--database-url", &url]);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn verify_says_so_when_the_books_are_right_and_fails_when_they_are_not() {
    let service = world().await;
    let right = run(&service.db, &["verify"]);
    assert!(right.status.success(), "{}", text(&right));
    assert!(text(&right).contains("The books are right: nothing differs."), "{}", text(&right));
    sqlx::query("update usage_rollup set output = output + 1 where tenant = 'berlin' and feature = 'search'")
        .execute(service.db.pool())
        .await
        .unwrap();
    let wrong = run(&service.db, &["verify"]);
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong));
    assert!(text(&wrong).contains("usage_rollup: tenant `berlin`, quarter `2026-03-2"), "{}", text(&wrong));
    let json = run(&service.db, &["verify", "--json"]);
    assert_eq!(json.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["consistent"], false);
    let differences = json["differences"].as_array().unwrap();
    assert!(!differences.is_empty());
    for difference in differences {
        assert_eq!((&difference["check"], &difference["column"]), (&"usage_rollup".into(), &"output".into()));
        let number = |side: &str| difference[side].as_str().unwrap().parse::<i64>().unwrap();
        assert_eq!(number("recorded"), number("recomputed") + 1);
    }
}

#[tokio::test]
async fn migrate_says_what_it_ran_and_then_has_nothing_to_do() {
    static NOTHING: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;
    let database = fresh_database(&NOTHING).await;
    let none = run(&database, &["verify"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none).contains("there are no books at"), "{}", text(&none));
    let first = run(&database, &["migrate"]);
    assert!(first.status.success() && text(&first).contains("0001 ledger: run now"), "{}", text(&first));
    let second = run(&database, &["migrate"]);
    assert!(second.status.success() && text(&second).contains("nothing to do"), "{}", text(&second));
    let json: Value = serde_json::from_slice(&run(&database, &["migrate", "--json"]).stdout).unwrap();
    assert!(json["migrations"].as_array().unwrap().iter().all(|step| step["ran"] == false));
    let empty = run(&database, &["verify"]);
    assert!(empty.status.success(), "{}", text(&empty));
}

#[test]
fn a_folder_that_was_misspelt_does_not_become_an_empty_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("boks");
    let output =
        Command::new(env!("CARGO_BIN_EXE_counterfoil")).args(["verify", "--data-dir"]).arg(&missing).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("there is no folder"), "{}", text(&output));
    assert!(!missing.exists());
}

#[test]
fn help_says_what_a_command_does_and_shows_it_at_work() {
    for (command, said) in [
        ("verify", "Exit status: 0 when nothing differs"),
        ("migrate", "`serve` does so"),
        ("openapi", "/openapi.json"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_counterfoil")).args([command, "--help"]).output().unwrap();
        let text = text(&output);
        assert!(text.contains(said) && text.contains(&format!("Example:\n  counterfoil {command}")), "{text}");
    }
}

#[test]
fn openapi_prints_the_document_or_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.json");
    let run = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_counterfoil")).args(arguments).output().unwrap();
    let printed = run(&["openapi"]);
    assert!(printed.status.success());
    let written = run(&["openapi", "--output", file.to_str().unwrap()]);
    assert!(written.status.success() && written.stdout.is_empty());
    assert_eq!(std::fs::read(&file).unwrap(), printed.stdout);
    let document: Value = serde_json::from_slice(&printed.stdout).unwrap();
    for path in ["/v1/usage", "/v1/ledger/transfers", "/v1/ledger/accounts", "/v1/ledger/trial-balance", "/v1/verdicts"]
    {
        assert!(document["paths"][path]["get"]["operationId"].is_string(), "{path}");
    }
    assert_eq!(counterfoil::http::openapi::lint(&counterfoil::http::service::document()), Vec::<String>::new());
}
