//! Counters: the only mutable numbers of the ledger, and how a budget stands by them.

use chrono::{DateTime, Utc};

use super::catalogue::{BudgetNumber, Governing};
use super::scope::CounterKey;
use crate::domain::amounts::{BadAmount, Quantity};

/// Which counter: one budget, one key, one period. The order is the order in which rows are locked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterId {
    /// The budget.
    pub budget: BudgetNumber,
    /// The value it is counted apart by, or empty.
    pub key: CounterKey,
    /// The period's start.
    pub start: DateTime<Utc>,
}

/// What is used and what is promised, in a budget's measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    /// What the journal says.
    pub posted: Quantity,
    /// What the open reservations say.
    pub held: Quantity,
}

impl Counter {
    /// Both counters in one.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a sum cannot be kept.
    pub fn checked_add(self, other: Self) -> Result<Self, BadAmount> {
        Ok(Self { posted: self.posted.checked_add(other.posted)?, held: self.held.checked_add(other.held)? })
    }

    /// Posted and held together.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when the sum cannot be kept.
    pub fn taken(self) -> Result<Quantity, BadAmount> {
        self.posted.checked_add(self.held)
    }
}

/// How a budget stands for one call: the counters of its window, added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The budget, with the period and the key.
    pub governing: Governing,
    /// The counter of each period of the window, oldest first.
    pub slices: Vec<Counter>,
    /// Their sum.
    pub total: Counter,
}

impl Standing {
    /// Adds up the window.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a sum cannot be kept.
    pub fn new(governing: Governing, slices: Vec<Counter>) -> Result<Self, BadAmount> {
        let total = slices.iter().try_fold(Counter::default(), |sum, slice| sum.checked_add(*slice))?;
        Ok(Self { governing, slices, total })
    }

    /// `limit − posted − held`; below zero when overdrawn.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when it cannot be kept.
    pub fn headroom(&self) -> Result<Quantity, BadAmount> {
        self.governing.budget.limit.checked_sub(self.total.taken()?)
    }
}
