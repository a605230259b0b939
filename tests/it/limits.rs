//! What a limit counts: what a call must say, whose word a label is, what one reservation may hold, what an expiry means.

use chrono::TimeDelta;
use serde_json::{Value, json};

use counterfoil::domain::access::Scope;

use crate::support::audit::{assert_none, findings};
use crate::support::service::TestService;
use crate::support::story::{acme, ask, budget, on, preflight, until};

async fn bolt(service: &TestService) {
    service.call("PUT", "/v1/tenants/bolt", json!({"timezone": "Etc/UTC"})).await.ok();
}

async fn counter(service: &TestService, budget: &str, field: &str) -> Value {
    service.call("GET", &format!("/v1/budgets/{budget}"), Value::Null).await.ok()["counters"][0][field].clone()
}

#[tokio::test]
async fn a_field_that_is_left_out_does_not_switch_a_hard_limit_off() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "per-user", "tokens", "100", json!({"each": "label:user"})).await;
    let without = preflight(&service, ask(9_999, 1, json!({"allow_cap": true}))).await;
    assert_eq!((&without["verdict"], &without["reservation"]), (&json!("stop"), &Value::Null));
    let reason = &without["reasons"][0];
    assert_eq!([&reason["code"], &reason["budget"], &reason["field"]], ["field_missing", "per-user", "labels.user"]);
    assert_eq!(without["not_counted"], json!([{"budget": "per-user", "missing": "labels.user"}]));
    assert_eq!((&without["retry"]["retryable"], &without["resets_at"]), (&json!(false), &Value::Null));
    let with = preflight(&service, ask(9, 1, json!({"labels": {"user": "u-1"}}))).await;
    assert_eq!((&with["verdict"], &with["budgets"][0]["key"]), (&json!("allow"), &json!("acme/u-1")));
    assert!(with.get("not_counted").is_none());

    let shown = service.call("GET", "/v1/budgets/per-user", Value::Null).await.ok();
    assert_eq!(shown["missing"], "refuse", "the default is shown");
    budget(&service, "per-user", "tokens", "100", json!({"each": "label:user", "missing": "ignore"})).await;
    let ignored = preflight(&service, ask(9_999, 1, json!({}))).await;
    assert_eq!((&ignored["verdict"], &ignored["budgets"]), (&json!("allow"), &json!([])));
    assert_eq!(ignored["not_counted"], json!([{"budget": "per-user", "missing": "labels.user"}]));

    // What was spent is posted, whatever it says; under a key it is answered twice in the same words.
    budget(&service, "per-user", "tokens", "100", json!({"each": "label:user"})).await;
    let usage =
        json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 5}});
    let posted = service.call_keyed("k", "POST", "/v1/usage", usage.clone()).await.ok();
    assert_eq!(posted["not_counted"], json!([{"budget": "per-user", "missing": "labels.user"}]));
    assert_eq!(service.call_keyed("k", "POST", "/v1/usage", usage).await.ok(), posted);
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_budget_that_was_there_before_goes_on_as_it_did_until_it_is_put_again() {
    let service = TestService::start().await;
    acme(&service).await;
    bolt(&service).await;
    budget(&service, "per-run", "tokens", "100", json!({"each": "run"})).await;
    budget(&service, "org", "tokens", "100", json!({"scope": {"labels": {"org": "b"}}})).await;
    for id in ["per-run", "org"] {
        // As the release before wrote it; another version, so that it is loaded again.
        let written = "update budgets set version = version + 1, doc = (doc - 'missing') ||
            (case id when 'org' then '{\"each\": null}' else '{}' end)::jsonb where id = $1";
        sqlx::query(written).bind(id).execute(service.db.pool()).await.unwrap();
    }
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    let ignored = preflight(&service, ask(9_999, 1, json!({}))).await;
    assert_eq!(ignored["verdict"], "allow", "{ignored:#}");
    assert_eq!(ignored["not_counted"].as_array().unwrap().len(), 2, "{ignored:#}");
    for tenant in ["acme", "bolt"] {
        let shared =
            preflight(&service, ask(9, 1, json!({"tenant": tenant, "labels": {"org": "b"}, "run": "r"}))).await;
        assert_eq!(shared["verdict"], "allow");
    }
    assert_eq!(counter(&service, "org", "held").await, "20", "both in one counter, as before");
}

#[tokio::test]
async fn a_label_that_a_stranger_names_takes_nothing_from_others() {
    let service = TestService::start().await;
    acme(&service).await;
    bolt(&service).await;
    let body = json!({
        "scope": {"labels": {"org": "b"}}, "measure": "tokens", "limit": "100", "period": {"kind": "month"},
        "enforcement": "hard"
    });
    let written = service.call("PUT", "/v1/budgets/org", body.clone()).await.ok();
    let warnings = written["warnings"].as_array().unwrap();
    assert!(warnings[0].as_str().unwrap().contains("for each tenant apart"), "{written:#}");
    let token = service.token(&[Scope::Preflight], Some("acme"));
    let mine = ask(99, 1, json!({"labels": {"org": "b"}}));
    let taken = service.call_as(&token, "POST", "/v1/preflight", &[], mine.clone()).await.ok();
    assert_eq!(taken["verdict"], "allow");
    let theirs = |input| ask(input, 1, json!({"tenant": "bolt", "labels": {"org": "b"}}));
    assert_eq!(preflight(&service, theirs(99)).await["verdict"], "allow", "bolt has a counter of its own");

    let mut shared = body.clone();
    shared["scope"] = json!({"labels": {"org": "b"}, "tenants": ["bolt", "nobody-yet"]});
    let written = service.call("PUT", "/v1/budgets/org", shared).await.ok();
    assert!(written["warnings"][0].as_str().unwrap().contains("nobody-yet"), "{written:#}");
    assert_eq!(counter(&service, "org", "held").await, "100", "of bolt alone: acme is not among the tenants");
    let free = service.call_as(&token, "POST", "/v1/preflight", &[], mine).await.ok();
    assert_eq!((&free["verdict"], &free["budgets"]), (&json!("allow"), &json!([])));
    assert_eq!(preflight(&service, theirs(1)).await["verdict"], "wait");

    let mut on_purpose = body;
    on_purpose["shared"] = json!(true);
    let written = service.call("PUT", "/v1/budgets/org", on_purpose.clone()).await.ok();
    assert!(written.get("warnings").is_none(), "{written:#}");
    assert_eq!(counter(&service, "org", "held").await, "300", "what all of them hold");
    on_purpose["each"] = json!("model");
    on_purpose["shared"] = json!(false);
    let refused = service.call("PUT", "/v1/budgets/org", on_purpose).await;
    assert_eq!(refused.problem(), (422, "invalid_request"), "{:#}", refused.body);
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_budget_that_nothing_could_match_is_written_with_a_warning() {
    let service = TestService::start().await;
    acme(&service).await;
    let put = async |scope: Value| {
        let body =
            json!({"scope": scope, "measure": "usd", "limit": "1", "period": {"kind": "month"}, "enforcement": "hard"});
        service.call("PUT", "/v1/budgets/b", body).await.ok()["warnings"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(put(json!({"provider": "openai", "model": "gpt-4o"})).await, 0);
    assert_eq!(put(json!({"provider": "opneai"})).await, 1);
    assert_eq!(put(json!({"provider": "openai", "model": "gtp-4o"})).await, 1);
    assert_eq!(put(json!({"tenant": "acme", "labels": {"team": "nobody-has-it"}})).await, 0);
}

#[tokio::test]
async fn prepaid_credit_counts_from_when_it_was_bought() {
    let service = TestService::start().await;
    acme(&service).await;
    let spend = async |tokens: u64| {
        let usage = json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": tokens}});
        service.call("POST", "/v1/usage", usage).await.ok();
    };
    spend(70).await;
    service.advance(TimeDelta::seconds(1));
    budget(&service, "credit", "tokens", "100", json!({"period": {"kind": "once"}})).await;
    assert_eq!(counter(&service, "credit", "posted").await, "0", "what was used before is not its own");
    service.advance(TimeDelta::seconds(1));
    spend(30).await;
    assert_eq!(counter(&service, "credit", "posted").await, "30");
    budget(&service, "credit", "tokens", "200", json!({"period": {"kind": "once"}})).await;
    assert_eq!(counter(&service, "credit", "posted").await, "30", "a top-up goes on counting");
    assert_eq!(counter(&service, "credit", "period_start").await, "2026-06-10T12:00:01Z");
    let all = json!({"period": {"kind": "once", "counts_from": "1970-01-01T00:00:00Z"}});
    budget(&service, "credit", "tokens", "200", all).await;
    assert_eq!(counter(&service, "credit", "posted").await, "100");
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn one_reservation_does_not_hold_a_shared_quota_for_a_day() {
    let service = TestService::start().await;
    acme(&service).await;
    bolt(&service).await;
    budget(&service, "quota", "tokens", "100000000", json!({"scope": {"provider": "anthropic"}, "kind": "quota"}))
        .await;
    let giant = ask(98_758_000, 0, json!({"ttl_seconds": 86_400}));
    let refused = preflight(&service, giant).await;
    let reason = &refused["reasons"][0];
    assert_eq!([&refused["verdict"], &reason["code"]], ["stop", "hold_too_large"]);
    assert_eq!(preflight(&service, ask(1_000, 1, json!({"tenant": "bolt"}))).await["verdict"], "allow");
    budget(&service, "quota", "tokens", "1000", json!({"scope": {"provider": "anthropic"}})).await;
    let small = preflight(&service, ask(900, 1, json!({"ttl_seconds": 60}))).await;
    assert_eq!(small["reasons"][0]["code"], "held_by_others", "only what is held is in the way of an ordinary call");
    let share = json!({"scope": {"provider": "anthropic"}, "max_hold_share": "0.1"});
    budget(&service, "quota", "tokens", "100000", share).await;
    let capped = preflight(&service, ask(9_000, 5_000, json!({"allow_cap": true}))).await;
    assert_eq!((&capped["verdict"], &capped["max_output"]), (&json!("cap"), &json!(1_000)), "{capped:#}");
}

#[tokio::test]
async fn a_call_that_was_released_or_cut_off_is_charged_what_it_was() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "all", "tokens", "100000", json!({})).await;
    let grant = async || {
        let answer = preflight(&service, ask(25, 4_000, json!({}))).await;
        answer["reservation"].as_str().unwrap().to_owned()
    };
    let reservation = grant().await;
    service.call("POST", &on(&reservation, "release"), Value::Null).await.ok();
    let usage = json!({"provider_usage": {"input_tokens": 25, "output_tokens": 900}});
    let posted = service.call("POST", &on(&reservation, "settle"), usage.clone()).await.ok();
    assert_eq!(posted["flags"], json!(["late"]));
    let again = service.call("POST", &on(&reservation, "settle"), usage).await;
    assert_eq!(again.problem(), (409, "reservation_ended"));
    assert!(again.body.to_string().contains(posted["transfer"].as_str().unwrap()), "{:#}", again.body);

    let reservation = grant().await;
    let cut = json!({"provider_usage": {"input_tokens": 25, "output_tokens": 1}, "outcome": "cancelled"});
    let posted = service.call("POST", &on(&reservation, "settle"), cut).await.ok();
    assert_eq!(posted["flags"], json!(["unconfirmed", "partial_usage"]), "{posted:#}");
    assert_eq!((&posted["usage"]["input"], &posted["usage"]["output"]), (&json!(25), &json!(4_000)));
    assert_eq!(counter(&service, "all", "posted").await, "4950");
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn an_expiry_is_listed_and_posts_its_estimate_where_a_budget_says_so() {
    let service = TestService::start().await;
    acme(&service).await;
    bolt(&service).await;
    budget(&service, "all", "tokens", "100000", json!({"on_expiry": "post_estimate"})).await;
    let mut granted = Vec::new();
    for tenant in ["acme", "acme", "acme", "bolt"] {
        let answer = preflight(&service, ask(9, 1, json!({"tenant": tenant, "ttl_seconds": 60}))).await;
        granted.push(answer["reservation"].as_str().unwrap().to_owned());
    }
    let list = async |token: &str, query: &str| {
        let page = service.call_as(token, "GET", &format!("/v1/reservations?{query}"), &[], Value::Null).await.ok();
        let ids = page["items"].as_array().unwrap().iter().map(|one| one["reservation"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>(), page["next_cursor"].as_str().map(str::to_owned))
    };
    let (platform, own) = (service.token(&[Scope::Read], None), service.token(&[Scope::Read], Some("acme")));
    assert_eq!(list(&platform, "state=open").await, (granted.clone(), None));
    assert_eq!(list(&own, "state=open").await.0, granted[..3]);
    assert_eq!(list(&platform, "state=open&tenant=bolt").await.0, granted[3..]);
    let (first, next) = list(&own, "state=open&limit=2").await;
    assert_eq!(first, granted[..2]);
    assert_eq!(
        list(&own, &format!("state=open&limit=2&cursor={}", next.unwrap())).await,
        (granted[2..3].to_vec(), None)
    );
    let foreign = service.call_as(&own, "GET", "/v1/reservations?state=open&tenant=bolt", &[], Value::Null).await;
    assert_eq!(foreign.status, 403);

    service.call("POST", &on(&granted[0], "settle"), json!({"usage": {"input": 9}})).await.ok();
    service.advance(TimeDelta::seconds(60));
    assert_eq!(list(&platform, "state=open").await.0, [""; 0]);
    assert_eq!(list(&own, "state=expired").await.0, granted[1..3], "whether or not it was written down");
    until("the expiry is written down", || async { counter(&service, "all", "posted").await == "29" }).await;
    assert_eq!(list(&platform, "state=expired").await.0, granted[1..]);
    let expired = service.call("GET", &format!("/v1/reservations/{}", granted[1]), Value::Null).await.ok();
    assert_eq!((&expired["state"], expired["transfer"].is_string()), (&json!("expired"), true));
    let of_bolt = service.call("GET", &format!("/v1/reservations/{}", granted[3]), Value::Null).await.ok();
    assert_eq!(of_bolt["transfer"], Value::Null, "no budget of bolt says so");
    assert_none(&findings(service.db.pool()).await);

    let late = service.call("POST", &on(&granted[1], "settle"), json!({"usage": {"input": 9, "output": 3}})).await.ok();
    assert_eq!(late["flags"], json!(["late", "overrun"]));
    assert_eq!(counter(&service, "all", "posted").await, "31", "the estimate is taken back");
    let again = service.call("POST", &on(&granted[1], "settle"), json!({"usage": {"input": 9}})).await;
    assert_eq!(again.problem(), (409, "reservation_ended"));
    assert_none(&findings(service.db.pool()).await);
}
