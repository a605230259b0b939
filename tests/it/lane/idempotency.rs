//! The same key, sent twice: to two replicas at once, in one batch, after the budget was raised.

use serde_json::{Value, json};

use crate::support::audit::{assert_none, findings};
use counterfoil::domain::ledger::command::{Action, Command};

use crate::support::commands::{But, post_usage, reserve, settle};
use crate::support::service::{Reply, TestService};
use crate::support::story::{acme, ask, budget, on};

/// The same request to two replicas, so often and so closely that they meet.
async fn sent_to_both(service: &TestService, key: &str, path: &str, body: Value) -> Vec<Reply> {
    let two = [service.replica().await, service.replica().await];
    let send = |number: usize| two[number % 2].call_keyed(key, "POST", path, body.clone());
    futures::future::join_all((0..16).map(send)).await
}

async fn count(service: &TestService, table: &str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(count).fetch_one(service.db.pool()).await.unwrap()
}

/// All answers, which must be one.
#[track_caller]
fn the_one(replies: Vec<Reply>) -> Value {
    let mut bodies: Vec<Value> = replies.into_iter().map(Reply::ok).collect();
    for body in &mut bodies {
        // Signed anew for each answer, over the same claims.
        body.as_object_mut().unwrap().remove("grant");
    }
    let first = bodies.remove(0);
    for body in bodies {
        assert_eq!(body, first);
    }
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_on_two_replicas_at_once_is_one_effect_and_one_answer() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "100", json!({})).await;

    let granted = the_one(sent_to_both(&service, "k-grant", "/v1/preflight", ask(59, 1, json!({}))).await);
    assert_eq!(granted["verdict"], "allow");
    assert_eq!((count(&service, "reservations").await, count(&service, "idempotency_keys").await), (1, 1));

    let refused = the_one(sent_to_both(&service, "k-refuse", "/v1/preflight", ask(59, 1, json!({}))).await);
    assert_eq!(refused["verdict"], "wait");
    assert_eq!(count(&service, "refusals").await, 1);

    let path = on(granted["reservation"].as_str().unwrap(), "settle");
    let settled = the_one(sent_to_both(&service, "k-settle", &path, json!({"usage": {"input": 10}})).await);
    assert_eq!(settled["amounts"]["tokens"], 10);
    let usage = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 7}
    });
    the_one(sent_to_both(&service, "k-usage", "/v1/usage", usage).await);
    assert_eq!((count(&service, "transfers").await, count(&service, "idempotency_keys").await), (2, 4));

    let release = the_one(sent_to_both(&service, "k-again", "/v1/preflight", ask(9, 1, json!({}))).await);
    let path = on(release["reservation"].as_str().unwrap(), "release");
    the_one(sent_to_both(&service, "k-release", &path, Value::Null).await);
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_key_with_another_body_or_for_another_thing_is_a_conflict() {
    let service = TestService::start().await;
    acme(&service).await;
    let first = service.call_keyed("k", "POST", "/v1/preflight", ask(9, 1, json!({}))).await.ok();
    let other = service.replica().await;
    let again = other.call_keyed("k", "POST", "/v1/preflight", ask(10, 1, json!({}))).await;
    assert_eq!(again.problem(), (409, "idempotency_mismatch"));
    let path = on(first["reservation"].as_str().unwrap(), "settle");
    let again = other.call_keyed("k", "POST", &path, json!({"usage": {"input": 10}})).await;
    assert_eq!(again.problem(), (409, "idempotency_mismatch"));
    assert_eq!(count(&service, "transfers").await, 0);
}

#[tokio::test]
async fn one_key_twice_in_one_batch_is_one_effect() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let commands = vec![
        reserve(5).keyed("a", 1),
        reserve(5).keyed("a", 1),
        post_usage(7).keyed("b", 2),
        post_usage(7).keyed("b", 2),
        post_usage(7).keyed("b", 3),
    ];
    let answers = service.app.lane.submit_all(commands).await;
    let ok: Vec<bool> = answers.iter().map(|answer| answer.as_ref().unwrap().is_ok()).collect();
    assert_eq!(ok, [true, true, true, true, false], "the last has another body");
    assert_eq!((count(&service, "reservations").await, count(&service, "transfers").await), (1, 1));
    let items = json!({"items": [ask(9, 1, json!({})), ask(9, 1, json!({}))]});
    let first = service.call_keyed("c", "POST", "/v1/preflight/batch", items.clone()).await.ok();
    let again = service.call_keyed("c", "POST", "/v1/preflight/batch", items).await.ok();
    for item in 0..2 {
        assert_eq!(first["items"][item]["answer"]["reservation"], again["items"][item]["answer"]["reservation"]);
    }
    assert_eq!(count(&service, "reservations").await, 3);
    assert_none(&findings(service.db.pool()).await);
}

/// The first try of a batch takes every key for new: neither a key that is not, nor a refusal that its own first time caused,
/// may show.
#[tokio::test]
async fn what_was_asked_before_is_answered_again_amid_what_is_new() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let lane = &service.app.lane;
    let held = |command: &Command| command.action.reservation().unwrap().0;
    let (old, later) = (reserve(9), reserve(9));
    let (Action::Reserve(first), Action::Reserve(second)) = (&old.action, &later.action) else { unreachable!() };
    let (first, second) = (first.id.0, second.id.0);
    lane.submit(old.keyed("old", 1)).await.unwrap().unwrap();
    lane.submit(later).await.unwrap().unwrap();
    lane.submit(settle(first, 4).keyed("settled", 2)).await.unwrap().unwrap();

    let settle_only = vec![settle(first, 4).keyed("settled", 2), settle(first, 4).keyed("settled", 3)];
    let all = vec![
        post_usage(7).keyed("new", 4),
        settle(first, 4).keyed("settled", 2),
        settle(first, 5).keyed("unheard", 5),
        reserve(9).keyed("old", 1),
        settle(second, 6).keyed("new-too", 6),
    ];
    assert_eq!(held(&all[1]), first);
    for (commands, expected) in [(settle_only, &[true, false][..]), (all, &[true, true, false, true, true])] {
        let answers = lane.submit_all(commands).await;
        let ok: Vec<bool> = answers.iter().map(|answer| answer.as_ref().unwrap().is_ok()).collect();
        assert_eq!(ok, expected);
    }
    assert_eq!((count(&service, "reservations").await, count(&service, "transfers").await), (2, 3));
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_remembered_refusal_stays_one_when_the_budget_is_raised() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "10", json!({})).await;
    let refused = service.call_keyed("k", "POST", "/v1/preflight", ask(20, 1, json!({}))).await.ok();
    assert_eq!(refused["verdict"], "stop");
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let other = service.replica().await;
    assert_eq!(other.call_keyed("k", "POST", "/v1/preflight", ask(20, 1, json!({}))).await.ok(), refused);
    let fresh = other.call_keyed("k2", "POST", "/v1/preflight", ask(20, 1, json!({}))).await.ok();
    assert_eq!(fresh["verdict"], "allow");
}

#[tokio::test]
async fn an_answer_from_memory_touches_nothing() {
    let service = TestService::start().await;
    acme(&service).await;
    let hourly = json!({"period": {"kind": "hour"}});
    budget(&service, "hourly", "tokens", "1000", hourly).await;
    service.call_keyed("k", "POST", "/v1/preflight", ask(20, 1, json!({}))).await.ok();
    service.advance(chrono::TimeDelta::hours(3));
    service.call_keyed("k", "POST", "/v1/preflight", ask(20, 1, json!({}))).await.ok();
    assert_eq!(count(&service, "counters").await, 1, "no counter of a later hour");
    let stranger = service.app.lane.submit(reserve(1).of_tenant("nobody")).await;
    assert!(stranger.unwrap().is_err());
    assert_eq!(count(&service, "counters").await, 1, "none for a tenant that nobody knows");
}

/// The audit reads what is kept under a key by names of its own: were they wrong, it would find nothing for ever.
#[tokio::test]
async fn the_audit_finds_a_kept_answer_whose_effect_is_gone() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let granted = service.call_keyed("k-grant", "POST", "/v1/preflight", ask(9, 1, json!({}))).await.ok();
    let path = on(granted["reservation"].as_str().unwrap(), "settle");
    service.call_keyed("k-settle", "POST", &path, json!({"usage": {"input": 4}})).await.ok();
    assert_none(&findings(service.db.pool()).await);
    sqlx::raw_sql("set session_replication_role = replica; delete from transfers; delete from reservations")
        .execute(service.db.pool())
        .await
        .unwrap();
    let found = findings(service.db.pool()).await;
    let of_keys: Vec<&String> = found.iter().filter(|finding| finding.starts_with("a key is remembered")).collect();
    for key in ["k-grant", "k-settle"] {
        assert!(of_keys.iter().any(|finding| finding.ends_with(key)), "{key}: {found:#?}");
    }
}
