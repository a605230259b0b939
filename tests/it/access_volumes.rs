//! What a tenant learns of what others use of budgets that they share: nothing that can be counted.
//!
//! The same requests of one tenant in two worlds that differ in what the other tenant uses, and in nothing else: every answer of
//! every operation is the same, but for random ids. So no number in a verdict, a header, an event, a projection or a pace is made
//! of the others' use. What a verdict itself tells stays: whoever asks for a thousand tokens and is refused knows that there are no
//! thousand.

use counterfoil::auth::Scope;
use serde_json::{Value, json};

use crate::access::{Operation, operations, send};
use crate::access_matrix::{Ids, Whose, about, world};
use crate::support::service::{Reply, TestService};

/// Fields that are random, or made of what is.
const RANDOM: [&str; 7] = ["grant", "secret", "instance", "after_s", "jitter_s", "subject", "stopped_by"];

/// A world in which the other tenant has used so many tokens, and holds a seventh of as many.
async fn used_by_the_other(tokens: u64) -> (TestService, Ids) {
    let service = TestService::start().await;
    let ids = world(&service).await;
    let shared = |measure: Value, more: Value| {
        let mut body = json!({
            "scope": {}, "shared": true, "measure": measure, "limit": "1000000000", "period": {"kind": "month"},
            "timezone": "Etc/UTC", "enforcement": "hard", "thresholds": ["0.9"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (id, body) in [
        ("pool", shared(json!("tokens"), json!({"kind": "quota"}))),
        ("paced", shared(json!("tokens"), json!({"pacing": "forecast"}))),
        ("dollars", shared(json!("usd"), json!({"each": "provider", "floors": {"interactive": "0.2"}}))),
        ("window", shared(json!("tokens"), json!({"period": {"kind": "sliding", "seconds": 3600}}))),
        ("grams", shared(json!("gco2e"), json!({"enforcement": "soft"}))),
        ("learned", shared(json!("tokens"), json!({"reserve": "p95"}))),
    ] {
        service.call("PUT", &format!("/v1/budgets/{id}"), body).await.ok();
    }
    let own = json!({
        "scope": {"tenant": "bolt"}, "measure": "tokens", "limit": "1000000000", "period": {"kind": "month"},
        "enforcement": "hard",
    });
    service.call("PUT", "/v1/budgets/bolt-own", own).await.ok();
    let call = json!({"tenant": "bolt", "feature": "bolt-secret", "provider": "openai", "model": "gpt-4o"});
    let with = |more: Value| {
        let mut body = call.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    service.call("POST", "/v1/usage", with(json!({"usage": {"input": tokens, "output": tokens / 2}}))).await.ok();
    let estimate = json!({"estimate": {"input": tokens / 7, "max_output": 1}});
    assert!(service.call("POST", "/v1/preflight", with(estimate)).await.ok()["reservation"].is_string());
    service.app.plan_paces().await.unwrap();
    service.app.project_round().await.unwrap();
    assert!(service.app.evaluate_alerts(service.now()).await.unwrap().ran);
    (service, ids)
}

/// The answer without what is random.
fn same(reply: &Reply) -> String {
    let mut headers: Vec<String> = Vec::new();
    for (name, value) in &reply.headers {
        match name.as_str() {
            "x-request-id" | "date" | "content-length" | "retry-after" | "x-export-cursor" => {
                headers.push(name.to_string());
            }
            _ => headers.push(format!("{name}={}", String::from_utf8_lossy(value.as_bytes()))),
        }
    }
    let mut body = reply.body.clone();
    plain(&mut body);
    format!("{} {headers:?} {body:#}", reply.status)
}

fn plain(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_ids(text),
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(fields) => {
            RANDOM.iter().for_each(|name| drop(fields.remove(*name)));
            fields.values_mut().for_each(plain);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text with each UUID in it made one word.
fn without_ids(text: &str) -> String {
    let is_of_id = |c: char| c.is_ascii_hexdigit() || c == '-';
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let found = rest.get(..36).filter(|one| one.chars().all(is_of_id) && one.matches('-').count() == 4);
        match found {
            Some(id) => {
                plain.push_str("ID");
                rest = &rest[id.len()..];
            }
            None => {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    plain
}

/// What one tenant asks: every operation as its example says, about its own things; and verdicts of every kind.
async fn walk((service, ids): &(TestService, Ids)) -> Vec<(String, String)> {
    let token = service.token(&[Scope::Admin], Some("acme"));
    let mut answers = Vec::new();
    let ask = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o",
        "estimate": {"input": 40, "max_output": 9},
    });
    for (what, more) in [
        ("a question", json!({"reserve": false})),
        ("an urgent question", json!({"reserve": false, "priority": "interactive"})),
        ("a batch's question", json!({"reserve": false, "priority": "batch"})),
        ("a grant", json!({})),
        ("larger than all", json!({"estimate": {"input": 2_000_000_000, "max_output": 9}})),
        ("a long hold", json!({"ttl_seconds": 86_400, "estimate": {"input": 600_000_000, "max_output": 9}})),
    ] {
        let mut body = ask.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = service.call_as(&token, "POST", "/v1/preflight", &[], body).await;
        assert_eq!(reply.status, 200, "{what}: {:#}", reply.body);
        answers.push((what.to_owned(), same(&reply)));
    }
    let operations: Vec<Operation> = operations().into_iter().filter(|operation| !operation.public).collect();
    // Twice what is read: also after all that is written.
    for method in ["GET", "POST", "PUT", "GET", "DELETE"] {
        for operation in operations.iter().filter(|operation| operation.method == method) {
            let (asked, _) = about(operation, ids, Whose::Own, Whose::Own);
            answers.push((operation.name.clone(), same(&send(service, &asked, Some(&token)).await)));
        }
        assert!(service.app.evaluate_alerts(service.now()).await.unwrap().ran);
    }
    answers
}

#[tokio::test]
async fn no_answer_to_a_tenant_depends_on_how_much_others_use_of_what_they_share() {
    let (little, much) = (walk(&used_by_the_other(70).await).await, walk(&used_by_the_other(700_007).await).await);
    let mut differences = Vec::new();
    for ((what, one), (_, other)) in little.iter().zip(&much) {
        if one != other {
            let lines = one.lines().zip(other.lines()).filter(|(a, b)| a != b);
            let lines: Vec<String> = lines.take(6).map(|(a, b)| format!("  {a}\n  {b}")).collect();
            differences.push(format!("{what}:\n{}", lines.join("\n")));
        }
    }
    assert!(little.len() > 100 && little.len() == much.len(), "{}", little.len());
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
