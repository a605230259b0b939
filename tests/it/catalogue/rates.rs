//! `/v1/prices` and `/v1/factors`.

use serde_json::{Value, json};

use super::{get, tenant, walk};
use crate::support::service::{Replica, TestService};

fn price(model: &str, from: &str, input: &str) -> Value {
    json!({
        "provider": "acme-ai", "model": model, "effective_from": from, "tiers": [{"from": 0, "input": input, "output": "10"}],
        "source": "contract 4711", "source_date": "2026-06-01", "licence": "private"
    })
}

fn grid(zone: &str, from: &str, g_per_kwh: f64) -> Value {
    json!({
        "kind": "grid", "zone": zone, "g_per_kwh": g_per_kwh, "basis": "lifecycle", "accounting": "location",
        "valid_from": from, "source": {
            "set": "audit-2026", "title": "Grid audit", "publisher": "Example AB", "licence": "private", "tier": 1
        }
    })
}

async fn usd(service: &Replica, model: &str, at: &str) -> Value {
    let body = json!({"provider": "acme-ai", "model": model, "at": at, "usage": {"input": 1_000_000}});
    service.call("POST", "/v1/estimate", body).await.ok()["usd"].clone()
}

#[tokio::test]
async fn a_new_price_holds_from_its_date_on_every_replica_at_once_and_changes_nothing_that_was_posted() {
    let service = TestService::start().await;
    let other = service.replica().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    let usage = json!({
        "tenant": "acme", "feature": "chat", "provider": "acme-ai", "model": "swift-1", "usage": {"input": 1_000_000}
    });
    let rows = json!([price("swift-1", "2026-01-01T00:00:00Z", "1"), price("swift-1", "2026-06-10T00:00:00Z", "2")]);
    let added = service.call("POST", "/v1/prices", rows.clone()).await.ok();
    assert_eq!((&added["added"], added["ids"].as_array().unwrap().len()), (&json!(2), 2));
    for replica in [&service.one, &other] {
        assert_eq!(usd(replica, "swift-1", "2026-06-09T23:59:59Z").await, "1");
        assert_eq!(usd(replica, "swift-1", "2026-06-10T00:00:00Z").await, "2");
    }
    let before = other.call("POST", "/v1/usage", usage.clone()).await.ok();
    assert_eq!(before["amounts"]["usd"], "2");
    service.call("POST", "/v1/prices", price("swift-1", "2026-06-10T11:00:00Z", "3")).await.ok();
    assert_eq!(other.call("POST", "/v1/usage", usage).await.ok()["amounts"]["usd"], "3", "through the other's lane");
    let posted: rust_decimal::Decimal =
        sqlx::query_scalar("select sum(usd) from transfers").fetch_one(service.db.pool()).await.unwrap();
    assert_eq!(posted.normalize().to_string(), "5", "what was posted keeps its price");

    let again = service.call("POST", "/v1/prices", rows).await.ok();
    assert_eq!(again, json!({"ids": [null, null], "added": 0}), "rows that are there are left as they are");
    let history = get(&service, "/v1/prices?provider=ACME-AI&model=swift-1").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 3);
    let of = async |at: &str| {
        let list = get(&service, &format!("/v1/prices?provider=acme-ai&at={at}")).await;
        list["items"].as_array().unwrap().iter().map(|row| row["tiers"][0]["input"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("2025-12-31T23:59:59Z").await, Vec::<Value>::new());
    assert_eq!(of("2026-06-09T00:00:00Z").await, ["1"]);
    assert_eq!(of("2026-06-10T11:00:00Z").await, ["3"]);
}

#[tokio::test]
async fn a_key_is_one_effect_and_one_answer() {
    let service = TestService::start().await;
    let row = price("swift-1", "2026-01-01T00:00:00Z", "1");
    let first = service.call_keyed("k-1", "POST", "/v1/prices", row.clone()).await.ok();
    assert_eq!(first["added"], 1);
    assert_eq!(service.call_keyed("k-1", "POST", "/v1/prices", row.clone()).await.ok(), first);
    let other = price("swift-2", "2026-01-01T00:00:00Z", "1");
    let mismatch = service.call_keyed("k-1", "POST", "/v1/prices", other.clone()).await;
    assert_eq!(mismatch.problem(), (409, "idempotency_mismatch"));
    assert_eq!(get(&service, "/v1/prices?provider=acme-ai").await["items"].as_array().unwrap().len(), 1);
    let factors = service.call_keyed("k-1", "POST", "/v1/factors", grid("SWE", "2026-01-01T00:00:00Z", 30.0)).await;
    assert_eq!(factors.problem(), (409, "idempotency_mismatch"), "another operation is another request");
    let with_lane = service.call_keyed("k-1", "POST", "/v1/preflight", super::ask("acme")).await;
    assert_eq!(with_lane.status, 404, "no such tenant, before the key is looked at");
    let refused = json!([row, {"provider": "acme-ai"}]);
    assert_eq!(service.call_keyed("k-2", "POST", "/v1/prices", refused).await.status, 422);
    assert_eq!(service.call_keyed("k-2", "POST", "/v1/prices", other).await.ok()["added"], 1, "nothing was kept");
}

#[tokio::test]
async fn a_new_factor_holds_from_its_date_on_every_replica_at_once() {
    let service = TestService::start().await;
    let other = service.replica().await;
    let grams = async |replica: &Replica, at: &str| {
        let body = json!({
            "provider": "openai", "model": "gpt-4o", "grid_zone": "XYZ", "at": at, "usage": {"output": 1000}
        });
        replica.call("POST", "/v1/estimate", body).await.ok()["carbon"].clone()
    };
    let world = grams(&other, "2026-06-10T00:00:00Z").await;
    assert_eq!(world["fallbacks"]["grid"], "world_average");
    let added = service.call("POST", "/v1/factors", grid("XYZ", "2026-06-01T00:00:00Z", 10.0)).await.ok();
    let own = grams(&other, "2026-06-10T00:00:00Z").await;
    assert_eq!(own["fallbacks"]["grid"], Value::Null);
    let row = own["factors"].as_array().unwrap().iter().find(|row| row["used_for"] == "grid").unwrap();
    assert_eq!(row["id"], added["ids"][0]);
    assert_eq!(grams(&other, "2026-05-01T00:00:00Z").await["fallbacks"]["grid"], "other_vintage");
    let listed = get(&service, "/v1/factors?kind=grid&key=xyz").await;
    assert_eq!((&listed["items"][0]["key"], &listed["items"][0]["g_per_kwh"]), (&json!("XYZ"), &json!(10.0)));
    assert_eq!(listed["items"][0]["source"]["licence"], "private");
    assert_eq!(get(&service, "/v1/factors?kind=grid&key=XYZ&at=2026-05-01T00:00:00Z").await["items"], json!([]));
}

#[tokio::test]
async fn books_are_listed_by_pages_and_row_by_row() {
    let service = TestService::start().await;
    let (ids, pages) = walk(&service, "/v1/prices?provider=anthropic", 10, "id").await;
    assert_eq!(pages, ids.len().div_ceil(10));
    let mut sorted: Vec<i64> = ids.iter().map(|id| id.parse().unwrap()).collect();
    sorted.dedup();
    assert!(sorted.is_sorted() && sorted.len() == ids.len() && ids.len() > 10);
    let row = get(&service, &format!("/v1/prices/{}", ids[0])).await;
    assert_eq!((row["id"].to_string(), &row["provider"]), (ids[0].clone(), &json!("anthropic")));
    let (ids, _) = walk(&service, "/v1/factors?kind=region", 50, "id").await;
    assert!(ids.len() > 50);
    for path in ["/v1/prices/999999999", "/v1/factors/999999999"] {
        assert_eq!(service.call("GET", path, Value::Null).await.problem(), (404, "not_found"));
    }
    assert_eq!(service.call("GET", "/v1/prices/x", Value::Null).await.problem(), (422, "invalid_request"));
    assert_eq!(service.call("GET", "/v1/factors?kind=moon", Value::Null).await.body["errors"][0]["field"], "kind");
}

#[tokio::test]
async fn no_row_is_changed_or_removed() {
    let service = TestService::start().await;
    for (method, path) in [
        ("PUT", "/v1/prices/1"),
        ("DELETE", "/v1/prices/1"),
        ("PATCH", "/v1/factors/1"),
        ("DELETE", "/v1/factors/1"),
        ("DELETE", "/v1/prices"),
        ("PUT", "/v1/factors"),
    ] {
        assert_eq!(
            service.call(method, path, json!({})).await.problem(),
            (405, "method_not_allowed"),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_wrong_row_is_refused_by_its_place_and_field_and_no_row_is_added() {
    let service = TestService::start().await;
    let good = || price("swift-1", "2026-01-01T00:00:00Z", "1");
    let with = |field: &str, value: Value| {
        let mut row = good();
        row[field] = value;
        row
    };
    for (row, field) in [
        (with("provider", json!("a/b")), "[1].provider"),
        (with("model", json!("")), "[1].model"),
        (with("colour", json!("red")), "[1].colour"),
        (with("service_tier", json!("gold")), "[1].service_tier"),
        (with("tiers", json!([])), "[1].tiers"),
        (with("tiers", json!([{"from": 5, "input": "1"}])), "[1].tiers"),
        (with("tiers", json!([{"from": 0, "input": "-1"}])), "[1].tiers.input"),
        (with("tiers", json!([{"from": 0, "input": "1e9"}])), "[1].tiers.input"),
        (with("tiers", json!([{"from": 0, "inptu": "1"}])), "[1].tiers[0].inptu"),
        (with("request_fee_usd", json!("-1")), "[1].request_fee_usd"),
        (with("effective_from", json!("soon")), "[1].effective_from"),
        (with("effective_from", json!("+12026-01-01T00:00:00Z")), "[1].effective_from"),
        (with("effective_to", json!("2025-01-01T00:00:00Z")), "[1].effective_to"),
        (with("source", json!(" ")), "[1].source"),
        (with("licence", json!("a\u{0}b")), "[1].licence"),
        (with("match", json!({"starts_with": "a\u{0}b"})), "[1].row"),
        (with("match", json!({"any": []})), "[1].match"),
        (with("derived", json!(["pictures"])), "[1].derived"),
    ] {
        let refused = service.call("POST", "/v1/prices", json!([good(), row.clone()])).await;
        assert_eq!(refused.problem(), (422, "invalid_request"), "{row} {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], field, "{row} {:#}", refused.body);
    }
    assert_eq!(get(&service, "/v1/prices?provider=acme-ai").await["items"], json!([]));
    let many = service.call("POST", "/v1/prices", Value::Array(vec![good(); 1001])).await;
    assert!(many.body["detail"].as_str().unwrap().contains("more than 1000 rows"), "{}", many.body["detail"]);
    let full = service.call("POST", "/v1/prices", Value::Array(vec![good(); 1000])).await.ok();
    assert_eq!(full["added"], 1, "a thousand of one row are one row");

    let with = |field: &str, value: Value| {
        let mut row = grid("XYZ", "2026-01-01T00:00:00Z", 10.0);
        row[field] = value;
        row
    };
    for (row, field) in [
        (with("kind", json!("moon")), "kind"),
        (with("g_per_kwh", json!(-1)), "g_per_kwh"),
        (with("g_per_kwh", json!(0)), "g_per_kwh"),
        (with("g_per_kwh", json!(1e9)), "g_per_kwh"),
        (with("zone", json!("a zone")), "zone"),
        (with("basis", json!("guess")), "basis"),
        (with("accounting", json!("market_contract")), "provider"),
        (with("valid_to", json!("2025-01-01T00:00:00Z")), "valid_to"),
        (with("valid_from", json!("0001-01-01T00:00:00Z")), "valid_from"),
        (with("colour", json!("red")), "colour"),
    ] {
        let refused = service.call("POST", "/v1/factors", row.clone()).await;
        assert_eq!(refused.problem(), (422, "invalid_request"), "{row} {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], field, "{row} {:#}", refused.body);
    }
    assert_eq!(get(&service, "/v1/factors?key=XYZ").await["items"], json!([]));
}
