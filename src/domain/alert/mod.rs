//! Alerts: what people should hear of, once for each cause until it clears.
//!
//! Every rule is a pure function of facts and the instant, and answers with [`Reading`]s: this cause fires, is quiet, or is
//! in between, where whatever was said last still stands. [`book::turn`] compares the readings with what is open and says
//! which events are new. A rule never knows what was told before, and the book never knows why.
//!
//! | room | what it decides |
//! |---|---|
//! | [`kind`] | the kinds of alerts, and how urgent each is |
//! | [`book`] | which readings are news: one event for each cause, until it clears; no storms |
//! | [`counters`] | thresholds crossed and overdrafts, from counters |
//! | [`refusing`] | a budget that stops calls |
//! | [`expired`] | reservations that nobody settled |
//! | [`burn`] | a budget that is used faster than its plan |
//! | [`outlook`] | a budget that is projected to run out soon |
//! | [`rates`] | models without a price, calls without a factor |
//! | [`prompts`] | prompts that cost more than they did: the cache, the prefix |
//! | [`runs`] | runs that run away: velocity, suspicion of a loop |
//! | [`endpoint`] | what an endpoint is known by |
//! | [`delivery`] | when an event is tried again, and when an endpoint is paused |
//! | [`address`] | which addresses an event may be sent to |
//!
//! Deliberately absent: sending (`courier`), and anything that a verdict depends on.

pub mod address;
pub mod book;
pub mod burn;
pub mod counters;
pub mod delivery;
pub mod endpoint;
pub mod expired;
pub mod kind;
pub mod outlook;
pub mod prompts;
pub mod rates;
pub mod refusing;
pub mod runs;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::id::{BudgetId, FeatureId, ModelId, ProviderId, RunId, TenantId};
use kind::{AlertKind, Severity};

/// What an alert is known by: its kind, and the one thing it is about, with its period if it has one.
///
/// Two readings of one cause are one alert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause(Arc<str>);

impl Cause {
    /// The cause of a kind of alert about a thing. The parts are joined by a line break, which no name of ours holds.
    #[must_use]
    pub fn new(kind: AlertKind, parts: &[&str]) -> Self {
        let mut text = kind.name().to_owned();
        for part in parts {
            text.push('\n');
            text.push_str(part);
        }
        Self(Arc::from(text))
    }

    /// Takes a cause back from where it was kept.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What tells it apart from others of its kind.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('\n').skip(1)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an alert is about. What is set depends on the kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// Whose affair it is; none for what the platform alone may see: a sum over tenants, a price that is missing.
    pub tenant: Option<TenantId>,
    /// The budget.
    pub budget: Option<BudgetId>,
    /// Which counter of it, for a budget that is counted apart.
    pub key: Option<String>,
    /// The feature.
    pub feature: Option<FeatureId>,
    /// The run.
    pub run: Option<RunId>,
    /// Who serves the calls.
    pub provider: Option<ProviderId>,
    /// With what.
    pub model: Option<ModelId>,
}

impl Subject {
    /// What it is about as one word: the group in which events keep their order, and in which storms are counted.
    #[must_use]
    pub fn group(&self) -> String {
        let named = [
            ("budget", self.budget.as_ref().map(BudgetId::as_str)),
            ("feature", self.feature.as_ref().map(FeatureId::as_str)),
            ("model", self.model.as_ref().map(ModelId::as_str)),
        ];
        let first = named.into_iter().find_map(|(what, name)| name.map(|name| format!("{what}:{name}")));
        first.unwrap_or_else(|| "platform".to_owned())
    }
}

/// A number of an alert, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    /// An exact decimal: an amount in a measure, a share, a ratio.
    Decimal(Decimal),
    /// A count.
    Count(u64),
    /// An instant.
    Instant(DateTime<Utc>),
    /// A word: a measure, a zone.
    Word(String),
}

/// What there is to say of a cause, as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What it is known by.
    pub cause: Cause,
    /// Which kind.
    pub kind: AlertKind,
    /// How urgent.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// One sentence: what is so.
    pub message: String,
    /// One sentence: what to do.
    pub advice: String,
    /// The numbers, by name, in the order they are told.
    pub figures: Vec<(&'static str, Figure)>,
    /// Paths of the API that show the numbers, by what they show.
    pub links: Vec<(&'static str, String)>,
    /// When the cause is over by itself: the end of the period. Then it is forgotten without a word, because the alert said
    /// so when it was raised.
    pub ends_at: Option<DateTime<Utc>>,
}

/// What a rule found of one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The cause, with its numbers.
    pub alert: Alert,
    /// Whether it fires.
    pub level: Level,
    /// The cause that says all that this one does, and more: where that fires as well, only it is told.
    pub implied_by: Option<Cause>,
}

impl Reading {
    /// A reading that stands for itself.
    #[must_use]
    pub const fn of(alert: Alert, level: Level) -> Self {
        Self { alert, level, implied_by: None }
    }
}

/// Whether a cause fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It does.
    Firing,
    /// Not any more, and not yet clearly over: what was told last stands. Between the two lines nothing flaps.
    Between,
    /// It is over, or never was.
    Quiet,
}

impl Level {
    /// By two lines: at or above `raise` it fires, below `clear` it is quiet.
    #[must_use]
    pub fn rising(value: Decimal, raise: Decimal, clear: Decimal) -> Self {
        if value >= raise {
            Self::Firing
        } else if value < clear {
            Self::Quiet
        } else {
            Self::Between
        }
    }
}
