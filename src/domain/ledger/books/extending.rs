//! More time and more output for a call that is under way.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Books, Effects, Shift, ended, expiry, seen_at};
use crate::domain::amounts::Tokens;
use crate::domain::budget::catalogue::{BudgetNumber, Governing};
use crate::domain::budget::verdict::{Ask, HeldBefore, Holding, Ruling, decide, held_too_long, keep};
use crate::domain::ledger::call_bound::TokensField;
use crate::domain::ledger::command::Extend;
use crate::domain::ledger::outcome::{Extended, Outcome, Refusal};
use crate::domain::ledger::reservation::Reservation;
use crate::domain::usage::Usage;

impl Books {
    /// More time for as long as a reservation lives; more tokens if they fit every hard budget beside what others hold. If
    /// they do not, nothing changes.
    ///
    /// More tokens are weighed in the periods of now. Where one of them is not the one that the reservation is counted in, all
    /// of it moves there: what is weighed and what is written are the same counters, and a settlement posts in one place. So a
    /// window that did not count it yet must have room for the whole, also by a measure that does not grow: for one call more.
    pub(super) fn extend(&self, extend: &Extend, now: DateTime<Utc>) -> Result<(Outcome, Effects), Refusal> {
        let reservation = self.own(extend.reservation, extend.tenant.as_ref())?;
        if !reservation.is_held(now) {
            return Err(ended(reservation, now));
        }
        let expires_at = expiry(now, extend.ttl_seconds)?.max(reservation.expires_at);
        let lives_until = reservation.lives_until();
        if expires_at > lives_until {
            return Err(Refusal::LivesTooLong { reservation: reservation.id, lives_until });
        }
        let held = self.touched_by(reservation)?;
        let mut effects = Effects::default();
        self.give_back(reservation, &mut effects)?;
        let before = reservation.hold.consumption.usage;
        let usage = Usage { output: before.output.checked_add(extend.more_output)?, ..before };
        let call = &reservation.call;
        let tariff = self.rates.tariff_of(call, reservation.service_tier, reservation.granted_at);
        // A call that grows piece by piece is as large as one that is asked for at once.
        let ask = |counted| Ask {
            usage,
            min_output: usage.output,
            allow_cap: false,
            priority: reservation.priority,
            tariff: &tariff,
            jitter: reservation.id.0.as_u64_pair().1,
            holding: Holding::Grown { from: &reservation.hold.consumption, learned: &reservation.learned, counted },
            is_run_stopped: self.catalogue.is_run_stopped(call),
            // It has begun.
            missing: &[],
            hold_seconds: seconds(reservation, expires_at),
        };
        let held_before = HeldBefore {
            consumption: &reservation.hold.consumption,
            learned: &reservation.learned,
            seconds: seconds(reservation, reservation.expires_at),
        };
        if extend.more_output == Tokens::ZERO {
            // The hold stays where it is, but a sliding window is looked at as it is now.
            let current = seen_at(&held, now)?;
            let standings = self.standings(&current, &effects);
            let none = BTreeSet::new();
            if let Some(ruling) = held_too_long(&ask(&none), held_before, &standings, now)? {
                return Ok(self.not_extended(reservation, ruling, &current));
            }
            // What is held already was granted: no limit refuses time alone, also when the budget was lowered since.
            let ruling = keep(reservation.hold, &reservation.learned, reservation.priority, &standings, now);
            let effects =
                Effects { reservation: Some(Reservation { expires_at, ..reservation.clone() }), ..Effects::default() };
            let budgets = self.states(&current, &effects);
            let extended = Extended { reservation: reservation.id, expires_at, ruling, budgets };
            return Ok((Outcome::Extended(Box::new(extended)), effects));
        }
        extend.bound.check(TokensField::MoreOutput, &usage)?;
        let counted_at = self.catalogue.counted_at(now, now);
        let current = self.catalogue.governing(&reservation.call, counted_at)?;
        let stays = held.iter().map(Governing::counter).eq(current.iter().map(Governing::counter));
        let held_at = if stays { reservation.held_at } else { counted_at };
        let standings = self.standings(&current, &effects);
        let is_counted = |one: &&Governing| held.iter().any(|before| one.counts(before));
        let counted: BTreeSet<BudgetNumber> = current.iter().filter(is_counted).map(|one| one.budget.number).collect();
        let ask = ask(&counted);
        let too_long = held_too_long(&ask, held_before, &standings, now)?;
        let mut ruling = too_long.map_or_else(|| decide(&ask, &standings, now), Ok)?;
        if !ruling.verdict.grants() {
            return Ok(self.not_extended(reservation, ruling, &current));
        }
        ruling.priced.flags = ruling.priced.flags.with(reservation.hold.flags);
        let hold = ruling.priced;
        let learned = reservation.learned.grown(&reservation.hold.consumption, &hold.consumption)?;
        self.shift(&current, &hold.consumption, Shift::Hold(&learned, reservation.granted_at), &mut effects)?;
        effects.reservation = Some(Reservation { hold, learned, held_at, expires_at, ..reservation.clone() });
        let budgets = self.states(&current, &effects);
        let extended = Extended { reservation: reservation.id, expires_at, ruling, budgets };
        Ok((Outcome::Extended(Box::new(extended)), effects))
    }

    /// Nothing changes.
    fn not_extended(&self, reservation: &Reservation, ruling: Ruling, current: &[Governing]) -> (Outcome, Effects) {
        let untouched = Effects::default();
        let budgets = self.states(current, &untouched);
        let extended = Extended { reservation: reservation.id, expires_at: reservation.expires_at, ruling, budgets };
        (Outcome::Extended(Box::new(extended)), untouched)
    }
}

/// For how long a reservation is held that ends at an instant, in seconds.
fn seconds(reservation: &Reservation, end: DateTime<Utc>) -> u32 {
    u32::try_from(end.signed_duration_since(reservation.granted_at).num_seconds()).unwrap_or(u32::MAX)
}
