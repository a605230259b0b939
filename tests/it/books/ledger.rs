//! `/v1/ledger`: the journal page by page, balances and the trial balance as of any instant.

use chrono::TimeDelta;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{get, world};
use crate::support::service::TestService;

async fn walk(service: &TestService, list: &str, limit: usize) -> Vec<Value> {
    let separator = if list.contains('?') { '&' } else { '?' };
    let mut items = Vec::new();
    let mut path = format!("{list}{separator}limit={limit}");
    loop {
        let page = get(service, &path).await;
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["next_cursor"].as_str() else { return items };
        assert_eq!(page["items"].as_array().unwrap().len(), limit);
        path = format!("{list}{separator}limit={limit}&cursor={cursor}");
    }
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["transfer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_journal_is_walked_in_both_directions_and_each_row_is_shown_once() {
    let service = world().await;
    let all = walk(&service, "/v1/ledger/transfers?order=oldest", 1000).await;
    assert!(all.len() > 30);
    for limit in [1, 7] {
        assert_eq!(walk(&service, "/v1/ledger/transfers?order=oldest", limit).await, all);
        let mut newest = walk(&service, "/v1/ledger/transfers", limit).await;
        newest.reverse();
        assert_eq!(newest, all);
    }
    // New rows do not disturb a walk with `as_of`.
    let as_of = service.now();
    service.advance(TimeDelta::seconds(1));
    let usage =
        json!({"tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"output": 1}});
    service.call("POST", "/v1/usage", usage).await.ok();
    let then =
        walk(&service, &format!("/v1/ledger/transfers?as_of={}", as_of.format("%Y-%m-%dT%H:%M:%S%.6fZ")), 5).await;
    assert_eq!(then.len(), all.len());
    assert_eq!(walk(&service, "/v1/ledger/transfers", 1000).await.len(), all.len() + 1);
}

#[tokio::test]
async fn a_row_says_what_moved_from_where_to_where_and_by_which_prices() {
    let service = world().await;
    let newest =
        get(&service, "/v1/ledger/transfers?tenant=tokyo&provider=anthropic&feature=chat&limit=1").await["items"][0]
            .clone();
    let same = get(&service, &format!("/v1/ledger/transfers/{}", newest["transfer"].as_str().unwrap())).await;
    assert_eq!(newest, same);
    assert_eq!(newest["debit_account"], "usage:tokyo/chat");
    assert_eq!(newest["credit_account"], "supply:anthropic/claude-sonnet-4-5");
    assert!(newest["price"].is_i64() && newest["grid_factor"].is_i64(), "{newest:#}");
    assert_eq!(newest["kind"], "settlement");
    let reservation = newest["reservation"].as_str().unwrap();
    let by_reservation = walk(&service, &format!("/v1/ledger/transfers?reservation={reservation}"), 10).await;
    assert_eq!(by_reservation, [newest]);
    let missing = service.call("GET", "/v1/ledger/transfers/0199ffff-0000-7000-8000-000000000000", Value::Null).await;
    assert_eq!(missing.problem(), (404, "not_found"));
}

#[tokio::test]
async fn filters_keep_what_they_name() {
    let service = world().await;
    let all = walk(&service, "/v1/ledger/transfers", 1000).await;
    let day = ("2026-03-28T15:00:00Z", "2026-03-29T00:00:00Z");
    let text = |item: &Value, field: &str| item[field].as_str().unwrap_or("").to_owned();
    type Keeps = Box<dyn Fn(&Value) -> bool>;
    let cases: Vec<(String, Keeps)> = vec![
        ("tenant=berlin".to_owned(), Box::new(move |item| text(item, "tenant") == "berlin")),
        ("feature=import".to_owned(), Box::new(move |item| text(item, "feature") == "import")),
        ("region=us-east-1".to_owned(), Box::new(move |item| text(item, "region") == "us-east-1")),
        ("run=r-2&agent=triage".to_owned(), Box::new(move |item| text(item, "run") == "r-2")),
        ("model=gpt-4o".to_owned(), Box::new(move |item| text(item, "model") == "gpt-4o")),
        (
            "account=usage:tokyo/search".to_owned(),
            Box::new(move |item| text(item, "debit_account") == "usage:tokyo/search"),
        ),
        (
            "account=supply:openai/gpt-4o".to_owned(),
            Box::new(move |item| text(item, "credit_account") == "supply:openai/gpt-4o"),
        ),
        (
            format!("from={}&to={}", day.0, day.1),
            Box::new(move |item| (day.0..day.1).contains(&text(item, "occurred_at").as_str())),
        ),
    ];
    for (query, keeps) in cases {
        let found = walk(&service, &format!("/v1/ledger/transfers?{query}"), 1000).await;
        let expect: Vec<&Value> = all.iter().filter(|item| keeps(item)).collect();
        assert!(!expect.is_empty() && expect.len() < all.len(), "{query} tells nothing apart");
        assert_eq!(found.iter().collect::<Vec<_>>(), expect, "{query}: {:?}", ids(&found));
    }
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn accounts_balance_to_zero_as_of_any_instant() {
    let service = world().await;
    let mut transfers_before = 0;
    let start = "2026-03-28T13:50:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    for hours in [-1, 0, 3, 7, 13, 48] {
        let as_of = start + TimeDelta::hours(hours);
        let as_of = as_of.format("%Y-%m-%dT%H:%M:%SZ");
        let accounts = walk(&service, &format!("/v1/ledger/accounts?as_of={as_of}"), 2).await;
        let sum = |unit: &str| accounts.iter().map(|account| decimal(&account["balance"][unit])).sum::<Decimal>();
        for unit in ["usd", "gco2e_usage_location", "gco2e_usage_market", "gco2e_embodied"] {
            assert!(sum(unit).is_zero(), "{unit} as of {as_of}");
        }
        assert_eq!(accounts.iter().map(|account| account["balance"]["tokens"].as_i64().unwrap()).sum::<i64>(), 0);
        let transfers: u64 = accounts.iter().map(|account| account["transfers"].as_u64().unwrap()).sum();
        assert!(transfers >= transfers_before, "books only grow");
        transfers_before = transfers;
        let trial = get(&service, &format!("/v1/ledger/trial-balance?as_of={as_of}")).await;
        assert_eq!(trial["balanced"], true);
        let debits: i64 = accounts.iter().map(|account| account["balance"]["tokens"].as_i64().unwrap().max(0)).sum();
        assert_eq!(trial["units"][0]["debit"], debits.to_string(), "as of {as_of}");
        assert_eq!(trial["units"].as_array().unwrap().len(), 5);
    }
    assert!(transfers_before > 60);
    let usage = walk(&service, "/v1/ledger/accounts?prefix=usage:berlin/", 100).await;
    let names: Vec<&str> = usage.iter().map(|account| account["account"].as_str().unwrap()).collect();
    assert_eq!(names, ["usage:berlin/chat", "usage:berlin/import", "usage:berlin/search"]);
    assert!(usage.iter().all(|account| account["balance"]["tokens"].as_i64().unwrap() > 0));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let service = super::empty_world().await;
    for (path, field) in [
        ("transfers?limit=0", "limit"),
        ("transfers?limit=1001", "limit"),
        ("transfers?cursor=abc", "cursor"),
        ("transfers?order=random", "order"),
        ("transfers?colour=red", "colour"),
        ("transfers?tenant=%00", "tenant"),
        ("transfers?account=%00", "account"),
        ("transfers?run=%00", "run"),
        ("transfers?from=0001-01-01T00:00:00Z", "from"),
        ("transfers?as_of=%2B262000-01-01T00:00:00Z", "as_of"),
        ("transfers/7", "id"),
        ("accounts?prefix=%00", "prefix"),
        ("accounts?as_of=now", "as_of"),
        ("trial-balance?as_of=-9999-01-01T00:00:00Z", "as_of"),
    ] {
        let refused = service.call("GET", &format!("/v1/ledger/{path}"), Value::Null).await;
        assert_eq!(refused.status, 422, "{path}: {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], field, "{path}: {:#}", refused.body);
    }
    let oldest = get(&service, "/v1/ledger/transfers?order=oldest").await;
    assert_eq!(oldest, json!({"items": [], "next_cursor": null}));
}
