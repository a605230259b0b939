//! How right projections were, as JSON.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

/// How right the projections of one method and class were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProjectionAccuracyRow)]
pub struct AccuracyRowBody {
    /// How they were made.
    #[schema(example = "hour_of_week")]
    pub method: String,
    /// The version of the method.
    pub version: i32,
    /// The class whose errors are pooled.
    #[schema(example = "steady")]
    pub class: String,
    /// Projections whose truth is known.
    pub scored: i64,
    /// Projections that wait for it, or whose truth cannot be known.
    pub unscored: i64,
    /// The share of budgets that did run out, 0 to 1.
    #[schema(value_type = String, format = "decimal", example = "0.4")]
    pub exhausted_share: Decimal,
    /// Half of the errors of the expected instant are smaller than this, in hours. Null where there was nothing to be wrong about.
    #[schema(value_type = Option<String>, format = "decimal", example = "5.9")]
    pub error_hours_median: Option<Decimal>,
    /// Nine of ten are smaller than this.
    #[schema(value_type = Option<String>, format = "decimal", example = "39")]
    pub error_hours_p90: Option<Decimal>,
    /// The mean error: positive where the truth came earlier than was said.
    #[schema(value_type = Option<String>, format = "decimal", example = "-1.2")]
    pub bias_hours: Option<Decimal>,
    /// The share of truths within the band of 80 percent, 0 to 1.
    #[schema(value_type = String, format = "decimal", example = "0.81")]
    pub coverage: Decimal,
    /// The Brier score of the probability: 0 is best, 0.25 is a coin.
    #[schema(value_type = String, format = "decimal", example = "0.06")]
    pub brier: Decimal,
    /// The same of the plain yes or no that the expected instant gives.
    #[schema(value_type = String, format = "decimal", example = "0.09")]
    pub brier_yes_no: Decimal,
    /// By how much the band of the class is widened, for what its misses and hits were: 1 is as measured beforehand.
    #[schema(value_type = Option<String>, format = "decimal", example = "1.06")]
    pub band_scale: Option<Decimal>,
}

/// How right projections were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProjectionAccuracy)]
pub struct AccuracyBody {
    /// Since when projections were made that are looked at.
    pub since: DateTime<Utc>,
    /// By method and class.
    pub items: Vec<AccuracyRowBody>,
}
