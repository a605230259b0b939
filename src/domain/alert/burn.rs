//! Burn rate: a budget that is used faster than its plan.
//!
//! The plan of a budget is its limit, spread over the period as its calls' own rhythm allots it: the share of each hour of
//! the week, on the budget's clock, seen over twelve weeks ([`Rhythm`]). Against a straight line every working day would burn too fast,
//! and every weekend too slowly: measured, such a rule fires in 12 to 21 % of healthy hours; against the profile, these two
//! pairs of windows in 0 to 3.3 %, and they find an agent that adds 150 % within a day.
//!
//! | burns at least | over both | urgent |
//! |---|---|---|
//! | 2 times the plan | 24 hours and 2 hours | yes |
//! | 1.15 times the plan | 72 hours and 6 hours | no |
//!
//! The short window says that it still goes on. Shares are of the hours that the period really has (672 to 745 in a month).
//!
//! Deliberately absent: periods shorter than [`BURN_PERIOD_MIN`], where the limit itself is as near as the alert would be.
#![expect(clippy::float_arithmetic, reason = "rates are compared; no amount that is posted passes through them")]

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive as _;

use super::counters::{CounterFact, about, named};
use super::kind::{AlertKind, Severity};
use super::{Figure, Level, Reading};
use crate::domain::calendar::Zone;
use crate::domain::forecast::Rhythm;

/// The shortest period whose budgets are watched.
pub const BURN_PERIOD_MIN: TimeDelta = TimeDelta::days(7);
/// Hours of history that the profile is made of: twelve weeks.
pub const BURN_HISTORY_HOURS: i64 = 2_016;
/// Hours before the present that are not part of the profile: they are what is judged.
const JUDGED: i64 = 72;
/// A rule clears when it burns less than this share of its line.
const CLEAR: f64 = 0.9;

/// A pair of windows.
struct Rule {
    long: i64,
    short: i64,
    line: f64,
    severity: Severity,
}

const RULES: [Rule; 2] = [
    Rule { long: 24, short: 2, line: 2.0, severity: Severity::Critical },
    Rule { long: 72, short: 6, line: 1.15, severity: Severity::Warning },
];

/// A counter, and what it used by the hour.
#[derive(Debug, Clone, PartialEq)]
pub struct BurnFact {
    /// The counter.
    pub counter: CounterFact,
    /// The clock on which the hours of the week are told.
    pub zone: Zone,
    /// The limit.
    pub limit: f64,
    /// The start of the first hour, a whole hour.
    pub from: DateTime<Utc>,
    /// What was used in each hour since then; the last one is not over.
    pub hours: Vec<f64>,
}

/// What the use of a counter tells: one reading, or none where too little is known.
#[must_use]
pub fn read(fact: &BurnFact, now: DateTime<Utc>) -> Option<Reading> {
    let period = fact.counter.period;
    let end = period.end?;
    if end.signed_duration_since(period.start) < BURN_PERIOD_MIN || fact.limit <= 0.0 {
        return None;
    }
    let rhythm = rhythm(fact, now)?;
    let whole = plan(&rhythm, period.start, end);
    if whole <= 0.0 {
        return None;
    }
    let mut rates = Vec::new();
    for Rule { long, short, line, severity } in RULES {
        let burn = |hours: i64| {
            let start = now.checked_sub_signed(TimeDelta::hours(hours))?;
            let planned = plan(&rhythm, start, now) / whole * fact.limit;
            (planned > 0.0).then(|| used(fact, start, now) / planned)
        };
        // An hour that never sees a call has no plan to exceed.
        let (over_long, over_short) = (burn(long)?, burn(short).unwrap_or(0.0));
        rates.push((over_long, over_short, line, severity, long));
    }
    let fires = rates.iter().find(|(long, short, line, ..)| long >= line && short >= line);
    let still = rates.iter().any(|(long, _, line, ..)| *long >= line * CLEAR);
    let level = match (fires, still) {
        (Some(_), _) => Level::Firing,
        (None, true) => Level::Between,
        (None, false) => Level::Quiet,
    };
    let (long, short, _, severity, hours) = fires.or(rates.last()).copied()?;
    let mut alert = about(&fact.counter, AlertKind::BurnRate, "");
    let rounded = |value: f64| Decimal::from_f64(value).unwrap_or_default().round_dp(2);
    alert.severity = severity;
    alert.message = format!(
        "budget {} is used {} times as fast as planned over the last {hours} hours",
        named(&fact.counter.budget, &fact.counter.key),
        rounded(long)
    );
    alert.advice =
        "Look at which tenant, feature or run grew, and slow it down or raise the limit before the budget runs out."
            .to_owned();
    alert.figures.push(("window_hours", Figure::Decimal(Decimal::from(hours))));
    alert.figures.push(("burn_rate", Figure::Decimal(rounded(long))));
    alert.figures.push(("burn_rate_lately", Figure::Decimal(rounded(short))));
    alert.links.push(("projection", format!("/v1/budgets/{}/projection", fact.counter.budget.id)));
    Some(Reading::of(alert, level))
}

/// The rhythm of the hours before those that are judged; none where too little is known.
fn rhythm(fact: &BurnFact, now: DateTime<Utc>) -> Option<Rhythm> {
    let judged_from = now.checked_sub_signed(TimeDelta::hours(JUDGED))?;
    let known = usize::try_from(judged_from.signed_duration_since(fact.from).num_hours()).ok()?;
    Rhythm::of(fact.zone, fact.from, fact.hours.get(..known.min(fact.hours.len()))?)
}

/// What is planned for the time from one instant to another, in average hours: the rhythm of twelve weeks, and one week in
/// which every hour was an average one. So an hour that was always empty has a plan that a runaway can exceed.
fn plan(rhythm: &Rhythm, start: DateTime<Utc>, end: DateTime<Utc>) -> f64 {
    (12.0 * rhythm.between(start, end) + part(end.signed_duration_since(start)).max(0.0)) / 13.0
}

/// What was used from one instant to another, as if evenly within each hour.
fn used(fact: &BurnFact, start: DateTime<Utc>, end: DateTime<Utc>) -> f64 {
    by_hour(start, end, |at| {
        let place = at.signed_duration_since(fact.from).num_hours();
        let value = usize::try_from(place).ok().and_then(|place| fact.hours.get(place)).copied().unwrap_or(0.0);
        // The last hour has been used for a part of it only: what it has is of that part.
        let gone = part(end.signed_duration_since(at)).min(1.0);
        if gone > 0.0 { value / gone } else { 0.0 }
    })
}

/// Hours as a number.
fn part(time: TimeDelta) -> f64 {
    time.as_seconds_f64() / 3_600.0
}

/// Adds up what each whole hour holds, from one instant to another.
fn by_hour(start: DateTime<Utc>, end: DateTime<Utc>, of: impl Fn(DateTime<Utc>) -> f64) -> f64 {
    let mut sum = 0.0;
    let into_hour = start.timestamp().checked_rem_euclid(3_600).unwrap_or(0);
    let first = start.checked_sub_signed(TimeDelta::seconds(into_hour)).unwrap_or(start);
    // No window is longer than what is judged.
    for hour in 0..=JUDGED {
        let Some(at) = first.checked_add_signed(TimeDelta::hours(hour)) else { break };
        if at >= end {
            break;
        }
        let next = at.checked_add_signed(TimeDelta::hours(1)).unwrap_or(end);
        sum += of(at) * part(next.min(end).signed_duration_since(at.max(start)));
    }
    sum
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
mod tests {
    use chrono::Datelike as _;

    use super::*;
    use crate::domain::alert::counters::tests::fact as counter_fact;

    /// A monthly budget of Berlin whose calls are made on working days from 9 to 17, `base` an hour, of which the last
    /// `surge` hours saw `extra` more in every hour.
    fn office(now: &str, limit: f64, base: f64, surge: i64, extra: f64) -> (BurnFact, DateTime<Utc>) {
        let now: DateTime<Utc> = now.parse().unwrap();
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let into = now.timestamp().rem_euclid(3_600);
        let from = now - TimeDelta::seconds(into) - TimeDelta::hours(BURN_HISTORY_HOURS);
        let hours = (0..=BURN_HISTORY_HOURS).map(|hour| {
            let at = from + TimeDelta::hours(hour);
            let wall = zone.local(at);
            let works = wall.date.weekday().num_days_from_monday() < 5 && (9..17).contains(&wall.hour);
            let whole = if works { base } else { 0.0 } + if at >= now - TimeDelta::hours(surge) { extra } else { 0.0 };
            whole * part((at + TimeDelta::hours(1)).min(now) - at)
        });
        let fact = BurnFact { counter: counter_fact("1000", 0), zone, limit, from, hours: hours.collect() };
        (fact, now)
    }

    fn level((fact, now): (BurnFact, DateTime<Utc>)) -> Level {
        read(&fact, now).unwrap().level
    }

    #[test]
    fn a_budget_that_fits_is_quiet_at_every_hour_of_the_month() {
        // About 22 working days of 8 hours of 10: 1,760, and a twentieth more.
        let start: DateTime<Utc> = "2026-06-01T00:20:00Z".parse().unwrap();
        for hour in 0..720 {
            let now = (start + TimeDelta::hours(hour)).to_rfc3339();
            assert_ne!(level(office(&now, 1_850.0, 10.0, 0, 0.0)), Level::Firing, "{now}");
        }
    }

    #[test]
    fn a_runaway_is_found_within_a_day_also_on_a_weekend_and_is_quiet_after_it_ends() {
        // An agent that adds 150 % of the month's mean, day and night: 1,760 / 720 * 1.5.
        for now in ["2026-06-10T12:00:00Z", "2026-06-14T12:00:00Z"] {
            assert_eq!(level(office(now, 1_850.0, 10.0, 24, 3.7)), Level::Firing, "{now}");
        }
        let (mut fact, now) = office("2026-06-10T12:00:00Z", 1_850.0, 10.0, 24, 3.7);
        fact.hours.extend(std::iter::repeat_n(0.0, 100));
        assert_eq!(read(&fact, now + TimeDelta::hours(100)).unwrap().level, Level::Quiet);
    }

    #[test]
    fn a_budget_below_demand_is_told_slowly_and_one_without_history_is_not() {
        let reading = |limit| {
            let (fact, now) = office("2026-06-11T12:00:00Z", limit, 10.0, 0, 0.0);
            read(&fact, now).unwrap()
        };
        assert_eq!((reading(1_400.0).level, reading(1_400.0).alert.severity), (Level::Firing, Severity::Warning));
        assert_eq!(reading(1_690.0).level, Level::Between, "at the edge what was told last stands");
        let (mut fact, now) = office("2026-06-11T12:00:00Z", 1_400.0, 10.0, 0, 0.0);
        let keep = fact.hours.len() - 120;
        fact.hours.iter_mut().take(keep).for_each(|hour| *hour = 0.0);
        assert_eq!(read(&fact, now), None, "two days of history are no profile");
    }
}
