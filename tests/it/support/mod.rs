//! What integration tests share.

pub(crate) mod cluster;
pub(crate) mod service;
