//! The past of large budgets, kept in memory: what a thousand tenants used twelve weeks ago does not change, and takes
//! seconds to read.
//!
//! Only what is older than two days is kept, and only for six hours: the rest is read each time. Usage that is posted late
//! for days before that is missed by projections until then; the counter, which says what is left, never misses it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use crate::app::{App, AppError};
use crate::domain::budget::catalogue::{Budget, BudgetNumber};
use crate::domain::budget::scope::CounterKey;
use crate::domain::id::{FeatureId, TenantId};
use crate::store::series::SeriesFound;

/// Fewer values than this are read anew each time: it takes some ten milliseconds.
const VALUES_MIN: usize = 50_000;
/// What is younger than this is read each time, in hours.
const RECENT_HOURS: i64 = 48;
/// How long the rest is kept, in hours.
const KEPT_HOURS: i64 = 6;
/// Most budgets that are kept.
const BUDGETS_MAX: usize = 8;

/// The past of one budget.
#[derive(Debug, Clone)]
struct Kept {
    version: i32,
    loaded_at: DateTime<Utc>,
    /// From which hours count.
    from: DateTime<Utc>,
    /// The first hour that is not kept.
    until: DateTime<Utc>,
    cells: Arc<Vec<SeriesFound>>,
}

/// What is kept. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<BudgetNumber, Kept>>>);

impl Memory {
    fn of(&self, budget: &Budget, from: DateTime<Utc>, now: DateTime<Utc>) -> Option<Kept> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(&budget.number)?;
        let age = now.signed_duration_since(kept.loaded_at);
        let fresh = age >= TimeDelta::zero() && age < TimeDelta::hours(KEPT_HOURS);
        (fresh && kept.version == budget.version && kept.from <= from).then(|| kept.clone())
    }

    fn keep(&self, budget: &Budget, kept: Kept) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(budget.number, kept);
        if all.len() > BUDGETS_MAX {
            let oldest = all.iter().min_by_key(|(_, kept)| kept.loaded_at).map(|(number, _)| *number);
            oldest.map(|number| all.remove(&number));
        }
    }
}

impl App {
    /// What all counters of a budget used by the hour since `from`, a whole hour; none if the roll-up cannot tell.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn whole_series(
        &self,
        budget: &Budget,
        from: DateTime<Utc>,
        now: DateTime<Utc>,
        confined: Option<&TenantId>,
    ) -> Result<Option<Vec<SeriesFound>>, AppError> {
        // What a confined credential sees is read under its own role.
        let memory = confined.is_none().then(|| self.projections.memory());
        if let Some(kept) = memory.as_ref().and_then(|memory| memory.of(budget, from, now)) {
            let recent = self.budget_series(budget, None, None, (kept.until, now), None).await?;
            return Ok(recent.map(|recent| joined(&kept, recent, from)));
        }
        let found = self.budget_series(budget, None, None, (from, now), confined).await?;
        let until = now - TimeDelta::hours(RECENT_HOURS);
        let until = until.duration_trunc(TimeDelta::hours(1)).unwrap_or(until);
        if let (Some(memory), Some(found)) = (memory, &found)
            && found.iter().map(|cell| cell.hours.len()).sum::<usize>() >= VALUES_MIN
        {
            let end = hours_between(from, until);
            let cells = found.iter().map(|cell| part(cell, 0..end, 0)).collect();
            let kept = Kept { version: budget.version, loaded_at: now, from, until, cells: Arc::new(cells) };
            memory.keep(budget, kept);
        }
        Ok(found)
    }
}

fn hours_between(from: DateTime<Utc>, to: DateTime<Utc>) -> i32 {
    i32::try_from(to.signed_duration_since(from).num_hours()).unwrap_or(i32::MAX)
}

/// The hours of a cell in a range, counted from another instant: `shift` hours less.
fn part(cell: &SeriesFound, range: std::ops::Range<i32>, shift: i32) -> SeriesFound {
    let both = cell.hours.iter().zip(&cell.values).filter(|(hour, _)| range.contains(hour));
    let (hours, values) = both.map(|(hour, value)| (hour.saturating_sub(shift), *value)).unzip();
    SeriesFound { hours, values, ..named(cell) }
}

/// The names of a cell without its values.
fn named(cell: &SeriesFound) -> SeriesFound {
    SeriesFound {
        key: cell.key.clone(),
        tenant: cell.tenant.clone(),
        feature: cell.feature.clone(),
        hours: Vec::new(),
        values: Vec::new(),
    }
}

/// What is kept and what is recent, hours counted from `from`.
fn joined(kept: &Kept, recent: Vec<SeriesFound>, from: DateTime<Utc>) -> Vec<SeriesFound> {
    let earlier = hours_between(kept.from, from);
    let later = hours_between(from, kept.until);
    let mut all: BTreeMap<(CounterKey, TenantId, FeatureId), SeriesFound> = BTreeMap::new();
    for cell in kept.cells.iter() {
        let id = (cell.key.clone(), cell.tenant.clone(), cell.feature.clone());
        all.insert(id, part(cell, earlier..i32::MAX, earlier));
    }
    for cell in recent {
        let id = (cell.key.clone(), cell.tenant.clone(), cell.feature.clone());
        let known = all.entry(id).or_insert_with(|| named(&cell));
        known.hours.extend(cell.hours.iter().map(|hour| hour.saturating_add(later)));
        known.values.extend(cell.values);
    }
    all.into_values().filter(|cell| !cell.hours.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(tenant: &str, hours: &[i32]) -> SeriesFound {
        SeriesFound {
            key: CounterKey::whole(),
            tenant: TenantId::parse(tenant).unwrap(),
            feature: FeatureId::parse("chat").unwrap(),
            hours: hours.to_vec(),
            values: hours.iter().map(|hour| f64::from(*hour) + 0.5).collect(),
        }
    }

    #[test]
    fn what_is_kept_and_what_is_recent_are_one_series() {
        let from: DateTime<Utc> = "2026-06-01T00:00:00Z".parse().unwrap();
        let until = from + TimeDelta::hours(100);
        let cells = Arc::new(vec![cell("a", &[0, 7, 99]), cell("gone", &[1])]);
        let kept = Kept { version: 1, loaded_at: until, from, until, cells };
        let recent = vec![cell("a", &[0, 3]), cell("new", &[5])];
        let found = joined(&kept, recent, from + TimeDelta::hours(5));
        let told: Vec<(&str, Vec<i32>)> = found.iter().map(|cell| (cell.tenant.as_str(), cell.hours.clone())).collect();
        assert_eq!(told, [("a", vec![2, 94, 95, 98]), ("new", vec![100])]);
        assert_eq!(found.first().unwrap().values, [7.5, 99.5, 0.5, 3.5]);
    }
}
