//! J and S: four verdicts with one meaning each, and one budget for every run.

use serde_json::{Value, json};

use crate::support::audit::{assert_none, findings};
use crate::support::service::{Reply, TestService};
use crate::support::story::{acme, ask, budget, on, preflight, reserve};

async fn asked(service: &TestService, body: Value) -> Reply {
    let reply = service.call("POST", "/v1/preflight", body).await;
    assert_eq!(reply.status, 200, "a refusal is an answer: {:#}", reply.body);
    reply
}

#[tokio::test]
async fn j_four_verdicts_say_what_binds_and_when_it_ends() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "roomy", "tokens", "1000000", json!({})).await;
    budget(&service, "tight", "tokens", "100", json!({})).await;

    let allow = asked(&service, ask(10, 10, json!({}))).await;
    assert_eq!((allow.body["verdict"].as_str(), &allow.body["retry"]), (Some("allow"), &Value::Null));
    let cap = asked(&service, ask(10, 500, json!({"allow_cap": true}))).await;
    assert_eq!((cap.body["verdict"].as_str(), &cap.body["max_output"]), (Some("cap"), &json!(70)));
    assert_eq!(cap.body["reasons"][0]["budget"], "tight");

    // Full by holds: they may return soon.
    let wait = asked(&service, ask(10, 10, json!({}))).await;
    assert_eq!(wait.body["verdict"], "wait");
    assert_eq!(
        (&wait.body["reasons"][0]["code"], &wait.body["reasons"][0]["budget"]),
        (&json!("held_by_others"), &json!("tight"))
    );
    let after: u32 = wait.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(
        (1..=120).contains(&after) && wait.body["retry"]["after_s"] == after && wait.body["retry"]["retryable"] == true
    );
    assert_eq!(wait.body["resets_at"], Value::Null);

    // Full by what was spent: gone until it resets, and no header that an SDK would sleep on.
    let id = cap.body["reservation"].as_str().unwrap();
    service.call("POST", &on(id, "settle"), json!({"usage": {"input": 10, "output": 90}})).await.ok();
    let stop = asked(&service, ask(10, 10, json!({}))).await;
    assert_eq!((stop.body["verdict"].as_str(), stop.body["retry"]["retryable"].as_bool()), (Some("stop"), Some(false)));
    assert_eq!(
        (&stop.body["reasons"][0]["code"], &stop.body["reasons"][0]["budget"]),
        (&json!("limit_reached"), &json!("tight"))
    );
    assert_eq!(stop.body["resets_at"], "2026-07-01T00:00:00Z");
    for reply in [&allow, &cap, &stop] {
        assert!(!reply.headers.contains_key("retry-after"), "{:#}", reply.body);
    }
    // A call that can never fit: no reset will help.
    let never = asked(&service, ask(500, 10, json!({}))).await;
    assert_eq!((never.body["verdict"].as_str(), &never.body["resets_at"]), (Some("stop"), &Value::Null));
    assert_eq!(never.body["reasons"][0]["code"], "larger_than_limit");
}

#[tokio::test]
async fn j_a_wait_never_asks_for_more_than_two_minutes_and_a_longer_one_is_a_stop() {
    for (at, verdict) in [("2026-06-10T12:58:30Z", "wait"), ("2026-06-10T12:57:30Z", "stop")] {
        let service = TestService::start_at(at).await;
        acme(&service).await;
        budget(&service, "hourly", "tokens", "10", json!({"period": {"kind": "hour"}})).await;
        let id = reserve(&service, 9).await;
        service.call("POST", &on(&id, "settle"), json!({"usage": {"input": 10}})).await.ok();
        let mut seen = Vec::new();
        for _ in 0..20 {
            let reply = asked(&service, ask(0, 1, json!({}))).await;
            assert_eq!(reply.body["verdict"], verdict, "{at}");
            seen.extend(reply.headers.get("retry-after").map(|after| after.to_str().unwrap().parse::<u32>().unwrap()));
        }
        if verdict == "wait" {
            assert!(seen.len() == 20 && seen.iter().all(|after| (90..=120).contains(after)), "{seen:?}");
            assert!(seen.iter().any(|after| *after != seen[0]), "a fleet must not come back as one: {seen:?}");
        } else {
            assert!(seen.is_empty());
        }
    }
}

#[tokio::test]
async fn s_one_budget_is_a_ceiling_for_every_run() {
    let service = TestService::start().await;
    acme(&service).await;
    service.call("PUT", "/v1/tenants/bolt", json!({"timezone": "Etc/UTC"})).await.ok();
    let each = json!({"scope": {}, "each": "run", "period": {"kind": "once"}});
    budget(&service, "per-run", "usd", "0.02", each.clone()).await;
    let call = |more: Value| ask(1000, 800, more);
    for run in ["r-1", "r-2"] {
        assert_eq!(preflight(&service, call(json!({"run": run}))).await["verdict"], "allow", "$0.015 of $0.02");
        let stopped = preflight(&service, call(json!({"run": run}))).await;
        assert_eq!(stopped["reasons"][0]["budget"], "per-run");
        assert_eq!(stopped["budgets"][0]["key"], format!("acme/{run}"));
    }
    // Another tenant's run of that name is another run, and a call without a run is stopped, unless the budget ignores it.
    assert_eq!(preflight(&service, call(json!({"tenant": "bolt", "run": "r-1"}))).await["verdict"], "allow");
    assert_eq!(preflight(&service, call(json!({}))).await["reasons"][0]["code"], "field_missing");
    let mut ignoring = each;
    ignoring["missing"] = json!("ignore");
    budget(&service, "per-run", "usd", "0.02", ignoring).await;
    for _ in 0..3 {
        assert_eq!(preflight(&service, call(json!({}))).await["verdict"], "allow");
    }
    assert_none(&findings(service.db.pool()).await);
}
