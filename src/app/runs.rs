//! Runs: stop one, let it go on, look at it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::given::{Given, keep};
use super::{App, AppError};
use crate::domain::budget::catalogue::Governing;
use crate::domain::budget::counter::{Counter, Standing};
use crate::domain::budget::scope::{CounterKey, Each};
use crate::domain::budget::verdict::ReasonCode;
use crate::domain::calendar::Period;
use crate::domain::id::{RunId, TenantId};
use crate::domain::ledger::command::{Idempotency, Reserve};
use crate::domain::ledger::outcome::{BudgetState, Refusal};
use crate::store::catalogue::change;
use crate::store::runs::{self as sql, RunStop};
use crate::wire::answer::{BudgetStateBody, PreflightAnswer};
use crate::wire::run::{RunBody, RunBudgetBody, StopRunBody};

/// The stopped runs of which a call was refused here since they were last written down. Bounded by the stops there are.
///
/// Beside the books, because a refusal without a key is only counted there, and a question that holds nothing is not even
/// that. A replica that dies forgets ten minutes of it, which whoever goes on asking makes up for.
#[derive(Debug, Clone, Default)]
pub struct StopsHeard(Arc<Mutex<BTreeSet<(TenantId, RunId)>>>);

impl App {
    /// Remembers that a stopped run still asks, if that is what was answered.
    pub fn hear_stopped(&self, reserve: &Reserve, answer: &PreflightAnswer) {
        let is_stopped = answer.reasons.iter().any(|reason| reason.code == ReasonCode::RunStopped.name());
        if let (true, Some(run)) = (is_stopped, &reserve.call.run) {
            let mut heard = self.stops_heard.0.lock().unwrap_or_else(PoisonError::into_inner);
            heard.insert((reserve.call.tenant.clone(), run.clone()));
        }
    }

    /// Writes down which stopped runs were heard of here.
    ///
    /// # Errors
    /// When the database does not answer: then they are remembered until it does.
    pub async fn write_stops_heard(&self) -> Result<(), AppError> {
        let heard: Vec<_> = {
            let heard = self.stops_heard.0.lock().unwrap_or_else(PoisonError::into_inner);
            heard.iter().cloned().collect()
        };
        if heard.is_empty() {
            return Ok(());
        }
        let mut connection = self.pool.acquire().await?;
        sql::write_heard(&mut connection, &heard, self.clock.now()).await?;
        let mut known = self.stops_heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What was heard again in between is noticed again, by the next call.
        known.retain(|one| !heard.contains(one));
        Ok(())
    }

    /// Stops a run: from the next batch on no replica grants a call of it. The first stop stands.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::UnknownTenant`]; the refusal of a key that was used for something else.
    pub async fn stop_run(
        &self,
        run: &RunId,
        body: &StopRunBody,
        by: &str,
        key: Option<&Idempotency>,
    ) -> Result<Given<RunBody>, AppError> {
        let tenant = body.check()?;
        let (stopped_at, stopped_by) = (self.clock.now(), by.to_owned());
        let stop = RunStop { stopped_at, stopped_by, reason: body.reason.clone() };
        self.change_run(&tenant, run, Some(&stop), key).await
    }

    /// Lets a run go on that was stopped. One that was not stays as it is.
    ///
    /// # Errors
    /// [`AppError::UnknownTenant`]; the refusal of a key that was used for something else.
    pub async fn resume_run(
        &self,
        tenant: &TenantId,
        run: &RunId,
        key: Option<&Idempotency>,
    ) -> Result<Given<RunBody>, AppError> {
        self.change_run(tenant, run, None, key).await
    }

    /// Forgets runs that were stopped and have not been heard of since an instant, and says how many: nobody asked
    /// ([`Self::write_stops_heard`]) or stopped it again, no call was posted, and no reservation is open. One that was is remembered as long again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_stops(&self, since: DateTime<Utc>) -> Result<u64, AppError> {
        let mut connection = self.pool.acquire().await?;
        let silent = sql::silent_stops(&mut connection, since).await?;
        if silent.is_empty() {
            return Ok(0);
        }
        // Beside the catalogue's lock, because it may take long. Who calls for the first time in so long while it does is
        // refused, and would have been let through a moment later.
        sql::hear_of(&mut connection, &silent, since, self.clock.now()).await?;
        let mut change = change(&mut connection, self.clock.now()).await?;
        let forgotten = sql::forget_stops(change.connection(), &silent, since).await?;
        if forgotten > 0 {
            change.commit().await?;
            self.snapshots.refresh(&mut connection).await?;
        } else {
            change.abandon().await?;
        }
        Ok(forgotten)
    }

    async fn change_run(
        &self,
        tenant: &TenantId,
        run: &RunId,
        stop: Option<&RunStop>,
        key: Option<&Idempotency>,
    ) -> Result<Given<RunBody>, AppError> {
        self.know_tenant(tenant).await?;
        let mut connection = self.pool.acquire().await?;
        let mut change = change(&mut connection, self.clock.now()).await?;
        match self.given_before(change.connection(), key).await {
            Ok(None) => {}
            Ok(Some(given)) => {
                change.abandon().await?;
                return Ok(given);
            }
            Err(error) => {
                change.abandon().await?;
                return Err(error);
            }
        }
        let is_changed = match stop {
            Some(stop) => sql::stop(change.connection(), tenant, run, stop).await?,
            None => sql::resume(change.connection(), tenant, run).await?,
        };
        let body = self.run_body(change.connection(), tenant, run).await?;
        keep(change.connection(), key, &body, self.clock.now()).await?;
        if is_changed || key.is_some() {
            change.commit().await?;
            self.snapshots.refresh(&mut connection).await?;
        } else {
            change.abandon().await?;
        }
        Ok(Given::new(body))
    }

    /// How a run stands. One that nobody has heard of has counted nothing.
    ///
    /// # Errors
    /// [`AppError::UnknownTenant`] when there is none.
    pub async fn run(&self, tenant: &TenantId, run: &RunId, confined: Option<&TenantId>) -> Result<RunBody, AppError> {
        self.know_tenant(tenant).await?;
        self.catch_up().await?;
        let mut read = self.begin_read(confined).await?;
        let body = self.run_body(&mut read, tenant, run).await?;
        read.commit().await?;
        Ok(body)
    }

    async fn run_body(
        &self,
        connection: &mut sqlx::PgConnection,
        tenant: &TenantId,
        run: &RunId,
    ) -> Result<RunBody, AppError> {
        let now = self.clock.now();
        let catalogue = self.snapshots.latest().catalogue;
        let of_runs: Vec<_> = catalogue
            .budgets()
            .filter(|budget| budget.each == Some(Each::Run))
            .filter(|budget| budget.scope.tenant.as_ref().is_none_or(|own| own == tenant))
            .collect();
        let key = CounterKey::stored(&format!("{tenant}/{run}"));
        let numbers: Vec<_> = of_runs.iter().map(|budget| budget.number).collect();
        let found = sql::counters(&mut *connection, &numbers, &key).await?;
        let mut budgets = Vec::new();
        for budget in of_runs {
            let Some(zone) = catalogue.zone_of(budget, tenant) else { continue };
            let period = budget.period.holding(zone, now).map_err(Refusal::Calendar)?;
            let since = budget.period.since(zone, now).map_err(Refusal::Calendar)?;
            let closed_until = catalogue.quota_closed_until(budget.number, now);
            let governing = Governing { budget: budget.clone(), key: key.clone(), zone, period, since, closed_until };
            let slices: Vec<(Period, Counter)> =
                governing.window(&found).map(|(period, (counter, _))| (period, *counter)).collect();
            if slices.is_empty() {
                continue;
            }
            let opened_at = found.get(&governing.counter()).and_then(|(_, opened_at)| *opened_at);
            let standing = Standing::new(governing, slices);
            let lasts = budget.max_seconds.map(|seconds| TimeDelta::seconds(i64::from(seconds)));
            budgets.push(RunBudgetBody {
                state: BudgetStateBody::from(&BudgetState::of(&standing, standing.total)),
                opened_at,
                time_over_at: opened_at.zip(lasts).and_then(|(at, lasts)| at.checked_add_signed(lasts)),
            });
        }
        let stop = sql::get_stop(connection, tenant, run).await?;
        Ok(RunBody {
            tenant: tenant.to_string(),
            run: run.to_string(),
            stopped: stop.is_some(),
            stopped_at: stop.as_ref().map(|stop| stop.stopped_at),
            stopped_by: stop.as_ref().map(|stop| stop.stopped_by.clone()),
            reason: stop.and_then(|stop| stop.reason),
            budgets,
        })
    }
}
