//! `counterfoil restate`, as a person runs it.

use std::process::{Command, Output};

use sqlx::ConnectOptions;

use super::*;

async fn run(service: &TestService, folder: &std::path::Path, arguments: &[&str]) -> Output {
    let url = service.db.connect_options().to_url_lossy().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command.current_dir(folder).env_remove("DATABASE_URL").arg("restate").args(arguments);
    command.args(["--database-url", &url]);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_command_tells_then_posts_and_says_what_it_did() {
    let service = TestService::start_at("2025-11-03T12:00:00Z").await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Asia/Tokyo"})).await.ok();
    // A day that is over by the machine's clock, at which the command lives.
    let usage = json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "region": "DEU",
        "usage": {"input": 1000, "output": 500}});
    service.call("POST", "/v1/usage", usage).await.ok();
    let mut grid = german_grid(100.0, "audit-2025");
    grid["valid_from"] = json!("2025-06-01T00:00:00Z");
    add(&service, grid).await;
    let folder = tempfile::tempdir().unwrap();
    let told = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let period = ["--period", "2025-11"];
    let compared = run(&service, folder.path(), &period).await;
    assert_eq!(compared.status.code(), Some(1), "{}", told(&compared));
    for part in ["1 of 1 rows differ", "ember-owid -> audit-2025", "location-based", "Nothing is posted"] {
        assert!(told(&compared).contains(part), "{part}: {}", told(&compared));
    }
    let applied = run(&service, folder.path(), &["--period", "2025-11", "--apply", "--json"]).await;
    assert!(applied.status.success(), "{}", told(&applied));
    let body: Value = serde_json::from_slice(&applied.stdout).unwrap();
    assert_eq!((&body["posted"], &body["next_cursor"]), (&json!(2), &Value::Null), "{body:#}");
    let again = run(&service, folder.path(), &period).await;
    assert!(again.status.success() && told(&again).contains("The books say"), "{}", told(&again));
    let nothing = run(&service, folder.path(), &[]).await;
    assert_eq!(nothing.status.code(), Some(2), "{}", told(&nothing));
}
