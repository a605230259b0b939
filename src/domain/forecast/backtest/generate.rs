//! Made series: a shape that is known, and seeded noise. No real data is needed to see a change of the clocks.

use chrono::{DateTime, Datelike, NaiveDate, Utc};

use super::{Case, DAYS_MONTH, Kind};
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::forecast::number::{after, hour_number, hour_start, real, real_hours};
use crate::domain::forecast::{HourlySeries, Source};
use crate::domain::id::TenantId;

/// Days of history before the first period that is played again.
const HISTORY_DAYS: f64 = 84.0;
/// Hours of a made series: fifteen months.
const HOURS: usize = 10_968;
/// Office hours by the local hour, and those of a service that people use at home.
const OFFICE: [f64; 24] = [
    0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.5, 1.5, 4.0, 6.0, 6.5, 6.0, 4.0, 5.5, 6.5, 6.0, 5.0, 3.0, 1.2, 0.7, 0.5, 0.3, 0.2,
    0.1,
];
const HOME: [f64; 24] = [
    1.2, 0.8, 0.5, 0.4, 0.4, 0.5, 0.9, 1.6, 2.2, 2.6, 2.9, 3.1, 3.3, 3.2, 3.1, 3.1, 3.2, 3.4, 3.8, 4.2, 4.4, 4.0, 3.0,
    2.0,
];

/// Numbers that look random and are the same each time: splitmix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1.
    pub fn share(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / 4_294_967_296.0
    }

    /// Normally distributed with mean 0 and deviation 1 (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }
}

/// How a made tenant uses.
#[derive(Debug, Clone, Copy)]
struct Habit {
    zone: &'static str,
    day: [f64; 24],
    /// Use on a weekend day beside that of a working day.
    weekend: f64,
    /// How many times a week's use is that of the week before.
    growth: f64,
    /// Deviation of the daily innovations of the level's logarithm, which returns by a tenth each day.
    drift: f64,
    /// Deviation of one hour.
    noise: f64,
    /// Local dates `(month, first day, last day)` on which use is that of a weekend day, or a fifth where that is more.
    holidays: &'static [(u32, u32, u32)],
    /// `(hour, factor)`: from then on use is so many times what it was.
    shifts: &'static [(usize, f64)],
}

const USUAL: Habit = Habit {
    zone: "Europe/Berlin",
    day: HOME,
    weekend: 0.8,
    growth: 1.0,
    drift: 0.04,
    noise: 0.15,
    holidays: &[],
    shifts: &[],
};

fn series(habit: &Habit, zone: Zone, seed: u64) -> HourlySeries {
    let mut dice = Dice::new(seed);
    let start = DateTime::UNIX_EPOCH.checked_add_days(chrono::Days::new(19_723)).unwrap_or_default(); // 2024-01-01
    let first = hour_number(start);
    let (mut level, mut values) = (0.0, Vec::with_capacity(HOURS));
    for place in 0..HOURS {
        if place % 24 == 0 {
            level = 0.9 * level + habit.drift * dice.normal();
        }
        let local = zone.local(hour_start(first.saturating_add(i64::try_from(place).unwrap_or(0))));
        let hour = usize::try_from(local.hour).ok().and_then(|hour| habit.day.get(hour)).copied().unwrap_or(1.0);
        let is_weekend = local.weekday.num_days_from_monday() >= 5;
        let day = match (is_holiday(habit, local.date), is_weekend) {
            (true, _) => habit.weekend.min(0.2),
            (false, true) => habit.weekend,
            (false, false) => 1.0,
        };
        let grown = habit.growth.powf(real(place) / 168.0);
        let shifted: f64 = habit.shifts.iter().filter(|(at, _)| place >= *at).map(|(_, factor)| factor).product();
        let noise = (level + habit.noise * dice.normal()).exp();
        values.push((1_000.0 * hour * day * grown * shifted * noise).round());
    }
    HourlySeries::new(start, after(start, real(HOURS)), values)
}

fn is_holiday(habit: &Habit, date: NaiveDate) -> bool {
    habit.holidays.iter().any(|(month, first, last)| date.month() == *month && (*first..=*last).contains(&date.day()))
}

/// The calendar months in UTC that lie in `[start, until)` after so many days of history.
#[must_use]
pub fn months(start: DateTime<Utc>, until: DateTime<Utc>, history_days: f64) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let mut periods = Vec::new();
    let mut at = after(start, history_days * 24.0);
    while let Some((begin, end)) =
        PeriodSpec::MONTH.holding(Zone::UTC, at).ok().and_then(|month| Some((month.start, month.end?)))
    {
        if end > until || end <= at {
            break;
        }
        if begin >= after(start, history_days * 24.0) {
            periods.push((begin, end));
        }
        at = end;
    }
    periods
}

/// Windows of so many days that begin every `step_days`, after so many days of history.
#[must_use]
pub fn windows(
    start: DateTime<Utc>,
    until: DateTime<Utc>,
    history_days: f64,
    length_days: f64,
    step_days: f64,
) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let at = |step: i64| after(start, (history_days + step_days.max(1.0) * real_hours(step)) * 24.0);
    let windows = (0..10_000).map(|step| (at(step), after(at(step), length_days * 24.0)));
    windows.take_while(|(_, end)| *end <= until).collect()
}

fn case(name: &str, kind: Kind, habits: &[Habit], seed: u64) -> Case {
    let source = |(place, habit): (usize, &Habit)| {
        let zone = Zone::parse(habit.zone).ok()?;
        let tenant = TenantId::parse(&format!("tenant-{place}")).ok()?;
        let seed = seed.wrapping_mul(1_000).wrapping_add(u64::try_from(place).unwrap_or(0));
        Some(Source { tenant, feature: None, zone, series: series(habit, zone, seed) })
    };
    let sources: Vec<Source> = habits.iter().enumerate().filter_map(source).collect();
    let periods = sources.first().map(|source| months(source.series.start(), source.series.until(), HISTORY_DAYS));
    Case {
        name: name.to_owned(),
        kind,
        sources,
        periods: periods.unwrap_or_default(),
        days: &DAYS_MONTH,
        halves: false,
    }
}

/// The made cases, each from `seeds` seeds.
#[must_use]
pub fn cases(seeds: u64) -> Vec<Case> {
    const GERMAN: &[(u32, u32, u32)] =
        &[(1, 1, 1), (3, 29, 29), (4, 1, 1), (5, 1, 1), (5, 9, 9), (5, 20, 20), (10, 3, 3), (12, 24, 31)];
    const FRENCH: &[(u32, u32, u32)] =
        &[(1, 1, 1), (5, 1, 1), (5, 8, 8), (7, 14, 14), (8, 5, 18), (11, 1, 1), (12, 21, 31)];
    let office = Habit { day: OFFICE, weekend: 0.02, drift: 0.05, holidays: GERMAN, ..USUAL };
    let mixed = [
        Habit { zone: "Asia/Tokyo", day: OFFICE, weekend: 0.2, growth: 1.01, ..USUAL },
        Habit { zone: "Europe/Berlin", day: OFFICE, weekend: 0.15, drift: 0.05, ..USUAL },
        Habit { zone: "America/Sao_Paulo", growth: 1.03, drift: 0.06, ..USUAL },
        Habit { zone: "America/Los_Angeles", weekend: 0.5, growth: 0.995, ..USUAL },
    ];
    let mut cases = Vec::new();
    for seed in 0..seeds {
        cases.push(case(
            "made: one zone, clocks change",
            Kind::Daily,
            &[Habit { zone: "America/New_York", ..USUAL }],
            seed,
        ));
        let quiet = Habit { zone: "Europe/Paris", weekend: 0.5, holidays: FRENCH, ..USUAL };
        cases.push(case("made: holidays", Kind::Daily, &[quiet], seed.wrapping_add(100)));
        cases.push(case("made: weekdays only", Kind::WeekdayOnly, &[office], seed.wrapping_add(200)));
        cases.push(case("made: four zones", Kind::MixedZones, &mixed, seed.wrapping_add(300)));
        let growth = Habit { zone: "Europe/London", growth: 1.04, ..USUAL };
        cases.push(case("made: growth", Kind::Moving, &[growth], seed.wrapping_add(400)));
        let shifts = Habit { zone: "America/Chicago", shifts: &[(2_500, 1.8), (5_100, 0.5), (7_700, 2.0)], ..USUAL };
        let restless = Habit { zone: "Europe/Madrid", drift: 0.15, noise: 0.3, ..USUAL };
        cases.push(case("made: restless", Kind::Moving, &[restless], seed.wrapping_add(600)));
        let bursts = Habit { zone: "Asia/Singapore", drift: 0.5, noise: 1.2, ..USUAL };
        cases.push(case("made: bursts", Kind::Bursty, &[bursts], seed.wrapping_add(700)));
        cases.push(case("made: level shifts", Kind::Moving, &[shifts], seed.wrapping_add(500)));
    }
    cases
}
