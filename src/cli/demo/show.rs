//! The summary, drawn for people: at most 118 columns, most important first.

use std::fmt::Write;

use chrono::DateTime;
use rust_decimal::Decimal;

use super::books::balances;
use super::cast::PER_RUN;
use super::summary::{BudgetLine, Summary};
use crate::cli::table::{Look, Tone, amount, count, dollars, fixed, grams, percent, span};
use crate::wire::answer::EnforcementName;

/// Features that are shown.
const TOP_FEATURES: usize = 11;

/// The whole page. `token` is for the next steps; none when the service ends now.
pub(super) fn page(look: Look, summary: &Summary, token: Option<&str>) -> String {
    let mut page = String::new();
    for part in [
        budgets(look, summary),
        features(look, summary),
        verdicts(look, summary),
        balance(look, summary),
        speed(look, summary),
    ] {
        page.push('\n');
        page.push_str(&part);
    }
    if let Some(token) = token {
        page.push('\n');
        page.push_str(&next_steps(look, summary, token));
    }
    page
}

fn budgets(look: Look, summary: &Summary) -> String {
    let mut table =
        look.table(&["budget", "used, held, headroom", ">used", ">held", ">headroom", "resets, on its clock"]);
    for line in &summary.budgets {
        let state = &line.state;
        let tone = if state.headroom <= Decimal::ZERO || state.headroom * Decimal::TEN < state.limit {
            if state.enforcement == EnforcementName::Hard { Tone::Bad } else { Tone::Warning }
        } else {
            Tone::Good
        };
        let share = format!(
            "{}\n{} of {}",
            look.bar(state.posted, state.held, state.limit),
            percent(state.posted.saturating_add(state.held), state.limit),
            amount(&state.measure, state.limit),
        );
        let number = |quantity| look.toned(amount(&state.measure, quantity), Tone::Good);
        table.add_row([
            comfy_table::Cell::new(format!("{}\n{}", state.budget, what(line))),
            look.toned(share, tone),
            comfy_table::Cell::new(amount(&state.measure, state.posted)),
            comfy_table::Cell::new(amount(&state.measure, state.held)),
            number(state.headroom),
            comfy_table::Cell::new(resets(line, summary)),
        ]);
    }
    format!("{}\n{table}\n", look.headline("Budgets, each on its own clock"))
}

fn what(line: &BudgetLine) -> String {
    match line.counters {
        Some(counters) if line.state.budget == PER_RUN => format!("each of {counters} runs; the fullest"),
        Some(_) | None => line.what.to_owned(),
    }
}

/// `Tue 1 Dec 00:00` and below it the clock, and how long that is from now.
fn resets(line: &BudgetLine, summary: &Summary) -> String {
    let state = &line.state;
    let (Some(at), Some(local)) = (state.resets_at, &state.resets_at_local) else {
        return "never\n".to_owned();
    };
    let local = DateTime::parse_from_rfc3339(local)
        .map_or_else(|_| local.clone(), |local| local.format("%a %-d %b %H:%M:%S").to_string());
    let local = local.strip_suffix(":00").unwrap_or(&local);
    format!("{local}\n{}, in {}", state.timezone, span(at.signed_duration_since(summary.at)))
}

fn features(look: Look, summary: &Summary) -> String {
    let mut table =
        look.table(&["tenant", "feature", ">calls", ">tokens", ">dollars", ">CO2e", ">g per $", ">share of dollars"]);
    let all: Decimal = summary.features.iter().map(|line| line.usd).sum();
    for line in summary.features.iter().take(TOP_FEATURES) {
        let per_dollar = line.gco2e.checked_div(line.usd).map_or_else(|| "-".to_owned(), |ratio| fixed(ratio, 1));
        table.add_row([
            line.tenant.clone(),
            line.feature.clone(),
            count(line.requests),
            count(line.tokens),
            dollars(line.usd),
            grams(line.gco2e),
            per_dollar,
            percent(line.usd, all),
        ]);
    }
    format!("{}\n{table}\n", look.headline("Where it went"))
}

fn verdicts(look: Look, summary: &Summary) -> String {
    let replay = &summary.replay;
    let mut table = look.table(&["verdict", ">pre-flights", ">share", "because"]);
    let asked = Decimal::from(replay.asked());
    for (verdict, tone, meaning) in [
        ("allow", Tone::Good, "go"),
        ("cap", Tone::Good, "go, with a smaller output"),
        ("wait", Tone::Warning, "come back soon"),
        ("stop", Tone::Bad, "the budget is gone until it resets or is raised"),
    ] {
        let told = replay.verdicts.get(verdict).copied().unwrap_or(0);
        let because = replay.reasons.get(verdict).map(|reasons| {
            let one = |(code, told): (&String, &u64)| format!("{} {}", reason(code), count(*told));
            reasons.iter().map(one).collect::<Vec<_>>().join(", ")
        });
        table.add_row([
            look.toned(verdict, tone),
            comfy_table::Cell::new(count(told)),
            comfy_table::Cell::new(percent(Decimal::from(told), asked)),
            comfy_table::Cell::new(because.unwrap_or_else(|| meaning.to_owned())),
        ]);
    }
    let ended = |name| count(replay.ended.get(name).copied().unwrap_or(0));
    let flagged = |name: &str| count(replay.flags.get(name).copied().unwrap_or(0));
    let mut text = format!("{}\n{table}\n", look.headline("What the fleet was told"));
    let lines = [
        format!(
            "Granted calls: {} completed, {} timed out, {} cancelled, {} failed, {} released, {} still open.",
            ended("completed"),
            ended("timed_out"),
            ended("cancelled"),
            ended("failed"),
            ended("released"),
            ended("open"),
        ),
        format!(
            "Posted with a remark: {} unconfirmed (no usage came), {} overrun (more than was held), {} late, {} without a known price.",
            flagged("unconfirmed"),
            flagged("overrun"),
            flagged("late"),
            flagged("unpriced_model"),
        ),
        format!(
            "{} calls waited as told and then went; {} were never asked, because their run had looped into its limit;",
            count(replay.went_after_wait),
            count(replay.never_asked),
        ),
        format!("{} settlements were sent twice and posted once.", count(replay.repeated)),
    ];
    for line in lines {
        let _always_fits = writeln!(text, "  {line}");
    }
    text
}

/// A reason's code, in words that fit a line.
fn reason(code: &str) -> &str {
    match code {
        "larger_than_limit" => "larger than the whole limit",
        "limit_reached" => "limit reached",
        "priority_floor" => "the rest is kept for urgent calls",
        "held_by_others" => "held by others",
        "output_capped" => "more output than there is room for",
        other => other,
    }
}

fn balance(look: Look, summary: &Summary) -> String {
    let mut table = look.table(&["unit", ">debit (usage)", ">credit (supply)", ">difference"]);
    for line in &summary.trial_balance {
        let places = if line.unit == "tokens" { 0 } else { 9 };
        let tone = if line.difference.is_zero() { Tone::Good } else { Tone::Bad };
        table.add_row([
            comfy_table::Cell::new(&line.unit),
            comfy_table::Cell::new(fixed(line.debit, places)),
            comfy_table::Cell::new(fixed(line.credit, places)),
            look.toned(line.difference.normalize(), tone),
        ]);
    }
    let verdict = if balances(&summary.trial_balance) { "it balances in every unit" } else { "IT DOES NOT BALANCE" };
    format!("{}\n{table}\n", look.headline(&format!("Trial balance: {verdict}")))
}

fn speed(look: Look, summary: &Summary) -> String {
    let speed = &summary.speed;
    let seconds = |ms: u64| fixed(Decimal::from(ms) / Decimal::ONE_THOUSAND, 1);
    format!(
        "{}\n  {} calls by {} callers over HTTP in {} s: {} requests/s, pre-flight p50 {} ms, p99 {} ms, settle p50 {} ms, \
         p99 {} ms.\n  {} s in all. Trace: {}.\n",
        look.headline("Speed"),
        count(u64::try_from(summary.trace.calls).unwrap_or(0)),
        summary.trace.callers,
        seconds(speed.replay_ms),
        count(speed.requests_per_second),
        speed.preflight_ms.p50,
        speed.preflight_ms.p99,
        speed.settle_ms.p50,
        speed.settle_ms.p99,
        seconds(speed.total_ms),
        summary.trace.source,
    )
}

fn next_steps(look: Look, summary: &Summary, token: &str) -> String {
    let address = &summary.address;
    format!(
        "{}\n  TOKEN={token}\n\n  # 1. ask before a call\n  curl -s {address}/v1/preflight -H \"authorization: Bearer $TOKEN\" -H \
         'content-type: application/json' \\\n    -d '{{\"tenant\":\"hinode\",\"feature\":\"support-chat\",\"provider\":\"google\",\"model\":\"gemini-2.5-flash\",\n         \
         \"priority\":\"interactive\",\"estimate\":{{\"input\":1200,\"max_output\":800}}}}'\n\n  # 2. settle what it used \
         (the id is `reservation` of the answer)\n  curl -s {address}/v1/reservations/$ID/settle -H \"authorization: Bearer $TOKEN\" -H \
         'content-type: application/json' \\\n    -d '{{\"usage\":{{\"input\":1200,\"output\":312}}}}'\n\n  # 3. the whole API\n  \
         {address}/docs\n\nBooks: {}. Serving until Ctrl-C.\n",
        look.headline("Next steps"),
        summary.books,
    )
}
