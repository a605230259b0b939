//! Reservations: settle, extend, release, look, list.
#![expect(unused_qualifications, reason = "the macro of the document qualifies the names of parameters")]

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::permit::{self, Permit};
use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, ValidJson, ValidPath, ValidQuery};
use super::{idempotency, mark_repeated, wait_header};
use crate::app::AppError;
use crate::app::calls::Listed;
use crate::domain::access::{Action as Access, Caller, confine};
use crate::domain::id::{ReservationId, TenantId, TransferId};
use crate::domain::ledger::command::{Action, Release};
use crate::domain::ledger::outcome::Outcome;
use crate::wire::answer::{ExtendedAnswer, PostedAnswer, ReleasedAnswer};
use crate::wire::call::{ExtendBody, SettleBody};
use crate::wire::kept::{Kept, answer_of};
use crate::wire::optional;
use crate::wire::page::Page;
use crate::wire::reservation::ReservationBody;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(get_reservation))
        .routes(routes!(list_reservations))
        .routes(routes!(settle_reservation))
        .routes(routes!(extend_reservation))
        .routes(routes!(release_reservation))
}

/// The tenant a caller is confined to; none for the platform's own credentials.
fn own_tenant(caller: &Caller, access: Access) -> Result<Option<TenantId>, Problem> {
    Ok(confine(caller, access, None)?)
}

/// An answer with its headers: whether it was given before, and when to come back.
fn answered<T: Kept>(outcome: &Outcome) -> Result<(HeaderMap, T), Problem> {
    let (answer, is_repeated) = answer_of(outcome).map_err(Problem::internal)?;
    let mut headers = HeaderMap::new();
    mark_repeated(&mut headers, is_repeated);
    Ok((headers, answer))
}

fn operation(verb: &str, id: Uuid) -> String {
    format!("{verb} {id}")
}

/// Settle a reservation
///
/// Posts what the call used to the journal and ends the reservation. `usage` in our buckets, or the provider's raw usage object
/// in `provider_usage`. What was used is always posted: above the hold (`overrun`), after expiry (`late`). A call that
/// timed out or was cancelled without usage is charged its estimate and flagged `unconfirmed`.
#[utoipa::path(
    post,
    path = "/v1/reservations/{id}/settle",
    tag = "reservations",
    params(("id" = Uuid, Path, description = "The reservation.")),
    request_body = SettleBody,
    responses((status = 200, description = "The transfer that was posted.", body = PostedAnswer))
)]
async fn settle_reservation(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::Settle>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidPath(id): ValidPath<Uuid>,
    ValidJson(body): ValidJson<SettleBody>,
) -> Result<(HeaderMap, Json<PostedAnswer>), Problem> {
    let tenant = own_tenant(&caller, Access::Settle)?;
    let settle = body.to_settle(ReservationId(id), tenant, TransferId(Uuid::now_v7()))?;
    let idempotency = idempotency(&caller, key, &operation("settle", id), &body);
    let outcome = state.app.submit(Action::Settle(Box::new(settle)), idempotency).await?;
    let (headers, mut answer): (_, PostedAnswer) = answered(&outcome)?;
    state.app.show(caller.tenant.as_ref(), &mut answer);
    Ok((headers, Json(answer)))
}

/// Extend a reservation
///
/// A heartbeat for streams: more time, and with `more_output` more tokens if they fit every hard budget. Tokens that do not
/// fit are refused with a verdict; the reservation is then as it was.
#[utoipa::path(
    post,
    path = "/v1/reservations/{id}/extend",
    tag = "reservations",
    params(("id" = Uuid, Path, description = "The reservation.")),
    request_body = ExtendBody,
    responses((status = 200, description = "Whether it was extended, and until when.", body = ExtendedAnswer))
)]
async fn extend_reservation(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::HoldReservation>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidPath(id): ValidPath<Uuid>,
    ValidJson(body): ValidJson<ExtendBody>,
) -> Result<(HeaderMap, Json<ExtendedAnswer>), Problem> {
    let tenant = own_tenant(&caller, Access::HoldReservation)?;
    let extend = body.to_extend(ReservationId(id), tenant)?;
    let idempotency = idempotency(&caller, key, &operation("extend", id), &body);
    let outcome = state.app.submit(Action::Extend(extend), idempotency).await?;
    let (mut headers, mut answer): (_, ExtendedAnswer) = answered(&outcome)?;
    state.app.show(caller.tenant.as_ref(), &mut answer);
    wait_header(&mut headers, answer.verdict, answer.retry.as_ref(), state.app.clock.now());
    Ok((headers, Json(answer)))
}

/// Release a reservation
///
/// The call will not be made: what is held is given back at once. The body is empty.
#[utoipa::path(
    post,
    path = "/v1/reservations/{id}/release",
    tag = "reservations",
    params(("id" = Uuid, Path, description = "The reservation.")),
    responses((status = 200, description = "It was given back.", body = ReleasedAnswer))
)]
async fn release_reservation(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidPath(id): ValidPath<Uuid>,
) -> Result<(HeaderMap, Json<ReleasedAnswer>), Problem> {
    let tenant = own_tenant(&caller, Access::HoldReservation)?;
    let idempotency = idempotency(&caller, key, &operation("release", id), &EmptyBody {});
    let release = Release { reservation: ReservationId(id), tenant };
    let outcome = state.app.submit(Action::Release(release), idempotency).await?;
    let (headers, answer) = answered(&outcome)?;
    Ok((headers, Json(answer)))
}

/// What a request without a body asks.
#[derive(Serialize)]
struct EmptyBody {}

/// Look at a reservation
///
/// What is held, since when, until when, and how it ended.
#[utoipa::path(
    get,
    path = "/v1/reservations/{id}",
    tag = "reservations",
    params(("id" = Uuid, Path, description = "The reservation.")),
    responses((status = 200, description = "The reservation.", body = ReservationBody))
)]
async fn get_reservation(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<Uuid>,
) -> Result<Json<ReservationBody>, Problem> {
    let tenant = own_tenant(&caller, Access::ReadReservation)?;
    let reservation = state.app.reservation(ReservationId(id), tenant.as_ref()).await?;
    let reservation = reservation.ok_or(AppError::UnknownReservation(ReservationId(id)));
    Ok(Json(ReservationBody::of(&reservation?, state.app.clock.now())))
}

/// Where reservations stand that are listed.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ListedState {
    /// Held.
    #[default]
    Open,
    /// Its time has passed without a settlement in time.
    Expired,
}

/// Which reservations.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReservationListQuery {
    /// `open`: those that are held; also if not given. `expired`: those whose time has passed without a settlement in time.
    #[serde(default)]
    #[param(inline)]
    state: ListedState,
    /// Only those of this tenant.
    tenant: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 1,000; 100 if not given.
    limit: Option<u32>,
}

/// A page of reservations.
#[derive(Debug, Serialize, ToSchema)]
struct ReservationList {
    /// In the order in which they were granted.
    items: Vec<ReservationBody>,
    /// Give it as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

/// List reservations
///
/// What is held now, or what expired because nobody settled it: with `on_expiry` `post_estimate` of a budget its estimate was
/// posted, and stands in `transfer`. A token that is confined to a tenant sees that tenant's own.
#[utoipa::path(
    get,
    path = "/v1/reservations",
    tag = "reservations",
    params(ReservationListQuery),
    responses((status = 200, description = "A page of reservations, in the order in which they were granted.", body = ReservationList))
)]
async fn list_reservations(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<ReservationListQuery>,
) -> Result<Json<ReservationList>, Problem> {
    let tenant = confine(&caller, Access::Read, optional("tenant", query.tenant.as_deref())?)?;
    let page = Page::new("reservations", query.cursor.as_deref(), query.limit)?;
    let strange = || Problem::field(ProblemCode::InvalidRequest, "cursor", "is no cursor of reservations");
    let after = page.after.as_deref().map(|key| key.parse::<Uuid>().map_err(|_| strange())).transpose()?;
    let listed = match query.state {
        ListedState::Open => Listed::Open,
        ListedState::Expired => Listed::Expired,
    };
    let (found, now) = state.app.reservations(listed, tenant.as_ref(), after, page.fetch()).await?;
    let (found, next_cursor) = page.cut(found, |reservation| reservation.id.0.to_string());
    Ok(Json(ReservationList { items: found.iter().map(|one| ReservationBody::of(one, now)).collect(), next_cursor }))
}
