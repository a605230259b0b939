//! Restatement: what a recorded row would say by the factor book as it is now, and the two rows that make the journal say it.
//!
//! The journal keeps what was said. When factors are replaced, rows are said anew: a reversal takes back the grams as they are
//! stated, by the rows they were stated by, and a posting states them by the rows of now. Tokens, dollars and calls of both
//! are zero: only grams move. Both name the row that they correct, and count where it counts, unless that is closed.
//!
//! | the row | its grams by the book of now |
//! |---|---|
//! | a call | computed afresh from its tokens, as if it were priced today for the instant at which it occurred |
//! | a true-up that names its factor rows | the same where those rows give its grams again; else its grams in the proportion in which those of its tokens change: it was cut to what a report says |
//! | a true-up that names none | as they are: nobody knows what they stand on |
//!
//! Invariants: a row whose grams are what they would be is left alone, so that a second restatement finds nothing, and one
//! that was cut short goes on by being asked again: nothing but the journal says how far it came. Rows that name other
//! factors of the same value are left alone as well: no figure changes.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::command::{Action, Adjust, Adjustment, Restate};
use super::transfer::{CallOutcome, Direction, Transfer, TransferKind};
use crate::domain::amounts::{Amounts, BadAmount, Grams};
use crate::domain::budget::measure::Consumption;
use crate::domain::carbon::{CarbonGrams, FactorBook, RecordedFactors};
use crate::domain::id::TransferId;
use crate::domain::tariff::{Flags, RateBooks};
use crate::domain::usage::Usage;

/// What is said of the emissions of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// The grams.
    pub grams: CarbonGrams,
    /// The rows of the factor book they stand on.
    pub factors: RecordedFactors,
    /// What these had to assume.
    pub assumed: Flags,
}

/// A row of the journal, and what is said of it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// The row as it was posted.
    pub row: Transfer,
    /// What its latest restatement says; what it says itself if there was none.
    pub now: Statement,
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restatement {
    /// It says what it would say.
    Same,
    /// It has grams and names no factors: it stays as it is.
    Unnamed,
    /// It would say this.
    Differs(Statement),
}

impl Statement {
    /// What a row says itself.
    #[must_use]
    pub fn of(row: &Transfer) -> Self {
        let amounts = &row.priced.consumption.amounts;
        let grams = CarbonGrams {
            usage_location: amounts.gco2e_usage_location,
            usage_market: amounts.gco2e_usage_market,
            embodied: amounts.gco2e_embodied,
        };
        let assumed = row.priced.flags.common(Flags::FACTOR_FALLBACKS);
        Self { grams, factors: row.priced.provenance.factors(), assumed }
    }

    fn is_zero(&self) -> bool {
        decimals(&self.grams).iter().all(Decimal::is_zero)
    }
}

/// Location-based, market-based, embodied.
fn decimals(grams: &CarbonGrams) -> [Decimal; 3] {
    [grams.usage_location, grams.usage_market, grams.embodied].map(Grams::decimal)
}

/// What a row would say by the books as they are now.
///
/// # Errors
/// When a figure is beyond what the ledger keeps.
pub fn restate(stated: &Stated, rates: &RateBooks) -> Result<Restatement, BadAmount> {
    let Stated { row, now } = stated;
    let (call, usage) = (&row.call, &row.priced.consumption.usage);
    let first = Statement::of(row);
    let (is_call, is_idle) = match row.kind {
        TransferKind::Settlement | TransferKind::Usage => (true, row.report.outcome == CallOutcome::Failed),
        TransferKind::Correction | TransferKind::TrueUp => (false, true),
    };
    // What was not served emitted nothing, though a call without tokens may: the hardware waited for its first one.
    if *usage == Usage::default() && is_idle && first.is_zero() {
        return Ok(Restatement::Same);
    }
    if !is_call && first.factors.is_empty() {
        return Ok(if first.is_zero() { Restatement::Same } else { Restatement::Unnamed });
    }
    let (region, at) = (call.region.as_ref(), row.occurred_at);
    let inputs = rates.factors.resolve(rates.profile, call.said_provider(), call.priced_model(), region, None, at);
    let fresh = inputs.grams(usage, row.timed())?;
    let grams = if is_call {
        fresh
    } else {
        let book: &FactorBook = &rates.factors;
        let then = book
            .recall(first.factors, call.said_provider(), call.priced_model(), region, at)
            .grams(usage, row.timed())?;
        CarbonGrams {
            usage_location: carry(first.grams.usage_location, then.usage_location, fresh.usage_location)?,
            usage_market: carry(first.grams.usage_market, then.usage_market, fresh.usage_market)?,
            embodied: carry(first.grams.embodied, then.embodied, fresh.embodied)?,
        }
    };
    if grams == now.grams {
        return Ok(Restatement::Same);
    }
    let assumed = Flags::assumed(&inputs.resolved.fallbacks);
    Ok(Restatement::Differs(Statement { grams, factors: inputs.factors(), assumed }))
}

/// Grams that were posted where `then` was computed, now that `fresh` is.
fn carry(posted: Grams, then: Grams, fresh: Grams) -> Result<Grams, BadAmount> {
    if posted == then {
        return Ok(fresh);
    }
    if then == fresh {
        return Ok(posted);
    }
    // What nothing was expected of has no proportions.
    let Some(ratio) = fresh.decimal().checked_div(then.decimal()) else { return Ok(posted) };
    Grams::round_half_even(posted.decimal().checked_mul(ratio).ok_or(BadAmount::TooLarge)?)
}

impl Stated {
    /// The row with the grams and the factors that it is stated with now.
    #[must_use]
    pub fn as_stated(self) -> Transfer {
        let Self { mut row, now } = self;
        let amounts = &mut row.priced.consumption.amounts;
        amounts.gco2e_usage_location = now.grams.usage_location;
        amounts.gco2e_usage_market = now.grams.usage_market;
        amounts.gco2e_embodied = now.grams.embodied;
        let provenance = &mut row.priced.provenance;
        provenance.profile = now.factors.profile;
        provenance.model_factor = now.factors.model;
        provenance.grid_factor = now.factors.grid;
        provenance.market_factor = now.factors.market;
        row.priced.flags = row.priced.flags.without(Flags::FACTOR_FALLBACKS).with(now.assumed);
        row
    }

    /// The command that makes the journal say `to`. The ids are those of the reversal and of the posting.
    #[must_use]
    pub fn command(&self, to: &Statement, (reversal, posting): (TransferId, TransferId)) -> Action {
        let back = match self.row.direction {
            Direction::Forward => Direction::Reverse,
            Direction::Reverse => Direction::Forward,
        };
        let reversal = self.adjust(&self.now, back, reversal);
        let posting = self.adjust(to, self.row.direction, posting);
        if self.now.is_zero() {
            return Action::Adjust(Box::new(posting));
        }
        if to.is_zero() {
            return Action::Adjust(Box::new(reversal));
        }
        Action::Restate(Box::new(Restate { reversal, posting }))
    }

    fn adjust(&self, statement: &Statement, direction: Direction, transfer: TransferId) -> Adjust {
        let row = &self.row;
        let amounts = Amounts {
            gco2e_usage_location: statement.grams.usage_location,
            gco2e_usage_market: statement.grams.usage_market,
            gco2e_embodied: statement.grams.embodied,
            ..Amounts::default()
        };
        Adjust {
            transfer,
            kind: Adjustment::Correction { corrects: row.id },
            direction,
            call: row.call.clone(),
            priority: row.priority,
            consumption: Consumption { requests: 0, usage: Usage::default(), amounts },
            factors: Some(statement.factors),
            assumed: statement.assumed,
            occurred_at: row.occurred_at,
            counts_at: row.period_at,
        }
    }
}

/// The sets of the factor rows that a statement stands on; none where a figure declared in the code stood in.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sets {
    /// Of the model's parameters.
    pub model: Option<String>,
    /// Of the grid.
    pub grid: Option<String>,
    /// Of contracts; none without one.
    pub market: Option<String>,
}

impl Sets {
    fn of(factors: &RecordedFactors, book: &FactorBook) -> Self {
        let set = |id| book.set_of(id).map(str::to_owned);
        let RecordedFactors { model, grid, market, .. } = *factors;
        Self { model: model.and_then(set), grid: grid.and_then(set), market: market.and_then(set) }
    }
}

/// What rows said and would say, added up. Signed: what a true-up takes back counts down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// How many rows.
    pub rows: u64,
    /// Grams as they are stated: location-based, market-based, embodied.
    pub before: [Decimal; 3],
    /// Grams as they would be.
    pub after: [Decimal; 3],
}

impl Change {
    fn join(&mut self, other: &Self) -> Result<(), BadAmount> {
        self.rows = self.rows.saturating_add(other.rows);
        for (sums, more) in [(&mut self.before, other.before), (&mut self.after, other.after)] {
            for (sum, grams) in sums.iter_mut().zip(more) {
                *sum = sum.checked_add(grams).ok_or(BadAmount::TooLarge)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, sign: Decimal, from: &Statement, to: &Statement) -> Result<(), BadAmount> {
        self.rows = self.rows.saturating_add(1);
        for (sums, statement) in [(&mut self.before, from), (&mut self.after, to)] {
            for (sum, grams) in sums.iter_mut().zip(decimals(&statement.grams)) {
                let signed = grams.checked_mul(sign).ok_or(BadAmount::TooLarge)?;
                *sum = sum.checked_add(signed).ok_or(BadAmount::TooLarge)?;
            }
        }
        Ok(())
    }

    /// After less before.
    #[must_use]
    pub fn difference(&self) -> [Decimal; 3] {
        let [location, market, embodied] = self.after;
        let [of_location, of_market, of_embodied] = self.before;
        let less = |a: Decimal, b: Decimal| a.checked_sub(b).unwrap_or_default();
        [less(location, of_location), less(market, of_market), less(embodied, of_embodied)]
    }
}

/// What a restatement of many rows comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows that were looked at.
    pub examined: u64,
    /// Rows with grams that name no factors, and stay as they are.
    pub unnamed: u64,
    /// Of the rows that differ, those of closed periods: they are corrected in the open one.
    pub closed: u64,
    /// Rows that differ, together.
    pub total: Change,
    /// The same by the sets that they stand on and would stand on.
    pub sets: BTreeMap<(Sets, Sets), Change>,
}

impl Summary {
    /// Adds another part of the same period.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a sum has more digits than can be kept.
    pub fn join(&mut self, part: &Self) -> Result<(), BadAmount> {
        self.examined = self.examined.saturating_add(part.examined);
        self.unnamed = self.unnamed.saturating_add(part.unnamed);
        self.closed = self.closed.saturating_add(part.closed);
        self.total.join(&part.total)?;
        part.sets.iter().try_for_each(|(sets, change)| self.sets.entry(sets.clone()).or_default().join(change))
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a sum has more digits than can be kept.
    pub fn add(
        &mut self,
        stated: &Stated,
        restatement: &Restatement,
        is_closed: bool,
        book: &FactorBook,
    ) -> Result<(), BadAmount> {
        self.examined = self.examined.saturating_add(1);
        match restatement {
            Restatement::Same => {}
            Restatement::Unnamed => self.unnamed = self.unnamed.saturating_add(1),
            Restatement::Differs(to) => {
                let sign = Decimal::from(stated.row.direction.sign());
                let sets = (Sets::of(&stated.now.factors, book), Sets::of(&to.factors, book));
                self.total.add(sign, &stated.now, to)?;
                self.sets.entry(sets).or_default().add(sign, &stated.now, to)?;
                self.closed = self.closed.saturating_add(u64::from(is_closed));
            }
        }
        Ok(())
    }
}
