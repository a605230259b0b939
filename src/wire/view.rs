//! What a caller who is confined to a tenant sees of a budget that counts other tenants' calls too: what the verdict needs,
//! and nothing of how much is used. Here is the one place that decides it.
//!
//! | shown | kept back |
//! |---|---|
//! | which budget, what it counts, hard or soft, its period and its reset, until when its provider has closed it | `limit`, `posted`, `held`, `margin`, `headroom`, `overdrawn`, `exhausts_at` |
//! | that it is a reason, and which | the numbers in the reason's words |
//! | the verdict, the band, when to come back | `pace`, if it is the one that binds first |
//!
//! Headers are made of what is left. And it reads the ids of budgets as it writes them: its own by their names alone, without the
//! space they are kept in ([`NamesBudgets`]).
//!
//! Deliberately absent: a verdict that does not depend on the others. Whoever asks for a
//! thousand tokens and is refused knows that there are no thousand.

use super::alert::EventBody;
use super::answer::{
    BudgetStateBody, ExtendedAnswer, PostedAnswer, PreflightAnswer, ReasonBody, detail_without_numbers,
};
use super::catalogue::{BudgetNowBody, BudgetRow, BudgetVersionBody};
use super::coverage::NotCountedBody;
use super::pace::PaceBody;
use super::projection::answer::{ProjectionBody, ProjectionList, SummaryBody};
use super::projection::what_if::WhatIfAnswer;
use super::run::RunBody;
use super::signal::{SignalAnswer, SignalRow};
use super::verdict::RefusalBody;
use crate::domain::budget::verdict::ReasonCode;
use crate::domain::id::BudgetId;

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

/// How one caller reads the ids of budgets.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a dyn Fn(&BudgetId) -> String);

impl<'a> Reader<'a> {
    /// Who reads an id as `seen` says.
    #[must_use]
    pub const fn new(seen: &'a dyn Fn(&BudgetId) -> String) -> Self {
        Self(seen)
    }

    /// The id as it is read. What is no id stays.
    fn id(&self, id: &mut String) {
        if let Ok(kept) = BudgetId::parse(id) {
            *id = (self.0)(&kept);
        }
    }

    /// The id, and words about that budget. An id with a space is no word of any text; one without stays in words as it is.
    fn id_in(&self, id: &mut String, texts: &mut [&mut String]) {
        if let Ok(kept) = BudgetId::parse(id) {
            let seen = (self.0)(&kept);
            for text in texts.iter_mut().filter(|_| kept.space().is_some()) {
                **text = text.replace(kept.as_str(), &seen);
            }
            *id = seen;
        }
    }
}

/// An answer that names budgets.
pub trait NamesBudgets {
    /// Writes each id as the reader reads it.
    fn name_budgets(&mut self, reader: &Reader<'_>);
}

impl<T: NamesBudgets> NamesBudgets for Vec<T> {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.iter_mut().for_each(|one| one.name_budgets(reader));
    }
}

impl NamesBudgets for BudgetStateBody {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        reader.id(&mut self.budget);
    }
}

impl NamesBudgets for NotCountedBody {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        reader.id(&mut self.budget);
    }
}

impl NamesBudgets for ReasonBody {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        if let Some(budget) = &mut self.budget {
            reader.id_in(budget, &mut [&mut self.detail]);
        }
    }
}

impl NamesBudgets for PreflightAnswer {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.budgets.name_budgets(reader);
        self.reasons.name_budgets(reader);
        self.not_counted.name_budgets(reader);
        if let Some(pace) = &mut self.pace {
            reader.id(&mut pace.budget);
        }
    }
}

impl NamesBudgets for PostedAnswer {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.budgets.name_budgets(reader);
        self.not_counted.name_budgets(reader);
    }
}

impl NamesBudgets for ExtendedAnswer {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.budgets.name_budgets(reader);
        self.reasons.name_budgets(reader);
    }
}

impl NamesBudgets for RefusalBody {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        if let Some(budget) = &mut self.budget {
            reader.id(budget);
        }
        self.answer.name_budgets(reader);
    }
}

impl TellsOfBudgets for RefusalBody {
    fn told(&mut self) -> Told<'_> {
        self.answer.told()
    }
}

impl NamesBudgets for BudgetRow {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        if let Some(id) = &mut self.definition.id {
            reader.id(id);
        }
    }
}

impl NamesBudgets for BudgetVersionBody {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        if let Some(id) = &mut self.definition.id {
            reader.id(id);
        }
    }
}

impl NamesBudgets for BudgetNowBody {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.budget.name_budgets(reader);
        self.counters.name_budgets(reader);
    }
}

impl NamesBudgets for SummaryBody {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        reader.id(&mut self.budget);
    }
}

impl NamesBudgets for ProjectionBody {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.summary.name_budgets(reader);
    }
}

impl NamesBudgets for ProjectionList {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.items.name_budgets(reader);
    }
}

impl NamesBudgets for WhatIfAnswer {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.as_is.name_budgets(reader);
        self.what_if.name_budgets(reader);
    }
}

impl NamesBudgets for EventBody {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        if let Some(budget) = &mut self.budget {
            let mut texts = vec![&mut self.message, &mut self.advice];
            texts.extend(self.links.values_mut());
            reader.id_in(budget, &mut texts);
        }
    }
}

impl NamesBudgets for RunBody {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.budgets.iter_mut().for_each(|one| one.state.name_budgets(reader));
    }
}

impl NamesBudgets for SignalAnswer {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.closed.iter_mut().for_each(|closed| reader.id(&mut closed.budget));
        self.reopened.iter_mut().for_each(|id| reader.id(id));
    }
}

impl NamesBudgets for SignalRow {
    fn name_budgets(&mut self, reader: &Reader<'_>) {
        self.budgets.iter_mut().for_each(|id| reader.id(id));
    }
}
