//! Parity with the oracle, ranges, rounding. The book's own tests are beside the bundled data, in the shell.

use std::time::Duration;

use proptest::prelude::*;
use rust_decimal::dec;

use super::book::Resolved;
use super::regression::{Corner, Point, Speed, Work};
use super::*;
use crate::domain::amounts::Tokens;
use crate::domain::usage::Usage;

/// Agreement asked for, relative.
const TOLERANCE: f64 = 1e-9;

fn resolved(size: ModelSize, pue: Interval, g_per_kwh: f64) -> Resolved {
    Resolved {
        model: None,
        size,
        grid: None,
        market: None,
        serving: None,
        region: None,
        pue,
        location_g_per_kwh: g_per_kwh,
        market_g_per_kwh: g_per_kwh,
        market_method: MarketMethod::LocationFallback,
        fallbacks: Fallbacks::default(),
    }
}

fn tokens(count: u64) -> Tokens {
    Tokens::new(count).unwrap()
}

fn output(count: u64) -> Usage {
    Usage { output: tokens(count), ..Usage::default() }
}

#[track_caller]
fn close(found: f64, expected: f64, what: &str) {
    let scale = expected.abs().max(f64::MIN_POSITIVE);
    assert!((found - expected).abs() <= TOLERANCE * scale, "{what}: {found} is not {expected}");
}

struct Row(csv::StringRecord, csv::StringRecord);

impl Row {
    fn text(&self, column: &str) -> &str {
        let place = self.0.iter().position(|name| name == column).unwrap_or_else(|| panic!("no column {column}"));
        &self.1[place]
    }

    fn number(&self, column: &str) -> f64 {
        self.text(column).parse().unwrap_or_else(|_| panic!("{column} is '{}'", self.text(column)))
    }

    fn optional(&self, column: &str) -> Option<f64> {
        (!self.text(column).is_empty()).then(|| self.number(column))
    }

    fn latency(&self) -> Option<Duration> {
        let seconds = self.number("request_latency_s");
        seconds.is_finite().then(|| Duration::from_secs_f64(seconds))
    }
}

fn rows(table: &str) -> Vec<Row> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(table.as_bytes());
    let header = reader.headers().unwrap().clone();
    reader.records().map(|record| Row(header.clone(), record.unwrap())).collect()
}

fn check_row(row: &Row) {
    let between =
        |name: &str| Interval::between(row.number(&format!("{name}_min")), row.number(&format!("{name}_max")));
    let size = ModelSize {
        active_params_b: between("active_b"),
        total_params_b: between("total_b"),
        tps: row.optional("tps"),
        ttft_s: row.optional("ttft_s"),
    };
    let grid = row.number("grid_kgco2e_per_kwh") * 1_000.0;
    let inputs = CarbonInputs::new(Profile::EcoLogits0113, resolved(size, between("pue"), grid));
    let usage = output(row.text("output_tokens").parse().unwrap());
    let found = inputs.estimate(&usage, row.latency());
    let what = format!("{} {} {}", row.text("provider"), row.text("model"), row.text("output_tokens"));
    for (found, expected) in [
        (found.energy_kwh, "energy_kwh"),
        (found.generation_latency_s, "generation_latency_s"),
        (found.usage_location_g.scale(1e-3), "gwp_usage_kg"),
        (found.embodied_g.scale(1e-3), "gwp_embodied_kg"),
    ] {
        close(found.min, row.number(&format!("{expected}_min")), &format!("{what} {expected}_min"));
        close(found.max, row.number(&format!("{expected}_max")), &format!("{what} {expected}_max"));
        close(found.mid, f64::midpoint(found.min, found.max), &format!("{what} {expected} mid"));
    }
    assert_eq!(found.gpus.min.to_string(), row.text("gpus_min"), "{what}");
    assert_eq!(found.gpus.max.to_string(), row.text("gpus_max"), "{what}");
}

#[test]
fn the_ecologits_profile_agrees_with_ecologits() {
    let table = rows(include_str!("../../../tests/data/ecologits_oracle.csv"));
    assert!(table.len() > 400, "the oracle has {} rows", table.len());
    table.iter().for_each(check_row);
}
