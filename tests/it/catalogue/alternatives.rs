//! The models a pre-flight offers where it does not simply allow.

use serde_json::{Value, json};

use super::{ask, monthly, put_budget, tenant};
use crate::support::service::TestService;

fn opus(limit_cap: bool) -> Value {
    let mut call = ask("acme");
    call["model"] = json!("claude-opus-4-1");
    call["allow_cap"] = json!(limit_cap);
    call
}

#[tokio::test]
async fn a_refusal_offers_cheaper_models_of_the_same_provider_that_would_fit() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    put_budget(&service, "acme-usd", monthly("acme", "0.02")).await;
    let stopped = service.call("POST", "/v1/preflight", opus(false)).await.ok();
    assert_eq!(stopped["verdict"], "stop", "1,200 at $15 and 800 at $75 a million are $0.078");
    let offered = stopped["alternatives"].as_array().unwrap().clone();
    assert!((1..=5).contains(&offered.len()), "{offered:#?}");
    let mut last = 0.0;
    for one in &offered {
        assert_eq!(one["provider"], "anthropic");
        let usd: f64 = one["usd"].as_str().unwrap().parse().unwrap();
        assert!(usd <= 0.02 && usd >= last, "cheapest first, and each fits: {offered:#?}");
        last = usd;
        // What is offered holds when it is asked for.
        let mut call = opus(false);
        call["model"] = one["model"].clone();
        call["reserve"] = json!(false);
        let asked = service.call("POST", "/v1/preflight", call).await.ok();
        assert_eq!(
            (&asked["verdict"], &asked["estimate"]["usd"], &asked["estimate"]["gco2e"]),
            (&json!("allow"), &one["usd"], &one["gco2e"])
        );
        assert_eq!(asked["alternatives"], json!([]), "an allowed call is not offered another");
    }
    assert!(!offered.iter().any(|one| one["model"] == "claude-opus-4-1"));
}

#[tokio::test]
async fn a_cap_offers_models_that_fit_the_whole_estimate_with_the_caps_own_hold_given_back() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    put_budget(&service, "acme-usd", monthly("acme", "0.06")).await;
    let capped = service.call_keyed("k-1", "POST", "/v1/preflight", opus(true)).await.ok();
    assert_eq!(capped["verdict"], "cap");
    assert!(!capped["alternatives"].as_array().unwrap().is_empty(), "{capped:#}");
    let again = service.call_keyed("k-1", "POST", "/v1/preflight", opus(true)).await.ok();
    assert_eq!(again["alternatives"], capped["alternatives"], "a retry is told the same");
}

#[tokio::test]
async fn no_model_is_offered_where_none_would_fit() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    put_budget(&service, "calls", json!({
        "scope": {"tenant": "acme"}, "measure": "requests", "limit": "1", "period": {"kind": "day"}, "enforcement": "hard"
    })).await;
    service.call("POST", "/v1/preflight", opus(false)).await.ok();
    let refused = service.call("POST", "/v1/preflight", opus(false)).await.ok();
    assert_ne!(refused["verdict"], "allow");
    assert_eq!(refused["alternatives"], json!([]));
}
