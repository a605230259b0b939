//! Counters: the only mutable numbers of the ledger, and how a budget stands by them.

use chrono::{DateTime, Utc};

use super::catalogue::{BudgetNumber, Governing};
use super::scope::CounterKey;
use crate::domain::amounts::{BadAmount, Quantity};
use crate::domain::pacing::pace::Paced;

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
    /// Both counters in one. What cannot be kept is the largest quantity: a sum that is only looked at never fails.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self { posted: self.posted.saturating_add(other.posted), held: self.held.saturating_add(other.held) }
    }

    /// Posted and held together, or the largest quantity.
    #[must_use]
    pub fn taken(self) -> Quantity {
        self.posted.saturating_add(self.held)
    }

    /// This counter with one call more that was made. It is never refused: a counter that cannot keep the sum stays at the
    /// largest quantity, in whatever order calls are added.
    #[must_use]
    pub fn post(self, quantity: Quantity) -> Self {
        Self { posted: self.posted.saturating_add(quantity), ..self }
    }

    /// This counter with one call less: what was posted is taken back. Below zero where the call was counted in another
    /// period.
    #[must_use]
    pub fn take_back(self, quantity: Quantity) -> Self {
        Self { posted: self.posted.saturating_sub(quantity), ..self }
    }

    /// This counter with one reservation more.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when it cannot be kept: unlike what was spent, a promise can be refused.
    pub fn hold(self, quantity: Quantity) -> Result<Self, BadAmount> {
        Ok(Self { held: self.held.checked_add(quantity)?, ..self })
    }

    /// This counter with one reservation less.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when it cannot be kept, which what was held before can be.
    pub fn give_back(self, quantity: Quantity) -> Result<Self, BadAmount> {
        Ok(Self { held: self.held.checked_sub(quantity)?, ..self })
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
    /// The pace that governs the call, if the budget has one that is in date.
    pub pace: Option<Paced>,
    /// When the counter was opened, where the budget bounds the time of what it counts.
    pub opened_at: Option<DateTime<Utc>>,
}

impl Standing {
    /// Adds up the window. No pace, and no time when it was opened.
    #[must_use]
    pub fn new(governing: Governing, slices: Vec<Counter>) -> Self {
        let total = slices.iter().fold(Counter::default(), |sum, slice| sum.saturating_add(*slice));
        Self { governing, slices, total, pace: None, opened_at: None }
    }

    /// Whether so much more stays within a ceiling: `posted + held + asked ≤ ceiling`. A sum that cannot be kept does not.
    #[must_use]
    pub fn has_room(&self, asked: Quantity, ceiling: Quantity) -> bool {
        let taken = self.total.posted.checked_add(self.total.held);
        taken.and_then(|taken| taken.checked_add(asked)).is_ok_and(|wanted| wanted <= ceiling)
    }

    /// `limit − posted − held`; below zero when overdrawn.
    #[must_use]
    pub fn headroom(&self) -> Quantity {
        self.governing.budget.limit.saturating_sub(self.total.taken())
    }
}
