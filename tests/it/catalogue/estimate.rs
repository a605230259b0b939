//! `POST /v1/estimate`.

use serde_json::{Value, json};

use super::{get, tenant};
use crate::support::service::{Replica, TestService};

async fn estimate(service: &Replica, body: Value) -> Value {
    service.call("POST", "/v1/estimate", body).await.ok()
}

fn number(value: &Value) -> f64 {
    let text = value.as_str().expect("a decimal string");
    assert!(!text.contains(['e', 'E']), "{text}");
    text.parse().expect("a number")
}

/// Relative to the larger: the agreement that the profile promises.
#[track_caller]
fn close(ours: &Value, theirs: f64, what: &str) {
    let ours = number(ours);
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-300), "{what}: {ours} is not {theirs}");
}

#[tokio::test]
async fn the_ecologits_profile_agrees_with_the_package_over_http() {
    let service = TestService::start().await;
    let table = include_str!("../../data/ecologits_oracle.csv");
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut checked = 0;
    for line in lines.step_by(11) {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |name: &str| cells[header.iter().position(|column| *column == name).unwrap()];
        let figure = |name: &str| cell(name).parse::<f64>().unwrap();
        let latency_ms = figure("request_latency_s") * 1000.0;
        if latency_ms.is_finite() && latency_ms.fract() != 0.0 {
            continue;
        }
        let output: u64 = cell("output_tokens").parse().unwrap();
        let mut question = json!({
            "provider": cell("provider"), "model": cell("model"), "usage": {"output": output},
            "profile": "ecologits-0.11.3", "at": "2026-11-22T00:00:00Z"
        });
        if !cell("zone_asked").is_empty() {
            question["grid_zone"] = json!(cell("zone_asked"));
        }
        if latency_ms.is_finite() {
            question["latency_ms"] = json!(latency_ms.to_string().parse::<u64>().unwrap());
        }
        let carbon = estimate(&service, question).await["carbon"].clone();
        for (ours, theirs, scale) in [
            ("energy_kwh", "energy_kwh", 1.0),
            ("usage_location_g", "gwp_usage_kg", 1e3),
            ("embodied_g", "gwp_embodied_kg", 1e3),
        ] {
            for bound in ["min", "max"] {
                close(
                    &carbon[ours][bound],
                    figure(&format!("{theirs}_{bound}")) * scale,
                    &format!("{ours} {bound} of {line}"),
                );
            }
        }
        checked += 1;
    }
    assert!(checked >= 15, "{checked}");
}

#[tokio::test]
async fn an_estimate_says_what_a_call_costs_and_on_which_rows_that_stands() {
    let service = TestService::start().await;
    let call = json!({
        "provider": "anthropic", "model": "claude-sonnet-4-5-20250929", "region": "eu-central-1",
        "usage": {"input": 1200, "cache_read": 100, "output": 700, "reasoning": 100}, "latency_ms": 5300
    });
    let answer = estimate(&service, call.clone()).await;
    assert_eq!((&answer["tokens"], &answer["usd"]), (&json!(2100), &json!("0.01563")));
    assert_eq!(answer["at"], "2026-06-10T12:00:00Z");
    let price = &answer["price"];
    assert_eq!(
        (&price["model"], &price["unpriced"], &price["tier_from"]),
        (&json!("claude-sonnet-4-5"), &json!(false), &json!(0))
    );
    assert_eq!(get(&service, &format!("/v1/prices/{}", price["id"])).await["source"], price["source"]);
    let carbon = &answer["carbon"];
    assert_eq!(carbon["profile"], "extended-1");
    for figure in ["energy_kwh", "usage_location_g", "usage_market_g", "embodied_g"] {
        let of = |bound: &str| number(&carbon[figure][bound]);
        let likely = |bound: &str| number(&carbon[figure]["likely"][bound]);
        assert!(0.0 < of("min") && of("min") <= likely("min") && likely("min") <= of("mid"), "{figure}");
        assert!(of("mid") <= likely("max") && likely("max") <= of("max"), "{figure}");
    }
    let grams = number(&carbon["usage_location_g"]["mid"]) + number(&carbon["embodied_g"]["mid"]);
    assert!((number(&answer["gco2e"]) - grams).abs() < 2e-9, "the ledger keeps nanograms");
    let factors = carbon["factors"].as_array().unwrap();
    let used: Vec<&str> = factors.iter().map(|row| row["used_for"].as_str().unwrap()).collect();
    assert!(["model", "grid", "serving", "region"].iter().all(|what| used.contains(what)), "{used:?}");
    for row in factors {
        assert!(!row["source"]["licence"].as_str().unwrap().is_empty(), "{row}");
        assert_eq!(get(&service, &format!("/v1/factors/{}", row["id"])).await["key"], row["key"]);
    }

    // The same dollars and grams that the ledger then posts.
    tenant(&service, "acme", "Asia/Tokyo").await;
    let mut usage = call;
    for (key, value) in [("tenant", "acme"), ("feature", "chat")] {
        usage[key] = json!(value);
    }
    let posted = service.call("POST", "/v1/usage", usage).await.ok();
    for unit in ["usd", "gco2e", "gco2e_market"] {
        assert_eq!(posted["amounts"][unit], answer[unit], "{unit}");
    }
}

/// Pains O and R.
#[tokio::test]
async fn what_is_unknown_is_flagged_and_never_free_and_a_tier_prices_the_whole_call() {
    let service = TestService::start().await;
    let unknown = estimate(&service, json!({
        "provider": "anthropic", "model": "claude-next", "region": "moon-1", "usage": {"input": 1000, "output": 1000}
    })).await;
    assert_eq!(unknown["price"]["unpriced"], true);
    assert!(number(&unknown["usd"]) > 0.015, "dearer than a known model: {}", unknown["usd"]);
    assert_eq!(unknown["carbon"]["fallbacks"]["model"], "worst_of_provider");
    assert_eq!(unknown["carbon"]["fallbacks"]["region"], "unknown");
    assert!(number(&unknown["gco2e"]) > 0.0);

    let gemini =
        |input: u64| json!({"provider": "google", "model": "gemini-2.5-pro", "usage": {"input": input, "output": 0}});
    let (small, large) = (estimate(&service, gemini(200_000)).await, estimate(&service, gemini(400_000)).await);
    assert_eq!(small["price"]["tier_from"], 0);
    assert_ne!(large["price"]["tier_from"], 0);
    assert!((number(&large["usd"]) / number(&small["usd"]) - 4.0).abs() < 1e-9, "twice the tokens at twice the price");
}

#[tokio::test]
async fn a_wrong_question_is_refused_by_field() {
    let service = TestService::start().await;
    let with = |field: &str, value: Value| {
        let mut body = json!({"provider": "openai", "model": "gpt-4o", "usage": {"output": 10}});
        body[field] = value;
        body
    };
    for (body, code, field) in [
        (with("usage", json!({"output": -1})), "invalid_request", "usage.output"),
        (with("usage", json!({"output": 1e30})), "invalid_request", "usage.output"),
        (with("usage", json!({"output": 9_000_000_000_000_000_000_u64})), "invalid_usage", "usage.output"),
        (with("usage", json!({"words": 1})), "invalid_request", "usage.words"),
        (with("latency_ms", json!(-1)), "invalid_request", "latency_ms"),
        (with("profile", json!("guess-1")), "invalid_request", "profile"),
        (with("service_tier", json!("gold")), "invalid_request", "service_tier"),
        (with("grid_zone", json!("a zone")), "invalid_request", "grid_zone"),
        (with("region", json!("a region")), "invalid_request", "region"),
        (with("at", json!("0026-01-01T00:00:00Z")), "invalid_request", "at"),
        (with("model", json!("")), "invalid_request", "model"),
        (with("colour", json!("red")), "invalid_request", "colour"),
        (json!({"provider": "openai", "usage": {}}), "invalid_request", "model"),
        (
            json!({"provider": "openai", "model": "gpt-4o", "usage": {}, "region": "eu-west-1", "grid_zone": "IRL"}),
            "invalid_request",
            "grid_zone",
        ),
    ] {
        let refused = service.call("POST", "/v1/estimate", body.clone()).await;
        assert_eq!(refused.body["errors"][0]["field"], field, "{body} {:#}", refused.body);
        assert_eq!(refused.problem(), (422, code), "{body}");
    }
}
