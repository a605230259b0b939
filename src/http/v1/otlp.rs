//! OTLP/HTTP: spans of instrumented applications become usage.

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use tower_http::decompression::RequestDecompressionLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::extract::{parse_aside, read_body, refuse_duplicates};
use super::super::limits::BULK_BODY_BYTES_MAX;
use super::super::middleware::plain_encoding;
use super::super::permit::{self, Permit};
use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use crate::ingest::otlp::{BadOtlp, Encoding, decode, encode};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    // The bound of the body is that of what is unpacked: it stands inside.
    OpenApiRouter::new()
        .routes(routes!(export_spans))
        .layer(DefaultBodyLimit::max(BULK_BODY_BYTES_MAX))
        .layer(RequestDecompressionLayer::new())
        .layer(from_fn(plain_encoding))
}

impl From<BadOtlp> for Problem {
    fn from(error: BadOtlp) -> Self {
        match error {
            BadOtlp::Malformed(_) => Self::field(ProblemCode::InvalidRequest, "body", error),
            BadOtlp::TooMany => Self::with_detail(ProblemCode::PayloadTooLarge, format!("the body {error}")),
        }
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Encoding::of(given).ok_or_else(|| {
        let detail = "OTLP/HTTP is `application/x-protobuf` or `application/json`";
        Problem::with_detail(ProblemCode::UnsupportedMediaType, detail)
    })
}

/// Export spans
///
/// OTLP/HTTP, in protobuf or JSON, also with gzip: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` of an instrumented application points
/// here. Spans of model calls, by the OpenTelemetry `GenAI` conventions, are posted as usage; all others are ignored. A span
/// that is sent again is one effect. What could not be posted is told as OTLP's partial success.
#[utoipa::path(
    post,
    path = "/v1/otlp/v1/traces",
    tag = "usage",
    request_body(
        description = "An OTLP `ExportTraceServiceRequest`.",
        content(
            (serde_json::Value = "application/json", example = json!({"resourceSpans": []})),
            (Vec<u8> = "application/x-protobuf"),
        )
    ),
    responses(
        (
            status = 200,
            description = "An OTLP `ExportTraceServiceResponse`, in the encoding of the request. `partialSuccess` is there when spans were not posted.",
            content((serde_json::Value = "application/json"), (Vec<u8> = "application/x-protobuf"))
        )
    )
)]
async fn export_spans(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::PostUsage>,
    request: Request,
) -> Result<Response, Problem> {
    let encoding = encoding(request.headers())?;
    let body = read_body(request, &state).await?;
    let spans = parse_aside(body.len(), move || {
        if encoding == Encoding::Json {
            refuse_duplicates(&body)?;
        }
        Ok(decode(encoding, &body)?)
    });
    let spans = spans.await?;
    let taken = state.app.take_spans(&caller, &spans).await?;
    let answer = encode(encoding, taken.rejected_spans(), taken.message());
    Ok(([(CONTENT_TYPE, encoding.content_type())], answer).into_response())
}
