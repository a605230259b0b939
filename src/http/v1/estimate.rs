//! What a call would cost, and why.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::ValidJson;
use super::super::permit::{self, Permit};
use super::super::problem::Problem;
use super::super::state::HttpState;
use crate::domain::access::{Action as Access, may};
use crate::wire::estimate::{EstimateAnswer, EstimateQuestion};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(estimate_call))
}

/// Estimate a call
///
/// Tokens, dollars with the price row and tier used, energy and grams with their ranges and the factor rows used. Touches
/// nothing. A model without a price or a size is estimated by the worst known one, and says so.
#[utoipa::path(
    post,
    path = "/v1/estimate",
    tag = "estimate",
    request_body = EstimateQuestion,
    responses((status = 200, description = "What it would cost, and why.", body = EstimateAnswer))
)]
async fn estimate_call(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Consult>,
    ValidJson(body): ValidJson<EstimateQuestion>,
) -> Result<Json<EstimateAnswer>, Problem> {
    may(&caller, Access::Consult, None)?;
    Ok(Json(state.app.estimate(&body).await?))
}
