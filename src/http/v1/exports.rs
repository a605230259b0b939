//! Exports: whole periods as files, streamed.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::limits::EXPORT_PIECE_BYTES_MAX;
use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, ValidQuery};
use crate::app::exports::Begun;
use crate::domain::access::{Action as Access, confine};
use crate::wire::export::{FocusExportQuery, TransfersExportQuery};
use crate::wire::optional;

/// By which the next export takes only what is new, or this one goes on if it was cut.
const EXPORT_CURSOR: HeaderName = HeaderName::from_static("x-export-cursor");
/// How many transfers the file covers.
const EXPORT_TRANSFERS: HeaderName = HeaderName::from_static("x-export-transfers");

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(export_transfers)).routes(routes!(export_focus))
}

/// Export transfers
///
/// The journal for a warehouse: a row for each transfer, in the order of time, with what it moved and by which rows of
/// the books it was priced. With `cursor` only what the export before could not see, so that a warehouse that adds each
/// file has every transfer once. An export whose sums were not those of the trial balance is cut off, never ended.
#[utoipa::path(
    get,
    path = "/v1/exports/transfers",
    tag = "exports",
    params(TransfersExportQuery),
    responses((
        status = 200,
        description = "The file, in pieces.",
        content((String = "text/csv"), (Vec<u8> = "application/vnd.apache.parquet")),
        headers(
            ("x-export-cursor" = String, description = "For `cursor` of the next export, or for `resume` of this one."),
            ("x-export-transfers" = u64, description = "How many transfers the file covers."),
        ),
    ))
)]
async fn export_transfers(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<TransfersExportQuery>,
) -> Result<Response, Problem> {
    let tenant = confine(&caller, Access::Export, optional("tenant", query.tenant.as_deref())?)?;
    let begun = state.app.exports.asked_by(caller.tenant.as_ref()).transfers(tenant.as_ref(), &query).await?;
    file(begun)
}

/// Export charges after FOCUS
///
/// A row for each token bucket and price of a day or an hour, tenant, feature, model, region and set of labels, after the
/// `FinOps` Open Cost and Usage Specification 1.4 or 1.2, with grams of CO2e in columns of ours. `BilledCost` adds up to the
/// trial balance of the period; an export whose sums do not is cut off, never ended.
#[utoipa::path(
    get,
    path = "/v1/exports/focus",
    tag = "exports",
    params(FocusExportQuery),
    responses((
        status = 200,
        description = "The file, in pieces.",
        content((String = "text/csv"), (Vec<u8> = "application/vnd.apache.parquet")),
        headers(
            ("x-export-cursor" = String, description = "For `resume` of this export."),
            ("x-export-transfers" = u64, description = "How many transfers the file covers."),
        ),
    ))
)]
async fn export_focus(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<FocusExportQuery>,
) -> Result<Response, Problem> {
    let tenant = confine(&caller, Access::Export, optional("tenant", query.tenant.as_deref())?)?;
    let begun = state.app.exports.asked_by(caller.tenant.as_ref()).focus(tenant.as_ref(), &query).await?;
    file(begun)
}

/// The answer whose body is the file. A piece that is an error ends the connection, so that no client takes the file for
/// whole.
pub(super) fn file(begun: Begun) -> Result<Response, Problem> {
    let text = |text: &str| HeaderValue::from_str(text).map_err(Problem::internal);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(begun.media_type));
    headers.insert(CONTENT_DISPOSITION, text(&format!("attachment; filename=\"{}\"", begun.file_name))?);
    headers.insert(EXPORT_CURSOR, text(&begun.cursor)?);
    headers.insert(EXPORT_TRANSFERS, begun.transfers.into());
    let pieces = stream::unfold((begun.chunks, Bytes::new()), async |(mut chunks, mut rest)| {
        if rest.is_empty() {
            match chunks.recv().await? {
                Ok(chunk) => rest = chunk.bytes,
                Err(error) => return Some((Err(error), (chunks, rest))),
            }
        }
        let piece = rest.split_to(rest.len().min(EXPORT_PIECE_BYTES_MAX));
        Some((Ok(piece), (chunks, rest)))
    });
    Ok((headers, Body::from_stream(pieces)).into_response())
}
