//! A provider's answer: what it means, and the quota that is closed by it.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | classify | by the rules ([`crate::domain::signal`]) |
//! | 2 | choose | a `stop` of a quota: which of ours, and until when ([`crate::domain::signal::quota`]) |
//! | 3 | record | the signal; and the closure, as a change of the catalogue, if the quota is not closed that long already |
//!
//! A fleet that runs into its quota tells so a thousand times: only the first time is a change of the catalogue.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{App, AppError};
use crate::domain::access::Caller;
use crate::domain::budget::catalogue::Budget;
use crate::domain::id::TenantId;
use crate::domain::ledger::command::Idempotency;
use crate::domain::ledger::outcome::Refusal;
use crate::domain::signal::quota::{About, Closing, closing};
use crate::domain::signal::{Signal, SignalClass, SignalKind};
use crate::store::StoreError;
use crate::store::catalogue::change;
use crate::store::signals::{self as sql, Answered, NewSignal};
use crate::wire::FieldError;
use crate::wire::page::Page;
use crate::wire::signal::{ClosedQuotaBody, SignalAnswer, SignalBody, SignalNames, SignalRow};

/// Furthest into the past that a signal may say it came, in hours: later it says nothing about now.
pub const SIGNAL_HOURS_PAST_MAX: i64 = 24;
/// Furthest into the future, in seconds: what clocks differ by.
pub const SIGNAL_SECONDS_AHEAD_MAX: i64 = 300;

impl App {
    /// Says what a provider's answer means, records it, and closes the quota that it says is gone.
    ///
    /// # Errors
    /// Names the field that is wrong; the refusal of a key that was used for something else.
    pub async fn take_signal(
        &self,
        caller: &Caller,
        body: &SignalBody,
        key: Option<&Idempotency>,
    ) -> Result<SignalAnswer, AppError> {
        let now = self.clock.now();
        let occurred_at = occurred_at(body, now)?;
        let mut names = body.names(&self.otlp.providers)?;
        names.tenant = names.tenant.or_else(|| caller.tenant.clone());
        if let Some(tenant) = &names.tenant {
            self.know_tenant(tenant).await?;
        }
        let answer = body.answer(&names)?;
        let signal = self.rules.classify(&answer, occurred_at);
        let mut told = SignalAnswer::of(&signal);
        if signal.class == SignalClass::Allow {
            return Ok(told);
        }
        self.catch_up().await?;
        let closing = self.closing(caller, &names, &signal, now, &mut told);
        let id = Uuid::now_v7();
        told.signal = Some(id);
        told.recorded_at = Some(now);
        let closed = |(budget, until): &Closing| ClosedQuotaBody { budget: budget.id.to_string(), until: *until };
        told.closed = closing.iter().map(closed).collect();
        let new = NewSignal {
            id,
            names: &names,
            status: body.status,
            class: &told.class,
            kind: &told.kind,
            rule: told.rule.as_deref(),
            retry_at: told.retry_at,
            budgets: closing.iter().map(|(budget, _)| budget.id.as_str()).collect(),
            closed_until: closing.iter().map(|(_, until)| *until).max(),
            subject: &caller.subject,
            occurred_at,
            recorded_at: now,
        };
        let text = serde_json::to_string(&told).map_err(StoreError::from)?;
        let answered = self.record(&closing, &new, key.map(|key| (key, text.as_str())), now).await?;
        match (answered, key) {
            (Some((fingerprint, text)), Some(key)) if fingerprint == key.fingerprint => {
                Ok(serde_json::from_str(&text).map_err(StoreError::from)?)
            }
            (Some(_), Some(key)) => Err(Refusal::IdempotencyMismatch(key.key.clone()).into()),
            (Some(_) | None, _) => Ok(told),
        }
    }

    /// The quotas that a signal closes; or a note why it closes none.
    fn closing(
        &self,
        caller: &Caller,
        names: &SignalNames,
        signal: &Signal<'_>,
        now: DateTime<Utc>,
        told: &mut SignalAnswer,
    ) -> Vec<Closing> {
        if (signal.class, signal.kind) != (SignalClass::Stop, SignalKind::Quota) {
            return Vec::new();
        }
        let about = About {
            provider: &names.provider,
            model: names.model.as_ref(),
            region: names.region.as_ref(),
            tenant: names.tenant.as_ref(),
            budget: names.budget.as_ref(),
            confined: caller.tenant.as_ref(),
            retry_at: signal.retry_at,
        };
        match closing(&about, &self.snapshots.latest().catalogue, &self.otlp.providers, now) {
            Ok(closing) => closing,
            Err(why) => {
                told.note = Some(why.to_string());
                Vec::new()
            }
        }
    }

    async fn record(
        &self,
        closing: &[Closing],
        new: &NewSignal<'_>,
        key: Option<(&Idempotency, &str)>,
        now: DateTime<Utc>,
    ) -> Result<Option<Answered>, AppError> {
        let mut connection = self.pool.acquire().await?;
        let catalogue = self.snapshots.latest().catalogue;
        let is_closed = |(budget, until): &&Closing| {
            catalogue.quota_closed_until(budget.number, now).is_some_and(|known| known >= *until)
        };
        let open: Vec<_> = closing.iter().filter(|one| !is_closed(one)).collect();
        if open.is_empty() {
            return Ok(sql::record(&mut connection, new, key).await?);
        }
        let quotas: Vec<(&Budget, DateTime<Utc>)> = open.iter().map(|(budget, until)| (&**budget, *until)).collect();
        let mut change = change(&mut connection, now).await?;
        let answered = change.close_quotas(&quotas, new, key).await?;
        if answered.is_some() {
            change.abandon().await?;
        } else {
            change.commit().await?;
            self.snapshots.refresh(&mut connection).await?;
        }
        Ok(answered)
    }

    /// A page of the signals, newest first, of one tenant or of all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn signals(
        &self,
        tenant: Option<&TenantId>,
        provider: Option<&str>,
        page: &Page,
    ) -> Result<(Vec<SignalRow>, Option<String>), AppError> {
        let strange = |_| FieldError::new("cursor", "is no cursor of signals");
        let before = page.after.as_deref().map(|key| key.parse::<Uuid>().map_err(strange)).transpose()?;
        let mut read = self.begin_read(tenant).await?;
        let rows = sql::list(&mut read, tenant, provider, before, page.fetch()).await?;
        read.commit().await?;
        Ok(page.cut(rows, |row| row.signal.to_string()))
    }
}

fn occurred_at(body: &SignalBody, now: DateTime<Utc>) -> Result<DateTime<Utc>, FieldError> {
    let at = body.occurred_at.unwrap_or(now);
    let age = now.signed_duration_since(at);
    if age > TimeDelta::hours(SIGNAL_HOURS_PAST_MAX) || age < TimeDelta::seconds(-SIGNAL_SECONDS_AHEAD_MAX) {
        let detail = format!(
            "{at} is more than {SIGNAL_HOURS_PAST_MAX} hours ago or more than {SIGNAL_SECONDS_AHEAD_MAX} seconds ahead"
        );
        return Err(FieldError::new("occurred_at", detail));
    }
    Ok(at)
}
