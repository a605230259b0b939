//! Runs: stopped on every replica from the next batch on, resumed, looked at; and the time a budget gives them.

use chrono::TimeDelta;
use counterfoil::auth::Scope;
use serde_json::{Value, json};

use crate::support::service::{Replica, TestService};
use crate::support::story::{acme, ask, budget, preflight};

async fn asked(replica: &Replica, run: &str) -> Value {
    preflight(replica, ask(10, 1, json!({"run": run, "priority": "interactive", "ttl_seconds": 3600}))).await
}

async fn per_run(service: &TestService, more: Value) {
    let mut fields = json!({"scope": {}, "each": "run", "period": {"kind": "once"}});
    for (field, value) in more.as_object().into_iter().flatten() {
        fields[field] = value.clone();
    }
    budget(service, "per-run", "tokens", "1000", fields).await;
}

#[tokio::test]
async fn a_stopped_run_is_stopped_on_every_replica_from_the_next_call_on() {
    let service = TestService::start().await;
    acme(&service).await;
    let other = service.replica().await;
    let open = asked(&other, "r-42").await;
    assert_eq!(open["verdict"], "allow");
    let stopped = service.call("POST", "/v1/runs/r-42/stop", json!({"tenant": "acme", "reason": "a loop"})).await.ok();
    assert_eq!(stopped["stopped"], true);
    assert_eq!(stopped["stopped_at"], "2026-06-10T12:00:00Z");
    assert_eq!(stopped["stopped_by"], "test");
    assert_eq!(stopped["reason"], "a loop");
    for replica in [&service.one, &other] {
        let answer = asked(replica, "r-42").await;
        assert_eq!(answer["verdict"], "stop");
        assert_eq!(answer["reasons"][0]["code"], "run_stopped");
        assert_eq!(answer["band"], "exhausted");
        assert_eq!(answer["resets_at"], Value::Null, "no reset will help");
        assert_eq!(answer["retry"]["retryable"], false);
    }
    assert_eq!(asked(&other, "r-43").await["verdict"], "allow", "others go on");
    let capped = preflight(&other, ask(1, 100, json!({"run": "r-42", "allow_cap": true}))).await;
    assert_eq!(capped["verdict"], "stop", "also where a smaller output would do");

    // What had begun ends as it did: it gets no more, and is settled.
    let on = |operation: &str| format!("/v1/reservations/{}/{operation}", open["reservation"].as_str().unwrap());
    let extended = other.call("POST", &on("extend"), json!({"ttl_seconds": 60, "more_output": 5})).await.ok();
    assert_eq!(extended["verdict"], "stop");
    let settled = other.call("POST", &on("settle"), json!({"usage": {"input": 10}})).await.ok();
    assert_eq!(settled["amounts"]["tokens"], 10);

    let resumed = other.call("POST", "/v1/runs/r-42/resume", json!({"tenant": "acme"})).await.ok();
    assert_eq!(resumed["stopped"], false);
    assert_eq!(asked(&service, "r-42").await["verdict"], "allow");
}

#[tokio::test]
async fn the_first_stop_stands_and_a_key_gets_the_first_answer() {
    let service = TestService::start().await;
    acme(&service).await;
    let stop = |reason: &str| json!({"tenant": "acme", "reason": reason});
    let first = service.call_keyed("k", "POST", "/v1/runs/r-1/stop", stop("one")).await.ok();
    service.advance(TimeDelta::minutes(5));
    let second = service.call("POST", "/v1/runs/r-1/stop", stop("two")).await.ok();
    assert_eq!(second, first, "stopped already, since then and for that reason");
    service.call("POST", "/v1/runs/r-1/resume", json!({"tenant": "acme"})).await.ok();
    let again = service.call_keyed("k", "POST", "/v1/runs/r-1/stop", stop("one")).await.ok();
    assert_eq!(again, first);
    assert_eq!(asked(&service, "r-1").await["verdict"], "allow", "a repeat is no second stop");
    let other = service.call_keyed("k", "POST", "/v1/runs/r-1/stop", stop("another")).await;
    assert_eq!(other.problem().1, "idempotency_mismatch");
}

#[tokio::test]
async fn the_runs_of_another_tenant_are_out_of_reach() {
    let service = TestService::start().await;
    acme(&service).await;
    service.call("PUT", "/v1/tenants/bolt", json!({"timezone": "Etc/UTC"})).await.ok();
    service.call("POST", "/v1/runs/r-1/stop", json!({"tenant": "bolt"})).await.ok();
    assert_eq!(asked(&service, "r-1").await["verdict"], "allow", "a run of that name of another tenant");
    let token = service.token(&[Scope::Admin], Some("acme"));
    let bolt = json!({"tenant": "bolt"});
    for path in ["/v1/runs/r-1/stop", "/v1/runs/r-1/resume"] {
        assert_eq!(service.call_as(&token, "POST", path, &[], bolt.clone()).await.problem().0, 403, "{path}");
    }
    let foreign = service.call_as(&token, "GET", "/v1/runs/r-1?tenant=bolt", &[], Value::Null).await;
    assert_eq!(foreign.problem().0, 403);
    let own = service.call_as(&token, "GET", "/v1/runs/r-1", &[], Value::Null).await.ok();
    assert_eq!((&own["tenant"], &own["stopped"]), (&json!("acme"), &json!(false)));
    let reader = service.token(&[Scope::Preflight, Scope::Read], Some("acme"));
    let stop = service.call_as(&reader, "POST", "/v1/runs/r-1/stop", &[], json!({"tenant": "acme"})).await;
    assert_eq!(stop.problem(), (403, "forbidden_scope"));
    let nobody = service.call("POST", "/v1/runs/r-1/stop", json!({"tenant": "nobody"})).await;
    assert_eq!(nobody.problem(), (404, "unknown_tenant"));
    let long = "x".repeat(501);
    let reason = service.call("POST", "/v1/runs/r-1/stop", json!({"tenant": "acme", "reason": long})).await;
    assert_eq!(reason.problem().1, "invalid_request");
}

#[tokio::test]
async fn a_run_has_its_time_from_its_first_call_on() {
    let service = TestService::start().await;
    acme(&service).await;
    per_run(&service, json!({"max_seconds": 600})).await;
    let other = service.replica().await;
    assert_eq!(asked(&service, "r-1").await["verdict"], "allow");
    service.advance(TimeDelta::seconds(599));
    assert_eq!(asked(&other, "r-1").await["verdict"], "allow");
    assert_eq!(asked(&other, "r-2").await["verdict"], "allow");
    service.advance(TimeDelta::seconds(1));
    for replica in [&service.one, &other] {
        let over = asked(replica, "r-1").await;
        assert_eq!(over["verdict"], "stop");
        assert_eq!(over["reasons"][0]["code"], "run_time_over");
        assert_eq!(over["reasons"][0]["detail"], "the run has gone on for 600 s, and budget per-run gives it 600 s");
    }
    assert_eq!(asked(&service, "r-2").await["verdict"], "allow", "each has its own");
    let run = service.call("GET", "/v1/runs/r-1?tenant=acme", Value::Null).await.ok();
    assert_eq!(run["budgets"][0]["budget"], "per-run");
    assert_eq!(run["budgets"][0]["opened_at"], "2026-06-10T12:00:00Z");
    assert_eq!(run["budgets"][0]["time_over_at"], "2026-06-10T12:10:00Z");
    assert_eq!(run["budgets"][0]["held"], "22");
}

#[tokio::test]
async fn a_budget_that_is_new_knows_when_runs_began() {
    let service = TestService::start().await;
    acme(&service).await;
    per_run(&service, json!({})).await;
    assert_eq!(asked(&service, "r-1").await["verdict"], "allow");
    service.advance(TimeDelta::minutes(10));
    per_run(&service, json!({"max_seconds": 600})).await;
    assert_eq!(asked(&service, "r-1").await["verdict"], "stop", "counted anew, from the reservation that is open");
    assert_eq!(asked(&service, "r-2").await["verdict"], "allow");
    per_run(&service, json!({"max_seconds": 900})).await;
    assert_eq!(asked(&service, "r-1").await["verdict"], "allow", "given more time");
    let options = service.db.connect_options();
    let report = counterfoil::app::verify::verify(&options, &service.clock, &mut |_| {}).await.unwrap().unwrap();
    assert!(report.is_consistent(), "{report:#?}");
}

#[tokio::test]
async fn time_is_given_to_runs_only() {
    let service = TestService::start().await;
    acme(&service).await;
    let body = |more: Value| {
        let mut body = json!({
            "measure": "tokens", "limit": "1", "enforcement": "hard", "each": "run", "period": {"kind": "once"},
            "max_seconds": 60
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        body
    };
    service.call("PUT", "/v1/budgets/b", body(json!({}))).await.ok();
    for more in [
        json!({"each": "agent"}),
        json!({"each": null}),
        json!({"period": {"kind": "day"}}),
        json!({"max_seconds": 0}),
        json!({"enforcement": "soft"}),
        json!({"max_seconds": 31_622_401}),
    ] {
        let reply = service.call("PUT", "/v1/budgets/b", body(more.clone())).await;
        assert_eq!(reply.problem().1, "invalid_request", "{more}");
        assert_eq!(reply.body["errors"][0]["field"], "max_seconds", "{more}: {:#}", reply.body);
    }
}

#[tokio::test]
async fn the_time_of_a_run_begins_with_what_it_does_and_a_recount_knows_that() {
    let service = TestService::start().await;
    acme(&service).await;
    per_run(&service, json!({"max_seconds": 600})).await;
    let run = |more: Value| {
        let mut body = ask(9, 1, json!({"run": "r-1"}));
        for (field, value) in more.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        body
    };
    preflight(&service, run(json!({"reserve": false}))).await;
    let large = json!({"estimate": {"input": 100_000_000, "max_output": 1}});
    assert_eq!(preflight(&service, run(large)).await["verdict"], "stop", "a call that was refused");
    service.advance(TimeDelta::seconds(601));
    let first = preflight(&service, run(json!({}))).await;
    assert_eq!(first["verdict"], "allow", "nothing has begun yet: {first:#}");
    let path = format!("/v1/reservations/{}/release", first["reservation"].as_str().unwrap());
    service.call("POST", &path, json!({})).await.ok();
    service.advance(TimeDelta::seconds(599));
    // Counted anew: what was given back has begun the run all the same.
    per_run(&service, json!({"max_seconds": 600, "measure": "requests", "limit": "50"})).await;
    assert_eq!(preflight(&service, run(json!({}))).await["verdict"], "allow");
    service.advance(TimeDelta::seconds(1));
    let over = preflight(&service, run(json!({}))).await;
    assert_eq!(over["reasons"][0]["code"], "run_time_over", "{over:#}");
    // Usage that says when it was begins it then, if the budget counts what was then.
    let since = json!({"kind": "once", "counts_from": service.now() - TimeDelta::days(1)});
    per_run(&service, json!({"max_seconds": 600, "measure": "requests", "limit": "50", "period": since})).await;
    let usage = json!({
        "tenant": "acme", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5", "run": "r-2",
        "usage": {"input": 1}, "occurred_at": service.now() - TimeDelta::hours(5)
    });
    service.call("POST", "/v1/usage", usage).await.ok();
    let late = preflight(&service, run(json!({"run": "r-2"}))).await;
    assert_eq!(late["reasons"][0]["code"], "run_time_over", "{late:#}");
    let options = service.db.connect_options();
    let report = counterfoil::app::verify::verify(&options, &service.clock, &mut |_| {}).await.unwrap().unwrap();
    assert!(report.is_consistent(), "{report:#?}");
    sqlx::query("update counters set opened_at = opened_at - interval '1 second' where key = 'acme/r-2'")
        .execute(service.db.pool())
        .await
        .unwrap();
    let report = counterfoil::app::verify::verify(&options, &service.clock, &mut |_| {}).await.unwrap().unwrap();
    let columns: Vec<&str> = report.differences().map(|(_, difference)| difference.column.as_str()).collect();
    assert_eq!(columns, ["opened_at"]);
}
