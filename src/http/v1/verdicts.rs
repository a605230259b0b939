//! Verdicts that did not grant.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, SecondsFormat, Utc};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, ValidPath, ValidQuery};
use super::budget_filter;
use crate::app::verdicts::After;
use crate::domain::access::{Action as Access, confine};
use crate::domain::id::{AgentId, FeatureId, RunId, TenantId};
use crate::wire::page::Page;
use crate::wire::verdict::{RefusalBody, RefusalId, VerdictsPage, VerdictsQuery};
use crate::wire::{in_calendar, optional};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list_verdicts)).routes(routes!(get_verdict))
}

/// The key of a cursor: the instant and the place, which holds no line break.
fn read_after(key: &str) -> Option<After> {
    let (first_at, place) = key.split_once('\n')?;
    let first_at: DateTime<Utc> = first_at.parse().ok()?;
    Some(After { first_at: in_calendar("cursor", Some(first_at)).ok()??, place: place.to_owned() })
}

/// List verdicts that did not grant
///
/// Why was this agent stopped at 03:12: every `wait` and `stop`, newest first, with the answer as it was given, all numbers
/// included. Those whose pre-flight carried an `Idempotency-Key` are listed one by one; the others are counted by tenant,
/// minute, budget, feature, verdict and reason, with the numbers of the latest.
#[utoipa::path(
    get,
    path = "/v1/verdicts",
    tag = "verdicts",
    params(VerdictsQuery),
    responses((status = 200, description = "A page of verdicts.", body = VerdictsPage))
)]
async fn list_verdicts(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<VerdictsQuery>,
) -> Result<Json<VerdictsPage>, Problem> {
    let tenant = confine(&caller, Access::Read, optional::<TenantId>("tenant", query.tenant.as_deref())?)?;
    optional::<FeatureId>("feature", query.feature.as_deref())?;
    optional::<RunId>("run", query.run.as_deref())?;
    optional::<AgentId>("agent", query.agent.as_deref())?;
    for (field, at) in [("from", query.from), ("to", query.to)] {
        in_calendar(field, at)?;
    }
    let page = Page::new("verdicts", query.cursor.as_deref(), query.limit)?;
    let strange = || Problem::field(ProblemCode::InvalidRequest, "cursor", "is no cursor of verdicts");
    let after = page.after.as_deref().map(|key| read_after(key).ok_or_else(strange)).transpose()?;
    let budget = budget_filter(&state, query.budget.as_deref(), caller.tenant.as_ref()).await?;
    let query = VerdictsQuery { tenant: tenant.as_ref().map(ToString::to_string), budget, ..query };
    let found = state.app.refusals(tenant.as_ref(), &query, after.as_ref(), page.fetch()).await?;
    let (found, next_cursor) = page.cut(found, |listed| {
        format!("{}\n{}", listed.refusal.first_at.to_rfc3339_opts(SecondsFormat::Micros, true), listed.place)
    });
    let mut items: Vec<RefusalBody> = found.into_iter().map(|listed| listed.refusal).collect();
    items.iter_mut().for_each(|refusal| state.app.show(caller.tenant.as_ref(), refusal));
    Ok(Json(VerdictsPage { items, next_cursor }))
}

/// Look at a verdict that did not grant
///
/// With the answer as it was given, all numbers included.
#[utoipa::path(
    get,
    path = "/v1/verdicts/{id}",
    tag = "verdicts",
    params(("id" = String, Path, description = "The verdict, by the id that the list gives it.")),
    responses((status = 200, description = "The verdict.", body = RefusalBody))
)]
async fn get_verdict(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
) -> Result<Json<RefusalBody>, Problem> {
    let tenant = confine(&caller, Access::Read, None)?;
    let unknown = || Problem::with_detail(ProblemCode::NotFound, "no verdict of that id was kept");
    let found = match RefusalId::parse(&id) {
        Some(id) => state.app.refusal(tenant.as_ref(), &id).await?,
        None => None,
    };
    let mut refusal = found.ok_or_else(unknown)?;
    state.app.show(caller.tenant.as_ref(), &mut refusal);
    Ok(Json(refusal))
}
