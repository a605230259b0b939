//! What handlers take: bodies, queries, paths, the caller and the idempotency key; or a problem that names the field.
//!
//! The framework's own extractors answer errors as plain text and name no field, so handlers use only these.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody, PathRejection};
use axum::extract::{FromRef, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Uri};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::limits::PARSE_AT_ONCE_BYTES_MAX;
use super::problem::{Problem, ProblemCode};
use super::unique::WithoutDuplicates;
use crate::auth::{Caller, Verifier};
use crate::clock::Clock;
use crate::domain::id::{IdempotencyKey, composed};
use crate::wire::in_calendar;
use crate::wire::objects::Objects;

/// The header of the caller's key of one write.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A JSON body. Unknown and wrong fields are named.
#[derive(Debug, Clone, Copy)]
pub struct ValidJson<T>(pub T);

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> FromRequest<S> for ValidJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let JsonBytes(body) = JsonBytes::from_request(request, state).await?;
        parse_aside(body.len(), move || parse_json(&body)).await.map(Self)
    }
}

/// The bytes of a body that says it is JSON, for handlers that read it piece by piece.
#[derive(Debug, Clone)]
pub struct JsonBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::with_detail(
                ProblemCode::UnsupportedMediaType,
                "the body must be JSON: send `Content-Type: application/json`",
            ));
        }
        read_body(request, state).await.map(Self)
    }
}

/// The bytes of a body, within the bound of its route.
///
/// # Errors
/// `payload_too_large`, or `invalid_json` if the connection ends before the body does.
pub async fn read_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejected| {
        if matches!(rejected, BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))) {
            Problem::with_detail(ProblemCode::PayloadTooLarge, "the body is longer than this route takes")
        } else {
            Problem::with_detail(ProblemCode::InvalidJson, "the body ended before its end")
        }
    })
}

/// Whose turn it is to be parsed aside.
static LARGE_BODIES: Semaphore = Semaphore::const_new(1);

/// Parses a body of that length: a short one at once; a long one on a thread that others do not wait for, and one at a time,
/// because the values of a body may need a hundred times its memory.
///
/// # Errors
/// Those of `parse`.
pub async fn parse_aside<T: Send + 'static>(
    bytes: usize,
    parse: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if bytes <= PARSE_AT_ONCE_BYTES_MAX {
        return parse();
    }
    let turn = LARGE_BODIES.acquire().await.map_err(Problem::internal)?;
    let parsing = tokio::task::spawn_blocking(move || {
        let parsed = parse();
        // Here and not where it is waited for: a request that is given up does not end its parsing.
        drop(turn);
        parsed
    });
    parsing.await.map_err(Problem::internal)?
}

/// A value from JSON text.
///
/// # Errors
/// `invalid_json` if it is no JSON; `invalid_request` with the field if it is not the JSON of a `T`.
pub fn parse_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let is_json = refuse_duplicates(text)?;
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(Objects(&mut json)).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            field_problem(&path, without_position(&inner.to_string()))
        } else if is_json {
            // Where one of several words or objects is asked for, `serde_json` takes anything else for no JSON.
            field_problem(&path, "is neither a text nor an object")
        } else {
            Problem::with_detail(ProblemCode::InvalidJson, inner)
        }
    })?;
    json.end().map_err(|error| Problem::with_detail(ProblemCode::InvalidJson, error))?;
    Ok(value)
}

/// Refuses a field that is given twice, wherever it stands.
///
/// Also in maps, of which the last value would win without a word. Returns whether the text is JSON; what is wrong with it is said by whoever reads it.
///
/// # Errors
/// Names the field.
pub fn refuse_duplicates(text: &[u8]) -> Result<bool, Problem> {
    let mut json = serde_json::Deserializer::from_slice(text);
    match serde_path_to_error::deserialize::<_, WithoutDuplicates>(&mut json) {
        Err(error) if error.inner().is_data() => {
            let path = error.path().to_string();
            Err(field_problem(&path, without_position(&error.into_inner().to_string())))
        }
        Ok(WithoutDuplicates) => Ok(json.end().is_ok()),
        Err(_) => Ok(false),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(given) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// `serde_json` ends its messages with where they are in the text; the field says it better.
fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(said, _)| said)
}

/// The problem of one field, from where `serde` was and what it said there.
fn field_problem(path: &str, said: &str) -> Problem {
    let path = if path == "." { "" } else { path };
    let (field, detail) = if let Some(name) = quoted_after(said, "missing field ") {
        (inside(path, name), "is required".to_owned())
    } else if let Some(name) = quoted_after(said, "unknown field ") {
        let rest = said.split_once(", ").map_or("", |(_, rest)| rest);
        (inside(path, name), format!("is no field here: {rest}"))
    } else if let Some(name) = quoted_after(said, "duplicate field ") {
        (inside(path, name), "is given twice".to_owned())
    } else {
        (if path.is_empty() { "body".to_owned() } else { path.to_owned() }, said.to_owned())
    };
    Problem::field(ProblemCode::InvalidRequest, field, detail)
}

fn quoted_after<'a>(said: &'a str, start: &str) -> Option<&'a str> {
    said.strip_prefix(start)?.strip_prefix('`')?.split_once('`').map(|(name, _)| name)
}

/// The field of that name under that path. Some of serde's errors are raised at the field, others at its parent.
fn inside(path: &str, name: &str) -> String {
    let last = path.rsplit('.').next().unwrap_or_default();
    if path.is_empty() {
        name.to_owned()
    } else if last == name {
        path.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The query of the path.
///
/// Whatever it means, no text in it holds a NUL, which Postgres keeps in none, no instant is beyond the
/// calendar, and its texts are composed (NFC), as the names are that they are compared with.
#[derive(Debug, Clone, Copy)]
pub struct ValidQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ValidQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let composed = checked_texts(&parts.uri)?;
        let uri = composed.as_ref().unwrap_or(&parts.uri);
        let Query(value) = Query::try_from_uri(uri).map_err(|rejected| query_problem(&rejected))?;
        Ok(Self(value))
    }
}

/// Checks the texts of a query; the query with its texts composed, where one is not.
fn checked_texts(uri: &Uri) -> Result<Option<Uri>, Problem> {
    // What is no query at all is said by whoever reads it into its type.
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else { return Ok(None) };
    for (name, value) in &pairs {
        if name.contains('\0') || value.contains('\0') {
            let name = name.replace('\0', "\u{fffd}");
            return Err(Problem::field(ProblemCode::InvalidRequest, name, "may not hold the character NUL"));
        }
        if let Ok(at) = value.parse::<DateTime<Utc>>() {
            in_calendar(name, Some(at))?;
        }
    }
    if pairs.iter().all(|(_, value)| matches!(composed(value), Cow::Borrowed(_))) {
        return Ok(None);
    }
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    let encoded = |text: &str| text.bytes().map(byte).collect::<String>();
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(&composed(value))));
    let query = pairs.collect::<Vec<_>>().join("&");
    format!("{}?{query}", uri.path())
        .parse()
        .map(Some)
        .map_err(|error| Problem::field(ProblemCode::InvalidRequest, "query", error))
}

fn query_problem(rejected: &(dyn std::error::Error + 'static)) -> Problem {
    let mut next = Some(rejected);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<serde_path_to_error::Error<serde::de::value::Error>>() {
            return field_problem(&found.path().to_string(), &found.inner().to_string());
        }
        next = error.source();
    }
    Problem::field(ProblemCode::InvalidRequest, "query", rejected)
}

/// The parameters in the path.
#[derive(Debug, Clone, Copy)]
pub struct ValidPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ValidPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(path_problem(error.into_kind())),
            Err(other) => Err(Problem::internal(other)),
        }
    }
}

fn path_problem(kind: ErrorKind) -> Problem {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest, and any the framework adds, are mistakes of ours")]
    let (field, detail) = match kind {
        ErrorKind::ParseErrorAtKey { key, value, expected_type } => (key, format!("{value:?} is no {expected_type}")),
        ErrorKind::ParseErrorAtIndex { index, value, expected_type } => {
            (format!("path[{index}]"), format!("{value:?} is no {expected_type}"))
        }
        ErrorKind::ParseError { value, expected_type } => {
            ("path".to_owned(), format!("{value:?} is no {expected_type}"))
        }
        ErrorKind::InvalidUtf8InPathParam { key } => (key, "is not UTF-8".to_owned()),
        ErrorKind::DeserializeError { key, message, .. } => (key, message),
        ErrorKind::Message(message) => ("path".to_owned(), message),
        other => return Problem::internal(other),
    };
    Problem::field(ProblemCode::InvalidRequest, field, detail)
}

/// The caller, by their bearer token.
#[derive(Debug, Clone)]
pub struct Auth(pub Caller);

impl<S> FromRequestParts<S> for Auth
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
    Clock: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?;
        let verifier = Arc::<Verifier>::from_ref(state);
        Ok(Self(verifier.verify(token, Clock::from_ref(state).now())?))
    }
}

/// The token of the one `Authorization` header. RFC 9110 section 11.1: the scheme's case does not matter.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let given = only(headers, &AUTHORIZATION)?.ok_or_else(Problem::no_credential)?;
    let (scheme, token) = given.split_once(' ').ok_or_else(Problem::no_credential)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(Problem::no_credential()) }
}

/// The value of a header that may be given once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = |detail| Err(Problem::field(ProblemCode::InvalidRequest, name.as_str(), detail));
    if values.next().is_some() {
        return wrong("is given twice");
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => wrong("may hold only printable ASCII characters"),
    }
}

/// The caller's key of one write, if there is one.
#[derive(Debug, Clone)]
pub struct IdempotencyKeyHeader(pub Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKeyHeader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(given) = only(&parts.headers, &IDEMPOTENCY_KEY)? else { return Ok(Self(None)) };
        // The IETF draft of this header writes the key as a quoted string, most clients without quotes: one key either way.
        let key = given.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(given);
        let key = IdempotencyKey::parse(key)
            .map_err(|why| Problem::field(ProblemCode::InvalidRequest, IDEMPOTENCY_KEY.as_str(), why))?;
        Ok(Self(Some(key)))
    }
}
