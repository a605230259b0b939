//! The folder of the Unix socket: short (a socket's path has at most 107 bytes), ours alone, never trusted otherwise.
//!
//! Whoever may enter it is a superuser of the cluster (`trust`), so its owner and mode are the whole access control.

use std::{
    fmt::Write as _,
    fs::DirBuilder,
    io::ErrorKind,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{EmbeddedError, identity::Identity};

/// Names the socket (`.s.PGSQL.5432`); no port is opened.
pub(super) const PORT: u16 = 5432;

/// Where such folders may stand, best first: `/run` is for root only, and no cleaner of old files goes there.
const PARENTS: [&str; 3] = ["/run", "/tmp", "/var/tmp"];

/// Makes the socket folder of a data folder, or takes the one that is there, if it is safe.
pub(super) fn make(data_dir: &Path, identity: &Identity) -> Result<PathBuf, EmbeddedError> {
    let name = name_for(data_dir);
    let mut problem = String::new();
    for parent in PARENTS {
        let dir = Path::new(parent).join(&name);
        match make_at(&dir, identity) {
            Ok(()) => return Ok(dir),
            Err(error) => {
                let separator = if problem.is_empty() { "" } else { "; " };
                // Writing to a String cannot fail.
                let _ = write!(problem, "{separator}{}: {error}", dir.display());
            }
        }
    }
    Err(EmbeddedError::NoSocketDir { problem })
}

/// Removes the folder after the server has gone. A leftover harms nobody, so failures are of no interest.
pub(super) fn remove(dir: &Path) {
    let _ = std::fs::remove_dir(dir);
}

/// Refuses a socket folder that others could have prepared for us.
pub(super) fn check_owner(dir: &Path, owner: u32) -> Result<(), EmbeddedError> {
    match unsafe_because(dir, owner) {
        None => Ok(()),
        Some(reason) => Err(EmbeddedError::NoSocketDir { problem: format!("{} {reason}", dir.display()) }),
    }
}

fn make_at(dir: &Path, identity: &Identity) -> Result<(), String> {
    match DirBuilder::new().mode(0o700).create(dir) {
        // Nobody can have swapped a folder that root just made in a sticky parent, so it may be handed over by name.
        Ok(()) => identity.give(dir).map_err(|error| error.to_string())?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.to_string()),
    }
    unsafe_because(dir, identity.user()).map_or(Ok(()), |reason| Err(reason.to_owned()))
}

fn unsafe_because(dir: &Path, owner: u32) -> Option<&'static str> {
    match std::fs::symlink_metadata(dir) {
        Err(_) => Some("cannot be read"),
        Ok(metadata) if !metadata.is_dir() => Some("is not a folder"),
        Ok(metadata) if metadata.uid() != owner => Some("belongs to somebody else"),
        Ok(metadata) if metadata.mode() & 0o077 != 0 => Some("is open to others"),
        Ok(_) => None,
    }
}

/// `counterfoil-` and 16 hex digits of the SHA-256 of the folder's canonical path.
fn name_for(data_dir: &Path) -> String {
    let digest = Sha256::digest(data_dir.as_os_str().as_bytes());
    digest.iter().take(8).fold("counterfoil-".to_owned(), |mut name, byte| {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_socket_path_is_short_however_long_the_data_folder_is() {
        let long = PathBuf::from(format!("/{}", "x".repeat(3000)));
        let path = Path::new("/var/tmp").join(name_for(&long)).join(format!(".s.PGSQL.{PORT}"));
        assert!(path.as_os_str().len() <= 107);
        assert_ne!(name_for(&long), name_for(Path::new("/other")));
    }

    #[test]
    fn a_folder_that_others_own_or_can_enter_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let us = rustix::process::geteuid().as_raw();
        let dir = parent.path().join("socket");
        assert_eq!(unsafe_because(&dir, us), Some("cannot be read"));
        DirBuilder::new().mode(0o700).create(&dir).unwrap();
        assert_eq!(unsafe_because(&dir, us), None);
        assert_eq!(unsafe_because(&dir, us + 1), Some("belongs to somebody else"));
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(unsafe_because(&dir, us), Some("is open to others"));
        let link = parent.path().join("link");
        symlink(&dir, &link).unwrap();
        assert_eq!(unsafe_because(&link, us), Some("is not a folder"));
    }
}
