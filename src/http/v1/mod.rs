//! The resources of version 1, one file each. A handler authenticates, translates, calls one use case, translates back.
//!
//! | file | routes |
//! |---|---|
//! | [`preflight`] | `/v1/preflight`, `/v1/preflight/batch` |
//! | [`reservations`] | `/v1/reservations/{id}` and its settle, extend, release |
//! | [`usage`] | `/v1/usage` |
//! | [`otlp`] | `/v1/otlp/v1/traces` |
//! | [`usage_accuracy`] | `/v1/usage/accuracy` |
//! | [`ledger`] | `/v1/ledger/transfers`, `/v1/ledger/accounts`, `/v1/ledger/trial-balance` |
//! | [`verdicts`] | `/v1/verdicts` |
//! | [`runs`] | `/v1/runs/{id}` and its stop, resume |
//! | [`signals`] | `/v1/signals` |
//! | [`tenants`] | `/v1/tenants` |
//! | [`budgets`] | `/v1/budgets` |
//! | [`projections`] | `/v1/budgets/{id}/projection` and its what-if and fair split, `/v1/projections/accuracy` |
//! | [`planned_usage`] | `/v1/planned-usage` |
//! | [`prices`], [`factors`] | `/v1/prices`, `/v1/factors` |
//! | [`estimate`] | `/v1/estimate` |
//! | [`reconciliations`] | `/v1/reconciliations` and their approval |
//! | [`restatements`] | `/v1/restatements` |
//! | [`periods`] | `/v1/periods`, `/v1/periods/close` |
//! | [`calendar`] | `/v1/calendar/period` |
//! | [`exports_reports`] | `/v1/exports/hledger`, `ledger`, `beancount`, `ghg`, `sci` |
//! | [`exports`] | `/v1/exports/transfers`, `/v1/exports/focus` |
//! | [`events`] | `/v1/events`, `/v1/alerts` |
//! | [`webhooks`] | `/v1/webhooks` and its resume, test |
//! | [`about`] | `/v1/about` |

pub mod about;
pub mod budgets;
pub mod calendar;
pub mod estimate;
pub mod events;
pub mod exports;
pub mod exports_reports;
pub mod factors;
pub mod ledger;
pub mod otlp;
pub mod periods;
pub mod planned_usage;
pub mod preflight;
pub mod prices;
pub mod projections;
pub mod reconciliations;
pub mod reservations;
pub mod restatements;
pub mod runs;
pub mod signals;
pub mod tenants;
pub mod usage;
pub mod usage_accuracy;
mod usage_lines;
pub mod verdicts;
pub mod webhooks;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::problem::Problem;
use super::state::HttpState;
use crate::app::given::Given;
use crate::domain::access::Caller;
use crate::domain::id::{IdempotencyKey, TenantId};
use crate::domain::ledger::command::{Idempotency, KeySpace};
use crate::wire::answer::{RetryBody, VerdictName};

/// The head of the document. Everything else comes from the handlers.
#[derive(OpenApi)]
#[openapi(info(title = "Counterfoil"))]
struct Document;

/// The header that says that an answer is the one that was given to the same `Idempotency-Key` before.
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// All routes, with their document.
#[must_use]
pub fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(preflight::routes())
        .merge(reservations::routes())
        .merge(usage::routes())
        .merge(otlp::routes())
        .merge(usage_accuracy::routes())
        .merge(ledger::routes())
        .merge(verdicts::routes())
        .merge(events::routes())
        .merge(webhooks::routes())
        .merge(runs::routes())
        .merge(signals::routes())
        .merge(tenants::routes())
        .merge(budgets::routes())
        .merge(projections::routes())
        .merge(planned_usage::routes())
        .merge(prices::routes())
        .merge(factors::routes())
        .merge(estimate::routes())
        .merge(reconciliations::routes())
        .merge(restatements::routes())
        .merge(periods::routes())
        .merge(calendar::routes())
        .merge(exports::routes())
        .merge(exports_reports::routes())
        .merge(about::routes())
}

/// A key with what was asked under it. `operation` and `body` together are what a retry must repeat.
fn idempotency<T: Serialize>(
    caller: &Caller,
    key: Option<IdempotencyKey>,
    operation: &str,
    body: &T,
) -> Option<Idempotency> {
    let key = key?;
    let mut digest = Sha256::new();
    digest.update(operation.as_bytes());
    digest.update([0]);
    // A body that was just parsed can be written again; the fields' order is fixed by its type.
    digest.update(serde_json::to_vec(body).unwrap_or_default());
    Some(Idempotency { space: KeySpace(caller.tenant.clone()), key, fingerprint: digest.finalize().into() })
}

/// Says that an answer is the one that was given to the same key before.
fn mark_repeated(headers: &mut HeaderMap, is_repeated: bool) {
    if is_repeated {
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
}

/// An answer, with the header that says whether it was given before.
/// The budget that a list is asked about, if one is named, as it is kept.
async fn budget_filter(
    state: &HttpState,
    named: Option<&str>,
    confined: Option<&TenantId>,
) -> Result<Option<String>, Problem> {
    let Some(named) = named else { return Ok(None) };
    Ok(Some(state.app.budget_named("budget", named, confined).await?.to_string()))
}

fn told<T>(given: Given<T>) -> (HeaderMap, Json<T>) {
    let mut headers = HeaderMap::new();
    mark_repeated(&mut headers, given.is_repeated);
    (headers, Json(given.answer))
}

/// `Retry-After`, only with `wait`: a `stop` never sends one, because known SDKs sleep for as long as it says. None of an
/// instant that has passed.
fn wait_header(headers: &mut HeaderMap, verdict: VerdictName, retry: Option<&RetryBody>, now: DateTime<Utc>) {
    let Some(retry) = retry.filter(|retry| retry.not_before.is_none_or(|at| at >= now)) else { return };
    if let (VerdictName::Wait, Some(after)) = (verdict, retry.after_s) {
        headers.insert(RETRY_AFTER, after.into());
    }
}
