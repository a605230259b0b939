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
    let mut table = look.table(&[demand.as_str(), "with the limit alone", "paced"]);
    let mut line = |what: &str, of: &dyn Fn(&Course) -> (String, Option<Tone>)| {
        let cell = |course| match of(course) {
            (text, Some(tone)) => look.toned(text, tone),
            (text, None) => Cell::new(text),
        };
        table.add_row([Cell::new(what), cell(&until.limit_alone), cell(&until.paced)]);
    };
    let all = |share: Decimal| percent(share, Decimal::ONE);
    line("people refused", &|course| match course.interactive_refused {
        Decimal::ZERO => (all(Decimal::ZERO), Some(Tone::Good)),
        refused => (format!("{}, in {} hours", all(refused), fixed(course.hours_refused, 0)), Some(Tone::Bad)),
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
