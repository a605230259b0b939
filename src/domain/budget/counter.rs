//! Counters: the only mutable numbers of the ledger, and how a budget stands by them.

use chrono::{DateTime, Utc};

use super::catalogue::{BudgetNumber, Governing};
use super::promise::{Promise, noise};
use super::scope::CounterKey;
use crate::domain::amounts::{BadAmount, Quantity};
use crate::domain::calendar::Period;
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
    /// What is kept aside for open calls that use more than is held for them, summed up call by call.
    pub margin: Quantity,
    /// How much more those calls may use within their estimates.
    pub at_risk: Quantity,
}

impl Counter {
    /// Both counters in one. What cannot be kept is the largest quantity: a sum that is only looked at never fails.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self {
            posted: self.posted.saturating_add(other.posted),
            held: self.held.saturating_add(other.held),
            margin: self.margin.saturating_add(other.margin),
            at_risk: self.at_risk.saturating_add(other.at_risk),
        }
    }

    /// Both counters in one.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a sum cannot be kept.
    pub fn checked_add(self, other: Self) -> Result<Self, BadAmount> {
        Ok(Self {
            posted: self.posted.checked_add(other.posted)?,
            held: self.held.checked_add(other.held)?,
            margin: self.margin.checked_add(other.margin)?,
            at_risk: self.at_risk.checked_add(other.at_risk)?,
        })
    }

    /// What is kept aside of a limit for open calls that use more than is held for them ([`super::promise`]). Never more
    /// than all of them may use; nothing where every hold is a whole estimate.
    #[must_use]
    pub fn kept_aside(self, limit: Quantity) -> Quantity {
        if self.at_risk == Quantity::ZERO {
            return Quantity::ZERO;
        }
        self.margin.saturating_add(noise(limit)).min(self.at_risk)
    }

    /// This counter without a credit: one that was posted below zero counts as zero. Money that is given back for a call of
    /// another period is no capacity in this one, and of a provider's quota it does not exist at all.
    #[must_use]
    pub fn without_credit(self) -> Self {
        Self { posted: self.posted.max(Quantity::ZERO), ..self }
    }

    /// All that no other call may have of a limit: posted, held and kept aside. A credit makes it no smaller.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when the sum cannot be kept.
    pub fn claimed(self, limit: Quantity) -> Result<Quantity, BadAmount> {
        self.without_credit().posted.checked_add(self.held)?.checked_add(self.kept_aside(limit))
    }

    /// Posted and held together, or the largest quantity. A credit makes it no smaller.
    #[must_use]
    pub fn taken(self) -> Quantity {
        self.without_credit().posted.saturating_add(self.held)
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
    pub fn hold(self, promise: Promise) -> Result<Self, BadAmount> {
        Ok(Self {
            held: self.held.checked_add(promise.held)?,
            margin: self.margin.checked_add(promise.margin)?,
            at_risk: self.at_risk.checked_add(promise.at_risk)?,
            ..self
        })
    }

    /// This counter with one reservation less.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when it cannot be kept, which what was held before can be.
    pub fn give_back(self, promise: Promise) -> Result<Self, BadAmount> {
        Ok(Self {
            held: self.held.checked_sub(promise.held)?,
            margin: self.margin.checked_sub(promise.margin)?,
            at_risk: self.at_risk.checked_sub(promise.at_risk)?,
            ..self
        })
    }
}

/// How a budget stands for one call: the counters of its window, added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The budget, with the period and the key.
    pub governing: Governing,
    /// The counters of the window, oldest first. A slice that has none counted nothing.
    pub slices: Vec<(Period, Counter)>,
    /// Their sum.
    pub total: Counter,
    /// The pace that governs the call, if the budget has one that is in date.
    pub pace: Option<Paced>,
    /// When the counter was opened, where the budget bounds the time of what it counts.
    pub opened_at: Option<DateTime<Utc>>,
}

impl Standing {
    /// Adds up the window; of a sliding one, a credit in one slice makes no room for what stands in the others. No pace, and
    /// no time when it was opened.
    #[must_use]
    pub fn new(governing: Governing, slices: Vec<(Period, Counter)>) -> Self {
        let slides = governing.budget.period.slides().is_some();
        let counted = |slice: &Counter| if slides { slice.without_credit() } else { *slice };
        let total = slices.iter().fold(Counter::default(), |sum, (_, slice)| sum.saturating_add(counted(slice)));
        Self { governing, slices, total, pace: None, opened_at: None }
    }

    /// Whether so much more stays within a ceiling: `posted + held + asked ≤ ceiling`, and with what is kept aside. A sum that
    /// cannot be kept does not.
    #[must_use]
    pub fn has_room(&self, asked: Promise, ceiling: Quantity) -> bool {
        fits(self.total, asked, self.governing.budget.limit, ceiling)
    }

    /// Whether there would be room if nothing were held for others.
    #[must_use]
    pub fn has_room_without_holds(&self, asked: Promise, ceiling: Quantity) -> bool {
        let posted = Counter { posted: self.total.posted, ..Counter::default() };
        fits(posted, asked, self.governing.budget.limit, ceiling)
    }

    /// Whether there would be room if nothing were used or held at all.
    #[must_use]
    pub fn could_ever_have_room(&self, asked: Promise, ceiling: Quantity) -> bool {
        fits(Counter::default(), asked, self.governing.budget.limit, ceiling)
    }

    /// How much of a ceiling is left.
    #[must_use]
    pub fn left_of(&self, ceiling: Quantity) -> Quantity {
        let aside = self.total.kept_aside(self.governing.budget.limit);
        ceiling.saturating_sub(self.total.taken()).saturating_sub(aside)
    }

    /// `limit − posted − held`, less what is kept aside; below zero when overdrawn.
    #[must_use]
    pub fn headroom(&self) -> Quantity {
        self.left_of(self.governing.budget.limit)
    }
}

fn fits(counter: Counter, asked: Promise, limit: Quantity, ceiling: Quantity) -> bool {
    let with = counter.hold(asked).and_then(|with| with.claimed(limit));
    with.is_ok_and(|wanted| wanted <= ceiling)
}
