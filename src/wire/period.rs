//! Closed periods as JSON.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FieldError, in_calendar};
use crate::domain::calendar::{PeriodSpec, Zone};

/// Until when to close the books. The body of `POST /v1/periods/close`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"until": "2026-05", "zone": "Asia/Tokyo"}))]
pub struct CloseRequest {
    /// The first instant that stays open; or a month, which is closed whole.
    #[schema(example = "2026-05")]
    pub until: String,
    /// The zone whose month it is: must be named with a month, because a month ends at another instant in each. Not with an
    /// instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Asia/Tokyo")]
    pub zone: Option<String>,
    /// Close nothing, and only say what is still open.
    #[serde(default)]
    pub dry_run: bool,
}

impl CloseRequest {
    /// The first instant that stays open.
    ///
    /// # Errors
    /// Names the field.
    pub fn to_instant(&self) -> Result<DateTime<Utc>, FieldError> {
        let wrong = |detail: String| FieldError::new("until", detail);
        if let Ok(instant) = self.until.parse::<DateTime<Utc>>() {
            if self.zone.is_some() {
                return Err(FieldError::new("zone", "says nothing beside an instant: leave it out, or name a month"));
            }
            return Ok(in_calendar("until", Some(instant))?.unwrap_or(instant));
        }
        // The middle of a month is in it in every zone.
        let middle: NaiveDate = format!("{}-15", self.until).parse().map_err(|_| {
            wrong(format!("`{}` is neither an instant (2026-06-01T00:00:00Z) nor a month (2026-05)", self.until))
        })?;
        let middle = middle.and_time(NaiveTime::MIN).and_utc();
        let zone = self.zone.as_deref().ok_or_else(|| {
            FieldError::new("zone", "is required with a month: on whose clock does it end? For example Etc/UTC")
        })?;
        let zone = Zone::parse(zone).map_err(|error| FieldError::new("zone", error))?;
        let month = PeriodSpec::MONTH.holding(zone, middle).map_err(|error| wrong(error.to_string()))?;
        month.end.ok_or_else(|| wrong("has no end".to_owned()))
    }
}

/// One closing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClosingBody {
    /// The first instant that stayed open.
    pub closed_until: DateTime<Utc>,
    /// Who closed.
    pub closed_by: String,
    /// When.
    pub closed_at: DateTime<Utc>,
}

/// What is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PeriodsBody {
    /// The first instant that is open; null if nothing was ever closed. What belongs before it counts in the open period, and
    /// is flagged `period_closed`.
    pub closed_until: Option<DateTime<Utc>>,
    /// Every closing, newest first.
    pub closings: Vec<ClosingBody>,
}

/// How many, and their dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedBody {
    /// How many.
    pub count: u64,
    /// Dollars, all together.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    pub usd: Decimal,
}

/// Days of one provider that no approved reconciliation speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnreconciledBody {
    /// Who would send the bill.
    #[schema(example = "anthropic")]
    pub provider: String,
    /// How many UTC days.
    pub count: u64,
    /// The first of them, at most 62.
    pub days: Vec<NaiveDate>,
    /// What the books have for all of them, in dollars.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    pub usd: Decimal,
}

/// What is still open of what is to be closed. None of it keeps the books from being closed: what comes of it later counts in
/// the open period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckBody {
    /// The first instant that stays open.
    pub until: DateTime<Utc>,
    /// The first instant that was open before; null if nothing was ever closed.
    pub since: Option<DateTime<Utc>>,
    /// Whether nothing is open.
    pub is_clean: bool,
    /// Days with usage that no approved reconciliation speaks of.
    pub unreconciled: Vec<UnreconciledBody>,
    /// Calls that were charged by their estimate and not confirmed since.
    pub unconfirmed_calls: CountedBody,
    /// Reservations that are held: what they settle will count in the open period.
    pub open_reservations: CountedBody,
}

/// The answer to a closing, or to the question what it would find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloseAnswer {
    /// Whether nothing was closed because that was asked for.
    pub dry_run: bool,
    /// The first instant that is open; null if nothing was ever closed.
    pub closed_until: Option<DateTime<Utc>>,
    /// Every closing, newest first.
    pub closings: Vec<ClosingBody>,
    /// What is, or was, still open.
    pub check: CheckBody,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(until: &str, zone: Option<&str>, expect: &str) {
        let request = CloseRequest { until: until.to_owned(), zone: zone.map(str::to_owned), dry_run: false };
        let told = request.to_instant().map_or_else(|error| error.field, |at| at.to_rfc3339());
        assert_eq!(told, expect, "{until} {zone:?}");
    }

    #[test]
    fn a_month_is_closed_until_its_end_on_the_clock_of_its_zone() {
        check("2026-05", None, "zone");
        check("2026-05", Some("Etc/UTC"), "2026-06-01T00:00:00+00:00");
        check("2026-05", Some("Asia/Tokyo"), "2026-05-31T15:00:00+00:00");
        check("2026-10", Some("Europe/Berlin"), "2026-10-31T23:00:00+00:00");
        check("2026-05-03T01:02:03Z", None, "2026-05-03T01:02:03+00:00");
        check("2026-05-03T01:02:03Z", Some("Asia/Tokyo"), "zone");
        check("2026-05", Some("Mars/Olympus"), "zone");
        check("2026-13", None, "until");
        check("May", None, "until");
        check("9999-12-31T00:00:00Z", None, "until");
    }
}
