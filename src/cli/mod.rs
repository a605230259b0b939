//! The commands of the binary. Each is a file; what they share is [`boot`].
//!
//! | command | does |
//! |---|---|
//! | [`backtest`] | measures the forecast on the past |
//! | [`mod@bench`] | measures the service against a naive baseline |
//! | [`demo`] | the whole of it at work, on a real trace |
//! | [`mod@export`] | takes whole periods out, as files |
//! | [`serve`] | the HTTP service |
//! | [`token`] | mints a token with the local key |
//! | [`import`] | adds prices and factors from files |
//! | [`verify`] | recomputes the books and compares |
//! | [`mod@reconcile`] | compares a provider's report with the books, and trues them up |
//! | [`close`] | closes the books until the end of a month |
//! | [`mod@restate`] | says recorded grams anew by the factor book as it is now |
//! | [`migrate`] | brings the tables up to date |
//! | [`openapi`] | prints the document |

pub mod backtest;
pub mod bench;
mod beside;
mod books;
pub mod boot;
pub mod client;
pub mod close;
pub mod demo;
pub mod export;
pub mod import;
pub mod migrate;
pub mod openapi;
pub mod reconcile;
pub mod restate;
pub mod serve;
pub mod table;
pub mod token;
mod trust;
pub mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Environment;

/// The ledger that agent fleets consult before each model call.
///
/// Start it on a private Postgres with `counterfoil serve`, or see all of it at work with `counterfoil demo`.
#[derive(Debug, Parser)]
#[command(name = "counterfoil", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API
    Serve(serve::ServeArgs),
    /// Measure the service, and a naive baseline on the same Postgres
    Bench(bench::BenchArgs),
    Backtest(backtest::BacktestArgs),
    /// See all of it at work on a real trace
    Demo(demo::DemoArgs),
    /// Mint a token with the local key
    Token(token::TokenArgs),
    // These are described by their arguments' own docs, which `--help` shows whole.
    Export(export::ExportArgs),
    Reconcile(reconcile::ReconcileArgs),
    Close(close::CloseArgs),
    Restate(restate::RestateArgs),
    Verify(verify::VerifyArgs),
    Import(import::ImportArgs),
    Migrate(migrate::MigrateArgs),
    Openapi(openapi::OpenapiArgs),
}

/// Runs the command that was asked for.
///
/// # Errors
/// Says what went wrong, and what to do.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let environment = Environment::read();
    match cli.command {
        Command::Serve(args) => serve::run(&args, &environment).await,
        Command::Bench(args) => bench::run(args, &environment).await,
        Command::Backtest(args) => backtest::run(&args, &environment).await,
        Command::Demo(args) => demo::run(&args, &environment).await,
        Command::Token(args) => token::run(&args, &environment),
        Command::Export(args) => export::run(&args, &environment).await,
        Command::Verify(args) => verify::run(&args, &environment).await,
        Command::Reconcile(args) => reconcile::run(&args, &environment).await,
        Command::Close(args) => close::run(&args, &environment).await,
        Command::Restate(args) => restate::run(&args, &environment).await,
        Command::Import(args) => import::run(&args, &environment).await,
        Command::Migrate(args) => migrate::run(&args, &environment).await,
        Command::Openapi(args) => openapi::run(&args),
    }
}
