//! The stream of events: from now on, after the last one seen, and of one's own tenant only.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use chrono::TimeDelta;
use counterfoil::auth::Scope;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{acme, evaluate, events, put_budget, short, spend};
use crate::support::service::Replica;

/// A stream that is open, and what of it was not read yet.
struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    async fn open(service: &Replica, token: &str, last: Option<&str>) -> Self {
        let response = service.open(request("/v1/events", token, last)).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event: its id, its name, its data. None when the stream is over.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        let patience = Duration::from_secs(20);
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let found = field("id: ").zip(field("event: ")).zip(field("data: "));
                self.text = rest.to_owned();
                if let Some(((id, name), data)) = found {
                    return Some((id, name, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let frame = tokio::time::timeout(patience, self.body.frame()).await.expect("something comes");
            self.text.push_str(std::str::from_utf8(&frame?.unwrap().into_data().unwrap()).unwrap());
        }
    }
}

fn request(path: &str, token: &str, last: Option<&str>) -> Request<Body> {
    let mut request =
        Request::get(path).header("authorization", format!("Bearer {token}")).header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_stream_tells_what_happens_and_goes_on_where_it_was_cut_off() {
    let service = acme().await;
    let admin = service.token(&[Scope::Read], None);
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    let mut stream = Stream::open(&service, &admin, None).await;
    spend(&service, "acme", 600).await;
    evaluate(&service).await;
    let all = events(&service).await;
    assert_eq!(all.len(), 3);
    for expected in &all[1..] {
        let (id, name, data) = stream.next().await.unwrap();
        assert_eq!((&data, id.as_str()), (expected, expected["id"].as_str().unwrap()), "from now on");
        assert_eq!(name, format!("{}.raised", expected["kind"].as_str().unwrap()));
    }
    drop(stream);
    // Cut off after the first: the others come, each once, in their order.
    let mut again = Stream::open(&service, &admin, all[0]["id"].as_str()).await;
    for expected in &all[1..] {
        assert_eq!(again.next().await.unwrap().2, *expected);
    }
    let unknown = service.send(request("/v1/events", &admin, Some("0199a1b2-0000-7000-8000-000000000001"))).await;
    assert_eq!(unknown.problem(), (422, "invalid_request"));
    let paged = service.send(request("/v1/events?limit=5", &admin, None)).await;
    assert_eq!(paged.body["errors"][0]["field"], "limit");
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let service = acme().await;
    let mut stream = Stream::open(&service, &service.token(&[Scope::Read], None), None).await;
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    assert!(stream.next().await.is_some());
    // Tokens of tests are good for a year.
    service.advance(TimeDelta::days(366));
    spend(&service, "acme", 600).await;
    evaluate(&service).await;
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_stream_on_another_replica_hears_it_from_the_database() {
    let service = acme().await;
    let other = service.replica().await;
    let stop = CancellationToken::new();
    let (hub, pool, stopped) = (other.app.events.clone(), other.app.pool.clone(), stop.clone());
    let mut heard = hub.subscribe();
    let listening = tokio::spawn(async move { hub.listen(&pool, &stopped).await });
    heard.changed().await.unwrap();
    let mut stream = Stream::open(&other, &other.token(&[Scope::Read], None), None).await;
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    assert_eq!(short(&stream.next().await.unwrap().2), "threshold raised acme-month at 0.5");
    stop.cancel();
    listening.await.unwrap().unwrap();
    other.app.events.close();
    assert!(stream.next().await.is_none(), "a service that stops ends its streams");
}

#[tokio::test]
async fn a_confined_caller_hears_of_its_own_tenant_only() {
    let service = acme().await;
    service.call("PUT", "/v1/tenants/bolt", json!({"timezone": "Etc/UTC"})).await.ok();
    put_budget(&service, "bolt-month", json!({"scope": {"tenant": "bolt"}})).await;
    put_budget(&service, "quota", json!({"scope": {"provider": "openai"}})).await;
    let bolt = service.token(&[Scope::Read, Scope::Admin], Some("bolt"));
    let mut stream = Stream::open(&service, &bolt, None).await;
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    spend(&service, "bolt", 500).await;
    evaluate(&service).await;
    assert_eq!(short(&stream.next().await.unwrap().2), "threshold raised bolt-month at 0.5");
    let all = events(&service).await;
    assert_eq!(all.len(), 4, "of acme, of bolt, and two of the quota");
    for path in ["/v1/events", "/v1/alerts", "/v1/events?tenant=bolt"] {
        let own = service.call_as(&bolt, "GET", path, &[], Value::Null).await.ok();
        let tenants: Vec<_> = own["items"].as_array().unwrap().iter().map(|item| item["tenant"].clone()).collect();
        assert_eq!(tenants, ["bolt"], "{path}");
    }
    let foreign = all.iter().find(|event| event["tenant"] == "acme").unwrap()["id"].as_str().unwrap();
    let hidden = service.call_as(&bolt, "GET", &format!("/v1/events/{foreign}"), &[], Value::Null).await;
    assert_eq!(hidden.problem(), (404, "not_found"));
    let resumed = service.send(request("/v1/events", &bolt, Some(foreign))).await;
    assert_eq!(resumed.problem(), (422, "invalid_request"), "a foreign event looks like one that is not there");
    let asked = service.call_as(&bolt, "GET", "/v1/events?tenant=acme", &[], Value::Null).await;
    assert_eq!(asked.problem(), (403, "forbidden_tenant"));
}
