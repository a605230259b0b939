//! Tenants and budgets: create, replace, archive.

use chrono::{DateTime, Utc};

use super::{App, AppError};
use crate::domain::budget::catalogue::BudgetNumber;
use crate::domain::calendar::Zone;
use crate::domain::id::{BudgetId, TenantId};
use crate::store::catalogue::{Written, change};
use crate::wire::FieldError;
use crate::wire::budget::{BudgetBody, BudgetRecord, TenantBody};

/// Longest name of a tenant, in bytes.
const TENANT_NAME_LENGTH_MAX: usize = 200;

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

impl App {
    /// Creates or replaces a tenant.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub async fn put_tenant(&self, id: &TenantId, body: &TenantBody) -> Result<Written, AppError> {
        if body.id.as_ref().is_some_and(|inner| *inner != id.as_str()) {
            return Err(FieldError::new("id", "differs from the id in the path").into());
        }
        let bad_name =
            |name: &String| name.trim().is_empty() || name.len() > TENANT_NAME_LENGTH_MAX || has_control(name);
        if body.name.as_ref().is_some_and(bad_name) {
            let detail = format!("must be 1 to {TENANT_NAME_LENGTH_MAX} bytes without control characters");
            return Err(FieldError::new("name", detail).into());
        }
        Zone::parse(&body.timezone).map_err(|error| FieldError::new("timezone", error))?;
        let mut connection = self.pool.acquire().await?;
        let mut change = change(&mut connection, self.clock.now()).await?;
        let written = change.put_tenant(id, body).await?;
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(written)
    }

    /// Archives a tenant.
    ///
    /// # Errors
    /// [`AppError::UnknownTenant`] when there is none.
    pub async fn archive_tenant(&self, id: &TenantId) -> Result<(), AppError> {
        let mut connection = self.pool.acquire().await?;
        let mut change = change(&mut connection, self.clock.now()).await?;
        if !change.archive_tenant(id).await? {
            return Err(AppError::UnknownTenant(id.clone()));
        }
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(())
    }

    /// Creates or replaces a budget, and says what is odd about it. One that is new knows what its period has used already. A
    /// caller that is confined to a tenant replaces that tenant's own only.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::IdTaken`] when the id is that of a budget out of the caller's reach.
    pub async fn put_budget(
        &self,
        id: &BudgetId,
        body: &BudgetBody,
        confined: Option<&TenantId>,
    ) -> Result<(Written, Vec<String>), AppError> {
        let unwritten = BudgetRecord { number: BudgetNumber(0), version: 0, counted_from: DateTime::<Utc>::UNIX_EPOCH };
        // Also of what another replica has just written: a budget that is replaced goes on counting from where it did.
        self.catch_up().await?;
        let known = self.snapshots.latest();
        let scope = body.scope.named(&known.rates.prices)?;
        let body = &BudgetBody { scope, ..body.clone() };
        body.to_budget(id.clone(), unwritten)?;
        let settled = body.settled(known.catalogue.budget(id).map(AsRef::as_ref), self.clock.now())?;
        let budget = settled.to_budget(id.clone(), unwritten)?;
        if let Some(tenant) = &budget.scope.tenant {
            self.know_tenant(tenant).await?;
        }
        let mut connection = self.pool.acquire().await?;
        let mut change = change(&mut connection, self.clock.now()).await?;
        if let (Some(own), Some(taken)) = (confined, change.budget_tenant(id).await?)
            && taken.as_ref() != Some(own)
        {
            return Err(AppError::IdTaken(id.clone()));
        }
        let written = change.put_budget(id, &settled).await?;
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok((written, self.budget_warnings(&budget, body)))
    }

    /// Archives a budget.
    ///
    /// # Errors
    /// [`AppError::UnknownBudget`] when there is none.
    pub async fn archive_budget(&self, id: &BudgetId) -> Result<(), AppError> {
        let mut connection = self.pool.acquire().await?;
        let mut change = change(&mut connection, self.clock.now()).await?;
        if !change.archive_budget(id).await? {
            return Err(AppError::UnknownBudget(id.clone()));
        }
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(())
    }
}
