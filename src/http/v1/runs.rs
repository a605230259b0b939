//! Runs: stop one, let it go on, look at it.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::permit::{self, Permit};
use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson, ValidPath, ValidQuery};
use super::{idempotency, told};
use crate::domain::access::{Action as Access, Caller, confine, may};
use crate::domain::id::{RunId, TenantId};
use crate::wire::required;
use crate::wire::run::{ResumeRunBody, RunBody, StopRunBody};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(get_run)).routes(routes!(stop_run)).routes(routes!(resume_run))
}

/// Whose run.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RunQuery {
    /// Whose run it is; not needed with a token that is confined to a tenant.
    #[param(example = "acme", required = true)]
    tenant: Option<String>,
}

/// The tenant that is named, once the caller is known to have the scope and to reach it.
fn whose(caller: &Caller, access: Access, tenant: &str) -> Result<TenantId, Problem> {
    // The scope before anything else: a bad name must not tell whether the token could.
    confine(caller, access, None)?;
    let tenant: TenantId = required("tenant", tenant)?;
    may(caller, access, Some(&tenant))?;
    Ok(tenant)
}

/// Get a run
///
/// Whether it was stopped, and how the budgets stand that count each run. What it used is the answer of `/v1/usage`.
#[utoipa::path(
    get,
    path = "/v1/runs/{id}",
    tag = "runs",
    params(("id" = String, Path, description = "The run, as its calls name it.", example = "r-42"), RunQuery),
    responses((status = 200, description = "How the run stands.", body = RunBody))
)]
async fn get_run(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<RunQuery>,
) -> Result<Json<RunBody>, Problem> {
    let own = confine(&caller, Access::Read, None)?;
    let named = query.tenant.as_deref().or(own.as_ref().map(TenantId::as_str)).unwrap_or_default();
    let tenant = whose(&caller, Access::Read, named)?;
    let run: RunId = required("id", &id)?;
    let mut found = state.app.run(&tenant, &run, caller.tenant.as_ref()).await?;
    state.app.show_names(caller.tenant.as_ref(), &mut found);
    Ok(Json(found))
}

/// Stop a run
///
/// From the next batch on every pre-flight of the run answers `stop` with the reason `run_stopped`, on every replica, until
/// the run is resumed. What is under way can still be settled: truth first. Stopping a run again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/runs/{id}/stop",
    tag = "runs",
    params(("id" = String, Path, description = "The run, as its calls name it.", example = "r-42")),
    request_body = StopRunBody,
    responses((status = 200, description = "How the run stands.", body = RunBody))
)]
async fn stop_run(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Manage>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidPath(id): ValidPath<String>,
    ValidJson(body): ValidJson<StopRunBody>,
) -> Result<(HeaderMap, Json<RunBody>), Problem> {
    whose(&caller, Access::Manage, &body.tenant)?;
    let run: RunId = required("id", &id)?;
    let key = idempotency(&caller, key, &format!("stop-run {run}"), &body);
    let mut given = state.app.stop_run(&run, &body, &caller.subject, key.as_ref()).await?;
    state.app.show_names(caller.tenant.as_ref(), &mut given.answer);
    Ok(told(given))
}

/// Resume a run
///
/// Its calls are asked for like any others again. A run that was not stopped stays as it is.
#[utoipa::path(
    post,
    path = "/v1/runs/{id}/resume",
    tag = "runs",
    params(("id" = String, Path, description = "The run, as its calls name it.", example = "r-42")),
    request_body = ResumeRunBody,
    responses((status = 200, description = "How the run stands.", body = RunBody))
)]
async fn resume_run(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Manage>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidPath(id): ValidPath<String>,
    ValidJson(body): ValidJson<ResumeRunBody>,
) -> Result<(HeaderMap, Json<RunBody>), Problem> {
    let tenant = whose(&caller, Access::Manage, &body.tenant)?;
    let run: RunId = required("id", &id)?;
    let key = idempotency(&caller, key, &format!("resume-run {run}"), &body);
    let mut given = state.app.resume_run(&tenant, &run, key.as_ref()).await?;
    state.app.show_names(caller.tenant.as_ref(), &mut given.answer);
    Ok(told(given))
}
