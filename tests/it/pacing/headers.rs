//! What a fleet is told beside the verdict.
