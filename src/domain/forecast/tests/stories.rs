//! One projection at a time.

use super::super::{Confidence, ErrorClass, Planned, Reason};
use super::*;

#[test]
fn steady_use_runs_out_where_arithmetic_says() {
    let even = source("acme", "Etc/UTC", "2026-08-01T00:00:00Z", "2026-11-10T06:30:00Z", |_| 2.0);
    let mut asked = Asked::new(vec![even], "2026-11-10T06:30:00Z", 1_000.0);
    asked.posted = 500.0;
    let found = asked.project();
    close_to(found.p50, "2026-11-20T16:30:00Z", TimeDelta::minutes(30));
    assert_eq!(found.class, ErrorClass::Steady);
    assert!(found.p10 < found.p50 && found.p50 < found.p90, "{:?}", (found.p10, found.p50, found.p90));
    assert!(found.p_exhaust > 0.9, "{}", found.p_exhaust);
    assert_eq!(found.reasons, [Reason::FarAway]);
    close(found.expected_at_reset.expected, 500.0 + 2.0 * 497.5, 2.0);
    assert_eq!(found.path.len(), 498, "the rest of this hour, and 497 whole ones");
    assert_eq!(found.history_days, 84);
}

#[test]
fn a_budget_that_lasts_has_no_instant_and_a_small_probability() {
    let even = source("acme", "Etc/UTC", "2026-08-01T00:00:00Z", "2026-11-10T00:00:00Z", |_| 2.0);
    let found = Asked::new(vec![even], "2026-11-10T00:00:00Z", 4_000.0).project();
    assert_eq!((found.p10, found.p50, found.p90), (None, None, None));
    assert!(found.p_exhaust < 0.05, "{}", found.p_exhaust);
}

#[test]
fn what_is_gone_is_gone_now() {
    let even = source("acme", "Etc/UTC", "2026-08-01T00:00:00Z", "2026-11-10T00:00:00Z", |_| 2.0);
    let found = Asked::new(vec![even], "2026-11-10T00:00:00Z", 100.0).project();
    let now = Some(at("2026-11-10T00:00:00Z"));
    assert_eq!((found.p10, found.p50, found.p90), (now, now, now));
    close(found.p_exhaust, 1.0, 0.0);
}

#[test]
fn a_weekend_without_use_is_not_counted_as_days() {
    // 90 a day on five days a week. On Friday evening 45 are left: Monday at half past one in Berlin.
    let berlin =
        source("acme", "Europe/Berlin", "2026-08-01T00:00:00Z", "2026-11-13T19:00:00Z", office("Europe/Berlin"));
    let mut asked = Asked::new(vec![berlin], "2026-11-13T19:00:00Z", 0.0);
    asked.limit = asked.posted + 45.0;
    close_to(asked.project().p50, "2026-11-16T12:30:00Z", TimeDelta::hours(1));
}

#[test]
fn nine_o_clock_stays_nine_o_clock_across_a_change_of_the_clocks() {
    // The clocks went back on 25 October: nine in Berlin was 07:00 UTC before, and is 08:00 after.
    let berlin =
        source("acme", "Europe/Berlin", "2026-08-01T00:00:00Z", "2026-10-24T00:00:00Z", office("Europe/Berlin"));
    let found = Asked::new(vec![berlin], "2026-10-24T00:00:00Z", 1e9).project();
    let expected = |text: &str| found.path.iter().find(|hour| hour.start == at(text)).unwrap().expected;
    assert!(expected("2026-10-26T07:00:00Z") < 1.0, "eight in the morning: {}", expected("2026-10-26T07:00:00Z"));
    close(expected("2026-10-26T08:00:00Z"), 10.0, 1.0);
    close(expected("2026-10-26T16:00:00Z"), 10.0, 1.0);
    assert!(expected("2026-10-26T17:00:00Z") < 1.0, "six in the evening");
}

#[test]
fn announced_work_is_added_and_does_not_come_back_by_itself() {
    let flat = |_| 2.0;
    let batch = |hour: DateTime<Utc>| {
        if (at("2026-11-08T00:00:00Z")..at("2026-11-09T00:00:00Z")).contains(&hour) { 102.0 } else { 2.0 }
    };
    let (from, now) = ("2026-08-01T00:00:00Z", "2026-11-10T00:00:00Z");
    let plan = |from: &str, until: &str| Planned {
        tenant: tenant("acme"),
        feature: None,
        from: at(from),
        until: at(until),
        quantity: 2_400.0,
    };
    let past = [plan("2026-11-08T00:00:00Z", "2026-11-09T00:00:00Z")];
    let coming = [plan("2026-11-12T00:00:00Z", "2026-11-13T00:00:00Z")];

    let quiet = Asked::new(vec![source("acme", "Etc/UTC", from, now, flat)], now, 1e6);
    let told = Asked::new(vec![source("acme", "Etc/UTC", from, now, batch)], now, 1e6);
    let expected = |asked: &Asked, planned: &[Planned]| {
        let found = project(&Question { planned, ..asked.question() });
        close(found.by_source[0].expected_to_reset, found.path.iter().map(|hour| hour.expected).sum(), 1e-6);
        found.expected_at_reset.expected - asked.posted
    };
    let without = expected(&quiet, &[]);
    close(expected(&told, &past), without, 1.0);
    assert!(expected(&told, &[]) > 1.2 * without, "a batch nobody announced raises the level");
    close(expected(&quiet, &coming), without + 2_400.0, 1e-6);
}

#[test]
fn announced_work_of_somebody_new_is_a_source_of_its_own() {
    let now = "2026-11-10T00:00:00Z";
    let asked = Asked::new(vec![], now, 100.0);
    let planned = [Planned {
        tenant: tenant("newcomer"),
        feature: None,
        from: at("2026-11-09T00:00:00Z"),
        until: at("2026-11-11T00:00:00Z"),
        quantity: 400.0,
    }];
    let found = project(&Question { planned: &planned, ..asked.question() });
    close_to(found.p50, "2026-11-10T12:00:00Z", TimeDelta::seconds(1));
    assert_eq!(found.by_source.len(), 1);
    close(found.by_source[0].expected_to_reset, 200.0, 1e-9);
}

#[test]
fn the_young_and_the_new_are_said_to_be() {
    let check = |from: &str, reason: Option<Reason>, confidence: Confidence| {
        let now = "2026-11-28T00:00:00Z";
        let found = Asked::new(vec![source("acme", "Etc/UTC", from, now, |_| 2.0)], now, 1e6).project();
        let ages = [Reason::NewTenant, Reason::YoungTenant, Reason::ShortHistory];
        let said = found.reasons.iter().find(|reason| ages.contains(reason)).copied();
        assert_eq!((said, found.confidence), (reason, confidence), "{:?}", found.reasons);
        close(found.expected_at_reset.expected - found.path[0].used + found.path[0].expected, 144.0, 3.0);
    };
    check("2026-08-01T00:00:00Z", None, Confidence::High);
    check("2026-11-08T00:00:00Z", Some(Reason::ShortHistory), Confidence::Medium);
    check("2026-11-18T00:00:00Z", Some(Reason::YoungTenant), Confidence::Medium);
    check("2026-11-26T12:00:00Z", Some(Reason::NewTenant), Confidence::Low);
}

#[test]
fn the_first_minutes_of_a_tenant_are_a_straight_line() {
    let now = at("2026-11-10T12:30:00Z");
    let series = HourlySeries::from_uses(at("2026-11-10T12:00:00Z"), now, [(at("2026-11-10T12:10:00Z"), 5.0)]);
    let first = Source { tenant: tenant("acme"), feature: None, zone: Zone::UTC, series };
    let found = Asked::new(vec![first], "2026-11-10T12:30:00Z", 25.0).project();
    close_to(found.p50, "2026-11-10T14:30:00Z", TimeDelta::minutes(1));
    assert_eq!(found.confidence, Confidence::Low);
}

#[test]
fn nothing_used_is_nothing_expected() {
    let now = "2026-11-10T00:00:00Z";
    for sources in [vec![], vec![source("acme", "Asia/Tokyo", "2026-08-01T00:00:00Z", now, |_| 0.0)]] {
        let found = Asked::new(sources, now, 10.0).project();
        assert_eq!((found.p10, found.p50, found.p90), (None, None, None));
        assert!(found.reasons.contains(&Reason::NoHistory), "{:?}", found.reasons);
        assert_eq!(found.confidence, Confidence::Low);
        close(found.p_exhaust, 0.0, 0.0);
    }
}

#[test]
fn a_level_that_has_shifted_is_followed_within_days() {
    let now = "2026-11-14T00:00:00Z";
    let shift = at("2026-11-10T12:00:00Z");
    let shifted = source("acme", "Etc/UTC", "2026-08-01T00:00:00Z", now, move |at| if at < shift { 2.0 } else { 6.0 });
    let found = Asked::new(vec![shifted], now, 1e6).project();
    assert!(found.reasons.contains(&Reason::LevelShift), "{:?}", found.reasons);
    let hourly = found.path[30].expected;
    assert!((4.5..6.5).contains(&hourly), "{hourly} an hour");
}

/// Whether a shift is told where so many hours, from so many hours ago on, used so many times as much as all others.
fn shift_is_told(hours_ago: i64, length: i64, times: f64) -> bool {
    let now = "2026-11-14T00:00:00Z";
    let busy = at(now) - TimeDelta::hours(hours_ago);
    let is_busy = move |at: DateTime<Utc>| at >= busy && at < busy + TimeDelta::hours(length);
    let use_of = move |at: DateTime<Utc>| if is_busy(at) { 1_000.0 * times } else { 1_000.0 };
    let tenant = source("acme", "Etc/UTC", "2026-08-01T00:00:00Z", now, use_of);
    Asked::new(vec![tenant], now, 1e9).project().reasons.contains(&Reason::LevelShift)
}

#[test]
fn one_busy_hour_is_no_level_whenever_it_was() {
    for hours_ago in 1..200 {
        assert!(!shift_is_told(hours_ago, 1, 200.0), "{hours_ago} hours ago");
    }
    assert!(!shift_is_told(48, 24, 8.0), "nor is the day that both looks hold");
}

#[test]
fn a_level_that_shifts_down_is_followed_as_well() {
    let now = "2026-11-14T00:00:00Z";
    let shift = at("2026-11-11T12:00:00Z");
    let quiet = source("acme", "Etc/UTC", "2026-08-01T00:00:00Z", now, move |at| if at < shift { 6.0 } else { 1.0 });
    let found = Asked::new(vec![quiet], now, 1e6).project();
    assert!(found.reasons.contains(&Reason::LevelShift), "{:?}", found.reasons);
}

#[test]
fn the_first_night_of_a_period_is_not_a_level_of_zero() {
    let now = "2026-12-01T06:00:00Z";
    let berlin = source("acme", "Europe/Berlin", "2026-08-01T00:00:00Z", now, office("Europe/Berlin"));
    let found = Asked::new(vec![berlin], now, 1e6).project();
    close(found.expected_at_reset.expected, 23.0 * 90.0, 150.0);
}

#[test]
fn a_roll_up_that_is_behind_does_not_pull_the_level_down() {
    let behind = source("acme", "Etc/UTC", "2026-08-01T00:00:00Z", "2026-11-10T00:00:00Z", |_| 2.0);
    let found = Asked::new(vec![behind], "2026-11-10T06:00:00Z", 1e6).project();
    close(found.path[3].expected, 2.0, 0.05);
}

#[test]
fn the_range_of_emission_factors_widens_the_band() {
    let now = "2026-11-25T00:00:00Z";
    let asked = Asked::new(vec![source("acme", "Etc/UTC", "2026-08-01T00:00:00Z", now, |_| 2.0)], now, 1e6);
    let plain = asked.project();
    let carbon = project(&Question { factor_range: Some((0.5, 2.0)), ..asked.question() });
    close(carbon.expected_at_reset.expected, plain.expected_at_reset.expected, 1e-9);
    assert!(carbon.expected_at_reset.high > plain.expected_at_reset.high);
    assert!(carbon.expected_at_reset.low < plain.expected_at_reset.low);
    assert!(carbon.reasons.contains(&Reason::FactorRange) && !plain.reasons.contains(&Reason::FactorRange));
}

#[test]
fn a_budget_that_never_resets_is_looked_ahead_a_year() {
    let now = "2026-11-10T00:00:00Z";
    let mut asked = Asked::new(vec![source("acme", "Etc/UTC", "2026-08-01T00:00:00Z", now, |_| 2.0)], now, 1e9);
    asked.reset = None;
    let found = asked.project();
    assert_eq!((found.path.len(), found.by_source[0].path.len()), (8_784, 2_232));
    close(found.by_source[0].expected_to_reset, 2.0 * 8_784.0, 200.0);
    assert!(found.reasons.contains(&Reason::BeyondHorizon));
}

#[test]
fn a_series_counts_hours_on_the_edge_by_their_share() {
    let now = at("2026-11-10T12:30:00Z");
    let series = HourlySeries::new(at("2026-11-10T09:20:00Z"), now, vec![8.0, 4.0, f64::NAN, 6.0, 99.0]);
    assert_eq!((series.start(), series.until()), (at("2026-11-10T09:00:00Z"), now));
    close(series.values().iter().sum(), 18.0, 0.0);
    let check = |from: &str, until: &str, used: f64| {
        let day = |time: &str| at(&format!("2026-11-10T{time}:00Z"));
        close(series.used_between(day(from), day(until)), used, 1e-9);
    };
    check("00:00", "23:00", 18.0);
    check("09:30", "10:15", 4.0 + 1.0);
    check("09:15", "09:30", 2.0);
    check("12:10", "12:20", 2.0);
    check("12:15", "13:00", 3.0);
    check("11:00", "12:00", 0.0);
    check("12:00", "11:00", 0.0);
    check("13:00", "14:00", 0.0);

    let rows = [("08:59", 1.0), ("09:00", 2.0), ("09:45", 3.0), ("11:59", 5.0), ("12:30", 7.0)];
    let rows = rows.map(|(time, used)| (at(&format!("2026-11-10T{time}:00Z")), used));
    let summed = HourlySeries::from_uses(at("2026-11-10T09:00:00Z"), now, rows);
    assert_eq!(summed.values(), [5.0, 0.0, 5.0, 0.0]);
}
