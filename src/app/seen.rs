//! What a caller who is confined to a tenant sees of budgets, and how it names them: [`crate::wire::view`] says what is shown,
//! the catalogue says whose a budget is.
//!
//! Budgets that a tenant writes are in its own space: what `acme` calls `daily` is kept as `acme:daily`, whatever others call
//! so. The platform reads and writes ids as they are kept. Budgets that the platform makes for a tenant, and those from before
//! there were spaces, have plain ids: the tenant names them as they are, or `:daily` where it has a `daily` itself.

use super::{App, AppError};
use crate::domain::id::{BudgetId, NamedBudget, TenantId};
use crate::store::catalogue_reads::budgets_of;
use crate::wire::required;
use crate::wire::view::{NamesBudgets, Reader, TellsOfBudgets};

impl App {
    /// Keeps back what is not a caller's to see, who is confined to a tenant; nothing from the platform's own. And names
    /// budgets as the caller does.
    ///
    /// An answer that was given before may tell of budgets as they were: one that is gone, or was made shared since, is not
    /// the caller's own either.
    pub fn show(&self, confined: Option<&TenantId>, answer: &mut (impl TellsOfBudgets + NamesBudgets)) {
        let Some(tenant) = confined else { return };
        let catalogue = self.snapshots.latest().catalogue;
        answer.keep_back(|id| {
            let budget = BudgetId::parse(id).ok().and_then(|id| catalogue.budget(&id).cloned());
            budget.is_some_and(|budget| {
                budget.is_within_tenant() && budget.scope.tenant.as_ref().is_none_or(|own| own == tenant)
            })
        });
        self.show_names(confined, answer);
    }

    /// Names budgets as a caller does who is confined to a tenant; for the platform as they are kept.
    pub fn show_names(&self, confined: Option<&TenantId>, answer: &mut impl NamesBudgets) {
        let Some(tenant) = confined else { return };
        let catalogue = self.snapshots.latest().catalogue;
        let seen = |id: &BudgetId| id.as_seen_by(tenant, |id| catalogue.budget(id).is_some());
        answer.name_budgets(&Reader::new(&seen));
    }

    /// The budget that a caller names, to be read. Where a confined caller has none of that name it is the platform's, which
    /// its reads do not find unless it is the caller's own.
    ///
    /// # Errors
    /// Names the field if it is no id.
    pub async fn budget_named(
        &self,
        field: &str,
        text: &str,
        confined: Option<&TenantId>,
    ) -> Result<BudgetId, AppError> {
        let Some(tenant) = confined else { return Ok(required(field, text)?) };
        let named: NamedBudget = required(field, text)?;
        let found = self.find_named(std::slice::from_ref(&named), tenant).await?;
        let (NamedBudget::OfTenant(plain) | NamedBudget::OfPlatform(plain)) = named;
        Ok(found.into_iter().next().flatten().unwrap_or(plain))
    }

    /// The budgets that a caller names, to be written: where a confined caller has none of a name it is to be made in the
    /// caller's own space.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn budgets_to_write(
        &self,
        named: Vec<NamedBudget>,
        tenant: &TenantId,
    ) -> Result<Vec<BudgetId>, AppError> {
        let found = self.find_named(&named, tenant).await?;
        let id = |(named, found): (NamedBudget, Option<BudgetId>)| match (found, named) {
            (Some(found), _) => found,
            (None, NamedBudget::OfTenant(name)) => BudgetId::in_space(tenant, &name),
            (None, NamedBudget::OfPlatform(plain)) => plain,
        };
        Ok(named.into_iter().zip(found).map(id).collect())
    }

    /// The budgets of a tenant by the names it gives them, as far as there are: first those that are not archived, and of
    /// these those in its own space. In that order ids are shown, too.
    async fn find_named(&self, named: &[NamedBudget], tenant: &TenantId) -> Result<Vec<Option<BudgetId>>, AppError> {
        let choices = |named: &NamedBudget| match named {
            NamedBudget::OfTenant(name) => vec![BudgetId::in_space(tenant, name), name.clone()],
            NamedBudget::OfPlatform(plain) => vec![plain.clone()],
        };
        let choices: Vec<Vec<BudgetId>> = named.iter().map(choices).collect();
        let mut read = self.begin_read(Some(tenant)).await?;
        let there = budgets_of(&mut read, tenant, &choices.concat()).await?;
        read.commit().await?;
        let is = |id: &&BudgetId, archived: bool| there.get(*id) == Some(&archived);
        let find = |choices: Vec<BudgetId>| {
            let first = |archived| choices.iter().find(|id| is(id, archived)).cloned();
            first(false).or_else(|| first(true))
        };
        Ok(choices.into_iter().map(find).collect())
    }
}
