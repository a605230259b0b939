//! The queue is bounded: beyond it callers are told to come back, and nothing of theirs is kept.

use serde_json::json;
use sqlx::Connection;

use counterfoil::store::catalogue::LOCK;

use crate::support::audit::{assert_none, findings};
use crate::support::service::TestService;
use crate::support::story::{acme, ask, budget, until};

#[tokio::test]
async fn a_full_queue_answers_at_once_and_keeps_nothing() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let narrow = std::sync::Arc::new(service.with_lane(4, service.db.connect_options()));
    let mut gate = sqlx::PgConnection::connect_with(&service.db.connect_options()).await.unwrap();
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut gate).await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    // One is on its way once the queue has taken it and is empty again.
    let mut call = |number: usize| {
        let narrow = std::sync::Arc::clone(&narrow);
        waiting.spawn(async move {
            narrow.call_keyed(&format!("k-{number}"), "POST", "/v1/preflight", ask(9, 1, json!({}))).await
        });
    };
    call(0);
    until("the first is on its way", || async {
        let waits = "select exists (select from pg_locks where locktype = 'advisory' and not granted and database =
            (select oid from pg_database where datname = current_database()))";
        narrow.app.lane.queued() == 0 && sqlx::query_scalar(waits).fetch_one(service.db.pool()).await.unwrap()
    })
    .await;
    // The service's other lane waits too: look whether this one has taken its command.
    for number in 1..=5 {
        call(number);
    }
    until("the queue is full", || async { narrow.app.lane.queued() == 4 }).await;
    let reply = narrow.call_keyed("k-refused", "POST", "/v1/preflight", ask(9, 1, json!({}))).await;
    assert_eq!(reply.problem(), (503, "overloaded"));
    assert_eq!(reply.headers["retry-after"], "1");
    sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(&mut gate).await.unwrap();
    let replies = waiting.join_all().await;
    let granted = replies.iter().filter(|reply| reply.status == 200).count();
    let kept: i64 = sqlx::query_scalar("select count(*) from reservations").fetch_one(service.db.pool()).await.unwrap();
    assert_eq!(usize::try_from(kept).unwrap(), granted);
    assert!(granted >= 4 && replies.iter().all(|reply| [200, 503].contains(&reply.status)));
    // A key that was turned away is not used up.
    assert_eq!(narrow.call_keyed("k-refused", "POST", "/v1/preflight", ask(8, 1, json!({}))).await.status, 200);
    assert_none(&findings(service.db.pool()).await);
}
