//! The calendar window of a budget, as JSON.

use chrono::{DateTime, NaiveDate, Utc, Weekday};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FieldError;
use crate::domain::calendar::{AnchorDate, AnchorDay, AnchorInstant, MonthCount, PeriodSpec, Seconds, TimeOfDay};

/// The kinds of period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodKind {
    /// Elapsed hours from local midnight.
    Hour,
    /// A local day.
    Day,
    /// Seven local days, from `week_start`.
    Week,
    /// From one `anchor_day` to the next.
    Month,
    /// `every` so many months from `anchor_date`.
    Months,
    /// Three months, from 1 January.
    Quarter,
    /// A year, from `anchor_date` or 1 January.
    Year,
    /// `seconds` elapsed seconds, counted from `anchor_instant`.
    Fixed,
    /// The last `seconds` elapsed seconds, whenever asked.
    Sliding,
    /// All of time.
    Once,
}

/// The days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum WeekdayName {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// The calendar window of a budget. Which fields a kind takes is said at each; a field that its kind does not take is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"kind": "month", "anchor_day": 1}))]
pub struct PeriodBody {
    /// Which kind.
    pub kind: PeriodKind,
    /// `week`: the day on which it turns; Monday if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub week_start: Option<WeekdayName>,
    /// `month`: the day on which it turns, 1 to 31; beyond a month's end it means the last day. 1 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor_day: Option<u8>,
    /// `months`, `year`: a local date on which one starts.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::date::optional")]
    pub anchor_date: Option<NaiveDate>,
    /// `months`: how many, 1 to 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u8>,
    /// `day`, `week`, `month`, `months`: the local time at which it turns, `HH:MM`; midnight if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "09:00")]
    pub at: Option<String>,
    /// `fixed`, `sliding`: the length in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// `fixed`: an instant at which one starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor_instant: Option<DateTime<Utc>>,
    /// `once`, of a budget: the instant from which it counts; that at which the budget was made if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_from: Option<DateTime<Utc>>,
}

impl PeriodBody {
    /// Only a kind.
    #[must_use]
    pub const fn of(kind: PeriodKind) -> Self {
        Self {
            kind,
            week_start: None,
            anchor_day: None,
            anchor_date: None,
            every: None,
            at: None,
            seconds: None,
            anchor_instant: None,
            counts_from: None,
        }
    }
}

impl TryFrom<&PeriodBody> for PeriodSpec {
    type Error = FieldError;

    fn try_from(body: &PeriodBody) -> Result<Self, FieldError> {
        let PeriodBody { kind, week_start, anchor_day, anchor_date, every, at, seconds, anchor_instant, counts_from } =
            body;
        let given: [(&'static str, bool, &[PeriodKind]); 8] = [
            ("week_start", week_start.is_some(), &[PeriodKind::Week]),
            ("anchor_day", anchor_day.is_some(), &[PeriodKind::Month]),
            ("anchor_date", anchor_date.is_some(), &[PeriodKind::Months, PeriodKind::Year]),
            ("every", every.is_some(), &[PeriodKind::Months]),
            ("at", at.is_some(), &[PeriodKind::Day, PeriodKind::Week, PeriodKind::Month, PeriodKind::Months]),
            ("seconds", seconds.is_some(), &[PeriodKind::Fixed, PeriodKind::Sliding]),
            ("anchor_instant", anchor_instant.is_some(), &[PeriodKind::Fixed]),
            ("counts_from", counts_from.is_some(), &[PeriodKind::Once]),
        ];
        for (field, is_given, kinds) in given {
            if is_given && !kinds.contains(kind) {
                return Err(FieldError::new(field, "does not go with this kind of period"));
            }
        }
        super::in_calendar("counts_from", *counts_from)?;
        let bad = |field: &'static str| move |error: crate::domain::calendar::BadPeriod| FieldError::new(field, error);
        let needed = |field: &'static str| move || FieldError::new(field, "is needed for this kind of period");
        let turns_at = match at {
            Some(at) => TimeOfDay::parse(at).map_err(bad("at"))?,
            None => TimeOfDay::MIDNIGHT,
        };
        Ok(match kind {
            PeriodKind::Hour => Self::Hour,
            PeriodKind::Day => Self::Day { at: turns_at },
            PeriodKind::Week => Self::Week { week_start: week_start.map_or(Weekday::Mon, Weekday::from), at: turns_at },
            PeriodKind::Month => {
                let anchor_day = AnchorDay::new(anchor_day.unwrap_or(1)).map_err(bad("anchor_day"))?;
                Self::Month { anchor_day, at: turns_at }
            }
            PeriodKind::Months => {
                let every = MonthCount::new(every.ok_or_else(needed("every"))?).map_err(bad("every"))?;
                let anchor_date = anchor_date.ok_or_else(needed("anchor_date"))?;
                let anchor_date = AnchorDate::new(anchor_date).map_err(bad("anchor_date"))?;
                Self::Months { every, anchor_date, at: turns_at }
            }
            PeriodKind::Quarter => Self::Quarter,
            PeriodKind::Year => {
                Self::Year { anchor_date: anchor_date.map(AnchorDate::new).transpose().map_err(bad("anchor_date"))? }
            }
            PeriodKind::Fixed => {
                let seconds = Seconds::new(seconds.ok_or_else(needed("seconds"))?).map_err(bad("seconds"))?;
                let anchor_instant = anchor_instant.ok_or_else(needed("anchor_instant"))?;
                let anchor_instant = AnchorInstant::new(anchor_instant).map_err(bad("anchor_instant"))?;
                Self::Fixed { seconds, anchor_instant }
            }
            PeriodKind::Sliding => {
                let seconds = Seconds::new(seconds.ok_or_else(needed("seconds"))?).map_err(bad("seconds"))?;
                Self::Sliding { seconds }
            }
            PeriodKind::Once => Self::Once,
        })
    }
}

impl From<WeekdayName> for Weekday {
    fn from(name: WeekdayName) -> Self {
        match name {
            WeekdayName::Mon => Self::Mon,
            WeekdayName::Tue => Self::Tue,
            WeekdayName::Wed => Self::Wed,
            WeekdayName::Thu => Self::Thu,
            WeekdayName::Fri => Self::Fri,
            WeekdayName::Sat => Self::Sat,
            WeekdayName::Sun => Self::Sun,
        }
    }
}
