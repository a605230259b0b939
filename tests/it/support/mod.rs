//! What integration tests share.

pub(crate) mod audit;
pub(crate) mod cluster;
pub(crate) mod commands;
pub(crate) mod proxy;
pub(crate) mod service;
pub(crate) mod story;
