//! Postgres is away: closed, never open, and nothing is lost when it is back.

use std::time::Instant;

use chrono::TimeDelta;
use serde_json::{Value, json};

use counterfoil::lane::{AWAY_PATIENCE, QUEUE_MAX};

use crate::support::audit::{assert_none, findings};
use crate::support::proxy::Proxy;
use crate::support::service::TestService;
use crate::support::story::{acme, ask, budget, on, reserve, until};

#[tokio::test]
async fn a_store_that_is_away_closes_the_gate_and_opens_it_when_it_is_back() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let proxy = Proxy::start(&service.db.connect_options());
    let replica = service.with_lane(QUEUE_MAX, proxy.options());
    let open = reserve(&replica, 9).await;

    proxy.close(true);
    let settle = json!({"usage": {"input": 4}});
    for number in 0..5 {
        let began = Instant::now();
        let (path, body): (_, Value) = match number {
            0 => (on(&open, "settle"), settle.clone()),
            _ => ("/v1/preflight".to_owned(), ask(9, 1, json!({}))),
        };
        let reply = replica.call_keyed(&format!("k-{number}"), "POST", &path, body).await;
        assert_eq!(reply.problem(), (503, "store_unavailable"));
        assert!(reply.headers.contains_key("retry-after"));
        // Only the first one is made to wait for a database that may come back.
        assert!(number == 0 || began.elapsed() < AWAY_PATIENCE / 2, "{number}: {:?}", began.elapsed());
    }
    // Reads are well, on another connection; only the lane knows.
    let ready = async || replica.call("GET", "/readyz", Value::Null).await;
    assert_eq!(ready().await.problem(), (503, "store_unavailable"));
    service.advance(TimeDelta::seconds(11));
    assert_eq!(ready().await.status, 200, "it is asked for calls again after a while");
    let kept: i64 =
        sqlx::query_scalar("select count(*) from idempotency_keys").fetch_one(service.db.pool()).await.unwrap();
    assert_eq!(kept, 0);

    proxy.close(false);
    let path = on(&open, "settle");
    until("the lane has found its way back", || async {
        replica.call_keyed("k-0", "POST", &path, settle.clone()).await.status == 200
    })
    .await;
    assert_eq!(replica.call_keyed("k-1", "POST", "/v1/preflight", ask(9, 1, json!({}))).await.ok()["verdict"], "allow");
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_store_that_is_away_for_a_moment_is_not_noticed() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let proxy = Proxy::start(&service.db.connect_options());
    let replica = std::sync::Arc::new(service.with_lane(QUEUE_MAX, proxy.options()));
    reserve(&replica, 9).await;
    proxy.close(true);
    let asked = tokio::spawn({
        let replica = std::sync::Arc::clone(&replica);
        async move { reserve(&replica, 19).await }
    });
    until("the lane has met the closed door", || async { proxy.turned_away() > 2 }).await;
    proxy.close(false);
    asked.await.unwrap();
    assert_none(&findings(service.db.pool()).await);
}
