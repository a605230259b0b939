//! What the worker forgets, and what it keeps: driven by hand, on a clock that is moved by hand.

use chrono::TimeDelta;
use counterfoil::worker::{SIGNALS_KEPT, STOPS_KEPT};
use serde_json::{Value, json};

use crate::support::service::{Replica, TestService};
use crate::support::story::{acme, ask, preflight};

async fn count(service: &TestService, table: &'static str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(count).fetch_one(service.db.pool()).await.unwrap()
}

async fn stop(service: &TestService, run: &str) -> Value {
    service.call("POST", &format!("/v1/runs/{run}/stop"), json!({"tenant": "acme"})).await.ok()
}

/// The verdict on a call of a run, which is not held.
async fn look(service: &Replica, run: &str) -> String {
    let answer = preflight(service, ask(1, 1, json!({"run": run, "reserve": false}))).await;
    answer["verdict"].as_str().unwrap().to_owned()
}

async fn hold(service: &Replica, run: &str, seconds: u32) -> Value {
    preflight(service, ask(1, 1, json!({"run": run, "ttl_seconds": seconds}))).await
}

#[tokio::test]
async fn a_stopped_run_is_forgotten_when_nobody_has_been_heard_of_it_for_so_long() {
    let service = TestService::start().await;
    acme(&service).await;
    let other = service.replica().await;
    for run in ["silent", "posts", "asks", "asks-by-key", "looks", "stopped-again"] {
        stop(&service, run).await;
    }
    service.advance(TimeDelta::days(200));
    let usage = json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "run": "posts", "usage": {"input": 1}});
    service.call("POST", "/v1/usage", usage).await.ok();
    assert_eq!(hold(&other, "asks", 60).await["verdict"], "stop");
    let by_key =
        service.call_keyed("k-1", "POST", "/v1/preflight", ask(1, 1, json!({"run": "asks-by-key"}))).await.ok();
    assert_eq!(by_key["verdict"], "stop");
    assert_eq!(look(&other, "looks").await, "stop");
    for replica in [&service.one, &other] {
        replica.tidy().await;
    }
    let again = stop(&service, "stopped-again").await;
    assert_eq!(again["stopped_at"], "2026-06-10T12:00:00Z", "the first stop stands");

    service.advance(STOPS_KEPT - TimeDelta::days(200));
    service.tidy().await;
    assert_eq!(count(&service, "run_stops").await, 6, "not a day too soon");
    service.advance(TimeDelta::days(1) + TimeDelta::seconds(1));
    service.tidy().await;
    assert_eq!(count(&service, "run_stops").await, 5);
    for replica in [&service.one, &other] {
        let answer = preflight(replica, ask(1, 1, json!({"run": "silent"}))).await;
        assert_eq!(answer["verdict"], "allow");
    }
    // The others were heard of on the 200th day: they have as long from then.
    service.advance(TimeDelta::days(198));
    service.tidy().await;
    assert_eq!(count(&service, "run_stops").await, 5);
    service.advance(TimeDelta::days(3));
    service.tidy().await;
    assert_eq!(count(&service, "run_stops").await, 0);
    assert_eq!(look(&service, "asks").await, "allow");
}

#[tokio::test]
async fn a_stopped_run_that_goes_on_asking_stays_stopped() {
    let service = TestService::start().await;
    acme(&service).await;
    stop(&service, "loop").await;
    for _ in 0..4 {
        service.advance(STOPS_KEPT - TimeDelta::days(1));
        assert_eq!(look(&service, "loop").await, "stop");
        service.tidy().await;
    }
    // Written down once a day at most, however often it asks.
    let seen = "select seen_at from run_stops";
    let before: Option<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar(seen).fetch_one(service.db.pool()).await.unwrap();
    service.advance(TimeDelta::hours(23));
    assert_eq!(look(&service, "loop").await, "stop");
    service.tidy().await;
    let after = sqlx::query_scalar(seen).fetch_one(service.db.pool()).await.unwrap();
    assert!(before.is_some() && before == after);
}

#[tokio::test]
async fn a_stopped_run_with_an_open_reservation_is_not_forgotten() {
    let service = TestService::start().await;
    acme(&service).await;
    let open = hold(&service, "r-1", 3600).await;
    stop(&service, "r-1").await;
    // A reservation that is kept open for years is not what anybody does, and it is what the row says that counts.
    sqlx::query("update reservations set expires_at = $1")
        .bind(service.now() + TimeDelta::days(3000))
        .execute(service.db.pool())
        .await
        .unwrap();
    service.advance(STOPS_KEPT + TimeDelta::days(2));
    service.tidy().await;
    assert_eq!(count(&service, "run_stops").await, 1);
    let path = format!("/v1/reservations/{}/settle", open["reservation"].as_str().unwrap());
    service.call("POST", &path, json!({"usage": {"input": 1}})).await.ok();
    service.advance(STOPS_KEPT);
    service.tidy().await;
    assert_eq!(count(&service, "run_stops").await, 1, "what it had used was posted not longer ago than that");
    service.advance(TimeDelta::days(2));
    service.tidy().await;
    assert_eq!(look(&service, "r-1").await, "allow");
}

#[tokio::test]
async fn a_signal_is_forgotten_unless_a_quota_is_closed_by_it() {
    let service = TestService::start().await;
    acme(&service).await;
    service
        .call(
            "PUT",
            "/v1/budgets/quota",
            json!({
                "scope": {"provider": "anthropic"}, "measure": "tokens", "limit": "1000000", "kind": "quota",
                "period": {"kind": "year"}, "timezone": "Etc/UTC", "enforcement": "hard"
            }),
        )
        .await
        .ok();
    let limited = json!({
        "provider": "openai", "model": "gpt-4o", "status": 429, "headers": {"retry-after": "20"},
        "body": {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}
    });
    let gone = json!({
        "provider": "anthropic", "model": "claude-sonnet-4-5", "status": 429, "headers": {},
        "body": {"type": "error", "error": {
            "type": "rate_limit_error", "message": "You will regain access on 2026-12-01 at 00:00 UTC.",
            "details": {"error_code": "enforced_spend_limit_reached"}
        }}
    });
    for _ in 0..3 {
        service.call("POST", "/v1/signals", limited.clone()).await.ok();
    }
    let closed = service.call("POST", "/v1/signals", gone).await.ok();
    assert_eq!(closed["closed"][0]["until"], "2026-12-01T00:00:00Z");
    service.advance(SIGNALS_KEPT);
    service.tidy().await;
    assert_eq!(count(&service, "signals").await, 4, "not a second too soon");
    service.advance(TimeDelta::seconds(1));
    service.call("POST", "/v1/signals", limited).await.ok();
    service.tidy().await;
    assert_eq!(count(&service, "signals").await, 2, "the new one, and the one by which the quota is closed");
    let call = json!({
        "tenant": "acme", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "estimate": {"input": 1, "max_output": 1}, "reserve": false
    });
    let refused = service.call("POST", "/v1/preflight", call.clone()).await.ok();
    assert_eq!(refused["reasons"][0]["code"], "closed_by_provider");
    service.advance(SIGNALS_KEPT + TimeDelta::seconds(1));
    service.tidy().await;
    assert_eq!(count(&service, "signals").await, 0);
    assert_eq!(service.call("POST", "/v1/preflight", call).await.ok()["verdict"], "allow");
    // Forgotten, but never changed.
    let refused = sqlx::query("update signals set status = 200").execute(service.db.pool()).await.unwrap_err();
    assert!(refused.to_string().contains("append-only"), "{refused}");
}

#[tokio::test]
async fn weeks_that_nobody_can_ask_for_are_forgotten() {
    let service = TestService::start().await;
    acme(&service).await;
    for _ in 0..3 {
        let open = hold(&service, "r-1", 60).await;
        let path = format!("/v1/reservations/{}/settle", open["reservation"].as_str().unwrap());
        service.call("POST", &path, json!({"usage": {"input": 1, "output": 1}})).await.ok();
    }
    assert_eq!(service.app.learn(None).await.unwrap(), 3);
    let (calls, shares) = (count(&service, "learned_calls").await, count(&service, "learned_shares").await);
    assert!(calls > 0 && shares > calls);
    // The 260th week back is the last that can be asked for.
    service.advance(TimeDelta::weeks(259));
    service.tidy().await;
    let told = service.call("GET", "/v1/usage/accuracy?weeks=260&group_by=", Value::Null).await.ok();
    assert_eq!(told["rows"][0]["calls"], 3);
    assert_eq!(count(&service, "learned_shares").await, shares);
    service.advance(TimeDelta::weeks(1));
    service.tidy().await;
    assert_eq!((count(&service, "learned_calls").await, count(&service, "learned_shares").await), (0, 0));
}
