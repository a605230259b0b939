//! Whatever is asked.

use proptest::prelude::*;

use super::super::{Confidence, Planned, WorkWeek, empty_end_shares, fair_split};
use super::*;

const ZONES: [&str; 5] = ["Etc/UTC", "Asia/Tokyo", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata"];

/// Numbers that break arithmetic, and plain ones.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..1e4_f64,
        1 => Just(0.0),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-5.0), Just(1e300), Just(f64::MIN_POSITIVE), Just(f64::MAX)],
    ]
}

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    prop_oneof![
        8 => (1_700_000_000_i64..1_800_000_000).prop_map(|second| DateTime::from_timestamp(second, 0).unwrap()),
        1 => prop_oneof![Just(DateTime::<Utc>::MIN_UTC), Just(DateTime::<Utc>::MAX_UTC), Just(DateTime::UNIX_EPOCH)],
    ]
}

fn any_source() -> impl Strategy<Value = Source> {
    let values = prop::collection::vec(number(), 0..600);
    (0..ZONES.len(), values, instant(), 0_i64..2_400, 0_i64..100).prop_map(|(place, values, now, hours, late)| {
        let start = now.checked_sub_signed(TimeDelta::hours(hours)).unwrap_or(now);
        let until = now.checked_sub_signed(TimeDelta::minutes(late)).unwrap_or(now);
        Source {
            tenant: tenant("acme"),
            feature: None,
            zone: zone(ZONES[place]),
            series: HourlySeries::new(start, until, values),
        }
    })
}

/// A tenant with a past that ends now.
fn sane_source(now: DateTime<Utc>) -> impl Strategy<Value = Source> {
    (0..ZONES.len(), 1_i64..1_500, prop::collection::vec(0.0..100.0_f64, 24..200)).prop_map(
        move |(place, hours, values)| {
            let values = values.iter().copied().cycle().take(usize::try_from(hours).unwrap()).collect();
            let series = HourlySeries::new(now - TimeDelta::hours(hours), now, values);
            Source {
                tenant: tenant(ZONES[place].rsplit('/').next().unwrap()),
                feature: None,
                zone: zone(ZONES[place]),
                series,
            }
        },
    )
}

fn is_finite(found: &Projection) -> bool {
    let hours = found.path.iter().flat_map(|hour| [hour.expected, hour.used, hour.used_low, hour.used_high]);
    let sources = found
        .by_source
        .iter()
        .flat_map(|path| path.path.iter().copied().chain([path.expected_to_reset, path.used_in_period]));
    let banded =
        [found.expected_at_reset.low, found.expected_at_reset.expected, found.expected_at_reset.high, found.p_exhaust];
    hours.chain(sources).chain(banded).all(f64::is_finite)
}

/// An instant, where none is after all instants.
fn order(at: Option<DateTime<Utc>>) -> DateTime<Utc> {
    at.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_question_breaks_it(
        sources in prop::collection::vec(any_source(), 0..4),
        now in instant(),
        period_start in instant(),
        reset in prop::option::of(instant()),
        numbers in prop::array::uniform4(number()),
        span in (instant(), instant()),
        factors in prop::option::of((number(), number())),
    ) {
        let [limit, posted, held, quantity] = numbers;
        let planned = [Planned { tenant: tenant("acme"), feature: None, from: span.0, until: span.1, quantity }];
        let errors = ErrorBook::builtin();
        let question = Question {
            now, period_start, reset, limit, posted, held, sources: &sources, planned: &planned, errors: &errors, factor_range: factors,
        };
        let found = project(&question);
        prop_assert!(is_finite(&found));
        prop_assert!(order(found.p10) <= order(found.p50) && order(found.p50) <= order(found.p90));
        prop_assert!((0.0..=1.0).contains(&found.p_exhaust));
        for share in fair_split(&found, limit) {
            prop_assert!(share.suggested.is_finite() && share.suggested >= 0.0);
        }
        for end in empty_end_shares(&found, WorkWeek::default(), period_start, now) {
            prop_assert!((0.0..=1.0).contains(&end.share) && (0.0..=1.0).contains(&end.expected_share));
        }
    }

    #[test]
    fn more_left_is_never_sooner_and_never_likelier(
        sources in prop::collection::vec(sane_source(at("2026-11-10T06:20:00Z")), 1..4),
        limits in prop::array::uniform2(0.0..1e5_f64),
        scale in 0.5..4.0_f64,
    ) {
        let mut asked = Asked::new(sources, "2026-11-10T06:20:00Z", 0.0);
        asked.posted = 0.0;
        for class in super::super::ErrorClass::ALL {
            asked.errors = asked.errors.clone().with_scale(class, scale);
        }
        let [less, more] = [limits[0].min(limits[1]), limits[0].max(limits[1])].map(|limit| {
            asked.limit = limit;
            asked.project()
        });
        for (less, more) in [(less.p10, more.p10), (less.p50, more.p50), (less.p90, more.p90)] {
            prop_assert!(order(less) <= order(more), "{less:?} {more:?}");
        }
        prop_assert!(less.p_exhaust >= more.p_exhaust);
        for found in [&less, &more] {
            prop_assert!(order(found.p10) <= order(found.p50) && order(found.p50) <= order(found.p90));
            for hour in &found.path {
                prop_assert!(hour.used_low <= hour.used && hour.used <= hour.used_high);
            }
            for instant in [found.p10, found.p50, found.p90].into_iter().flatten() {
                prop_assert!(asked.now <= instant && instant <= asked.reset.unwrap());
            }
        }
    }

    #[test]
    fn the_parts_add_up_to_the_whole_and_a_unit_is_only_a_unit(
        sources in prop::collection::vec(sane_source(at("2026-11-10T06:20:00Z")), 1..5),
        unit in 1e-6..1e6_f64,
    ) {
        let asked = Asked::new(sources, "2026-11-10T06:20:00Z", 5_000.0);
        let found = asked.project();
        let parts: f64 = found.by_source.iter().map(|path| path.expected_to_reset).sum();
        let whole: f64 = found.path.iter().map(|hour| hour.expected).sum();
        prop_assert!((parts - whole).abs() <= 1e-9 * whole.max(1.0), "{parts} {whole}");

        let everybody = super::super::what_if::Whose::default();
        let mut other = Asked::new(super::super::what_if::scaled(&asked.sources, &everybody, unit), "2026-11-10T06:20:00Z", 5_000.0 * unit);
        other.posted = asked.posted * unit;
        let scaled = other.project();
        prop_assert_eq!(scaled.class, found.class);
        prop_assert!((scaled.p_exhaust - found.p_exhaust).abs() < 1e-6);
        let apart = (order(scaled.p50) - order(found.p50)).num_seconds().abs();
        prop_assert!(apart <= 2, "{:?} {:?}", scaled.p50, found.p50);
    }

    #[test]
    fn a_fair_split_adds_up_and_takes_nothing_back(
        sources in prop::collection::vec(sane_source(at("2026-11-10T06:20:00Z")), 1..5),
        limit in 1.0..1e6_f64,
    ) {
        let found = Asked::new(sources, "2026-11-10T06:20:00Z", limit).project();
        let split = fair_split(&found, limit);
        let total: f64 = split.iter().map(|share| share.suggested).sum();
        let used: f64 = split.iter().map(|share| share.used).sum();
        prop_assert!((total - limit.max(used)).abs() <= 1e-6 * limit.max(used), "{total} {limit} {used}");
        for share in &split {
            prop_assert!(share.suggested >= share.used);
        }
        prop_assert!(found.confidence <= Confidence::High);
    }
}
