//! What a budget does not count and how its holds end, as JSON; and what a document leaves to its defaults when it is written.
//!
//! A document of before these fields were there has none of them, and goes on as it did: it counts all of time, ignores what
//! calls lack, and is shared. So the defaults are written into each document that is put, and are never read into an old one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FieldError;
use super::budget::{BudgetBody, parse_each};
use crate::domain::budget::catalogue::{Budget, Enforcement, OnExpiry};
use crate::domain::budget::coverage::{MissingRule, NotCounted, chooses_calls, default_rule, may_lack};
use crate::domain::budget::scope::{Each, Scope};
use crate::domain::calendar::PeriodSpec;
use crate::wire::answer::EnforcementName;

/// What becomes of a call that lacks a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingName {
    /// It is stopped.
    Refuse,
    /// It is not counted.
    Ignore,
}

impl From<MissingName> for MissingRule {
    fn from(name: MissingName) -> Self {
        match name {
            MissingName::Refuse => Self::Refuse,
            MissingName::Ignore => Self::Ignore,
        }
    }
}

impl From<MissingRule> for MissingName {
    fn from(rule: MissingRule) -> Self {
        match rule {
            MissingRule::Refuse => Self::Refuse,
            MissingRule::Ignore => Self::Ignore,
        }
    }
}

/// What becomes of a reservation that expires without a settlement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiryName {
    /// What it held is given back.
    #[default]
    Release,
    /// Its estimate is posted.
    PostEstimate,
}

impl OnExpiryName {
    /// Whether it is what a document without it says.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<OnExpiryName> for OnExpiry {
    fn from(name: OnExpiryName) -> Self {
        match name {
            OnExpiryName::Release => Self::Release,
            OnExpiryName::PostEstimate => Self::PostEstimate,
        }
    }
}

/// A budget that would count a call if the call said more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotCountedBody {
    /// Which budget.
    pub budget: String,
    /// The field of the call that is missing: `run`, `agent`, `region` or `labels.<key>`.
    #[schema(example = "labels.user")]
    pub missing: String,
}

impl From<&NotCounted> for NotCountedBody {
    fn from(one: &NotCounted) -> Self {
        Self { budget: one.budget.to_string(), missing: one.field.to_string() }
    }
}

impl BudgetBody {
    /// The document as it is written: with the defaults that it leaves out. `before` is the budget that it replaces.
    ///
    /// # Errors
    /// Names the field that is wrong: a budget that tenants would share without anybody having said so.
    pub fn settled(&self, before: Option<&Budget>, now: DateTime<Utc>) -> Result<Self, FieldError> {
        let mut body = self.clone();
        let scope = Scope::try_from(&self.scope)?;
        let mut each = self.each.as_deref().map(parse_each).transpose()?;
        let is_of_tenants =
            scope.tenant.is_some() || !scope.tenants.is_empty() || each.as_ref().is_some_and(Each::is_within_tenant);
        if chooses_calls(&scope) && !is_of_tenants && !self.shared {
            if each.is_some() {
                let detail = "scope names only what callers choose (labels, run, agent), so that any tenant could use up what \
                    others need: name scope.tenant or scope.tenants, or say \"shared\": true";
                return Err(FieldError::new("scope", detail));
            }
            body.each = Some("tenant".to_owned());
            each = Some(Each::Tenant);
        }
        if self.missing.is_none() && may_lack(&scope, each.as_ref()) {
            let enforcement = match self.enforcement {
                EnforcementName::Hard => Enforcement::Hard,
                EnforcementName::Soft => Enforcement::Soft,
            };
            body.missing = Some(default_rule(enforcement).into());
        }
        let is_once = PeriodSpec::try_from(&self.period).is_ok_and(|period| period == PeriodSpec::Once);
        if is_once && self.period.counts_from.is_none() {
            body.period.counts_from = match before {
                Some(before) if before.period == PeriodSpec::Once => before.counts_from,
                Some(_) | None => Some(now),
            };
        }
        Ok(body)
    }
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
