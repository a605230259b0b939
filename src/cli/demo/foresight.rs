//! The wall, seen before it is hit: a provider's quota that four more tenants share, six weeks of their work, and the
//! projection of it on everybody's clock.
//!
//! The weeks are invented: office hours on each tenant's own clock, posted as usage. They are posted once; a second demo on
//! the same books goes on with them. The tenants are others than those of the trace, so that what is replayed stands as it is.

use std::fmt::Write as _;

use anyhow::Context as _;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc, Weekday};
use comfy_table::Cell;
use hyper::Method;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::put;
use crate::cli::client::Client;
use crate::cli::table::{Look, Tone, count, fixed, percent};
use crate::domain::calendar::Zone;
use crate::wire::projection::answer::ExhaustsAtBody;

/// The quota that is projected.
pub(super) const QUOTA: &str = "mistral-quota";
/// Weeks of work before now.
const WEEKS: i64 = 6;
/// Tokens that the quota always leaves to the replay.
const ROOM: Decimal = Decimal::from_parts(50_000_000, 0, 0, false, 0);
/// A limit that nothing reaches, until it is known how much is used.
const UNLIMITED: &str = "1000000000000";
/// The share of what is expected until the reset that the quota has room for.
const SHORT: Decimal = Decimal::from_parts(7, 0, 0, false, 1);
/// Of an hour at work so much is used in an hour outside.
const IDLE: u64 = 25;

/// A tenant, its zone, its priority, and the calls of one of its hours at work.
static TENANTS: [(&str, &str, &str, u64); 4] = [
    ("kumo", "Asia/Tokyo", "Kumo Cloud (Tokyo)", 220),
    ("hafen", "Europe/Berlin", "Hafenkontor (Hamburg)", 400),
    ("ilha", "America/Sao_Paulo", "Ilha Digital (São Paulo)", 180),
    ("redwood", "America/Los_Angeles", "Redwood Labs (Los Angeles)", 640),
];

/// The projection, as far as the demo shows it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Foresight {
    budget: String,
    limit: Decimal,
    posted: Decimal,
    resets_at: Option<DateTime<Utc>>,
    exhausts_at: ExhaustsAtBody,
    p_exhaust: Decimal,
    confidence: String,
    expected_at_reset: Band,
    tenants: Vec<Driver>,
    empty_end: Option<EmptyEnd>,
    #[serde(default)]
    fair_split: Vec<Share>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Band {
    low: Decimal,
    expected: Decimal,
    high: Decimal,
}

#[derive(Debug, Serialize, Deserialize)]
struct Driver {
    tenant: String,
    timezone: String,
    share: Decimal,
}

#[derive(Debug, Serialize, Deserialize)]
struct EmptyEnd {
    hours: Decimal,
    tenants: Vec<Person>,
    zones: Vec<ZoneShare>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Person {
    tenant: String,
    at_work: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct ZoneShare {
    timezone: String,
    working_hours: Decimal,
    share: Decimal,
}

#[derive(Debug, Serialize, Deserialize)]
struct Share {
    tenant: String,
    limit: Decimal,
    demand: Decimal,
}

fn quota(limit: &str) -> Value {
    json!({"scope": {"provider": "mistral"}, "measure": "tokens", "limit": limit,
        "period": {"kind": "month", "anchor_day": 1}, "timezone": "Etc/UTC", "enforcement": "hard", "kind": "quota",
        "contract": "invented for the demo"})
}

/// Creates the tenants and the quota, and posts the weeks before, if that was not done already.
pub(super) async fn set_up(client: &mut Client, now: DateTime<Utc>) -> anyhow::Result<()> {
    for (id, timezone, name, _) in TENANTS {
        put(client, &format!("/v1/tenants/{id}"), &json!({"name": name, "timezone": timezone})).await?;
    }
    let known: Value = client.get("/v1/usage?tenant=kumo&from=2020-01-01").await?.json()?;
    if known.pointer("/totals/requests").and_then(Value::as_u64) == Some(0) {
        let answer = client.send(Method::POST, "/v1/usage", None, &weeks_before(now)?).await?;
        let posted: Value = answer.json().context("the weeks before")?;
        anyhow::ensure!(posted["items"].is_array(), "POST /v1/usage answered {posted}");
    }
    put(client, &format!("/v1/budgets/{QUOTA}"), &quota(UNLIMITED)).await?;
    let without = read(client).await?;
    let ahead = without.expected_at_reset.expected.saturating_sub(without.posted);
    let room = ahead.saturating_mul(SHORT).max(ROOM).trunc();
    put(client, &format!("/v1/budgets/{QUOTA}"), &quota(&without.posted.saturating_add(room).trunc().to_string())).await
}

/// The projection of the quota at this moment.
pub(super) async fn read(client: &mut Client) -> anyhow::Result<Foresight> {
    let path = format!("/v1/budgets/{QUOTA}/projection?path_hours=0");
    client.get(&path).await?.json().with_context(|| format!("GET {path}"))
}

/// Every hour of every tenant: so many calls of 2,400 prompt and 600 generated tokens.
fn weeks_before(now: DateTime<Utc>) -> anyhow::Result<Value> {
    let last = now.duration_trunc(TimeDelta::hours(1))?;
    let mut items = Vec::new();
    for (tenant, timezone, _, calls) in TENANTS {
        let zone = Zone::parse(timezone)?;
        for back in 1..=WEEKS * 7 * 24 {
            let at = last - TimeDelta::hours(back);
            let local = zone.local(at);
            let weekend = matches!(local.weekday, Weekday::Sat | Weekday::Sun);
            let at_work = !weekend && (9..18).contains(&local.hour);
            // A little more and less from hour to hour, the same each time.
            let wave = at.timestamp().div_euclid(3_600).rem_euclid(5).unsigned_abs();
            let requests = (if at_work { calls } else { calls / IDLE }) + wave * calls / 50;
            items.push(json!({
                "tenant": tenant, "feature": "assistant", "provider": "mistral", "model": "mistral-small-latest",
                "occurred_at": at + TimeDelta::minutes(30), "requests": requests.max(1),
                "usage": {"input": 2_400 * requests.max(1), "output": 600 * requests.max(1)}
            }));
        }
    }
    Ok(Value::Array(items))
}

/// `Tue 24 Nov 18:20`, on a zone's clock.
fn on_clock(at: Option<DateTime<Utc>>, zone: Option<Zone>) -> String {
    let local = at.zip(zone).map(|(at, zone)| zone.to_local_rfc3339(at));
    let shown = local.as_deref().and_then(|local| DateTime::parse_from_rfc3339(local).ok());
    shown.map_or_else(|| "not before".to_owned(), |local| local.format("%a %-d %b %H:%M").to_string())
}

/// The city of a zone.
fn city(zone: &str) -> String {
    zone.rsplit('/').next().unwrap_or(zone).replace('_', " ")
}

fn millions(tokens: Decimal) -> String {
    format!("{} M", fixed(tokens / Decimal::from(1_000_000), 0))
}

/// The page's part: one row for each tenant.
pub(super) fn show(look: Look, foresight: &Foresight) -> String {
    let mut table = look.table(&[
        "tenant, on its own clock",
        "early (p10)",
        "expected (p50)",
        "late (p90)",
        "at work then",
        ">of demand",
        ">of empty end",
    ]);
    let at = foresight.exhausts_at;
    for driver in &foresight.tenants {
        let zone = Zone::parse(&driver.timezone).ok();
        let end = foresight.empty_end.as_ref();
        let at_work = end.and_then(|end| end.tenants.iter().find(|person| person.tenant == driver.tenant));
        let at_work = match at_work {
            Some(person) if person.at_work => look.toned("at work", Tone::Bad),
            Some(_) => Cell::new("not at work"),
            None => Cell::new("-"),
        };
        let of_end = end.and_then(|end| end.zones.iter().find(|zone| zone.timezone == driver.timezone));
        table.add_row([
            Cell::new(format!("{}\n  {}", driver.tenant, driver.timezone)),
            Cell::new(on_clock(at.p10, zone)),
            Cell::new(on_clock(at.p50, zone)),
            Cell::new(on_clock(at.p90, zone)),
            at_work,
            Cell::new(percent(driver.share, Decimal::ONE)),
            Cell::new(of_end.map_or_else(|| "-".to_owned(), |zone| percent(zone.share, Decimal::ONE))),
        ]);
    }
    let mut text =
        format!("{}\n{table}\n", look.headline("The provider's quota: when it runs out, and whose day it hits"));
    let reset = on_clock(foresight.resets_at, Some(Zone::UTC));
    let _always_fits = writeln!(
        text,
        "  {}: {} of {} tokens used, {} expected by the reset ({reset} UTC).\n  It runs out before that with a probability \
         of {}; confidence {}.",
        foresight.budget,
        millions(foresight.posted),
        millions(foresight.limit),
        millions(foresight.expected_at_reset.expected),
        percent(foresight.p_exhaust, Decimal::ONE),
        foresight.confidence,
    );
    if let Some(end) = &foresight.empty_end {
        let hours: Vec<String> = end
            .zones
            .iter()
            .map(|zone| format!("{} {} h", city(&zone.timezone), fixed(zone.working_hours, 0)))
            .collect();
        let _always_fits = writeln!(
            text,
            "  {} hours without it. Working hours of one tenant in them: {}.",
            fixed(end.hours, 0),
            hours.join(", "),
        );
    }
    let split: Vec<String> = foresight
        .fair_split
        .iter()
        .filter(|share| share.demand > Decimal::ZERO)
        .map(|share| format!("{} {}", share.tenant, millions(share.limit)))
        .collect();
    let _always_fits = writeln!(
        text,
        "  Borne evenly by {} tenants: {}.\n  One call applies it: POST /v1/budgets/{QUOTA}/projection/apply-fair-split",
        count(u64::try_from(split.len()).unwrap_or(0)),
        split.join(", "),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::budget::catalogue::BudgetNumber;
    use crate::domain::id::BudgetId;
    use crate::wire::budget::{BudgetBody, BudgetRecord};
    use crate::wire::call::UsageBody;

    #[test]
    fn the_quota_and_every_call_are_ones_that_the_ledger_takes() {
        let record = BudgetRecord { number: BudgetNumber(0), version: 1, counted_from: DateTime::UNIX_EPOCH };
        let body: BudgetBody = serde_json::from_value(quota(UNLIMITED)).unwrap();
        body.to_budget(BudgetId::parse(QUOTA).unwrap(), record).unwrap();
        let items = weeks_before("2026-11-22T06:30:00Z".parse().unwrap()).unwrap();
        let items: Vec<UsageBody> = serde_json::from_value(items).unwrap();
        assert_eq!(items.len(), 4 * 6 * 168);
    }

    #[test]
    fn an_instant_that_does_not_come_is_told_as_such() {
        let tokyo = Zone::parse("Asia/Tokyo").ok();
        assert_eq!(on_clock("2026-11-24T09:20:00Z".parse().ok(), tokyo), "Tue 24 Nov 18:20");
        assert_eq!(on_clock(None, tokyo), "not before");
    }
}
