//! Every streamed answer, whole, for a client that accepts gzip: `requests`, Go, browsers and `curl --compressed` ask for it.

use std::io::Read as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use counterfoil::auth::Scope;
use counterfoil::http::service::document;
use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::alerts::acme;
use crate::books::world;
use crate::support::service::{Replica, TestService};

/// A request as the platform's admin, of a client that accepts gzip or not.
fn request(service: &Replica, method: &str, path: &str, gzip: bool) -> axum::http::request::Builder {
    let token = service.token(&[Scope::Admin], None);
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    if gzip { request.header("accept-encoding", "gzip, deflate, br") } else { request }
}

fn unpacked(headers: &HeaderMap, bytes: &[u8]) -> Vec<u8> {
    assert_eq!(headers["content-encoding"], "gzip");
    let mut whole = Vec::new();
    // Reads to the trailer, which holds the length and a checksum of the whole.
    GzDecoder::new(bytes).read_to_end(&mut whole).expect("a whole gzip file");
    whole
}

/// Every export of the contract, in each of its formats.
fn exports() -> Vec<String> {
    let whole = serde_json::to_value(document()).unwrap();
    let mut paths = Vec::new();
    for (path, item) in whole["paths"].as_object().unwrap() {
        if !path.starts_with("/v1/exports/") || path.ends_with("/schema") {
            continue;
        }
        let parameters = item["get"]["parameters"].as_array().unwrap();
        let format = parameters.iter().find(|parameter| parameter["name"] == "format");
        let Some(format) = format else {
            paths.push(path.clone());
            continue;
        };
        let schema = &format["schema"];
        let named = [schema, &schema["oneOf"][0], &schema["oneOf"][1]].into_iter().find_map(|one| one["$ref"].as_str());
        let values = named.map_or(schema, |name| whole.pointer(&name[1..]).unwrap())["enum"].as_array().unwrap();
        paths.extend(values.iter().map(|value| format!("{path}?format={}", value.as_str().unwrap())));
    }
    assert!(paths.len() >= 10, "{paths:?}");
    paths
}

#[tokio::test]
async fn every_export_is_whole_for_a_client_that_accepts_gzip() {
    let service = world().await;
    for path in exports() {
        let plain = request(&service, "GET", &path, false).body(Body::empty()).unwrap();
        let (status, _, plain) = service.fetch(plain).await;
        assert_eq!(status, 200, "{path}");
        let packed = request(&service, "GET", &path, true).body(Body::empty()).unwrap();
        let (status, headers, packed) = service.fetch(packed).await;
        assert_eq!(status, 200, "{path}");
        let (plain, whole) =
            (plain.unwrap(), unpacked(&headers, &packed.unwrap_or_else(|why| panic!("{path}: {why}"))));
        assert!(!whole.is_empty(), "{path}");
        assert_eq!(whole, plain, "{path}");
    }
}

#[tokio::test]
async fn answers_to_lines_are_whole_for_a_client_that_accepts_gzip() {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    let call =
        json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 1}});
    for count in [0_usize, 1, 600, 12_000] {
        let lines = format!("{call}\n").repeat(count);
        let post = request(&service, "POST", "/v1/usage", true).header("content-type", "application/x-ndjson");
        let (status, headers, bytes) = service.fetch(post.body(Body::from(lines)).unwrap()).await;
        assert_eq!(status, 200);
        let answers = String::from_utf8(unpacked(&headers, &bytes.unwrap())).unwrap();
        let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), count);
        assert!(answers.iter().all(|answer| answer["answer"]["transfer"].is_string()), "each of them was posted");
    }
}

#[tokio::test]
async fn a_stream_of_events_ends_cleanly_for_a_client_that_accepts_gzip() {
    let service = acme().await;
    let follow = request(&service, "GET", "/v1/events", true).header("accept", "text/event-stream");
    let response = service.open(follow.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("content-encoding"), "an event must not wait in a compressor");
    service.app.events.close();
    let mut body = response.into_body();
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while let Some(frame) = body.frame().await {
            frame.expect("no frame is an error");
        }
        // Polled after its end, as layers do: it stays ended.
        assert!(body.frame().await.is_none());
    });
    ended.await.expect("the stream ends with the service");
}
