//! Secrets of webhooks: sealed on their way into the store, opened on their way to a signature.

use super::super::{App, AppError};
use crate::auth::SealKey;
use crate::auth::seal::{SealError, Sealed};
use crate::domain::alert::endpoint::WebhookKey;
use crate::store::webhook_secrets::{self as sql, KeptSecret, SealedSecret};
use crate::wire::webhook::WebhookSecret;

/// A secret as the store takes it.
///
/// # Errors
/// [`AppError::NoRandomness`].
pub(super) fn sealed(key: &SealKey, webhook: &WebhookKey, secret: &WebhookSecret) -> Result<SealedSecret, AppError> {
    let sealed = key.seal(webhook.as_str(), secret.bytes());
    let Sealed { by, bytes } = sealed.map_err(|_| AppError::NoRandomness)?;
    Ok(SealedSecret { by, bytes })
}

/// A secret as it signs.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn opened(key: &SealKey, webhook: &WebhookKey, kept: &KeptSecret) -> Result<WebhookSecret, SealError> {
    match kept {
        KeptSecret::Clear(secret) => Ok(secret.clone()),
        KeptSecret::Sealed(SealedSecret { by, bytes }) => {
            let secret = key.open(webhook.as_str(), &Sealed { by: by.clone(), bytes: bytes.clone() })?;
            WebhookSecret::from_bytes(secret).map_err(|_| SealError::Broken)
        }
    }
}

impl App {
    /// Seals the secrets that an earlier release wrote in clear, and says how many those were.
    ///
    /// # Errors
    /// When the database does not answer, or the machine gives no random bytes.
    pub async fn seal_secrets(&self) -> Result<usize, AppError> {
        let mut count = 0_usize;
        loop {
            let mut transaction = self.pool.begin().await?;
            let page = sql::lock_clear_secrets(&mut transaction).await?;
            if page.is_empty() {
                return Ok(count);
            }
            for (webhook, secret) in &page {
                sql::seal(&mut transaction, webhook, &sealed(&self.seals, webhook, secret)?).await?;
            }
            transaction.commit().await?;
            count = count.saturating_add(page.len());
        }
    }

    /// How many endpoints wait for a replica with another key than this one's: nothing is sent to them from here.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn count_secrets_of_others(&self) -> Result<i64, AppError> {
        let mut connection = self.pool.acquire().await?;
        Ok(sql::count_sealed_by_others(&mut connection, self.seals.id()).await?)
    }
}
