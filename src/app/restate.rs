//! Restatement: the rows of a period are said anew by the factor book as it is now.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | alone | the lock of whoever posts adjustments, so that nobody else corrects the same rows; only where it is posted |
//! | 2 | read | rows with what is said of them, one after the other |
//! | 3 | decide | [`crate::domain::ledger::restating`]; what differs is added up |
//! | 4 | post | through the lane, [`CHUNK`] at a time, reversal and posting of a row in one batch |
//!
//! One request looks at [`EXAMINED_MAX`] rows and posts [`RESTATED_MAX`] of them at most, and says where the next one goes on.
//! Nothing is written down beside the journal: a row is compared with what the journal says of it, so that one that was said
//! anew before a failure is found equal, and asking again is always right.

use futures::StreamExt as _;
use uuid::Uuid;

use super::exports::span;
use super::given::{Given, keep};
use super::{App, AppError};
use crate::domain::calendar::Zone;
use crate::domain::id::{ModelId, ProviderId, TransferId};
use crate::domain::ledger::command::{Action, Command, Idempotency};
use crate::domain::ledger::outcome::Refusal;
use crate::domain::ledger::restating::{Restatement, Summary, restate};
use crate::store::locks::{Lock, try_take};
use crate::store::restatements::{RowsAsked, stated};
use crate::wire::FieldError;
use crate::wire::restatement::{Restated, RestatementBody, RestatementRequest};

/// Most rows that one request looks at.
pub const EXAMINED_MAX: u32 = 50_000;
/// Most rows that one request says anew.
pub const RESTATED_MAX: u32 = 5_000;
/// Rows that are sent to the lane at once.
const CHUNK: usize = 500;

impl App {
    /// Says the rows of a period anew, or tells what that would come to.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::Busy`] while others post adjustments; when a figure cannot be kept.
    pub async fn restate(&self, request: &RestatementRequest, subject: &str) -> Result<Restated, AppError> {
        let asked = request.parse()?;
        let zone = asked.span.zone.unwrap_or(Zone::UTC);
        let (Some(from), Some(to)) = span(&asked.span, zone)? else {
            return Err(FieldError::new("period", "has no end").into());
        };
        if let Some(tenant) = &asked.tenant {
            self.catch_up().await?;
            let known = self.snapshots.latest().catalogue.tenant(tenant).is_some();
            known.then_some(()).ok_or_else(|| AppError::UnknownTenant(tenant.clone()))?;
        }
        let rows = RowsAsked {
            from,
            to,
            now: self.clock.now(),
            after: request.cursor.unwrap_or(Uuid::nil()),
            tenant: asked.tenant,
            served: self.spellings(
                asked.provider.as_ref().map(ProviderId::as_str),
                asked.model.as_ref().map(ModelId::as_str),
            )?,
            region: asked.region,
            limit: i64::from(EXAMINED_MAX),
        };
        let restated = if request.apply {
            let mut alone = self.pool.begin().await?;
            if !try_take(&mut alone, Lock::Adjustments).await? {
                return Err(AppError::Busy("adjustments are being posted: try again"));
            }
            let restated = self.restate_rows(&rows, true).await;
            alone.rollback().await?;
            restated?
        } else {
            self.restate_rows(&rows, false).await?
        };
        if restated.posted > 0 {
            let Restated { from, to, posted, .. } = &restated;
            tracing::info!(subject, %from, %to, transfers = posted, "rows were restated");
        }
        Ok(restated)
    }

    /// The same as an answer. What was posted is kept under the key, and a repeat is that answer.
    ///
    /// # Errors
    /// Those of [`Self::restate`]; the refusal of a key that was used for something else.
    pub async fn restate_once(
        &self,
        request: &RestatementRequest,
        subject: &str,
        key: Option<&Idempotency>,
    ) -> Result<Given<RestatementBody>, AppError> {
        let key = key.filter(|_| request.apply);
        if let Some(given) = self.given_before(&mut *self.pool.acquire().await?, key).await? {
            return Ok(given);
        }
        let answer = RestatementBody::from(&self.restate(request, subject).await?);
        let mut transaction = self.pool.begin().await?;
        if let Err(error) = keep(&mut transaction, key, &answer, self.clock.now()).await {
            transaction.rollback().await?;
            // Another one with the same key came first, and has posted what there was to post.
            let first = self.given_before(&mut *self.pool.acquire().await?, key).await?;
            return first.ok_or(error);
        }
        transaction.commit().await?;
        Ok(Given::new(answer))
    }

    async fn restate_rows(&self, asked: &RowsAsked, apply: bool) -> Result<Restated, AppError> {
        self.catch_up().await?;
        let snapshot = self.snapshots.latest();
        let (rates, closed) = (&snapshot.rates, snapshot.catalogue.closed_until);
        let too_large = |bad| AppError::Refused(Refusal::Amount(bad));
        let mut connection = self.pool.acquire().await?;
        let mut rows = stated(&mut connection, asked);
        let mut summary = Summary::default();
        let (mut commands, mut posted, mut next) = (Vec::with_capacity(CHUNK), 0_u64, None);
        while let Some(one) = rows.next().await {
            let one = one?;
            let found = restate(&one, rates).map_err(too_large)?;
            let is_closed = closed.is_some_and(|closed| one.row.period_at < closed);
            summary.add(&one, &found, is_closed, &rates.factors).map_err(too_large)?;
            if let Restatement::Differs(to) = found
                && apply
            {
                commands.push(one.command(&to, (TransferId(Uuid::now_v7()), TransferId(Uuid::now_v7()))));
            }
            if commands.len() >= CHUNK {
                posted = self.post_all(std::mem::take(&mut commands)).await?.saturating_add(posted);
            }
            if summary.examined >= u64::from(EXAMINED_MAX) || (apply && summary.total.rows >= u64::from(RESTATED_MAX)) {
                next = Some(one.row.id.0);
                break;
            }
        }
        drop(rows);
        drop(connection);
        posted = self.post_all(commands).await?.saturating_add(posted);
        Ok(Restated { applied: apply, from: asked.from, to: asked.to, summary, posted, next })
    }

    /// Posts them, and says how many transfers that were.
    async fn post_all(&self, actions: Vec<Action>) -> Result<u64, AppError> {
        let rows = |action: &Action| match action {
            Action::Restate(_) => 2,
            Action::Adjust(_) => 1,
            Action::Reserve(_) | Action::Settle(_) | Action::Release(_) | Action::Extend(_) | Action::PostUsage(_) => 0,
        };
        let transfers = actions.iter().map(rows).sum();
        let commands = actions.into_iter().map(|action| Command { action, idempotency: None }).collect();
        for outcome in self.submit_all(commands).await? {
            outcome?;
        }
        Ok(transfers)
    }
}
