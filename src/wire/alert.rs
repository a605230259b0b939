//! Events and alerts, as JSON: in the API, on the stream, in the body of a webhook, and in the columns that keep them.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::FieldError;
use crate::domain::alert::kind::{AlertKind, Severity};
use crate::domain::alert::{Alert, Figure, Subject};
use crate::domain::id::EventId;

/// What an alert is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertKindName {
    /// A budget has used one of its thresholds.
    Threshold,
    /// A budget is used faster than its plan.
    BurnRate,
    /// A budget is projected to run out before it resets.
    ProjectedExhaustion,
    /// More was used than the limit.
    Overdraft,
    /// A budget stops calls.
    Refusing,
    /// Reservations expired and nobody settled them.
    ExpiredReservations,
    /// Calls were priced by the fallback.
    UnpricedModel,
    /// Grams were computed by a fallback.
    UnknownFactor,
    /// Fewer prompt tokens come from the cache.
    CacheHitDrop,
    /// Prompts have grown.
    PrefixGrowth,
    /// A run spends far faster than others.
    RunVelocity,
    /// A run goes on with a growing context.
    LoopSuspicion,
    /// So many alerts at once that the rest is only counted.
    Storm,
}

macro_rules! same_names {
    ($name:ident = $domain:ident { $($variant:ident),* }) => {
        impl From<$domain> for $name {
            fn from(value: $domain) -> Self {
                match value { $($domain::$variant => Self::$variant),* }
            }
        }

        impl From<$name> for $domain {
            fn from(name: $name) -> Self {
                match name { $($name::$variant => Self::$variant),* }
            }
        }
    };
}

same_names!(
    AlertKindName = AlertKind {
        Threshold,
        BurnRate,
        ProjectedExhaustion,
        Overdraft,
        Refusing,
        ExpiredReservations,
        UnpricedModel,
        UnknownFactor,
        CacheHitDrop,
        PrefixGrowth,
        RunVelocity,
        LoopSuspicion,
        Storm
    }
);

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeverityName {
    /// Good to know.
    Info,
    /// Somebody should look at it today.
    Warning,
    /// Somebody should look at it now.
    Critical,
}

same_names!(SeverityName = Severity { Info, Warning, Critical });

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// It fires.
    Raised,
    /// It does not fire any more.
    Cleared,
}

impl EventStatus {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
        }
    }
}

/// A number of an event: a count, or a text (a decimal, an instant, a word).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = EventFigure)]
pub enum FigureBody {
    /// A count.
    Count(u64),
    /// A decimal, an instant or a word.
    Text(String),
}

impl From<&Figure> for FigureBody {
    fn from(figure: &Figure) -> Self {
        match figure {
            Figure::Decimal(value) => Self::Text(value.normalize().to_string()),
            Figure::Count(count) => Self::Count(*count),
            Figure::Instant(at) => Self::Text(at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Figure::Word(word) => Self::Text(word.clone()),
        }
    }
}

/// Something that happened to an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Event)]
pub struct EventBody {
    /// Its id, the same in every attempt to deliver it: whoever has seen it may ignore it.
    pub id: Uuid,
    /// What it is of.
    pub kind: AlertKindName,
    /// Raised or cleared.
    pub status: EventStatus,
    /// How urgent.
    pub severity: SeverityName,
    /// When the service noticed.
    pub occurred_at: DateTime<Utc>,
    /// Whose affair it is; null for what only the platform sees.
    pub tenant: Option<String>,
    /// The budget it is about.
    pub budget: Option<String>,
    /// The counter of it, if it is counted apart.
    pub key: Option<String>,
    /// The feature it is about.
    pub feature: Option<String>,
    /// The run it is about.
    pub run: Option<String>,
    /// The provider it is about.
    pub provider: Option<String>,
    /// The model it is about.
    pub model: Option<String>,
    /// What is so, in one sentence.
    pub message: String,
    /// What to do, in one sentence.
    pub advice: String,
    /// The numbers, by name: decimals and instants as texts, counts as numbers. Which there are depends on the kind.
    pub numbers: BTreeMap<String, FigureBody>,
    /// Paths of this API that show the numbers, by what they show.
    pub links: BTreeMap<String, String>,
    /// When it is over by itself: the end of the period. No event tells that.
    pub ends_at: Option<DateTime<Utc>>,
    /// Of a cleared one: the event that had raised it.
    pub raised_by: Option<Uuid>,
    /// Since when it fires, or fired.
    pub raised_at: DateTime<Utc>,
}

impl EventBody {
    /// An alert that is raised.
    #[must_use]
    pub fn raised(id: EventId, alert: &Alert, now: DateTime<Utc>) -> Self {
        let Alert { cause: _, kind, severity, subject, message, advice, figures, links, ends_at } = alert;
        let Subject { tenant, budget, key, feature, run, provider, model } = subject;
        Self {
            id: id.0,
            kind: (*kind).into(),
            status: EventStatus::Raised,
            severity: (*severity).into(),
            occurred_at: now,
            tenant: tenant.as_ref().map(ToString::to_string),
            budget: budget.as_ref().map(ToString::to_string),
            key: key.clone(),
            feature: feature.as_ref().map(ToString::to_string),
            run: run.as_ref().map(ToString::to_string),
            provider: provider.as_ref().map(ToString::to_string),
            model: model.as_ref().map(ToString::to_string),
            message: message.clone(),
            advice: advice.clone(),
            numbers: figures.iter().map(|(name, figure)| ((*name).to_owned(), figure.into())).collect(),
            links: links.iter().map(|(name, path)| ((*name).to_owned(), path.clone())).collect(),
            ends_at: *ends_at,
            raised_by: None,
            raised_at: now,
        }
    }

    /// An alert that cleared.
    #[must_use]
    pub fn cleared(id: EventId, alert: &Alert, raised: EventId, raised_at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            status: EventStatus::Cleared,
            severity: SeverityName::Info,
            message: format!("cleared: {}", alert.kind.cleared()),
            advice: "Nothing: it is over.".to_owned(),
            raised_by: Some(raised.0),
            raised_at,
            ..Self::raised(id, alert, now)
        }
    }
}

/// The body of a webhook, in the shape that Standard Webhooks 1.0.0 suggests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WebhookMessage)]
pub struct MessageBody {
    /// The kind and what happened: `threshold.raised`, `overdraft.cleared`, `test.raised`.
    #[serde(rename = "type")]
    #[schema(example = "threshold.raised")]
    pub kind: String,
    /// When the service noticed.
    pub timestamp: DateTime<Utc>,
    /// The event.
    pub data: EventBody,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventsPage {
    /// Newest first.
    pub items: Vec<EventBody>,
    /// For the next page; none on the last.
    pub next_cursor: Option<String>,
}

/// A page of what is firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlertsPage {
    /// By cause. Each as the event that raised it; one that only a storm counted has an event nobody was sent.
    pub items: Vec<EventBody>,
    /// For the next page; none on the last.
    pub next_cursor: Option<String>,
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only of this kind.
    #[param(inline)]
    pub kind: Option<AlertKindName>,
    /// Only about this budget.
    pub budget: Option<String>,
    /// Only about this feature.
    pub feature: Option<String>,
    /// Only about this run.
    pub run: Option<String>,
    /// Only from this instant on.
    pub from: Option<DateTime<Utc>>,
    /// Only before this instant.
    pub to: Option<DateTime<Utc>>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most events of one page: 1 to 1,000; 100 if not given.
    pub limit: Option<u32>,
}

/// Which alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertsQuery {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only of this kind.
    #[param(inline)]
    pub kind: Option<AlertKindName>,
    /// Only about this budget.
    pub budget: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most alerts of one page: 1 to 1,000; 100 if not given.
    pub limit: Option<u32>,
}

/// The id that a stream was cut off after.
///
/// # Errors
/// Names the header.
pub fn last_event(text: &str) -> Result<EventId, FieldError> {
    text.parse().map(EventId).map_err(|_| FieldError::new("Last-Event-ID", "is no id of an event"))
}
