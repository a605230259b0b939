//! What came true: the instant at which a budget ran out, and what was used over each horizon, from the books.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::app::{App, AppError};
use crate::domain::budget::catalogue::{Budget, BudgetNumber, Catalogue};
use crate::domain::budget::scope::CounterKey;
use crate::domain::calendar::Period;
use crate::domain::forecast::{Claim, HourlySeries, Truth, score};
use crate::store::projections::{StoredProjection, StoredScore, first_refusal};
use crate::store::series::{SeriesAsked, series};

/// A counter of a hard budget stops short of its limit: a refusal says that it was reached, once so much of it is used.
const NEARLY: f64 = 0.95;

/// Scores projections whose period is over.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn score_of(
    app: &App,
    catalogue: &Catalogue,
    stored: &[StoredProjection],
    now: DateTime<Utc>,
) -> Result<Vec<StoredScore>, AppError> {
    let mut by_counter: BTreeMap<(BudgetNumber, &CounterKey, Period), Vec<&StoredProjection>> = BTreeMap::new();
    for one in stored {
        by_counter.entry((one.budget, &one.key, one.period)).or_default().push(one);
    }
    let mut scores = Vec::new();
    for ((number, key, period), projections) in by_counter {
        let budget = catalogue.budgets().find(|budget| budget.number == number);
        let used = match (budget, period.end) {
            (Some(budget), Some(end)) => Some((budget, end, used(app, budget, key, (period.start, end)).await?)),
            (None, _) | (_, None) => None,
        };
        for one in projections {
            let truth = match &used {
                // A budget that counts otherwise since is another one.
                Some((budget, end, used))
                    if one.made_at >= budget.counted_from && one.posted + one.held < one.limit =>
                {
                    Some((truth(app, budget, one, used, *end).await?, used))
                }
                Some(_) | None => None,
            };
            scores.push(scored(one, truth, now));
        }
    }
    Ok(scores)
}

/// What a counter used in its period, by the hour.
async fn used(
    app: &App,
    budget: &Budget,
    key: &CounterKey,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
) -> Result<HourlySeries, AppError> {
    let asked = SeriesAsked { key: budget.each.is_some().then_some(key), ..SeriesAsked::of_any(budget, start, end) };
    let found = series(&mut *app.pool.acquire().await?, &asked).await?;
    // Hours from the start of the period, which need not be on a whole hour of UTC: each stands at its middle.
    let at = |hour: &i32| start + TimeDelta::hours((*hour).into()) + TimeDelta::minutes(30);
    let uses = found.iter().flat_map(|cell| cell.hours.iter().map(at).zip(cell.values.iter().copied()));
    Ok(HourlySeries::from_uses(start, end, uses))
}

/// When the budget ran out under the limit that the projection was made for.
async fn truth(
    app: &App,
    budget: &Budget,
    one: &StoredProjection,
    used: &HourlySeries,
    end: DateTime<Utc>,
) -> Result<Truth, AppError> {
    let crossed = reached(used, one.limit);
    let nearly = reached(used, one.limit * NEARLY);
    let refused = match nearly {
        // Refusals are told by budget, not by key.
        Some(nearly) if budget.each.is_none() => {
            let mut connection = app.pool.acquire().await?;
            first_refusal(&mut connection, budget.id.as_str(), nearly.max(one.made_at), end).await?
        }
        Some(_) | None => None,
    };
    let exhausted_at = [crossed, refused].into_iter().flatten().min().map(|at| at.max(one.made_at));
    Ok(Truth { exhausted_at: exhausted_at.filter(|at| *at < end), reset: end })
}

/// When a series has added up to so much, even within its hour.
fn reached(used: &HourlySeries, limit: f64) -> Option<DateTime<Utc>> {
    const HOUR_MS: f64 = 3_600_000.0;
    let mut sum = 0.0;
    let mut start = used.start();
    for value in used.values() {
        if sum + value >= limit && *value > 0.0 {
            let share = ((limit - sum) / value).clamp(0.0, 1.0);
            let within = TimeDelta::try_milliseconds(milliseconds(share * HOUR_MS)).unwrap_or_default();
            return Some(start + within);
        }
        sum += value;
        start += TimeDelta::hours(1);
    }
    None
}

/// The whole part of a few milliseconds: at most an hour of them.
fn milliseconds(value: f64) -> i64 {
    format!("{value:.0}").parse().unwrap_or(0)
}

fn scored(one: &StoredProjection, truth: Option<(Truth, &HourlySeries)>, now: DateTime<Utc>) -> StoredScore {
    let unknown = StoredScore {
        id: one.id,
        scored_at: now,
        exhausted_at: None,
        error_hours: None,
        covered: None,
        brier: None,
        horizon_actual: vec![None; one.horizons.len()],
    };
    let Some((truth, used)) = truth else { return unknown };
    let claim = Claim { p10: one.p10, p50: one.p50, p90: one.p90, p_exhaust: one.p_exhaust };
    let score = score(&claim, &truth);
    // What nobody could use once the budget was gone says nothing about what they would have used.
    let known_until = truth.exhausted_at.unwrap_or(truth.reset);
    let actual = |(hours, _): &(i32, f64)| {
        let end = one.made_at + TimeDelta::hours((*hours).into());
        (end <= known_until).then(|| used.used_between(one.made_at, end))
    };
    StoredScore {
        exhausted_at: truth.exhausted_at,
        error_hours: score.error_hours,
        covered: Some(score.covered),
        brier: Some(score.brier),
        horizon_actual: one.horizons.iter().map(actual).collect(),
        ..unknown
    }
}
