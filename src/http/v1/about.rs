//! What the service is made of.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::Auth;
use super::super::problem::Problem;
use super::super::state::HttpState;
use crate::domain::access::{Action as Access, may};
use crate::wire::about::AboutAnswer;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(about))
}

/// About this service
///
/// Versions, the timezone database, the books of prices and factors with their sources and licences, and every limit.
#[utoipa::path(
    get,
    path = "/v1/about",
    tag = "about",
    responses((status = 200, description = "What it is made of.", body = AboutAnswer))
)]
async fn about(State(state): State<HttpState>, Auth(caller): Auth) -> Result<Json<AboutAnswer>, Problem> {
    may(&caller, Access::Consult, None)?;
    Ok(Json(state.app.about().await?))
}
