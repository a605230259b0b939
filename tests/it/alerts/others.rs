//! Alerts that no counter tells: rates, prompts, runs, burn rates, projections.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{acme, evaluate, events, firing, put_budget, short, spend_as};
use crate::support::service::{Replica, TestService};

/// Calls of a feature in one quarter of an hour, with their prompts: from the cache and not.
fn calls(at: DateTime<Utc>, requests: u64, fresh: u64, cached: u64) -> Value {
    json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "requests": requests, "occurred_at": at,
        "usage": {"input": requests * fresh, "cache_read": requests * cached, "output": requests * 10}
    })
}

async fn post(service: &Replica, items: &[Value]) {
    for page in items.chunks(5_000) {
        let posted = service.call("POST", "/v1/usage", json!(page)).await.ok();
        assert!(
            posted["items"].as_array().is_none_or(|items| items.iter().all(|item| item.get("problem").is_none())),
            "{posted:#}"
        );
    }
}

async fn only(service: &Replica, kind: &str) -> Vec<Value> {
    events(service).await.into_iter().filter(|event| event["kind"] == kind).collect()
}

/// Paths of an event that do not answer.
async fn check_links(service: &Replica, event: &Value) {
    for path in event["links"].as_object().unwrap().values() {
        service.call("GET", path.as_str().unwrap(), Value::Null).await.ok();
    }
}

#[tokio::test]
async fn a_model_without_a_price_is_told_once_and_clears_when_it_has_one() {
    let service = acme().await;
    let ask = json!({"provider": "openai", "model": "gpt-unheard-of", "usage": {"output": 10}, "region": "us-east-1"});
    for _ in 0..3 {
        spend_as(&service, ask.clone()).await;
        evaluate(&service).await;
    }
    let told = only(&service, "unpriced_model").await;
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["model"], &told[0]["tenant"]), (&json!("gpt-unheard-of"), &Value::Null));
    assert_eq!(only(&service, "unknown_factor").await.len(), 1, "nothing is known of its size either");
    check_links(&service, &told[0]).await;
    let price = json!({
        "provider": "openai", "model": "gpt-unheard-of", "effective_from": "2026-06-01T00:00:00Z", "source": "contract",
        "source_date": "2026-06-01", "licence": "own", "base": {"input": "1", "output": "2"}
    });
    let example = service.call("GET", "/v1/prices?provider=openai&limit=1", Value::Null).await.ok()["items"][0].clone();
    let mut row = serde_json::Map::new();
    for (name, value) in example.as_object().unwrap() {
        if !["id", "recorded_at"].contains(&name.as_str()) {
            row.insert(name.clone(), value.clone());
        }
    }
    for name in ["model", "effective_from", "source", "source_date", "licence"] {
        row.insert(name.to_owned(), price[name].clone());
    }
    service.call("POST", "/v1/prices", Value::Object(row)).await.ok();
    spend_as(&service, ask).await;
    evaluate(&service).await;
    let told: Vec<String> = only(&service, "unpriced_model").await.iter().map(short).collect();
    assert_eq!(told, ["unpriced_model raised -", "unpriced_model cleared -"]);
}

#[tokio::test]
async fn a_cache_that_fell_and_a_prompt_that_grew_are_told_with_the_day_and_clear_when_they_are_back() {
    let service = acme().await;
    let now = service.now();
    let mut items = Vec::new();
    // 4,000 tokens a call, 92 % of them from the cache; since yesterday 11,000, and 31 %.
    for day in 3..=20 {
        items.push(calls(now - TimeDelta::days(day) + TimeDelta::hours(1), 100, 320, 3_680));
    }
    items.push(calls(now - TimeDelta::hours(30), 100, 7_590, 3_410));
    items.push(calls(now - TimeDelta::hours(6), 100, 7_590, 3_410));
    post(&service, &items).await;
    evaluate(&service).await;
    let told = only(&service, "cache_hit_drop").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["message"], "chat of acme reads 31 % of its prompts from the cache, 92 % before");
    assert_eq!(told[0]["numbers"]["share_after"], "0.31");
    check_links(&service, &told[0]).await;
    let grown = only(&service, "prefix_growth").await;
    assert_eq!(grown[0]["message"], "prompts of chat of acme have 11000 tokens a call, 4000 before");
    assert_eq!((&grown[0]["tenant"], &grown[0]["feature"]), (&json!("acme"), &json!("chat")));
    // Mended: it clears once days are as before.
    service.advance(TimeDelta::days(2));
    post(
        &service,
        &[
            calls(service.now() - TimeDelta::hours(30), 100, 320, 3_680),
            calls(service.now() - TimeDelta::hours(2), 100, 320, 3_680),
        ],
    )
    .await;
    evaluate(&service).await;
    for kind in ["cache_hit_drop", "prefix_growth"] {
        let statuses: Vec<Value> = only(&service, kind).await.iter().map(|event| event["status"].clone()).collect();
        assert_eq!(statuses, ["raised", "cleared"], "{kind}");
    }
}

#[tokio::test]
async fn a_run_that_goes_on_with_a_growing_context_and_one_that_races_are_told() {
    let service = acme().await;
    // A loop: twenty calls in ten minutes, with a prompt that grows from 2,000 tokens by 2,000 each time.
    for step in 1..=8_u64 {
        let prompt = 2_000 * step;
        let body = |run: &str| json!({"run": run, "requests": 20, "occurred_at": service.now(), "usage": {"input": 20 * prompt, "output": 100}});
        spend_as(&service, body("loop")).await;
        evaluate(&service).await;
        service.advance(TimeDelta::minutes(10));
    }
    spend_as(&service, json!({"run": "race", "requests": 400, "usage": {"input": 4_000, "output": 100}})).await;
    evaluate(&service).await;
    evaluate(&service).await;
    let loops = only(&service, "loop_suspicion").await;
    assert_eq!(loops.iter().map(|event| event["run"].clone()).collect::<Vec<_>>(), ["loop"]);
    check_links(&service, &loops[0]).await;
    let races = only(&service, "run_velocity").await;
    assert_eq!(races.iter().map(|event| event["run"].clone()).collect::<Vec<_>>(), ["race"]);
    assert_eq!((&races[0]["severity"], &races[0]["tenant"]), (&json!("critical"), &json!("acme")));
    // Both end; nothing is posted any more, and still it clears.
    service.advance(TimeDelta::minutes(31));
    evaluate(&service).await;
    assert_eq!(only(&service, "loop_suspicion").await.len(), 2);
    assert_eq!(only(&service, "run_velocity").await.len(), 2);
    // Ended a day ago: learnt from and forgotten.
    service.advance(TimeDelta::hours(25));
    evaluate(&service).await;
    let known: (i64, f64) =
        sqlx::query_as("select (select count(*) from alert_runs), (select runs from alert_usual_runs)")
            .fetch_one(service.db.pool())
            .await
            .unwrap();
    assert_eq!(known, (0, 2.0));
}

/// A month's budget of dollars' worth of requests, used on working days from nine to five for five weeks.
async fn office(limit: u64) -> TestService {
    let service = TestService::start_at("2026-06-11T12:00:00Z").await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    put_budget(
        &service,
        "month",
        json!({"scope": {"tenant": "acme"}, "measure": "requests", "limit": limit.to_string(), "thresholds": []}),
    )
    .await;
    let start: DateTime<Utc> = "2026-05-07T00:00:00Z".parse().unwrap();
    let mut items = Vec::new();
    for hour in 0..(35 * 24 + 12) {
        let at = start + TimeDelta::hours(hour);
        let (day, hour) = (hour / 24, hour % 24);
        // The 7th of May is a Thursday.
        if (day + 3) % 7 < 5 && (9..17).contains(&hour) {
            items.push(calls(at, 100, 10, 0));
        }
    }
    post(&service, &items).await;
    service
}

#[tokio::test]
async fn a_budget_that_burns_faster_than_its_own_rhythm_is_told_and_one_that_fits_is_not() {
    // June has 22 working days of eight hours: 17,600 requests.
    let fits = office(20_000).await;
    evaluate(&fits).await;
    assert_eq!(only(&fits, "burn_rate").await, Vec::<Value>::new());
    // A runaway: as much again in every hour of a day and a half.
    let extra: Vec<Value> = (0..36).map(|hour| calls(fits.now() - TimeDelta::hours(hour), 100, 10, 0)).collect();
    post(&fits, &extra).await;
    fits.advance(TimeDelta::minutes(15));
    evaluate(&fits).await;
    let told = only(&fits, "burn_rate").await;
    assert_eq!(told.len(), 1, "{:#?}", firing(&fits).await);
    assert_eq!((&told[0]["severity"], &told[0]["numbers"]["window_hours"]), (&json!("critical"), &json!("24")));
    check_links(&fits, &told[0]).await;
    fits.advance(TimeDelta::minutes(15));
    evaluate(&fits).await;
    assert_eq!(only(&fits, "burn_rate").await.len(), 1, "once");
}

#[tokio::test]
async fn a_budget_that_is_projected_to_run_out_is_told_with_its_quantiles() {
    let service = office(8_000).await;
    service.app.project_round().await.unwrap();
    evaluate(&service).await;
    let told = only(&service, "projected_exhaustion").await;
    assert_eq!(told.len(), 1, "{:#?}", firing(&service).await);
    let numbers = &told[0]["numbers"];
    let at = |name: &str| numbers[name].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert!(service.now() < at("p50") && at("p50") < at("resets_at"), "{numbers:#}");
    check_links(&service, &told[0]).await;
    // A higher limit, a new projection: it clears.
    put_budget(
        &service,
        "month",
        json!({"scope": {"tenant": "acme"}, "measure": "requests", "limit": "100000", "thresholds": []}),
    )
    .await;
    service.advance(TimeDelta::minutes(16));
    service.app.project_round().await.unwrap();
    evaluate(&service).await;
    let statuses: Vec<Value> =
        only(&service, "projected_exhaustion").await.iter().map(|event| event["status"].clone()).collect();
    assert_eq!(statuses, ["raised", "cleared"]);
}
