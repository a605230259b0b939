//! What calls really use of what they ask for: learned from the journal, told, and held by.

use counterfoil::app::verify::verify;
use counterfoil::auth::Scope;
use serde_json::{Value, json};

use crate::catalogue::{get, put_budget, tenant};
use crate::support::audit::{assert_none, findings};
use crate::support::service::{Replica, TestService};

/// A call of `claude-sonnet-4-5` for a feature that may use 1,000 tokens of output.
fn ask(tenant: &str, feature: &str) -> Value {
    json!({
        "tenant": tenant, "feature": feature, "provider": "anthropic", "model": "claude-sonnet-4-5",
        "estimate": {"input": 1000, "max_output": 1000}, "allow_cap": false
    })
}

async fn reserve(service: &Replica, body: Value) -> Value {
    service.call("POST", "/v1/preflight", body).await.ok()
}

async fn settle(service: &Replica, reservation: &Value, output: u64) -> Value {
    let path = format!("/v1/reservations/{}/settle", reservation["reservation"].as_str().expect("a reservation"));
    service.call("POST", &path, json!({"usage": {"input": 1000, "output": output}})).await.ok()
}

/// So many calls that ended, each with its output.
async fn history(service: &Replica, tenant: &str, feature: &str, outputs: impl Iterator<Item = u64>) {
    for output in outputs {
        let reservation = reserve(service, ask(tenant, feature)).await;
        settle(service, &reservation, output).await;
    }
}

#[tokio::test]
async fn estimates_are_compared_with_what_calls_used() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    tenant(&service, "bolt", "Etc/UTC").await;
    assert_eq!(get(&service, "/v1/usage/accuracy").await["rows"], json!([]));
    history(&service, "acme", "chat", (1..=10).map(|tenth| tenth * 50)).await;
    history(&service, "acme", "code", [1500].into_iter()).await;
    history(&service, "bolt", "chat", [1000, 1000].into_iter()).await;
    // Neither what was cut off nor what was charged by its estimate says what such calls need.
    let cut_off = reserve(&service, ask("acme", "chat")).await;
    let path = format!("/v1/reservations/{}/settle", cut_off["reservation"].as_str().unwrap());
    service.call("POST", &path, json!({"outcome": "timed_out"})).await.ok();

    let before = get(&service, "/v1/usage/accuracy").await;
    assert_eq!((&before["rows"], &before["learned_at"]), (&json!([]), &Value::Null), "nothing is learned yet");
    assert_eq!(service.app.learn(None).await.unwrap(), 14);
    assert_eq!(service.app.learn(None).await.unwrap(), 0, "nothing is learned twice");

    let told = get(&service, "/v1/usage/accuracy?group_by=tenant,feature").await;
    assert_eq!(told["learned_at"], "2026-06-10T12:00:00Z");
    assert_eq!(told["from"], "2026-05-11T00:00:00Z", "the Monday of the fifth week back");
    let rows = told["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["group"], json!({"tenant": "acme", "feature": "chat"}));
    assert_eq!((&rows[0]["calls"], &rows[0]["overruns"], &rows[0]["capped"]), (&json!(10), &json!(0), &json!(0)));
    assert_eq!((&rows[0]["estimated_output"], &rows[0]["actual_output"]), (&json!(10_000), &json!(2_750)));
    assert_eq!((&rows[0]["estimated_tokens"], &rows[0]["actual_tokens"]), (&json!(20_000), &json!(12_750)));
    // 0.25 and 0.5 are ends of buckets: told to the last digit. 0.45 is told a little larger.
    assert_eq!(rows[0]["output"], json!({"p50": "0.25", "p90": "0.458503", "p95": "0.5", "p99": "0.5"}));
    assert_eq!(rows[0]["tokens"]["p99"], "0.771106", "1,500 of 2,000");
    assert_eq!((&rows[1]["overruns"], &rows[1]["output"]["p50"]), (&json!(1), &json!("1.542211")));
    assert_eq!(rows[2]["group"]["tenant"], "bolt");

    let pooled = get(&service, "/v1/usage/accuracy?feature=chat").await;
    assert_eq!(pooled["rows"].as_array().unwrap().len(), 1);
    assert_eq!((&pooled["rows"][0]["calls"], &pooled["rows"][0]["output"]["p99"]), (&json!(12), &json!("1")));
    let all = get(&service, "/v1/usage/accuracy?group_by=").await;
    assert_eq!(all["rows"][0]["calls"], 13);
    service.advance(chrono::TimeDelta::weeks(5));
    assert_eq!(get(&service, "/v1/usage/accuracy").await["rows"], json!([]), "weeks pass");
    assert_eq!(get(&service, "/v1/usage/accuracy?weeks=6&group_by=").await["rows"][0]["calls"], 13);
}

#[tokio::test]
async fn a_tenants_token_is_told_of_its_own_calls_alone() {
    let service = TestService::start().await;
    for id in ["acme", "bolt"] {
        tenant(&service, id, "Etc/UTC").await;
        history(&service, id, "chat", [100].into_iter()).await;
    }
    service.app.learn(None).await.unwrap();
    let token = service.token(&[Scope::Read], Some("acme"));
    let call = async |path: &str| service.call_as(&token, "GET", path, &[], Value::Null).await;
    let told = call("/v1/usage/accuracy?group_by=tenant").await.ok();
    assert_eq!(told["rows"].as_array().unwrap().len(), 1);
    assert_eq!((&told["rows"][0]["group"]["tenant"], &told["rows"][0]["calls"]), (&json!("acme"), &json!(1)));
    assert_eq!(call("/v1/usage/accuracy?tenant=bolt").await.problem(), (403, "forbidden_tenant"));
    assert_eq!(call("/v1/usage/accuracy?group_by=run").await.problem(), (422, "invalid_request"));
    assert_eq!(call("/v1/usage/accuracy?weeks=0").await.problem(), (422, "invalid_request"));
    let blind = service.token(&[Scope::Preflight], None);
    let refused = service.call_as(&blind, "GET", "/v1/usage/accuracy", &[], Value::Null).await;
    assert_eq!(refused.problem(), (403, "forbidden_scope"));
}

/// A budget of 100,000 tokens a day.
fn daily(reserve: Option<&str>) -> Value {
    let mut budget = json!({
        "scope": {}, "measure": "tokens", "limit": "100000", "period": {"kind": "day"}, "enforcement": "hard"
    });
    if let Some(rule) = reserve {
        budget["reserve"] = json!(rule);
    }
    budget
}

/// A service that has seen a hundred calls of `acme` for `chat`, which used a quarter of their output; a day later.
async fn taught() -> TestService {
    let service = TestService::start().await;
    tenant(&service, "acme", "Etc/UTC").await;
    history(&service, "acme", "chat", (0..100).map(|_| 250)).await;
    service.app.learn(None).await.unwrap();
    service.app.take_lessons().await.unwrap();
    service.advance(chrono::TimeDelta::days(1));
    service
}

/// Neither the tests' own recount nor the product's finds a difference.
async fn assert_right(service: &TestService) {
    assert_none(&findings(service.db.pool()).await);
    let report = verify(&service.db.connect_options(), &service.clock, &mut |_| {}).await.unwrap().expect("books");
    assert!(report.is_consistent(), "{:#?}", report.differences().collect::<Vec<_>>());
}

/// `held`, `margin`, `headroom` of the first budget of an answer.
fn stand(answer: &Value) -> [String; 3] {
    let budget = answer["budgets"].get(0).or_else(|| answer["counters"].get(0)).expect("a budget");
    ["held", "margin", "headroom"].map(|field| budget[field].as_str().unwrap_or("-").to_owned())
}

#[tokio::test]
async fn a_budget_says_what_its_reservations_hold() {
    let service = TestService::start().await;
    for rule in [None, Some("max")] {
        put_budget(&service, "plain", daily(rule)).await;
        let now = get(&service, "/v1/budgets/plain").await;
        assert!(now.get("reserve").is_none(), "a budget that holds whole estimates reads as before: {now}");
        assert_eq!(stand(&now), ["0", "-", "100000"]);
    }
    put_budget(&service, "plain", daily(Some("p99"))).await;
    let now = get(&service, "/v1/budgets/plain").await;
    assert_eq!((&now["reserve"], &now["counters"][0]["reserve"]), (&json!("p99"), &json!("p99")));
    assert_eq!(stand(&now), ["0", "0", "100000"]);
    let refused = service.call("PUT", "/v1/budgets/plain", daily(Some("p50"))).await;
    assert_eq!(refused.problem(), (422, "invalid_request"));
    assert_eq!(refused.body["errors"][0]["field"], "reserve", "{:#}", refused.body);
}

#[tokio::test]
async fn a_learned_hold_is_what_such_calls_use_and_its_margin_is_kept_aside() {
    let service = taught().await;
    put_budget(&service, "hot", daily(Some("p95"))).await;
    let first = reserve(&service, ask("acme", "chat")).await;
    assert_eq!(first["estimate"]["tokens"], 2000, "the estimate is the whole");
    assert_eq!(stand(&first), ["1250", "750", "98000"], "one call alone may use all the rest");
    let second = reserve(&service, ask("acme", "chat")).await;
    assert_eq!(stand(&second), ["2500", "1500", "96000"]);
    // Others, of which nothing is known, hold the whole; by the model something is.
    let code = reserve(&service, ask("acme", "code")).await;
    assert_eq!(stand(&code)[0], "3750", "what is known of the model serves a feature of which nothing is");
    let mut other = ask("acme", "chat");
    other["model"] = json!("claude-haiku-4-5");
    let unknown = reserve(&service, other).await;
    assert_eq!(stand(&unknown)[0], "5750");
    assert_eq!(stand(&get(&service, "/v1/budgets/hot").await), stand(&unknown));
    assert_right(&service).await;

    // Within what was learned, above it, and above the estimate.
    let settled = settle(&service, &first, 250).await;
    assert_eq!(settled["flags"], json!([]));
    let above = settle(&service, &second, 600).await;
    assert_eq!(above["flags"], json!(["learned_overrun"]), "posted, and said");
    assert_eq!(above["budgets"][0]["posted"], "2850");
    let beyond = settle(&service, &code, 1001).await;
    assert_eq!(beyond["flags"], json!(["overrun", "learned_overrun"]));
    assert_eq!(stand(&beyond), ["2000", "0", "93149"], "nothing is kept aside for calls that have ended");
    assert_right(&service).await;
}

#[tokio::test]
async fn a_hot_budget_that_learns_lets_more_calls_in_and_is_never_claimed_beyond_its_limit() {
    let service = taught().await;
    put_budget(&service, "hot", daily(Some("p95"))).await;
    let mut open = Vec::new();
    let stopped = loop {
        let answer = reserve(&service, ask("acme", "chat")).await;
        if answer["reservation"].is_null() {
            break answer;
        }
        assert!(!stand(&answer)[2].starts_with('-'), "posted, held and margin are within the limit: {answer:#}");
        open.push(answer);
    };
    assert_eq!(open.len(), 77, "50 would fit if the whole were held");
    assert_eq!((&stopped["verdict"], &stopped["reasons"][0]["code"]), (&json!("wait"), &json!("held_by_others")));
    assert_right(&service).await;
    let verdict_of = |answer: &Value| answer["verdict"].as_str().unwrap().to_owned();
    // By the maximum it is as if nothing had been learned, for what is asked from now on.
    put_budget(&service, "hot", daily(None)).await;
    assert_eq!(verdict_of(&reserve(&service, ask("acme", "chat")).await), "wait");
    let [held, margin, _] = stand(&get(&service, "/v1/budgets/hot").await);
    assert_eq!(held, "96250", "what is held stays as it was promised");
    assert!(margin != "-" && margin != "0", "and so does the margin");
    for reservation in &open {
        settle(&service, reservation, 250).await;
    }
    assert_eq!(stand(&get(&service, "/v1/budgets/hot").await), ["0", "-", "3750"]);
    assert_right(&service).await;
}

#[tokio::test]
async fn replicas_that_learned_differently_agree_on_what_is_held() {
    let service = taught().await;
    put_budget(&service, "hot", daily(Some("p95"))).await;
    let ignorant = service.replica().await;
    let learned = reserve(&service, ask("acme", "chat")).await;
    let whole = reserve(&ignorant, ask("acme", "chat")).await;
    assert_eq!((stand(&learned)[0].as_str(), stand(&whole)[0].as_str()), ("1250", "3250"));
    assert_right(&service).await;
    // Each ends what the other one granted: by settlement, and by the clock.
    assert_eq!(stand(&settle(&ignorant, &learned, 250).await)[0], "2000");
    service.advance(chrono::TimeDelta::seconds(121));
    assert_eq!(stand(&get(&ignorant, "/v1/budgets/hot").await), ["0", "0", "98750"]);
    assert_eq!(stand(&reserve(&service, ask("acme", "chat")).await)[0], "1250", "the other's has expired");
    ignorant.app.take_lessons().await.unwrap();
    assert_eq!(stand(&reserve(&ignorant, ask("acme", "chat")).await)[0], "2500", "taught, it holds alike");
    assert_right(&service).await;
}

#[tokio::test]
async fn a_learned_hold_grows_is_given_back_and_outlives_a_change_of_what_is_counted() {
    let service = taught().await;
    put_budget(&service, "hot", daily(Some("p95"))).await;
    put_budget(&service, "plain", daily(None)).await;
    let keyed = async |body: Value| service.call_keyed("once", "POST", "/v1/preflight", body).await.ok();
    let growing = keyed(ask("acme", "chat")).await;
    assert_eq!(keyed(ask("acme", "chat")).await["budgets"], growing["budgets"], "a retry is told the same");
    let released = reserve(&service, ask("acme", "chat")).await;
    let path = |of: &Value, end: &str| format!("/v1/reservations/{}/{end}", of["reservation"].as_str().unwrap());
    let body = json!({"ttl_seconds": 300, "more_output": 100});
    let extended = service.call("POST", &path(&growing, "extend"), body).await.ok();
    assert_eq!(stand(&extended), ["2600", "1500", "95900"], "what it grows by is held whole");
    assert_eq!(extended["budgets"][1]["held"], "4100");
    service.call("POST", &path(&released, "release"), json!({})).await.ok();
    assert_eq!(stand(&get(&service, "/v1/budgets/hot").await), ["1350", "750", "97900"]);
    assert_right(&service).await;

    let mut requests = daily(Some("p95"));
    requests["measure"] = json!("requests");
    put_budget(&service, "hot", requests).await;
    assert_eq!(stand(&get(&service, "/v1/budgets/hot").await), ["1", "0", "99999"], "a call is a call");
    assert_right(&service).await;
    put_budget(&service, "hot", daily(Some("p95"))).await;
    assert_eq!(stand(&get(&service, "/v1/budgets/hot").await), ["1350", "750", "97900"]);
    settle(&service, &growing, 300).await;
    assert_eq!(stand(&get(&service, "/v1/budgets/hot").await), ["0", "0", "98700"]);
    assert_right(&service).await;
}

#[tokio::test]
async fn verify_finds_a_margin_that_is_not_what_was_promised() {
    let service = taught().await;
    put_budget(&service, "hot", daily(Some("p95"))).await;
    reserve(&service, ask("acme", "chat")).await;
    assert_right(&service).await;
    sqlx::query("update counters set margin = margin + 1 where held > 0").execute(service.db.pool()).await.unwrap();
    let report = verify(&service.db.connect_options(), &service.clock, &mut |_| {}).await.unwrap().expect("books");
    let columns: Vec<_> = report.differences().map(|(_, difference)| difference.column.clone()).collect();
    assert_eq!(columns, ["margin"]);
}
