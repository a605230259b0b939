//! Seeing the wall: projections of budgets, the work that is announced to them, and how right they were.
//!
//! | room | one sentence |
//! |---|---|
//! | [`planned`] | announced work: add, list, withdraw |

pub mod planned;
