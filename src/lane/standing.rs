//! Whether batches can be written, for whoever asks if this replica should get calls.
//!
//! A database can answer reads and refuse every write: its disk is full, or it has become a standby. Nobody but a lane notices.
//! Deliberately absent: a write that only tries. A replica without calls is asked for some again after [`FAILING_FOR`], and
//! says the same if they fail as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// How long a replica is not ready after a batch that could not be written, unless one is written before.
pub const FAILING_FOR: Duration = Duration::from_secs(10);

/// How the last batch of calls ended. Shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<AtomicI64>);

impl Standing {
    /// A batch was written.
    pub(super) fn written(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// A batch could not be written, at this instant.
    pub(super) fn failed(&self, now: DateTime<Utc>) {
        self.0.store(now.timestamp_micros(), Ordering::Relaxed);
    }

    /// Whether the last batch failed, a moment ago.
    #[must_use]
    pub fn is_failing(&self, now: DateTime<Utc>) -> bool {
        let failed_at = self.0.load(Ordering::Relaxed);
        let since = now.timestamp_micros().saturating_sub(failed_at);
        failed_at != 0 && u128::try_from(since).is_ok_and(|since| since < FAILING_FOR.as_micros())
    }
}
