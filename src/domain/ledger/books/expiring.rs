//! Expiry: a reservation whose time has passed without a settlement, and one that is settled after that.
//!
//! What it held is given back, unless a hard budget that holds it says that its estimate is spent until it is known better. The
//! settlement that comes late all the same takes that estimate back: both rows stay in the journal, and what was used counts.

use chrono::{DateTime, Utc};

use super::{Books, Effects, Shift};
use crate::domain::budget::catalogue::{Enforcement, Governing, OnExpiry};
use crate::domain::calendar::CalendarError;
use crate::domain::id::{ReservationId, TransferId};
use crate::domain::ledger::outcome::Refusal;
use crate::domain::ledger::reservation::{Reservation, ReservationState};
use crate::domain::ledger::transfer::{CallOutcome, CallReport, Direction, Transfer, TransferKind};
use crate::domain::tariff::{Flags, Priced};

impl Books {
    /// The budgets that an expiry touches: those that hold it, and those that its estimate may be posted to.
    ///
    /// # Errors
    /// When an instant is outside the calendar.
    pub fn touched_by_expiry(
        &self,
        reservation: &Reservation,
        now: DateTime<Utc>,
    ) -> Result<Vec<Governing>, CalendarError> {
        let mut touched = self.touched_by(reservation)?;
        if posts_estimate(&touched) {
            touched.extend(self.of_estimate(reservation, now)?);
        }
        Ok(touched)
    }

    /// Where the estimate of a reservation counts: with its grant, unless that period is closed.
    fn of_estimate(&self, reservation: &Reservation, now: DateTime<Utc>) -> Result<Vec<Governing>, CalendarError> {
        self.catalogue.governing(&reservation.call, self.catalogue.counted_at(reservation.held_at, now))
    }

    /// Writes down that a reservation's time has passed. Nothing happens if it has not, or if it ended before. `transfer` is the
    /// id of its estimate, if that is posted.
    ///
    /// # Errors
    /// When a counter would leave what the ledger can keep.
    pub fn expire(&mut self, id: ReservationId, transfer: TransferId, now: DateTime<Utc>) -> Result<(), Refusal> {
        let Some(reservation) = self.reservations.get(&id) else { return Ok(()) };
        if reservation.state != ReservationState::Open || reservation.is_held(now) {
            return Ok(());
        }
        let mut effects = Effects::default();
        let mut ended = Reservation {
            state: ReservationState::Expired,
            ended_at: Some(reservation.expires_at),
            ..reservation.clone()
        };
        if posts_estimate(&self.touched_by(reservation)?) {
            ended.hold.flags = ended.hold.flags.with(Flags::EXPIRED);
            ended.transfer = Some(transfer);
        }
        self.give_back(reservation, &mut effects)?;
        if ended.transfer.is_some() {
            let governing = self.of_estimate(reservation, now)?;
            let period_at = self.catalogue.counted_at(reservation.held_at, now);
            self.shift(&governing, &reservation.hold.consumption, Shift::Post(period_at), &mut effects)?;
            let flags = reservation.hold.flags.with(Flags::UNCONFIRMED).with(Flags::EXPIRED);
            let row = self.row_of_estimate(reservation, transfer, flags, now);
            effects.transfers.push(Transfer { reservation: Some(id), ..row });
        }
        effects.reservation = Some(ended);
        self.absorb(effects);
        Ok(())
    }

    /// Takes back the estimate that was posted when a reservation expired, because what it used is known now.
    pub(super) fn take_back_estimate(
        &self,
        reservation: &Reservation,
        correction: TransferId,
        now: DateTime<Utc>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(estimate) = reservation.transfer.filter(|_| reservation.is_estimated()) else { return Ok(()) };
        let governing = self.of_estimate(reservation, now)?;
        self.shift(&governing, &reservation.hold.consumption, Shift::TakeBack, effects)?;
        let flags = reservation.hold.flags.common(Flags::FACTOR_FALLBACKS);
        let row = self.row_of_estimate(reservation, correction, flags, now);
        let kind = TransferKind::Correction;
        effects.transfers.push(Transfer { kind, direction: Direction::Reverse, corrects: Some(estimate), ..row });
        Ok(())
    }

    fn row_of_estimate(&self, reservation: &Reservation, id: TransferId, flags: Flags, now: DateTime<Utc>) -> Transfer {
        let occurred_at = reservation.granted_at;
        let period_at = self.catalogue.counted_at(reservation.held_at, now);
        let closed = if period_at == reservation.held_at { Flags::NONE } else { Flags::PERIOD_CLOSED };
        let outcome = CallOutcome::TimedOut;
        Transfer {
            id,
            kind: TransferKind::Settlement,
            direction: Direction::Forward,
            call: reservation.call.clone(),
            requested_model: None,
            priority: reservation.priority,
            priced: Priced { flags: flags.with(closed), ..reservation.hold },
            report: CallReport { outcome, latency_ms: None, provider_request_id: None, provider_usd: None },
            occurred_at,
            recorded_at: now,
            period_at,
            reservation: None,
            corrects: None,
        }
    }
}

/// Whether the estimate of a reservation that these budgets hold is spent when it expires.
fn posts_estimate(governing: &[Governing]) -> bool {
    let posts =
        |one: &Governing| one.budget.enforcement == Enforcement::Hard && one.budget.on_expiry == OnExpiry::PostEstimate;
    governing.iter().any(posts)
}
