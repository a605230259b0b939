//! The calendar: which period holds an instant.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::ValidJson;
use super::super::permit::{self, Permit};
use super::super::problem::Problem;
use super::super::state::HttpState;
use crate::domain::access::{Action as Access, may};
use crate::wire::estimate::{PeriodAnswer, PeriodQuestion};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(find_period))
}

/// Find a period
///
/// The boundaries of the period that holds an instant, in any zone: those that a budget of that period and zone has. An
/// instant exactly on a boundary belongs to the new period. Touches nothing.
#[utoipa::path(
    post,
    path = "/v1/calendar/period",
    tag = "calendar",
    request_body = PeriodQuestion,
    responses((status = 200, description = "The boundaries.", body = PeriodAnswer))
)]
async fn find_period(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Consult>,
    ValidJson(body): ValidJson<PeriodQuestion>,
) -> Result<Json<PeriodAnswer>, Problem> {
    may(&caller, Access::Consult, None)?;
    Ok(Json(body.answer(state.app.clock.now())?))
}
