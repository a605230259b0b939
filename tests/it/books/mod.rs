//! The books: what is posted, added up, refused and verified. The world of these tests is made through the API.

mod append_only;
mod commands;
mod confinement;
mod ledger;
mod post_usage;
mod query_usage;
mod shared_budgets;
mod trial_balance;
mod verdicts;
mod verify;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::service::TestService;

/// An evening in Tokyo before the night in which Berlin's clocks go forward.
const EVENING: &str = "2026-03-28T13:50:00Z";
/// Steps of the world, each of [`STEP`].
const STEPS: usize = 48;
const STEP: TimeDelta = TimeDelta::minutes(17);

/// Tenants in three zones, budgets of every kind, and nothing used.
pub(crate) async fn empty_world() -> TestService {
    let service = TestService::start_at(EVENING).await;
    for (tenant, zone) in [("tokyo", "Asia/Tokyo"), ("berlin", "Europe/Berlin"), ("kathmandu", "Asia/Kathmandu")] {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": zone})).await.ok();
    }
    let budgets = [
        (
            "tokyo-usd",
            json!({"scope": {"tenant": "tokyo"}, "measure": "usd", "limit": "500", "period": {"kind": "day"}, "timezone": "tenant"}),
        ),
        (
            "each-tenant",
            json!({"each": "tenant", "measure": "tokens", "limit": "9000000", "period": {"kind": "hour"}, "timezone": "tenant"}),
        ),
        (
            "each-run",
            json!({"each": "run", "measure": "usd", "limit": "50", "period": {"kind": "once"}, "timezone": "Etc/UTC", "missing": "ignore"}),
        ),
        (
            "quota",
            json!({"scope": {"provider": "anthropic"}, "measure": {"input": 1, "output": 5}, "limit": "40000000", "period": {"kind": "month"}, "timezone": "Etc/UTC"}),
        ),
        (
            "window",
            json!({"scope": {"tenant": "berlin"}, "measure": "requests", "limit": "100000", "period": {"kind": "sliding", "seconds": 3600}, "timezone": "Etc/UTC"}),
        ),
        (
            "tight",
            json!({"scope": {"tenant": "kathmandu"}, "measure": "tokens", "limit": "9000", "period": {"kind": "day"}, "timezone": "tenant"}),
        ),
    ];
    for (id, mut budget) in budgets {
        budget["enforcement"] = json!("hard");
        service.call("PUT", &format!("/v1/budgets/{id}"), budget).await.ok();
    }
    service
}

/// A pre-flight's body: the `n`th of its kind.
fn ask(n: usize) -> Value {
    let tenant = ["tokyo", "berlin", "kathmandu"][n % 3];
    let (provider, model) = [("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-4o")][n % 2];
    let mut body = json!({
        "tenant": tenant, "feature": (if n.is_multiple_of(5) { "search" } else { "chat" }), "provider": provider, "model": model,
        "estimate": {"input": 1000 + n, "cache_read": 10 * n, "max_output": 2000}, "ttl_seconds": 600
    });
    if !n.is_multiple_of(4) {
        body["region"] = json!(["eu-central-1", "us-east-1"][n % 2]);
    }
    if n % 3 != 1 {
        body["run"] = json!(format!("r-{}", n % 7));
        body["agent"] = json!("triage");
        body["labels"] = json!({"team": (if n.is_multiple_of(2) { "cx" } else { "ops" })});
    }
    body
}

/// Calls across the midnights of all three zones and a night without 02:30: settled, settled late, released, extended,
/// expired, refused, and posted without a reservation. Some reservations stay open.
pub(crate) async fn world() -> TestService {
    let service = empty_world().await;
    let mut late = Vec::new();
    for n in 0..STEPS {
        let answer = if n.is_multiple_of(2) {
            service.call_keyed(&format!("k-{n}"), "POST", "/v1/preflight", ask(n)).await.ok()
        } else {
            service.call("POST", "/v1/preflight", ask(n)).await.ok()
        };
        if let Some(reservation) = answer["reservation"].as_str() {
            let path = |verb: &str| format!("/v1/reservations/{reservation}/{verb}");
            let usage =
                json!({"usage": {"input": 900 + n, "cache_read": 7 * n, "output": 100 + 3 * n, "reasoning": n}});
            match n % 6 {
                0..=2 => drop(service.call("POST", &path("settle"), usage).await.ok()),
                3 => late.push((path("settle"), usage)),
                4 => drop(service.call("POST", &path("release"), Value::Null).await.ok()),
                _ => drop(service.call("POST", &path("extend"), json!({"ttl_seconds": 86_400})).await.ok()),
            }
        }
        if n % 4 == 1 {
            let usage = json!({
                "tenant": (if n % 8 == 1 { "tokyo" } else { "berlin" }), "feature": "import", "provider": "openai", "model": "gpt-4o",
                "requests": 3, "labels": {"team": "ops"},
                "usage": {"input": 5000, "cache_write_5m": 11, "cache_write_1h": 13, "output": n}
            });
            service.call("POST", "/v1/usage", usage).await.ok();
        }
        service.advance(STEP);
    }
    for (path, usage) in late {
        let posted = service.call("POST", &path, usage).await.ok();
        assert!(posted["flags"].as_array().unwrap().contains(&json!("late")), "{posted:#}");
    }
    service
}

/// A request without a body, as the platform's admin.
async fn get(service: &TestService, path: &str) -> Value {
    service.call("GET", path, Value::Null).await.ok()
}
