//! Pacing, tried: by tables, by properties, and month by month against other policies.

mod fair;
mod pace;
mod plan;
mod simulation;
mod verdict;
