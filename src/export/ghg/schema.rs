//! The published Table Schema of the file.
//!
//! <https://specs.frictionlessdata.io/table-schema/>. A test holds it against the columns that are written.

/// The document, as it is published: `data/schemas/ghg.schema.json`.
pub const SCHEMA: &str = include_str!("../../../data/schemas/ghg.schema.json");
