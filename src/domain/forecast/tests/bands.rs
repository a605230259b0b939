//! Errors, bands and scores.

use super::super::errors::{HORIZONS, LEVELS, next_scale};
use super::super::score::past_errors;
use super::super::{Claim, ErrorClass, PastError, Truth, log_error, score};
use super::*;

#[test]
fn the_built_in_errors_rise_with_their_level_and_hold_zero() {
    let book = ErrorBook::builtin();
    for class in ErrorClass::ALL {
        for hours in HORIZONS {
            let found: Vec<f64> = LEVELS.iter().map(|level| book.quantile(class, f64::from(hours), *level)).collect();
            assert!(found.is_sorted(), "{class:?} {hours}: {found:?}");
            assert!(found[0] < 0.0 && found[12] > 0.0, "{class:?} {hours}: {found:?}");
        }
        assert_eq!(ErrorClass::from_name(class.name()), Some(class));
    }
    let width = |class| book.quantile(class, 168.0, 0.9) - book.quantile(class, 168.0, 0.1);
    assert!(width(ErrorClass::Steady) < width(ErrorClass::Uneven));
    assert!(width(ErrorClass::Uneven) < width(ErrorClass::Bursty));
}

#[test]
fn between_two_horizons_an_error_is_between_theirs() {
    let book = ErrorBook::builtin();
    let at = |hours| book.quantile(ErrorClass::Steady, hours, 0.9);
    let (near, far) = (at(168.0), at(288.0));
    let between = at(220.0);
    assert!(near.min(far) < between && between < near.max(far), "{near} {between} {far}");
    close(at(0.0), at(6.0), 0.0);
    close(at(9_999.0), at(720.0), 0.0);
}

#[test]
fn one_miss_to_four_hits_leaves_the_scale_where_it_is() {
    let mut scale = 1.0;
    for round in 0..500 {
        scale = next_scale(scale, round % 5 != 0);
    }
    close(scale, 1.0, 0.021);
    let always = |covered| (0..1_000).fold(1.0, |scale, _| next_scale(scale, covered));
    close(always(false), 4.0, 0.0);
    close(always(true), 0.5, 0.0);
    let mut book = ErrorBook::builtin();
    book.observe(ErrorClass::Bursty, false);
    close(book.scale(ErrorClass::Bursty), 1.02, 1e-12);
    close(book.scale(ErrorClass::Steady), 1.0, 0.0);
    close(book.with_scale(ErrorClass::Steady, f64::NAN).scale(ErrorClass::Steady), 1.0, 0.0);
}

#[test]
fn errors_of_ones_own_count_by_how_many_are_independent() {
    let made = |day: i64, of: u64| PastError {
        class: ErrorClass::Steady,
        of,
        made_at: at("2026-01-01T00:00:00Z") + TimeDelta::days(day),
        hours: 480,
        error: 0.5,
    };
    let q90 = |errors: &[PastError]| ErrorBook::learned(errors).quantile(ErrorClass::Steady, 480.0, 0.9);
    let builtin = q90(&[]);
    // Forty overlapping errors of one budget say little more than two; of forty budgets they say much.
    let one_budget: Vec<_> = (0..40).map(|day| made(day, 1)).collect();
    let many: Vec<_> = (0..40).map(|number| made(0, number)).collect();
    close(q90(&one_budget), builtin + (0.5 - builtin) * (2.95 / 22.95), 1e-9);
    close(q90(&many), builtin + (0.5 - builtin) * (40.0 / 60.0), 1e-9);
    // The pool of others leaves classes alone that have none.
    let measured = ErrorBook::measured(&many);
    close(measured.quantile(ErrorClass::Steady, 480.0, 0.1), 0.5, 1e-9);
    close(
        measured.quantile(ErrorClass::Bursty, 480.0, 0.1),
        ErrorBook::builtin().quantile(ErrorClass::Bursty, 480.0, 0.1),
        0.0,
    );
}

#[test]
fn an_error_is_finite_whatever_came() {
    close(log_error(2.0, 1.0), 2.0_f64.ln(), 1e-12);
    close(log_error(0.0, 0.0), 0.0, 0.0);
    close(log_error(0.0, 1.0), -6.0, 0.0);
    close(log_error(1.0, 0.0), 6.0, 0.0);
    close(log_error(f64::NAN, f64::INFINITY), 0.0, 0.0);
}

#[test]
fn a_claim_is_scored_against_what_came() {
    let reset = at("2026-12-01T00:00:00Z");
    let day = |day: u32| Some(at(&format!("2026-11-{day:02}T00:00:00Z")));
    let check =
        |claimed: [Option<DateTime<Utc>>; 3], p_exhaust: f64, exhausted_at, expected: (Option<f64>, bool, f64)| {
            let [p10, p50, p90] = claimed;
            let found = score(&Claim { p10, p50, p90, p_exhaust }, &Truth { exhausted_at, reset });
            assert_eq!((found.error_hours, found.covered), (expected.0, expected.1), "{found:?}");
            close(found.brier, expected.2, 1e-9);
        };
    check([day(20), day(22), day(25)], 0.9, day(21), (Some(24.0), true, 0.01));
    check([day(20), day(22), day(25)], 0.9, day(27), (Some(-120.0), false, 0.01));
    check([day(20), day(22), day(25)], 0.9, None, (Some(-216.0), false, 0.81));
    check([day(20), day(28), None], 0.6, day(30), (Some(-48.0), true, 0.16));
    check([day(20), day(28), None], 0.6, None, (Some(-72.0), true, 0.36));
    check([day(20), None, None], 0.4, day(19), (Some(288.0), false, 0.36));
    check([None, None, None], 0.0, None, (None, true, 0.0));
    check([None, None, None], f64::NAN, day(29), (Some(48.0), false, 0.25));
}

#[test]
fn past_errors_are_those_whose_horizon_has_passed() {
    let made_at = at("2026-11-01T00:00:00Z");
    let actual = source("acme", "Etc/UTC", "2026-10-01T00:00:00Z", "2026-11-03T01:00:00Z", |_| 4.0);
    let errors = past_errors(ErrorClass::Steady, 7, made_at, &[2.0; 480], &actual.series);
    let told: Vec<_> = errors.iter().map(|error| (error.hours, error.of)).collect();
    assert_eq!(told, [(6, 7), (12, 7), (24, 7), (48, 7)]);
    for error in errors {
        close(error.error, 2.0_f64.ln(), 1e-9);
    }
}
