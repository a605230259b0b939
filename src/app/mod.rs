//! What people do: one use case per file, over the pure domain.

pub mod factor_data;
