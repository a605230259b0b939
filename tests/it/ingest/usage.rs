//! `POST /v1/usage` as `CloudEvents` and as lines.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::http::Request;
use counterfoil::auth::Scope;
use counterfoil::http::service::service as routes;
use counterfoil::http::state::HttpState;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::otlp::{transfers, world};
use crate::support::service::{Reply, TestService};

const EVENT: &str = "application/cloudevents+json";
const EVENTS: &str = "application/cloudevents-batch+json";
const LINES: &str = "application/x-ndjson";

fn request(token: &str, media_type: &str, key: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post("/v1/usage").header("authorization", format!("Bearer {token}"));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.header("content-type", media_type).body(body.into()).unwrap()
}

async fn post(service: &TestService, media_type: &str, body: impl Into<Body>) -> Reply {
    let token = service.token(&[Scope::UsageWrite], None);
    service.send(request(&token, media_type, None, body)).await
}

/// Answers of lines, each as JSON.
fn lines(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{:#}", reply.body);
    assert_eq!(reply.headers["content-type"], LINES);
    let Some(text) = reply.body.as_str() else {
        // One line is one JSON value.
        return vec![reply.body.clone()];
    };
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn call(tenant: &str, output: u64) -> Value {
    json!({"tenant": tenant, "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 10, "output": output}})
}

fn event(id: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "type": "com.example.usage", "source": "/gateways/1", "id": id, "subject": "acme", "data": data})
}

#[tokio::test]
async fn an_event_is_posted_once_for_its_source_and_id() {
    let service = world().await;
    let mut data = call("acme", 5);
    data.as_object_mut().unwrap().remove("tenant");
    let mut one = event("a-1", &data);
    one["time"] = json!("2026-06-09T08:00:00Z");
    let first = post(&service, EVENT, one.to_string()).await.ok();
    assert_eq!(first["amounts"]["tokens"], 15);
    assert_eq!(first["occurred_at"], "2026-06-09T08:00:00Z");
    let again = post(&service, EVENT, one.to_string()).await.ok();
    assert_eq!(again["transfer"], first["transfer"]);
    one["data"]["usage"]["output"] = json!(6);
    assert_eq!(post(&service, EVENT, one.to_string()).await.problem(), (409, "idempotency_mismatch"));
    assert_eq!(transfers(&service).await.len(), 1);
}

#[tokio::test]
async fn a_batch_of_events_has_an_answer_for_each() {
    let service = world().await;
    let mut misspelt = event("3", &call("acme", 1));
    misspelt["data"]["usage"] = json!({"inputs": 1});
    let mut old = event("4", &call("acme", 1));
    old["specversion"] = json!("0.3");
    let batch = json!([
        event("1", &call("acme", 1)),
        event("2", &call("nobody", 1)),
        misspelt,
        old,
        event("1", &call("acme", 1))
    ]);
    let answer = post(&service, EVENTS, batch.to_string()).await.ok();
    let told: Vec<String> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let problem = &item["problem"];
            match item["answer"]["amounts"]["tokens"].as_u64() {
                Some(tokens) => format!("{tokens} tokens"),
                None => format!(
                    "{} {}",
                    problem["code"].as_str().unwrap(),
                    problem["errors"][0]["field"].as_str().unwrap_or("-")
                ),
            }
        })
        .collect();
    assert_eq!(
        told,
        [
            "11 tokens",
            "unknown_tenant -",
            "invalid_request data.usage.inputs",
            "invalid_request specversion",
            "11 tokens"
        ]
    );
    assert_eq!(answer["items"][0]["answer"]["transfer"], answer["items"][4]["answer"]["transfer"]);
    assert_eq!(transfers(&service).await.len(), 1);
}

#[tokio::test]
async fn each_line_has_its_own_answer_and_a_retry_gets_the_first_ones() {
    let service = world().await;
    let body = format!(
        "{}\nnot json\r\n\n{}\n{}\n{}",
        call("acme", 1),
        call("nobody", 1),
        "x".repeat(70_000),
        call("bolt", 2)
    );
    let token = service.token(&[Scope::UsageWrite], None);
    let send = || request(&token, LINES, Some("import-1"), body.clone());
    let first = lines(&service.send(send()).await);
    let told: Vec<&str> = first.iter().map(|line| line["problem"]["code"].as_str().unwrap_or("posted")).collect();
    assert_eq!(told, ["posted", "invalid_json", "unknown_tenant", "payload_too_large", "posted"]);
    let indexes: Vec<u64> = first.iter().map(|line| line["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 4]);
    let again = lines(&service.send(send()).await);
    let posted = |lines: &[Value]| lines.iter().map(|line| line["answer"]["transfer"].clone()).collect::<Vec<_>>();
    assert_eq!(posted(&first), posted(&again));
    assert_eq!(transfers(&service).await.len(), 2);
}

#[tokio::test]
async fn lines_are_refused_as_a_whole_to_whoever_may_post_nothing() {
    let service = world().await;
    let reader = service.token(&[Scope::Read], None);
    let refused = service.send(request(&reader, LINES, None, call("acme", 1).to_string())).await;
    assert_eq!(refused.problem(), (403, "forbidden_scope"));
    let own = service.token(&[Scope::UsageWrite], Some("acme"));
    let body = format!("{}\n{}", call("acme", 1), call("bolt", 1));
    let told = lines(&service.send(request(&own, LINES, None, body)).await);
    assert_eq!(told[1]["problem"]["code"], "forbidden_tenant");
    assert_eq!(transfers(&service).await.len(), 1);
    let xml = service.send(request(&own, "text/xml", None, "<usage/>")).await;
    assert_eq!(xml.problem(), (415, "unsupported_media_type"));
}

/// A body in chunks of a thousand lines, all but one of them wrong: more in a row would end it; counts the chunks that were taken.
fn endless(chunks: usize, taken: &Arc<AtomicUsize>) -> Body {
    let taken = Arc::clone(taken);
    let chunk = Bytes::from(format!("{}{}\n", "{}\n".repeat(999), call("acme", 1)));
    Body::from_stream(stream::iter(0..chunks).map(move |_| {
        taken.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Infallible>(chunk.clone())
    }))
}

#[tokio::test]
async fn lines_are_read_no_faster_than_their_answers_are_taken() {
    let service = world().await;
    let state = HttpState::new(service.app.clone(), PrometheusBuilder::new().build_recorder().handle());
    let router = routes(state).unwrap();
    let token = service.token(&[Scope::UsageWrite], None);
    let taken = Arc::new(AtomicUsize::new(0));
    let response = router.oneshot(request(&token, LINES, None, endless(60, &taken))).await.unwrap();
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let told = first.iter().filter(|byte| **byte == b'\n').count();
    assert!((10_000..11_000).contains(&told), "the first answers are held until there are ten thousand: {told}");
    assert!(
        taken.load(Ordering::SeqCst) <= 12,
        "{} chunks were read before anyone took an answer",
        taken.load(Ordering::SeqCst)
    );
    let mut largest = 0;
    let mut told = told;
    while let Some(frame) = body.frame().await {
        let bytes = frame.unwrap().into_data().unwrap();
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        told += lines;
        largest = largest.max(lines);
    }
    assert_eq!(told, 60_000);
    assert!(largest <= 512, "{largest} answers in one piece");
}

#[tokio::test]
async fn ten_thousand_lines_are_posted_and_packed_bodies_are_unpacked() {
    use std::io::Write;
    let service = world().await;
    let body = (0..10_000).map(|_| format!("{}\n", call("acme", 1))).collect::<String>();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(body.as_bytes()).unwrap();
    let token = service.token(&[Scope::UsageWrite], None);
    let mut request = request(&token, LINES, None, packed.finish().unwrap());
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let told = lines(&service.send(request).await);
    assert_eq!(told.len(), 10_000);
    assert!(told.iter().all(|line| line["answer"]["recorded_at"].is_string()));
    let totals = service.call("GET", "/v1/usage", Value::Null).await.ok();
    assert_eq!(totals["totals"]["requests"], 10_000);
}
