//! The key files of this installation: `local.key` (HS256, for tokens minted here) and `grant-ed25519.pem` (grants).
//! `webhook.key` ([`super::seal`]) is made and read in the same way.
//!
//! Made on first start, mode 0600, in one step: the content is written to a fresh file of that mode and then linked to its
//! name, so no reader ever sees a half-written key, and of several replicas that start at once exactly one wins and the
//! others read what it wrote. A key that others can read is refused, with the command that mends it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::LOCAL_KEY_ID_PREFIX;

/// File name of the local key.
pub const LOCAL_KEY_FILE: &str = "local.key";
/// File name of the grant key.
pub const GRANT_KEY_FILE: &str = "grant-ed25519.pem";
/// Fewest bytes of a local key: the output of SHA-256, as RFC 7518 section 3.2 asks of HS256.
pub const LOCAL_KEY_BYTES_MIN: usize = 32;
/// What the digest in the local key's id is of, beside the key.
const LOCAL_KEY_ID_CONTEXT: &[u8] = b"counterfoil local key id";
/// Bytes of that digest: enough to tell installations apart.
const LOCAL_KEY_ID_BYTES: usize = 6;
/// Most bytes of a key file. A PEM of an Ed25519 key has about 170.
const KEY_FILE_BYTES_MAX: u64 = 4096;
/// Owner reads and writes, nobody else anything.
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;
/// The bits that must not be set on a key file.
const OTHERS: u32 = 0o077;
/// The bits that must not be set on the folder of keys, unless [`STICKY`] is.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Why a key file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system said no.
    #[error("cannot {act} {path}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// Not there, and not to be made.
    #[error(
        "there is no key {path}: `counterfoil serve` makes it; name the folder that it uses with --data-dir or --keys-dir"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else can read it.
    #[error("key file {path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`", mode = mode & 0o7777)]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Somebody else's.
    #[error(
        "{path} belongs to user id {owner}, who could have planted it, and this process runs as {us}: \
         run this as that user, or `chown {us} {path}` if it is to be yours"
    )]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Somebody else can replace what is in it.
    #[error("the folder of keys {path} can be written by others (mode {mode:04o}): run `chmod 700 {path}`", mode = mode & 0o7777)]
    OpenFolder {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not a key.
    #[error("key file {path} {why}: remove it to have a new key made (what the old one signed or sealed ends with it)")]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes for a new key")]
    NoRandomness,
}

/// The secret that signs and checks tokens minted here.
#[derive(Clone)]
pub struct LocalKey(Vec<u8>);

impl LocalKey {
    /// Reads the local key of that folder, or makes it.
    ///
    /// # Errors
    /// If the file cannot be made or read, is open to others, or is too short.
    pub fn load_or_create(folder: &Path) -> Result<Self, KeyFileError> {
        let path = folder.join(LOCAL_KEY_FILE);
        let bytes = load_or_create(&path, || random_bytes(LOCAL_KEY_BYTES_MIN))?;
        Self::from_bytes(bytes).ok_or(KeyFileError::NotAKey { path, why: "is shorter than 32 bytes" })
    }

    /// Reads the local key of that folder, and makes none.
    ///
    /// # Errors
    /// If there is none, or the file cannot be read, is open to others, or is too short.
    pub fn load(folder: &Path) -> Result<Self, KeyFileError> {
        let path = folder.join(LOCAL_KEY_FILE);
        let bytes = match File::open(&path) {
            Ok(file) => read_private(file, &path)?,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Err(KeyFileError::Missing { path }),
            Err(source) => return Err(KeyFileError::Io { act: "open", path, source }),
        };
        Self::from_bytes(bytes).ok_or(KeyFileError::NotAKey { path, why: "is shorter than 32 bytes" })
    }

    /// A key of these bytes, if they are enough.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= LOCAL_KEY_BYTES_MIN).then_some(Self(bytes))
    }

    /// Whether it is the same secret.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    pub(super) fn secret(&self) -> &[u8] {
        &self.0
    }

    /// The `kid` of tokens that it signs: which installation's key it is. A digest of a random secret tells nothing of it.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::new().chain_update(LOCAL_KEY_ID_CONTEXT).chain_update(&self.0).finalize();
        let short: Vec<u8> = digest.iter().take(LOCAL_KEY_ID_BYTES).copied().collect();
        format!("{LOCAL_KEY_ID_PREFIX}{}", URL_SAFE_NO_PAD.encode(short))
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey")
    }
}

/// The Ed25519 key pair that signs grants.
#[derive(Debug)]
pub struct GrantKey {
    pair: Ed25519KeyPair,
    id: String,
}

impl GrantKey {
    /// Reads the grant key of that folder, or makes it.
    ///
    /// # Errors
    /// If the file cannot be made or read, is open to others, or is no Ed25519 key in PKCS#8 PEM.
    pub fn load_or_create(folder: &Path) -> Result<Self, KeyFileError> {
        let path = folder.join(GRANT_KEY_FILE);
        let bytes = load_or_create(&path, || Ok(to_pem(&new_pkcs8()?).into_bytes()))?;
        let not_a_key = |why| KeyFileError::NotAKey { path: path.clone(), why };
        let pkcs8 = from_pem(&bytes).ok_or_else(|| not_a_key("is not a PEM of one private key"))?;
        Self::from_pkcs8(&pkcs8).ok_or_else(|| not_a_key("holds no Ed25519 key"))
    }

    /// A fresh key that is kept nowhere.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn generate() -> Result<Self, KeyFileError> {
        Self::from_pkcs8(&new_pkcs8()?).ok_or(KeyFileError::NoRandomness)
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
        let id = thumbprint(pair.public_key().as_ref());
        Some(Self { pair, id })
    }

    pub(super) fn pair(&self) -> &Ed25519KeyPair {
        &self.pair
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The `kid`: the JWK thumbprint (RFC 7638) of the public key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// RFC 7638: SHA-256 over the required members in lexical order (RFC 8037 section 2 for `OKP`).
pub(super) fn thumbprint(public_key: &[u8]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public_key);
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

fn new_pkcs8() -> Result<Vec<u8>, KeyFileError> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyFileError::NoRandomness)?;
    Ok(document.as_ref().to_vec())
}

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// RFC 7468 section 2.
const PEM_LINE: usize = 64;

fn to_pem(der: &[u8]) -> String {
    let mut pem = format!("{PEM_BEGIN}\n");
    for (i, letter) in STANDARD.encode(der).chars().enumerate() {
        if i > 0 && i.is_multiple_of(PEM_LINE) {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push('\n');
    pem.push_str(PEM_END);
    pem.push('\n');
    pem
}

fn from_pem(bytes: &[u8]) -> Option<Vec<u8>> {
    let (_, rest) = std::str::from_utf8(bytes).ok()?.split_once(PEM_BEGIN)?;
    let (body, _) = rest.split_once(PEM_END)?;
    STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()
}

pub(super) fn random_bytes(count: usize) -> Result<Vec<u8>, KeyFileError> {
    let mut fresh = vec![0; count];
    SystemRandom::new().fill(&mut fresh).map_err(|_| KeyFileError::NoRandomness)?;
    Ok(fresh)
}

pub(super) fn load_or_create(
    path: &Path,
    fresh: impl FnOnce() -> Result<Vec<u8>, KeyFileError>,
) -> Result<Vec<u8>, KeyFileError> {
    check_folder(path.parent().unwrap_or(Path::new(".")))?;
    match File::open(path) {
        Ok(file) => read_private(file, path),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            create_private(path, &fresh()?)?;
            // Read back also what we wrote ourselves: another replica may have been first.
            let file = File::open(path).map_err(io_error("open", path))?;
            read_private(file, path)
        }
        Err(source) => Err(KeyFileError::Io { act: "open", path: path.to_owned(), source }),
    }
}

fn read_private(file: File, path: &Path) -> Result<Vec<u8>, KeyFileError> {
    // Asked of the open file, not of its name: the answer is about the bytes that are read.
    let metadata = file.metadata().map_err(io_error("look at", path))?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAKey { path: path.to_owned(), why: "is not a regular file" });
    }
    check_owner(path, metadata.uid())?;
    if metadata.mode() & OTHERS != 0 {
        return Err(KeyFileError::TooOpen { path: path.to_owned(), mode: metadata.mode() });
    }
    if metadata.len() > KEY_FILE_BYTES_MAX {
        return Err(KeyFileError::NotAKey { path: path.to_owned(), why: "is longer than any key" });
    }
    let mut bytes = Vec::new();
    file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    Ok(bytes)
}

/// Ours, or root's, who could do anything anyhow.
fn check_owner(path: &Path, owner: u32) -> Result<(), KeyFileError> {
    let us = rustix::process::geteuid().as_raw();
    if owner == us || owner == 0 {
        return Ok(());
    }
    Err(KeyFileError::Foreign { path: path.to_owned(), owner, us })
}

/// Nobody else may put another key in the place of ours. In a folder with the sticky bit nobody else can.
fn check_folder(folder: &Path) -> Result<(), KeyFileError> {
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(KeyFileError::Io { act: "look at", path: folder.to_owned(), source }),
    };
    check_owner(folder, metadata.uid())?;
    if metadata.mode() & OTHERS_WRITE != 0 && metadata.mode() & STICKY == 0 {
        return Err(KeyFileError::OpenFolder { path: folder.to_owned(), mode: metadata.mode() });
    }
    Ok(())
}

/// Makes the file if it is not there; leaves it alone if it is.
fn create_private(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Only the folder of the keys is private: the user who runs Postgres has to pass through those above it.
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above).map_err(io_error("make folder", above))?;
    }
    DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(folder).map_err(io_error("make folder", folder))?;
    let draft = folder.join(format!(".{}.new", Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 0, 0))));
    let linked = write_draft(&draft, bytes).and_then(|()| match fs::hard_link(&draft, path) {
        Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = fs::remove_file(&draft);
    linked.and(removed).map_err(io_error("make", path))?;
    // The name is durable only when the folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", folder))
}

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_owned();
    move |source| KeyFileError::Io { act, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("the file is there").mode() & 0o777
    }

    #[test]
    fn keys_are_made_once_and_read_after() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("data/keys");
        let first = LocalKey::load_or_create(&folder).expect("made");
        let second = LocalKey::load_or_create(&folder).expect("read");
        assert_eq!(first.secret(), second.secret());
        assert_eq!(first.secret().len(), 32);
        assert_eq!(mode(&folder.join(LOCAL_KEY_FILE)), 0o600);
        assert_eq!(mode(&folder), 0o700);
        // The folder above is as open as any that is made here.
        fs::create_dir(dir.path().join("any")).expect("made");
        assert_eq!(mode(&dir.path().join("data")), mode(&dir.path().join("any")));

        let first = GrantKey::load_or_create(&folder).expect("made");
        let second = GrantKey::load_or_create(&folder).expect("read");
        assert_eq!((first.public_key(), first.id()), (second.public_key(), second.id()));
        assert_eq!(mode(&folder.join(GRANT_KEY_FILE)), 0o600);
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 2, "no draft is left behind");
    }

    #[test]
    fn replicas_that_start_at_once_agree_on_the_key() {
        let dir = tempfile::tempdir().expect("a folder");
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let folder = dir.path().to_owned();
                std::thread::spawn(move || LocalKey::load_or_create(&folder).expect("a key").secret().to_vec())
            })
            .collect();
        let keys: std::collections::BTreeSet<_> =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().expect("a folder");
        LocalKey::load_or_create(dir.path()).expect("made");
        let path = dir.path().join(LOCAL_KEY_FILE);
        for open in [0o640, 0o604, 0o644, 0o620, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).expect("chmod");
            let said = LocalKey::load_or_create(dir.path()).expect_err("too open").to_string();
            assert!(said.contains(&format!("run `chmod 600 {}`", path.display())), "{said}");
            assert!(said.contains(&format!("{open:04o}")), "{said}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("chmod");
        assert!(LocalKey::load_or_create(dir.path()).is_ok(), "stricter is fine");
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().expect("a folder");
        LocalKey::load_or_create(dir.path()).expect("made");
        for (mode, fits) in
            [(0o777, false), (0o770, false), (0o702, false), (0o755, true), (0o500, true), (0o1777, true)]
        {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("chmod");
            let read = LocalKey::load_or_create(dir.path());
            assert_eq!(read.is_ok(), fits, "{mode:o}");
            if let Err(error) = read {
                assert!(error.to_string().contains(&format!("run `chmod 700 {}`", dir.path().display())), "{error}");
            }
        }
    }

    #[test]
    fn a_key_that_somebody_else_may_have_planted_is_refused() {
        // Only root can give a file away.
        let (us, other) = (rustix::process::geteuid().as_raw(), 65_534);
        if us != 0 {
            assert!(check_owner(Path::new("key"), other).is_err() && check_owner(Path::new("key"), us).is_ok());
            return;
        }
        let dir = tempfile::tempdir().expect("a folder");
        LocalKey::load_or_create(dir.path()).expect("made");
        let key = dir.path().join(LOCAL_KEY_FILE);
        for path in [key.as_path(), dir.path()] {
            std::os::unix::fs::chown(path, Some(other), None).expect("chown");
            let said = LocalKey::load_or_create(dir.path()).expect_err("planted").to_string();
            assert!(said.contains(&format!("`chown 0 {}`", path.display())), "{said}");
            std::os::unix::fs::chown(path, Some(us), None).expect("chown");
        }
        assert!(LocalKey::load_or_create(dir.path()).is_ok());
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let put = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            let _missing = fs::remove_file(&path);
            write_draft(&path, bytes).expect("written");
        };
        let why = |error: KeyFileError| {
            let KeyFileError::NotAKey { why, .. } = error else { panic!("{error}") };
            why
        };
        put(LOCAL_KEY_FILE, &[7; 31]);
        assert_eq!(why(LocalKey::load_or_create(dir.path()).expect_err("short")), "is shorter than 32 bytes");
        put(LOCAL_KEY_FILE, &[7; 5000]);
        assert_eq!(why(LocalKey::load_or_create(dir.path()).expect_err("long")), "is longer than any key");
        put(GRANT_KEY_FILE, b"hello");
        assert_eq!(why(GrantKey::load_or_create(dir.path()).expect_err("text")), "is not a PEM of one private key");
        put(GRANT_KEY_FILE, to_pem(b"not a key").as_bytes());
        assert_eq!(why(GrantKey::load_or_create(dir.path()).expect_err("other")), "holds no Ed25519 key");
    }

    #[test]
    fn keys_do_not_print_themselves() {
        let key = LocalKey::from_bytes(vec![b'A'; 32]).expect("32 bytes");
        assert_eq!(format!("{key:?}"), "LocalKey");
    }

    #[test]
    fn the_key_id_is_the_jwk_thumbprint() {
        // RFC 8037 appendix A.3: this public key has this thumbprint.
        let public = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").expect("base64url");
        assert_eq!(thumbprint(&public), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
