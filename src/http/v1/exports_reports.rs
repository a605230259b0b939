//! Exports of accounts and of carbon: what people's own programs check.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, ValidQuery};
use super::exports::file;
use crate::app::reports::{Dialect, GHG_SCHEMA};
use crate::auth::Caller;
use crate::domain::access::{Action as Access, confine};
use crate::wire::export_report::{GhgExportQuery, JournalExportQuery, SciExportQuery};
use crate::wire::optional;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(export_hledger))
        .routes(routes!(export_ledger))
        .routes(routes!(export_beancount))
        .routes(routes!(export_ghg))
        .routes(routes!(get_ghg_schema))
        .routes(routes!(export_sci))
}

async fn journal(
    state: &HttpState,
    caller: &Caller,
    dialect: Dialect,
    query: &JournalExportQuery,
) -> Result<Response, Problem> {
    let tenant = confine(caller, Access::Export, optional("tenant", query.tenant.as_deref())?)?;
    file(state.app.exports.asked_by(caller.tenant.as_ref()).journal(dialect, tenant.as_ref(), query).await?)
}

/// Export a journal for hledger
///
/// Every unit is a commodity, what was before the period is an opening balance, and what stands on each account at its end is
/// asserted, so that `hledger check -s accounts commodities ordereddates payees balancednoautoconversion assertions` proves it.
#[utoipa::path(
    get,
    path = "/v1/exports/hledger",
    tag = "exports",
    params(JournalExportQuery),
    responses((status = 200, description = "The journal, in pieces.", content_type = "text/plain", body = String))
)]
async fn export_hledger(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<JournalExportQuery>,
) -> Result<Response, Problem> {
    journal(&state, &caller, Dialect::Hledger, &query).await
}

/// Export a journal for ledger
///
/// As for hledger. ledger accepts a transaction of two commodities that only a price between them would balance, also with
/// `--pedantic --strict`; let hledger or beancount prove the books.
#[utoipa::path(
    get,
    path = "/v1/exports/ledger",
    tag = "exports",
    params(JournalExportQuery),
    responses((status = 200, description = "The journal, in pieces.", content_type = "text/plain", body = String))
)]
async fn export_ledger(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<JournalExportQuery>,
) -> Result<Response, Problem> {
    journal(&state, &caller, Dialect::Ledger, &query).await
}

/// Export a journal for beancount
///
/// As for hledger, with tolerances of zero: `bean-check` refuses a difference of the last digit.
#[utoipa::path(
    get,
    path = "/v1/exports/beancount",
    tag = "exports",
    params(JournalExportQuery),
    responses((status = 200, description = "The journal, in pieces.", content_type = "text/plain", body = String))
)]
async fn export_beancount(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<JournalExportQuery>,
) -> Result<Response, Problem> {
    journal(&state, &caller, Dialect::Beancount, &query).await
}

/// Export greenhouse-gas activity data
///
/// Location-based, market-based and embodied emissions, each with its range, by method, factor and source, mapped to a Scope 3
/// category and to the data point of ESRS E1-6. `GET /v1/exports/ghg/schema` is the Table Schema of the file.
#[utoipa::path(
    get,
    path = "/v1/exports/ghg",
    tag = "exports",
    params(GhgExportQuery),
    responses((status = 200, description = "The lines, in pieces.", content_type = "text/csv", body = String))
)]
async fn export_ghg(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<GhgExportQuery>,
) -> Result<Response, Problem> {
    let tenant = confine(&caller, Access::Export, optional("tenant", query.tenant.as_deref())?)?;
    file(state.app.exports.asked_by(caller.tenant.as_ref()).ghg(tenant.as_ref(), &query).await?)
}

/// Get the schema of activity data
///
/// A Table Schema, by which `frictionless validate` checks an export.
#[utoipa::path(
    get,
    path = "/v1/exports/ghg/schema",
    tag = "exports",
    responses((status = 200, description = "The schema.", content_type = "application/json", body = Object))
)]
async fn get_ghg_schema(Auth(caller): Auth) -> Result<Response, Problem> {
    // It tells nothing of anybody; the scope is that of the file it describes.
    let _confined = confine(&caller, Access::Export, None)?;
    Ok(([(CONTENT_TYPE, "application/json")], GHG_SCHEMA).into_response())
}

/// Export software carbon intensity
///
/// After ISO/IEC 21031, for each feature: carbon per 1,000 output tokens, per request, and of the feature as a whole. As a
/// manifest it is read by the Impact Framework, whose `if-run` computes the same figures again.
#[utoipa::path(
    get,
    path = "/v1/exports/sci",
    tag = "exports",
    params(SciExportQuery),
    responses((
        status = 200,
        description = "The lines or the manifest, in pieces.",
        content((String = "text/csv"), (String = "application/yaml"))
    ))
)]
async fn export_sci(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<SciExportQuery>,
) -> Result<Response, Problem> {
    let tenant = confine(&caller, Access::Export, optional("tenant", query.tenant.as_deref())?)?;
    file(state.app.exports.asked_by(caller.tenant.as_ref()).sci(tenant.as_ref(), &query).await?)
}
