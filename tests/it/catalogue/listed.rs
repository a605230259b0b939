//! `GET /v1/budgets?include=counters`: many budgets, and how each stands, in one answer.

use counterfoil::auth::Scope;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;

use super::{ask, get, monthly, put_budget, spend, tenant, walk};
use crate::support::proxy::Proxy;
use crate::support::service::{Replica, TestService};

/// Budgets of each kind: of one tenant, by each tenant in its own zone, by run, sliding, weighted; and one that is archived.
async fn cast(service: &Replica) {
    tenant(service, "acme", "Asia/Tokyo").await;
    tenant(service, "bolt", "America/New_York").await;
    put_budget(service, "acme-usd", monthly("acme", "1")).await;
    put_budget(service, "bolt-usd", monthly("bolt", "2")).await;
    put_budget(service, "gone", monthly("acme", "3")).await;
    let mut by_tenant = monthly("acme", "5");
    by_tenant["scope"] = json!({});
    by_tenant["each"] = json!("tenant");
    put_budget(service, "by-tenant", by_tenant).await;
    let of_acme = |each: Value, measure: Value, period: Value| {
        json!({
            "scope": {"tenant": "acme"}, "each": each, "measure": measure, "limit": "900000", "period": period,
            "enforcement": "hard"
        })
    };
    put_budget(service, "by-run", of_acme(json!("run"), json!("requests"), json!({"kind": "once"}))).await;
    let sliding = json!({"kind": "sliding", "seconds": 600});
    put_budget(service, "burst", of_acme(Value::Null, json!("requests"), sliding)).await;
    put_budget(service, "weighted", of_acme(Value::Null, json!({"output": 5}), json!({"kind": "day"}))).await;
    for owner in ["acme", "bolt"] {
        spend(service, owner, None).await;
        let mut call = ask(owner);
        call["run"] = json!("r-1");
        service.call("POST", "/v1/preflight", call).await.ok();
    }
    // Its time passes before anybody looks.
    let mut brief = ask("acme");
    brief["ttl_seconds"] = json!(1);
    brief["run"] = json!("r-2");
    service.call("POST", "/v1/preflight", brief).await.ok();
    service.advance(chrono::TimeDelta::seconds(2));
    service.call("DELETE", "/v1/budgets/gone", Value::Null).await.ok();
}

#[tokio::test]
async fn a_list_with_counters_says_of_each_budget_what_the_budget_itself_says() {
    let service = TestService::start().await;
    cast(&service).await;
    let listed = get(&service, "/v1/budgets?include=counters&archived=true").await;
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 7);
    for item in items {
        let mut one = get(&service, &format!("/v1/budgets/{}", item["id"].as_str().unwrap())).await;
        let one = one.as_object_mut().unwrap();
        assert_eq!(one.remove("at").unwrap(), listed["at"], "one instant");
        assert_eq!(one.remove("next_cursor").unwrap(), Value::Null);
        assert_eq!(item.as_object().unwrap(), one);
    }
    let plain = get(&service, "/v1/budgets").await;
    assert!(plain.get("at").is_none() && plain["items"][0].get("counters").is_none(), "{plain:#}");
    assert_eq!(
        walk(&service, "/v1/budgets?include=counters", 2, "id").await.0,
        walk(&service, "/v1/budgets", 100, "id").await.0,
        "archived ones only if they are asked for"
    );
}

#[tokio::test]
async fn a_page_with_counters_takes_as_many_statements_as_one_budget() {
    let service = TestService::start().await;
    for number in 0..30 {
        let team = format!("team-{number:02}");
        tenant(&service, &team, "Asia/Tokyo").await;
        put_budget(&service, &format!("{team}-usd"), monthly(&team, "1")).await;
        spend(&service, &team, None).await;
    }
    let proxy = Proxy::start(&service.db.connect_options());
    let pool = PgPoolOptions::new().max_connections(1).connect_with(proxy.options()).await.unwrap();
    let replica = service.with_pool(pool);
    let count = async |path: &str, expected: usize| {
        proxy.take_steps();
        let listed = get(&replica, path).await;
        let items = listed["items"].as_array().unwrap();
        assert_eq!(items.len(), expected);
        assert!(items.iter().all(|item| item["counters"][0]["posted"] == "0.0156"), "{listed:#}");
        proxy.take_steps().len()
    };
    // The first takes the catalogue in, and prepares.
    count("/v1/budgets?include=counters", 30).await;
    let one = count("/v1/budgets?include=counters&limit=1", 1).await;
    assert!(one > 0, "the proxy saw them");
    assert_eq!(count("/v1/budgets?include=counters", 30).await, one);
}

#[tokio::test]
async fn a_budget_of_many_keys_is_listed_with_its_first_and_says_how_to_go_on() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    let by_run = json!({
        "scope": {"tenant": "acme"}, "each": "run", "measure": "requests", "limit": "9", "period": {"kind": "once"},
        "enforcement": "hard"
    });
    put_budget(&service, "by-run", by_run).await;
    put_budget(&service, "whole", monthly("acme", "100")).await;
    let items: Vec<Value> = (0..103)
        .map(|number| {
            json!({
                "tenant": "acme", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
                "run": format!("r-{number:03}"), "usage": {"input": 1}
            })
        })
        .collect();
    service.call("POST", "/v1/usage", json!(items)).await.ok();
    let listed = get(&service, "/v1/budgets?include=counters").await;
    let [by_run, whole] = &listed["items"].as_array().unwrap()[..] else { panic!("{listed:#}") };
    assert_eq!(by_run["counters"].as_array().unwrap().len(), 100);
    assert_eq!((whole["counters"].as_array().unwrap().len(), whole.get("counters_cursor")), (1, None));
    let cursor = by_run["counters_cursor"].as_str().unwrap();
    let rest = get(&service, &format!("/v1/budgets/by-run?cursor={cursor}")).await;
    let keys: Vec<&Value> = rest["counters"].as_array().unwrap().iter().map(|counter| &counter["key"]).collect();
    assert_eq!(keys, ["acme/r-100", "acme/r-101", "acme/r-102"]);
}

#[tokio::test]
async fn a_tenant_lists_the_counters_of_its_own_budgets_alone() {
    let service = TestService::start().await;
    cast(&service).await;
    let token = service.token(&[Scope::Read], Some("bolt"));
    let own = service.call_as(&token, "GET", "/v1/budgets?include=counters", &[], Value::Null).await.ok();
    let [budget] = &own["items"].as_array().unwrap()[..] else { panic!("{own:#}") };
    assert_eq!((&budget["id"], &budget["counters"][0]["posted"]), (&json!("bolt-usd"), &json!("0.0156")));
    assert!(!own.to_string().contains("acme"), "{own:#}");
}

#[tokio::test]
async fn an_unknown_inclusion_and_too_large_a_page_are_refused_by_name() {
    let service = TestService::start().await;
    for (query, field, named) in [
        ("include=counter", "include", "counters"),
        ("include=", "include", "counters"),
        ("include=counters,versions", "include", "counters"),
        ("include=counters&limit=101", "limit", "100"),
    ] {
        let refused = service.call("GET", &format!("/v1/budgets?{query}"), Value::Null).await;
        assert_eq!(refused.problem(), (422, "invalid_request"), "{query}");
        let error = &refused.body["errors"][0];
        assert_eq!(error["field"], field, "{query}");
        assert!(error["detail"].as_str().unwrap().contains(named), "{error}");
    }
    get(&service, "/v1/budgets?include=counters&limit=100").await;
}
