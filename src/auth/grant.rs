//! The signed proof of a reservation: a JWT (`EdDSA`) that any replica or gateway can check without asking anyone.
//!
//! The key pair is parsed once and held: the library parses it again for each signature, which costs as much as the
//! signature. So the three parts of the token are put together here; the header is a constant and is compared byte for
//! byte on the way back, which pins algorithm and key without looking at what the header says.
//!
//! A grant is no bearer token: its key is in no [`super::TrustedKeys`] and its audience is not the API's.
//! Deliberately absent: amounts. What was held is in the books; a gateway needs to know what it may do.

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{GrantKey, thumbprint};
use super::{GRANT_AUDIENCE, TOKEN_BYTES_MAX};
use crate::domain::id::{FeatureId, ModelId, ProviderId, ReservationId, TenantId};

/// What a grant says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantClaims {
    /// The reservation it proves.
    pub reservation: ReservationId,
    /// Whose.
    pub tenant: TenantId,
    /// For what.
    pub feature: FeatureId,
    /// With whom.
    pub provider: ProviderId,
    /// With what.
    pub model: ModelId,
    /// Most output tokens the call may ask for; none if the call named none.
    pub max_output: Option<u64>,
    /// When it was granted. Whole seconds in the token: rounded down.
    pub issued_at: DateTime<Utc>,
    /// When the reservation ends unless it is settled or extended. Whole seconds in the token: rounded down, so that the
    /// grant never outlives the reservation.
    pub expires_at: DateTime<Utc>,
}

/// Why a text is no grant. In order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefused {
    /// Not one of ours: another form, another key, another algorithm.
    #[error("the grant was not signed by this ledger")]
    NotOurs,
    /// Somebody changed it.
    #[error("the grant's signature is wrong")]
    BadSignature,
    /// Signed by us and not understood: of another version.
    #[error("the grant's claims are not those of a grant")]
    BadClaims,
    /// Its time is over.
    #[error("the grant expired at {at}")]
    Expired {
        /// When.
        at: DateTime<Utc>,
    },
}

#[derive(Serialize)]
struct WireOut<'a> {
    iss: &'static str,
    aud: &'static str,
    jti: Uuid,
    iat: i64,
    exp: i64,
    tenant: &'a str,
    feature: &'a str,
    provider: &'a str,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output: Option<u64>,
}

#[derive(Deserialize)]
struct WireIn {
    aud: String,
    jti: Uuid,
    iat: i64,
    exp: i64,
    tenant: String,
    feature: String,
    provider: String,
    model: String,
    max_output: Option<u64>,
}

fn encoded_header(key_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA","kid":"{key_id}","typ":"JWT"}}"#))
}

/// Signs grants.
#[derive(Debug)]
pub struct GrantSigner {
    key: GrantKey,
    header: String,
}

impl GrantSigner {
    /// Signs with that key.
    #[must_use]
    pub fn new(key: GrantKey) -> Self {
        let header = encoded_header(key.id());
        Self { key, header }
    }

    /// The grant as a JWT.
    ///
    /// # Errors
    /// Never in practice: the claims are texts and numbers.
    pub fn sign(&self, claims: &GrantClaims) -> Result<String, serde_json::Error> {
        let payload = serde_json::to_vec(&WireOut {
            iss: super::TokenRules::NAME,
            aud: GRANT_AUDIENCE,
            jti: claims.reservation.0,
            iat: claims.issued_at.timestamp(),
            exp: claims.expires_at.timestamp(),
            tenant: claims.tenant.as_str(),
            feature: claims.feature.as_str(),
            provider: claims.provider.as_str(),
            model: claims.model.as_str(),
            max_output: claims.max_output,
        })?;
        let mut token = String::with_capacity(self.header.len() + payload.len() * 4 / 3 + 96);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&payload, &mut token);
        let signature = self.key.pair().sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }

    /// The public key as a JWKS, for `/.well-known/jwks.json`: gateways check grants with it.
    #[must_use]
    pub fn public_jwks(&self) -> serde_json::Value {
        serde_json::json!({ "keys": [{
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "alg": "EdDSA",
            "kid": self.key.id(),
            "x": URL_SAFE_NO_PAD.encode(self.key.public_key()),
        }] })
    }

    /// A verifier of what this signs; `None` never happens for a key that signs.
    #[must_use]
    pub fn verifier(&self) -> Option<GrantVerifier> {
        GrantVerifier::new(self.key.public_key())
    }
}

/// Checks grants.
#[derive(Debug)]
pub struct GrantVerifier {
    public: ParsedPublicKey,
    header: String,
}

impl GrantVerifier {
    /// Checks with that public key (32 bytes); `None` if it is no Ed25519 key.
    #[must_use]
    pub fn new(public_key: &[u8]) -> Option<Self> {
        let public = ParsedPublicKey::new(&ED25519, public_key).ok()?;
        Some(Self { public, header: encoded_header(&thumbprint(public_key)) })
    }

    /// What the grant says, if it is ours and its time is not over.
    ///
    /// # Errors
    /// The first of [`GrantRefused`] that applies.
    pub fn verify(&self, grant: &str, now: DateTime<Utc>) -> Result<GrantClaims, GrantRefused> {
        let claims = self.read(grant)?;
        if claims.expires_at <= now { Err(GrantRefused::Expired { at: claims.expires_at }) } else { Ok(claims) }
    }

    /// What the grant says, if it is ours, whatever the time: what was spent is recorded also after expiry.
    ///
    /// # Errors
    /// Any of [`GrantRefused`] but `Expired`.
    pub fn read(&self, grant: &str) -> Result<GrantClaims, GrantRefused> {
        if grant.len() > TOKEN_BYTES_MAX {
            return Err(GrantRefused::NotOurs);
        }
        let (signed, signature) = grant.rsplit_once('.').ok_or(GrantRefused::NotOurs)?;
        let (header, payload) = signed.split_once('.').ok_or(GrantRefused::NotOurs)?;
        if header != self.header {
            return Err(GrantRefused::NotOurs);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| GrantRefused::BadSignature)?;
        self.public.verify_sig(signed.as_bytes(), &signature).map_err(|_| GrantRefused::BadSignature)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| GrantRefused::BadClaims)?;
        let wire: WireIn = serde_json::from_slice(&payload).map_err(|_| GrantRefused::BadClaims)?;
        claims_of(&wire).ok_or(GrantRefused::BadClaims)
    }
}

fn claims_of(wire: &WireIn) -> Option<GrantClaims> {
    if wire.aud != GRANT_AUDIENCE {
        return None;
    }
    Some(GrantClaims {
        reservation: ReservationId(wire.jti),
        tenant: TenantId::parse(&wire.tenant).ok()?,
        feature: FeatureId::parse(&wire.feature).ok()?,
        provider: ProviderId::parse(&wire.provider).ok()?,
        model: ModelId::parse(&wire.model).ok()?,
        max_output: wire.max_output,
        issued_at: DateTime::from_timestamp(wire.iat, 0)?,
        expires_at: DateTime::from_timestamp(wire.exp, 0)?,
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::auth::{AuthError, TokenRules, TrustedKeys, Verifier};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).expect("in range")
    }

    fn claims() -> GrantClaims {
        GrantClaims {
            reservation: ReservationId(Uuid::from_u128(7)),
            tenant: TenantId::parse("acme").expect("a slug"),
            feature: FeatureId::parse("support-chat").expect("a slug"),
            provider: ProviderId::parse("anthropic").expect("a slug"),
            model: ModelId::parse("claude-sonnet-4-5").expect("a name"),
            max_output: Some(800),
            issued_at: now(),
            expires_at: now() + TimeDelta::seconds(120),
        }
    }

    fn signer() -> GrantSigner {
        GrantSigner::new(GrantKey::generate().expect("random bytes"))
    }

    #[test]
    fn a_grant_reads_back_what_was_granted() {
        let signer = signer();
        let verifier = signer.verifier().expect("its own key");
        let grant = signer.sign(&claims()).expect("signed");
        assert_eq!(verifier.verify(&grant, now()), Ok(claims()));
        let unnamed = GrantClaims { max_output: None, ..claims() };
        assert_eq!(verifier.read(&signer.sign(&unnamed).expect("signed")), Ok(unnamed));
    }

    #[test]
    fn an_expired_grant_is_refused_and_still_read() {
        let signer = signer();
        let verifier = signer.verifier().expect("its own key");
        let grant = signer.sign(&claims()).expect("signed");
        let end = claims().expires_at;
        assert!(verifier.verify(&grant, end - TimeDelta::microseconds(1)).is_ok());
        assert_eq!(verifier.verify(&grant, end), Err(GrantRefused::Expired { at: end }));
        assert_eq!(verifier.read(&grant), Ok(claims()));
    }

    #[test]
    fn a_grant_never_outlives_its_reservation() {
        let signer = signer();
        let end = now() + TimeDelta::milliseconds(120_900);
        let grant = signer.sign(&GrantClaims { expires_at: end, ..claims() }).expect("signed");
        let read = signer.verifier().expect("its own key").read(&grant).expect("ours");
        assert_eq!(read.expires_at, now() + TimeDelta::seconds(120));
    }

    #[test]
    fn no_changed_byte_is_accepted() {
        let signer = signer();
        let verifier = signer.verifier().expect("its own key");
        let grant = signer.sign(&claims()).expect("signed");
        for i in 0..grant.len() {
            let mut changed = grant.clone().into_bytes();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(verifier.read(&changed).is_err(), "byte {i}");
        }
        for cut in 0..grant.len() {
            assert!(verifier.read(&grant[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(verifier.read(&"a".repeat(9000)), Err(GrantRefused::NotOurs));
    }

    #[test]
    fn a_grant_of_another_key_is_not_ours() {
        let grant = signer().sign(&claims()).expect("signed");
        assert_eq!(signer().verifier().expect("its own key").read(&grant), Err(GrantRefused::NotOurs));
    }

    #[test]
    fn a_grant_is_an_ordinary_jwt_to_other_libraries_and_no_bearer_token_to_us() {
        let signer = signer();
        let grant = signer.sign(&claims()).expect("signed");
        // Even if somebody puts the grant key among the trusted ones, its audience is not the API's.
        let mut keys = TrustedKeys::none();
        assert_eq!(keys.add_jwks(&signer.public_jwks().to_string()).expect("a good set"), vec![]);
        let verifier = Verifier::new(TokenRules::local(), keys);
        let audience = TokenRules::NAME.to_owned();
        assert_eq!(verifier.verify(&grant, now()), Err(AuthError::WrongAudience { audience }));
        let verifier = Verifier::new(TokenRules::local(), TrustedKeys::none());
        assert_eq!(verifier.verify(&grant, now()), Err(AuthError::KeyUnknown));
    }
}
