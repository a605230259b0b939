use chrono::{DateTime, Utc};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Status;
use uuid::Uuid;

use super::*;
use crate::domain::amounts::Tokens;
use crate::domain::id::FeatureId;
use crate::domain::price::ServiceTier;

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    let value = |text: &str| match text.parse() {
        Ok(number) => Value::IntValue(number),
        Err(_) => Value::StringValue(text.to_owned()),
    };
    let pair = |(key, text): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(value(text)) }),
        ..KeyValue::default()
    };
    pairs.iter().map(pair).collect()
}

fn span_of(pairs: &[(&str, &str)]) -> Span {
    Span {
        trace_id: (1..=16).collect(),
        span_id: (1..=8).collect(),
        name: "chat gpt-4o".to_owned(),
        start_time_unix_nano: 1_781_092_800_000_000_123,
        end_time_unix_nano: 1_781_092_801_500_000_123,
        attributes: attributes(pairs),
        ..Span::default()
    }
}

fn mapping() -> Mapping {
    let names = crate::wire::price::bundled_provider_names().unwrap();
    Mapping::standard(names, FeatureId::parse("otlp").unwrap())
}

fn read_with(span: &Span, resource: &[(&str, &str)], own: Option<&TenantId>) -> Result<Reading, BadSpan> {
    let resource = attributes(resource);
    read(span, &Attributes::new(&span.attributes, &resource), &mapping(), own, TransferId(Uuid::nil()))
}

const RESOURCE: [(&str, &str); 2] = [("service.name", "Support Chat"), ("tenant.id", "acme")];
const MODEL: [(&str, &str); 2] = [("gen_ai.provider.name", "openai"), ("gen_ai.response.model", "gpt-4o")];

fn call(pairs: &[(&str, &str)]) -> SpanCall {
    let pairs: Vec<_> = MODEL.iter().chain(pairs).copied().collect();
    match read_with(&span_of(&pairs), &RESOURCE, None) {
        Ok(Reading::Call(call)) => *call,
        other => panic!("{other:?}"),
    }
}

/// input, cache read, cache write, output, reasoning.
fn buckets(call: &SpanCall) -> [u64; 5] {
    let ReportedUsage::Buckets(usage) = &call.post.usage else { panic!("buckets") };
    [usage.input, usage.cache_read, usage.cache_write_5m, usage.output, usage.reasoning].map(Tokens::count)
}
#[test]
fn names_of_today_and_of_yesterday_give_the_same_buckets() {
    let now = [
        ("gen_ai.usage.input_tokens", "1000"),
        ("gen_ai.usage.output_tokens", "300"),
        ("gen_ai.usage.cache_read.input_tokens", "600"),
        ("gen_ai.usage.cache_creation.input_tokens", "100"),
        ("gen_ai.usage.reasoning.output_tokens", "50"),
    ];
    let before = [
        ("gen_ai.usage.prompt_tokens", "1000"),
        ("gen_ai.usage.completion_tokens", "300"),
        ("gen_ai.usage.cache_read_input_tokens", "600"),
        ("gen_ai.usage.cache_creation_input_tokens", "100"),
        ("gen_ai.usage.reasoning_tokens", "50"),
    ];
    for names in [now, before] {
        assert_eq!(buckets(&call(&names)), [300, 600, 100, 250, 50], "cached and reasoning are parts");
    }
    assert_eq!(buckets(&call(&[("gen_ai.usage.input_tokens", "12")])), [12, 0, 0, 0, 0], "embeddings make no output");
}

#[test]
fn the_worked_case_of_a_cached_prompt_is_counted_once() {
    let read = call(&[
        ("gen_ai.usage.input_tokens", "262960"),
        ("gen_ai.usage.cache_read.input_tokens", "257955"),
        ("gen_ai.usage.output_tokens", "1014"),
    ]);
    assert_eq!(buckets(&read), [5005, 257_955, 0, 1014, 0]);
}

#[test]
fn parts_that_are_larger_than_their_whole_are_refused_not_clamped() {
    let pairs =
        [MODEL[0], MODEL[1], ("gen_ai.usage.input_tokens", "10"), ("gen_ai.usage.cache_read.input_tokens", "11")];
    let refused = read_with(&span_of(&pairs), &RESOURCE, None).unwrap_err().to_string();
    assert!(refused.contains("`gen_ai.usage.input_tokens` (10) is smaller than its parts (11)"), "{refused}");
}

#[test]
fn who_and_what_for_is_read_from_attributes() {
    let read = call(&[
        ("gen_ai.usage.output_tokens", "1"),
        ("gen_ai.request.model", "gpt-4o-latest"),
        ("gen_ai.conversation.id", "conv 7"),
        ("gen_ai.agent.name", "Math Tutor"),
        ("counterfoil.label.team", "cx"),
        ("counterfoil.region", "eu-central-1"),
        ("gen_ai.response.id", "chatcmpl-1"),
        ("openai.response.service_tier", "flex"),
    ]);
    let of = &read.post.call;
    assert_eq!((of.tenant.as_str(), of.feature.as_str()), ("acme", "Support-Chat"));
    assert_eq!((of.provider.as_str(), of.model.as_str()), ("openai", "gpt-4o"));
    assert_eq!(of.run.as_ref().map(|run| run.as_str()), Some("conv 7"));
    assert_eq!(of.agent.as_ref().map(|agent| agent.as_str()), Some("Math Tutor"));
    assert_eq!(of.region.as_ref().map(|region| region.as_str()), Some("eu-central-1"));
    let labels: Vec<_> = of.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("team", "cx")]);
    assert_eq!(read.post.requested_model.as_ref().map(|model| model.as_str()), Some("gpt-4o-latest"));
    assert_eq!(read.post.report.provider_request_id.as_deref(), Some("chatcmpl-1"));
    assert_eq!(read.post.service_tier, Some(ServiceTier::Flex));
    assert_eq!(read.post.report.latency_ms, Some(1500));
    let occurred: DateTime<Utc> = "2026-06-10T12:00:00Z".parse().unwrap();
    assert_eq!(read.post.occurred_at, Some(occurred), "the start of the span, to the microsecond");
    assert_eq!(read.key.as_str(), "otlp:0102030405060708090a0b0c0d0e0f10:0102030405060708");
}

#[test]
fn providers_are_known_by_the_names_of_the_books() {
    for (given, known) in [
        ("openai", "openai"),
        ("aws.bedrock", "aws"),
        ("azure.ai.openai", "azure"),
        ("gcp.vertex_ai", "google"),
        ("gcp.gemini", "google"),
        ("mistral_ai", "mistral"),
        ("Anthropic", "anthropic"),
        ("in-house", "in-house"),
    ] {
        for attribute in ["gen_ai.provider.name", "gen_ai.system"] {
            let span = span_of(&[(attribute, given), MODEL[1], ("gen_ai.usage.input_tokens", "1")]);
            let Ok(Reading::Call(call)) = read_with(&span, &RESOURCE, None) else { panic!("{given}") };
            assert_eq!(call.post.call.provider.as_str(), known);
        }
    }
}

#[test]
fn only_model_calls_that_tell_usage_are_calls() {
    let reading = |pairs: &[(&str, &str)]| read_with(&span_of(pairs), &RESOURCE, None).unwrap();
    assert_eq!(reading(&[("http.method", "GET")]), Reading::NoCall);
    let used = ("gen_ai.usage.input_tokens", "5");
    for operation in gen_ai::OPERATIONS_ABOVE_CALLS {
        let span = [("gen_ai.operation.name", operation), used];
        assert_eq!(reading(&span), Reading::NoCall, "{operation} adds up the calls below it");
    }
    assert_eq!(reading(&[("gen_ai.operation.name", "chat"), MODEL[0], MODEL[1]]), Reading::NoUsage);
}

#[test]
fn what_a_call_cannot_do_without_is_named() {
    let used = ("gen_ai.usage.input_tokens", "5");
    let refused = |span: &Span, resource: &[(&str, &str)]| read_with(span, resource, None).unwrap_err().to_string();
    assert_eq!(refused(&span_of(&[MODEL[0], used]), &RESOURCE), "the span has no `gen_ai.response.model`");
    assert_eq!(refused(&span_of(&[MODEL[1], used]), &RESOURCE), "the span has no `gen_ai.provider.name`");
    let whole = span_of(&[MODEL[0], MODEL[1], used]);
    assert_eq!(refused(&whole, &[]), "no attribute names a tenant: set one of counterfoil.tenant, tenant.id");
    assert!(refused(&whole, &[("tenant.id", "Acme KK")]).starts_with("the tenant may hold only letters"));
    let without_id = Span { span_id: vec![0; 8], ..whole.clone() };
    assert!(refused(&without_id, &RESOURCE).starts_with("the trace id must have 16 bytes"));
    let negative = span_of(&[MODEL[0], MODEL[1], ("gen_ai.usage.input_tokens", "-5")]);
    assert_eq!(refused(&negative, &RESOURCE), "`gen_ai.usage.input_tokens` is not a count of tokens");
}

#[test]
fn a_confined_token_needs_no_tenant_attribute() {
    let own = TenantId::parse("bolt").unwrap();
    let span = span_of(&[MODEL[0], MODEL[1], ("gen_ai.usage.input_tokens", "5")]);
    let Ok(Reading::Call(call)) = read_with(&span, &[], Some(&own)) else { panic!("a call") };
    assert_eq!(call.post.call.tenant, own);
    let Ok(Reading::Call(call)) = read_with(&span, &RESOURCE, Some(&own)) else { panic!("a call") };
    assert_eq!(call.post.call.tenant.as_str(), "acme", "what is said goes before: whether it may is asked elsewhere");
}

#[test]
fn how_a_call_ended_is_read_from_status_and_error_type() {
    let failed = Some(Status { code: StatusCode::Error.into(), ..Status::default() });
    let used = [MODEL[0], MODEL[1], ("gen_ai.usage.input_tokens", "5")];
    let ended = |error: Option<&str>, status: Option<Status>| {
        let pairs: Vec<_> = used.into_iter().chain(error.map(|word| ("error.type", word))).collect();
        match read_with(&Span { status, ..span_of(&pairs) }, &RESOURCE, None) {
            Ok(Reading::Call(call)) => call.post.report.outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ended(None, None), CallOutcome::Completed);
    assert_eq!(ended(None, failed.clone()), CallOutcome::Failed);
    assert_eq!(ended(Some("RateLimitError"), failed.clone()), CallOutcome::Failed);
    assert_eq!(ended(Some("openai.APITimeout"), failed.clone()), CallOutcome::TimedOut);
    assert_eq!(ended(Some("timeout"), failed), CallOutcome::TimedOut);
}
