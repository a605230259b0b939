//! Shares of a limit: what thresholds, floors and ceilings come to.

use rust_decimal::Decimal;

use super::catalogue::SHARE_PLACES;
use crate::domain::amounts::{QUANTITY_PLACES, Quantity};

/// A share of a limit, rounded down to what a quantity keeps, and whether that is exact.
///
/// In whole numbers, because a product of two `Decimal`s is rounded to 28 digits without a word: a limit has up to 28
/// digits and a share 6 more.
pub(super) fn share_of(limit: Quantity, share: Decimal) -> Option<(Quantity, bool)> {
    let at_scale = |value: Decimal, places: u32| {
        let value = value.normalize();
        let missing = places.checked_sub(value.scale())?;
        10_i128.checked_pow(missing).and_then(|factor| value.mantissa().checked_mul(factor))
    };
    let product = at_scale(limit.decimal(), QUANTITY_PLACES)?.checked_mul(at_scale(share, SHARE_PLACES)?)?;
    let unit = 10_i128.checked_pow(SHARE_PLACES)?;
    let (floor, rest) = (product.checked_div_euclid(unit)?, product.checked_rem_euclid(unit)?);
    let floor = Decimal::try_from_i128_with_scale(floor, QUANTITY_PLACES).ok()?;
    Some((Quantity::new(floor).ok()?, rest == 0))
}
