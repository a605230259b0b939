//! What the forecast is compared with: straight lines, and last week again.

use super::super::number::real;

/// A method of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// The forecast of this project.
    HourOfWeek,
    /// The mean of the period so far: what dashboards draw.
    MonthToDate,
    /// The mean of the last 24 hours.
    LastDay,
    /// The mean of the last seven days.
    LastWeek,
    /// Last week, hour by hour, again and again.
    SeasonalNaive,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::HourOfWeek, Self::MonthToDate, Self::LastDay, Self::LastWeek, Self::SeasonalNaive];

    /// The word in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HourOfWeek => "hour_of_week",
            Self::MonthToDate => "month_to_date",
            Self::LastDay => "last_24_h",
            Self::LastWeek => "last_7_d",
            Self::SeasonalNaive => "seasonal_naive",
        }
    }
}

/// Hours until `amount` is used, if it goes on as the method says; `None` where it never is within `hours_max`.
///
/// `past` is what was used in each hour, the newest last; `in_period` of them lie in the period.
#[must_use]
pub fn hours_until(method: Method, past: &[f64], in_period: usize, amount: f64, hours_max: f64) -> Option<f64> {
    let last = |hours: usize| past.get(past.len().saturating_sub(hours)..).unwrap_or_default();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / real(values.len()).max(1.0);
    let at_rate = |rate: f64| Some(amount / rate).filter(|hours| hours.is_finite() && *hours <= hours_max);
    match method {
        Method::HourOfWeek => None,
        Method::MonthToDate => at_rate(mean(last(in_period))),
        Method::LastDay => at_rate(mean(last(24))),
        Method::LastWeek => at_rate(mean(last(168))),
        Method::SeasonalNaive => {
            let week = last(168);
            if week.iter().sum::<f64>() <= 0.0 {
                return None;
            }
            let mut left = amount;
            for (hour, value) in week.iter().cycle().enumerate() {
                if real(hour) > hours_max {
                    break;
                }
                if *value >= left {
                    return Some(real(hour) + if *value > 0.0 { left / value } else { 0.0 });
                }
                left -= value;
            }
            None
        }
    }
}
