//! The lane and its store against a real Postgres.

mod catalogue;
mod contention;
mod edge;
mod expiry;
mod idempotency;
mod plans;
mod poison;
mod queue;
mod statements;
mod turns;
