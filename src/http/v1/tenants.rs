//! Tenants: create, replace, look, list, history, archive.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::conditions::{Conditions, tagged};
use super::super::permit::{self, Permit};
use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, ValidJson, ValidPath, ValidQuery};
use crate::domain::access::{Action as Access, Caller, confine, may};
use crate::domain::id::TenantId;
use crate::wire::budget::TenantBody;
use crate::wire::catalogue::{TenantRow, TenantVersionBody};
use crate::wire::page::Page;
use crate::wire::required;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list_tenants))
        .routes(routes!(get_tenant, put_tenant, archive_tenant))
        .routes(routes!(list_tenant_versions))
}

/// A page of tenants.
#[derive(Debug, Serialize, ToSchema)]
struct TenantList {
    /// By id.
    items: Vec<TenantRow>,
    /// Give it as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// A page of a tenant's versions.
#[derive(Debug, Serialize, ToSchema)]
struct TenantVersionList {
    /// The first version first.
    items: Vec<TenantVersionBody>,
    /// Give it as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 1,000; 100 if not given.
    limit: Option<u32>,
    /// Whether archived ones are listed too.
    #[serde(default)]
    archived: bool,
}

/// Which part of a history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
    /// How many at most: 1 to 1,000; 100 if not given.
    pub(super) limit: Option<u32>,
}

/// Checks that the caller may see that tenant: another's looks like none.
fn seen(caller: &Caller, id: &TenantId) -> Result<(), Problem> {
    may(caller, Access::Read, Some(id)).map_err(|denied| Problem::unseen(denied, ProblemCode::UnknownTenant))
}

/// List tenants
///
/// A token that is confined to a tenant sees that one.
#[utoipa::path(
    get,
    path = "/v1/tenants",
    tag = "tenants",
    params(ListQuery),
    responses((status = 200, description = "A page of tenants, by id.", body = TenantList))
)]
async fn list_tenants(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> Result<Json<TenantList>, Problem> {
    let only = confine(&caller, Access::Read, None)?;
    let page = Page::new("tenants", query.cursor.as_deref(), query.limit)?;
    let (items, next_cursor) = state.app.tenants(only.as_ref(), query.archived, &page).await?;
    Ok(Json(TenantList { items, next_cursor }))
}

/// Get a tenant
///
/// Also one that is archived.
#[utoipa::path(
    get,
    path = "/v1/tenants/{id}",
    tag = "tenants",
    params(("id" = String, Path, description = "The tenant, a slug.")),
    responses((
        status = 200,
        description = "The tenant.",
        body = TenantRow,
        headers(("ETag" = String, description = "Its version, in quotes: for `If-Match`."))
    ))
)]
async fn get_tenant(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
) -> Result<(HeaderMap, Json<TenantRow>), Problem> {
    let id: TenantId = required("id", &id)?;
    seen(&caller, &id)?;
    let tenant = state.app.tenant(&id, caller.tenant.as_ref()).await?;
    Ok(tagged(tenant.version, tenant))
}

/// List a tenant's versions
///
/// Every version that was ever written, the first one first; archiving is a version too.
#[utoipa::path(
    get,
    path = "/v1/tenants/{id}/versions",
    tag = "tenants",
    params(("id" = String, Path, description = "The tenant, a slug."), PageQuery),
    responses((status = 200, description = "A page of its versions.", body = TenantVersionList))
)]
async fn list_tenant_versions(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<PageQuery>,
) -> Result<Json<TenantVersionList>, Problem> {
    let id: TenantId = required("id", &id)?;
    seen(&caller, &id)?;
    let page = Page::new("tenant versions", query.cursor.as_deref(), query.limit)?;
    let (items, next_cursor) = state.app.tenant_versions(&id, caller.tenant.as_ref(), &page).await?;
    Ok(Json(TenantVersionList { items, next_cursor }))
}

/// Create or replace a tenant
///
/// Earlier versions are kept. A new zone moves the boundaries of the budgets on the tenant's clock, and recounts them. A
/// tenant that was archived is back.
#[utoipa::path(
    put,
    path = "/v1/tenants/{id}",
    tag = "tenants",
    params(
        ("id" = String, Path, description = "The tenant, a slug."),
        Conditions,
    ),
    request_body = TenantBody,
    responses((
        status = 200,
        description = "The tenant, as it was written.",
        body = TenantRow,
        headers(("ETag" = String, description = "Its version, in quotes: for `If-Match`."))
    ))
)]
async fn put_tenant(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::ManagePlatform>,
    ValidPath(id): ValidPath<String>,
    Conditions(when): Conditions,
    ValidJson(body): ValidJson<TenantBody>,
) -> Result<(HeaderMap, Json<TenantRow>), Problem> {
    let id: TenantId = required("id", &id)?;
    may(&caller, Access::ManagePlatform, None)?;
    let written = state.app.put_tenant(&id, &body, &when).await?;
    Ok(tagged(written.version, written))
}

/// Archive a tenant
///
/// It starts nothing new; what is open still ends, and its books stay. Archiving it again changes nothing.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{id}",
    tag = "tenants",
    params(("id" = String, Path, description = "The tenant, a slug."), Conditions),
    responses((status = 200, description = "What was archived.", body = TenantRow))
)]
async fn archive_tenant(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    Conditions(when): Conditions,
) -> Result<Json<TenantRow>, Problem> {
    let id: TenantId = required("id", &id)?;
    may(&caller, Access::ManagePlatform, None)?;
    let there = state.app.tenant(&id, None).await?;
    if there.archived_at.is_none() {
        state.app.archive_tenant(&id, &when).await?;
    } else {
        when.check(id.as_str(), Some(there.version))?;
    }
    Ok(Json(state.app.tenant(&id, None).await?))
}
