//! Budgets are made, raised and reshaped while callers run on two replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::audit::{assert_none, findings};
use crate::support::service::{Replica, TestService};
use crate::support::story::{acme, ask, budget, on, preflight};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_books_are_clean_after_changes_under_load() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "raised", "tokens", "500", json!({})).await;
    budget(&service, "reshaped", "usd", "1000", json!({})).await;
    let two: [Arc<Replica>; 2] = [Arc::new(service.replica().await), Arc::new(service.replica().await)];
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..32_usize {
        let (replica, over) = (Arc::clone(&two[caller % 2]), Arc::clone(&over));
        callers.spawn(async move {
            let more = json!({"run": format!("run-{caller}"), "agent": "triage"});
            let mut granted = 0;
            while !over.load(Ordering::Relaxed) {
                let answer = preflight(&replica, ask(3, 2, more.clone())).await;
                let Some(reservation) = answer["reservation"].as_str() else { continue };
                granted += 1;
                let (operation, body) = match granted % 4 {
                    0 => ("release", Value::Null),
                    1 => continue, // abandoned
                    _ => ("settle", json!({"usage": {"input": 3, "output": 1}})),
                };
                replica.call("POST", &on(reservation, operation), body).await.ok();
            }
        });
    }
    let shapes = [
        json!({"measure": "tokens"}),
        json!({"measure": "usd", "period": {"kind": "day"}}),
        json!({"measure": "requests", "each": "run", "period": {"kind": "once"}, "missing": "ignore"}),
        json!({"measure": "gco2e", "period": {"kind": "sliding", "seconds": 600}}),
        json!({"measure": {"input": 1, "output": "2.5"}, "scope": {"provider": "anthropic"}, "each": "agent", "missing": "ignore"}),
    ];
    for (round, shape) in shapes.iter().cycle().take(15).enumerate() {
        budget(&two[round % 2], "raised", "tokens", &(500 + round * 400).to_string(), json!({})).await;
        budget(&two[(round + 1) % 2], "reshaped", "usd", "1000000", shape.clone()).await;
        budget(&service, &format!("new-{round}"), "requests", "1000000", json!({"each": "feature"})).await;
        if round % 5 == 4 {
            let zone = ["Asia/Tokyo", "Asia/Kathmandu", "Etc/UTC"][round / 5];
            service.call("PUT", "/v1/tenants/acme", json!({"timezone": zone})).await.ok();
        }
        assert_none(&findings_between(&service).await);
    }
    over.store(true, Ordering::Relaxed);
    callers.join_all().await;
    assert_none(&findings(service.db.pool()).await);
}

/// The findings while callers run: no batch may be between the reads, so they are kept out as a change keeps them out.
async fn findings_between(service: &TestService) -> Vec<String> {
    let mut gate = service.db.pool().begin().await.unwrap();
    let lock = "select pg_advisory_xact_lock($1)";
    sqlx::query(lock).bind(counterfoil::store::locks::Lock::Catalogue.number()).execute(&mut *gate).await.unwrap();
    let findings = findings(service.db.pool()).await;
    gate.rollback().await.unwrap();
    findings
}

#[tokio::test]
async fn a_new_budget_is_enforced_at_once_on_the_other_replica() {
    let service = TestService::start().await;
    acme(&service).await;
    let other = service.replica().await;
    for round in 0..5 {
        assert_eq!(preflight(&other, ask(9, 1, json!({}))).await["verdict"], "allow");
        let id = format!("wall-{round}");
        budget(&service, &id, "tokens", "5", json!({})).await;
        let refused = preflight(&other, ask(9, 1, json!({}))).await;
        assert_eq!((&refused["verdict"], &refused["reasons"][0]["budget"]), (&json!("stop"), &json!(id)));
        budget(&service, &id, "tokens", "1000000", json!({})).await;
    }
    // A tenant that another replica made is known here without waiting.
    service.call("PUT", "/v1/tenants/newcomer", json!({"timezone": "Asia/Tokyo"})).await.ok();
    assert_eq!(preflight(&other, ask(9, 1, json!({"tenant": "newcomer"}))).await["verdict"], "allow");
}

#[tokio::test]
async fn a_tenant_may_move_to_another_zone_whatever_its_budgets_count() {
    let service = TestService::start().await;
    acme(&service).await;
    // No budget on the tenant's clock, and then one that is.
    for (round, clock) in ["Etc/UTC", "tenant"].into_iter().enumerate() {
        budget(&service, &format!("by-{round}"), "tokens", "1000", json!({"timezone": clock})).await;
        assert_eq!(preflight(&service, ask(9, 1, json!({}))).await["verdict"], "allow");
        for zone in ["Asia/Tokyo", "America/Los_Angeles"] {
            service.call("PUT", "/v1/tenants/acme", json!({"timezone": zone})).await.ok();
            assert_none(&findings(service.db.pool()).await);
        }
    }
}
