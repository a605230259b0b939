//! A budget that stops calls: told by the first stop, and over when it grants again.
//!
//! What counts is a `stop`. A `wait` is the ordinary business of a budget by the minute, of a pace, and of calls in flight.
//!
//! A budget can stop large calls and grant small ones, or stop batch work and grant people, at the same time. So it is over only
//! once a call was granted after the last stop and a while has passed without another; or at once, where the budget was replaced
//! in between: then somebody has seen to it.

use chrono::{DateTime, TimeDelta, Utc};

use super::counters::{CounterFact, about, named};
use super::kind::{AlertKind, Severity};
use super::{Alert, Cause, Figure, Level, Reading};
use crate::domain::budget::catalogue::Budget;

/// How long nothing may be stopped before a grant clears it, in seconds.
pub const QUIET_SECONDS: i64 = 60;

/// What a counter stopped, and what it granted since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusingFact {
    /// The counter, as it stands.
    pub counter: CounterFact,
    /// How many calls it stopped since they were last looked at.
    pub stopped: u64,
    /// Whether it stopped any.
    pub is_new: bool,
    /// When it last stopped one, as far as that is recent.
    pub last_stop: Option<DateTime<Utc>>,
    /// Why, in the word of the verdict.
    pub reason: Option<String>,
    /// When it last granted one, as far as that is recent.
    pub last_grant: Option<DateTime<Utc>>,
    /// When the budget was last replaced.
    pub changed_at: Option<DateTime<Utc>>,
}

/// What a counter's stops tell.
#[must_use]
pub fn read(fact: &RefusingFact, now: DateTime<Utc>) -> Reading {
    Reading::of(alert(fact), level(fact, now))
}

fn level(fact: &RefusingFact, now: DateTime<Utc>) -> Level {
    let Some(last_stop) = fact.last_stop else {
        return if fact.last_grant.is_some() { Level::Quiet } else { Level::Between };
    };
    let granted = fact.last_grant.is_some_and(|grant| grant > last_stop);
    let changed = fact.changed_at.is_some_and(|changed| changed > last_stop);
    let quiet = now.signed_duration_since(last_stop) >= TimeDelta::seconds(QUIET_SECONDS);
    if granted && (changed || quiet) {
        Level::Quiet
    } else if fact.is_new {
        Level::Firing
    } else {
        Level::Between
    }
}

/// The budget, and the key of its counter, that a cause is about.
#[must_use]
pub fn about_whom(cause: &Cause) -> Option<(&str, &str)> {
    let mut parts = cause.parts();
    Some((parts.next()?, parts.next()?))
}

fn alert(fact: &RefusingFact) -> Alert {
    let budget: &Budget = &fact.counter.budget;
    let mut alert = about(&fact.counter, AlertKind::Refusing, "");
    alert.severity = Severity::Critical;
    let why = fact.reason.as_deref().unwrap_or("limit_reached");
    alert.message = format!("budget {} stops calls: {}", named(budget, &fact.counter.key), why.replace('_', " "));
    alert.advice = match why {
        "closed_by_provider" => {
            "The provider says that its quota is gone: wait for its reset, or raise the quota there and replace the budget here."
        }
        "larger_than_limit" => "Calls ask for more than the whole limit: ask for less output, or raise the limit.",
        "priority_floor" => "What is left is kept for more urgent calls: wait for the reset, lower the floors, or raise the limit.",
        "run_time_over" => "Runs go on for longer than they may: end them, or raise max_seconds.",
        _ => "Find out who uses it, and raise the limit or wait for the reset: until then calls that do not fit are stopped.",
    }
    .to_owned();
    alert.figures.push(("reason", Figure::Word(why.to_owned())));
    alert.figures.push(("stopped", Figure::Count(fact.stopped)));
    alert.links.push(("verdicts", format!("/v1/verdicts?budget={}", budget.id)));
    alert
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::counters::tests::fact;
    use crate::domain::fixtures::at;

    #[test]
    fn the_first_stop_raises_and_a_grant_after_a_quiet_minute_or_a_change_clears() {
        use Level::{Between, Firing, Quiet};
        let time = |text: &str| (!text.is_empty()).then(|| at(&format!("2026-06-10T{text}Z")));
        for (is_new, stop, grant, change, expect) in [
            (true, "12:00:00", "", "", Firing),
            (true, "12:00:00", "11:59:59", "", Firing),
            // Small calls are granted, large ones stopped.
            (true, "11:59:55", "11:59:59", "", Firing),
            (false, "11:59:30", "11:59:59", "", Between),
            (false, "11:59:00", "11:59:59", "", Quiet),
            (false, "11:59:00", "11:58:59", "", Between),
            (true, "11:59:50", "11:59:59", "11:59:55", Quiet),
            (true, "11:59:50", "11:59:59", "11:59:40", Firing),
            (false, "", "11:59:59", "", Quiet),
            (false, "", "", "", Between),
        ] {
            let fact = RefusingFact {
                counter: fact("1000", 1_000),
                stopped: 3,
                is_new,
                last_stop: time(stop),
                reason: None,
                last_grant: time(grant),
                changed_at: time(change),
            };
            let reading = read(&fact, at("2026-06-10T12:00:00Z"));
            assert_eq!(reading.level, expect, "{is_new} {stop} {grant} {change}");
            assert_eq!(about_whom(&reading.alert.cause), Some(("month", "")));
        }
    }
}
