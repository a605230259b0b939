//! Secrets of endpoints, as they are kept.
//!
//! They are sealed before they come here and opened after they left: this room has no key. One that was written by an earlier
//! release may still stand in clear, until [`seal`] replaces it.

use std::fmt;

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::StoreError;
use crate::domain::alert::endpoint::WebhookKey;
use crate::wire::webhook::WebhookSecret;

/// A secret as it was sealed: this room cannot open it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// The id of the key that sealed it.
    pub by: String,
    /// What came of it.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedSecret(by {})", self.by)
    }
}

/// The secret of an endpoint, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptSecret {
    /// Sealed.
    Sealed(SealedSecret),
    /// Written by an earlier release, and not sealed yet.
    Clear(WebhookSecret),
}

/// Which of these endpoints have a secret that was sealed by another key than this one. Ask with the keys that a confined read
/// has found.
///
/// # Errors
/// When the database does not answer.
pub async fn sealed_by_others(
    connection: &mut PgConnection,
    ids: &[&str],
    key: &str,
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar("select id from webhooks where id = any($1) and sealed_by <> $2 order by id")
        .bind(ids)
        .bind(key)
        .fetch_all(connection)
        .await?)
}

/// How many endpoints that are sent to have a secret that was sealed by another key than this one.
///
/// # Errors
/// When the database does not answer.
pub async fn count_sealed_by_others(connection: &mut PgConnection, key: &str) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("select count(*) from webhooks where enabled and sealed_by <> $1")
        .bind(key)
        .fetch_one(connection)
        .await?)
}

/// The secret of a row with the columns `secret`, `sealed_by` and `sealed_secret`.
pub(super) fn kept_secret(row: &PgRow) -> Result<KeptSecret, StoreError> {
    let (by, bytes): (Option<String>, Option<Vec<u8>>) = (row.try_get("sealed_by")?, row.try_get("sealed_secret")?);
    Ok(match by.zip(bytes) {
        Some((by, bytes)) => KeptSecret::Sealed(SealedSecret { by, bytes }),
        None => KeptSecret::Clear(clear_secret(row.try_get("secret")?)?),
    })
}

fn clear_secret(text: &str) -> Result<WebhookSecret, StoreError> {
    WebhookSecret::parse(text).map_err(|_| StoreError::Row("secret".to_owned()))
}

/// Most secrets that are sealed in one transaction.
const SEALED_AT_ONCE: i64 = 100;

/// The secrets that stand in clear, a page of them, locked until the transaction ends. One that somebody else is at is left to
/// them.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn lock_clear_secrets(connection: &mut PgConnection) -> Result<Vec<(WebhookKey, WebhookSecret)>, StoreError> {
    let rows = sqlx::query(
        "select id, secret from webhooks where secret is not null order by id limit $1 for update skip locked",
    )
    .bind(SEALED_AT_ONCE)
    .fetch_all(connection)
    .await?;
    let secret = |row: &PgRow| Ok((WebhookKey::stored(row.try_get("id")?), clear_secret(row.try_get("secret")?)?));
    rows.iter().map(secret).collect()
}

/// Replaces a secret that stands in clear by the same, sealed.
///
/// # Errors
/// When the database does not answer.
pub async fn seal(connection: &mut PgConnection, id: &WebhookKey, secret: &SealedSecret) -> Result<(), StoreError> {
    sqlx::query("update webhooks set secret = null, sealed_secret = $2, sealed_by = $3 where id = $1")
        .bind(id.as_str())
        .bind(&secret.bytes)
        .bind(&secret.by)
        .execute(connection)
        .await?;
    Ok(())
}
