//! `counterfoil bench --beside`: what something that runs beside pre-flight does to its latency.
//!
//! | file | what |
//! |---|---|
//! | [`past`] | what was used before: a journal to export, a rhythm to pace |
//! | [`exporter`] | somebody who takes out one export after the other |
//! | [`report`] | the page and the JSON |
//!
//! The same load runs on the same service in many short slices, without and with, and the side that goes first changes from
//! round to round: a machine that gets slower or faster meanwhile favours neither. The ratio is of the two slices of one
//! round, and the middle one counts.
//!
//! Callers think between requests, so that the machine is far from saturated: at saturation any work beside takes as much
//! from pre-flight as it uses itself, whatever the code does.

mod exporter;
mod past;
mod report;

use std::time::Duration;

use anyhow::Context;
use hyper::Method;
use serde_json::Value;
use tokio::time::Instant;

use self::exporter::Exporter;
pub(super) use self::report::Report;
use self::report::{Exports, PaceFound, Round, SideMeasured};
use super::bed::{Bed, Service};
use super::callers::{HttpCaller, drive, is_planned};
use super::load::{Calls, PRIORITIES, Shape};
use super::process::Machine;
use super::tally::{Latency, Tally};
use super::{Bench, BenchArgs, Sum, WARM_UP, say};

/// Longest time until the service's worker has made a plan and read it.
const PLAN_TIME_MAX: Duration = Duration::from_secs(120);
/// How often it is asked for meanwhile.
const PLAN_ASKED_EVERY: Duration = Duration::from_millis(500);

/// What runs beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Beside {
    /// Calls on budgets that are paced, against the same calls on budgets that are not
    Pacing,
    /// Exports one after the other, against none
    Export,
}

impl Beside {
    /// The load of the two sides: without, and with.
    const fn sides(self) -> [(&'static str, Shape); 2] {
        match self {
            Self::Pacing => [("limits alone", Shape::Plain), ("paced", Shape::Paced)],
            Self::Export => [("no exports", Shape::Hot), ("beside exports", Shape::Hot)],
        }
    }

    const fn shapes(self) -> &'static [Shape] {
        match self {
            Self::Pacing => &[Shape::Plain, Shape::Paced],
            Self::Export => &[Shape::Hot],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Pacing => "pacing",
            Self::Export => "export",
        }
    }
}

/// One of the two.
struct Side {
    name: &'static str,
    shape: Shape,
    callers: Vec<HttpCaller>,
    sum: Sum,
    paced: u64,
    answers: usize,
}

impl Side {
    fn measured(self) -> SideMeasured {
        let share =
            super::process::float(self.paced) / super::process::float(u64::try_from(self.answers.max(1)).unwrap_or(1));
        SideMeasured { side: self.name, answers_of_a_plan: share, measured: self.sum.measured() }
    }
}

/// Measures.
///
/// # Errors
/// When the service or Postgres does not answer, or no pace comes to life.
pub(super) async fn measure(
    args: &BenchArgs,
    beside: Beside,
    machine: Machine,
    bed: Option<&Bed>,
    service: &Service,
) -> anyhow::Result<Report> {
    let mut bench = Bench::prepare(args, beside.shapes(), bed, service).await?;
    let (mut exporter, mut pace) = (None, None);
    match beside {
        Beside::Pacing => {
            say("posting two weeks of use, and waiting for a pace");
            past::post_rhythm(&mut bench.admin, beside.shapes()).await?;
            pace = Some(live_pace(&mut bench).await?);
        }
        Beside::Export => {
            say(&format!("posting a journal of {} transfers", args.journal));
            let days = past::post_journal(&mut bench.admin, args.journal).await?;
            let mut one = Exporter::new(service, days);
            say("one export of each kind alone");
            one.alone().await?;
            exporter = Some(one);
        }
    }
    bench.look(beside.shapes()).await?;

    let [without, with] = beside.sides();
    let mut sides = [side(&bench, args, 0, without).await?, side(&bench, args, 1, with).await?];
    for side in &mut sides {
        let warm = drive(&mut side.callers, Duration::from_secs_f64(args.seconds).min(WARM_UP), bench.think()).await?;
        bench.keep(side.shape, &warm.tally);
    }
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        let mut p99_ms = [None, None];
        let order = if number % 2 == 1 { [0, 1] } else { [1, 0] };
        for place in order {
            let Some(side) = sides.get_mut(place) else { continue };
            let running = match exporter.as_mut().filter(|_| place == 1) {
                Some(exporter) => Some(exporter.begin()?),
                None => None,
            };
            let found = slice(&mut bench, side, Duration::from_secs_f64(args.seconds)).await;
            if let (Some(running), Some(exporter)) = (running, exporter.as_mut()) {
                exporter.keep(running.end().await?);
            }
            if let Some(slot) = p99_ms.get_mut(place) {
                *slot = found?.map(|latency| latency.p99_ms);
            }
        }
        if let [Some(without), Some(with)] = p99_ms {
            let round = Round::new(without, with);
            say(&format!("round {number}: pre-flight p99 {without:.2} ms and {with:.2} ms, ratio {:.2}", round.ratio));
            rounds.push(round);
        }
    }
    bench.memory.postgres_mb = bed.and_then(Bed::postmaster).and_then(super::process::family_memory_mb);
    let mut report = Report {
        setting: bench.setting(machine).await?,
        beside: beside.name(),
        callers: args.callers,
        sides: sides.map(Side::measured).into(),
        rounds,
        ratio: None,
        pace,
        exports: exporter.map(|exporter| Exports::of(exporter.alone, &exporter.beside)),
        memory: bench.memory(),
        audit: bench.audit().await?,
        targets: Vec::new(),
    };
    report.judge(beside);
    Ok(report)
}

async fn side(
    bench: &Bench<'_>,
    args: &BenchArgs,
    place: u8,
    (name, shape): (&'static str, Shape),
) -> anyhow::Result<Side> {
    let callers = bench.callers(shape, args.callers, &format!("side{place}")).await?;
    Ok(Side { name, shape, callers, sum: Sum::default(), paced: 0, answers: 0 })
}

/// One slice of one side, and how long pre-flights took in it.
async fn slice(bench: &mut Bench<'_>, side: &mut Side, time: Duration) -> anyhow::Result<Option<Latency>> {
    let (slice, used) = bench.slice(&mut side.callers, time).await?;
    bench.keep(side.shape, &slice.tally);
    let Tally { preflight, paced, .. } = &slice.tally;
    side.paced += paced;
    side.answers += preflight.len();
    let latency = Latency::of(preflight.clone());
    side.sum.add(slice, used);
    Ok(latency)
}

/// Waits until calls of the paced shape are answered after a plan, and says what the plan leaves them.
async fn live_pace(bench: &mut Bench<'_>) -> anyhow::Result<Vec<PaceFound>> {
    let began = Instant::now();
    let mut found = Vec::new();
    let mut ask = Shape::Paced.preflight(&Calls::new(Shape::Paced, 0).next_call());
    for priority in PRIORITIES {
        if let Some(fields) = ask.as_object_mut() {
            fields.insert("reserve".to_owned(), Value::Bool(false));
            fields.insert("priority".to_owned(), Value::from(priority));
        }
        loop {
            let reply = bench.admin.send(Method::POST, "/v1/preflight", None, &ask).await?;
            let answer: Value = reply.json().context("asking for a pace")?;
            let pace = answer.get("pace").cloned().unwrap_or(Value::Null);
            let window = pace.get("window_s").and_then(Value::as_u64).and_then(|seconds| u32::try_from(seconds).ok());
            // People are limited by the limit alone.
            if priority == "interactive" || is_planned(window) {
                found.push(PaceFound { priority, pace });
                break;
            }
            anyhow::ensure!(began.elapsed() < PLAN_TIME_MAX, "the service has made no plan of a paced budget");
            tokio::time::sleep(PLAN_ASKED_EVERY).await;
        }
    }
    Ok(found)
}
