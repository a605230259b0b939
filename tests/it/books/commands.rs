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

/// Every command that works on books, but those that may make them.
fn on_books(folder: &std::path::Path) -> Vec<Vec<String>> {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let invoice = file("invoice.csv", "day,model,bucket,quantity,usd\n2026-05-01,m,input,1,0.1\n");
    let prices = file(
        "prices.csv",
        "provider,model,effective_from,input,output,source,source_date\nopenai,m,2026-01-01,1,2,us,2026-01-01\n",
    );
    let out = folder.join("out.csv").display().to_string();
    [
        "verify",
        "backtest --budget some",
        "restate --period 2026-05",
        "close 2026-05 --zone Etc/UTC --dry-run",
        &format!("reconcile {invoice} --provider openai"),
        &format!("import prices {prices} --apply"),
        &format!("export transfers --period 2026-05 --out {out}"),
    ]
    .iter()
    .map(|line| line.split(' ').map(str::to_owned).collect())
    .collect()
}

#[test]
fn only_serve_demo_and_migrate_make_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, empty) = (folder.path().join("boks"), folder.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let mut commands = on_books(folder.path());
    commands.push(vec!["token".to_owned(), "--scope".to_owned(), "read".to_owned()]);
    for arguments in commands {
        for data_dir in [&missing, &empty] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
            command.args(&arguments).env_remove("DATABASE_URL").arg("--data-dir").arg(data_dir);
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output));
            assert!(text(&output).contains(&data_dir.display().to_string()), "{arguments:?}: {}", text(&output));
            assert!(!missing.exists(), "{arguments:?}");
            assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0, "{arguments:?}");
        }
    }
}

#[tokio::test]
async fn no_other_command_makes_tables_and_each_says_which_books_it_opened() {
    static NOTHING: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;
    let folder = tempfile::tempdir().unwrap();
    let database = fresh_database(&NOTHING).await;
    let tables =
        "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relname not like '\\_sqlx%'";
    for arguments in on_books(folder.path()) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run(&database, &arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains("there are no books at"), "{arguments:?}: {}", text(&output));
        let made: i64 = sqlx::query_scalar(tables).fetch_one(database.pool()).await.unwrap();
        assert_eq!(made, 0, "{arguments:?}");
    }
    assert!(run(&database, &["migrate"]).status.success());
    for arguments in on_books(folder.path()) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run(&database, &arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("books: ") && told.contains(" at "), "{arguments:?}: {}", text(&output));
    }
}

#[test]
fn a_token_is_signed_with_a_key_that_is_there_and_names_whose_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    counterfoil::auth::LocalKey::load_or_create(&keys).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    let output = command.args(["token", "--scope", "read", "--data-dir"]).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&keys.display().to_string()), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim().split('.').count(), 3, "the token alone is on stdout");
}

/// The month is typed, or nothing is closed.
#[tokio::test]
async fn closing_asks_for_the_month_to_be_typed() {
    use std::io::Write as _;
    use std::process::Stdio;
    let service = world().await;
    let url = service.db.connect_options().to_url_lossy().to_string();
    // Beside the runtime: the command waits for what the service of this test is in the middle of.
    let close = async |typed: &'static str, more: &'static [&'static str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
        command.args(["close", "2026-02", "--zone", "Asia/Tokyo", "--database-url", &url]).args(more);
        command.env_remove("DATABASE_URL").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let typing = move || {
            let mut child = command.spawn().unwrap();
            // A command that asks nothing may be gone before anything is typed.
            let _gone = child.stdin.take().unwrap().write_all(typed.as_bytes());
            child.wait_with_output().unwrap()
        };
        tokio::task::spawn_blocking(typing).await.unwrap()
    };
    let closed = async || -> i64 {
        sqlx::query_scalar("select count(*) from closings").fetch_one(service.db.pool()).await.unwrap()
    };
    for (typed, more) in [("", &[][..]), ("yes\n", &[]), ("2026-03\n", &[]), ("2026-02\n", &["--dry-run"])] {
        let output = close(typed, more).await;
        assert_eq!(closed().await, 0, "{typed:?} {more:?}: {}", text(&output));
    }
    let output = close("2026-02\n", &[]).await;
    assert!(output.status.success() && text(&output).contains("Type 2026-02 to close it"), "{}", text(&output));
    assert_eq!(closed().await, 1);
    let again = close("2026-02\n", &[]).await;
    assert!(!again.status.success() && text(&again).contains("closed already"), "{}", text(&again));
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
