//! How often calls used which share of their estimate: counts in fixed buckets.
//!
//! Buckets grow by an eighth of an octave (9 %), from a thousandth of the estimate to four times it, and their ends are whole
//! numbers made without floating point: every replica has the same. A share is told as the upper end of its bucket, so it is
//! at most 9 % too much and never too little.

use crate::domain::amounts::Tokens;

/// How many buckets. The last one is for everything above four times the estimate.
pub const BUCKETS: usize = 98;
/// Buckets of one octave: from a share to twice the share.
const PER_OCTAVE: usize = 8;
/// 2^(k/8) for k = 0 to 7, times 10^9.
const STEPS: [u128; PER_OCTAVE] = [
    1_000_000_000,
    1_090_507_733,
    1_189_207_115,
    1_296_839_555,
    1_414_213_562,
    1_542_210_825,
    1_681_792_831,
    1_834_008_086,
];
/// The first bucket ends at 2^-10 of the estimate.
const SMALLEST: u128 = 1 << 10;

/// A share of an estimate in millionths, rounded up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u64);

impl Ratio {
    /// All of the estimate, and no more.
    pub const ONE: Self = Self(1_000_000);

    /// `actual / estimate`. None of an estimate of nothing.
    #[must_use]
    pub fn of(actual: Tokens, estimate: Tokens) -> Option<Self> {
        let millionths = u128::from(actual.count()).checked_mul(1_000_000)?;
        let whole = u128::from(estimate.count());
        if whole == 0 {
            return None;
        }
        Some(Self(u64::try_from(millionths.div_ceil(whole)).unwrap_or(u64::MAX)))
    }

    /// Takes millionths.
    #[must_use]
    pub const fn from_millionths(millionths: u64) -> Self {
        Self(millionths)
    }

    /// The millionths.
    #[must_use]
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// So large a share of a count, rounded up.
    #[must_use]
    pub fn share_of(self, whole: Tokens) -> Tokens {
        let product = u128::from(self.0).saturating_mul(u128::from(whole.count()));
        let count = u64::try_from(product.div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Tokens::new(count).unwrap_or(whole)
    }

    /// The bucket that counts it.
    #[must_use]
    pub fn bucket(self) -> usize {
        // Twelve octaves: a search by halves would not be shorter to read.
        (0..BUCKETS).find(|bucket| end_of(*bucket).is_none_or(|end| self <= end)).unwrap_or(BUCKETS)
    }
}

/// The upper end of a bucket; none of the last one, which has no end.
#[must_use]
pub fn end_of(bucket: usize) -> Option<Ratio> {
    if bucket.checked_add(1)? >= BUCKETS {
        return None;
    }
    let octave = u32::try_from(bucket.checked_div(PER_OCTAVE)?).ok()?;
    let step = STEPS.get(bucket.checked_rem(PER_OCTAVE)?)?;
    let end = step.checked_shl(octave)?.div_ceil(SMALLEST.checked_mul(1_000)?);
    u64::try_from(end).ok().map(Ratio)
}

/// Counts by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram([u64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Histogram {
    /// Counts one call.
    pub fn count(&mut self, ratio: Ratio) {
        self.add(ratio.bucket(), 1);
    }

    /// Adds so many calls to a bucket. One that does not exist counts nothing.
    pub fn add(&mut self, bucket: usize, calls: u64) {
        if let Some(count) = self.0.get_mut(bucket) {
            *count = count.saturating_add(calls);
        }
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, calls) in other.0.iter().enumerate() {
            self.add(bucket, *calls);
        }
    }

    /// How many calls were counted.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.iter().fold(0, |sum, calls| sum.saturating_add(*calls))
    }

    /// The buckets that counted anything, with their calls.
    pub fn counted(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().copied().enumerate().filter(|(_, calls)| *calls > 0)
    }

    /// The share that so many of a thousand calls stayed within: the upper end of the bucket that holds the call of that
    /// rank. None when no call was counted, or when that call is in the bucket without an end.
    #[must_use]
    pub fn quantile(&self, of_thousand: u32) -> Option<Ratio> {
        let calls = u128::from(self.calls());
        let rank = calls.checked_mul(u128::from(of_thousand))?.div_ceil(1_000).max(1);
        self.of_rank(u64::try_from(rank).ok()?)
    }

    /// The share that the next call stays within so many times of a thousand, if it is like those that were counted: one rank
    /// higher than [`Self::quantile`], because the next call may fall anywhere between those seen. None as there, and when
    /// so few calls cannot tell.
    ///
    /// Source: the order statistic `⌈q (n + 1)⌉` bounds the next of n + 1 exchangeable draws with probability at least q
    /// (split conformal prediction, Vovk et al. 2005).
    #[must_use]
    pub fn next_stays_within(&self, of_thousand: u32) -> Option<Ratio> {
        let next = u128::from(self.calls()).checked_add(1)?;
        let rank = next.checked_mul(u128::from(of_thousand))?.div_ceil(1_000);
        self.of_rank(u64::try_from(rank).ok()?)
    }

    /// The upper end of the bucket that holds the call of a rank, from 1 for the smallest.
    fn of_rank(&self, rank: u64) -> Option<Ratio> {
        let mut below = 0_u64;
        for (bucket, calls) in self.counted() {
            below = below.saturating_add(calls);
            if below >= rank {
                return end_of(bucket);
            }
        }
        None
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::fixtures::tokens;

    fn histogram(shares: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for share in shares {
            histogram.count(Ratio(*share));
        }
        histogram
    }

    #[test]
    fn buckets_end_at_whole_millionths_and_all_of_the_estimate_is_an_end() {
        assert_eq!(end_of(0), Some(Ratio(977)));
        assert_eq!(end_of(72), Some(Ratio(500_000)));
        assert_eq!(end_of(80), Some(Ratio::ONE));
        assert_eq!(end_of(96), Some(Ratio(4_000_000)));
        assert_eq!(end_of(97), None);
        assert_eq!(end_of(BUCKETS), None);
        assert_eq!(Ratio(0).bucket(), 0);
        assert_eq!(Ratio::ONE.bucket(), 80);
        assert_eq!(Ratio(1_000_001).bucket(), 81, "a token too much is not within the estimate");
        assert_eq!(Ratio(u64::MAX).bucket(), 97);
    }

    #[test]
    fn a_share_is_never_less_than_what_was_used() {
        assert_eq!(Ratio::of(tokens(1), tokens(3)), Some(Ratio(333_334)));
        assert_eq!(Ratio::of(tokens(0), tokens(3)), Some(Ratio(0)));
        assert_eq!(Ratio::of(tokens(1), tokens(0)), None);
        assert_eq!(Ratio(333_334).share_of(tokens(3)), tokens(2));
        assert_eq!(Ratio::ONE.share_of(tokens(3)), tokens(3));
        assert_eq!(Ratio(u64::MAX).share_of(tokens(1_000_000_000_000_000)), tokens(1_000_000_000_000_000));
    }

    #[test]
    fn a_quantile_is_the_end_of_the_bucket_that_holds_its_rank() {
        let empty = Histogram::default();
        assert_eq!((empty.quantile(950), empty.next_stays_within(950)), (None, None));
        let nineteen = histogram(&[250_000; 19]);
        assert_eq!(nineteen.quantile(950), Some(Ratio(250_000)));
        assert_eq!(nineteen.next_stays_within(950), Some(Ratio(250_000)));
        assert_eq!(histogram(&[250_000; 18]).next_stays_within(950), None, "eighteen calls cannot tell one in twenty");
        let mut mixed = histogram(&[250_000; 90]);
        mixed.merge(&histogram(&[500_000; 10]));
        assert_eq!((mixed.quantile(900), mixed.quantile(901)), (Some(Ratio(250_000)), Some(Ratio(500_000))));
        assert_eq!(mixed.next_stays_within(900), Some(Ratio(500_000)), "the next call may be beyond the ninetieth");
        assert_eq!(histogram(&[9_000_000]).quantile(500), None, "beyond the last end there is nothing to tell");
    }

    proptest! {
        #[test]
        fn ends_ascend_and_a_bucket_is_at_most_a_tenth_too_wide(bucket in 1_usize..97) {
            let (before, end) = (end_of(bucket - 1).unwrap(), end_of(bucket).unwrap());
            prop_assert!(before < end);
            prop_assert!(end.0 * 10 <= before.0 * 11 + 10);
        }

        #[test]
        fn a_ratio_is_counted_in_the_first_bucket_that_reaches_it(ratio in 0_u64..5_000_000) {
            let bucket = Ratio(ratio).bucket();
            prop_assert!(end_of(bucket).is_none_or(|end| Ratio(ratio) <= end));
            prop_assert!(bucket == 0 || end_of(bucket - 1).unwrap() < Ratio(ratio));
        }

        #[test]
        fn sums_do_not_depend_on_how_calls_are_split(
            shares in prop::collection::vec(0_u64..5_000_000, 0..200), at in any::<prop::sample::Index>(),
        ) {
            let whole = histogram(&shares);
            let (first, second) = shares.split_at(if shares.is_empty() { 0 } else { at.index(shares.len()) });
            let mut merged = histogram(second);
            merged.merge(&histogram(first));
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(whole.calls(), u64::try_from(shares.len()).unwrap());
        }

        #[test]
        fn a_quantile_holds_at_least_so_many_calls_and_at_most_a_bucket_more(
            mut shares in prop::collection::vec(1_000_u64..4_000_000, 1..300), of_thousand in 1_u32..1_000,
        ) {
            let told = histogram(&shares).quantile(of_thousand).unwrap();
            shares.sort_unstable();
            let rank = (shares.len() * usize::try_from(of_thousand).unwrap()).div_ceil(1_000).max(1);
            let exact = shares[rank - 1];
            prop_assert!(told.0 >= exact && told.0 * 10 <= exact * 11 + 10, "{} told, {} exact", told.0, exact);
        }
    }
}
