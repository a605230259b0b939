//! Which readings are news.
//!
//! A cause that fires is told once, and again only after it has cleared. A cause whose period ends is forgotten without a
//! word. Of one kind and group no more than [`RAISED_AN_HOUR_MAX`] are told within an hour: then one storm is told instead,
//! and the rest is counted; a cause that was muted clears without a word.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::kind::{AlertKind, Severity};
use super::{Alert, Cause, Figure, Level, Reading, Subject};
use crate::domain::id::EventId;

/// Most alerts of one kind and group that are told within an hour; the rest is counted by one storm.
pub const RAISED_AN_HOUR_MAX: u32 = 20;
/// The hour in which they are counted.
pub const STORM_WINDOW: TimeDelta = TimeDelta::hours(1);

/// An alert that was raised and has not cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Which kind.
    pub kind: AlertKind,
    /// When it was raised.
    pub raised_at: DateTime<Utc>,
    /// The event that told it; none if it was only counted by a storm.
    pub event: Option<EventId>,
    /// When it is over by itself.
    pub ends_at: Option<DateTime<Utc>>,
}

/// How many alerts of one kind and [`Subject::group`] were told within the last [`STORM_WINDOW`].
pub type Told = BTreeMap<(AlertKind, String), u32>;

/// Something that happened to an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It was raised, and is told.
    Raised(Alert),
    /// It was raised, and is only counted.
    Muted(Alert),
    /// It cleared; as it stands now, and the event that had raised it.
    Cleared {
        /// As it stands now.
        alert: Alert,
        /// What had been told.
        raised: EventId,
        /// When.
        raised_at: DateTime<Utc>,
    },
    /// It is over without a word: its period ended, or nobody was told of it.
    Forgotten(Cause),
}

/// Compares what was found with what is open. Of the kinds in `complete` every open cause was looked at: one without a
/// reading is there no more (its budget was archived, its threshold removed) and is forgotten. Others that were not looked
/// at stay.
#[must_use]
pub fn turn(
    open: &BTreeMap<Cause, Open>,
    readings: Vec<Reading>,
    complete: &[AlertKind],
    told: &Told,
    now: DateTime<Utc>,
) -> Vec<News> {
    let mut news = Vec::new();
    let mut told = told.clone();
    let mut muted: BTreeMap<(AlertKind, String), (u64, Subject)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (cause, known) in open {
        if known.ends_at.is_some_and(|end| end <= now) {
            news.push(News::Forgotten(cause.clone()));
            seen.insert(cause.clone());
        }
    }
    for Reading { alert, level } in readings {
        let over = alert.ends_at.is_some_and(|end| end <= now);
        if !seen.insert(alert.cause.clone()) {
            continue;
        }
        match (open.get(&alert.cause), level) {
            (None, Level::Firing) if !over => {
                let group = (alert.kind, alert.subject.group());
                let so_far = told.entry(group.clone()).or_default();
                if *so_far < RAISED_AN_HOUR_MAX {
                    *so_far = so_far.saturating_add(1);
                    news.push(News::Raised(alert));
                } else {
                    let of_all = Subject { tenant: None, budget: alert.subject.budget.clone(), ..Subject::default() };
                    let (count, _) = muted.entry(group).or_insert((0, of_all));
                    *count = count.saturating_add(1);
                    news.push(News::Muted(alert));
                }
            }
            (Some(known), Level::Quiet) => news.push(match known.event {
                Some(raised) => News::Cleared { alert, raised, raised_at: known.raised_at },
                None => News::Forgotten(alert.cause),
            }),
            (None, Level::Firing | Level::Between | Level::Quiet) | (Some(_), Level::Firing | Level::Between) => {}
        }
    }
    for (cause, known) in open {
        if complete.contains(&known.kind) && !seen.contains(cause) {
            news.push(News::Forgotten(cause.clone()));
        }
    }
    for ((kind, group), (count, subject)) in muted {
        let storm = storm(kind, &group, count, subject, now);
        if !open.contains_key(&storm.cause) {
            news.push(News::Raised(storm));
        }
    }
    news
}

/// The one alert that stands for those that are only counted. It is over an hour later, and raised again if it goes on.
fn storm(kind: AlertKind, group: &str, count: u64, subject: Subject, now: DateTime<Utc>) -> Alert {
    let about = group.split_once(':').map_or(group, |(_, name)| name);
    Alert {
        cause: Cause::new(AlertKind::Storm, &[kind.name(), group]),
        kind: AlertKind::Storm,
        severity: Severity::Warning,
        subject,
        message: format!(
            "more than {RAISED_AN_HOUR_MAX} `{kind}` alerts of {about} within an hour: the rest is not told"
        ),
        advice: "Look at the list of what stands out, and find what they have in common.".to_owned(),
        figures: vec![
            ("kind", Figure::Word(kind.name().to_owned())),
            ("told_an_hour", Figure::Decimal(Decimal::from(RAISED_AN_HOUR_MAX))),
            ("muted", Figure::Count(count)),
        ],
        links: vec![("alerts", format!("/v1/alerts?kind={kind}"))],
        ends_at: now.checked_add_signed(STORM_WINDOW),
    }
}
