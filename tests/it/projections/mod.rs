//! Projections over HTTP: when a shared quota runs out, whose day it hits, and what would change it. The world of these
//! tests is made through the API: weeks of work on four clocks.

mod change;
mod planned;
mod project;
mod round;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use counterfoil::domain::calendar::Zone;
use serde_json::{Value, json};

use crate::support::service::TestService;

/// A Wednesday afternoon in Berlin, twelve days before a month ends.
pub(crate) const NOW: &str = "2026-06-17T12:00:00Z";
/// Whole weeks of history.
const WEEKS: i64 = 5;
/// Tenants, their zones, and the tokens of one of their working hours.
pub(crate) const TENANTS: [(&str, &str, u64); 4] = [
    ("tokyo", "Asia/Tokyo", 1_000),
    ("berlin", "Europe/Berlin", 2_000),
    ("sao-paulo", "America/Sao_Paulo", 1_000),
    ("bay", "America/Los_Angeles", 4_000),
];

/// What a tenant uses in the hour that begins at an instant: work from nine to six, a twentieth of it outside.
pub(crate) fn rhythm(zone: &str, hourly: u64, at: DateTime<Utc>) -> u64 {
    let local = Zone::parse(zone).unwrap().local(at);
    let weekend = matches!(local.weekday, Weekday::Sat | Weekday::Sun);
    if !weekend && (9..18).contains(&local.hour) { hourly } else { hourly / 20 }
}

/// Every whole hour from one instant to another.
pub(crate) fn hours(from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    std::iter::successors(Some(from), |at| Some(*at + TimeDelta::hours(1))).take_while(move |at| *at < to)
}

/// Posts what all tenants use in the hours of a span: two features, of which `chat` has three quarters.
pub(crate) async fn work(service: &TestService, from: DateTime<Utc>, to: DateTime<Utc>) {
    let mut items = Vec::new();
    for (tenant, zone, hourly) in TENANTS {
        for at in hours(from, to) {
            let used = rhythm(zone, hourly, at);
            for (feature, output) in [("chat", used * 3 / 4), ("digest", used / 4)] {
                items.push(json!({
                    "tenant": tenant, "feature": feature, "provider": "anthropic", "model": "claude-sonnet-4-5",
                    "region": "eu-central-1", "occurred_at": at + TimeDelta::minutes(30),
                    "usage": {"output": output}
                }));
            }
        }
    }
    for items in items.chunks(5_000) {
        let posted = service.call("POST", "/v1/usage", Value::Array(items.to_vec())).await.ok();
        assert!(posted["items"].as_array().unwrap().iter().all(|item| item["problem"].is_null()), "{posted:#}");
    }
}

/// Four tenants on four clocks with five weeks of work, and a quota they share.
pub(crate) async fn world() -> TestService {
    let service = TestService::start_at(NOW).await;
    for (tenant, zone, _) in TENANTS {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": zone})).await.ok();
    }
    work(&service, service.now() - TimeDelta::weeks(WEEKS), service.now()).await;
    service.call("PUT", "/v1/budgets/quota", quota("1000000")).await.ok();
    service
}

/// The shared quota: tokens of one provider, by the month of UTC.
pub(crate) fn quota(limit: &str) -> Value {
    json!({
        "scope": {"provider": "anthropic"}, "measure": "tokens", "limit": limit,
        "period": {"kind": "month"}, "timezone": "Etc/UTC", "enforcement": "hard", "kind": "quota"
    })
}

/// What all tenants use in one hour.
pub(crate) fn pool(at: DateTime<Utc>) -> u64 {
    TENANTS.into_iter().map(|(_, zone, hourly)| rhythm(zone, hourly, at)).sum()
}

/// When the pool has used so much, from the start of the month on.
pub(crate) fn truth(limit: u64) -> DateTime<Utc> {
    let now: DateTime<Utc> = NOW.parse().unwrap();
    let month = now.with_day(1).unwrap().with_hour(0).unwrap();
    let mut used = 0;
    for at in hours(month, month + TimeDelta::days(60)) {
        used += pool(at);
        if used >= limit {
            return at + TimeDelta::minutes(30);
        }
    }
    panic!("{limit} is never reached");
}

pub(crate) fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("{value} is no instant")).parse().unwrap()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_str().unwrap_or_else(|| panic!("{value} is no decimal")).parse().unwrap()
}
