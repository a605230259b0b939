//! What pacing buys a budget: what is expected of it until it resets, played with the limit alone and with plans every hour.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use sqlx::postgres::PgConnection;

use super::basis::{Asked, ByClass, by_class};
use super::draft::{Draft, drafts};
use crate::app::{App, AppError};
use crate::domain::budget::catalogue::{BudgetClock, Catalogue, Priority};
use crate::domain::calendar::Zone;
use crate::domain::id::BudgetId;
use crate::domain::pacing::curve::Curve;
use crate::domain::pacing::plan::{Situation, to_float};
use crate::domain::pacing::simulation::{Expected, Outcome, Policy, Scene, Step, play};

/// The same demand, twice. Quantities are in the unit of the budget's measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaceOutlook {
    /// The instant it speaks from.
    pub made_at: DateTime<Utc>,
    /// When the budget resets.
    pub resets_at: DateTime<Utc>,
    /// What is left of the limit at that instant.
    pub left: f64,
    /// With the limit alone.
    pub limit_alone: Outcome,
    /// With a plan every hour.
    pub paced: Outcome,
}

impl App {
    /// What pacing buys until the next reset, if what the day's forecast expects is what comes. None for a budget that is not
    /// known, never resets, has counted nothing in this period or is counted apart.
    ///
    /// # Errors
    /// When the database does not answer, or an instant is outside the calendar.
    pub async fn pace_outlook(&self, id: &BudgetId) -> Result<Option<PaceOutlook>, AppError> {
        let mut transaction = self.pool.begin().await?;
        let catalogue = self.snapshots.refresh(&mut transaction).await?.catalogue;
        let Some(budget) = catalogue.budgets().find(|budget| budget.id == *id).filter(|budget| budget.each.is_none())
        else {
            return Ok(None);
        };
        let drafts = drafts(&mut transaction, &catalogue, budget, self.clock.now()).await?;
        let [draft] = drafts.as_slice() else { return Ok(None) };
        let expected = hour_by_hour(&mut transaction, &catalogue, draft).await?;
        transaction.commit().await?;
        let zone = match (draft.budget.clock, &draft.tenant) {
            (BudgetClock::Fixed(zone), _) => zone,
            (BudgetClock::Tenant, tenant) => {
                let tenant = tenant.as_ref().and_then(|tenant| catalogue.tenant(tenant));
                tenant.map_or(Zone::UTC, |tenant| tenant.zone)
            }
        };
        Ok(Some(outlook(&draft.situation(), zone, &expected)))
    }
}

/// The day's forecast, whose hours far ahead a basis puts together to days.
async fn hour_by_hour(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    draft: &Draft,
) -> Result<Expected, AppError> {
    let Situation { now, reset, .. } = draft.situation();
    let as_of = draft.basis.made_at;
    let asked = Asked { catalogue, budget: &draft.budget, anchor: as_of, now, horizon: reset };
    let mut expected = Expected::default();
    for ByClass { priority, key, projection } in by_class(connection, &asked, as_of).await? {
        if key != draft.id.key {
            continue;
        }
        let curve = Curve::new(projection.path.iter().map(|hour| (hour.start, hour.expected)), reset);
        match priority {
            Priority::Interactive => expected.interactive = curve,
            Priority::Standard => expected.standard = curve,
            Priority::Batch => expected.batch = curve,
        }
    }
    Ok(expected)
}

/// Plays it.
fn outlook(situation: &Situation<'_>, zone: Zone, expected: &Expected) -> PaceOutlook {
    let steps = steps(situation, expected);
    let (limit, taken) = (to_float(situation.limit), to_float(situation.taken));
    let scene = Scene {
        steps: &steps,
        zone,
        period_start: situation.period_start,
        reset: situation.reset,
        limit,
        taken,
        standard_today: situation.standard_today,
        batch_today: situation.batch_today,
        standard_floor: situation.standard_floor,
        batch_floor: situation.batch_floor,
        patience: None,
    };
    PaceOutlook {
        made_at: situation.now,
        resets_at: situation.reset,
        left: (limit - taken).max(0.0),
        limit_alone: play(&scene, Policy::Limit),
        paced: play(&scene, Policy::Forecast(&mut |_, _| expected.clone())),
    }
}

/// What is expected from now on, by whole hours.
fn steps(situation: &Situation<'_>, expected: &Expected) -> Vec<Step> {
    let Situation { now, reset, .. } = *situation;
    let next = |start: DateTime<Utc>| {
        let hour = start.duration_trunc(TimeDelta::hours(1)).unwrap_or(start);
        (hour + TimeDelta::hours(1)).min(reset)
    };
    let starts = std::iter::successors(Some(now), |start| Some(next(*start))).take_while(|start| *start < reset);
    let step = |start: DateTime<Utc>| {
        let end = next(start);
        Step {
            start,
            interactive: expected.interactive.between(start, end),
            standard: expected.standard.between(start, end),
            batch: expected.batch.between(start, end),
        }
    };
    starts.map(step).collect()
}
