//! Reconciliations: a provider's report against the books, and the true-ups that mend them once somebody approves.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::extract::parse_json;
use super::super::limits::BULK_BODY_BYTES_MAX;
use super::super::permit::{self, Permit};
use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson, ValidPath, ValidQuery};
use super::{idempotency, told};
use crate::domain::access::{Action as Access, may};
use crate::wire::page::Page;
use crate::wire::reconciliation::{ApprovalRequest, ReconciliationBody, ReconciliationItemBody, ReconciliationRequest};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list_reconciliations, propose_reconciliation))
        .routes(routes!(get_reconciliation))
        .routes(routes!(approve_reconciliation))
        .layer(DefaultBodyLimit::max(BULK_BODY_BYTES_MAX))
}

/// A page of reconciliations.
#[derive(Debug, Serialize, ToSchema)]
struct ReconciliationList {
    /// Newest first.
    items: Vec<ReconciliationItemBody>,
    /// Give it as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which reconciliations.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReconciliationQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 1,000; 100 if not given.
    limit: Option<u32>,
}

/// Compare a report
///
/// Takes Anthropic's usage and cost reports, OpenAI's completions usage and costs, or a plain CSV invoice, as they are. The
/// answer has each UTC day and model by bucket: ours, theirs, the difference, and what likely makes it; and the true-ups that
/// would mend the books. Nothing is posted. A report that says something that cannot be counted is refused, and the place is
/// named.
#[utoipa::path(
    post,
    path = "/v1/reconciliations",
    tag = "reconciliations",
    request_body = ReconciliationRequest,
    responses((status = 200, description = "What was found.", body = ReconciliationBody))
)]
async fn propose_reconciliation(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::ManagePlatform>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidJson(body): ValidJson<ReconciliationRequest>,
) -> Result<(HeaderMap, Json<ReconciliationBody>), Problem> {
    may(&caller, Access::ManagePlatform, None)?;
    let key = idempotency(&caller, key, "reconciliations", &body);
    Ok(told(state.app.propose_reconciliation(body, &caller.subject, key.as_ref()).await?))
}

/// Approve a reconciliation
///
/// Compares again, posts the true-ups, and answers when the supply side of the books says what the report says, to the last
/// digit. True-ups that move more than a fifth of the dollars are refused unless the amount is named in `usd`, because an approval
/// cannot be undone. To approve again changes nothing, also without a key: an approved reconciliation never changes. While another one is being approved, or
/// calls of its days are still being posted, the answer is `conflict`: approve again.
#[utoipa::path(
    post,
    path = "/v1/reconciliations/{id}/approve",
    tag = "reconciliations",
    params(("id" = Uuid, Path, description = "The id of the reconciliation.")),
    request_body = Option<ApprovalRequest>,
    responses((status = 200, description = "What was posted.", body = ReconciliationBody))
)]
async fn approve_reconciliation(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::ManagePlatform>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidPath(id): ValidPath<Uuid>,
    body: Bytes,
) -> Result<(HeaderMap, Json<ReconciliationBody>), Problem> {
    may(&caller, Access::ManagePlatform, None)?;
    let request: ApprovalRequest = if body.is_empty() { ApprovalRequest::default() } else { parse_json(&body)? };
    let key = idempotency(&caller, key, &format!("approve-reconciliation {id}"), &request);
    Ok(told(state.app.approve_reconciliation(id, &caller.subject, request.usd, key.as_ref()).await?))
}

/// Get a reconciliation
///
/// As it was compared, or approved.
#[utoipa::path(
    get,
    path = "/v1/reconciliations/{id}",
    tag = "reconciliations",
    params(("id" = Uuid, Path, description = "The id of the reconciliation.")),
    responses((status = 200, description = "The reconciliation.", body = ReconciliationBody))
)]
async fn get_reconciliation(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<Uuid>,
) -> Result<Json<ReconciliationBody>, Problem> {
    may(&caller, Access::ManagePlatform, None)?;
    Ok(Json(state.app.reconciliation(id).await?))
}

/// List reconciliations
///
/// Newest first, without their lines.
#[utoipa::path(
    get,
    path = "/v1/reconciliations",
    tag = "reconciliations",
    params(ReconciliationQuery),
    responses((status = 200, description = "A page of reconciliations.", body = ReconciliationList))
)]
async fn list_reconciliations(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<ReconciliationQuery>,
) -> Result<Json<ReconciliationList>, Problem> {
    may(&caller, Access::ManagePlatform, None)?;
    let page = Page::new("reconciliations", query.cursor.as_deref(), query.limit)?;
    let (items, next_cursor) = state.app.reconciliations(&page).await?;
    Ok(Json(ReconciliationList { items, next_cursor }))
}
