//! `counterfoil restate`.

use std::io::Write;
use std::process::ExitCode;

use rust_decimal::Decimal;

use super::beside::Beside;
use super::table::Look;
use crate::app::App;
use crate::config::{Environment, StoreArgs};
use crate::domain::ledger::restating::{Change, Sets};
use crate::wire::restatement::{Restated, RestatementBody, RestatementRequest};

/// Who restates from the command line.
const SUBJECT: &str = "command line";

/// Say recorded grams anew by the factor book as it is now
///
/// Shows by factor set what a period's calls were said to emit and what they would be said to emit now; `--apply` posts it:
/// for each row that differs a reversal by the factors of then and a posting by those of now, both of which name the row.
/// Tokens and dollars do not move. What belongs to a closed period is corrected in the open one. After an interruption the
/// same command goes on. Beside a running service this works as one more replica.
///
/// Exit status: 0 when nothing differs or it was posted, 1 when rows differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  counterfoil restate --period 2026-05 --zone Asia/Tokyo --data-dir ./books --apply")]
pub struct RestateArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// A year, month or day of the zone: 2026, 2026-11 or 2026-11-21
    #[arg(long, value_name = "PERIOD", required_unless_present_all = ["from", "to"], conflicts_with_all = ["from", "to"])]
    period: Option<String>,
    /// Only what counts from this instant or local day on
    #[arg(long, value_name = "INSTANT")]
    from: Option<String>,
    /// Only what counts before this instant or local day
    #[arg(long, value_name = "INSTANT")]
    to: Option<String>,
    /// The IANA zone of days and months [default: UTC]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Only this tenant's
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only this provider's
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only this model's, as it was served
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only what was served there
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Post it
    #[arg(long)]
    apply: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &RestateArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let request = RestatementRequest {
        period: args.period.clone(),
        from: args.from.clone(),
        to: args.to.clone(),
        zone: args.zone.clone(),
        tenant: args.tenant.clone(),
        provider: args.provider.clone(),
        model: args.model.clone(),
        region: args.region.clone(),
        apply: args.apply,
        cursor: None,
    };
    let beside = Beside::start(&args.store, environment).await?;
    let answer = restate(&beside.app, request).await;
    beside.stop().await?;
    let answer = answer?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&RestatementBody::from(&answer))?)?;
    } else {
        write!(out, "{}", to_text(Look::of_stdout(environment), &answer))?;
    }
    out.flush()?;
    let settled = answer.summary.total.rows == 0 || answer.applied;
    Ok(if settled { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Part after part, until the whole period is looked at.
async fn restate(app: &App, mut request: RestatementRequest) -> anyhow::Result<Restated> {
    let mut whole = app.restate(&request, SUBJECT).await?;
    while let Some(cursor) = whole.next {
        request.cursor = Some(cursor);
        let part = app.restate(&request, SUBJECT).await?;
        whole.summary.join(&part.summary)?;
        whole.posted = whole.posted.saturating_add(part.posted);
        whole.next = part.next;
    }
    Ok(whole)
}

fn to_text(look: Look, answer: &Restated) -> String {
    let summary = &answer.summary;
    let title = format!(
        "{} to {}: {} of {} rows differ",
        answer.from.to_rfc3339(),
        answer.to.to_rfc3339(),
        summary.total.rows,
        summary.examined
    );
    let mut text = look.headline(&title) + "\n\n";
    if summary.total.rows > 0 {
        let mut lines =
            look.table(&["model set", "grid set", "contract", ">rows", "grams", ">before", ">after", ">difference"]);
        for ((from, to), change) in &summary.sets {
            let mut add = |cells: [String; 8]| {
                lines.add_row(cells);
            };
            add_lines(&mut add, from, to, change);
        }
        text += &format!("{lines}\n\n");
    }
    if summary.closed > 0 {
        text += &format!("{} rows are of closed periods: they are corrected in the open one.\n", summary.closed);
    }
    if summary.unnamed > 0 {
        text += &format!("{} true-ups name no factors, and stay as they are.\n", summary.unnamed);
    }
    text += &match (summary.total.rows, answer.applied) {
        (0, _) => "The books say what the factor book says.\n".to_owned(),
        (_, true) => format!("Posted: {} transfers.\n", answer.posted),
        (_, false) => "Nothing is posted. Post it with --apply.\n".to_owned(),
    };
    text
}

/// One line for each unit that moves.
fn add_lines(add: &mut dyn FnMut([String; 8]), from: &Sets, to: &Sets, change: &Change) {
    let set = |from: &Option<String>, to: &Option<String>| {
        let word = |set: &Option<String>| set.clone().unwrap_or_else(|| "-".to_owned());
        if from == to { word(from) } else { format!("{} -> {}", word(from), word(to)) }
    };
    let units = ["usage, location-based", "usage, market-based", "embodied"];
    let figures = change.before.into_iter().zip(change.after).zip(change.difference());
    for (unit, ((before, after), difference)) in units.into_iter().zip(figures) {
        if !difference.is_zero() {
            let number = |grams: Decimal| grams.normalize().to_string();
            add([
                set(&from.model, &to.model),
                set(&from.grid, &to.grid),
                set(&from.market, &to.market),
                change.rows.to_string(),
                unit.to_owned(),
                number(before),
                number(after),
                number(difference),
            ]);
        }
    }
}
