//! What a pace buys: the same demand until a reset, played once with the limit alone and once with a plan every hour.
//!
//! | # | beat | in each step |
//! |---|---|---|
//! | 1 | day | where a local day begins, a forecast of what is to come, and a new day's share |
//! | 2 | wait | what can wait comes behind what has waited, and takes what its pace leaves: standard before batch |
//! | 3 | people | take what they ask for, as far as the limit goes |
//!
//! With the limit alone there is no pace: everybody takes what there is, and of the step in which it ends all get the same
//! part of what they ask for.
//!
//! Invariants: what is taken and what is unused add up to the limit; each unit that is asked is taken at once, taken later
//! or missed, and only once.
//! Deliberately absent: single calls (demand is a stream), holds (what is taken is used), and tenants (a quota's own
//! tenants share its room, see [`super::fair`]).

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::prelude::ToPrimitive as _;

use super::curve::Curve;
use super::pace::Pace;
use super::plan::{Seen, Situation, plan, quantity, to_float};
use crate::domain::calendar::{PeriodSpec, Zone};

/// Less than this part of what was asked is not missed: sums of floats are not exact.
const NOTHING: f64 = 1e-9;

/// What is asked from one instant to the next step's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// When it begins.
    pub start: DateTime<Utc>,
    /// Asked by interactive calls.
    pub interactive: f64,
    /// Asked by standard calls.
    pub standard: f64,
    /// Asked by batch calls.
    pub batch: f64,
}

/// What a forecast says is to come, by class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expected {
    /// Of interactive calls.
    pub interactive: Curve,
    /// Of standard calls.
    pub standard: Curve,
    /// Of batch calls.
    pub batch: Curve,
}

/// A budget at an instant, and what is asked of it from then on.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The demand. Steps ascend; the last ends at the reset.
    pub steps: &'a [Step],
    /// The budget's clock.
    pub zone: Zone,
    /// When its period began.
    pub period_start: DateTime<Utc>,
    /// When it resets.
    pub reset: DateTime<Utc>,
    /// Its limit.
    pub limit: f64,
    /// What is taken of it when the first step begins.
    pub taken: f64,
    /// Taken by standard calls on the local day of the first step, before it.
    pub standard_today: f64,
    /// The same, by batch calls.
    pub batch_today: f64,
    /// See [`Situation::standard_floor`].
    pub standard_floor: f64,
    /// See [`Situation::batch_floor`].
    pub batch_floor: f64,
    /// For how long what can wait does so before it gives up; none: until the reset.
    pub patience: Option<TimeDelta>,
}

/// What decides.
pub enum Policy<'a> {
    /// The limit, and nothing else.
    Limit,
    /// A pace. The forecast is asked for at the first step and where a local day begins, and is told what people took in each
    /// step so far.
    Forecast(&'a mut dyn FnMut(DateTime<Utc>, &[f64]) -> Expected),
}

/// What became of the demand of one class.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Served {
    /// What was asked.
    pub asked: f64,
    /// What was taken in a later step than it was asked in.
    pub later: f64,
    /// What was not taken before the reset: refused, given up, or still waiting then.
    pub missed: f64,
}

/// What became of it all.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Of interactive calls, which do not wait.
    pub interactive: Served,
    /// Of standard calls.
    pub standard: Served,
    /// Of batch calls.
    pub batch: Served,
    /// What was left of the limit at the reset.
    pub unused: f64,
    /// When interactive calls were first refused; none if they never were.
    pub runs_out_at: Option<DateTime<Utc>>,
    /// Hours in which interactive calls were refused, each as far as they were.
    pub hours_refused: f64,
}

/// Work that waits, the oldest first.
#[derive(Debug, Default)]
struct Queue(VecDeque<(DateTime<Utc>, f64)>);

impl Queue {
    fn ask(&mut self, at: DateTime<Utc>, work: f64, served: &mut Served) {
        if work > 0.0 {
            served.asked += work;
            self.0.push_back((at, work));
        }
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|(_, work)| work).sum()
    }

    /// Takes as much as there is room for.
    fn take(&mut self, room: f64, now: DateTime<Utc>, served: &mut Served) -> f64 {
        let mut left = room.max(0.0);
        while let Some((since, work)) = self.0.front_mut() {
            let took = work.min(left);
            left -= took;
            *work -= took;
            if *since < now {
                served.later += took;
            }
            if *work > 0.0 {
                break;
            }
            self.0.pop_front();
        }
        room.max(0.0) - left
    }

    fn give_up(&mut self, now: DateTime<Utc>, patience: TimeDelta, served: &mut Served) {
        while self.0.front().is_some_and(|(since, _)| now.signed_duration_since(*since) >= patience) {
            served.missed += self.0.pop_front().map_or(0.0, |(_, work)| work);
        }
    }
}

/// What a run of it remembers.
struct Run<'a> {
    scene: &'a Scene<'a>,
    used: f64,
    outcome: Outcome,
    standard: Queue,
    batch: Queue,
    /// What people took in each step so far.
    known: Vec<f64>,
    expected: Expected,
    day: Option<(DateTime<Utc>, DateTime<Utc>)>,
    standard_today: f64,
    batch_today: f64,
    seen: Seen,
}

/// Plays a scene.
#[must_use]
pub fn play(scene: &Scene<'_>, mut policy: Policy<'_>) -> Outcome {
    let mut run = Run {
        scene,
        used: scene.taken,
        outcome: Outcome::default(),
        standard: Queue::default(),
        batch: Queue::default(),
        known: Vec::with_capacity(scene.steps.len()),
        expected: Expected::default(),
        day: None,
        standard_today: scene.standard_today,
        batch_today: scene.batch_today,
        seen: Seen::NOTHING,
    };
    let ends = scene.steps.iter().skip(1).map(|step| step.start).chain([scene.reset]);
    for (step, end) in scene.steps.iter().zip(ends) {
        run.standard.ask(step.start, step.standard, &mut run.outcome.standard);
        run.batch.ask(step.start, step.batch, &mut run.outcome.batch);
        let got = match &mut policy {
            Policy::Limit => run.rush(step),
            Policy::Forecast(forecast) => run.paced(step, *forecast),
        };
        if let Some(patience) = scene.patience {
            run.standard.give_up(step.start, patience, &mut run.outcome.standard);
            run.batch.give_up(step.start, patience, &mut run.outcome.batch);
        }
        run.people(step, end, got);
    }
    run.outcome.standard.missed += run.standard.total();
    run.outcome.batch.missed += run.batch.total();
    run.outcome.unused = (scene.limit - run.used).max(0.0);
    run.outcome
}

impl Run<'_> {
    fn left(&self) -> f64 {
        (self.scene.limit - self.used).max(0.0)
    }

    /// Everybody at once. Answers what people got.
    fn rush(&mut self, step: &Step) -> f64 {
        let (standard, batch) = (self.standard.total(), self.batch.total());
        let asked = step.interactive + standard + batch;
        let part = if asked > 0.0 { (self.left() / asked).min(1.0) } else { 1.0 };
        self.used += self.standard.take(standard * part, step.start, &mut self.outcome.standard);
        self.used += self.batch.take(batch * part, step.start, &mut self.outcome.batch);
        step.interactive * part
    }

    /// What can wait as far as its pace goes, and people as far as the limit does. Answers what they got.
    fn paced(&mut self, step: &Step, forecast: &mut dyn FnMut(DateTime<Utc>, &[f64]) -> Expected) -> f64 {
        let now = step.start;
        if self.day.is_none_or(|(_, end)| now >= end) {
            if self.day.is_some() {
                (self.standard_today, self.batch_today) = (0.0, 0.0);
            }
            self.day = Some(self.day_of(now));
            self.expected = forecast(now, &self.known);
            let tomorrow = now.checked_add_signed(TimeDelta::days(1)).unwrap_or(self.scene.reset);
            let a_day = self.expected.interactive.between(now, tomorrow);
            self.seen = Seen { used: 0.0, expected: 0.0, a_day };
        }
        let pace = self.pace(now);
        let room = to_float(pace.level(pace.rooms.standard, now)).min(self.scene.limit) - self.used;
        let took = self.standard.take(room, now, &mut self.outcome.standard);
        (self.used, self.standard_today) = (self.used + took, self.standard_today + took);
        let room = to_float(pace.level(pace.rooms.batch, now)).min(self.scene.limit) - self.used;
        let took = self.batch.take(room, now, &mut self.outcome.batch);
        (self.used, self.batch_today) = (self.used + took, self.batch_today + took);
        step.interactive.min(self.left())
    }

    fn day_of(&self, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let reset = self.scene.reset;
        let day = PeriodSpec::DAY.holding(self.scene.zone, now);
        day.map_or((now, reset), |day| (day.start, day.end.unwrap_or(reset)))
    }

    fn pace(&self, now: DateTime<Utc>) -> Pace {
        let scene = self.scene;
        let situation = Situation {
            now,
            period_start: scene.period_start,
            reset: scene.reset,
            day: self.day.unwrap_or((now, scene.reset)),
            counted_from: scene.period_start,
            limit: quantity(scene.limit),
            taken: quantity(self.used),
            standard_today: self.standard_today,
            batch_today: self.batch_today,
            interactive: &self.expected.interactive,
            standard: &self.expected.standard,
            batch: &self.expected.batch,
            seen: self.seen,
            standard_floor: scene.standard_floor,
            batch_floor: scene.batch_floor,
        };
        plan(&situation).pace(&situation, None)
    }

    /// Counts what people got in a step.
    fn people(&mut self, step: &Step, end: DateTime<Utc>, got: f64) {
        let asked = step.interactive.max(0.0);
        let got = got.clamp(0.0, asked);
        let missed = asked - got;
        self.used += got;
        self.outcome.interactive.asked += asked;
        if missed > asked * NOTHING {
            let seconds = end.signed_duration_since(step.start).num_seconds().to_f64().unwrap_or(0.0);
            let after = (seconds * (got / asked)).to_i64().and_then(TimeDelta::try_seconds).unwrap_or_default();
            self.outcome.interactive.missed += missed;
            self.outcome.hours_refused += seconds / 3600.0 * (missed / asked);
            self.outcome.runs_out_at = self.outcome.runs_out_at.or(step.start.checked_add_signed(after));
        }
        // What was refused was wanted all the same, but the journal does not know.
        self.known.push(got);
        self.seen = Seen {
            used: self.seen.used + got,
            expected: self.seen.expected + self.expected.interactive.between(step.start, end),
            ..self.seen
        };
    }
}
