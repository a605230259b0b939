//! Whose keys are trusted, and that they are looked at again while the service runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::auth::{LocalKey, TrustedKeys, Verifier};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Where trusted keys come from.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    /// `--jwks`: a file, or the JSON itself.
    pub(super) jwks: Option<String>,
    /// The folder of the local key.
    pub(super) keys_dir: PathBuf,
}

/// What was found there.
pub(super) struct Found {
    jwks: Option<String>,
    pub(super) local: LocalKey,
}

impl Found {
    fn is(&self, other: &Self) -> bool {
        self.jwks == other.jwks && self.local.is(&other.local)
    }

    pub(super) fn keys(&self) -> anyhow::Result<TrustedKeys> {
        let mut keys = TrustedKeys::none().with_local(&self.local);
        if let Some(json) = &self.jwks {
            for skipped in keys.add_jwks(json).context("--jwks is not a usable key set")? {
                tracing::warn!(?skipped, "a key of --jwks is not used");
            }
        }
        Ok(keys)
    }
}

impl Sources {
    /// Reads the files; the local key is made where there is none.
    pub(super) fn read(&self) -> anyhow::Result<Found> {
        let jwks = match &self.jwks {
            None => None,
            Some(json) if json.trim_start().starts_with('{') => Some(json.clone()),
            Some(file) => Some(
                std::fs::read_to_string(Path::new(file)).with_context(|| format!("--jwks {file} cannot be read"))?,
            ),
        };
        Ok(Found { jwks, local: LocalKey::load_or_create(&self.keys_dir)? })
    }

    /// Trusts what is there now, if it is not what was there before.
    fn look(&self, trusted: &mut Found, verifier: &Verifier) -> anyhow::Result<()> {
        let found = self.read()?;
        if !found.is(trusted) {
            verifier.reload(found.keys()?);
            *trusted = found;
            tracing::info!("the trusted keys have changed");
        }
        Ok(())
    }
}

/// Follows the files until the service stops. What cannot be read is said once, and the last good keys stay.
pub(super) async fn follow(sources: Sources, mut trusted: Found, verifier: Arc<Verifier>, stop: CancellationToken) {
    let mut said = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        // Two small files: less than handing them to another thread.
        match sources.look(&mut trusted, &verifier) {
            Ok(()) => said = false,
            Err(error) if !said => {
                said = true;
                tracing::warn!(error = format!("{error:#}"), "the trusted keys stay as they were");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::auth::{AuthError, Caller, Scope, ScopeSet, TokenRules, mint};

    const SET: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    #[test]
    fn a_key_that_is_taken_away_is_not_trusted_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        std::fs::write(&file, SET).unwrap();
        let sources = Sources { jwks: Some(file.display().to_string()), keys_dir: dir.path().join("keys") };
        let mut trusted = sources.read().unwrap();
        let verifier = Verifier::new(TokenRules::local(), trusted.keys().unwrap());
        let now = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let caller = Caller { subject: Arc::from("a"), scopes: ScopeSet::of(&[Scope::Read]), tenant: None };
        let token = mint(&trusted.local, &TokenRules::local(), &caller, now, TimeDelta::hours(1)).unwrap();
        sources.look(&mut trusted, &verifier).unwrap();
        assert!(verifier.verify(&token, now).is_ok(), "nothing has changed");

        std::fs::write(&file, "{ half of a file").unwrap();
        assert!(sources.look(&mut trusted, &verifier).is_err());
        assert!(verifier.verify(&token, now).is_ok(), "the last good keys stay");

        std::fs::write(&file, SET).unwrap();
        std::fs::remove_file(dir.path().join("keys/local.key")).unwrap();
        sources.look(&mut trusted, &verifier).unwrap();
        assert_eq!(verifier.verify(&token, now), Err(AuthError::OtherInstallation));
    }
}
