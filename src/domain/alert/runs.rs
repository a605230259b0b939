//! Runs that run away: one that spends far faster than runs of its feature do, and one that goes on and on with a growing
//! context.
//!
//! A run is followed by ten minutes, its last two of them, and its first calls. What is usual is learnt from the runs of the
//! feature that have ended: the mean and the spread of the logarithms of their calls, and of the most calls and dollars they
//! made in ten minutes. Until [`RUNS_KNOWN_MIN`] have ended, fixed lines stand in.
//!
//! Deliberately absent: stopping a run. An alert says what is so; a budget for each run stops it.
#![expect(clippy::float_arithmetic, reason = "rates are compared; no amount that is posted passes through them")]

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive as _;

use super::counters::encoded;
use super::kind::{AlertKind, Severity};
use super::{Alert, Cause, Figure, Level, Reading, Subject};
use crate::domain::id::{FeatureId, RunId, TenantId};

/// The span in which a run's speed is measured.
pub const RUN_SPAN: TimeDelta = TimeDelta::minutes(10);
/// A run without a call for so long has ended, as far as alerts go.
pub const RUN_IDLE_MAX: TimeDelta = TimeDelta::minutes(20);
/// A run without a call for so long is forgotten, and counted among those that have ended.
pub const RUN_KEPT: TimeDelta = TimeDelta::hours(24);
/// Fewest runs of a feature from which it is known what is usual.
pub const RUNS_KNOWN_MIN: f64 = 20.0;
/// Runs that ended long ago count less: the mean is over about so many.
const RUNS_REMEMBERED: f64 = 200.0;
/// How many times faster than the 95th percentile of usual runs is too fast.
const TOO_FAST: f64 = 5.0;
/// How many times longer than the 95th percentile of usual runs is too long.
const TOO_LONG: f64 = 3.0;
/// Calls in ten minutes: never an alert below the first; and where nothing is known, at the second.
const FAST_CALLS: (f64, f64) = (60.0, 300.0);
/// Dollars in ten minutes, as the calls.
const FAST_USD: (f64, f64) = (1.0, 20.0);
/// Calls of a run, as the calls in ten minutes.
const LONG_CALLS: (f64, f64) = (50.0, 100.0);
/// How long a run must have lasted to be a loop.
const LOOP_TIME_MIN: TimeDelta = TimeDelta::minutes(15);
/// How much its prompts must have grown since its first calls.
const LOOP_GROWTH: f64 = 1.5;
/// Below this growth it is no loop any more.
const LOOP_GROWTH_CLEAR: f64 = 1.25;
/// Calls that are the first.
const EARLY_CALLS: f64 = 10.0;

/// What was posted of one run within one span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunSlice {
    /// When the span began: a whole ten minutes.
    pub span_at: DateTime<Utc>,
    /// When the first call of it was made.
    pub first_at: DateTime<Utc>,
    /// When the last one was.
    pub last_at: DateTime<Utc>,
    /// Calls.
    pub calls: f64,
    /// Dollars.
    pub usd: f64,
    /// Tokens of their prompts.
    pub prompt: f64,
}

/// Calls, dollars and prompt tokens of a span.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// Calls.
    pub calls: f64,
    /// Dollars.
    pub usd: f64,
    /// Tokens of their prompts.
    pub prompt: f64,
}

/// A run, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunTrack {
    /// When its first call was made.
    pub first_at: DateTime<Utc>,
    /// When its latest one was.
    pub last_at: DateTime<Utc>,
    /// Its calls.
    pub calls: f64,
    /// Its first calls: how many, and the tokens of their prompts.
    pub early: (f64, f64),
    /// The span of the latest call.
    pub span_at: DateTime<Utc>,
    /// What was posted in it.
    pub span: Sums,
    /// What was posted in the span before it.
    pub span_before: Sums,
    /// The most calls and dollars of any span.
    pub peak: (f64, f64),
}

impl RunTrack {
    /// The run with a slice more; slices come in the order of their spans. What comes late counts as calls only.
    #[must_use]
    pub fn with(known: Option<Self>, slice: &RunSlice) -> Self {
        let mut track = known.unwrap_or(Self {
            first_at: slice.first_at,
            last_at: slice.last_at,
            calls: 0.0,
            early: (0.0, 0.0),
            span_at: slice.span_at,
            span: Sums::default(),
            span_before: Sums::default(),
            peak: (0.0, 0.0),
        });
        track.first_at = track.first_at.min(slice.first_at);
        track.last_at = track.last_at.max(slice.last_at);
        track.calls += slice.calls;
        if track.early.0 < EARLY_CALLS {
            track.early = (track.early.0 + slice.calls, track.early.1 + slice.prompt);
        }
        if slice.span_at < track.span_at {
            return track;
        }
        if slice.span_at > track.span_at {
            let follows = track.span_at.checked_add_signed(RUN_SPAN) == Some(slice.span_at);
            track.span_before = if follows { track.span } else { Sums::default() };
            track.span = Sums::default();
            track.span_at = slice.span_at;
        }
        track.span.calls += slice.calls;
        track.span.usd += slice.usd;
        track.span.prompt += slice.prompt;
        track.peak = (track.peak.0.max(track.span.calls), track.peak.1.max(track.span.usd));
        track
    }

    /// Tokens of a prompt now, as a multiple of those of the first calls.
    fn growth(&self) -> f64 {
        let late = per_call(self.span.calls + self.span_before.calls, self.span.prompt + self.span_before.prompt);
        let early = per_call(self.early.0, self.early.1);
        if early > 0.0 { late / early } else { 0.0 }
    }
}

fn per_call(calls: f64, prompt: f64) -> f64 {
    if calls > 0.0 { prompt / calls } else { 0.0 }
}

/// A mean and a spread of logarithms that forgets slowly.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usual {
    /// The mean.
    pub mean: f64,
    /// The variance.
    pub variance: f64,
}

impl Usual {
    fn with(self, value: f64, count: f64) -> Self {
        let value = value.max(0.0).ln_1p();
        let weight = 1.0 / (count + 1.0).min(RUNS_REMEMBERED);
        let off = value - self.mean;
        let mean = self.mean + weight * off;
        Self { mean, variance: (1.0 - weight) * (self.variance + weight * off * off) }
    }

    /// About the 95th percentile.
    fn high(self) -> f64 {
        (self.mean + 1.645 * self.variance.max(0.0).sqrt()).exp_m1()
    }
}

/// What runs of a feature are usually like.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct UsualRuns {
    /// How many have ended.
    pub count: f64,
    /// Their calls.
    pub calls: Usual,
    /// The most calls they made in ten minutes.
    pub peak_calls: Usual,
    /// The most dollars they spent in ten minutes.
    pub peak_usd: Usual,
}

impl UsualRuns {
    /// With one more that has ended.
    #[must_use]
    pub fn with(self, track: &RunTrack) -> Self {
        Self {
            count: self.count + 1.0,
            calls: self.calls.with(track.calls, self.count),
            peak_calls: self.peak_calls.with(track.peak.0, self.count),
            peak_usd: self.peak_usd.with(track.peak.1, self.count),
        }
    }

    /// The line beyond which something is unusual.
    fn line(&self, usual: Usual, times: f64, (least, unknown): (f64, f64)) -> f64 {
        if self.count >= RUNS_KNOWN_MIN { (usual.high() * times).max(least) } else { unknown }
    }
}

/// A run, and what runs of its feature are usually like.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFact {
    /// Whose.
    pub tenant: TenantId,
    /// Which run.
    pub run: RunId,
    /// Of which feature.
    pub feature: FeatureId,
    /// How far it has come.
    pub track: RunTrack,
    /// What is usual.
    pub usual: UsualRuns,
}

/// What a run tells: one reading of its speed, one of whether it is a loop.
#[must_use]
pub fn read(fact: &RunFact, now: DateTime<Utc>) -> Vec<Reading> {
    let track = &fact.track;
    let idle = now.signed_duration_since(track.last_at) >= RUN_IDLE_MAX;
    let current = now.signed_duration_since(track.span_at) < RUN_IDLE_MAX;
    let (calls, usd) = if current {
        (track.span.calls.max(track.span_before.calls), track.span.usd.max(track.span_before.usd))
    } else {
        (0.0, 0.0)
    };
    let line_calls = fact.usual.line(fact.usual.peak_calls, TOO_FAST, FAST_CALLS);
    let line_usd = fact.usual.line(fact.usual.peak_usd, TOO_FAST, FAST_USD);
    let speed = (calls / line_calls).max(usd / line_usd);
    let velocity = if idle || speed < 0.5 {
        Level::Quiet
    } else if speed >= 1.0 {
        Level::Firing
    } else {
        Level::Between
    };

    let line_long = fact.usual.line(fact.usual.calls, TOO_LONG, LONG_CALLS);
    let growth = track.growth();
    let lasted = track.last_at.signed_duration_since(track.first_at) >= LOOP_TIME_MIN;
    let suspicion = if idle || growth < LOOP_GROWTH_CLEAR {
        Level::Quiet
    } else if lasted && current && track.calls >= line_long && growth >= LOOP_GROWTH {
        Level::Firing
    } else {
        Level::Between
    };
    let number = |value: f64, places| Figure::Decimal(Decimal::from_f64(value).unwrap_or_default().round_dp(places));
    let fast = vec![
        ("calls_in_ten_minutes", number(calls, 0)),
        ("usd_in_ten_minutes", number(usd, 4)),
        ("calls_line", number(line_calls, 0)),
        ("usd_line", number(line_usd, 4)),
    ];
    let looping = vec![
        ("growth", number(growth, 2)),
        ("tokens_a_call_first", number(per_call(track.early.0, track.early.1), 0)),
        ("tokens_a_call_now", number(growth * per_call(track.early.0, track.early.1), 0)),
        ("calls_line", number(line_long, 0)),
    ];
    vec![
        Reading::of(alert(fact, AlertKind::RunVelocity, fast), velocity),
        Reading::of(alert(fact, AlertKind::LoopSuspicion, looping), suspicion),
    ]
}

fn alert(fact: &RunFact, kind: AlertKind, figures: Vec<(&'static str, Figure)>) -> Alert {
    let RunFact { tenant, run, feature, track, .. } = fact;
    let is_loop = kind == AlertKind::LoopSuspicion;
    let mut all = vec![
        ("calls", Figure::Decimal(Decimal::from_f64(track.calls).unwrap_or_default().round())),
        ("first_call_at", Figure::Instant(track.first_at)),
        ("last_call_at", Figure::Instant(track.last_at)),
    ];
    all.extend(figures);
    Alert {
        cause: Cause::new(kind, &[tenant.as_str(), feature.as_str(), run.as_str()]),
        kind,
        severity: if is_loop { Severity::Warning } else { Severity::Critical },
        subject: Subject {
            tenant: Some(tenant.clone()),
            feature: Some(feature.clone()),
            run: Some(run.clone()),
            ..Subject::default()
        },
        message: if is_loop {
            format!("run {run} of {feature} goes on with a growing context: it may be a loop")
        } else {
            format!("run {run} of {feature} spends far faster than runs of {feature} do")
        },
        advice:
            "Look at what the run does, and stop it if it makes no headway; a budget for each run bounds the next one."
                .to_owned(),
        figures: all,
        links: vec![("transfers", format!("/v1/ledger/transfers?tenant={tenant}&run={}", encoded(run.as_str())))],
        ends_at: None,
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
mod tests {
    use super::*;

    /// Calls of ten minutes, and the tokens of each prompt.
    type Calls = (f64, f64);

    fn start() -> DateTime<Utc> {
        "2026-06-10T12:00:00Z".parse().unwrap()
    }

    /// A run that makes so many calls in each span, with prompts of so many tokens, and what it tells at the end.
    fn run(spans: &[(f64, f64)], usual: UsualRuns) -> (RunFact, DateTime<Utc>) {
        let mut track = None;
        let mut at = start();
        for (calls, tokens) in spans {
            let last_at = at + TimeDelta::minutes(9);
            let (calls, prompt) = (*calls, calls * tokens);
            if calls > 0.0 {
                let slice = RunSlice { span_at: at, first_at: at, last_at, calls, usd: calls * 0.01, prompt };
                track = Some(RunTrack::with(track, &slice));
            }
            at += RUN_SPAN;
        }
        let fact = RunFact {
            tenant: TenantId::parse("acme").unwrap(),
            run: RunId::parse("r-1").unwrap(),
            feature: FeatureId::parse("agent").unwrap(),
            track: track.unwrap(),
            usual,
        };
        (fact, at)
    }

    fn levels(spans: &[(f64, f64)], usual: UsualRuns) -> [Level; 2] {
        let (fact, now) = run(spans, usual);
        let readings = read(&fact, now);
        [readings[0].level, readings[1].level]
    }

    /// Fifty runs of ten to thirty calls.
    fn small_runs() -> UsualRuns {
        (0..50).fold(UsualRuns::default(), |usual, n| {
            usual.with(&run(&[(10.0 + f64::from(n % 5) * 5.0, 2_000.0)], UsualRuns::default()).0.track)
        })
    }

    #[test]
    fn runs_by_what_is_usual() {
        use Level::{Between, Firing, Quiet};
        let small = small_runs();
        let growing = |calls: f64| (1..9).map(|n| (calls, 2_000.0 * f64::from(n))).collect::<Vec<_>>();
        let table: [(&str, Vec<Calls>, UsualRuns, [Level; 2]); 9] = [
            ("an ordinary run", vec![(20.0, 2_000.0)], small, [Quiet, Quiet]),
            ("far too fast", vec![(400.0, 2_000.0)], small, [Firing, Quiet]),
            ("twice as fast as usual", vec![(60.0, 2_000.0)], small, [Quiet, Quiet]),
            ("fast, where nothing is known", vec![(299.0, 2_000.0)], UsualRuns::default(), [Between, Quiet]),
            ("too fast, where nothing is known", vec![(300.0, 2_000.0)], UsualRuns::default(), [Firing, Quiet]),
            ("on and on with a growing context", growing(20.0), small, [Quiet, Firing]),
            ("long, but its context does not grow", vec![(30.0, 2_000.0); 12], small, [Quiet, Quiet]),
            ("its context grows, and it is short", vec![(10.0, 2_000.0), (5.0, 4_000.0)], small, [Quiet, Between]),
            (
                "usual for a feature of long runs",
                growing(20.0),
                (0..50).fold(UsualRuns::default(), |usual, _| {
                    usual.with(&run(&growing(20.0), UsualRuns::default()).0.track)
                }),
                [Quiet, Between],
            ),
        ];
        for (what, spans, usual, expect) in table {
            assert_eq!(levels(&spans, usual), expect, "{what}");
        }
    }

    #[test]
    fn a_run_that_ends_is_quiet_within_half_an_hour() {
        let (fact, now) = run(&[(400.0, 2_000.0), (400.0, 4_000.0), (400.0, 8_000.0)], small_runs());
        let levels = |at| read(&fact, at).iter().map(|reading| reading.level).collect::<Vec<_>>();
        assert_eq!(levels(now), [Level::Firing, Level::Firing]);
        assert_eq!(levels(now + TimeDelta::minutes(20)), [Level::Quiet, Level::Quiet]);
    }

    #[test]
    fn what_comes_late_does_not_make_a_run_fast() {
        let (mut fact, now) = run(&[(1.0, 10.0), (1.0, 10.0), (1.0, 10.0)], small_runs());
        let late =
            RunSlice { span_at: start(), first_at: start(), last_at: start(), calls: 9_999.0, usd: 999.0, prompt: 1.0 };
        fact.track = RunTrack::with(Some(fact.track), &late);
        assert_eq!(read(&fact, now)[0].level, Level::Quiet);
    }
}
