//! A bearer token becomes a [`Caller`], or a reason why not.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | bound | a token longer than [`TOKEN_BYTES_MAX`] is not looked at |
//! | 2 | recall | a token seen before is found by its SHA-256; only its times are checked again |
//! | 3 | header | `kid` names a trusted key, `alg` is that key's algorithm, `crit` is absent |
//! | 4 | signature | checked with that key and that algorithm |
//! | 5 | claims | `iss`, `aud`, `sub`, `exp` are there and right; `nbf` is honoured; `scope`, `tenant` are read |
//!
//! The order is the order of precedence of [`AuthError`]. The memory holds only verified tokens, is bounded, and is emptied
//! when the keys change: it can make an answer faster, never different.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use sha2::{Digest as _, Sha256};

use super::claims::BearerClaims;
use super::jwks::{TrustedKey, TrustedKeys};
use super::{
    Caller, KEY_ID_BYTES_MAX, LOCAL_KEY_ID_PREFIX, Scope, ScopeSet, TOKEN_BYTES_MAX, TOKEN_EXPIRY_DAYS_MAX, TokenRules,
    VERIFIED_TOKENS_MAX,
};
use crate::domain::id::{NAME_LENGTH_MAX, TenantId};

/// Why a token does not say who is calling. In order of precedence. Safe to show: holds nothing of the token but its times.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Too long to look at.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not a signed JWT.
    #[error("the token is not a JWT signed in compact form")]
    Malformed,
    /// RFC 7515 section 4.1.11: an extension that must be understood, and is not.
    #[error("the token's header has critical extensions, and none is supported")]
    CriticalHeader,
    /// No name of a key.
    #[error("the token's header names no key: kid is required")]
    KeyIdMissing,
    /// Nobody we trust.
    #[error("the token is signed with a key that is not trusted here: check its kid against the configured key set")]
    KeyUnknown,
    /// Minted by `counterfoil token` with the key of another installation.
    #[error(
        "the token was signed with another installation's local key: mint it with the keys folder of this service \
         (`counterfoil token --data-dir` or `--keys-dir`)"
    )]
    OtherInstallation,
    /// Not the algorithm of that key.
    #[error("the token's algorithm is not that of its key: EdDSA for Ed25519, RS256 for RSA, HS256 for the local key")]
    AlgorithmMismatch,
    /// Somebody else signed it.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// A required claim is absent.
    #[error("the token has no claim {claim}")]
    ClaimMissing {
        /// Its name.
        claim: &'static str,
    },
    /// A claim is not what it should be.
    #[error("the token's claim {claim} is not {must_be}")]
    ClaimInvalid {
        /// Its name.
        claim: &'static str,
        /// What it should be.
        must_be: &'static str,
    },
    /// For others.
    #[error("the token's issuer is not trusted here: check its iss against the configured issuers")]
    WrongIssuer,
    /// For another service.
    #[error("the token is for another audience: its aud must name {audience}")]
    WrongAudience {
        /// Ours.
        audience: String,
    },
    /// Its time is over.
    #[error("the token expired at {at}: get a new one")]
    Expired {
        /// When.
        at: DateTime<Utc>,
    },
    /// Its time has not come.
    #[error("the token is not valid before {from}")]
    NotYetValid {
        /// When it is.
        from: DateTime<Utc>,
    },
}

/// A verified token, less its signature.
#[derive(Clone)]
struct Verified {
    caller: Caller,
    exp: DateTime<Utc>,
    nbf: Option<DateTime<Utc>>,
}

type Fingerprint = [u8; 32];

/// The keys, and what was verified with them. One lock, so that no memory outlives its keys.
struct Trust {
    keys: Arc<TrustedKeys>,
    verified: HashMap<Fingerprint, Verified>,
}

/// Checks bearer tokens. One per process, shared.
pub struct Verifier {
    rules: TokenRules,
    trust: RwLock<Trust>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier that trusts these keys.
    #[must_use]
    pub fn new(rules: TokenRules, keys: TrustedKeys) -> Self {
        Self { rules, trust: RwLock::new(Trust { keys: Arc::new(keys), verified: HashMap::new() }) }
    }

    /// Trusts these keys from now on and no others. What was verified before is forgotten.
    pub fn reload(&self, keys: TrustedKeys) {
        let mut trust = self.trust.write().unwrap_or_else(PoisonError::into_inner);
        *trust = Trust { keys: Arc::new(keys), verified: HashMap::new() };
    }

    /// Who the token says is calling, at this instant.
    ///
    /// # Errors
    /// The first of [`AuthError`] that applies.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Caller, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::TooLong);
        }
        let fingerprint: Fingerprint = Sha256::digest(token.as_bytes()).into();
        let keys = {
            let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = trust.verified.get(&fingerprint) {
                self.check_times(known, now)?;
                return Ok(known.caller.clone());
            }
            Arc::clone(&trust.keys)
        };
        let verified = self.verify_unseen(token, &keys)?;
        self.check_times(&verified, now)?;
        let caller = verified.caller.clone();
        self.remember(fingerprint, verified, &keys);
        Ok(caller)
    }

    fn remember(&self, fingerprint: Fingerprint, verified: Verified, keys: &Arc<TrustedKeys>) {
        let mut trust = self.trust.write().unwrap_or_else(PoisonError::into_inner);
        // The keys may have changed since the signature was checked.
        if !Arc::ptr_eq(&trust.keys, keys) {
            return;
        }
        if trust.verified.len() >= VERIFIED_TOKENS_MAX {
            // Any one will do: keys are hashes, so this is a random one. A forgotten token costs one signature check.
            if let Some(any) = trust.verified.keys().next().copied() {
                trust.verified.remove(&any);
            }
        }
        trust.verified.insert(fingerprint, verified);
    }

    fn check_times(&self, verified: &Verified, now: DateTime<Utc>) -> Result<(), AuthError> {
        let leeway = chrono::TimeDelta::seconds(i64::from(self.rules.leeway_seconds));
        if now.signed_duration_since(verified.exp) >= leeway {
            return Err(AuthError::Expired { at: verified.exp });
        }
        if verified.exp.signed_duration_since(now) > chrono::TimeDelta::days(TOKEN_EXPIRY_DAYS_MAX) {
            return Err(AuthError::ClaimInvalid { claim: "exp", must_be: "within 400 days from now" });
        }
        match verified.nbf {
            Some(from) if from.signed_duration_since(now) > leeway => Err(AuthError::NotYetValid { from }),
            _ => Ok(()),
        }
    }

    fn verify_unseen(&self, token: &str, keys: &TrustedKeys) -> Result<Verified, AuthError> {
        let key = trusted_key(token, keys)?;
        // Only the local key is a shared secret, and only we sign with it.
        let is_ours = key.algorithm == jsonwebtoken::Algorithm::HS256;
        self.judge(check_signature(token, key)?, is_ours)
    }

    fn judge(&self, claims: BearerClaims, is_ours: bool) -> Result<Verified, AuthError> {
        let issuer = claims.iss.ok_or(AuthError::ClaimMissing { claim: "iss" })?;
        if !self.rules.issuers.contains(&issuer) {
            return Err(AuthError::WrongIssuer);
        }
        let audience = claims.aud.ok_or(AuthError::ClaimMissing { claim: "aud" })?;
        if !audience.names(&self.rules.audience) {
            return Err(AuthError::WrongAudience { audience: self.rules.audience.clone() });
        }
        let subject = claims.sub.ok_or(AuthError::ClaimMissing { claim: "sub" })?;
        if subject.is_empty() || subject.len() > NAME_LENGTH_MAX || subject.chars().any(char::is_control) {
            return Err(AuthError::ClaimInvalid { claim: "sub", must_be: "a short text without control characters" });
        }
        // A claim that is there and wrong never widens what the token may: a bad tenant, or null, is refused, not ignored.
        let not_a_tenant = AuthError::ClaimInvalid { claim: "tenant", must_be: "the id of a tenant" };
        let tenant = match claims.tenant {
            None if self.rules.tenant_required && !is_ours => return Err(AuthError::ClaimMissing { claim: "tenant" }),
            None => None,
            Some(None) => return Err(not_a_tenant),
            Some(Some(name)) => Some(TenantId::parse(&name).map_err(|_| not_a_tenant)?),
        };
        let scopes: ScopeSet =
            claims.scope.iter().flat_map(super::claims::OneOrMany::words).filter_map(Scope::parse).collect();
        let exp = claims.exp.ok_or(AuthError::ClaimMissing { claim: "exp" })?;
        Ok(Verified {
            caller: Caller { subject: Arc::from(subject), scopes, tenant },
            exp: instant("exp", exp)?,
            nbf: claims.nbf.map(|nbf| instant("nbf", nbf)).transpose()?,
        })
    }
}

/// The key that the header names, if the header's algorithm is the key's.
fn trusted_key<'k>(token: &str, keys: &'k TrustedKeys) -> Result<&'k TrustedKey, AuthError> {
    // A header with `alg: none` or one unknown to the library fails to parse: there is no such algorithm here.
    let header = jsonwebtoken::decode_header(token).map_err(|_| AuthError::Malformed)?;
    if header.crit.is_some() {
        return Err(AuthError::CriticalHeader);
    }
    let id = header.kid.filter(|id| !id.is_empty()).ok_or(AuthError::KeyIdMissing)?;
    if id.len() > KEY_ID_BYTES_MAX {
        return Err(AuthError::KeyUnknown);
    }
    let unknown =
        || if id.starts_with(LOCAL_KEY_ID_PREFIX) { AuthError::OtherInstallation } else { AuthError::KeyUnknown };
    let key = keys.find(&id).ok_or_else(unknown)?;
    if key.algorithm == header.alg { Ok(key) } else { Err(AuthError::AlgorithmMismatch) }
}

/// The claims, if the key signed them. The library checks the signature and nothing else: times need our clock.
fn check_signature(token: &str, key: &TrustedKey) -> Result<BearerClaims, AuthError> {
    let mut signature_only = Validation::new(key.algorithm);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_nbf = false;
    signature_only.validate_aud = false;
    match jsonwebtoken::decode::<BearerClaims>(token, &key.key, &signature_only) {
        Ok(data) => Ok(data.claims),
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library may add kinds; what is not understood is not signed"
        )]
        Err(error) => Err(match error.kind() {
            ErrorKind::Json(_) => AuthError::ClaimInvalid { claim: "set", must_be: "what RFC 7519 says of its claims" },
            ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => AuthError::Malformed,
            _ => AuthError::BadSignature,
        }),
    }
}

/// RFC 7519 `NumericDate`: seconds since 1970, maybe fractional.
fn instant(claim: &'static str, seconds: f64) -> Result<DateTime<Utc>, AuthError> {
    let invalid = AuthError::ClaimInvalid { claim, must_be: "an instant in seconds since 1970" };
    let milliseconds = seconds * 1e3;
    if !milliseconds.is_finite() || milliseconds.abs() >= 8e15 {
        return Err(invalid);
    }
    #[expect(clippy::as_conversions, reason = "finite and below 2^53: checked above")]
    let milliseconds = milliseconds.round() as i64;
    DateTime::from_timestamp_millis(milliseconds).ok_or(invalid)
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
