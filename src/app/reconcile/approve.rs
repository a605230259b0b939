//! Approval: the true-ups go through the lane, and the answer is given once the books say what the report says.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | alone | an advisory lock: two who compared the same days would both post what is missing |
//! | 2 | finish | what an approval that was cut short wrote down and did not post |
//! | 3 | compare | the report with the books as they are now |
//! | 4 | write down | the true-ups with the ids of their transfers, committed before any is posted |
//! | 5 | post | through the lane, those that are not in the journal |
//! | 6 | again | from 3, until nothing differs: calls of those days may be posted meanwhile |
//! | 7 | approve | the row, which never changes from then on |
//!
//! Each transfer is known by its id before it is posted, so that a repeat finds it and posts nothing twice.

use std::sync::Arc;

use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::given::{Given, keep};
use super::super::{App, AppError};
use super::{Compared, Question, body, document, sql, understood};
use crate::domain::ledger::command::{Action, Command, Idempotency};
use crate::reconcile::moved::Moved;
use crate::store::StoreError;
use crate::store::locks::{Lock, try_take};
use crate::wire::FieldError;
use crate::wire::reconciliation::{ReconciliationBody, ReconciliationRequest, ReconciliationState, TrueUpBody};

/// How often the books are compared and trued up before an approval gives way to calls that are still being posted.
const ROUNDS: usize = 4;

/// Refuses to move an amount that was not named, or is not what was named.
fn check_amount(compared: &Compared, named: Option<Decimal>) -> Result<(), FieldError> {
    let Moved { usd, books_usd, .. } = compared.moved;
    match named {
        Some(named) if !compared.moved.is_named_by(named) => {
            Err(FieldError::new("usd", format!("is {named}, and the true-ups move {usd} dollars as the books are now")))
        }
        None if compared.moved.must_be_named() => Err(FieldError::new(
            "usd",
            format!(
                "the true-ups move {usd} dollars, and the books have {books_usd} for what the report is about: see that it is the \
                 report of the right organisation, provider and days, and name the amount in `usd`"
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

impl App {
    /// Posts the true-ups of a reconciliation. One that is approved is answered as it is. `named` is the amount of dollars that the
    /// caller expects to be moved. A repeat under the same key is the first answer.
    ///
    /// # Errors
    /// [`AppError::UnknownReconciliation`]; the refusal of a key that was used for something else; names `usd` when more is moved than may be without being named, or another amount
    /// than was named; [`AppError::Busy`] when another one is being approved, or calls of those days are
    /// still being posted: approve again.
    pub async fn approve_reconciliation(
        &self,
        id: Uuid,
        subject: &str,
        named: Option<Decimal>,
        key: Option<&Idempotency>,
    ) -> Result<Given<ReconciliationBody>, AppError> {
        let mut alone = self.pool.begin().await?;
        let is_alone = try_take(&mut alone, Lock::Adjustments).await?;
        // Once the lock is there: whoever held it has kept its answer.
        let given = async {
            if let Some(given) = self.given_before(&mut alone, key).await? {
                return Ok(given);
            }
            if !is_alone {
                return Err(AppError::Busy("another reconciliation is being approved: try again"));
            }
            let answer = self.approve_alone(&mut alone, id, subject, named).await?;
            keep(&mut alone, key, &answer, self.clock.now()).await?;
            Ok(Given::new(answer))
        };
        let given = given.await;
        // Not by dropping it, which leaves the lock to whoever has the connection next.
        if given.is_ok() {
            alone.commit().await?;
        } else {
            alone.rollback().await?;
        }
        given
    }

    async fn approve_alone(
        &self,
        connection: &mut PgConnection,
        id: Uuid,
        subject: &str,
        named: Option<Decimal>,
    ) -> Result<ReconciliationBody, AppError> {
        let kept = sql::get(connection, id).await?.ok_or(AppError::UnknownReconciliation(id))?;
        let before = document(&kept)?;
        if kept.state == ReconciliationState::Approved {
            return Ok(before);
        }
        let request: ReconciliationRequest = serde_json::from_str(&kept.request).map_err(StoreError::from)?;
        let (question, _) = understood(request, self.snapshots.latest().rates, self.clock.now()).await?;
        let question = Arc::new(question);
        let mut true_ups: Vec<TrueUpBody> = match &kept.true_ups {
            None => Vec::new(),
            Some(text) => serde_json::from_str(text).map_err(StoreError::from)?,
        };
        let goes_on = !true_ups.is_empty();
        self.post_missing(&true_ups).await?;
        let mut first = None;
        for _ in 0..ROUNDS {
            let compared = self.compare(&question).await?;
            if compared.lines.iter().all(|line| line.agrees(question.report.fold)) {
                let first = first.as_ref().unwrap_or(&compared);
                return self.finish(&question, (first, goes_on), before, (subject, true_ups)).await;
            }
            // What was written down was approved; and a later round posts what came in meanwhile.
            if first.is_none() && !goes_on {
                check_amount(&compared, named)?;
            }
            let made = compared.true_ups.iter().map(|true_up| TrueUpBody::of(true_up, Some(Uuid::now_v7())));
            let made: Vec<TrueUpBody> = made.collect();
            true_ups.extend(made.iter().cloned());
            let text = serde_json::to_string(&true_ups).map_err(StoreError::from)?;
            sql::begin_posting(&mut *self.pool.acquire().await?, id, &text).await?;
            self.post_missing(&made).await?;
            first.get_or_insert(compared);
        }
        Err(AppError::Busy("calls of those days are still being posted: approve again"))
    }

    async fn finish(
        &self,
        question: &Question,
        (first, goes_on): (&Compared, bool),
        before: ReconciliationBody,
        (subject, true_ups): (&str, Vec<TrueUpBody>),
    ) -> Result<ReconciliationBody, AppError> {
        let now = self.clock.now();
        // Lines of an approval that was cut short are those that were proposed: the books have its true-ups already.
        let fresh = body(question, first, &before.requested_by, before.requested_at);
        let (lines, differing) =
            if goes_on { (before.lines, before.differing) } else { (fresh.lines, fresh.differing) };
        let answer = ReconciliationBody {
            id: before.id,
            state: ReconciliationState::Approved,
            lines,
            differing,
            true_ups,
            approved_by: Some(subject.to_owned()),
            approved_at: Some(now),
            ..fresh
        };
        let text = serde_json::to_string(&answer).map_err(StoreError::from)?;
        let posted = serde_json::to_string(&answer.true_ups).map_err(StoreError::from)?;
        sql::approve(&mut *self.pool.acquire().await?, answer.id, &text, &posted, (subject, now)).await?;
        Ok(answer)
    }

    /// Posts those that are not in the journal.
    async fn post_missing(&self, true_ups: &[TrueUpBody]) -> Result<(), AppError> {
        let ids: Vec<Uuid> = true_ups.iter().filter_map(|true_up| true_up.transfer).collect();
        let there = sql::posted(&mut *self.pool.acquire().await?, &ids).await?;
        let missing = true_ups.iter().filter(|true_up| true_up.transfer.is_some_and(|id| !there.contains(&id)));
        let commands = missing.map(|true_up| {
            let adjust = true_up.to_adjust()?;
            Ok(Command { action: Action::Adjust(Box::new(adjust)), idempotency: None })
        });
        let commands = commands.collect::<Result<Vec<_>, AppError>>()?;
        for outcome in self.submit_all(commands).await? {
            outcome?;
        }
        Ok(())
    }
}
