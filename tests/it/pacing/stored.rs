//! Verdicts by a pace that is stored: the planner is not asked.

use chrono::{DateTime, TimeDelta, Utc};
use counterfoil::domain::budget::catalogue::BudgetNumber;
use counterfoil::domain::budget::counter::CounterId;
use counterfoil::domain::budget::scope::CounterKey;
use counterfoil::store::paces::{self, NewPace};
use counterfoil::wire::plan::{BasisDoc, PaceDoc, PlanDoc};
use serde_json::{Value, json};

use crate::support::service::{Replica, TestService};
use crate::support::story::{acme, ask, budget, preflight};

/// Stores a pace for the one budget there is: so much for standard, so much for batch, and ten an hour for interactive.
pub(super) async fn store_pace(service: &TestService, standard: u32, batch: u32) {
    let (number, counted_from): (i32, DateTime<Utc>) =
        sqlx::query_as("select number, counted_from from budgets").fetch_one(service.db.pool()).await.unwrap();
    let now = service.now();
    let start: DateTime<Utc> = "2026-06-01T00:00:00Z".parse().unwrap();
    let room = |quantity: u32| json!({"quantity": quantity.to_string(), "pass_permille": 500});
    let pace: PaceDoc = serde_json::from_value(json!({
        "period_start": start, "counted_from": counted_from, "made_at": now,
        "valid_until": now + TimeDelta::hours(2), "share_ends": now + TimeDelta::hours(12), "taken": "0",
        "expected": ["10", "20", "30"],
        "rooms": {"standard": room(standard), "batch": room(batch)}
    }))
    .unwrap();
    let plan: PlanDoc = serde_json::from_value(json!({
        "correction": 1.0, "need": 0.0, "surplus": 0.0, "share": 0.0, "room": 0.0, "batch_room": 0.0,
        "is_ample": false, "standard_today": 0.0, "batch_today": 0.0
    }))
    .unwrap();
    let id = CounterId { budget: BudgetNumber(number), key: CounterKey::whole(), start };
    let new = NewPace { id, tenant: None, pace, plan, basis: BasisDoc::default() };
    let mut connection = service.db.pool().acquire().await.unwrap();
    paces::write(&mut connection, &[new], now).await.unwrap();
    service.app.load_paces().await.unwrap();
}

/// The verdict of a call of so many tokens.
pub(super) async fn verdict(replica: &Replica, input: u64, priority: &str) -> Value {
    preflight(replica, ask(input - 1, 1, json!({"priority": priority}))).await
}

/// Asks for so many tokens, which must be granted, and uses them.
pub(super) async fn spend(replica: &Replica, input: u64, priority: &str) {
    let granted = verdict(replica, input, priority).await;
    assert_eq!(granted["verdict"], "allow", "{granted:#}");
    let settle = format!("/v1/reservations/{}/settle", granted["reservation"].as_str().unwrap());
    replica.call("POST", &settle, json!({"usage": {"input": input}})).await.ok();
}

pub(super) async fn paced_budget(service: &TestService, more: Value) {
    acme(service).await;
    let mut fields = json!({"pacing": "forecast"});
    for (field, value) in more.as_object().into_iter().flatten() {
        fields[field] = value.clone();
    }
    budget(service, "month", "tokens", "1000", fields).await;
}

#[tokio::test]
async fn batch_is_told_to_wait_where_its_room_ends_and_people_are_not() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 200, 100).await;
    assert_eq!(verdict(&service, 100, "batch").await["verdict"], "allow", "what fits its room");
    let waits = verdict(&service, 50, "batch").await;
    assert_eq!(waits["verdict"], "wait");
    assert_eq!(waits["band"], "red");
    assert_eq!(waits["reasons"][0]["code"], "paced");
    assert_eq!(waits["reasons"][0]["budget"], "month");
    let after = waits["retry"]["after_s"].as_u64().unwrap();
    let jitter = waits["retry"]["jitter_s"].as_u64().unwrap();
    assert!((80..=120).contains(&after) && jitter == after - 80, "{:#}", waits["retry"]);
    assert_eq!(
        waits["retry"]["not_before"], "2026-06-11T00:00:00Z",
        "no hour of the day makes so much room: the next one"
    );
    assert_eq!(waits["resets_at"], Value::Null);
    assert_eq!(verdict(&service, 100, "standard").await["verdict"], "allow", "standard calls have more room");
    assert_eq!(verdict(&service, 1, "standard").await["verdict"], "wait");
    // Only the limit stops people.
    spend(&service, 800, "interactive").await;
    service.advance(TimeDelta::minutes(3));
    spend(&service, 200, "interactive").await;
    let stops = verdict(&service, 1, "interactive").await;
    assert_eq!(stops["verdict"], "stop");
    assert_eq!(stops["band"], "exhausted");
    assert_eq!(
        verdict(&service, 1, "batch").await["verdict"],
        "stop",
        "where the limit is reached nobody is asked to wait"
    );
}

#[tokio::test]
async fn room_comes_back_as_interactive_use_is_expected_and_does_not_come() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 100, 100).await;
    spend(&service, 100, "batch").await;
    let waits = verdict(&service, 5, "batch").await;
    assert_eq!(waits["verdict"], "wait");
    assert_eq!(waits["retry"]["not_before"], "2026-06-10T12:30:00Z", "half of the ten that an hour brings");
    service.advance(TimeDelta::minutes(30));
    assert_eq!(verdict(&service, 5, "batch").await["verdict"], "allow");
    assert_eq!(verdict(&service, 1, "batch").await["verdict"], "wait");
}

#[tokio::test]
async fn a_pace_that_is_out_of_date_is_none_and_the_limit_stays() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 0, 0).await;
    assert_eq!(verdict(&service, 10, "batch").await["verdict"], "wait");
    service.advance(TimeDelta::hours(2));
    assert_eq!(verdict(&service, 10, "batch").await["verdict"], "allow");
    assert_eq!(verdict(&service, 991, "batch").await["verdict"], "wait", "held by the one before");
    assert_eq!(verdict(&service, 1001, "batch").await["verdict"], "stop");
}

#[tokio::test]
async fn every_replica_that_has_read_the_pace_decides_alike() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 100, 60).await;
    // A replica that starts reads what is there.
    let other = service.replica().await;
    assert_eq!(verdict(&service, 60, "batch").await["verdict"], "allow");
    assert_eq!(verdict(&other, 1, "batch").await["verdict"], "wait");
    assert_eq!(verdict(&other, 40, "standard").await["verdict"], "allow");
    assert_eq!(verdict(&service, 1, "standard").await["verdict"], "wait");
}

#[tokio::test]
async fn a_budget_that_is_not_paced_looks_at_no_pace() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 0, 0).await;
    budget(&service, "month", "tokens", "1000", json!({})).await;
    assert_eq!(
        verdict(&service, 10, "batch").await["verdict"],
        "allow",
        "pacing was taken off, the pace is still stored"
    );
}

#[tokio::test]
async fn a_pace_in_another_measure_is_none() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 0, 0).await;
    service.advance(TimeDelta::seconds(1));
    paced_budget(&service, json!({"measure": "requests"})).await;
    assert_eq!(verdict(&service, 10, "batch").await["verdict"], "allow");
}

#[tokio::test]
async fn a_cap_is_what_the_pace_leaves() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 100, 60).await;
    let body = ask(10, 500, json!({"priority": "batch", "allow_cap": true}));
    let capped = preflight(&service, body).await;
    assert_eq!(capped["verdict"], "cap");
    assert_eq!(capped["max_output"], 50);
    assert_eq!(capped["band"], "amber");
}

#[tokio::test]
async fn a_call_that_has_begun_is_not_slowed_down() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 60, 60).await;
    let granted = verdict(&service, 60, "batch").await;
    let extend = format!("/v1/reservations/{}/extend", granted["reservation"].as_str().unwrap());
    let extended = service.call("POST", &extend, json!({"ttl_seconds": 60, "more_output": 100})).await.ok();
    assert_eq!(extended["verdict"], "allow", "{extended:#}");
}
