//! Counterfoil: the ledger that agent fleets consult before each model call.
//!
//! The map: dependencies point one way, `cli → {http, worker} → app → {store, auth} → domain`.
//!
//! | room | one sentence |
//! |---|---|
//! | [`app`] | what people do: load, decide, save |
//! | [`domain`] | what is true: pure rules over values, no I/O, no clock |

pub mod app;
pub mod domain;
