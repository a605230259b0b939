//! Month after month of generated demand against a budget of 85 % of it: half interactive, half batch that may wait 72 hours.
//!
//! The forecast is the service's own, made at the start of each day from what was used before; plans are made each hour.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::curve::Curve;
use super::super::simulation::{Expected, Outcome, Policy, Scene, Served, Step, play};
use crate::domain::calendar::Zone;
use crate::domain::fixtures::at;
use crate::domain::forecast::{ErrorBook, HourlySeries, Question, Source, project};

/// How long batch work may wait, in hours.
const PATIENCE: i64 = 72;
/// History before the first month that counts, in hours.
const BEFORE: usize = 56 * 24;

/// Numbers that look random and are the same each time: splitmix64.
struct Dice(u64);

impl Dice {
    /// Between 0 and 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap()) / 4_294_967_296.0
    }

    /// Around 0, with a standard deviation of about 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.roll()).sum::<f64>() - 6.0
    }
}

/// What people ask for, hour by hour.
#[derive(Clone, Copy)]
enum Shape {
    /// One office in Berlin: weekends at 15 %.
    Office,
    /// Consumers: evenings and weekends.
    Evenings,
    /// Four offices around the world.
    FourZones,
}

fn hourly(shape: Shape, start: DateTime<Utc>, hours: usize, seed: u64) -> Vec<f64> {
    let zones: Vec<Zone> = match shape {
        Shape::Office | Shape::Evenings => vec!["Europe/Berlin"],
        Shape::FourZones => vec!["Asia/Tokyo", "Europe/Berlin", "America/Sao_Paulo", "America/Los_Angeles"],
    }
    .into_iter()
    .map(|name| Zone::parse(name).unwrap())
    .collect();
    let mut dice = Dice(seed);
    let mut level = 0.0_f64;
    (0..hours)
        .map(|hour| {
            let now = start.checked_add_signed(TimeDelta::hours(i64::try_from(hour).unwrap())).unwrap();
            if hour % 24 == 0 {
                level = 0.8 * level + 0.08 * dice.normal();
            }
            let rate = |zone: &Zone| {
                let local = zone.local(now);
                let hour = f64::from(local.hour);
                let weekend = local.weekday.num_days_from_monday() >= 5;
                let bump = |at: f64, width: f64| (-((hour - at) / width).powi(2)).exp();
                match shape {
                    Shape::Evenings => (0.15 + bump(20.0, 3.5)) * if weekend { 1.3 } else { 1.0 },
                    Shape::Office | Shape::FourZones => {
                        (0.05 + bump(10.5, 2.5) + bump(15.0, 2.5)) * if weekend { 0.15 } else { 1.0 }
                    }
                }
            };
            let sum: f64 = zones.iter().map(rate).sum();
            1000.0 * sum * level.exp() * (0.15 * dice.normal()).exp()
        })
        .collect()
}

/// Batch work of so much in all: each night, and a few large pieces at any time.
fn batch(hours: usize, total: f64, seed: u64) -> Vec<f64> {
    let mut dice = Dice(seed);
    let raw: Vec<f64> = (0..hours)
        .map(|hour| {
            let nightly = if hour % 24 < 4 { 1.0 } else { 0.1 };
            let large = if dice.roll() < 0.02 { 8.0 * dice.roll() } else { 0.0 };
            nightly + large
        })
        .collect();
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|value| value * total / sum).collect()
}

/// Shares: of the interactive demand that was refused, of the batch demand that was missed, of the budget left unused.
#[derive(Debug, Default, Clone, Copy)]
struct Shares {
    interactive: f64,
    batch: f64,
    unused: f64,
}

/// What the service would expect of people, from what they used.
fn forecast(
    zone: Zone,
    history_start: DateTime<Utc>,
    (period_start, now, reset): (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>),
    known: &[f64],
) -> Curve {
    let series = HourlySeries::new(history_start, now, known.to_vec());
    let sources = [Source { tenant: "acme".parse().unwrap(), feature: None, zone, series }];
    let projection = project(&Question::of_demand(now, (period_start, reset), &sources, &ErrorBook::builtin()));
    Curve::new(projection.path.iter().map(|hour| (hour.start, hour.expected)), reset)
}

/// A month. `demand` and `others` begin [`BEFORE`] hours before it.
fn month(paced: bool, start: DateTime<Utc>, reset: DateTime<Utc>, demand: &[f64], others: &[f64]) -> Shares {
    let zone = Zone::parse("Europe/Berlin").unwrap();
    let history_start = start.checked_sub_signed(TimeDelta::hours(i64::try_from(BEFORE).unwrap())).unwrap();
    let length = usize::try_from(reset.signed_duration_since(start).num_hours()).unwrap();
    let wanted = |series: &[f64]| -> f64 { series[BEFORE..BEFORE + length].iter().sum() };
    let limit = 0.85 * (wanted(demand) + wanted(others));
    let hour = |hour: usize| start.checked_add_signed(TimeDelta::hours(i64::try_from(hour).unwrap())).unwrap();
    let steps: Vec<Step> = (0..length)
        .map(|place| Step {
            start: hour(place),
            interactive: demand[BEFORE + place],
            standard: 0.0,
            batch: others[BEFORE + place],
        })
        .collect();
    let scene = Scene { steps: &steps, zone, patience: Some(TimeDelta::hours(PATIENCE)), ..empty(start, reset, limit) };
    let mut forecast = |now: DateTime<Utc>, got: &[f64]| {
        let known = [&demand[..BEFORE], got].concat();
        // Others are always more than there is.
        let batch = Curve::hourly(start, &vec![limit; length]);
        let interactive = forecast(zone, history_start, (start, now, reset), &known);
        Expected { interactive, standard: Curve::nothing(), batch }
    };
    let policy = if paced { Policy::Forecast(&mut forecast) } else { Policy::Limit };
    let outcome = play(&scene, policy);
    Shares {
        interactive: outcome.interactive.missed / outcome.interactive.asked,
        batch: outcome.batch.missed / outcome.batch.asked,
        unused: outcome.unused / limit,
    }
}

/// A budget of which nothing is taken, in a period that begins now.
fn empty(start: DateTime<Utc>, reset: DateTime<Utc>, limit: f64) -> Scene<'static> {
    Scene {
        steps: &[],
        zone: Zone::UTC,
        period_start: start,
        reset,
        limit,
        taken: 0.0,
        standard_today: 0.0,
        batch_today: 0.0,
        standard_floor: 0.0,
        batch_floor: 0.0,
        patience: None,
    }
}

/// The mean of four months, and the worst of each figure.
fn months(paced: bool, shape: Shape) -> (Shares, Shares) {
    let turns = ["2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01", "2026-06-01"];
    let turns = turns.map(|day| at(&format!("{day}T00:00:00Z")));
    let (mut mean, mut worst) = (Shares::default(), Shares::default());
    for (seed, turn) in (1..).zip(turns.windows(2)) {
        let (start, reset) = (turn[0], turn[1]);
        let begins = start.checked_sub_signed(TimeDelta::hours(i64::try_from(BEFORE).unwrap())).unwrap();
        let hours = usize::try_from(reset.signed_duration_since(begins).num_hours()).unwrap();
        let demand = hourly(shape, begins, hours, seed);
        let others = batch(hours, demand.iter().sum(), seed + 100);
        let one = month(paced, start, reset, &demand, &others);
        let add =
            |mean: &mut f64, worst: &mut f64, value: f64| (*mean, *worst) = (*mean + value / 4.0, worst.max(value));
        add(&mut mean.interactive, &mut worst.interactive, one.interactive);
        add(&mut mean.batch, &mut worst.batch, one.batch);
        add(&mut mean.unused, &mut worst.unused, one.unused);
    }
    (mean, worst)
}

#[test]
fn a_reserve_stops_nobody_and_leaves_nothing_where_the_limit_alone_stops_many() {
    for (name, shape) in [("office", Shape::Office), ("evenings", Shape::Evenings), ("four zones", Shape::FourZones)] {
        let (wall, _) = months(false, shape);
        let (reserve, worst) = months(true, shape);
        assert!(wall.interactive > 0.08, "{name}: the limit alone stops people: {wall:?}");
        assert!(reserve.interactive <= 0.01 && worst.interactive <= 0.02, "{name}: {reserve:?}, worst {worst:?}");
        assert!(reserve.unused <= 0.01 && worst.unused <= 0.01, "{name}: {reserve:?}, worst {worst:?}");
    }
}

/// Hours of 10 from people and `batch` from batch, under a limit, everything known beforehand.
fn flat(paced: bool, hours: usize, batch: f64, scene: Scene<'static>) -> Outcome {
    let start = scene.period_start;
    let step = |hour: usize| Step {
        start: start.checked_add_signed(TimeDelta::hours(i64::try_from(hour).unwrap())).unwrap(),
        interactive: 10.0,
        standard: 0.0,
        batch,
    };
    let steps: Vec<Step> = (0..hours).map(step).collect();
    let curve = |of: fn(&Step) -> f64| Curve::hourly(start, &steps.iter().map(of).collect::<Vec<_>>());
    let (interactive, batch) = (curve(|step| step.interactive), curve(|step| step.batch));
    let mut known = |_: DateTime<Utc>, _: &[f64]| Expected {
        interactive: interactive.clone(),
        batch: batch.clone(),
        ..Expected::default()
    };
    let scene = Scene { steps: &steps, ..scene };
    play(&scene, if paced { Policy::Forecast(&mut known) } else { Policy::Limit })
}

#[test]
fn with_the_limit_alone_all_are_refused_alike_from_the_instant_it_ends() {
    let start = at("2026-06-01T00:00:00Z");
    let scene = empty(start, at("2026-06-03T00:00:00Z"), 20.0 * 36.5);
    let outcome = flat(false, 48, 10.0, scene);
    assert_eq!(outcome.runs_out_at, Some(at("2026-06-02T12:30:00Z")));
    assert!((outcome.hours_refused - 11.5).abs() < 1e-6, "{outcome:?}");
    assert!((outcome.interactive.missed - outcome.batch.missed).abs() < 1e-6, "{outcome:?}");
    assert_eq!((outcome.unused, outcome.batch.later), (0.0, 0.0));
}

#[test]
fn with_a_pace_the_shortage_is_all_of_what_can_wait() {
    let start = at("2026-06-01T00:00:00Z");
    let scene = empty(start, at("2026-06-03T00:00:00Z"), 20.0 * 36.5);
    let outcome = flat(true, 48, 10.0, scene);
    assert_eq!((outcome.runs_out_at, outcome.interactive.missed), (None, 0.0), "{outcome:?}");
    assert!(outcome.batch.later > 0.0 && outcome.unused < 5.0, "{outcome:?}");
    assert!((outcome.batch.missed - (960.0 - 730.0 + outcome.unused)).abs() < 1e-6, "{outcome:?}");
}

#[test]
fn what_has_no_patience_is_gone_before_there_is_room() {
    let start = at("2026-06-01T00:00:00Z");
    let scene = empty(start, at("2026-06-03T00:00:00Z"), 600.0);
    let impatient = flat(true, 48, 10.0, Scene { patience: Some(TimeDelta::zero()), ..scene });
    assert!(impatient.batch.later <= 0.0, "{impatient:?}");
    assert!(impatient.batch.missed >= flat(true, 48, 10.0, scene).batch.missed);
}

#[test]
fn what_is_taken_and_what_is_missed_add_up() {
    let start = at("2026-06-01T00:00:00Z");
    for limit in [0.0, 1.0, 333.3, 480.0, 700.0, 960.0, 5_000.0] {
        for paced in [false, true] {
            let scene = Scene { taken: limit / 10.0, ..empty(start, at("2026-06-03T00:00:00Z"), limit) };
            let outcome = flat(paced, 48, 10.0, scene);
            let taken = |served: Served| served.asked - served.missed;
            let sum = scene.taken + taken(outcome.interactive) + taken(outcome.batch) + outcome.unused;
            assert!((sum - limit).abs() < 1e-6, "{limit} {paced}: {outcome:?}");
        }
    }
}
