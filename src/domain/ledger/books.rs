//! The books: the working set of one batch, and the one function that says how each command changes it.
//!
//! | phase | who | what |
//! |---|---|---|
//! | load | the shell | asks [`Books::touches`] which counters a command needs, locks and loads them |
//! | decide | [`Books::apply`] | each command in its order: decides on the books as the commands before it left them |
//! | save | the shell | writes [`Changes`] |
//!
//! Invariants: a command that is refused changes nothing; a reservation ends once; `held` of a counter is the sum over
//! open reservations and `posted` the sum over transfers, each counted in the period of its instant; a batch decides
//! exactly as the same commands would one by one.

mod adjusting;
mod expiring;
mod extending;
mod posting;
mod remarks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::command::{Action, Command, Idempotency, KeySpace, Release, Reserve, Settle};
use super::outcome::{Answer, BudgetState, Granted, Outcome, Posted, Refusal, RefusedCall, Released, Ruled};
pub use super::remembered::Remembered;
use super::reservation::{Reservation, ReservationState};
use super::transfer::{CallOutcome, Direction, Transfer, TransferKind};
use crate::domain::amounts::{Amounts, BadAmount};
use crate::domain::budget::catalogue::{BudgetNumber, Catalogue, Governing};
use crate::domain::budget::counter::{Counter, CounterId, Standing};
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::promise::LearnedHolds;
use crate::domain::budget::scope::{Dimensions, Spelling};
use crate::domain::budget::verdict::{Ask, Holding, decide};
use crate::domain::calendar::{CalendarError, Period};
use crate::domain::id::{IdempotencyKey, ReservationId, TenantId};
use crate::domain::learned::lesson::Lessons;
use crate::domain::pacing::pace::Paces;
use crate::domain::tariff::{Flags, Priced, RateBooks};
use remarks::{Charged, charged, ended, overruns};

/// What a batch changed, to be written in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Reservations that are new.
    pub granted: BTreeSet<ReservationId>,
    /// Reservations that existed and changed.
    pub changed: BTreeSet<ReservationId>,
    /// Journal rows, in order.
    pub transfers: Vec<Transfer>,
    /// Counters that changed.
    pub counters: BTreeSet<CounterId>,
    /// Keys whose answer is new, or takes the place of one that is not repeated any more.
    pub answers: BTreeSet<(KeySpace, IdempotencyKey)>,
    /// Verdicts that did not grant.
    pub refusals: Vec<RefusedCall>,
}

/// The working set.
#[derive(Debug, Clone)]
pub struct Books {
    /// Tenants and budgets.
    pub catalogue: Arc<Catalogue>,
    /// Prices and factors.
    pub rates: Arc<RateBooks>,
    /// What calls really use. Empty where nothing is known: then whole estimates are held.
    pub lessons: Arc<Lessons>,
    /// How far counters may be taken by calls that can wait.
    pub paces: Arc<Paces>,
    /// When counters were opened, of those whose budget bounds the time of what they count.
    pub opened: BTreeMap<CounterId, DateTime<Utc>>,
    /// The counters at hand. One that is not at hand counts as zero, so the shell loads all that are touched.
    pub counters: BTreeMap<CounterId, Counter>,
    /// The reservations at hand.
    pub reservations: BTreeMap<ReservationId, Reservation>,
    /// The answers at hand.
    pub answers: BTreeMap<(KeySpace, IdempotencyKey), Remembered>,
    /// When a call was last let through to each quota that is closed by a guess.
    pub probes: BTreeMap<BudgetNumber, DateTime<Utc>>,
    /// What changed so far.
    pub changes: Changes,
}

/// What one command changes, before it is absorbed: all or nothing.
#[derive(Debug, Default)]
struct Effects {
    counters: BTreeMap<CounterId, Counter>,
    opened: BTreeMap<CounterId, DateTime<Utc>>,
    reservation: Option<Reservation>,
    transfers: Vec<Transfer>,
    refusal: Option<RefusedCall>,
    /// The closed quotas that the call probes.
    probed: BTreeMap<BudgetNumber, DateTime<Utc>>,
}

impl Books {
    /// Empty books.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>, rates: Arc<RateBooks>) -> Self {
        Self {
            catalogue,
            rates,
            lessons: Arc::default(),
            paces: Arc::default(),
            opened: BTreeMap::new(),
            counters: BTreeMap::new(),
            reservations: BTreeMap::new(),
            answers: BTreeMap::new(),
            probes: BTreeMap::new(),
            changes: Changes::default(),
        }
    }

    /// The budgets a command touches, given the reservations at hand: what it changes is in their counters, and it looks at
    /// sliding windows as of `now`.
    ///
    /// # Errors
    /// When an instant is outside the calendar.
    pub fn touches(&self, action: &Action, now: DateTime<Utc>) -> Result<Vec<Governing>, CalendarError> {
        match action {
            Action::Reserve(reserve) => {
                let at = self.catalogue.counted_at(now, now);
                self.catalogue.governing(&self.rates.named(&reserve.call), at)
            }
            Action::PostUsage(post) => {
                let at = self.catalogue.counted_at(post.occurred_at.unwrap_or(now), now);
                self.catalogue.governing(&self.rates.named(&post.call), at)
            }
            Action::Adjust(adjust) => self.touched_by_adjust(adjust, now),
            Action::Restate(restate) => self.touched_by_adjust(&restate.reversal, now),
            Action::Settle(settle) => {
                let Some(reservation) = self.reservations.get(&settle.reservation) else { return Ok(Vec::new()) };
                let mut touched = self.touched_by(reservation)?;
                let at = self.catalogue.counted_at(reservation.held_at, now);
                touched.extend(self.catalogue.governing(&self.served(settle, reservation), at)?);
                // An estimate that was posted is taken back.
                if reservation.is_estimated() {
                    touched.extend(self.touched_by_expiry(reservation, now)?);
                }
                Ok(touched)
            }
            Action::Release(release) => {
                let reservation = self.reservations.get(&release.reservation);
                reservation.map_or_else(|| Ok(Vec::new()), |reservation| self.touched_by(reservation))
            }
            Action::Extend(extend) => {
                let Some(reservation) = self.reservations.get(&extend.reservation) else { return Ok(Vec::new()) };
                let mut touched = self.touched_by(reservation)?;
                let at = self.catalogue.counted_at(now, now);
                touched.extend(self.catalogue.governing(&reservation.call, at)?);
                Ok(touched)
            }
        }
    }

    /// The budgets that a reservation is held against.
    ///
    /// # Errors
    /// When its instant is outside the calendar.
    pub fn touched_by(&self, reservation: &Reservation) -> Result<Vec<Governing>, CalendarError> {
        self.catalogue.governing(&reservation.call, reservation.held_at)
    }

    /// Applies one command at an instant, and answers it.
    ///
    /// # Errors
    /// Says why the command had no effect; the books are as before.
    pub fn apply(&mut self, command: &Command, now: DateTime<Utc>) -> Answer {
        if let Some(idempotency) = &command.idempotency
            && let Some(remembered) = self.answers.get(&(idempotency.space.clone(), idempotency.key.clone()))
            && remembered.is_repeated(now)
        {
            return remembered.answer_to(idempotency);
        }
        let (outcome, mut effects) = match &command.action {
            Action::Reserve(reserve) => self.reserve(reserve, now)?,
            Action::Settle(settle) => self.settle(settle, now)?,
            Action::Release(release) => self.release(release, now)?,
            Action::Extend(extend) => self.extend(extend, now)?,
            Action::PostUsage(post) => self.post_usage(post, now)?,
            Action::Adjust(adjust) => self.adjust(adjust, now)?,
            Action::Restate(restate) => self.restate(restate, now)?,
        };
        if let Some(refusal) = &mut effects.refusal {
            refusal.key = command.idempotency.as_ref().map(|idempotency| idempotency.key.clone());
        }
        self.absorb(effects);
        if let Some(idempotency) = &command.idempotency {
            self.remember(idempotency, &outcome, now);
        }
        Ok(outcome)
    }

    /// Also what is not repeated is kept, because writing it is what says whether the key was answered before.
    fn remember(&mut self, idempotency: &Idempotency, outcome: &Outcome, now: DateTime<Utc>) {
        let id = (idempotency.space.clone(), idempotency.key.clone());
        let (fingerprint, until) = (idempotency.fingerprint, outcome.repeated_until(now));
        let remembered = Remembered { fingerprint, outcome: outcome.clone(), until };
        self.answers.insert(id.clone(), remembered);
        self.changes.answers.insert(id);
    }

    fn absorb(&mut self, effects: Effects) {
        self.probes.extend(effects.probed);
        for (id, counter) in effects.counters {
            self.changes.counters.insert(id.clone());
            self.counters.insert(id, counter);
        }
        self.opened.extend(effects.opened);
        if let Some(reservation) = effects.reservation {
            let known = self.reservations.contains_key(&reservation.id);
            if !known {
                self.changes.granted.insert(reservation.id);
            } else if !self.changes.granted.contains(&reservation.id) {
                self.changes.changed.insert(reservation.id);
            }
            self.reservations.insert(reservation.id, reservation);
        }
        self.changes.transfers.extend(effects.transfers);
        self.changes.refusals.extend(effects.refusal);
    }

    fn reserve(&self, reserve: &Reserve, now: DateTime<Utc>) -> Result<(Outcome, Effects), Refusal> {
        let call = &self.rates.named(&reserve.call);
        let tenant = self.catalogue.tenant(&call.tenant).filter(|tenant| !tenant.archived);
        let tenant = tenant.ok_or_else(|| Refusal::UnknownTenant(call.tenant.clone()))?;
        let tariff = self.rates.tariff_of(call, reserve.service_tier, now);
        let (provider, model) = (call.said_provider().clone(), call.said_model().clone());
        if tenant.strict && !tariff.is_priced() {
            return Err(Refusal::UnpricedModel { provider, model });
        }
        if tenant.strict && !tariff.has_factors() {
            let region = call.region.clone();
            return Err(Refusal::UnknownFactor { provider, model, region });
        }
        let held_at = self.catalogue.counted_at(now, now);
        let governing = self.catalogue.governing(call, held_at)?;
        let not_counted = self.catalogue.not_counting(call, held_at);
        let ask = Ask {
            usage: reserve.usage,
            min_output: reserve.min_output,
            allow_cap: reserve.allow_cap,
            priority: reserve.priority,
            tariff: &tariff,
            jitter: reserve.id.0.as_u64_pair().1,
            holding: Holding::ByRule { lessons: &self.lessons, call },
            is_run_stopped: self.catalogue.is_run_stopped(call),
            missing: &not_counted,
            hold_seconds: reserve.ttl_seconds,
        };
        let mut effects = Effects::default();
        let mut standings = self.standings(&governing, &effects);
        for standing in &mut standings {
            // Only what is new is paced: a call that has begun is not slowed down in the middle.
            standing.pace = self.paces.of(&standing.governing, &call.tenant, now);
        }
        let probed = if reserve.hold { self.probe(&mut standings, now) } else { Vec::new() };
        let mut ruling = decide(&ask, &standings, now)?;
        if ruling.max_output.is_some_and(|output| output < reserve.usage.output) {
            ruling.priced.flags = ruling.priced.flags.with(Flags::CAPPED);
        }
        let mut granted = None;
        if ruling.verdict.grants() && reserve.hold {
            effects.probed = probed.into_iter().map(|number| (number, now)).collect();
            let expires_at = expiry(now, reserve.ttl_seconds)?;
            let learned = ask.learned_holds(&governing, &ruling.priced)?;
            self.shift(&governing, &ruling.priced.consumption, Shift::Hold(&learned, now), &mut effects)?;
            effects.reservation = Some(Reservation {
                id: reserve.id,
                call: call.clone(),
                priority: reserve.priority,
                service_tier: reserve.service_tier,
                hold: ruling.priced,
                learned,
                granted_at: now,
                held_at,
                expires_at,
                state: ReservationState::Open,
                ended_at: None,
                transfer: None,
            });
            granted = Some(Granted { reservation: reserve.id, granted_at: now, expires_at });
        }
        let ruled = Ruled { ruling, granted, budgets: self.states(&governing, &effects), not_counted };
        if !ruled.ruling.verdict.grants() && reserve.hold {
            effects.refusal = Some(RefusedCall {
                id: reserve.id,
                call: call.clone(),
                priority: reserve.priority,
                key: None,
                refused_at: now,
                ruled: ruled.clone(),
            });
        }
        Ok((Outcome::Ruled(Box::new(ruled)), effects))
    }

    fn settle(&self, settle: &Settle, now: DateTime<Utc>) -> Result<(Outcome, Effects), Refusal> {
        let reservation = self.own(settle.reservation, settle.tenant.as_ref())?;
        let late = match (reservation.state_at(now), reservation.transfer) {
            (ReservationState::Open, None) => false,
            // Truth first: what was given back by a caller who then heard from the provider was spent all the same.
            (ReservationState::Expired | ReservationState::Released, None) => true,
            (ReservationState::Expired, Some(_)) if reservation.is_estimated() => true,
            (_, _) => return Err(ended(reservation, now)),
        };
        let call = self.served(settle, reservation);
        let Charged { usage, flags: charged, service_tier, unread, unreadable } =
            charged(settle, &call, &reservation.hold.consumption.usage)?;
        let at = reservation.granted_at;
        let tariff = self.rates.tariff_of(&call, service_tier.unwrap_or(reservation.service_tier), at);
        let latency = if charged.contains(Flags::UNCONFIRMED) { None } else { settle.report.latency() };
        let mut priced = tariff.price(&usage, 1, latency)?;
        if settle.usage.is_none() && settle.report.outcome == CallOutcome::Failed {
            // Not even the fee of a call: the provider did not serve it. That it was made is counted.
            priced.consumption.amounts = Amounts::default();
        }
        let period_at = self.catalogue.counted_at(reservation.held_at, now);
        let governing = self.catalogue.governing(&call, period_at)?;
        let not_counted = self.catalogue.not_counting(&call, period_at);
        let remarks = [
            (late, Flags::LATE),
            (true, charged),
            (reservation.learned.are_overrun_by(&priced.consumption), Flags::LEARNED_OVERRUN),
            (overruns(&priced.consumption, &reservation.hold.consumption, &governing)?, Flags::OVERRUN),
            (reservation.hold.flags.contains(Flags::CAPPED), Flags::CAPPED),
            (period_at != reservation.held_at, Flags::PERIOD_CLOSED),
        ];
        for (_, flag) in remarks.into_iter().filter(|(applies, _)| *applies) {
            priced.flags = priced.flags.with(flag);
        }

        let mut effects = Effects::default();
        if reservation.state == ReservationState::Open {
            self.give_back(reservation, &mut effects)?;
        }
        self.take_back_estimate(reservation, settle.transfer.sibling(), now, &mut effects)?;
        self.shift(&governing, &priced.consumption, Shift::Post(period_at), &mut effects)?;
        let requested = Some(self.named_before(&reservation.call).model).filter(|model| *model != call.model);
        effects.transfers.push(Transfer {
            id: settle.transfer,
            kind: TransferKind::Settlement,
            direction: Direction::Forward,
            call,
            requested_model: requested,
            priority: reservation.priority,
            priced,
            report: settle.report.clone(),
            occurred_at: at,
            recorded_at: now,
            period_at,
            reservation: Some(reservation.id),
            corrects: None,
        });
        let (state, ended_at) = if late {
            (reservation.state_at(now), reservation.ended_at.or(Some(reservation.expires_at)))
        } else {
            (ReservationState::Settled, Some(now))
        };
        let transfer = Some(settle.transfer);
        let hold = Priced { flags: reservation.hold.flags.without(Flags::EXPIRED), ..reservation.hold };
        effects.reservation = Some(Reservation { state, ended_at, transfer, hold, ..reservation.clone() });
        let posted = Posted {
            transfer: settle.transfer,
            reservation: Some(reservation.id),
            priced,
            hold: Some(reservation.hold),
            occurred_at: at,
            recorded_at: now,
            budgets: self.states(&seen_at(&governing, now)?, &effects),
            not_counted,
            unread,
            unreadable,
        };
        Ok((Outcome::Posted(Box::new(posted)), effects))
    }

    fn release(&self, release: &Release, now: DateTime<Utc>) -> Result<(Outcome, Effects), Refusal> {
        let reservation = self.own(release.reservation, release.tenant.as_ref())?;
        if !reservation.is_held(now) {
            return Err(ended(reservation, now));
        }
        let mut effects = Effects::default();
        self.give_back(reservation, &mut effects)?;
        effects.reservation =
            Some(Reservation { state: ReservationState::Released, ended_at: Some(now), ..reservation.clone() });
        Ok((Outcome::Released(Released { reservation: reservation.id, released_at: now }), effects))
    }

    /// A reservation that the caller may see. One that was granted in this very batch nobody can have heard of yet; and the
    /// counters of what such a caller says served it may not be at hand.
    fn own(&self, id: ReservationId, tenant: Option<&TenantId>) -> Result<&Reservation, Refusal> {
        let reservation = self.reservations.get(&id).filter(|_| !self.changes.granted.contains(&id));
        let reservation = reservation.ok_or(Refusal::UnknownReservation(id))?;
        match tenant {
            Some(tenant) if *tenant != reservation.call.tenant => Err(Refusal::UnknownReservation(id)),
            Some(_) | None => Ok(reservation),
        }
    }

    /// What the call was about as it was served. Another word for the model that was asked for leaves the call where it was
    /// held; a model that is really another one takes it to the budgets of that one.
    fn served(&self, settle: &Settle, reservation: &Reservation) -> Dimensions {
        let mut call = self.named_before(&reservation.call);
        call.region = settle.served_region.clone().or(call.region);
        let other = settle.served_provider.as_ref();
        if let Some(provider) = other.filter(|one| self.rates.prices.provider_name(one) != call.provider) {
            let model = settle.served_model.as_ref().unwrap_or_else(|| call.said_model()).clone();
            return self.rates.named(&Dimensions {
                provider: provider.clone(),
                model,
                spelling: Spelling::AsSaid,
                ..call
            });
        }
        let Some(served) = settle.served_model.as_ref().filter(|served| *served != call.said_model()) else {
            return call;
        };
        let model = self.rates.prices.model_name(call.said_provider(), served);
        if model != call.model {
            let (provider, said) = (call.provider.clone(), call.said_provider().clone());
            call = Dimensions { provider: said, model: served.clone(), spelling: Spelling::AsSaid, ..call };
            call.renamed(provider, model)
        } else if *served == model {
            call
        } else {
            call.served_as(served.clone())
        }
    }

    /// A call that was written down, by its names: those it was given, or was counted under since there are names.
    fn named_before(&self, call: &Dimensions) -> Dimensions {
        self.rates.named(&self.catalogue.spellings.named(call))
    }

    fn give_back(&self, reservation: &Reservation, effects: &mut Effects) -> Result<(), Refusal> {
        let governing = self.touched_by(reservation)?;
        self.shift(&governing, &reservation.hold.consumption, Shift::GiveBack(&reservation.learned), effects)?;
        Ok(())
    }

    /// Moves the counters that a consumption is counted in.
    fn shift(
        &self,
        governing: &[Governing],
        consumption: &Consumption,
        shift: Shift<'_>,
        effects: &mut Effects,
    ) -> Result<(), BadAmount> {
        for one in governing {
            let id = one.counter();
            let counter = self.counter(&id, effects);
            if let (Some(at), Some(_)) = (shift.opens_at(), one.budget.max_seconds) {
                let known = effects.opened.get(&id).or_else(|| self.opened.get(&id)).copied();
                effects.opened.insert(id.clone(), known.map_or(at, |known| known.min(at)));
            }
            let counter = match shift {
                Shift::Hold(learned, _) => counter.hold(learned.promise(&one.budget, consumption)?)?,
                Shift::GiveBack(learned) => counter.give_back(learned.promise(&one.budget, consumption)?)?,
                Shift::Post(_) => counter.post(one.budget.measure.saturating_of(consumption)),
                Shift::TakeBack => counter.take_back(one.budget.measure.saturating_of(consumption)),
            };
            effects.counters.insert(id, counter);
        }
        Ok(())
    }

    fn counter(&self, id: &CounterId, effects: &Effects) -> Counter {
        effects.counters.get(id).or_else(|| self.counters.get(id)).copied().unwrap_or_default()
    }

    fn standings(&self, governing: &[Governing], effects: &Effects) -> Vec<Standing> {
        let standing = |one: &Governing| {
            let mut slices: BTreeMap<Period, Counter> =
                one.window(&self.counters).map(|(period, counter)| (period, *counter)).collect();
            slices.extend(one.window(&effects.counters).map(|(period, counter)| (period, *counter)));
            let slices = slices.into_iter().collect();
            let opened_at = one.budget.max_seconds.and_then(|_| self.opened.get(&one.counter()).copied());
            Standing { opened_at, ..Standing::new(one.clone(), slices) }
        };
        governing.iter().map(standing).collect()
    }

    /// Lets one call a minute through to quotas that are closed by a guess, and says which it then probes. None where another
    /// one is closed by the provider's own word.
    fn probe(&self, standings: &mut [Standing], now: DateTime<Utc>) -> Vec<BudgetNumber> {
        let is_closed = |standing: &&mut Standing| standing.governing.closed_until.is_some_and(|until| until > now);
        let mut closed: Vec<&mut Standing> = standings.iter_mut().filter(is_closed).collect();
        let is_due = |standing: &&mut Standing| {
            let number = standing.governing.budget.number;
            let last = self.probes.get(&number).copied();
            self.catalogue.closure(number).is_some_and(|closure| closure.is_probed_at(now, last))
        };
        if !closed.iter().all(is_due) {
            return Vec::new();
        }
        for standing in &mut closed {
            standing.governing.closed_until = None;
        }
        closed.iter().map(|standing| standing.governing.budget.number).collect()
    }

    fn states(&self, governing: &[Governing], effects: &Effects) -> Vec<BudgetState> {
        let standings = self.standings(governing, effects);
        standings.iter().map(|standing| BudgetState::of(standing, standing.total)).collect()
    }
}

/// How a consumption moves a counter.
#[derive(Debug, Clone, Copy)]
enum Shift<'a> {
    /// By what was granted at an instant.
    Hold(&'a LearnedHolds, DateTime<Utc>),
    GiveBack(&'a LearnedHolds),
    /// By what counts at an instant.
    Post(DateTime<Utc>),
    TakeBack,
}

impl Shift<'_> {
    /// The instant since which a counter has been at work, by this. A run begins with what it does, not with a question.
    fn opens_at(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Hold(_, at) | Self::Post(at) => Some(at),
            Self::GiveBack(_) | Self::TakeBack => None,
        }
    }
}

/// The same counters, looked at from a later instant.
fn seen_at(governing: &[Governing], at: DateTime<Utc>) -> Result<Vec<Governing>, CalendarError> {
    governing.iter().map(|one| one.seen_at(at)).collect()
}

fn expiry(now: DateTime<Utc>, ttl_seconds: u32) -> Result<DateTime<Utc>, CalendarError> {
    now.checked_add_signed(TimeDelta::seconds(i64::from(ttl_seconds)))
        .ok_or(CalendarError::InstantOutOfRange { at: now })
}
