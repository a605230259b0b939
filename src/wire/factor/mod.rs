//! Factor rows as documents, and the ones that ship with the service.
//!
//! [`doc`] is the wire and storage form of a factor row: what `POST /v1/factors` takes and what the store keeps as JSONB.
//! [`bundled()`] reads the files of `data/factors`, which are compiled in, so that a first start needs no network.
//!
//! Deliberately absent: ids (the store gives them) and any judgement of which row to use (the domain's factor book).

pub mod bundled;
pub mod doc;

pub use bundled::{BadBundle, BundledFactors, bundled};
pub use doc::{BadFactorDoc, FactorDoc, GridFactorDoc, ModelFactorDoc, RegionFactorDoc, ServingFactorDoc, SourceDoc};

#[cfg(test)]
mod tests;
