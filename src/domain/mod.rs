//! What is true: the rules of the books, as pure functions over values.
//!
//! No I/O, no clock, no async, no SQL, no serde, no HTTP: the instant, new ids, prices and factors are arguments.
//! Everything here can be read, tested and fuzzed without Postgres.
//!
//! | room | what it decides |
//! |---|---|
//! | [`access`] | who may do what, to whose things |
//! | [`id`] | what a valid name or id is |
//! | [`amounts`] | tokens, dollars, grams, and arithmetic on them that cannot lose a digit or panic |
//! | [`usage`] | the disjoint token buckets of a call, and how each provider's usage object maps to them |
//! | [`calendar`] | the period of a budget that holds an instant, in any zone |
//! | [`price`] | what a call costs in dollars |
//! | [`carbon`] | what a call costs in grams of CO2e |
//! | [`tariff`] | price and emission factors of one call, resolved once |
//! | [`estimate`] | what a call would cost, with everything that explains it |
//! | [`alternatives`] | the models that would do where the one asked does not |
//! | [`budget`] | scope, measure, counters, and the verdict |
//! | [`signal`] | what a provider says about its limits |
//! | [`learned`] | what calls really use of what they ask for |
//! | [`forecast`] | when a budget runs out, how sure that is, whose working day it hits |
//! | [`ledger`] | accounts, transfers, reservations and their ends |
//! | [`access`] | what a caller may do |
#![deny(
    clippy::arithmetic_side_effects, // Decimal's `+` panics on overflow: use checked_add
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::float_arithmetic, // lifted in carbon, which computes in f64 and rounds once at its edge
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod access;
pub mod alternatives;
pub mod amounts;
pub mod budget;
pub mod calendar;
pub mod carbon;
pub mod estimate;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod forecast;
pub mod id;
pub mod learned;
pub mod ledger;
pub mod price;
pub mod signal;
pub mod tariff;
pub mod usage;
