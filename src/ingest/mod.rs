//! What others send, as usage commands and as rows of the books: pure mappings, no I/O, no clock.
//!
//! | file | what |
//! |---|---|
//! | [`otlp`] | an OTLP/HTTP body → spans, and the answer OTLP asks for |
//! | [`attributes`] | attributes of spans and resources, read by name |
//! | [`mapping`] | which attributes name tenant, feature, run, agent, region and labels |
//! | [`gen_ai`] | the names of the OpenTelemetry `GenAI` conventions, present and past → token buckets |
//! | [`span`] | one span → one call, or why it is none |
//! | [`prices`] | price lists of others → price rows, and where they disagree with the book |
//! | [`factors`] | lists of emission factors → factor rows, and where they disagree with the book |
//! | [`lines`] | bytes as they arrive → lines of newline-delimited JSON |
//!
//! Invariants: what is not said is not guessed; text of prompts and answers is never copied out of a span.
//! Deliberately absent: who may post for which tenant (`app`), and how errors look (`http`).

pub mod attributes;
pub mod factors;
pub mod gen_ai;
pub mod lines;
pub mod mapping;
pub mod otlp;
pub mod prices;
pub mod span;

/// The trace messages of OTLP.
pub use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
