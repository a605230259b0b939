//! What calls really use of what they ask for, learned from calls that have ended.
//!
//! | room | what it decides |
//! |---|---|
//! | [`histogram`] | how often calls used which share of their estimate: counts in fixed buckets, which can be added up |
//! | [`lesson`] | how much of its output a call really needs, by what is known when it asks |
//!
//! Invariants: a histogram is a sum, so that tenants, weeks and replicas add up in any order; whatever is told of it is the
//! upper end of a bucket, so that it is never less than what was seen.
//!
//! Deliberately absent: what to do about a call while it is made. A lesson is of calls that have ended.

pub mod histogram;
pub mod lesson;

/// How many weeks are learned from, the one that is under way included: long enough for rare calls, short enough to follow a
/// feature that changes.
pub const WEEKS_LEARNED: u32 = 5;

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
#[path = "simulation_tests.rs"]
mod tests;
