//! The models that would do where the one asked does not. Never on the path of a call that is allowed.

use super::App;
use crate::domain::alternatives::{Asked, Headroom, alternatives};
use crate::domain::amounts::{Quantity, Tokens};
use crate::domain::budget::catalogue::Catalogue;
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::scope::CounterKey;
use crate::domain::id::BudgetId;
use crate::domain::ledger::command::Reserve;
use crate::domain::tariff::RateBooks;
use crate::domain::usage::Usage;
use crate::wire::answer::{AlternativeBody, PreflightAnswer, VerdictName};

impl App {
    /// The alternatives to a call, by the numbers of its answer; none where it is allowed.
    #[must_use]
    pub fn alternatives(&self, reserve: &Reserve, answer: &PreflightAnswer) -> Vec<AlternativeBody> {
        match answer.verdict {
            VerdictName::Allow => return Vec::new(),
            VerdictName::Cap | VerdictName::Wait | VerdictName::Stop => {}
        }
        let snapshot = self.snapshots.latest();
        let now = self.clock.now();
        let granted = granted(reserve, answer, &snapshot.rates);
        let headroom = headroom(answer, granted.as_ref(), &snapshot.catalogue);
        let asked = Asked {
            call: &reserve.call,
            usage: reserve.usage,
            service_tier: reserve.service_tier,
            priority: reserve.priority,
        };
        let found = alternatives(&asked, &snapshot.rates, &snapshot.catalogue, &headroom, now);
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

fn headroom(answer: &PreflightAnswer, granted: Option<&Consumption>, catalogue: &Catalogue) -> Headroom {
    let free = |state: &crate::wire::answer::BudgetStateBody| {
        let id = BudgetId::parse(&state.budget).ok()?;
        let own = match (granted, catalogue.budget(&id)) {
            (Some(granted), Some(budget)) => budget.measure.of(granted).ok()?,
            (None, _) | (_, None) => Quantity::ZERO,
        };
        let free = Quantity::new(state.headroom).ok()?.checked_add(own).ok()?;
        Some(((id, CounterKey::stored(&state.key)), free))
    };
    answer.budgets.iter().filter_map(free).collect()
}
