//! Restatements as JSON: which rows, and what they come to.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::export::SpanAsked;
use super::{FieldError, optional};
use crate::domain::id::{ModelId, ProviderId, RegionId, TenantId};
use crate::domain::ledger::restating::{Change, Sets, Summary};

/// Which rows to say anew by the factor book as it is now. The body of `POST /v1/restatements`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"period": "2026-05", "zone": "Asia/Tokyo", "apply": false}))]
pub struct RestatementRequest {
    /// A year, month or day of the zone: `2026`, `2026-05`, `2026-05-21`. Instead of `from` and `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-05")]
    pub period: Option<String>,
    /// Only what counts from this instant on, or from the start of this local day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Only what counts before this instant, or before the start of this local day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The IANA zone of days and months; UTC if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Asia/Tokyo")]
    pub zone: Option<String>,
    /// Only this tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only this provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Only this model's, as it was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Only what was served there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether to post it. Otherwise only what it would come to is told.
    #[serde(default)]
    pub apply: bool,
    /// `next_cursor` of the answer before: more rows than one request looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Uuid>,
}

/// A request, understood but for the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestatementAsked {
    /// The span.
    pub span: SpanAsked,
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only this provider's.
    pub provider: Option<ProviderId>,
    /// Only this model's.
    pub model: Option<ModelId>,
    /// Only those served there.
    pub region: Option<RegionId>,
}

impl RestatementRequest {
    /// Reads what is asked.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn parse(&self) -> Result<RestatementAsked, FieldError> {
        let texts = [&self.period, &self.from, &self.to, &self.zone].map(Option::as_deref);
        let [period, from, to, zone] = texts;
        let span = SpanAsked::parse(period, from, to, zone)?;
        match (span.from.is_some(), span.to.is_some()) {
            (true, true) => {}
            (false, false) => return Err(FieldError::new("period", "is needed: what is to be said anew")),
            (true, false) => return Err(FieldError::new("to", "is needed beside from")),
            (false, true) => return Err(FieldError::new("from", "is needed beside to")),
        }
        Ok(RestatementAsked {
            span,
            tenant: optional("tenant", self.tenant.as_deref())?,
            provider: optional("provider", self.provider.as_deref())?,
            model: optional("model", self.model.as_deref())?,
            region: optional("region", self.region.as_deref())?,
        })
    }
}

/// Grams in the three units. Location-based and market-based grams are two views of one emission: never add them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GramsBody {
    /// Grams of the electricity used, by the grid.
    #[schema(value_type = String, format = "decimal", example = "0.40")]
    pub gco2e_usage_location: Decimal,
    /// Grams of the electricity used, by contracts.
    #[schema(value_type = String, format = "decimal", example = "0.40")]
    pub gco2e_usage_market: Decimal,
    /// Grams of making the hardware.
    #[schema(value_type = String, format = "decimal", example = "0.01")]
    pub gco2e_embodied: Decimal,
}

impl From<[Decimal; 3]> for GramsBody {
    fn from(grams: [Decimal; 3]) -> Self {
        let [gco2e_usage_location, gco2e_usage_market, gco2e_embodied] = grams.map(|grams| grams.normalize());
        Self { gco2e_usage_location, gco2e_usage_market, gco2e_embodied }
    }
}

/// The factor sets that grams stand on. Null where a figure that is declared in the code stood in, and for a contract that
/// there was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FactorSetsBody {
    /// Of the model's parameters.
    pub model: Option<String>,
    /// Of the grid.
    #[schema(example = "owid-2025")]
    pub grid: Option<String>,
    /// Of contracts.
    pub market: Option<String>,
}

impl From<&Sets> for FactorSetsBody {
    fn from(sets: &Sets) -> Self {
        let Sets { model, grid, market } = sets.clone();
        Self { model, grid, market }
    }
}

/// Rows that stood on the same sets and would stand on the same ones now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestatedSetsBody {
    /// What they stood on.
    pub from: FactorSetsBody,
    /// What they stand on now.
    pub to: FactorSetsBody,
    /// How many rows.
    pub rows: u64,
    /// Their grams as they were stated.
    pub before: GramsBody,
    /// Their grams by the factors of now.
    pub after: GramsBody,
    /// After less before.
    pub difference: GramsBody,
}

/// What a restatement comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestatementBody {
    /// Whether it was posted.
    pub applied: bool,
    /// The first instant of the period.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub to: DateTime<Utc>,
    /// Rows that were looked at: calls, and true-ups with a provider's report.
    pub examined: u64,
    /// Rows whose grams differ.
    pub differing: u64,
    /// Of these, rows of closed periods: they are corrected in the open one, and the corrections say `period_closed`.
    pub in_closed_periods: u64,
    /// True-ups that name no factors, and stay as they are.
    pub unnamed: u64,
    /// Transfers that were posted.
    pub posted: u64,
    /// Grams of the rows that differ, as they were stated.
    pub before: GramsBody,
    /// The same by the factors of now.
    pub after: GramsBody,
    /// After less before: what the books move by.
    pub difference: GramsBody,
    /// The same by the factor sets before and after.
    pub sets: Vec<RestatedSetsBody>,
    /// Send the same request with this as `cursor` for the rows that are left; null when there are none.
    pub next_cursor: Option<Uuid>,
}

/// What was found of a period, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restated {
    /// Whether it was posted.
    pub applied: bool,
    /// The first instant of the period.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub to: DateTime<Utc>,
    /// The sums.
    pub summary: Summary,
    /// Transfers that were posted.
    pub posted: u64,
    /// The last row that was looked at, if there may be more.
    pub next: Option<Uuid>,
}

impl From<&Restated> for RestatementBody {
    fn from(restated: &Restated) -> Self {
        let summary = &restated.summary;
        let one = |((from, to), change): (&(Sets, Sets), &Change)| RestatedSetsBody {
            from: from.into(),
            to: to.into(),
            rows: change.rows,
            before: change.before.into(),
            after: change.after.into(),
            difference: change.difference().into(),
        };
        Self {
            applied: restated.applied,
            from: restated.from,
            to: restated.to,
            examined: summary.examined,
            differing: summary.total.rows,
            in_closed_periods: summary.closed,
            unnamed: summary.unnamed,
            posted: restated.posted,
            before: summary.total.before.into(),
            after: summary.total.after.into(),
            difference: summary.total.difference().into(),
            sets: summary.sets.iter().map(one).collect(),
            next_cursor: restated.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_needed_and_what_is_wrong_is_named() {
        let some = |text: &str| Some(text.to_owned());
        let month = || RestatementRequest { period: some("2026-05"), ..RestatementRequest::default() };
        assert!(month().parse().is_ok());
        for (request, field) in [
            (RestatementRequest::default(), "period"),
            (RestatementRequest { from: some("2026-05-01"), ..RestatementRequest::default() }, "to"),
            (RestatementRequest { to: some("2026-05-01"), ..RestatementRequest::default() }, "from"),
            (RestatementRequest { zone: some("Mars/Base"), ..month() }, "zone"),
            (RestatementRequest { tenant: some("No Tenant"), ..month() }, "tenant"),
        ] {
            assert_eq!(request.parse().unwrap_err().field, field);
        }
    }
}
