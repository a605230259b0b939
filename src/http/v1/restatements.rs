//! Restatements: recorded grams, said anew by the factor book as it is now.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::permit::{self, Permit};
use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{IdempotencyKeyHeader, ValidJson};
use super::{idempotency, told};
use crate::domain::access::{Action as Access, may};
use crate::wire::restatement::{RestatementBody, RestatementRequest};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(restate_period))
}

/// Restate a period
///
/// Computes the grams of a period's calls by the factor book as it is now. Without `apply` it only tells what that comes to, by
/// the factor sets before and after. With it, each row whose grams differ gets two corrections that name it: a reversal of what
/// is stated, by the factors of then, and a posting by those of now; nothing is overwritten, and tokens and dollars do not move.
/// Rows of a closed period are corrected in the open one. Applying twice posts nothing more. A request looks at a part of a large
/// period: send it again with `next_cursor` until that is null. While others post adjustments the answer is `conflict`: try
/// again. An answer without `apply` is not remembered under an `Idempotency-Key`.
#[utoipa::path(
    post,
    path = "/v1/restatements",
    tag = "restatements",
    request_body = RestatementRequest,
    responses((status = 200, description = "What it comes to.", body = RestatementBody))
)]
async fn restate_period(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::ManagePlatform>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidJson(body): ValidJson<RestatementRequest>,
) -> Result<(HeaderMap, Json<RestatementBody>), Problem> {
    may(&caller, Access::ManagePlatform, None)?;
    let key = idempotency(&caller, key, "restatements", &body);
    Ok(told(state.app.restate_once(&body, &caller.subject, key.as_ref()).await?))
}
