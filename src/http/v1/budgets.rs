//! Budgets: create, replace, look at how they stand, list, history, archive.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::conditions::{Conditions, tagged};
use super::super::permit::{self, Permit};
use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, ValidJson, ValidPath, ValidQuery};
use super::tenants::PageQuery;
use crate::app::catalogue::{BudgetPut, Precondition};
use crate::domain::access::{Action as Access, Caller, confine, may};
use crate::domain::id::{BudgetId, NamedBudget, TenantId};
use crate::wire::budget::BudgetBody;
use crate::wire::catalogue::{BudgetNowBody, BudgetRow, BudgetVersionBody, ListedBudgetBody};
use crate::wire::page::Page;
use crate::wire::{FieldError, optional, required};

/// Most budgets of one request.
pub const BUDGET_ITEMS_MAX: usize = 1_000;
/// Most budgets of a page that come with their counters.
pub const COUNTED_BUDGETS_MAX: u32 = 100;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list_budgets, put_budgets))
        .routes(routes!(get_budget, put_budget, archive_budget))
        .routes(routes!(list_budget_versions))
}

/// A page of budgets.
#[derive(Debug, Serialize, ToSchema)]
struct BudgetList {
    /// By id.
    items: Vec<ListedBudgetBody>,
    /// With `include=counters`: the instant of which all counters of the page speak. Holds whose time has passed are not counted
    /// as held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    at: Option<DateTime<Utc>>,
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
    /// How many at most: 1 to 1,000, with `include=counters` 1 to 100; 100 if not given.
    limit: Option<u32>,
    /// Whether archived ones are listed too.
    #[serde(default)]
    archived: bool,
    /// What each is listed with.
    #[param(inline)]
    include: Option<Include>,
}

/// What a budget can be listed with.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Include {
    /// How it stands: the counters of the period that holds this instant.
    Counters,
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
/// A token that is confined to a tenant sees the budgets whose scope is that tenant. With `include=counters` each comes with how it
/// stands: up to 100 counters each, all of one instant.
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
    let (only, confined) = (only.as_ref(), caller.tenant.as_ref());
    let Some(Include::Counters) = query.include else {
        let (mut items, next_cursor) = state.app.budgets(only, confined, query.archived, &page).await?;
        state.app.show_names(confined, &mut items);
        let items = items.into_iter().map(ListedBudgetBody::from).collect();
        return Ok(Json(BudgetList { items, at: None, next_cursor }));
    };
    if query.limit.is_some_and(|limit| limit > COUNTED_BUDGETS_MAX) {
        let detail = format!("a page with `include=counters` has at most {COUNTED_BUDGETS_MAX} budgets");
        return Err(FieldError::new("limit", detail).into());
    }
    let (mut items, at, next_cursor) = state.app.budgets_now(only, confined, query.archived, &page).await?;
    for item in &mut items {
        state.app.show(confined, item);
    }
    let items = items.into_iter().map(ListedBudgetBody::from).collect();
    Ok(Json(BudgetList { items, at: Some(at), next_cursor }))
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
    params(("id" = String, Path, description = "The budget: a slug, or `tenant:slug` of one in that tenant's own space. A token that is confined to a tenant names its own by the slug."), CounterQuery),
    responses((
        status = 200,
        description = "The budget and its counters.",
        body = BudgetNowBody,
        headers(("ETag" = String, description = "The version of the budget, in quotes: for `If-Match`. It says nothing of its counters."))
    ))
)]
async fn get_budget(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<CounterQuery>,
) -> Result<(HeaderMap, Json<BudgetNowBody>), Problem> {
    let own = reach(&caller, Access::Read)?;
    let id = state.app.budget_named("id", &id, own.as_ref()).await?;
    let page = Page::new("counters", query.cursor.as_deref(), query.limit)?;
    let mut now = state.app.budget_now(&id, own.as_ref(), query.key.as_deref(), &page).await?;
    state.app.show(own.as_ref(), &mut now);
    Ok(tagged(now.budget.version, now))
}

/// List a budget's versions
///
/// Every version that was ever written, the first one first; archiving is a version too.
#[utoipa::path(
    get,
    path = "/v1/budgets/{id}/versions",
    tag = "budgets",
    params(("id" = String, Path, description = "The budget: a slug, or `tenant:slug` of one in that tenant's own space. A token that is confined to a tenant names its own by the slug."), PageQuery),
    responses((status = 200, description = "A page of its versions.", body = BudgetVersionList))
)]
async fn list_budget_versions(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<PageQuery>,
) -> Result<Json<BudgetVersionList>, Problem> {
    let own = reach(&caller, Access::Read)?;
    let id = state.app.budget_named("id", &id, own.as_ref()).await?;
    let page = Page::new("budget versions", query.cursor.as_deref(), query.limit)?;
    let (mut items, next_cursor) = state.app.budget_versions(&id, own.as_ref(), &page).await?;
    state.app.show_names(own.as_ref(), &mut items);
    Ok(Json(BudgetVersionList { items, next_cursor }))
}

/// Create or replace a budget
///
/// Earlier versions are kept. A budget that is new, or that counts otherwise than before, is counted from the journal: a
/// monthly budget made on the tenth knows what the month has used. A budget that was archived is back. A change that counts goes on
/// to its end, also where its caller gives up.
/// `warnings` of the answer say what may not have been meant: names that nothing is known under, so that no call may ever match.
#[utoipa::path(
    put,
    path = "/v1/budgets/{id}",
    tag = "budgets",
    params(
        ("id" = String, Path, description = "The budget: a slug, or `tenant:slug` of one in that tenant's own space. A token that is confined to a tenant names its own by the slug."),
        Conditions,
    ),
    request_body = BudgetBody,
    responses((
        status = 200,
        description = "The budget, as it was written.",
        body = BudgetRow,
        headers(("ETag" = String, description = "Its version, in quotes: for `If-Match`."))
    ))
)]
async fn put_budget(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Manage>,
    ValidPath(id): ValidPath<String>,
    Conditions(when): Conditions,
    ValidJson(mut body): ValidJson<BudgetBody>,
) -> Result<(HeaderMap, Json<BudgetRow>), Problem> {
    let own = caller.tenant.as_ref();
    let id = match own {
        None => required("id", &id)?,
        Some(tenant) => {
            let named = required("id", &id)?;
            if body.id.take().is_some_and(|inner| inner != id) {
                return Err(FieldError::new("id", "differs from the id in the path").into());
            }
            one(state.app.budgets_to_write(vec![named], tenant).await?)?
        }
    };
    may_write(&caller, &body)?;
    let mut written = one(state.app.put_budgets(vec![BudgetPut { id, body, when }], own).await?)?;
    state.app.show_names(own, &mut written);
    Ok(tagged(written.version, written))
}

/// The one of one.
fn one<T>(mut of_one: Vec<T>) -> Result<T, Problem> {
    of_one.pop().ok_or_else(|| Problem::internal("a budget was not written"))
}

/// Whether the caller may write such a budget.
fn may_write(caller: &Caller, body: &BudgetBody) -> Result<(), Problem> {
    let tenant: Option<TenantId> = optional("scope.tenant", body.scope.tenant.as_deref())?;
    Ok(may(caller, Access::Manage, tenant.as_ref())?)
}

/// Budgets to be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"items": [{
    "id": "acme-monthly-usd", "scope": {"tenant": "acme"}, "measure": "usd", "limit": "500",
    "period": {"kind": "month", "anchor_day": 1}, "timezone": "tenant", "enforcement": "hard"
}]}))]
struct BudgetsBody {
    /// Each with its id. At most 1,000.
    items: Vec<BudgetBody>,
}

/// Budgets, as they were written.
#[derive(Debug, Serialize, ToSchema)]
struct BudgetsWritten {
    /// In the order in which they were given.
    items: Vec<BudgetRow>,
}

/// The ids of budgets that are to be written. Those of a confined caller are taken out of the bodies, because they are kept
/// otherwise.
async fn ids_of(state: &HttpState, own: Option<&TenantId>, items: &mut [BudgetBody]) -> Result<Vec<BudgetId>, Problem> {
    let missing = || FieldError::new("id", "is required");
    let within = |place: usize| move |error: FieldError| Problem::from(error.within(&format!("items[{place}]")));
    let Some(tenant) = own else {
        let id = |(place, item): (usize, &mut BudgetBody)| {
            item.id.as_deref().ok_or_else(missing).and_then(|id| required("id", id)).map_err(within(place))
        };
        return items.iter_mut().enumerate().map(id).collect();
    };
    let name = |(place, item): (usize, &mut BudgetBody)| {
        item.id.take().ok_or_else(missing).and_then(|id| required("id", &id)).map_err(within(place))
    };
    let named: Vec<NamedBudget> = items.iter_mut().enumerate().map(name).collect::<Result<_, _>>()?;
    Ok(state.app.budgets_to_write(named, tenant).await?)
}

/// Create or replace many budgets
///
/// All or none: where one is refused, nothing is written, and the error names it. They govern from one moment on, and what they
/// count is counted once for all of them.
#[utoipa::path(
    put,
    path = "/v1/budgets",
    tag = "budgets",
    request_body = BudgetsBody,
    responses((status = 200, description = "The budgets, as they were written.", body = BudgetsWritten))
)]
async fn put_budgets(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Manage>,
    ValidJson(body): ValidJson<BudgetsBody>,
) -> Result<Json<BudgetsWritten>, Problem> {
    let wrong = |detail: String| Problem::field(ProblemCode::InvalidRequest, "items", detail);
    if body.items.is_empty() || body.items.len() > BUDGET_ITEMS_MAX {
        return Err(wrong(format!("must be 1 to {BUDGET_ITEMS_MAX} budgets")));
    }
    let own = caller.tenant.as_ref();
    let mut items = body.items;
    let ids = ids_of(&state, own, &mut items).await?;
    let mut puts = Vec::with_capacity(items.len());
    let mut seen = BTreeSet::new();
    for (place, (id, body)) in ids.into_iter().zip(items).enumerate() {
        let within = |problem: Problem| problem.within(&format!("items[{place}]"));
        state.app.described(&id, &body).map_err(|error| within(error.into()))?;
        may_write(&caller, &body).map_err(within)?;
        if !seen.insert(id.clone()) {
            let name = if own.is_some() { id.name() } else { id.as_str() };
            return Err(within(FieldError::new("id", format!("`{name}` is given twice")).into()));
        }
        puts.push(BudgetPut { id, body, when: Precondition::None });
    }
    let mut items = state.app.put_budgets(puts, own).await?;
    state.app.show_names(own, &mut items);
    Ok(Json(BudgetsWritten { items }))
}

/// Archive a budget
///
/// It governs nothing any more; what it counted stays in the journal. Archiving it again changes nothing.
#[utoipa::path(
    delete,
    path = "/v1/budgets/{id}",
    tag = "budgets",
    params(("id" = String, Path, description = "The budget: a slug, or `tenant:slug` of one in that tenant's own space. A token that is confined to a tenant names its own by the slug."), Conditions),
    responses((status = 200, description = "What was archived.", body = BudgetRow))
)]
async fn archive_budget(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    Conditions(when): Conditions,
) -> Result<Json<BudgetRow>, Problem> {
    let own = reach(&caller, Access::Manage)?;
    let id = state.app.budget_named("id", &id, own.as_ref()).await?;
    let there = state.app.budget(&id, own.as_ref()).await?;
    if there.archived_at.is_none() {
        state.app.archive_budget(&id, &when).await?;
    } else {
        when.check(id.as_str(), Some(there.version))?;
    }
    let mut archived = state.app.budget(&id, own.as_ref()).await?;
    state.app.show_names(own.as_ref(), &mut archived);
    Ok(Json(archived))
}
