//! What processes and the machine cost and are, read from `/proc`. On systems without it every answer is none.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Ticks of `/proc/<pid>/stat` in a second: `USER_HZ`, 100 on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes of one write of [`flush_latency`]: a page of the write-ahead log.
const FLUSH_BYTES: usize = 8192;
/// How many are measured at most, and how long it may take.
const FLUSHES_MAX: u32 = 300;
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

/// A count as a float: exact up to 2^53, more than any of these counts reaches.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "the one place; see above")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The fields of `/proc/<pid>/stat` after the command's name, which may itself hold blanks and brackets.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = read(&format!("/proc/{pid}/stat"))?;
    let (_, after) = text.rsplit_once(") ")?;
    // The first is the state, a letter; some are negative. Neither is asked for.
    Some(after.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

fn ticks(fields: &[u64], places: &[usize]) -> f64 {
    float(places.iter().filter_map(|place| fields.get(*place)).sum()) / TICKS_PER_SECOND
}

/// Seconds of CPU that a process has used, user and system.
pub(super) fn cpu_seconds(pid: u32) -> Option<f64> {
    Some(ticks(&stat(pid)?, &[11, 12]))
}

/// The processes that a process has started and that still run.
fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat(*pid).and_then(|fields| fields.get(1).copied()) == Some(u64::from(parent))).collect()
}

/// Seconds of CPU of a process, of its children, and of those that have ended.
pub(super) fn family_cpu_seconds(pid: u32) -> Option<f64> {
    let own = ticks(&stat(pid)?, &[11, 12, 13, 14]);
    Some(own + children(pid).into_iter().filter_map(cpu_seconds).sum::<f64>())
}

/// A value in kilobytes of a file of `name: value kB` lines, in megabytes (10^6 bytes).
fn megabytes(path: &str, name: &str) -> Option<f64> {
    let text = read(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(float(kilobytes) * 1024.0 / 1e6)
}

/// The most memory that a process has had resident, in megabytes.
pub(super) fn peak_memory_mb(pid: u32) -> Option<f64> {
    megabytes(&format!("/proc/{pid}/status"), "VmHWM")
}

/// The memory of a process and its children now, in megabytes: what they share is counted once.
pub(super) fn family_memory_mb(pid: u32) -> Option<f64> {
    let of = |pid: u32| megabytes(&format!("/proc/{pid}/smaps_rollup"), "Pss");
    Some(of(pid)? + children(pid).into_iter().filter_map(of).sum::<f64>())
}

/// What was measured on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Machine {
    pub(super) cores: u64,
    pub(super) cpu: Option<String>,
    pub(super) memory_mb: Option<f64>,
    pub(super) kernel: Option<String>,
    /// Load average of the last minute, before the first measurement.
    pub(super) load_before: Option<f64>,
}

impl Machine {
    pub(super) fn look() -> Self {
        let cpu = || {
            let text = read("/proc/cpuinfo")?;
            let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
            Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
        };
        Self {
            cores: std::thread::available_parallelism().map_or(0, |cores| u64::try_from(cores.get()).unwrap_or(0)),
            cpu: cpu(),
            memory_mb: megabytes("/proc/meminfo", "MemTotal"),
            kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            load_before: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }
}

/// How long a write to the end of a file takes to reach the disk (`fdatasync`), in microseconds, ascending. What
/// `pg_test_fsync` measures.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn flush_latency(folder: &Path) -> std::io::Result<Vec<u32>> {
    let path = folder.join("bench-flush.tmp");
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    let page = [7_u8; FLUSH_BYTES];
    // As Postgres does with a segment of its log: the file's length does not change while it is measured.
    for _ in 0..FLUSHES_MAX {
        file.write_all(&page)?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let began = Instant::now();
    let mut taken = Vec::new();
    for _ in 0..FLUSHES_MAX {
        let start = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        taken.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
        if began.elapsed() > FLUSH_TIME_MAX {
            break;
        }
    }
    std::fs::remove_file(&path)?;
    taken.sort_unstable();
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_cpu_and_memory() {
        let me = std::process::id();
        // In this order: the process goes on using CPU between the two looks.
        let own = cpu_seconds(me);
        assert!(own.is_some_and(|seconds| seconds >= 0.0));
        assert!(family_cpu_seconds(me) >= own);
        assert!(peak_memory_mb(me).is_some_and(|mb| mb > 1.0));
        assert!(cpu_seconds(u32::MAX).is_none());
        assert!(Machine::look().cores > 0);
    }

    #[test]
    fn flushes_are_measured_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let taken = flush_latency(folder.path()).unwrap();
        assert!(!taken.is_empty() && taken.is_sorted());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
