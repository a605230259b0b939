//! Usage objects as people have reported them: each with what it must cost, over HTTP and with the price book that ships.
//!
//! `tests/data/usage_objects.jsonl` has one a line: the public thread that it is from, the object, the disjoint buckets, and the
//! dollars where the thread or the provider's price list gives them.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::audit::{assert_none, findings};
use crate::support::service::TestService;
use crate::support::story::{acme, on, reserve};

const REPORTED: &str = include_str!("../data/usage_objects.jsonl");
/// Prices have a day, and these are the prices of this one.
const DAY: &str = "2026-11-30T12:00:00Z";
const BUCKETS: [&str; 6] = ["input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning"];

#[tokio::test]
async fn objects_that_people_reported_cost_what_they_say() {
    let service = TestService::start_at(DAY).await;
    acme(&service).await;
    let mut wrong = Vec::new();
    for line in REPORTED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let mut body = json!({"tenant": "acme", "feature": "chat"});
        for field in ["provider", "model", "provider_usage", "service_tier"] {
            if let Some(value) = case.get(field) {
                body[field] = value.clone();
            }
        }
        let reply = service.call("POST", "/v1/usage", body).await;
        let differs = match case.get("refused") {
            Some(_) => reply.status != 422,
            None => reply.status != 200 || !costs(&reply.body, &case),
        };
        if differs {
            wrong.push(format!("{}: {} {:#}", case["source"], reply.status, reply.body));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_none(&findings(service.db.pool()).await);
}

/// Whether an answer has the buckets and the dollars of a case.
fn costs(answer: &Value, case: &Value) -> bool {
    let has_buckets = case.get("usage").is_none_or(|usage| {
        BUCKETS.iter().all(|bucket| usage.get(bucket).is_none_or(|count| *count == answer["usage"][bucket]))
    });
    let dollars = |value: &Value| value.as_str().unwrap().parse::<Decimal>().unwrap();
    has_buckets && case.get("usd").is_none_or(|usd| dollars(usd) == dollars(&answer["amounts"]["usd"]))
}

#[tokio::test]
async fn a_settlement_whose_usage_cannot_be_read_is_in_the_books_by_its_estimate_and_says_why() {
    let service = TestService::start().await;
    acme(&service).await;
    let path = on(&reserve(&service, 9).await, "settle");
    let unreadable = json!({"provider_usage": {"apples": 3}});
    let mut strict = unreadable.clone();
    strict["strict"] = json!(true);
    let refused = service.call("POST", &path, strict).await;
    assert_eq!(refused.problem(), (422, "invalid_usage"));
    let posted = service.call_keyed("s-1", "POST", &path, unreadable.clone()).await.ok();
    assert_eq!(posted["amounts"]["usd"], posted["held"]["usd"], "{posted:#}");
    assert!(posted["flags"].as_array().unwrap().contains(&json!("unconfirmed")));
    assert!(posted["usage_unreadable"].as_str().unwrap().contains("keys seen: apples"), "{posted:#}");
    assert_eq!(service.call_keyed("s-1", "POST", &path, unreadable).await.ok(), posted, "a replay says the same");
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn what_was_not_read_is_named_in_the_answer_and_flagged_on_the_row() {
    let service = TestService::start().await;
    acme(&service).await;
    let path = on(&reserve(&service, 9).await, "settle");
    let usage = json!({"input_tokens": 20, "output_tokens": 10, "server_tool_use": {"web_search_requests": 3}, "inference_geo": "us"});
    let body = json!({"provider_usage": usage, "served_provider": "anthropic", "served_model": "claude-sonnet-4-5"});
    let posted = service.call_keyed("s-1", "POST", &path, body.clone()).await.ok();
    assert_eq!(posted["usage_unread"], json!(["inference_geo=us", "server_tool_use.web_search_requests"]));
    assert_eq!(service.call_keyed("s-1", "POST", &path, body).await.ok(), posted, "a replay says the same");
    let row = format!("/v1/ledger/transfers/{}", posted["transfer"].as_str().unwrap());
    let row = service.call("GET", &row, Value::Null).await.ok();
    assert!(row["flags"].as_array().unwrap().contains(&json!("usage_unread")), "{row:#}");
    assert_eq!((&row["provider"], &row["model"]), (&json!("anthropic"), &json!("claude-sonnet-4-5")));
    assert_none(&findings(service.db.pool()).await);
}
