//! What integration tests share.

pub(crate) mod audit;
pub(crate) mod cluster;
pub(crate) mod commands;
pub(crate) mod proxy;
pub(crate) mod service;
pub(crate) mod story;

/// A number that the environment gives to a test that can be made longer.
pub(crate) fn from_environment<T: std::str::FromStr<Err: std::fmt::Debug>>(variable: &str) -> Option<T> {
    std::env::var_os(variable).map(|text| text.to_str().unwrap().parse().unwrap())
}

/// Reports a measurement of a test to whoever runs it with `--nocapture`.
#[expect(clippy::print_stderr, reason = "a measurement is for whoever asked for it")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
