//! The forecast: when a budget runs out, how sure that is, and whose working day it hits.
//!
//! | file | what it holds |
//! |---|---|
//! | [`series`] | [`HourlySeries`]: what was used, by the hour |
//! | [`question`] | [`Question`], [`Source`], [`Planned`]: what is asked |
//! | [`project`](mod@project) | [`project()`](fn@project): the method |
//! | [`projection`] | [`Projection`]: what is answered |
//! | [`rhythm`] | [`Rhythm`]: how a use is spread over the hours of its week |
//! | [`errors`] | [`ErrorBook`]: how wrong projections have been, and so how wide the band is |
//! | [`score`](mod@score) | a stored projection against the truth |
//! | [`work`] | who is at work, and on whose clock the empty end of a period lies |
//! | [`fair`] | the tenant budgets that would bear a shortage evenly |
//! | [`backtest`] | how good all this would have been |
//! | [`what_if`] | the same question with something changed |
//!
//! Invariants: the same question has the same answer; no input panics, and no answer holds a number that is not finite;
//! `p10 ≤ p50 ≤ p90`, and none of them comes earlier when more is left.
//!
//! Amounts come in as `f64` and nothing that is answered is ever posted: a forecast is an estimate.
//!
//! Deliberately absent: an extrapolated trend (it was measured to double the error), the clock, and the unit: tokens,
//! dollars and grams are all numbers here.
#![expect(clippy::float_arithmetic, reason = "a forecast is an estimate; no amount that is posted passes through it")]

pub mod backtest;
mod builtin;
mod clocks;
pub mod errors;
pub mod fair;
mod fit;
mod level;
mod number;
mod outlook;
mod profile;
pub mod project;
pub mod projection;
pub mod question;
pub mod rhythm;
pub mod score;
pub mod series;
mod steadiness;
pub mod what_if;
pub mod work;

#[cfg(test)]
mod tests;

pub use errors::{ErrorBook, ErrorClass, PastError, log_error};
pub use fair::{TenantShare, fair_split};
pub use project::{HORIZON_HOURS_MAX, METHOD, SOURCE_HOURS_MAX, VERSION, project};
pub use projection::{Banded, Confidence, Hour, Projection, Reason, SourcePath};
pub use question::{Planned, Question, Source};
pub use rhythm::Rhythm;
pub use score::{Claim, Score, Truth, score};
pub use series::HourlySeries;
pub use work::{AtWork, EmptyEnd, WorkWeek, at_work, empty_end_shares, who_is_at_work};
