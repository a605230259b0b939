//! Translates requests and answers, nothing else: no decision, no SQL, no clock of its own.
//!
//! | file | what |
//! |---|---|
//! | [`problem`] | every error answer (RFC 9457), and the only status codes of errors |
//! | [`extract`] | bodies, queries, paths, callers and keys, or a problem that names the field |
//! | [`conditions`] | `If-Match`, `If-None-Match` and `ETag` |
//! | [`permit`] | a caller with a scope for the action, before the body is read |
//! | [`middleware`] | what every request passes: id, span, panic, time, body bound |
//! | [`connections`] | what a connection may do before it is a request, and how all of them end |
//! | [`openapi`] | the document: passes that complete it, and the page that shows it |
//! | `schemas` | passes over its schemas |
//! | [`limits`] | every bound |
//! | [`rate_limit`] | the `RateLimit` headers of a pre-flight |
//! | [`state`] | what handlers are given, and how errors become problems |
//! | `unique` | JSON without a key that is given twice |
//! | [`v1`] | the resources, one file each |
//! | [`service`] | all of it assembled |
//!
//! An assembled service is `middleware::wrap(routes, clock)`; its state gives [`std::sync::Arc`]`<`[`crate::auth::Verifier`]`>`
//! and [`crate::clock::Clock`] by `FromRef`.

pub mod conditions;
pub mod connections;
pub mod extract;
pub mod limits;
pub mod middleware;
pub mod openapi;
pub mod permit;
pub mod problem;
pub mod rate_limit;
mod schemas;
pub mod service;
pub mod state;
mod unique;
pub mod v1;

pub use extract::{Auth, IdempotencyKeyHeader, JsonBytes, ValidJson, ValidPath, ValidQuery};
pub use middleware::RequestId;
pub use problem::{FieldError, Problem, ProblemCode};

#[cfg(test)]
mod connections_tests;
#[cfg(test)]
mod tests;
