//! Projections: when a budget runs out, and whose working day it hits.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::permit::{self, Permit};
use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson, ValidPath, ValidQuery};
use super::{idempotency, told};
use crate::domain::access::{Action as Access, confine, may};
use crate::domain::id::BudgetId;
use crate::wire::page::Page;
use crate::wire::projection::accuracy::AccuracyBody;
use crate::wire::projection::answer::{AppliedBody, PATH_HOURS_MAX, ProjectionBody, ProjectionList};
use crate::wire::projection::what_if::{ApplyFairSplitBody, WhatIfAnswer, WhatIfBody};
use crate::wire::{in_calendar, required};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(get_projection))
        .routes(routes!(list_projections))
        .routes(routes!(project_what_if))
        .routes(routes!(apply_fair_split))
        .routes(routes!(get_projection_accuracy))
}

/// Which counter, and how much of its path.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProjectionQuery {
    /// The counter of this key: `acme`. Required where the budget is counted apart.
    key: Option<String>,
    /// How many hours of the path to tell: 0 to 800; 800 if not given.
    path_hours: Option<usize>,
}

/// Which counters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProjectionListQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many counters at most: 1 to 1,000; 100 if not given.
    limit: Option<u32>,
}

/// Project a budget
///
/// When it runs out: the expected instant with a band of 80 percent, the probability that it runs out before it resets, and how
/// far to trust that. Made now, from what each tenant used by the hour of its own week, what is held, and what is announced.
/// Of a budget that several tenants share it says who drives it, who is at work when it runs out and in the hours until it
/// resets, and the tenant budgets that would bear the shortage evenly.
#[utoipa::path(
    get,
    path = "/v1/budgets/{id}/projection",
    tag = "projections",
    params(("id" = String, Path, description = "The budget: a slug, or `tenant:slug` of one in that tenant's own space. A token that is confined to a tenant names its own by the slug."), ProjectionQuery),
    responses((status = 200, description = "The projection.", body = ProjectionBody))
)]
async fn get_projection(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<ProjectionQuery>,
) -> Result<Json<ProjectionBody>, Problem> {
    let own = confine(&caller, Access::Read, None)?;
    let id = state.app.budget_named("id", &id, own.as_ref()).await?;
    let path_hours = query.path_hours.unwrap_or(PATH_HOURS_MAX);
    if path_hours > PATH_HOURS_MAX {
        let detail = format!("{path_hours} is above {PATH_HOURS_MAX}");
        return Err(Problem::field(ProblemCode::InvalidRequest, "path_hours", detail));
    }
    let mut projection = state.app.projection(&id, own.as_ref(), query.key.as_deref(), path_hours).await?;
    state.app.show_names(own.as_ref(), &mut projection);
    Ok(Json(projection))
}

/// Project each counter of a budget
///
/// One projection for each key that has counted something in its open period, without paths and people.
#[utoipa::path(
    get,
    path = "/v1/budgets/{id}/projections",
    tag = "projections",
    params(("id" = String, Path, description = "The budget: a slug, or `tenant:slug` of one in that tenant's own space. A token that is confined to a tenant names its own by the slug."), ProjectionListQuery),
    responses((status = 200, description = "A page of projections, by key.", body = ProjectionList))
)]
async fn list_projections(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<ProjectionListQuery>,
) -> Result<Json<ProjectionList>, Problem> {
    let own = confine(&caller, Access::Read, None)?;
    let id = state.app.budget_named("id", &id, own.as_ref()).await?;
    let page = Page::new("counters", query.cursor.as_deref(), query.limit)?;
    let mut projections = state.app.projections_of(&id, own.as_ref(), &page).await?;
    state.app.show_names(own.as_ref(), &mut projections);
    Ok(Json(projections))
}

/// Project a budget with something changed
///
/// The same projection twice: as it is, and with another limit, other prices, a share of a feature on another model, a tenant
/// more, another window or clock. A share that goes to another model is told in dollars and in grams. What is posted stays as
/// it is, and nothing is written.
#[utoipa::path(
    post,
    path = "/v1/budgets/{id}/projection/what-if",
    tag = "projections",
    params(("id" = String, Path, description = "The budget: a slug, or `tenant:slug` of one in that tenant's own space. A token that is confined to a tenant names its own by the slug.")),
    request_body = WhatIfBody,
    responses((status = 200, description = "Both projections.", body = WhatIfAnswer))
)]
async fn project_what_if(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Read>,
    ValidPath(id): ValidPath<String>,
    ValidJson(body): ValidJson<WhatIfBody>,
) -> Result<Json<WhatIfAnswer>, Problem> {
    let own = confine(&caller, Access::Read, None)?;
    let id = state.app.budget_named("id", &id, own.as_ref()).await?;
    let mut answer = state.app.what_if(&id, own.as_ref(), &body).await?;
    state.app.show_names(own.as_ref(), &mut answer);
    Ok(Json(answer))
}

/// Apply the fair split of a shared budget
///
/// Writes the `fair_split` of its projection, as it is at this moment: a budget for each tenant that uses it, with the id
/// `<budget>.<tenant>`, the shared budget's scope, measure, window and clock. One that an earlier split wrote keeps all but its
/// limit. All are written, or none; of a budget that nobody
/// shares nothing is.
#[utoipa::path(
    post,
    path = "/v1/budgets/{id}/projection/apply-fair-split",
    tag = "projections",
    params(("id" = String, Path, description = "The budget: a slug, or `tenant:slug` of one in that tenant's own space. A token that is confined to a tenant names its own by the slug.")),
    request_body = ApplyFairSplitBody,
    responses((status = 200, description = "What was written.", body = AppliedBody))
)]
async fn apply_fair_split(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Manage>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidPath(id): ValidPath<String>,
    ValidJson(body): ValidJson<ApplyFairSplitBody>,
) -> Result<(HeaderMap, Json<AppliedBody>), Problem> {
    may(&caller, Access::Manage, None)?;
    let id: BudgetId = required("id", &id)?;
    let key = idempotency(&caller, key, &format!("apply-fair-split {id}"), &body);
    Ok(told(state.app.apply_fair_split(&id, &body, key.as_ref()).await?))
}

/// Which projections.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AccuracyQuery {
    /// Only those of this budget.
    budget: Option<String>,
    /// Only those made since this instant; a year ago if not given.
    since: Option<DateTime<Utc>>,
}

/// Read how right projections were
///
/// The service projects every budget by itself, keeps what it said, and scores it once the period is over: the error of the
/// expected instant, the share of truths within the band, and the Brier score of the probability.
#[utoipa::path(
    get,
    path = "/v1/projections/accuracy",
    tag = "projections",
    params(AccuracyQuery),
    responses((status = 200, description = "By method and class.", body = AccuracyBody))
)]
async fn get_projection_accuracy(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<AccuracyQuery>,
) -> Result<Json<AccuracyBody>, Problem> {
    let own = confine(&caller, Access::Read, None)?;
    let budget = match query.budget.as_deref() {
        Some(budget) => Some(state.app.budget_named("budget", budget, own.as_ref()).await?),
        None => None,
    };
    let since = in_calendar("since", query.since)?;
    Ok(Json(state.app.projection_accuracy(budget.as_ref(), own.as_ref(), since).await?))
}
