//! What pacing did, and what it buys: what the callers of the paced quota were told, and the demand that is expected until its
//! reset with the limit alone and with paces.

use std::fmt::Write as _;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use comfy_table::Cell;
use rust_decimal::Decimal;
use serde::Serialize;

use super::fleet::{Answers, Told};
use super::foresight::{millions, on_clock};
use super::quota::{MEMBERS, QUOTA, WORK};
use crate::app::App;
use crate::app::pacing::outlook::PaceOutlook;
use crate::cli::table::{Look, Tone, count, fixed, percent, span};
use crate::domain::calendar::Zone;
use crate::domain::id::BudgetId;
use crate::domain::pacing::simulation::{Outcome, Served};
use crate::wire::budget::PriorityName;

/// Both.
#[derive(Debug, Serialize)]
pub(super) struct Pacing {
    budget: &'static str,
    /// What the callers were told, the most urgent first.
    calls: Vec<ClassLine>,
    until_reset: UntilReset,
}

/// Calls of one priority.
#[derive(Debug, Serialize)]
struct ClassLine {
    priority: PriorityName,
    feature: &'static str,
    #[serde(flatten)]
    told: Told,
    tenants: Vec<TenantLine>,
}

#[derive(Debug, Serialize)]
struct TenantLine {
    tenant: &'static str,
    timezone: &'static str,
    #[serde(flatten)]
    told: Told,
}

/// The same demand twice, simulated.
#[derive(Debug, Serialize)]
pub(super) struct UntilReset {
    made_at: DateTime<Utc>,
    resets_at: DateTime<Utc>,
    /// Tokens that are expected to be asked for.
    demand: Decimal,
    /// Tokens that are left.
    left: Decimal,
    limit_alone: Course,
    paced: Course,
}

/// What becomes of the demand. Shares are of what is asked for, from 0 to 1.
#[derive(Debug, Serialize)]
struct Course {
    interactive_refused: Decimal,
    /// Hours in which people are refused.
    hours_refused: Decimal,
    standard: Moved,
    batch: Moved,
    /// The share of what is left now that nobody has used at the reset.
    unused: Decimal,
    /// When people are first refused; none: not before the reset.
    runs_out_at: Option<DateTime<Utc>>,
}

/// Shares of what can wait.
#[derive(Debug, Serialize)]
struct Moved {
    /// Done later than it was asked for, before the reset.
    later: Decimal,
    /// Not done before the reset.
    missed: Decimal,
}

/// A figure of a simulation, to so many places.
fn rounded(value: f64, places: u32) -> Decimal {
    Decimal::try_from(value).unwrap_or_default().round_dp(places).normalize()
}

fn share(part: f64, whole: f64) -> Decimal {
    if whole > 0.0 { rounded(part / whole, 4) } else { Decimal::ZERO }
}

impl From<Served> for Moved {
    fn from(served: Served) -> Self {
        Self { later: share(served.later, served.asked), missed: share(served.missed, served.asked) }
    }
}

impl Course {
    fn new(outcome: &Outcome, left: f64) -> Self {
        Self {
            interactive_refused: share(outcome.interactive.missed, outcome.interactive.asked),
            hours_refused: rounded(outcome.hours_refused, 1),
            standard: outcome.standard.into(),
            batch: outcome.batch.into(),
            unused: share(outcome.unused, left),
            runs_out_at: outcome.runs_out_at,
        }
    }
}

/// What is expected until the reset, as things stand.
///
/// # Errors
/// When the service does not answer, or has no forecast.
pub(super) async fn until_reset(app: &App) -> anyhow::Result<UntilReset> {
    let outlook = app.pace_outlook(&BudgetId::parse(QUOTA)?).await?;
    let outlook = outlook.with_context(|| format!("nothing is expected of {QUOTA}"))?;
    Ok(UntilReset::from(&outlook))
}

impl From<&PaceOutlook> for UntilReset {
    fn from(outlook: &PaceOutlook) -> Self {
        let Outcome { interactive, standard, batch, .. } = outlook.limit_alone;
        Self {
            made_at: outlook.made_at,
            resets_at: outlook.resets_at,
            demand: rounded(interactive.asked + standard.asked + batch.asked, 0),
            left: rounded(outlook.left, 0),
            limit_alone: Course::new(&outlook.limit_alone, outlook.left),
            paced: Course::new(&outlook.paced, outlook.left),
        }
    }
}

impl Pacing {
    /// Puts both together.
    pub(super) fn new(answers: &Answers, until_reset: UntilReset) -> Self {
        let line = |priority, feature| {
            let of = |tenant| answers.get(&(priority, tenant)).cloned().unwrap_or_default();
            let tenants: Vec<TenantLine> = MEMBERS
                .iter()
                .map(|member| TenantLine { tenant: member.id, timezone: member.timezone, told: of(member.id) })
                .collect();
            let mut told = Told::default();
            for tenant in &tenants {
                told.merge(&tenant.told);
            }
            ClassLine { priority, feature, told, tenants }
        };
        let calls = WORK.iter().map(|work| line(work.priority, work.feature)).collect();
        Self { budget: QUOTA, calls, until_reset }
    }

    fn told(&self, priority: PriorityName) -> Told {
        self.calls.iter().find(|line| line.priority == priority).map(|line| line.told.clone()).unwrap_or_default()
    }
}

const fn name(priority: PriorityName) -> &'static str {
    match priority {
        PriorityName::Interactive => "people (interactive)",
        PriorityName::Standard => "agents (standard)",
        PriorityName::Batch => "batch",
    }
}

/// The page's part.
pub(super) fn show(look: Look, pacing: &Pacing) -> String {
    let mut text = format!("{}\n", look.headline("The same quota, paced: who goes now, and who is told to wait"));
    let mut table = look.table(&[
        "calls",
        ">asked",
        ">allowed",
        ">told to wait",
        ">stopped",
        "not before, its clock",
        "and the last",
    ]);
    for line in &pacing.calls {
        table.add_row(row(look, name(line.priority).to_owned(), &line.told, None));
        for tenant in line.tenants.iter().filter(|_| line.told.waited > 0) {
            let who = format!("  {}, {}", tenant.tenant, tenant.timezone);
            table.add_row(row(look, who, &tenant.told, Zone::parse(tenant.timezone).ok()));
        }
    }
    let _always_fits = writeln!(text, "{table}\n  {}\n\n{}", sentence(pacing), courses(look, &pacing.until_reset));
    text
}

/// The demand until the reset: with the limit alone, and paced.
fn courses(look: Look, until: &UntilReset) -> String {
    let demand = format!("until the reset, of {} tokens asked for", millions(until.demand));
    let mut table = look.table(&[demand.as_str(), "by the limit alone", "paced"]);
    let mut line = |what: &str, of: &dyn Fn(&Course) -> (String, Option<Tone>)| {
        let cell = |course| match of(course) {
            (text, Some(tone)) => look.toned(text, tone),
            (text, None) => Cell::new(text),
        };
        table.add_row([Cell::new(what), cell(&until.limit_alone), cell(&until.paced)]);
    };
    let all = |share: Decimal| percent(share, Decimal::ONE);
    line("people refused", &|course| {
        let refused = all(course.interactive_refused);
        if course.interactive_refused.is_zero() {
            (refused, Some(Tone::Good))
        } else {
            (format!("{refused}, in {} hours", fixed(course.hours_refused, 0)), Some(Tone::Bad))
        }
    });
    line("agents: later / not before the reset", &|course| (moved(&course.standard), None));
    line("batch: later / not before the reset", &|course| (moved(&course.batch), None));
    line("runs out", &|course| match course.runs_out_at {
        None => ("lands on its reset".to_owned(), Some(Tone::Good)),
        Some(at) => {
            let early = span(until.resets_at.signed_duration_since(at));
            (format!("{} UTC, {early} early", on_clock(Some(at), Some(Zone::UTC))), Some(Tone::Bad))
        }
    });
    line("left unused", &|course| (all(course.unused), None));
    format!(
        "{table}\n  {} tokens are left. Simulated with a plan every hour, if what is expected comes.",
        millions(until.left)
    )
}

fn moved(moved: &Moved) -> String {
    let [later, missed] = [moved.later, moved.missed].map(|share| percent(share, Decimal::ONE));
    format!("{later} / {missed}")
}

fn row(look: Look, who: String, told: &Told, zone: Option<Zone>) -> [Cell; 7] {
    let clock =
        |at: Option<DateTime<Utc>>| if zone.is_some() && at.is_some() { on_clock(at, zone) } else { String::new() };
    let toned = |number: u64, tone| if number > 0 { look.toned(count(number), tone) } else { Cell::new(count(number)) };
    [
        Cell::new(who),
        Cell::new(count(told.asked)),
        Cell::new(count(told.allowed)),
        toned(told.waited, Tone::Warning),
        toned(told.stopped, Tone::Bad),
        Cell::new(clock(told.not_before_first)),
        Cell::new(clock(told.not_before_last)),
    ]
}

/// What pacing did, in plain words.
fn sentence(pacing: &Pacing) -> String {
    let [people, agents, batch] =
        [PriorityName::Interactive, PriorityName::Standard, PriorityName::Batch].map(|class| pacing.told(class));
    let and_agents =
        if agents.waited > 0 { format!(" and {} calls of agents", count(agents.waited)) } else { String::new() };
    let refused = match people.waited + people.stopped {
        0 => "no person was refused".to_owned(),
        1 => "one person was refused".to_owned(),
        more => format!("{} people were refused", count(more)),
    };
    format!("Pacing made {} batch calls{and_agents} wait; {refused}.", count(batch.waited))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(allowed: u64, waited: u64) -> Told {
        let at = "2026-11-22T09:47:00Z".parse().ok().filter(|_| waited > 0);
        Told { asked: allowed + waited, allowed, waited, not_before_first: at, not_before_last: at, ..Told::default() }
    }

    fn pacing(people: u64, agents: u64, batch: u64) -> Pacing {
        let answers = Answers::from([
            ((PriorityName::Interactive, "kumo"), told(100, 0)),
            ((PriorityName::Interactive, "redwood"), told(200, people)),
            ((PriorityName::Standard, "hafen"), told(160, agents)),
            ((PriorityName::Batch, "redwood"), told(1, batch)),
        ]);
        let asked = |asked, later, missed| Served { asked, later, missed };
        let outcome = Outcome {
            interactive: asked(3e8, 0.0, 6.3e7),
            standard: asked(6e7, 0.0, 1.2e7),
            batch: asked(2.4e8, 0.0, 6e7),
            unused: 0.0,
            runs_out_at: "2026-11-28T00:02:00Z".parse().ok(),
            hours_refused: 71.2,
        };
        let paced = Outcome {
            interactive: asked(3e8, 0.0, 0.0),
            batch: asked(2.4e8, 6e7, 1.35e8),
            unused: 1e5,
            runs_out_at: None,
            hours_refused: 0.0,
            ..outcome
        };
        let outlook = PaceOutlook {
            made_at: "2026-11-22T09:40:00Z".parse().unwrap_or_default(),
            resets_at: "2026-12-01T00:00:00Z".parse().unwrap_or_default(),
            left: 4.32e8,
            limit_alone: outcome,
            paced,
        };
        Pacing::new(&answers, UntilReset::from(&outlook))
    }

    #[test]
    fn the_sentence_says_who_waited_and_who_was_refused() {
        let check = |people, agents, batch, said: &str| assert_eq!(sentence(&pacing(people, agents, batch)), said);
        check(0, 0, 330, "Pacing made 330 batch calls wait; no person was refused.");
        check(0, 4, 1_330, "Pacing made 1,330 batch calls and 4 calls of agents wait; no person was refused.");
        check(1, 0, 3, "Pacing made 3 batch calls wait; one person was refused.");
        check(2, 0, 3, "Pacing made 3 batch calls wait; 2 people were refused.");
    }

    #[test]
    fn calls_are_told_by_class_and_those_that_wait_by_tenant_on_its_clock() {
        let page = show(Look::Plain, &pacing(0, 0, 330));
        let line = |start: &str| page.lines().find(|line| line.trim().starts_with(start)).unwrap_or_default();
        let words = |start: &str| line(start).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words("people (inter"), "people (interactive) 300 300 0 0");
        assert_eq!(words("batch "), "batch 331 1 330 0");
        assert_eq!(
            words("redwood"),
            "redwood, America/Los_Angeles 331 1 330 0 Sun 22 Nov 01:47 Sun 22 Nov 01:47",
            "batch alone is told apart, because nobody else waits"
        );
        assert_eq!(words("people refused"), "people refused 21%, in 71 hours 0%");
        assert_eq!(words("batch: later"), "batch: later / not before the reset 0% / 25% 25% / 56%");
        assert_eq!(words("runs out"), "runs out Sat 28 Nov 00:02 UTC, 2 d 23 h early lands on its reset");
        assert_eq!(words("left unused"), "left unused 0% <1%");
        assert!(page.lines().all(|line| line.chars().count() <= 118), "{page}");
    }

    #[test]
    fn figures_for_programs_are_shares_of_what_is_asked() {
        let document = serde_json::to_value(pacing(0, 7, 330)).unwrap();
        assert_eq!(document["calls"][1]["waited"], 7);
        assert_eq!(document["calls"][2]["tenants"][3]["not_before_last"], "2026-11-22T09:47:00Z");
        assert_eq!(document["until_reset"]["demand"], "600000000");
        assert_eq!(document["until_reset"]["limit_alone"]["interactive_refused"], "0.21");
        assert_eq!(document["until_reset"]["paced"]["batch"]["missed"], "0.5625");
        assert_eq!(document["until_reset"]["paced"]["runs_out_at"], serde_json::Value::Null);
    }
}
