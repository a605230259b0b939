//! Signals: what a provider's answer means, and what was told.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::permit::{self, Permit};
use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson, ValidQuery};
use super::{idempotency, told};
use crate::domain::access::{Action as Access, confine};
use crate::domain::id::TenantId;
use crate::wire::optional;
use crate::wire::page::Page;
use crate::wire::signal::{SignalAnswer, SignalBody, SignalRow};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(take_signal, list_signals))
}

/// A page of signals.
#[derive(Debug, Serialize, ToSchema)]
struct SignalList {
    /// The newest first.
    items: Vec<SignalRow>,
    /// Give it as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which signals.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SignalQuery {
    /// Only those about this tenant's own limits.
    tenant: Option<String>,
    /// Only those of this provider.
    provider: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 1,000; 100 if not given.
    limit: Option<u32>,
}

/// Tell a provider's answer
///
/// A status, headers and body that a provider answered: what it means, and when it comes back. What no rule knows is `unknown`.
/// Anything but a success is recorded, without headers and body. A `stop` for a quota closes ours: verdicts on it are `stop`, on
/// every replica, until it resets, until a success that came later is told or settled, or until the budget is replaced. While
/// nobody has said when it resets, one call a minute is let through to see.
#[utoipa::path(
    post,
    path = "/v1/signals",
    tag = "signals",
    request_body = SignalBody,
    responses((status = 200, description = "What the answer means.", body = SignalAnswer))
)]
async fn take_signal(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::PostUsage>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidJson(body): ValidJson<SignalBody>,
) -> Result<(HeaderMap, Json<SignalAnswer>), Problem> {
    confine(&caller, Access::PostUsage, optional::<TenantId>("tenant", body.tenant.as_deref())?)?;
    let key = idempotency(&caller, key, "signals", &body);
    let mut given = state.app.take_signal(&caller, &body, key.as_ref()).await?;
    state.app.show_names(caller.tenant.as_ref(), &mut given.answer);
    Ok(told(given))
}

/// List signals
///
/// What providers answered, newest first, and which quotas were closed by it.
#[utoipa::path(
    get,
    path = "/v1/signals",
    tag = "signals",
    params(SignalQuery),
    responses((status = 200, description = "A page of signals.", body = SignalList))
)]
async fn list_signals(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<SignalQuery>,
) -> Result<Json<SignalList>, Problem> {
    let tenant = confine(&caller, Access::Read, optional::<TenantId>("tenant", query.tenant.as_deref())?)?;
    let page = Page::new("signals", query.cursor.as_deref(), query.limit)?;
    let (mut items, next_cursor) = state.app.signals(tenant.as_ref(), query.provider.as_deref(), &page).await?;
    state.app.show_names(caller.tenant.as_ref(), &mut items);
    Ok(Json(SignalList { items, next_cursor }))
}
