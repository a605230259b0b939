//! Bringing the service up and down: what `serve`, `demo` and `bench` share.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::trust::{self, Sources};
use crate::app::{App, start};
use crate::auth::{GrantKey, GrantSigner, LocalKey, SealKey, TokenRules, Verifier};
use crate::clock::Clock;
use crate::config::{AuthArgs, ConnectionArgs, Environment, MetricsAccess, OtlpArgs, StoreArgs, WebhookArgs};
use crate::courier::{Courier, roots_of_pem};
use crate::domain::id::{FeatureId, TenantId};
use crate::domain::ledger::call_bound::CallBound;
use crate::http::connections::{self, ConnectionRules};
use crate::http::service::{metrics_alone, service};
use crate::http::state::{HttpState, MetricsShown};
use crate::ingest::mapping::Mapping;
use crate::store::embedded::{Ownership, Report};
use crate::store::open::{Opened, open_store};
use crate::telemetry;

/// A service that answers.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its parts.
    pub app: App,
    /// The key that local tokens are minted with.
    pub local_key: LocalKey,
    /// What tokens must say.
    pub rules: TokenRules,
    opened: Opened,
    stop: CancellationToken,
    tasks: TaskTracker,
    server: JoinHandle<()>,
}

/// The rules for tokens that the options name.
#[must_use]
pub fn token_rules(args: &AuthArgs) -> TokenRules {
    let mut rules = TokenRules::local();
    if !args.issuer.is_empty() {
        rules.issuers.clone_from(&args.issuer);
    }
    rules.audience.clone_from(&args.audience);
    rules.tenant_required = args.require_tenant;
    rules
}

/// What the attributes of spans mean, as the options say.
fn otlp_mapping(args: &OtlpArgs) -> anyhow::Result<Mapping> {
    let mut mapping = start::standard_mapping()?;
    for (names, given) in [
        (&mut mapping.tenant, &args.otlp_tenant),
        (&mut mapping.feature, &args.otlp_feature),
        (&mut mapping.run, &args.otlp_run),
        (&mut mapping.agent, &args.otlp_agent),
        (&mut mapping.region, &args.otlp_region),
    ] {
        if !given.is_empty() {
            names.clone_from(given);
        }
    }
    if let Some(tenant) = &args.otlp_tenant_default {
        mapping.tenant_default = Some(TenantId::parse(tenant).context("--otlp-tenant-default")?);
    }
    if let Some(feature) = &args.otlp_feature_default {
        mapping.feature_default = FeatureId::parse(feature).context("--otlp-feature-default")?;
    }
    Ok(mapping)
}

/// Who takes events to endpoints, as the options say.
fn courier(args: &WebhookArgs) -> anyhow::Result<Courier> {
    let roots = match &args.webhook_ca {
        None => Vec::new(),
        Some(path) => {
            let pem = std::fs::read(path).with_context(|| format!("--webhook-ca {} cannot be read", path.display()))?;
            roots_of_pem(&pem).with_context(|| format!("--webhook-ca {}", path.display()))?
        }
    };
    Ok(Courier::new(args.webhook_private_addresses, roots))
}

/// What the service takes from others' instruments, and where it sends what it tells.
#[derive(Debug, Clone, Copy)]
pub struct Edges<'a> {
    /// What the attributes of spans mean.
    pub otlp: &'a OtlpArgs,
    /// Where events may be sent.
    pub webhooks: &'a WebhookArgs,
    /// What a client may do before it shows who it is.
    pub connections: &'a ConnectionArgs,
    /// How many tokens one call can have.
    pub call_bound: CallBound,
}

/// Open files that are no connections of clients: the store, exports, webhooks, logs and keys, with room.
const OPEN_FILES_ASIDE: u64 = 512;
/// Longest time, after the last connection, until what waits is written and the pool is closed.
const STOP_TAIL_MAX: Duration = Duration::from_secs(10);

/// Raises the limit of open files to the hard one, and says how many there may be; none where there is no limit.
fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() { maximum } else { current }
}

/// What bounds connections, by the options and by the files that may be open.
fn connection_rules(args: &ConnectionArgs, open_files: Option<u64>) -> ConnectionRules {
    let count = |number: NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
    let wanted = count(args.connections_max);
    let allowed = open_files.map_or(usize::MAX, |files| {
        // A system that allows next to nothing still gets half of that.
        usize::try_from(files.saturating_sub(OPEN_FILES_ASIDE).max(files / 2)).unwrap_or(usize::MAX)
    });
    let max = wanted.min(allowed);
    if max < wanted {
        tracing::warn!(
            wanted,
            max,
            "fewer connections than --connections-max: raise the limit of open files (ulimit -n)"
        );
    }
    let half = max.div_ceil(2);
    ConnectionRules {
        max,
        per_address_max: args.connections_per_address_max.map_or(half, |number| count(number).min(max)),
        header_time_max: Duration::from_secs(args.header_seconds_max.get().into()),
        idle_time_max: Duration::from_secs(args.idle_seconds_max.get().into()),
        stop_time_max: Duration::from_secs(args.stop_seconds_max.get().into()),
    }
}

/// Opens the store, prepares it, and starts to listen.
///
/// # Errors
/// Says what stood in the way.
pub async fn boot(
    store: &StoreArgs,
    auth: &AuthArgs,
    edges: Edges<'_>,
    environment: &Environment,
    listen: SocketAddr,
    report: Report,
    metrics: PrometheusHandle,
) -> anyhow::Result<Running> {
    let clock = Clock::system();
    let rules_of_connections = connection_rules(edges.connections, raise_open_files());
    let opened = open_store(store, environment, Ownership::Exclusive, Arc::clone(&report)).await?;
    let prepared = start::prepare(&opened.connect_options(), &clock).await?;
    if prepared.prices + prepared.factors > 0 {
        report(&format!("imported {} prices and {} emission factors", prepared.prices, prepared.factors));
    }
    let keys_dir = auth.keys_dir(store, environment)?;
    let sources = Sources { jwks: auth.jwks.clone(), keys_dir: keys_dir.clone() };
    let trusted = sources.read()?;
    let local_key = trusted.local.clone();
    let rules = token_rules(auth);
    let verifier = Arc::new(Verifier::new(rules.clone(), trusted.keys()?));
    let grants = Arc::new(GrantSigner::new(GrantKey::load_or_create(&keys_dir)?));
    let seals = Arc::new(SealKey::load_or_create(&keys_dir)?);
    let tasks = TaskTracker::new();
    let mapping = otlp_mapping(edges.otlp)?;
    let stop = CancellationToken::new();
    tasks.spawn(trust::follow(sources, trusted, Arc::clone(&verifier), stop.clone()));
    let mut app = start::start(&opened.connect_options(), clock, verifier, grants, seals, &tasks).await?;
    app.courier = courier(edges.webhooks)?;
    app.otlp = Arc::new(mapping);
    app.call_bound = edges.call_bound;
    let shown = match edges.connections.metrics {
        MetricsAccess::Open => MetricsShown::Open,
        MetricsAccess::Token => MetricsShown::WithToken,
        MetricsAccess::Listen(_) => MetricsShown::Elsewhere,
    };
    if let MetricsAccess::Listen(address) = edges.connections.metrics {
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        report(&format!("metrics are at http://{}/metrics", listener.local_addr()?));
        let router = metrics_alone(HttpState::new(app.clone(), metrics.clone()));
        tasks.spawn(connections::serve(listener, router, rules_of_connections, stop.clone()));
    }
    let router = service(HttpState::new(app.clone(), metrics).showing_metrics(shown))?;
    // After an outage the plans that are there are out of date: new ones are made before the first call is taken.
    if let Err(error) = app.keep_pace().await {
        tracing::warn!(%error, "paces could not be planned before the start");
    }
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let stopped = stop.clone();
    tasks.spawn(crate::worker::alerts::run(app.clone(), stop.clone()));
    tasks.spawn(crate::worker::run(app.clone(), stop.clone()));
    tasks.spawn(crate::worker::learning::run(app.clone(), stop.clone()));
    tasks.spawn(crate::worker::project(app.clone(), stop.clone()));
    tasks.spawn(crate::worker::keep_pace(app.clone(), stop.clone()));
    let server = tasks.spawn(connections::serve(listener, router, rules_of_connections, stopped));
    Ok(Running { address, app, local_key, rules, opened, stop, tasks, server })
}

impl Running {
    /// Waits until the private Postgres has ended by itself, which no service survives; for ever otherwise.
    pub async fn store_ended(&self) {
        self.opened.ended().await;
    }

    /// Which Postgres it stands on.
    #[must_use]
    pub fn place(&self) -> String {
        self.opened.place()
    }

    /// Stops: takes no more requests, answers those that are under way, writes what waits, stops a private Postgres. Each of
    /// these has its time: whatever a client or a slow database does, the service ends.
    ///
    /// # Errors
    /// When something does not stop.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { app, opened, stop, tasks, server, .. } = self;
        stop.cancel();
        server.await.context("the server panicked")?;
        let (pool, probe) = (app.pool.clone(), app.probe.clone());
        // The lane ends when the last sender is gone.
        drop(app);
        tasks.close();
        let tail = async {
            tasks.wait().await;
            pool.close().await;
            probe.close().await;
        };
        if tokio::time::timeout(STOP_TAIL_MAX, tail).await.is_err() {
            // What is not committed was answered to nobody.
            tracing::warn!("stopped without waiting for work that does not end");
        }
        Ok(opened.stop().await?)
    }
}

/// Starts logs, spans and metrics.
///
/// # Errors
/// When the filter or the endpoint is not understood.
pub fn start_telemetry(environment: &Environment) -> anyhow::Result<(telemetry::SpanExport, PrometheusHandle)> {
    let settings = telemetry::TelemetrySettings {
        filter: environment.log_filter.clone(),
        otlp_endpoint: environment.otlp_endpoint.clone(),
    };
    Ok((telemetry::start(&settings)?, telemetry::start_metrics()?))
}
