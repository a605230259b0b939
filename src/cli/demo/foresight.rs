//! The wall, seen before it is hit: the projection of the quota that four tenants share, on everybody's clock.

use std::fmt::Write as _;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use comfy_table::Cell;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::quota::QUOTA;
use crate::cli::client::Client;
use crate::cli::table::{Look, Tone, count, fixed, percent};
use crate::domain::calendar::Zone;
use crate::wire::projection::answer::ExhaustsAtBody;

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

impl Foresight {
    /// What is posted in this period.
    pub(super) const fn posted(&self) -> Decimal {
        self.posted
    }

    /// What is expected until the reset.
    pub(super) fn ahead(&self) -> Decimal {
        self.expected_at_reset.expected.saturating_sub(self.posted).max(Decimal::ZERO)
    }
}

/// The projection of the quota at this moment.
pub(super) async fn read(client: &mut Client) -> anyhow::Result<Foresight> {
    let path = format!("/v1/budgets/{QUOTA}/projection?path_hours=0");
    client.get(&path).await?.json().with_context(|| format!("GET {path}"))
}

/// `Tue 24 Nov 18:20`, on a zone's clock.
pub(super) fn on_clock(at: Option<DateTime<Utc>>, zone: Option<Zone>) -> String {
    let local = at.zip(zone).map(|(at, zone)| zone.to_local_rfc3339(at));
    let shown = local.as_deref().and_then(|local| DateTime::parse_from_rfc3339(local).ok());
    shown.map_or_else(|| "not before".to_owned(), |local| local.format("%a %-d %b %H:%M").to_string())
}

/// The city of a zone.
fn city(zone: &str) -> String {
    zone.rsplit('/').next().unwrap_or(zone).replace('_', " ")
}

pub(super) fn millions(tokens: Decimal) -> String {
    format!("{} M", fixed(tokens / Decimal::from(1_000_000), 0))
}

/// The page's part: one row for each tenant.
pub(super) fn show(look: Look, foresight: &Foresight) -> String {
    let mut table = look.table(&[
        "on its clock",
        "early (p10)",
        "expected (p50)",
        "late (p90)",
        "at work then",
        ">demand",
        ">empty end",
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

    #[test]
    fn an_instant_that_does_not_come_is_told_as_such() {
        let tokyo = Zone::parse("Asia/Tokyo").ok();
        assert_eq!(on_clock("2026-11-24T09:20:00Z".parse().ok(), tokyo), "Tue 24 Nov 18:20");
        assert_eq!(on_clock(None, tokyo), "not before");
    }
}
