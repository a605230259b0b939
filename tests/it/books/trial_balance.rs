//! `/v1/ledger/trial-balance`: never balanced by having looked at nothing.

use counterfoil::auth::Scope;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::world;
use crate::support::service::TestService;

async fn execute(service: &TestService, statement: &str) -> u64 {
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(service.db.pool()).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}")).rows_affected()
}

async fn balance(service: &TestService, query: &str) -> Value {
    service.call("GET", &format!("/v1/ledger/trial-balance{query}"), Value::Null).await.ok()
}

/// Every difference that is not zero, by its place: `rollup usd 1`, `usd posted 1`.
fn differences(balance: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let items = |value: &Value| value.as_array().expect("a list").clone();
    for unit in items(&balance["units"]) {
        found.push(format!("sides {} {}", unit["unit"], unit["difference"]));
    }
    for unit in items(&balance["rollup"]["units"]) {
        found.push(format!("rollup {} {}", unit["unit"], unit["difference"]));
    }
    for counters in items(&balance["counters"]) {
        for column in ["posted", "held"] {
            found.push(format!("{} {column} {}", counters["measure"], counters[column]["difference"]));
        }
    }
    found.retain(|line| !line.ends_with(" \"0\""));
    found.iter().map(|line| line.replace('"', "")).collect()
}

/// How many counters differ, of all measures.
fn differing(balance: &Value) -> u64 {
    balance["counters"].as_array().expect("a list").iter().map(|one| one["differing"].as_u64().expect("a count")).sum()
}

const COUNTER: &str = "budget = (select number from budgets where id = 'tokyo-usd') \
    and period_start = (select min(period_start) from counters join budgets on number = budget where id = 'tokyo-usd')";
const ROLLUP: &str = "(tenant, quarter, feature, provider, model, region) = \
    (select tenant, quarter, feature, provider, model, region from usage_rollup where tenant = 'tokyo' order by 1, 2, 3, 4, 5, 6 limit 1)";
const OPEN: &str = "id = (select min(id::text)::uuid from reservations where state = 'open' and tenant = 'kathmandu')";
const TRANSFER: &str = "id = (select min(id::text)::uuid from transfers where tenant = 'tokyo' and run is not null)";

#[tokio::test]
async fn the_journal_is_compared_with_the_rollup_the_counters_and_the_open_reservations() {
    let service = world().await;
    let found = balance(&service, "").await;
    assert_eq!((found["balanced"].clone(), differences(&found)), (json!(true), vec![]), "{found:#}");
    assert!(found["transfers"].as_u64().unwrap() > 30 && found["rollup"]["rows"].as_u64().unwrap() > 20, "{found:#}");
    let measures: Vec<&str> =
        found["counters"].as_array().unwrap().iter().map(|one| one["measure"].as_str().unwrap()).collect();
    assert_eq!(measures, ["requests", "tokens", "usd", "weighted"]);
    for one in found["counters"].as_array().unwrap() {
        assert!(one["counters"].as_u64().unwrap() > 0 && one["budgets"].as_u64().unwrap() > 0, "{one:#}");
        assert_ne!(one["posted"]["recomputed"], "0", "{one:#}");
    }
    assert!(found["counters"].as_array().unwrap().iter().any(|one| one["held"]["recomputed"] != "0"), "{found:#}");

    execute(&service, "alter table transfers disable trigger transfers_append_only").await;
    execute(&service, "create table was_there as select * from counters limit 0").await;
    let cases = [
        (
            "a counter's posted",
            format!("update counters set posted = posted + 0.000000000001 where {COUNTER}"),
            vec!["usd posted 0.000000000001"],
            format!("update counters set posted = posted - 0.000000000001 where {COUNTER}"),
        ),
        (
            "a counter that is gone",
            format!("with gone as (delete from counters where {COUNTER} returning *) insert into was_there select * from gone"),
            vec!["usd posted -"],
            "insert into counters select * from was_there".to_owned(),
        ),
        (
            "a counter of no budget",
            "insert into counters values (99, '', 'epoch', null, null, 7, 0)".to_owned(),
            vec!["null posted 7"],
            "delete from counters where budget = 99".to_owned(),
        ),
        (
            "a counter's held",
            format!("update counters set held = held + 3 where {COUNTER}"),
            vec!["usd held 3"],
            format!("update counters set held = held - 3 where {COUNTER}"),
        ),
        (
            "a reservation that was closed by hand",
            format!("update reservations set state = 'released', ended_at = granted_at where {OPEN}"),
            vec!["tokens held ", "usd held "],
            "update reservations set state = 'open', ended_at = null where state = 'released' and ended_at = granted_at and tenant = 'kathmandu' and expires_at > granted_at + interval '1 hour'".to_owned(),
        ),
        (
            "a row of the roll-up",
            format!("update usage_rollup set usd = usd + 5, output = output + 1 where {ROLLUP}"),
            vec!["rollup tokens 1", "rollup usd 5"],
            format!("update usage_rollup set usd = usd - 5, output = output - 1 where {ROLLUP}"),
        ),
        (
            "a transfer",
            format!("update transfers set usd = usd + 1 where {TRANSFER}"),
            vec!["rollup usd -1", "usd posted -"],
            format!("update transfers set usd = usd - 1 where {TRANSFER}"),
        ),
    ];
    for (what, touch, expect, undo) in cases {
        assert!(execute(&service, &touch).await > 0, "{what}: nothing was touched");
        let found = balance(&service, "").await;
        let lines = differences(&found);
        assert_eq!(found["balanced"], false, "{what}: {found:#}");
        assert!(
            lines.len() == expect.len() && lines.iter().zip(&expect).all(|(line, start)| line.starts_with(start)),
            "{what}: {lines:?}"
        );
        assert!(execute(&service, &undo).await > 0, "{what}: nothing was undone");
        let found = balance(&service, "").await;
        assert_eq!(found["balanced"], true, "{what}, undone: {found:#}");
    }
}

#[tokio::test]
async fn opposite_errors_do_not_cancel_out() {
    let service = world().await;
    let others = "budget = (select number from budgets where id = 'tokyo-usd') \
        and period_start = (select max(period_start) from counters join budgets on number = budget where id = 'tokyo-usd')";
    execute(&service, &format!("update counters set posted = posted + 1 where {COUNTER}")).await;
    execute(&service, &format!("update counters set posted = posted - 1 where {others}")).await;
    let found = balance(&service, "").await;
    assert_eq!((found["balanced"].clone(), differences(&found)), (json!(false), vec![]), "{found:#}");
    assert_eq!((differing(&found), found["rollup"]["differing"].clone()), (2, json!(0)), "{found:#}");

    let service = world().await;
    let moved = "update usage_rollup set model = 'another' where quarter = (select min(quarter) from usage_rollup)";
    assert!(execute(&service, moved).await > 0);
    let found = balance(&service, "").await;
    assert_eq!((found["balanced"].clone(), differences(&found)), (json!(false), vec![]), "{found:#}");
    assert!(found["rollup"]["differing"].as_u64().unwrap() >= 2, "{found:#}");
}

#[tokio::test]
async fn a_tenant_sees_its_part_and_nothing_that_others_moved() {
    let service = world().await;
    let token = service.token(&[Scope::Read], Some("tokyo"));
    let own = service.call_as(&token, "GET", "/v1/ledger/trial-balance", &[], Value::Null).await.ok();
    assert_eq!(own["balanced"], true, "{own:#}");
    let whole = balance(&service, "").await;
    let sum = |balance: &Value, unit: usize| balance["rollup"]["units"][unit]["journal"].as_str().unwrap().to_owned();
    let usage = service
        .call_as(&token, "GET", "/v1/usage?from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z", &[], Value::Null)
        .await
        .ok();
    assert_eq!(sum(&own, 0), usage["totals"]["requests"].to_string(), "{usage:#}");
    assert_ne!(sum(&own, 0), sum(&whole, 0));
    let measures: Vec<&Value> = own["counters"].as_array().unwrap().iter().map(|one| &one["measure"]).collect();
    assert_eq!(measures, ["tokens", "usd"], "neither the shared quota nor each run's: {own:#}");
    // What is wrong in another's books, and in shared ones, is not seen; what is wrong in its own is.
    for (whose, statement, is_seen) in [
        ("shared", "update counters set posted = posted + 1 where tenant is null".to_owned(), false),
        ("berlin's", "update counters set posted = posted + 1 where tenant = 'berlin'".to_owned(), false),
        ("berlin's", "update usage_rollup set usd = usd + 1 where tenant = 'berlin'".to_owned(), false),
        ("its own", format!("update counters set posted = posted + 1 where {COUNTER}"), true),
    ] {
        assert!(execute(&service, &statement).await > 0, "{statement}");
        let own = service.call_as(&token, "GET", "/v1/ledger/trial-balance", &[], Value::Null).await.ok();
        assert_eq!(own["balanced"], !is_seen, "{whose}: {own:#}");
        let asked = balance(&service, "?tenant=tokyo").await;
        assert_eq!(asked["balanced"], !is_seen, "the platform sees of a tenant what the tenant sees");
    }
}

#[tokio::test]
async fn a_period_bounds_what_is_compared() {
    let service = world().await;
    let (from, to) = ("2026-03-28T15:00:00Z", "2026-03-29T15:00:00Z");
    let query = format!("?from={from}&to={to}");
    let day = balance(&service, &query).await;
    assert_eq!(day["balanced"], true, "{day:#}");
    let usage = service.call("GET", &format!("/v1/usage?from={from}&to={to}"), Value::Null).await.ok();
    assert_eq!(day["rollup"]["units"][0]["journal"], usage["totals"]["requests"].to_string());
    assert!(day["transfers"].as_u64() < balance(&service, "").await["transfers"].as_u64());
    // Tokyo's day is within, the month of a quota is not.
    let measures: Vec<&Value> = day["counters"].as_array().unwrap().iter().map(|one| &one["measure"]).collect();
    assert_eq!(measures, ["requests", "tokens", "usd"], "{day:#}");
    execute(&service, "update usage_rollup set usd = usd + 1 where quarter < '2026-03-28T15:00:00Z'").await;
    execute(&service, "update counters set posted = posted + 1 where period_start < '2026-03-28T15:00:00Z'").await;
    assert_eq!(balance(&service, &query).await, day, "what is wrong elsewhere is not looked at");
    assert_eq!(balance(&service, "").await["balanced"], false);
    execute(&service, "update usage_rollup set usd = usd + 1 where quarter >= '2026-03-28T15:00:00Z'").await;
    let day = balance(&service, &query).await;
    assert_eq!(day["balanced"], false, "{day:#}");
}

/// It is no answer to have read nothing.
#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_never_balanced() {
    for statement in [
        "alter table usage_rollup rename to gone",
        "alter table counters rename to gone",
        "alter table reservations rename to gone",
        "alter table transfers rename to gone",
        "update counters set posted = 'NaN' where budget = 1",
        "update usage_rollup set usd = 'NaN'",
    ] {
        let service = super::empty_world().await;
        let body = json!({"tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 100}});
        service.call("POST", "/v1/usage", body).await.ok();
        execute(&service, statement).await;
        let answer = service.call("GET", "/v1/ledger/trial-balance", Value::Null).await;
        assert!(answer.status >= 500, "{statement}: {:#}", answer.body);
        assert!(answer.body.get("balanced").is_none(), "{statement}: {:#}", answer.body);
    }
    let service = super::empty_world().await;
    let body =
        json!({"tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 100}});
    service.call("POST", "/v1/usage", body).await.ok();
    // A journal that shows nothing of itself, as a distributed one did.
    execute(&service, "alter table transfers disable trigger transfers_append_only; delete from transfers").await;
    let empty = balance(&service, "").await;
    assert_eq!((empty["balanced"].clone(), empty["transfers"].clone()), (json!(false), json!(0)), "{empty:#}");
    for (query, field) in [
        ("?from=2026-03-28T15:00:01Z", "from"),
        ("?to=2026-03-28T15:10:00Z", "to"),
        ("?from=2026-03-28T15:00:00Z&to=2026-03-28T15:00:00Z", "to"),
    ] {
        let refused = service.call("GET", &format!("/v1/ledger/trial-balance{query}"), Value::Null).await;
        assert_eq!((refused.status, refused.body["errors"][0]["field"].as_str()), (422, Some(field)), "{query}");
    }
}
