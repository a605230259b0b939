//! Periods: close the books until an instant; see what is closed.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::permit::{self, Permit};
use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson};
use crate::domain::access::{Action as Access, may};
use crate::wire::period::{CloseRequest, PeriodsBody};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list_periods)).routes(routes!(close_periods))
}

/// Close periods
///
/// Closes everything before an instant, or until the end of a month in a zone, for ever. What is posted for it later counts in
/// the open period and is flagged `period_closed`; sums of what is closed never change. To close what is closed changes
/// nothing.
#[utoipa::path(
    post,
    path = "/v1/periods/close",
    tag = "periods",
    request_body = CloseRequest,
    responses((status = 200, description = "What is closed.", body = PeriodsBody))
)]
async fn close_periods(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::ManagePlatform>,
    // Closing twice is closing once, whatever the key says.
    _key: IdempotencyKeyHeader,
    ValidJson(body): ValidJson<CloseRequest>,
) -> Result<Json<PeriodsBody>, Problem> {
    may(&caller, Access::ManagePlatform, None)?;
    Ok(Json(state.app.close_periods(body.to_instant()?, &caller.subject).await?))
}

/// List closed periods
///
/// Until when the books are closed, and who closed them when.
#[utoipa::path(
    get,
    path = "/v1/periods",
    tag = "periods",
    responses((status = 200, description = "What is closed.", body = PeriodsBody))
)]
async fn list_periods(State(state): State<HttpState>, Auth(caller): Auth) -> Result<Json<PeriodsBody>, Problem> {
    may(&caller, Access::ManagePlatform, None)?;
    Ok(Json(state.app.periods().await?))
}
