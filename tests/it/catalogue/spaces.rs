//! Ids of budgets live in their tenant's own space: no tenant can take, find out or name another's, nor the platform's.

use counterfoil::auth::Scope;
use futures::future::join;
use serde_json::{Value, json};

use super::{ask, get, monthly, put_budget, tenant};
use crate::support::service::{Reply, TestService};

/// Tokens of two tenants, with every scope.
async fn two_tenants() -> (TestService, [String; 2]) {
    let service = TestService::start().await;
    for id in ["acme", "bolt"] {
        tenant(&service, id, "Etc/UTC").await;
    }
    let tokens = ["acme", "bolt"].map(|id| service.token(&[Scope::Admin], Some(id)));
    (service, tokens)
}

/// The ids of a list's items, in its order.
fn ids_of(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

async fn call(service: &TestService, token: &str, method: &str, path: &str, body: Value) -> Reply {
    service.call_as(token, method, path, &[], body).await
}

#[tokio::test]
async fn two_tenants_and_the_platform_use_one_name_and_each_sees_its_own() {
    let (service, [acme, bolt]) = two_tenants().await;
    put_budget(&service, "daily", json!({"scope": {}, "shared": true, "measure": "usd", "limit": "90", "period": {"kind": "day"}, "timezone": "Etc/UTC", "enforcement": "hard"})).await;
    for (token, id, limit) in [(&acme, "acme", "1"), (&bolt, "bolt", "2")] {
        let mut body = monthly(id, limit);
        body["id"] = json!("daily");
        let written = call(&service, token, "PUT", "/v1/budgets/daily", body).await.ok();
        assert_eq!(
            (&written["id"], &written["limit"], &written["version"]),
            (&json!("daily"), &json!(limit), &json!(1))
        );
    }
    for (token, limit) in [(&acme, "1"), (&bolt, "2")] {
        let own = call(&service, token, "GET", "/v1/budgets/daily", Value::Null).await.ok();
        assert_eq!((&own["id"], &own["limit"]), (&json!("daily"), &json!(limit)));
        assert_eq!(own["counters"][0]["budget"], "daily");
        let listed = call(&service, token, "GET", "/v1/budgets", Value::Null).await.ok();
        assert_eq!(ids_of(&listed), ["daily"]);
        let versions = call(&service, token, "GET", "/v1/budgets/daily/versions", Value::Null).await.ok();
        assert_eq!(versions["items"][0]["definition"]["id"], "daily");
    }
    assert_eq!(ids_of(&get(&service, "/v1/budgets").await), ["acme:daily", "bolt:daily", "daily"]);
    assert_eq!(get(&service, "/v1/budgets/bolt:daily").await["limit"], "2", "the platform names the space");
    assert_eq!(get(&service, "/v1/budgets/daily").await["limit"], "90");

    // One that the platform shares has its own name beside the tenant's, and the tenant's is the one that is asked for.
    let verdict = call(&service, &acme, "POST", "/v1/preflight", ask("acme")).await.ok();
    let shown: Vec<&str> =
        verdict["budgets"].as_array().unwrap().iter().map(|state| state["budget"].as_str().unwrap()).collect();
    assert_eq!(shown.iter().collect::<std::collections::BTreeSet<_>>().len(), 2, "{shown:?}");
    assert!(shown.contains(&"daily") && shown.contains(&":daily"), "{shown:?}");

    // Spelled out, another's is what no name is, whether or not it is there; and nobody writes into another's space.
    for spelled in ["bolt:daily", "zzyx:daily", "acme:daily", "bolt:ghost"] {
        let path = format!("/v1/budgets/{spelled}");
        for method in ["GET", "DELETE", "PUT"] {
            let body = if method == "PUT" { monthly("acme", "5") } else { Value::Null };
            assert_eq!(call(&service, &acme, method, &path, body).await.status, 422, "{method} {spelled}");
        }
    }
    let strange = service.call("PUT", "/v1/budgets/acme:other", monthly("bolt", "3")).await;
    assert_eq!(strange.problem(), (422, "invalid_request"));
    assert_eq!(strange.body["errors"][0]["field"], "scope.tenant", "{:#}", strange.body);
    put_budget(&service, "acme:other", monthly("acme", "3")).await;
    assert_eq!(call(&service, &acme, "GET", "/v1/budgets/other", Value::Null).await.ok()["limit"], "3");

    assert_eq!(call(&service, &acme, "DELETE", "/v1/budgets/daily", Value::Null).await.ok()["id"], "daily");
    assert!(get(&service, "/v1/budgets/acme:daily").await["archived_at"].is_string());
    assert_eq!(get(&service, "/v1/budgets/daily").await["archived_at"], Value::Null);
    assert_eq!(get(&service, "/v1/budgets/bolt:daily").await["archived_at"], Value::Null);
}

#[tokio::test]
async fn a_budget_that_the_platform_made_for_a_tenant_keeps_its_id() {
    let (service, [acme, bolt]) = two_tenants().await;
    put_budget(&service, "acme-usd", monthly("acme", "1")).await;
    // By its name, as before there were spaces, and with its version.
    let path = "/v1/budgets/acme-usd";
    let of = async |token: &str, headers: &[(&str, &str)], limit: &str, tenant: &str| {
        service.call_as(token, "PUT", path, headers, monthly(tenant, limit)).await
    };
    assert_eq!(of(&acme, &[("if-match", "\"1\"")], "2", "acme").await.ok()["version"], 2);
    let stale = of(&acme, &[("if-match", "\"1\"")], "3", "acme").await;
    assert_eq!(stale.problem(), (412, "precondition_failed"));
    assert_eq!(get(&service, path).await["limit"], "2");
    assert_eq!(ids_of(&get(&service, "/v1/budgets").await), ["acme-usd"], "it was replaced, not doubled");

    // To another tenant the name is free, with every condition.
    let missing = of(&bolt, &[("if-match", "*")], "3", "bolt").await;
    assert_eq!(missing.problem(), (412, "precondition_failed"));
    assert!(!missing.body.to_string().contains("version 2"), "{:#}", missing.body);
    assert_eq!(of(&bolt, &[("if-none-match", "*")], "3", "bolt").await.ok()["version"], 1);
    assert_eq!(of(&bolt, &[("if-none-match", "*")], "3", "bolt").await.problem(), (412, "precondition_failed"));

    // The platform may have one of the tenant's name: both can be read and written.
    call(&service, &acme, "PUT", "/v1/budgets/daily", monthly("acme", "4")).await.ok();
    put_budget(&service, "daily", monthly("acme", "5")).await;
    let listed = call(&service, &acme, "GET", "/v1/budgets", Value::Null).await.ok();
    let mut listed = ids_of(&listed);
    listed.sort_unstable();
    assert_eq!(listed, [":daily", "acme-usd", "daily"]);
    for (id, limit) in [("daily", "4"), (":daily", "5")] {
        let found = call(&service, &acme, "GET", &format!("/v1/budgets/{id}"), Value::Null).await.ok();
        assert_eq!((&found["id"], &found["limit"]), (&json!(id), &json!(limit)));
        let again = call(&service, &acme, "PUT", &format!("/v1/budgets/{id}"), monthly("acme", "6")).await.ok();
        assert_eq!((&again["id"], &again["version"]), (&json!(id), &json!(2)));
    }
    // The platform's, named as such, is never made by a tenant, nor told from one that is not there.
    put_budget(&service, "of-bolt", monthly("bolt", "5")).await;
    for id in [":of-bolt", ":ghost"] {
        let put = call(&service, &acme, "PUT", &format!("/v1/budgets/{id}"), monthly("acme", "6")).await;
        assert_eq!(put.problem(), (404, "unknown_budget"), "{id}");
    }
}

#[tokio::test]
async fn many_budgets_at_once_are_in_the_tenants_own_space_too() {
    let (service, [acme, bolt]) = two_tenants().await;
    let items = |tenant: &str, limit: &str| {
        let with = |id: &str| {
            let mut one = monthly(tenant, limit);
            one["id"] = json!(id);
            one
        };
        json!({"items": [with("daily"), with("weekly")]})
    };
    for (token, tenant) in [(&acme, "acme"), (&bolt, "bolt"), (&acme, "acme")] {
        let written = call(&service, token, "PUT", "/v1/budgets", items(tenant, "1")).await.ok();
        assert_eq!(ids_of(&written), ["daily", "weekly"]);
    }
    assert_eq!(get(&service, "/v1/budgets/acme:weekly").await["version"], 2);
    assert_eq!(get(&service, "/v1/budgets/bolt:weekly").await["version"], 1);
    let mut twice = items("acme", "1");
    twice["items"][1]["id"] = json!("daily");
    let refused = call(&service, &acme, "PUT", "/v1/budgets", twice).await;
    assert_eq!(refused.problem(), (422, "invalid_request"));
    assert!(!refused.body.to_string().contains("acme:"), "{:#}", refused.body);
    for spelled in ["bolt:x", "zzyx:x"] {
        let mut foreign = items("acme", "1");
        foreign["items"][1]["id"] = json!(spelled);
        let refused = call(&service, &acme, "PUT", "/v1/budgets", foreign).await;
        assert_eq!(refused.body["errors"][0]["field"], "items[1].id", "{spelled}: {:#}", refused.body);
    }
    assert_eq!(ids_of(&get(&service, "/v1/budgets").await).len(), 4, "what was refused wrote nothing");
}

#[tokio::test]
async fn two_tenants_that_write_one_new_id_at_once_both_get_their_own() {
    let (service, [acme, bolt]) = two_tenants().await;
    for round in 0..12 {
        let budget = format!("/v1/budgets/race-{round}");
        let (one, other) = join(
            call(&service, &acme, "PUT", &budget, monthly("acme", "1")),
            call(&service, &bolt, "PUT", &budget, monthly("bolt", "2")),
        )
        .await;
        assert_eq!((one.ok()["limit"].clone(), other.ok()["limit"].clone()), (json!("1"), json!("2")));
        let hook = format!("/v1/webhooks/race-{round}");
        let url = |tenant: &str| json!({"url": format!("https://hooks.{tenant}.example/{round}")});
        let (one, other) =
            join(call(&service, &acme, "PUT", &hook, url("acme")), call(&service, &bolt, "PUT", &hook, url("bolt")))
                .await;
        for (reply, tenant) in [(one.ok(), "acme"), (other.ok(), "bolt")] {
            assert_eq!(reply["tenant"], tenant, "{reply:#}");
        }
        for (token, tenant, limit) in [(&acme, "acme", "1"), (&bolt, "bolt", "2")] {
            let budget = call(&service, token, "GET", &budget, Value::Null).await.ok();
            assert_eq!((&budget["scope"], &budget["limit"]), (&json!({"tenant": tenant}), &json!(limit)));
            let hook = call(&service, token, "GET", &hook, Value::Null).await.ok();
            assert_eq!(hook["tenant"], tenant);
        }
    }
}

#[tokio::test]
async fn a_tenant_reads_its_own_names_wherever_a_budget_is_told_of() {
    let (service, [acme, _]) = two_tenants().await;
    let url = json!({"url": "https://hooks.acme.example/x"});
    call(&service, &acme, "PUT", "/v1/webhooks/pager", url).await.ok();
    let quota = json!({
        "scope": {"tenant": "acme", "provider": "anthropic"}, "measure": "tokens", "limit": "3500", "kind": "quota",
        "period": {"kind": "month"}, "timezone": "Etc/UTC", "enforcement": "hard", "thresholds": ["0.5"],
    });
    let runs = json!({
        "scope": {"tenant": "acme"}, "each": "run", "measure": "usd", "limit": "9", "period": {"kind": "once"},
        "missing": "ignore", "enforcement": "hard",
    });
    call(&service, &acme, "PUT", "/v1/budgets/tight", quota).await.ok();
    call(&service, &acme, "PUT", "/v1/budgets/runs", runs).await.ok();

    let mut of_run = ask("acme");
    of_run["run"] = json!("r1");
    let granted = call(&service, &acme, "POST", "/v1/preflight", of_run).await;
    let header = granted.headers.get("ratelimit").unwrap().to_str().unwrap().to_owned();
    let mut answers = vec![(String::from("allow"), granted.ok())];
    assert!(header.contains("\"tight\"") && !header.contains("acme"), "{header}");
    let reservation = answers[0].1["reservation"].as_str().unwrap().to_owned();
    let mut add = async |method: &str, path: &str, body: Value| {
        let answer = call(&service, &acme, method, path, body).await.ok();
        answers.push((format!("{method} {path}"), answer.clone()));
        answer
    };
    add("POST", "/v1/preflight", ask("acme")).await;
    let stopped = add("POST", "/v1/preflight", ask("acme")).await;
    assert_eq!(stopped["reasons"][0]["budget"], "tight", "{stopped:#}");
    assert!(stopped["reasons"][0]["detail"].as_str().unwrap().contains("budget tight"), "{stopped:#}");
    add("POST", &format!("/v1/reservations/{reservation}/extend"), json!({"ttl_seconds": 60, "more_output": 9000}))
        .await;
    let settle = json!({"usage": {"input": 1800, "output": 100}});
    let settled = add("POST", &format!("/v1/reservations/{reservation}/settle"), settle).await;
    assert_eq!(settled["budgets"][0]["budget"].as_str().map(|id| id.contains(':')), Some(false));
    let usage = json!({"tenant": "acme", "feature": "f", "provider": "anthropic", "model": "claude-sonnet-4-5", "usage": {"input": 1}});
    add("POST", "/v1/usage", usage).await;
    assert!(service.app.evaluate_alerts(service.now()).await.unwrap().ran);
    let events = add("GET", "/v1/events?budget=tight", Value::Null).await;
    let event = &events["items"][0];
    assert_eq!(event["budget"], "tight", "{events:#}");
    add("GET", &format!("/v1/events/{}", event["id"].as_str().unwrap()), Value::Null).await;
    assert!(!add("GET", "/v1/alerts?budget=tight", Value::Null).await["items"].as_array().unwrap().is_empty());
    let refusals = add("GET", "/v1/verdicts?budget=tight", Value::Null).await;
    assert_eq!(refusals["items"][0]["budget"], "tight");
    add("GET", &format!("/v1/verdicts/{}", refusals["items"][0]["id"].as_str().unwrap()), Value::Null).await;
    for path in ["/projection", "/projections", "/versions", ""] {
        add("GET", &format!("/v1/budgets/tight{path}"), Value::Null).await;
    }
    add("POST", "/v1/budgets/tight/projection/what-if", json!({"limit": "9999"})).await;
    add("GET", "/v1/projections/accuracy?budget=tight", Value::Null).await;
    assert!(!add("GET", "/v1/runs/r1", Value::Null).await["budgets"].as_array().unwrap().is_empty());
    add("POST", "/v1/runs/r1/stop", json!({"tenant": "acme"})).await;
    add("POST", "/v1/runs/r1/resume", json!({"tenant": "acme"})).await;
    let refused = json!({
        "provider": "anthropic", "tenant": "acme", "budget": "tight", "status": 400, "headers": {},
        "body": {"type": "error", "error": {"type": "invalid_request_error", "message":
            "You have reached your specified API usage limits. You will regain access on 2026-07-01 at 00:00 UTC."}},
    });
    let signal = add("POST", "/v1/signals", refused).await;
    assert_eq!(signal["closed"][0]["budget"], "tight", "{signal:#}");
    let listed = add("GET", "/v1/signals", Value::Null).await;
    assert_eq!(listed["items"][0]["budgets"], json!(["tight"]));
    let none = json!({"provider": "anthropic", "tenant": "acme", "budget": "runs", "status": 400, "headers": {},
        "body": {"type": "error", "error": {"type": "invalid_request_error", "message":
            "You have reached your specified API usage limits. You will regain access on 2026-07-01 at 00:00 UTC."}}});
    assert_eq!(add("POST", "/v1/signals", none).await["note"], "budget `runs` is no quota");

    for (what, answer) in &answers {
        let text = answer.to_string();
        assert!(!text.contains("acme:") && !text.contains(":tight"), "{what}: {answer:#}");
    }
    let kept: Vec<String> = sqlx::query_scalar("select distinct budget from events where budget is not null")
        .fetch_all(service.db.pool())
        .await
        .unwrap();
    assert_eq!(kept, ["acme:tight"], "the platform reads the whole id");
}
