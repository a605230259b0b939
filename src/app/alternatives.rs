//! The models that would do where the one asked does not. Never on the path of a call that is allowed.

use chrono::{DateTime, Utc};

use super::App;
use crate::domain::alternatives::{Asked, Headroom, Known, alternatives};
use crate::domain::amounts::{Quantity, Tokens};
use crate::domain::budget::catalogue::{Catalogue, HoldRule};
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::scope::CounterKey;
use crate::domain::budget::verdict::ReasonCode;
use crate::domain::id::BudgetId;
use crate::domain::ledger::command::Reserve;
use crate::domain::tariff::RateBooks;
use crate::domain::usage::Usage;
use crate::wire::answer::{AlternativeBody, BudgetStateBody, PreflightAnswer, VerdictName};

impl App {
    /// The alternatives to a call, by the numbers of its answer; none where it is allowed.
    #[must_use]
    pub fn alternatives(&self, reserve: &Reserve, answer: &PreflightAnswer) -> Vec<AlternativeBody> {
        match answer.verdict {
            VerdictName::Allow => return Vec::new(),
            VerdictName::Cap | VerdictName::Wait | VerdictName::Stop => {}
        }
        // A run whose time is over has it over with every model, and the time is not among the numbers of the answer.
        if answer.reasons.iter().any(|reason| reason.code == ReasonCode::RunTimeOver.name()) {
            return Vec::new();
        }
        let snapshot = self.snapshots.latest();
        let (lessons, paces) = (self.snapshots.lessons(), self.snapshots.paces());
        let now = self.clock.now();
        let granted = granted(reserve, answer, &snapshot.rates);
        let headroom = headroom(answer, granted.as_ref(), &snapshot.catalogue, now);
        let asked = Asked {
            call: &reserve.call,
            usage: reserve.usage,
            service_tier: reserve.service_tier,
            priority: reserve.priority,
        };
        let known = Known {
            books: &snapshot.rates,
            catalogue: &snapshot.catalogue,
            lessons: &lessons,
            paces: &paces,
            headroom: &headroom,
        };
        let found = alternatives(&asked, &known, now);
        let body = |one: crate::domain::alternatives::Alternative| AlternativeBody {
            provider: one.provider.to_string(),
            model: one.model.to_string(),
            usd: one.usd.decimal().normalize(),
            gco2e: one.gco2e.decimal().normalize(),
        };
        found.into_iter().map(body).collect()
    }
}

/// What this call itself holds: a caller who takes an alternative gives it back.
fn granted(reserve: &Reserve, answer: &PreflightAnswer, rates: &RateBooks) -> Option<Consumption> {
    answer.reservation?;
    let call = &reserve.call;
    let at = answer.granted_at?;
    let tariff = rates.tariff(&call.provider, &call.model, reserve.service_tier, call.region.as_ref(), at);
    let usage = Usage { output: Tokens::new(answer.max_output?).ok()?, ..reserve.usage };
    tariff.price(&usage, 1, None).ok().map(|priced| priced.consumption)
}

/// What is free of each counter that the answer shows, and that is still open: an answer may be told again much later.
fn headroom(
    answer: &PreflightAnswer,
    granted: Option<&Consumption>,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Headroom {
    let free = |state: &BudgetStateBody| {
        let id = BudgetId::parse(&state.budget).ok()?;
        let own = match (granted, catalogue.budget(&id)) {
            // What a learned rule holds of it is not in the answer: then nothing is taken to come back.
            (Some(granted), Some(budget)) if budget.reserve == HoldRule::Max => budget.measure.of(granted).ok()?,
            (Some(_) | None, Some(_) | None) => Quantity::ZERO,
        };
        let free = Quantity::new(state.headroom?).ok()?.checked_add(own).ok()?;
        Some(((id, CounterKey::stored(&state.key)), free))
    };
    let open = |state: &&BudgetStateBody| state.resets_at.is_none_or(|end| now < end);
    answer.budgets.iter().filter(open).filter_map(free).collect()
}
