//! What calls really use of what they ask for: learned from the journal, told, and held by.

use counterfoil::auth::Scope;
use serde_json::{Value, json};

use crate::catalogue::{get, tenant};
use crate::support::service::{Replica, TestService};

/// A call of `claude-sonnet-4-5` for a feature that may use 1,000 tokens of output.
fn ask(tenant: &str, feature: &str) -> Value {
    json!({
        "tenant": tenant, "feature": feature, "provider": "anthropic", "model": "claude-sonnet-4-5",
        "estimate": {"input": 1000, "max_output": 1000}, "allow_cap": false
    })
}

async fn reserve(service: &Replica, body: Value) -> Value {
    service.call("POST", "/v1/preflight", body).await.ok()
}

async fn settle(service: &Replica, reservation: &Value, output: u64) -> Value {
    let path = format!("/v1/reservations/{}/settle", reservation["reservation"].as_str().expect("a reservation"));
    service.call("POST", &path, json!({"usage": {"input": 1000, "output": output}})).await.ok()
}

/// So many calls that ended, each with its output.
async fn history(service: &Replica, tenant: &str, feature: &str, outputs: impl Iterator<Item = u64>) {
    for output in outputs {
        let reservation = reserve(service, ask(tenant, feature)).await;
        settle(service, &reservation, output).await;
    }
}

#[tokio::test]
async fn estimates_are_compared_with_what_calls_used() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    tenant(&service, "bolt", "Etc/UTC").await;
    assert_eq!(get(&service, "/v1/usage/accuracy").await["rows"], json!([]));
    history(&service, "acme", "chat", (1..=10).map(|tenth| tenth * 50)).await;
    history(&service, "acme", "code", [1500].into_iter()).await;
    history(&service, "bolt", "chat", [1000, 1000].into_iter()).await;
    // Neither what was cut off nor what was charged by its estimate says what such calls need.
    let cut_off = reserve(&service, ask("acme", "chat")).await;
    let path = format!("/v1/reservations/{}/settle", cut_off["reservation"].as_str().unwrap());
    service.call("POST", &path, json!({"outcome": "timed_out"})).await.ok();

    let before = get(&service, "/v1/usage/accuracy").await;
    assert_eq!((&before["rows"], &before["learned_at"]), (&json!([]), &Value::Null), "nothing is learned yet");
    assert_eq!(service.app.learn(None).await.unwrap(), 14);
    assert_eq!(service.app.learn(None).await.unwrap(), 0, "nothing is learned twice");

    let told = get(&service, "/v1/usage/accuracy?group_by=tenant,feature").await;
    assert_eq!(told["learned_at"], "2026-06-10T12:00:00Z");
    assert_eq!(told["from"], "2026-05-11T00:00:00Z", "the Monday of the fifth week back");
    let rows = told["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["group"], json!({"tenant": "acme", "feature": "chat"}));
    assert_eq!((&rows[0]["calls"], &rows[0]["overruns"], &rows[0]["capped"]), (&json!(10), &json!(0), &json!(0)));
    assert_eq!((&rows[0]["estimated_output"], &rows[0]["actual_output"]), (&json!(10_000), &json!(2_750)));
    assert_eq!((&rows[0]["estimated_tokens"], &rows[0]["actual_tokens"]), (&json!(20_000), &json!(12_750)));
    // 0.25 and 0.5 are ends of buckets: told to the last digit. 0.45 is told a little larger.
    assert_eq!(rows[0]["output"], json!({"p50": "0.25", "p90": "0.458503", "p95": "0.5", "p99": "0.5"}));
    assert_eq!(rows[0]["tokens"]["p99"], "0.771106", "1,500 of 2,000");
    assert_eq!((&rows[1]["overruns"], &rows[1]["output"]["p50"]), (&json!(1), &json!("1.542211")));
    assert_eq!(rows[2]["group"]["tenant"], "bolt");

    let pooled = get(&service, "/v1/usage/accuracy?feature=chat").await;
    assert_eq!(pooled["rows"].as_array().unwrap().len(), 1);
    assert_eq!((&pooled["rows"][0]["calls"], &pooled["rows"][0]["output"]["p99"]), (&json!(12), &json!("1")));
    let all = get(&service, "/v1/usage/accuracy?group_by=").await;
    assert_eq!(all["rows"][0]["calls"], 13);
    service.advance(chrono::TimeDelta::weeks(5));
    assert_eq!(get(&service, "/v1/usage/accuracy").await["rows"], json!([]), "weeks pass");
    assert_eq!(get(&service, "/v1/usage/accuracy?weeks=6&group_by=").await["rows"][0]["calls"], 13);
}

#[tokio::test]
async fn a_tenants_token_is_told_of_its_own_calls_alone() {
    let service = TestService::start().await;
    for id in ["acme", "bolt"] {
        tenant(&service, id, "Etc/UTC").await;
        history(&service, id, "chat", [100].into_iter()).await;
    }
    service.app.learn(None).await.unwrap();
    let token = service.token(&[Scope::Read], Some("acme"));
    let call = async |path: &str| service.call_as(&token, "GET", path, &[], Value::Null).await;
    let told = call("/v1/usage/accuracy?group_by=tenant").await.ok();
    assert_eq!(told["rows"].as_array().unwrap().len(), 1);
    assert_eq!((&told["rows"][0]["group"]["tenant"], &told["rows"][0]["calls"]), (&json!("acme"), &json!(1)));
    assert_eq!(call("/v1/usage/accuracy?tenant=bolt").await.problem(), (403, "forbidden_tenant"));
    assert_eq!(call("/v1/usage/accuracy?group_by=run").await.problem(), (422, "invalid_request"));
    assert_eq!(call("/v1/usage/accuracy?weeks=0").await.problem(), (422, "invalid_request"));
    let blind = service.token(&[Scope::Preflight], None);
    let refused = service.call_as(&blind, "GET", "/v1/usage/accuracy", &[], Value::Null).await;
    assert_eq!(refused.problem(), (403, "forbidden_scope"));
}
