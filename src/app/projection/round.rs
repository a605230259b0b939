//! The worker's round: make the projections that are due, keep them, score those whose truth is known, and know the latest.
//!
//! | # | beat | who |
//! |---|---|---|
//! | 1 | look: the open counters, and the latest projection of each | every replica |
//! | 2 | make and keep those that are due | one replica at a time |
//! | 3 | score those whose period is over | the same |
//! | 4 | remember the latest, and learn from the scores | every replica |
//!
//! Cheap where nothing changed: two look-ups. Nothing that is decided depends on it running, or running on time.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::asked::{Asked, project_beside};
use super::cache::latest_of;
use super::score::score_of;
use super::shown::trust;
use super::subject::{Subject, has_an_end, real};
use crate::app::{App, AppError};
use crate::domain::budget::catalogue::{Budget, BudgetNumber, Catalogue};
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::scope::Each;
use crate::domain::forecast::errors::HORIZONS;
use crate::domain::forecast::{HORIZON_HOURS_MAX, Projection};
use crate::store::projections::{self as sql, StoredProjection};

/// Most counters of one budget that are projected without being asked: the fullest.
const COUNTERS_MAX: i64 = 1_000;
/// How old the projection of a counter that moves may grow, in minutes.
const AGE_MOVING: i64 = 60;
/// The same within a day of its end.
const AGE_NEAR: i64 = 10;
/// The same of a counter that stands still, in minutes: a day.
const AGE_STILL: i64 = 1_440;
/// How near an end is near, in hours.
const NEAR_HOURS: i64 = 24;
/// How often scores are learnt from, in minutes.
const LEARN_MINUTES: i64 = 30;

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Projections that were made and kept.
    pub made: usize,
    /// Projections whose truth was looked at.
    pub scored: usize,
    /// Counters whose latest projection is known now.
    pub known: usize,
}

impl App {
    /// One round.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn project_round(&self) -> Result<Round, AppError> {
        self.catch_up().await?;
        let now = self.clock.now();
        let subjects = self.open_subjects(now).await?;
        let ids: Vec<CounterId> = subjects.iter().map(id_of).collect();
        let mut connection = self.pool.acquire().await?;
        let mut latest = by_counter(sql::latest(&mut connection, &ids).await?);
        let announced = sql::announced_last(&mut connection).await?;
        let mut round = Round::default();
        if let Some(mut alone) = sql::begin_alone(&mut connection).await? {
            let is_due = |subject: &&Subject| is_due(subject, latest.get(&id_of(subject)), announced, now);
            let due: Vec<Subject> = subjects.iter().filter(is_due).cloned().collect();
            let made = self.make(due, now).await?;
            sql::keep(&mut alone, &made).await?;
            round.made = made.len();
            latest.extend(by_counter(made));
            round.scored = self.score_round(&mut alone, now).await?;
            alone.commit().await?;
        }
        if round.scored > 0 || self.projections.learns_at(now, TimeDelta::minutes(LEARN_MINUTES)) {
            self.projections.learn(&sql::learnt(&mut connection).await?, now);
        }
        let names: BTreeMap<BudgetNumber, &Subject> =
            subjects.iter().map(|subject| (subject.budget.number, subject)).collect();
        let named = latest.values().filter_map(|stored| {
            let budget = &names.get(&stored.budget)?.budget.id;
            Some((budget.as_str(), stored.key.as_str(), latest_of(stored)))
        });
        round.known = self.projections.replace(named);
        Ok(round)
    }

    /// Every counter that is projected without being asked.
    async fn open_subjects(&self, now: DateTime<Utc>) -> Result<Vec<Subject>, AppError> {
        let catalogue = self.snapshots.latest().catalogue;
        let budgets: Vec<&Arc<Budget>> = catalogue.budgets().filter(|budget| is_foreseen(budget)).collect();
        let numbers: Vec<BudgetNumber> = budgets.iter().map(|budget| budget.number).collect();
        let mut connection = self.pool.acquire().await?;
        let mut open = sql::open_counters(&mut connection, &numbers, now, COUNTERS_MAX).await?;
        let mut subjects = Vec::new();
        for budget in budgets {
            let found = open.remove(&budget.number).unwrap_or_default();
            let of_now = found.iter().filter_map(|counter| Subject::found(budget, &catalogue, counter));
            let before = subjects.len();
            subjects.extend(of_now);
            if subjects.len() == before && budget.each.is_none() {
                subjects.extend(untouched(budget, &catalogue, now));
            }
        }
        Ok(subjects)
    }

    /// Makes projections, budget by budget: one read of the roll-up for each.
    async fn make(&self, due: Vec<Subject>, now: DateTime<Utc>) -> Result<Vec<StoredProjection>, AppError> {
        let mut by_budget: BTreeMap<BudgetNumber, Vec<Subject>> = BTreeMap::new();
        for subject in due {
            by_budget.entry(subject.budget.number).or_default().push(subject);
        }
        let mut made = Vec::new();
        for subjects in by_budget.into_values() {
            let asked = self.ask(subjects, None, now).await?;
            let projected = project_beside(asked).await?;
            made.extend(projected.iter().map(|(asked, projection)| to_store(asked, projection)));
        }
        Ok(made)
    }

    async fn score_round(&self, connection: &mut sqlx::PgConnection, now: DateTime<Utc>) -> Result<usize, AppError> {
        let unscored = sql::unscored(connection, now).await?;
        let catalogue = self.snapshots.latest().catalogue;
        let scores = score_of(self, &catalogue, &unscored, now).await?;
        sql::keep_scores(connection, &scores).await?;
        Ok(scores.len())
    }
}

/// Whether a budget's counters are projected without being asked: runs, agents and labels come and go in numbers.
fn is_foreseen(budget: &Budget) -> bool {
    has_an_end(budget) && !matches!(budget.each, Some(Each::Run | Each::Agent | Each::Label(_)))
}

fn untouched(budget: &Arc<Budget>, catalogue: &Catalogue, now: DateTime<Utc>) -> Option<Subject> {
    Subject::untouched(budget, catalogue, now)
}

fn id_of(subject: &Subject) -> CounterId {
    CounterId { budget: subject.budget.number, key: subject.key.clone(), start: subject.period.start }
}

fn by_counter(stored: Vec<StoredProjection>) -> BTreeMap<CounterId, StoredProjection> {
    let id = |one: &StoredProjection| CounterId { budget: one.budget, key: one.key.clone(), start: one.period.start };
    stored.into_iter().map(|one| (id(&one), one)).collect()
}

/// Whether a projection is due: there is none, its limit or what is announced changed, or it is too old for how its counter
/// moves.
fn is_due(
    subject: &Subject,
    latest: Option<&StoredProjection>,
    announced: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> bool {
    let Some(latest) = latest else { return true };
    let differs = |one: f64, other: f64| one.total_cmp(&other).is_ne();
    if differs(latest.limit, real(subject.limit)) || latest.made_at < subject.budget.counted_from {
        return true;
    }
    if announced.is_some_and(|at| at > latest.made_at) {
        return true;
    }
    let moves = differs(latest.posted, real(subject.posted)) || differs(latest.held, real(subject.held));
    let is_near = latest.p50.is_some_and(|p50| p50 < now + TimeDelta::hours(NEAR_HOURS));
    let age_max = match (moves, is_near) {
        (true, true) => AGE_NEAR,
        (true, false) => AGE_MOVING,
        (false, _) => AGE_STILL,
    };
    now.signed_duration_since(latest.made_at) >= TimeDelta::minutes(age_max)
}

fn to_store(asked: &Asked, projection: &Projection) -> StoredProjection {
    let subject = &asked.subject;
    let (confidence, caveats) = trust(asked, projection);
    let at_reset = projection.expected_at_reset;
    StoredProjection {
        id: Uuid::now_v7(),
        budget: subject.budget.number,
        key: subject.key.clone(),
        tenant: subject.tenant.clone(),
        class: projection.class.name().to_owned(),
        made_at: asked.now,
        watermark: asked.now,
        catalogue_version: asked.catalogue_version,
        period: subject.period,
        limit: real(subject.limit),
        posted: real(subject.posted),
        held: real(subject.held),
        p10: projection.p10,
        p50: projection.p50,
        p90: projection.p90,
        p_exhaust: projection.p_exhaust,
        expected_at_end: [at_reset.low, at_reset.expected, at_reset.high],
        confidence: confidence.name().to_owned(),
        reasons: caveats.into_iter().map(|caveat| caveat.code).collect(),
        method: projection.method.to_owned(),
        method_version: i32::try_from(projection.version).unwrap_or(i32::MAX),
        history_days: i32::try_from(projection.history_days).unwrap_or(i32::MAX),
        horizons: horizons(asked, projection),
    }
}

/// What is expected over each horizon that ends before the period does.
fn horizons(asked: &Asked, projection: &Projection) -> Vec<(i32, f64)> {
    let end_of_path = asked.subject.period.end.unwrap_or(asked.now + TimeDelta::hours(HORIZON_HOURS_MAX.into()));
    let ends = projection.path.iter().skip(1).map(|hour| hour.start).chain([end_of_path]);
    let spans: Vec<(DateTime<Utc>, DateTime<Utc>, f64)> =
        projection.path.iter().zip(ends).map(|(hour, end)| (hour.start, end, hour.expected)).collect();
    let expected = |until: DateTime<Utc>| -> f64 {
        let part = |(start, end, expected): &(DateTime<Utc>, DateTime<Utc>, f64)| {
            let seconds = |from: DateTime<Utc>, to: DateTime<Utc>| {
                f64::from(i32::try_from(to.signed_duration_since(from).num_seconds().max(0)).unwrap_or(i32::MAX))
            };
            let (whole, part) = (seconds(*start, *end), seconds(*start, until.min(*end)));
            if whole > 0.0 { expected * part / whole } else { 0.0 }
        };
        spans.iter().map(part).sum()
    };
    let horizon = |hours: u32| {
        let until = asked.now + TimeDelta::hours(hours.into());
        Some((i32::try_from(hours).ok()?, expected(until))).filter(|_| until <= end_of_path)
    };
    HORIZONS.into_iter().filter_map(horizon).collect()
}
