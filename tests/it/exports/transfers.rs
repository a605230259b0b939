//! `GET /v1/exports/transfers`: every transfer once, whatever is asked for, and sums that tie.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use counterfoil::auth::Scope;
use serde_json::{Value, json};

use super::{export, export_as, get, trial_balance};
use crate::books::{empty_world, world};
use crate::support::service::TestService;

const UNITS: [&str; 5] = ["tokens", "usd", "gco2e_usage_location", "gco2e_usage_market", "gco2e_embodied"];

async fn post(service: &TestService, tenant: &str, output: u32) {
    let usage = json!({"tenant": tenant, "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"output": output}});
    service.call("POST", "/v1/usage", usage).await.ok();
}

#[tokio::test]
async fn the_whole_journal_ties_to_the_trial_balance_in_every_unit() {
    let service = world().await;
    for tenant in [None, Some("tokyo"), Some("berlin")] {
        let query = tenant.map_or(String::new(), |tenant| format!("?tenant={tenant}"));
        let file = export(&service, &format!("/v1/exports/transfers{query}")).await;
        for (unit, debit) in trial_balance(&service, tenant).await {
            assert_eq!(file.sum(&unit), debit, "{tenant:?} {unit}");
        }
        let tenants = file.column("tenant");
        assert_eq!(file.header("x-export-transfers"), tenants.len().to_string());
        assert!(tenant.is_none_or(|tenant| tenants.iter().all(|one| one == tenant)));
        let buckets = ["input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning"];
        assert_eq!(buckets.map(|bucket| file.sum(bucket)).iter().sum::<rust_decimal::Decimal>(), file.sum("tokens"));
    }
}

#[tokio::test]
async fn a_row_says_what_the_ledger_says_of_the_transfer() {
    let service = world().await;
    let file = export(&service, "/v1/exports/transfers").await;
    let names = file.names();
    for row in file.rows() {
        let cell = |name: &str| row[names.iter().position(|one| one == name).unwrap()].to_owned();
        let body = service.call("GET", &format!("/v1/ledger/transfers/{}", cell("transfer")), Value::Null).await.ok();
        for name in [
            "kind",
            "debit_account",
            "credit_account",
            "tenant",
            "feature",
            "provider",
            "model",
            "carbon_profile",
            "priority",
            "outcome",
            "period_at",
            "occurred_at",
            "recorded_at",
        ] {
            assert_eq!(body[name], cell(name), "{name}");
        }
        for name in ["region", "run", "agent", "reservation"] {
            assert_eq!(body[name].as_str().unwrap_or(""), cell(name), "{name}");
        }
        for name in ["price", "grid_factor", "model_factor", "requests"] {
            assert_eq!(body[name].as_i64().map_or(String::new(), |id| id.to_string()), cell(name), "{name}");
        }
        assert_eq!(body["labels"], serde_json::from_str::<Value>(&cell("labels")).unwrap());
        let flags: Vec<&str> = body["flags"].as_array().unwrap().iter().map(|flag| flag.as_str().unwrap()).collect();
        assert_eq!(flags.join(" "), cell("flags"));
        for unit in &UNITS[1..] {
            let decimal = |text: &str| text.parse::<rust_decimal::Decimal>().unwrap();
            assert_eq!(decimal(body["amounts"][unit].as_str().unwrap()), decimal(&cell(unit)), "{unit}");
        }
    }
}

#[tokio::test]
async fn days_of_a_zone_part_the_journal_without_gap_or_overlap() {
    let service = world().await;
    let all = export(&service, "/v1/exports/transfers?zone=Asia/Kathmandu").await.column("transfer");
    let mut parts = Vec::new();
    for day in ["2026-03-28", "2026-03-29"] {
        let file = export(&service, &format!("/v1/exports/transfers?zone=Asia/Kathmandu&period={day}")).await;
        assert!(!file.rows().is_empty(), "{day} tells nothing");
        assert!(file.header("content-disposition").contains(&format!("transfers_all_{day}_")), "{day}");
        let bounds = format!("{day}T00:00:00+05:45").parse::<chrono::DateTime<chrono::FixedOffset>>().unwrap();
        for at in file.column("period_at") {
            let at: chrono::DateTime<chrono::Utc> = at.parse().unwrap();
            assert!(at >= bounds && at < bounds + TimeDelta::days(1), "{at} is not of {day}");
        }
        parts.extend(file.column("transfer"));
    }
    assert_eq!(parts, all, "two days hold everything once, in the order of time");
    // A tenant's own zone is the one that is meant when it is named.
    let own = export(&service, "/v1/exports/transfers?tenant=tokyo&period=2026-03-28").await.column("transfer");
    let named = "/v1/exports/transfers?tenant=tokyo&from=2026-03-27T15:00:00Z&to=2026-03-28T15:00:00Z";
    assert_eq!(own, export(&service, named).await.column("transfer"));
}

#[tokio::test]
async fn files_by_cursor_hold_every_transfer_once_also_one_that_is_committed_late() {
    let service = empty_world().await;
    post(&service, "tokyo", 1).await;
    // A batch that has begun and not ended while an export looks.
    let mut late = service.db.pool().begin().await.unwrap();
    let copied = sqlx::query(
        "insert into transfers
        select (jsonb_populate_record(transfers, jsonb_build_object('id', '00000000-0000-7000-8000-000000000001'))).*
        from transfers",
    );
    assert_eq!(copied.execute(&mut *late).await.unwrap().rows_affected(), 1);
    post(&service, "berlin", 2).await;
    let first = export(&service, "/v1/exports/transfers").await;
    assert_eq!(first.rows().len(), 2);
    late.commit().await.unwrap();
    post(&service, "tokyo", 3).await;
    let cursor = first.header("x-export-cursor");
    let second = export(&service, &format!("/v1/exports/transfers?cursor={cursor}")).await;
    assert_eq!(second.column("output"), ["1", "3"], "the late one, whose id is lower than any, and the new one");
    let cursor = second.header("x-export-cursor");
    let third = export(&service, &format!("/v1/exports/transfers?cursor={cursor}")).await;
    assert!(third.rows().is_empty(), "nothing is new");
    // Far from the mark the instant of recording decides.
    service.advance(TimeDelta::hours(3));
    post(&service, "tokyo", 4).await;
    let fourth = export(&service, &format!("/v1/exports/transfers?cursor={cursor}")).await;
    assert_eq!(fourth.column("output"), ["4"]);
    // The first one, made again much later, is what it was.
    let again = format!("/v1/exports/transfers?resume={}", first.header("x-export-cursor"));
    assert_eq!(export(&service, &again).await.text(), first.text());
    let again = format!("/v1/exports/transfers?resume={}", second.header("x-export-cursor"));
    assert_eq!(export(&service, &again).await.text(), second.text());
}

#[tokio::test]
async fn a_file_that_was_cut_goes_on_where_it_ends() {
    let service = world().await;
    let whole = export(&service, "/v1/exports/transfers?tenant=tokyo").await;
    let lines: Vec<&str> = whole.text().split_inclusive('\n').collect();
    post(&service, "tokyo", 9).await;
    for rows in [0, 1, lines.len() - 2, lines.len() - 1] {
        let path = format!("/v1/exports/transfers?tenant=tokyo&resume={}&skip={rows}", whole.header("x-export-cursor"));
        let rest = export(&service, &path).await;
        let have = if rows == 0 { String::new() } else { lines[..=rows].concat() };
        assert_eq!(have + rest.text(), whole.text(), "after {rows} rows");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_in_another_order_of_rows_does_not_go_on() {
    let service = world().await;
    let cursor = export(&service, "/v1/exports/transfers?tenant=tokyo").await.header("x-export-cursor");
    let (version, encoded) = cursor.split_once('.').unwrap();
    let mut named: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap();
    let shape = named["of"]["shape"].as_str().unwrap().to_owned();
    // As releases wrote it whose rows came in the order of their ids.
    named["of"]["shape"] = shape.strip_suffix(" by-time").unwrap().into();
    let before = format!("{version}.{}", URL_SAFE_NO_PAD.encode(named.to_string()));
    let path = format!("/v1/exports/transfers?tenant=tokyo&resume={before}&skip=1");
    let refused = service.call("GET", &path, Value::Null).await;
    assert_eq!(refused.problem(), (422, "invalid_request"));
    assert_eq!(refused.body["errors"][0]["field"], "resume");
    // What is new has no order to go on in.
    export(&service, &format!("/v1/exports/transfers?tenant=tokyo&cursor={before}")).await;
}

#[tokio::test]
async fn a_tenant_takes_out_its_own_and_nothing_else() {
    let service = world().await;
    let token = service.token(&[Scope::Export], Some("tokyo"));
    let own = export_as(&service, &token, "/v1/exports/transfers").await;
    let same = export(&service, "/v1/exports/transfers?tenant=tokyo").await;
    assert!(!own.rows().is_empty());
    assert_eq!(own.text(), same.text());
    let foreign = service.call_as(&token, "GET", "/v1/exports/transfers?tenant=berlin", &[], Value::Null).await;
    assert_eq!(foreign.problem(), (403, "forbidden_tenant"));
    // A cursor is no key: what it names is shown only to who may see it.
    let all = export(&service, "/v1/exports/transfers").await.header("x-export-cursor");
    let path = format!("/v1/exports/transfers?cursor={all}");
    assert_eq!(service.call_as(&token, "GET", &path, &[], Value::Null).await.problem(), (422, "invalid_request"));
    // Nor does it say which transactions the others made, and nobody else goes on by it.
    let sealed = own.header("x-export-cursor");
    let read = URL_SAFE_NO_PAD.decode(sealed.split_once('.').unwrap().1).unwrap();
    assert!(!String::from_utf8_lossy(&read).contains("seen"));
    let go_on = |by: String, cursor: String| {
        let service = &service;
        async move {
            let path = format!("/v1/exports/transfers?cursor={cursor}");
            service.fetch(get(&by, &path)).await.0
        }
    };
    assert_eq!(go_on(token.clone(), sealed.clone()).await, 200);
    let berlin = service.token(&[Scope::Export], Some("berlin"));
    assert_eq!(go_on(berlin, sealed.clone()).await, 422);
    assert_eq!(go_on(token.clone(), same.header("x-export-cursor")).await, 422);
    let (head, last) = sealed.split_at(sealed.len() - 1);
    let other = if last == "A" { "B" } else { "A" };
    assert_eq!(go_on(token.clone(), format!("{head}{other}")).await, 422);
    let reader = service.token(&[Scope::Read], None);
    let refused = service.call_as(&reader, "GET", "/v1/exports/transfers", &[], Value::Null).await;
    assert_eq!(refused.problem(), (403, "forbidden_scope"));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let service = empty_world().await;
    post(&service, "tokyo", 1).await;
    let cursor = export(&service, "/v1/exports/transfers").await.header("x-export-cursor");
    for (query, field) in [
        ("period=2026-13".to_owned(), "period"),
        ("period=2026&from=2026-01-01".to_owned(), "period"),
        ("from=tomorrow".to_owned(), "from"),
        ("from=2026-02-01&to=2026-01-01".to_owned(), "to"),
        ("from=0001-01-01T00:00:00Z".to_owned(), "from"),
        ("zone=Mars/Base".to_owned(), "zone"),
        ("format=xml".to_owned(), "format"),
        ("tenant=%00".to_owned(), "tenant"),
        ("colour=red".to_owned(), "colour"),
        ("cursor=abc".to_owned(), "cursor"),
        (format!("cursor={cursor}&resume={cursor}"), "resume"),
        (format!("resume={cursor}&format=parquet"), "resume"),
        (format!("resume={cursor}&period=2026"), "resume"),
        (format!("cursor={cursor}&tenant=tokyo"), "cursor"),
        ("skip=1".to_owned(), "skip"),
        (format!("resume={cursor}&skip=-1"), "skip"),
    ] {
        let refused = service.call("GET", &format!("/v1/exports/transfers?{query}"), Value::Null).await;
        assert_eq!(refused.status, 422, "{query}: {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], field, "{query}: {:#}", refused.body);
    }
    let unknown = service.call("GET", "/v1/exports/transfers?tenant=nobody", Value::Null).await;
    assert_eq!(unknown.problem(), (404, "unknown_tenant"));
}
