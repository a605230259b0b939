//! Reconciliation: a provider's report against the books. Reports become rows, rows are compared with the journal by day,
//! model and bucket, and differences become true-ups.
//!
//! | room | one sentence |
//! |---|---|
//! | [`report`] | what a report says: rows by day, model and workspace, and the days it speaks of |
//! | [`mod@read`] | a body → a report: JSON pages of a provider, or a CSV invoice |
//! | [`pages`] | what every page has: buckets of time, an end, and no field that is passed over |
//! | [`anthropic`], [`openai`] | the shapes of their usage and cost reports, with their traps |
//! | [`invoice`] | a plain CSV invoice |
//! | [`compare`] | ours and theirs by day and model, and what likely makes the difference |
//! | [`decimal`] | decimal numbers as providers write them |
//! | [`provider`] | whose report it is |
//! | [`moved`] | how much of the dollars an approval moves |
//! | [`propose`] | the true-ups after which the supply side of the books is what the report says |
//!
//! Invariants: pure, like the domain: no clock, no I/O, no SQL; no float touches an amount (a report's float dollars are
//! read by their shortest decimal text); a report that says anything this cannot count is refused, and the place is named.
//! Deliberately absent: fetching reports from providers, currencies other than dollars.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod anthropic;
pub mod compare;
pub mod decimal;
pub mod invoice;
pub mod moved;
pub mod openai;
pub mod pages;
pub mod propose;
pub mod provider;
pub mod read;
pub mod report;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "sums of small numbers in tests")]
mod tests;
