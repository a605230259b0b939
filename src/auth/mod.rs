//! Who is calling: bearer tokens checked, local tokens minted, grants signed.
//!
//! | file | what |
//! |---|---|
//! | [`keys`] | the key files of this installation, made on first start |
//! | [`jwks`] | public keys of other issuers |
//! | [`verifier`] | a bearer token becomes a [`Caller`], fast |
//! | [`mod@mint`] | a token signed with the local key |
//! | [`grant`] | the signed proof of a reservation |
//! | [`seal`] | secrets of others, so that the database alone is of no use |
//!
//! Invariants: the algorithm is the key's, never the token's; a token is good only for an issuer, an audience and a time
//! we know; the instant is an argument; no token, key or signature is ever logged or put in an error.
//!
//! Deliberately absent: fetching keys over the network (a file or inline JSON is given), sessions, passwords, revocation
//! lists (tokens are short-lived; a key is withdrawn by reloading the set without it). What a caller may do is decided in
//! [`crate::domain::access`].

pub mod claims;
pub mod grant;
pub mod jwks;
pub mod keys;
pub mod mint;
pub mod seal;
pub mod verifier;

pub use crate::domain::access::{Caller, Scope, ScopeSet};
pub use grant::{GrantClaims, GrantRefused, GrantSigner, GrantVerifier};
pub use jwks::TrustedKeys;
pub use keys::{GrantKey, LocalKey};
pub use mint::mint;
pub use seal::SealKey;
pub use verifier::{AuthError, Verifier};

/// Longest bearer token we look at, in bytes. Tokens of identity providers with many groups reach 4 KiB; header limits of
/// proxies are 8 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest `kid`, in bytes: a SHA-256 in hex and room.
pub const KEY_ID_BYTES_MAX: usize = 128;
/// Most verified tokens remembered. About 300 bytes each.
pub const VERIFIED_TOKENS_MAX: usize = 4096;
/// Furthest that `exp` may be ahead, in days. A token that lives for decades is a mistake that cannot be taken back.
pub const TOKEN_EXPIRY_DAYS_MAX: i64 = 400;
/// The `kid` that tokens of earlier releases name the local key by. No other key may carry it.
pub const LOCAL_KEY_ID: &str = "local";
/// What the `kid` of a local key begins with; the rest says which installation's it is.
pub const LOCAL_KEY_ID_PREFIX: &str = "local:";
/// The `aud` of a grant: never an audience of the API, so that a grant is no bearer token.
pub const GRANT_AUDIENCE: &str = "counterfoil-grant";

/// What a bearer token must say, and what our own say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// The accepted `iss`.
    pub issuers: Vec<String>,
    /// The `aud` that must be among the token's.
    pub audience: String,
    /// How far clocks may differ, in seconds. Applied to `exp` and `nbf`.
    pub leeway_seconds: u32,
    /// Whether a token of another issuer must name a tenant: without, one that names none is the platform's.
    pub tenant_required: bool,
}

impl TokenRules {
    /// Issuer and audience of an installation that was told nothing.
    pub const NAME: &'static str = "counterfoil";

    /// The rules of an installation that was told nothing: issuer and audience `counterfoil`, five seconds.
    #[must_use]
    pub fn local() -> Self {
        Self {
            issuers: vec![Self::NAME.to_owned()],
            audience: Self::NAME.to_owned(),
            leeway_seconds: 5,
            tenant_required: false,
        }
    }
}
