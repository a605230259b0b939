//! Rules: what an answer must hold, what it means then, and when it comes back.

use chrono::{DateTime, Utc};

use super::limits::ReportedLimit;
use super::times::{after, date_or_seconds, go_duration, replenished_in, retry_in, stated_instant};
use super::{ProviderAnswer, SignalClass, SignalKind};
use crate::domain::calendar::{PeriodSpec, Zone};

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
    /// When it comes back: the first of these that tells.
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
    /// A duration in the body: `34.5s`.
    BodyDuration(Vec<String>),
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

impl Return {
    /// The instant, if this way tells one.
    #[must_use]
    pub fn instant(
        &self,
        answer: &ProviderAnswer,
        limits: &[ReportedLimit],
        received_at: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let message = || answer.texts(&MESSAGE_PATHS.map(str::to_owned)).first().map(String::as_str);
        let end = |spec: PeriodSpec, zone: Zone| spec.holding(zone, received_at).ok()?.end;
        match self {
            Self::Header(name) => date_or_seconds(answer.header(name)?, received_at),
            Self::HeaderMilliseconds(name) => {
                let text = answer.header(name)?.trim();
                after(received_at, go_duration(&format!("{text}ms"))?)
            }
            Self::BodyDuration(paths) => {
                let told = answer.texts(paths).iter().find_map(|text| go_duration(text));
                after(received_at, told?)
            }
            Self::MessageInstant => stated_instant(message()?),
            Self::MessageRetryIn => after(received_at, retry_in(message()?)?),
            Self::MessageReplenishedIn => after(received_at, replenished_in(message()?)?),
            Self::ExhaustedLimit => {
                limits.iter().filter(|limit| limit.remaining == Some(0)).filter_map(|limit| limit.resets_at).max()
            }
            Self::Month(zone) => end(PeriodSpec::MONTH, *zone),
            Self::Day(zone) => end(PeriodSpec::DAY, *zone),
            Self::Seconds(seconds) => after(received_at, chrono::TimeDelta::seconds(i64::from(*seconds))),
        }
    }
}
