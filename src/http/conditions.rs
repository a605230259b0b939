//! Conditional writes: `If-Match`, `If-None-Match: *`, and the `ETag` that they are about (RFC 9110, section 13).
//!
//! The tag of a thing that is written by `PUT` is its version in quotes. It says which definition is there, and nothing of
//! counters or of how it fares.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Required, Type};

use super::extract::only;
use super::problem::{Problem, ProblemCode};
use crate::app::catalogue::Precondition;

/// What the request's headers say must be there.
#[derive(Debug, Clone)]
pub struct Conditions(pub Precondition);

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let (wanted, unwanted) = (only(&parts.headers, &IF_MATCH)?, only(&parts.headers, &IF_NONE_MATCH)?);
        match (wanted, unwanted.map(str::trim)) {
            (None, None) => Ok(Self(Precondition::None)),
            (None, Some("*")) => Ok(Self(Precondition::Absent)),
            (None, Some(_)) => Err(bad(&IF_NONE_MATCH, "takes `*` here: write only if nothing of this id is there")),
            (Some(tags), None) => matching(tags.trim()).map(Self),
            (Some(_), Some(_)) => Err(bad(&IF_MATCH, "does not go with If-None-Match: send one of them")),
        }
    }
}

impl IntoParams for Conditions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let header = |name: &str, description: &str| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(description))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
                .build()
        };
        vec![
            header("If-Match", "An ETag: write only over that version. `*`: only over what is there."),
            header("If-None-Match", "`*`: write only if nothing of this id is there."),
        ]
    }
}

fn bad(header: &HeaderName, detail: &str) -> Problem {
    Problem::field(ProblemCode::InvalidRequest, header.as_str(), detail)
}

/// `*`, or tags in quotes with commas between them. A weak one matches nothing, as the RFC has it.
fn matching(tags: &str) -> Result<Precondition, Problem> {
    if tags == "*" {
        return Ok(Precondition::Present);
    }
    let mut versions = Vec::new();
    for tag in tags.split(',').map(str::trim) {
        let strong = tag.strip_prefix("W/").unwrap_or(tag);
        let Some(inner) = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            return Err(bad(&IF_MATCH, "is `*` or an ETag as it was given, in quotes: \"3\""));
        };
        // A tag that is no version of ours is the tag of nothing that is there.
        if strong == tag {
            versions.extend(inner.parse::<i32>().ok());
        }
    }
    Ok(Precondition::Version(versions))
}

/// An answer with the tag of the version it shows.
pub fn tagged<T>(version: i32, body: T) -> (HeaderMap, Json<T>) {
    let mut headers = HeaderMap::new();
    if let Ok(tag) = format!("\"{version}\"").parse() {
        headers.insert(ETAG, tag);
    }
    (headers, Json(body))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn read(headers: &[(&str, &str)]) -> Result<Precondition, String> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let read = Conditions::from_request_parts(&mut parts, &()).await;
        read.map(|Conditions(read)| read).map_err(|problem| problem.errors()[0].field.clone())
    }

    #[tokio::test]
    async fn headers_say_what_must_be_there() {
        let versions = |versions: &[i32]| Ok(Precondition::Version(versions.to_vec()));
        for (headers, expected) in [
            (vec![], Ok(Precondition::None)),
            (vec![("if-none-match", "*")], Ok(Precondition::Absent)),
            (vec![("if-match", "*")], Ok(Precondition::Present)),
            (vec![("if-match", "\"3\"")], versions(&[3])),
            (vec![("if-match", "\"3\", \"5\"")], versions(&[3, 5])),
            (vec![("if-match", "W/\"3\"")], versions(&[])),
            (vec![("if-match", "\"abc\"")], versions(&[])),
            (vec![("if-match", "3")], Err("if-match".to_owned())),
            (vec![("if-match", "")], Err("if-match".to_owned())),
            (vec![("if-none-match", "\"3\"")], Err("if-none-match".to_owned())),
            (vec![("if-match", "\"3\""), ("if-none-match", "*")], Err("if-match".to_owned())),
            (vec![("if-match", "\"3\""), ("if-match", "\"4\"")], Err("if-match".to_owned())),
        ] {
            assert_eq!(read(&headers).await, expected, "{headers:?}");
        }
    }
}
