//! A provider's answer: what it means, and the quota that is closed by it.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | classify | by the rules ([`crate::domain::signal`]) |
//! | 2 | choose | a `stop` of a quota: which of ours, and until when ([`crate::domain::signal::quota`]) |
//! | 3 | record | the signal; and the closure, as a change of the catalogue, if the quota is not closed that long already |
//! | 4 | reopen | a success, told as a signal or settled, that came after the refusal opens the quota again |
//!
//! A fleet that runs into its quota tells so a thousand times: only the first time is a change of the catalogue.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::given::{Given, repeated};
use super::{App, AppError};
use crate::domain::access::Caller;
use crate::domain::budget::catalogue::{Budget, BudgetNumber, Catalogue};
use crate::domain::budget::closure::Closure;
use crate::domain::id::TenantId;
use crate::domain::ledger::command::Idempotency;
use crate::domain::ledger::outcome::Posted;
use crate::domain::signal::quota::{About, Closing, closing, reopening};
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

/// What a signal changes of the quotas.
#[derive(Debug, Default)]
struct Changes {
    closing: Vec<Closing>,
    reopening: Vec<BudgetNumber>,
}

impl App {
    /// Says what a provider's answer means, records it, and closes the quota that it says is gone; or opens again the one that
    /// a success shows to be open.
    ///
    /// # Errors
    /// Names the field that is wrong; the refusal of a key that was used for something else.
    pub async fn take_signal(
        &self,
        caller: &Caller,
        body: &SignalBody,
        key: Option<&Idempotency>,
    ) -> Result<Given<SignalAnswer>, AppError> {
        let now = self.clock.now();
        let occurred_at = occurred_at(body, now)?;
        let mut names = body.names(&self.otlp.providers)?;
        if let Some(budget) = &body.budget {
            names.budget = Some(self.budget_named("budget", budget, caller.tenant.as_ref()).await?);
        }
        let book = self.snapshots.latest().rates.prices.clone();
        names.model = names.model.map(|model| book.model_name(&names.provider, &model));
        names.tenant = names.tenant.or_else(|| caller.tenant.clone());
        if let Some(tenant) = &names.tenant {
            self.know_tenant(tenant).await?;
        }
        let answer = body.answer(&names)?;
        let signal = self.rules.classify(&answer, occurred_at);
        let mut told = SignalAnswer::of(&signal);
        if signal.class != SignalClass::Allow {
            self.catch_up().await?;
        }
        let catalogue = self.snapshots.latest().catalogue;
        let changes = self.changes(caller, &names, &signal, &catalogue, [occurred_at, now], &mut told);
        if signal.class == SignalClass::Allow && changes.reopening.is_empty() {
            return Ok(Given::new(told));
        }
        let id = Uuid::now_v7();
        told.signal = Some(id);
        told.recorded_at = Some(now);
        let new = NewSignal {
            id,
            names: &names,
            status: body.status,
            class: &told.class,
            kind: &told.kind,
            rule: told.rule.as_deref(),
            retry_at: told.retry_at,
            budgets: changes.closing.iter().map(|(budget, _)| budget.id.as_str()).collect(),
            closed_until: changes.closing.iter().map(|(_, closure)| closure.until).max(),
            subject: &caller.subject,
            occurred_at,
            recorded_at: now,
        };
        let text = serde_json::to_string(&told).map_err(StoreError::from)?;
        let answered = self.record(&changes, &catalogue, &new, key.map(|key| (key, text.as_str())), now).await?;
        match (answered, key) {
            (Some(answered), Some(key)) => repeated(key, answered),
            (Some(_) | None, _) => Ok(Given::new(told)),
        }
    }

    /// The quotas that a signal closes or opens; or a note why it closes none.
    fn changes(
        &self,
        caller: &Caller,
        names: &SignalNames,
        signal: &Signal<'_>,
        catalogue: &Catalogue,
        [occurred_at, now]: [DateTime<Utc>; 2],
        told: &mut SignalAnswer,
    ) -> Changes {
        let about = About {
            provider: &names.provider,
            model: names.model.as_ref(),
            region: names.region.as_ref(),
            tenant: names.tenant.as_ref(),
            budget: names.budget.as_ref(),
            confined: caller.tenant.as_ref(),
            occurred_at,
            period: signal.rule.and_then(|rule| rule.period),
            comeback: signal.comeback,
        };
        let mut changes = Changes::default();
        if signal.class == SignalClass::Allow {
            let open = reopening(&about, catalogue, &self.otlp.providers, now);
            told.reopened = open.iter().map(|budget| budget.id.to_string()).collect();
            changes.reopening = open.iter().map(|budget| budget.number).collect();
        } else if (signal.class, signal.kind) == (SignalClass::Stop, SignalKind::Quota) {
            match closing(&about, catalogue, &self.otlp.providers, now) {
                Ok(closing) => changes.closing = closing,
                Err(why) => told.note = Some(why.to_string()),
            }
        }
        told.closed =
            changes.closing.iter().map(|(budget, closure)| ClosedQuotaBody::of(&budget.id, closure)).collect();
        if signal.comeback.is_some_and(|comeback| !comeback.is_reported) {
            // Refusals that go on after a reset close for longer each time.
            let closed = changes.closing.iter().map(|(_, closure)| closure.until).max();
            told.retry_at = closed.or(told.retry_at);
        }
        changes
    }

    async fn record(
        &self,
        changes: &Changes,
        catalogue: &Catalogue,
        new: &NewSignal<'_>,
        key: Option<(&Idempotency, &str)>,
        now: DateTime<Utc>,
    ) -> Result<Option<Answered>, AppError> {
        let mut connection = self.pool.acquire().await?;
        let is_new = |known: Option<&Closure>, new: &Closure| known.is_none_or(|known| new.replaces(known));
        let known_here = |(budget, closure): &Closing| is_new(catalogue.closure(budget.number), closure);
        if changes.reopening.is_empty() && !changes.closing.iter().any(known_here) {
            return Ok(sql::record(&mut connection, new, key).await?);
        }
        let mut change = change(&mut connection, now).await?;
        let answered = change.record_signal(new, key).await?;
        if answered.is_some() {
            change.abandon().await?;
            return Ok(answered);
        }
        let known = change.closures().await?;
        let closing = changes.closing.iter().filter(|(budget, closure)| is_new(known.get(&budget.number), closure));
        let closing: Vec<(&Budget, &Closure)> = closing.map(|(budget, closure)| (&**budget, closure)).collect();
        change.close_quotas(&closing, new.id, now).await?;
        // One that was refused again since is not opened by what came before.
        let is_refuted = |number: &&BudgetNumber| {
            known.get(number).is_some_and(|closure| closure.is_refuted_by(new.occurred_at, new.names.model.as_ref()))
        };
        let open: Vec<BudgetNumber> = changes.reopening.iter().filter(is_refuted).copied().collect();
        change.reopen_quotas(&open).await?;
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(None)
    }

    /// Opens the closed quotas of a call that succeeded though it was granted after the refusal: a probe, say.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn reopen_after(&self, posted: &Posted) -> Result<(), AppError> {
        let catalogue = self.snapshots.latest().catalogue;
        let closed = posted.budgets.iter().filter(|state| state.closed_until.is_some());
        let closed: Vec<BudgetNumber> =
            closed.filter_map(|state| catalogue.budget(&state.budget)).map(|budget| budget.number).collect();
        // Its model is one of the quota's, and a probe is all that was let through.
        let refutes = |closure: &Closure| closure.is_refuted_by(posted.occurred_at, None);
        if !closed.iter().any(|number| catalogue.closure(*number).is_some_and(refutes)) {
            return Ok(());
        }
        let mut connection = self.pool.acquire().await?;
        let mut change = change(&mut connection, self.clock.now()).await?;
        let known = change.closures().await?;
        let open: Vec<BudgetNumber> =
            closed.into_iter().filter(|number| known.get(number).is_some_and(refutes)).collect();
        if open.is_empty() {
            change.abandon().await?;
            return Ok(());
        }
        change.reopen_quotas(&open).await?;
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(())
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
