//! Usage: post what was used without a reservation.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson};
use super::idempotency;
use crate::domain::access::{Action as Access, may};
use crate::domain::id::TransferId;
use crate::domain::ledger::command::Action;
use crate::domain::ledger::outcome::Outcome;
use crate::wire::answer::PostedAnswer;
use crate::wire::call::UsageBody;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(post_usage))
}

/// Post usage
///
/// What was used is recorded, also when no budget has room for it: truth first.
#[utoipa::path(
    post,
    path = "/v1/usage",
    tag = "usage",
    request_body = UsageBody,
    responses((status = 200, description = "The transfer that was posted.", body = PostedAnswer))
)]
async fn post_usage(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidJson(body): ValidJson<UsageBody>,
) -> Result<Json<PostedAnswer>, Problem> {
    let post = body.to_post(TransferId(Uuid::now_v7()))?;
    may(&caller, Access::PostUsage, Some(&post.call.tenant))?;
    let idempotency = idempotency(&caller, key, "usage", &body);
    match state.app.submit(Action::PostUsage(Box::new(post)), idempotency).await? {
        Outcome::Posted(posted) => Ok(Json(PostedAnswer::from(&*posted))),
        Outcome::Repeated(text) => Ok(Json(serde_json::from_str(&text).map_err(Problem::internal)?)),
        Outcome::Ruled(_) | Outcome::Released(_) | Outcome::Extended(_) => {
            Err(Problem::internal("the lane answered with something else"))
        }
    }
}
