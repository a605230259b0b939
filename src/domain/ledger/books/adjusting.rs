//! Rows that no call makes: corrections, restatements, and true-ups with a provider's report.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Books, Effects, Shift, seen_at};
use crate::domain::amounts::Tokens;
use crate::domain::budget::catalogue::Governing;
use crate::domain::calendar::CalendarError;
use crate::domain::carbon::RecordedFactors;
use crate::domain::ledger::command::{Adjust, Adjustment, Restate};
use crate::domain::ledger::outcome::{Outcome, Posted, Refusal};
use crate::domain::ledger::transfer::{CallOutcome, CallReport, Direction, Transfer, TransferKind};
use crate::domain::tariff::{Flags, Priced, Provenance};

impl Books {
    /// The budgets that an adjustment touches.
    pub(super) fn touched_by_adjust(
        &self,
        adjust: &Adjust,
        now: DateTime<Utc>,
    ) -> Result<Vec<Governing>, CalendarError> {
        self.catalogue.governing(&self.named_before(&adjust.call), self.catalogue.counted_at(adjust.counts_at, now))
    }

    /// Posts an adjustment. Unlike a call it is not priced here: whoever adjusts says what moves.
    pub(super) fn adjust(&self, adjust: &Adjust, now: DateTime<Utc>) -> Result<(Outcome, Effects), Refusal> {
        let mut effects = Effects::default();
        let posted = self.adjusted(adjust, now, &mut effects)?;
        Ok((Outcome::Posted(Box::new(posted)), effects))
    }

    /// Posts both rows of a restatement; the answer is about the second.
    pub(super) fn restate(&self, restate: &Restate, now: DateTime<Utc>) -> Result<(Outcome, Effects), Refusal> {
        let mut effects = Effects::default();
        self.adjusted(&restate.reversal, now, &mut effects)?;
        let posted = self.adjusted(&restate.posting, now, &mut effects)?;
        Ok((Outcome::Posted(Box::new(posted)), effects))
    }

    fn adjusted(&self, adjust: &Adjust, now: DateTime<Utc>, effects: &mut Effects) -> Result<Posted, Refusal> {
        let call = &self.named_before(&adjust.call);
        if !call.tenant.is_nobody() && self.catalogue.tenant(&call.tenant).is_none() {
            return Err(Refusal::UnknownTenant(call.tenant.clone()));
        }
        if adjust.occurred_at > now {
            return Err(Refusal::OccurredOutOfRange(adjust.occurred_at));
        }
        let mut consumption = adjust.consumption;
        consumption.amounts.tokens = consumption.usage.total()?;
        let period_at = self.catalogue.counted_at(adjust.counts_at, now);
        let closed = if period_at == adjust.occurred_at { Flags::NONE } else { Flags::PERIOD_CLOSED };
        let none = RecordedFactors { profile: self.rates.profile, model: None, grid: None, market: None };
        let RecordedFactors { profile, model, grid, market } = adjust.factors.unwrap_or(none);
        let provenance = Provenance {
            price: None,
            tier_from: Tokens::ZERO,
            profile,
            model_factor: model,
            grid_factor: grid,
            market_factor: market,
        };
        let priced = Priced { consumption, provenance, flags: adjust.assumed.with(closed) };
        let (kind, corrects) = match adjust.kind {
            Adjustment::Correction { corrects } => (TransferKind::Correction, Some(corrects)),
            Adjustment::TrueUp { corrects } => (TransferKind::TrueUp, corrects),
        };
        let governing = self.catalogue.governing(call, period_at)?;
        let shift = match adjust.direction {
            Direction::Forward => Shift::Post(period_at),
            Direction::Reverse => Shift::TakeBack,
        };
        self.shift(&governing, &consumption, shift, effects)?;
        let report = CallReport {
            outcome: CallOutcome::Completed,
            latency_ms: None,
            provider_request_id: None,
            provider_usd: None,
        };
        effects.transfers.push(Transfer {
            id: adjust.transfer,
            kind,
            direction: adjust.direction,
            call: call.clone(),
            requested_model: None,
            priority: adjust.priority,
            priced,
            report,
            occurred_at: adjust.occurred_at,
            recorded_at: now,
            period_at,
            reservation: None,
            corrects,
        });
        Ok(Posted {
            transfer: adjust.transfer,
            reservation: None,
            priced,
            hold: None,
            occurred_at: adjust.occurred_at,
            recorded_at: now,
            budgets: self.states(&seen_at(&governing, now)?, effects),
            not_counted: Vec::new(),
            unread: BTreeSet::new(),
            unreadable: None,
        })
    }
}
