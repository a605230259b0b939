//! Tenants, budgets, prices, factors, and the questions that touch nothing.

mod about;
mod alternatives;
mod budgets;
mod calendar;
mod confinement;
mod counted_ahead;
mod counting;
mod estimate;
mod listed;
mod names;
mod rates;
mod spaces;
mod tenants;

use serde_json::{Value, json};

use crate::support::service::{Replica, TestService};

/// A tenant in a zone.
pub(crate) async fn tenant(service: &Replica, id: &str, zone: &str) {
    service.call("PUT", &format!("/v1/tenants/{id}"), json!({"timezone": zone})).await.ok();
}

/// A hard budget in dollars on a tenant's clock, by month.
pub(crate) fn monthly(tenant: &str, limit: &str) -> Value {
    json!({
        "scope": {"tenant": tenant}, "measure": "usd", "limit": limit, "period": {"kind": "month"},
        "timezone": "tenant", "enforcement": "hard"
    })
}

pub(crate) async fn put_budget(service: &Replica, id: &str, body: Value) -> Value {
    service.call("PUT", &format!("/v1/budgets/{id}"), body).await.ok()
}

pub(crate) async fn get(service: &Replica, path: &str) -> Value {
    service.call("GET", path, Value::Null).await.ok()
}

/// A call of `claude-sonnet-4-5`: 1,200 tokens at $3 and 800 at $15 a million are $0.0156.
pub(crate) fn ask(tenant: &str) -> Value {
    json!({
        "tenant": tenant, "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "estimate": {"input": 1200, "max_output": 800}
    })
}

/// Usage of $0.0156, posted without a reservation.
pub(crate) async fn spend(service: &Replica, tenant: &str, occurred_at: Option<&str>) {
    let mut usage = json!({
        "tenant": tenant, "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "usage": {"input": 1200, "output": 800}
    });
    if let Some(at) = occurred_at {
        usage["occurred_at"] = json!(at);
    }
    service.call("POST", "/v1/usage", usage).await.ok();
}

/// Walks a list by its cursors and answers the ids and the number of pages.
pub(crate) async fn walk(service: &TestService, path: &str, limit: u32, id: &str) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let joint = if path.contains('?') { '&' } else { '?' };
        let from = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
        let page = get(service, &format!("{path}{joint}limit={limit}{from}")).await;
        let items = page.get("items").or_else(|| page.get("counters")).and_then(Value::as_array).expect("a page");
        ids.extend(items.iter().map(|item| item[id].as_str().map_or_else(|| item[id].to_string(), str::to_owned)));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return (ids, pages),
        }
    }
}
