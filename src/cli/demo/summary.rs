//! What the demo shows at the end, as one document: `--json` prints it, [`super::show`] draws it.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::foresight::Foresight;
use super::pacing::Pacing;
use super::tally::{Latency, Tally};
use crate::wire::answer::BudgetStateBody;

/// One budget, as it stands.
#[derive(Debug, Serialize)]
pub(super) struct BudgetLine {
    /// What it is, in a few words.
    pub(super) what: &'static str,
    /// How it stands, on its own clock.
    #[serde(flatten)]
    pub(super) state: BudgetStateBody,
    /// Whether its window slides instead of turning.
    pub(super) slides: bool,
    /// For a budget that is counted apart: how many counters there are. The state is that of the fullest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counters: Option<usize>,
}

/// One feature's share.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct FeatureLine {
    pub(super) tenant: String,
    pub(super) feature: String,
    /// Calls that were posted.
    pub(super) requests: u64,
    pub(super) tokens: u64,
    pub(super) usd: Decimal,
    pub(super) gco2e: Decimal,
}

/// One unit of the trial balance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BalanceLine {
    pub(super) unit: String,
    pub(super) debit: Decimal,
    pub(super) credit: Decimal,
    pub(super) difference: Decimal,
}

/// The trace that was replayed.
#[derive(Debug, Serialize)]
pub(super) struct TraceLine {
    pub(super) source: &'static str,
    pub(super) calls: usize,
    pub(super) callers: usize,
}

/// How fast it went.
#[derive(Debug, Serialize)]
pub(super) struct Speed {
    /// The replay alone.
    pub(super) replay_ms: u64,
    /// From the start of the command to this document.
    pub(super) total_ms: u64,
    /// Requests of the replay, each a committed write.
    pub(super) requests_per_second: u64,
    pub(super) preflight_ms: Latency,
    pub(super) settle_ms: Latency,
}

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Where it answers.
    pub(super) address: String,
    /// Where the books are.
    pub(super) books: String,
    /// When it was read.
    pub(super) at: DateTime<Utc>,
    pub(super) trace: TraceLine,
    pub(super) speed: Speed,
    pub(super) replay: Tally,
    /// Of the quota that is shared.
    pub(super) projection: Foresight,
    /// What pacing it did, and buys.
    pub(super) pacing: Pacing,
    pub(super) budgets: Vec<BudgetLine>,
    /// The largest first.
    pub(super) features: Vec<FeatureLine>,
    pub(super) trial_balance: Vec<BalanceLine>,
}
