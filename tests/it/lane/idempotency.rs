//! The same key, sent twice: to two replicas at once, in one batch, after the budget was raised.

use serde_json::{Value, json};

use crate::reconcile::{bucket, page, propose, row};
use crate::restatements::german_grid;
use crate::support::audit::{assert_none, findings};
use counterfoil::domain::ledger::command::{Action, Command};
use counterfoil::http::service::document;

use crate::support::commands::{But, post_usage, reserve, settle};
use crate::support::service::{NOON, Reply, TestService};
use crate::support::story::{acme, ask, budget, on};

/// The same request to two replicas, so often and so closely that they meet.
async fn sent_to_both(service: &TestService, key: &str, path: &str, body: Value) -> Vec<Reply> {
    let two = [service.replica().await, service.replica().await];
    let send = |number: usize| two[number % 2].call_keyed(key, "POST", path, body.clone());
    futures::future::join_all((0..16).map(send)).await
}

async fn count(service: &TestService, table: &str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(count).fetch_one(service.db.pool()).await.unwrap()
}

/// All answers, which must be one.
#[track_caller]
fn the_one(replies: Vec<Reply>) -> Value {
    let mut bodies: Vec<Value> = replies.into_iter().map(Reply::ok).collect();
    for body in &mut bodies {
        // Signed anew for each answer, over the same claims; and not signed once what was granted has ended.
        for field in ["grant", "reservation_ended"] {
            body.as_object_mut().unwrap().remove(field);
        }
    }
    let first = bodies.remove(0);
    for body in bodies {
        assert_eq!(body, first);
    }
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_on_two_replicas_at_once_is_one_effect_and_one_answer() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "100", json!({})).await;

    let granted = the_one(sent_to_both(&service, "k-grant", "/v1/preflight", ask(59, 1, json!({}))).await);
    assert_eq!(granted["verdict"], "allow");
    assert_eq!((count(&service, "reservations").await, count(&service, "idempotency_keys").await), (1, 1));

    let path = on(granted["reservation"].as_str().unwrap(), "settle");
    let settled = the_one(sent_to_both(&service, "k-settle", &path, json!({"usage": {"input": 10}})).await);
    assert_eq!(settled["amounts"]["tokens"], 10);
    let usage = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 7}
    });
    the_one(sent_to_both(&service, "k-usage", "/v1/usage", usage).await);
    assert_eq!((count(&service, "transfers").await, count(&service, "idempotency_keys").await), (2, 3));

    let refused = the_one(sent_to_both(&service, "k-refuse", "/v1/preflight", ask(90, 1, json!({}))).await);
    assert_eq!(refused["verdict"], "stop");
    assert_eq!(count(&service, "refusals").await, 1);

    let release = the_one(sent_to_both(&service, "k-again", "/v1/preflight", ask(9, 1, json!({}))).await);
    let path = on(release["reservation"].as_str().unwrap(), "release");
    the_one(sent_to_both(&service, "k-release", &path, Value::Null).await);
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_key_with_another_body_or_for_another_thing_is_a_conflict() {
    let service = TestService::start().await;
    acme(&service).await;
    let first = service.call_keyed("k", "POST", "/v1/preflight", ask(9, 1, json!({}))).await.ok();
    let other = service.replica().await;
    let again = other.call_keyed("k", "POST", "/v1/preflight", ask(10, 1, json!({}))).await;
    assert_eq!(again.problem(), (409, "idempotency_mismatch"));
    let path = on(first["reservation"].as_str().unwrap(), "settle");
    let again = other.call_keyed("k", "POST", &path, json!({"usage": {"input": 10}})).await;
    assert_eq!(again.problem(), (409, "idempotency_mismatch"));
    assert_eq!(count(&service, "transfers").await, 0);
}

#[tokio::test]
async fn one_key_twice_in_one_batch_is_one_effect() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let commands = vec![
        reserve(5).keyed("a", 1),
        reserve(5).keyed("a", 1),
        post_usage(7).keyed("b", 2),
        post_usage(7).keyed("b", 2),
        post_usage(7).keyed("b", 3),
    ];
    let answers = service.app.lane.submit_all(commands).await;
    let ok: Vec<bool> = answers.iter().map(|answer| answer.as_ref().unwrap().is_ok()).collect();
    assert_eq!(ok, [true, true, true, true, false], "the last has another body");
    assert_eq!((count(&service, "reservations").await, count(&service, "transfers").await), (1, 1));
    let items = json!({"items": [ask(9, 1, json!({})), ask(9, 1, json!({}))]});
    let first = service.call_keyed("c", "POST", "/v1/preflight/batch", items.clone()).await.ok();
    let again = service.call_keyed("c", "POST", "/v1/preflight/batch", items).await.ok();
    for item in 0..2 {
        assert_eq!(first["items"][item]["answer"]["reservation"], again["items"][item]["answer"]["reservation"]);
    }
    assert_eq!(count(&service, "reservations").await, 3);
    assert_none(&findings(service.db.pool()).await);
}

/// The first try of a batch takes every key for new: neither a key that is not, nor a refusal that its own first time caused,
/// may show.
#[tokio::test]
async fn what_was_asked_before_is_answered_again_amid_what_is_new() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let lane = &service.app.lane;
    let held = |command: &Command| command.action.reservation().unwrap().0;
    let (old, later) = (reserve(9), reserve(9));
    let (Action::Reserve(first), Action::Reserve(second)) = (&old.action, &later.action) else { unreachable!() };
    let (first, second) = (first.id.0, second.id.0);
    lane.submit(old.keyed("old", 1)).await.unwrap().unwrap();
    lane.submit(later).await.unwrap().unwrap();
    lane.submit(settle(first, 4).keyed("settled", 2)).await.unwrap().unwrap();

    let settle_only = vec![settle(first, 4).keyed("settled", 2), settle(first, 4).keyed("settled", 3)];
    let all = vec![
        post_usage(7).keyed("new", 4),
        settle(first, 4).keyed("settled", 2),
        settle(first, 5).keyed("unheard", 5),
        reserve(9).keyed("old", 1),
        settle(second, 6).keyed("new-too", 6),
    ];
    assert_eq!(held(&all[1]), first);
    for (commands, expected) in [(settle_only, &[true, false][..]), (all, &[true, true, false, true, true])] {
        let answers = lane.submit_all(commands).await;
        let ok: Vec<bool> = answers.iter().map(|answer| answer.as_ref().unwrap().is_ok()).collect();
        assert_eq!(ok, expected);
    }
    assert_eq!((count(&service, "reservations").await, count(&service, "transfers").await), (2, 3));
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_remembered_refusal_stays_one_when_the_budget_is_raised() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "30", json!({})).await;
    let usage = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 15}
    });
    service.call("POST", "/v1/usage", usage).await.ok();
    let refused = service.call_keyed("k", "POST", "/v1/preflight", ask(20, 1, json!({}))).await.ok();
    assert_eq!(refused["verdict"], "stop");
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let other = service.replica().await;
    assert_eq!(other.call_keyed("k", "POST", "/v1/preflight", ask(20, 1, json!({}))).await.ok(), refused);
    let fresh = other.call_keyed("k2", "POST", "/v1/preflight", ask(20, 1, json!({}))).await.ok();
    assert_eq!(fresh["verdict"], "allow");
}

fn is_replayed(reply: &Reply) -> bool {
    reply.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

/// The case C2-wait-same-key: told `wait, ask again`; the hold is back; asked again under the key of the call.
#[tokio::test]
async fn a_wait_is_decided_anew_under_its_key_and_what_is_granted_then_is_remembered() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "100", json!({})).await;
    let other = service.replica().await;
    let held = service.call("POST", "/v1/preflight", ask(89, 1, json!({}))).await.ok();
    for replica in [&service.one, &other, &service.one] {
        let waits = replica.call_keyed("call-7", "POST", "/v1/preflight", ask(59, 1, json!({}))).await;
        assert!(!is_replayed(&waits) && waits.headers.contains_key("retry-after"), "{:?}", waits.headers);
        assert_eq!(waits.ok()["verdict"], "wait");
    }
    let path = on(held["reservation"].as_str().unwrap(), "settle");
    service.call("POST", &path, json!({"usage": {"input": 10}})).await.ok();

    let granted = the_one(sent_to_both(&service, "call-7", "/v1/preflight", ask(59, 1, json!({}))).await);
    assert_eq!(granted["verdict"], "allow");
    assert_eq!(count(&service, "reservations").await, 2, "both replicas raced on the key: one hold");
    // Now the first hold of the key itself is in the way of a second one: that must not show.
    let again = other.call_keyed("call-7", "POST", "/v1/preflight", ask(59, 1, json!({}))).await;
    assert!(is_replayed(&again));
    assert_eq!(again.ok()["reservation"], granted["reservation"]);
    let mismatch = other.call_keyed("call-7", "POST", "/v1/preflight", ask(58, 1, json!({}))).await;
    assert_eq!(mismatch.problem(), (409, "idempotency_mismatch"));
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_stop_is_repeated_until_the_budget_resets_and_no_longer() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "daily", "tokens", "100", json!({"period": {"kind": "day"}})).await;
    let usage = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 95}
    });
    service.call("POST", "/v1/usage", usage).await.ok();
    let stopped = service.call_keyed("k", "POST", "/v1/preflight", ask(9, 1, json!({}))).await.ok();
    assert_eq!(stopped["verdict"], "stop");
    let again = service.call_keyed("k", "POST", "/v1/preflight", ask(9, 1, json!({}))).await;
    assert!(is_replayed(&again) && !again.headers.contains_key("retry-after"));
    assert_eq!(again.ok(), stopped);
    let resets_at: chrono::DateTime<chrono::Utc> = stopped["resets_at"].as_str().unwrap().parse().unwrap();
    service.advance(resets_at - service.now());
    let granted = the_one(sent_to_both(&service, "k", "/v1/preflight", ask(9, 1, json!({}))).await);
    assert_eq!(granted["verdict"], "allow");
    assert_eq!(count(&service, "reservations").await, 1);
    assert_none(&findings(service.db.pool()).await);
}

/// A budget that never resets: only a person ends the stop, and no instant says when.
#[tokio::test]
async fn a_stop_without_a_reset_is_decided_anew_under_its_key() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "whole", "tokens", "9", json!({"period": {"kind": "once"}})).await;
    let stopped = service.call_keyed("k", "POST", "/v1/preflight", ask(9, 1, json!({}))).await.ok();
    assert_eq!((&stopped["verdict"], &stopped["resets_at"]), (&json!("stop"), &Value::Null));
    let again = service.call_keyed("k", "POST", "/v1/preflight", ask(9, 1, json!({}))).await;
    assert!(!is_replayed(&again));
    assert_eq!(again.ok()["verdict"], "stop");
    budget(&service, "whole", "tokens", "100", json!({"period": {"kind": "once"}})).await;
    let granted = the_one(sent_to_both(&service, "k", "/v1/preflight", ask(9, 1, json!({}))).await);
    assert_eq!(granted["verdict"], "allow");
    let replayed = service.call_keyed("k", "POST", "/v1/preflight", ask(9, 1, json!({}))).await;
    assert!(is_replayed(&replayed));
    assert_eq!(count(&service, "reservations").await, 1);
    assert_none(&findings(service.db.pool()).await);
}

/// Every POST of the contract that takes a key, twice under one: the second answer is the first, and says so. Another request
/// under that key is refused.
#[tokio::test]
async fn every_post_says_that_its_answer_is_a_replay() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "shared", "tokens", "100000", json!({"scope": {}})).await;
    let held = |key: &'static str| service.call_keyed(key, "POST", "/v1/preflight", ask(9, 1, json!({})));
    let (one, two, three) = (held("h1").await.ok(), held("h2").await.ok(), held("h3").await.ok());
    let path = |held: &Value, verb: &str| on(held["reservation"].as_str().unwrap(), verb);
    let day = [("openai", NOON), ("anthropic", "2026-06-09T10:00:00Z")];
    for (provider, at) in day {
        let used = json!({
            "tenant": "acme", "feature": "chat", "provider": provider, "model": "claude-sonnet-4-5", "occurred_at": at,
            "usage": {"input": 10}
        });
        service.call("POST", "/v1/usage", used).await.ok();
    }
    let report = page(&[bucket("2026-06-09", &[row("claude-sonnet-4-5-20250929", [10, 0, 0, 5])])]);
    let proposed = propose(&service, report.clone()).await;
    let approval = format!("/v1/reconciliations/{}/approve", proposed["id"].as_str().unwrap());
    let endpoint = json!({"url": "http://127.0.0.1:9/none"});
    service.call("PUT", "/v1/webhooks/pager", endpoint).await.ok();
    let usage = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 7}
    });
    let price = json!({
        "provider": "openai", "model": "mine", "effective_from": "2026-01-01T00:00:00Z", "source": "us",
        "source_date": "2026-01-01", "licence": "private", "tiers": [{"from": 0, "input": "1", "output": "2"}]
    });
    let planned = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o",
        "start": "2026-06-11T00:00:00Z", "end": "2026-06-12T00:00:00Z", "amounts": {"usd": "5"}
    });
    let posts = [
        ("/v1/preflight".to_owned(), ask(9, 1, json!({}))),
        ("/v1/preflight/batch".to_owned(), json!({"items": [ask(9, 1, json!({})), ask(9, 1, json!({}))]})),
        (path(&one, "extend"), json!({"ttl_seconds": 300})),
        (path(&one, "settle"), json!({"usage": {"input": 3}})),
        (path(&two, "release"), Value::Null),
        (path(&three, "settle"), json!({"usage": {"input": 3}})),
        ("/v1/usage".to_owned(), usage.clone()),
        ("/v1/usage".to_owned(), json!([usage, usage])),
        ("/v1/signals".to_owned(), json!({"provider": "openai", "status": 429, "body": {}})),
        ("/v1/runs/r-1/stop".to_owned(), json!({"tenant": "acme"})),
        ("/v1/runs/r-1/resume".to_owned(), json!({"tenant": "acme"})),
        ("/v1/prices".to_owned(), price),
        ("/v1/factors".to_owned(), german_grid(300.0, "mine")),
        ("/v1/planned-usage".to_owned(), planned),
        ("/v1/reconciliations".to_owned(), json!({"provider": "anthropic", "report": report})),
        (approval, json!({"usd": proposed["moves"]["usd"]})),
        ("/v1/restatements".to_owned(), json!({"period": "2026-06", "zone": "Etc/UTC", "apply": true})),
        ("/v1/periods/close".to_owned(), json!({"until": "2026-05", "zone": "Etc/UTC"})),
        ("/v1/webhooks/pager/resume".to_owned(), Value::Null),
        ("/v1/webhooks/pager/test".to_owned(), Value::Null),
    ];
    assert_eq!(not_among(&posts), ["/v1/budgets/{id}/projection/apply-fair-split"], "that one has a test of its own");
    let mut before: Option<(String, Value)> = None;
    for (number, (path, body)) in posts.into_iter().enumerate() {
        let key = format!("again-{number}");
        let first = service.call_keyed(&key, "POST", &path, body.clone()).await;
        assert!(!is_replayed(&first), "{path}");
        let first = first.ok();
        let again = service.call_keyed(&key, "POST", &path, body.clone()).await;
        assert!(is_replayed(&again), "{path}: {:?}", again.headers);
        let mut bodies = [first, again.ok()];
        bodies.iter_mut().for_each(without_what_is_made_anew);
        assert_eq!(bodies[0], bodies[1], "{path}");
        // The keys of items are keys of their own.
        let is_many = body.is_array() || body.get("items").is_some();
        let before = before.replace((path, body)).filter(|_| !is_many);
        if let Some((other, of_other)) = before.filter(|(_, body)| !body.is_array() && body.get("items").is_none()) {
            let answer = service.call_keyed(&key, "POST", &other, of_other).await;
            assert_eq!(answer.problem(), (409, "idempotency_mismatch"), "{other}");
        }
    }
    assert_none(&findings(service.db.pool()).await);
}

/// The POSTs of the contract that take a key and are not among these requests.
fn not_among(posts: &[(String, Value)]) -> Vec<String> {
    let contract = serde_json::to_value(document()).unwrap();
    let takes_key = |operation: &Value| {
        operation["parameters"].as_array().into_iter().flatten().any(|one| one["name"] == "Idempotency-Key")
    };
    let fits = |template: &str, path: &str| {
        let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template.iter().zip(&path).all(|(part, given)| part.starts_with('{') || part == given)
    };
    let paths = contract["paths"].as_object().unwrap();
    let keyed = paths.iter().filter(|(_, item)| item.get("post").is_some_and(takes_key)).map(|(path, _)| path);
    keyed.filter(|template| !posts.iter().any(|(path, _)| fits(template, path))).cloned().collect()
}

/// An answer without its signatures, and without the word that it is a replay.
fn without_what_is_made_anew(body: &mut Value) {
    match body {
        Value::Object(fields) => {
            fields.retain(|name, _| !["grant", "replayed"].contains(&name.as_str()));
            fields.values_mut().for_each(without_what_is_made_anew);
        }
        Value::Array(items) => items.iter_mut().for_each(without_what_is_made_anew),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn a_replayed_grant_says_how_its_reservation_has_ended() {
    let service = TestService::start().await;
    acme(&service).await;
    let ask =
        |key: &'static str| service.call_keyed(key, "POST", "/v1/preflight", ask(9, 1, json!({"ttl_seconds": 60})));
    let [settled, released, expired, extended] = ["settled", "released", "expired", "extended"];
    let mut held = std::collections::BTreeMap::new();
    for key in [settled, released, expired, extended] {
        held.insert(key, ask(key).await.ok()["reservation"].as_str().unwrap().to_owned());
    }
    service.call("POST", &on(&held[settled], "settle"), json!({"usage": {"input": 3}})).await.ok();
    service.call("POST", &on(&held[released], "release"), Value::Null).await.ok();
    service.call("POST", &on(&held[extended], "extend"), json!({"ttl_seconds": 600})).await.ok();
    service.advance(chrono::TimeDelta::seconds(61));
    for key in [settled, released, expired] {
        let again = ask(key).await.ok();
        assert_eq!((&again["verdict"], &again["reservation_ended"]), (&json!("allow"), &json!(key)));
        assert_eq!(again["grant"], Value::Null, "nothing is granted any more");
    }
    let again = ask(extended).await.ok();
    assert_eq!(again.get("reservation_ended"), None, "it is still held");
    assert!(again["grant"].is_string());
}

#[tokio::test]
async fn an_item_of_a_batch_never_meets_a_key_that_was_used_alone() {
    let service = TestService::start().await;
    acme(&service).await;
    let alone = service.call_keyed("a/1", "POST", "/v1/preflight", ask(9, 1, json!({}))).await.ok();
    let items = json!({"items": [ask(9, 1, json!({})), ask(9, 1, json!({}))]});
    let batch = service.call_keyed("a", "POST", "/v1/preflight/batch", items).await.ok();
    for item in 0..2 {
        assert_ne!(batch["items"][item]["answer"]["reservation"], alone["reservation"]);
    }
    assert_eq!(count(&service, "reservations").await, 3);
}

/// Replicas are replaced one by one: what the release before has answered stays answered.
#[tokio::test]
async fn what_the_release_before_has_answered_is_not_done_twice() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "100", json!({})).await;
    let usage = |tokens: u64| json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": tokens}});
    let items = json!([usage(3), usage(4)]);
    service.call_keyed("many", "POST", "/v1/usage", items.clone()).await.ok();
    service.call("POST", "/v1/preflight", ask(80, 1, json!({}))).await.ok();
    service.call_keyed("w", "POST", "/v1/preflight", ask(50, 1, json!({}))).await.ok();
    sqlx::query("update idempotency_keys set key = replace(key, ' ', '/'), replay_until = null")
        .execute(service.db.pool())
        .await
        .unwrap();
    let again = service.call_keyed("many", "POST", "/v1/usage", items).await;
    assert!(is_replayed(&again));
    assert_eq!(count(&service, "transfers").await, 2);
    let waits = service.call_keyed("w", "POST", "/v1/preflight", ask(50, 1, json!({}))).await;
    assert!(!is_replayed(&waits), "what it told to wait is decided anew");
    assert_eq!(waits.ok()["verdict"], "wait");
}

#[tokio::test]
async fn an_answer_from_memory_touches_nothing() {
    let service = TestService::start().await;
    acme(&service).await;
    let hourly = json!({"period": {"kind": "hour"}});
    budget(&service, "hourly", "tokens", "1000", hourly).await;
    service.call_keyed("k", "POST", "/v1/preflight", ask(20, 1, json!({}))).await.ok();
    service.advance(chrono::TimeDelta::hours(3));
    service.call_keyed("k", "POST", "/v1/preflight", ask(20, 1, json!({}))).await.ok();
    assert_eq!(count(&service, "counters").await, 1, "no counter of a later hour");
    let stranger = service.app.lane.submit(reserve(1).of_tenant("nobody")).await;
    assert!(stranger.unwrap().is_err());
    assert_eq!(count(&service, "counters").await, 1, "none for a tenant that nobody knows");
}

/// The audit reads what is kept under a key by names of its own: were they wrong, it would find nothing for ever.
#[tokio::test]
async fn the_audit_finds_a_kept_answer_whose_effect_is_gone() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    let granted = service.call_keyed("k-grant", "POST", "/v1/preflight", ask(9, 1, json!({}))).await.ok();
    let path = on(granted["reservation"].as_str().unwrap(), "settle");
    service.call_keyed("k-settle", "POST", &path, json!({"usage": {"input": 4}})).await.ok();
    assert_none(&findings(service.db.pool()).await);
    sqlx::raw_sql("set session_replication_role = replica; delete from transfers; delete from reservations")
        .execute(service.db.pool())
        .await
        .unwrap();
    let found = findings(service.db.pool()).await;
    let of_keys: Vec<&String> = found.iter().filter(|finding| finding.starts_with("a key is remembered")).collect();
    for key in ["k-grant", "k-settle"] {
        assert!(of_keys.iter().any(|finding| finding.ends_with(key)), "{key}: {found:#?}");
    }
}
