//! Books with all that can be in them: calls, a provider's report and its true-ups, a closed period, factors that were
//! replaced. Every export of them ties to the trial balance.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};

use super::{File, export, trial_balance};
use crate::books::world;
use crate::reconcile::{approve, assert_verified, bucket, page, propose, row};
use crate::restatements::{german_grid, restate};
use crate::support::service::TestService;

/// The world, and one timed-out call that nobody was billed for; then its month is reconciled, in part closed, and restated.
async fn corrected_world() -> TestService {
    let service = world().await;
    let ask = json!({"tenant": "tokyo", "feature": "chat", "provider": "anthropic", "model": "claude-haiku-4-5",
        "estimate": {"input": 700, "max_output": 300}});
    let granted = service.call("POST", "/v1/preflight", ask).await.ok();
    let path = format!("/v1/reservations/{}/settle", granted["reservation"].as_str().unwrap());
    service.call("POST", &path, json!({"outcome": "timed_out"})).await.ok();
    service.advance(TimeDelta::hours(24));
    let report = page(&[
        bucket("2026-03-28", &[row("claude-sonnet-4-5", [60_000, 0, 0, 9_000])]),
        bucket("2026-03-29", &[row("claude-sonnet-4-5", [100, 500, 0, 50])]),
    ]);
    let approved = approve(&service, &propose(&service, report).await).await;
    assert!(approved["true_ups"].as_array().unwrap().len() >= 4, "{approved:#}");
    service.call("POST", "/v1/periods/close", json!({"until": "2026-03-28T18:00:00Z"})).await.ok();
    let mut grids = vec![german_grid(100.0, "audit-2026")];
    for (zone, g_per_kwh) in [("USA", 123.0), ("USA-VA", 234.5), ("WOR", 345.6)] {
        let mut grid = german_grid(g_per_kwh, "audit-2026");
        grid["zone"] = json!(zone);
        grids.push(grid);
    }
    let mut contract = german_grid(20.0, "ppa-7");
    (contract["zone"], contract["accounting"], contract["provider"]) =
        (json!("WOR"), json!("market_contract"), json!("openai"));
    grids.push(contract);
    service.call("POST", "/v1/factors", Value::Array(grids)).await.ok();
    let restated = restate(&service, json!({"period": "2026-03", "apply": true})).await;
    assert!(restated["differing"].as_u64().unwrap() > 20, "{restated:#}");
    assert!(restated["in_closed_periods"].as_u64().unwrap() > 0, "{restated:#}");
    assert_eq!(restated["unnamed"], 0, "true-ups name what they stand on");
    assert_eq!(restate(&service, json!({"period": "2026", "apply": true})).await["posted"], 0);
    assert_verified(&service).await;
    service
}

/// What the supply accounts gave, less what they got back.
async fn supplied(service: &TestService) -> BTreeMap<String, Decimal> {
    let accounts = service.call("GET", "/v1/ledger/accounts?limit=1000", Value::Null).await.ok();
    let mut sums = BTreeMap::new();
    for account in accounts["items"].as_array().unwrap() {
        if !account["account"].as_str().unwrap().starts_with("supply:") {
            continue;
        }
        for unit in ["tokens", "usd", "gco2e_usage_location", "gco2e_usage_market", "gco2e_embodied"] {
            let balance = &account["balance"][unit];
            let amount: Decimal = balance.as_str().map_or_else(|| balance.to_string(), str::to_owned).parse().unwrap();
            *sums.entry(unit.to_owned()).or_insert(Decimal::ZERO) -= amount;
        }
    }
    sums
}

#[tokio::test]
async fn every_export_of_books_with_true_ups_and_restatements_ties_to_the_trial_balance() {
    let service = corrected_world().await;
    let (supplied, balance) = (supplied(&service).await, trial_balance(&service, None).await);
    let unit = |name: &str| supplied[name];
    let transfers = export(&service, "/v1/exports/transfers").await;
    for (name, debit) in &balance {
        assert_eq!(transfers.sum(name), *debit, "transfers {name}");
    }
    assert!(unit("gco2e_usage_location") < transfers.sum("gco2e_usage_location"), "some of it went back");
    for version in ["1.4", "1.2"] {
        let path = format!("/v1/exports/focus?period=2026-03&version={version}");
        let file = export(&service, &path).await;
        for (name, column) in [
            ("usd", "BilledCost"),
            ("tokens", "x_Tokens"),
            ("gco2e_usage_location", "x_UsageLocationBasedGrams"),
            ("gco2e_usage_market", "x_UsageMarketBasedGrams"),
            ("gco2e_embodied", "x_EmbodiedGrams"),
        ] {
            assert_eq!(file.sum(column), unit(name), "{version} {name}");
        }
        let parquet = export(&service, &format!("{path}&format=parquet")).await;
        let (names, rows) = super::parquet::read(&parquet);
        let csv: Vec<Vec<String>> = file.rows().iter().map(|row| row.iter().map(str::to_owned).collect()).collect();
        assert_eq!((names, rows), (file.names(), csv), "{version}: CSV = Parquet");
    }
    let thousand = dec!(1000);
    let ghg = export(&service, "/v1/exports/ghg?period=2026-03").await;
    for (name, column) in [
        ("gco2e_usage_location", "lb_usage_kgco2e"),
        ("gco2e_usage_market", "mb_usage_kgco2e"),
        ("gco2e_embodied", "embodied_kgco2e"),
    ] {
        assert_eq!(ghg.sum(column) * thousand, unit(name), "ghg {name}");
    }
    let entries: BTreeSet<String> = ghg.column("entry").into_iter().collect();
    assert_eq!(entries.into_iter().collect::<Vec<_>>(), ["activity", "restatement", "reversal", "true_up"]);
    let sci = export(&service, "/v1/exports/sci?period=2026-03").await;
    let units = dec!(3);
    assert_eq!(sci.sum("operational_gco2e"), unit("gco2e_usage_location") * units, "each feature has three lines");
    assert_eq!(sci.sum("embodied_gco2e"), unit("gco2e_embodied") * units);
    for dialect in ["hledger", "ledger", "beancount"] {
        for group in ["day", "call"] {
            let file = export(&service, &format!("/v1/exports/{dialect}?group={group}")).await;
            let read = super::plaintext::read(dialect, file.text());
            for (symbol, name) in super::plaintext::UNITS {
                let of_supply =
                    |(account, unit): &&(String, String)| account.to_lowercase().contains("supply") && unit == symbol;
                let sum: Decimal =
                    read.asserted.iter().filter(|(key, _)| of_supply(key)).map(|(_, amount)| amount).sum();
                assert_eq!(-sum, unit(name), "{dialect} {group} {name}");
            }
        }
    }
}

/// Each row by column name.
fn rows(file: &File) -> Vec<BTreeMap<String, String>> {
    let names = file.names();
    let row = |row: &csv::StringRecord| names.iter().cloned().zip(row.iter().map(str::to_owned)).collect();
    file.rows().iter().map(row).collect()
}

#[tokio::test]
async fn a_correction_of_charges_names_the_charge_and_its_bounds_never_cross() {
    let service = corrected_world().await;
    let file = export(&service, "/v1/exports/focus?period=2026-03").await;
    let rows = rows(&file);
    let keys: BTreeMap<&str, &BTreeMap<String, String>> =
        rows.iter().map(|row| (row["x_ChargeKey"].as_str(), row)).collect();
    assert_eq!(keys.len(), rows.len(), "a key is of one row");
    let (mut corrections, mut named) = (0, 0);
    for row in &rows {
        let number = |name: &str| row[name].parse::<Decimal>().unwrap();
        for column in ["x_UsageLocationBasedGrams", "x_UsageMarketBasedGrams", "x_EmbodiedGrams", "x_EnergyKwh"] {
            if row[column].is_empty() {
                continue;
            }
            let [least, middle, most] = ["Min", "", "Max"].map(|bound| number(&format!("{column}{bound}")).abs());
            assert!(least <= middle && middle <= most, "{column} {row:#?}");
        }
        if row["x_CorrectionOf"].is_empty() {
            continue;
        }
        named += 1;
        let original = keys.get(row["x_CorrectionOf"].as_str()).unwrap_or_else(|| panic!("dangling: {row:#?}"));
        assert_eq!(original["ChargeClass"], "", "{original:#?}");
        for same in ["BillingAccountId", "SubAccountId", "RegionId", "Tags"] {
            assert_eq!(original[same], row[same]);
        }
        if row["ChargeClass"] == "Correction" {
            corrections += 1;
            assert_eq!((row["ChargeCategory"].as_str(), row["BilledCost"].as_str()), ("Adjustment", "0.0"), "{row:#?}");
        }
    }
    assert!(corrections > 10 && named > corrections, "{corrections} {named}: restatements, and a true-up of one call");
    assert!(rows.iter().all(|row| row["x_CorrectedTransfer"].is_empty() || row["ChargeCategory"] == "Adjustment"));
    let transfers: BTreeSet<String> =
        export(&service, "/v1/exports/transfers").await.column("transfer").into_iter().collect();
    let corrected: Vec<&String> =
        rows.iter().map(|row| &row["x_CorrectedTransfer"]).filter(|id| !id.is_empty()).collect();
    assert!(!corrected.is_empty() && corrected.iter().all(|id| transfers.contains(*id)));
    let classes: BTreeSet<(&str, bool)> =
        rows.iter().map(|row| (row["ChargeClass"].as_str(), row["x_Flags"].contains("period_closed"))).collect();
    assert!(classes.contains(&("Correction", true)) && classes.contains(&("Correction", false)), "{classes:?}");
    // A day on which everything was restated: what was taken back is nothing at every bound.
    let taken_back = |column: &str| -> Decimal {
        let sign = |row: &&BTreeMap<String, String>| {
            row["x_UsageLocationBasedGrams"].starts_with('-') || row["x_EmbodiedGrams"].starts_with('-')
        };
        rows.iter().filter(sign).map(|row| row[column].parse::<Decimal>().unwrap()).sum()
    };
    assert!(
        taken_back("x_UsageLocationBasedGramsMin") > taken_back("x_UsageLocationBasedGramsMax"),
        "below zero the least is nearest to it"
    );
}

#[tokio::test]
async fn an_unconfirmed_call_that_was_restated_is_still_taken_back_whole() {
    let service = world().await;
    let ask = json!({"tenant": "tokyo", "feature": "chat", "provider": "anthropic", "model": "claude-haiku-4-5",
        "estimate": {"input": 700, "max_output": 300}});
    let granted = service.call("POST", "/v1/preflight", ask).await.ok();
    let path = format!("/v1/reservations/{}/settle", granted["reservation"].as_str().unwrap());
    service.call("POST", &path, json!({"outcome": "timed_out"})).await.ok();
    let mut grid = german_grid(123.0, "audit-2026");
    grid["zone"] = json!("USA");
    service.call("POST", "/v1/factors", grid).await.ok();
    assert_ne!(
        restate(&service, json!({"period": "2026", "model": "claude-haiku-4-5", "apply": true})).await["posted"],
        0
    );
    service.advance(TimeDelta::hours(24));
    let report = page(&[bucket("2026-03-29", &[row("claude-sonnet-4-5", [100, 500, 0, 50])])]);
    approve(&service, &propose(&service, report).await).await;
    let accounts = service.call("GET", "/v1/ledger/accounts?limit=1000", Value::Null).await.ok();
    let haiku =
        accounts["items"].as_array().unwrap().iter().find(|one| one["account"] == "supply:anthropic/claude-haiku-4-5");
    let balance = &haiku.unwrap()["balance"];
    assert_eq!(balance["tokens"], 0, "{balance:#}");
    for unit in ["usd", "gco2e_usage_location", "gco2e_usage_market", "gco2e_embodied"] {
        assert_eq!(balance[unit], "0", "{unit}: {balance:#}");
    }
    assert_verified(&service).await;
}
