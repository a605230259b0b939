//! Columns and cells: the logical rows that CSV and Parquet have in common.
//!
//! A row is written cell by cell, in the order of the columns, to a [`Table`], which knows how its file is made. What is
//! written as text and as binary is one call, so the two formats cannot tell different things.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::csv_file::CsvFile;
use super::parquet_file::ParquetFile;
use super::{ExportError, PLACES};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A decimal of 38 digits, 12 of them after the point.
    Decimal,
    /// An instant in UTC, to the microsecond.
    Instant,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

impl Column {
    /// A column of text.
    #[must_use]
    pub const fn text(name: &'static str) -> Self {
        Self { name, kind: Kind::Text }
    }

    /// A column of whole numbers.
    #[must_use]
    pub const fn integer(name: &'static str) -> Self {
        Self { name, kind: Kind::Integer }
    }

    /// A column of decimals.
    #[must_use]
    pub const fn decimal(name: &'static str) -> Self {
        Self { name, kind: Kind::Decimal }
    }

    /// A column of instants.
    #[must_use]
    pub const fn instant(name: &'static str) -> Self {
        Self { name, kind: Kind::Instant }
    }
}

/// A value in a column. Its variant is the column's kind, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// Text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A decimal, in units of 10⁻¹².
    Decimal(i128),
    /// An instant.
    Instant(DateTime<Utc>),
}

impl<'a> Cell<'a> {
    /// Text, or nothing.
    #[must_use]
    pub fn optional(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }

    /// A whole number, or nothing.
    #[must_use]
    pub fn optional_integer(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::Integer)
    }
}

/// A decimal in units of 10⁻¹².
///
/// # Errors
/// When it has more places, or more digits than a column.
pub fn pico(what: &'static str, value: Decimal) -> Result<i128, ExportError> {
    let value = value.normalize();
    let places = PLACES.checked_sub(value.scale());
    let factor = places.and_then(|places| 10_i128.checked_pow(places));
    let scaled = factor.and_then(|factor| value.mantissa().checked_mul(factor));
    scaled.ok_or_else(|| ExportError::TooLarge { what, value: value.to_string() })
}

/// Writes a decimal in units of 10⁻¹²: without an exponent, without needless zeros, and always with a point, because readers
/// guess the type of a column from its texts.
pub fn write_pico(out: &mut String, pico: i128) {
    const ONE: u128 = 1_000_000_000_000;
    let magnitude = pico.unsigned_abs();
    let (whole, rest) = (magnitude / ONE, magnitude % ONE);
    if pico < 0 {
        out.push('-');
    }
    let places = format!("{rest:012}");
    let shown = places.trim_end_matches('0');
    let shown = if shown.is_empty() { "0" } else { shown };
    // A String takes everything.
    let _infallible = write!(out, "{whole}.{shown}");
}

/// A file in the making.
pub enum Table {
    /// Comma-separated values.
    Csv(Box<CsvFile>),
    /// Apache Parquet.
    Parquet(Box<ParquetFile>),
}

impl Table {
    /// Writes the next cell of the row.
    ///
    /// # Errors
    /// When the cell is none of its column.
    pub fn cell(&mut self, cell: Cell<'_>) -> Result<(), ExportError> {
        // CSV cannot tell an empty text from none, so no format does.
        let cell = if cell == Cell::Text("") { Cell::Null } else { cell };
        match self {
            Self::Csv(file) => {
                file.cell(cell);
                Ok(())
            }
            Self::Parquet(file) => file.cell(cell),
        }
    }

    /// Ends the row.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end_row(&mut self) -> Result<(), ExportError> {
        match self {
            Self::Csv(file) => {
                file.end_row();
                Ok(())
            }
            Self::Parquet(file) => file.end_row(),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end(&mut self) -> Result<(), ExportError> {
        match self {
            Self::Csv(_) => Ok(()),
            Self::Parquet(file) => file.end(),
        }
    }

    /// What was written since it was last taken.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn take(&mut self) -> Result<Vec<u8>, ExportError> {
        match self {
            Self::Csv(file) => file.take(),
            Self::Parquet(file) => file.take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::dec;

    use super::*;

    fn text(value: Decimal) -> String {
        let mut out = String::new();
        write_pico(&mut out, pico("a test's number", value).unwrap());
        out
    }

    #[test]
    fn a_decimal_has_a_point_and_no_exponent() {
        for (value, expected) in [
            (dec!(0), "0.0"),
            (dec!(12), "12.0"),
            (dec!(-12.50), "-12.5"),
            (dec!(0.000000000001), "0.000000000001"),
            (dec!(-0.000000000001), "-0.000000000001"),
            (dec!(9999999999999999.999999999999), "9999999999999999.999999999999"),
            (dec!(9999999999999999999.999999999), "9999999999999999999.999999999"),
        ] {
            assert_eq!(text(value), expected);
        }
        assert!(pico("a price", dec!(0.0000000000001)).is_err());
    }

    proptest! {
        #[test]
        fn a_decimal_is_read_back_as_it_was(mantissa in -(10_i128.pow(28))..10_i128.pow(28), scale in 3_u32..=12) {
            let value = Decimal::from_i128_with_scale(mantissa, scale);
            prop_assert_eq!(text(value).parse::<Decimal>().unwrap(), value);
        }
    }
}
