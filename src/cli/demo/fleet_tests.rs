//! The morning's calls: whom they are from, and that they show what they are there to show on whatever day they are made.

use chrono::{Datelike as _, DurationRound as _, TimeDelta};
use rust_decimal::prelude::ToPrimitive as _;

use super::super::quota::{SHORT, WEEKS, anchor_day, weeks_before};
use super::*;
use crate::domain::amounts::Quantity;
use crate::domain::calendar::Zone;
use crate::domain::forecast::{ErrorBook, HourlySeries, Question, Source, project};
use crate::domain::id::{ReservationId, TransferId};
use crate::domain::pacing::curve::Curve;
use crate::domain::pacing::plan::{Seen, Situation, plan, quantity};
use crate::domain::pacing::simulation::{Expected, Policy, Scene, Step, play};

#[test]
fn every_member_makes_calls_of_every_kind_and_every_body_is_one_that_the_ledger_takes() {
    let calls = calls();
    assert_eq!(calls.len(), 920);
    for member in &MEMBERS {
        for work in &WORK {
            let of = |call: &&Call| call.member.id == member.id && call.work.priority == work.priority;
            assert!(calls.iter().filter(of).count() >= 19, "{member:?} {work:?}");
        }
    }
    for call in calls {
        let nil = uuid::Uuid::nil();
        call.preflight().to_reserve(ReservationId(nil)).unwrap();
        call.settlement().to_settle(ReservationId(nil), None, TransferId(nil)).unwrap();
    }
}

#[test]
fn parts_of_the_calls_hold_all_kinds() {
    let calls = calls();
    for part in calls.chunks(calls.len() / PARTS) {
        for work in &WORK {
            assert!(part.iter().any(|call| call.work.priority == work.priority) || part.len() < CALLERS, "{work:?}");
        }
    }
}

/// What the demo finds at an instant: its weeks, projected as the service does it, until the quota resets.
fn found(now: DateTime<Utc>) -> (Expected, DateTime<Utc>) {
    let today = now.duration_trunc(TimeDelta::days(1)).unwrap();
    let from = now.duration_trunc(TimeDelta::hours(1)).unwrap() - TimeDelta::weeks(WEEKS);
    let items = weeks_before(now, from).unwrap();
    let reset = (1..).map(|days| today + TimeDelta::days(days)).find(|day| day.day() == anchor_day(now)).unwrap();
    let path = |priority: PriorityName| {
        let source = |member: &Member| {
            let uses = items.iter().filter_map(|item| {
                let tokens = item["usage"]["input"].as_u64()? + item["usage"]["output"].as_u64()?;
                let is_its = item["tenant"] == member.id && item["priority"] == serde_json::to_value(priority).unwrap();
                let at: DateTime<Utc> = serde_json::from_value(item["occurred_at"].clone()).unwrap();
                (is_its && at < today).then(|| (at, tokens.to_f64().unwrap()))
            });
            let series = HourlySeries::from_uses(from, today, uses.collect::<Vec<_>>());
            let zone = Zone::parse(member.timezone).unwrap();
            Source { tenant: member.id.parse().unwrap(), feature: None, zone, series }
        };
        let sources: Vec<Source> = MEMBERS.iter().map(source).collect();
        let projection = project(&Question::of_demand(today, (today, reset), &sources, &ErrorBook::builtin()));
        Curve::new(projection.path.iter().map(|hour| (hour.start, hour.expected)), reset)
    };
    let [interactive, standard, batch] =
        [PriorityName::Interactive, PriorityName::Standard, PriorityName::Batch].map(path);
    (Expected { interactive, standard, batch }, reset)
}

/// The limit that the demo sets.
fn limit(expected: &Expected, now: DateTime<Utc>, reset: DateTime<Utc>) -> f64 {
    let Expected { interactive, standard, batch } = expected;
    let ahead: f64 = [interactive, standard, batch].map(|curve| curve.between(now, reset)).iter().sum();
    ahead * SHORT.to_f64().unwrap()
}

/// Instants of all weekdays, hours and parts of a month.
fn instants() -> impl Iterator<Item = DateTime<Utc>> {
    let first: DateTime<Utc> = "2026-02-01T00:05:00Z".parse().unwrap();
    (0..24).map(move |step| first + TimeDelta::hours(43 * step))
}

#[test]
fn on_any_day_and_hour_some_of_the_batch_calls_go_and_some_must_wait() {
    let tokens = |priority: PriorityName| {
        let of = calls().into_iter().filter(move |call| call.work.priority == priority);
        of.map(|call| call.work.input + call.work.output).sum::<u64>().to_f64().unwrap()
    };
    for now in instants() {
        let (expected, reset) = found(now);
        let today = now.duration_trunc(TimeDelta::days(1)).unwrap();
        let plan = plan(&Situation {
            now,
            period_start: reset - TimeDelta::days(28),
            reset,
            day: (today, today + TimeDelta::days(1)),
            counted_from: today,
            limit: quantity(limit(&expected, now, reset)),
            taken: Quantity::ZERO,
            standard_today: 0.0,
            batch_today: 0.0,
            interactive: &expected.interactive,
            standard: &expected.standard,
            batch: &expected.batch,
            seen: Seen::NOTHING,
            standard_floor: 0.0,
            batch_floor: 0.25,
        });
        let told = format!("{now}: {plan:?}");
        assert!(!plan.is_ample && plan.surplus > 0.0, "{told}");
        assert!(plan.batch_room < 0.9 * tokens(PriorityName::Batch), "{told}");
        assert!(plan.batch_room > 0.05 * tokens(PriorityName::Batch), "{told}");
        assert!(plan.room > tokens(PriorityName::Standard), "{told}");
    }
}

#[test]
fn on_any_day_the_limit_alone_refuses_people_and_paces_refuse_none() {
    for now in instants().step_by(2) {
        let (expected, reset) = found(now);
        let hours = std::iter::successors(Some(now), |at| Some(*at + TimeDelta::hours(1)));
        let step = |start: DateTime<Utc>| {
            let of = |curve: &Curve| curve.between(start, start + TimeDelta::hours(1));
            let Expected { interactive, standard, batch } = &expected;
            Step { start, interactive: of(interactive), standard: of(standard), batch: of(batch) }
        };
        let steps: Vec<Step> = hours.take_while(|at| *at < reset).map(step).collect();
        let scene = Scene {
            steps: &steps,
            zone: Zone::UTC,
            period_start: reset - TimeDelta::days(28),
            reset,
            limit: limit(&expected, now, reset),
            taken: 0.0,
            standard_today: 0.0,
            batch_today: 0.0,
            standard_floor: 0.0,
            batch_floor: 0.25,
            patience: None,
        };
        let alone = play(&scene, Policy::Limit);
        let paced = play(&scene, Policy::Forecast(&mut |_, _| expected.clone()));
        let told = format!("{now}: {alone:?}, {paced:?}");
        assert!(alone.interactive.missed > 0.05 * alone.interactive.asked, "{told}");
        assert!(paced.interactive.missed <= 0.001 * paced.interactive.asked, "{told}");
        assert!(paced.unused <= 0.01 * scene.limit && paced.batch.missed > alone.batch.missed, "{told}");
    }
}

#[test]
fn what_was_told_adds_up() {
    let instant = |hour: u32| format!("2026-11-22T{hour:02}:00:00Z").parse::<DateTime<Utc>>().ok();
    let one = |hour| Told {
        asked: 1,
        waited: 1,
        because: Counts::from([("paced".to_owned(), 1)]),
        not_before_first: instant(hour),
        not_before_last: instant(hour),
        ..Told::default()
    };
    let mut sum = Told { asked: 1, allowed: 1, ..Told::default() };
    for hour in [9, 7, 8] {
        sum.merge(&one(hour));
    }
    assert_eq!((sum.asked, sum.allowed, sum.waited, sum.because.get("paced")), (4, 1, 3, Some(&3)));
    assert_eq!((sum.not_before_first, sum.not_before_last), (instant(7), instant(9)));
}
