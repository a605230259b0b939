//! Plans that the service makes of its own journal.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::stored::{spend, verdict};
use crate::support::service::{Replica, TestService};
use crate::support::story::{acme, assert_all_posted, budget};

/// A call that was made: so many tokens of a tenant's.
pub(super) fn used(tenant: &str, tokens: u64, priority: &str, at: DateTime<Utc>) -> Value {
    json!({
        "tenant": tenant, "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "priority": priority, "usage": {"input": tokens}, "occurred_at": at
    })
}

/// Posts what was used in the past, by the thousand.
pub(super) async fn post(replica: &Replica, calls: Vec<Value>) {
    for part in calls.chunks(1000) {
        let answer = replica.call("POST", "/v1/usage", json!(part)).await.ok();
        assert_all_posted(&answer);
    }
}

/// Four weeks in which every hour used so much of each class.
async fn history(service: &TestService, tenant: &str, interactive: u64, batch: u64) {
    let mut calls = Vec::new();
    for hour in 1..=28 * 24 {
        // Into the middle of hours that have ended.
        let at = service.now() - TimeDelta::hours(hour) + TimeDelta::minutes(30);
        for (priority, tokens) in [("interactive", interactive), ("batch", batch)] {
            if tokens > 0 {
                calls.push(used(tenant, tokens, priority, at));
            }
        }
    }
    post(service, calls).await;
}

async fn plan(service: &TestService) -> (Value, Value) {
    service.app.plan_paces().await.unwrap();
    service.app.load_paces().await.unwrap();
    sqlx::query_as("select pace, plan from paces order by period_start limit 1")
        .fetch_one(service.db.pool())
        .await
        .unwrap()
}

#[track_caller]
fn close(is: &Value, expected: f64) {
    let is = is.as_f64().unwrap();
    assert!((is - expected).abs() < 0.02 * expected, "{is} is not about {expected}");
}

#[tokio::test]
async fn what_people_will_need_until_the_reset_is_kept_from_batch() {
    // The 10th at noon: 228 of the month's hours are over, 492 are to come.
    let service = TestService::start().await;
    acme(&service).await;
    history(&service, "acme", 100, 100).await;
    // 22,800 of each were used; 49,200 more will be by people.
    budget(&service, "month", "tokens", "120000", json!({"pacing": "forecast"})).await;
    let (_, figures) = plan(&service).await;
    close(&figures["need"], 49_200.0 * 1.1);
    close(&figures["correction"], 1.0);
    close(&figures["surplus"], 120_000.0 - 45_600.0 - 54_120.0);
    assert_eq!(figures["batch_today"], 1200.0, "twelve hours of today");
    // Today's part of 21 days.
    close(&figures["share"], (20_280.0 + 1200.0) / 21.0);
    assert_eq!(figures["is_ample"], false);

    // The rest of today's share is not there any more: batch waits, people do not.
    assert_eq!(verdict(&service, 10, "batch").await["verdict"], "wait");
    assert_eq!(verdict(&service, 10, "interactive").await["verdict"], "allow");
    // On the next day there is a new one.
    service.advance(TimeDelta::hours(12));
    plan(&service).await;
    assert_eq!(verdict(&service, 900, "batch").await["verdict"], "allow");
    assert_eq!(verdict(&service, 900, "batch").await["verdict"], "wait", "what is held counts as well");
    plan(&service).await;
    assert_eq!(verdict(&service, 900, "batch").await["verdict"], "wait", "also in the plan after it");
}

#[tokio::test]
async fn nobody_waits_where_there_is_enough_for_all() {
    let service = TestService::start().await;
    acme(&service).await;
    history(&service, "acme", 100, 100).await;
    budget(&service, "month", "tokens", "300000", json!({"pacing": "forecast"})).await;
    let (_, figures) = plan(&service).await;
    assert_eq!(figures["is_ample"], true);
    assert_eq!(verdict(&service, 50_000, "batch").await["verdict"], "allow");
}

#[tokio::test]
async fn a_share_is_not_for_the_first_who_comes() {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    service.call("PUT", "/v1/tenants/bolt", json!({"timezone": "Asia/Tokyo"})).await.ok();
    // Each day of the past two weeks both used 1,000 of batch.
    let days = (0..14).flat_map(|day| {
        let at = service.now() - TimeDelta::days(day + 1);
        ["acme", "bolt"].map(|tenant| used(tenant, 1000, "batch", at))
    });
    post(&service, days.collect()).await;
    let quota = json!({"scope": {"provider": "anthropic"}, "pacing": "forecast", "period": {"kind": "day"}});
    budget(&service, "quota", "tokens", "1000", quota.clone()).await;
    // Makes the counter.
    spend(&service, 2, "interactive").await;
    plan(&service).await;
    let ask = async |tenant: &str, tokens: u64| {
        let body = json!({
            "tenant": tenant, "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
            "priority": "batch", "estimate": {"input": tokens - 1, "max_output": 1}, "allow_cap": false, "ttl_seconds": 3600
        });
        service.call("POST", "/v1/preflight", body).await.ok()["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask("acme", 400).await, "allow");
    assert_eq!(ask("acme", 400).await, "wait", "the other half of it is kept for somebody who has not come yet");
    plan(&service).await;
    assert_eq!(ask("acme", 150).await, "wait", "also by the next plan");
    assert_eq!(ask("bolt", 450).await, "allow");
    // With three times the weight, acme's part is three quarters.
    let mut weighted = quota;
    weighted["weights"] = json!({"acme": "3"});
    weighted["limit"] = json!("2000");
    budget(&service, "quota", "tokens", "2000", weighted).await;
    plan(&service).await;
    let (pace, _) = plan(&service).await;
    let room = |tenant: &str| pace["by_tenant"][tenant]["batch"]["quantity"].as_str().unwrap().parse::<f64>().unwrap();
    assert!(room("acme") > 2.5 * room("bolt"), "{pace:#}");
}

#[tokio::test]
async fn a_tenant_that_comes_late_in_the_day_gets_its_part_from_the_next_day_on() {
    let service = TestService::start_at("2026-06-01T00:00:00Z").await;
    acme(&service).await;
    for tenant in ["early", "late"] {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": "Etc/UTC"})).await.ok();
    }
    let fields = json!({
        "scope": {"provider": "anthropic"}, "pacing": "forecast", "period": {"kind": "week"},
        "weights": {"late": "10", "early": "1"}
    });
    budget(&service, "quota", "tokens", "70000", fields).await;
    spend(&service, 2, "interactive").await;
    // Asks for as much as there is, and answers how much that was.
    let take = async |tenant: &str| {
        let body = json!({
            "tenant": tenant, "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
            "priority": "batch", "estimate": {"input": 499, "max_output": 1}, "allow_cap": false
        });
        let mut taken = 0_u64;
        loop {
            let answer = service.call("POST", "/v1/preflight", body.clone()).await.ok();
            let Some(reservation) = answer["reservation"].as_str() else { return taken };
            let path = format!("/v1/reservations/{reservation}/settle");
            service.call("POST", &path, json!({"usage": {"input": 500}})).await.ok();
            taken += 500;
        }
    };
    let mut by_day = Vec::new();
    for _ in 0..4 {
        let (mut early, mut late) = (0, 0);
        for hour in 0..24 {
            plan(&service).await;
            early += take("early").await;
            if hour >= 14 {
                late += take("late").await;
            }
            service.advance(TimeDelta::hours(1));
        }
        by_day.push((early, late));
    }
    let first = by_day.remove(0);
    assert!(first.0 > 5 * first.1, "nobody had heard of it: {first:?}");
    let second = by_day.remove(0);
    assert!(second.1 >= 4_000, "what it asked for the day before is kept for it: {second:?}");
    let (early, late) = by_day.iter().fold((0, 0), |sum, day| (sum.0 + day.0, sum.1 + day.1));
    assert!(late > 4 * early, "ten times the weight: {by_day:?}");
}

#[tokio::test]
async fn the_next_period_has_a_plan_before_it_begins() {
    let service = TestService::start_at("2026-06-30T22:30:00Z").await;
    acme(&service).await;
    history(&service, "acme", 100, 0).await;
    budget(&service, "month", "tokens", "150000", json!({"pacing": "forecast"})).await;
    plan(&service).await;
    service.advance(TimeDelta::minutes(91));
    // Nobody has planned since. A thirty-first of what 31 days of people leave over, and an hour's need.
    let waits = verdict(&service, 5_000, "batch").await;
    assert_eq!(waits["verdict"], "wait", "{waits:#}");
    assert_eq!(waits["budgets"][0]["period_start"], "2026-07-01T00:00:00Z");
    assert_eq!(verdict(&service, 1_500, "batch").await["verdict"], "allow");
}

#[tokio::test]
async fn one_replica_plans_and_all_read() {
    let service = TestService::start().await;
    acme(&service).await;
    history(&service, "acme", 100, 0).await;
    budget(&service, "month", "tokens", "60000", json!({"pacing": "forecast"})).await;
    let other = service.replica().await;
    let (one, two) = tokio::join!(service.app.keep_pace(), other.app.keep_pace());
    one.unwrap();
    two.unwrap();
    // Whoever found the other one planning has read what there was before: the next step reads what it planned.
    for replica in [&service.one, &other] {
        replica.app.keep_pace().await.unwrap();
    }
    assert_eq!(verdict(&service, 1000, "batch").await["verdict"], "wait");
    assert_eq!(verdict(&other, 1000, "batch").await["verdict"], "wait");
    let made_at = async || -> DateTime<Utc> {
        sqlx::query_scalar("select made_at from paces").fetch_one(service.db.pool()).await.unwrap()
    };
    let first = made_at().await;
    service.advance(TimeDelta::seconds(29));
    other.app.keep_pace().await.unwrap();
    assert_eq!(made_at().await, first, "young enough");
    service.advance(TimeDelta::seconds(1));
    other.app.keep_pace().await.unwrap();
    assert_eq!(made_at().await, service.now());
}
