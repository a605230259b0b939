//! What a report says: tokens and dollars by UTC day, model and workspace, and the days it speaks of.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use rust_decimal::Decimal;

use crate::domain::id::ModelId;
use crate::domain::usage::Bucket;

/// Most UTC days of one report: as far back as usage may be posted.
pub const REPORT_DAYS_MAX: usize = 400;
/// Most rows of one report, after those of one day, model and workspace were added up.
pub const REPORT_ROWS_MAX: usize = 100_000;

/// Why a report is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {detail}")]
pub struct BadReport {
    /// Where in the body: `report[1].data[3].results[0].amount`.
    pub place: String,
    /// What is wrong with it, and what to do.
    pub detail: String,
}

impl BadReport {
    /// Names the place and what is wrong there.
    #[must_use]
    pub fn new(place: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { place: place.into(), detail: detail.into() }
    }
}

/// Which report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReportKind {
    /// Anthropic `usage_report/messages`.
    AnthropicUsage,
    /// Anthropic `cost_report`.
    AnthropicCosts,
    /// `OpenAI` `organization/usage/completions`.
    OpenAiUsage,
    /// `OpenAI` `organization/costs`.
    OpenAiCosts,
    /// A plain CSV invoice.
    Invoice,
}

impl ReportKind {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::AnthropicUsage, Self::AnthropicCosts, Self::OpenAiUsage, Self::OpenAiCosts, Self::Invoice];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnthropicUsage => "anthropic_usage",
            Self::AnthropicCosts => "anthropic_costs",
            Self::OpenAiUsage => "openai_usage",
            Self::OpenAiCosts => "openai_costs",
            Self::Invoice => "invoice",
        }
    }

    /// The provider whose shape it has; none for an invoice, which anybody may write.
    #[must_use]
    pub const fn maker(self) -> Option<&'static str> {
        match self {
            Self::AnthropicUsage | Self::AnthropicCosts => Some("anthropic"),
            Self::OpenAiUsage | Self::OpenAiCosts => Some("openai"),
            Self::Invoice => None,
        }
    }

    /// Whether it counts tokens.
    #[must_use]
    pub const fn counts_tokens(self) -> bool {
        matches!(self, Self::AnthropicUsage | Self::OpenAiUsage)
    }
}

/// Which of our buckets a report cannot tell apart. Each is counted in the bucket that the report counts it in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fold {
    /// The report tells reasoning from visible output.
    pub reasoning_apart: bool,
    /// The report tells cache writes from other input.
    pub writes_apart: bool,
}

impl Fold {
    /// The bucket in which the report counts one of ours.
    #[must_use]
    pub const fn counted_in(self, bucket: Bucket) -> Bucket {
        match bucket {
            Bucket::Reasoning if !self.reasoning_apart => Bucket::Output,
            Bucket::CacheWrite5m | Bucket::CacheWrite1h if !self.writes_apart => Bucket::Input,
            Bucket::Input
            | Bucket::CacheRead
            | Bucket::CacheWrite5m
            | Bucket::CacheWrite1h
            | Bucket::Output
            | Bucket::Reasoning => bucket,
        }
    }
}

/// Token counts by bucket, signed: a sum of a day can be below zero after a correction. Absent is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Bucket, i64>);

impl Counts {
    /// The count of a bucket.
    #[must_use]
    pub fn get(&self, bucket: Bucket) -> i64 {
        self.0.get(&bucket).copied().unwrap_or(0)
    }

    /// Adds to a bucket. None beyond 64 bits.
    pub fn add(&mut self, bucket: Bucket, count: i64) -> Option<()> {
        let sum = self.get(bucket).checked_add(count)?;
        self.0.insert(bucket, sum);
        Some(())
    }

    /// Adds all of another. None beyond 64 bits.
    pub fn add_all(&mut self, other: &Self) -> Option<()> {
        Bucket::ALL.into_iter().try_for_each(|bucket| self.add(bucket, other.get(bucket)))
    }

    /// As the report counts them.
    #[must_use]
    pub fn folded(&self, fold: Fold) -> Option<Self> {
        let mut folded = Self::default();
        for bucket in Bucket::ALL {
            folded.add(fold.counted_in(bucket), self.get(bucket))?;
        }
        Some(folded)
    }

    /// This less the other, bucket by bucket. None beyond 64 bits.
    #[must_use]
    pub fn less(&self, other: &Self) -> Option<Self> {
        let mut difference = Self::default();
        for bucket in Bucket::ALL {
            difference.add(bucket, self.get(bucket).checked_sub(other.get(bucket))?)?;
        }
        Some(difference)
    }

    /// Whether every bucket is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.values().all(|count| *count == 0)
    }

    /// All buckets together.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Whose row it is, and of which day and model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// The UTC day.
    pub day: NaiveDate,
    /// The model as the provider names it; for what no model did, the kind of cost.
    pub model: ModelId,
    /// The workspace or project, if the report tells them apart.
    pub workspace: Option<String>,
}

/// What the report says of a day, model and workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowSums {
    /// Tokens.
    pub tokens: Counts,
    /// Calls, where the report counts them.
    pub requests: i64,
    /// Whether it says how many calls there were.
    pub tells_requests: bool,
    /// Dollars, exact.
    pub usd: Decimal,
    /// How many rows of cost were added up: each may be rounded.
    pub cost_rows: u32,
}

/// A report, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What it was made of.
    pub kinds: BTreeSet<ReportKind>,
    /// What it says.
    pub rows: BTreeMap<RowKey, RowSums>,
    /// Days whose tokens it tells, also those with none.
    pub token_days: BTreeSet<NaiveDate>,
    /// Days whose dollars it tells, also those with none.
    pub cost_days: BTreeSet<NaiveDate>,
    /// Whether it counts the calls of every day and model whose tokens it tells.
    pub counts_requests: bool,
    /// What it does not tell apart.
    pub fold: Fold,
}

impl Report {
    /// The days it speaks of.
    #[must_use]
    pub fn days(&self) -> BTreeSet<NaiveDate> {
        self.token_days.union(&self.cost_days).copied().collect()
    }

    /// The sums of a key, to be added to.
    ///
    /// # Errors
    /// Names the place when the report has too many of them.
    pub fn row(&mut self, key: RowKey, place: &str) -> Result<&mut RowSums, BadReport> {
        if self.rows.len() >= REPORT_ROWS_MAX && !self.rows.contains_key(&key) {
            let detail = format!("the report has more than {REPORT_ROWS_MAX} rows: send fewer days");
            return Err(BadReport::new(place, detail));
        }
        Ok(self.rows.entry(key).or_default())
    }
}
