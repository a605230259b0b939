//! How much of the dollars an approval moves, and whether that is so much that it must be named.
//!
//! An approval cannot be undone. What a provider's report and the books differ by is small in the usual month; a report of the
//! wrong organisation, provider or month differs by nearly all; one in another currency or unit says more for the same tokens.
//! Only dollars that are taken away where the tokens agree are no such difference, however many they are: the report is evidently
//! of these calls, the price book was dearer than the bill, and nobody is charged by the approval.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use rust_decimal::{Decimal, dec};

use super::compare::{Cause, Line, TooLarge};
use super::propose::TrueUp;
use crate::domain::id::{ModelId, TenantId};
use crate::domain::ledger::transfer::Direction;

/// The share of the dollars in the books beyond which the amount must be named.
pub const SHARE_MAX: Decimal = dec!(0.2);
/// Half a cent: amounts are named to the cent.
const HALF_CENT: Decimal = dec!(0.005);

/// What true-ups move, against what the books have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Dollars that are added or taken away, by day, model and tenant, all of them counted as positive.
    pub usd: Decimal,
    /// Those of them that are taken away because the price book was dearer than the bill: the tokens of their day and model agree.
    pub cheaper_usd: Decimal,
    /// Dollars that the books have for the days and models of the report.
    pub books_usd: Decimal,
}

impl Moved {
    /// Of a comparison.
    ///
    /// # Errors
    /// When a sum is beyond what can be counted.
    pub fn of(lines: &[Line], true_ups: &[TrueUp]) -> Result<Self, TooLarge> {
        let mut net: BTreeMap<(NaiveDate, &ModelId, &TenantId), Decimal> = BTreeMap::new();
        for true_up in true_ups {
            let key = (true_up.occurred_at.date_naive(), &true_up.call.model, &true_up.call.tenant);
            let usd = true_up.consumption.amounts.usd.decimal();
            let sum = net.entry(key).or_default();
            *sum = match true_up.direction {
                Direction::Forward => sum.checked_add(usd),
                Direction::Reverse => sum.checked_sub(usd),
            }
            .ok_or(TooLarge)?;
        }
        let is_repriced = |line: &&Line| line.causes == [Cause::PriceDifference];
        let repriced: BTreeSet<_> = lines.iter().filter(is_repriced).map(|line| (line.day, &line.model)).collect();
        let others: BTreeSet<_> =
            lines.iter().filter(|line| !is_repriced(line)).map(|line| (line.day, &line.model)).collect();
        let add = |sum: Decimal, usd: Decimal| sum.checked_add(usd).ok_or(TooLarge);
        let cheaper = net.iter().filter(|((day, model, _), usd)| {
            let line = (*day, *model);
            usd.is_sign_negative() && repriced.contains(&line) && !others.contains(&line)
        });
        Ok(Self {
            cheaper_usd: cheaper.map(|(_, usd)| *usd).try_fold(Decimal::ZERO, |sum, usd| add(sum, usd.abs()))?,
            usd: net.into_values().try_fold(Decimal::ZERO, |sum, usd| add(sum, usd.abs()))?.normalize(),
            books_usd: lines.iter().try_fold(Decimal::ZERO, |sum, line| add(sum, line.ours.usd))?.normalize(),
        })
    }

    /// Whether what is moved, apart from what the price book was too dear by, is more than [`SHARE_MAX`] of the books.
    #[must_use]
    pub fn must_be_named(&self) -> bool {
        self.usd.saturating_sub(self.cheaper_usd) > self.books_usd.abs().saturating_mul(SHARE_MAX)
    }

    /// Whether an amount is this one, to the cent.
    #[must_use]
    pub fn is_named_by(&self, usd: Decimal) -> bool {
        usd.saturating_sub(self.usd).abs() <= HALF_CENT
    }
}
