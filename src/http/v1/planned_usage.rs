//! Announced work: add, list, look, withdraw.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::permit::{self, Permit};
use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson, ValidPath, ValidQuery};
use super::{idempotency, told};
use crate::domain::access::{Action as Access, confine, may};
use crate::domain::id::TenantId;
use crate::wire::page::Page;
use crate::wire::projection::planned::{PlannedUsageBody, PlannedUsageRow};
use crate::wire::{optional, required};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(announce_usage, list_planned_usage))
        .routes(routes!(get_planned_usage, withdraw_planned_usage))
}

/// A page of announced work.
#[derive(Debug, Serialize, ToSchema)]
struct PlannedUsageList {
    /// In the order in which it was announced.
    items: Vec<PlannedUsageRow>,
    /// Give it as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which announced work.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PlannedUsageQuery {
    /// Only this tenant's.
    tenant: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 1,000; 100 if not given.
    limit: Option<u32>,
}

fn unknown(id: Uuid) -> Problem {
    Problem::with_detail(ProblemCode::NotFound, format_args!("no announced work has the id {id}"))
}

/// Announce work
///
/// A batch that is known beforehand cannot be foreseen from the past, so projections add what is announced, spread evenly
/// over its hours. It holds nothing: calls of the work still ask. What was announced cannot be changed; withdraw it and
/// announce it anew.
#[utoipa::path(
    post,
    path = "/v1/planned-usage",
    tag = "projections",
    request_body = PlannedUsageBody,
    responses((status = 200, description = "What was announced, with what the books tell of it.", body = PlannedUsageRow))
)]
async fn announce_usage(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::PostUsage>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidJson(body): ValidJson<PlannedUsageBody>,
) -> Result<(HeaderMap, Json<PlannedUsageRow>), Problem> {
    // The scope before anything else: a bad name must not tell whether the token could.
    confine(&caller, Access::PostUsage, None)?;
    let tenant: TenantId = required("tenant", &body.tenant)?;
    may(&caller, Access::PostUsage, Some(&tenant))?;
    let key = idempotency(&caller, key, "planned-usage", &body);
    Ok(told(state.app.announce(Uuid::now_v7(), &body, key.as_ref()).await?))
}

/// List announced work
///
/// What is not over and was not withdrawn.
#[utoipa::path(
    get,
    path = "/v1/planned-usage",
    tag = "projections",
    params(PlannedUsageQuery),
    responses((status = 200, description = "A page of announced work.", body = PlannedUsageList))
)]
async fn list_planned_usage(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<PlannedUsageQuery>,
) -> Result<Json<PlannedUsageList>, Problem> {
    let only = confine(&caller, Access::Read, optional("tenant", query.tenant.as_deref())?)?;
    let page = Page::new("planned usage", query.cursor.as_deref(), query.limit)?;
    let (items, next_cursor) = state.app.announced(only.as_ref(), caller.tenant.as_ref(), &page).await?;
    Ok(Json(PlannedUsageList { items, next_cursor }))
}

/// Get announced work
///
/// Also when it is over; not when it was withdrawn.
#[utoipa::path(
    get,
    path = "/v1/planned-usage/{id}",
    tag = "projections",
    params(("id" = Uuid, Path, description = "The id it was given.")),
    responses((status = 200, description = "What was announced.", body = PlannedUsageRow))
)]
async fn get_planned_usage(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<Uuid>,
) -> Result<Json<PlannedUsageRow>, Problem> {
    let own = confine(&caller, Access::Read, None)?;
    state.app.announced_one(id, own.as_ref()).await?.map(Json).ok_or_else(|| unknown(id))
}

/// Withdraw announced work
///
/// No projection counts it any more.
#[utoipa::path(
    delete,
    path = "/v1/planned-usage/{id}",
    tag = "projections",
    params(("id" = Uuid, Path, description = "The id it was given.")),
    responses((status = 200, description = "What was withdrawn.", body = PlannedUsageRow))
)]
async fn withdraw_planned_usage(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<Uuid>,
) -> Result<Json<PlannedUsageRow>, Problem> {
    let own = confine(&caller, Access::PostUsage, None)?;
    let found = state.app.announced_one(id, own.as_ref()).await?.ok_or_else(|| unknown(id))?;
    state.app.withdraw(id).await?;
    Ok(Json(found))
}
