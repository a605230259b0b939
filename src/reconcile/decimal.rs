//! Decimal numbers as providers write them.
//!
//! Reports hold zeros such as `0E-6176`, and floats of a library with thirty digits behind the point. A zero is zero whatever
//! its exponent, and what is below anything that is kept is rounded, half to even, once.

use rust_decimal::Decimal;

/// Digits behind the point that are read: more than are kept of a sum of them.
const PLACES_MAX: usize = 16;
/// Digits that a [`Decimal`] always holds.
const DIGITS_MAX: usize = 28;

/// Reads a decimal, with or without an exponent. None if it is no number, or is larger than what can be kept.
#[must_use]
pub fn parse(text: &str) -> Option<Decimal> {
    let (is_negative, text) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(Decimal::ZERO);
    }
    // So many digits are behind the point; fewer than none means zeros before it.
    let places = i64::try_from(fraction.len()).ok()?.checked_sub(i64::from(exponent))?;
    let before = i64::try_from(digits.len()).ok()?.checked_sub(places)?;
    let before = usize::try_from(before.max(0)).ok().filter(|before| *before <= DIGITS_MAX)?;
    let places_max = i64::try_from(PLACES_MAX.min(DIGITS_MAX.saturating_sub(before))).ok()?;
    let dropped = usize::try_from(places.saturating_sub(places_max).max(0)).ok()?;
    let value = if places < 0 {
        let zeros = usize::try_from(places.checked_neg()?).ok()?;
        Decimal::from_str_exact(&format!("{digits}{}", "0".repeat(zeros))).ok()?
    } else {
        let kept = rounded(digits, dropped)?;
        let scale = u32::try_from(places.min(places_max)).ok()?;
        Decimal::try_from_i128_with_scale(kept, scale).ok()?
    };
    Some(if is_negative { value.checked_mul(Decimal::NEGATIVE_ONE)? } else { value })
}

/// The number without so many of its last digits, half to even.
fn rounded(digits: &str, dropped: usize) -> Option<i128> {
    // All of it is dropped, and the first digit is not the first that is: less than a half.
    let Some(at) = digits.len().checked_sub(dropped) else { return Some(0) };
    let (kept, rest) = digits.split_at_checked(at)?;
    let kept: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let half = format!("5{}", "0".repeat(rest.len().saturating_sub(1)));
    let up = match rest.cmp(&half) {
        _ if rest.is_empty() => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => kept.checked_rem(2)? == 1,
        std::cmp::Ordering::Less => false,
    };
    kept.checked_add(i128::from(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_to_the_digits_that_can_be_kept() {
        for (text, read) in [
            ("0E-6176", Some("0")),
            ("0e9999", Some("0")),
            ("-0.000", Some("0")),
            ("1e-30", Some("0")),
            ("12.5", Some("12.5")),
            ("-12.5", Some("-12.5")),
            ("+1", Some("1")),
            (".5", Some("0.5")),
            ("5.", Some("5")),
            ("1.25e2", Some("125")),
            ("2.5e-03", Some("0.0025")),
            ("3e3", Some("3000")),
            ("0.00362750000000000000000000000000000000", Some("0.0036275")),
            ("0.00000000000000005", Some("0")),
            ("0.00000000000000015", Some("0.0000000000000002")),
            ("0.000000000000000050000000000000000000001", Some("0.0000000000000001")),
            ("123456789012345678901234567.89", Some("123456789012345678901234567.9")),
            ("1e27", Some("1000000000000000000000000000")),
            ("1e29", None),
            ("", None),
            ("-", None),
            (".", None),
            ("1,5", None),
            ("1e", None),
            ("0x10", None),
            ("NaN", None),
            ("1e99999999999", None),
        ] {
            let wanted: Option<Decimal> = read.map(|read| read.parse().unwrap());
            assert_eq!(parse(text).map(|value| value.normalize()), wanted.map(|value| value.normalize()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_a_decimal_writes_is_read_back(mantissa in -10_000_000_000_000_000_i64..10_000_000_000_000_000, scale in 0_u32..=12) {
            let value = Decimal::new(mantissa, scale);
            proptest::prop_assert_eq!(parse(&value.to_string()), Some(value));
            proptest::prop_assert_eq!(parse(&format!("{mantissa}e-{scale}")), Some(value));
        }
    }
}
