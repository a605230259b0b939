//! One binary for all integration tests: one link, and one throw-away cluster for everything that needs Postgres.

mod embedded;
mod support;
