//! Alerts: load the facts, ask the rules, save what is news; and send it to whoever wants it.
//!
//! | file | what |
//! |---|---|
//! | this one | one evaluation: the transaction around the rules |
//! | [`facts`] | counters that may have moved since the last evaluation |
//! | [`refusals`] | counters that stop calls, and reservations that nobody settled |
//! | [`runs`] | runs that are going on, and what is usual |
//! | [`slow`] | what budgets used by the hour, and their projections |
//! | [`hub`] | how a replica hears that there are new events |
//! | [`reads`] | events and alerts, to be looked at |
//! | [`deliver`] | sending what the outbox holds |
//! | [`secrets`] | their secrets, sealed and opened |
//! | [`webhooks`] | endpoints: write, look, test, resume, remove |
//!
//! Nothing here is on the path of a call. Evaluation and delivery are steps that somebody drives (`worker`, a test): they
//! wait for nothing but the database and the endpoints.

pub mod deliver;
mod facts;
pub mod hub;
pub mod reads;
mod refusals;
mod runs;
pub mod secrets;
mod slow;
pub mod webhooks;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{App, AppError};
use crate::domain::alert::book::{self, News, Open, STORM_WINDOW};
use crate::domain::alert::kind::AlertKind;
use crate::domain::alert::{Alert, Cause, Reading, counters, prompts, rates};
use crate::domain::id::EventId;
use crate::store::alert_facts as fact_sql;
use crate::store::alert_look::Look;
use crate::store::alerts::{self as sql, OpenFound, Turned};
use crate::store::locks::{Lock, try_take};
use crate::wire::alert::EventBody;

/// How often the rules that look at hours and days are asked: burn rates, projections.
const SLOW_INTERVAL: TimeDelta = TimeDelta::minutes(15);

/// What an evaluation did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evaluated {
    /// Whether it was this replica's turn.
    pub ran: bool,
    /// Events that were written.
    pub events: usize,
}

impl App {
    /// Evaluates every rule once, unless another replica is at it. Rules that look at hours and days are asked now and then,
    /// in a transaction of their own, so that they delay no threshold that was just crossed.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn evaluate_alerts(&self, now: DateTime<Utc>) -> Result<Evaluated, AppError> {
        let Some((quick, slow_at)) = self.evaluate_quick(now).await? else { return Ok(Evaluated::default()) };
        let due = slow_at.is_none_or(|at| now.signed_duration_since(at) >= SLOW_INTERVAL);
        let slow = if due { self.evaluate_slow(slow_at, now).await? } else { 0 };
        Ok(Evaluated { ran: true, events: quick.saturating_add(slow) })
    }

    /// What the newest calls tell: counters, refusals, rates, runs, reservations that expired. Answers how many events that
    /// made, and when the slow rules were last asked; none if it is another replica's turn.
    async fn evaluate_quick(&self, now: DateTime<Utc>) -> Result<Option<(usize, Option<DateTime<Utc>>)>, AppError> {
        let mut transaction = self.pool.begin().await?;
        if !try_take(&mut transaction, Lock::Alerts).await? {
            return Ok(None);
        }
        let head = sql::head(&mut transaction).await?;
        let snapshot = self.snapshots.refresh(&mut transaction).await?;
        let open = sql::open(&mut transaction).await?;
        let look = Look::begin(&mut transaction, &head.seen, now).await?;

        let activity = look.activity(&mut transaction).await?;
        let rates = fact_sql::rates_used(&mut transaction, &look).await?;
        let mut readings: Vec<Reading> = rates.iter().flat_map(rates::read).collect();
        readings.extend(runs::quick(&mut transaction, &look, &open, now).await?);
        let refused = refusals::look(&mut transaction, &look, &snapshot.catalogue, &open, now).await?;
        let asked = facts::Asked {
            catalogue: &snapshot.catalogue,
            activity: &activity,
            also: &refused.counters(),
            open: &open,
            all_counters: snapshot.catalogue.version != head.catalogue_version,
            now,
        };
        let counters = facts::counters(&mut transaction, &asked).await?;
        readings.extend(counters.iter().flat_map(counters::read));
        let (refusing, all_refusing) = refused.read(&snapshot.catalogue, &counters, now);
        readings.extend(refusing);
        readings.extend(refusals::expired(&mut transaction, &open, now).await?);

        let mut complete =
            vec![AlertKind::Threshold, AlertKind::Overdraft, AlertKind::RunVelocity, AlertKind::LoopSuspicion];
        if all_refusing {
            complete.push(AlertKind::Refusing);
        }
        let slow_at = head.slow_at;
        let head = sql::Head { seen: look.seen, catalogue_version: snapshot.catalogue.version, slow_at };
        let events = self.turn(transaction, open, readings, &complete, &head, now).await?;
        Ok(Some((events, slow_at)))
    }

    /// What hours and days tell: burn rates and projections; once an hour prompts.
    async fn evaluate_slow(&self, slow_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<usize, AppError> {
        let mut transaction = self.pool.begin().await?;
        if !try_take(&mut transaction, Lock::Alerts).await? {
            return Ok(0);
        }
        let head = sql::Head { slow_at: Some(now), ..sql::head(&mut transaction).await? };
        let snapshot = self.snapshots.refresh(&mut transaction).await?;
        let open = sql::open(&mut transaction).await?;
        let mut readings = slow::budgets(&mut transaction, &snapshot.catalogue, now).await?;
        // A budget without history, or whose projection is missing today, says nothing: what was told stands.
        let mut complete = Vec::new();
        let hour = |at: DateTime<Utc>| at.timestamp().div_euclid(3_600);
        if slow_at.is_none_or(|at| hour(at) != hour(now)) {
            let prompts = fact_sql::prompt_days(&mut transaction, now).await?;
            readings.extend(prompts.iter().flat_map(|fact| prompts::read(fact, now)));
            complete.extend([AlertKind::CacheHitDrop, AlertKind::PrefixGrowth]);
            runs::learn(&mut transaction, now).await?;
        }
        self.turn(transaction, open, readings, &complete, &head, now).await
    }

    /// Asks the book what is news, writes it down, and wakes whoever listens: at most once.
    async fn turn(
        &self,
        mut transaction: Transaction<'static, Postgres>,
        open: BTreeMap<Cause, OpenFound>,
        readings: Vec<Reading>,
        complete: &[AlertKind],
        head: &sql::Head,
        now: DateTime<Utc>,
    ) -> Result<usize, AppError> {
        let told = sql::told(&mut transaction, now.checked_sub_signed(STORM_WINDOW).unwrap_or(now)).await?;
        let open: BTreeMap<Cause, Open> = open.into_iter().map(|(cause, found)| (cause, found.open)).collect();
        let turned = told_as(book::turn(&open, readings, complete, &told, now), now);
        sql::write(&mut transaction, &turned, now).await?;
        sql::save_head(&mut transaction, head).await?;
        if !turned.events.is_empty() {
            sql::wake(&mut transaction).await?;
        }
        transaction.commit().await?;
        if !turned.events.is_empty() {
            self.events.wake();
        }
        Ok(turned.events.len())
    }
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
