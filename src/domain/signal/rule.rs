//! Rules: what an answer must hold, what it means then, and when it comes back.

use chrono::{DateTime, Utc};

use super::limits::ReportedLimit;
use super::times::{after, date_or_seconds, epoch, go_duration, replenished_in, retry_in, stated_instant};
use super::{ProviderAnswer, SignalClass, SignalKind};
use crate::domain::budget::closure::{early_until, is_early};
use crate::domain::calendar::{Period, PeriodSpec, Zone};

/// Where providers put the words for people.
pub const MESSAGE_PATHS: [&str; 5] = ["error.message", "message", "Message", "error", "text"];

/// One fact about how a provider says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique.
    pub name: String,
    /// The providers it is about; all if empty.
    pub providers: Vec<String>,
    /// The statuses it is about.
    pub statuses: Vec<u16>,
    /// What must hold as well.
    pub conditions: Vec<Condition>,
    /// What it means for the caller.
    pub class: SignalClass,
    /// What it is about.
    pub kind: SignalKind,
    /// Which of the provider's limits it speaks of, where it says so.
    pub period: Option<LimitPeriod>,
    /// When it comes back: the first of these that is known.
    pub returns: Vec<Return>,
    /// Where the fact is from.
    pub source: String,
    /// The day the source was read.
    pub source_date: String,
}

impl Rule {
    /// Whether an answer, of one of its providers, is what it speaks of.
    #[must_use]
    pub fn fits(&self, answer: &ProviderAnswer) -> bool {
        self.statuses.contains(&answer.status) && self.conditions.iter().all(|condition| condition.holds(answer))
    }
}

/// A place in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A header, in lower case.
    Header(String),
    /// The first of these paths of the body that is there.
    Body(Vec<String>),
}

/// What must hold of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Where.
    pub place: Place,
    /// What.
    pub test: Test,
}

/// What must hold of the texts at a place. Case does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// There is one.
    Present,
    /// There is none.
    Absent,
    /// One is one of these.
    Equals(Vec<String>),
    /// One holds one of these.
    Contains(Vec<String>),
    /// One is a number above this.
    Above(u32),
}

impl Condition {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, answer: &ProviderAnswer) -> bool {
        let texts: Vec<&str> = match &self.place {
            Place::Header(name) => answer.header(name).into_iter().collect(),
            Place::Body(paths) => answer.texts(paths).iter().map(String::as_str).collect(),
        };
        let any = |wanted: &[String], fits: fn(&str, &str) -> bool| {
            texts.iter().any(|text| wanted.iter().any(|one| fits(&text.to_lowercase(), &one.to_lowercase())))
        };
        match &self.test {
            Test::Present => !texts.is_empty(),
            Test::Absent => texts.is_empty(),
            Test::Equals(wanted) => any(wanted, |text, one| text == one),
            Test::Contains(wanted) => any(wanted, |text, one| text.contains(one)),
            Test::Above(least) => {
                let number = |text: &&str| text.trim().parse::<f64>().ok();
                texts.iter().filter_map(number).any(|number| number > f64::from(*least))
            }
        }
    }
}

/// A way in which an answer, or its rule, says when it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Return {
    /// A header of seconds, or of an HTTP date.
    Header(String),
    /// A header of milliseconds.
    HeaderMilliseconds(String),
    /// A header of seconds since the Unix epoch.
    HeaderEpoch(String),
    /// A duration in the body: `34.5s`.
    BodyDuration(Vec<String>),
    /// A number of seconds in the body.
    BodySeconds(Vec<String>),
    /// Seconds since the Unix epoch in the body.
    BodyEpoch(Vec<String>),
    /// The message states the instant: `2026-09-01 at 00:00 UTC`.
    MessageInstant,
    /// The message states how long: `try again in 6m0s`, `retry after 9 seconds`.
    MessageRetryIn,
    /// The message states how long, as days, hours, minutes and seconds: `replenished in 2.09:56:13`.
    MessageReplenishedIn,
    /// The headers of limits say which one is used up, and when it resets.
    ExhaustedLimit,
    /// The next month of a zone.
    Month(Zone),
    /// The next day of a zone.
    Day(Zone),
    /// So many seconds later.
    Seconds(u32),
}

/// When something comes back, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comeback {
    /// When.
    pub at: DateTime<Utc>,
    /// Whether the provider gave the instant. Otherwise its rules or the calendar are all that is known.
    pub is_reported: bool,
    /// The period whose end it was computed from, where the refusal came at its very beginning: it was probably about the
    /// period before, and `at` is a minute later.
    pub early_in: Option<Period>,
}

impl Comeback {
    /// The end of the period that holds an instant; or a minute later, at the very beginning of that period.
    pub(super) fn of_period(spec: &PeriodSpec, zone: Zone, at: DateTime<Utc>) -> Option<Self> {
        let period = spec.holding(zone, at).ok()?;
        if is_early(period, at) {
            return Some(Self { at: early_until(None, period, at), is_reported: false, early_in: Some(period) });
        }
        Some(Self { at: period.end?, is_reported: false, early_in: None })
    }
}

impl Return {
    /// When it comes back, if this way says so.
    #[must_use]
    pub fn comeback(
        &self,
        answer: &ProviderAnswer,
        limits: &[ReportedLimit],
        received_at: DateTime<Utc>,
    ) -> Option<Comeback> {
        let reported = match self {
            Self::Month(zone) => return Comeback::of_period(&PeriodSpec::MONTH, *zone, received_at),
            Self::Day(zone) => return Comeback::of_period(&PeriodSpec::DAY, *zone, received_at),
            Self::Seconds(seconds) => {
                let at = after(received_at, chrono::TimeDelta::seconds(i64::from(*seconds)))?;
                return Some(Comeback { at, is_reported: false, early_in: None });
            }
            Self::Header(name) => date_or_seconds(answer.header(name)?, received_at),
            Self::HeaderMilliseconds(name) => milliseconds(answer.header(name)?, received_at),
            Self::HeaderEpoch(name) => epoch(answer.header(name)?, received_at),
            Self::BodyDuration(paths) => {
                let delay = answer.texts(paths).iter().find_map(|text| go_duration(text))?;
                after(received_at, delay)
            }
            Self::BodySeconds(paths) => {
                answer.texts(paths).iter().find_map(|text| after(received_at, go_duration(&format!("{text}s"))?))
            }
            Self::BodyEpoch(paths) => answer.texts(paths).iter().find_map(|text| epoch(text, received_at)),
            Self::MessageInstant => stated_instant(message(answer)?, received_at),
            Self::MessageRetryIn => after(received_at, retry_in(message(answer)?)?),
            Self::MessageReplenishedIn => after(received_at, replenished_in(message(answer)?)?),
            Self::ExhaustedLimit => {
                limits.iter().filter(|limit| limit.is_exhausted).filter_map(|limit| limit.resets_at).max()
            }
        };
        Some(Comeback { at: reported?, is_reported: true, early_in: None })
    }
}

fn message(answer: &ProviderAnswer) -> Option<&str> {
    answer.texts(&MESSAGE_PATHS.map(str::to_owned)).first().map(String::as_str)
}

fn milliseconds(text: &str, received_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    after(received_at, go_duration(&format!("{}ms", text.trim()))?)
}

/// The period that a provider's limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitPeriod {
    /// Five hours, of subscriptions.
    FiveHours,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
}

impl LimitPeriod {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::FiveHours, Self::Day, Self::Week, Self::Month];

    /// The word in the rules and in answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::FiveHours => "five_hours",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The one that a quota's period is, if it is one.
    #[must_use]
    pub fn of(spec: &PeriodSpec) -> Option<Self> {
        match spec {
            PeriodSpec::Day { .. } => Some(Self::Day),
            PeriodSpec::Week { .. } => Some(Self::Week),
            PeriodSpec::Month { .. } => Some(Self::Month),
            PeriodSpec::Fixed { seconds, .. } | PeriodSpec::Sliding { seconds } => match seconds.get() {
                18_000 => Some(Self::FiveHours),
                86_400 => Some(Self::Day),
                604_800 => Some(Self::Week),
                2_419_200..=2_678_400 => Some(Self::Month),
                _ => None,
            },
            PeriodSpec::Hour
            | PeriodSpec::Months { .. }
            | PeriodSpec::Quarter
            | PeriodSpec::Year { .. }
            | PeriodSpec::Once => None,
        }
    }

    /// When the one that holds an instant ends, as far as the calendar knows.
    #[must_use]
    pub fn comeback(self, zone: Zone, at: DateTime<Utc>) -> Option<Comeback> {
        match self {
            Self::FiveHours => {
                let at = after(at, chrono::TimeDelta::hours(5))?;
                Some(Comeback { at, is_reported: false, early_in: None })
            }
            Self::Day => Comeback::of_period(&PeriodSpec::DAY, zone, at),
            Self::Week => Comeback::of_period(&PeriodSpec::WEEK, zone, at),
            Self::Month => Comeback::of_period(&PeriodSpec::MONTH, zone, at),
        }
    }
}
