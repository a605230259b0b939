//! X: numbers that are absurd are refused by the name of their field, and nothing is kept of them.

use serde_json::{Value, json};

use crate::support::audit::{assert_none, findings};
use crate::support::service::TestService;
use crate::support::story::{acme, ask, budget, on, reserve};

/// Everything that a write could leave behind.
async fn kept(service: &TestService) -> i64 {
    let all = "select (select count(*) from transfers) + (select count(*) from reservations)
        + (select count(*) from counters) + (select count(*) from idempotency_keys) + (select count(*) from usage_rollup)
        + (select count(*) from refusals) + (select coalesce(sum(count), 0)::bigint from refusal_counts)
        + (select count(*) from budgets) + (select count(*) from tenants)";
    sqlx::query_scalar(all).fetch_one(service.db.pool()).await.unwrap()
}

#[tokio::test]
async fn x_absurd_numbers_are_refused_by_name_and_leave_nothing_behind() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "usd", "100", json!({})).await;
    let open = on(&reserve(&service, 9).await, "settle");
    let before = kept(&service).await;
    let estimate = |estimate: Value| ask(0, 1, json!({"estimate": estimate}));
    let usage = |usage: Value| json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": usage});
    let raw = |raw: Value| json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "provider_usage": raw});
    let limit = |limit: Value| {
        json!({"scope": {"tenant": "acme"}, "measure": "usd", "limit": limit, "period": {"kind": "month"},
            "timezone": "Etc/UTC", "enforcement": "hard"})
    };
    let most = json!(u64::MAX);
    let cases: [(&str, &str, Value, &str); 22] = [
        ("POST", "/v1/preflight", estimate(json!({"input": -1, "max_output": 1})), "input"),
        ("POST", "/v1/preflight", estimate(json!({"input": 1.5, "max_output": 1})), "input"),
        ("POST", "/v1/preflight", estimate(json!({"input": most, "max_output": 1})), "input"),
        ("POST", "/v1/preflight", estimate(json!({"input": 0, "max_output": 2_000_000_000_000_000_u64})), "max_output"),
        (
            "POST",
            "/v1/preflight",
            estimate(json!({"input": 600_000_000_000_000_u64, "max_output": 600_000_000_000_000_u64})),
            "estimate",
        ),
        ("POST", "/v1/preflight", estimate(json!({"input": 0, "max_output": 5, "min_output": 6})), "min_output"),
        ("POST", "/v1/preflight", ask(0, 1, json!({"ttl_seconds": 0})), "ttl_seconds"),
        ("POST", "/v1/preflight", ask(0, 1, json!({"ttl_seconds": 86_401})), "ttl_seconds"),
        ("POST", "/v1/preflight", ask(0, 1, json!({"ttl_seconds": -1})), "ttl_seconds"),
        ("POST", "/v1/preflight", ask(0, 1, json!({"surprise": 1})), "surprise"),
        ("POST", "/v1/usage", usage(json!({"input": -1})), "input"),
        ("POST", "/v1/usage", usage(json!({"input": most, "output": most})), "input"),
        ("POST", "/v1/usage", raw(json!({"prompt_tokens": -5, "completion_tokens": 1})), "prompt_tokens"),
        ("POST", "/v1/usage", raw(json!({"prompt_tokens": most, "completion_tokens": 1})), "prompt_tokens"),
        (
            "POST",
            "/v1/usage",
            raw(json!({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -6}})),
            "cached_tokens",
        ),
        ("POST", &open, json!({"usage": {"output": most}}), "output"),
        ("POST", &open, json!({"usage": {"output": 1}, "provider_usd": "-1"}), "provider_usd"),
        ("POST", &open, json!({"usage": {"output": 1}, "provider_usd": "99999999999999999999"}), "provider_usd"),
        ("POST", &open, json!({"usage": {"output": 1}, "latency_ms": 4_000_000_000_u64}), "latency_ms"),
        ("PUT", "/v1/budgets/absurd", limit(json!("-1")), "limit"),
        ("PUT", "/v1/budgets/absurd", limit(json!("99999999999999999999999999")), "limit"),
        ("PUT", "/v1/budgets/absurd", limit(json!("0.0000000000001")), "limit"),
    ];
    for (number, (method, path, body, field)) in cases.into_iter().enumerate() {
        let reply = service.call_keyed(&format!("k-{number}"), method, path, body.clone()).await;
        assert!((400..500).contains(&reply.status), "{method} {path} {body}: {:#}", reply.body);
        let (_, code) = reply.problem();
        assert_ne!(code, "internal");
        assert!(reply.body.to_string().contains(field), "{field} is not named for {body}: {:#}", reply.body);
        assert_eq!(kept(&service).await, before, "{method} {path} {body}");
    }
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn x_a_counter_that_cannot_keep_a_sum_stays_full_and_the_usage_is_posted() {
    let service = TestService::start().await;
    acme(&service).await;
    // Weighted a thousand times, a thousand and one such calls are more than the column of a counter holds.
    let weights = json!({"measure": {"input": 1000}, "enforcement": "soft"});
    budget(&service, "heavy", "tokens", "1", weights).await;
    let usage = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o",
        "usage": {"input": 10_000_000_000_u64}
    });
    service.call("POST", "/v1/usage", Value::Array(vec![usage.clone(); 1_001])).await.ok();
    let last = service.call("POST", "/v1/usage", usage).await.ok();
    assert_eq!(
        last["budgets"][0]["posted"], "9999999999999999.999999999999",
        "truth first: the usage is in the journal"
    );
    let small = ask(9, 1, json!({"feature": "other"}));
    let reply = service.call("POST", "/v1/preflight", small).await;
    assert!(reply.status < 500, "{:#}", reply.body);
    assert_none(&findings(service.db.pool()).await);
}
