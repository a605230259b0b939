//! Two replicas on one database, whose clocks differ.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;
use crate::support::story::{acme, budget, on};

#[tokio::test]
async fn two_replicas_pass_no_window_however_far_their_clocks_are_apart() {
    for milliseconds in [-400, -20_000, -3_600_000, 400, 20_000] {
        let service = TestService::start_at("2026-06-10T12:00:00.300Z").await;
        acme(&service).await;
        budget(&service, "m", "tokens", "1000", json!({"period": {"kind": "sliding", "seconds": 60}})).await;
        let other = service.replica_at(clock_after(&service, milliseconds)).await;
        assert_eq!(verdict(&service, 900).await, "allow");
        assert_ne!(verdict(&other, 101).await, "allow", "{milliseconds} ms");
        assert_eq!(verdict(&other, 100).await, "allow", "{milliseconds} ms");
        assert_ne!(verdict(&service, 1).await, "allow", "{milliseconds} ms");
        assert_verified(&service).await;
    }
}

#[tokio::test]
async fn a_batch_is_never_earlier_than_what_its_callers_may_know() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "h", "tokens", "1000", json!({"period": {"kind": "hour"}})).await;
    let behind = service.replica_at(clock_after(&service, -2_000)).await;
    let held = preflight(&service, ask(899, 1, json!({"ttl_seconds": 30}))).await;
    let (reservation, granted_at) = (held["reservation"].as_str().unwrap(), held["granted_at"].clone());
    let settled = behind.call("POST", &on(reservation, "settle"), json!({"usage": {"input": 400}})).await.ok();
    assert_eq!(settled["recorded_at"], granted_at, "not before it was granted");
    // What has expired by the one clock has expired by the other.
    let held = preflight(&service, ask(99, 1, json!({"ttl_seconds": 30}))).await;
    service.advance(TimeDelta::seconds(30));
    verdict(&service, 10).await;
    let path = on(held["reservation"].as_str().unwrap(), "settle");
    let late = behind.call("POST", &path, json!({"usage": {"input": 1}})).await.ok();
    assert_eq!(late["flags"], json!(["late"]));
    assert_verified(&service).await;
}

#[tokio::test]
async fn a_budget_made_by_a_clock_that_is_ahead_governs_every_call() {
    for (ahead, period) in
        [(2, json!({"kind": "day"})), (7_200, json!({"kind": "hour"})), (86_000, json!({"kind": "day"}))]
    {
        let service = TestService::start_at("2026-06-10T23:59:59Z").await;
        acme(&service).await;
        let other = service.replica_at(clock_after(&service, ahead * 1_000)).await;
        budget(&other, "d", "tokens", "1000", json!({"period": period})).await;
        let answer = preflight(&service, ask(1001, 1, json!({}))).await;
        assert_eq!(answer["budgets"].as_array().unwrap().len(), 1, "{ahead} s");
        assert_eq!(answer["verdict"], "stop", "{ahead} s");
        assert_verified(&service).await;
    }
}

#[tokio::test]
async fn a_closed_month_does_not_change_through_a_replica_that_is_behind() {
    let service = TestService::start_at("2026-05-31T23:59:55Z").await;
    acme(&service).await;
    budget(&service, "m", "tokens", "100000", json!({})).await;
    post(&service, 100, service.now()).await;
    let ahead = service.replica_at(clock_after(&service, 6_000)).await;
    ahead.call("POST", "/v1/periods/close", json!({"until": "2026-05", "zone": "Etc/UTC"})).await.ok();
    let may = "select sum(posted)::text from counters where period_start = '2026-05-01T00:00:00Z'";
    let read = async || sqlx::query_scalar::<_, String>(may).fetch_one(service.db.pool()).await.unwrap();
    let before = read().await;
    let posted = post(&service, 777, service.now()).await;
    assert!(posted["flags"].as_array().unwrap().contains(&json!("period_closed")), "{posted:#}");
    let held = preflight(&service, ask(9, 1, json!({}))).await;
    service
        .call("POST", &on(held["reservation"].as_str().unwrap(), "settle"), json!({"usage": {"input": 1}}))
        .await
        .ok();
    assert_eq!(read().await, before);
    assert_verified(&service).await;
}

#[tokio::test]
async fn a_clock_that_was_a_day_ahead_stops_no_time() {
    // Beyond the clock of the database's server, which says that it is wrong.
    let service = TestService::start_at("2150-01-01T12:00:00Z").await;
    acme(&service).await;
    budget(&service, "d", "tokens", "1000", json!({"period": {"kind": "day"}})).await;
    let wrong = service.replica_at(clock_after(&service, 86_400_000)).await;
    assert_eq!(verdict(&wrong, 900).await, "allow");
    let held = preflight(&service, ask(899, 1, json!({"ttl_seconds": 30}))).await;
    assert_eq!(held["granted_at"], "2150-01-01T12:00:00Z", "another day: {held:#}");
    service.advance(TimeDelta::seconds(30));
    assert_eq!(verdict(&service, 1000).await, "allow", "and holds still expire");
    assert_verified(&service).await;
}

#[tokio::test]
async fn a_replica_whose_clock_is_off_says_so() {
    let service = TestService::start().await;
    acme(&service).await;
    let behind = service.replica_at(clock_after(&service, -5_000)).await;
    let near = service.replica_at(clock_after(&service, -900)).await;
    let ready = async |replica: &Replica| replica.call("GET", "/readyz", Value::Null).await.ok();
    verdict(&service, 10).await;
    for replica in [&service.one, &behind, &near] {
        verdict(replica, 10).await;
    }
    let said = ready(&behind).await;
    assert_eq!(said, "ready, but this machine's clock is 5.0 s behind what the database has seen: synchronise it");
    assert_eq!((ready(&service).await, ready(&near).await), (json!("ready"), json!("ready")));
    behind.advance(TimeDelta::seconds(5));
    verdict(&behind, 10).await;
    assert_eq!(ready(&behind).await, "ready");
}
