//! All of it assembled: the routes of version 1, the document, health, metrics, public keys.

use axum::Router;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use chrono::TimeDelta;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Auth;
use super::openapi::{self, Contract, complete};
use super::problem::{Problem, ProblemCode};
use super::state::{HttpState, MetricsShown};
use super::{middleware, v1};
use crate::domain::access::{Action, may};
use crate::telemetry::names;

const WRITES_NOTHING: &str = "Takes no `Idempotency-Key`: it writes nothing.";

const CONTRACT: Contract = Contract {
    tags: &[
        ("preflight", "Ask before a call."),
        ("reservations", "Settle, extend, release what was granted."),
        ("usage", "Post and query what was used."),
        ("ledger", "The books: transfers, accounts, the trial balance."),
        ("runs", "What an agent's task may still do."),
        ("verdicts", "What was refused, and why."),
        ("events", "What people should hear of: alerts raised and cleared, as a list and as a stream."),
        ("webhooks", "Endpoints that events are sent to, signed."),
        ("signals", "What providers said about their limits."),
        ("tenants", "Customers and their zones."),
        ("budgets", "Limits, and how they stand."),
        ("projections", "When a budget runs out, whose work it hits, and what would change it."),
        ("prices", "The price book: dated, sourced, append-only."),
        ("factors", "The factor book: dated, sourced, append-only."),
        ("estimate", "What a call would cost, and why."),
        ("reconciliations", "A provider's report against the books, and its true-ups."),
        ("restatements", "Recorded grams, said anew by the factor book as it is now."),
        ("periods", "What is closed."),
        ("calendar", "Which period holds an instant."),
        ("exports", "Whole periods, taken out as files that tie to the trial balance."),
        ("about", "What the service is made of."),
        ("service", "Health, metrics, public keys: for the machines around the service."),
    ],
    posts_without_key: &[
        ("estimateCall", WRITES_NOTHING),
        ("exportSpans", "Takes no `Idempotency-Key`: spans are known by their own ids."),
        ("findPeriod", WRITES_NOTHING),
        ("projectWhatIf", WRITES_NOTHING),
    ],
    public: &["checkHealth", "checkReadiness", "readMetrics", "readGrantKeys"],
};

/// The document, complete.
#[must_use]
pub fn document() -> OpenApi {
    complete(all_routes().to_openapi(), &CONTRACT)
}

fn all_routes() -> OpenApiRouter<HttpState> {
    v1::routes()
        .routes(routes!(check_health))
        .routes(routes!(check_readiness))
        .routes(routes!(read_metrics))
        .routes(routes!(read_grant_keys))
}

/// The service: every route, wrapped in what every request passes.
///
/// # Errors
/// When the document cannot be written as JSON.
pub fn service(state: HttpState) -> Result<Router, serde_json::Error> {
    let clock = state.app.clock.clone();
    let (api, _) = all_routes().split_for_parts();
    let routes = api.merge(openapi::routes(&document())?).with_state(state);
    Ok(middleware::wrap(routes, clock))
}

/// The metrics and nothing else, for an address of their own.
pub fn metrics_alone(state: HttpState) -> Router {
    let clock = state.app.clock.clone();
    middleware::wrap(Router::new().route("/metrics", get(read_metrics)).with_state(state), clock)
}

/// Is the process alive
///
/// Answers as long as the process does, whatever its database does.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    responses((status = 200, description = "The process is alive.", body = String, content_type = "text/plain"))
)]
async fn check_health() -> &'static str {
    "ok"
}

/// Can the service answer
///
/// Asks the database: a replica that cannot reach it, or whose last batch could not be written, should get no calls. A clock
/// that is off by more than a second from what the database has seen is said here, and refuses nothing.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses((status = 200, description = "The database answers.", body = String, content_type = "text/plain"))
)]
async fn check_readiness(State(state): State<HttpState>) -> Result<String, Problem> {
    state.app.catch_up().await?;
    if state.app.snapshots.standing.is_failing(state.app.clock.now()) {
        return Err(Problem::store_unavailable("the last batch could not be written"));
    }
    Ok(match state.app.clock.off() {
        None => "ready".to_owned(),
        Some(off) => {
            let (by, way) = (off.abs().as_seconds_f64(), if off < TimeDelta::zero() { "behind" } else { "ahead of" });
            format!("ready, but this machine's clock is {by:.1} s {way} what the database has seen: synchronise it")
        }
    })
}

/// Metrics for Prometheus
///
/// What each means is in `docs/reference/telemetry.md`. No tenant, model or run is ever a label. With `--metrics token` it needs a
/// token of the platform with the scope `read`; with an address there it is not here.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    responses((status = 200, description = "The metrics, in Prometheus' text format.", body = String, content_type = "text/plain"))
)]
async fn read_metrics(State(state): State<HttpState>, request: Request) -> Result<Response, Problem> {
    match state.metrics_shown {
        MetricsShown::Open => {}
        MetricsShown::WithToken => {
            let (mut parts, _) = request.into_parts();
            let Auth(caller) = Auth::from_request_parts(&mut parts, &state).await?;
            may(&caller, Action::Read, None)?;
        }
        MetricsShown::Elsewhere => {
            let detail = "the metrics have an address of their own: see --metrics of `serve`";
            return Err(Problem::with_detail(ProblemCode::NotFound, detail));
        }
    }
    metrics::gauge!(names::LANE_QUEUE).set(u32::try_from(state.app.lane.queued()).unwrap_or(u32::MAX));
    metrics::gauge!(names::STORE_CONNECTIONS).set(state.app.pool.size());
    Ok((StatusCode::OK, [("content-type", "text/plain; version=0.0.4")], state.metrics.render()).into_response())
}

/// Keys that grants are signed with
///
/// A JSON Web Key Set: with it a gateway checks a grant without asking the service.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "service",
    responses((status = 200, description = "The public keys.", body = serde_json::Value))
)]
async fn read_grant_keys(State(state): State<HttpState>) -> Json<serde_json::Value> {
    Json(state.app.grants.public_jwks())
}
