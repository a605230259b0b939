//! A world to try commands in: a catalogue, a store in memory that works as a lane does, and a clock moved by hand.
//!
//! After every batch the world recounts itself: each counter is what the journal and the open reservations say, each
//! reservation ended at most once, and what was granted fits every hard budget.

mod adjusting;
mod differential;
mod ends;
mod extending;
mod learned;
mod model;
mod names;
mod pains;
mod reserving;
mod restating;
mod store;
mod usage;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::books::Books;
use super::call_bound::CallBound;
use super::command::{
    Action, Adjust, Adjustment, Command, Extend, Idempotency, KeySpace, PostUsage, Release, ReportedUsage, Reserve,
    Settle,
};
use super::outcome::{Answer, Extended, FirstAnswer, Outcome, Posted, Refusal, Ruled};
use super::reservation::{Reservation, ReservationState};
use super::transfer::{CallOutcome, CallReport, Direction, Transfer};
use crate::domain::amounts::{Amounts, Grams, Tokens, Usd};
use crate::domain::budget::catalogue::{Catalogue, Priority};
use crate::domain::budget::measure::Consumption;
use crate::domain::fixtures::{at, call, catalogue, quantity, rates, tokens, usage};
use crate::domain::id::{FeatureId, ReservationId, TenantId, TransferId};
use crate::domain::learned::lesson::Lessons;
use crate::domain::price::ServiceTier;
use crate::domain::tariff::{Flags, RateBooks};
use store::Store;

fn reservation_id(number: u128) -> ReservationId {
    ReservationId(Uuid::from_u128(number))
}

fn transfer_id(number: u128) -> TransferId {
    TransferId(Uuid::from_u128(number))
}

/// A pre-flight of a call, with an input and the most it may generate. Two minutes, standard, no cap.
fn reserve(number: u128, text: &str, input: u64, output: u64) -> Reserve {
    Reserve {
        id: reservation_id(number),
        call: call(text),
        priority: Priority::Standard,
        service_tier: ServiceTier::Standard,
        usage: usage([input, 0, 0, 0, output, 0]),
        min_output: tokens(1),
        allow_cap: false,
        hold: true,
        ttl_seconds: 120,
    }
}

fn report(outcome: CallOutcome) -> CallReport {
    CallReport { outcome, latency_ms: None, provider_request_id: None, provider_usd: None }
}

fn used(input: u64, output: u64) -> ReportedUsage {
    ReportedUsage::Buckets(usage([input, 0, 0, 0, output, 0]))
}

/// The transfer gets the number of the reservation, plus 1,000.
fn settle(number: u128, used: Option<ReportedUsage>, outcome: CallOutcome) -> Settle {
    Settle {
        reservation: reservation_id(number),
        tenant: None,
        transfer: transfer_id(number.checked_add(1_000).unwrap()),
        usage: used,
        is_partial: None,
        served_model: None,
        served_region: None,
        served_provider: None,
        service_tier: None,
        is_strict: false,
        report: report(outcome),
    }
}

fn release(number: u128) -> Release {
    Release { reservation: reservation_id(number), tenant: None }
}

fn extend(number: u128, ttl_seconds: u32, more_output: u64) -> Extend {
    let (reservation, more_output) = (reservation_id(number), tokens(more_output));
    Extend { reservation, tenant: None, ttl_seconds, more_output, bound: CallBound::default() }
}

fn post(number: u128, text: &str, input: u64, output: u64) -> PostUsage {
    PostUsage {
        transfer: transfer_id(number),
        call: call(text),
        requested_model: None,
        priority: Priority::Standard,
        service_tier: None,
        requests: 1,
        usage: used(input, output),
        is_partial: None,
        report: report(CallOutcome::Completed),
        occurred_at: None,
    }
}

fn plain(action: Action) -> Command {
    Command { action, idempotency: None }
}

fn keyed(key: &str, body: u8, action: Action) -> Command {
    let idempotency = Idempotency { space: KeySpace(None), key: key.parse().unwrap(), fingerprint: [body; 32] };
    Command { action, idempotency: Some(idempotency) }
}

struct World {
    catalogue: Arc<Catalogue>,
    rates: Arc<RateBooks>,
    lessons: Arc<Lessons>,
    store: Store,
    now: DateTime<Utc>,
}

impl World {
    /// At noon of the first day of 2026, UTC.
    fn new(text: &str) -> Self {
        let now = at("2026-01-01T12:00:00Z");
        Self { catalogue: catalogue(text), rates: rates(), lessons: Arc::default(), store: Store::default(), now }
    }

    /// Tenant `acme`, and these budgets.
    fn with(budgets: &str) -> Self {
        Self::new(&format!("tenant acme Etc/UTC\n{budgets}"))
    }

    fn advance(&mut self, seconds: i64) {
        self.now = self.now.checked_add_signed(TimeDelta::seconds(seconds)).unwrap();
    }

    /// Replaces tenants and budgets. Their counters are recounted, as the store does it.
    fn change(&mut self, text: &str) {
        self.catalogue = catalogue(text);
        self.store.recount(&self.catalogue);
    }

    /// Closes all periods before an instant.
    fn close(&mut self, until: DateTime<Utc>) {
        Arc::make_mut(&mut self.catalogue).closed_until = Some(until);
    }

    #[track_caller]
    fn batch(&mut self, commands: &[Command]) -> Vec<Answer> {
        self.store.batch(&self.catalogue, &self.rates, &self.lessons, commands, self.now)
    }

    #[track_caller]
    fn answer(&mut self, command: Command) -> Answer {
        self.batch(&[command]).pop().unwrap()
    }

    #[track_caller]
    fn reserve(&mut self, reserve: Reserve) -> Ruled {
        ruled(self.answer(plain(Action::Reserve(Box::new(reserve)))))
    }

    /// A reservation that must be granted.
    #[track_caller]
    fn grant(&mut self, number: u128, text: &str, input: u64, output: u64) {
        let ruled = self.reserve(reserve(number, text, input, output));
        assert!(ruled.granted.is_some(), "{:?}", ruled.ruling);
    }

    #[track_caller]
    fn settle(&mut self, settle: Settle) -> Result<Posted, Refusal> {
        self.answer(plain(Action::Settle(Box::new(settle)))).map(posted)
    }

    #[track_caller]
    fn release(&mut self, release: Release) -> Result<(), Refusal> {
        self.answer(plain(Action::Release(release))).map(drop)
    }

    #[track_caller]
    fn extend(&mut self, extend: Extend) -> Result<Extended, Refusal> {
        self.answer(plain(Action::Extend(extend))).map(extended)
    }

    #[track_caller]
    fn post(&mut self, post: PostUsage) -> Result<Posted, Refusal> {
        self.answer(plain(Action::PostUsage(Box::new(post)))).map(posted)
    }

    /// Writes down what has expired, as an empty batch does.
    fn sweep(&mut self) {
        assert!(self.batch(&[]).is_empty());
    }

    fn reservation(&self, number: u128) -> &Reservation {
        &self.store.reservations[&reservation_id(number)]
    }

    fn transfer(&self) -> &Transfer {
        self.store.transfers.last().unwrap()
    }

    /// The counters of a budget that are not zero, by key and start: `posted+held`, separated by spaces.
    fn counters(&self, budget: &str) -> String {
        self.store.counters(&self.catalogue, budget)
    }
}

#[track_caller]
fn ruled(answer: Answer) -> Ruled {
    match answer {
        Ok(Outcome::Ruled(ruled)) => *ruled,
        other => panic!("not a verdict: {other:?}"),
    }
}

/// Until when something is said again: what was done for ever, `stop` until its reset if it has one, the rest never.
fn said_again_until(action: &Action, said: &str) -> i64 {
    let mut words = said.trim_start_matches("extended ").split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("stop"), Some("until"), Some(reset)) => reset.parse().unwrap(),
        // Without a reset nothing says how long it holds.
        (Some("wait" | "stop"), ..) => i64::MIN,
        (Some("allow" | "cap"), ..) if matches!(action, Action::Reserve(reserve) if !reserve.hold) => i64::MIN,
        _ => i64::MAX,
    }
}

/// The answer that is repeated.
#[track_caller]
fn first(answer: &Answer) -> &Outcome {
    match answer {
        Ok(Outcome::Repeated(FirstAnswer::Fresh(first))) => first,
        other => panic!("not repeated: {other:?}"),
    }
}

#[track_caller]
fn posted(outcome: Outcome) -> Posted {
    let Outcome::Posted(posted) = outcome else { panic!("not posted: {outcome:?}") };
    *posted
}

#[track_caller]
fn extended(outcome: Outcome) -> Extended {
    let Outcome::Extended(extended) = outcome else { panic!("not an extension: {outcome:?}") };
    *extended
}

fn flags(posted: &Posted) -> String {
    posted.priced.flags.names().collect::<Vec<_>>().join(" ")
}
