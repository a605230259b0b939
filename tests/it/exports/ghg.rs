//! `GET /v1/exports/ghg`: lines that add up to the books, stand on the rows that were recorded, and fit their schema.

use counterfoil::auth::Scope;
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};

use super::{export, export_as, trial_balance};
use crate::books::world;

#[tokio::test]
async fn kilograms_are_those_of_the_books_whatever_the_cut() {
    let service = world().await;
    for tenant in [None, Some("tokyo")] {
        let balance = trial_balance(&service, tenant).await;
        let grams = |unit: &str| balance.iter().find(|(name, _)| name == unit).unwrap().1;
        let (location, market, embodied) =
            (grams("gco2e_usage_location"), grams("gco2e_usage_market"), grams("gco2e_embodied"));
        let mut lines = Vec::new();
        for cut in ["period", "month", "day"] {
            let query = tenant.map_or(String::new(), |tenant| format!("&tenant={tenant}"));
            let file = export(&service, &format!("/v1/exports/ghg?cut={cut}{query}")).await;
            let thousand = dec!(1000);
            assert_eq!(file.sum("lb_usage_kgco2e") * thousand, location, "{cut}");
            assert_eq!(file.sum("mb_usage_kgco2e") * thousand, market, "{cut}");
            assert_eq!(file.sum("embodied_kgco2e") * thousand, embodied, "{cut}");
            assert_eq!(file.sum("reported_kgco2e") * thousand, location + embodied, "{cut}");
            let tokens = ["input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"];
            let tokens: Decimal = tokens.map(|column| file.sum(column)).iter().sum();
            assert_eq!(tokens, balance.iter().find(|(name, _)| name == "tokens").unwrap().1);
            assert!(file.column("range_method").iter().all(|method| method == "recomputed"), "{}", file.text());
            assert!(file.sum("lb_usage_kgco2e_min") * thousand < location);
            assert!(location < file.sum("lb_usage_kgco2e_max") * thousand);
            lines.push(file.rows().len());
        }
        assert!(lines[0] <= lines[1] && lines[1] < lines[2], "{lines:?}");
    }
}

#[tokio::test]
async fn new_factors_change_no_figure_that_was_posted_nor_its_range() {
    let service = world().await;
    let before = export(&service, "/v1/exports/ghg").await;
    let grid = json!({
        "kind": "grid", "zone": "USA", "g_per_kwh": 9.0, "basis": "lifecycle", "accounting": "location",
        "valid_from": "2020-01-01T00:00:00Z",
        "source": {"set": "audit-2026", "title": "Grid audit", "publisher": "Example AB", "licence": "private", "tier": 1}
    });
    let contract = json!({
        "kind": "grid", "zone": "WOR", "g_per_kwh": 20.0, "basis": "lifecycle", "accounting": "market_contract",
        "provider": "openai", "valid_from": "2020-01-01T00:00:00Z",
        "source": {"set": "ppa-7", "title": "Contract", "publisher": "Example AB", "licence": "private", "tier": 1}
    });
    assert_eq!(service.call("POST", "/v1/factors", json!([grid, contract])).await.ok()["added"], 2);
    assert_eq!(export(&service, "/v1/exports/ghg").await.text(), before.text());
    // A call from now on stands on the contract, in a line of its own.
    let usage = json!({"tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"output": 100}});
    service.call("POST", "/v1/usage", usage).await.ok();
    let after = export(&service, "/v1/exports/ghg").await;
    assert_eq!(after.rows().len(), before.rows().len() + 1);
    let methods = after.column("mb_method");
    assert_eq!(methods.iter().filter(|method| *method == "contractual").count(), 1, "{methods:?}");
    assert!(after.column("mb_factor_set_id").contains(&"ppa-7".to_owned()));
}

#[tokio::test]
async fn the_schema_is_the_files_and_options_are_what_the_lines_say() {
    let service = world().await;
    let token = service.token(&[Scope::Export], Some("tokyo"));
    let schema: Value =
        serde_json::from_slice(&export_as(&service, &token, "/v1/exports/ghg/schema").await.bytes).unwrap();
    let fields: Vec<&str> =
        schema["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    let path = "/v1/exports/ghg?period=2026-03&scope3_category=3.8&reporting_basis=market";
    let file = export_as(&service, &token, path).await;
    assert_eq!(file.names(), fields);
    assert!(file.column("tenant_id").iter().all(|tenant| tenant == "tokyo"));
    assert!(file.column("scope3_category").iter().all(|category| category == "3.8"));
    assert!(file.column("period_start").iter().all(|start| start == "2026-02-28T15:00:00Z"), "a month of Tokyo");
    assert_eq!(file.column("reported_kgco2e"), file.column("total_mb_kgco2e"));
    let refused = service.send(super::get(&token, "/v1/exports/ghg?scope3_category=3.15")).await;
    assert_eq!(refused.status, 422);
}

/// A late call of a period that is closed stands in the open one as posted, and where it belongs as restated: in activity data, in
/// intensities and in usage alike. Each file ties to the balance of its slice, or it has no end.
#[tokio::test]
async fn what_came_late_stands_where_it_was_posted_or_where_it_belongs() {
    let service = world().await;
    let (start, cut, end) = ("2026-03-28T00:00:00Z", "2026-03-28T18:00:00Z", "2026-04-01T00:00:00Z");
    let grams = async |basis: &str, from: &str, to: &str| {
        let span = format!("from={from}&to={to}{basis}");
        let ghg =
            export(&service, &format!("/v1/exports/ghg?cut=day&{span}")).await.sum("lb_usage_kgco2e") * dec!(1000);
        let usage = service.call("GET", &format!("/v1/usage?{span}"), Value::Null).await.ok();
        let told: Decimal = usage["totals"]["amounts"]["gco2e_usage_location"].as_str().unwrap().parse().unwrap();
        assert_eq!(ghg, told, "{span}");
        ghg
    };
    let before = grams("", start, cut).await;
    assert!(before > Decimal::ZERO);
    service.call("POST", "/v1/periods/close", json!({"until": cut})).await.ok();
    let late = json!({
        "tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"output": 1_000_000},
        "occurred_at": "2026-03-28T15:00:00Z"
    });
    service.call("POST", "/v1/usage", late).await.ok();

    assert_eq!(grams("", start, cut).await, before, "what is closed never changes");
    let closed_as_restated = grams("&basis=as_restated", start, cut).await;
    assert_ne!(closed_as_restated, before);
    assert_eq!(grams("", start, end).await, grams("&basis=as_restated", start, end).await, "all together is the same");
    let open = grams("", cut, end).await - grams("&basis=as_restated", cut, end).await;
    assert_eq!(open, closed_as_restated - before, "what the open period has too much is what the closed one lacks");
    for path in ["/v1/exports/sci", "/v1/exports/ghg"] {
        let [posted, restated] =
            ["as_posted", "as_restated"].map(|basis| format!("{path}?from={start}&to={cut}&basis={basis}"));
        let (posted, restated) = (export(&service, &posted).await, export(&service, &restated).await);
        assert_ne!(posted.text(), restated.text(), "{path}");
    }
}
