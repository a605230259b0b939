//! Plans, figure by figure.

use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;

use super::super::curve::Curve;
use super::super::fair::Allotments;
use super::super::plan::{CORRECTION_MAX, CORRECTION_MIN, Plan, Seen, Situation, plan, to_float};
use crate::domain::fixtures::{at, quantity};

/// A budget of 1000 from the first to the eleventh of January, seen at noon of the sixth: five days and a half are left.
/// Every hour interactive calls are expected to use `interactive`, standard ones `standard`, batch ones `batch`.
fn planned(taken: &str, hourly: [f64; 3], change: impl FnOnce(&mut Situation<'_>)) -> (Plan, super::super::pace::Pace) {
    let start = at("2026-01-01T00:00:00Z");
    let curves = hourly.map(|hour| Curve::hourly(start, &vec![hour; 240]));
    let [interactive, standard, batch] = &curves;
    let mut situation = Situation {
        now: at("2026-01-06T12:00:00Z"),
        period_start: start,
        reset: at("2026-01-11T00:00:00Z"),
        day: (at("2026-01-06T00:00:00Z"), at("2026-01-07T00:00:00Z")),
        counted_from: DateTime::UNIX_EPOCH,
        limit: quantity("1000"),
        taken: quantity(taken),
        standard_today: 0.0,
        batch_today: 0.0,
        interactive,
        standard,
        batch,
        seen: Seen::NOTHING,
        standard_floor: 0.0,
        batch_floor: 0.0,
    };
    change(&mut situation);
    let plan = plan(&situation);
    let allotments = Allotments { by_tenant: [("acme".parse().unwrap(), 7.0)].into(), of_others: 3.0 };
    (plan, plan.pace(&situation, Some(&allotments)))
}

#[track_caller]
fn close(is: f64, expected: f64) {
    assert!((is - expected).abs() < 1e-6 * expected.abs().max(1.0), "{is} is not {expected}");
}

#[test]
fn a_tenth_more_than_expected_is_kept_and_a_fifth_of_the_rest_is_given_out() {
    // 108 hours of 2, and a tenth: 237.6 are kept of 500.
    let (plan, _) = planned("500", [2.0, 0.0, 9.0], |_| {});
    close(plan.need, 237.6);
    close(plan.surplus, 262.4);
    close(plan.share, 262.4 / 5.0);
    close(plan.batch_room, plan.room);
    assert!(!plan.is_ample);
}

#[test]
fn what_others_took_today_is_part_of_the_days_share() {
    let (plan, _) = planned("500", [2.0, 0.0, 9.0], |situation| situation.batch_today = 40.0);
    close(plan.share, (262.4 + 40.0) / 5.0);
    close(plan.room, (262.4 + 40.0) / 5.0 - 40.0);
    let (plan, _) = planned("500", [2.0, 0.0, 9.0], |situation| situation.batch_today = 400.0);
    close(plan.room, 0.0);
}

#[test]
fn on_the_last_day_everything_is_given_out() {
    let (plan, pace) = planned("900", [2.0, 0.0, 9.0], |situation| {
        situation.now = at("2026-01-10T20:00:00Z");
        situation.day = (at("2026-01-10T00:00:00Z"), at("2026-01-11T00:00:00Z"));
    });
    close(plan.need, 8.8);
    close(plan.room, 91.2);
    assert_eq!(pace.valid_until, at("2026-01-10T22:00:00Z"));
    assert_eq!(pace.share_ends, at("2026-01-11T00:00:00Z"));
}

#[test]
fn where_there_is_enough_for_all_nobody_waits_for_a_share() {
    let (plan, _) = planned("100", [2.0, 1.0, 1.0], |_| {});
    assert!(plan.is_ample);
    close(plan.room, plan.surplus);
    let (plan, _) = planned("100", [2.0, 3.0, 3.0], |_| {});
    assert!(!plan.is_ample, "648 are to come of 662: too close");
}

#[test]
fn batch_gets_what_standard_calls_are_not_expected_to_need() {
    let (plan, _) = planned("500", [2.0, 3.0, 9.0], |_| {});
    close(plan.room, 52.48);
    close(plan.batch_room, 52.48 - 12.0 * 3.0);
    let (plan, _) = planned("500", [2.0, 9.0, 9.0], |_| {});
    close(plan.batch_room, 0.0);
    let (plan, _) = planned("500", [2.0, 9.0, 9.0], |situation| situation.batch_floor = 0.25);
    close(plan.batch_room, 52.48 / 4.0);
    let (plan, _) = planned("500", [2.0, 0.0, 9.0], |situation| situation.standard_floor = 0.5);
    close(plan.batch_room, 52.48 / 2.0);
}

#[test]
fn what_is_seen_corrects_what_was_expected_by_halves_and_doubles_at_most() {
    let seen = |used: f64, expected: f64| Seen { used, expected, a_day: 80.0 }.correction();
    close(seen(0.0, 0.0), 1.0);
    close(seen(30.0, 20.0), 40.0 / 30.0);
    close(seen(1000.0, 20.0), CORRECTION_MAX);
    close(seen(0.0, 100.0), CORRECTION_MIN);
    close(Seen { used: 5.0, expected: 0.0, a_day: 0.0 }.correction(), 1.0);
    close(Seen::NOTHING.correction(), 1.0);
    close(Seen { used: f64::NAN, expected: 1.0, a_day: 1.0 }.correction(), 1.0);
    let (plan, _) = planned("500", [2.0, 0.0, 9.0], |situation| {
        situation.seen = Seen { used: 36.0, expected: 24.0, a_day: 0.0 };
    });
    close(plan.need, 237.6 * 1.5);
}

#[test]
fn the_share_of_a_day_of_23_hours_is_smaller() {
    let (plan, _) = planned("500", [2.0, 0.0, 9.0], |situation| {
        situation.day = (at("2026-01-06T00:00:00Z"), at("2026-01-06T23:00:00Z"));
    });
    close(plan.share, 262.4 * 23.0 / 120.0);
}

#[test]
fn a_pace_is_the_plan_rounded_down() {
    let (plan, pace) = planned("500", [2.0, 0.0, 9.0], |_| {});
    assert_eq!(pace.rooms.batch.quantity, quantity("3"), "nobody has more than its own part");
    assert_eq!(pace.rooms_of(&"acme".parse().unwrap()).standard.quantity, quantity("7"));
    assert_eq!(pace.expected[..3], [quantity("2"), quantity("4"), quantity("6")]);
    assert_eq!(pace.taken, quantity("500"));
    close(f64::from(pace.rooms.batch.pass_through.get()), (3.0 / 108.0 * 1000.0_f64).floor());
    assert!(plan.room > 7.0);
}

#[test]
fn of_a_tenants_part_as_much_is_kept_for_standard_calls_as_of_the_whole() {
    // Of 52.48 the twelve hours until midnight are expected to need 36 for standard calls.
    let (plan, pace) = planned("500", [2.0, 3.0, 9.0], |_| {});
    close(plan.batch_room / plan.room, 16.48 / 52.48);
    let rooms = pace.rooms_of(&"acme".parse().unwrap());
    assert_eq!(rooms.standard.quantity, quantity("7"));
    close(to_float(rooms.batch.quantity), 7.0 * 16.48 / 52.48);
    let (_, pace) = planned("500", [2.0, 9.0, 9.0], |_| {});
    assert_eq!(pace.rooms_of(&"acme".parse().unwrap()).batch.quantity, quantity("0"), "standard calls need it all");
}

proptest! {
    #[test]
    fn no_figure_is_below_zero_or_no_number_and_no_room_larger_than_what_is_left(
        taken in 0_u32..2000, hourly in prop::array::uniform3(0.0..20.0_f64), today in prop::array::uniform2(0.0..500.0_f64),
        seen in prop::array::uniform3(0.0..100.0_f64), floors in prop::array::uniform2(0.0..1.0_f64), minutes in 0_i64..7200,
    ) {
        let (plan, pace) = planned(&taken.to_string(), hourly, |situation| {
            [situation.standard_today, situation.batch_today] = today;
            [situation.standard_floor, situation.batch_floor] = floors;
            situation.seen = Seen { used: seen[0], expected: seen[1], a_day: seen[2] };
            situation.now = at("2026-01-06T00:00:00Z").checked_add_signed(TimeDelta::minutes(minutes)).unwrap();
        });
        let Plan { correction, need, surplus, share, room, batch_room, .. } = plan;
        for figure in [correction, need, surplus, share, room, batch_room] {
            prop_assert!(figure.is_finite() && figure >= 0.0);
        }
        prop_assert!((CORRECTION_MIN..=CORRECTION_MAX).contains(&correction));
        prop_assert!(batch_room <= room + 1e-9 && room <= surplus + 1e-9);
        prop_assert!(surplus <= (1000.0 - f64::from(taken)).max(0.0) + 1e-9);
        prop_assert!(pace.rooms.batch.quantity <= pace.rooms.standard.quantity);
        prop_assert!(pace.valid_until <= at("2026-01-11T00:00:00Z"));
    }

    #[test]
    fn more_need_never_leaves_more_to_others(taken in 0_u32..1000, hourly in 0.0..10.0_f64, more in 0.0..10.0_f64) {
        let room = |interactive: f64| planned(&taken.to_string(), [interactive, 1.0, 9.0], |_| {}).0.room;
        prop_assert!(room(hourly + more) <= room(hourly) + 1e-9);
    }
}
