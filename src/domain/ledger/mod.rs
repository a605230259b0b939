//! The ledger: accounts, transfers, reservations, and the one function that applies commands to them.
//!
//! | room | what it decides |
//! |---|---|
//! | [`account`] | where amounts stand |
//! | [`transfer`] | the immutable journal row, balanced by construction |
//! | [`reservation`] | the pending transfer and its ends |
//! | [`call_bound`] | how many tokens one call can have |
//! | [`command`] | what a caller asks of the ledger |
//! | [`outcome`] | what the ledger answers |
//! | [`restating`] | what a row would say by the factor book as it is now |
//! | [`books`] | the working set of a batch, and how each command changes it |

pub mod account;
pub mod books;
pub mod call_bound;
pub mod command;
pub mod outcome;
pub mod partial;
pub mod remembered;
pub mod reservation;
pub mod restating;
pub mod transfer;

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
mod tests;
