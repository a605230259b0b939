//! A transfer's emissions with their ranges, as both carbon exports need them.
//!
//! The journal keeps middles. Ranges are made again from the rows of the factor book that the transfer names
//! ([`crate::domain::carbon::recorded`]); what that needs beside the tokens is the same for many transfers, so it is kept
//! for a while. Invariant: the middle is what was posted, to the nanogram, whatever the book says today.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::domain::amounts::{BadAmount, Grams};
use crate::domain::carbon::recorded::Bounds;
use crate::domain::carbon::{CarbonGrams, CarbonInputs, FactorBook, Profile, RecordedCarbon, RecordedFactors};
use crate::domain::id::{FeatureId, ModelId, ProviderId, RegionId, TenantId};
use crate::domain::ledger::transfer::TransferKind;
use crate::domain::tariff::Flags;
use crate::domain::usage::Usage;

/// Kinds of calls that are remembered. Beyond it all are forgotten and made again: memory does not grow with the journal.
const REMEMBERED_MAX: usize = 4_096;
/// Seconds in the hour within which calls of one kind are taken to stand on the same rows of the book.
const HOUR_S: i64 = 3_600;

/// What a transfer does to the totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// A call.
    Activity,
    /// Takes back what an earlier transfer said: all its figures are below zero.
    Reversal,
    /// Says anew what a reversal took back.
    Restatement,
    /// Makes up for what a provider reports beyond the journal.
    TrueUp,
    /// Takes back what a provider does not report. All its figures are below zero.
    TrueDown,
}

impl Entry {
    /// The word in exports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Reversal => "reversal",
            Self::Restatement => "restatement",
            Self::TrueUp | Self::TrueDown => "true_up",
        }
    }

    /// What a transfer is, by its kind and by whether its amounts went back to their supplier.
    #[must_use]
    pub const fn of(kind: TransferKind, gives_back: bool) -> Self {
        match (kind, gives_back) {
            (TransferKind::TrueUp, false) => Self::TrueUp,
            (TransferKind::TrueUp, true) => Self::TrueDown,
            (TransferKind::Correction, false) => Self::Restatement,
            (TransferKind::Settlement | TransferKind::Usage, false) => Self::Activity,
            (TransferKind::Correction | TransferKind::Settlement | TransferKind::Usage, true) => Self::Reversal,
        }
    }

    /// Whether its figures count down.
    #[must_use]
    pub const fn counts_down(self) -> bool {
        match self {
            Self::Activity | Self::Restatement | Self::TrueUp => false,
            Self::Reversal | Self::TrueDown => true,
        }
    }

    /// The figure as this entry counts it.
    #[must_use]
    pub fn signed(self, amount: Decimal) -> Decimal {
        if self.counts_down() { Decimal::ZERO.checked_sub(amount).unwrap_or_default() } else { amount }
    }

    /// Calls, as this entry counts them on top of others.
    #[must_use]
    pub fn count(self, sum: i64, calls: u32) -> i64 {
        let calls = i64::from(calls);
        if self.counts_down() { sum.saturating_sub(calls) } else { sum.saturating_add(calls) }
    }
}

/// A transfer, as a carbon export needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// What it does to the totals.
    pub entry: Entry,
    /// Whose call it was.
    pub tenant: TenantId,
    /// What for.
    pub feature: FeatureId,
    /// Who served it.
    pub provider: ProviderId,
    /// With what.
    pub model: ModelId,
    /// Where, if known.
    pub region: Option<RegionId>,
    /// How many calls it adds up.
    pub requests: u32,
    /// Its tokens.
    pub usage: Usage,
    /// The tokens that its grams were computed from: its own, but for a correction of grams alone, which has none.
    pub basis: Usage,
    /// How long that took, if that was taken into account: not for sums of several calls, nor for estimates.
    pub latency: Option<Duration>,
    /// The rows it was posted with.
    pub factors: RecordedFactors,
    /// The grams that were posted.
    pub posted: CarbonGrams,
    /// What is remarkable about it.
    pub flags: Flags,
    /// When it happened: the instant whose factors hold for it.
    pub occurred_at: DateTime<Utc>,
    /// The instant it is counted at.
    pub at: DateTime<Utc>,
}

impl Emission {
    /// Whether it is an adjustment that names no row: whoever adjusts says what moves. Its range is then that of the rows
    /// that hold for its calls by their date.
    #[must_use]
    pub fn names_no_rows(&self) -> bool {
        self.entry != Entry::Activity && self.factors.is_empty()
    }
}

/// Figures with their bounds, signed, added bound by bound: errors of one model are the same in every call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ranged {
    /// The least.
    pub min: Decimal,
    /// The figure.
    pub mid: Decimal,
    /// The most.
    pub max: Decimal,
}

impl Ranged {
    /// Adds what an entry counts. A reversal takes back each bound, so that it and what it reverses are nothing.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a sum has more digits than can be kept.
    pub fn add(&mut self, entry: Entry, bounds: Bounds<Decimal>) -> Result<(), BadAmount> {
        let sum = |sum: Decimal, more: Decimal| sum.checked_add(entry.signed(more)).ok_or(BadAmount::TooLarge);
        *self =
            Self { min: sum(self.min, bounds.min)?, mid: sum(self.mid, bounds.mid)?, max: sum(self.max, bounds.max)? };
        Ok(())
    }

    /// Both, bound by bound.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a sum has more digits than can be kept.
    pub fn plus(&self, other: &Self) -> Result<Self, BadAmount> {
        let sum = |a: Decimal, b: Decimal| a.checked_add(b).ok_or(BadAmount::TooLarge);
        Ok(Self { min: sum(self.min, other.min)?, mid: sum(self.mid, other.mid)?, max: sum(self.max, other.max)? })
    }
}

/// Bounds of grams as plain numbers.
#[must_use]
pub fn decimals(bounds: Bounds<Grams>) -> Bounds<Decimal> {
    Bounds { min: bounds.min.decimal(), mid: bounds.mid.decimal(), max: bounds.max.decimal() }
}

/// What calls must have in common to stand on the same rows.
type Kind = (Result<RecordedFactors, Profile>, ProviderId, ModelId, Option<RegionId>, i64);

/// Makes ranges again.
#[derive(Debug)]
pub struct Recaller {
    book: Arc<FactorBook>,
    known: BTreeMap<Kind, Arc<CarbonInputs>>,
}

impl Recaller {
    /// By a book that has at least the rows that the transfers name.
    #[must_use]
    pub fn new(book: Arc<FactorBook>) -> Self {
        Self { book, known: BTreeMap::new() }
    }

    /// The ranges of what was posted, and the rows they were made from.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when a figure cannot be kept.
    pub fn recall(&mut self, emission: &Emission) -> Result<(RecordedCarbon, Arc<CarbonInputs>), BadAmount> {
        let Emission { factors, provider, model, region, occurred_at, .. } = emission;
        let named = Some(*factors).filter(|_| !emission.names_no_rows()).ok_or(factors.profile);
        let inputs = self.inputs(named, provider, model, region.as_ref(), *occurred_at);
        let carbon = inputs.recorded(&emission.basis, emission.latency, emission.posted)?;
        Ok((carbon, inputs))
    }

    /// The inputs of calls by the rows that they name; of those that name none by the rows that hold for them.
    pub fn inputs(
        &mut self,
        named: Result<RecordedFactors, Profile>,
        provider: &ProviderId,
        model: &ModelId,
        region: Option<&RegionId>,
        at: DateTime<Utc>,
    ) -> Arc<CarbonInputs> {
        let hour = at.timestamp().div_euclid(HOUR_S);
        let kind = (named, provider.clone(), model.clone(), region.cloned(), hour);
        if let Some(inputs) = self.known.get(&kind) {
            return Arc::clone(inputs);
        }
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        let inputs = match named {
            Ok(factors) => self.book.recall(factors, provider, model, region, at),
            Err(profile) => self.book.resolve(profile, provider, model, region, None, at),
        };
        let inputs = Arc::new(inputs);
        self.known.insert(kind, Arc::clone(&inputs));
        inputs
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rust_decimal::dec;

    use super::*;
    use crate::domain::fixtures::{at, call, rates, usage};

    /// A call as it would have been posted: the fixtures' books priced it.
    pub(crate) fn posted(text: &str, buckets: [u64; 6], when: &str) -> Emission {
        let (call, usage, at) = (call(text), usage(buckets), at(when));
        let book = &rates().factors;
        let inputs = book.resolve(Profile::Extended1, &call.provider, &call.model, call.region.as_ref(), None, at);
        Emission {
            entry: Entry::Activity,
            tenant: call.tenant,
            feature: call.feature,
            provider: call.provider,
            model: call.model,
            region: call.region,
            requests: 1,
            usage,
            basis: usage,
            latency: None,
            factors: inputs.factors(),
            posted: inputs.grams(&usage, None).unwrap(),
            flags: Flags::NONE,
            occurred_at: at,
            at,
        }
    }

    #[test]
    fn an_entry_is_what_its_kind_and_its_accounts_say() {
        for (kind, gives_back, word, sign) in [
            (TransferKind::Settlement, false, "activity", 1),
            (TransferKind::Usage, false, "activity", 1),
            (TransferKind::Correction, true, "reversal", -1),
            (TransferKind::Correction, false, "restatement", 1),
            (TransferKind::TrueUp, false, "true_up", 1),
            (TransferKind::TrueUp, true, "true_up", -1),
        ] {
            let entry = Entry::of(kind, gives_back);
            assert_eq!((entry.word(), entry.signed(Decimal::ONE), entry.count(5, 1)), (word, sign.into(), 5 + sign));
        }
    }

    #[test]
    fn what_is_taken_back_is_nothing_at_every_bound() {
        let bounds = Bounds { min: dec!(1), mid: dec!(2), max: dec!(4) };
        let mut sum = Ranged::default();
        sum.add(Entry::Activity, bounds).unwrap();
        sum.add(Entry::Reversal, bounds).unwrap();
        assert_eq!(sum, Ranged::default());
        sum.add(Entry::Restatement, bounds).unwrap();
        assert_eq!(sum.max, dec!(4));
    }

    #[test]
    fn memory_does_not_grow_with_the_kinds_of_calls() {
        let mut recaller = Recaller::new(Arc::clone(&rates().factors));
        let mut emission = posted("a/b openai/gpt-4o", [1, 0, 0, 0, 1, 0], "2026-01-01T00:00:00Z");
        for hour in 0..5_000 {
            emission.occurred_at = at("2026-01-01T00:00:00Z") + chrono::TimeDelta::hours(hour);
            recaller.recall(&emission).unwrap();
        }
        assert!(recaller.known.len() <= REMEMBERED_MAX);
    }
}
