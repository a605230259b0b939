//! `/v1/verdicts`: why was this agent stopped at 03:12.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::get;
use crate::support::service::TestService;

/// A tenant whose day's tokens are nearly gone; calls of 500 tokens do not fit.
async fn nearly_gone() -> TestService {
    let service = TestService::start_at("2026-06-10T03:10:30Z").await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    let budget = json!({"scope": {"tenant": "acme"}, "measure": "tokens", "limit": "1000", "period": {"kind": "day"}, "timezone": "tenant", "enforcement": "hard"});
    service.call("PUT", "/v1/budgets/acme-day", budget).await.ok();
    let usage =
        json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"output": 900}});
    service.call("POST", "/v1/usage", usage).await.ok();
    service
}

fn ask(feature: &str, run: &str) -> Value {
    json!({
        "tenant": "acme", "feature": feature, "provider": "openai", "model": "gpt-4o", "run": run, "agent": "triage",
        "estimate": {"input": 100, "max_output": 400}
    })
}

#[tokio::test]
async fn a_stop_with_a_key_is_found_again_with_the_numbers_that_were_answered() {
    let service = nearly_gone().await;
    service.advance(TimeDelta::seconds(100));
    let told = service.call_keyed("k-1", "POST", "/v1/preflight", ask("chat", "r-42")).await.ok();
    assert_eq!(told["verdict"], "stop");
    let page =
        get(&service, "/v1/verdicts?run=r-42&agent=triage&from=2026-06-10T03:12:00Z&to=2026-06-10T03:13:00Z").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let found = &page["items"][0];
    assert_eq!(found["answer"], told, "the same numbers");
    assert_eq!((&found["verdict"], &found["budget"], &found["count"]), (&json!("stop"), &json!("acme-day"), &json!(1)));
    assert_eq!(
        (&found["idempotency_key"], &found["run"], &found["model"]),
        (&json!("k-1"), &json!("r-42"), &json!("gpt-4o"))
    );
    assert_eq!(found["first_at"], "2026-06-10T03:12:10Z");
    assert_eq!(get(&service, &format!("/v1/verdicts/{}", found["id"].as_str().unwrap())).await, *found);
    // A retry is told the same, and is no second refusal.
    assert_eq!(service.call_keyed("k-1", "POST", "/v1/preflight", ask("chat", "r-42")).await.ok(), told);
    assert_eq!(get(&service, "/v1/verdicts").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(get(&service, "/v1/verdicts?to=2026-06-10T03:12:00Z").await["items"], json!([]));
}

#[tokio::test]
async fn stops_without_a_key_are_counted_by_the_minute_with_the_numbers_of_the_latest() {
    let service = nearly_gone().await;
    for _ in 0..5 {
        assert_eq!(service.call("POST", "/v1/preflight", ask("chat", "r-1")).await.ok()["verdict"], "stop");
        service.advance(TimeDelta::seconds(10));
    }
    let items = get(&service, "/v1/verdicts").await["items"].as_array().unwrap().clone();
    let counts: Vec<_> = items.iter().map(|item| item["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [2, 3], "newest first: three before 03:11, two after");
    assert_eq!(items[1]["first_at"], "2026-06-10T03:10:30Z");
    assert_eq!(items[1]["last_at"], "2026-06-10T03:10:50Z");
    assert_eq!(items[0]["answer"]["budgets"][0]["posted"], "900");
    for item in &items {
        assert_eq!(
            (&item["run"], &item["model"]),
            (&Value::Null, &Value::Null),
            "not known of those that were counted"
        );
        assert_eq!(get(&service, &format!("/v1/verdicts/{}", item["id"].as_str().unwrap())).await, *item);
    }
    assert_eq!(get(&service, "/v1/verdicts?run=r-1").await["items"], json!([]), "so a run is not found among them");
    // A minute that began before the span and lasted into it is part of it.
    let overlapping = get(&service, "/v1/verdicts?from=2026-06-10T03:10:45Z&to=2026-06-10T03:11:00Z").await;
    assert_eq!(overlapping["items"], json!([items[1]]));
}

#[tokio::test]
async fn pages_and_filters_cover_both_kinds() {
    let service = nearly_gone().await;
    for n in 0..30 {
        let body = ask(if u32::is_multiple_of(n, 3) { "search" } else { "chat" }, "r-1");
        let told = if n.is_multiple_of(2) {
            service.call_keyed(&format!("k-{n}"), "POST", "/v1/preflight", body).await
        } else {
            service.call("POST", "/v1/preflight", body).await
        };
        assert_eq!(told.ok()["verdict"], "stop");
        if n % 4 == 3 {
            service.advance(TimeDelta::seconds(25));
        }
    }
    let all = get(&service, "/v1/verdicts?limit=1000").await["items"].as_array().unwrap().clone();
    assert_eq!(all.iter().map(|item| item["count"].as_u64().unwrap()).sum::<u64>(), 30);
    let instants: Vec<&str> = all.iter().map(|item| item["first_at"].as_str().unwrap()).collect();
    assert!(instants.is_sorted_by(|one, two| one >= two), "{instants:?}");
    for limit in [1, 4] {
        let (mut walked, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&service, &format!("/v1/verdicts?limit={limit}{cursor}")).await;
            walked.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(walked, all, "pages of {limit}");
    }
    for (query, field, value) in [
        ("feature=search", "feature", json!("search")),
        ("budget=acme-day", "budget", json!("acme-day")),
        ("verdict=stop", "verdict", json!("stop")),
        ("run=r-1", "run", json!("r-1")),
    ] {
        let found =
            get(&service, &format!("/v1/verdicts?limit=1000&{query}")).await["items"].as_array().unwrap().clone();
        let expect: Vec<_> = all.iter().filter(|item| item[field] == value).cloned().collect();
        assert!(!expect.is_empty());
        assert_eq!(found, expect, "{query}");
    }
    for query in ["verdict=wait", "budget=other", "feature=other", "tenant=other"] {
        assert_eq!(get(&service, &format!("/v1/verdicts?{query}")).await["items"], json!([]), "{query}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_and_a_strange_id_is_not_found() {
    let service = nearly_gone().await;
    for (query, field) in [
        ("verdict=maybe", "verdict"),
        ("budget=%00", "budget"),
        ("from=0001-01-01T00:00:00Z", "from"),
        ("cursor=abc", "cursor"),
        ("limit=0", "limit"),
        ("colour=red", "colour"),
    ] {
        let refused = service.call("GET", &format!("/v1/verdicts?{query}"), Value::Null).await;
        assert_eq!(refused.status, 422, "{query}: {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], field, "{query}");
    }
    for id in ["x", "0199ffff-0000-7000-8000-000000000000", "eyJ9", "%00"] {
        let refused = service.call("GET", &format!("/v1/verdicts/{id}"), Value::Null).await;
        assert_eq!(refused.problem(), (404, "not_found"), "{id}");
    }
}
