//! What every request passes, outermost first.
//!
//! | # | layer | what |
//! |---|---|---|
//! | 1 | compression | answers of [`COMPRESS_BYTES_MIN`] bytes or more, for callers that ask for gzip |
//! | 2 | [`observe`] | an id, a span, a count and a duration; problems get their `instance`; 5xx are logged with their cause; a streamed body ends once |
//! | 3 | panic | becomes `internal` |
//! | 4 | time | [`REQUEST_TIME_MAX`] becomes `timeout` |
//! | 5 | body bound | [`BODY_BYTES_MAX`] becomes `payload_too_large` |
//! | 6 | routes | no route and no method are problems too |
//!
//! Spans hold method, route, path, status and ids: no query, no header, no body.

use std::any::Any;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{DefaultBodyLimit, FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_ENCODING};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};
use tracing::{Instrument as _, Span, field};
use uuid::{NoContext, Timestamp, Uuid};

use super::limits::{BODY_BYTES_MAX, COMPRESS_BYTES_MIN, REQUEST_ID_BYTES_MAX, REQUEST_TIME_MAX};
use super::problem::{Problem, ProblemCode};
use crate::clock::Clock;
use crate::telemetry::{adopt_parent, names};

/// The header of the request's id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: the caller's if it is sane, else a fresh UUID of version 7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    fn of(headers: &HeaderMap, clock: &Clock) -> Self {
        let sane = |value: &&HeaderValue| {
            let bytes = value.as_bytes();
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
            !bytes.is_empty() && bytes.len() <= REQUEST_ID_BYTES_MAX && bytes.iter().all(plain)
        };
        headers.get(REQUEST_ID).filter(sane).map_or_else(|| Self::fresh(clock), |given| Self(given.clone()))
    }

    fn fresh(clock: &Clock) -> Self {
        let now = clock.now();
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        let id = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos()));
        Self(HeaderValue::from_str(&id.to_string()).unwrap_or(HeaderValue::from_static("unknown")))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("unknown")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self(HeaderValue::from_static("unknown"))))
    }
}

/// The service around its routes.
pub fn wrap(routes: Router, clock: Clock) -> Router {
    wrap_within(routes, clock, REQUEST_TIME_MAX)
}

/// [`wrap`] with a bound on time of one's own.
pub fn wrap_within(routes: Router, clock: Clock, time_max: Duration) -> Router {
    let worth_compressing =
        SizeAbove::new(COMPRESS_BYTES_MIN).and(NotForContentType::SSE).and(NotForContentType::IMAGES);
    // One stack, outermost first: each `Router::layer` of its own would box every route once more, on every request.
    let stack = ServiceBuilder::new()
        .layer(CompressionLayer::new().compress_when(worth_compressing))
        .layer(from_fn_with_state(clock, observe))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(from_fn_with_state(time_max, bound_time))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    routes
        .fallback(|| async { Problem::new(ProblemCode::NotFound) })
        .method_not_allowed_fallback(|| async { Problem::new(ProblemCode::MethodNotAllowed) })
        .layer(stack)
}

/// Writes `Content-Encoding` as the layer that unpacks reads it: lower case, and `x-gzip` is gzip (RFC 9110 section 8.4.1).
pub async fn plain_encoding(mut request: Request, next: Next) -> Response {
    if let Some(given) = request.headers_mut().get_mut(CONTENT_ENCODING) {
        let plain = match given.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Some(HeaderValue::from_static("gzip")),
            b"identity" => Some(HeaderValue::from_static("identity")),
            _ => None,
        };
        if let Some(plain) = plain {
            *given = plain;
        }
    }
    next.run(request).await
}

async fn bound_time(State(time_max): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(time_max, next.run(request)).await {
        Ok(response) => response,
        Err(elapsed) => Problem::with_detail(ProblemCode::Timeout, elapsed).into_response(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands over what was thrown")]
fn answer_panic(thrown: Box<dyn Any + Send>) -> HttpResponse<Body> {
    let said = thrown.downcast_ref::<String>().map(String::as_str).or_else(|| thrown.downcast_ref().copied());
    Problem::internal(format_args!("panic: {}", said.unwrap_or("not a text"))).into_response()
}

/// Gives the request its id and span, and the answer its last touches.
async fn observe(State(clock): State<Clock>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers(), &clock);
    request.extensions_mut().insert(id.clone());
    if let Some(credential) = request.headers_mut().get_mut(AUTHORIZATION) {
        credential.set_sensitive(true); // prints as `Sensitive`
    }
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = span_of(&request, method, route.as_ref().map(MatchedPath::as_str), &id);
    adopt_parent(&span, request.headers());

    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let response = span.in_scope(|| finish(response, &id));

    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    let labels = [
        ("method", method.to_owned()),
        ("route", route.map_or_else(|| "none".to_owned(), |route| route.as_str().to_owned())),
        ("status", status.as_str().to_owned()),
    ];
    metrics::histogram!(names::HTTP_REQUEST_DURATION, &labels).record(started.elapsed());
    response
}

/// Methods that are not known are one label: callers do not choose the names of our series.
fn method_name(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// For the export of spans, and for logs at level debug: writing down the fields of every request costs more than
/// deciding it. An error is logged with its request id in any case.
fn span_of(request: &Request, method: &'static str, route: Option<&str>, id: &RequestId) -> Span {
    tracing::debug_span!(
        "request",
        "otel.name" = format_args!("{method} {}", route.unwrap_or("none")),
        "otel.kind" = "server",
        "http.request.method" = method,
        "http.route" = route,
        "http.response.status_code" = field::Empty,
        "url.path" = request.uri().path(),
        request_id = id.as_str(),
    )
}

/// Every error becomes a problem that knows its request; every answer carries the request's id.
fn finish(mut response: Response, id: &RequestId) -> Response {
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let problem = match response.extensions_mut().remove::<Problem>() {
            Some(problem) => problem,
            None => Problem::of_status(status),
        };
        let code = problem.code();
        if code.status().is_server_error() {
            let (code, cause) = (code.as_str(), problem.cause());
            tracing::error!(code, cause, request_id = id.as_str(), "request failed");
        } else {
            tracing::debug!(code = code.as_str(), "request refused");
        }
        let allow = response.headers_mut().remove(ALLOW);
        response = problem.respond(id.as_str());
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
    }
    response.headers_mut().insert(REQUEST_ID, id.0.clone());
    end_once(response)
}

/// A streamed body stays ended once it has ended. Compression polls a body again after its end (tower-http issue 732), where a
/// stream may panic; here every streamed answer is covered, whichever handler makes it. A body of known length is no stream.
fn end_once(response: Response) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| Body::new(body.fuse()))
}
