//! A budget that several tenants share, seen by one of them: that it binds and when to come back, and nothing of the others.

use axum::body::Body;
use axum::http::Request;
use counterfoil::auth::Scope;
use serde_json::{Value, json};

use crate::support::service::{Reply, TestService};
use crate::support::story::{ask, on};

/// What no answer to a confined caller holds of a budget that is shared.
const VOLUMES: [&str; 8] =
    ["limit", "posted", "held", "margin", "headroom", "overdrawn", "exhausts_at", "units_available"];

/// Two tenants, a quota that both draw from, and one budget of the first tenant's own.
async fn two_tenants() -> (TestService, String) {
    let service = TestService::start().await;
    for tenant in ["acme", "bolt"] {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": "Etc/UTC"})).await.ok();
    }
    let pool = json!({
        "scope": {"provider": "anthropic"}, "measure": "tokens", "limit": "10000", "period": {"kind": "month"},
        "timezone": "Etc/UTC", "enforcement": "hard", "kind": "quota", "thresholds": ["0.5"]
    });
    let own = json!({
        "scope": {"tenant": "acme"}, "measure": "tokens", "limit": "900000", "period": {"kind": "month"},
        "timezone": "Etc/UTC", "enforcement": "hard"
    });
    service.call("PUT", "/v1/budgets/own", own).await.ok();
    service.call("PUT", "/v1/budgets/pool", pool).await.ok();
    let token = service.token(&[Scope::Preflight, Scope::UsageWrite, Scope::Read, Scope::Admin], Some("acme"));
    (service, token)
}

fn used_by(tenant: &str, input: u64) -> Value {
    json!({
        "tenant": tenant, "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "usage": {"input": input}
    })
}

/// What an answer tells of the shared budget, with the place of it.
fn told_of_pool(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if fields.get("budget") == Some(&json!("pool")) {
                let volumes = VOLUMES.iter().filter(|name| fields.contains_key(**name));
                found.extend(volumes.map(|name| format!("{place}.{name}")));
                let detail = fields.get("detail").and_then(Value::as_str).unwrap_or_default();
                if detail.contains(|character: char| character.is_ascii_digit()) {
                    found.push(format!("{place}.detail: {detail}"));
                }
            }
            for (name, inner) in fields {
                told_of_pool(inner, &format!("{place}.{name}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| told_of_pool(item, &format!("{place}[]"), found)),
        Value::String(text) if text.contains("bolt") => found.push(format!("{place}: {text}")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every answer that tells of budgets, asked by a tenant while another one has used and holds of what they share.
#[tokio::test]
async fn no_answer_tells_a_tenant_what_others_use_of_a_shared_budget() {
    let (service, token) = two_tenants().await;
    service.call("POST", "/v1/usage", used_by("bolt", 4000)).await.ok();
    let mut held = ask(3999, 1, json!({}));
    held["tenant"] = json!("bolt");
    service.call("POST", "/v1/preflight", held).await.ok();

    let mut answers: Vec<(&str, Reply)> = Vec::new();
    let send = async |path: &str, key: Option<&str>, body: Value| {
        let headers: Vec<(&str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        service.call_as(&token, "POST", path, &headers, body).await
    };
    let granted = send("/v1/preflight", Some("a"), ask(99, 1, json!({}))).await;
    let reservation = granted.body["reservation"].as_str().unwrap().to_owned();
    answers.push(("allow", granted));
    answers.push(("a replay", send("/v1/preflight", Some("a"), ask(99, 1, json!({}))).await));
    answers.push(("a question", send("/v1/preflight", None, ask(99, 1, json!({"reserve": false}))).await));
    answers.push(("wait", send("/v1/preflight", Some("w"), ask(2999, 1, json!({}))).await));
    answers.push(("wait, counted", send("/v1/preflight", None, ask(2999, 1, json!({}))).await));
    answers.push(("stop", send("/v1/preflight", Some("s"), ask(8999, 1, json!({}))).await));
    answers.push(("larger", send("/v1/preflight", None, ask(19_999, 1, json!({}))).await));
    answers.push(("cap", send("/v1/preflight", None, ask(99, 9000, json!({"allow_cap": true}))).await));
    let items = json!({"items": [ask(9, 1, json!({})), ask(8999, 1, json!({}))]});
    answers.push(("batch", send("/v1/preflight/batch", None, items).await));
    let extend = |more: u64| send_extend(&service, &token, &reservation, more);
    answers.push(("extended", extend(1).await));
    answers.push(("not extended", extend(9000).await));
    answers.push(("settled", send(&on(&reservation, "settle"), None, json!({"usage": {"input": 5}})).await));
    answers.push(("usage", send("/v1/usage", None, used_by("acme", 3)).await));
    answers.push(("usage of many", send("/v1/usage", None, json!([used_by("acme", 3), used_by("acme", 4)])).await));
    answers.push(("lines", lines(&service, &token).await));
    for path in ["/v1/verdicts", "/v1/budgets", "/v1/events?limit=100", "/v1/alerts", "/v1/signals"] {
        answers.push((path, service.call_as(&token, "GET", path, &[], Value::Null).await));
    }
    for verdict in
        service.call_as(&token, "GET", "/v1/verdicts", &[], Value::Null).await.ok()["items"].as_array().unwrap()
    {
        let path = format!("/v1/verdicts/{}", verdict["id"].as_str().unwrap());
        answers.push(("one verdict", service.call_as(&token, "GET", &path, &[], Value::Null).await));
    }

    let mut verdicts = std::collections::BTreeSet::new();
    let mut telling = 0;
    for (what, reply) in &answers {
        assert_eq!(reply.status, 200, "{what}: {:#}", reply.body);
        let mut found = Vec::new();
        told_of_pool(&reply.body, "", &mut found);
        assert!(found.is_empty(), "{what}: {found:#?}");
        telling += usize::from(reply.body.to_string().contains("\"pool\""));
        for name in ["ratelimit", "ratelimit-policy"] {
            let told = reply.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
            assert!(!told.contains("pool"), "{what}: {told}");
        }
        verdicts.extend(reply.body["verdict"].as_str().map(str::to_owned));
    }
    assert_eq!(verdicts.into_iter().collect::<Vec<_>>(), ["allow", "cap", "stop", "wait"], "all four were walked");
    assert!(telling >= 15, "the answers do name the budget that binds: {telling}");

    let stopped = &answers.iter().find(|(what, _)| *what == "stop").unwrap().1.body;
    assert_eq!(stopped["reasons"][0]["budget"], "pool", "what binds is told");
    let of = |body: &Value, id: &str| {
        let budgets = body["budgets"].as_array().unwrap();
        budgets.iter().find(|state| state["budget"] == id).unwrap().clone()
    };
    assert_eq!(of(stopped, "pool")["resets_at"], "2026-07-01T00:00:00Z", "and when to come back: {stopped:#}");
    assert_eq!(of(&answers[0].1.body, "own")["posted"], "0", "one's own is told whole");
    let seen = service.call("GET", "/v1/verdicts", Value::Null).await.ok();
    assert!(seen["items"].to_string().contains("\"headroom\""), "the platform sees all of it");
}

async fn send_extend(service: &TestService, token: &str, reservation: &str, more: u64) -> Reply {
    let body = json!({"ttl_seconds": 60, "more_output": more});
    service.call_as(token, "POST", &on(reservation, "extend"), &[], body).await
}

async fn lines(service: &TestService, token: &str) -> Reply {
    let body = format!("{}\n{}\n", used_by("acme", 3), used_by("acme", 4));
    let request = Request::post("/v1/usage")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/x-ndjson")
        .body(Body::from(body));
    let mut reply = service.send(request.unwrap()).await;
    let text = reply.body.as_str().unwrap().to_owned();
    reply.body = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    reply
}

/// The case H1-shared-quota-seen: a question costs nothing, so whoever could see a difference could watch.
#[tokio::test]
async fn who_polls_a_shared_budget_sees_no_difference_while_others_use_it() {
    let (service, token) = two_tenants().await;
    let poll = async || {
        let body = ask(9, 1, json!({"reserve": false}));
        let reply = service.call_as(&token, "POST", "/v1/preflight", &[], body).await;
        let mut headers: Vec<_> = reply.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.retain(|(name, _)| name != "x-request-id");
        (headers, reply.body)
    };
    let before = poll().await;
    assert_eq!(before.1["verdict"], "allow");
    for input in [1, 20, 300, 2000] {
        service.call("POST", "/v1/usage", used_by("bolt", input)).await.ok();
        assert_eq!(poll().await, before, "{input} tokens were used");
    }
    let mut held = ask(999, 1, json!({}));
    held["tenant"] = json!("bolt");
    service.call("POST", "/v1/preflight", held).await.ok();
    assert_eq!(poll().await, before, "some are held");
}

/// Answers that are kept were written for whoever asked first, and by releases that knew nothing of this.
#[tokio::test]
async fn a_kept_answer_that_says_nothing_of_sharing_is_shown_by_the_catalogue() {
    let (service, token) = two_tenants().await;
    let keyed = async || {
        let headers = [("idempotency-key", "k")];
        service.call_as(&token, "POST", "/v1/preflight", &headers, ask(99, 1, json!({}))).await.ok()
    };
    keyed().await;
    let kept = sqlx::query("update idempotency_keys set answer = replace(answer, '\"o\":true,', '')");
    assert_eq!(kept.execute(service.db.pool()).await.unwrap().rows_affected(), 1);
    let mut found = Vec::new();
    told_of_pool(&keyed().await, "", &mut found);
    assert!(found.is_empty(), "{found:#?}");
    service.call("DELETE", "/v1/budgets/pool", Value::Null).await.ok();
    told_of_pool(&keyed().await, "", &mut found);
    assert!(found.is_empty(), "a budget that is gone is nobody's own: {found:#?}");
}
