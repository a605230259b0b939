//! What goes through the lane: pre-flight, settle, release, extend, usage posted directly.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{App, AppError};
use crate::domain::id::{ReservationId, TenantId};
use crate::domain::ledger::command::{Action, Command, Idempotency};
use crate::domain::ledger::outcome::Outcome;
use crate::domain::ledger::reservation::{Reservation, ReservationState};
use crate::domain::ledger::transfer::CallOutcome;
pub use crate::store::reservations::Listed;
use crate::store::reservations::list;

impl App {
    /// Sends one action through the lane.
    ///
    /// # Errors
    /// The ledger's refusal, or why there is no answer.
    pub async fn submit(&self, mut action: Action, idempotency: Option<Idempotency>) -> Result<Outcome, AppError> {
        self.call_bound.check_action(&mut action)?;
        let succeeded = matches!(&action, Action::Settle(settle) if settle.report.outcome == CallOutcome::Completed);
        let outcome = self.lane.submit(Command { action, idempotency }).await??;
        if let (true, Outcome::Posted(posted)) = (succeeded, &outcome)
            && let Err(error) = self.reopen_after(posted).await
        {
            // The settlement stands; the next success opens the quota.
            tracing::warn!(%error, "a quota that is open again could not be marked so");
        }
        Ok(outcome)
    }

    /// Sends many actions through the lane; each has its own outcome, in order.
    ///
    /// # Errors
    /// When the lane answered none of them: it is stopping, or the database is away.
    pub async fn submit_all(&self, mut commands: Vec<Command>) -> Result<Vec<Result<Outcome, AppError>>, AppError> {
        let check = |command: &mut Command| self.call_bound.check_action(&mut command.action).err().map(AppError::from);
        let refused: Vec<Option<AppError>> = commands.iter_mut().map(check).collect();
        let sent = commands.into_iter().zip(&refused).filter(|(_, refused)| refused.is_none());
        let answers = self.lane.submit_all(sent.map(|(command, _)| command).collect()).await;
        if let Some(Err(error)) = answers.first()
            && answers.iter().all(Result::is_err)
        {
            return Err((*error).into());
        }
        let mut answers = answers.into_iter();
        let outcome = |refused: Option<AppError>| -> Result<Outcome, AppError> {
            match refused {
                Some(refused) => Err(refused),
                None => Ok(answers.next().ok_or(AppError::Busy("the lane lost an answer: ask again"))???),
            }
        };
        Ok(refused.into_iter().map(outcome).collect())
    }

    /// Makes sure that a tenant is known here, also one that another replica made a moment ago.
    ///
    /// # Errors
    /// [`AppError::UnknownTenant`] when there is none, or it is archived.
    pub async fn know_tenant(&self, id: &TenantId) -> Result<(), AppError> {
        let known = || self.snapshots.latest().catalogue.tenant(id).is_some_and(|tenant| !tenant.archived);
        if known() {
            return Ok(());
        }
        self.catch_up().await?;
        if known() { Ok(()) } else { Err(AppError::UnknownTenant(id.clone())) }
    }

    /// A page of reservations, of one tenant or of all, and the instant at which they are looked at.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reservations(
        &self,
        listed: Listed,
        tenant: Option<&TenantId>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<(Vec<Reservation>, DateTime<Utc>), AppError> {
        let now = self.clock.now();
        let mut transaction = self.begin_read(tenant).await?;
        let found = list(&mut transaction, listed, tenant, after, limit, now).await?;
        transaction.commit().await?;
        Ok((found, now))
    }

    /// How a reservation has ended; none while it is held.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn how_ended(&self, id: ReservationId) -> Result<Option<ReservationState>, AppError> {
        let found = self.reservation(id, None).await?;
        let state = found.map(|reservation| reservation.state_at(self.clock.now()));
        Ok(state.filter(|state| *state != ReservationState::Open))
    }

    /// One reservation, if it is there and, for a confined credential, the tenant's own.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reservation(
        &self,
        id: ReservationId,
        tenant: Option<&TenantId>,
    ) -> Result<Option<Reservation>, AppError> {
        let mut transaction = self.begin_read(tenant).await?;
        let found = crate::store::reservations::get(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(found.filter(|reservation| tenant.is_none_or(|tenant| *tenant == reservation.call.tenant)))
    }
}
