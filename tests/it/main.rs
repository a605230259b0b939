//! One binary for all integration tests: one link, and one throw-away cluster for everything that needs Postgres.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may fail like the test itself, and clippy only knows the latter"
)]

mod books;
mod embedded;
mod preflight;
mod support;
