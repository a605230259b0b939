//! Calls into charges: what has its charge period, subject, rows of the books and flags in common is added up.
//!
//! Calls come in the order of time, so one charge period is added up at a time. Should it have more charges than are to be
//! held, those that come first in the order of charges are kept, the others are passed over, and whoever asks has the same
//! calls come once more for the rest ([`Period::go_on`]).
//!
//! Invariants: memory is bounded by [`CHARGES_MAX`]; charges have the same order whatever the order of calls; every call is in
//! exactly one charge. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::FLAGS;
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::tariff::Flags;
use crate::export::ExportError;
use crate::store::StoreError;
use crate::store::export::calls::{Basis, CallRow, CorrectedRow, Subject};

/// Most charges of one period that are held at once: some 15 MB.
pub const CHARGES_MAX: usize = 16_384;

/// Transfers of one charge period, subject and basis, added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeRow {
    /// Which charge period: its place in the list, from zero.
    pub slot: usize,
    /// Whose and what.
    pub subject: Subject,
    /// What people call the tenant; none where the catalogue has lost it, or it was not looked up yet.
    pub tenant_name: Option<String>,
    /// Why, and by which rows. Of the flags only [`FLAGS`].
    pub basis: Basis,
    /// How many transfers.
    pub transfers: u64,
    /// How many calls.
    pub requests: u64,
    /// Tokens, in the order of [`crate::domain::usage::Bucket::ALL`]. Wide enough for any number of calls: a sum may be more
    /// than one amount can be.
    pub buckets: [u128; 6],
    /// Dollars.
    pub usd: Decimal,
    /// Grams: location-based, market-based, embodied.
    pub grams: [Decimal; 3],
    /// The charge that they correct, if they correct one.
    pub of: Option<CorrectedCharge>,
    /// The one transfer that all of them correct, if it is one.
    pub corrects: Option<Uuid>,
    /// Of corrections, true-ups and calls of a closed period, the first instant of the local month that they are about.
    pub corrected_month: Option<DateTime<Utc>>,
}

/// A charge that others correct. Its subject is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorrectedCharge {
    /// Which charge period, from zero; none if it is outside of those of the file, or itself corrects another charge.
    pub slot: Option<usize>,
    /// Why its transfers were made, and by which rows.
    pub basis: Basis,
    /// Tokens of the transfers that are corrected, in the order of [`crate::domain::usage::Bucket::ALL`].
    pub buckets: [u128; 6],
}

/// The charge periods of a file: their first instants, ascending, and the first instant after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    /// The first instants.
    pub starts: Vec<DateTime<Utc>>,
    /// The first instant after the last.
    pub end: DateTime<Utc>,
    /// The zone whose months are billing periods.
    pub zone: Zone,
}

impl Slots {
    /// The period that holds an instant, if one does.
    #[must_use]
    pub fn holding(&self, at: DateTime<Utc>) -> Option<usize> {
        let begun = self.starts.partition_point(|start| *start <= at);
        begun.checked_sub(1).filter(|_| at < self.end)
    }

    /// The first instant of the month that a correction, a true-up, or a call of a closed period is about; none for others.
    fn corrected_month(&self, basis: Basis, at: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, ExportError> {
        if !basis.kind.is_about_another_period(basis.flags.contains(Flags::PERIOD_CLOSED)) {
            return Ok(None);
        }
        let month = PeriodSpec::MONTH.holding(self.zone, at);
        Ok(Some(month.map_err(|_| StoreError::Row("occurred_at".to_owned()))?.start))
    }

    /// The first instant of a period, and the first after it.
    #[must_use]
    pub fn span(&self, slot: usize) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let start = self.starts.get(slot).copied()?;
        Some((start, self.starts.get(slot.saturating_add(1)).copied().unwrap_or(self.end)))
    }
}

/// What tells the charges of a period apart, in their order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    subject: Subject,
    basis: Basis,
    of: Option<(Option<usize>, Basis)>,
    corrected_month: Option<DateTime<Utc>>,
}

/// What is added up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sum {
    transfers: u64,
    requests: u64,
    buckets: [u128; 6],
    usd: Decimal,
    grams: [Decimal; 3],
    of_buckets: [u128; 6],
    corrects: Option<Uuid>,
}

/// The charges of one period.
#[derive(Debug)]
pub struct Period {
    slot: usize,
    most: usize,
    /// The last charge of the last pass: those up to it are made.
    after: Option<Key>,
    /// The first charge that was passed over in this pass.
    before: Option<Key>,
    sums: BTreeMap<Key, Sum>,
}

const fn remarkable(basis: Basis) -> Basis {
    Basis { flags: basis.flags.common(FLAGS), ..basis }
}

impl Period {
    /// The period of this place, of which so many charges are held at once.
    #[must_use]
    pub const fn new(slot: usize, most: usize) -> Self {
        Self { slot, most, after: None, before: None, sums: BTreeMap::new() }
    }

    /// Which one it is.
    #[must_use]
    pub const fn slot(&self) -> usize {
        self.slot
    }

    /// Adds a call of this period.
    ///
    /// # Errors
    /// When a sum has more digits than can be kept.
    pub fn add(&mut self, call: CallRow, slots: &Slots) -> Result<(), ExportError> {
        let CallRow { subject, basis, requests, buckets, usd, grams, corrects, of, occurred_at, .. } = call;
        let corrected = |of: CorrectedRow| (of.at.and_then(|at| slots.holding(at)), remarkable(of.basis));
        let corrected_month = slots.corrected_month(basis, occurred_at)?;
        let key = Key { subject, basis: remarkable(basis), of: of.map(corrected), corrected_month };
        let is_made = self.after.as_ref().is_some_and(|after| key <= *after);
        if is_made || self.before.as_ref().is_some_and(|before| key >= *before) {
            return Ok(());
        }
        let buckets = buckets.map(u128::from);
        let of_buckets = of.map_or([0; 6], |of| of.buckets.map(u128::from));
        let one = Sum { transfers: 1, requests, buckets, usd, grams, of_buckets, corrects };
        match self.sums.get_mut(&key) {
            Some(sum) => {
                let too_large =
                    || ExportError::TooLarge { what: "the sum of a charge after", value: sum.usd.to_string() };
                *sum = sum.checked_add(&one).ok_or_else(too_large)?;
            }
            None => {
                self.sums.insert(key, one);
                if self.sums.len() > self.most {
                    self.before = self.sums.pop_last().map(|(key, _)| key);
                }
            }
        }
        Ok(())
    }

    /// The charges of this pass, in order. With the period once more if some were passed over: its calls have to come again.
    #[must_use]
    pub fn go_on(mut self) -> (Vec<ChargeRow>, Option<Self>) {
        let next = self.before.is_some().then(|| {
            let after = self.sums.last_key_value().map(|(key, _)| key.clone());
            Self { after, ..Self::new(self.slot, self.most) }
        });
        let sums = std::mem::take(&mut self.sums).into_iter();
        (sums.map(|(key, sum)| sum.into_row(self.slot, key)).collect(), next)
    }
}

fn add_tokens(one: [u128; 6], other: [u128; 6]) -> Option<[u128; 6]> {
    let mut sums = [0; 6];
    for ((sum, one), other) in sums.iter_mut().zip(one).zip(other) {
        *sum = one.checked_add(other)?;
    }
    Some(sums)
}

impl Sum {
    fn checked_add(&self, other: &Self) -> Option<Self> {
        let [location, market, embodied] = self.grams;
        let [more_location, more_market, more_embodied] = other.grams;
        Some(Self {
            transfers: self.transfers.checked_add(other.transfers)?,
            requests: self.requests.checked_add(other.requests)?,
            buckets: add_tokens(self.buckets, other.buckets)?,
            usd: self.usd.checked_add(other.usd)?,
            grams: [
                location.checked_add(more_location)?,
                market.checked_add(more_market)?,
                embodied.checked_add(more_embodied)?,
            ],
            of_buckets: add_tokens(self.of_buckets, other.of_buckets)?,
            corrects: self.corrects.filter(|corrects| other.corrects == Some(*corrects)),
        })
    }

    fn into_row(self, slot: usize, key: Key) -> ChargeRow {
        let of_buckets = self.of_buckets;
        let corrected = |(slot, basis)| CorrectedCharge { slot, basis, buckets: of_buckets };
        ChargeRow {
            slot,
            subject: key.subject,
            tenant_name: None,
            basis: key.basis,
            transfers: self.transfers,
            requests: self.requests,
            buckets: self.buckets,
            usd: self.usd,
            grams: self.grams,
            of: key.of.map(corrected),
            corrects: self.corrects,
            corrected_month: key.corrected_month,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::carbon::Profile;
    use crate::domain::ledger::transfer::TransferKind;
    use crate::domain::price::PriceId;

    const HOUR: TimeDelta = TimeDelta::hours(1);

    fn start() -> DateTime<Utc> {
        "2026-03-01T00:00:00Z".parse().unwrap()
    }

    fn slots() -> Slots {
        Slots { starts: vec![start(), start() + HOUR, start() + HOUR * 3], end: start() + HOUR * 4, zone: Zone::UTC }
    }

    fn basis(kind: TransferKind, price: i64, flags: Flags) -> Basis {
        Basis {
            kind,
            returned: kind == TransferKind::Correction,
            price: Some(PriceId(price)),
            price_tier_from: 0,
            carbon_profile: Profile::Extended1,
            model_factor: None,
            grid_factor: None,
            market_factor: None,
            flags,
        }
    }

    fn call(feature: u8, price: i64, tokens: u64) -> CallRow {
        CallRow {
            at: start(),
            subject: Subject {
                tenant: "tokyo".to_owned(),
                feature: format!("feature{feature}"),
                provider: "openai".to_owned(),
                model: "gpt-4o".to_owned(),
                region: None,
                labels: None,
            },
            basis: basis(TransferKind::Usage, price, Flags::default()),
            requests: 1,
            buckets: [tokens, 0, 0, 0, tokens, 0],
            usd: Decimal::new(i64::try_from(tokens).unwrap(), 12),
            grams: [Decimal::new(1, 9), Decimal::new(2, 9), Decimal::new(3, 9)],
            corrects: None,
            occurred_at: start(),
            of: None,
        }
    }

    /// All passes, one after the other, as [`super::super::pages`] makes them.
    fn charges(calls: &[CallRow], most: usize) -> Vec<ChargeRow> {
        let mut all = Vec::new();
        let mut next = Some(Period::new(0, most));
        while let Some(mut period) = next {
            for call in calls {
                period.add(call.clone(), &slots()).unwrap();
            }
            assert!(period.sums.len() <= most);
            let (charges, rest) = period.go_on();
            all.extend(charges);
            next = rest;
        }
        all
    }

    #[test]
    fn an_instant_is_in_the_period_that_has_begun_and_not_ended() {
        let at = |hours: i64| start() + HOUR * i32::try_from(hours).unwrap();
        let tick = TimeDelta::microseconds(1);
        assert_eq!(slots().holding(start() - tick), None);
        assert_eq!([0, 1, 2, 3].map(|hours| slots().holding(at(hours))), [Some(0), Some(1), Some(1), Some(2)]);
        assert_eq!(slots().holding(at(4) - tick), Some(2));
        assert_eq!(slots().holding(at(4)), None);
        assert_eq!(slots().span(1), Some((at(1), at(3))));
        assert_eq!(slots().span(2), Some((at(3), at(4))));
        assert_eq!(slots().span(3), None);
    }

    #[test]
    fn corrections_of_two_months_are_two_charges_and_calls_have_none() {
        let month = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        let of = |kind, occurred_at: &str| CallRow {
            basis: basis(kind, 1, Flags::default()),
            occurred_at: occurred_at.parse().unwrap(),
            ..call(1, 1, 5)
        };
        for kind in [TransferKind::Correction, TransferKind::TrueUp] {
            let rows =
                [of(kind, "2026-01-31T23:59:59Z"), of(kind, "2026-02-01T00:00:00Z"), of(kind, "2026-02-28T00:00:00Z")];
            let months: Vec<_> = charges(&rows, 9).iter().map(|row| (row.corrected_month, row.transfers)).collect();
            assert_eq!(months, [(month("2026-01-01T00:00:00Z"), 1), (month("2026-02-01T00:00:00Z"), 2)], "{kind:?}");
        }
        for kind in [TransferKind::Settlement, TransferKind::Usage] {
            let rows = [of(kind, "2026-01-31T23:59:59Z"), of(kind, "2026-02-01T00:00:00Z")];
            let months: Vec<_> = charges(&rows, 9).iter().map(|row| (row.corrected_month, row.transfers)).collect();
            assert_eq!(months, [(None, 2)], "{kind:?}");
            let late = rows.map(|row| CallRow { basis: Basis { flags: Flags::PERIOD_CLOSED, ..row.basis }, ..row });
            assert_eq!(charges(&late, 9).len(), 2, "{kind:?} of a closed period");
        }
    }

    #[test]
    fn only_remarkable_flags_tell_charges_apart() {
        let plain = call(1, 1, 5);
        let flagged = |flags| CallRow { basis: Basis { flags, ..plain.basis }, ..plain.clone() };
        let unremarkable = (0..32).map(|bit| Flags::from_bits(1 << bit)).find(|flag| !FLAGS.intersects(*flag)).unwrap();
        assert_eq!(charges(&[plain.clone(), flagged(unremarkable)], 9).len(), 1);
        let two = charges(&[plain.clone(), flagged(Flags::UNCONFIRMED.with(unremarkable))], 9);
        assert_eq!(
            two.iter().map(|charge| charge.basis.flags).collect::<Vec<_>>(),
            [Flags::default(), Flags::UNCONFIRMED]
        );
    }

    #[test]
    fn what_is_corrected_is_named_where_it_is_one_transfer_and_its_period_where_the_file_has_it() {
        let of = |at: Option<DateTime<Utc>>| {
            Some(CorrectedRow { at, basis: basis(TransferKind::Usage, 1, Flags::default()), buckets: [7; 6] })
        };
        let correction = |corrects: u128, at| CallRow {
            basis: basis(TransferKind::Correction, 1, Flags::default()),
            corrects: Some(Uuid::from_u128(corrects)),
            of: of(at),
            ..call(1, 1, 5)
        };
        let inside = Some(start() + HOUR);
        let one = charges(&[correction(1, inside), correction(1, inside)], 9);
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].corrects, Some(Uuid::from_u128(1)));
        assert_eq!(one[0].of.unwrap().slot, Some(1));
        assert_eq!(one[0].of.unwrap().buckets, [14; 6], "of both");
        let two = charges(&[correction(1, inside), correction(2, inside)], 9);
        assert_eq!(two.iter().map(|charge| charge.corrects).collect::<Vec<_>>(), [None], "two transfers are not one");
        let apart = charges(&[correction(1, inside), correction(1, Some(start() - HOUR)), correction(1, None)], 9);
        let slots: Vec<_> = apart.iter().map(|charge| (charge.of.unwrap().slot, charge.transfers)).collect();
        assert_eq!(slots, [(None, 2), (Some(1), 1)]);
    }

    #[test]
    fn a_sum_of_more_digits_than_can_be_kept_is_an_error() {
        let huge = CallRow { usd: Decimal::MAX, ..call(1, 1, 5) };
        let mut period = Period::new(0, 9);
        period.add(huge.clone(), &slots()).unwrap();
        assert!(matches!(period.add(huge, &slots()), Err(ExportError::TooLarge { .. })));
    }

    #[test]
    fn tokens_of_a_charge_may_be_more_than_one_amount_can_be() {
        let many = CallRow { buckets: [u64::MAX; 6], ..call(2, 1, 5) };
        let twice = u128::from(u64::MAX) * 2;
        assert_eq!(charges(&[many.clone(), many], 9)[0].buckets, [twice; 6]);
    }

    proptest! {
        #[test]
        fn charges_are_the_same_however_few_are_held_and_whatever_the_order_of_calls(
            drawn in prop::collection::vec((0_u8..6, 1_i64..4, 0_u64..1_000), 0..60),
            most in 1_usize..20,
        ) {
            let calls: Vec<CallRow> =
                drawn.iter().map(|&(feature, price, tokens)| call(feature, price, tokens)).collect();
            let made = charges(&calls, most);
            let backwards: Vec<CallRow> = calls.iter().rev().cloned().collect();
            prop_assert_eq!(&made, &charges(&backwards, usize::MAX));
            // Against sums that are made another way.
            for charge in &made {
                let same = |one: &&CallRow| one.subject == charge.subject && one.basis == charge.basis;
                let of_it: Vec<&CallRow> = calls.iter().filter(same).collect();
                prop_assert_eq!(charge.transfers, u64::try_from(of_it.len()).unwrap());
                prop_assert_eq!(charge.usd, of_it.iter().map(|one| one.usd).sum::<Decimal>());
                prop_assert_eq!(charge.buckets[4], of_it.iter().map(|one| u128::from(one.buckets[4])).sum::<u128>());
                prop_assert_eq!(charge.grams[2], of_it.iter().map(|one| one.grams[2]).sum::<Decimal>());
            }
            prop_assert_eq!(made.iter().map(|charge| charge.transfers).sum::<u64>(), u64::try_from(calls.len()).unwrap());
        }
    }
}
