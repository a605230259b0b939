//! A command that writes: one more replica beside a running service, without HTTP.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::books::open_books;
use crate::app::{App, start};
use crate::auth::{GrantKey, GrantSigner, SealKey, TokenRules, TrustedKeys, Verifier};
use crate::clock::Clock;
use crate::config::{Environment, StoreArgs};
use crate::store::open::Opened;

/// The replica, and what ends with it.
pub(super) struct Beside {
    pub(super) app: App,
    tasks: TaskTracker,
    opened: Opened,
}

impl Beside {
    /// Starts it on the books that the options name.
    pub(super) async fn start(store: &StoreArgs, environment: &Environment) -> anyhow::Result<Self> {
        let opened = open_books(store, environment, Arc::new(|_: &str| {})).await?;
        let clock = Clock::system();
        let options = opened.connect_options();
        start::prepare(&options, &clock).await?;
        // Nobody asks for tokens or grants here, and nothing is sent to an endpoint: no key of the service is needed, or made.
        let verifier = Arc::new(Verifier::new(TokenRules::local(), TrustedKeys::none()));
        let grants = Arc::new(GrantSigner::new(GrantKey::generate()?));
        let seals = Arc::new(SealKey::generate()?);
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
