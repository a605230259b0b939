//! One binary for all integration tests: one link, and one throw-away cluster for everything that needs Postgres.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may fail like the test itself, and clippy only knows the latter"
)]

mod absurd;
mod access;
mod access_matrix;
mod access_volumes;
mod alerts;
mod backtest;
mod bench;
mod bodies;
mod books;
mod catalogue;
mod cli_help;
mod compressed;
mod demo;
mod door;
mod embedded;
mod examples;
mod exports;
mod faults;
mod floods;
mod forgetting;
mod formulas;
mod ingest;
mod lane;
mod learned;
mod limits;
mod openapi;
mod pacing;
mod pages;
mod pains;
mod preflight;
mod projections;
mod reconcile;
mod restatements;
mod rounds;
mod runs;
mod shares;
mod signals;
mod stopping;
mod support;
mod tidy;
mod time;
mod usage_objects;
