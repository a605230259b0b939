//! `counterfoil import`: dry by default, append-only, and every disagreement told.

use std::path::Path;

use counterfoil::app::start::prepare;
use counterfoil::clock::Clock;
use counterfoil::store::MIGRATOR;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::cluster::{TestDb, fresh_database};
use crate::tidy::root;
use sqlx::ConnectOptions;

async fn books() -> TestDb {
    let db = fresh_database(&MIGRATOR).await;
    prepare(&db.connect_options(), &Clock::system()).await.unwrap();
    db
}

/// Runs the binary on a database, and gives what it printed.
async fn import(db: &TestDb, arguments: &[&str], file: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command
        .arg("import")
        .args(arguments)
        .arg(file)
        .arg("--database-url")
        .arg(db.connect_options().to_url_lossy().as_str())
        .env("NO_COLOR", "1");
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn import_json(db: &TestDb, arguments: &[&str], file: &Path) -> Value {
    let told = import(db, &[arguments, &["--json"]].concat(), file).await;
    serde_json::from_str(&told).unwrap()
}

fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn the_list_that_ships_is_known_and_changes_nothing() {
    let db = books().await;
    let told = import_json(&db, &["prices", "--apply"], &root().join("data/prices/genai-prices.json")).await;
    assert_eq!((&told["known"], &told["added"]), (&told["read"], &json!(0)));
    let told = import_json(&db, &["factors", "--apply"], &root().join("data/factors/grid.csv")).await;
    assert_eq!((&told["known"], &told["added"]), (&told["read"], &json!(0)));
}

#[tokio::test]
async fn sources_that_disagree_are_listed_and_only_added_when_asked() {
    let db = books().await;
    let folder = tempfile::tempdir().unwrap();
    let map = json!({
        "gpt-4o": {"input_cost_per_token": 3e-06, "litellm_provider": "openai", "mode": "chat", "output_cost_per_token": 1e-05},
        "gpt-of-tomorrow": {"input_cost_per_token": 1e-06, "litellm_provider": "openai", "mode": "chat", "output_cost_per_token": 2e-06},
    });
    let file = write(&folder, "map.json", &map.to_string());
    let dry = import(&db, &["prices"], &file).await;
    assert!(dry.contains("Sources disagree:"), "{dry}");
    let line = dry.lines().find(|line| line.contains("openai/gpt-4o")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..5], ["openai/gpt-4o", "input", "3", "2.5", "genai-prices"], "{dry}");
    assert!(
        dry.contains("2 rows read; 0 are known, 0 agree with the book, 1 are new, 0 are later prices, 1 disagree."),
        "{dry}"
    );
    assert!(dry.ends_with("Nothing was changed: --apply adds the rows that are new or later.\n"), "{dry}");

    let applied = import_json(&db, &["prices", "--apply"], &file).await;
    assert_eq!((&applied["added"], &applied["differ"]), (&json!(1), &json!(1)), "what is disputed is not added");
    let again = import_json(&db, &["prices", "--apply"], &file).await;
    assert_eq!((&again["known"], &again["added"]), (&json!(1), &json!(0)));
    let taken = import_json(&db, &["prices", "--apply", "--take-disagreements"], &file).await;
    assert_eq!(taken["added"], 1);
    assert_eq!(
        taken["disagreements"][0],
        json!({"of": "openai/gpt-4o", "what": "input", "theirs": "3", "ours": "2.5", "our_source": "genai-prices 0.2.3"})
    );
}

#[tokio::test]
async fn factors_of_another_publication_stand_beside_the_first() {
    let db = books().await;
    let folder = tempfile::tempdir().unwrap();
    let header = "zone,value,unit,year,valid_from,valid_to,accounting,basis,gases,set,tier,source_title,publisher,source_url,licence,dataset_version,retrieved,note";
    let line = "SWE,12.5,g/kWh,2026,2026-01-01,,location,lifecycle,CO2e,our-audit,1,Grid audit,Example AB,,private,1,2026-11-22,";
    let file = write(&folder, "grid.csv", &format!("{header}\n{line}\n"));
    let told = import_json(&db, &["factors"], &file).await;
    assert_eq!((&told["differ"], &told["applied"]), (&json!(1), &json!(false)));
    assert_eq!(told["disagreements"][0]["what"], "g_per_kwh");
    let told = import_json(&db, &["factors", "--apply", "--take-disagreements"], &file).await;
    assert_eq!(told["added"], 1);
}
