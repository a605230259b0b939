//! A whole week through the running service, its clock moved hour by hour: budget 85 % of the demand, half of it by people,
//! half of it batch that may wait for 72 hours.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde_json::json;

use super::planned::{post, used};
use crate::support::service::{Replica, TestService};
use crate::support::story::{acme, ask, budget};

const WEEK: i64 = 168;
/// Before the week, in weeks.
const HISTORY: i64 = 4;
const PATIENCE: i64 = 72;

/// What people ask for in an hour: more by day, less at the weekend, never twice the same.
fn people(at: DateTime<Utc>) -> u64 {
    let hour = i64::from(at.hour());
    let by_day = u64::try_from(2000 - (hour - 13).pow(2) * 14).unwrap_or(0).max(80);
    let weekend = at.date_naive().signed_duration_since("2026-06-01".parse().unwrap()).num_days().rem_euclid(7) >= 5;
    let noise = u64::try_from(at.timestamp() / 3600 * 7919 % 31).unwrap() + 85;
    by_day * noise / 100 / if weekend { 4 } else { 1 }
}

/// What batch work comes in an hour: the same in all, most of it at night.
fn work(at: DateTime<Utc>) -> u64 {
    if at.hour() < 4 { 3500 } else { 220 }
}

/// Asks for so many tokens at most, uses what is granted, and says how many that were.
async fn take(replica: &Replica, tokens: u64, priority: &str) -> u64 {
    if tokens < 2 {
        return 0;
    }
    let body = ask(1, tokens - 1, json!({"priority": priority, "allow_cap": priority == "batch"}));
    let answer = replica.call("POST", "/v1/preflight", body).await.ok();
    let Some(reservation) = answer["reservation"].as_str() else { return 0 };
    let output = answer["max_output"].as_u64().unwrap();
    let settle = format!("/v1/reservations/{reservation}/settle");
    replica.call("POST", &settle, json!({"usage": {"input": 1, "output": output}})).await.ok();
    output + 1
}

#[tokio::test]
async fn a_week_at_85_percent_stops_nobody_and_leaves_nothing() {
    let start: DateTime<Utc> = "2026-06-01T00:00:00Z".parse().unwrap();
    let service = TestService::start_at("2026-06-01T00:00:00Z").await;
    acme(&service).await;
    let hours = |from: i64, to: i64| (from..to).map(move |hour| start + TimeDelta::hours(hour));
    let past = hours(-WEEK * HISTORY, 0).flat_map(|at| {
        let within = at + TimeDelta::minutes(20);
        [used("acme", people(at), "interactive", within), used("acme", work(at), "batch", within)]
    });
    post(&service, past.collect()).await;
    let wanted: u64 = hours(0, WEEK).map(|at| people(at) + work(at)).sum();
    let of_people: u64 = hours(0, WEEK).map(people).sum();
    assert!((4..=6).contains(&(10 * of_people / wanted)), "half and half: {of_people} of {wanted}");
    let limit = wanted * 85 / 100;
    let fields = json!({"period": {"kind": "week"}, "pacing": "forecast"});
    budget(&service, "week", "tokens", &limit.to_string(), fields).await;

    let mut waiting: VecDeque<(i64, u64)> = VecDeque::new();
    let (mut taken, mut stopped, mut given_up, mut waits) = (0, 0, 0, 0);
    for (hour, at) in (0..).zip(hours(0, WEEK)) {
        assert_eq!(service.now(), at);
        service.app.keep_pace().await.unwrap();
        waiting.push_back((hour, work(at)));
        while let Some((_, left)) = waiting.front_mut() {
            let got = take(&service, *left, "batch").await;
            (taken, *left) = (taken + got, *left - got);
            if *left >= 2 {
                waits += 1;
                break;
            }
            waiting.pop_front();
        }
        while waiting.front().is_some_and(|(since, _)| hour - since >= PATIENCE) {
            given_up += waiting.pop_front().map_or(0, |(_, work)| work);
        }
        for part in [people(at) / 2, people(at) - people(at) / 2] {
            let got = take(&service, part, "interactive").await;
            taken += got;
            stopped += part - got;
        }
        service.advance(TimeDelta::hours(1));
    }
    assert!(stopped * 100 <= of_people, "{stopped} of {of_people} were stopped");
    assert!((limit - taken) * 100 <= limit, "{} of {limit} were left", limit - taken);
    let left: u64 = waiting.iter().map(|(_, work)| work).sum();
    let missing = wanted - limit;
    assert!(waits > 100, "batch was asked to wait: {waits}");
    assert!(
        (given_up + left).abs_diff(missing) * 100 <= limit,
        "the whole shortage is batch's: {given_up} + {left} of {missing}"
    );
    let options = service.db.connect_options();
    let report = counterfoil::app::verify::verify(&options, &service.clock, &mut |_| {}).await.unwrap().unwrap();
    assert!(report.is_consistent(), "{report:#?}");
}
