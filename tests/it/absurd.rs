//! Usage that no model can serve: refused at every door, with its field; and where a journal holds such from before, no batch
//! and no export fails for it.

use axum::body::Body;
use axum::http::Request;
use counterfoil::auth::Scope;
use counterfoil::domain::amounts::TOKENS_MAX;
use counterfoil::domain::ledger::call_bound::{CALL_TOKENS_MAX, CallBound};
use serde_json::{Value, json};

use crate::support::audit::{assert_none, findings};
use crate::support::commands::post_usage;
use crate::support::service::{Reply, TestService};
use crate::support::story::{acme, ask, on, preflight, reserve};

fn usage(more: Value) -> Value {
    let mut body = json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o"});
    let Value::Object(more) = more else { panic!("no fields: {more}") };
    body.as_object_mut().unwrap().extend(more);
    body
}

#[track_caller]
fn refused(problem: &Value, field: &str) {
    assert_eq!((&problem["status"], &problem["errors"][0]["field"]), (&json!(422), &json!(field)), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("one call can have"), "{problem}");
}

#[track_caller]
fn check(reply: &Reply, field: &str) {
    refused(&reply.body, field);
}

async fn post(service: &TestService, path: &str, kind: &str, body: String) -> Reply {
    let token = service.token(&[Scope::Admin], None);
    let request = Request::post(path).header("authorization", format!("Bearer {token}")).header("content-type", kind);
    service.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn more_tokens_than_a_call_can_have_are_refused_at_every_door() {
    let service = TestService::start().await;
    acme(&service).await;
    let (most, beyond) = (CALL_TOKENS_MAX, CALL_TOKENS_MAX + 1);
    let call = async |path: &str, body: Value| service.call("POST", path, body).await;

    // One bucket too large, and a sum of buckets that is.
    check(&call("/v1/usage", usage(json!({"usage": {"input": beyond}}))).await, "usage.input");
    check(&call("/v1/usage", usage(json!({"usage": {"input": most, "output": 1}}))).await, "usage");
    let raw = json!({"provider_usage": {"prompt_tokens": beyond, "completion_tokens": 0, "total_tokens": beyond}});
    check(&call("/v1/usage", usage(raw)).await, "provider_usage");
    // However many calls it says that it adds up.
    check(&call("/v1/usage", usage(json!({"usage": {"output": beyond}, "requests": 1000}))).await, "usage.output");
    let (bad, good) = (usage(json!({"usage": {"input": beyond}})), usage(json!({"usage": {"input": most}})));
    let items = call("/v1/usage", json!([bad, good])).await.ok()["items"].clone();
    refused(&items[0]["problem"], "usage.input");
    assert!(items[1]["problem"].is_null(), "{items}");
    let lines = post(&service, "/v1/usage", "application/x-ndjson", format!("{bad}\n")).await;
    refused(&lines.body["problem"], "usage.input");
    let event = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "counterfoil.usage", "subject": "acme", "data": bad});
    let event = post(&service, "/v1/usage", "application/cloudevents+json", event.to_string()).await;
    check(&event, "usage.input");
    let span = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "tenant.id", "value": {"stringValue": "acme"}}]},
        "scopeSpans": [{"spans": [{
            "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat", "kind": 3,
            "startTimeUnixNano": "1781092200000000000", "endTimeUnixNano": "1781092202500000000",
            "attributes": [
                {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                {"key": "gen_ai.provider.name", "value": {"stringValue": "openai"}},
                {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}},
                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": beyond.to_string()}},
                {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "0"}},
            ],
        }]}],
    }]});
    let taken = call("/v1/otlp/v1/traces", span).await.ok()["partialSuccess"].clone();
    assert_eq!(taken["rejectedSpans"], json!("1"), "{taken}");
    assert!(taken["errorMessage"].as_str().unwrap().contains("one call can have"), "{taken}");

    check(&call("/v1/preflight", ask(beyond, 1, json!({}))).await, "estimate.input");
    check(&call("/v1/preflight", ask(1, beyond, json!({}))).await, "estimate.max_output");
    check(&call("/v1/preflight", ask(most, 1, json!({}))).await, "estimate");
    let open = reserve(&service, 10).await;
    check(&call(&on(&open, "extend"), json!({"ttl_seconds": 60, "more_output": beyond})).await, "more_output");
    check(&call(&on(&open, "settle"), json!({"usage": {"output": beyond}})).await, "usage.output");
    call(&on(&open, "settle"), json!({"usage": {"output": 5}})).await.ok();
    let question = json!({"provider": "openai", "model": "gpt-4o", "usage": {"input": beyond, "output": 0}});
    check(&call("/v1/estimate", question).await, "usage.input");

    // Whoever serves larger ones starts the service with another bound, and can read it.
    let other = service.with_call_bound(CallBound(50));
    assert_eq!(preflight(&other, ask(25, 25, json!({}))).await["verdict"], "allow");
    check(&other.call("POST", "/v1/preflight", ask(26, 25, json!({}))).await, "estimate");
    let limits = other.call("GET", "/v1/about", Value::Null).await.ok()["limits"].clone();
    assert_eq!(limits["call_tokens_max"], 50);
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn sums_beyond_every_column_break_no_batch_and_no_export() {
    let service = TestService::start().await;
    acme(&service).await;
    // As a journal from before there was a bound, which the lane does not know. In one quarter of an hour and in one charge
    // it is more than a signed column of 64 bits adds up to.
    let calls = usize::try_from(i64::MAX.unsigned_abs() / TOKENS_MAX).unwrap() + 100;
    for answer in service.app.lane.submit_all((0..calls).map(|_| post_usage(TOKENS_MAX)).collect()).await {
        answer.unwrap().unwrap();
    }
    let rolled_up: i64 =
        sqlx::query_scalar("select max(output) from usage_rollup").fetch_one(service.db.pool()).await.unwrap();
    assert_eq!(rolled_up, i64::MAX);
    let of_call = usage(json!({"usage": {"input": 12}, "provider": "anthropic", "model": "claude-sonnet-4-5"}));
    service.call("POST", "/v1/usage", of_call).await.ok();
    assert_none(&findings(service.db.pool()).await);
    assert!(service.app.evaluate_alerts(service.now()).await.unwrap().ran);
    let sums = service.call("GET", "/v1/usage?from=2026-06-01&to=2026-07-01&group_by=model", Value::Null).await.ok();
    assert_eq!(sums["rows"][0]["usage"]["output"], json!(i64::MAX), "{sums:#}");

    let exact = u128::from(TOKENS_MAX) * u128::try_from(calls).unwrap();
    let token = service.token(&[Scope::Export], None);
    for path in [
        "focus?period=2026-06&version=1.4",
        "focus?period=2026-06&version=1.2",
        "focus?period=2026-06&format=parquet",
        "transfers?period=2026-06",
        "transfers?period=2026-06&format=parquet",
        "hledger?period=2026-06",
        "beancount?period=2026-06",
        "ghg?period=2026-06",
        "sci?period=2026-06",
    ] {
        let request = Request::get(format!("/v1/exports/{path}")).header("authorization", format!("Bearer {token}"));
        let (status, _, file) = service.fetch(request.body(Body::empty()).unwrap()).await;
        let file = file.unwrap_or_else(|error| panic!("{path} was cut off: {error}"));
        assert!(status == 200 && !file.is_empty(), "{path}: {status} {}", String::from_utf8_lossy(&file));
        if path.starts_with("focus") && !path.contains("parquet") {
            let text = String::from_utf8(file).unwrap();
            assert!(text.contains(&format!("{exact}.0")), "{path} says the whole quantity");
        }
    }
}
