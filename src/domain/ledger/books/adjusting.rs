//! Rows that no call makes: corrections, and true-ups with a provider's report.

use chrono::{DateTime, Utc};

use super::{Books, Effects, Shift};
use crate::domain::amounts::Tokens;
use crate::domain::ledger::command::{Adjust, Adjustment};
use crate::domain::ledger::outcome::{Outcome, Posted, Refusal};
use crate::domain::ledger::transfer::{CallOutcome, CallReport, Direction, Transfer, TransferKind};
use crate::domain::tariff::{Flags, Priced, Provenance};

impl Books {
    /// Posts an adjustment. Unlike a call it is not priced here: whoever adjusts says what moves.
    pub(super) fn adjust(&self, adjust: &Adjust, now: DateTime<Utc>) -> Result<(Outcome, Effects), Refusal> {
        let call = &adjust.call;
        if !call.tenant.is_nobody() && self.catalogue.tenant(&call.tenant).is_none() {
            return Err(Refusal::UnknownTenant(call.tenant.clone()));
        }
        if adjust.occurred_at > now {
            return Err(Refusal::OccurredOutOfRange(adjust.occurred_at));
        }
        let mut consumption = adjust.consumption;
        consumption.amounts.tokens = consumption.usage.total()?;
        let period_at = self.catalogue.counted_at(adjust.occurred_at, now);
        let flags = if period_at == adjust.occurred_at { Flags::NONE } else { Flags::PERIOD_CLOSED };
        let provenance = Provenance {
            price: None,
            tier_from: Tokens::ZERO,
            profile: self.rates.profile,
            model_factor: None,
            grid_factor: None,
            market_factor: None,
        };
        let priced = Priced { consumption, provenance, flags };
        let (kind, corrects) = match adjust.kind {
            Adjustment::Correction { corrects } => (TransferKind::Correction, Some(corrects)),
            Adjustment::TrueUp { corrects } => (TransferKind::TrueUp, corrects),
        };
        let governing = self.catalogue.governing(call, period_at)?;
        let mut effects = Effects::default();
        let shift = match adjust.direction {
            Direction::Forward => Shift::Post,
            Direction::Reverse => Shift::TakeBack,
        };
        self.shift(&governing, &consumption, shift, &mut effects)?;
        let report = CallReport {
            outcome: CallOutcome::Completed,
            latency_ms: None,
            provider_request_id: None,
            provider_usd: None,
        };
        effects.transfer = Some(Transfer {
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
        let posted = Posted {
            transfer: adjust.transfer,
            reservation: None,
            priced,
            hold: None,
            occurred_at: adjust.occurred_at,
            recorded_at: now,
            budgets: self.states(&governing, &effects),
        };
        Ok((Outcome::Posted(Box::new(posted)), effects))
    }
}
