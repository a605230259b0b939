//! Counterfoil: the ledger that agent fleets consult before each model call.
//!
//! The map: dependencies point one way, `cli → {http, worker} → app → {lane, store, auth, ingest} → wire → domain`.
//!
//! | room | one sentence |
//! |---|---|
//! | [`domain`] | what is true: pure rules over values, no I/O, no clock |
//! | [`ingest`] | what others send (OTLP, `CloudEvents`, lines), as usage commands |
//! | [`wire`] | the JSON shapes, one set for the API and for what the store keeps as JSON |
//! | [`store`] | where it is kept: all SQL, and the private Postgres |
//! | [`auth`] | who is calling |
//! | [`lane`] | the hot path: queue → batch → load, decide, save → answers |
//! | [`export`] | whole periods, taken out: rows of the journal become files |
//! | [`app`] | what people do: one use case per file |
//! | [`http`] | translates requests and answers, nothing else |
//! | [`worker`] | housekeeping, once in a while |
//! | [`telemetry`] | what the service says about itself: logs, spans, metrics |
//! | [`cli`] | the commands of the binary |
//! | [`config`] | the only reader of the environment |
//! | [`clock`] | the only reader of time |

pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod export;
pub mod http;
pub mod ingest;
pub mod lane;
pub mod store;
pub mod telemetry;
pub mod wire;
pub mod worker;
