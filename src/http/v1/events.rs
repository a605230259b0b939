//! Events: the list, the stream, and what is firing now.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CACHE_CONTROL, HeaderName, HeaderValue};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, Stream};
use tokio::sync::watch;
use tokio::time::Sleep;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::extract::bearer;
use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, ValidPath, ValidQuery};
use super::budget_filter;
use crate::app::App;
use crate::app::alerts::hub::Wake;
use crate::app::alerts::reads::Placed;
use crate::app::places::Place;
use crate::domain::access::{Action as Access, confine};
use crate::domain::id::{EventId, FeatureId, RunId, TenantId};
use crate::wire::alert::{AlertsPage, AlertsQuery, EventBody, EventsPage, EventsQuery, last_event};
use crate::wire::page::Page;
use crate::wire::{in_calendar, optional};

/// How often a stream without events says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream lasts: then its client comes back, with a token that is looked at anew.
pub const EVENT_STREAM_TIME_MAX: Duration = Duration::from_secs(3_600);
/// Events that a stream reads at once.
const READ_AT_ONCE: i64 = 100;
/// How long a stream relies on being woken before it looks by itself.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);
/// When to come back to a replica that has no room for another stream, in seconds.
const STREAM_RETRY_AFTER_S: u32 = 30;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list_events)).routes(routes!(get_event)).routes(routes!(list_alerts))
}

/// List events, or follow them
///
/// What happened to alerts: raised, cleared. With `Accept: application/json` a page, newest first. With
/// `Accept: text/event-stream` a stream of server-sent events from now on, or after the event that the header
/// `Last-Event-ID` names; the `id` of each is the event's, its `event` is `kind.status`, its `data` the event as JSON. A
/// stream ends with its token, and after an hour at most; a browser or library then comes back by itself.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<Uuid>, Header, description = "Where a stream goes on: after this event.")),
    responses((
        status = 200,
        description = "A page of events, or a stream of them.",
        content((EventsPage = "application/json"), (String = "text/event-stream"))
    ))
)]
async fn list_events(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = confine(&caller, Access::Read, optional::<TenantId>("tenant", query.tenant.as_deref())?)?;
    optional::<FeatureId>("feature", query.feature.as_deref())?;
    optional::<RunId>("run", query.run.as_deref())?;
    for (field, at) in [("from", query.from), ("to", query.to)] {
        in_calendar(field, at)?;
    }
    let confined = caller.tenant.clone();
    let budget = budget_filter(&state, query.budget.as_deref(), confined.as_ref()).await?;
    let query = EventsQuery { tenant: tenant.as_ref().map(ToString::to_string), budget, ..query };
    let last = match headers.get(LAST_EVENT_ID).map(HeaderValue::to_str) {
        None => None,
        Some(Ok(text)) => Some(last_event(text)?),
        Some(Err(_)) => Some(last_event("")?),
    };
    if wants_stream(&headers) {
        return follow(&state.app, (confined, bearer(&headers)?.to_owned()), query, last).await;
    }
    let page = Page::new("events", query.cursor.as_deref(), query.limit)?;
    let before = page.after.is_some().then(|| page.after_number()).transpose()?;
    let found = state.app.events(confined.as_ref(), &query, before, page.fetch()).await?;
    let (found, next_cursor) = page.cut(found, |placed| placed.place.to_string());
    let mut items: Vec<EventBody> = found.into_iter().map(|placed| placed.event).collect();
    state.app.show_names(confined.as_ref(), &mut items);
    Ok(Json(EventsPage { items, next_cursor }).into_response())
}

/// Whether the caller asks for a stream: by its media type, whatever else it takes.
fn wants_stream(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|one| {
        one.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
    })
}

/// A stream on its way.
struct Following {
    app: App,
    confined: Option<TenantId>,
    token: String,
    query: EventsQuery,
    /// The place of the last event that was read.
    place: i64,
    read: VecDeque<Placed>,
    wakes: watch::Receiver<Wake>,
    over: Pin<Box<Sleep>>,
    _place_of_stream: Place,
}

async fn follow(
    app: &App,
    (confined, token): (Option<TenantId>, String),
    query: EventsQuery,
    last: Option<EventId>,
) -> Result<Response, Problem> {
    let of_pages = [
        ("cursor", query.cursor.is_some()),
        ("limit", query.limit.is_some()),
        ("from", query.from.is_some()),
        ("to", query.to.is_some()),
    ];
    if let Some((field, _)) = of_pages.into_iter().find(|(_, given)| *given) {
        return Err(Problem::field(ProblemCode::InvalidRequest, field, "is of pages, not of a stream"));
    }
    let place_of_stream = app.events.streams.try_take(confined.as_ref());
    let place_of_stream = place_of_stream.ok_or_else(|| Problem::overloaded(STREAM_RETRY_AFTER_S))?;
    // Before the first read, so that nothing falls in between.
    let wakes = app.events.subscribe();
    let place = app.stream_start(confined.as_ref(), last).await?;
    let unknown = || Problem::field(ProblemCode::InvalidRequest, "Last-Event-ID", "is no event that was kept");
    let following = Following {
        app: app.clone(),
        confined,
        token,
        query,
        place: place.ok_or_else(unknown)?,
        read: VecDeque::new(),
        wakes,
        over: Box::pin(tokio::time::sleep(EVENT_STREAM_TIME_MAX)),
        _place_of_stream: place_of_stream,
    };
    let frames = Sse::new(frames(following)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    // A proxy that gathers an answer before it passes it on would hold events back.
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, frames).into_response())
}

fn frames(following: Following) -> impl Stream<Item = Result<Frame, Infallible>> {
    stream::unfold(following, |mut following| async move {
        let mut placed = next(&mut following).await?;
        following.app.show_names(following.confined.as_ref(), &mut placed.event);
        let EventBody { id, kind, status, .. } = &placed.event;
        let name = format!("{}.{}", crate::domain::alert::kind::AlertKind::from(*kind).name(), status.name());
        // Texts, counts and instants can always be written; none of them holds a bare line break.
        let frame = Frame::default().id(id.to_string()).event(name).json_data(&placed.event).ok()?;
        Some((Ok(frame), following))
    })
}

/// The next event; none when the stream is over.
async fn next(following: &mut Following) -> Option<Placed> {
    loop {
        if let Some(placed) = following.read.pop_front() {
            following.place = placed.place;
            return Some(placed);
        }
        // What is told while this reads wakes it again.
        if *following.wakes.borrow_and_update() == Wake::Stop {
            return None;
        }
        let Following { app, confined, token, query, place, .. } = &*following;
        // A stream ends with its token, and with the trust in its key.
        if app.verifier.verify(token, app.clock.now()).is_err() {
            return None;
        }
        match app.events_after(confined.as_ref(), query, *place, READ_AT_ONCE).await {
            Ok(read) if !read.is_empty() => {
                following.read = read.into();
                continue;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a stream of events ends: its client will come back");
                return None;
            }
        }
        tokio::select! {
            () = &mut following.over => return None,
            woken = following.wakes.changed() => woken.ok()?,
            () = tokio::time::sleep(LOOK_ANYWAY) => {}
        }
    }
}

/// Get an event
#[utoipa::path(
    get,
    path = "/v1/events/{id}",
    tag = "events",
    params(("id" = Uuid, Path, description = "The event.")),
    responses((status = 200, description = "The event.", body = EventBody))
)]
async fn get_event(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<Uuid>,
) -> Result<Json<EventBody>, Problem> {
    let own = confine(&caller, Access::Read, None)?;
    let mut found = state.app.event(own.as_ref(), EventId(id)).await?;
    found.iter_mut().for_each(|event| state.app.show_names(own.as_ref(), event));
    found.map(Json).ok_or_else(|| Problem::with_detail(ProblemCode::NotFound, "no event of that id was kept"))
}

/// List what is firing
///
/// Every alert that was raised and has not cleared, as the event that raised it. Alerts of a storm that were not told are
/// here as well.
#[utoipa::path(
    get,
    path = "/v1/alerts",
    tag = "events",
    params(AlertsQuery),
    responses((status = 200, description = "A page of alerts.", body = AlertsPage))
)]
async fn list_alerts(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<AlertsQuery>,
) -> Result<Json<AlertsPage>, Problem> {
    let tenant = confine(&caller, Access::Read, optional::<TenantId>("tenant", query.tenant.as_deref())?)?;
    let page = Page::new("alerts", query.cursor.as_deref(), query.limit)?;
    let budget = budget_filter(&state, query.budget.as_deref(), caller.tenant.as_ref()).await?;
    let query = AlertsQuery { tenant: tenant.as_ref().map(ToString::to_string), budget, ..query };
    let found = state.app.alerts(caller.tenant.as_ref(), &query, page.after.as_deref(), page.fetch()).await?;
    let (found, next_cursor) = page.cut(found, |(cause, _)| cause.clone());
    let mut items: Vec<EventBody> = found.into_iter().map(|(_, alert)| alert).collect();
    state.app.show_names(caller.tenant.as_ref(), &mut items);
    Ok(Json(AlertsPage { items, next_cursor }))
}
