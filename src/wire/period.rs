//! Closed periods as JSON.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FieldError, in_calendar};
use crate::domain::calendar::{PeriodSpec, Zone};

/// Until when to close the books. The body of `POST /v1/periods/close`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// The first instant that stays open; or a month, which is closed whole.
    #[schema(example = "2026-05")]
    pub until: String,
    /// The zone whose month it is; UTC if not given. Not with an instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Asia/Tokyo")]
    pub zone: Option<String>,
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
        let zone = self.zone.as_deref().map_or(Ok(Zone::UTC), Zone::parse);
        let zone = zone.map_err(|error| FieldError::new("zone", error))?;
        // The middle of a month is in it in every zone.
        let middle: NaiveDate = format!("{}-15", self.until).parse().map_err(|_| {
            wrong(format!("`{}` is neither an instant (2026-06-01T00:00:00Z) nor a month (2026-05)", self.until))
        })?;
        let middle = middle.and_time(NaiveTime::MIN).and_utc();
        let month = PeriodSpec::MONTH.holding(zone, middle).map_err(|error| wrong(error.to_string()))?;
        month.end.ok_or_else(|| wrong("has no end".to_owned()))
    }
}

/// One closing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(until: &str, zone: Option<&str>, expect: &str) {
        let request = CloseRequest { until: until.to_owned(), zone: zone.map(str::to_owned) };
        let told = request.to_instant().map_or_else(|error| error.field, |at| at.to_rfc3339());
        assert_eq!(told, expect, "{until} {zone:?}");
    }

    #[test]
    fn a_month_is_closed_until_its_end_on_the_clock_of_its_zone() {
        check("2026-05", None, "2026-06-01T00:00:00+00:00");
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
