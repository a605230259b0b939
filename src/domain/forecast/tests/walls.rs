//! Who is at work, and who bears the empty end.

use chrono::Weekday;

use super::super::{WorkWeek, at_work, empty_end_shares, fair_split, who_is_at_work};
use super::*;

#[test]
fn working_hours_are_those_of_the_wall() {
    let check = |zone_name: &str, from: &str, until: &str, hours: f64| {
        close(at_work(zone(zone_name), WorkWeek::default(), at(from), at(until)), hours, 1e-9);
    };
    let (monday, tuesday) = ("2026-11-16T00:00:00Z", "2026-11-17T00:00:00Z");
    check("Etc/UTC", monday, tuesday, 9.0);
    check("Etc/UTC", monday, "2026-11-23T00:00:00Z", 45.0);
    check("Etc/UTC", "2026-11-14T00:00:00Z", monday, 0.0);
    check("Etc/UTC", "2026-11-16T08:59:00Z", "2026-11-16T09:01:00Z", 1.0 / 60.0);
    // Nine o'clock in Kolkata is 03:30 UTC, and in Kathmandu 03:15.
    check("Asia/Kolkata", monday, "2026-11-16T04:00:00Z", 0.5);
    check("Asia/Kathmandu", monday, "2026-11-16T04:00:00Z", 0.75);
    // The last afternoon of a month that turns at midnight UTC, on three walls.
    let (afternoon, turn) = ("2026-11-30T15:00:00Z", "2026-12-01T00:00:00Z");
    check("Asia/Tokyo", afternoon, turn, 0.0);
    check("America/Sao_Paulo", afternoon, turn, 6.0);
    check("America/Los_Angeles", afternoon, turn, 7.0);
    // The week of a change of the clocks has as many working hours as any other.
    check("America/New_York", "2026-10-26T00:00:00Z", "2026-11-09T05:00:00Z", 90.0);
    check("Etc/UTC", tuesday, monday, 0.0);
}

#[test]
fn a_week_may_begin_on_sunday_and_a_shift_end_the_next_morning() {
    let gulf = WorkWeek::default().on(&[Weekday::Sun, Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu]);
    let whole = |week| at_work(zone("Asia/Riyadh"), week, at("2026-11-12T21:00:00Z"), at("2026-11-15T21:00:00Z"));
    close(whole(gulf), 9.0, 1e-9);
    close(whole(WorkWeek::default()), 9.0, 1e-9);
    let night = WorkWeek { begins: 22, ends: 6, ..WorkWeek::default() };
    // Friday's shift ends on Saturday morning.
    close(at_work(Zone::UTC, night, at("2026-11-13T12:00:00Z"), at("2026-11-15T12:00:00Z")), 8.0, 1e-9);
}

#[test]
fn who_is_at_work_is_told_once_for_each_tenant() {
    let now = "2026-11-30T22:00:00Z";
    let from = "2026-11-29T00:00:00Z";
    let sources = [
        ("tokyo", "Asia/Tokyo"),
        ("berlin", "Europe/Berlin"),
        ("angeles", "America/Los_Angeles"),
        ("tokyo", "Asia/Tokyo"),
    ]
    .map(|(name, zone_name)| source(name, zone_name, from, now, |_| 1.0));
    let found = who_is_at_work(&sources, WorkWeek::default(), at(now));
    let told: Vec<_> = found.iter().map(|who| (who.tenant.as_str(), who.local.hour, who.at_work)).collect();
    assert_eq!(told, [("angeles", 14, true), ("berlin", 23, false), ("tokyo", 7, false)]);
}

/// Four tenants of one size on four walls, in a month that ends on a Monday at midnight UTC.
fn four() -> Asked {
    let now = "2026-11-28T00:00:00Z";
    let names = ["Asia/Tokyo", "Europe/Berlin", "America/Sao_Paulo", "America/Los_Angeles"];
    let tenants = ["tokyo", "berlin", "paulo", "angeles"];
    let sources = tenants.into_iter().zip(names);
    let sources =
        sources.map(|(name, zone_name)| source(name, zone_name, "2026-08-01T00:00:00Z", now, office(zone_name)));
    Asked::new(sources.collect(), now, 1e6)
}

#[test]
fn the_americas_bear_the_empty_end_of_a_month_in_utc() {
    let found = four().project();
    let ends = empty_end_shares(&found, WorkWeek::default(), at("2026-11-30T12:00:00Z"), at("2026-12-01T00:00:00Z"));
    let told: Vec<_> = ends.iter().map(|end| (end.zone.name(), end.working_hours)).collect();
    assert_eq!(
        told,
        [("America/Sao_Paulo", 9.0), ("America/Los_Angeles", 7.0), ("Europe/Berlin", 5.0), ("Asia/Tokyo", 0.0)]
    );
    close(ends.iter().map(|end| end.share).sum(), 1.0, 1e-9);
    close(ends.iter().map(|end| end.expected_share).sum(), 1.0, 1e-9);
    close(ends[0].share, 9.0 / 21.0, 1e-9);
    close(ends[0].expected_share, 9.0 / 21.0, 0.02);
}

#[test]
fn nobody_bears_an_end_that_is_not_empty() {
    let found = four().project();
    let reset = at("2026-12-01T00:00:00Z");
    for end in empty_end_shares(&found, WorkWeek::default(), reset, reset) {
        close(end.share + end.expected_share + end.expected + end.working_hours, 0.0, 0.0);
    }
}

#[test]
fn a_fair_split_gives_everybody_the_same_share_of_its_demand() {
    let mut found = four().project();
    let set = |found: &mut Projection, numbers: [(f64, f64); 4]| {
        for (source, (used, expected)) in found.by_source.iter_mut().zip(numbers) {
            (source.used_in_period, source.expected_to_reset) = (used, expected);
        }
    };
    let check = |found: &Projection, limit: f64, suggested: [f64; 4]| {
        let mut split = fair_split(found, limit);
        split.sort_by_key(|share| found.by_source.iter().position(|source| source.tenant == share.tenant));
        for (share, suggested) in split.iter().zip(suggested) {
            close(share.suggested, suggested, 1e-9);
        }
    };
    set(&mut found, [(10.0, 90.0), (20.0, 80.0), (30.0, 170.0), (0.0, 0.0)]);
    check(&found, 200.0, [50.0, 50.0, 100.0, 0.0]);
    check(&found, 800.0, [200.0, 200.0, 400.0, 0.0]);
    // Who has used more than its share keeps that; the others share the rest.
    set(&mut found, [(80.0, 20.0), (0.0, 100.0), (0.0, 200.0), (0.0, 0.0)]);
    check(&found, 200.0, [80.0, 40.0, 80.0, 0.0]);
    // More is used than there is.
    check(&found, 50.0, [80.0, 0.0, 0.0, 0.0]);
    set(&mut found, [(0.0, 0.0); 4]);
    check(&found, 100.0, [25.0; 4]);
}
