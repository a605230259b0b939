//! Figures of a forecast as decimals: enough digits to read, never more than are known.
//!
//! Nothing here is ever an amount of the books: a forecast is double precision, and is rounded once, at this edge.

use rust_decimal::Decimal;

/// Digits of a figure that matter: a forecast is never known better.
const DIGITS: i32 = 6;
/// Most decimal places of a figure.
const PLACES_MAX: i32 = 12;
/// The largest figure that is told: what the ledger itself could keep.
const LARGEST: f64 = 9e15;

/// A figure, to six digits that matter and whole numbers above them. What is not a number is 0.
#[must_use]
pub fn figure(value: f64) -> Decimal {
    let value = if value.is_nan() { 0.0 } else { value.clamp(-LARGEST, LARGEST) };
    let mut places = 0;
    let mut scale = value.abs();
    while places < PLACES_MAX && scale > 0.0 && scale < 10_f64.powi(DIGITS - 1) {
        scale *= 10.0;
        places += 1;
    }
    let places = usize::try_from(places).unwrap_or(0);
    format!("{value:.places$}").parse::<Decimal>().unwrap_or_default().normalize()
}

/// A share or a probability, to four places.
#[must_use]
pub fn share(value: f64) -> Decimal {
    let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
    format!("{value:.4}").parse::<Decimal>().unwrap_or_default().normalize()
}

/// Hours, to two places.
#[must_use]
pub fn hours(value: f64) -> Decimal {
    let value = if value.is_nan() { 0.0 } else { value.clamp(-LARGEST, LARGEST) };
    format!("{value:.2}").parse::<Decimal>().unwrap_or_default().normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_six_digits_and_no_number_is_left_out() {
        for (value, told) in [
            (0.0, "0"),
            (1.0, "1"),
            (123_456_789.4, "123456789"),
            (1_234.567_89, "1234.57"),
            (-1_234.567_89, "-1234.57"),
            (0.000_123_456_789, "0.000123457"),
            (0.333_333_333, "0.333333"),
            (1e-20, "0"),
            (f64::NAN, "0"),
            (f64::INFINITY, "9000000000000000"),
            (f64::NEG_INFINITY, "-9000000000000000"),
        ] {
            assert_eq!(figure(value).to_string(), told, "{value}");
        }
        assert_eq!(share(0.733_33).to_string(), "0.7333");
        assert_eq!(share(7.0).to_string(), "1");
        assert_eq!(share(f64::NAN).to_string(), "0");
        assert_eq!(hours(-2.71459).to_string(), "-2.71");
    }
}
