//! `GET /v1/usage`: totals by anything, in the days of any zone.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{empty_world, get, world};
use crate::support::service::TestService;

/// Posts `output` tokens of a call at an instant.
async fn post(service: &TestService, tenant: &str, occurred_at: &str, output: u64) {
    let body = json!({
        "tenant": tenant, "feature": "chat", "provider": "openai", "model": "gpt-4o", "occurred_at": occurred_at,
        "usage": {"input": 300, "cache_read": 700, "output": output}
    });
    service.call("POST", "/v1/usage", body).await.ok();
}

/// Each row: its local start and its output tokens.
fn days(body: &Value) -> Vec<String> {
    let rows = body["rows"].as_array().unwrap();
    rows.iter().map(|row| format!("{} {}", row["start_local"].as_str().unwrap(), row["usage"]["output"])).collect()
}

#[tokio::test]
async fn days_are_those_of_the_zone() {
    let service = empty_world().await;
    service.advance(TimeDelta::days(1));
    // Berlin's clocks go forward at 2026-03-29T01:00Z: that day is 23 hours long.
    for (at, output) in [
        ("2026-03-27T22:59:59.999999Z", 1),
        ("2026-03-27T23:00:00Z", 10),
        ("2026-03-28T14:59:59Z", 100),
        ("2026-03-28T15:00:00Z", 1000),
        ("2026-03-28T23:00:00Z", 10_000),
    ] {
        post(&service, "berlin", at, output).await;
    }
    let ask = |zone: &str| format!("/v1/usage?from=2026-03-27&to=2026-03-31&bucket=day&zone={zone}");
    let berlin = get(&service, &ask("Europe/Berlin")).await;
    assert_eq!(
        days(&berlin),
        ["2026-03-27T00:00:00+01:00 1", "2026-03-28T00:00:00+01:00 1110", "2026-03-29T00:00:00+01:00 10000"]
    );
    assert_eq!(berlin["rows"][2]["start"], "2026-03-28T23:00:00Z");
    assert_eq!(berlin["rows"][2]["end"], "2026-03-29T22:00:00Z", "a day of 23 hours");
    let tokyo = get(&service, &ask("Asia/Tokyo")).await;
    assert_eq!(days(&tokyo), ["2026-03-28T00:00:00+09:00 111", "2026-03-29T00:00:00+09:00 11000"]);
    for body in [&berlin, &tokyo] {
        assert_eq!(body["source"], "rollup");
        assert_eq!(body["totals"]["usage"]["output"], 11_111);
        assert_eq!(body["totals"]["requests"], 5);
        assert_eq!(body["totals"]["cache_read_share"], "0.7");
        assert_eq!(body["totals"]["amounts"]["tokens"], 16_111);
    }
    // The tenant's own zone, and its current month, unless others are named.
    let own = get(&service, "/v1/usage?tenant=berlin&bucket=month").await;
    assert_eq!((own["zone"].as_str(), own["from"].as_str()), (Some("Europe/Berlin"), Some("2026-02-28T23:00:00Z")));
    assert_eq!(own["totals"], berlin["totals"]);
    assert_eq!(get(&service, "/v1/usage").await["zone"], "UTC");
}

#[tokio::test]
async fn a_bucket_that_the_span_cuts_counts_only_what_lies_in_the_span() {
    let service = empty_world().await;
    post(&service, "tokyo", "2026-03-28T03:00:00Z", 1).await;
    post(&service, "tokyo", "2026-03-28T04:00:00Z", 2).await;
    post(&service, "tokyo", "2026-03-28T05:00:00Z", 4).await;
    for (from, to, source, output) in [
        ("2026-03-28T03:00:00Z", "2026-03-28T05:00:00Z", "rollup", 3),
        ("2026-03-28T03:00:00.000001Z", "2026-03-28T05:00:00Z", "journal", 2),
        ("2026-03-28T03:00:00Z", "2026-03-28T05:00:00.000001Z", "journal", 7),
    ] {
        let body = get(&service, &format!("/v1/usage?from={from}&to={to}&bucket=day&zone=Asia/Tokyo")).await;
        assert_eq!(body["source"], source, "{from} {to}");
        assert_eq!(body["totals"]["usage"]["output"], output, "{from} {to}");
        let row = &body["rows"][0];
        assert_eq!((row["start"].as_str(), row["end"].as_str()), (Some(from), Some(to)));
    }
}

/// The rows without the instants that differ when the span begins a microsecond later.
fn comparable(body: &Value) -> Vec<Value> {
    let mut rows = body["rows"].as_array().unwrap().clone();
    for row in &mut rows {
        if row["start"] == body["from"] {
            row["start"] = Value::Null;
            row["start_local"] = Value::Null;
        }
    }
    rows
}

#[tokio::test]
async fn the_roll_up_and_the_journal_say_the_same() {
    let service = world().await;
    for zone in ["UTC", "Asia/Tokyo", "Europe/Berlin", "Asia/Kathmandu", "America/Sao_Paulo", "Australia/Lord_Howe"] {
        for bucket in ["hour", "day", "week", "month", "quarter", "year"] {
            for group_by in ["tenant", "tenant,feature,provider,model,region", "region,model", "provider"] {
                let ask = |from: &str| {
                    format!(
                        "/v1/usage?from={from}&to=2026-04-01T00:00:00Z&zone={zone}&bucket={bucket}&group_by={group_by}"
                    )
                };
                let rollup = get(&service, &ask("2026-03-01T00:00:00Z")).await;
                let journal = get(&service, &ask("2026-03-01T00:00:00.000001Z")).await;
                assert_eq!((&rollup["source"], &journal["source"]), (&json!("rollup"), &json!("journal")));
                assert_eq!(comparable(&rollup), comparable(&journal), "{zone} {bucket} {group_by}");
                assert_eq!(rollup["totals"], journal["totals"]);
                assert!(rollup["rows"].as_array().unwrap().len() > 1 || group_by == "provider");
            }
        }
    }
}

#[tokio::test]
async fn any_dimension_tells_apart_and_filters() {
    let service = world().await;
    let total = get(&service, "/v1/usage").await["totals"].clone();
    let values = ["tenant", "feature", "provider", "model", "region", "run", "agent", "label:team"];
    for dimension in values {
        let body = get(&service, &format!("/v1/usage?group_by={dimension}")).await;
        assert_eq!(body["totals"], total, "{dimension}: the parts are the whole");
        let rows = body["rows"].as_array().unwrap();
        let nullable = ["region", "run", "agent", "label:team"].contains(&dimension);
        assert_eq!(rows.iter().any(|row| row["group"][dimension].is_null()), nullable, "{dimension}");
        for row in rows.iter().filter(|row| row["group"][dimension].is_string()) {
            let value = row["group"][dimension].as_str().unwrap();
            let only = get(&service, &format!("/v1/usage?{}={value}", dimension.replace(':', "."))).await;
            assert_eq!(only["totals"]["amounts"], row["amounts"], "{dimension}={value}");
            assert_eq!(only["totals"]["usage"], row["usage"], "{dimension}={value}");
        }
    }
    let several =
        get(&service, "/v1/usage?group_by=run,label:team,tenant&tenant=tokyo&label.team=cx&bucket=hour").await;
    assert_eq!(several["source"], "journal");
    for row in several["rows"].as_array().unwrap() {
        assert_eq!((&row["group"]["tenant"], &row["group"]["label:team"]), (&json!("tokyo"), &json!("cx")));
    }
    let none = get(&service, "/v1/usage?label.team=nobody&group_by=tenant").await;
    assert_eq!(none["rows"], json!([]));
    assert_eq!(none["totals"]["requests"], 0);
    assert_eq!(none["totals"]["cache_read_share"], Value::Null);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let service = empty_world().await;
    for (query, code, field) in [
        ("zone=Tokyo", "unknown_zone", "zone"),
        ("zone=Asia/Tokyo%20", "unknown_zone", "zone"),
        ("from=yesterday", "invalid_request", "from"),
        ("from=2026-04-01&to=2026-04-01", "invalid_request", "to"),
        ("from=1500-01-01T00:00:00Z", "invalid_request", "from"),
        ("to=%2B200000-01-01T00:00:00Z", "invalid_request", "to"),
        ("bucket=minute", "invalid_request", "bucket"),
        ("from=2020-01-01&bucket=hour", "invalid_request", "bucket"),
        ("group_by=colour", "invalid_request", "group_by"),
        ("group_by=label:", "invalid_request", "group_by"),
        ("colour=red", "invalid_request", "colour"),
        ("tenant=%00", "invalid_request", "tenant"),
        ("label.team=%00", "invalid_request", "label.team"),
        ("run=", "invalid_request", "run"),
        ("tenant=tokyo&tenant=berlin", "invalid_request", "tenant"),
    ] {
        let refused = service.call("GET", &format!("/v1/usage?{query}"), Value::Null).await;
        assert_eq!(refused.problem(), (422, code), "{query}: {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], field, "{query}: {:#}", refused.body);
    }
}

#[tokio::test]
async fn a_question_with_too_many_answers_is_refused_with_how_to_narrow_it() {
    let service = empty_world().await;
    let items: Vec<Value> = (0..10_001)
        .map(|n| json!({"tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt-4o", "run": format!("r{n}"), "usage": {"output": 1}}))
        .collect();
    let (first, rest) = items.split_at(1);
    for items in [first, rest] {
        service.call("POST", "/v1/usage", Value::Array(items.to_vec())).await.ok();
    }
    let refused = service.call("GET", "/v1/usage?group_by=run", Value::Null).await;
    assert_eq!(refused.problem(), (422, "invalid_request"));
    assert_eq!(refused.body["errors"][0]["field"], "group_by");
    assert!(refused.body["detail"].as_str().unwrap().contains("shorter span"), "{:#}", refused.body);
    assert_eq!(get(&service, "/v1/usage?run=r77&group_by=run").await["rows"].as_array().unwrap().len(), 1);
}
