//! Pacing, tried: by tables, by properties, and month by month against other policies.

#![expect(clippy::arithmetic_side_effects, reason = "numbers of tests are small")]

mod fair;
mod pace;
mod plan;
mod simulation;
mod verdict;
