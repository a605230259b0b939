//! Budgets.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, ValidJson, ValidPath};
use super::tenants::WrittenBody;
use crate::domain::access::{Action as Access, may};
use crate::domain::id::{BudgetId, TenantId};
use crate::wire::budget::BudgetBody;
use crate::wire::{optional, required};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(put_budget))
}

/// Create or replace a budget
///
/// Earlier versions are kept. A budget that is new, or that counts otherwise than before, is counted from the journal: a
/// monthly budget made on the tenth knows what the month has used.
#[utoipa::path(
    put,
    path = "/v1/budgets/{id}",
    tag = "budgets",
    params(("id" = String, Path, description = "The budget, a slug.")),
    request_body = BudgetBody,
    responses((status = 200, description = "It was written.", body = WrittenBody))
)]
async fn put_budget(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidJson(body): ValidJson<BudgetBody>,
) -> Result<Json<WrittenBody>, Problem> {
    let id: BudgetId = required("id", &id)?;
    let tenant: Option<TenantId> = optional("scope.tenant", body.scope.tenant.as_deref())?;
    may(&caller, Access::Manage, tenant.as_ref())?;
    let written = state.app.put_budget(&id, &body).await?;
    Ok(Json(WrittenBody::new(id.as_str(), written.version)))
}
