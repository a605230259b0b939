//! What a caller who is confined to a tenant sees of a budget that counts other tenants' calls too: what the verdict needs,
//! and nothing of how much is used. Here is the one place that decides it.
//!
//! | shown | kept back |
//! |---|---|
//! | which budget, what it counts, hard or soft, its period and its reset, until when its provider has closed it | `limit`, `posted`, `held`, `margin`, `headroom`, `overdrawn`, `exhausts_at` |
//! | that it is a reason, and which | the numbers in the reason's words |
//! | the verdict, the band, when to come back | `pace`, if it is the one that binds first |
//!
//! Headers are made of what is left. Deliberately absent: a verdict that does not depend on the others. Whoever asks for a
//! thousand tokens and is refused knows that there are no thousand.

use super::answer::{
    BudgetStateBody, ExtendedAnswer, PostedAnswer, PreflightAnswer, ReasonBody, detail_without_numbers,
};
use super::catalogue::BudgetNowBody;
use super::pace::PaceBody;
use crate::domain::budget::verdict::ReasonCode;

/// An answer that tells of budgets.
pub trait TellsOfBudgets {
    /// What it tells.
    fn told(&mut self) -> Told<'_>;

    /// Keeps back the volumes of budgets that are not the caller's own. `is_own` knows a budget by its id.
    fn keep_back(&mut self, is_own: impl Fn(&str) -> bool) {
        let Told { budgets, reasons, pace } = self.told();
        let mut hidden = Vec::new();
        for state in budgets.iter_mut().filter(|state| state.shared || !is_own(&state.budget)) {
            conceal(state);
            hidden.push(state.budget.as_str());
        }
        let is_hidden = |budget: &str| hidden.contains(&budget) || !is_own(budget);
        // What a budget counts by is no volume.
        for reason in reasons.iter_mut().filter(|reason| reason.code != ReasonCode::FieldMissing.name()) {
            if let Some(budget) = reason.budget.as_deref().filter(|budget| is_hidden(budget)) {
                let code = ReasonCode::ALL.into_iter().find(|code| code.name() == reason.code);
                reason.detail = code.map(|code| detail_without_numbers(code, budget)).unwrap_or_default();
            }
        }
        if let Some(pace) = pace
            && pace.as_ref().is_some_and(|pace| is_hidden(&pace.budget))
        {
            *pace = None;
        }
    }
}

/// The parts of an answer that tell of budgets.
#[derive(Debug)]
pub struct Told<'a> {
    budgets: &'a mut [BudgetStateBody],
    reasons: &'a mut [ReasonBody],
    pace: Option<&'a mut Option<PaceBody>>,
}

fn conceal(state: &mut BudgetStateBody) {
    state.shared = true;
    state.limit = None;
    state.posted = None;
    state.held = None;
    state.margin = None;
    state.headroom = None;
    state.overdrawn = None;
    state.exhausts_at = None;
}

impl TellsOfBudgets for PreflightAnswer {
    fn told(&mut self) -> Told<'_> {
        Told { budgets: &mut self.budgets, reasons: &mut self.reasons, pace: Some(&mut self.pace) }
    }
}

impl TellsOfBudgets for PostedAnswer {
    fn told(&mut self) -> Told<'_> {
        Told { budgets: &mut self.budgets, reasons: &mut [], pace: None }
    }
}

impl TellsOfBudgets for ExtendedAnswer {
    fn told(&mut self) -> Told<'_> {
        Told { budgets: &mut self.budgets, reasons: &mut self.reasons, pace: None }
    }
}

impl TellsOfBudgets for BudgetNowBody {
    fn told(&mut self) -> Told<'_> {
        Told { budgets: &mut self.counters, reasons: &mut [], pace: None }
    }
}
