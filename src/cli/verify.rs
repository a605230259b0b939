//! `counterfoil verify`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::books::open_books;
use crate::app::verify::{Difference, Progress, VerifyReport, verify};
use crate::clock::Clock;
use crate::config::{Environment, StoreArgs};
use crate::domain::calendar::tzdb_version;

/// Recompute the books from nothing and compare
///
/// Counters from the journal and the open reservations, the trial balance of each unit, account balances, the roll-up,
/// reservations and the transfers that settled them: all in one snapshot, which neither waits for a running service nor lets
/// it wait. Lists every difference.
///
/// Exit status: 0 when nothing differs, 1 when something does or could not be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  counterfoil verify --data-dir ./books && echo the books are right")]
pub struct VerifyArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &VerifyArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let bar = if std::io::stderr().is_terminal() { progress_bar()? } else { ProgressBar::hidden() };
    let told = bar.clone();
    let report = Arc::new(move |line: &str| told.set_message(line.to_owned()));
    let opened = open_books(&args.store, environment, report).await?;
    let place = opened.place();
    let mut watch = |progress: Progress| {
        bar.set_message(progress.check.name());
        if let Some(of) = progress.of {
            bar.set_length(of.max(progress.done));
        }
        bar.set_position(progress.done);
    };
    let verified = verify(&opened.connect_options(), &Clock::system(), &mut watch).await;
    bar.finish_and_clear();
    opened.stop().await?;
    let Some(report) = verified? else {
        anyhow::bail!(
            "there are no books at {place}: `counterfoil serve` makes them, `counterfoil migrate` their tables"
        );
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", to_json(&place, &report))?;
    } else {
        write!(out, "{}", to_text(&place, &report))?;
    }
    out.flush()?;
    Ok(if report.is_consistent() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress_bar() -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{spinner} {msg} {bar:30} {human_pos} of {human_len} rows, {elapsed}")?;
    Ok(ProgressBar::new(0).with_style(style))
}

fn milliseconds(took: std::time::Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// How many differences, as a number or, where not all are listed, more than that.
fn count(differences: usize, truncated: bool) -> String {
    if truncated { format!("more than {differences}") } else { differences.to_string() }
}

fn to_text(place: &str, report: &VerifyReport) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["check", "what must hold", "rows", "differences", "ms"]);
    for index in 2..5 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for one in &report.checks {
        let found = &one.findings;
        table.add_row([
            one.check.name().to_owned(),
            one.check.claim().to_owned(),
            found.checked.to_string(),
            count(found.differences.len(), found.truncated),
            milliseconds(one.took).to_string(),
        ]);
    }
    let mut units = Table::new();
    units.load_preset(presets::NOTHING).set_header(["unit", "debit", "credit", "difference"]);
    for index in 1..4 {
        if let Some(column) = units.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for unit in &report.trial_balance {
        let number = |value: rust_decimal::Decimal| value.normalize().to_string();
        units.add_row([unit.unit.clone(), number(unit.debit), number(unit.credit), number(unit.difference)]);
    }
    let mut lines = vec![
        format!("Books of {place}, as of {}", report.as_of.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
        String::new(),
        trimmed(&table),
        String::new(),
        trimmed(&units),
        String::new(),
    ];
    lines.extend(report.differences().map(|(check, difference)| format!("{}: {}", check.name(), sentence(difference))));
    lines.extend(report.other_timezone_rules.as_ref().map(|rules| timezone_note(rules)));
    lines.push(if report.is_consistent() {
        "The books are right: nothing differs.".to_owned()
    } else {
        let truncated = report.checks.iter().any(|one| one.findings.truncated);
        format!("The books differ in {} places.", count(report.differences().count(), truncated))
    });
    lines.join("\n") + "\n"
}

fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn timezone_note(rules: &str) -> String {
    format!(
        "Note: open periods were counted by the timezone rules {rules}, and these are {}: start the service once, then verify again.",
        tzdb_version()
    )
}

fn sentence(difference: &Difference) -> String {
    let subject: Vec<String> = difference.subject.iter().map(|(name, value)| format!("{name} `{value}`")).collect();
    let said = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
    let (recorded, recomputed) = (said(&difference.recorded), said(&difference.recomputed));
    format!("{}: {} is {recorded}, must be {recomputed}", subject.join(", "), difference.column)
}

fn to_json(place: &str, report: &VerifyReport) -> Value {
    let check = |one: &crate::app::verify::Checked| {
        json!({
            "check": one.check.name(),
            "claim": one.check.claim(),
            "checked": one.findings.checked,
            "differences": one.findings.differences.len(),
            "truncated": one.findings.truncated,
            "took_ms": milliseconds(one.took),
        })
    };
    let unit = |unit: &crate::app::verify::UnitBalance| {
        json!({
            "unit": unit.unit,
            "debit": unit.debit.normalize(),
            "credit": unit.credit.normalize(),
            "difference": unit.difference.normalize(),
        })
    };
    let difference = |(check, difference): (crate::app::verify::Check, &Difference)| {
        let subject: serde_json::Map<String, Value> =
            difference.subject.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({
            "check": check.name(),
            "subject": subject,
            "column": difference.column,
            "recorded": difference.recorded,
            "recomputed": difference.recomputed,
        })
    };
    json!({
        "consistent": report.is_consistent(),
        "store": place,
        "as_of": report.as_of,
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
        "trial_balance": report.trial_balance.iter().map(unit).collect::<Vec<_>>(),
        "differences": report.differences().map(difference).collect::<Vec<_>>(),
        "other_timezone_rules": report.other_timezone_rules,
    })
}
