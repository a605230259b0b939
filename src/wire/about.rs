//! What the service is made of, as JSON: versions, books, limits. No secrets, no names of machines.

use serde::Serialize;
use utoipa::ToSchema;

use super::budget::{LABELS_MAX, THRESHOLDS_MAX};
use super::page::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX};
use super::rates::ROWS_MAX;
use crate::domain::amounts::TOKENS_MAX;
use crate::domain::ledger::call_bound::CALL_TOKENS_MAX;
use crate::domain::ledger::command::{OCCURRED_DAYS_PAST_MAX, OCCURRED_SECONDS_AHEAD_MAX};
use crate::domain::ledger::reservation::{TTL_SECONDS_DEFAULT, TTL_SECONDS_MAX, TTL_SECONDS_MIN};

/// What the service is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AboutAnswer {
    /// `counterfoil`.
    pub name: String,
    /// Its version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// The number of the newest migration of the schema.
    pub schema_version: i64,
    /// The timezone database.
    pub tzdb: TzdbBody,
    /// The carbon method that amounts are posted by.
    #[schema(example = "extended-1")]
    pub carbon_profile: String,
    /// All carbon methods.
    pub carbon_profiles: Vec<String>,
    /// The price book.
    pub prices: BookBody,
    /// The factor book.
    pub factors: BookBody,
    /// What is the most of what.
    pub limits: LimitsBody,
}

/// The timezone database: rules and names come from two copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TzdbBody {
    /// The release whose rules bound every period.
    #[schema(example = "2026e")]
    pub rules: String,
    /// The release whose names are known.
    #[schema(example = "2025b")]
    pub names: String,
}

/// A book of dated, sourced rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BookBody {
    /// All rows.
    pub rows: i64,
    /// The newest day a row speaks of, if its rows say.
    pub newest_source_date: Option<String>,
    /// What it is made of: sources of prices, sets of factors.
    pub sources: Vec<BookPartBody>,
}

/// A source of prices, or a set of factors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BookPartBody {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: i64,
    /// The licences of its rows.
    pub licences: Vec<String>,
    /// The newest day a row speaks of, if its rows say.
    pub newest_source_date: Option<String>,
}

/// What is the most of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitsBody {
    /// Tokens of one amount.
    pub tokens_max: u64,
    /// Tokens of one call, in all its buckets.
    pub call_tokens_max: u64,
    /// Labels of a call.
    pub labels_max: usize,
    /// Thresholds of a budget.
    pub thresholds_max: usize,
    /// Price or factor rows of one request.
    pub rows_max: usize,
    /// Items of a page when none is asked for.
    pub page_items_default: u32,
    /// Items of a page.
    pub page_items_max: u32,
    /// Shortest hold, in seconds.
    pub ttl_seconds_min: u32,
    /// Hold when none is asked for, in seconds.
    pub ttl_seconds_default: u32,
    /// Longest hold, in seconds.
    pub ttl_seconds_max: u32,
    /// How long ago usage may have occurred, in days.
    pub occurred_days_past_max: i64,
    /// How far ahead of our clock usage may have occurred, in seconds.
    pub occurred_seconds_ahead_max: i64,
}

impl Default for LimitsBody {
    fn default() -> Self {
        Self {
            tokens_max: TOKENS_MAX,
            call_tokens_max: CALL_TOKENS_MAX,
            labels_max: LABELS_MAX,
            thresholds_max: THRESHOLDS_MAX,
            rows_max: ROWS_MAX,
            page_items_default: PAGE_ITEMS_DEFAULT,
            page_items_max: PAGE_ITEMS_MAX,
            ttl_seconds_min: TTL_SECONDS_MIN,
            ttl_seconds_default: TTL_SECONDS_DEFAULT,
            ttl_seconds_max: TTL_SECONDS_MAX,
            occurred_days_past_max: OCCURRED_DAYS_PAST_MAX,
            occurred_seconds_ahead_max: OCCURRED_SECONDS_AHEAD_MAX,
        }
    }
}
