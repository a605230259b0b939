//! Month after month of generated demand against a budget of 85 % of it: half interactive, half batch that may wait 72 hours.
//!
//! The forecast is the service's own, made at the start of each day from what was used before; plans are made each hour.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::curve::Curve;
use super::super::plan::{Seen, Situation, plan, quantity, to_float};
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::fixtures::at;
use crate::domain::forecast::{ErrorBook, HourlySeries, Question, Source, project};

/// How long batch work may wait, in hours.
const PATIENCE: usize = 72;
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

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Wall,
    Reserve,
}

/// Shares: of the interactive demand that was refused, of the batch demand that was refused, of the budget left unused.
#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
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
    let projection = project(&Question {
        now,
        period_start,
        reset: Some(reset),
        limit: f64::MAX,
        posted: 0.0,
        held: 0.0,
        sources: &sources,
        planned: &[],
        errors: &ErrorBook::builtin(),
        factor_range: None,
    });
    Curve::new(projection.path.iter().map(|hour| (hour.start, hour.expected)), reset)
}

/// A month. `demand` and `others` begin [`BEFORE`] hours before it.
fn month(policy: Policy, start: DateTime<Utc>, reset: DateTime<Utc>, demand: &[f64], others: &[f64]) -> Outcome {
    let zone = Zone::parse("Europe/Berlin").unwrap();
    let history_start = start.checked_sub_signed(TimeDelta::hours(i64::try_from(BEFORE).unwrap())).unwrap();
    let length = usize::try_from(reset.signed_duration_since(start).num_hours()).unwrap();
    let wanted = |series: &[f64]| -> f64 { series[BEFORE..BEFORE + length].iter().sum() };
    let limit = 0.85 * (wanted(demand) + wanted(others));
    let mut known = demand[..BEFORE].to_vec();
    let mut waiting: VecDeque<(usize, f64)> = VecDeque::new();
    let (mut used, mut today, mut seen, mut refused) = (0.0, 0.0, Seen::NOTHING, Outcome::default());
    let (mut interactive, mut day) = (Curve::nothing(), (start, start));
    // Others are always more than there is.
    let plenty = Curve::hourly(start, &vec![limit; length]);
    let nothing = Curve::nothing();
    for hour in 0..length {
        let now = start.checked_add_signed(TimeDelta::hours(i64::try_from(hour).unwrap())).unwrap();
        if policy == Policy::Reserve && now >= day.1 {
            let local = PeriodSpec::DAY.holding(zone, now).unwrap();
            day = (local.start, local.end.unwrap());
            interactive = forecast(zone, history_start, (start, now, reset), &known);
            let a_day = interactive.between(now, now.checked_add_signed(TimeDelta::days(1)).unwrap());
            (today, seen) = (0.0, Seen { used: 0.0, expected: 0.0, a_day });
        }
        waiting.push_back((hour, others[BEFORE + hour]));
        let most = match policy {
            Policy::Wall => limit,
            Policy::Reserve => {
                let situation = Situation {
                    now,
                    period_start: start,
                    reset,
                    day,
                    counted_from: start,
                    limit: quantity(limit),
                    taken: quantity(used),
                    standard_today: 0.0,
                    batch_today: today,
                    interactive: &interactive,
                    standard: &nothing,
                    batch: &plenty,
                    seen,
                    standard_floor: 0.0,
                    batch_floor: 0.0,
                };
                let pace = plan(&situation).pace(&situation, None);
                to_float(pace.level(pace.rooms.batch, now))
            }
        };
        let mut room = (most - used).max(0.0);
        while let Some((_, work)) = waiting.front_mut() {
            let take = work.min(room);
            *work -= take;
            (room, used, today) = (room - take, used + take, today + take);
            if *work > 0.0 {
                break;
            }
            waiting.pop_front();
        }
        while waiting.front().is_some_and(|(since, _)| hour - since >= PATIENCE) {
            refused.batch += waiting.pop_front().map_or(0.0, |(_, work)| work);
        }
        let asked = demand[BEFORE + hour];
        let got = asked.min((limit - used).max(0.0));
        used += got;
        refused.interactive += asked - got;
        // What was refused was wanted all the same, but the journal does not know.
        known.push(got);
        let next = now.checked_add_signed(TimeDelta::hours(1)).unwrap();
        seen = Seen { used: seen.used + got, expected: seen.expected + interactive.between(now, next), ..seen };
    }
    refused.batch += waiting.iter().map(|(_, work)| work).sum::<f64>();
    Outcome {
        interactive: refused.interactive / wanted(demand),
        batch: refused.batch / wanted(others),
        unused: (limit - used) / limit,
    }
}

/// The mean of four months, and the worst of each figure.
fn months(policy: Policy, shape: Shape) -> (Outcome, Outcome) {
    let turns = ["2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01", "2026-06-01"];
    let turns = turns.map(|day| at(&format!("{day}T00:00:00Z")));
    let (mut mean, mut worst) = (Outcome::default(), Outcome::default());
    for (seed, turn) in (1..).zip(turns.windows(2)) {
        let (start, reset) = (turn[0], turn[1]);
        let begins = start.checked_sub_signed(TimeDelta::hours(i64::try_from(BEFORE).unwrap())).unwrap();
        let hours = usize::try_from(reset.signed_duration_since(begins).num_hours()).unwrap();
        let demand = hourly(shape, begins, hours, seed);
        let others = batch(hours, demand.iter().sum(), seed + 100);
        let one = month(policy, start, reset, &demand, &others);
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
        let (wall, _) = months(Policy::Wall, shape);
        let (reserve, worst) = months(Policy::Reserve, shape);
        assert!(wall.interactive > 0.08, "{name}: the limit alone stops people: {wall:?}");
        assert!(reserve.interactive <= 0.01 && worst.interactive <= 0.02, "{name}: {reserve:?}, worst {worst:?}");
        assert!(reserve.unused <= 0.01 && worst.unused <= 0.01, "{name}: {reserve:?}, worst {worst:?}");
    }
}
