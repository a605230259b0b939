//! The claims of a token as they are written: RFC 7519, and RFC 8693 section 4.2 for `scope`.
//!
//! Read leniently where issuers differ (one audience or many, scopes as text or list, whole or fractional seconds), then
//! judged strictly in [`super::verifier`]. Claims that we do not use are ignored: every issuer adds its own.

use serde::{Deserialize, Deserializer, Serialize};

/// One text or several: `aud`, `scope`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    /// `"a"`.
    One(String),
    /// `["a", "b"]`.
    Many(Vec<String>),
}

impl OneOrMany {
    /// True if one of the texts is this.
    pub(super) fn names(&self, text: &str) -> bool {
        match self {
            Self::One(one) => one == text,
            Self::Many(many) => many.iter().any(|one| one == text),
        }
    }

    /// The words of all texts: `"a b"` and `["a", "b"]` are the same.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many.as_slice(),
        };
        texts.iter().flat_map(|text| text.split_ascii_whitespace())
    }
}

/// The claims of a bearer token, before they are judged. Times are seconds since 1970 and may be fractional.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct BearerClaims {
    pub(super) iss: Option<String>,
    pub(super) sub: Option<String>,
    pub(super) aud: Option<OneOrMany>,
    pub(super) exp: Option<f64>,
    pub(super) nbf: Option<f64>,
    pub(super) scope: Option<OneOrMany>,
    /// A claim that is there and null is not the same as none: see [`super::verifier`].
    #[serde(default, deserialize_with = "given")]
    pub(super) tenant: Option<Option<String>>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

/// The claims of a token that we write.
#[derive(Debug, Serialize)]
pub(super) struct MintedClaims<'a> {
    pub(super) iss: &'a str,
    pub(super) sub: &'a str,
    pub(super) aud: &'a str,
    pub(super) iat: i64,
    pub(super) nbf: i64,
    pub(super) exp: i64,
    pub(super) scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<&'a str>,
}
