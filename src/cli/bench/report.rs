//! What was measured, as JSON and as a page for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::Table;
use serde::Serialize;

use super::process::{Machine, float};
use super::tally::{Latency, Tally, median};
use crate::cli::table::Look;

/// The targets, for the README's machine of two cores.
const RATIO_MIN: f64 = 8.0;
const P99_MS_MAX: f64 = 25.0;
const LONE_P50_MS_MAX: f64 = 3.0;
const MEMORY_MB_MAX: f64 = 200.0;
/// The callers that the first two are stated for.
const TARGET_CALLERS: u16 = 64;

/// CPU used by one part during the measured time, per request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct CpuPerRequest {
    /// Microseconds of the service.
    pub(super) service_us: Option<f64>,
    /// Microseconds of Postgres.
    pub(super) postgres_us: Option<f64>,
    /// Microseconds of the callers.
    pub(super) callers_us: Option<f64>,
}

/// One system under one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Measured {
    /// Seconds measured.
    pub(super) seconds: f64,
    /// Reservations that were settled.
    pub(super) requests: u64,
    /// A request is a reservation and its settlement.
    pub(super) requests_per_s: f64,
    /// Reservations granted.
    pub(super) reservations_per_s: f64,
    pub(super) preflight: Option<Latency>,
    pub(super) settle: Option<Latency>,
    pub(super) verdicts: BTreeMap<String, u64>,
    pub(super) errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_error: Option<String>,
    pub(super) cpu: CpuPerRequest,
    /// Bytes of write-ahead log, per request.
    pub(super) wal_bytes_per_request: Option<f64>,
    /// Mean commands of a batch; of the service only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch_mean: Option<f64>,
}

/// What a system used during the measured time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) service_cpu_s: Option<f64>,
    pub(super) postgres_cpu_s: Option<f64>,
    pub(super) callers_cpu_s: Option<f64>,
    pub(super) wal_bytes: Option<f64>,
    pub(super) batches: Option<f64>,
    pub(super) batched: Option<f64>,
}

fn each<T: Copy>(one: Option<T>, other: Option<T>, f: impl Fn(T, T) -> T) -> Option<T> {
    Some(f(one?, other?))
}

impl Used {
    fn with(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            service_cpu_s: each(self.service_cpu_s, other.service_cpu_s, &f),
            postgres_cpu_s: each(self.postgres_cpu_s, other.postgres_cpu_s, &f),
            callers_cpu_s: each(self.callers_cpu_s, other.callers_cpu_s, &f),
            wal_bytes: each(self.wal_bytes, other.wal_bytes, &f),
            batches: each(self.batches, other.batches, &f),
            batched: each(self.batched, other.batched, &f),
        }
    }

    pub(super) fn since(self, before: Self) -> Self {
        self.with(before, |after, before| after - before)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.with(other, |one, other| one + other)
    }
}

impl Measured {
    pub(super) fn of(tally: &mut Tally, seconds: f64, used: &Used) -> Self {
        let requests = float(tally.settled);
        let per_request = |amount: Option<f64>, factor: f64| amount.map(|amount| amount * factor / requests.max(1.0));
        Self {
            seconds,
            requests: tally.settled,
            requests_per_s: requests / seconds.max(f64::MIN_POSITIVE),
            reservations_per_s: float(tally.granted) / seconds.max(f64::MIN_POSITIVE),
            preflight: Latency::of(std::mem::take(&mut tally.preflight)),
            settle: Latency::of(std::mem::take(&mut tally.settle)),
            verdicts: tally.verdicts.clone(),
            errors: tally.errors,
            first_error: tally.first_error.clone(),
            cpu: CpuPerRequest {
                service_us: per_request(used.service_cpu_s, 1e6),
                postgres_us: per_request(used.postgres_cpu_s, 1e6),
                callers_us: per_request(used.callers_cpu_s, 1e6),
            },
            wal_bytes_per_request: per_request(used.wal_bytes, 1.0),
            batch_mean: each(used.batched, used.batches, |commands, batches| commands / batches.max(1.0)),
        }
    }
}

/// One load on both systems.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Run {
    pub(super) shape: &'static str,
    pub(super) callers: u16,
    pub(super) service: Measured,
    pub(super) naive: Option<Measured>,
    /// Requests a second of the service over those of the baseline, one for each pair of slices.
    pub(super) ratios: Vec<f64>,
    /// The middle one.
    pub(super) ratio: Option<f64>,
}

impl Run {
    pub(super) fn new(
        shape: &'static str,
        callers: u16,
        service: Measured,
        naive: Option<Measured>,
        ratios: Vec<f64>,
    ) -> Self {
        let ratio = median(ratios.clone());
        Self { shape, callers, service, naive, ratios, ratio }
    }
}

/// How long a flush takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Flush {
    pub(super) p50_us: u32,
    pub(super) p99_us: u32,
}

/// The Postgres below.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Postgres {
    pub(super) version: String,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) flush: Option<Flush>,
}

/// Memory after the last measurement, in megabytes (10^6 bytes).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Memory {
    /// The most that the service had resident.
    pub(super) service_peak_mb: Option<f64>,
    /// Postgres with all its sessions, shared memory counted once.
    pub(super) postgres_mb: Option<f64>,
}

/// A target, and whether it was reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Target {
    pub(super) what: &'static str,
    pub(super) target: f64,
    pub(super) measured: f64,
    pub(super) is_met: bool,
}

impl Target {
    pub(super) fn at_most(what: &'static str, target: f64, measured: f64) -> Self {
        Self { what, target, measured, is_met: measured <= target }
    }
}

/// What was run, where, on what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Setting {
    pub(super) version: &'static str,
    pub(super) command: String,
    pub(super) at: String,
    pub(super) is_release_build: bool,
    pub(super) machine: Machine,
    pub(super) postgres: Option<Postgres>,
    pub(super) seconds_per_slice: f64,
    pub(super) rounds: u16,
    /// How long callers think between requests, in the mean.
    pub(super) think_ms: u32,
    pub(super) idempotency_keys: bool,
}

impl Setting {
    /// The head of the page.
    pub(super) fn write(&self, page: &mut String) -> std::fmt::Result {
        let machine = &self.machine;
        let build = if self.is_release_build { "release build" } else { "debug build: its figures say nothing" };
        writeln!(page, "counterfoil {} ({build}), {}", self.version, self.at)?;
        writeln!(page, "{}", self.command)?;
        let cpu = machine.cpu.as_deref().unwrap_or("unknown");
        let memory = machine.memory_mb.map_or(String::new(), |mb| format!(", {:.0} GB", mb / 1000.0));
        let load = machine.load_before.map_or(String::new(), |load| format!(", load {load} before"));
        writeln!(page, "{} cores ({cpu}){memory}{load}", machine.cores)?;
        if let Some(postgres) = &self.postgres {
            let settings: Vec<String> =
                postgres.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            writeln!(page, "Postgres {}: {}", postgres.version, settings.join(" "))?;
            if let Some(flush) = postgres.flush {
                writeln!(page, "a flush to its disk takes {} µs (p50), {} µs (p99)", flush.p50_us, flush.p99_us)?;
            }
        }
        Ok(())
    }
}

/// What the books say against what callers were told.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Audit {
    /// Differences. Must be 0.
    pub(super) ledger_mismatches: u64,
    /// The first of them.
    pub(super) mismatches: Vec<String>,
}

impl Audit {
    pub(super) fn write(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "ledger mismatches: {}", self.ledger_mismatches)?;
        for mismatch in &self.mismatches {
            writeln!(page, "  {mismatch}")?;
        }
        Ok(())
    }
}

/// What was to be reached, and whether it was.
pub(super) fn write_targets(page: &mut String, targets: &[Target]) -> std::fmt::Result {
    for target in targets {
        let mark = if target.is_met { "met   " } else { "missed" };
        writeln!(page, "{mark} {}: {} (target {})", target.what, brief(target.measured), brief(target.target))?;
    }
    Ok(())
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) setting: Setting,
    pub(super) runs: Vec<Run>,
    pub(super) memory: Memory,
    #[serde(flatten)]
    pub(super) audit: Audit,
    pub(super) targets: Vec<Target>,
}

impl Report {
    /// Compares what was measured with what it must reach.
    pub(super) fn judge(&mut self) {
        let mut targets = Vec::new();
        let mut at_most = |what, target, measured: Option<f64>| {
            targets.extend(measured.map(|measured| Target::at_most(what, target, measured)));
        };
        at_most("ledger mismatches", 0.0, Some(float(self.audit.ledger_mismatches)));
        let worst = |run: &Run, of: fn(&Latency) -> f64| {
            let both = [run.service.preflight, run.service.settle];
            both.iter().flatten().map(of).max_by(f64::total_cmp)
        };
        if let Some(hot) = self.runs.iter().find(|run| run.shape == "hot" && run.callers == TARGET_CALLERS) {
            at_most("p99 at 64 callers on one hot budget, ms", P99_MS_MAX, worst(hot, |latency| latency.p99_ms));
        }
        if let Some(lone) = self.runs.iter().find(|run| run.callers == 1) {
            at_most("p50 at one caller, ms", LONE_P50_MS_MAX, worst(lone, |latency| latency.p50_ms));
        }
        at_most("peak memory of the service, MB", MEMORY_MB_MAX, self.memory.service_peak_mb);
        let hot = self.runs.iter().find(|run| run.shape == "hot" && run.callers == TARGET_CALLERS);
        if let Some(ratio) = hot.and_then(|run| run.ratio) {
            let what = "times the naive baseline at 64 callers on one hot budget, at least";
            targets.push(Target { what, target: RATIO_MIN, measured: ratio, is_met: ratio >= RATIO_MIN });
        }
        self.targets = targets;
    }

    /// The page for people.
    pub(super) fn page(&self, look: Look) -> String {
        let mut page = String::new();
        // Writing to a text cannot fail.
        let _ = self.write(&mut page, look);
        page
    }

    fn write(&self, page: &mut String, look: Look) -> std::fmt::Result {
        self.setting.write(page)?;
        writeln!(page, "\nA request is a reservation and its settlement. Costs are those of one request.\n")?;
        for table in [self.speed(look), self.latencies(look), self.cost(look)] {
            writeln!(page, "{}\n", table.trim_fmt())?;
        }
        for run in &self.runs {
            for (name, measured) in [("service", Some(&run.service)), ("naive", run.naive.as_ref())] {
                if let Some((error, measured)) = measured.and_then(|one| Some((one.first_error.as_ref()?, one))) {
                    writeln!(page, "{} {name}: {} errors, the first: {error}", run.shape, measured.errors)?;
                }
            }
        }
        self.audit.write(page)?;
        if let Some(mb) = self.memory.service_peak_mb {
            writeln!(page, "peak memory of the service: {mb:.0} MB")?;
        }
        if let Some(mb) = self.memory.postgres_mb {
            writeln!(page, "memory of Postgres: {mb:.0} MB")?;
        }
        write_targets(page, &self.targets)
    }

    fn rows(&self) -> impl Iterator<Item = (&Run, &'static str, &Measured)> {
        self.runs.iter().flat_map(|run| {
            let naive = run.naive.as_ref().map(|measured| (run, "naive", measured));
            std::iter::once((run, "service", &run.service)).chain(naive)
        })
    }

    fn speed(&self, look: Look) -> Table {
        let heads =
            ["load", ">callers", "system", ">requests/s", ">reservations/s", ">times naive", "verdicts", ">errors"];
        let mut table = look.table(&heads);
        for (run, system, measured) in self.rows() {
            let verdicts = measured.verdicts.iter().map(|(name, count)| format!("{name} {count}"));
            let ratio = run.ratio.filter(|_| system == "service");
            table.add_row([
                run.shape.to_owned(),
                run.callers.to_string(),
                system.to_owned(),
                format!("{:.0}", measured.requests_per_s),
                format!("{:.0}", measured.reservations_per_s),
                ratio.map_or(String::new(), |ratio| format!("{ratio:.1}")),
                verdicts.collect::<Vec<_>>().join(", "),
                measured.errors.to_string(),
            ]);
        }
        table
    }

    fn latencies(&self, look: Look) -> Table {
        let heads = ["load", ">callers", "system", "call", ">p50 ms", ">p95 ms", ">p99 ms", ">max ms"];
        let mut table = look.table(&heads);
        for (run, system, measured) in self.rows() {
            for (call, latency) in [("pre-flight", measured.preflight), ("settle", measured.settle)] {
                let Some(Latency { p50_ms, p95_ms, p99_ms, max_ms }) = latency else { continue };
                let mut row = vec![run.shape.to_owned(), run.callers.to_string(), system.to_owned(), call.to_owned()];
                row.extend([p50_ms, p95_ms, p99_ms, max_ms].map(|ms| format!("{ms:.2}")));
                table.add_row(row);
            }
        }
        table
    }

    /// What a request costs.
    fn cost(&self, look: Look) -> Table {
        let heads = [
            "load",
            ">callers",
            "system",
            ">service CPU µs",
            ">Postgres CPU µs",
            ">callers CPU µs",
            ">log bytes",
            ">commands a batch",
        ];
        let mut table = look.table(&heads);
        let whole = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
        for (run, system, measured) in self.rows() {
            let is_service = system == "service";
            table.add_row([
                run.shape.to_owned(),
                run.callers.to_string(),
                system.to_owned(),
                whole(measured.cpu.service_us.filter(|_| is_service)),
                whole(measured.cpu.postgres_us),
                whole(measured.cpu.callers_us),
                whole(measured.wal_bytes_per_request),
                measured.batch_mean.filter(|_| is_service).map_or("-".to_owned(), |mean| format!("{mean:.1}")),
            ]);
        }
        table
    }
}

fn brief(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
