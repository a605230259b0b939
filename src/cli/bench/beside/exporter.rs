//! Somebody who takes out one export after the other, reads each to its end and keeps nothing: on a thread of its own, so
//! that its work is not in the callers' times.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;
use tokio::sync::oneshot;

use super::super::bed::Service;
use super::past::Span;
use crate::cli::client::Client;

/// The kinds, with the query of each.
pub(super) const KINDS: [(&str, &str); 4] = [
    ("FOCUS, CSV", "focus?format=csv"),
    ("FOCUS, Parquet", "focus?format=parquet"),
    ("transfers, CSV", "transfers?format=csv"),
    ("transfers, Parquet", "transfers?format=parquet"),
];

/// One export.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Exported {
    /// Its place in [`KINDS`].
    pub(super) kind: usize,
    pub(super) seconds: f64,
    pub(super) bytes: u64,
    pub(super) transfers: u64,
}

/// Who exports.
pub(super) struct Exporter {
    address: SocketAddr,
    token: String,
    paths: Vec<String>,
    next: usize,
    /// What each kind took while nobody called.
    pub(super) alone: Vec<Exported>,
    /// What was exported while calls were made.
    pub(super) beside: Vec<Exported>,
}

/// Exports that are under way.
pub(super) struct Running {
    stop: Arc<AtomicBool>,
    ended: oneshot::Receiver<anyhow::Result<Vec<Exported>>>,
}

impl Exporter {
    pub(super) fn new(service: &Service, span: Span) -> Self {
        let Span { from, to } = span;
        let paths = KINDS.iter().map(|(_, query)| format!("/v1/exports/{query}&from={from}&to={to}")).collect();
        let token = service.token.clone();
        Self { address: service.address, token, paths, next: 0, alone: Vec::new(), beside: Vec::new() }
    }

    /// One of each kind, while nobody calls.
    ///
    /// # Errors
    /// When one has no end.
    pub(super) async fn alone(&mut self) -> anyhow::Result<()> {
        let mut client = Client::connect(self.address, &self.token).await?;
        for (kind, path) in self.paths.iter().enumerate() {
            self.alone.push(export(&mut client, kind, path).await?);
        }
        Ok(())
    }

    /// Begins to export, one after the other, until told to end.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(super) fn begin(&self) -> anyhow::Result<Running> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, ended) = oneshot::channel();
        let (address, token, paths, first) = (self.address, self.token.clone(), self.paths.clone(), self.next);
        let told = Arc::clone(&stop);
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let brought = runtime.map_err(Into::into).and_then(|runtime| {
                runtime.block_on(async {
                    let mut client = Client::connect(address, &token).await?;
                    let mut brought = Vec::new();
                    for (kind, path) in paths.iter().enumerate().cycle().skip(first) {
                        brought.push(export(&mut client, kind, path).await?);
                        if told.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    Ok(brought)
                })
            });
            // If nobody waits any more, the bench was interrupted.
            let _gone = sender.send(brought);
        };
        std::thread::Builder::new().name("exporter".to_owned()).spawn(work).context("no thread for exports")?;
        Ok(Running { stop, ended })
    }

    /// Keeps what was brought; the next time begins with the kind after the last.
    pub(super) fn keep(&mut self, brought: Vec<Exported>) {
        self.next = brought.last().map_or(0, |last| (last.kind + 1) % KINDS.len());
        self.beside.extend(brought);
    }
}

impl Running {
    /// Waits for the export that is under way, so that nothing of it is left in the slice that follows.
    ///
    /// # Errors
    /// When an export had no end.
    pub(super) async fn end(self) -> anyhow::Result<Vec<Exported>> {
        self.stop.store(true, Ordering::Relaxed);
        self.ended.await.context("the exporter panicked")?
    }
}

async fn export(client: &mut Client, kind: usize, path: &str) -> anyhow::Result<Exported> {
    let began = Instant::now();
    let read = client.read_through(path).await?;
    let transfers = read.transfers.with_context(|| format!("{path}: the answer does not say what it covers"))?;
    Ok(Exported { kind, seconds: began.elapsed().as_secs_f64(), bytes: read.bytes, transfers })
}
