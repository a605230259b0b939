//! What was used before: posted over the API, as an import would.

use anyhow::Context;
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::load::{Numbers, PRIORITIES, Shape};
use crate::cli::client::Client;
use crate::clock::Clock;

/// Calls of one request: 10,000 are allowed, but a debug build is slow.
const CALLS_AT_ONCE: usize = 2_000;
/// How far back the rhythm of paced budgets goes: each hour of it has a call of every priority and tenant.
const RHYTHM_DAYS: i64 = 14;
/// How many days the journal covers, and how many tenants and features it has: with three models about 4,600 groups of
/// transfers that FOCUS tells apart.
const JOURNAL_DAYS: u64 = 30;
const JOURNAL_TENANTS: u64 = 10;
const JOURNAL_FEATURES: u64 = 5;
const JOURNAL_MODELS: [(&str, &str); 3] =
    [("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-4o"), ("openai", "gpt-4o-mini")];

/// The local days of an export, in UTC: the first, and the first after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: NaiveDate,
    pub(super) to: NaiveDate,
}

#[derive(Deserialize)]
struct Answer {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    problem: Option<Value>,
}

async fn post(admin: &mut Client, calls: &[Value]) -> anyhow::Result<()> {
    let reply = admin.send(Method::POST, "/v1/usage", None, &calls).await?;
    let answer: Answer = reply.json().context("posting what was used")?;
    let posted = answer.items.iter().filter(|item| item.problem.is_none()).count();
    if posted != calls.len() {
        let first = answer.items.into_iter().find_map(|item| item.problem).unwrap_or(Value::Null);
        anyhow::bail!("{posted} of {} calls of the past were posted; the first problem: {first}", calls.len());
    }
    Ok(())
}

/// Two weeks in which every hour used something of each priority, for each tenant of these shapes: the same for all.
///
/// # Errors
/// When the service does not take it.
pub(super) async fn post_rhythm(admin: &mut Client, shapes: &[Shape]) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let mut calls = Vec::new();
    for hour in 1..=RHYTHM_DAYS * 24 {
        // Into the middle of an hour, more by day than by night.
        let at = now - TimeDelta::hours(hour) + TimeDelta::minutes(30);
        let tokens = if (hour / 12) % 2 == 0 { 20_000 } else { 5_000 };
        for shape in shapes {
            for tenant in 0..shape.tenants() {
                calls.extend(PRIORITIES.map(|priority| {
                    json!({
                        "tenant": shape.tenant(tenant), "feature": shape.feature(), "provider": shape.provider(),
                        "model": shape.model(), "priority": priority, "occurred_at": at,
                        "usage": {"input": tokens, "output": tokens / 10},
                    })
                }));
            }
        }
    }
    for part in calls.chunks(CALLS_AT_ONCE) {
        post(admin, part).await?;
    }
    Ok(())
}

/// A journal of so many transfers over thirty days, of tenants, features and models of its own.
///
/// # Errors
/// When the service does not take it.
pub(super) async fn post_journal(admin: &mut Client, transfers: u32) -> anyhow::Result<Span> {
    for tenant in 0..JOURNAL_TENANTS {
        let path = format!("/v1/tenants/bench-journal-{tenant}");
        let reply = admin.send(Method::PUT, &path, None, &json!({"timezone": "Europe/Berlin"})).await?;
        reply.json::<Value>().with_context(|| format!("making {path}"))?;
    }
    let now = Clock::system().now();
    let today = now.date_naive();
    let from = today.checked_sub_days(Days::new(JOURNAL_DAYS + 1));
    let (from, to) = from.zip(today.succ_opt()).context("the clock is outside the calendar")?;
    let mut numbers = Numbers::new(1);
    let mut left = usize::try_from(transfers)?;
    while left > 0 {
        let count = left.min(CALLS_AT_ONCE);
        let calls: Vec<Value> = (0..count).map(|_| journal_call(&mut numbers, now)).collect();
        post(admin, &calls).await?;
        left -= count;
    }
    Ok(Span { from, to })
}

fn journal_call(numbers: &mut Numbers, now: DateTime<Utc>) -> Value {
    let minutes = i64::try_from(numbers.below(JOURNAL_DAYS * 24 * 60)).unwrap_or(0);
    let model = usize::try_from(numbers.below(3)).unwrap_or(0);
    let (provider, model) = JOURNAL_MODELS.get(model).copied().unwrap_or(("openai", "gpt-4o"));
    json!({
        "tenant": format!("bench-journal-{}", numbers.below(JOURNAL_TENANTS)),
        "feature": format!("feature-{}", numbers.below(JOURNAL_FEATURES)),
        "provider": provider, "model": model, "occurred_at": now - TimeDelta::minutes(minutes),
        "usage": {"input": 100 + numbers.below(4_000), "cache_read": numbers.below(8_000), "output": 20 + numbers.below(800)},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::call::UsageBody;

    #[test]
    fn the_journal_is_of_calls_that_the_api_takes_and_has_many_groups() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let mut numbers = Numbers::new(1);
        let mut groups = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let call = journal_call(&mut numbers, now);
            groups.insert(format!("{} {} {}", call["tenant"], call["feature"], call["model"]));
            serde_json::from_value::<UsageBody>(call).expect("a call");
        }
        assert_eq!(groups.len(), 150, "every tenant, feature and model");
    }
}
