//! `counterfoil openapi`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::http::service::document;

/// Print the OpenAPI document
///
/// The same that the service gives at `/openapi.json`, for generators of clients.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  counterfoil openapi --output openapi.json")]
pub struct OpenapiArgs {
    /// Write it to a file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &OpenapiArgs) -> anyhow::Result<ExitCode> {
    let text = document().to_pretty_json().context("the document cannot be written as JSON")? + "\n";
    match &args.output {
        Some(file) => std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?,
        None => std::io::stdout().write_all(text.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}
