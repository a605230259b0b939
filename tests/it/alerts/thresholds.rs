//! Thresholds and overdrafts: told once, with the numbers, what to do, and where to look.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{acme, evaluate, events, firing, put_budget, short, spend, spend_as};
use crate::support::service::TestService;

#[tokio::test]
async fn each_threshold_is_told_once_however_much_more_is_used() {
    let service = acme().await;
    spend(&service, "acme", 499).await;
    assert_eq!(evaluate(&service).await, 0, "one token below");
    spend(&service, "acme", 1).await;
    assert_eq!(evaluate(&service).await, 1);
    for _ in 0..5 {
        spend(&service, "acme", 10).await;
        service.advance(TimeDelta::minutes(1));
        assert_eq!(evaluate(&service).await, 0);
    }
    spend(&service, "acme", 500).await;
    assert_eq!(evaluate(&service).await, 2, "the second threshold and the overdraft");
    let told: Vec<String> = events(&service).await.iter().map(short).collect();
    assert_eq!(
        told,
        ["threshold raised acme-month at 0.5", "threshold raised acme-month at 0.9", "overdraft raised acme-month"]
    );
    assert_eq!(firing(&service).await.len(), 3);
}

#[tokio::test]
async fn an_event_has_the_numbers_what_to_do_and_paths_that_answer() {
    let service = acme().await;
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    let event = events(&service).await.remove(0);
    let numbers = &event["numbers"];
    for (name, value) in [
        ("limit", json!("1000")),
        ("posted", json!("500")),
        ("held", json!("0")),
        ("headroom", json!("500")),
        ("threshold", json!("0.5")),
        ("used_share", json!("0.5")),
        ("measure", json!("tokens")),
        ("resets_at", json!("2026-07-01T00:00:00Z")),
    ] {
        assert_eq!(numbers[name], value, "{name}: {numbers:#}");
    }
    assert_eq!((&event["tenant"], &event["severity"]), (&json!("acme"), &json!("info")));
    assert_eq!(
        (&event["ends_at"], &event["occurred_at"]),
        (&json!("2026-07-01T00:00:00Z"), &json!("2026-06-10T12:00:00Z"))
    );
    assert!(event["message"].as_str().unwrap().contains("50 %"), "{event:#}");
    assert!(event["advice"].as_str().unwrap().ends_with('.'), "{event:#}");
    for path in event["links"].as_object().unwrap().values() {
        service.call("GET", path.as_str().unwrap(), Value::Null).await.ok();
    }
    let path = format!("/v1/events/{}", event["id"].as_str().unwrap());
    assert_eq!(service.call("GET", &path, Value::Null).await.ok(), event);
}

#[tokio::test]
async fn a_higher_limit_clears_and_crossing_again_is_told_again() {
    let service = acme().await;
    spend(&service, "acme", 1001).await;
    assert_eq!(
        evaluate(&service).await,
        2,
        "of two thresholds that were crossed at once the higher, and the overdraft"
    );
    assert_eq!(firing(&service).await.len(), 3, "the lower one is kept");
    put_budget(&service, "acme-month", json!({"scope": {"tenant": "acme"}, "limit": "4000"})).await;
    assert_eq!(evaluate(&service).await, 2);
    assert_eq!(firing(&service).await, [""; 0]);
    spend(&service, "acme", 1000).await;
    assert_eq!(evaluate(&service).await, 1);
    let told = events(&service).await;
    assert_eq!(
        told.iter().map(short).collect::<Vec<_>>(),
        [
            "threshold raised acme-month at 0.9",
            "overdraft raised acme-month",
            "threshold cleared acme-month at 0.9",
            "overdraft cleared acme-month",
            "threshold raised acme-month at 0.5"
        ]
    );
    assert_eq!(told[3]["raised_by"], told[1]["id"], "which alert it was");
}

#[tokio::test]
async fn a_new_period_forgets_without_a_word_and_can_be_crossed_anew() {
    let service = acme().await;
    put_budget(
        &service,
        "acme-day",
        json!({"scope": {"tenant": "acme"}, "period": {"kind": "day"}, "timezone": "tenant"}),
    )
    .await;
    spend(&service, "acme", 600).await;
    assert_eq!(evaluate(&service).await, 2);
    // 15:00 UTC is midnight in Tokyo.
    service.advance(TimeDelta::hours(3));
    assert_eq!(evaluate(&service).await, 0);
    assert_eq!(firing(&service).await, ["threshold raised acme-month at 0.5"]);
    spend(&service, "acme", 200).await;
    assert_eq!(evaluate(&service).await, 0);
    spend(&service, "acme", 300).await;
    assert_eq!(evaluate(&service).await, 3, "the day's first again, the month's second and its overdraft");
}

#[tokio::test]
async fn a_sliding_window_clears_when_what_was_used_has_left_it() {
    let service = acme().await;
    put_budget(
        &service,
        "acme-hour",
        json!({"scope": {"tenant": "acme"}, "limit": "100", "period": {"kind": "sliding", "seconds": 3600}}),
    )
    .await;
    spend(&service, "acme", 60).await;
    service.advance(TimeDelta::minutes(30));
    assert_eq!(evaluate(&service).await, 1);
    service.advance(TimeDelta::minutes(25));
    assert_eq!(evaluate(&service).await, 0);
    service.advance(TimeDelta::minutes(10));
    assert_eq!(evaluate(&service).await, 1);
    let told: Vec<String> = events(&service).await.iter().map(short).collect();
    assert_eq!(told, ["threshold raised acme-hour at 0.5", "threshold cleared acme-hour at 0.5"]);
    assert_eq!(events(&service).await[1]["tenant"], "acme");
}

#[tokio::test]
async fn a_threshold_that_is_new_is_looked_for_among_what_was_used_before() {
    let service = acme().await;
    spend(&service, "acme", 400).await;
    assert_eq!(evaluate(&service).await, 0);
    put_budget(&service, "acme-month", json!({"scope": {"tenant": "acme"}, "thresholds": ["0.3"]})).await;
    put_budget(&service, "late", json!({"each": "feature", "thresholds": ["0.4"]})).await;
    assert_eq!(evaluate(&service).await, 2);
    let told = events(&service).await;
    assert_eq!(
        told.iter().map(short).collect::<Vec<_>>(),
        ["threshold raised acme-month at 0.3", "threshold raised late at 0.4"]
    );
    assert_eq!(
        (&told[1]["key"], &told[1]["links"]["budget"]),
        (&json!("acme/chat"), &json!("/v1/budgets/late?key=acme%2Fchat"))
    );
    // What is no threshold any more, or no budget, fires no more, and nobody is told of that.
    put_budget(&service, "acme-month", json!({"scope": {"tenant": "acme"}, "thresholds": []})).await;
    service.call("DELETE", "/v1/budgets/late", Value::Null).await.ok();
    assert_eq!(evaluate(&service).await, 0);
    assert_eq!(firing(&service).await, [""; 0]);
}

#[tokio::test]
async fn ten_thousand_runs_past_their_threshold_are_twenty_alerts_and_a_storm() {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    put_budget(&service, "per-run", json!({"each": "run", "period": {"kind": "once"}, "thresholds": ["0.9"]})).await;
    let runs = |from: usize, to: usize| -> Value {
        let one = |n| json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "run": format!("r-{n}"), "usage": {"output": 950}});
        (from..to).map(one).collect()
    };
    service.call("POST", "/v1/usage", runs(0, 10_000)).await.ok();
    assert_eq!(evaluate(&service).await, 21);
    let told = events(&service).await;
    let storm = told.iter().find(|event| event["kind"] == "storm").unwrap();
    assert_eq!((&storm["numbers"]["muted"], &storm["budget"]), (&json!(9_980), &json!("per-run")));
    // All of them fire, and can be looked at.
    let page = service.call("GET", "/v1/alerts?kind=threshold&limit=1000", Value::Null).await.ok();
    assert!(page["next_cursor"].is_string());
    service.call("POST", "/v1/usage", runs(10_000, 10_100)).await.ok();
    assert_eq!(evaluate(&service).await, 0, "the storm stands for these as well");
    service.advance(TimeDelta::minutes(61));
    service.call("POST", "/v1/usage", runs(10_100, 10_101)).await.ok();
    assert_eq!(evaluate(&service).await, 1, "after the storm each is told again");
}

#[tokio::test]
async fn two_replicas_tell_it_once() {
    let service = acme().await;
    let other = service.replica().await;
    spend(&service, "acme", 950).await;
    let now = service.now();
    let (one, two) = tokio::join!(service.app.evaluate_alerts(now), other.app.evaluate_alerts(now));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.events + two.events, 1, "{one:?} {two:?}");
    assert_eq!(evaluate(&other).await, 0);
}

#[tokio::test]
async fn holds_wake_nobody() {
    let service = acme().await;
    let ask = json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "estimate": {"input": 100, "max_output": 800}});
    assert_eq!(service.call("POST", "/v1/preflight", ask).await.ok()["verdict"], "allow");
    spend_as(&service, json!({"usage": {"output": 1}})).await;
    assert_eq!(evaluate(&service).await, 0);
}
