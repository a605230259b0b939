//! Pacing, tried.
