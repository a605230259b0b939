//! Waiting with a limit. Elapsed time only: what o'clock it is belongs to `crate::clock`.

use std::time::{Duration, Instant};

/// How long to sleep between two looks at another process.
const MOMENT: Duration = Duration::from_millis(5);

/// An end to patience.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant, Duration);

impl Deadline {
    pub(super) fn after_seconds(seconds: u64) -> Self {
        Self(Instant::now(), Duration::from_secs(seconds))
    }

    pub(super) fn is_over(self) -> bool {
        self.0.elapsed() >= self.1
    }
}

/// Lets others go on for a moment.
pub(super) async fn moment() {
    tokio::time::sleep(MOMENT).await;
}

/// The same, for threads outside the runtime.
pub(super) fn moment_blocking() {
    std::thread::sleep(MOMENT);
}
