//! Warnings: what somebody who writes a budget may not have meant, though it is valid.

use super::App;
use crate::domain::budget::catalogue::Budget;
use crate::domain::budget::scope::ModelScope;
use crate::domain::price::ServiceTier;
use crate::wire::budget::BudgetBody;

impl App {
    /// What is odd about a budget: names that nothing is known under, so that maybe no call ever matches, and a default that
    /// makes it count otherwise than it reads. `body` is the document as it was sent.
    #[must_use]
    pub fn budget_warnings(&self, budget: &Budget, body: &BudgetBody) -> Vec<String> {
        let known = self.snapshots.latest();
        let scope = &budget.scope;
        let mut warnings = Vec::new();
        for tenant in scope.tenants.iter().filter(|tenant| known.catalogue.tenant(tenant).is_none()) {
            warnings.push(format!("scope.tenants names `{tenant}`, and there is no such tenant yet"));
        }
        if let Some(provider) = &scope.provider {
            let now = self.clock.now();
            if !known.rates.prices.knows_provider(provider) {
                warnings.push(format!(
                    "scope.provider is `{provider}`, of which no price is known: is it spelled so in calls?"
                ));
            } else if let Some(model) = scope.model.as_ref().and_then(ModelScope::one)
                && !known.rates.tariff(provider, model, ServiceTier::Standard, None, now).is_priced()
            {
                warnings.push(format!(
                    "scope.model is `{model}`, of which provider `{provider}` has no price: is it spelled so in calls?"
                ));
            }
        }
        if body.each.is_none() && budget.each.is_some() {
            let detail = "scope names only what callers choose, so that the budget is counted for each tenant apart: name \
                scope.tenants or say \"shared\": true for one counter";
            warnings.push(detail.to_owned());
        }
        warnings
    }
}
