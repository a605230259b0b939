//! `counterfoil reconcile`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use rust_decimal::Decimal;
use serde_json::Value;

use super::beside::Beside;
use super::table::Look;
use crate::app::App;
use crate::config::{Environment, StoreArgs};
use crate::wire::reconciliation::{ReconciliationBody, ReconciliationRequest, ReconciliationState};

/// Who sends reports from the command line.
const SUBJECT: &str = "command line";

/// Compare a provider's report with the books, and true them up
///
/// FILE is the JSON answer of Anthropic's usage or cost report, or of OpenAI's completions usage or costs, as the provider
/// gave it; or a CSV invoice with the columns day, model, bucket or line, quantity, usd. Several files are the pages of one
/// report, or a usage and a cost report of the same days. Beside a running service this works as one more replica.
///
/// Exit status: 0 when the books agree or were trued up, 1 when they differ.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  counterfoil reconcile usage.json costs.json --provider anthropic --approve --data-dir ./books"
)]
pub struct ReconcileArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The report: its pages, or an invoice
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The provider, as calls name it
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// Whose the workspaces or projects of the report are, as in the API.
    #[arg(
        long,
        value_name = "FILE",
        help = "Whose the workspaces or projects are: a JSON file such as {\"wrkspc_01\": {\"tenant\": \"acme\"}}"
    )]
    mapping: Option<PathBuf>,
    /// Post the true-ups
    #[arg(long)]
    approve: bool,
    /// The dollars that the true-ups move, to the cent: asked for where they are more than a fifth of the books
    #[arg(long, value_name = "AMOUNT", requires = "approve")]
    usd: Option<Decimal>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

fn read(path: &PathBuf) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn request(args: &ReconcileArgs) -> anyhow::Result<ReconciliationRequest> {
    let mut pages = Vec::with_capacity(args.files.len());
    for path in &args.files {
        let text = read(path)?;
        let is_json = text.trim_start().starts_with(['{', '[']);
        let page = if is_json {
            serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?
        } else {
            Value::String(text)
        };
        match page {
            Value::Array(several) => pages.extend(several),
            one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                pages.push(one);
            }
        }
    }
    let report = if pages.len() == 1 { pages.swap_remove(0) } else { Value::Array(pages) };
    let mapping = match &args.mapping {
        None => std::collections::BTreeMap::new(),
        Some(path) => {
            serde_json::from_str(&read(path)?).with_context(|| format!("{} is no mapping", path.display()))?
        }
    };
    Ok(ReconciliationRequest { provider: args.provider.clone(), kind: None, report, mapping })
}

pub(super) async fn run(args: &ReconcileArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let request = request(args)?;
    let beside = Beside::start(&args.store, environment).await?;
    let answer = reconcile(&beside.app, request, args).await;
    beside.stop().await?;
    let answer = answer?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
    } else {
        write!(out, "{}", to_text(Look::of_stdout(environment), &answer))?;
    }
    out.flush()?;
    let settled = answer.differing == 0 || answer.state == ReconciliationState::Approved;
    Ok(if settled { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn reconcile(
    app: &App,
    request: ReconciliationRequest,
    args: &ReconcileArgs,
) -> anyhow::Result<ReconciliationBody> {
    let proposed = app.propose_reconciliation(request, SUBJECT, None).await?.answer;
    if args.approve {
        Ok(app.approve_reconciliation(proposed.id, SUBJECT, args.usd, None).await?.answer)
    } else {
        Ok(proposed)
    }
}

fn to_text(look: Look, answer: &ReconciliationBody) -> String {
    let title = format!(
        "{} from {} to {}: {} of {} lines differ",
        answer.provider,
        answer.first_day,
        answer.last_day,
        answer.differing,
        answer.lines.len()
    );
    let mut text = look.headline(&title) + "\n\n";
    let mut lines = look.table(&["day", "model", "what", ">ours", ">theirs", ">difference", "likely cause"]);
    for line in answer.lines.iter().filter(|line| !line.causes.is_empty()) {
        let causes = line.causes.join(", ");
        let mut add = |what: &str, ours: String, theirs: String, difference: String| {
            lines.add_row([&*line.day.to_string(), &line.model, what, &ours, &theirs, &difference, &causes]);
        };
        for count in line.counts.iter().filter(|count| count.difference != 0) {
            add(&count.bucket, count.ours.to_string(), count.theirs.to_string(), count.difference.to_string());
        }
        if let Some(usd) = line.usd.as_ref().filter(|usd| !usd.difference.is_zero()) {
            add("usd", usd.ours.to_string(), usd.theirs.to_string(), usd.difference.to_string());
        }
    }
    let mut true_ups = look.table(&["true-up", "day", "model", "tenant", "feature", ">tokens", ">usd", ">gco2e"]);
    for one in &answer.true_ups {
        let amounts = &one.amounts;
        true_ups.add_row([
            one.direction.clone(),
            one.occurred_at.date_naive().to_string(),
            one.model.clone(),
            one.tenant.clone(),
            one.feature.clone(),
            amounts.tokens.to_string(),
            amounts.usd.to_string(),
            amounts.gco2e.to_string(),
        ]);
    }
    if answer.differing > 0 {
        text += &format!("{lines}\n\n{true_ups}\n\n");
    }
    if !answer.unmatched.is_empty() {
        text += &format!("Not in the price book, matched by name alone: {}\n", answer.unmatched.join(", "));
    }
    let id = answer.id;
    text += &match answer.state {
        ReconciliationState::Approved => {
            "Approved: the supply side of the books says what the report says.\n".to_owned()
        }
        ReconciliationState::Proposed | ReconciliationState::Approving if answer.differing > 0 => {
            let named = answer.moves.filter(|moves| moves.must_be_named);
            let amount = named.map(|moves| format!(" --usd {}", moves.usd.round_dp(2))).unwrap_or_default();
            let warning = named.map(|moves| {
                format!(
                    "The true-ups move {} dollars, and the books have {}: see that it is the right report.\n",
                    moves.usd, moves.books_usd
                )
            });
            format!(
                "{}Nothing is posted. Approve with --approve{amount}, or POST /v1/reconciliations/{id}/approve\n",
                warning.unwrap_or_default()
            )
        }
        ReconciliationState::Proposed | ReconciliationState::Approving => {
            "The books agree with the report.\n".to_owned()
        }
    };
    text
}
