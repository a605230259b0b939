//! A provider's quota that four more tenants share, and six weeks of their work.
//!
//! The weeks are invented: people in office hours on each tenant's own clock, agents at all hours, batch work at night. They
//! are posted as usage, up to the hour that runs; a second demo on the same books posts what has gone by since. Of today the
//! agents' and the batch work is left out: that is what [`super::fleet`] asks for. The tenants and the model are others than
//! those of the trace, so that what is replayed stands as it is.

use anyhow::Context as _;
use chrono::{DateTime, Datelike as _, DurationRound as _, TimeDelta, Utc, Weekday};
use hyper::Method;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{foresight, put};
use crate::cli::client::Client;
use crate::domain::calendar::Zone;
use crate::wire::budget::PriorityName;

/// The quota that is projected and paced.
pub(super) const QUOTA: &str = "mistral-quota";
/// Whose quota it is.
pub(super) const PROVIDER: &str = "mistral";
/// Of which model.
pub(super) const MODEL: &str = "mistral-medium-latest";
/// Weeks of work before now.
pub(super) const WEEKS: i64 = 6;
/// A limit that nothing reaches, until it is known how much is used.
const UNLIMITED: &str = "1000000000000";
/// The share of what is expected until the reset that the quota has room for: more than people need, less than all do.
pub(super) const SHORT: Decimal = Decimal::from_parts(78, 0, 0, false, 2);
/// Usage that is posted in one request.
const ITEMS: usize = 5_000;
/// Of an hour at work so much is used by people in an hour outside.
const IDLE: u64 = 25;

/// One of those who share the quota.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: &'static str,
    pub(super) timezone: &'static str,
    name: &'static str,
    /// Calls by its people in one of its hours at work.
    pub(super) calls: u64,
}

/// From east to west.
pub(super) static MEMBERS: [Member; 4] = [
    Member { id: "kumo", timezone: "Asia/Tokyo", name: "Kumo Cloud (Tokyo)", calls: 220 },
    Member { id: "hafen", timezone: "Europe/Berlin", name: "Hafenkontor (Hamburg)", calls: 400 },
    Member { id: "ilha", timezone: "America/Sao_Paulo", name: "Ilha Digital (São Paulo)", calls: 180 },
    Member { id: "redwood", timezone: "America/Los_Angeles", name: "Redwood Labs (Los Angeles)", calls: 640 },
];

/// What a member's calls are for, and how urgent they are.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) feature: &'static str,
    pub(super) priority: PriorityName,
    /// Prompt tokens of a call.
    pub(super) input: u64,
    /// Tokens it generates.
    pub(super) output: u64,
}

/// Half of the tokens are people's, a seventh the agents', the rest batch.
pub(super) static WORK: [Work; 3] = [
    Work { feature: "assistant", priority: PriorityName::Interactive, input: 2_400, output: 600 },
    Work { feature: "agents", priority: PriorityName::Standard, input: 3_200, output: 800 },
    Work { feature: "indexing", priority: PriorityName::Batch, input: 45_000, output: 5_000 },
];

impl Member {
    /// How many calls such work makes in the hour that begins at an instant.
    fn calls_in(&self, work: &Work, at: DateTime<Utc>, zone: Zone) -> u64 {
        let local = zone.local(at);
        let weekend = matches!(local.weekday, Weekday::Sat | Weekday::Sun);
        let at_work = !weekend && (9..18).contains(&local.hour);
        // A little more and less from hour to hour, the same each time.
        let wave = at.timestamp().div_euclid(3_600).rem_euclid(5).unsigned_abs();
        match work.priority {
            PriorityName::Interactive => {
                let calls = if at_work { self.calls } else { self.calls / IDLE };
                (calls + wave * self.calls / 50).max(1)
            }
            // Agents do not sleep, and have more to do while people are there.
            PriorityName::Standard => self.calls / if at_work { 7 } else { 18 },
            PriorityName::Batch if (1..5).contains(&local.hour) => self.calls / 11,
            PriorityName::Batch => 0,
        }
    }
}

/// The day of the month on which the quota begins anew: the one that is not within the next week, so that there is always
/// something ahead to project.
pub(super) fn anchor_day(now: DateTime<Utc>) -> u32 {
    if (9..=22).contains(&now.day()) { 1 } else { 15 }
}

/// The quota's document.
fn quota(limit: &str, now: DateTime<Utc>) -> Value {
    json!({"scope": {"provider": PROVIDER, "model": MODEL}, "measure": "tokens", "limit": limit,
        "period": {"kind": "month", "anchor_day": anchor_day(now)}, "timezone": "Etc/UTC", "enforcement": "hard",
        "kind": "quota", "contract": "invented for the demo", "pacing": "forecast", "floors": {"batch": "0.25"}})
}

/// Creates the tenants and the quota, and posts what they used up to now and was not posted already.
pub(super) async fn set_up(client: &mut Client, now: DateTime<Utc>) -> anyhow::Result<()> {
    for Member { id, timezone, name, .. } in &MEMBERS {
        put(client, &format!("/v1/tenants/{id}"), &json!({"name": name, "timezone": timezone})).await?;
    }
    let weeks = weeks_before(now, posted_until(client, now).await?)?;
    for items in weeks.chunks(ITEMS) {
        let answer = client.send(Method::POST, "/v1/usage", None, &items).await?;
        let posted: Value = answer.json().context("the weeks before")?;
        anyhow::ensure!(posted["items"].is_array(), "POST /v1/usage answered {posted}");
    }
    let path = format!("/v1/budgets/{QUOTA}");
    put(client, &path, &quota(UNLIMITED, now)).await?;
    let without = foresight::read(client).await?;
    let limit = without.posted().saturating_add(without.ahead().saturating_mul(SHORT));
    put(client, &path, &quota(&limit.trunc().to_string(), now)).await
}

#[derive(Deserialize)]
struct Hours {
    rows: Vec<Hour>,
}

#[derive(Deserialize)]
struct Hour {
    end: DateTime<Utc>,
}

/// Up to which hour a member's work is in the books; six weeks ago if none of it is.
async fn posted_until(client: &mut Client, now: DateTime<Utc>) -> anyhow::Result<DateTime<Utc>> {
    let [Member { id, .. }, ..] = &MEMBERS;
    let last = now.duration_trunc(TimeDelta::hours(1))?;
    let from = last - TimeDelta::weeks(WEEKS);
    let span = format!("from={}&to={}", query(from), query(last + TimeDelta::hours(1)));
    let path = format!("/v1/usage?tenant={id}&model={MODEL}&bucket=hour&zone=Etc/UTC&{span}");
    let hours: Hours = client.get(&path).await?.json().with_context(|| format!("GET {path}"))?;
    Ok(hours.rows.last().map_or(from, |hour| hour.end))
}

fn query(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Every hour of every member from an instant to the hour that runs: so many calls of each work.
pub(super) fn weeks_before(now: DateTime<Utc>, from: DateTime<Utc>) -> anyhow::Result<Vec<Value>> {
    let last = now.duration_trunc(TimeDelta::hours(1))?;
    let today = now.duration_trunc(TimeDelta::days(1))?;
    let mut items = Vec::new();
    for member in &MEMBERS {
        let zone = Zone::parse(member.timezone)?;
        for work in &WORK {
            let until = if work.priority == PriorityName::Interactive { last } else { today };
            for at in hours(from, until) {
                let requests = member.calls_in(work, at, zone);
                if requests == 0 {
                    continue;
                }
                items.push(json!({
                    "tenant": member.id, "feature": work.feature, "provider": PROVIDER, "model": MODEL,
                    "priority": work.priority, "occurred_at": at + TimeDelta::minutes(30), "requests": requests,
                    "usage": {"input": work.input * requests, "output": work.output * requests}
                }));
            }
        }
    }
    Ok(items)
}

fn hours(from: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    std::iter::successors(Some(from), |at| Some(*at + TimeDelta::hours(1))).take_while(move |at| *at < until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::budget::catalogue::BudgetNumber;
    use crate::domain::id::BudgetId;
    use crate::wire::budget::{BudgetBody, BudgetRecord};
    use crate::wire::call::UsageBody;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_quota_and_every_call_are_ones_that_the_ledger_takes() {
        let now = at("2026-11-22T06:30:00Z");
        let record = BudgetRecord { number: BudgetNumber(0), version: 1, counted_from: DateTime::UNIX_EPOCH };
        let body: BudgetBody = serde_json::from_value(quota(UNLIMITED, now)).unwrap();
        body.to_budget(BudgetId::parse(QUOTA).unwrap(), record).unwrap();
        let items = weeks_before(now, at("2026-10-11T06:00:00Z")).unwrap();
        let items: Vec<UsageBody> = serde_json::from_value(Value::Array(items)).unwrap();
        let of = |priority| items.iter().filter(move |item| item.priority == priority);
        assert_eq!(of(PriorityName::Interactive).count(), 4 * 6 * 168, "people are there at every hour");
        assert_eq!(of(PriorityName::Standard).count(), 4 * (6 * 168 - 6), "agents as well, but for today");
        assert!(of(PriorityName::Batch).count() >= 4 * 41 * 4);
        let midnight = at("2026-11-22T00:00:00Z");
        assert!(of(PriorityName::Batch).all(|item| item.occurred_at.unwrap() < midnight), "today's is asked for live");
    }

    #[test]
    fn nothing_is_posted_twice_and_nothing_left_out() {
        let (from, middle, now) = (at("2026-11-01T00:00:00Z"), at("2026-11-20T00:00:00Z"), at("2026-11-22T06:30:00Z"));
        let [whole, first, rest] =
            [(now, from), (middle, from), (now, middle)].map(|(now, from)| weeks_before(now, from).unwrap().len());
        assert_eq!(whole, first + rest);
    }

    #[test]
    fn half_of_the_work_is_for_people_and_a_third_is_batch() {
        let items = weeks_before(at("2026-11-23T00:00:00Z"), at("2026-10-12T00:00:00Z")).unwrap();
        let tokens = |feature: &str| -> u64 {
            let of = items.iter().filter(|item| item["feature"] == feature);
            of.flat_map(|item| [item["usage"]["input"].as_u64(), item["usage"]["output"].as_u64()]).flatten().sum()
        };
        let [people, agents, batch] = ["assistant", "agents", "indexing"].map(tokens);
        let percent = |part: u64| part * 100 / (people + agents + batch);
        assert_eq!([percent(people), percent(agents), percent(batch)], [48, 15, 36]);
    }

    #[test]
    fn the_quota_always_has_a_week_ahead_and_a_week_behind() {
        let mut now = at("2026-01-01T00:00:00Z");
        while now < at("2029-01-01T00:00:00Z") {
            let anchor = anchor_day(now);
            let mut day = now;
            let next = loop {
                day += TimeDelta::days(1);
                if day.day() == anchor {
                    break day;
                }
            };
            assert!((6..=23).contains(&(next - now).num_days()), "{now} {next}");
            now += TimeDelta::days(1);
        }
    }
}
