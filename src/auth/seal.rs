//! What this installation alone may read, sealed.
//!
//! Secrets of others are, so that what the database holds of them is of no use without the key file; and cursors that tenants
//! carry, whose marks say how busy the others are.
//!
//! AES-256-GCM-SIV (RFC 8452) of the project's one cryptography. It is the mode that stays whole should a nonce ever be
//! repeated, so that replicas need no agreement on nonces: each takes twelve random bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 12 | the nonce |
//! | as long as the secret | the ciphertext |
//! | 16 | the tag, over the secret and over what it belongs to |
//!
//! Invariants: what was sealed for one owner opens for no other, so rows cannot be swapped; no secret and no key is in an
//! error or in `Debug`; who holds another key is told so by its id, before anything is opened.
//! Deliberately absent: changing the key. Secrets are few and their owners can write new ones.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::keys::{KeyFileError, load_or_create, random_bytes};

/// File name of the key that seals secrets of webhooks.
pub const WEBHOOK_KEY_FILE: &str = "webhook.key";
/// Bytes of that key: AES-256.
const SEAL_KEY_BYTES: usize = 32;
/// Bytes of the digest that names a key: 96 bits are more than enough to tell a few keys apart.
const KEY_ID_DIGEST_BYTES: usize = 12;
/// What the digest that names a key begins with, so that it is a digest for nothing else.
const KEY_ID_CONTEXT: &[u8] = b"counterfoil seal key id v1\0";
/// What the text that is authenticated beside a secret begins with.
const OWNER_CONTEXT: &[u8] = b"counterfoil webhook secret v1\0";
/// What the text that is authenticated beside a cursor begins with.
const CURSOR_CONTEXT: &[u8] = b"counterfoil export cursor v1\0";

/// Why a secret cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The machine gave no random bytes.
    #[error("the secret cannot be sealed: the machine gave no random bytes")]
    NoRandomness,
    /// Sealed by a key that this replica does not have.
    #[error(
        "its secret was sealed with another key than `{WEBHOOK_KEY_FILE}` of this replica: give the replica that file, or \
         write the webhook again with a new secret"
    )]
    OtherKey,
    /// Changed since it was sealed, or sealed for somebody else.
    #[error("its secret is not what was sealed: write the webhook again with a new secret")]
    Broken,
}

/// A secret as the database holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The id of the key that sealed it: [`SealKey::id`].
    pub by: String,
    /// Nonce, ciphertext, tag.
    pub bytes: Vec<u8>,
}

/// The key that seals secrets of webhooks; replicas share it.
pub struct SealKey {
    key: RandomizedNonceKey,
    id: String,
}

impl SealKey {
    /// Reads the key of that folder, or makes it.
    ///
    /// # Errors
    /// If the file cannot be made or read, is open to others, or does not hold 32 bytes.
    pub fn load_or_create(folder: &Path) -> Result<Self, KeyFileError> {
        let path = folder.join(WEBHOOK_KEY_FILE);
        let bytes = load_or_create(&path, || random_bytes(SEAL_KEY_BYTES))?;
        Self::from_bytes(&bytes).ok_or(KeyFileError::NotAKey { path, why: "does not hold 32 bytes" })
    }

    /// A fresh key that is kept nowhere.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn generate() -> Result<Self, KeyFileError> {
        Self::from_bytes(&random_bytes(SEAL_KEY_BYTES)?).ok_or(KeyFileError::NoRandomness)
    }

    /// A key of these bytes, if they are 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, bytes).ok()?;
        let digest = Sha256::new().chain_update(KEY_ID_CONTEXT).chain_update(bytes).finalize();
        let id = URL_SAFE_NO_PAD.encode(digest.get(..KEY_ID_DIGEST_BYTES)?);
        Some(Self { key, id })
    }

    /// Which key this is. It says nothing about the key: 96 bits of the SHA-256 of 256 random ones.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a secret for its owner, the id of a webhook. Sealing it again gives other bytes.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub fn seal(&self, owner: &str, secret: &[u8]) -> Result<Sealed, SealError> {
        Ok(Sealed { by: self.id.clone(), bytes: self.seal_as(belonging(OWNER_CONTEXT, owner), secret)? })
    }

    /// Seals a cursor for the tenant that carries it.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub fn seal_cursor(&self, tenant: &str, cursor: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal_as(belonging(CURSOR_CONTEXT, tenant), cursor)
    }

    /// Opens a cursor that was sealed for that tenant.
    ///
    /// # Errors
    /// [`SealError::Broken`] when it was changed, sealed for another tenant, or by another key.
    pub fn open_cursor(&self, tenant: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.open_as(belonging(CURSOR_CONTEXT, tenant), sealed)
    }

    fn seal_as(&self, beside: Vec<u8>, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut text = secret.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(beside), &mut text);
        let nonce = nonce.map_err(|_| SealError::NoRandomness)?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.extend(text);
        Ok(bytes)
    }

    fn open_as(&self, beside: Vec<u8>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Broken)?;
        let mut text = text.to_vec();
        let opened = self.key.open_in_place(Nonce::from(nonce), Aad::from(beside), &mut text);
        opened.map(|secret| secret.to_vec()).map_err(|_| SealError::Broken)
    }

    /// Opens what was sealed for that owner.
    ///
    /// # Errors
    /// [`SealError::OtherKey`] when another key sealed it; [`SealError::Broken`] when it was changed, or sealed for another
    /// owner.
    pub fn open(&self, owner: &str, sealed: &Sealed) -> Result<Vec<u8>, SealError> {
        if sealed.by != self.id {
            return Err(SealError::OtherKey);
        }
        self.open_as(belonging(OWNER_CONTEXT, owner), &sealed.bytes)
    }
}

fn belonging(context: &[u8], owner: &str) -> Vec<u8> {
    [context, owner.as_bytes()].concat()
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", self.id)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(by {})", self.by)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn key(byte: u8) -> SealKey {
        SealKey::from_bytes(&[byte; SEAL_KEY_BYTES]).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_for_its_owner_and_key_only() {
        let sealed = key(1).seal("pager", b"a secret").unwrap();
        assert_eq!(key(1).open("pager", &sealed).unwrap(), b"a secret");
        assert_eq!(key(1).open("other", &sealed), Err(SealError::Broken));
        assert_eq!(key(2).open("pager", &sealed), Err(SealError::OtherKey));
        let disguised = Sealed { by: key(2).id().to_owned(), ..sealed };
        assert_eq!(key(2).open("pager", &disguised), Err(SealError::Broken));
    }

    #[test]
    fn no_byte_of_it_can_be_changed_or_left_out() {
        let sealed = key(1).seal("pager", b"a secret").unwrap();
        assert_eq!(sealed.bytes.len(), NONCE_LEN + 8 + 16);
        for at in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[at] ^= 1;
            assert_eq!(key(1).open("pager", &changed), Err(SealError::Broken), "byte {at}");
            changed.bytes.truncate(at);
            assert_eq!(key(1).open("pager", &changed), Err(SealError::Broken), "{at} bytes");
        }
    }

    #[test]
    fn the_same_secret_is_never_sealed_to_the_same_bytes() {
        let all: std::collections::BTreeSet<_> =
            (0..100).map(|_| key(1).seal("pager", b"a secret").unwrap().bytes).collect();
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|bytes| !bytes.windows(6).any(|part| part == b"secret")));
    }

    #[test]
    fn the_cipher_is_that_of_rfc_8452() {
        // The first case of appendix C.2 that has a text. The nonce of what is sealed here is random, so it is opened.
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let raw = hex("0100000000000000000000000000000000000000000000000000000000000000");
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &raw).unwrap();
        let nonce: [u8; NONCE_LEN] = hex("030000000000000000000000").try_into().unwrap();
        let mut text = hex("c2ef328e5c71c83b843122130f7364b761e0b97427e3df28");
        let opened = key.open_in_place(Nonce::from(&nonce), Aad::empty(), &mut text).unwrap();
        assert_eq!(opened, hex("0100000000000000"));
    }

    #[test]
    fn the_key_is_made_once_private_and_read_after() {
        let dir = tempfile::tempdir().unwrap();
        let first = SealKey::load_or_create(dir.path()).unwrap();
        let second = SealKey::load_or_create(dir.path()).unwrap();
        assert_eq!(first.id(), second.id());
        let path = dir.path().join(WEBHOOK_KEY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(&path).unwrap().len(), SEAL_KEY_BYTES);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(SealKey::load_or_create(dir.path()), Err(KeyFileError::TooOpen { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, [7; 31]).unwrap();
        assert!(matches!(SealKey::load_or_create(dir.path()), Err(KeyFileError::NotAKey { .. })));
    }

    #[test]
    fn keys_and_sealed_secrets_do_not_print_themselves() {
        let sealed = key(b'A').seal("pager", b"a secret").unwrap();
        assert_eq!(format!("{:?} {sealed:?}", key(b'A')), format!("SealKey({0}) Sealed(by {0})", key(b'A').id()));
        assert!(!key(b'A').id().contains("AAAA"));
    }
}
