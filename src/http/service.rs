//! All of it assembled: the routes of version 1, the document, health, metrics, public keys.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use utoipa::openapi::OpenApi;

use super::openapi::{Contract, complete, routes};
use super::problem::Problem;
use super::state::HttpState;
use super::{middleware, v1};

const CONTRACT: Contract = Contract {
    tags: &[
        ("preflight", "Ask before a call."),
        ("reservations", "Settle, extend, release what was granted."),
        ("usage", "Post and query what was used."),
        ("tenants", "Customers and their zones."),
        ("budgets", "Limits, and how they stand."),
        ("prices", "The price book: dated, sourced, append-only."),
        ("factors", "The factor book: dated, sourced, append-only."),
        ("estimate", "What a call would cost, and why."),
        ("calendar", "Which period holds an instant."),
        ("about", "What the service is made of."),
    ],
    posts_that_only_read: &["estimateCall", "findPeriod"],
    public: &[],
};

/// The document, complete.
#[must_use]
pub fn document() -> OpenApi {
    complete(v1::routes().to_openapi(), &CONTRACT)
}

/// The service: every route, wrapped in what every request passes.
///
/// # Errors
/// When the document cannot be written as JSON.
pub fn service(state: HttpState) -> Result<Router, serde_json::Error> {
    let clock = state.app.clock.clone();
    let (api, _) = v1::routes().split_for_parts();
    let routes = api
        .merge(routes(&document())?)
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(state);
    Ok(middleware::wrap(routes, clock))
}

/// The process is alive.
async fn healthz() -> &'static str {
    "ok"
}

/// The database answers, so that the service can.
async fn readyz(State(state): State<HttpState>) -> Result<&'static str, Problem> {
    state.app.catch_up().await?;
    Ok("ready")
}

async fn metrics(State(state): State<HttpState>) -> Response {
    (StatusCode::OK, [("content-type", "text/plain; version=0.0.4")], state.metrics.render()).into_response()
}

/// The keys that grants are signed with.
async fn jwks(State(state): State<HttpState>) -> Json<serde_json::Value> {
    Json(state.app.grants.public_jwks())
}
