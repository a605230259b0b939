//! Closing the books: what belongs before an instant never changes from then on. What comes later for it counts in the open
//! period, and says so.
//!
//! A closing cannot be undone, so it can be tried: the check-list says what is still open, and closes nothing.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use rust_decimal::Decimal;

use super::super::given::{Given, keep};
use super::super::{App, AppError};
use super::sql;
use crate::domain::ledger::command::Idempotency;
use crate::store::catalogue::change;
use crate::store::closing::{self, Counted};
use crate::wire::FieldError;
use crate::wire::period::{CheckBody, CloseAnswer, ClosingBody, CountedBody, PeriodsBody, UnreconciledBody};

/// Most days that the check-list names of one provider: the first ones.
pub const UNRECONCILED_DAYS_MAX: usize = 62;

impl App {
    /// Closes all periods before an instant, for ever; or only says what is still open.
    ///
    /// # Errors
    /// Names `until` when it is not past; [`AppError::AlreadyClosed`]; the refusal of a key that was used for something else.
    pub async fn close_periods(
        &self,
        until: DateTime<Utc>,
        dry_run: bool,
        subject: &str,
        key: Option<&Idempotency>,
    ) -> Result<Given<CloseAnswer>, AppError> {
        let now = self.clock.now();
        if until > now {
            return Err(FieldError::new("until", format!("{until} is not past: it is {now}")).into());
        }
        if let Some(given) = self.given_before(&mut *self.pool.acquire().await?, key).await? {
            return Ok(given);
        }
        let before = self.periods().await?;
        already_closed(&before, until)?;
        let check = self.check_closing(before.closed_until, until, now).await?;
        if dry_run {
            let PeriodsBody { closed_until, closings } = before;
            return Ok(Given::new(CloseAnswer { dry_run, closed_until, closings, check }));
        }
        let mut connection = self.pool.acquire().await?;
        let mut change = change(&mut connection, now).await?;
        if !change.close_until(until, subject).await? {
            change.abandon().await?;
            drop(connection);
            // Somebody else has closed it in between.
            let now_closed = self.periods().await?;
            return Err(already_closed(&now_closed, until)
                .err()
                .unwrap_or(AppError::Busy("the books were just closed")));
        }
        let found = sql::closings(change.connection()).await?;
        let PeriodsBody { closed_until, closings } = periods_of(found);
        let answer = CloseAnswer { dry_run, closed_until, closings, check };
        keep(change.connection(), key, &answer, now).await?;
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(Given::new(answer))
    }

    /// What is closed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn periods(&self) -> Result<PeriodsBody, AppError> {
        Ok(periods_of(sql::closings(&mut *self.pool.acquire().await?).await?))
    }

    async fn check_closing(
        &self,
        since: Option<DateTime<Utc>>,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<CheckBody, AppError> {
        let mut read = self.begin_read(None).await?;
        let unconfirmed = closing::unconfirmed(&mut read, since, until).await?;
        let open = closing::open_reservations(&mut read, until, now).await?;
        let mut unreconciled = Vec::new();
        if let Some(first) = closing::first_used(&mut read, since, until).await? {
            let days: Vec<NaiveDate> = first.date_naive().iter_days().take_while(|day| start(*day) < until).collect();
            let starts: Vec<DateTime<Utc>> = days.iter().map(|day| start(*day)).collect();
            let reconciled = closing::reconciled(&mut read).await?;
            let is_reconciled = |provider: &str, day: NaiveDate| {
                reconciled.iter().any(|(other, first, last)| other == provider && (*first..=*last).contains(&day))
            };
            let mut by_provider: BTreeMap<String, (Vec<NaiveDate>, Decimal)> = BTreeMap::new();
            for used in closing::used_days(&mut read, &starts, first, until).await? {
                let Some(day) = days.get(used.day).filter(|day| !is_reconciled(&used.provider, **day)) else {
                    continue;
                };
                let of_provider = by_provider.entry(used.provider).or_default();
                of_provider.0.push(*day);
                of_provider.1 = of_provider.1.saturating_add(used.usd);
            }
            unreconciled = by_provider.into_iter().map(unreconciled_body).collect();
        }
        read.commit().await?;
        let is_clean = unreconciled.is_empty() && unconfirmed.count == 0 && open.count == 0;
        Ok(CheckBody {
            until,
            since,
            is_clean,
            unreconciled,
            unconfirmed_calls: counted(unconfirmed),
            open_reservations: counted(open),
        })
    }
}

fn start(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn counted(counted: Counted) -> CountedBody {
    CountedBody { count: u64::try_from(counted.count).unwrap_or(0), usd: counted.usd.normalize() }
}

fn unreconciled_body((provider, (mut days, usd)): (String, (Vec<NaiveDate>, Decimal))) -> UnreconciledBody {
    let count = u64::try_from(days.len()).unwrap_or(u64::MAX);
    days.truncate(UNRECONCILED_DAYS_MAX);
    UnreconciledBody { provider, count, days, usd: usd.normalize() }
}

fn already_closed(periods: &PeriodsBody, until: DateTime<Utc>) -> Result<(), AppError> {
    let covers = periods.closings.iter().rev().find(|closing| closing.closed_until >= until);
    let Some(closing) = covers else { return Ok(()) };
    Err(AppError::AlreadyClosed {
        until,
        closed_until: closing.closed_until,
        closed_by: closing.closed_by.clone(),
        closed_at: closing.closed_at,
    })
}

fn periods_of(found: BTreeMap<DateTime<Utc>, (String, DateTime<Utc>)>) -> PeriodsBody {
    let closings = found.into_iter().rev();
    let closings: Vec<ClosingBody> = closings
        .map(|(closed_until, (closed_by, closed_at))| ClosingBody { closed_until, closed_by, closed_at })
        .collect();
    PeriodsBody { closed_until: closings.first().map(|newest| newest.closed_until), closings }
}
