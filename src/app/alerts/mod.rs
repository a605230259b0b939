//! Alerts: load the facts, ask the rules, save what is news; and send it to whoever wants it.
//!
//! | file | what |
//! |---|---|
//! | this one | one evaluation: the transaction around the rules |
//! | [`facts`] | what the rules are asked about |
//! | [`hub`] | how a replica hears that there are new events |
//! | [`reads`] | events and alerts, to be looked at |
//! | [`deliver`] | sending what the outbox holds |
//! | [`webhooks`] | endpoints: write, look, test, resume, remove |
//!
//! Nothing here is on the path of a call. Evaluation and delivery are steps that somebody drives (`worker`, a test): they
//! wait for nothing but the database and the endpoints.

pub mod deliver;
mod facts;
pub mod hub;
pub mod reads;
pub mod webhooks;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{App, AppError};
use crate::domain::alert::book::{self, News, Open, STORM_WINDOW};
use crate::domain::alert::kind::AlertKind;
use crate::domain::alert::{Alert, Cause, counters};
use crate::domain::id::EventId;
use crate::store::alerts::{self as sql, Turned};
use crate::wire::event::EventBody;

/// How far behind the newest transfer each evaluation begins again, in the time of ids: a lane may commit a transfer up to
/// so long after its id was made. What is looked at twice is told once.
const OVERLAP: TimeDelta = TimeDelta::seconds(30);
/// How much of the journal the very first evaluation looks at.
const FIRST_LOOK: TimeDelta = TimeDelta::hours(1);

/// What an evaluation did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evaluated {
    /// Whether it was this replica's turn.
    pub ran: bool,
    /// Events that were written.
    pub events: usize,
}

impl App {
    /// Evaluates every rule once, unless another replica is at it: one transaction, and at most one wake-up for all who
    /// listen.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn evaluate_alerts(&self, now: DateTime<Utc>) -> Result<Evaluated, AppError> {
        let mut transaction = self.pool.begin().await?;
        if !sql::try_lock(&mut transaction).await? {
            return Ok(Evaluated::default());
        }
        let head = sql::head(&mut transaction).await?;
        let snapshot = self.snapshots.refresh(&mut transaction).await?;
        let newest = sql::newest_transfer(&mut transaction).await?;
        let open = sql::open(&mut transaction).await?;
        let told = sql::told(&mut transaction, now - STORM_WINDOW).await?;

        let activity = match newest {
            Some(newest) => {
                let after = head.journal_after.map_or_else(|| before(newest, FIRST_LOOK), |seen| before(seen, OVERLAP));
                sql::activity(&mut transaction, after, newest).await?
            }
            None => Vec::new(),
        };
        let all_counters = snapshot.catalogue.version != head.catalogue_version;
        let asked =
            facts::Asked { catalogue: &snapshot.catalogue, activity: &activity, open: &open, all_counters, now };
        let counters = facts::counters(&mut transaction, &asked).await?;
        let readings = counters.iter().flat_map(counters::read).collect();

        let open: BTreeMap<Cause, Open> = open.into_iter().map(|(cause, found)| (cause, found.open)).collect();
        let complete = [AlertKind::Threshold, AlertKind::Overdraft];
        let turned = told_as(book::turn(&open, readings, &complete, &told, now), now);
        sql::write(&mut transaction, &turned, now).await?;
        let head = sql::Head {
            journal_after: newest.or(head.journal_after),
            catalogue_version: snapshot.catalogue.version,
            ..head
        };
        sql::save_head(&mut transaction, &head, now).await?;
        if !turned.events.is_empty() {
            sql::wake(&mut transaction).await?;
        }
        transaction.commit().await?;
        if !turned.events.is_empty() {
            self.events.wake();
        }
        Ok(Evaluated { ran: true, events: turned.events.len() })
    }
}

/// The id that a `UUIDv7` of so long before would at least have.
fn before(id: Uuid, by: TimeDelta) -> Uuid {
    let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |at| at.to_unix());
    let at = DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(0), nanos).unwrap_or_default();
    let ms = at.checked_sub_signed(by).map_or(0, |at| at.timestamp_millis());
    let ms = u128::try_from(ms).unwrap_or(0);
    Uuid::from_u128(ms << 80)
}

/// News as they are kept: events with new ids, what is firing from now on, and what is not any more.
fn told_as(news: Vec<News>, now: DateTime<Utc>) -> Turned {
    let mut turned = Turned::default();
    let raised = |alert: &Alert| EventBody::raised(EventId(Uuid::now_v7()), alert, now);
    for one in news {
        match one {
            News::Raised(alert) => {
                let event = raised(&alert);
                turned.events.push((event.clone(), alert.subject.group()));
                turned.opened.push((alert.cause, true, event));
            }
            News::Muted(alert) => {
                let event = raised(&alert);
                turned.opened.push((alert.cause, false, event));
            }
            News::Cleared { alert, raised, raised_at } => {
                let event = EventBody::cleared(EventId(Uuid::now_v7()), &alert, raised, raised_at, now);
                turned.events.push((event, alert.subject.group()));
                turned.closed.push(alert.cause);
            }
            News::Forgotten(cause) => turned.closed.push(cause),
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_while_ago_is_below_every_id_made_since() {
        let now = Uuid::now_v7();
        let then = before(now, TimeDelta::seconds(30));
        assert!(then < now);
        let (then_s, _) = then.get_timestamp().unwrap_or(uuid::Timestamp::from_unix(uuid::NoContext, 0, 0)).to_unix();
        let (now_s, _) = now.get_timestamp().unwrap().to_unix();
        assert!(then_s == 0 || now_s - then_s <= 31);
        assert_eq!(then.as_u128() >> 80, (now.as_u128() >> 80) - 30_000);
        assert_eq!(before(Uuid::nil(), TimeDelta::hours(1)), Uuid::nil(), "no id is before all time");
    }
}
