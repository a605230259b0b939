//! Budgets: create, replace, look at how they stand, list, history, archive.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::permit::{self, Permit};
use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, ValidJson, ValidPath, ValidQuery};
use super::tenants::{PageQuery, WrittenBody};
use crate::domain::access::{Action as Access, Caller, confine, may};
use crate::domain::id::{BudgetId, TenantId};
use crate::wire::budget::BudgetBody;
use crate::wire::catalogue::{BudgetNowBody, BudgetRow, BudgetVersionBody};
use crate::wire::page::Page;
use crate::wire::{optional, required};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list_budgets))
        .routes(routes!(get_budget, put_budget, archive_budget))
        .routes(routes!(list_budget_versions))
}

/// A page of budgets.
#[derive(Debug, Serialize, ToSchema)]
struct BudgetList {
    /// By id.
    items: Vec<BudgetRow>,
    /// Give it as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// A page of a budget's versions.
#[derive(Debug, Serialize, ToSchema)]
struct BudgetVersionList {
    /// The first version first.
    items: Vec<BudgetVersionBody>,
    /// Give it as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which budgets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BudgetListQuery {
    /// Only those whose scope is this tenant.
    tenant: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 1,000; 100 if not given.
    limit: Option<u32>,
    /// Whether archived ones are listed too.
    #[serde(default)]
    archived: bool,
}

/// Which counters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CounterQuery {
    /// Only the counter of this key: `acme/r-42`.
    key: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many counters at most: 1 to 1,000; 100 if not given.
    limit: Option<u32>,
}

/// The tenant a caller is confined to, whose budgets alone it can reach: another's look like none.
fn reach(caller: &Caller, access: Access) -> Result<Option<TenantId>, Problem> {
    Ok(confine(caller, access, None)?)
}

/// List budgets
///
/// A token that is confined to a tenant sees the budgets whose scope is that tenant.
#[utoipa::path(
    get,
    path = "/v1/budgets",
    tag = "budgets",
    params(BudgetListQuery),
    responses((status = 200, description = "A page of budgets, by id.", body = BudgetList))
)]
async fn list_budgets(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<BudgetListQuery>,
) -> Result<Json<BudgetList>, Problem> {
    let only = confine(&caller, Access::Read, optional("tenant", query.tenant.as_deref())?)?;
    let page = Page::new("budgets", query.cursor.as_deref(), query.limit)?;
    let (items, next_cursor) = state.app.budgets(only.as_ref(), caller.tenant.as_ref(), query.archived, &page).await?;
    Ok(Json(BudgetList { items, next_cursor }))
}

/// Get a budget
///
/// With how it stands now: what is posted and held in the period that holds this instant, what is left, when it resets. A
/// budget that is counted apart has a counter for each key that has counted something in its current period, by pages.
/// Holds whose time has passed are not counted.
#[utoipa::path(
    get,
    path = "/v1/budgets/{id}",
    tag = "budgets",
    params(("id" = String, Path, description = "The budget, a slug."), CounterQuery),
    responses((status = 200, description = "The budget and its counters.", body = BudgetNowBody))
)]
async fn get_budget(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<CounterQuery>,
) -> Result<Json<BudgetNowBody>, Problem> {
    let id: BudgetId = required("id", &id)?;
    let own = reach(&caller, Access::Read)?;
    let page = Page::new("counters", query.cursor.as_deref(), query.limit)?;
    Ok(Json(state.app.budget_now(&id, own.as_ref(), query.key.as_deref(), &page).await?))
}

/// List a budget's versions
///
/// Every version that was ever written, the first one first; archiving is a version too.
#[utoipa::path(
    get,
    path = "/v1/budgets/{id}/versions",
    tag = "budgets",
    params(("id" = String, Path, description = "The budget, a slug."), PageQuery),
    responses((status = 200, description = "A page of its versions.", body = BudgetVersionList))
)]
async fn list_budget_versions(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<PageQuery>,
) -> Result<Json<BudgetVersionList>, Problem> {
    let id: BudgetId = required("id", &id)?;
    let own = reach(&caller, Access::Read)?;
    let page = Page::new("budget versions", query.cursor.as_deref(), query.limit)?;
    let (items, next_cursor) = state.app.budget_versions(&id, own.as_ref(), &page).await?;
    Ok(Json(BudgetVersionList { items, next_cursor }))
}

/// Create or replace a budget
///
/// Earlier versions are kept. A budget that is new, or that counts otherwise than before, is counted from the journal: a
/// monthly budget made on the tenth knows what the month has used. A budget that was archived is back.
/// `warnings` of the answer say what may not have been meant: names that nothing is known under, so that no call may ever match.
#[utoipa::path(
    put,
    path = "/v1/budgets/{id}",
    tag = "budgets",
    params(("id" = String, Path, description = "The budget, a slug.")),
    request_body = BudgetBody,
    responses((status = 200, description = "It was written.", body = WrittenBody))
)]
async fn put_budget(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Manage>,
    ValidPath(id): ValidPath<String>,
    ValidJson(body): ValidJson<BudgetBody>,
) -> Result<Json<WrittenBody>, Problem> {
    let id: BudgetId = required("id", &id)?;
    let tenant: Option<TenantId> = optional("scope.tenant", body.scope.tenant.as_deref())?;
    may(&caller, Access::Manage, tenant.as_ref())?;
    let (written, warnings) = state.app.put_budget(&id, &body, caller.tenant.as_ref()).await?;
    Ok(Json(WrittenBody::new(id.as_str(), written.version).with_warnings(warnings)))
}

/// Archive a budget
///
/// It governs nothing any more; what it counted stays in the journal. Archiving it again changes nothing.
#[utoipa::path(
    delete,
    path = "/v1/budgets/{id}",
    tag = "budgets",
    params(("id" = String, Path, description = "The budget, a slug.")),
    responses((status = 200, description = "What was archived.", body = BudgetRow))
)]
async fn archive_budget(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
) -> Result<Json<BudgetRow>, Problem> {
    let id: BudgetId = required("id", &id)?;
    let own = reach(&caller, Access::Manage)?;
    if state.app.budget(&id, own.as_ref()).await?.archived_at.is_none() {
        state.app.archive_budget(&id).await?;
    }
    Ok(Json(state.app.budget(&id, own.as_ref()).await?))
}
