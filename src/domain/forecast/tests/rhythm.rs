//! The rhythm alone: whole weeks weigh as many hours as they have, and what is too young has none.

use super::*;
use crate::domain::forecast::Rhythm;

#[test]
fn a_week_weighs_its_hours_and_a_working_hour_more_than_a_night() {
    let zone = zone("Europe/Berlin");
    let from = at("2026-01-05T00:00:00Z");
    let is_work = |hour: usize| hour / 24 % 7 < 5 && (8..16).contains(&(hour % 24));
    let hours: Vec<f64> = (0..56 * 24).map(|hour| if is_work(hour) { 10.0 } else { 0.0 }).collect();
    let rhythm = Rhythm::of(zone, from, &hours).unwrap();
    let week = rhythm.between(at("2026-03-02T00:00:00Z"), at("2026-03-09T00:00:00Z"));
    assert!((week - 168.0).abs() < 1e-6, "{week}");
    let (work, night) = (
        rhythm.between(at("2026-03-03T10:00:00Z"), at("2026-03-03T11:00:00Z")),
        rhythm.between(at("2026-03-03T22:00:00Z"), at("2026-03-03T23:00:00Z")),
    );
    assert!(work > 3.0 && night < 0.1, "{work} {night}");
    let half = rhythm.between(at("2026-03-03T10:30:00Z"), at("2026-03-03T11:00:00Z"));
    assert!((half * 2.0 - work).abs() < 1e-9, "{half}");
    assert_eq!(rhythm.between(from, from).to_bits(), 0.0_f64.to_bits());
    assert_eq!(rhythm.between(at("2026-03-09T00:00:00Z"), from).to_bits(), 0.0_f64.to_bits(), "backwards is nothing");
}

#[test]
fn what_is_younger_than_three_days_has_no_rhythm_and_no_number_breaks_it() {
    let from = at("2026-01-05T00:00:00Z");
    let of = |hours: &[f64]| Rhythm::of(Zone::UTC, from, hours);
    assert!(of(&[]).is_none() && of(&[1.0; 71]).is_none() && of(&[1.0; 72]).is_some());
    let mut late = vec![0.0; 500];
    late.extend([1.0; 71]);
    assert!(of(&late).is_none(), "only what is since the first use is known");
    let odd: Vec<f64> = [f64::NAN, f64::INFINITY, -1.0, 3.0].into_iter().cycle().take(400).collect();
    let sum = of(&odd).unwrap().between(from, at("2026-01-12T00:00:00Z"));
    assert!((sum - 168.0).abs() < 1e-6, "{sum}");
}
