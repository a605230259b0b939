//! The public keys we trust, by `kid`: the local key, and a JSON Web Key Set (RFC 7517) of other issuers.
//!
//! A key carries its algorithm with it: `EdDSA` for Ed25519, `RS256` for RSA, `HS256` for the local key alone. A set may
//! hold keys of other kinds (identity providers publish what they like): those are skipped and named, so that the start
//! log says so. A set without one usable key is an error, as is one that holds secrets.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::{KEY_ID_BYTES_MAX, LOCAL_KEY_ID, LocalKey};

/// Shortest RSA modulus, in bytes: 2048 bits, as RFC 7518 section 3.3 asks.
const RSA_MODULUS_BYTES_MIN: usize = 256;
/// Longest RSA modulus, in bytes: 8192 bits. Checking a longer one is a way to keep us busy.
const RSA_MODULUS_BYTES_MAX: usize = 1024;
/// RFC 8032: an Ed25519 public key.
const ED25519_BYTES: usize = 32;
/// Most keys in a set.
const KEYS_MAX: usize = 64;

/// A key and the one algorithm it is used with.
pub(super) struct TrustedKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys that may have signed a bearer token.
#[derive(Default)]
pub struct TrustedKeys(BTreeMap<String, TrustedKey>);

impl fmt::Debug for TrustedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, key)| (id, key.algorithm))).finish()
    }
}

/// Why a key set is of no use.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// Not the JSON of a key set.
    #[error("the key set is not the JSON of a JWKS")]
    Json(#[from] serde_json::Error),
    /// A private or symmetric key: whoever can read the set could sign.
    #[error("key {id} of the key set is secret: publish only public keys, and replace this one")]
    Secret {
        /// Its `kid`.
        id: String,
    },
    /// Two keys of one name.
    #[error("the key set has two keys named {id}")]
    Twice {
        /// Their `kid`.
        id: String,
    },
    /// The name is taken.
    #[error("the key set has a key named {LOCAL_KEY_ID}, which is the name of the local key")]
    Local,
    /// None that we can use.
    #[error("the key set has no Ed25519 or RSA signing key with a kid")]
    None,
    /// Too many.
    #[error("the key set has more than {KEYS_MAX} keys")]
    TooMany,
}

/// A key of a set that is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its `kid`, or its place in the set.
    pub id: String,
    /// What it lacks.
    pub why: &'static str,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

/// The members we read. Others are ignored, as RFC 7517 section 4 says.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// Only a private key has it.
    d: Option<serde::de::IgnoredAny>,
    /// Only a symmetric key has it.
    k: Option<serde::de::IgnoredAny>,
}

impl TrustedKeys {
    /// No keys: every token is refused.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Trusts tokens minted here.
    #[must_use]
    pub fn with_local(mut self, local: &LocalKey) -> Self {
        for id in [local.id(), LOCAL_KEY_ID.to_owned()] {
            let key = TrustedKey { algorithm: Algorithm::HS256, key: DecodingKey::from_secret(local.secret()) };
            self.0.insert(id, key);
        }
        self
    }

    /// Trusts the keys of a JWKS. Gives back the ones it skipped.
    ///
    /// # Errors
    /// If the text is no JWKS, holds a secret, repeats a name, or has no key we can use.
    pub fn add_jwks(&mut self, json: &str) -> Result<Vec<SkippedKey>, JwksError> {
        let set: KeySet = serde_json::from_str(json)?;
        if set.keys.len() > KEYS_MAX {
            return Err(JwksError::TooMany);
        }
        let (mut found, mut skipped) = (BTreeMap::new(), Vec::new());
        for (index, jwk) in set.keys.iter().enumerate() {
            let id = jwk.kid.clone().unwrap_or_else(|| format!("at index {index}"));
            if jwk.d.is_some() || jwk.k.is_some() {
                return Err(JwksError::Secret { id });
            }
            if jwk.kid.as_deref() == Some(LOCAL_KEY_ID) {
                return Err(JwksError::Local);
            }
            match usable(jwk) {
                Err(why) => skipped.push(SkippedKey { id, why }),
                Ok(_) if self.0.contains_key(&id) || found.contains_key(&id) => return Err(JwksError::Twice { id }),
                Ok(key) => {
                    found.insert(id, key);
                }
            }
        }
        if found.is_empty() {
            return Err(JwksError::None);
        }
        self.0.append(&mut found);
        Ok(skipped)
    }

    /// The key of that name.
    pub(super) fn find(&self, id: &str) -> Option<&TrustedKey> {
        self.0.get(id)
    }

    /// How many keys are trusted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if no key is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn usable(jwk: &Jwk) -> Result<TrustedKey, &'static str> {
    match &jwk.kid {
        None => return Err("has no kid"),
        Some(id) if id.is_empty() || id.len() > KEY_ID_BYTES_MAX => return Err("has an empty or overlong kid"),
        Some(_) => {}
    }
    if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return Err("is not for signatures");
    }
    match (jwk.kty.as_str(), jwk.alg.as_deref()) {
        ("OKP", None | Some("EdDSA" | "Ed25519")) => ed25519(jwk),
        ("RSA", None | Some("RS256")) => rsa(jwk),
        _ => Err("is neither EdDSA nor RS256"),
    }
}

fn ed25519(jwk: &Jwk) -> Result<TrustedKey, &'static str> {
    if jwk.crv.as_deref() != Some("Ed25519") {
        return Err("is not on the curve Ed25519");
    }
    let x = bytes(jwk.x.as_deref()).filter(|x| x.len() == ED25519_BYTES).ok_or("has no x of 32 bytes")?;
    Ok(TrustedKey { algorithm: Algorithm::EdDSA, key: DecodingKey::from_ed_der(&x) })
}

fn rsa(jwk: &Jwk) -> Result<TrustedKey, &'static str> {
    let n = bytes(jwk.n.as_deref()).ok_or("has no modulus n")?;
    let e = bytes(jwk.e.as_deref()).ok_or("has no exponent e")?;
    let length = n.iter().skip_while(|byte| **byte == 0).count();
    if !(RSA_MODULUS_BYTES_MIN..=RSA_MODULUS_BYTES_MAX).contains(&length) {
        return Err("is an RSA key of fewer than 2048 or more than 8192 bits");
    }
    Ok(TrustedKey { algorithm: Algorithm::RS256, key: DecodingKey::from_rsa_raw_components(&n, &e) })
}

fn bytes(text: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"; // RFC 8037 appendix A.2

    fn load(json: &str) -> Result<Vec<String>, String> {
        let mut keys = TrustedKeys::none();
        let skipped = keys.add_jwks(json).map_err(|error| error.to_string())?;
        Ok(skipped.into_iter().map(|skipped| format!("{}: {}", skipped.id, skipped.why)).collect())
    }

    fn beside_a_good_one(key: &str) -> Result<Vec<String>, String> {
        load(&format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"good","x":"{X}"}},{key}]}}"#))
    }

    #[test]
    fn keys_we_cannot_use_are_skipped_and_named() {
        let short_n = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let padded_n = URL_SAFE_NO_PAD.encode([vec![0; 200], vec![0xff; 128]].concat());
        let long_n = URL_SAFE_NO_PAD.encode([0xff; 1025]);
        let rows = [
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#), "at index 1: has no kid"),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"","x":"{X}"}}"#), ": has an empty or overlong kid"),
            (r#"{"kty":"OKP","crv":"Ed448","kid":"a","x":"AAAA"}"#.into(), "a: is not on the curve Ed25519"),
            (r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA"}"#.into(), "a: has no x of 32 bytes"),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"a","use":"enc","x":"{X}"}}"#), "a: is not for signatures"),
            (r#"{"kty":"EC","crv":"P-256","kid":"a","x":"AAAA","y":"AAAA"}"#.into(), "a: is neither EdDSA nor RS256"),
            (r#"{"kty":"RSA","alg":"RS512","kid":"a","n":"AAAA","e":"AQAB"}"#.into(), "a: is neither EdDSA nor RS256"),
            (r#"{"kty":"RSA","alg":"HS256","kid":"a","n":"AAAA","e":"AQAB"}"#.into(), "a: is neither EdDSA nor RS256"),
            (r#"{"kty":"RSA","kid":"a","e":"AQAB"}"#.into(), "a: has no modulus n"),
            (
                format!(r#"{{"kty":"RSA","kid":"a","n":"{short_n}","e":"AQAB"}}"#),
                "a: is an RSA key of fewer than 2048 or more than 8192 bits",
            ),
            (
                format!(r#"{{"kty":"RSA","kid":"a","n":"{padded_n}","e":"AQAB"}}"#),
                "a: is an RSA key of fewer than 2048 or more than 8192 bits",
            ),
            (
                format!(r#"{{"kty":"RSA","kid":"a","n":"{long_n}","e":"AQAB"}}"#),
                "a: is an RSA key of fewer than 2048 or more than 8192 bits",
            ),
        ];
        for (key, why) in rows {
            assert_eq!(beside_a_good_one(&key), Ok(vec![why.to_owned()]), "{key}");
        }
    }

    #[test]
    fn a_set_that_would_let_others_sign_is_refused() {
        let said = beside_a_good_one(r#"{"kty":"oct","kid":"a","k":"c2VjcmV0"}"#).expect_err("symmetric");
        assert_eq!(said, "key a of the key set is secret: publish only public keys, and replace this one");
        let private = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"a","x":"{X}","d":"{X}"}}"#);
        assert!(beside_a_good_one(&private).expect_err("private").contains("is secret"));
    }

    #[test]
    fn a_set_of_no_use_is_an_error() {
        assert!(load("{").expect_err("no JSON").contains("not the JSON of a JWKS"));
        assert!(load(r#"{"keys":[]}"#).expect_err("empty").contains("no Ed25519 or RSA signing key"));
        let good = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"good","x":"{X}"}}"#);
        assert_eq!(beside_a_good_one(&good).expect_err("twice"), "the key set has two keys named good");
        assert!(beside_a_good_one(&good.replace("good", "local")).expect_err("taken").contains("named local"));
        let many = vec![good; 65].join(",");
        assert!(load(&format!(r#"{{"keys":[{many}]}}"#)).expect_err("many").contains("more than 64 keys"));
    }
}
