//! Periods: close the books until an instant; see what is closed.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::permit::{self, Permit};
use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson};
use super::{idempotency, told};
use crate::domain::access::{Action as Access, may};
use crate::wire::period::{CloseAnswer, CloseRequest, PeriodsBody};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list_periods)).routes(routes!(close_periods))
}

/// Close periods
///
/// Closes everything before an instant, or until the end of a month in a zone, for ever. What is posted for it later counts in
/// the open period and is flagged `period_closed`; sums of what is closed never change. The answer says what was still open: days
/// that no approved reconciliation speaks of, calls that are unconfirmed, reservations that are held. With `dry_run` nothing is
/// closed, and the answer is not remembered under an `Idempotency-Key`. What is closed already is `conflict`.
#[utoipa::path(
    post,
    path = "/v1/periods/close",
    tag = "periods",
    request_body = CloseRequest,
    responses((status = 200, description = "What is closed, and what was still open.", body = CloseAnswer))
)]
async fn close_periods(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::ManagePlatform>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidJson(body): ValidJson<CloseRequest>,
) -> Result<(HeaderMap, Json<CloseAnswer>), Problem> {
    may(&caller, Access::ManagePlatform, None)?;
    // What closes nothing is not remembered: the same key closes afterwards.
    let key = if body.dry_run { None } else { idempotency(&caller, key, "close-periods", &body) };
    let until = body.to_instant()?;
    Ok(told(state.app.close_periods(until, body.dry_run, &caller.subject, key.as_ref()).await?))
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
