//! What a token that is confined to one tenant reaches: its own things, and not a word of another's.

use counterfoil::auth::Scope;
use serde_json::{Value, json};

use super::{ask, get, monthly, put_budget, tenant};
use crate::support::service::TestService;

#[tokio::test]
async fn a_tenants_token_sees_its_own_things_and_of_others_not_even_that_they_are() {
    let service = TestService::start().await;
    for id in ["acme", "bolt"] {
        tenant(&service, id, "Asia/Tokyo").await;
        put_budget(&service, &format!("{id}-usd"), monthly(id, "1")).await;
        service.call("POST", "/v1/preflight", ask(id)).await.ok();
    }
    let mut of_all = monthly("acme", "1");
    of_all["scope"] = json!({});
    of_all["each"] = json!("tenant");
    put_budget(&service, "of-all", of_all).await;

    let token = service.token(&[Scope::Admin], Some("acme"));
    let call = async |method: &str, path: &str, body: Value| service.call_as(&token, method, path, &[], body).await;
    let ids = async |path: &str| {
        let list = call("GET", path, Value::Null).await.ok();
        list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("/v1/tenants").await, ["acme"]);
    assert_eq!(ids("/v1/budgets").await, ["acme-usd"]);
    assert_eq!(ids("/v1/budgets?tenant=acme").await, ["acme-usd"]);
    assert_eq!(call("GET", "/v1/budgets?tenant=bolt", Value::Null).await.problem(), (403, "forbidden_tenant"));

    let own = call("GET", "/v1/budgets/acme-usd", Value::Null).await.ok();
    assert_eq!(own, get(&service, "/v1/budgets/acme-usd").await, "the same numbers under row-level security");
    assert_eq!(own["counters"][0]["held"], "0.0156");
    assert_eq!(call("GET", "/v1/tenants/acme", Value::Null).await.ok()["id"], "acme");
    assert_eq!(call("GET", "/v1/tenants/acme/versions", Value::Null).await.ok()["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        call("GET", "/v1/budgets/acme-usd/versions", Value::Null).await.ok()["items"].as_array().unwrap().len(),
        1
    );

    for (method, path, code) in [
        ("GET", "/v1/tenants/bolt", "unknown_tenant"),
        ("GET", "/v1/tenants/bolt/versions", "unknown_tenant"),
        ("GET", "/v1/budgets/bolt-usd", "unknown_budget"),
        ("GET", "/v1/budgets/bolt-usd/versions", "unknown_budget"),
        ("GET", "/v1/budgets/of-all", "unknown_budget"),
        ("DELETE", "/v1/budgets/bolt-usd", "unknown_budget"),
        ("DELETE", "/v1/budgets/of-all", "unknown_budget"),
    ] {
        let hidden = call(method, path, Value::Null).await;
        assert_eq!(hidden.problem(), (404, code), "{method} {path}");
        let none = call(method, &path.replace("bolt", "nobody").replace("of-all", "none"), Value::Null).await;
        assert_eq!(none.problem(), (404, code), "a foreign thing looks like none");
    }
}

#[tokio::test]
async fn a_tenants_administrator_manages_its_own_budgets_and_nothing_of_the_platform() {
    let service = TestService::start().await;
    for id in ["acme", "bolt"] {
        tenant(&service, id, "Asia/Tokyo").await;
        put_budget(&service, &format!("{id}-usd"), monthly(id, "1")).await;
    }
    let token = service.token(&[Scope::Admin], Some("acme"));
    let call = async |method: &str, path: &str, body: Value| service.call_as(&token, method, path, &[], body).await;
    assert_eq!(call("PUT", "/v1/budgets/acme-usd", monthly("acme", "2")).await.ok()["version"], 2);
    for (body, path) in [(monthly("bolt", "9"), "/v1/budgets/new"), (json!({}), "/v1/budgets/new")] {
        assert!([403, 422].contains(&call("PUT", path, body).await.status));
    }
    // A foreign budget is not taken over by naming its id with a scope of one's own, archived or not: it is another budget.
    assert_eq!(call("PUT", "/v1/budgets/bolt-usd", monthly("acme", "9")).await.ok()["version"], 1);
    service.call("DELETE", "/v1/budgets/bolt-usd", Value::Null).await.ok();
    assert_eq!(call("PUT", "/v1/budgets/bolt-usd", monthly("acme", "9")).await.ok()["version"], 2);
    assert_eq!(get(&service, "/v1/budgets/bolt-usd").await["scope"], json!({"tenant": "bolt"}));

    for (method, path, body) in [
        ("PUT", "/v1/tenants/acme", json!({"timezone": "Europe/Berlin"})),
        ("DELETE", "/v1/tenants/acme", Value::Null),
        ("DELETE", "/v1/tenants/bolt", Value::Null),
    ] {
        assert_eq!(call(method, path, body).await.problem(), (403, "forbidden_tenant"), "{method} {path}");
    }
    let row = json!({
        "provider": "x", "model": "y", "effective_from": "2026-01-01T00:00:00Z", "tiers": [{"from": 0, "input": "1"}],
        "source": "s", "source_date": "2026-01-01", "licence": "l"
    });
    assert_eq!(call("POST", "/v1/prices", row).await.problem(), (403, "forbidden_tenant"));
    let factor = json!({
        "kind": "grid", "zone": "XYZ", "g_per_kwh": 1, "basis": "direct", "accounting": "location",
        "valid_from": "2026-01-01T00:00:00Z",
        "source": {"set": "s", "title": "t", "publisher": "p", "licence": "l", "tier": 3}
    });
    assert_eq!(call("POST", "/v1/factors", factor).await.problem(), (403, "forbidden_tenant"));
    assert_eq!(call("DELETE", "/v1/budgets/acme-usd", Value::Null).await.ok()["id"], "acme-usd");
}

#[tokio::test]
async fn each_route_needs_its_scope_and_a_token() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    put_budget(&service, "acme-usd", monthly("acme", "1")).await;
    let period = json!({"zone": "Asia/Tokyo", "period": {"kind": "day"}});
    let estimate = json!({"provider": "openai", "model": "gpt-4o", "usage": {"output": 1}});
    let preflight = service.token(&[Scope::Preflight], Some("acme"));
    let read = service.token(&[Scope::Read], Some("acme"));
    for (method, path, body, by_preflight, by_read) in [
        ("GET", "/v1/tenants", Value::Null, 403, 200),
        ("GET", "/v1/tenants/acme", Value::Null, 403, 200),
        ("GET", "/v1/tenants/acme/versions", Value::Null, 403, 200),
        ("GET", "/v1/budgets", Value::Null, 403, 200),
        ("GET", "/v1/budgets/acme-usd", Value::Null, 403, 200),
        ("GET", "/v1/budgets/acme-usd/versions", Value::Null, 403, 200),
        ("DELETE", "/v1/budgets/acme-usd", Value::Null, 403, 403),
        ("DELETE", "/v1/tenants/acme", Value::Null, 403, 403),
        ("PUT", "/v1/budgets/acme-usd", monthly("acme", "2"), 403, 403),
        ("GET", "/v1/prices?limit=1", Value::Null, 200, 200),
        ("GET", "/v1/prices/1", Value::Null, 200, 200),
        ("GET", "/v1/factors?limit=1", Value::Null, 200, 200),
        ("GET", "/v1/factors/1", Value::Null, 200, 200),
        ("GET", "/v1/about", Value::Null, 200, 200),
        ("POST", "/v1/estimate", estimate, 200, 200),
        ("POST", "/v1/calendar/period", period, 200, 200),
    ] {
        let of = async |token: &str| service.call_as(token, method, path, &[], body.clone()).await.status;
        assert_eq!((of(&preflight).await, of(&read).await), (by_preflight, by_read), "{method} {path}");
        assert_eq!(of("no.such.token").await, 401, "{method} {path}");
    }
    assert_eq!(get(&service, "/v1/budgets/acme-usd").await["version"], 1, "nothing was changed");
}
