//! An OTLP/HTTP body → spans, and the answer OTLP asks for.
//!
//! OTLP 1.x: protobuf (`application/x-protobuf`) or JSON (`application/json`), and the answer in the encoding of the
//! request. JSON ids are hex, 64-bit numbers are texts or numbers, enumerations are numbers, unknown fields are ignored:
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.
//!
//! A message of two bytes becomes a value of some hundred: so messages are counted before anything is made of them.

use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use serde::Deserialize;

use super::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse};
use crate::wire::objects::Objects;

/// Most spans of one request. The collector's batches have 8,192, the SDKs' 512.
pub const SPANS_MAX: usize = 10_000;
/// Most messages or JSON objects of one request: spans, attributes, events, links.
pub const OBJECTS_MAX: usize = 500_000;

/// How a request is written, and so its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// The encoding of a content type, parameters left out.
    #[must_use]
    pub fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/x-protobuf") || is("application/protobuf") {
            Some(Self::Protobuf)
        } else if is("application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    /// Its content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// Why a body is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOtlp {
    /// It is not what its content type says.
    #[error("is no OTLP trace request: {0}")]
    Malformed(String),
    /// More than is taken at once.
    #[error("holds more than {SPANS_MAX} spans or {OBJECTS_MAX} parts: send smaller batches")]
    TooMany,
}

/// Reads a body.
///
/// # Errors
/// When it is not what its content type says, or holds too much.
pub fn decode(encoding: Encoding, body: &[u8]) -> Result<ExportTraceServiceRequest, BadOtlp> {
    let request = match encoding {
        Encoding::Protobuf => {
            let mut objects = 0;
            weigh(body, &REQUEST, &mut objects)?;
            ExportTraceServiceRequest::decode(body).map_err(|error| BadOtlp::Malformed(error.to_string()))?
        }
        Encoding::Json => {
            if body.iter().filter(|byte| **byte == b'{').count() > OBJECTS_MAX {
                return Err(BadOtlp::TooMany);
            }
            let malformed = |error: serde_json::Error| BadOtlp::Malformed(error.to_string());
            let mut json = serde_json::Deserializer::from_slice(body);
            let request = Deserialize::deserialize(Objects(&mut json)).map_err(malformed)?;
            json.end().map_err(malformed)?;
            request
        }
    };
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let spans = scopes.fold(0_usize, |sum, scope| sum.saturating_add(scope.spans.len()));
    if spans > SPANS_MAX { Err(BadOtlp::TooMany) } else { Ok(request) }
}

/// Writes the answer: what was not taken, and why.
#[must_use]
pub fn encode(encoding: Encoding, rejected: usize, message: String) -> Vec<u8> {
    let partial_success = (rejected > 0 || !message.is_empty()).then(|| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: message,
    });
    match (encoding, partial_success) {
        (Encoding::Protobuf, partial_success) => ExportTraceServiceResponse { partial_success }.encode_to_vec(),
        (Encoding::Json, None) => b"{}".to_vec(),
        (Encoding::Json, Some(partial)) => {
            // By hand: OTLP's JSON writes 64-bit numbers as texts, and names in lower camel case.
            let partial = serde_json::json!({
                "partialSuccess": {
                    "rejectedSpans": partial.rejected_spans.to_string(),
                    "errorMessage": partial.error_message,
                },
            });
            partial.to_string().into_bytes()
        }
    }
}

/// The fields of a message that hold messages worth counting.
struct Shape(&'static [(u32, Shape)]);

const LEAF: Shape = Shape(&[]);
/// `opentelemetry/proto/trace/v1/trace.proto`: attributes, events, links.
const SPAN: Shape = Shape(&[(9, LEAF), (11, LEAF), (13, LEAF)]);
const SCOPE_SPANS: Shape = Shape(&[(2, SPAN)]);
const RESOURCE_SPANS: Shape = Shape(&[(2, SCOPE_SPANS)]);
const REQUEST: Shape = Shape(&[(1, RESOURCE_SPANS)]);

/// Counts messages without making any.
fn weigh(mut body: &[u8], shape: &Shape, objects: &mut usize) -> Result<(), BadOtlp> {
    let malformed = |error: prost::DecodeError| BadOtlp::Malformed(error.to_string());
    while !body.is_empty() {
        let (field, wire_type) = decode_key(&mut body).map_err(malformed)?;
        let inner = shape.0.iter().find(|(number, _)| *number == field);
        let (WireType::LengthDelimited, Some((_, inner))) = (wire_type, inner) else {
            skip_field(wire_type, field, &mut body, DecodeContext::default()).map_err(malformed)?;
            continue;
        };
        let length = decode_varint(&mut body).map_err(malformed)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (message, rest) =
            body.split_at_checked(length).ok_or_else(|| BadOtlp::Malformed("it ends too early".to_owned()))?;
        body = rest;
        *objects = objects.saturating_add(1);
        if *objects > OBJECTS_MAX {
            return Err(BadOtlp::TooMany);
        }
        weigh(message, inner, objects)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_empty_unless_something_was_not_taken() {
        assert_eq!(encode(Encoding::Json, 0, String::new()), b"{}");
        assert_eq!(encode(Encoding::Protobuf, 0, String::new()), b"");
        let told = encode(Encoding::Json, 2, "no tenant".to_owned());
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let wanted = serde_json::json!({"partialSuccess": {"rejectedSpans": "2", "errorMessage": "no tenant"}});
        assert_eq!(told, wanted);
        let told = ExportTraceServiceResponse::decode(&*encode(Encoding::Protobuf, 2, "no tenant".to_owned())).unwrap();
        let partial = told.partial_success.unwrap();
        assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (2, "no tenant"));
    }

    #[test]
    fn a_small_body_that_would_become_a_large_request_is_refused_before_it_does() {
        // One resource, one scope, and two bytes for each span.
        let spans = [0x12, 0x00].repeat(OBJECTS_MAX);
        let wrapped = |field: u8, inner: &[u8]| {
            let mut out = vec![field];
            prost::encoding::encode_varint(u64::try_from(inner.len()).unwrap(), &mut out);
            out.extend_from_slice(inner);
            out
        };
        let body = wrapped(0x0a, &wrapped(0x12, &spans));
        assert_eq!(decode(Encoding::Protobuf, &body), Err(BadOtlp::TooMany));
        let few = wrapped(0x0a, &wrapped(0x12, &[0x12, 0x00].repeat(3)));
        assert_eq!(decode(Encoding::Protobuf, &few).unwrap().resource_spans[0].scope_spans[0].spans.len(), 3);
        let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, ["{}"; 10_001].join(","));
        assert_eq!(decode(Encoding::Json, json.as_bytes()), Err(BadOtlp::TooMany));
    }

    #[test]
    fn content_types_by_name() {
        assert_eq!(Encoding::of("application/x-protobuf"), Some(Encoding::Protobuf));
        assert_eq!(Encoding::of("Application/JSON; charset=utf-8"), Some(Encoding::Json));
        assert_eq!(Encoding::of("application/grpc"), None);
        assert_eq!(Encoding::of(""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                let _either = decode(encoding, &body);
            }
        }
    }
}
