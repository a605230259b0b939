//! What was measured without and with, as JSON and as a page for people.

use std::fmt::Write as _;

use comfy_table::Table;
use serde::Serialize;
use serde_json::Value;

use super::super::process::float;
use super::super::report::{Audit, Measured, Memory, Setting, Target, write_targets};
use super::super::tally::{Latency, median, quartiles};
use super::Beside;
use super::exporter::{Exported, KINDS};
use crate::cli::table::Look;

/// The most that p99 of pre-flight may be, in terms of that of the side without.
const PACING_RATIO_MAX: f64 = 1.1;
const EXPORT_RATIO_MAX: f64 = 1.2;
/// The longest that an export of charges may take alone, and of how many transfers.
const FOCUS_SECONDS_MAX: f64 = 3.0;
const FOCUS_TRANSFERS: f64 = 100_000.0;
/// The least of a paced side's answers that must be of a plan: two of three priorities are paced.
const PLANNED_SHARE_MIN: f64 = 0.6;

/// One side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in super::super) struct SideMeasured {
    pub(super) side: &'static str,
    /// The part of the answers whose advice was of a plan.
    pub(super) answers_of_a_plan: f64,
    #[serde(flatten)]
    pub(super) measured: Measured,
}

/// The two slices of one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(in super::super) struct Round {
    pub(super) without_p99_ms: f64,
    pub(super) with_p99_ms: f64,
    pub(super) ratio: f64,
}

impl Round {
    pub(super) fn new(without: f64, with: f64) -> Self {
        Self { without_p99_ms: without, with_p99_ms: with, ratio: with / without.max(f64::MIN_POSITIVE) }
    }
}

/// The ratios of all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(in super::super) struct Spread {
    pub(super) median: f64,
    pub(super) lower_quartile: f64,
    pub(super) upper_quartile: f64,
}

/// What a plan leaves calls of a priority, as they are told before the first slice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in super::super) struct PaceFound {
    pub(super) priority: &'static str,
    pub(super) pace: Value,
}

/// Exports of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in super::super) struct Exports {
    pub(super) kind: &'static str,
    /// Of the one that was made before any call.
    pub(super) transfers: u64,
    pub(super) bytes: u64,
    pub(super) seconds_alone: f64,
    /// How many were made while calls were.
    pub(super) count: usize,
    /// The middle one of those.
    pub(super) seconds_beside: Option<f64>,
}

impl Exports {
    pub(super) fn of(alone: Vec<Exported>, beside: &[Exported]) -> Vec<Self> {
        let of_one = |one: Exported| {
            let seconds: Vec<f64> =
                beside.iter().filter(|other| other.kind == one.kind).map(|other| other.seconds).collect();
            let kind = KINDS.get(one.kind).map_or("", |(name, _)| *name);
            let Exported { transfers, bytes, seconds: seconds_alone, .. } = one;
            Self { kind, transfers, bytes, seconds_alone, count: seconds.len(), seconds_beside: median(seconds) }
        };
        alone.into_iter().map(of_one).collect()
    }
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in super::super) struct Report {
    #[serde(flatten)]
    pub(super) setting: Setting,
    pub(super) beside: &'static str,
    pub(super) callers: u16,
    /// Without, and with.
    pub(super) sides: Vec<SideMeasured>,
    pub(super) rounds: Vec<Round>,
    /// With over without, of pre-flight's p99.
    pub(super) ratio: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pace: Option<Vec<PaceFound>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exports: Option<Vec<Exports>>,
    pub(super) memory: Memory,
    #[serde(flatten)]
    pub(in super::super) audit: Audit,
    pub(super) targets: Vec<Target>,
}

impl Report {
    /// Compares what was measured with what it must reach.
    pub(super) fn judge(&mut self, beside: Beside) {
        let ratios = self.rounds.iter().map(|round| round.ratio).collect();
        self.ratio = quartiles(ratios).map(|[lower_quartile, median, upper_quartile]| Spread {
            median,
            lower_quartile,
            upper_quartile,
        });
        let mut targets = vec![Target::at_most("ledger mismatches", 0.0, float(self.audit.ledger_mismatches))];
        let errors = self.sides.iter().map(|side| side.measured.errors).sum();
        targets.push(Target::at_most("requests that failed", 0.0, float(errors)));
        let (what, most) = match beside {
            Beside::Pacing => ("times the p99 of pre-flight, paced over limits alone", PACING_RATIO_MAX),
            Beside::Export => ("times the p99 of pre-flight, beside exports over without", EXPORT_RATIO_MAX),
        };
        targets.extend(self.ratio.map(|ratio| Target::at_most(what, most, ratio.median)));
        if beside == Beside::Pacing
            && let Some(measured) = self.sides.last().map(|side| side.answers_of_a_plan)
        {
            let what = "of the paced side's answers of a plan, at least";
            let is_met = measured >= PLANNED_SHARE_MIN;
            targets.push(Target { what, target: PLANNED_SHARE_MIN, measured, is_met });
        }
        let focus = self.exports.iter().flatten().filter(|one| one.kind.starts_with("FOCUS"));
        let slowest = focus.map(|one| one.seconds_alone * FOCUS_TRANSFERS / float(one.transfers).max(1.0));
        // What is fixed about an export is not to be multiplied.
        let is_large = self.exports.iter().flatten().all(|one| float(one.transfers) >= FOCUS_TRANSFERS);
        if let Some(seconds) = slowest.max_by(f64::total_cmp).filter(|_| is_large) {
            targets.push(Target::at_most("seconds for 100,000 transfers as FOCUS, alone", FOCUS_SECONDS_MAX, seconds));
        }
        self.targets = targets;
    }

    /// The page for people.
    pub(in super::super) fn page(&self, look: Look) -> String {
        let mut page = String::new();
        // Writing to a text cannot fail.
        let _ = self.write(&mut page, look);
        page
    }

    fn write(&self, page: &mut String, look: Look) -> std::fmt::Result {
        self.setting.write(page)?;
        let Setting { think_ms, .. } = self.setting;
        writeln!(page, "\n{} callers that think {think_ms} ms in the mean between requests.", self.callers)?;
        writeln!(page, "A request is a reservation and its settlement; times are those of pre-flight.\n")?;
        writeln!(page, "{}\n", self.sides(look).trim_fmt())?;
        if let Some(exports) = &self.exports {
            writeln!(page, "{}\n", exported(exports, look).trim_fmt())?;
        }
        for found in self.pace.iter().flatten() {
            let part = |name: &str| found.pace.get(name).map_or_else(|| "-".to_owned(), ToString::to_string);
            let (left, window, passes) = (part("units_available"), part("window_s"), part("pass_through"));
            writeln!(page, "told to {}: {left} left for {window} s, {passes} pass", found.priority)?;
        }
        if let Some(Spread { median, lower_quartile, upper_quartile }) = self.ratio {
            let rounds = self.rounds.len();
            writeln!(
                page,
                "p99 with over p99 without: {median:.2} (the middle one of {rounds} rounds; half of them from \
                 {lower_quartile:.2} to {upper_quartile:.2})"
            )?;
        }
        for side in &self.sides {
            if let Some(error) = &side.measured.first_error {
                writeln!(page, "{}: {} errors, the first: {error}", side.side, side.measured.errors)?;
            }
        }
        self.audit.write(page)?;
        if let Some(mb) = self.memory.service_peak_mb {
            writeln!(page, "peak memory of the service: {mb:.0} MB")?;
        }
        write_targets(page, &self.targets)
    }

    fn sides(&self, look: Look) -> Table {
        let heads = [
            "side",
            ">requests/s",
            ">p50 ms",
            ">p95 ms",
            ">p99 ms",
            ">max ms",
            ">service CPU µs",
            ">Postgres CPU µs",
            ">of a plan",
            ">errors",
        ];
        let mut table = look.table(&heads);
        let whole = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
        for SideMeasured { side, answers_of_a_plan, measured } in &self.sides {
            let mut row = vec![(*side).to_owned(), format!("{:.0}", measured.requests_per_s)];
            let times =
                measured.preflight.map(|Latency { p50_ms, p95_ms, p99_ms, max_ms }| [p50_ms, p95_ms, p99_ms, max_ms]);
            row.extend(times.unwrap_or_default().map(|ms| format!("{ms:.2}")));
            row.extend([whole(measured.cpu.service_us), whole(measured.cpu.postgres_us)]);
            row.extend([format!("{:.0} %", answers_of_a_plan * 100.0), measured.errors.to_string()]);
            table.add_row(row);
        }
        table
    }
}

fn exported(exports: &[Exports], look: Look) -> Table {
    let heads = ["export", ">transfers", ">MB", ">s alone", ">made beside", ">s beside"];
    let mut table = look.table(&heads);
    for one in exports {
        table.add_row([
            one.kind.to_owned(),
            one.transfers.to_string(),
            format!("{:.1}", float(one.bytes) / 1e6),
            format!("{:.2}", one.seconds_alone),
            one.count.to_string(),
            one.seconds_beside.map_or("-".to_owned(), |seconds| format!("{seconds:.2}")),
        ]);
    }
    table
}
