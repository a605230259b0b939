//! Tenants.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, ValidJson, ValidPath};
use crate::domain::access::{Action as Access, may};
use crate::domain::id::TenantId;
use crate::wire::budget::TenantBody;
use crate::wire::required;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(put_tenant))
}

/// What was written.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WrittenBody {
    /// Its id.
    id: String,
    /// Counts replacements, from 1. Earlier versions are kept.
    version: i32,
}

impl WrittenBody {
    pub(super) fn new(id: &str, version: i32) -> Self {
        Self { id: id.to_owned(), version }
    }
}

/// Create or replace a tenant
///
/// Earlier versions are kept. A new zone moves the boundaries of the budgets on the tenant's clock, and recounts them.
#[utoipa::path(
    put,
    path = "/v1/tenants/{id}",
    tag = "tenants",
    params(("id" = String, Path, description = "The tenant, a slug.")),
    request_body = TenantBody,
    responses((status = 200, description = "It was written.", body = WrittenBody))
)]
async fn put_tenant(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidJson(body): ValidJson<TenantBody>,
) -> Result<Json<WrittenBody>, Problem> {
    let id: TenantId = required("id", &id)?;
    may(&caller, Access::ManagePlatform, None)?;
    let written = state.app.put_tenant(&id, &body).await?;
    Ok(Json(WrittenBody::new(id.as_str(), written.version)))
}
