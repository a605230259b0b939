//! `GET /v1/budgets/{id}/projection`: the instant, the band, the people, the split.

use chrono::TimeDelta;
use counterfoil::auth::Scope;
use serde_json::{Value, json};

use super::{NOW, TENANTS, instant, number, pool, quota, truth, world};
use crate::support::service::TestService;

async fn projection(service: &TestService, path: &str) -> Value {
    service.call("GET", path, Value::Null).await.ok()
}

#[tokio::test]
async fn a_shared_quota_ends_when_its_tenants_clocks_say_so() {
    let service = world().await;
    let used: u64 =
        number(&projection(&service, "/v1/budgets/quota/projection").await["posted"]).to_string().parse().unwrap();
    // A limit that is reached in the last days of the month.
    let limit = used + 600_000;
    service.call("PUT", "/v1/budgets/quota", quota(&limit.to_string())).await.ok();
    let body = projection(&service, "/v1/budgets/quota/projection").await;
    let (p10, p50) = (instant(&body["exhausts_at"]["p10"]), instant(&body["exhausts_at"]["p50"]));
    let off = (p50 - truth(limit)).num_minutes().abs();
    assert!(off <= 180, "{p50} is {off} minutes from the truth {}", truth(limit));
    assert!(p10 <= p50 && p10 > service.now(), "{p10} {p50}");
    if let Some(p90) = body["exhausts_at"]["p90"].as_str() {
        assert!(p50 <= p90.parse::<chrono::DateTime<chrono::Utc>>().unwrap());
    }
    assert!(number(&body["p_exhaust"]) > 0.5, "{:#}", body["p_exhaust"]);
    assert_eq!(body["resets_at"], "2026-07-01T00:00:00Z");
    assert_eq!(body["watermark"]["recorded_until"], NOW);
    assert_eq!((body["method"].as_str(), body["history_days"].as_u64()), (Some("hour_of_week"), Some(35)));

    // The path runs hour by hour to the reset, and its uses add up.
    let path = body["path"].as_array().unwrap();
    assert_eq!(path.len(), 13 * 24 + 12);
    let ahead: f64 = path.iter().map(|hour| number(&hour["expected"])).sum();
    let at_reset = number(&body["expected_at_reset"]["expected"]);
    let posted = number(&body["posted"]);
    assert!((posted + ahead - at_reset).abs() < at_reset / 1_000.0, "{posted} + {ahead} is not {at_reset}");
    let wanted: u64 = super::hours(service.now(), service.now() + TimeDelta::hours(24)).map(pool).sum();
    let told: f64 = path[..24].iter().map(|hour| number(&hour["expected"])).sum();
    assert!(
        (told / f64::from(u32::try_from(wanted).unwrap()) - 1.0).abs() < 0.05,
        "{told} of {wanted} in the next day"
    );
    let short = projection(&service, "/v1/budgets/quota/projection?path_hours=5").await;
    assert_eq!((short["path"].as_array().unwrap().len(), short["path_hours_total"].as_u64()), (5, Some(324)));
    assert_eq!(projection(&service, "/v1/budgets/quota/projection?path_hours=0").await["path"], json!([]));

    // Who drives it: the largest first, on its own clock, and the shares are those of the whole.
    let tenants = body["tenants"].as_array().unwrap();
    assert_eq!(tenants[0]["tenant"], "bay");
    assert_eq!(tenants[0]["timezone"], "America/Los_Angeles");
    let shares: f64 = tenants.iter().map(|tenant| number(&tenant["share"])).sum();
    assert!((shares - 1.0).abs() < 0.001, "{shares}");
    let features = body["features"].as_array().unwrap();
    assert_eq!((features[0]["feature"].as_str(), features.len()), (Some("chat"), 2));
    assert!((number(&features[0]["share"]) - 0.75).abs() < 0.01, "{features:#?}");
    let used: f64 = features.iter().map(|feature| number(&feature["used"])).sum();
    assert!((used - posted).abs() < 1.0, "{used} {posted}");

    // Who is at work when it runs out, and what each zone bears until the reset.
    let empty = &body["empty_end"];
    assert_eq!((&empty["start"], &empty["end"]), (&body["exhausts_at"]["p50"], &body["resets_at"]));
    let people = empty["tenants"].as_array().unwrap();
    assert_eq!(people.len(), TENANTS.len());
    for person in people {
        let (_, zone, hourly) = TENANTS.into_iter().find(|(tenant, ..)| person["tenant"] == *tenant).unwrap();
        assert_eq!(person["at_work"], json!(super::rhythm(zone, hourly, p50) == hourly), "{person:#}");
        assert_eq!(instant(&person["local"]), p50);
    }
    let zones = empty["zones"].as_array().unwrap();
    let shares: f64 = zones.iter().map(|zone| number(&zone["share"])).sum();
    assert_eq!(zones.len(), 4);
    assert!((shares - 1.0).abs() < 0.001, "{zones:#?}");

    // The fair split adds up to the limit, and everybody bears the same share of its demand.
    let split = body["fair_split"].as_array().unwrap();
    let total: f64 = split.iter().map(|one| number(&one["limit"])).sum();
    let limit: f64 = number(&body["limit"]);
    assert!((total / limit - 1.0).abs() < 0.0001, "{total} of {limit}");
    let borne: Vec<f64> = split.iter().map(|one| number(&one["limit"]) / number(&one["demand"])).collect();
    assert!(borne.iter().all(|share| (share - borne[0]).abs() < 0.001 && *share < 1.0), "{borne:?}");
}

#[tokio::test]
async fn a_budget_that_lasts_says_null_and_what_is_overdrawn_is_gone_now() {
    let service = world().await;
    service.call("PUT", "/v1/budgets/quota", quota("900000000")).await.ok();
    let roomy = projection(&service, "/v1/budgets/quota/projection").await;
    assert_eq!(roomy["exhausts_at"], json!({"p10": null, "p50": null, "p90": null}));
    assert_eq!(roomy["empty_end"], Value::Null);
    assert!(number(&roomy["p_exhaust"]) < 0.05, "{:#}", roomy["p_exhaust"]);
    service.call("PUT", "/v1/budgets/quota", quota("5")).await.ok();
    let gone = projection(&service, "/v1/budgets/quota/projection").await;
    assert_eq!(gone["exhausts_at"]["p50"], NOW, "{:#}", gone["exhausts_at"]);
    assert!(gone["headroom"].as_str().unwrap().starts_with('-'));
}

#[tokio::test]
async fn each_key_has_a_projection_of_its_own_on_its_own_clock() {
    let service = world().await;
    let each = json!({
        "each": "tenant", "measure": "usd", "limit": "12", "period": {"kind": "month"}, "timezone": "tenant",
        "enforcement": "soft"
    });
    service.call("PUT", "/v1/budgets/each-usd", each).await.ok();
    let list = projection(&service, "/v1/budgets/each-usd/projections").await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(
        items.iter().map(|item| item["key"].as_str().unwrap()).collect::<Vec<_>>(),
        ["bay", "berlin", "sao-paulo", "tokyo"]
    );
    for item in items {
        let one =
            projection(&service, &format!("/v1/budgets/each-usd/projection?key={}", item["key"].as_str().unwrap()))
                .await;
        for field in ["exhausts_at", "timezone", "posted", "p_exhaust", "resets_at", "expected_at_reset"] {
            assert_eq!(one[field], item[field], "{field} of {}", item["key"]);
        }
        assert_eq!(one["tenants"].as_array().unwrap().len(), 1);
        assert!(one["fair_split"].is_null(), "a counter of one tenant is not split");
    }
    let first = projection(&service, "/v1/budgets/each-usd/projections?limit=3").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = projection(&service, &format!("/v1/budgets/each-usd/projections?limit=3&cursor={cursor}")).await;
    assert_eq!(rest["items"][0]["key"], "tokyo");
    assert_eq!(rest["next_cursor"], Value::Null);
}

#[tokio::test]
async fn what_the_roll_up_cannot_tell_is_a_straight_line_that_says_so() {
    let service = world().await;
    let agent = json!({
        "scope": {"tenant": "bay", "agent": "coder"}, "measure": "tokens", "limit": "100000", "period": {"kind": "month"},
        "enforcement": "hard"
    });
    service.call("PUT", "/v1/budgets/coder", agent).await.ok();
    let usage = json!({
        "tenant": "bay", "feature": "code", "provider": "openai", "model": "gpt-4o", "agent": "coder",
        "usage": {"output": 50_000}
    });
    service.call("POST", "/v1/usage", usage).await.ok();
    let body = projection(&service, "/v1/budgets/coder/projection").await;
    assert_eq!(body["confidence"], "low");
    let codes: Vec<&str> =
        body["reasons"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"not_in_rollup"), "{codes:?}");
    assert_eq!((&body["tenants"], &body["features"]), (&json!([]), &json!([])));
    assert!(body["exhausts_at"]["p50"].is_string() || body["p_exhaust"].is_string());
}

#[tokio::test]
async fn grams_carry_the_range_of_their_factors() {
    let service = world().await;
    let carbon = json!({
        "scope": {"provider": "anthropic"}, "measure": "gco2e", "limit": "1000", "period": {"kind": "month"},
        "enforcement": "soft"
    });
    service.call("PUT", "/v1/budgets/grams", carbon).await.ok();
    let grams = projection(&service, "/v1/budgets/grams/projection").await;
    let range = (number(&grams["factor_range"]["low"]), number(&grams["factor_range"]["high"]));
    assert!(range.0 < 1.0 && range.1 > 1.0, "{range:?}");
    let tokens = projection(&service, "/v1/budgets/quota/projection").await;
    assert!(tokens["factor_range"].is_null());
    let width = |body: &Value| {
        let band = &body["expected_at_reset"];
        (number(&band["high"]) - number(&band["low"])) / number(&band["expected"])
    };
    assert!(width(&grams) > 1.2 * width(&tokens), "{} {}", width(&grams), width(&tokens));
}

#[tokio::test]
async fn a_tenant_sees_the_projections_of_its_own_budgets_only() {
    let service = world().await;
    let own = json!({
        "scope": {"tenant": "berlin"}, "measure": "usd", "limit": "50", "period": {"kind": "month"}, "timezone": "tenant",
        "enforcement": "hard"
    });
    service.call("PUT", "/v1/budgets/berlin-usd", own).await.ok();
    let token = |tenant| service.token(&[Scope::Read], Some(tenant));
    let get = |token: String, path: &'static str| {
        let service = &service;
        async move { service.call_as(&token, "GET", path, &[], Value::Null).await }
    };
    let body = get(token("berlin"), "/v1/budgets/berlin-usd/projection").await.ok();
    assert_eq!(body["tenants"][0]["tenant"], "berlin");
    assert!(
        number(&body["expected_at_reset"]["expected"]) > number(&body["posted"]),
        "row-level security shows its rows"
    );
    for (tenant, path) in [
        ("tokyo", "/v1/budgets/berlin-usd/projection"),
        ("tokyo", "/v1/budgets/quota/projection"),
        ("tokyo", "/v1/budgets/quota/projections"),
    ] {
        assert_eq!(get(token(tenant), path).await.problem(), (404, "unknown_budget"), "{tenant} {path}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let service = world().await;
    let window = json!({
        "scope": {}, "measure": "requests", "limit": "5", "period": {"kind": "sliding", "seconds": 60}, "enforcement": "hard"
    });
    service.call("PUT", "/v1/budgets/window", window).await.ok();
    let each =
        json!({"each": "tenant", "measure": "usd", "limit": "5", "period": {"kind": "month"}, "enforcement": "hard"});
    service.call("PUT", "/v1/budgets/each", each).await.ok();
    for (path, field) in [
        ("/v1/budgets/window/projection", "id"),
        ("/v1/budgets/each/projection", "key"),
        ("/v1/budgets/each/projection?key=nobody", "key"),
        ("/v1/budgets/quota/projection?key=bay", "key"),
        ("/v1/budgets/quota/projection?path_hours=801", "path_hours"),
        ("/v1/budgets/quota/projection?colour=red", "colour"),
    ] {
        let refused = service.call("GET", path, Value::Null).await;
        assert_eq!(refused.problem(), (422, "invalid_request"), "{path}: {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], field, "{path}: {:#}", refused.body);
    }
    assert_eq!(
        service.call("GET", "/v1/budgets/none/projection", Value::Null).await.problem(),
        (404, "unknown_budget")
    );
}
