//! What was learned and what is kept aside for it, as the plain model keeps it: from the design, not from the code.

use rust_decimal::prelude::{FromPrimitive as _, ToPrimitive as _};
use rust_decimal::{Decimal, RoundingStrategy};

use super::*;
use crate::domain::budget::catalogue::HoldRule;
use crate::domain::learned::histogram::{Histogram, Ratio};
use crate::domain::learned::lesson::{Class, Lessons};

/// What the world has learned: of a thousand calls to `unit/one` 980 used a quarter of their output and 20 the half; those to
/// `unit/two` used the half.
pub(super) fn lessons() -> Lessons {
    let class = |model: &str| {
        let call = call(&format!("past/any unit/{model}"));
        Class { tenant: Some(call.tenant), feature: Some(call.feature), provider: call.provider, model: call.model }
    };
    let used = |calls: &[(u64, u64)]| {
        let mut output = Histogram::default();
        for (count, millionths) in calls {
            output.add(Ratio::from_millionths(*millionths).bucket(), *count);
        }
        output
    };
    let one = used(&[(980, 250_000), (20, 500_000)]);
    Lessons::learn([(class("one"), one), (class("two"), used(&[(1_000, 500_000)]))])
}

/// The part of the output that is held by a rule; how many of a million calls go beyond; and the mean share of the rest that is
/// used, in millionths: one call more than was seen used everything.
pub(super) fn lesson(model: &str, rule: HoldRule) -> Option<(u64, u64, u64)> {
    match (model, rule) {
        // 21 of 1,001 calls; (20 × 1/3 + 1) / 1,001. One in fifty is too often for p99, which holds the half.
        ("one", HoldRule::P95) => Some((4, 20_980, 7_660)),
        ("one", HoldRule::P99) | ("two", HoldRule::P95 | HoldRule::P99) => Some((2, 1_000, 1_000)),
        _ => None,
    }
}

/// Held, kept aside, at risk.
pub(super) type Kept = [Decimal; 3];

/// What is kept aside is rounded up.
pub(super) const UP: RoundingStrategy = RoundingStrategy::AwayFromZero;

#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the model are small")]
pub(super) fn plus(one: Kept, other: Kept) -> Kept {
    [one[0] + other[0], one[1] + other[1], one[2] + other[2]]
}

/// All that nobody else may have: what is held, and what is kept aside with 2 % of the limit, but never more than the rest of
/// all calls.
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the model are small")]
pub(super) fn claimed([held, aside, rest]: Kept, limit: Decimal) -> Decimal {
    held + if rest.is_zero() { rest } else { rest.min(aside + limit / Decimal::from(50)) }
}

/// The share of a call's rest that is kept aside: `ln(1 + μ (exp(x) − 1)) / x`, where `x = ln(100) rest / (2 % of the limit)`.
#[expect(clippy::float_arithmetic, reason = "the margin is a forecast")]
pub(super) fn aside(rest: Decimal, mean: u64, limit: Decimal) -> Decimal {
    let float = |value: Decimal| value.to_f64().unwrap();
    let mean = float(Decimal::new(i64::try_from(mean).unwrap(), 6));
    let x = 100_f64.ln() * float(rest) / (float(limit) * 0.02);
    let log = if x < 1.0 { f64::ln_1p(mean * x.exp_m1()) } else { x + f64::ln(mean + (1.0 - mean) * (-x).exp()) };
    Decimal::from_f64(log / x).unwrap().round_dp_with_strategy(9, UP).min(Decimal::ONE)
}
