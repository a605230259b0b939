//! The price book: add rows, look, list. No row is ever changed or removed: a new price is a new row.
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
use crate::wire::page::Page;
use crate::wire::price::PriceRowDoc;
use crate::wire::rates::{AddedBody, OneOrMany, PriceBody, RateFilter};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list_prices, add_prices))
        .routes(routes!(get_price))
        .layer(DefaultBodyLimit::max(BULK_BODY_BYTES_MAX))
}

/// A page of price rows.
#[derive(Debug, Serialize, ToSchema)]
struct PriceList {
    /// In the order they were added.
    items: Vec<PriceBody>,
    /// Give it as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which price rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PriceQuery {
    /// Only those of this provider; case does not matter.
    provider: Option<String>,
    /// Only those of this model, by its canonical name; case does not matter.
    model: Option<String>,
    /// Only the row that applies at this instant, of each provider, model, service tier and region.
    at: Option<DateTime<Utc>>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 1,000; 100 if not given.
    limit: Option<u32>,
}

/// Add prices
///
/// One row or an array of at most 1,000: all are added, or none. A row is known by its provider, model, service tier, region,
/// first instant, source and source day: one that is there already is left as it is and has a null id, so that a repeat is one
/// effect also without an `Idempotency-Key`. New rows price the very next call, on every replica; what is posted keeps the row
/// it was priced by.
#[utoipa::path(
    post,
    path = "/v1/prices",
    tag = "prices",
    request_body = OneOrMany<PriceRowDoc>,
    responses((status = 200, description = "The ids of the rows, in order.", body = AddedBody))
)]
async fn add_prices(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::ManagePlatform>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidJson(body): ValidJson<OneOrMany<PriceRowDoc>>,
) -> Result<(HeaderMap, Json<AddedBody>), Problem> {
    may(&caller, Access::ManagePlatform, None)?;
    let key = idempotency(&caller, key, "prices", &body);
    Ok(told(state.app.add_prices(&body, key.as_ref()).await?))
}

/// List prices
///
/// Every row that was ever added, or with `at` the rows that apply at that instant. The price of one call, by any of its
/// model's names, is the answer of `/v1/estimate`.
#[utoipa::path(
    get,
    path = "/v1/prices",
    tag = "prices",
    params(PriceQuery),
    responses((status = 200, description = "A page of price rows.", body = PriceList))
)]
async fn list_prices(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<PriceQuery>,
) -> Result<Json<PriceList>, Problem> {
    may(&caller, Access::Consult, None)?;
    let page = Page::new("prices", query.cursor.as_deref(), query.limit)?;
    let filter = RateFilter { first: query.provider.as_deref(), second: query.model.as_deref(), at: query.at };
    let (items, next_cursor) = state.app.prices(&filter, &page).await?;
    Ok(Json(PriceList { items, next_cursor }))
}

/// Get a price
///
/// The row of that id, as a transfer names it.
#[utoipa::path(
    get,
    path = "/v1/prices/{id}",
    tag = "prices",
    params(("id" = i64, Path, description = "The id of the row.")),
    responses((status = 200, description = "The row.", body = PriceBody))
)]
async fn get_price(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<i64>,
) -> Result<Json<PriceBody>, Problem> {
    may(&caller, Access::Consult, None)?;
    let found = state.app.price(id).await?;
    found
        .map(Json)
        .ok_or_else(|| Problem::with_detail(ProblemCode::NotFound, format_args!("no price row has the id {id}")))
}
