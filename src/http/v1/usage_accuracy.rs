//! How estimates compare with what calls really used.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, ValidQuery};
use crate::domain::access::{Action as Access, confine};
use crate::wire::learned::{AccuracyBody, AccuracyQuery};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(query_accuracy))
}

/// Compare estimates with what was used
///
/// Of every call that completed and said what it used: how much of its `max_output`, and of all the tokens of its estimate,
/// it really used. What budgets with `reserve` `p95` or `p99` hold is learned from the same shares.
#[utoipa::path(
    get,
    path = "/v1/usage/accuracy",
    tag = "usage",
    params(AccuracyQuery),
    responses((status = 200, description = "The shares that were used, by group.", body = AccuracyBody))
)]
async fn query_accuracy(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<AccuracyQuery>,
) -> Result<Json<AccuracyBody>, Problem> {
    let tenant = confine(&caller, Access::Read, query.tenant()?)?;
    Ok(Json(state.app.accuracy(tenant.as_ref(), &query).await?))
}
