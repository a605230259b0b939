//! Alerts: what is told, once, to whom, and how it gets there. Evaluation and delivery are driven by hand.

mod others;
mod receiver;
mod refusals;
mod secrets;
mod stream;
mod thresholds;
mod tls;
mod webhooks;

use serde_json::{Value, json};

use crate::support::service::{Replica, TestService};

/// A tenant in Tokyo with a monthly budget of a thousand tokens, told of at 50 and 90 %.
pub(crate) async fn acme() -> TestService {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Asia/Tokyo"})).await.ok();
    put_budget(&service, "acme-month", json!({"scope": {"tenant": "acme"}})).await;
    service
}

/// A budget of a thousand tokens a month with two thresholds, but for what is said.
async fn put_budget(service: &TestService, id: &str, but: Value) {
    let mut body = json!({
        "measure": "tokens", "limit": "1000", "period": {"kind": "month"}, "enforcement": "hard", "thresholds": ["0.5", "0.9"]
    });
    body.as_object_mut().unwrap().extend(but.as_object().unwrap().clone());
    service.call("PUT", &format!("/v1/budgets/{id}"), body).await.ok();
}

/// Posts so many tokens of a tenant, at the present.
async fn spend(service: &Replica, tenant: &str, tokens: u64) {
    spend_as(service, json!({"tenant": tenant, "usage": {"output": tokens}})).await;
}

/// Posts usage, with what is said.
async fn spend_as(service: &Replica, but: Value) {
    let mut body = json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o"});
    body.as_object_mut().unwrap().extend(but.as_object().unwrap().clone());
    service.call("POST", "/v1/usage", body).await.ok();
}

/// Evaluates at the present, and answers how many events that made.
async fn evaluate(service: &Replica) -> usize {
    let evaluated = service.app.evaluate_alerts(service.now()).await.unwrap();
    assert!(evaluated.ran);
    evaluated.events
}

/// All events, oldest first.
async fn events(service: &Replica) -> Vec<Value> {
    let page = service.call("GET", "/v1/events?limit=1000", Value::Null).await.ok();
    page["items"].as_array().unwrap().iter().rev().cloned().collect()
}

/// What is firing, as kind and number.
async fn firing(service: &Replica) -> Vec<String> {
    let page = service.call("GET", "/v1/alerts", Value::Null).await.ok();
    page["items"].as_array().unwrap().iter().map(short).collect()
}

/// An event in one line: what happened to what, and the threshold if there is one.
fn short(event: &Value) -> String {
    let part = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
    let threshold = event["numbers"]["threshold"].as_str().map(|share| format!(" at {share}")).unwrap_or_default();
    format!("{} {} {}{threshold}", part("kind"), part("status"), part("budget"))
}
