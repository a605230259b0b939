//! What the service says about itself: logs, spans and metrics.
//!
//! Logs go to standard error: for a person on a terminal, JSON elsewhere. Spans go to an OTLP collector only if one is
//! configured. Metrics are kept in the process and rendered for whoever asks `/metrics`.
//!
//! Deliberately absent: any reading of the environment (the settings are arguments), and bodies, tokens or prompts.

pub mod names;

use std::io::IsTerminal as _;

use axum::http::HeaderMap;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// What is logged if nothing is said: us, and warnings of others.
pub const DEFAULT_FILTER: &str = "warn,counterfoil=info";

/// What a person running the service decides about its logs and spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Directives of `tracing-subscriber`'s filter: `info,sqlx=warn`. None: [`DEFAULT_FILTER`].
    pub filter: Option<String>,
    /// The base URL of an OTLP/HTTP collector (`OTEL_EXPORTER_OTLP_ENDPOINT`): `http://127.0.0.1:4318`. None: no export.
    pub otlp_endpoint: Option<String>,
}

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not understood.
    #[error("the log filter {filter:?} is not understood: write for example `info,sqlx=warn`")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter could not be made.
    #[error("cannot export spans to {endpoint}")]
    Exporter {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// It runs already.
    #[error("logging was started twice in this process")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
    /// The metrics recorder could not be made.
    #[error("metrics could not be started")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Keeps the export of spans alive; dropping it sends what is left.
#[derive(Debug)]
pub struct SpanExport(Option<SdkTracerProvider>);

impl Drop for SpanExport {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            // The collector may be gone; there is nobody left to tell.
            let _unsent = provider.shutdown();
        }
    }
}

/// Starts logging and, if an endpoint is given, the export of spans. Once per process.
///
/// # Errors
/// If the filter or the endpoint is not understood, or logging runs already.
pub fn start(settings: &TelemetrySettings) -> Result<SpanExport, TelemetryError> {
    let directives = settings.filter.as_deref().unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(directives)
        .map_err(|source| TelemetryError::Filter { filter: directives.to_owned(), source })?;
    let provider = settings.otlp_endpoint.as_deref().map(span_provider).transpose()?;
    // Filters per layer: spans of requests are at level debug, exported whatever the log says.
    let exported = Targets::new().with_target("counterfoil", LevelFilter::DEBUG);
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("counterfoil")).with_filter(exported)
    });
    let to_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if to_terminal { lines.boxed() } else { lines.json().flatten_event(true).boxed() };
    tracing_subscriber::registry().with(spans).with(lines.with_filter(filter)).try_init()?;
    Ok(SpanExport(provider))
}

/// Sends spans in batches from a thread of its own. The client blocks: the asynchronous one needs a reactor that this
/// thread does not have.
fn span_provider(endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces_url(endpoint))
        .build()
        .map_err(|source| TelemetryError::Exporter { endpoint: endpoint.to_owned(), source })?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        // A caller that samples decides for its whole trace.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_resource(Resource::builder().with_service_name("counterfoil").build())
        .build())
}

/// The OTLP specification: a base endpoint is extended by the signal's path.
fn traces_url(base: &str) -> String {
    format!("{}/v1/traces", base.trim_end_matches('/'))
}

/// Makes the caller's span (`traceparent`, W3C Trace Context) the parent of ours, if there is one. Costs one look at the
/// headers otherwise.
pub fn adopt_parent(span: &Span, headers: &HeaderMap) {
    if !headers.contains_key("traceparent") {
        return;
    }
    let parent = TraceContextPropagator::new().extract(&Headers(headers));
    if parent.span().span_context().is_valid() {
        // Refused only when spans are not exported: then nobody asks for the parent.
        let _not_exported = span.set_parent(parent);
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// Starts counting. Once per process; the handle renders what `/metrics` shows.
///
/// # Errors
/// If a recorder runs already.
pub fn start_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let handle = metrics_builder()?.install_recorder()?;
    names::describe();
    Ok(handle)
}

fn metrics_builder() -> Result<PrometheusBuilder, TelemetryError> {
    let durations = Matcher::Suffix("_duration_seconds".to_owned());
    let sizes = Matcher::Suffix("_size".to_owned());
    Ok(PrometheusBuilder::new()
        .set_buckets_for_metric(durations, names::DURATION_BUCKETS)?
        .set_buckets_for_metric(sizes, names::SIZE_BUCKETS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_endpoint_is_extended_by_the_path_of_spans() {
        for base in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            assert_eq!(traces_url(base), "http://127.0.0.1:4318/v1/traces");
        }
    }

    #[test]
    fn every_metric_is_rendered_with_its_help() {
        let recorder = metrics_builder().expect("buckets").build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            names::describe();
            for metric in names::METRICS {
                match metric.kind {
                    names::Kind::Counter => metrics::counter!(metric.name).increment(1),
                    names::Kind::Gauge => metrics::gauge!(metric.name).set(1.0),
                    names::Kind::Histogram => metrics::histogram!(metric.name).record(1.0),
                }
            }
        });
        let page = handle.render();
        for metric in names::METRICS {
            assert!(page.contains(&format!("# HELP {} {}", metric.name, metric.help)), "{}:\n{page}", metric.name);
            let kind = format!("{:?}", metric.kind).to_lowercase();
            assert!(page.contains(&format!("# TYPE {} {kind}", metric.name)), "{}:\n{page}", metric.name);
        }
    }

    #[test]
    fn a_callers_span_is_the_parent_of_ours() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let trace_of = |traceparent: &'static str| {
            let headers = HeaderMap::from_iter([(
                axum::http::HeaderName::from_static("traceparent"),
                axum::http::HeaderValue::from_static(traceparent),
            )]);
            let span = tracing::info_span!("request");
            adopt_parent(&span, &headers);
            span.context().span().span_context().trace_id().to_string()
        };
        let parent = "4bf92f3577b34da6a3ce929d0e0e4736"; // the example of W3C Trace Context section 3.2
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            assert_eq!(trace_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), parent);
            assert_ne!(trace_of("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), parent);
            assert_ne!(trace_of("hello"), parent);
        });
    }

    #[test]
    fn a_filter_that_is_not_understood_is_named() {
        let settings = TelemetrySettings { filter: Some("counterfoil=lo ud".to_owned()), otlp_endpoint: None };
        let said = start(&settings).expect_err("no filter").to_string();
        assert!(said.contains("counterfoil=lo ud"), "{said}");
    }
}
