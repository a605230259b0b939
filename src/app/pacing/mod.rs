//! Pacing: the plans of all budgets that ask for one, made by one replica at a time, and read by all.
//!
//! | phase | what |
//! |---|---|
//! | gather | the open counters of each paced budget, what was taken of them today by class and tenant ([`draft`]), the day's forecast ([`basis`]) |
//! | plan | [`crate::domain::pacing::plan`], and the day's share of shared counters shared out ([`share`]) |
//! | save | one row per counter, and one for its next period where that begins soon |
//! | read | every replica, once in a while, into memory: no verdict waits for any of this |
//!
//! [`outlook`] says what it buys.

mod basis;
mod draft;
pub mod outlook;
mod share;

use chrono::TimeDelta;
use sqlx::postgres::PgConnection;

use super::{App, AppError};
use crate::domain::budget::catalogue::{Catalogue, Pacing};
use crate::domain::pacing::plan::{self, VALID};
use crate::store::locks::{Lock, try_take};
use crate::store::paces::{self, NewPace};
use crate::wire::plan::{BasisDoc, PaceDoc, PlanDoc};
use draft::Draft;

/// How old plans are when they are made anew.
pub const PLAN_AGE_MAX: TimeDelta = TimeDelta::seconds(30);

impl App {
    /// One step of the worker: plans if nobody has for a while, and reads what was planned.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep_pace(&self) -> Result<(), AppError> {
        let mut connection = self.pool.acquire().await?;
        let is_due = paces::last_made(&mut connection, self.clock.now())
            .await?
            .is_none_or(|made_at| self.clock.now() >= made_at + PLAN_AGE_MAX);
        drop(connection);
        if is_due {
            self.plan_paces().await?;
        }
        self.load_paces().await
    }

    /// Reads what was planned.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn load_paces(&self) -> Result<(), AppError> {
        let mut connection = self.pool.acquire().await?;
        Ok(self.snapshots.load_paces(&mut connection, self.clock.now()).await?)
    }

    /// Plans every budget that is paced, and says how many counters that were: none if another replica is at it.
    ///
    /// # Errors
    /// When the database does not answer, or an instant is outside the calendar.
    pub async fn plan_paces(&self) -> Result<usize, AppError> {
        let mut transaction = self.pool.begin().await?;
        if !try_take(&mut transaction, Lock::Pacing).await? {
            return Ok(0);
        }
        let catalogue = self.snapshots.refresh(&mut transaction).await?.catalogue;
        let drafts = self.drafts(&mut transaction, &catalogue).await?;
        let new = planned(&drafts);
        paces::write(&mut transaction, &new, self.clock.now()).await?;
        transaction.commit().await?;
        Ok(drafts.len())
    }

    async fn drafts(&self, connection: &mut PgConnection, catalogue: &Catalogue) -> Result<Vec<Draft>, AppError> {
        let now = self.clock.now();
        let mut drafts = Vec::new();
        for budget in catalogue.budgets().filter(|budget| budget.pacing == Pacing::Forecast) {
            drafts.extend(draft::drafts(connection, catalogue, budget, now).await?);
        }
        Ok(drafts)
    }
}

/// The paces of all counters, and of their next periods where those begin before the next plan can be sure to be there.
fn planned(drafts: &[Draft]) -> Vec<NewPace> {
    let plans: Vec<plan::Plan> = drafts.iter().map(|draft| plan::plan(&draft.situation())).collect();
    let allotments = share::allotments(drafts, &plans);
    let mut new = Vec::new();
    for ((draft, plan), allotments) in drafts.iter().zip(&plans).zip(&allotments) {
        let situation = draft.situation();
        let pace = plan.pace(&situation, allotments.as_ref());
        let (standard, batch) = draft.today();
        let explained = PlanDoc::new(plan, standard, batch);
        new.push(row(draft, &pace, explained));
        if let Some(next) = draft.next_situation().filter(|next| next.now <= situation.now + VALID) {
            let plan = plan::plan(&next);
            new.push(row(draft, &plan.pace(&next, None), PlanDoc::new(&plan, 0.0, 0.0)));
        }
    }
    new
}

fn row(draft: &Draft, pace: &crate::domain::pacing::pace::Pace, plan: PlanDoc) -> NewPace {
    let basis: &BasisDoc = &draft.basis;
    let mut id = draft.id.clone();
    id.start = pace.period_start;
    NewPace { id, tenant: draft.tenant.clone(), pace: PaceDoc::from(pace), plan, basis: basis.clone() }
}
