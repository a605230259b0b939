//! The summary, drawn for people: at most 118 columns, most important first.

use std::cmp::Reverse;
use std::fmt::Write;

use chrono::DateTime;
use comfy_table::Cell;
use rust_decimal::Decimal;

use super::books::balances;
use super::summary::{BudgetLine, FeatureLine, Summary};
use super::tally::Tally;
use super::{foresight, pacing, quota};
use crate::cli::table::{Look, Tone, amount, count, dollars, fixed, grams, percent, span};
use crate::wire::answer::EnforcementName;

/// Features that are shown.
const TOP_FEATURES: usize = 15;
/// The feature of a line that holds several.
const ALL_OF_A_TENANT: &str = "all";

/// The whole page. `token` is for the next steps; none when the service ends now.
pub(super) fn page(look: Look, summary: &Summary, token: Option<&str>) -> String {
    let mut page = String::new();
    for part in [
        foresight::show(look, &summary.projection),
        pacing::show(look, &summary.pacing),
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
    // The last column is padded; nobody wants to copy that.
    page.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn budgets(look: Look, summary: &Summary) -> String {
    let mut table = look.table(&["budget", "used and held", ">headroom", "resets, on its clock"]);
    for line in &summary.budgets {
        let state = &line.state;
        let number = |quantity| amount(&state.measure, quantity);
        let [limit, posted, held, headroom] =
            [state.limit, state.posted, state.held, state.headroom].map(Option::unwrap_or_default);
        let taken = percent(posted.saturating_add(held), limit);
        let share =
            format!("{} {taken}\n{} used, {} held", look.bar(posted, held, limit), number(posted), number(held),);
        table.add_row([
            Cell::new(format!("{}\n  {}", state.budget, what(line))),
            look.toned(share, tone(line)),
            Cell::new(format!("{}\nof {}", number(headroom), number(limit))),
            Cell::new(resets(line, summary)),
        ]);
    }
    format!("{}\n{table}\n", look.headline("Budgets, each on its own clock"))
}

/// Less than a tenth left is bad, unless the budget only warns.
fn tone(line: &BudgetLine) -> Tone {
    let state = &line.state;
    match state.enforcement {
        _ if state.headroom.unwrap_or_default().saturating_mul(Decimal::TEN) >= state.limit.unwrap_or_default() => {
            Tone::Good
        }
        EnforcementName::Hard => Tone::Bad,
        EnforcementName::Soft => Tone::Warning,
    }
}

fn what(line: &BudgetLine) -> String {
    match line.counters {
        Some(counters) => format!("the fullest of {} runs, dollars", count(u64::try_from(counters).unwrap_or(0))),
        None => line.what.to_owned(),
    }
}

/// `Tue 1 Dec 00:00, in 8 d 20 h`, and below it the clock.
fn resets(line: &BudgetLine, summary: &Summary) -> String {
    let state = &line.state;
    if line.slides {
        return format!("slides, all the time\n{}", state.timezone);
    }
    let (Some(at), Some(local)) = (state.resets_at, &state.resets_at_local) else {
        return "never\n".to_owned();
    };
    let local = DateTime::parse_from_rfc3339(local)
        .map_or_else(|_| local.clone(), |local| local.format("%a %-d %b %H:%M").to_string());
    format!("{local}, in {}\n{}", span(at.signed_duration_since(summary.at)), state.timezone)
}

fn features(look: Look, summary: &Summary) -> String {
    let mut table =
        look.table(&["tenant", "feature", ">calls", ">tokens", ">dollars", ">CO2e", ">g per $", ">share of dollars"]);
    let all: Decimal = summary.features.iter().map(|line| line.usd).sum();
    for line in folded(&summary.features).iter().take(TOP_FEATURES) {
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
    let sum = |of: fn(&FeatureLine) -> Decimal| summary.features.iter().map(of).sum::<Decimal>();
    table.add_row([
        "all".to_owned(),
        String::new(),
        count(sum(|line| line.requests.into())),
        count(sum(|line| line.tokens.into())),
        dollars(all),
        grams(sum(|line| line.gco2e)),
        String::new(),
        String::new(),
    ]);
    format!("{}\n{table}\n", look.headline("Where it went, this month"))
}

/// The features of those who share the quota, one line for each tenant: they are many and large, and not what was replayed.
fn folded(features: &[FeatureLine]) -> Vec<FeatureLine> {
    let mut lines: Vec<FeatureLine> = Vec::new();
    for line in features {
        let shares = quota::MEMBERS.iter().any(|member| member.id == line.tenant);
        match lines.iter_mut().find(|of| shares && of.tenant == line.tenant) {
            Some(of) => {
                of.feature = ALL_OF_A_TENANT.to_owned();
                of.requests += line.requests;
                of.tokens += line.tokens;
                of.usd = of.usd.saturating_add(line.usd);
                of.gco2e = of.gco2e.saturating_add(line.gco2e);
            }
            None => lines.push(line.clone()),
        }
    }
    lines.sort_by_key(|line| Reverse(line.usd));
    lines
}

fn verdicts(look: Look, summary: &Summary) -> String {
    let replay = &summary.replay;
    let mut table = look.table(&["verdict", ">pre-flights", ">share", ">of which", "because", "budget"]);
    let asked = Decimal::from(replay.asked());
    for (verdict, tone) in [("allow", Tone::Good), ("cap", Tone::Good), ("wait", Tone::Warning), ("stop", Tone::Bad)] {
        let told = replay.verdicts.get(verdict).copied().unwrap_or(0);
        let mut head =
            [look.toned(verdict, tone), Cell::new(count(told)), Cell::new(percent(Decimal::from(told), asked))];
        let reasons = replay.reasons.get(verdict).into_iter().flatten();
        let mut reasons: Vec<_> = reasons.flat_map(|(code, by)| by.iter().map(move |one| (code, one))).collect();
        reasons.sort_by_key(|(_, (_, told))| Reverse(**told));
        if reasons.is_empty() {
            let verdict_is_allow = verdict == "allow";
            let [verdict, told, share] = head;
            table.add_row([
                verdict,
                told,
                share,
                Cell::new(""),
                Cell::new(if verdict_is_allow { "there is room in every budget" } else { "" }),
            ]);
            continue;
        }
        for (code, (budget, told)) in reasons {
            let [verdict, all, share] = std::mem::replace(&mut head, [const { "" }; 3].map(Cell::new));
            table.add_row([verdict, all, share, Cell::new(count(*told)), Cell::new(reason(code)), Cell::new(budget)]);
        }
    }
    let mut text = format!("{}\n{table}\n", look.headline("What the fleet was told"));
    for line in remarks(replay) {
        let _always_fits = writeln!(text, "  {line}");
    }
    text
}

fn remarks(replay: &Tally) -> [String; 4] {
    let ended = |name| count(replay.ended.get(name).copied().unwrap_or(0));
    let flagged = |name: &str| count(replay.flags.get(name).copied().unwrap_or(0));
    let warned = |name: &str| count(replay.warnings.get(name).copied().unwrap_or(0));
    [
        format!(
            "Granted: {} completed, {} timed out, {} cancelled, {} failed, {} released, {} still open; {} granted with a \
             warning\n  (near a limit), {} above a soft limit.",
            ended("completed"),
            ended("timed_out"),
            ended("cancelled"),
            ended("failed"),
            ended("released"),
            ended("open"),
            warned("near_limit"),
            warned("over_soft_limit"),
        ),
        format!(
            "Posted with a remark: {} unconfirmed (no usage came), {} overrun (used more than held), {} late (after expiry),\n  \
             {} by the worst known price, {} by a fallback emission factor.",
            flagged("unconfirmed"),
            flagged("overrun"),
            flagged("late"),
            flagged("unpriced_model"),
            flagged("model_factor_fallback"),
        ),
        format!(
            "Obeyed: {} waited as told, asked again and went; {} were never asked, because their run had looped into its limit.",
            count(replay.went_after_wait),
            count(replay.never_asked),
        ),
        format!("Retried: {} settlements were sent twice, answered alike and posted once.", count(replay.repeated)),
    ]
}

/// A reason's code, in words that fit a line.
fn reason(code: &str) -> &str {
    match code {
        "larger_than_limit" => "larger than the whole limit",
        "limit_reached" => "limit reached",
        "priority_floor" => "the rest is kept for urgent calls",
        "held_by_others" => "held by others",
        "output_capped" => "less output than asked fits",
        other => other,
    }
}

fn balance(look: Look, summary: &Summary) -> String {
    let mut table = look.table(&["unit", ">debit (usage)", ">credit (supply)", ">difference"]);
    for line in &summary.trial_balance {
        let places = if line.unit == "tokens" { 0 } else { 9 };
        let tone = if line.difference.is_zero() { Tone::Good } else { Tone::Bad };
        table.add_row([
            Cell::new(&line.unit),
            Cell::new(fixed(line.debit, places)),
            Cell::new(fixed(line.credit, places)),
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
        "{}\n  {} calls by {} callers over HTTP in {} s: {} requests/s, pre-flight p50 {} ms, p99 {} ms,\n  settle p50 {} ms, \
         p99 {} ms; {} s with start and set-up.\n  Trace: {}.\n",
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
    let Summary { address, books, .. } = summary;
    let headline = look.headline("Next steps");
    let headers = "-H \"authorization: Bearer $TOKEN\" -H 'content-type: application/json'";
    let ask = r#"{"tenant":"spreewerk","feature":"code-review","provider":"anthropic","model":"claude-sonnet-4-5",
         "region":"eu-central-1","estimate":{"input":1200,"max_output":800}}"#;
    let used = r#"{"usage":{"input":1200,"output":312}}"#;
    format!(
        "{headline}
  TOKEN={token}

  # 1. ask before a call; the answer names its reservation
  curl -s {address}/v1/preflight {headers} \\
    -d '{ask}'

  # 2. settle what it used: ID=<the reservation>
  curl -s {address}/v1/reservations/$ID/settle {headers} \\
    -d '{used}'

  # 3. look at what is left
  curl -s {address}/v1/budgets/spreewerk-monthly-usd {headers}

The whole API: {address}/docs
The books: {books}. Serving until Ctrl-C.
"
    )
}
