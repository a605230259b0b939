//! Tokens signed with the local key: what `counterfoil token` prints.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::claims::MintedClaims;
use super::{Caller, LocalKey, TokenRules};

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// A token that was never good, or for ever.
    #[error("a token lives at least one second and at most {max_days} days, not {seconds} seconds")]
    Lifetime {
        /// What was asked.
        seconds: i64,
        /// The most, in days.
        max_days: i64,
    },
    /// The rules name no issuer to sign as.
    #[error("no issuer is configured to mint tokens for")]
    NoIssuer,
    /// The library refused.
    #[error("the token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Longest life of a minted token, in days. Who needs more rotates.
pub const TOKEN_DAYS_MAX: i64 = 366;

/// A token that makes its bearer this caller, from `now` for `ttl`. The issuer is the first of the rules.
///
/// # Errors
/// If the lifetime is out of bounds or the rules name no issuer.
pub fn mint(
    local: &LocalKey,
    rules: &TokenRules,
    caller: &Caller,
    now: DateTime<Utc>,
    ttl: TimeDelta,
) -> Result<String, MintError> {
    let seconds = ttl.num_seconds();
    if seconds < 1 || ttl.num_days() > TOKEN_DAYS_MAX {
        return Err(MintError::Lifetime { seconds, max_days: TOKEN_DAYS_MAX });
    }
    let iat = now.timestamp();
    let claims = MintedClaims {
        iss: rules.issuers.first().ok_or(MintError::NoIssuer)?,
        sub: &caller.subject,
        aud: &rules.audience,
        iat,
        nbf: iat,
        exp: iat.saturating_add(seconds),
        scope: caller.scopes.to_string(),
        tenant: caller.tenant.as_ref().map(crate::domain::id::TenantId::as_str),
    };
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(local.id());
    Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(local.secret()))?)
}
