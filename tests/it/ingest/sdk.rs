//! The real OpenTelemetry Python SDK: what it sent once, byte for byte, and what it sends now.

use std::io::Write;

use axum::body::Body;
use axum::http::Request;
use counterfoil::auth::Scope;
use counterfoil::http::service::service as routes;
use counterfoil::http::state::HttpState;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::otlp::{PATH, transfers, world};
use crate::support::service::{Reply, TestService};
use crate::tidy::root;

const RECORDED: &[u8] = include_bytes!("../../data/otlp/agent.pb");
const PROTOBUF: &str = "application/x-protobuf";

async fn post(service: &TestService, media_type: &str, packed: bool, body: impl Into<Body>) -> Reply {
    let token = service.token(&[Scope::UsageWrite], None);
    let mut request = Request::post(PATH).header("authorization", format!("Bearer {token}"));
    if packed {
        request = request.header("content-encoding", "gzip");
    }
    service.send(request.header("content-type", media_type).body(body.into()).unwrap()).await
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// What the two model calls of the recording are in the books: the agent's sum and the other request are not.
async fn check_books(service: &TestService) {
    let mut rows = transfers(service).await;
    rows.sort_by_key(|row| row["provider"].to_string());
    assert_eq!(rows.len(), 2, "{rows:#?}");
    let claude = &rows[0];
    assert_eq!(
        [&claude["tenant"], &claude["feature"], &claude["provider"], &claude["model"], &claude["requested_model"]],
        [&json!("acme"), &json!("support-chat"), &json!("anthropic"), &json!("claude-sonnet-4-5"), &Value::Null]
    );
    assert_eq!(claude["said_as"], json!({"model": "claude-sonnet-4-5-20250929"}), "the dated name is kept beside it");
    assert_eq!([&claude["run"], &claude["agent"], &claude["labels"]["team"]], ["conv-7", "Math Tutor", "cx"]);
    let buckets = |row: &Value| {
        ["input", "cache_read", "cache_write_5m", "output", "reasoning"]
            .map(|name| row["usage"][name].as_u64().unwrap())
    };
    assert_eq!(buckets(claude), [500, 4000, 500, 180, 120]);
    assert_eq!((&claude["latency_ms"], &claude["provider_request_id"]), (&json!(2000), &json!("msg_01")));
    let gpt = &rows[1];
    assert_eq!(
        ([&gpt["provider"], &gpt["model"]], buckets(gpt)),
        (["openai", "gpt-4o"].map(Value::from).each_ref(), [1200, 0, 0, 300, 0])
    );
    assert_eq!(gpt["occurred_at"], "2026-06-10T11:50:03Z");
}

#[tokio::test]
async fn a_recorded_export_is_posted_once_packed_or_not() {
    let service = world().await;
    for packed in [false, true] {
        let body = if packed { pack(RECORDED) } else { RECORDED.to_vec() };
        let answer = post(&service, PROTOBUF, packed, body).await;
        assert_eq!(answer.status, 200, "{:#}", answer.body);
        assert_eq!(answer.headers["content-type"], PROTOBUF);
        assert_eq!(answer.body, "", "an empty message: nothing was rejected");
    }
    check_books(&service).await;
}

#[tokio::test]
async fn what_is_no_export_is_a_problem() {
    let service = world().await;
    assert_eq!(post(&service, "text/plain", false, RECORDED).await.problem(), (415, "unsupported_media_type"));
    assert_eq!(post(&service, PROTOBUF, false, &RECORDED[..700]).await.problem(), (422, "invalid_request"));
    assert_eq!(post(&service, "application/json", false, "[]").await.problem(), (422, "invalid_request"));
    assert_eq!(post(&service, PROTOBUF, true, RECORDED).await.problem(), (400, "invalid_json"), "not packed");
    let large = pack(&vec![0_u8; counterfoil::http::limits::BULK_BODY_BYTES_MAX + 1]);
    assert!(large.len() < 100_000, "it is small until it is unpacked");
    assert_eq!(post(&service, PROTOBUF, true, large).await.problem(), (413, "payload_too_large"));
    assert!(transfers(&service).await.is_empty());
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever runs the tests is told what was not run")]
async fn the_python_sdk_exports_to_the_service() {
    let python = root().join("target/clients/bin/python");
    // The stamp is written once everything is in it.
    if !root().join("target/clients/requirements.txt").exists() {
        eprintln!("not run: there is no {}; `.ci/run clients` makes it", python.display());
        return;
    }
    let service = world().await;
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let router = routes(HttpState::new(service.app.clone(), metrics)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}{PATH}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let token = service.token(&[Scope::UsageWrite], None);
    for encoding in [&[][..], &["gzip"]] {
        let mut command = Command::new(&python);
        command.arg(root().join("tests/clients/otel_sdk.py")).args(["send", &endpoint, &token]).args(encoding);
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "4 exports succeeded", "{said}");
    }
    server.abort();
    check_books(&service).await;
}
