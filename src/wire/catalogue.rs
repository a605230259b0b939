//! Tenants and budgets as they are kept: with their versions, their dates, and how a budget stands.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::BudgetStateBody;
use super::budget::BudgetBody;

/// A tenant, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub struct TenantRow {
    /// Its id.
    #[schema(example = "acme")]
    pub id: String,
    /// What people call it.
    #[schema(example = "Acme KK")]
    pub name: String,
    /// Its IANA zone, whose midnights bound its budgets.
    #[schema(example = "Asia/Tokyo")]
    pub timezone: String,
    /// Whether a model without a price is refused.
    pub strict: bool,
    /// Counts replacements, from 1.
    pub version: i32,
    /// When it was first written.
    pub created_at: DateTime<Utc>,
    /// When this version was written.
    pub changed_at: DateTime<Utc>,
    /// When it was archived: it starts nothing new, and what is open still ends.
    pub archived_at: Option<DateTime<Utc>>,
}

/// A version of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TenantVersion)]
pub struct TenantVersionBody {
    /// Counts replacements, from 1.
    pub version: i32,
    /// What people called it.
    pub name: String,
    /// Its zone.
    pub timezone: String,
    /// Whether a model without a price was refused.
    pub strict: bool,
    /// Whether this version is its archiving.
    pub archived: bool,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
}

/// A budget, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Budget)]
pub struct BudgetRow {
    /// What was written.
    #[serde(flatten)]
    pub definition: BudgetBody,
    /// Counts replacements, from 1.
    pub version: i32,
    /// Since when it counts as it does: a change of scope, each, measure, period or timezone begins anew, from the journal.
    pub counted_from: DateTime<Utc>,
    /// When it was first written.
    pub created_at: DateTime<Utc>,
    /// When this version was written.
    pub changed_at: DateTime<Utc>,
    /// When it was archived: it governs nothing any more.
    pub archived_at: Option<DateTime<Utc>>,
    /// What may not have been meant, though it is valid; said by the answer to a write alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!([]))]
    pub warnings: Vec<String>,
}

/// A version of a budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BudgetVersion)]
pub struct BudgetVersionBody {
    /// Counts replacements, from 1.
    pub version: i32,
    /// What was written.
    pub definition: BudgetBody,
    /// Whether this version is its archiving.
    pub archived: bool,
    /// When it was written.
    pub recorded_at: DateTime<Utc>,
}

/// A budget, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = BudgetNow)]
pub struct BudgetNowBody {
    /// The budget.
    #[serde(flatten)]
    pub budget: BudgetRow,
    /// The instant of which `counters` speaks. Holds whose time has passed are not counted as held.
    pub at: DateTime<Utc>,
    /// The counters of the period that holds `at`, by key. One, with an empty key, for a budget that is not counted apart;
    /// otherwise one for each key that has counted something. Empty once it is archived.
    pub counters: Vec<BudgetStateBody>,
    /// Give it as `cursor` for the next counters; null when there are no more.
    pub next_cursor: Option<String>,
}

/// A budget of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ListedBudget)]
pub struct ListedBudgetBody {
    /// The budget.
    #[serde(flatten)]
    pub budget: BudgetRow,
    /// With `include=counters`: the first 100 of its counters, as `GET /v1/budgets/{id}` shows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub counters: Option<Vec<BudgetStateBody>>,
    /// With `include=counters`, and only if the budget has more of them: the `cursor` with which `GET /v1/budgets/{id}` goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub counters_cursor: Option<String>,
}

impl From<BudgetRow> for ListedBudgetBody {
    fn from(budget: BudgetRow) -> Self {
        Self { budget, counters: None, counters_cursor: None }
    }
}

impl From<BudgetNowBody> for ListedBudgetBody {
    fn from(now: BudgetNowBody) -> Self {
        let BudgetNowBody { budget, at: _, counters, next_cursor } = now;
        Self { budget, counters: Some(counters), counters_cursor: next_cursor }
    }
}
