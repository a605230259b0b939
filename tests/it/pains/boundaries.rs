//! G and H: budgets end when their owner's calendar says so.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::audit::{assert_none, findings};
use crate::support::service::TestService;
use crate::support::story::{ask, budget, preflight};

/// A budget on the tenant's clock: full until the last microsecond, empty from the first instant of the next period; and
/// what the answer says about that instant is what happens.
async fn turns(zone: &str, period: Value, at: &str, turns_at: &str, local: &str) {
    let service = TestService::start_at(at).await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": zone})).await.ok();
    budget(&service, "day", "tokens", "100", json!({"period": period, "timezone": "tenant"})).await;
    let turns_at: DateTime<Utc> = turns_at.parse().unwrap();
    let full = preflight(&service, ask(99, 1, json!({"ttl_seconds": 86_400}))).await;
    assert_eq!(full["verdict"], "allow", "{zone}");
    let state = &full["budgets"][0];
    assert_eq!(state["resets_at"], json!(turns_at), "{zone}");
    assert_eq!(state["resets_at_local"], local, "{zone}");
    assert_eq!(state["timezone"], zone);
    // Spent, so that only the calendar can give it back.
    let settle = format!("/v1/reservations/{}/settle", full["reservation"].as_str().unwrap());
    service.call("POST", &settle, json!({"usage": {"input": 99, "output": 1}})).await.ok();
    service.clock.advance_to(turns_at - TimeDelta::microseconds(1));
    let refused = preflight(&service, ask(0, 1, json!({}))).await;
    assert!(["wait", "stop"].contains(&refused["verdict"].as_str().unwrap()), "{zone}: {refused:#}");
    service.clock.advance_to(turns_at);
    assert_eq!(preflight(&service, ask(99, 1, json!({}))).await["verdict"], "allow", "{zone}");
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn g_a_day_ends_at_the_tenants_midnight_whatever_its_offset() {
    let day = || json!({"kind": "day"});
    turns("Asia/Tokyo", day(), "2026-06-10T12:00:00Z", "2026-06-10T15:00:00Z", "2026-06-11T00:00:00+09:00").await;
    turns("Asia/Kathmandu", day(), "2026-06-10T12:00:00Z", "2026-06-10T18:15:00Z", "2026-06-11T00:00:00+05:45").await;
}

#[tokio::test]
async fn g_days_are_23_and_25_hours_long_where_the_clocks_change() {
    let day = || json!({"kind": "day"});
    // Berlin: 29 March 2026 has 23 hours, 25 October 25.
    turns("Europe/Berlin", day(), "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T00:00:00+02:00").await;
    turns("Europe/Berlin", day(), "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T00:00:00+01:00").await;
    // Los Angeles: 8 March and 1 November.
    turns("America/Los_Angeles", day(), "2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z", "2026-03-09T00:00:00-07:00")
        .await;
    turns("America/Los_Angeles", day(), "2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z", "2026-11-02T00:00:00-08:00")
        .await;
}

#[tokio::test]
async fn h_an_anchor_day_beyond_the_months_end_is_its_last_and_comes_back() {
    let month = || json!({"kind": "month", "anchor_day": 31});
    turns("Etc/UTC", month(), "2027-01-31T00:00:00Z", "2027-02-28T00:00:00Z", "2027-02-28T00:00:00+00:00").await;
    turns("Etc/UTC", month(), "2027-02-28T00:00:00Z", "2027-03-31T00:00:00Z", "2027-03-31T00:00:00+00:00").await;
    turns("Etc/UTC", month(), "2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z", "2028-02-29T00:00:00+00:00").await;
    let year = json!({"kind": "year", "anchor_date": "2024-02-29"});
    turns("Asia/Tokyo", year, "2027-02-27T15:00:00Z", "2028-02-28T15:00:00Z", "2028-02-29T00:00:00+09:00").await;
}

#[tokio::test]
async fn g_a_budget_for_each_tenant_turns_on_each_ones_own_clock() {
    let service = TestService::start_at("2026-06-10T14:30:00Z").await;
    for (tenant, zone) in [("acme", "Asia/Tokyo"), ("bolt", "Europe/Berlin")] {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": zone})).await.ok();
    }
    let each = json!({"scope": {}, "each": "tenant", "period": {"kind": "day"}, "timezone": "tenant"});
    budget(&service, "daily", "requests", "1", each).await;
    let asks = ["acme", "bolt"].map(|tenant| ask(9, 1, json!({"tenant": tenant, "ttl_seconds": 86_400})));
    let verdicts = async || {
        let (one, two) = (preflight(&service, asks[0].clone()).await, preflight(&service, asks[1].clone()).await);
        [one, two].map(|answer| answer["verdict"].as_str().unwrap() == "allow")
    };
    assert_eq!(verdicts().await, [true, true]);
    assert_eq!(verdicts().await, [false, false]);
    service.advance(TimeDelta::minutes(30));
    assert_eq!(verdicts().await, [true, false], "midnight in Tokyo");
    service.clock.advance_to("2026-06-10T22:00:00Z".parse().unwrap());
    assert_eq!(verdicts().await, [false, true], "midnight in Berlin");
    assert_none(&findings(service.db.pool()).await);
}
