//! What a request may cost before and while it is read: permission first, and an end to every body.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, Bytes};
use axum::http::Request;
use chrono::TimeDelta;
use counterfoil::auth::{Caller, LocalKey, Scope, ScopeSet, TokenRules, mint};
use counterfoil::http::limits::{LINES_BYTES_MAX, LINES_REFUSED_IN_A_ROW_MAX};
use counterfoil::http::service::{document, metrics_alone, service as routes};
use counterfoil::http::state::{HttpState, MetricsShown};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::access::operations;
use crate::support::service::{Reply, TestService};

const LINES: &str = "application/x-ndjson";

async fn world() -> TestService {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    service
}

fn call() -> Value {
    json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 1}})
}

async fn answers(service: &TestService, token: &str, body: Body) -> Vec<Value> {
    let request = Request::post("/v1/usage").header("authorization", format!("Bearer {token}"));
    let (status, _, bytes) = service.fetch(request.header("content-type", LINES).body(body).unwrap()).await;
    assert_eq!(status, 200);
    String::from_utf8(bytes.unwrap()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn who_may_not_is_refused_before_a_byte_of_the_body_is_read() {
    let service = world().await;
    let with_bodies: Vec<_> = operations().into_iter().filter(|operation| !operation.body.is_null()).collect();
    assert!(with_bodies.len() > 15);
    for operation in with_bodies {
        for tenant in [None, Some("acme")] {
            let touched = Arc::new(AtomicBool::new(false));
            let touch = Arc::clone(&touched);
            let body = Body::from_stream(stream::once(async move {
                touch.store(true, Ordering::SeqCst);
                Ok::<_, Infallible>(Bytes::from_static(b"this is no body of anything"))
            }));
            let request = Request::builder().method(operation.method.as_str()).uri(&operation.path);
            let request = request
                .header("authorization", format!("Bearer {}", service.token(&[], tenant)))
                .header("content-type", &operation.content_type);
            let reply = service.send(request.body(body).unwrap()).await;
            assert_eq!(reply.problem(), (403, "forbidden_scope"), "{}", operation.name);
            assert!(!touched.load(Ordering::SeqCst), "{} reads the body first", operation.name);
        }
    }
}

#[tokio::test]
async fn a_large_body_is_understood_as_a_small_one_is() {
    let service = world().await;
    let pretty = |items: usize| format!("[{}{}]", " ".repeat(400_000), vec![call().to_string(); items].join(","));
    let token = service.token(&[Scope::UsageWrite], Some("acme"));
    let send = async |body: String| {
        let request = Request::post("/v1/usage").header("authorization", format!("Bearer {token}"));
        service.send(request.header("content-type", "application/json").body(Body::from(body)).unwrap()).await
    };
    let answer = send(pretty(3)).await.ok();
    assert!(answer["items"].as_array().unwrap().iter().all(|item| item["answer"]["transfer"].is_string()));
    assert_eq!(send(pretty(0)).await.problem(), (422, "invalid_request"));
    assert_eq!(send(" ".repeat(400_000) + "[").await.problem(), (400, "invalid_json"));
}

#[tokio::test]
async fn lines_end_with_their_token() {
    let service = world().await;
    let caller = Caller { subject: Arc::from("importer"), scopes: ScopeSet::of(&[Scope::UsageWrite]), tenant: None };
    let key = LocalKey::from_bytes(vec![7; 32]).unwrap();
    let token = mint(&key, &TokenRules::local(), &caller, service.now(), TimeDelta::seconds(60)).unwrap();
    // A chunk, and when the next one is asked for the first has been posted and the token is over.
    let chunk = Bytes::from(format!("{}\n", call()).repeat(512));
    let clock = service.clock.clone();
    let body = stream::unfold(0, move |sent| {
        let (chunk, clock) = (chunk.clone(), clock.clone());
        async move {
            if sent == 1 {
                clock.advance(TimeDelta::seconds(600));
            }
            (sent < 3).then(|| (Ok::<_, Infallible>(chunk), sent + 1))
        }
    });
    let answers = answers(&service, &token, Body::from_stream(body)).await;
    assert_eq!(answers.len(), 513);
    assert!(answers[..512].iter().all(|answer| answer["answer"]["transfer"].is_string()));
    assert_eq!(answers[512]["problem"]["code"], "unauthenticated");
    assert_eq!(answers[512]["index"], 512);
}

#[tokio::test]
async fn a_body_of_another_kind_is_not_read_to_its_end() {
    let service = world().await;
    let token = service.token(&[Scope::UsageWrite], None);
    let found = answers(&service, &token, Body::from("x\n".repeat(10_000))).await;
    assert!(found.len() < LINES_REFUSED_IN_A_ROW_MAX + 600, "{} answers", found.len());
    let last = &found[found.len() - 1]["problem"];
    assert!(
        last["detail"].as_str().unwrap().contains("in a row")
            || last["detail"].as_str().unwrap().contains("lines before"),
        "{last}"
    );
    // Refusals that are not in a row end nothing.
    let mixed = format!("{}{}\n", "x\n".repeat(400), call()).repeat(4);
    assert_eq!(answers(&service, &token, Body::from(mixed)).await.len(), 4 * 401);
}

#[tokio::test]
async fn a_body_of_lines_is_bounded_in_bytes() {
    let service = world().await;
    let token = service.token(&[Scope::UsageWrite], None);
    let pieces = LINES_BYTES_MAX / (1024 * 1024) + 1;
    let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
    let body = stream::iter((0..pieces).map(move |_| Ok::<_, Infallible>(piece.clone())));
    let found = answers(&service, &token, Body::from_stream(body)).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["problem"]["code"], "payload_too_large");
}

#[tokio::test]
async fn an_encoding_is_known_by_any_of_its_names() {
    let service = world().await;
    let token = service.token(&[Scope::UsageWrite], None);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(call().to_string().as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    for (encoding, status) in [("gzip", 200), ("GZIP", 200), ("x-gzip", 200), ("X-Gzip", 200), ("br", 415)] {
        let request = Request::post("/v1/usage").header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json").header("content-encoding", encoding);
        assert_eq!(service.send(request.body(Body::from(packed.clone())).unwrap()).await.status, status, "{encoding}");
    }
}

/// Asks a GET of the contract with one parameter of its query.
async fn asked(service: &TestService, path: &str, name: &str, value: &str) -> Reply {
    let path = path.replace("{id}", "0199a1b2-0000-7000-8000-000000000001");
    service.call("GET", &format!("{path}?{name}={value}"), Value::Null).await
}

#[tokio::test]
async fn a_query_that_cannot_be_meant_is_refused_by_the_name_of_its_parameter() {
    let service = world().await;
    let whole = serde_json::to_value(document()).unwrap();
    let mut seen = 0;
    for (path, item) in whole["paths"].as_object().unwrap() {
        for parameter in item["get"]["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] != "query" {
                continue;
            }
            seen += 1;
            let name = parameter["name"].as_str().unwrap();
            let early = "-262143-01-01T00:00:00Z";
            for value in ["%00", "a%00b", early] {
                let reply = asked(&service, path, name, value).await;
                assert!(reply.status < 500, "{path} {name}={value}: {:#}", reply.body);
                if value != early || parameter["schema"].to_string().contains("date-time") {
                    assert_eq!(reply.status, 422, "{path} {name}={value}: {:#}", reply.body);
                    assert_eq!(reply.body["errors"][0]["field"], name, "{path}: {:#}", reply.body);
                }
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

#[tokio::test]
async fn an_array_is_no_object_by_the_order_of_its_fields() {
    let service = world().await;
    for (method, path, body) in [
        ("POST", "/v1/runs/r1/stop", json!(["acme", "by position"])),
        ("POST", "/v1/runs/r1/resume", json!(["acme"])),
        ("PUT", "/v1/webhooks/w1", json!(["https://example.com/", null])),
        ("PUT", "/v1/tenants/bolt", json!(["Bolt", "Etc/UTC"])),
        ("POST", "/v1/periods/close", json!(["2026-01", null])),
        ("POST", "/v1/budgets/b/projection/what-if", json!([])),
        ("POST", "/v1/budgets/b/projection/apply-fair-split", json!([])),
        (
            "PUT",
            "/v1/budgets/b",
            json!({"scope": ["acme"], "measure": "usd", "limit": "1", "period": {"kind": "month"}}),
        ),
        (
            "POST",
            "/v1/usage",
            json!({"tenant": "acme", "feature": "f", "provider": "p", "model": "m", "usage": [1, 2]}),
        ),
    ] {
        let reply = service.call(method, path, body.clone()).await;
        assert_eq!(reply.problem(), (422, "invalid_request"), "{method} {path} {body}: {:#}", reply.body);
    }
    let run = service.call("GET", "/v1/runs/r1?tenant=acme", Value::Null).await.ok();
    assert_eq!(run["stopped"], false, "{run:#}");
}

#[tokio::test]
async fn metrics_are_shown_to_whom_they_are_meant_for() {
    let service = world().await;
    let state = HttpState::new(service.app.clone(), PrometheusBuilder::new().build_recorder().handle());
    let ask = async |router: axum::Router, token: Option<String>| {
        let request = Request::get("/metrics");
        let request = token
            .into_iter()
            .fold(request, |request, token| request.header("authorization", format!("Bearer {token}")));
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
    };
    let with_token = routes(state.showing_metrics(MetricsShown::WithToken)).unwrap();
    for (token, status) in [
        (None, 401),
        (Some(service.token(&[Scope::Preflight], None)), 403),
        (Some(service.token(&[Scope::Read], Some("acme"))), 403),
        (Some(service.token(&[Scope::Read], None)), 200),
    ] {
        assert_eq!(ask(with_token.clone(), token).await, status);
    }
    let admin = service.token(&[Scope::Admin], None);
    assert_eq!(ask(routes(state.showing_metrics(MetricsShown::Elsewhere)).unwrap(), Some(admin)).await, 404);
    assert_eq!(ask(metrics_alone(state.clone()), None).await, 200);
    assert_eq!(ask(routes(state).unwrap(), None).await, 200);
}
