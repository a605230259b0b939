//! Reconciliation and closed periods, over HTTP and a real Postgres. Reports are written here after the shapes that the
//! providers document; no report of anybody is in them.

mod closing;
mod command;
mod random;
mod stories;

use counterfoil::app::verify::verify;
use serde_json::{Value, json};

use crate::support::audit::{assert_none, findings};
use crate::support::service::{Reply, TestService};

/// The day that most reports are about: the one before [`crate::support::service::NOON`].
const DAY: &str = "2026-06-09";

/// Tenants, and budgets that count what they and the provider use.
async fn world() -> TestService {
    let service = TestService::start().await;
    for tenant in ["acme", "bolt"] {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": "Asia/Tokyo"})).await.ok();
    }
    let budget = |scope: Value| json!({"scope": scope, "measure": "tokens", "limit": "100000000", "period": {"kind": "month"}, "timezone": "Etc/UTC", "enforcement": "hard"});
    service.call("PUT", "/v1/budgets/quota", budget(json!({"provider": "anthropic"}))).await.ok();
    service.call("PUT", "/v1/budgets/own", budget(json!({"tenant": "acme"}))).await.ok();
    service
}

/// Posts usage of Anthropic at an instant, and gives its transfer.
async fn post(service: &TestService, tenant: &str, at: &str, model: &str, usage: Value) -> Value {
    let body = json!({"tenant": tenant, "feature": "chat", "provider": "anthropic", "model": model, "occurred_at": at, "usage": usage});
    service.call("POST", "/v1/usage", body).await.ok()
}

/// A row of Anthropic's usage report: input, cache read, five-minute writes, output.
pub(crate) fn row(model: &str, [input, read, write, output]: [u64; 4]) -> Value {
    json!({
        "model": model, "workspace_id": null, "api_key_id": null, "service_tier": "standard", "context_window": "0-200k",
        "uncached_input_tokens": input, "cache_read_input_tokens": read, "output_tokens": output,
        "cache_creation": {"ephemeral_5m_input_tokens": write, "ephemeral_1h_input_tokens": 0},
        "server_tool_use": {"web_search_requests": 0}
    })
}

/// A bucket of one day.
pub(crate) fn bucket(day: &str, results: &[Value]) -> Value {
    let next = day.parse::<chrono::NaiveDate>().unwrap().succ_opt().unwrap();
    json!({"starting_at": format!("{day}T00:00:00Z"), "ending_at": format!("{next}T00:00:00Z"), "results": results})
}

/// A page.
pub(crate) fn page(buckets: &[Value]) -> Value {
    json!({"data": buckets, "has_more": false, "next_page": null})
}

/// A row of Anthropic's cost report, in cents.
fn cost(model: &str, cents: &str) -> Value {
    json!({"amount": cents, "currency": "USD", "cost_type": "tokens", "model": model, "token_type": "output_tokens",
        "description": format!("{model} Usage - Output Tokens"), "workspace_id": null, "service_tier": "standard", "context_window": "0-200k"})
}

async fn send(service: &TestService, provider: &str, report: Value) -> Reply {
    service.call("POST", "/v1/reconciliations", json!({"provider": provider, "report": report})).await
}

pub(crate) async fn propose(service: &TestService, report: Value) -> Value {
    send(service, "anthropic", report).await.ok()
}

pub(crate) async fn approve(service: &TestService, proposed: &Value) -> Value {
    let path = format!("/v1/reconciliations/{}/approve", proposed["id"].as_str().unwrap());
    service.call("POST", &path, json!({"usd": proposed["moves"]["usd"]})).await.ok()
}

/// What stands on an account: tokens and dollars.
async fn balance(service: &TestService, account: &str) -> (i64, String) {
    let all = service.call("GET", "/v1/ledger/accounts?limit=1000", Value::Null).await.ok();
    let found = all["items"].as_array().unwrap().iter().find(|item| item["account"] == account);
    found.map_or((0, "0".to_owned()), |item| {
        let balance = &item["balance"];
        (balance["tokens"].as_i64().unwrap(), balance["usd"].as_str().unwrap().to_owned())
    })
}

/// Each true-up in a line: direction, tenant/feature, tokens, dollars.
fn told(body: &Value) -> Vec<String> {
    let told = body["true_ups"].as_array().unwrap().iter().map(|one| {
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        let (tokens, usd) = (&one["amounts"]["tokens"], one["amounts"]["usd"].as_str().unwrap());
        format!("{} {}/{} {tokens} ${usd}", text("direction"), text("tenant"), text("feature"))
    });
    told.collect()
}

/// The causes of the only line.
fn causes(body: &Value) -> Vec<&str> {
    assert_eq!(body["lines"].as_array().unwrap().len(), 1, "{body:#}");
    body["lines"][0]["causes"].as_array().unwrap().iter().map(|cause| cause.as_str().unwrap()).collect()
}

/// The books verify, and the same report finds nothing any more.
async fn assert_settled(service: &TestService, report: &Value) {
    let again = propose(service, report.clone()).await;
    assert_eq!((again["differing"].as_u64(), told(&again).len()), (Some(0), 0), "{again:#}");
    assert_verified(service).await;
}

/// Neither the product's own verification nor that of the tests finds a difference.
pub(crate) async fn assert_verified(service: &TestService) {
    let options = service.db.connect_options();
    let report = verify(&options, &service.clock, &mut |_| {}).await.unwrap().expect("there are books");
    assert!(report.is_consistent(), "{:#?}", report.differences().collect::<Vec<_>>());
    assert_none(&findings(service.db.pool()).await);
}
