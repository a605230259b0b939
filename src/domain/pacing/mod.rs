//! Pacing: how much calls that can wait may take before the limit is reached, so that people are not stopped by it.
//!
//! | room | what it decides |
//! |---|---|
//! | [`pace`] | how far the whole of a counter may be taken at an instant, by whom: what a verdict looks at |
//! | [`plan`] | a pace, from how a budget stands and what is expected until it resets |
//! | [`curve`] | expected use, hour by hour |
//! | [`fair`] | the day's share, shared out among tenants |
//! | [`advice`] | what a fleet is told, so that it slows down before it is told to wait |
//! | [`simulation`] | what a pace buys: the same demand with it and without |
//!
//! The rule is a forecast reserve: `interactive` is limited by the limit alone; what it is expected to need until the reset
//! is kept for it; of what is left over the others may take a day's share a day. An even drip was rejected: measured on a
//! budget of 85 % of the demand it refuses twice as many interactive calls as the bare limit does, the reserve none.
//!
//! Invariants: a pace is a function of what is stored and of the instant, so that all replicas agree; it only ever makes a
//! verdict stricter, never past a limit; without one, or with one that is out of date, only the limit counts.
//! Floats are used for what is expected, never for what is recorded; a pace is rounded down once, when it is made.
//!
//! Deliberately absent: a counter of its own for each class or tenant. A level of the one counter does it, because whoever
//! else takes from it only makes it stricter.
#![expect(
    clippy::float_arithmetic,
    reason = "forecasts are floats; they are rounded down to quantities once, in `plan`"
)]

pub mod advice;
pub mod curve;
pub mod fair;
pub mod pace;
pub mod plan;
pub mod simulation;

#[cfg(test)]
mod tests;
