//! Counterfoil: the ledger that agent fleets consult before each model call.
//!
//! The map: dependencies point one way, `cli → {http, worker} → app → {store, auth} → domain`.
//!
//! | room | one sentence |
//! |---|---|
//! | [`http`] | translates requests and answers, nothing else |
//! | [`auth`] | who is calling |
//! | [`telemetry`] | what the service says about itself: logs, spans, metrics |
//! | [`clock`] | the only reader of time |
//! | [`domain`] | what is true: pure rules over values, no I/O, no clock |

pub mod auth;
pub mod clock;
pub mod domain;
pub mod http;
pub mod telemetry;
