//! E, L, O, R: what was used is what is charged, at its price, always.

use serde_json::{Value, json};

use crate::support::audit::{assert_none, findings};
use crate::support::service::TestService;
use crate::support::story::{acme, ask, budget, on, preflight, reserve};

#[tokio::test]
async fn e_what_was_used_is_posted_above_the_hold_late_and_without_headroom() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "100", json!({})).await;
    let first = reserve(&service, 49).await;
    let second = reserve(&service, 49).await;
    let over = service.call("POST", &on(&first, "settle"), json!({"usage": {"input": 49, "output": 500}})).await.ok();
    assert_eq!(over["flags"], json!(["overrun"]));
    let state = &over["budgets"][0];
    assert_eq!([&state["posted"], &state["held"], &state["headroom"]], ["549", "50", "-499"]);
    assert_eq!(state["overdrawn"], true);
    // The other hold is untouched, and settles as if nothing had been.
    assert_eq!(service.call("POST", &on(&second, "settle"), json!({"usage": {"input": 50}})).await.status, 200);
    let usage =
        json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 7}});
    let direct = service.call("POST", "/v1/usage", usage).await.ok();
    assert_eq!(direct["budgets"][0]["posted"], "606");
    assert_eq!(preflight(&service, ask(0, 1, json!({}))).await["verdict"], "stop");
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn l_cached_tokens_are_priced_as_cached_however_the_provider_counts_them() {
    let service = TestService::start().await;
    acme(&service).await;
    // The same call, as each of them reports it: 1,000 fresh tokens, 9,000 read from a cache, 500 written back.
    let shapes = [
        // Anthropic: input excludes what was cached. $3, $0.30, $15 a million.
        (
            "anthropic",
            "claude-sonnet-4-5",
            json!({
                "input_tokens": 1000, "cache_read_input_tokens": 9000, "cache_creation_input_tokens": 0, "output_tokens": 500
            }),
            "0.0132",
        ),
        // OpenAI: prompt_tokens includes what was cached. $2.50, $1.25, $10 a million.
        (
            "openai",
            "gpt-4o",
            json!({
                "prompt_tokens": 10000, "completion_tokens": 500, "total_tokens": 10500,
                "prompt_tokens_details": {"cached_tokens": 9000}
            }),
            "0.01875",
        ),
    ];
    for (provider, model, raw, usd) in shapes {
        let usage =
            json!({"tenant": "acme", "feature": "chat", "provider": provider, "model": model, "provider_usage": raw});
        let posted = service.call("POST", "/v1/usage", usage).await.ok();
        assert_eq!(posted["usage"]["input"], 1000, "{provider}");
        assert_eq!(posted["usage"]["cache_read"], 9000, "{provider}");
        assert_eq!(posted["amounts"]["tokens"], 10_500, "{provider}");
        assert_eq!(posted["amounts"]["usd"], usd, "{provider}");
    }
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn o_a_model_without_a_price_is_never_free_and_a_strict_tenant_refuses_it() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "usd", "usd", "100", json!({})).await;
    let unknown = |tenant: &str| ask(1000, 1000, json!({"tenant": tenant, "model": "claude-unheard-of-9"}));
    let answer = preflight(&service, unknown("acme")).await;
    let usd: f64 = answer["estimate"]["usd"].as_str().unwrap().parse().unwrap();
    assert!(usd > 0.05, "the worst known price of that provider: {usd}");
    assert!(answer["reasons"].as_array().unwrap().iter().any(|reason| reason["code"] == "unpriced_model"));
    let settle = on(answer["reservation"].as_str().unwrap(), "settle");
    let posted = service.call("POST", &settle, json!({"usage": {"input": 1000, "output": 1000}})).await.ok();
    assert_eq!(posted["budgets"][0]["posted"], answer["estimate"]["usd"]);
    assert!(posted["flags"].as_array().unwrap().contains(&json!("unpriced_model")));

    service.call("PUT", "/v1/tenants/strict", json!({"timezone": "Etc/UTC", "strict": true})).await.ok();
    let refused = service.call("POST", "/v1/preflight", unknown("strict")).await;
    assert_eq!(refused.problem(), (422, "unpriced_model"));
    // Truth first: what was used is recorded, also there.
    let usage = json!({
        "tenant": "strict", "feature": "chat", "provider": "anthropic", "model": "claude-unheard-of-9", "usage": {"input": 5}
    });
    let posted = service.call("POST", "/v1/usage", usage).await.ok();
    assert_ne!(posted["amounts"]["usd"], "0");
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn r_the_tier_is_chosen_by_the_estimate_and_again_by_what_was_used() {
    let service = TestService::start().await;
    acme(&service).await;
    // Claude Sonnet 4.5: above 200,000 tokens of input the whole call costs twice as much.
    let answer = preflight(&service, ask(150_000, 1000, json!({}))).await;
    assert_eq!(answer["estimate"]["usd"], "0.465");
    let settle = on(answer["reservation"].as_str().unwrap(), "settle");
    let posted = service.call("POST", &settle, json!({"usage": {"input": 250_000, "output": 1000}})).await.ok();
    assert_eq!(posted["amounts"]["usd"], "1.5225", "250,000 at $6 and 1,000 at $22.50 a million");
    assert_eq!((&posted["held_tier_from"], &posted["price_tier_from"]), (&json!(0), &json!(200_001)));
    assert_eq!(posted["flags"], json!(["overrun"]));
}

#[tokio::test]
async fn k_and_m_a_call_that_was_cut_or_timed_out_is_charged_and_flagged() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let cases = [
        (json!({"outcome": "timed_out"}), 100, json!(["unconfirmed"])),
        (json!({"outcome": "cancelled"}), 100, json!(["unconfirmed"])),
        (json!({"outcome": "cancelled", "usage": {"input": 99, "output": 0}}), 99, json!([])),
        (json!({"outcome": "failed"}), 0, json!([])),
        (json!({"outcome": "completed", "usage": {}}), 0, json!([])),
    ];
    for (body, tokens, flags) in cases {
        let posted = service.call("POST", &on(&reserve(&service, 99).await, "settle"), body.clone()).await.ok();
        assert_eq!(posted["amounts"]["tokens"], tokens, "{body}");
        let said: Vec<Value> = posted["flags"].as_array().unwrap().clone();
        let said: Vec<Value> = said.into_iter().filter(|flag| !flag.as_str().unwrap().contains("factor")).collect();
        assert_eq!(json!(said), flags, "{body}");
        assert_eq!(posted["budgets"][0]["held"], "0");
    }
    let missing = service.call("POST", &on(&reserve(&service, 99).await, "settle"), json!({})).await;
    assert_eq!(missing.problem(), (422, "invalid_usage"));
    assert_none(&findings(service.db.pool()).await);
}
