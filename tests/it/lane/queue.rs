//! The queue is bounded: beyond it callers are told to come back, and nothing of theirs is kept.

use std::sync::Arc;

use serde_json::json;
use sqlx::Connection;

use crate::support::audit::{assert_none, findings};
use crate::support::proxy::{Proxy, hold_up};
use crate::support::service::TestService;
use crate::support::story::{acme, ask, budget, until};

#[tokio::test]
async fn a_full_queue_answers_at_once_and_keeps_nothing() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let proxy = Proxy::start(&service.db.connect_options());
    let narrow = Arc::new(service.with_lane(4, proxy.options()));
    let gate = hold_up(&service, &proxy).await;
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..4 {
        let narrow = Arc::clone(&narrow);
        let key = format!("k-{number}");
        waiting.spawn(async move { narrow.call_keyed(&key, "POST", "/v1/preflight", ask(9, 1, json!({}))).await });
    }
    until("the queue is full", || async { narrow.app.lane.queued() == 4 }).await;
    let reply = narrow.call_keyed("k-refused", "POST", "/v1/preflight", ask(9, 1, json!({}))).await;
    assert_eq!(reply.problem(), (503, "overloaded"));
    assert_eq!(reply.headers["retry-after"], "1");
    gate.close().await.unwrap();
    for reply in waiting.join_all().await {
        assert_eq!(reply.ok()["verdict"], "allow");
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from reservations").fetch_one(service.db.pool()).await.unwrap();
    assert_eq!(kept, 4);
    // A key that was turned away is not used up.
    assert_eq!(narrow.call_keyed("k-refused", "POST", "/v1/preflight", ask(8, 1, json!({}))).await.status, 200);
    assert_none(&findings(service.db.pool()).await);
}
