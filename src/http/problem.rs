//! Every error answer, as RFC 9457 `application/problem+json`, and the only place that knows the status of an error.
//!
//! [`ProblemCode`] is closed: callers branch on `code`, and `docs/reference/problems.md` has a section for each (a test
//! compares). A problem of the 5xx kind shows no cause, only `instance`: the request id under which the cause was logged.

use std::borrow::Cow;
use std::fmt;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::limits::{ECHO_CHARS_MAX, FIELD_ERRORS_MAX, STILL_COUNTING_RETRY_AFTER_S, STORE_RETRY_AFTER_S};
use crate::auth::AuthError;
use crate::domain::access::Denied;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong, in one word that never changes. The name of a variant is the `code` of the answer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ProblemCode {
            $($(#[$doc])* $variant,)*
        }

        impl ProblemCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The `code`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The status, always the same for a code.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// The `title`, always the same for a code.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

problem_codes! {
    /// Not JSON at all.
    InvalidJson = "invalid_json", BAD_REQUEST, "The body is not JSON";
    /// No credential, or one that says nothing to us.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "No valid bearer token";
    /// The token lacks a scope.
    ForbiddenScope = "forbidden_scope", FORBIDDEN, "The token does not allow this";
    /// The token is confined to another tenant.
    ForbiddenTenant = "forbidden_tenant", FORBIDDEN, "The token is confined to another tenant";
    /// No such route.
    NotFound = "not_found", NOT_FOUND, "Nothing is here";
    /// No such tenant.
    UnknownTenant = "unknown_tenant", NOT_FOUND, "No such tenant";
    /// No such budget.
    UnknownBudget = "unknown_budget", NOT_FOUND, "No such budget";
    /// No such reservation.
    UnknownReservation = "unknown_reservation", NOT_FOUND, "No such reservation";
    /// No such endpoint of events.
    UnknownWebhook = "unknown_webhook", NOT_FOUND, "No such webhook";
    /// The route has other methods.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "This path has other methods";
    /// The thing is not in a state that allows this.
    Conflict = "conflict", CONFLICT, "The state of the thing does not allow this";
    /// The key was used for another request.
    IdempotencyMismatch = "idempotency_mismatch", CONFLICT, "The idempotency key was used for another request";
    /// The reservation has its end already.
    ReservationEnded = "reservation_ended", CONFLICT, "The reservation has ended";
    /// Another version is there than the caller said.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "Something else is there than was said";
    /// Too many bytes.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// Not a media type of this route.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The media type is not supported";
    /// Well formed, and a field is wrong.
    InvalidRequest = "invalid_request", UNPROCESSABLE_ENTITY, "The request is not valid";
    /// The estimate makes no sense.
    InvalidEstimate = "invalid_estimate", UNPROCESSABLE_ENTITY, "The estimate is not valid";
    /// The usage makes no sense.
    InvalidUsage = "invalid_usage", UNPROCESSABLE_ENTITY, "The usage is not valid";
    /// No such zone.
    UnknownZone = "unknown_zone", UNPROCESSABLE_ENTITY, "No such time zone";
    /// No price, and the fallback is not wanted.
    UnpricedModel = "unpriced_model", UNPROCESSABLE_ENTITY, "The model has no price";
    /// No emission factor, and the fallback is not wanted.
    UnknownFactor = "unknown_factor", UNPROCESSABLE_ENTITY, "An emission factor is not known";
    /// A bug.
    Internal = "internal", INTERNAL_SERVER_ERROR, "An error of the service";
    /// The queue is full.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "The service is busy";
    /// Postgres is away.
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE, "The ledger's store is away";
    /// The answer took too long.
    Timeout = "timeout", GATEWAY_TIMEOUT, "The answer took too long";
}

impl ProblemCode {
    /// The code of an answer that some library made with a bare status.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::ForbiddenScope,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::CONFLICT => Self::Conflict,
            StatusCode::PRECONDITION_FAILED => Self::PreconditionFailed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::PayloadTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Self::Timeout,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Self::Overloaded,
            other if other.is_client_error() => Self::InvalidRequest,
            _ => Self::Internal,
        }
    }

    /// What every problem of that code says, unless it has more to say.
    const fn default_detail(self) -> &'static str {
        match self {
            Self::NotFound => "no route or thing has this path: see /docs",
            Self::MethodNotAllowed => "the header Allow lists the methods of this path",
            Self::Internal => "the cause is in the log of the service under this instance: please report it",
            Self::Overloaded => "nothing was done: repeat the request after Retry-After, with the same Idempotency-Key",
            Self::StoreUnavailable => {
                "the ledger cannot reach its store: repeat the request after Retry-After, with the same Idempotency-Key"
            }
            Self::Timeout => {
                "it may have been done or not: repeat the request with the same Idempotency-Key to find out"
            }
            Self::InvalidJson
            | Self::Unauthenticated
            | Self::ForbiddenScope
            | Self::ForbiddenTenant
            | Self::UnknownTenant
            | Self::UnknownBudget
            | Self::UnknownReservation
            | Self::UnknownWebhook
            | Self::Conflict
            | Self::IdempotencyMismatch
            | Self::ReservationEnded
            | Self::PreconditionFailed
            | Self::PayloadTooLarge
            | Self::UnsupportedMediaType
            | Self::InvalidRequest
            | Self::InvalidEstimate
            | Self::InvalidUsage
            | Self::UnknownZone
            | Self::UnpricedModel
            | Self::UnknownFactor => self.title(),
        }
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where: `estimate.max_output`, `items[3].usage.input`, a query or path parameter, or a header.
    pub field: String,
    /// What is wrong with it, and what it may be.
    pub detail: String,
}

/// The body of an error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Where this code is explained, relative to the service.
    #[schema(example = "/docs/problems#invalid_request")]
    pub r#type: String,
    /// The same sentence for every problem of this code.
    pub title: String,
    /// The HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// What went wrong this time, and what to do.
    pub detail: String,
    /// The id of this request: the log of the service has more under it.
    pub instance: String,
    /// What to branch on.
    pub code: ProblemCode,
    /// The fields that are wrong, if it is about fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// An error answer in the making.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    code: ProblemCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after_s: Option<u32>,
    challenge: Option<String>,
    /// For the log; never in the answer.
    cause: Option<String>,
}

impl Problem {
    /// A problem that says no more than its code does.
    #[must_use]
    pub fn new(code: ProblemCode) -> Self {
        Self(Box::new(Parts {
            code,
            detail: Cow::Borrowed(code.default_detail()),
            errors: Vec::new(),
            retry_after_s: None,
            challenge: None,
            cause: None,
        }))
    }

    /// A problem with its own words. For a 5xx the words go to the log instead.
    #[must_use]
    pub fn with_detail(code: ProblemCode, detail: impl fmt::Display) -> Self {
        let mut problem = Self::new(code);
        if code.status().is_server_error() {
            problem.0.cause = Some(detail.to_string());
        } else {
            problem.0.detail = Cow::Owned(shortened(&detail.to_string()));
        }
        problem
    }

    /// A problem of one field.
    #[must_use]
    pub fn field(code: ProblemCode, field: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self::fields(code, vec![FieldError { field: field.into(), detail: shortened(&detail.to_string()) }])
    }

    /// A problem of these fields. The first is the headline.
    #[must_use]
    pub fn fields(code: ProblemCode, mut errors: Vec<FieldError>) -> Self {
        let headline = errors.first().map(|first| format!("{}: {}", first.field, first.detail));
        errors.truncate(FIELD_ERRORS_MAX);
        let mut problem = Self::new(code);
        if let Some(headline) = headline {
            problem.0.detail = Cow::Owned(headline);
        }
        problem.0.errors = errors;
        problem
    }

    /// The same problem of a field inside another one. One that blames no field stays as it is.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        if self.0.errors.is_empty() {
            return self;
        }
        let inner = |error: &FieldError| FieldError { field: format!("{outer}.{}", error.field), ..error.clone() };
        Self::fields(self.0.code, self.0.errors.iter().map(inner).collect())
    }

    /// A bug: the cause is logged, the caller gets the request id.
    #[must_use]
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::with_detail(ProblemCode::Internal, cause)
    }

    /// The queue is full. Nothing was done.
    #[must_use]
    pub fn overloaded(retry_after_s: u32) -> Self {
        let mut problem = Self::new(ProblemCode::Overloaded);
        problem.0.retry_after_s = Some(retry_after_s);
        problem
    }

    /// The answer takes too long, and what was asked for goes on. Who asked is told what to do, though it is a 5xx.
    #[must_use]
    pub fn still_counting(detail: impl fmt::Display) -> Self {
        let mut problem = Self::new(ProblemCode::Timeout);
        problem.0.detail = Cow::Owned(detail.to_string());
        problem.0.retry_after_s = Some(STILL_COUNTING_RETRY_AFTER_S);
        problem
    }

    /// The store is away.
    #[must_use]
    pub fn store_unavailable(cause: impl fmt::Display) -> Self {
        let mut problem = Self::with_detail(ProblemCode::StoreUnavailable, cause);
        problem.0.retry_after_s = Some(STORE_RETRY_AFTER_S);
        problem
    }

    /// No credential was given.
    #[must_use]
    pub fn no_credential() -> Self {
        let mut problem = Self::with_detail(
            ProblemCode::Unauthenticated,
            "send the header `Authorization: Bearer <token>`; `counterfoil token` mints one",
        );
        // RFC 6750 section 3.1: without credentials the challenge has no error.
        problem.0.challenge = Some(r#"Bearer realm="counterfoil""#.to_owned());
        problem
    }

    /// A refusal about a thing that the caller should not even know of: a foreign tenant's thing looks like one that is not
    /// there.
    #[must_use]
    pub fn unseen(denied: Denied, hidden_as: ProblemCode) -> Self {
        match denied {
            Denied::Scope { .. } => denied.into(),
            Denied::ForeignTenant { .. } | Denied::Platform { .. } => Self::new(hidden_as),
        }
    }

    /// The problem that stands for an answer some library made with a bare status.
    #[must_use]
    pub(super) fn of_status(status: StatusCode) -> Self {
        Self::new(ProblemCode::of_status(status))
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> ProblemCode {
        self.0.code
    }

    /// What to log and not to show.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The fields that are wrong.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    /// The body, for the request of that id. Also used inside batch answers.
    #[must_use]
    pub fn body(&self, instance: &str) -> ProblemBody {
        let Parts { code, detail, errors, .. } = &*self.0;
        ProblemBody {
            r#type: format!("/docs/problems#{code}"),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            detail: detail.clone().into_owned(),
            instance: instance.to_owned(),
            code: *code,
            errors: errors.clone(),
        }
    }

    /// The answer, for the request of that id.
    #[must_use]
    pub(super) fn respond(&self, instance: &str) -> Response {
        // A body of texts and numbers always serialises; an empty one would still carry its status.
        let body = serde_json::to_vec(&self.body(instance)).unwrap_or_default();
        let mut response = (self.0.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.0.challenge.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        // The middleware finds it here and says which request it was.
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond("")
    }
}

impl From<AuthError> for Problem {
    fn from(refused: AuthError) -> Self {
        let mut problem = Self::with_detail(ProblemCode::Unauthenticated, &refused);
        problem.0.challenge = Some(r#"Bearer realm="counterfoil", error="invalid_token""#.to_owned());
        problem
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Scope { .. } => ProblemCode::ForbiddenScope,
            Denied::ForeignTenant { .. } | Denied::Platform { .. } => ProblemCode::ForbiddenTenant,
        };
        let mut problem = Self::with_detail(code, &denied);
        if let Denied::Scope { needs } = denied {
            problem.0.challenge =
                Some(format!(r#"Bearer realm="counterfoil", error="insufficient_scope", scope="{needs}""#));
        }
        problem
    }
}

/// The text, cut to what we repeat back.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../docs/reference/problems.md");

    #[test]
    fn the_page_has_a_section_for_each_code_in_order_with_its_status_and_title() {
        let sections: Vec<_> = PAGE.split("\n## ").skip(1).collect();
        let named: Vec<_> = sections.iter().filter_map(|section| section.lines().next()).collect();
        let codes: Vec<_> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(named, codes);
        for (code, section) in ProblemCode::ALL.iter().zip(sections) {
            let status = format!("Status {}. {}.", code.status().as_u16(), code.title());
            assert_eq!(section.lines().nth(2), Some(status.as_str()), "{code}");
            for part in ["Meaning: ", "What to do: "] {
                assert!(section.lines().any(|line| line.starts_with(part)), "{code} has no line `{part}`");
            }
        }
    }

    #[test]
    fn the_code_on_the_wire_is_the_code() {
        for code in ProblemCode::ALL {
            assert_eq!(serde_json::to_value(code).expect("a text"), code.as_str());
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }

    #[test]
    fn a_5xx_shows_no_cause() {
        for code in ProblemCode::ALL.iter().filter(|code| code.status().is_server_error()) {
            let problem = Problem::with_detail(*code, "password=hunter2 at 10.0.0.1");
            assert_eq!(problem.cause(), Some("password=hunter2 at 10.0.0.1"));
            let shown = serde_json::to_string(&problem.body("id")).expect("a body");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(!problem.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn long_texts_are_not_repeated_back() {
        let problem = Problem::field(ProblemCode::InvalidRequest, "name", "é".repeat(10_000));
        assert_eq!(problem.errors()[0].detail.chars().count(), ECHO_CHARS_MAX + 1);
        let many = vec![FieldError { field: "a".into(), detail: "b".into() }; 1000];
        assert_eq!(Problem::fields(ProblemCode::InvalidRequest, many).errors().len(), FIELD_ERRORS_MAX);
    }

    #[test]
    fn a_foreign_thing_looks_like_none() {
        let tenant = |text| crate::domain::id::TenantId::parse(text).expect("a slug");
        let foreign = Denied::ForeignTenant { own: tenant("acme"), named: tenant("bolt") };
        assert_eq!(Problem::unseen(foreign.clone(), ProblemCode::UnknownBudget).code(), ProblemCode::UnknownBudget);
        assert!(!Problem::unseen(foreign.clone(), ProblemCode::UnknownBudget).to_string().contains("bolt"));
        assert_eq!(Problem::from(foreign).code(), ProblemCode::ForbiddenTenant);
        let scope = Denied::Scope { needs: crate::auth::ScopeSet::of(&[crate::auth::Scope::Read]) };
        assert_eq!(Problem::unseen(scope, ProblemCode::UnknownBudget).code(), ProblemCode::ForbiddenScope);
    }

    #[test]
    fn every_bare_error_status_has_a_code_of_its_kind() {
        for status in 400..600 {
            let status = StatusCode::from_u16(status).expect("a status");
            let shown = ProblemCode::of_status(status).status();
            let kinds = (status.is_server_error(), shown.is_server_error());
            let kept = kinds.0 == kinds.1 || [408, 429].contains(&status.as_u16());
            assert!(kept, "{status} became {shown}");
        }
    }
}
