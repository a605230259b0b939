//! Levels over time, and the instants at which they are reached.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::super::curve::Curve;
use super::super::pace::{Pace, Permille, Room, Rooms};
use crate::domain::amounts::Quantity;
use crate::domain::budget::catalogue::Priority;
use crate::domain::fixtures::{at, quantity};

fn room(of: &str) -> Room {
    Room { quantity: quantity(of), pass_through: Permille::ALL }
}

pub(super) fn pace(taken: &str, standard: &str, batch: &str, expected: &[&str]) -> Pace {
    Pace {
        period_start: at("2026-01-01T00:00:00Z"),
        counted_from: DateTime::UNIX_EPOCH,
        made_at: at("2026-01-01T12:00:00Z"),
        valid_until: at("2026-01-01T14:00:00Z"),
        share_ends: at("2026-01-02T00:00:00Z"),
        taken: quantity(taken),
        expected: expected.iter().map(|amount| quantity(amount)).collect(),
        rooms: Rooms { standard: room(standard), batch: room(batch) },
        by_tenant: BTreeMap::new(),
    }
}

fn later(minutes: i64) -> DateTime<Utc> {
    at("2026-01-01T12:00:00Z").checked_add_signed(TimeDelta::minutes(minutes)).unwrap()
}

#[test]
fn a_level_rises_by_what_people_are_expected_to_use() {
    let pace = pace("100", "50", "20", &["60", "90"]);
    for (minutes, level) in
        [(-5, "120"), (0, "120"), (1, "121"), (30, "150"), (60, "180"), (90, "195"), (120, "210"), (600, "210")]
    {
        assert_eq!(pace.level(pace.rooms.batch, later(minutes)), quantity(level), "after {minutes} min");
    }
    assert_eq!(pace.level(pace.rooms.standard, later(30)), quantity("180"));
    assert_eq!(pace.rooms.of(Priority::Interactive), None);
}

#[test]
fn the_instant_that_is_told_is_when_the_level_is_there_or_the_next_share() {
    let pace = pace("100", "50", "20", &["60", "90"]);
    let reaches = |wanted: &str, now| pace.reaches(quantity(wanted), pace.rooms.batch, now);
    assert_eq!(reaches("150", later(0)), later(30));
    assert_eq!(reaches("150.5", later(0)), later(31), "by whole minutes");
    assert_eq!(reaches("210", later(0)), later(120));
    assert_eq!(reaches("211", later(0)), pace.share_ends, "today no more");
    assert_eq!(reaches("211", pace.share_ends), pace.share_ends.checked_add_signed(TimeDelta::minutes(1)).unwrap());
}

#[test]
fn a_curve_is_straight_between_its_points_and_nothing_outside() {
    let start = at("2026-01-01T00:00:00Z");
    let curve = Curve::hourly(start, &[10.0, f64::NAN, -5.0, 20.0]);
    let between = |from: i64, to: i64| {
        let at = |minutes| start.checked_add_signed(TimeDelta::minutes(minutes)).unwrap();
        curve.between(at(from), at(to))
    };
    for (from, to, expected) in [
        (0, 240, 30.0),
        (0, 30, 5.0),
        (30, 60, 5.0),
        (60, 180, 0.0),
        (210, 999, 10.0),
        (-60, 15, 2.5),
        (60, 0, 0.0),
        (300, 400, 0.0),
    ] {
        assert!((between(from, to) - expected).abs() < 1e-9, "{from} to {to}: {}", between(from, to));
    }
    assert_eq!(Curve::new(curve.pieces(), curve.end().unwrap()), curve);
    assert!(Curve::nothing().between(start, later(0)).abs() < f64::EPSILON);
}

proptest! {
    #[test]
    fn a_level_never_falls_and_what_is_told_is_the_first_minute_that_will_do(
        hours in prop::collection::vec(0_u32..1000, 0..26), taken in 0_u32..1000, room_of in 0_u32..1000,
        wanted in 0_u32..30_000, minutes in 0_i64..720,
    ) {
        let mut sum = 0;
        let expected: Vec<String> = hours.iter().map(|hour| { sum += hour; sum.to_string() }).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        let pace = pace(&taken.to_string(), "0", &room_of.to_string(), &expected);
        let room = pace.rooms.batch;
        let (now, wanted) = (later(minutes), quantity(&wanted.to_string()));
        prop_assert!(pace.level(room, now) <= pace.level(room, later(minutes + 7)));
        let told = pace.reaches(wanted, room, now);
        prop_assert!(told > now);
        if pace.level(room, now) < wanted && told < pace.share_ends {
            prop_assert!(pace.level(room, told) >= wanted);
            let before = told.checked_sub_signed(TimeDelta::minutes(1)).unwrap();
            prop_assert!(before <= now || pace.level(room, before) < wanted);
        }
    }

    #[test]
    fn a_curve_adds_up(hours in prop::collection::vec(0.0..100.0_f64, 1..50), cuts in prop::collection::vec(-100_i64..4000, 3)) {
        let start = at("2026-01-01T00:00:00Z");
        let curve = Curve::hourly(start, &hours);
        let mut cuts = cuts;
        cuts.sort_unstable();
        let at = |minutes| start.checked_add_signed(TimeDelta::minutes(minutes)).unwrap();
        let whole = curve.between(at(cuts[0]), at(cuts[2]));
        let parts = curve.between(at(cuts[0]), at(cuts[1])) + curve.between(at(cuts[1]), at(cuts[2]));
        prop_assert!((whole - parts).abs() < 1e-6);
    }
}

#[test]
fn what_cannot_be_kept_is_the_nearest_that_can() {
    use super::super::plan::quantity;
    assert_eq!(quantity(f64::NAN), Quantity::ZERO);
    assert_eq!(quantity(-1.0), Quantity::ZERO);
    assert_eq!(quantity(1e-300), Quantity::ZERO);
    assert_eq!(quantity(f64::INFINITY), Quantity::MAX);
    assert_eq!(quantity(f64::MAX), Quantity::MAX);
    assert_eq!(quantity(0.1), crate::domain::fixtures::quantity("0.1"));
}
