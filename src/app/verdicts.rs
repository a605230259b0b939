//! What was refused, and why.

use super::{App, AppError};
use crate::domain::id::TenantId;
pub use crate::store::verdicts::After;
use crate::store::verdicts::{self, Listed};
use crate::wire::verdict::{RefusalBody, RefusalId, VerdictsQuery};

impl App {
    /// A page of refusals, newest first, of one tenant or of all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn refusals(
        &self,
        tenant: Option<&TenantId>,
        query: &VerdictsQuery,
        after: Option<&After>,
        limit: i64,
    ) -> Result<Vec<Listed>, AppError> {
        let mut transaction = self.begin_read(tenant).await?;
        let found = verdicts::list(&mut transaction, query, after, limit).await?;
        transaction.commit().await?;
        Ok(found)
    }

    /// One refusal, if it is there and, for a confined credential, the tenant's own.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn refusal(&self, tenant: Option<&TenantId>, id: &RefusalId) -> Result<Option<RefusalBody>, AppError> {
        let mut transaction = self.begin_read(tenant).await?;
        let found = verdicts::get(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(found.filter(|refusal| tenant.is_none_or(|tenant| tenant.as_str() == refusal.tenant)))
    }
}
