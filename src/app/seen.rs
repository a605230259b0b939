//! What a caller sees of an answer: [`crate::wire::view`] says what, the catalogue says whose a budget is.

use super::App;
use crate::domain::id::{BudgetId, TenantId};
use crate::wire::view::TellsOfBudgets;

impl App {
    /// Keeps back what is not a caller's to see, who is confined to a tenant; nothing from the platform's own.
    ///
    /// An answer that was given before may tell of budgets as they were: one that is gone, or was made shared since, is not
    /// the caller's own either.
    pub fn show(&self, confined: Option<&TenantId>, answer: &mut impl TellsOfBudgets) {
        let Some(tenant) = confined else { return };
        let catalogue = self.snapshots.latest().catalogue;
        answer.keep_back(|id| {
            let budget = BudgetId::parse(id).ok().and_then(|id| catalogue.budget(&id).cloned());
            budget.is_some_and(|budget| {
                budget.is_within_tenant() && budget.scope.tenant.as_ref().is_none_or(|own| own == tenant)
            })
        });
    }
}
