//! `/v1/planned-usage`: what is announced, and what projections make of it.

use counterfoil::auth::Scope;
use counterfoil::store::locks::Lock;
use serde_json::{Value, json};

use super::{number, world};

fn batch() -> Value {
    json!({
        "tenant": "bay", "feature": "reindex", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "start": "2026-06-20T00:00:00Z", "end": "2026-06-20T08:00:00Z", "note": "the new index",
        "amounts": {"requests": 100, "usage": {"input": 300_000, "output": 100_000}}
    })
}

#[tokio::test]
async fn announced_work_is_expected_in_its_hours_and_no_more_once_it_is_withdrawn() {
    let service = world().await;
    let project = || async { service.call("GET", "/v1/budgets/quota/projection", Value::Null).await.ok() };
    let at = |body: &Value, start: &str| {
        let path = body["path"].as_array().unwrap();
        number(&path.iter().find(|hour| hour["start"] == start).unwrap()["expected"])
    };
    let before = project().await;
    let announced = service.call("POST", "/v1/planned-usage", batch()).await.ok();
    assert_eq!(announced["amounts"]["tokens"], 400_000);
    assert_eq!(announced["amounts"]["usd"], "2.4", "3 and 15 dollars a million");
    let after = project().await;
    for (start, more) in
        [("2026-06-19T23:00:00Z", 0.0), ("2026-06-20T00:00:00Z", 50_000.0), ("2026-06-20T08:00:00Z", 0.0)]
    {
        let told = at(&after, start) - at(&before, start);
        assert!((told - more).abs() < 1.0, "{start}: {told} instead of {more}");
    }
    let grown = number(&after["expected_at_reset"]["expected"]) - number(&before["expected_at_reset"]["expected"]);
    assert!((grown - 400_000.0).abs() < 10.0, "{grown}");
    let id = announced["id"].as_str().unwrap();
    assert_eq!(service.call("GET", &format!("/v1/planned-usage/{id}"), Value::Null).await.ok(), announced);
    let list = service.call("GET", "/v1/planned-usage?tenant=bay", Value::Null).await.ok();
    assert_eq!(list["items"], json!([announced]));
    assert_eq!(service.call("DELETE", &format!("/v1/planned-usage/{id}"), Value::Null).await.ok(), announced);
    assert_eq!(project().await["expected_at_reset"], before["expected_at_reset"]);
    assert_eq!(
        service.call("DELETE", &format!("/v1/planned-usage/{id}"), Value::Null).await.problem(),
        (404, "not_found")
    );
    assert_eq!(service.call("GET", "/v1/planned-usage", Value::Null).await.ok()["items"], json!([]));
}

#[tokio::test]
async fn work_in_another_unit_is_not_counted_and_the_answer_says_so() {
    let service = world().await;
    let mut dollars = batch();
    dollars["amounts"] = json!({"usd": "5"});
    service.call("POST", "/v1/planned-usage", dollars).await.ok();
    let mut elsewhere = batch();
    elsewhere["provider"] = json!("openai");
    service.call("POST", "/v1/planned-usage", elsewhere).await.ok();
    let body = service.call("GET", "/v1/budgets/quota/projection", Value::Null).await.ok();
    let caveats = body["reasons"].as_array().unwrap();
    let one = caveats.iter().find(|one| one["code"] == "planned_not_counted").unwrap();
    assert!(one["detail"].as_str().unwrap().starts_with("1 announced"), "{one:#}");
}

#[tokio::test]
async fn a_repeat_is_one_announcement_and_another_body_is_refused() {
    let service = world().await;
    let first = service.call_keyed("k", "POST", "/v1/planned-usage", batch()).await.ok();
    assert_eq!(service.call_keyed("k", "POST", "/v1/planned-usage", batch()).await.ok(), first);
    let mut other = batch();
    other["note"] = json!("another");
    assert_eq!(
        service.call_keyed("k", "POST", "/v1/planned-usage", other).await.problem(),
        (409, "idempotency_mismatch")
    );
    let list = service.call("GET", "/v1/planned-usage", Value::Null).await.ok();
    assert_eq!(list["items"], json!([first]));
}

#[tokio::test]
async fn a_tenant_announces_and_sees_its_own_work_only() {
    let service = world().await;
    let id = service.call("POST", "/v1/planned-usage", batch()).await.ok()["id"].as_str().unwrap().to_owned();
    let fleet = service.token(&[Scope::UsageWrite, Scope::Read], Some("tokyo"));
    let call = |method: &'static str, path: String, body: Value| {
        let (service, fleet) = (&service, &fleet);
        async move { service.call_as(fleet, method, &path, &[], body).await }
    };
    assert_eq!(call("POST", "/v1/planned-usage".to_owned(), batch()).await.problem(), (403, "forbidden_tenant"));
    assert_eq!(call("GET", "/v1/planned-usage".to_owned(), Value::Null).await.ok()["items"], json!([]));
    for method in ["GET", "DELETE"] {
        assert_eq!(call(method, format!("/v1/planned-usage/{id}"), Value::Null).await.problem(), (404, "not_found"));
    }
    let mut own = batch();
    own["tenant"] = json!("tokyo");
    call("POST", "/v1/planned-usage".to_owned(), own).await.ok();
    assert_eq!(
        call("GET", "/v1/planned-usage".to_owned(), Value::Null).await.ok()["items"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let service = world().await;
    let refused = |field: &'static str, value: Value| {
        let mut body = batch();
        body[field] = value;
        body
    };
    let cases = [
        (refused("end", json!("2026-06-20T00:00:00Z")), "end"),
        (refused("end", json!("2026-06-01T00:00:00Z")), "end"),
        (refused("end", json!("2029-06-01T00:00:00Z")), "end"),
        (refused("amounts", json!({})), "amounts.usage"),
        (refused("amounts", json!({"tokens": 5, "usage": {"input": 5}})), "amounts.tokens"),
        (refused("amounts", json!({"usd": "-1"})), "amounts.usd"),
        (refused("amounts", json!({"usd": 0.5})), "amounts.usd"),
        (refused("provider", json!("two words")), "provider"),
        (refused("note", json!("x".repeat(501))), "note"),
        (refused("colour", json!("red")), "colour"),
    ];
    for (body, field) in cases {
        let reply = service.call("POST", "/v1/planned-usage", body.clone()).await;
        assert_eq!(reply.status, 422, "{body:#}: {:#}", reply.body);
        assert_eq!(reply.body["errors"][0]["field"], field, "{body:#}: {:#}", reply.body);
    }
    let past = service.call("POST", "/v1/planned-usage", refused("tenant", json!("nobody"))).await;
    assert_eq!(past.problem(), (404, "unknown_tenant"));
}

#[tokio::test]
async fn announcing_under_a_key_does_not_wait_for_batches_and_happens_once() {
    let service = world().await;
    let mut batch_under_way = service.db.pool().begin().await.unwrap();
    let shared = "select pg_advisory_xact_lock_shared($1)";
    sqlx::query(shared).bind(Lock::Catalogue.number()).execute(&mut *batch_under_way).await.unwrap();
    let announce = || service.call_keyed("announce-1", "POST", "/v1/planned-usage", batch());
    let (first, second) = tokio::join!(announce(), announce());
    assert_eq!(first.ok(), second.ok(), "two that race on a key get one answer");
    let list = service.call("GET", "/v1/planned-usage", Value::Null).await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}
