//! The rules, one by one, and what is refused.

use super::*;

/// Checks a table of `zone | period | at | start | end | seconds`.
fn check(table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [zone_name, period, at, start, end, seconds] = cells[..] else { panic!("six cells: {line}") };
        let found = spec(period).holding(zone(zone_name), instant(at)).unwrap();
        assert_eq!(found, Period { start: instant(start), end: Some(instant(end)) }, "{line}");
        assert_eq!(found.duration().unwrap().num_seconds().to_string(), seconds, "{line}");
        assert!(found.contains(instant(at)) && !found.contains(instant(end)), "{line}");
    }
}

#[test]
fn an_instant_on_a_boundary_belongs_to_the_new_period() {
    check(
        "
        Asia/Tokyo | month anchor_day=1 | 2026-11-30T14:59:59.999999999Z | 2026-10-31T15:00:00Z | 2026-11-30T15:00:00Z | 2592000
        Asia/Tokyo | month anchor_day=1 | 2026-11-30T15:00:00Z           | 2026-11-30T15:00:00Z | 2026-12-31T15:00:00Z | 2678400
        Asia/Tokyo | hour               | 2026-11-30T15:00:00Z           | 2026-11-30T15:00:00Z | 2026-11-30T16:00:00Z | 3600
        Asia/Tokyo | sliding seconds=60 | 2026-11-30T15:00:00Z           | 2026-11-30T15:00:00Z | 2026-11-30T15:00:01Z | 1
        ",
    );
}

#[test]
fn a_midnight_that_does_not_exist_is_the_end_of_the_gap() {
    check(
        "
        America/Sao_Paulo | day | 2018-11-04T03:00:00Z | 2018-11-04T03:00:00Z | 2018-11-05T02:00:00Z | 82800
        America/Sao_Paulo | day | 2018-11-04T02:59:59Z | 2018-11-03T03:00:00Z | 2018-11-04T03:00:00Z | 86400
        America/Toronto   | day | 1919-03-31T12:00:00Z | 1919-03-31T04:30:00Z | 1919-04-01T04:00:00Z | 84600
        ",
    );
}

#[test]
fn a_time_of_day_inside_a_gap_is_the_end_of_the_gap() {
    check("Europe/Berlin | day at=02:30 | 2026-03-29T01:00:00Z | 2026-03-29T01:00:00Z | 2026-03-30T00:30:00Z | 84600");
}

#[test]
fn a_midnight_that_comes_twice_is_the_first() {
    check(
        "
        America/St_Johns | day | 2006-10-29T02:30:00Z | 2006-10-29T02:30:00Z | 2006-10-30T03:30:00Z | 90000
        America/St_Johns | day | 2006-10-29T02:45:00Z | 2006-10-29T02:30:00Z | 2006-10-30T03:30:00Z | 90000
        ",
    );
    // and the label alone would be wrong: the wall says the 28th again
    let label = zone("America/St_Johns").local(instant("2006-10-29T02:45:00Z"));
    assert_eq!((label.date.to_string().as_str(), label.hour, label.minute), ("2006-10-28", 23, 15));
}

#[test]
fn a_day_that_does_not_exist_has_no_period() {
    check(
        "
        Pacific/Apia | day                 | 2011-12-30T09:59:59Z | 2011-12-29T10:00:00Z | 2011-12-30T10:00:00Z | 86400
        Pacific/Apia | day                 | 2011-12-30T10:00:00Z | 2011-12-30T10:00:00Z | 2011-12-31T10:00:00Z | 86400
        Pacific/Apia | month anchor_day=30 | 2011-12-30T10:00:00Z | 2011-12-30T10:00:00Z | 2012-01-29T10:00:00Z | 2592000
        Pacific/Apia | week week_start=fri | 2011-12-30T10:00:00Z | 2011-12-30T10:00:00Z | 2012-01-05T10:00:00Z | 518400
        ",
    );
    assert_eq!(zone("Pacific/Apia").local(instant("2011-12-30T10:00:00Z")).date.to_string(), "2011-12-31");
}

#[test]
fn an_anchor_day_clamps_to_the_months_end_and_returns() {
    check(
        "
        Etc/UTC | month anchor_day=31                     | 2026-02-10T00:00:00Z | 2026-01-31T00:00:00Z | 2026-02-28T00:00:00Z | 2419200
        Etc/UTC | month anchor_day=31                     | 2026-03-10T00:00:00Z | 2026-02-28T00:00:00Z | 2026-03-31T00:00:00Z | 2678400
        Etc/UTC | month anchor_day=31                     | 2026-04-10T00:00:00Z | 2026-03-31T00:00:00Z | 2026-04-30T00:00:00Z | 2592000
        Etc/UTC | month anchor_day=29                     | 2024-02-29T00:00:00Z | 2024-02-29T00:00:00Z | 2024-03-29T00:00:00Z | 2505600
        Etc/UTC | months every=3 anchor_date=2025-11-30   | 2026-03-01T00:00:00Z | 2026-02-28T00:00:00Z | 2026-05-30T00:00:00Z | 7862400
        Etc/UTC | year anchor_date=2024-02-29             | 2027-12-01T00:00:00Z | 2027-02-28T00:00:00Z | 2028-02-29T00:00:00Z | 31622400
        Etc/UTC | year anchor_date=2024-02-29             | 2028-02-28T23:00:00Z | 2027-02-28T00:00:00Z | 2028-02-29T00:00:00Z | 31622400
        ",
    );
}

#[test]
fn hours_are_elapsed_hours_and_the_last_of_a_day_may_be_short() {
    check(
        "
        Australia/Lord_Howe | day  | 2026-10-03T20:00:00Z | 2026-10-03T13:30:00Z | 2026-10-04T13:00:00Z | 84600
        Australia/Lord_Howe | hour | 2026-10-04T12:45:00Z | 2026-10-04T12:30:00Z | 2026-10-04T13:00:00Z | 1800
        Australia/Lord_Howe | hour | 2026-10-04T13:00:00Z | 2026-10-04T13:00:00Z | 2026-10-04T14:00:00Z | 3600
        Australia/Lord_Howe | hour | 2026-04-05T13:15:00Z | 2026-04-05T13:00:00Z | 2026-04-05T13:30:00Z | 1800
        Asia/Kathmandu      | hour | 2026-11-21T10:02:00Z | 2026-11-21T09:15:00Z | 2026-11-21T10:15:00Z | 3600
        Europe/Berlin       | hour | 2026-10-25T01:30:00Z | 2026-10-25T01:00:00Z | 2026-10-25T02:00:00Z | 3600
        ",
    );
}

#[test]
fn fixed_windows_are_elapsed_seconds_in_every_zone() {
    for name in ["Etc/UTC", "Europe/Berlin"] {
        let weekly = "fixed seconds=604800 anchor_instant=2026-03-26T17:00:00Z";
        check(&format!(
            "
            {name} | {weekly} | 2026-03-29T12:00:00Z | 2026-03-26T17:00:00Z | 2026-04-02T17:00:00Z | 604800
            {name} | {weekly} | 2026-03-26T16:59:59Z | 2026-03-19T17:00:00Z | 2026-03-26T17:00:00Z | 604800
            "
        ));
    }
    check(
        "
        Etc/UTC | fixed seconds=10 anchor_instant=2026-01-01T00:00:00.5Z | 2026-01-01T00:00:10.4Z | 2026-01-01T00:00:00.5Z | 2026-01-01T00:00:10.5Z | 10
        Etc/UTC | fixed seconds=10 anchor_instant=2026-01-01T00:00:00.5Z | 2026-01-01T00:00:00.4Z | 2025-12-31T23:59:50.5Z | 2026-01-01T00:00:00.5Z | 10
        ",
    );
}

#[test]
fn a_sliding_window_is_its_slices_oldest_first() {
    let at = instant("2026-11-21T10:02:00Z");
    let window = |seconds: u32, at| spec(&format!("sliding seconds={seconds}")).window(Zone::UTC, at).unwrap();
    let ten_minutes = window(600, at);
    assert_eq!(ten_minutes.len(), 61, "the slice of the oldest instant and sixty more");
    assert_eq!(ten_minutes[0].start, instant("2026-11-21T09:52:00Z"));
    assert_eq!(ten_minutes[60].end, Some(instant("2026-11-21T10:02:10Z")));
    assert_eq!(window(1, at).len(), 2);
    assert_eq!(window(61, at)[0].duration(), Some(TimeDelta::seconds(2)), "a sixtieth, rounded up");
    assert_eq!(PeriodSpec::MONTH.window(Zone::UTC, at), Ok(vec![PeriodSpec::MONTH.holding(Zone::UTC, at).unwrap()]));
}

#[test]
fn once_holds_every_instant_and_never_ends() {
    for at in ["1950-01-01T00:00:00Z", "2026-11-21T10:02:00Z", "2199-12-31T23:59:59Z"] {
        let period = PeriodSpec::Once.holding(Zone::UTC, instant(at)).unwrap();
        assert_eq!(period, Period { start: DateTime::UNIX_EPOCH, end: None });
        assert!(period.contains(instant(at)));
        assert_eq!(period.duration(), None);
    }
}

#[test]
fn a_leap_second_belongs_to_the_minute_before_it() {
    let leap = instant("2016-12-31T23:59:60.5Z");
    let year = PeriodSpec::YEAR.holding(Zone::UTC, leap).unwrap();
    assert_eq!(year.end, Some(instant("2017-01-01T00:00:00Z")));
    let fixed =
        PeriodSpec::Fixed { seconds: Seconds::new(86_400).unwrap(), anchor_instant: AnchorInstant::new(leap).unwrap() };
    assert!(fixed.holding(Zone::UTC, leap).unwrap().contains(instant("2017-01-01T12:00:00Z")));
}

#[test]
fn an_instant_outside_the_calendar_is_refused() {
    for at in ["1899-12-31T23:59:59Z", "2200-01-01T00:00:00Z"] {
        let at = instant(at);
        assert_eq!(PeriodSpec::DAY.holding(Zone::UTC, at), Err(CalendarError::InstantOutOfRange { at }));
    }
    let text = PeriodSpec::DAY.holding(Zone::UTC, instant("2200-01-01T00:00:00Z")).unwrap_err().to_string();
    assert_eq!(text, "instant 2200-01-01 00:00:00 UTC is outside the years 1900 to 2199");
    for edge in ["1900-01-01T00:00:00Z", "2199-12-31T23:59:59Z"] {
        for spec in [PeriodSpec::DAY, PeriodSpec::YEAR, spec("months every=120 anchor_date=2026-01-31")] {
            assert!(
                spec.holding(zone("Asia/Tokyo"), instant(edge)).unwrap().contains(instant(edge)),
                "{spec} at {edge}"
            );
        }
    }
}

#[test]
fn a_spec_that_is_not_valid_cannot_be_made() {
    let text = |error: BadPeriod| error.to_string();
    for day in [0, 32, 255] {
        assert_eq!(text(AnchorDay::new(day).unwrap_err()), format!("anchor_day {day} is not between 1 and 31"));
    }
    assert_eq!(text(MonthCount::new(0).unwrap_err()), "every 0 is not between 1 and 120");
    assert_eq!(text(MonthCount::new(121).unwrap_err()), "every 121 is not between 1 and 120");
    assert_eq!(text(Seconds::new(0).unwrap_err()), "seconds 0 is not between 1 and 316224000");
    assert!(Seconds::new(SECONDS_MAX + 1).is_err());
    assert_eq!(
        text(AnchorDate::new(NaiveDate::MIN).unwrap_err()),
        "anchor_date -262143-01-01 is not between 1900-01-01 and 2199-12-31"
    );
    assert!(AnchorDate::new(NaiveDate::from_ymd_opt(2199, 12, 31).unwrap()).is_ok());
    assert!(AnchorInstant::new(DateTime::<Utc>::MAX_UTC).is_err());
    assert!(AnchorInstant::new(instant("2199-12-31T23:59:59.999Z")).is_ok());
    for bad in ["", "9:00", "24:00", "12:60", "12:00:00", "ab:cd", "+1:00", "１２:00", "12-00"] {
        assert!(TimeOfDay::parse(bad).is_err(), "{bad:?}");
    }
    for good in ["00:00", "09:05", "23:59"] {
        assert_eq!(TimeOfDay::parse(good).unwrap().to_string(), good);
    }
    assert_eq!(
        text(TimeOfDay::parse("9am").unwrap_err()),
        "at \"9am\" is not a time of day from \"00:00\" to \"23:59\""
    );
}

#[test]
fn a_spec_names_itself() {
    let cases = [
        ("hour", "hour", "hour"),
        ("day", "day", "day at 00:00"),
        ("week week_start=sun at=09:00", "week", "week from Sun at 09:00"),
        ("month anchor_day=31 at=09:00", "month", "month from day 31 at 09:00"),
        ("months every=3 anchor_date=2025-11-30", "months", "3 months from 2025-11-30 at 00:00"),
        ("quarter", "quarter", "quarter"),
        ("year", "year", "year"),
        ("year anchor_date=2024-02-29", "year", "year from 2024-02-29"),
        ("fixed seconds=60 anchor_instant=2026-03-26T17:00:00Z", "fixed", "fixed 60 s from 2026-03-26T17:00:00Z"),
        ("sliding seconds=600", "sliding", "sliding 600 s"),
        ("once", "once", "once"),
    ];
    for (text, kind, shown) in cases {
        assert_eq!((spec(text).kind(), spec(text).to_string().as_str()), (kind, shown));
    }
}
