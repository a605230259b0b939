//! The little that most stories need: a tenant, a budget, a call, and waiting for an event.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::service::{Replica, TestService};

/// Makes the tenant `acme` in UTC.
pub(crate) async fn acme(service: &TestService) {
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
}

/// Makes or replaces a hard monthly budget of `acme` in UTC; `more` replaces or adds fields.
pub(crate) async fn budget(replica: &Replica, id: &str, measure: &str, limit: &str, more: Value) {
    let mut body = json!({
        "scope": {"tenant": "acme"}, "measure": measure, "limit": limit, "period": {"kind": "month"},
        "timezone": "Etc/UTC", "enforcement": "hard"
    });
    merge(&mut body, more);
    replica.call("PUT", &format!("/v1/budgets/{id}"), body).await.ok();
}

/// A call of `acme` that is either granted whole or not at all; `more` replaces or adds fields.
pub(crate) fn ask(input: u64, max_output: u64, more: Value) -> Value {
    let mut body = json!({
        "tenant": "acme", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "estimate": {"input": input, "max_output": max_output}, "allow_cap": false
    });
    merge(&mut body, more);
    body
}

/// Asks, and answers the body.
pub(crate) async fn preflight(replica: &Replica, body: Value) -> Value {
    replica.call("POST", "/v1/preflight", body).await.ok()
}

/// Asks for so many input tokens and one of output, and answers the reservation, which must be granted.
pub(crate) async fn reserve(replica: &Replica, input: u64) -> String {
    let answer = preflight(replica, ask(input, 1, json!({}))).await;
    assert_eq!(answer["verdict"], "allow", "{answer:#}");
    answer["reservation"].as_str().unwrap().to_owned()
}

/// The path of a reservation's operation.
pub(crate) fn on(reservation: &str, operation: &str) -> String {
    format!("/v1/reservations/{reservation}/{operation}")
}

fn merge(body: &mut Value, more: Value) {
    let Value::Object(more) = more else { return };
    for (field, value) in more {
        body[field] = value;
    }
}

/// Looks again and again until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(20), "waited 20 s until {what}");
        tokio::task::yield_now().await;
    }
}

/// Every item of an answer to many usages was posted: such an answer is 200 whatever became of its items.
pub(crate) fn assert_all_posted(answer: &Value) {
    let items = answer["items"].as_array().unwrap();
    let refused: Vec<&Value> = items.iter().filter(|item| !item["answer"]["transfer"].is_string()).collect();
    assert!(!items.is_empty() && refused.is_empty(), "{refused:#?}");
}
