//! Projections: when a budget runs out, and whose working day it hits.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, ValidPath, ValidQuery};
use crate::domain::access::{Action as Access, confine};
use crate::domain::id::BudgetId;
use crate::wire::page::Page;
use crate::wire::projection::answer::{PATH_HOURS_MAX, ProjectionBody, ProjectionList};
use crate::wire::required;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(get_projection)).routes(routes!(list_projections))
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
    params(("id" = String, Path, description = "The budget, a slug."), ProjectionQuery),
    responses((status = 200, description = "The projection.", body = ProjectionBody))
)]
async fn get_projection(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<ProjectionQuery>,
) -> Result<Json<ProjectionBody>, Problem> {
    let own = confine(&caller, Access::Read, None)?;
    let id: BudgetId = required("id", &id)?;
    let path_hours = query.path_hours.unwrap_or(PATH_HOURS_MAX);
    if path_hours > PATH_HOURS_MAX {
        let detail = format!("{path_hours} is above {PATH_HOURS_MAX}");
        return Err(Problem::field(ProblemCode::InvalidRequest, "path_hours", detail));
    }
    Ok(Json(state.app.projection(&id, own.as_ref(), query.key.as_deref(), path_hours).await?))
}

/// Project each counter of a budget
///
/// One projection for each key that has counted something in its open period, without paths and people.
#[utoipa::path(
    get,
    path = "/v1/budgets/{id}/projections",
    tag = "projections",
    params(("id" = String, Path, description = "The budget, a slug."), ProjectionListQuery),
    responses((status = 200, description = "A page of projections, by key.", body = ProjectionList))
)]
async fn list_projections(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<ProjectionListQuery>,
) -> Result<Json<ProjectionList>, Problem> {
    let own = confine(&caller, Access::Read, None)?;
    let id: BudgetId = required("id", &id)?;
    let page = Page::new("counters", query.cursor.as_deref(), query.limit)?;
    Ok(Json(state.app.projections_of(&id, own.as_ref(), &page).await?))
}
