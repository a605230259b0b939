//! The factor book: add rows, look, list. No row is ever changed or removed: a better figure is a new row.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::limits::BULK_BODY_BYTES_MAX;
use super::super::permit::{self, Permit};
use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson, ValidPath, ValidQuery};
use super::{idempotency, told};
use crate::domain::access::{Action as Access, may};
use crate::domain::carbon::FactorKind;
use crate::wire::factor::FactorDoc;
use crate::wire::page::Page;
use crate::wire::rates::{AddedBody, FactorBody, OneOrMany, RateFilter};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list_factors, add_factors))
        .routes(routes!(get_factor))
        .layer(DefaultBodyLimit::max(BULK_BODY_BYTES_MAX))
}

/// A page of factor rows.
#[derive(Debug, Serialize, ToSchema)]
struct FactorList {
    /// In the order they were added.
    items: Vec<FactorBody>,
    /// Give it as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which factor rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FactorQuery {
    /// Only those of this kind: `model`, `grid`, `serving` or `region`.
    kind: Option<String>,
    /// Only those about this: `openai/gpt-4o`, `USA`, `market_contract:google/WOR`; case does not matter.
    key: Option<String>,
    /// Only the row that applies at this instant, of each kind, key and set.
    at: Option<DateTime<Utc>>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 1,000; 100 if not given.
    limit: Option<u32>,
}

/// Add factors
///
/// One row or an array of at most 1,000: all are added, or none. A row is known by its kind, what it is about, its set, first
/// instant and source: one that is there already is left as it is and has a null id, so that a repeat is one effect also
/// without an `Idempotency-Key`. New rows count for the very next call, on every replica; what is posted keeps the rows it was
/// estimated by.
#[utoipa::path(
    post,
    path = "/v1/factors",
    tag = "factors",
    request_body = OneOrMany<FactorDoc>,
    responses((status = 200, description = "The ids of the rows, in order.", body = AddedBody))
)]
async fn add_factors(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::ManagePlatform>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidJson(body): ValidJson<OneOrMany<FactorDoc>>,
) -> Result<(HeaderMap, Json<AddedBody>), Problem> {
    may(&caller, Access::ManagePlatform, None)?;
    let key = idempotency(&caller, key, "factors", &body);
    Ok(told(state.app.add_factors(&body, key.as_ref()).await?))
}

/// List factors
///
/// Every row that was ever added, or with `at` the rows that apply at that instant. Which rows one call is estimated by is the
/// answer of `/v1/estimate`.
#[utoipa::path(
    get,
    path = "/v1/factors",
    tag = "factors",
    params(FactorQuery),
    responses((status = 200, description = "A page of factor rows.", body = FactorList))
)]
async fn list_factors(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<FactorQuery>,
) -> Result<Json<FactorList>, Problem> {
    may(&caller, Access::Consult, None)?;
    let page = Page::new("factors", query.cursor.as_deref(), query.limit)?;
    if let Some(kind) = query.kind.as_deref().filter(|kind| FactorKind::from_word(kind).is_none()) {
        let detail = format!("`{kind}` is not model, grid, serving or region");
        return Err(Problem::field(ProblemCode::InvalidRequest, "kind", detail));
    }
    let filter = RateFilter { first: query.kind.as_deref(), second: query.key.as_deref(), at: query.at };
    let (items, next_cursor) = state.app.factors(&filter, &page).await?;
    Ok(Json(FactorList { items, next_cursor }))
}

/// Get a factor
///
/// The row of that id, as a transfer names it.
#[utoipa::path(
    get,
    path = "/v1/factors/{id}",
    tag = "factors",
    params(("id" = i64, Path, description = "The id of the row.")),
    responses((status = 200, description = "The row.", body = FactorBody))
)]
async fn get_factor(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<i64>,
) -> Result<Json<FactorBody>, Problem> {
    may(&caller, Access::Consult, None)?;
    let found = state.app.factor(id).await?;
    found
        .map(Json)
        .ok_or_else(|| Problem::with_detail(ProblemCode::NotFound, format_args!("no factor row has the id {id}")))
}
