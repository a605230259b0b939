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

/// A spend limit as OpenAI says it: without saying when it comes back.
fn spent(occurred_at: Option<&str>) -> Value {
    let mut signal = json!({
        "provider": "openai", "status": 429, "body": {"error": {"code": "organization_spend_limit_exceeded"}}
    });
    if let Some(at) = occurred_at {
        signal["occurred_at"] = json!(at);
    }
    signal
}

/// A service at an instant, with a monthly quota at a provider.
async fn at(now: &str, provider: &str) -> TestService {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    let mut body = quota("1000000");
    body["scope"] = json!({"provider": provider});
    service.call("PUT", "/v1/budgets/q", body).await.ok();
    service.advance(now.parse::<chrono::DateTime<chrono::Utc>>().unwrap() - service.now());
    service
}

#[tokio::test]
async fn a_refusal_in_the_second_of_the_reset_does_not_close_the_month_that_begins() {
    let service = at("2026-07-01T00:00:01Z", "openai").await;
    let told = service.call("POST", "/v1/signals", spent(None)).await.ok();
    let closed = json!([{"budget": "q", "until": "2026-07-01T00:01:01Z", "computed": true}]);
    assert_eq!((&told["closed"], &told["retry_at"]), (&closed, &json!("2026-07-01T00:01:01Z")));
    let refused = service.call("POST", "/v1/preflight", call("openai")).await.ok();
    assert_eq!((&refused["verdict"], &refused["reasons"][0]["code"]), (&json!("wait"), &json!("closed_by_provider")));
    service.advance(TimeDelta::seconds(62));
    assert_eq!(service.call("POST", "/v1/preflight", call("openai")).await.ok()["verdict"], "allow");
    // It goes on: twice as long.
    let told = service.call("POST", "/v1/signals", spent(None)).await.ok();
    assert_eq!(told["closed"][0]["until"], "2026-07-01T00:03:03Z");
    // One that was under way until then, and is delivered late.
    service.advance(TimeDelta::minutes(20));
    let told = service.call("POST", "/v1/signals", spent(Some("2026-06-30T23:58:00Z"))).await.ok();
    assert_eq!((&told["closed"], &told["note"]), (&json!([]), &json!("the quota has reset by now")));
}

#[tokio::test]
async fn a_quota_that_was_closed_by_a_guess_lets_one_call_a_minute_through_and_opens_when_it_succeeds() {
    let service = at("2026-06-10T12:00:00Z", "openai").await;
    let told = service.call("POST", "/v1/signals", spent(None)).await.ok();
    assert_eq!(told["closed"], json!([{"budget": "q", "until": "2026-07-01T00:00:00Z", "computed": true}]));
    let ask = || async { service.call("POST", "/v1/preflight", call("openai")).await.ok() };
    assert_eq!(ask().await["verdict"], "stop");
    let mut question = call("openai");
    question["reserve"] = json!(false);
    service.advance(TimeDelta::seconds(60));
    let asked = service.call("POST", "/v1/preflight", question).await.ok();
    assert_eq!(asked["verdict"], "stop", "a question is no probe");
    let probe = ask().await;
    assert_eq!(
        (&probe["verdict"], &probe["budgets"][0]["closed_until"]),
        (&json!("allow"), &told["closed"][0]["until"])
    );
    assert_eq!(ask().await["verdict"], "stop", "one a minute");
    service.advance(TimeDelta::seconds(60));
    let second = ask().await;
    assert_eq!(second["verdict"], "allow");
    // A call that failed says nothing; one that succeeded opens the quota.
    let settle = |probe: &Value, body: Value| {
        let path = format!("/v1/reservations/{}/settle", probe["reservation"].as_str().unwrap());
        let service = &service;
        async move { service.call("POST", &path, body).await.ok() }
    };
    settle(&probe, json!({"outcome": "failed"})).await;
    assert_eq!(ask().await["verdict"], "stop");
    settle(&second, json!({"usage": {"input": 1, "output": 1}})).await;
    assert_eq!(ask().await["verdict"], "allow");
}

#[tokio::test]
async fn a_success_that_came_after_the_refusal_opens_the_quota_and_is_recorded() {
    let service = world().await;
    service.call("POST", "/v1/signals", gone("2026-07-01 at 00:00")).await.ok();
    let other = service.replica().await;
    let ask = || async { other.call("POST", "/v1/preflight", call("anthropic")).await.ok()["verdict"].clone() };
    assert_eq!(ask().await, "stop");
    service.advance(TimeDelta::minutes(5));
    assert_eq!(ask().await, "stop", "the provider gave the instant: no probes");
    let success =
        |model: &str, at: &str| json!({"provider": "anthropic", "model": model, "status": 200, "occurred_at": at});
    for (model, at) in [("claude-sonnet-4-5", "2026-06-10T11:59:59Z"), ("claude-haiku-4-5", "2026-06-10T12:04:00Z")] {
        let told = service.call("POST", "/v1/signals", success(model, at)).await.ok();
        assert_eq!((told.get("reopened"), &told["signal"]), (None, &Value::Null), "{model} {at}");
    }
    assert_eq!(ask().await, "stop");
    let told =
        service.call_keyed("k", "POST", "/v1/signals", success("claude-sonnet-4-5", "2026-06-10T12:04:00Z")).await.ok();
    assert_eq!(told["reopened"], json!(["anthropic-quota"]));
    assert_eq!(ask().await, "allow");
    let list = service.call("GET", "/v1/signals?limit=1", Value::Null).await.ok();
    assert_eq!((&list["items"][0]["class"], &list["items"][0]["signal"]), (&json!("allow"), &told["signal"]));
}

#[tokio::test]
async fn a_message_about_the_day_closes_no_month() {
    let service = at("2026-06-10T12:00:00Z", "aws").await;
    let per_day = json!({
        "provider": "aws", "status": 429, "body": {"message": "Too many tokens per day, please wait before trying again."}
    });
    let told = service.call("POST", "/v1/signals", per_day).await.ok();
    assert_eq!((&told["class"], &told["closed"]), (&json!("stop"), &json!([])));
    assert!(told["note"].as_str().unwrap().contains("limit by day"), "{told:#}");
    assert_eq!(service.call("POST", "/v1/preflight", call("aws")).await.ok()["verdict"], "allow");
}

#[tokio::test]
async fn no_date_of_a_provider_closes_a_quota_beyond_its_own_reset() {
    let service = world().await;
    let own = |until: &str| {
        json!({
            "provider": "anthropic", "status": 400, "body": {"error": {
                "type": "invalid_request_error",
                "message": format!("You have reached your specified API usage limits. You will regain access on {until} at 00:00 UTC.")
            }}
        })
    };
    let told = service.call("POST", "/v1/signals", own("9999-12-31")).await.ok();
    assert_eq!(
        told["closed"],
        json!([{"budget": "anthropic-quota", "until": "2026-07-01T00:00:00Z", "computed": true}])
    );
    service.call("PUT", "/v1/budgets/anthropic-quota", quota("50000000")).await.ok();
    let told = service.call("POST", "/v1/signals", own("2027-06-01")).await.ok();
    assert_eq!(
        told["closed"],
        json!([{"budget": "anthropic-quota", "until": "2026-07-02T00:00:00Z", "computed": true}])
    );
}
