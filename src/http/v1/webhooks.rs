//! Webhooks: write, look, list, remove, test, resume.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::conditions::{Conditions, tagged};
use super::super::permit::{self, Permit};
use super::super::problem::Problem;
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson, ValidPath, ValidQuery};
use super::{idempotency, told};
use crate::domain::access::{Action as Access, Caller, confine};
use crate::domain::id::{TenantId, WebhookId};
use crate::wire::page::Page;
use crate::wire::webhook::{
    WebhookBody, WebhookPutBody, WebhookQuery, WebhookTestBody, WebhooksPage, WebhooksQuery, WrittenWebhookBody,
};
use crate::wire::{optional, required};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list_webhooks))
        .routes(routes!(get_webhook, put_webhook, delete_webhook))
        .routes(routes!(resume_webhook))
        .routes(routes!(test_webhook))
}

/// The tenant in whose space a webhook is looked for; none where the caller is the platform and names none.
fn named(caller: &Caller, access: Access, query: &WebhookQuery) -> Result<Option<TenantId>, Problem> {
    Ok(confine(caller, access, optional::<TenantId>("tenant", query.tenant.as_deref())?)?)
}

/// As the caller may see it.
fn shown(caller: &Caller, webhook: WebhookBody) -> WebhookBody {
    let may_write = confine(caller, Access::Manage, None).is_ok();
    if may_write { webhook } else { webhook.for_reader() }
}

/// List webhooks
///
/// With how each fares: whether it is paused and why, and how much waits for it. No secret is shown.
#[utoipa::path(
    get,
    path = "/v1/webhooks",
    tag = "webhooks",
    params(WebhooksQuery),
    responses((status = 200, description = "A page of webhooks, by id.", body = WebhooksPage))
)]
async fn list_webhooks(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<WebhooksQuery>,
) -> Result<Json<WebhooksPage>, Problem> {
    let only = confine(&caller, Access::Read, optional::<TenantId>("tenant", query.tenant.as_deref())?)?;
    let page = Page::new("webhooks", query.cursor.as_deref(), query.limit)?;
    let (items, next_cursor) = state.app.webhooks(only.as_ref(), caller.tenant.as_ref(), &page).await?;
    let items = items.into_iter().map(|webhook| shown(&caller, webhook)).collect();
    Ok(Json(WebhooksPage { items, next_cursor }))
}

/// Get a webhook
///
/// With how it fares: whether it is paused and why, and how much waits for it. Its secret is not shown.
#[utoipa::path(
    get,
    path = "/v1/webhooks/{id}",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook, a slug."), WebhookQuery),
    responses((
        status = 200,
        description = "The webhook.",
        body = WebhookBody,
        headers(("ETag" = String, description = "Its version, in quotes: for `If-Match`. It says nothing of how it fares."))
    ))
)]
async fn get_webhook(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<WebhookQuery>,
) -> Result<(HeaderMap, Json<WebhookBody>), Problem> {
    let tenant = named(&caller, Access::Read, &query)?;
    let id: WebhookId = required("id", &id)?;
    let webhook = shown(&caller, state.app.webhook(&id, tenant.as_ref()).await?);
    Ok(tagged(webhook.version, webhook))
}

/// Create or replace a webhook
///
/// Ids are a tenant's own: two tenants may have a webhook of one id. Events from now on are sent to it, signed by the scheme of Standard Webhooks, at least once, those about one budget in
/// their order. A new one without a secret gets one, which this answer alone shows. Writing it again resumes it.
#[utoipa::path(
    put,
    path = "/v1/webhooks/{id}",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook, a slug."), Conditions),
    request_body = WebhookPutBody,
    responses((
        status = 200,
        description = "It was written.",
        body = WrittenWebhookBody,
        headers(("ETag" = String, description = "Its version, in quotes: for `If-Match`."))
    ))
)]
async fn put_webhook(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Manage>,
    ValidPath(id): ValidPath<String>,
    Conditions(when): Conditions,
    ValidJson(body): ValidJson<WebhookPutBody>,
) -> Result<(HeaderMap, Json<WrittenWebhookBody>), Problem> {
    let tenant = confine(&caller, Access::Manage, optional::<TenantId>("tenant", body.tenant.as_deref())?)?;
    let id: WebhookId = required("id", &id)?;
    let written = state.app.put_webhook(&id, tenant.as_ref(), &body, &when).await?;
    Ok(tagged(written.webhook.version, written))
}

/// Remove a webhook
///
/// What waited for it is not sent. The events stay in the list of events.
#[utoipa::path(
    delete,
    path = "/v1/webhooks/{id}",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook, a slug."), WebhookQuery, Conditions),
    responses((status = 200, description = "What was removed.", body = WebhookBody))
)]
async fn delete_webhook(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<WebhookQuery>,
    Conditions(when): Conditions,
) -> Result<Json<WebhookBody>, Problem> {
    let tenant = named(&caller, Access::Manage, &query)?;
    let id: WebhookId = required("id", &id)?;
    Ok(Json(state.app.delete_webhook(&id, tenant.as_ref(), &when).await?))
}

/// Resume a webhook
///
/// What waited while it was paused is sent now, in its order. Resuming one that is not paused makes what failed due at once;
/// doing it again changes nothing more.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/resume",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook, a slug."), WebhookQuery),
    responses((status = 200, description = "The webhook, resumed.", body = WebhookBody))
)]
async fn resume_webhook(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<WebhookQuery>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
) -> Result<(HeaderMap, Json<WebhookBody>), Problem> {
    let tenant = named(&caller, Access::Manage, &query)?;
    let id: WebhookId = required("id", &id)?;
    let key = idempotency(&caller, key, &format!("resume-webhook {id}"), &query.tenant);
    Ok(told(state.app.resume_webhook(&id, tenant.as_ref(), key.as_ref()).await?))
}

/// Test a webhook
///
/// Sends a signed message of type `test.raised` at once, also to a webhook that is paused or disabled, and answers what came
/// of it. It is no event, and changes nothing here.
#[utoipa::path(
    post,
    path = "/v1/webhooks/{id}/test",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook, a slug."), WebhookQuery),
    responses((status = 200, description = "What came of it.", body = WebhookTestBody))
)]
async fn test_webhook(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<String>,
    ValidQuery(query): ValidQuery<WebhookQuery>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
) -> Result<(HeaderMap, Json<WebhookTestBody>), Problem> {
    let tenant = named(&caller, Access::Manage, &query)?;
    let id: WebhookId = required("id", &id)?;
    let key = idempotency(&caller, key, &format!("test-webhook {id}"), &query.tenant);
    Ok(told(state.app.test_webhook(&id, tenant.as_ref(), caller.tenant.is_some(), key.as_ref()).await?))
}
