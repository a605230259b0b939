//! Runs, as JSON: what stops one, and how one stands.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::BudgetStateBody;
use super::{FieldError, required};
use crate::domain::id::TenantId;

/// Longest reason of a stop, in bytes.
pub const REASON_LENGTH_MAX: usize = 500;

/// Stop a run. The body of `POST /v1/runs/{id}/stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tenant": "acme", "reason": "the same question for the third hour"}))]
pub struct StopRunBody {
    /// Whose run it is.
    pub tenant: String,
    /// Why, in words: at most 500 bytes, no control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl StopRunBody {
    /// The tenant.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn check(&self) -> Result<TenantId, FieldError> {
        let unfit = |text: &String| text.len() > REASON_LENGTH_MAX || text.chars().any(char::is_control);
        if self.reason.as_ref().is_some_and(unfit) {
            let detail = format!("may have at most {REASON_LENGTH_MAX} bytes and no control characters");
            return Err(FieldError::new("reason", detail));
        }
        required("tenant", &self.tenant)
    }
}

/// Let a run go on. The body of `POST /v1/runs/{id}/resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tenant": "acme"}))]
pub struct ResumeRunBody {
    /// Whose run it is.
    pub tenant: String,
}

/// One budget's view of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunBudgetBody {
    /// How it stands.
    #[serde(flatten)]
    pub state: BudgetStateBody,
    /// When the run made its first call, where the budget bounds its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<DateTime<Utc>>,
    /// When its time is over, where the budget bounds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_over_at: Option<DateTime<Utc>>,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunBody {
    /// Whose run it is.
    pub tenant: String,
    /// The run, as its calls name it.
    pub run: String,
    /// Whether it was stopped: then every pre-flight of it answers `stop`.
    pub stopped: bool,
    /// When.
    pub stopped_at: Option<DateTime<Utc>>,
    /// By whom: the subject of the token.
    pub stopped_by: Option<String>,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
    /// How the budgets stand that count each run, those that have counted something of it.
    pub budgets: Vec<RunBudgetBody>,
}
