//! One time for all: replicas whose clocks differ, sliding windows to the last token, periods that are closed.

mod replicas;
mod windows;

use chrono::{DateTime, TimeDelta, Utc};
use counterfoil::app::verify::verify;
use counterfoil::clock::Clock;
use serde_json::{Value, json};

use crate::support::service::{Replica, TestService};
use crate::support::story::{ask, preflight};

/// A clock that differs from the service's by so many milliseconds.
fn clock_after(service: &TestService, milliseconds: i64) -> Clock {
    Clock::manual(service.now() + TimeDelta::milliseconds(milliseconds))
}

/// Asks for so many tokens of `acme`, and answers the verdict.
async fn verdict(replica: &Replica, tokens: u64) -> String {
    let answer = preflight(replica, ask(tokens - 1, 1, json!({"ttl_seconds": 3600}))).await;
    answer["verdict"].as_str().unwrap().to_owned()
}

/// Posts so many tokens of `acme`, as of an instant.
async fn post(replica: &Replica, tokens: u64, occurred_at: DateTime<Utc>) -> Value {
    let usage = json!({
        "tenant": "acme", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "usage": {"input": tokens}, "occurred_at": occurred_at
    });
    replica.call("POST", "/v1/usage", usage).await.ok()
}

/// A field of the only counter of a budget, as it stands.
async fn stands(replica: &Replica, budget: &str, field: &str) -> String {
    let now = replica.call("GET", &format!("/v1/budgets/{budget}"), Value::Null).await.ok();
    now["counters"][0][field].as_str().unwrap().to_owned()
}

/// How many rows a table has.
async fn rows(service: &TestService, table: &str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(count).fetch_one(service.db.pool()).await.unwrap()
}

/// What an operator would run.
async fn assert_verified(service: &TestService) {
    let report = verify(&service.db.connect_options(), &service.clock, &mut |_| {}).await.unwrap().unwrap();
    assert!(report.is_consistent(), "{:#?}", report.differences().collect::<Vec<_>>());
}
