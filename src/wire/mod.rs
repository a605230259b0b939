//! The JSON shapes: one set for the API and for what the store keeps as JSON.
//!
//! Decimals are strings, tokens integers, instants RFC 3339 in UTC. Domain types are not wire types: the way in is
//! `TryFrom`, which parses and names the field that is wrong; the way out is `From`. There is one set because a budget's
//! document and a remembered answer are read back by the same words the caller used.
//!
//! | room | shapes |
//! |---|---|
//! | [`about`] | what the service is made of |
//! | [`answer`] | what the ledger answers: pre-flight, settlement, release, extension |
//! | [`budget`] | tenants and budgets, scopes, measures, periods |
//! | [`scope`] | which calls a budget governs, by the names of the books |
//! | [`said`] | what was said of who serves a call, beside the names |
//! | [`kept`] | answers as they are kept under an idempotency key |
//! | [`call`] | what is asked of the ledger: pre-flight, settle, release, extend, usage |
//! | [`reconciliation`] | a provider's report, its lines and true-ups |
//! | [`restatement`] | rows that are said anew, and what that comes to |
//! | [`reservation`] | a reservation |
//! | [`catalogue`] | tenants and budgets as they are kept, and how a budget stands |
//! | [`estimate`] | what a call would cost, and why |
//! | [`learned`] | how estimates compare with what was used |
//! | [`export`] | what is asked of an export, and its cursors |
//! | [`ledger`] | journal rows, account balances, the trial balance |
//! | [`run`] | what stops a run, and how one stands |
//! | [`usage`] | what was used, added up |
//! | [`signal`] | a provider's answer, what it means, and the rules that ship |
//! | [`verdict`] | what was refused, and why |
//! | [`alert`] | what alerts told |
//! | [`webhook`] | endpoints that events are sent to |
//! | [`event`] | usage in the envelope of `CloudEvents` |
//! | [`factor`] | factor rows, and those that come with the service |
//! | [`objects`] | none: what keeps an array from being read as an object |
//! | [`pace`] | pacing: what a budget says about it, and what an answer does |
//! | [`page`] | pages of a list |
//! | [`period`] | closed periods |
//! | [`plan`] | paces, with the figures that explain them |
//! | [`price`] | price rows, and the book that comes with the service |
//! | [`projection`] | projections of budgets, and the work that is announced |
//! | [`rates`] | rows of both books, one or many |

pub mod about;
pub mod alert;
pub mod answer;
pub mod budget;
pub mod call;
pub mod catalogue;
pub mod coverage;
pub mod estimate;
pub mod event;
pub mod export;
pub mod export_report;
pub mod factor;
pub mod kept;
pub mod learned;
pub mod ledger;
pub mod objects;
pub mod pace;
pub mod page;
pub mod period;
pub mod period_spec;
pub mod plan;
pub mod price;
pub mod projection;
pub mod rates;
pub mod reconciliation;
pub mod reservation;
pub mod restatement;
pub mod run;
pub mod said;
pub mod scope;
pub mod signal;
pub mod usage;
pub mod verdict;
pub mod view;
pub mod webhook;

use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::id::BadName;

/// A field of a body that is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct FieldError {
    /// The field, dotted: `scope.tenant`.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

impl FieldError {
    /// Names the field and what is wrong with it.
    #[must_use]
    pub fn new(field: impl Into<String>, detail: impl Display) -> Self {
        Self { field: field.into(), detail: detail.to_string() }
    }

    /// The same error, with text before the field: `[3].`.
    #[must_use]
    pub fn prefixed(self, prefix: &str) -> Self {
        Self { field: format!("{prefix}{}", self.field), ..self }
    }

    /// The same error, of a field inside another one.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

/// A name, parsed.
///
/// # Errors
/// Names the field.
pub fn required<T: FromStr<Err = BadName>>(field: &str, text: &str) -> Result<T, FieldError> {
    T::from_str(text).map_err(|error| FieldError::new(field, error))
}

/// A name that may be absent, parsed.
///
/// # Errors
/// Names the field.
pub fn optional<T: FromStr<Err = BadName>>(field: &str, text: Option<&str>) -> Result<Option<T>, FieldError> {
    text.map(|text| required(field, text)).transpose()
}

/// An instant of a query, if it is one the calendar answers for.
///
/// # Errors
/// Names the field.
pub fn in_calendar(field: &str, at: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, FieldError> {
    // The period that holds all of time holds every instant there is.
    let checked = at.map(|at| PeriodSpec::Once.holding(Zone::UTC, at)).transpose();
    checked.map(|_| at).map_err(|error| FieldError::new(field, error))
}

/// A decimal, exactly as it is written, with an exponent or without: JSON writes small numbers as `1e-6`. None where it is no
/// decimal, or has more digits than can be kept.
fn exact_decimal(text: &str) -> Option<Decimal> {
    let Some((digits, exponent)) = text.split_once(['e', 'E']) else { return Decimal::from_str_exact(text).ok() };
    let (digits, exponent) = (Decimal::from_str_exact(digits).ok()?.normalize(), exponent.parse::<i32>().ok()?);
    if digits.is_zero() {
        return Some(Decimal::ZERO);
    }
    match i32::try_from(digits.scale()).ok()?.checked_sub(exponent)? {
        places @ 0.. => Decimal::try_from_i128_with_scale(digits.mantissa(), u32::try_from(places).ok()?).ok(),
        missing => {
            let factor = 10_i128.checked_pow(missing.unsigned_abs())?;
            Decimal::try_from_i128_with_scale(digits.mantissa().checked_mul(factor)?, 0).ok()
        }
    }
}

/// A date of the calendar that may be absent.
pub mod date {
    use chrono::NaiveDate;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    /// # Errors
    /// Says which date there is not.
    pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NaiveDate>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let shown: String = text.chars().take(64).collect();
        let bad = || D::Error::custom(format!("`{shown}` is no day of the calendar: write YYYY-MM-DD"));
        text.parse().map(Some).map_err(|_| bad())
    }
}

/// A decimal amount: a string, or a whole number.
///
/// A fraction written as a JSON number has been a float by the time it is read, and a text of more digits than can be kept would be rounded: both are refused.
pub mod decimal {
    use rust_decimal::Decimal;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    /// # Errors
    /// When it is neither a decimal string nor a whole number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        parse(&value).ok_or_else(|| D::Error::custom(wanted(&value)))
    }

    /// The same, or nothing.
    ///
    /// # Errors
    /// As [`deserialize`].
    pub fn deserialize_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
        let value = Option::<serde_json::Value>::deserialize(deserializer)?;
        value.map(|value| parse(&value).ok_or_else(|| D::Error::custom(wanted(&value)))).transpose()
    }

    fn parse(value: &serde_json::Value) -> Option<Decimal> {
        match value {
            serde_json::Value::String(text) => Decimal::from_str_exact(text).ok(),
            serde_json::Value::Number(number) => {
                number.as_u64().map(Decimal::from).or_else(|| number.as_i64().map(Decimal::from))
            }
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => None,
        }
    }

    fn wanted(value: &serde_json::Value) -> String {
        let shown: String = value.to_string().chars().take(64).collect();
        format!("{shown} is not a decimal number of at most 28 digits: write it as a string such as \"12.5\"")
    }
}

/// A decimal that JSON writes as a number, and takes as a number or a string. For weights, which people write as `5`;
/// amounts are strings.
pub mod number {
    use rust_decimal::Decimal;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// # Errors
    /// When the writer refuses.
    pub fn serialize<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        let text = value.normalize().to_string();
        match text.parse::<serde_json::Number>() {
            Ok(number) => number.serialize(serializer),
            Err(_) => text.serialize(serializer),
        }
    }

    /// # Errors
    /// When it is neither a number nor a decimal string.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        let text = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::String(text) => text,
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => return Err(D::Error::custom("expected a number")),
        };
        super::exact_decimal(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not a decimal number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_read_exactly_with_an_exponent_or_without() {
        for (text, read) in [
            ("12.5", Some("12.5")),
            ("1e-6", Some("0.000001")),
            ("-2.5E+3", Some("-2500")),
            ("0E-6176", Some("0")),
            ("1e-29", None),
            ("1e29", None),
            ("1e", None),
            ("e5", None),
            ("NaN", None),
            ("12345678901234567890123456789012345", None),
        ] {
            assert_eq!(exact_decimal(text), read.map(|read| read.parse().expect("a decimal")), "{text}");
        }
    }

    #[test]
    fn every_weight_that_can_be_written_is_read_back() {
        use crate::wire::budget::WeightsBody;
        for places in 0..=6 {
            for digits in [1, 5, 15, 999_999] {
                let input = Decimal::new(digits, places);
                let text = serde_json::to_string(&WeightsBody { input, ..WeightsBody::default() }).expect("written");
                let read: WeightsBody = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(read.input, input, "{text}");
            }
        }
    }
}
