//! `POST /v1/preflight`: the story of one call.

use serde_json::json;

use crate::support::service::TestService;

#[tokio::test]
async fn a_call_is_granted_settled_and_its_budget_knows() {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Asia/Tokyo"})).await.ok();
    let budget = json!({
        "scope": {"tenant": "acme"}, "measure": "usd", "limit": "1", "period": {"kind": "month"},
        "timezone": "tenant", "enforcement": "hard"
    });
    service.call("PUT", "/v1/budgets/acme-usd", budget).await.ok();
    let ask = json!({
        "tenant": "acme", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "estimate": {"input": 1200, "max_output": 800}
    });
    let answer = service.call("POST", "/v1/preflight", ask).await.ok();
    assert_eq!(answer["verdict"], "allow");
    assert_eq!(answer["estimate"]["usd"], "0.0156", "1,200 at $3 and 800 at $15 a million");
    assert_eq!(answer["budgets"][0]["held"], "0.0156");
    assert_eq!(answer["budgets"][0]["resets_at_local"], "2026-07-01T00:00:00+09:00");

    let settle = format!("/v1/reservations/{}/settle", answer["reservation"].as_str().unwrap());
    let posted = service.call("POST", &settle, json!({"usage": {"input": 1200, "output": 300}})).await.ok();
    assert_eq!(posted["amounts"]["usd"], "0.0081");
    assert_eq!(posted["budgets"][0]["posted"], "0.0081");
    assert_eq!(posted["budgets"][0]["held"], "0");
}
