//! `POST /v1/otlp/v1/traces`.

use axum::body::Body;
use axum::http::Request;
use counterfoil::auth::Scope;
use serde_json::{Value, json};

use crate::support::service::{Reply, TestService};

pub(super) const PATH: &str = "/v1/otlp/v1/traces";

/// A service with two tenants.
pub(super) async fn world() -> TestService {
    let service = TestService::start().await;
    for tenant in ["acme", "bolt"] {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": "Europe/Berlin"})).await.ok();
    }
    service
}

/// The journal's rows.
pub(super) async fn transfers(service: &TestService) -> Vec<Value> {
    let page = service.call("GET", "/v1/ledger/transfers?limit=1000", Value::Null).await.ok();
    page["items"].as_array().unwrap().clone()
}

async fn send(service: &TestService, token: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
    let mut request = Request::post(PATH).header("authorization", format!("Bearer {token}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.send(request.body(body.into()).unwrap()).await
}

fn attribute(key: &str, value: &Value) -> Value {
    let value = if value.is_number() { json!({"intValue": value.to_string()}) } else { json!({"stringValue": value}) };
    json!({"key": key, "value": value})
}

fn attributes(of: &Value) -> Vec<Value> {
    of.as_object().unwrap().iter().map(|(key, value)| attribute(key, value)).collect()
}

/// A span whose id ends in a number, at ten to noon.
fn span(id: u8, with: &Value) -> Value {
    json!({
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": format!("eee19b7ec3c1b1{id:02x}"),
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": "1781092200000000000",
        "endTimeUnixNano": "1781092202500000000",
        "attributes": attributes(with),
    })
}

fn export(resource: &Value, spans: &[Value]) -> Value {
    json!({"resourceSpans": [{"resource": {"attributes": attributes(resource)}, "scopeSpans": [{"spans": spans}]}]})
}

fn chat(tokens: u64) -> Value {
    json!({
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.usage.input_tokens": tokens,
        "gen_ai.usage.output_tokens": 10,
    })
}

#[tokio::test]
async fn a_span_of_a_model_call_is_posted_and_one_that_is_sent_again_is_one_effect() {
    let service = world().await;
    let spans = export(
        &json!({"tenant.id": "acme", "service.name": "support-chat"}),
        &[span(1, &chat(100)), span(2, &json!({"http.request.method": "GET"}))],
    );
    for _ in 0..2 {
        assert_eq!(service.call("POST", PATH, spans.clone()).await.ok(), json!({}), "an empty answer: all is well");
    }
    let rows = transfers(&service).await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(row["tenant"], "acme");
    assert_eq!(row["feature"], "support-chat");
    assert_eq!((&row["usage"]["input"], &row["usage"]["output"]), (&json!(100), &json!(10)));
    assert_eq!(row["occurred_at"], "2026-06-10T11:50:00Z");
    assert_eq!(row["latency_ms"], 2500);
    assert_ne!(row["amounts"]["usd"], "0", "it is priced");
}

#[tokio::test]
async fn what_cannot_be_posted_is_partial_success_and_harms_no_other_span() {
    let service = world().await;
    let mut nobody = chat(1);
    nobody["counterfoil.tenant"] = json!("nobody");
    let mut silent = chat(1);
    for name in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"] {
        silent.as_object_mut().unwrap().remove(name);
    }
    let mut beyond = chat(5);
    beyond["gen_ai.usage.cache_read.input_tokens"] = json!(6);
    let spans = export(
        &json!({"tenant.id": "acme"}),
        &[span(1, &chat(100)), span(2, &nobody), span(3, &silent), span(4, &beyond), span(5, &chat(200))],
    );
    let answer = service.call("POST", PATH, spans).await.ok();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "2");
    let message = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
    assert!(message.contains("1: tenant `nobody` is not known"), "{message}");
    assert!(message.contains("1: `gen_ai.usage.input_tokens` (5) is smaller than its parts (6)"), "{message}");
    assert!(message.contains("1: a model call without gen_ai.usage attributes was not posted"), "{message}");
    assert_eq!(transfers(&service).await.len(), 2);
}

#[tokio::test]
async fn a_confined_token_posts_for_its_own_tenant_alone() {
    let service = world().await;
    let token = service.token(&[Scope::UsageWrite], Some("acme"));
    let json_type = [("content-type", "application/json")];
    let own = export(&json!({}), &[span(1, &chat(1))]);
    assert_eq!(send(&service, &token, &json_type, own.to_string()).await.ok(), json!({}));
    let foreign = export(&json!({"tenant.id": "bolt"}), &[span(2, &chat(1))]);
    let answer = send(&service, &token, &json_type, foreign.to_string()).await.ok();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "1");
    let rows = transfers(&service).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["tenant"], &rows[0]["feature"]), (&json!("acme"), &json!("otlp")));
    let reader = service.token(&[Scope::Read], None);
    assert_eq!(send(&service, &reader, &json_type, own.to_string()).await.problem(), (403, "forbidden_scope"));
}
