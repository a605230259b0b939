//! `GET /v1/exports/focus`: what finance is charged is what the books hold, row by row and in sum.

use chrono::{DateTime, TimeDelta, Utc};
use counterfoil::auth::Scope;
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};

use super::{File, export, export_as, get, trial_balance};
use crate::books::{empty_world, world};
use crate::support::service::TestService;

/// The unit of the trial balance, and the column that adds up to it.
const COLUMNS: [(&str, &str); 4] = [
    ("usd", "BilledCost"),
    ("gco2e_usage_location", "x_UsageLocationBasedGrams"),
    ("gco2e_usage_market", "x_UsageMarketBasedGrams"),
    ("gco2e_embodied", "x_EmbodiedGrams"),
];

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Each row as names and texts.
fn rows(file: &File) -> Vec<Value> {
    let names = file.names();
    let row = |row: &csv::StringRecord| -> Value {
        names.iter().cloned().zip(row.iter().map(|cell| json!(cell))).collect::<serde_json::Map<_, _>>().into()
    };
    file.rows().iter().map(row).collect()
}

/// What the rows of tokens count.
fn tokens(file: &File) -> Decimal {
    let of_tokens = |row: &&Value| row["ConsumedUnit"] == "Tokens";
    rows(file).iter().filter(of_tokens).map(|row| decimal(row["ConsumedQuantity"].as_str().unwrap())).sum()
}

async fn post(service: &TestService, body: Value) {
    let mut usage = json!({"tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt-4o"});
    usage.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    service.call("POST", "/v1/usage", usage).await.ok();
}

#[tokio::test]
async fn every_unit_of_every_shape_ties_to_the_trial_balance() {
    let service = world().await;
    for tenant in [None, Some("tokyo"), Some("berlin")] {
        let balance = trial_balance(&service, tenant).await;
        let tenant = tenant.map_or(String::new(), |tenant| format!("&tenant={tenant}"));
        for shape in
            ["version=1.4", "version=1.2", "grain=hour", "zone=Asia/Kathmandu", "zone=Europe/Berlin&grain=hour"]
        {
            let path = format!("/v1/exports/focus?from=2026-03-01&to=2026-05-01{tenant}&{shape}");
            let file = export(&service, &path).await;
            for (unit, column) in COLUMNS {
                let expected = balance.iter().find(|(name, _)| name == unit).unwrap().1;
                assert_eq!(file.sum(column), expected, "{path} {unit}");
            }
            assert_eq!(tokens(&file), balance[0].1, "{path}");
            assert_eq!(file.sum("x_Tokens"), balance[0].1, "{path}");
            assert_eq!(file.sum("x_Transfers").to_string(), file.header("x-export-transfers"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_row_costs_its_quantity_times_its_unit_price() {
    let service = world().await;
    let file = export(&service, "/v1/exports/focus?period=2026-03").await;
    let rows = rows(&file);
    assert!(rows.len() > 20);
    let mut meters = std::collections::BTreeSet::new();
    for row in &rows {
        let number = |name: &str| decimal(row[name].as_str().unwrap());
        assert_eq!(number("ListUnitPrice") * number("PricingQuantity"), number("ListCost"), "{row:#}");
        assert_eq!(number("PricingQuantity") * dec!(1_000_000), number("ConsumedQuantity"), "{row:#}");
        assert_eq!(number("BilledCost") - number("ListCost"), number("x_RoundingRemainder"), "{row:#}");
        assert!(number("ConsumedQuantity") > Decimal::ZERO, "{row:#}");
        let day = |name: &str| row[name].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
        assert_eq!(day("ChargePeriodEnd") - day("ChargePeriodStart"), TimeDelta::days(1));
        assert_eq!(row["BillingPeriodStart"], "2026-03-01T00:00:00Z");
        assert_eq!(row["BillingPeriodEnd"], "2026-04-01T00:00:00Z");
        serde_json::from_str::<std::collections::BTreeMap<String, String>>(row["Tags"].as_str().unwrap()).unwrap();
        meters.insert(row["SkuMeter"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        meters.into_iter().collect::<Vec<_>>(),
        [
            "Cache Read Input Tokens",
            "Cache Write Input Tokens (1 Hour)",
            "Cache Write Input Tokens (5 Minutes)",
            "Input Tokens",
            "Output Tokens",
            "Reasoning Output Tokens"
        ]
    );
    let keys: std::collections::BTreeSet<_> = rows.iter().map(|row| row["x_ChargeKey"].to_string()).collect();
    assert_eq!(keys.len(), rows.len(), "a key is of one row");
}

#[tokio::test]
async fn the_calls_of_a_day_with_one_price_are_one_row_for_each_kind_of_token() {
    let service = empty_world().await;
    for n in 1..=3 {
        post(&service, json!({"usage": {"input": 1000 * n, "output": 10 * n}, "labels": {"team": "cx"}})).await;
    }
    post(&service, json!({"usage": {"input": 7, "output": 1}, "labels": {"team": "ops"}})).await;
    service.advance(TimeDelta::hours(2)); // Tokyo's next day
    post(&service, json!({"usage": {"input": 100, "output": 1}, "labels": {"team": "cx"}})).await;
    let file = export(&service, "/v1/exports/focus?tenant=tokyo&period=2026-03").await;
    let told: Vec<_> = rows(&file)
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            format!(
                "{} {} {} {} {}",
                text("ChargePeriodStart"),
                text("Tags"),
                text("SkuMeter"),
                text("ConsumedQuantity"),
                text("x_Requests")
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "2026-03-27T15:00:00Z {\"team\": \"cx\"} Input Tokens 6000.0 3",
            "2026-03-27T15:00:00Z {\"team\": \"cx\"} Output Tokens 60.0 0",
            "2026-03-27T15:00:00Z {\"team\": \"ops\"} Input Tokens 7.0 1",
            "2026-03-27T15:00:00Z {\"team\": \"ops\"} Output Tokens 1.0 0",
            "2026-03-28T15:00:00Z {\"team\": \"cx\"} Input Tokens 100.0 1",
            "2026-03-28T15:00:00Z {\"team\": \"cx\"} Output Tokens 1.0 0",
        ]
    );
    let hours = export(&service, "/v1/exports/focus?tenant=tokyo&period=2026-03-28&grain=hour").await;
    assert_eq!(hours.column("ChargePeriodStart")[0], "2026-03-28T13:00:00Z");
}

#[tokio::test]
async fn what_has_no_price_of_its_own_or_no_tokens_is_shown_as_such() {
    let service = empty_world().await;
    post(&service, json!({"model": "nobody-knows-this", "usage": {"input": 1000}})).await;
    post(&service, json!({"usage": {}, "outcome": "failed", "feature": "search"})).await;
    let file = export(&service, "/v1/exports/focus?period=2026-03").await;
    let rows = rows(&file);
    let of = |feature: &str| rows.iter().find(|row| row["SubAccountName"] == feature).unwrap();
    assert_eq!(of("chat")["x_PriceIsFallback"], "true");
    assert!(of("chat")["x_Flags"].as_str().unwrap().contains("unpriced_model"));
    assert!(decimal(of("chat")["BilledCost"].as_str().unwrap()) > Decimal::ZERO, "never free");
    let failed = of("search");
    assert_eq!((&failed["SkuMeter"], &failed["ConsumedUnit"]), (&json!("Requests"), &json!("Requests")));
    assert_eq!((&failed["ConsumedQuantity"], &failed["BilledCost"]), (&json!("1.0"), &json!("0.0")));
    assert_eq!(failed["x_PriceIsFallback"], "false");
}

#[tokio::test]
async fn a_name_that_is_not_ascii_stands_in_1_4_and_is_the_id_in_1_2() {
    let service = empty_world().await;
    service.call("PUT", "/v1/tenants/tokyo", json!({"name": "東京", "timezone": "Asia/Tokyo"})).await.ok();
    post(&service, json!({"usage": {"input": 1}})).await;
    for (version, name) in [("1.4", "東京"), ("1.2", "tokyo")] {
        let file = export(&service, &format!("/v1/exports/focus?period=2026-03&version={version}")).await;
        assert_eq!(file.column("BillingAccountName"), [name], "{version}");
    }
}

#[tokio::test]
async fn what_is_taken_back_is_a_negative_correction() {
    let service = empty_world().await;
    post(&service, json!({"usage": {"input": 1000, "output": 10}})).await;
    let mut connection = service.db.pool().acquire().await.unwrap();
    let taken_back = sqlx::query(
        "insert into transfers
        select (jsonb_populate_record(transfers, jsonb_build_object(
            'id', '00000000-0000-7000-8000-000000000001', 'kind', 'correction', 'direction', -1, 'corrects', id,
            'debit_account', credit_account, 'credit_account', debit_account
        ))).*
        from transfers",
    );
    taken_back.execute(&mut *connection).await.unwrap();
    let file = export(&service, "/v1/exports/focus?period=2026-03").await;
    let told: Vec<_> = rows(&file)
        .iter()
        .map(|row| {
            (row["ChargeClass"].as_str().unwrap().to_owned(), row["ConsumedQuantity"].as_str().unwrap().to_owned())
        })
        .collect();
    let row = |class: &str, quantity: &str| (class.to_owned(), quantity.to_owned());
    assert_eq!(
        told,
        [row("", "1000.0"), row("", "10.0"), row("Correction", "-1000.0"), row("Correction", "-10.0")],
        "a charge, then what corrects it"
    );
    for (_, column) in COLUMNS {
        assert_eq!(file.sum(column), Decimal::ZERO, "{column}");
    }
    let transfers = export(&service, "/v1/exports/transfers").await;
    assert_eq!(transfers.column("kind"), ["correction", "usage"]);
    assert_eq!(transfers.column("corrects")[0], transfers.column("transfer")[1]);
}

#[tokio::test]
async fn a_true_up_without_a_price_is_one_row_of_difference() {
    let service = empty_world().await;
    post(&service, json!({"usage": {"input": 1000, "output": 10}})).await;
    let mut connection = service.db.pool().acquire().await.unwrap();
    let trued_up = sqlx::query(
        "insert into transfers
        select (jsonb_populate_record(transfers, jsonb_build_object(
            'id', '00000000-0000-7000-8000-000000000001', 'kind', 'true_up', 'price', null, 'usd', 1.5
        ))).*
        from transfers",
    );
    trued_up.execute(&mut *connection).await.unwrap();
    let rows = rows(&export(&service, "/v1/exports/focus?period=2026-03").await);
    let differences: Vec<_> = rows.iter().filter(|row| row["ChargeCategory"] == "Adjustment").collect();
    let [difference] = differences[..] else { panic!("{rows:#?}") };
    assert_eq!((&difference["BilledCost"], &difference["x_Tokens"]), (&json!("1.5"), &json!("1010")));
    for empty in ["ConsumedQuantity", "PricingQuantity", "SkuId", "SkuPriceId", "SkuMeter", "ListUnitPrice"] {
        assert_eq!(difference[empty], "", "{empty}");
    }
}

#[tokio::test]
async fn books_that_do_not_tie_give_no_whole_file() {
    let service = world().await;
    // A transfer between two accounts that consume: it supplies nothing, and is told as a charge.
    let mut connection = service.db.pool().acquire().await.unwrap();
    let forged = sqlx::query(
        "insert into transfers
        select (jsonb_populate_record(transfers, jsonb_build_object(
            'id', '00000000-0000-7000-8000-000000000001', 'credit_account', 'usage:tokyo/elsewhere'
        ))).*
        from transfers limit 1",
    );
    forged.execute(&mut *connection).await.unwrap();
    let token = service.token(&[Scope::Export], None);
    for format in ["csv", "parquet"] {
        let path = format!("/v1/exports/focus?period=2026-03&format={format}");
        let (status, _, bytes) = service.fetch(get(&token, &path)).await;
        assert_eq!(status, 200, "the head was on its way");
        let cut = bytes.unwrap_err();
        assert!(cut.contains("transfers") || cut.contains("tokens"), "{cut}");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_goes_on_where_it_ends() {
    let service = world().await;
    let path = "/v1/exports/focus?period=2026-03&zone=Asia/Tokyo";
    let whole = export(&service, path).await;
    post(&service, json!({"usage": {"output": 5}})).await;
    let lines: Vec<&str> = whole.text().split_inclusive('\n').collect();
    for rows in [1, lines.len() / 2] {
        let rest = export(&service, &format!("{path}&resume={}&skip={rows}", whole.header("x-export-cursor"))).await;
        assert_eq!(lines[..=rows].concat() + rest.text(), whole.text(), "after {rows} rows");
    }
    assert_ne!(export(&service, path).await.text(), whole.text(), "a new one has the new call");
}

#[tokio::test]
async fn a_tenant_is_told_its_own_charges() {
    let service = world().await;
    let token = service.token(&[Scope::Export], Some("tokyo"));
    let own = export_as(&service, &token, "/v1/exports/focus?period=2026-03").await;
    assert!(!own.rows().is_empty());
    assert!(own.column("BillingAccountId").iter().all(|account| account == "tokyo"));
    assert_eq!(own.text(), export(&service, "/v1/exports/focus?period=2026-03&tenant=tokyo").await.text());
    let foreign = service.call_as(&token, "GET", "/v1/exports/focus?tenant=berlin", &[], Value::Null).await;
    assert_eq!(foreign.problem(), (403, "forbidden_tenant"));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let service = empty_world().await;
    for (query, field) in [
        ("version=1.3", "version"),
        ("grain=minute", "grain"),
        ("from=2026-01-01", "to"),
        ("to=2026-01-01", "from"),
        ("from=2020-01-01&to=2026-01-01&grain=hour", "period"),
        ("cursor=abc", "cursor"),
        ("format=parquet&resume=abc&skip=1", "skip"),
    ] {
        let refused = service.call("GET", &format!("/v1/exports/focus?{query}"), Value::Null).await;
        assert_eq!(refused.status, 422, "{query}: {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], field, "{query}: {:#}", refused.body);
    }
    let empty = export(&service, "/v1/exports/focus").await;
    assert_eq!(empty.rows().len(), 0);
    assert!(empty.names().contains(&"ServiceProviderName".to_owned()));
}
