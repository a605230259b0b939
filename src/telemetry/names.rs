//! Every metric, with its unit and meaning. Names are an interface: dashboards and alerts depend on them.
//!
//! Names follow Prometheus: the unit is the last word, counters end in `_total`.

use metrics::Unit;

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
    /// Many values, counted by size.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it is counted in.
    pub unit: Unit,
    /// What it says, and the labels it has.
    pub help: &'static str,
}

/// Time from a request's first byte to the head of its answer.
pub const HTTP_REQUEST_DURATION: &str = "counterfoil_http_request_duration_seconds";
/// Connections turned away because as many were open as may be.
pub const HTTP_CONNECTIONS_REFUSED: &str = "counterfoil_http_connections_refused_total";
/// Verdicts given.
pub const VERDICTS: &str = "counterfoil_verdicts_total";
/// Commands that wait for a lane.
pub const LANE_QUEUE: &str = "counterfoil_lane_queue_length";
/// Commands in one batch.
pub const LANE_BATCH_SIZE: &str = "counterfoil_lane_batch_size";
/// Time from the first command of a batch to its commit.
pub const LANE_BATCH_DURATION: &str = "counterfoil_lane_batch_duration_seconds";
/// Commands and bulk requests refused because there was no place for their tenant.
pub const LANE_OVERLOADED: &str = "counterfoil_lane_overloaded_total";
/// Batches tried again after a serialization failure or a deadlock.
pub const LANE_RETRIES: &str = "counterfoil_lane_retries_total";
/// Reservations whose time ran out.
pub const RESERVATIONS_EXPIRED: &str = "counterfoil_reservations_expired_total";
/// How far the clock is off.
pub const CLOCK_OFFSET: &str = "counterfoil_clock_offset_seconds";
/// Calls priced by the fallback.
pub const UNPRICED_CALLS: &str = "counterfoil_unpriced_calls_total";
/// Connections of the pool.
pub const STORE_CONNECTIONS: &str = "counterfoil_store_connections";

/// All metrics, in the order of the page that lists them.
pub const METRICS: &[Metric] = &[
    Metric {
        name: HTTP_REQUEST_DURATION,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        help: "time until the head of the answer, by method, route and status",
    },
    Metric {
        name: HTTP_CONNECTIONS_REFUSED,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "connections turned away because as many were open as may be, by bound: all or address",
    },
    Metric { name: VERDICTS, kind: Kind::Counter, unit: Unit::Count, help: "verdicts given, by verdict" },
    Metric { name: LANE_QUEUE, kind: Kind::Gauge, unit: Unit::Count, help: "commands that wait, by lane" },
    Metric { name: LANE_BATCH_SIZE, kind: Kind::Histogram, unit: Unit::Count, help: "commands in one batch, by lane" },
    Metric {
        name: LANE_BATCH_DURATION,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        help: "time from the start of a batch to its commit, by lane",
    },
    Metric {
        name: LANE_OVERLOADED,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "commands and bulk requests refused because there was no place for their tenant",
    },
    Metric {
        name: LANE_RETRIES,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "batches tried again after a serialization failure or deadlock, by lane",
    },
    Metric {
        name: RESERVATIONS_EXPIRED,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "reservations that nobody ended in time",
    },
    Metric {
        name: UNPRICED_CALLS,
        kind: Kind::Counter,
        unit: Unit::Count,
        help: "calls priced by the fallback because the book had no price, by provider",
    },
    Metric {
        name: CLOCK_OFFSET,
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        help: "how far this machine's clock is ahead of what the database has seen, below zero if it is behind",
    },
    Metric {
        name: STORE_CONNECTIONS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        help: "connections to Postgres, by state: idle or used",
    },
];

/// Upper bounds of the buckets of durations, in seconds. A verdict takes about a millisecond; a timeout is the last.
pub const DURATION_BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of the buckets of batch sizes, in commands.
pub const SIZE_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Tells the recorder what each metric means.
pub fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the page, from the code.
    fn table() -> String {
        let mut rows = "| metric | kind | unit | what |\n|---|---|---|---|\n".to_owned();
        for Metric { name, kind, unit, help } in METRICS {
            let (kind, unit) = (format!("{kind:?}").to_lowercase(), unit.as_str());
            rows.push_str(&format!("| `{name}` | {kind} | {unit} | {help} |\n"));
        }
        rows
    }

    #[test]
    fn the_page_lists_every_metric() {
        let page = include_str!("../../docs/reference/telemetry.md");
        assert!(page.contains(&table()), "put this table into docs/reference/telemetry.md:\n{}", table());
    }

    #[test]
    fn names_follow_their_kind_and_unit() {
        for metric in METRICS {
            let name = metric.name;
            assert!(name.starts_with("counterfoil_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_seconds"), metric.unit == Unit::Seconds, "{name}");
            assert!(!metric.help.is_empty(), "{name}");
        }
        let names: std::collections::BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len(), "each is listed once");
    }
}
