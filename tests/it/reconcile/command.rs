//! `counterfoil reconcile`, as a person runs it.

use std::process::{Command, Output};

use sqlx::ConnectOptions;

use super::*;

/// Runs the command on a thread of its own: the service of this test must go on meanwhile, or its lane would hold its locks.
async fn run(service: &TestService, folder: &std::path::Path, arguments: &[&str]) -> Output {
    let url = service.db.connect_options().to_url_lossy().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command.current_dir(folder).env_remove("DATABASE_URL").arg("reconcile").args(arguments);
    command.args(["--provider", "anthropic", "--database-url", &url]);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_command_compares_then_approves_and_says_what_it_did() {
    let service = world().await;
    let folder = tempfile::tempdir().unwrap();
    // A day that is over by the machine's clock.
    let usage = page(&[bucket("2025-11-03", &[row("claude-sonnet-4-5", [100, 0, 0, 10])])]);
    let costs = page(&[bucket("2025-11-03", &[cost("claude-sonnet-4-5", "0.045")])]);
    std::fs::write(folder.path().join("usage.json"), usage.to_string()).unwrap();
    std::fs::write(folder.path().join("costs.json"), costs.to_string()).unwrap();
    let told = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };

    let compared = run(&service, folder.path(), &["usage.json", "costs.json"]).await;
    assert_eq!(compared.status.code(), Some(1), "{}", told(&compared));
    for part in ["1 of 1 lines differ", "uncaptured_calls", "0.00045", "Nothing is posted"] {
        assert!(told(&compared).contains(part), "{part}: {}", told(&compared));
    }
    let count = "select count(*) from transfers";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(service.db.pool()).await.unwrap(), 0);
    let unnamed = run(&service, folder.path(), &["usage.json", "costs.json", "--approve"]).await;
    assert!(!unnamed.status.success() && told(&unnamed).contains("0.00045"), "{}", told(&unnamed));
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(service.db.pool()).await.unwrap(), 0);
    let approved = run(&service, folder.path(), &["usage.json", "costs.json", "--approve", "--usd", "0.00"]).await;
    assert!(approved.status.success() && told(&approved).contains("Approved"), "{}", told(&approved));
    // By the journal itself: the command writes by the machine's clock, and the service of this test lives in June.
    let posted: Vec<(String, i64, String)> =
        sqlx::query_as("select debit_account, tokens, trim_scale(usd)::text from transfers")
            .fetch_all(service.db.pool())
            .await
            .unwrap();
    assert_eq!(posted, [("adjustment:anthropic".to_owned(), 110, "0.00045".to_owned())]);
    let again = run(&service, folder.path(), &["usage.json", "costs.json"]).await;
    assert!(again.status.success() && told(&again).contains("The books agree"), "{}", told(&again));
    let missing = run(&service, folder.path(), &["nothing.json"]).await;
    assert!(!missing.status.success() && told(&missing).contains("nothing.json cannot be read"), "{}", told(&missing));
}
