//! One span → one call, or why it is none.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::attributes::Attributes;
use super::gen_ai::{self, BadSpanUsage};
use super::mapping::{BadTenant, Mapping};
use crate::domain::budget::catalogue::Priority;
use crate::domain::budget::scope::{Dimensions, Spelling};
use crate::domain::id::{BadName, IdempotencyKey, ModelId, ProviderId, TenantId, TransferId};
use crate::domain::ledger::command::{PostUsage, ReportedUsage};
use crate::domain::ledger::transfer::{CallOutcome, CallReport};

/// Longest id of a call at its provider that is kept, in bytes. The bound of the API.
const PROVIDER_REQUEST_ID_LENGTH_MAX: usize = 256;
/// Words of `error.type` for a call that nobody answered.
const TIMEOUTS: [&str; 4] = ["timeout", "Timeout", "deadline_exceeded", "504"];

/// What a span is to the ledger.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// No model call: nothing of the `GenAI` conventions, or an operation above calls.
    NoCall,
    /// A model call that tells no usage.
    NoUsage,
    /// A model call.
    Call(Box<SpanCall>),
}

/// A model call, with the key that makes a resent span one effect.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanCall {
    /// `otlp:<trace id>:<span id>`.
    pub key: IdempotencyKey,
    /// What to post.
    pub post: PostUsage,
}

/// Why a span that is a model call cannot be posted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpan {
    /// Without ids it cannot be told from the next one.
    #[error("the trace id must have 16 bytes and the span id 8, not all zero")]
    Ids,
    /// An attribute that it cannot do without.
    #[error("the span has no `{0}`")]
    Missing(&'static str),
    /// A name that the ledger cannot keep.
    #[error("`{attribute}` {error}")]
    Name {
        /// The attribute.
        attribute: &'static str,
        /// What is wrong with it.
        error: BadName,
    },
    /// Whose call it is.
    #[error(transparent)]
    Tenant(#[from] BadTenant),
    /// What it used.
    #[error(transparent)]
    Usage(#[from] BadSpanUsage),
}

/// Reads a span. `own` is the tenant of the token, and `id` what the transfer will be called.
///
/// # Errors
/// Says why a model call cannot be posted.
pub fn read(
    span: &Span,
    attributes: &Attributes<'_>,
    mapping: &Mapping,
    own: Option<&TenantId>,
    id: TransferId,
) -> Result<Reading, BadSpan> {
    if !attributes.span_has_prefix(gen_ai::PREFIX) {
        return Ok(Reading::NoCall);
    }
    let operation = attributes.text(&gen_ai::OPERATION);
    if operation.is_some_and(|operation| gen_ai::OPERATIONS_ABOVE_CALLS.contains(&&*operation)) {
        return Ok(Reading::NoCall);
    }
    let Some(usage) = gen_ai::usage(attributes)? else { return Ok(Reading::NoUsage) };
    let model = attributes.text(&gen_ai::SERVED_MODEL).ok_or(BadSpan::Missing(gen_ai::SERVED_MODEL[0]))?;
    let model = model_id(&model, gen_ai::SERVED_MODEL[0])?;
    let requested = attributes.text(&gen_ai::REQUESTED_MODEL);
    let requested = requested.map(|text| model_id(&text, gen_ai::REQUESTED_MODEL[0])).transpose()?;
    let post = PostUsage {
        transfer: id,
        call: Dimensions {
            tenant: mapping.tenant(attributes, own)?,
            feature: mapping.feature(attributes),
            provider: provider(attributes, mapping)?,
            region: mapping.region(attributes),
            run: mapping.run(attributes),
            agent: mapping.agent(attributes),
            labels: Arc::new(mapping.labels(attributes)),
            model: model.clone(),
            spelling: Spelling::AsSaid,
        },
        requested_model: requested.filter(|requested| *requested != model),
        service_tier: gen_ai::service_tier(attributes),
        priority: Priority::Standard,
        requests: 1,
        usage: ReportedUsage::Buckets(usage),
        is_partial: None,
        report: CallReport {
            outcome: outcome(span, attributes),
            latency_ms: latency_ms(span),
            provider_request_id: provider_request_id(attributes),
            provider_usd: None,
        },
        occurred_at: instant(span.start_time_unix_nano),
    };
    Ok(Reading::Call(Box::new(SpanCall { key: key(span)?, post })))
}

fn model_id(text: &str, attribute: &'static str) -> Result<ModelId, BadSpan> {
    ModelId::parse(text).map_err(|error| BadSpan::Name { attribute, error })
}

/// The provider, by the name the books know it under.
fn provider(attributes: &Attributes<'_>, mapping: &Mapping) -> Result<ProviderId, BadSpan> {
    let attribute = gen_ai::PROVIDER[0];
    let given = attributes.text(&gen_ai::PROVIDER).ok_or(BadSpan::Missing(attribute))?.to_ascii_lowercase();
    let known = mapping.providers.provider_of(&given).unwrap_or(&given);
    ProviderId::parse(known).map_err(|error| BadSpan::Name { attribute, error })
}

fn outcome(span: &Span, attributes: &Attributes<'_>) -> CallOutcome {
    let error = attributes.text(&gen_ai::ERROR_TYPE);
    let has_failed = span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
    match error {
        Some(word) if TIMEOUTS.iter().any(|timeout| word.ends_with(timeout)) => CallOutcome::TimedOut,
        Some(_) => CallOutcome::Failed,
        None if has_failed => CallOutcome::Failed,
        None => CallOutcome::Completed,
    }
}

/// How long it took; none where the clock ran backwards, or longer than a row keeps.
fn latency_ms(span: &Span) -> Option<u32> {
    let nanos = span.end_time_unix_nano.checked_sub(span.start_time_unix_nano)?;
    let ms = u32::try_from(nanos / 1_000_000).ok()?;
    i32::try_from(ms).is_ok().then_some(ms)
}

fn provider_request_id(attributes: &Attributes<'_>) -> Option<String> {
    let id = attributes.text(&gen_ai::RESPONSE_ID)?;
    (id.len() <= PROVIDER_REQUEST_ID_LENGTH_MAX && !id.chars().any(char::is_control)).then(|| id.into_owned())
}

/// When the call began: the ledger counts a call in the period in which it was asked for. Zero means unknown.
fn instant(unix_nano: u64) -> Option<DateTime<Utc>> {
    let nanos = i64::try_from(unix_nano).ok().filter(|nanos| *nanos > 0)?;
    DateTime::from_timestamp_micros(nanos / 1000)
}

fn key(span: &Span) -> Result<IdempotencyKey, BadSpan> {
    let is_id = |bytes: &[u8], length: usize| bytes.len() == length && bytes.iter().any(|byte| *byte != 0);
    if !is_id(&span.trace_id, 16) || !is_id(&span.span_id, 8) {
        return Err(BadSpan::Ids);
    }
    let mut text = String::from("otlp:");
    push_hex(&mut text, &span.trace_id);
    text.push(':');
    push_hex(&mut text, &span.span_id);
    IdempotencyKey::parse(&text).map_err(|_| BadSpan::Ids)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for half in [byte >> 4, byte & 0x0f] {
            text.extend(char::from_digit(u32::from(half), 16));
        }
    }
}

#[cfg(test)]
#[path = "span_tests.rs"]
mod tests;
