//! `counterfoil close`.

use std::io::{BufRead as _, Write};
use std::process::ExitCode;

use super::beside::Beside;
use crate::config::{Environment, StoreArgs};
use crate::wire::period::{CheckBody, CloseRequest};

/// Who closes from the command line.
const SUBJECT: &str = "command line";

/// Close the books until the end of a month, for ever
///
/// What belongs to it never changes from then on; what comes later counts in the open period, and says so. Lists what is still
/// open, and asks for the month to be typed. Beside a running service this works as one more replica.
///
/// Exit status: 0 when the books were closed, or with --dry-run when nothing is open; 1 otherwise.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  counterfoil close 2026-05 --zone Asia/Tokyo --dry-run\n  counterfoil close 2026-05 --zone Asia/Tokyo"
)]
pub struct CloseArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The month, or the first instant that stays open
    #[arg(value_name = "MONTH")]
    until: String,
    /// The zone whose month it is
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Close nothing, and only list what is still open
    #[arg(long)]
    dry_run: bool,
    /// The month once more, instead of typing it when asked
    #[arg(long, value_name = "MONTH", conflicts_with = "dry_run")]
    confirm: Option<String>,
}

pub(super) async fn run(args: &CloseArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let request = CloseRequest { until: args.until.clone(), zone: args.zone.clone(), dry_run: args.dry_run };
    let until = request.to_instant()?;
    let beside = Beside::start(&args.store, environment).await?;
    let done = async {
        let tried = beside.app.close_periods(until, true, SUBJECT, None).await?.answer;
        let mut out = std::io::stdout();
        write!(out, "{}", to_text(&tried.check))?;
        if args.dry_run {
            return Ok(tried.check.is_clean);
        }
        let typed = match &args.confirm {
            Some(given) => given.clone(),
            None => ask(&args.until)?,
        };
        if typed.trim() != args.until {
            writeln!(out, "Nothing is closed: `{}` was not typed.", args.until)?;
            return Ok(false);
        }
        beside.app.close_periods(until, false, SUBJECT, None).await?;
        writeln!(out, "Closed: everything before {until}.")?;
        anyhow::Ok(true)
    };
    let done = done.await;
    beside.stop().await?;
    Ok(if done? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is typed when the month is asked for.
fn ask(month: &str) -> anyhow::Result<String> {
    let mut out = std::io::stdout();
    write!(out, "This cannot be undone. Type {month} to close it: ")?;
    out.flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    Ok(typed)
}

fn to_text(check: &CheckBody) -> String {
    let since = check.since.map_or_else(|| "the beginning".to_owned(), |since| since.to_string());
    let mut text = format!("To be closed: from {since} to {}.\n", check.until);
    for of in &check.unreconciled {
        let first = of.days.first().map(ToString::to_string).unwrap_or_default();
        text += &format!(
            "  {} days of {} are not reconciled, the first is {first}: {} dollars in the books\n",
            of.count, of.provider, of.usd
        );
    }
    let calls = check.unconfirmed_calls;
    if calls.count > 0 {
        text += &format!(
            "  {} calls are charged by their estimate and not confirmed: {} dollars\n",
            calls.count, calls.usd
        );
    }
    let held = check.open_reservations;
    if held.count > 0 {
        text +=
            &format!("  {} reservations are held: {} dollars will count in the open period\n", held.count, held.usd);
    }
    if check.is_clean {
        text += "  Nothing is open.\n";
    }
    text
}
