//! Which readings are news.
//!
//! A cause that fires is told once, and again only after it has cleared. One that is implied by another that fires (the lower of two
//! thresholds that were crossed at once) is kept, and not told. A cause whose period ends is forgotten without a
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

/// Compares what was found with what is open.
///
/// Of the kinds in `complete` every open cause was looked at: one without a
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
    let firing: BTreeSet<Cause> =
        readings.iter().filter(|one| one.level == Level::Firing).map(|one| one.alert.cause.clone()).collect();
    for Reading { alert, level, implied_by } in readings {
        let over = alert.ends_at.is_some_and(|end| end <= now);
        if !seen.insert(alert.cause.clone()) {
            continue;
        }
        match (open.get(&alert.cause), level) {
            (None, Level::Firing) if !over && implied_by.is_some_and(|cause| firing.contains(&cause)) => {
                news.push(News::Muted(alert));
            }
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

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::id::BudgetId;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn reading(budget: &str, cause: u8, level: Level, ends_at: Option<i64>) -> Reading {
        let subject = Subject { budget: BudgetId::parse(budget).ok(), ..Subject::default() };
        let alert = Alert {
            cause: Cause::new(AlertKind::Threshold, &[budget, &cause.to_string()]),
            kind: AlertKind::Threshold,
            severity: Severity::Warning,
            subject,
            message: String::new(),
            advice: String::new(),
            figures: Vec::new(),
            links: Vec::new(),
            ends_at: ends_at.map(at),
        };
        Reading::of(alert, level)
    }

    /// The book, kept as a shell would keep it.
    #[derive(Default)]
    struct Kept {
        open: BTreeMap<Cause, Open>,
        told: Vec<(i64, AlertKind, String)>,
        events: u128,
    }

    impl Kept {
        /// What is told: `+` raised, `-` cleared, with the cause's last part.
        fn turn(&mut self, readings: Vec<Reading>, complete: bool, minute: i64) -> Vec<String> {
            let mut told = Told::new();
            for (_, kind, group) in self.told.iter().filter(|(when, ..)| at(*when) > at(minute) - STORM_WINDOW) {
                *told.entry((*kind, group.clone())).or_default() += 1;
            }
            let complete: &[AlertKind] = if complete { &[AlertKind::Threshold] } else { &[] };
            let mut said = Vec::new();
            for news in turn(&self.open, readings, complete, &told, at(minute)) {
                let last = |cause: &Cause| cause.parts().last().unwrap_or_default().to_owned();
                match news {
                    News::Raised(alert) => {
                        said.push(format!("+{}", last(&alert.cause)));
                        self.events += 1;
                        self.told.push((minute, alert.kind, alert.subject.group()));
                        self.keep(alert, Some(EventId(Uuid::from_u128(self.events))), minute);
                    }
                    News::Muted(alert) => self.keep(alert, None, minute),
                    News::Cleared { alert, .. } => {
                        said.push(format!("-{}", last(&alert.cause)));
                        assert!(self.open.remove(&alert.cause).is_some_and(|open| open.event.is_some()));
                    }
                    News::Forgotten(cause) => assert!(self.open.remove(&cause).is_some(), "{cause}"),
                }
            }
            said
        }

        fn keep(&mut self, alert: Alert, event: Option<EventId>, minute: i64) {
            let open = Open { kind: alert.kind, raised_at: at(minute), event, ends_at: alert.ends_at };
            assert!(self.open.insert(alert.cause, open).is_none(), "raised twice");
        }
    }

    #[test]
    fn a_cause_is_told_once_until_it_clears_and_nothing_flaps_between_the_lines() {
        use Level::{Between, Firing, Quiet};
        let mut kept = Kept::default();
        let levels = [Quiet, Between, Firing, Firing, Between, Firing, Between, Quiet, Quiet, Between, Firing];
        let said: Vec<String> = levels
            .into_iter()
            .zip(0..)
            .map(|(level, minute)| kept.turn(vec![reading("b", 1, level, None)], false, minute).concat())
            .collect();
        assert_eq!(said, ["", "", "+1", "", "", "", "", "-1", "", "", "+1"]);
    }

    #[test]
    fn what_another_cause_implies_is_kept_and_not_told() {
        let both = |low, high| {
            let high = reading("b", 9, high, None);
            let low = Reading { implied_by: Some(high.alert.cause.clone()), ..reading("b", 5, low, None) };
            vec![low, high]
        };
        let mut kept = Kept::default();
        assert_eq!(kept.turn(both(Level::Firing, Level::Firing), false, 0), ["+9"]);
        assert_eq!(kept.open.len(), 2);
        assert_eq!(kept.turn(both(Level::Firing, Level::Quiet), false, 1), ["-9"]);
        assert_eq!(kept.turn(both(Level::Quiet, Level::Quiet), false, 2), [""; 0], "nobody was told of it");
        assert_eq!(kept.turn(both(Level::Firing, Level::Quiet), false, 3), ["+5"]);
        assert_eq!(kept.turn(both(Level::Firing, Level::Firing), false, 4), ["+9"], "one after the other");
    }

    #[test]
    fn an_end_and_a_cause_that_is_gone_are_forgotten_without_a_word() {
        let mut kept = Kept::default();
        let firing = |cause, ends_at| reading("b", cause, Level::Firing, ends_at);
        assert_eq!(kept.turn(vec![firing(1, Some(10)), firing(2, None)], false, 0), ["+1", "+2"]);
        assert_eq!(kept.turn(vec![firing(1, Some(10))], false, 10), [""; 0], "over, whatever is read");
        assert_eq!(kept.open.len(), 1);
        assert_eq!(kept.turn(vec![], false, 11), [""; 0]);
        assert_eq!(kept.open.len(), 1, "not looked at");
        assert_eq!(kept.turn(vec![], true, 12), [""; 0]);
        assert!(kept.open.is_empty(), "looked for, and not there");
        assert_eq!(kept.turn(vec![firing(3, Some(12))], false, 12), [""; 0], "what is over is not raised");
    }

    #[test]
    fn a_storm_is_one_word_and_the_rest_clears_silently() {
        let all = |level| (0..50).map(|cause| reading("b", cause, level, None)).collect::<Vec<_>>();
        let mut kept = Kept::default();
        let said = kept.turn(all(Level::Firing), false, 0);
        assert_eq!((said.len(), said.last().map(String::as_str)), (21, Some("+budget:b")));
        assert_eq!(
            kept.turn(vec![reading("other", 1, Level::Firing, None)], false, 1),
            ["+1"],
            "another budget's is told"
        );
        assert_eq!(kept.turn(all(Level::Quiet), false, 2).len(), 20, "those that were told");
        assert_eq!(kept.open.len(), 2, "the other's, and the storm");
        assert_eq!(kept.turn(vec![], false, 61), [""; 0]);
        assert_eq!(kept.open.len(), 1, "the storm is over after an hour");
    }

    proptest! {
        #[test]
        fn raised_and_cleared_alternate_for_each_cause_and_storms_are_bounded(
            turns in prop::collection::vec(prop::collection::vec((0_u8..60, 0_u8..3), 0..60), 1..20),
        ) {
            let mut kept = Kept::default();
            let mut last: BTreeMap<String, String> = BTreeMap::new();
            for (minute, causes) in (0_i64..).zip(turns) {
                let levels = [Level::Firing, Level::Between, Level::Quiet];
                let readings = causes.iter().map(|(cause, level)| reading("b", *cause, levels[usize::from(*level)], None));
                let said = kept.turn(readings.collect(), false, minute);
                prop_assert!(said.iter().filter(|one| one.starts_with('+')).count() <= 21);
                for one in said {
                    let (sign, cause) = one.split_at(1);
                    let before = last.insert(cause.to_owned(), sign.to_owned());
                    prop_assert_ne!(before.as_deref(), Some(sign), "{}", cause);
                    prop_assert!(before.is_some() || sign == "+");
                }
            }
        }
    }
}
