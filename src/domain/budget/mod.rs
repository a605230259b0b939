//! Budgets: a limit on one measure over one scope in one period, and the verdict that keeps it.
//!
//! | room | what it decides |
//! |---|---|
//! | [`scope`] | which calls a budget governs, and by what it is counted apart |
//! | [`coverage`] | what a call lacks to be counted |
//! | [`holding`] | how much of a budget one reservation may hold |
//! | [`measure`] | what it counts of a call |
//! | [`catalogue`] | tenants and budgets, and which budgets govern a call at an instant |
//! | [`closure`] | until when a provider's refusal keeps a quota closed |
//! | [`counter`] | the mutable numbers, and how a budget stands |
//! | [`promise`] | what a budget holds of a call, by its rule |
//! | [`verdict`] | allow, cap, wait, stop |
//! | `share` | what a share of a limit comes to |
//! | [`spellings`] | by which names calls count that were written down before there were names |
//! | [`recount`] | what the counters must be, from the journal alone |
//! | [`counting`] | what must be read for that, and how far it may be added up first |
//!
//! Invariant: which counters a call touches is a function of the catalogue, the call's dimensions and the instant it is
//! counted at. Nothing about it is stored, so counters can be recomputed from the journal at any time.

mod bad_budget;
pub mod catalogue;
pub mod closure;
pub mod counter;
pub mod counting;
pub mod coverage;
pub mod holding;
pub mod measure;
pub mod promise;
pub mod recount;
pub mod scope;
mod share;
pub mod spellings;
pub mod verdict;

#[cfg(test)]
mod tests;
