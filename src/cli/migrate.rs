//! `counterfoil migrate`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use crate::config::{Environment, StoreArgs};
use crate::store::embedded::Ownership;
use crate::store::migrations::{Step, run as migrate};
use crate::store::open::open_store;

/// Bring the database's tables up to date
///
/// `serve` does so at every start. Run it alone before many replicas start, or where the service may not alter tables.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  counterfoil migrate --database-url postgres://counterfoil@db/counterfoil")]
pub struct MigrateArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &MigrateArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let report = Arc::new(|line: &str| {
        // Nobody reads stderr: then there is nobody to tell.
        let _unread = writeln!(std::io::stderr(), "{line}");
    });
    let opened = open_store(&args.store, environment, Ownership::Beside, report).await?;
    let steps = migrate(&opened.connect_options()).await;
    let place = opened.place();
    opened.stop().await?;
    let text = if args.json { to_json(&place, &steps?) } else { to_text(&place, &steps?) };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

fn to_text(place: &str, steps: &[Step]) -> String {
    let mut lines: Vec<String> = steps
        .iter()
        .map(|step| {
            let done = if step.ran { "run now" } else { "was there" };
            format!("{:04} {}: {done}", step.version, step.name)
        })
        .collect();
    let new = steps.iter().filter(|step| step.ran).count();
    lines.push(match new {
        0 => format!("{place} is up to date: nothing to do."),
        _ => format!("{place} is up to date: {new} of {} migrations were run.", steps.len()),
    });
    lines.join("\n")
}

fn to_json(place: &str, steps: &[Step]) -> String {
    let step = |step: &Step| json!({"version": step.version, "name": step.name, "ran": step.ran});
    format!("{:#}", json!({"store": place, "migrations": steps.iter().map(step).collect::<Vec<_>>()}))
}
