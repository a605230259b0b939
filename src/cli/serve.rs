//! `counterfoil serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::boot::{Edges, Running, boot, start_telemetry};
use crate::config::{AuthArgs, ConnectionArgs, Environment, OtlpArgs, StoreArgs, WebhookArgs};
use crate::domain::amounts::TOKENS_MAX;
use crate::domain::ledger::call_bound::{CALL_TOKENS_MAX, CallBound};

/// Serve the HTTP API.
///
/// With `DATABASE_URL` it uses that Postgres (14 or newer); without, it makes and starts a private one in the data folder.
/// Stops cleanly on SIGTERM and Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  counterfoil serve --listen 127.0.0.1:8080 --data-dir ./books\n  curl -s localhost:8080/readyz"
)]
pub struct ServeArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    webhooks: WebhookArgs,
    #[command(flatten)]
    otlp: OtlpArgs,
    #[command(flatten)]
    connections: ConnectionArgs,
    /// Address to listen on; port 0 picks one and prints it
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080", env = "COUNTERFOIL_LISTEN")]
    listen: SocketAddr,
    /// Most tokens of one call: a request that says more is refused, because no model can serve it
    #[arg(
        long,
        value_name = "TOKENS",
        default_value_t = CALL_TOKENS_MAX,
        value_parser = clap::value_parser!(u64).range(1..=TOKENS_MAX),
        env = "COUNTERFOIL_CALL_TOKENS_MAX"
    )]
    call_tokens_max: u64,
}

pub(super) async fn run(args: &ServeArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let (_spans, metrics) = start_telemetry(environment)?;
    let report = Arc::new(|line: &str| tracing::info!("{line}"));
    // Before anything that takes long: a signal during the start must still stop the private Postgres cleanly.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let call_bound = CallBound(args.call_tokens_max);
    let edges = Edges { otlp: &args.otlp, webhooks: &args.webhooks, connections: &args.connections, call_bound };
    let running = boot(&args.store, &args.auth, edges, environment, args.listen, report, metrics).await?;
    say(&format!("listening on http://{} (API pages at /docs)", running.address))?;
    tracing::info!(store = running.place(), "ready");
    let by_store = tokio::select! {
        _ = terminated.recv() => false,
        _ = interrupted.recv() => false,
        () = running.store_ended() => true,
    };
    stop(running).await?;
    if by_store {
        anyhow::bail!("the private Postgres has ended; see postgres.log in the data folder");
    }
    Ok(ExitCode::SUCCESS)
}

async fn stop(running: Running) -> anyhow::Result<()> {
    tracing::info!("stopping: no new requests, what is under way is answered");
    running.stop().await.context("the service did not stop cleanly")
}

/// A line for people and for scripts that wait for it.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
