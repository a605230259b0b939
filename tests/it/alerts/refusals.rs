//! Budgets that stop calls, reservations that nobody settles, and replicas whose clocks differ.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{acme, evaluate, events, firing, put_budget, short, spend, spend_as};
use crate::support::service::Replica;

/// Asks for so many tokens of the tenant, and answers the verdict.
async fn ask(service: &Replica, tokens: u64, but: Value) -> Value {
    let mut body = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "estimate": {"max_output": tokens}
    });
    body.as_object_mut().unwrap().extend(but.as_object().unwrap().clone());
    service.call("POST", "/v1/preflight", body).await.ok()
}

async fn of_kind(service: &Replica, kind: &str) -> Vec<Value> {
    events(service).await.into_iter().filter(|event| event["kind"] == kind).collect()
}

#[tokio::test]
async fn the_first_stop_is_told_once_with_counts_and_clears_when_calls_are_granted_again() {
    let service = acme().await;
    put_budget(&service, "acme-month", json!({"scope": {"tenant": "acme"}, "thresholds": []})).await;
    spend(&service, "acme", 1_000).await;
    assert_eq!(evaluate(&service).await, 0, "used up, and nobody was stopped");
    for _ in 0..3 {
        assert_eq!(ask(&service, 10, json!({})).await["verdict"], "stop");
    }
    assert_eq!(evaluate(&service).await, 1);
    let event = events(&service).await.remove(0);
    assert_eq!(short(&event), "refusing raised acme-month");
    assert_eq!((&event["severity"], &event["tenant"]), (&json!("critical"), &json!("acme")));
    let numbers = &event["numbers"];
    for (name, value) in [
        ("stopped", json!(3)),
        ("reason", json!("limit_reached")),
        ("posted", json!("1000")),
        ("limit", json!("1000")),
        ("resets_at", json!("2026-07-01T00:00:00Z")),
    ] {
        assert_eq!(numbers[name], value, "{name}: {numbers:#}");
    }
    for path in event["links"].as_object().unwrap().values() {
        service.call("GET", path.as_str().unwrap(), Value::Null).await.ok();
    }
    // It goes on, and is not told again.
    for _ in 0..5 {
        ask(&service, 10, json!({})).await;
        service.advance(TimeDelta::seconds(10));
        assert_eq!(evaluate(&service).await, 0);
    }
    // The limit is raised: nothing is told before a call is granted.
    put_budget(&service, "acme-month", json!({"scope": {"tenant": "acme"}, "limit": "2000", "thresholds": []})).await;
    service.advance(TimeDelta::seconds(1));
    assert_eq!(evaluate(&service).await, 0);
    assert_eq!(ask(&service, 10, json!({})).await["verdict"], "allow");
    assert_eq!(evaluate(&service).await, 1);
    assert_eq!(short(events(&service).await.last().unwrap()), "refusing cleared acme-month");
    assert_eq!(firing(&service).await, [""; 0]);
}

#[tokio::test]
async fn stops_below_the_limit_are_told_and_a_small_call_that_fits_does_not_clear_them_at_once() {
    let service = acme().await;
    put_budget(&service, "acme-month", json!({"scope": {"tenant": "acme"}, "thresholds": ["0.8"]})).await;
    spend(&service, "acme", 995).await;
    evaluate(&service).await;
    assert_eq!(ask(&service, 10, json!({})).await["verdict"], "stop");
    assert_eq!(evaluate(&service).await, 1);
    let told: Vec<String> = events(&service).await.iter().map(short).collect();
    assert_eq!(told, ["threshold raised acme-month at 0.8", "refusing raised acme-month"]);
    service.advance(TimeDelta::seconds(5));
    assert_eq!(ask(&service, 1, json!({})).await["verdict"], "allow");
    assert_eq!(evaluate(&service).await, 0);
    service.advance(TimeDelta::seconds(60));
    assert_eq!(evaluate(&service).await, 1, "a minute without a stop");
}

#[tokio::test]
async fn a_run_that_is_stopped_by_its_own_budget_is_named() {
    let service = acme().await;
    put_budget(&service, "acme-month", json!({"scope": {"tenant": "acme"}, "limit": "100000", "thresholds": []})).await;
    let run = json!({"scope": {"tenant": "acme"}, "each": "run", "limit": "100", "period": {"kind": "once"}, "thresholds": ["0.5", "0.9"]});
    put_budget(&service, "runs", run).await;
    spend_as(&service, json!({"run": "r1", "usage": {"output": 95}})).await;
    assert_eq!(ask(&service, 10, json!({"run": "r1"})).await["verdict"], "stop");
    assert_eq!(ask(&service, 10, json!({"run": "r2"})).await["verdict"], "allow");
    assert_eq!(evaluate(&service).await, 2, "of two thresholds that were crossed at once the higher");
    let told = events(&service).await;
    let lines: Vec<String> = told.iter().map(short).collect();
    assert_eq!(lines, ["threshold raised runs at 0.9", "refusing raised runs"]);
    assert!(told.iter().all(|event| event["run"] == "r1" && event["key"] == "acme/r1"), "{told:#?}");
    let of_run = service.call("GET", "/v1/events?run=r1", Value::Null).await.ok();
    assert_eq!(of_run["items"].as_array().unwrap().len(), 2);
    assert_eq!(firing(&service).await.len(), 3, "the lower one is kept");
}

#[tokio::test]
async fn a_new_period_forgets_that_a_budget_was_refusing() {
    let service = acme().await;
    put_budget(&service, "acme-month", json!({"scope": {"tenant": "acme"}, "thresholds": []})).await;
    assert_eq!(ask(&service, 2_000, json!({})).await["verdict"], "stop");
    assert_eq!(evaluate(&service).await, 1, "larger than the whole limit, and nothing was counted yet");
    service.advance(TimeDelta::days(21));
    assert_eq!(evaluate(&service).await, 0);
    assert_eq!(firing(&service).await, [""; 0]);
    assert_eq!(ask(&service, 2_000, json!({})).await["verdict"], "stop");
    assert_eq!(evaluate(&service).await, 1);
}

#[tokio::test]
async fn reservations_that_expire_and_are_not_settled_are_told_of_their_tenant() {
    let service = acme().await;
    for _ in 0..2 {
        ask(&service, 10, json!({"ttl_seconds": 60})).await;
    }
    let settled = ask(&service, 10, json!({"ttl_seconds": 60})).await;
    service.advance(TimeDelta::seconds(61));
    spend(&service, "acme", 1).await;
    let path = format!("/v1/reservations/{}/settle", settled["reservation"].as_str().unwrap());
    service.call("POST", &path, json!({"usage": {"output": 1}})).await.ok();
    assert_eq!(evaluate(&service).await, 1);
    let event = of_kind(&service, "expired_reservations").await.remove(0);
    assert_eq!((&event["tenant"], &event["numbers"]["expired"]), (&json!("acme"), &json!(2)));
    for path in event["links"].as_object().unwrap().values() {
        service.call("GET", path.as_str().unwrap(), Value::Null).await.ok();
    }
    service.advance(TimeDelta::minutes(30));
    assert_eq!(evaluate(&service).await, 0);
    service.advance(TimeDelta::minutes(31));
    assert_eq!(evaluate(&service).await, 1);
    assert_eq!(of_kind(&service, "expired_reservations").await.last().unwrap()["status"], "cleared");
}

#[tokio::test]
async fn what_a_replica_posts_is_told_however_far_its_clock_is_off() {
    for off in [-45, -3_600 * 30, 45, 3_600 * 30] {
        let service = acme().await;
        let other = service.replica_off_by(TimeDelta::seconds(off)).await;
        spend(&service, "acme", 1).await;
        spend(&other, "acme", 1).await;
        assert_eq!(evaluate(&service).await, 0);
        service.advance(TimeDelta::seconds(1));
        spend(&service, "acme", 1).await;
        spend(&other, "acme", 500).await;
        assert_eq!(evaluate(&service).await, 1, "{off} seconds");
        // And after it: what is ours is not hidden by what is ahead of it.
        service.advance(TimeDelta::seconds(1));
        spend(&service, "acme", 400).await;
        assert_eq!(evaluate(&service).await, 1, "{off} seconds");
    }
}

#[tokio::test]
async fn what_was_looked_at_is_not_looked_at_again() {
    let service = acme().await;
    for call in 0..40 {
        spend_as(&service, json!({"run": "r1", "usage": {"output": 1}})).await;
        service.advance(TimeDelta::seconds(1));
        if call % 5 == 0 {
            evaluate(&service).await;
        }
    }
    evaluate(&service).await;
    evaluate(&service).await;
    let calls: f64 =
        sqlx::query_scalar("select calls from alert_runs where run = 'r1'").fetch_one(service.db.pool()).await.unwrap();
    assert!((calls - 40.0).abs() < f64::EPSILON, "{calls}");
}
