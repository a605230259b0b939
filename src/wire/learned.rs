//! How estimates compare with what calls really used, as JSON; and what reservations hold by it, as their column keeps it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::budget::MeasureBody;
use super::{FieldError, optional};
use crate::domain::amounts::Quantity;
use crate::domain::budget::catalogue::{BudgetNumber, HoldRule};
use crate::domain::budget::measure::Measure;
use crate::domain::budget::promise::{LearnedHold, LearnedHolds, Promise};
use crate::domain::id::{FeatureId, ModelId, ProviderId, TenantId};
use crate::domain::learned::histogram::{Histogram, Ratio};

/// Most weeks of one answer.
pub const WEEKS_MAX: u32 = 260;
/// Weeks when none are named: what a learned hold looks at.
pub const WEEKS_DEFAULT: u32 = crate::domain::learned::WEEKS_LEARNED;

/// What a reservation holds of its estimate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReserveName {
    /// All of it: the requested maximum.
    #[default]
    Max,
    /// With the output that 95 of 100 such calls stay within, as learned, and a margin for the rest.
    P95,
    /// With the output that 99 of 100 such calls stay within, as learned, and a margin for the rest.
    P99,
}

impl ReserveName {
    /// Whether it is the one that is meant when none is named.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::Max
    }
}

impl From<ReserveName> for HoldRule {
    fn from(name: ReserveName) -> Self {
        match name {
            ReserveName::Max => Self::Max,
            ReserveName::P95 => Self::P95,
            ReserveName::P99 => Self::P99,
        }
    }
}

impl From<HoldRule> for ReserveName {
    fn from(rule: HoldRule) -> Self {
        match rule {
            HoldRule::Max => Self::Max,
            HoldRule::P95 => Self::P95,
            HoldRule::P99 => Self::P99,
        }
    }
}

/// What accuracy is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccuracyDimension {
    /// Whose call it was.
    Tenant,
    /// What it was for.
    Feature,
    /// Who served it.
    Provider,
    /// The model that was asked for.
    Model,
}

impl AccuracyDimension {
    /// All, in the order in which rows are sorted.
    pub const ALL: [Self; 4] = [Self::Tenant, Self::Feature, Self::Provider, Self::Model];

    /// The name in `group_by` and in a row's `group`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Feature => "feature",
            Self::Provider => "provider",
            Self::Model => "model",
        }
    }
}

/// Which calls, and how they are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccuracyQuery {
    /// Only this tenant's calls.
    pub tenant: Option<String>,
    /// Only calls for this feature.
    pub feature: Option<String>,
    /// Only calls to this provider.
    pub provider: Option<String>,
    /// Only calls that asked for this model.
    pub model: Option<String>,
    /// What is told apart, separated by commas: `tenant`, `feature`, `provider`, `model`. Feature, provider and model if not
    /// given.
    #[param(example = "feature,provider,model")]
    pub group_by: Option<String>,
    /// How many weeks back, this one included: 1 to 260; 5 if not given, which is what learned holds look at. A week starts on
    /// Monday, UTC.
    #[param(example = 5)]
    pub weeks: Option<u32>,
}

impl AccuracyQuery {
    /// The tenant, parsed.
    ///
    /// # Errors
    /// Names the field.
    pub fn tenant(&self) -> Result<Option<TenantId>, FieldError> {
        optional("tenant", self.tenant.as_deref())
    }

    /// The values that calls must have, but for the tenant.
    ///
    /// # Errors
    /// Names the field that cannot be a value.
    pub fn filters(&self) -> Result<Vec<(AccuracyDimension, String)>, FieldError> {
        optional::<FeatureId>("feature", self.feature.as_deref())?;
        optional::<ProviderId>("provider", self.provider.as_deref())?;
        optional::<ModelId>("model", self.model.as_deref())?;
        let given = [
            (AccuracyDimension::Feature, &self.feature),
            (AccuracyDimension::Provider, &self.provider),
            (AccuracyDimension::Model, &self.model),
        ];
        Ok(given.into_iter().filter_map(|(dimension, value)| Some((dimension, value.clone()?))).collect())
    }

    /// What is told apart, each once, in the order of [`AccuracyDimension::ALL`].
    ///
    /// # Errors
    /// Names `group_by`.
    pub fn dimensions(&self) -> Result<Vec<AccuracyDimension>, FieldError> {
        let Some(text) = &self.group_by else {
            return Ok(vec![AccuracyDimension::Feature, AccuracyDimension::Provider, AccuracyDimension::Model]);
        };
        let mut found = Vec::new();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let known = AccuracyDimension::ALL.into_iter().find(|dimension| dimension.name() == word);
            found.push(known.ok_or_else(|| {
                let detail = format!("`{word}` is not tenant, feature, provider or model, separated by commas");
                FieldError::new("group_by", detail)
            })?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// How many weeks.
    ///
    /// # Errors
    /// Names `weeks`.
    pub fn weeks(&self) -> Result<u32, FieldError> {
        match self.weeks.unwrap_or(WEEKS_DEFAULT) {
            weeks @ 1..=WEEKS_MAX => Ok(weeks),
            weeks => Err(FieldError::new("weeks", format!("{weeks} is not between 1 and {WEEKS_MAX}"))),
        }
    }
}

/// What was estimated and what was used, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccuracySumsBody {
    /// Calls that completed and said what they used.
    pub calls: u64,
    /// Those among them that were granted with a smaller output than they asked for. They are in the sums, and not in the
    /// shares.
    pub capped: u64,
    /// Those that used more than their estimate, in any unit.
    pub overruns: u64,
    /// Output that was asked for: the sum of `max_output`.
    pub estimated_output: u64,
    /// Output that was used, reasoning included.
    pub actual_output: u64,
    /// Tokens of the estimates.
    pub estimated_tokens: u64,
    /// Tokens that were used.
    pub actual_tokens: u64,
}

/// The share of its estimate that so many calls stayed within: `"0.25"` is a quarter.
///
/// At most 9 % too large, never too small. None if no call can tell, or if the call of that rank used more than four times its estimate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SharesBody {
    /// One call in two.
    #[schema(value_type = Option<String>, format = "decimal", example = "0.11")]
    pub p50: Option<Decimal>,
    /// Nine calls in ten.
    #[schema(value_type = Option<String>, format = "decimal", example = "0.25")]
    pub p90: Option<Decimal>,
    /// Nineteen calls in twenty.
    #[schema(value_type = Option<String>, format = "decimal", example = "0.35")]
    pub p95: Option<Decimal>,
    /// Ninety-nine calls in a hundred.
    #[schema(value_type = Option<String>, format = "decimal", example = "0.5")]
    pub p99: Option<Decimal>,
}

/// A ratio as a decimal.
#[must_use]
pub fn ratio_body(ratio: Ratio) -> Decimal {
    Decimal::try_new(i64::try_from(ratio.millionths()).unwrap_or(i64::MAX), 6).unwrap_or_default().normalize()
}

impl From<&Histogram> for SharesBody {
    fn from(histogram: &Histogram) -> Self {
        let of = |of_thousand| histogram.quantile(of_thousand).map(ratio_body);
        Self { p50: of(500), p90: of(900), p95: of(950), p99: of(990) }
    }
}

/// How the estimates of one group of calls compare with what they used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccuracyRowBody {
    /// The values of what is told apart.
    #[schema(example = json!({"feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5"}))]
    pub group: BTreeMap<String, String>,
    /// Sums.
    #[serde(flatten)]
    pub sums: AccuracySumsBody,
    /// Shares of `max_output` that were used.
    pub output: SharesBody,
    /// Shares of all estimated tokens that were used.
    pub tokens: SharesBody,
}

/// How estimates compare with what calls used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccuracyBody {
    /// The start of the first week.
    pub from: DateTime<Utc>,
    /// When the journal was last read; calls of the last minute or two may be missing. None if it never was.
    pub learned_at: Option<DateTime<Utc>>,
    /// One for each group, sorted by its values.
    pub rows: Vec<AccuracyRowBody>,
}

/// What one budget holds of a reservation by a learned rule, as the reservation's column keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnedHoldDoc {
    /// The budget's number.
    pub budget: i32,
    /// What it counted.
    pub measure: MeasureBody,
    /// What is held.
    pub held: Decimal,
    /// What is kept aside.
    pub margin: Decimal,
    /// How much more the call may use.
    pub at_risk: Decimal,
}

/// The document of a reservation's learned holds; none where every budget holds the whole estimate.
#[must_use]
pub fn learned_docs(learned: &LearnedHolds) -> Option<Vec<LearnedHoldDoc>> {
    let doc = |(number, LearnedHold { measure, promise }): (&BudgetNumber, &LearnedHold)| LearnedHoldDoc {
        budget: number.0,
        measure: MeasureBody::from(measure),
        held: promise.held.decimal(),
        margin: promise.margin.decimal(),
        at_risk: promise.at_risk.decimal(),
    };
    (!learned.is_empty()).then(|| learned.0.iter().map(doc).collect())
}

/// Reads it back.
///
/// # Errors
/// Names what cannot be a value.
pub fn learned_holds(docs: &[LearnedHoldDoc]) -> Result<LearnedHolds, FieldError> {
    let quantity =
        |field: &str, value: Decimal| Quantity::new(value).map_err(|error| FieldError::new(field.to_owned(), error));
    let hold = |doc: &LearnedHoldDoc| {
        let promise = Promise {
            held: quantity("held", doc.held)?,
            margin: quantity("margin", doc.margin)?,
            at_risk: quantity("at_risk", doc.at_risk)?,
        };
        Ok((BudgetNumber(doc.budget), LearnedHold { measure: Measure::try_from(&doc.measure)?, promise }))
    };
    docs.iter().map(hold).collect::<Result<_, _>>().map(LearnedHolds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_what_is_wrong_with_it() {
        let grouped = |text: &str| AccuracyQuery { group_by: Some(text.to_owned()), ..AccuracyQuery::default() };
        assert_eq!(
            grouped("model,tenant,model").dimensions(),
            Ok(vec![AccuracyDimension::Tenant, AccuracyDimension::Model])
        );
        assert_eq!(grouped("").dimensions(), Ok(Vec::new()));
        assert_eq!(grouped("run").dimensions().unwrap_err().field, "group_by");
        let weeks = |weeks| AccuracyQuery { weeks: Some(weeks), ..AccuracyQuery::default() }.weeks();
        assert_eq!((weeks(1), weeks(260)), (Ok(1), Ok(260)));
        assert_eq!(weeks(0).unwrap_err().field, "weeks");
        assert_eq!(weeks(261).unwrap_err().field, "weeks");
        let named = AccuracyQuery { feature: Some("no spaces".to_owned()), ..AccuracyQuery::default() };
        assert_eq!(named.filters().unwrap_err().field, "feature");
    }

    #[test]
    fn a_ratio_is_told_as_a_decimal() {
        assert_eq!(ratio_body(Ratio::ONE).to_string(), "1");
        assert_eq!(ratio_body(Ratio::from_millionths(250_000)).to_string(), "0.25");
    }
}
