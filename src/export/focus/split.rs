//! One charge into lines: a line for each token bucket with its unit price, and what is left over stated where it stands.
//!
//! Invariants: over the lines of a charge `billed` adds up to its dollars and each kind of grams to its grams, to the last
//! digit; `list` is unit price times quantity, rounded once to 10⁻¹² dollars.
//!
//! A transfer's dollars are the sum over its buckets, rounded once. The sum over many transfers therefore differs from unit
//! price times quantity by at most half a unit for each of them and for each line: that remainder stands on the dearest
//! line. What differs by more is no rounding, and gets a line of its own ([`Meter::Difference`]).
//!
//! Grams are shared out by the token weights of the carbon method: a prompt token weighs less than one that is generated.
//! Pure: integers in units of 10⁻¹² dollars, 10⁻⁹ grams, 10⁻⁶ weights.

use crate::domain::carbon::Profile;
use crate::domain::usage::Bucket;

/// Units of a weight in one output token.
const WEIGHT_ONE: f64 = 1e6;
/// 10⁻¹² dollars per million tokens, times tokens, in one 10⁻¹² dollar.
const PER_MILLION: i128 = 1_000_000;

/// What a line counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// Tokens of a bucket.
    Tokens(Bucket),
    /// Calls: the fee of each, or calls that used no token.
    Requests,
    /// Dollars that the price row does not explain; of a charge without a price row all of it, and its tokens.
    Difference,
}

/// Unit prices, in 10⁻¹² dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitPrices {
    /// Per million tokens, in the order of [`Bucket::ALL`].
    pub per_million: [i128; 6],
    /// Per call.
    pub per_request: i128,
}

/// What is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Transfers it adds up.
    pub transfers: u64,
    /// Calls it adds up.
    pub requests: u64,
    /// Tokens, in the order of [`Bucket::ALL`].
    pub buckets: [u128; 6],
    /// 10⁻¹² dollars.
    pub usd: i128,
    /// 10⁻⁹ grams: location-based, market-based, embodied.
    pub grams: [i128; 3],
    /// The least that each of them may be.
    pub least: [i128; 3],
    /// The most that each of them may be.
    pub most: [i128; 3],
}

/// One line of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// What it counts.
    pub meter: Meter,
    /// How many of it.
    pub quantity: u128,
    /// 10⁻¹² dollars per million tokens or per call; none where no price is known.
    pub unit_price: Option<i128>,
    /// Unit price times quantity, 10⁻¹² dollars.
    pub list: i128,
    /// What the books have, 10⁻¹² dollars.
    pub billed: i128,
    /// 10⁻⁹ grams: location-based, market-based, embodied.
    pub grams: [i128; 3],
    /// The least that each of them may be.
    pub least: [i128; 3],
    /// The most that each of them may be.
    pub most: [i128; 3],
}

impl Line {
    const fn new(meter: Meter, quantity: u128, unit_price: Option<i128>, list: i128) -> Self {
        Self { meter, quantity, unit_price, list, billed: list, grams: [0; 3], least: [0; 3], most: [0; 3] }
    }
}

/// Splits a charge. There is always a line. None where a number is beyond what can be computed.
#[must_use]
pub fn split(charge: &Charge, prices: Option<&UnitPrices>, profile: Profile) -> Option<Vec<Line>> {
    let Some(prices) = prices else {
        // Without a price nothing can be told apart: one line has it all.
        let tokens = charge.buckets.into_iter().try_fold(0_u128, u128::checked_add)?;
        let Charge { usd: billed, grams, least, most, .. } = *charge;
        let whole = Line { billed, grams, least, most, ..Line::new(Meter::Difference, tokens, None, 0) };
        return Some(vec![whole]);
    };
    let mut lines = Vec::with_capacity(7);
    for (place, (bucket, tokens)) in Bucket::ALL.into_iter().zip(charge.buckets).enumerate() {
        if tokens > 0 {
            let unit_price = prices.per_million.get(place).copied();
            let exact = unit_price.unwrap_or(0).checked_mul(i128::try_from(tokens).ok()?)?;
            lines.push(Line::new(Meter::Tokens(bucket), tokens, unit_price, divide_half_even(exact, PER_MILLION)));
        }
    }
    if lines.is_empty() || prices.per_request > 0 {
        let fees = prices.per_request.checked_mul(i128::from(charge.requests))?;
        lines.push(Line::new(Meter::Requests, charge.requests.into(), Some(prices.per_request), fees));
    }
    settle_remainder(charge, &mut lines)?;
    let weights: Vec<u128> = lines.iter().map(|line| weight(line, profile)).collect();
    for kind in 0..3 {
        let total = charge.grams.get(kind).copied().unwrap_or(0);
        let middles = share_out(total, &weights);
        // Bounds are shared out as the middles are, so that they never cross on a line.
        let as_middles: Vec<u128> = middles.iter().map(|grams| grams.unsigned_abs()).collect();
        let bound = |bounds: [i128; 3]| share_out(bounds.get(kind).copied().unwrap_or(0), &as_middles);
        let bounds = bound(charge.least).into_iter().zip(bound(charge.most));
        for ((line, middle), (least, most)) in lines.iter_mut().zip(middles).zip(bounds) {
            for (figures, share) in [(&mut line.grams, middle), (&mut line.least, least), (&mut line.most, most)] {
                if let Some(figure) = figures.get_mut(kind) {
                    *figure = share;
                }
            }
        }
    }
    Some(lines)
}

/// Puts what the unit prices do not explain where it belongs.
fn settle_remainder(charge: &Charge, lines: &mut Vec<Line>) -> Option<()> {
    let listed = lines.iter().try_fold(0_i128, |sum, line| sum.checked_add(line.list))?;
    let remainder = charge.usd.checked_sub(listed)?;
    let rounded = u128::from(charge.transfers).checked_add(u128::try_from(lines.len()).ok()?)?.div_ceil(2);
    if remainder.unsigned_abs() > rounded {
        let mut line = Line::new(Meter::Difference, 0, None, 0);
        line.billed = remainder;
        lines.push(line);
    } else if let Some(dearest) = lines.iter_mut().rev().max_by_key(|line| line.list) {
        // Of equal ones the first: `max_by_key` keeps the last of a walk that runs backwards.
        dearest.billed = dearest.list.checked_add(remainder)?;
    }
    Some(())
}

/// What the tokens of a line weigh, in millionths of an output token.
fn weight(line: &Line, profile: Profile) -> u128 {
    let fixed = profile.parameters();
    let prompt = fixed.weight_input.mid;
    let one = match line.meter {
        Meter::Tokens(Bucket::Input) => prompt,
        Meter::Tokens(Bucket::CacheRead) => prompt * fixed.weight_cache_read,
        Meter::Tokens(Bucket::CacheWrite5m | Bucket::CacheWrite1h) => prompt * fixed.weight_cache_write,
        Meter::Tokens(Bucket::Output | Bucket::Reasoning) => 1.0,
        Meter::Requests | Meter::Difference => 0.0,
    };
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a weight is between 0 and 2, so this is a whole number between 0 and two million"
    )]
    let one = (one * WEIGHT_ONE).round() as u64;
    u128::from(one).saturating_mul(line.quantity)
}

/// Shares a total out by weight, so that the shares add up to it: each boundary is rounded down once. Without any weight the
/// first line has it all.
fn share_out(total: i128, weights: &[u128]) -> Vec<i128> {
    let mut scaled: Vec<u128> = weights.to_vec();
    let sum = |weights: &[u128]| weights.iter().fold(0_u128, |sum, weight| sum.saturating_add(*weight));
    // So coarse only for amounts that no year of the whole world's calls reaches.
    while sum(&scaled).checked_mul(total.unsigned_abs()).is_none() {
        scaled.iter_mut().for_each(|weight| *weight >>= 8);
    }
    let whole = sum(&scaled);
    if whole == 0 {
        return (0..weights.len()).map(|place| if place == 0 { total } else { 0 }).collect();
    }
    let (mut reached, mut given) = (0_u128, 0_i128);
    let mut shares = Vec::with_capacity(weights.len());
    for weight in scaled {
        reached = reached.saturating_add(weight);
        let part = total.unsigned_abs().saturating_mul(reached).checked_div(whole).unwrap_or(0);
        let until = i128::try_from(part).unwrap_or(i128::MAX).saturating_mul(total.signum());
        shares.push(until.saturating_sub(given));
        given = until;
    }
    shares
}

/// Half to even; of numbers that are not negative.
const fn divide_half_even(number: i128, by: i128) -> i128 {
    let (whole, rest) = (number / by, number % by);
    let half = by / 2;
    if rest > half || (rest == half && whole % 2 == 1) { whole.saturating_add(1) } else { whole }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRICES: UnitPrices = UnitPrices {
        // 3, 0.3, 3.75, 6, 15, 15 dollars.
        per_million: [
            3_000_000_000_000,
            300_000_000_000,
            3_750_000_000_000,
            6_000_000_000_000,
            15_000_000_000_000,
            15_000_000_000_000,
        ],
        per_request: 0,
    };

    fn charge(buckets: [u128; 6], usd: i128) -> Charge {
        let (grams, least, most) = ([1_000, 500, 7], [400, 200, 3], [3_000, 1_500, 9]);
        Charge { transfers: 1, requests: 1, buckets, usd, grams, least, most }
    }

    #[test]
    fn a_call_is_a_line_for_each_bucket_that_it_used() {
        let lines = split(&charge([1000, 0, 0, 0, 200, 0], 6_000_000_000), Some(&PRICES), Profile::Extended1).unwrap();
        let told: Vec<_> = lines.iter().map(|line| (line.meter, line.quantity, line.list, line.billed)).collect();
        assert_eq!(
            told,
            [
                (Meter::Tokens(Bucket::Input), 1000, 3_000_000_000, 3_000_000_000),
                (Meter::Tokens(Bucket::Output), 200, 3_000_000_000, 3_000_000_000),
            ]
        );
        // 1000 × 0.24 and 200 × 1: 240 to 200.
        assert_eq!(lines.iter().map(|line| line.grams[0]).collect::<Vec<_>>(), [545, 455]);
    }

    #[test]
    fn a_remainder_of_rounding_stands_on_the_dearest_line_and_more_than_that_on_its_own() {
        let lines = |usd| split(&charge([1000, 0, 0, 0, 300, 0], usd), Some(&PRICES), Profile::Extended1).unwrap();
        let off = lines(7_500_000_001);
        assert_eq!(off.iter().map(|line| line.billed - line.list).collect::<Vec<_>>(), [0, 1]);
        let far = lines(7_600_000_000);
        assert_eq!(far[2].meter, Meter::Difference);
        assert_eq!(far[2].billed, 100_000_000);
    }

    #[test]
    fn calls_without_tokens_and_calls_with_a_fee_have_a_line_of_requests() {
        let failed = Charge { grams: [0; 3], least: [0; 3], most: [0; 3], ..charge([0; 6], 0) };
        let lines = split(&failed, Some(&PRICES), Profile::Extended1).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].meter, lines[0].quantity, lines[0].billed), (Meter::Requests, 1, 0));
        let fee = UnitPrices { per_request: 5_000_000_000, ..PRICES };
        let lines = split(&charge([1000, 0, 0, 0, 0, 0], 8_000_000_000), Some(&fee), Profile::Extended1).unwrap();
        assert_eq!(lines.iter().map(|line| line.billed).collect::<Vec<_>>(), [3_000_000_000, 5_000_000_000]);
    }

    #[test]
    fn without_a_price_one_line_has_it_all() {
        let lines = split(&charge([10, 0, 0, 0, 20, 0], 42), None, Profile::Extended1).unwrap();
        let (grams, least, most) = ([1_000, 500, 7], [400, 200, 3], [3_000, 1_500, 9]);
        let whole = Line { billed: 42, grams, least, most, ..Line::new(Meter::Difference, 30, None, 0) };
        assert_eq!(lines, [whole]);
    }

    #[test]
    fn a_method_that_does_not_weigh_the_prompt_puts_all_grams_on_the_output() {
        let shares = |profile| {
            let lines = split(&charge([1000, 1000, 0, 0, 0, 1], 3_315_000_000), Some(&PRICES), profile).unwrap();
            lines.iter().map(|line| line.grams[0]).collect::<Vec<_>>()
        };
        assert_eq!(shares(Profile::EcoLogits0113), [0, 0, 1_000]);
        assert_eq!(shares(Profile::Extended1), [905, 91, 4]);
        let only_prompt =
            split(&charge([5, 0, 0, 0, 0, 0], 15_000_000), Some(&PRICES), Profile::EcoLogits0113).unwrap();
        assert_eq!(only_prompt[0].grams, [1_000, 500, 7], "no weight at all: the first line has it");
    }

    proptest! {
        #[test]
        fn lines_add_up_to_the_charge_whatever_it_is(
            transfers in 0..=u64::MAX,
            requests in 0..=u64::MAX >> 20,
            buckets in prop::array::uniform6(prop_oneof![Just(0_u128), 0..1_000_u128, 0..=1_000_000_000_000_000_u128]),
            usd in -(10_i128.pow(28))..10_i128.pow(28),
            grams in prop::array::uniform3(prop_oneof![0..1_000_i128, 0..10_i128.pow(18), 0..10_i128.pow(27)]),
            per_million in prop::array::uniform6(0..10_i128.pow(18)),
            per_request in prop_oneof![Just(0_i128), 0..10_i128.pow(12)],
            priced in any::<bool>(),
        ) {
            // Less than half and more than double; wide enough for what is real, beyond that the bounds are coarse.
            let (least, most) = (grams.map(|grams| grams * 2 / 5), grams.map(|grams| grams * 7 / 3));
            let charge = Charge { transfers, requests, buckets, usd, grams, least, most };
            let prices = UnitPrices { per_million, per_request };
            for profile in Profile::ALL {
                let lines = split(&charge, priced.then_some(&prices), profile).unwrap();
                prop_assert!(!lines.is_empty());
                prop_assert_eq!(lines.iter().map(|line| line.billed).sum::<i128>(), usd);
                for (kind, total) in grams.into_iter().enumerate() {
                    prop_assert_eq!(lines.iter().map(|line| line.grams[kind]).sum::<i128>(), total);
                    prop_assert!(lines.iter().all(|line| line.grams[kind] >= 0));
                    prop_assert_eq!(lines.iter().map(|line| line.least[kind]).sum::<i128>(), least[kind]);
                    prop_assert_eq!(lines.iter().map(|line| line.most[kind]).sum::<i128>(), most[kind]);
                    if total < 10_i128.pow(18) {
                        let in_order = |line: &Line| {
                            0 <= line.least[kind] && line.least[kind] <= line.grams[kind] && line.grams[kind] <= line.most[kind]
                        };
                        prop_assert!(lines.iter().all(in_order), "{:?}", lines);
                    }
                }
                let tokens: u128 = lines.iter().filter(|line| line.meter != Meter::Requests).map(|line| line.quantity).sum();
                prop_assert_eq!(tokens, buckets.iter().sum::<u128>());
                for (bucket, tokens) in Bucket::ALL.into_iter().zip(buckets).filter(|_| priced) {
                    let counted: u128 =
                        lines.iter().filter(|line| line.meter == Meter::Tokens(bucket)).map(|line| line.quantity).sum();
                    prop_assert_eq!(counted, tokens);
                }
            }
        }

        #[test]
        fn a_charge_of_rounded_transfers_needs_no_line_of_difference(
            calls in prop::collection::vec(prop::array::uniform6(0..100_000_u128), 1..40),
            per_million in prop::array::uniform6(0..100_000_000_000_000_i128),
        ) {
            let prices = UnitPrices { per_million, per_request: 0 };
            let mut charge = Charge { transfers: 0, requests: 0, ..charge([0; 6], 0) };
            for call in &calls {
                let exact: i128 = call.iter().zip(per_million).map(|(tokens, price)| i128::try_from(*tokens).unwrap() * price).sum();
                charge.usd += divide_half_even(exact, PER_MILLION);
                charge.transfers += 1;
                charge.requests += 1;
                for (sum, tokens) in charge.buckets.iter_mut().zip(call) {
                    *sum += tokens;
                }
            }
            let lines = split(&charge, Some(&prices), Profile::Extended1).unwrap();
            prop_assert!(lines.iter().all(|line| line.meter != Meter::Difference), "{:?}", lines);
        }
    }
}
