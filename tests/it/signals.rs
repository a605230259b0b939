//! `POST /v1/signals`: what a provider's answer means, and the quota that is closed by it.

use chrono::TimeDelta;
use counterfoil::auth::Scope;
use serde_json::{Value, json};

use crate::support::service::TestService;

/// A service with a tenant, and a monthly quota at anthropic with plenty of room.
async fn world() -> TestService {
    let service = TestService::start().await;
    for tenant in ["acme", "bolt"] {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": "Europe/Berlin"})).await.ok();
    }
    service.call("PUT", "/v1/budgets/anthropic-quota", quota("40000000")).await.ok();
    service
}

fn quota(limit: &str) -> Value {
    json!({
        "scope": {"provider": "anthropic"}, "measure": "tokens", "limit": limit, "kind": "quota",
        "period": {"kind": "month", "anchor_day": 1}, "timezone": "Etc/UTC", "enforcement": "hard"
    })
}

/// The cap of a tier, as Anthropic says it.
fn gone(until: &str) -> Value {
    json!({
        "provider": "anthropic", "model": "claude-sonnet-4-5", "status": 429, "headers": {"request-id": "req_1"},
        "body": {"type": "error", "error": {
            "type": "rate_limit_error", "message": format!("You will regain access on {until} UTC."),
            "details": {"error_code": "enforced_spend_limit_reached"}
        }}
    })
}

fn call(provider: &str) -> Value {
    json!({
        "tenant": "acme", "feature": "chat", "provider": provider, "model": "claude-sonnet-4-5",
        "estimate": {"input": 10, "max_output": 10}, "allow_cap": true
    })
}

#[tokio::test]
async fn a_quota_that_the_provider_says_is_gone_stops_calls_until_it_resets_on_every_replica() {
    let service = world().await;
    let other = service.replica().await;
    assert_eq!(other.call("POST", "/v1/preflight", call("anthropic")).await.ok()["verdict"], "allow");
    let told = service.call("POST", "/v1/signals", gone("2026-07-01 at 00:00")).await.ok();
    assert_eq!([&told["class"], &told["kind"], &told["rule"]], ["stop", "quota", "anthropic-tier-spend-limit"]);
    assert_eq!(told["closed"], json!([{"budget": "anthropic-quota", "until": "2026-07-01T00:00:00Z"}]));

    for replica in [&service.one, &other] {
        let refused = replica.call("POST", "/v1/preflight", call("anthropic")).await;
        assert!(!refused.headers.contains_key("retry-after"), "known SDKs sleep for as long as it says");
        let refused = refused.ok();
        assert_eq!((&refused["verdict"], &refused["resets_at"]), (&json!("stop"), &json!("2026-07-01T00:00:00Z")));
        assert_eq!(refused["reasons"][0]["code"], "closed_by_provider");
        assert_eq!(refused["budgets"][0]["closed_until"], "2026-07-01T00:00:00Z");
        assert_eq!(replica.call("POST", "/v1/preflight", call("openai")).await.ok()["verdict"], "allow");
    }
    let state = service.call("GET", "/v1/budgets/anthropic-quota", Value::Null).await.ok();
    assert_eq!(state["counters"][0]["closed_until"], "2026-07-01T00:00:00Z");

    // What is spent is recorded all the same.
    let used = json!({"tenant": "acme", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5", "usage": {"input": 5}});
    service.call("POST", "/v1/usage", used).await.ok();

    service.advance("2026-06-30T23:59:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap() - service.now());
    let soon = service.call("POST", "/v1/preflight", call("anthropic")).await.ok();
    assert_eq!(soon["verdict"], "wait", "a minute is waited for");
    service.advance(TimeDelta::seconds(60));
    assert_eq!(other.call("POST", "/v1/preflight", call("anthropic")).await.ok()["verdict"], "allow");
    let state = service.call("GET", "/v1/budgets/anthropic-quota", Value::Null).await.ok();
    assert!(state["counters"][0].get("closed_until").is_none(), "{state:#}");
}

#[tokio::test]
async fn a_quota_that_was_raised_is_open_again() {
    let service = world().await;
    service.call("POST", "/v1/signals", gone("2026-07-01 at 00:00")).await.ok();
    assert_eq!(service.call("POST", "/v1/preflight", call("anthropic")).await.ok()["verdict"], "stop");
    service.call("PUT", "/v1/budgets/anthropic-quota", quota("50000000")).await.ok();
    assert_eq!(service.call("POST", "/v1/preflight", call("anthropic")).await.ok()["verdict"], "allow");
}

#[tokio::test]
async fn a_thousand_replies_of_one_kind_are_one_change_of_the_catalogue() {
    let service = world().await;
    let version = || async {
        service.app.catch_up().await.unwrap();
        service.app.snapshots.latest().catalogue.version
    };
    let before = version().await;
    for _ in 0..3 {
        service.call("POST", "/v1/signals", gone("2026-07-01 at 00:00")).await.ok();
    }
    assert_eq!(version().await, before + 1);
    let list = service.call("GET", "/v1/signals?limit=2", Value::Null).await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(list["items"][0]["budgets"], json!(["anthropic-quota"]));
    let cursor = list["next_cursor"].as_str().unwrap();
    let rest = service.call("GET", &format!("/v1/signals?limit=2&cursor={cursor}"), Value::Null).await.ok();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
}

#[tokio::test]
async fn only_a_stop_for_a_quota_closes_one() {
    let service = world().await;
    let signal = |status: u16, headers: Value, kind: &str, message: &str| json!({"provider": "anthropic", "status": status, "headers": headers, "body": {"error": {"type": kind, "message": message}}});
    for (signal, class, kind) in [
        (signal(429, json!({"retry-after": "30"}), "rate_limit_error", ""), "wait", "rate_limit"),
        (signal(529, json!({}), "overloaded_error", ""), "wait", "pool"),
        (signal(400, json!({}), "invalid_request_error", "Your credit balance is too low"), "stop", "credit"),
        (signal(429, json!({}), "rate_limit_error", "Slow down"), "unknown", "unknown"),
    ] {
        let told = service.call("POST", "/v1/signals", signal).await.ok();
        assert_eq!([&told["class"], &told["kind"]], [class, kind]);
        assert_eq!(told["closed"], json!([]));
        assert!(told["signal"].is_string(), "it is recorded");
    }
    let success = service.call("POST", "/v1/signals", json!({"provider": "anthropic", "status": 200})).await.ok();
    assert_eq!((&success["class"], &success["signal"]), (&json!("allow"), &Value::Null));
    assert_eq!(service.call("POST", "/v1/preflight", call("anthropic")).await.ok()["verdict"], "allow");
    let list = service.call("GET", "/v1/signals", Value::Null).await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 4);
    let text = list.to_string();
    assert!(
        !text.contains("Slow down") && !text.contains("retry-after"),
        "nothing of headers and body is kept: {text}"
    );
}

#[tokio::test]
async fn a_stop_without_a_quota_of_ours_says_so() {
    let service = world().await;
    let told = service
        .call(
            "POST",
            "/v1/signals",
            json!({"provider": "groq", "status": 400, "body": {"error": {"code": "blocked_api_access"}}}),
        )
        .await
        .ok();
    assert_eq!((&told["class"], &told["retry_at"]), (&json!("stop"), &json!("2026-07-01T00:00:00Z")));
    assert!(told["note"].as_str().unwrap().starts_with("no quota matches"), "{told:#}");
    let mut named = gone("2026-07-01 at 00:00");
    named["budget"] = json!("nobody");
    let told = service.call("POST", "/v1/signals", named).await.ok();
    assert_eq!(told["note"], "budget `nobody` is no quota");
}

#[tokio::test]
async fn a_signal_is_recorded_once_for_its_key() {
    let service = world().await;
    let first = service.call_keyed("s-1", "POST", "/v1/signals", gone("2026-07-01 at 00:00")).await.ok();
    let again = service.call_keyed("s-1", "POST", "/v1/signals", gone("2026-07-01 at 00:00")).await.ok();
    assert_eq!(first, again);
    let other = service.call_keyed("s-1", "POST", "/v1/signals", gone("2026-08-01 at 00:00")).await;
    assert_eq!(other.problem(), (409, "idempotency_mismatch"));
    let list = service.call("GET", "/v1/signals", Value::Null).await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_confined_token_closes_its_own_tenants_quotas_alone() {
    let service = world().await;
    let own = json!({
        "scope": {"provider": "anthropic", "tenant": "acme"}, "measure": "tokens", "limit": "1000", "kind": "quota",
        "period": {"kind": "month", "anchor_day": 1}, "timezone": "Etc/UTC", "enforcement": "hard"
    });
    service.call("PUT", "/v1/budgets/acme-key", own).await.ok();
    let token = |tenant: &str| service.token(&[Scope::UsageWrite, Scope::Read], Some(tenant));
    let (acme, bolt) = (token("acme"), token("bolt"));
    let told = service.call_as(&bolt, "POST", "/v1/signals", &[], gone("2026-07-01 at 00:00")).await.ok();
    assert_eq!(told["closed"], json!([]), "the platform's quota is out of its reach");
    let told = service.call_as(&acme, "POST", "/v1/signals", &[], gone("2026-07-01 at 00:00")).await.ok();
    assert_eq!(told["closed"][0]["budget"], "acme-key");
    let mut foreign = gone("2026-07-01 at 00:00");
    foreign["tenant"] = json!("bolt");
    assert_eq!(service.call_as(&acme, "POST", "/v1/signals", &[], foreign).await.problem(), (403, "forbidden_tenant"));
    let seen = service.call_as(&acme, "GET", "/v1/signals", &[], Value::Null).await.ok();
    let tenants: Vec<&Value> = seen["items"].as_array().unwrap().iter().map(|item| &item["tenant"]).collect();
    assert_eq!(tenants, ["acme"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_signal_is_named() {
    let service = world().await;
    for (signal, field) in [
        (json!({"provider": "anthropic", "status": 1000}), "status"),
        (json!({"provider": "an thropic", "status": 429}), "provider"),
        (json!({"provider": "anthropic", "status": 429, "colour": "red"}), "colour"),
        (json!({"provider": "anthropic", "status": 429, "occurred_at": "2026-06-09T11:59:59Z"}), "occurred_at"),
        (json!({"provider": "anthropic", "status": 429, "occurred_at": "2026-06-10T12:05:01Z"}), "occurred_at"),
    ] {
        let refused = service.call("POST", "/v1/signals", signal).await;
        assert_eq!(refused.problem(), (422, "invalid_request"));
        assert_eq!(refused.body["errors"][0]["field"], field);
    }
    let reader = service.token(&[Scope::Read], None);
    let refused = service.call_as(&reader, "POST", "/v1/signals", &[], gone("2026-07-01 at 00:00")).await;
    assert_eq!(refused.problem(), (403, "forbidden_scope"));
}
