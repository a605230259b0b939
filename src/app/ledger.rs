//! The books, to be looked at. What a tenant's credential reads is what row-level security shows it.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{App, AppError};
use crate::domain::id::{TenantId, TransferId};
use crate::domain::ledger::transfer::Transfer;
pub use crate::store::balance::{CountersBalance, Pair, RollupBalance, TrialBalance};
pub use crate::store::comparing::Part;
use crate::store::{balance, ledger};
use crate::wire::ledger::{AccountBody, TransfersQuery};

impl App {
    /// A page of the journal, of one tenant or of all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn transfers(
        &self,
        tenant: Option<&TenantId>,
        query: &TransfersQuery,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Transfer>, AppError> {
        let served = self.spellings(query.provider.as_deref(), query.model.as_deref())?;
        let mut transaction = self.begin_read(tenant).await?;
        let found = ledger::transfers(&mut transaction, query, &served, after, limit).await?;
        transaction.commit().await?;
        Ok(found)
    }

    /// One journal row, if it is there and, for a confined credential, the tenant's own.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn transfer(&self, tenant: Option<&TenantId>, id: TransferId) -> Result<Option<Transfer>, AppError> {
        let mut transaction = self.begin_read(tenant).await?;
        let found = ledger::transfer(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(found.filter(|transfer| tenant.is_none_or(|tenant| *tenant == transfer.call.tenant)))
    }

    /// A page of accounts by name. For a tenant: what its calls moved.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn accounts(
        &self,
        tenant: Option<&TenantId>,
        as_of: DateTime<Utc>,
        prefix: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<AccountBody>, AppError> {
        let mut transaction = self.begin_read(tenant).await?;
        let found = ledger::accounts(&mut transaction, as_of, prefix, after, limit).await?;
        transaction.commit().await?;
        Ok(found)
    }

    /// The trial balance of a part of the books, in one snapshot. The sides of each unit are as of an instant of recording. For a
    /// tenant: of what its calls moved, and of the counters that count its calls alone.
    ///
    /// # Errors
    /// When the database does not answer, or a sum cannot be read.
    pub async fn trial_balance(&self, part: &Part, as_of: DateTime<Utc>) -> Result<TrialBalance, AppError> {
        let mut read = self.begin_consistent_read(part.tenant.as_ref()).await?;
        let found = balance::trial_balance(&mut read, part, Some(as_of), self.clock.now()).await?;
        read.commit().await?;
        Ok(found)
    }
}
