//! A command that writes: one more replica beside a running service, without HTTP.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::app::{App, start};
use crate::auth::{GrantKey, GrantSigner, LocalKey, SealKey, TokenRules, TrustedKeys, Verifier};
use crate::clock::Clock;
use crate::config::{AuthArgs, Environment, StoreArgs, StoreChoice};
use crate::store::embedded::Ownership;
use crate::store::open::{Opened, open_store};

/// The replica, and what ends with it.
pub(super) struct Beside {
    pub(super) app: App,
    tasks: TaskTracker,
    opened: Opened,
}

impl Beside {
    /// Starts it on the books that the options name.
    pub(super) async fn start(store: &StoreArgs, auth: &AuthArgs, environment: &Environment) -> anyhow::Result<Self> {
        if let StoreChoice::Private { data_dir } = store.choose(environment)? {
            let there = data_dir.is_dir();
            anyhow::ensure!(there, "there is no folder {}: name the one that `serve` uses", data_dir.display());
        }
        let opened = open_store(store, environment, Ownership::Beside, Arc::new(|_: &str| {})).await?;
        let clock = Clock::system();
        let options = opened.connect_options();
        start::prepare(&options, &clock).await?;
        // Nobody asks for tokens or grants here; the keys are those of the service.
        let keys_dir = auth.keys_dir(store, environment)?;
        let keys = TrustedKeys::none().with_local(&LocalKey::load_or_create(&keys_dir)?);
        let verifier = Arc::new(Verifier::new(TokenRules::local(), keys));
        let grants = Arc::new(GrantSigner::new(GrantKey::load_or_create(&keys_dir)?));
        let seals = Arc::new(SealKey::load_or_create(&keys_dir)?);
        let tasks = TaskTracker::new();
        let app = start::start(&options, clock, verifier, grants, seals, &tasks).await?;
        Ok(Self { app, tasks, opened })
    }

    /// Ends it, once everything that was sent is written.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let Self { app, tasks, opened } = self;
        let pool = app.pool.clone();
        // The lane ends when its last sender is gone.
        drop(app);
        tasks.close();
        tasks.wait().await;
        pool.close().await;
        opened.stop().await?;
        Ok(())
    }
}
