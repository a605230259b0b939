//! What this replica knows of projections without asking: the latest of each counter, and how wrong they were.
//!
//! Pre-flight answers say when a budget is expected to run out from here, and never from the database. The worker fills it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::{DateTime, TimeDelta, Utc};

use super::memory::Memory;
use crate::domain::forecast::{ErrorBook, ErrorClass, PastError, log_error};
use crate::domain::id::BudgetId;
use crate::store::projections::{Learnt, StoredProjection};
use crate::wire::answer::BudgetStateBody;
use crate::wire::projection::answer::ExhaustsAtBody;

/// The latest projection of one counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latest {
    /// The period it is about.
    pub period_start: DateTime<Utc>,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// What it said.
    pub exhausts_at: ExhaustsAtBody,
    /// The probability it gave.
    pub p_exhaust: f64,
    /// The limit it was made for.
    pub limit: f64,
    /// What was posted and held.
    pub used: f64,
}

/// By budget and key, in the words of the answers that it is looked up for.
type ByCounter = BTreeMap<String, BTreeMap<String, Latest>>;

#[derive(Debug, Default)]
struct Known {
    latest: Arc<ByCounter>,
    book: Arc<ErrorBook>,
    learnt_at: Option<DateTime<Utc>>,
    memory: Memory,
}

/// What is known here. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Projections(Arc<RwLock<Known>>);

impl Projections {
    /// How wrong projections were: the built-in errors, until some of one's own are known.
    #[must_use]
    pub fn book(&self) -> Arc<ErrorBook> {
        Arc::clone(&self.read().book)
    }

    /// The past of large budgets.
    pub(super) fn memory(&self) -> Memory {
        self.read().memory.clone()
    }

    /// The latest projection of a counter.
    #[must_use]
    pub fn latest(&self, budget: &BudgetId, key: &str) -> Option<Latest> {
        self.read().latest.get(budget.as_str()).and_then(|keys| keys.get(key)).copied()
    }

    /// Replaces what is known of the counters, and says of how many.
    pub(super) fn replace<'a>(&self, all: impl Iterator<Item = (&'a str, &'a str, Latest)>) -> usize {
        let mut latest = ByCounter::new();
        let mut known = 0;
        for (budget, key, one) in all {
            latest.entry(budget.to_owned()).or_default().insert(key.to_owned(), one);
            known += 1;
        }
        self.write().latest = Arc::new(latest);
        known
    }

    /// Whether scores are to be learnt from again: never yet, or longer ago than that.
    pub(super) fn learns_at(&self, now: DateTime<Utc>, after: TimeDelta) -> bool {
        self.read().learnt_at.is_none_or(|at| now.signed_duration_since(at) >= after)
    }

    /// Replaces what was learnt.
    pub(super) fn learn(&self, learnt: &[Learnt], now: DateTime<Utc>) {
        let book = Arc::new(book(learnt));
        let mut known = self.write();
        known.book = book;
        known.learnt_at = Some(now);
    }

    /// Says in each state of a budget when it is expected to run out, where that is known for its open period.
    pub fn tell(&self, states: &mut [BudgetStateBody]) {
        let latest = Arc::clone(&self.read().latest);
        for state in states {
            let found = latest.get(state.budget.as_str()).and_then(|keys| keys.get(state.key.as_str()));
            let of_period = found.filter(|latest| latest.period_start == state.period_start);
            state.exhausts_at = of_period.map(|latest| latest.exhausts_at);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The latest projection of a stored one.
#[must_use]
pub fn latest_of(stored: &StoredProjection) -> Latest {
    Latest {
        period_start: stored.period.start,
        made_at: stored.made_at,
        exhausts_at: ExhaustsAtBody { p10: stored.p10, p50: stored.p50, p90: stored.p90 },
        p_exhaust: stored.p_exhaust,
        limit: stored.limit,
        used: stored.posted + stored.held,
    }
}

/// The errors of the projections whose truth is known, mixed into the built-in ones, and each class's scale as its misses
/// and hits have moved it.
fn book(learnt: &[Learnt]) -> ErrorBook {
    let errors: Vec<PastError> = learnt.iter().flat_map(past_errors).collect();
    let mut book = ErrorBook::learned(&errors);
    for one in learnt {
        if let Some(class) = ErrorClass::from_name(&one.class) {
            book.observe(class, one.covered);
        }
    }
    book
}

fn past_errors(one: &Learnt) -> Vec<PastError> {
    let Some(class) = ErrorClass::from_name(&one.class) else { return Vec::new() };
    let of = number_of(one);
    let error = |(hours, expected, actual): &(i32, f64, Option<f64>)| {
        let hours = u32::try_from(*hours).ok()?;
        Some(PastError { class, of, made_at: one.made_at, hours, error: log_error((*actual)?, *expected) })
    };
    one.horizons.iter().filter_map(error).collect()
}

/// A number that tells one counter from another: FNV-1a of budget and key (Fowler, Noll, Vo).
fn number_of(one: &Learnt) -> u64 {
    let bytes = one.budget.0.to_le_bytes().into_iter().chain(one.key.as_str().bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
