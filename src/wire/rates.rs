//! Rows of the price book and the factor book as the API takes and shows them: one document or many, each with its id.

use std::fmt;
use std::marker::PhantomData;

use chrono::{DateTime, NaiveDate, Utc};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::FieldError;
use super::factor::FactorDoc;
use super::factor::doc::SourceDoc;
use super::price::PriceRowDoc;
use crate::domain::carbon::{Factor, FactorId};
use crate::domain::price::NewPriceRow;

/// Most rows of one request.
pub const ROWS_MAX: usize = 1000;
/// Longest text in a row, in bytes.
const TEXT_LENGTH_MAX: usize = 2000;
/// Longest row, in bytes of JSON. The longest of the bundled ones has about 4,000.
const ROW_LENGTH_MAX: usize = 32 * 1024;
/// The years a row may begin in.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2199;

/// One row, or an array of at most 1,000. Written by hand rather than derived, so that an error names the row and the field.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One row.
    One(T),
    /// Many rows.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The rows, each with the prefix of its fields: empty for one row, `[3].` in an array.
    pub fn rows(&self) -> impl Iterator<Item = (String, &T)> {
        let (one, many) = match self {
            Self::One(row) => (Some(row), &[][..]),
            Self::Many(rows) => (None, rows.as_slice()),
        };
        let one = one.into_iter().map(|row| (String::new(), row));
        one.chain(many.iter().enumerate().map(|(index, row)| (format!("[{index}]."), row)))
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row, or an array of rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(OneOrMany::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = seq.next_element()? {
            if rows.len() == ROWS_MAX {
                return Err(A::Error::custom(format!(
                    "holds more than {ROWS_MAX} rows: send them in several requests"
                )));
            }
            rows.push(row);
        }
        if rows.is_empty() { Err(A::Error::custom("holds no row")) } else { Ok(OneOrMany::Many(rows)) }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

/// Refuses what a row of any kind may not hold. `texts` may not be empty.
fn check_row<T: Serialize>(row: &T, from: DateTime<Utc>, texts: &[(&str, &str)]) -> Result<(), FieldError> {
    use chrono::Datelike as _;
    for (field, text) in texts {
        if text.trim().is_empty() {
            return Err(FieldError::new(*field, "is empty: every row says where it is from and under which licence"));
        }
        if text.len() > TEXT_LENGTH_MAX || text.chars().any(char::is_control) {
            return Err(FieldError::new(
                *field,
                format!("may have at most {TEXT_LENGTH_MAX} bytes and no control characters"),
            ));
        }
    }
    if !YEARS.contains(&from.year()) {
        return Err(FieldError::new("effective date", format!("{from} is not in the years 1900 to 2199")));
    }
    let json = serde_json::to_string(row).map_err(|error| FieldError::new("row", error))?;
    if json.len() > ROW_LENGTH_MAX || json.contains("\\u0000") {
        return Err(FieldError::new("row", format!("may have at most {ROW_LENGTH_MAX} bytes and no NUL character")));
    }
    Ok(())
}

/// Checks a price document.
///
/// # Errors
/// Names the field.
pub fn check_price(doc: &PriceRowDoc) -> Result<NewPriceRow, FieldError> {
    let row = NewPriceRow::try_from(doc.clone()).map_err(|error| FieldError::new(error.field(), error))?;
    check_row(doc, doc.effective_from, &[("source", &doc.source), ("licence", &doc.licence)]).map_err(|error| {
        if error.field == "effective date" { FieldError { field: "effective_from".to_owned(), ..error } } else { error }
    })?;
    Ok(row)
}

/// Checks a factor document.
///
/// # Errors
/// Names the field.
pub fn check_factor(doc: &FactorDoc) -> Result<Factor, FieldError> {
    let factor = doc
        .clone()
        .into_factor(FactorId(0))
        .map_err(|error| FieldError::new(error.field().unwrap_or("zone"), error))?;
    let source = factor.source();
    if !(1..=3).contains(&source.tier) {
        return Err(FieldError::new("source.tier", format!("{} is not 1, 2 or 3", source.tier)));
    }
    let texts = [
        ("source.set", source.set.as_str()),
        ("source.title", source.title.as_str()),
        ("source.publisher", source.publisher.as_str()),
        ("source.licence", source.licence.as_str()),
    ];
    check_row(doc, factor.validity().from, &texts).map_err(|error| {
        if error.field == "effective date" { FieldError { field: "valid_from".to_owned(), ..error } } else { error }
    })?;
    Ok(factor)
}

/// A price row of the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PriceBody {
    /// Its id: transfers name it.
    pub id: i64,
    /// When it was added.
    pub recorded_at: DateTime<Utc>,
    /// The row.
    #[serde(flatten)]
    pub row: PriceRowDoc,
}

/// A factor row of the book.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FactorBody {
    /// Its id: transfers name it.
    pub id: i64,
    /// What it is about, unique within its kind, set and first day: `openai/gpt-4o`, `USA`.
    pub key: String,
    /// When it was added.
    pub recorded_at: DateTime<Utc>,
    /// The row.
    #[serde(flatten)]
    pub row: FactorDoc,
}

/// Which rows of a book are shown.
#[derive(Debug, Clone, Default)]
pub struct RateFilter<'a> {
    /// Of prices the provider, of factors the kind.
    pub first: Option<&'a str>,
    /// Of prices the model, of factors the key; case does not matter.
    pub second: Option<&'a str>,
    /// Only the rows that apply at this instant: of each history the newest that is in force.
    pub at: Option<DateTime<Utc>>,
}

/// What became of the rows that were sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedBody {
    /// The id of each row, in order; null for one that was there already, which is left as it is.
    pub ids: Vec<Option<i64>>,
    /// How many are new.
    pub added: usize,
}

/// The price row a call is priced by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PriceUsedBody {
    /// Its id.
    pub id: i64,
    /// Whose price it is. With `unpriced`, that of the model that stands in.
    pub provider: String,
    /// The model's canonical name.
    pub model: String,
    /// The service tier it was published for: `standard` where the provider has no price for the one asked.
    pub service_tier: String,
    /// The region it was published for, if one.
    pub region: Option<String>,
    /// Since when it holds.
    pub effective_from: DateTime<Utc>,
    /// Until when, if it ends without a successor.
    pub effective_to: Option<DateTime<Utc>>,
    /// The tier used: total input tokens from which it holds.
    pub tier_from: u64,
    /// The model asked has no price: the worst known one stands in.
    pub unpriced: bool,
    /// Buckets whose price is not the source's own.
    pub derived: Vec<String>,
    /// Where the price is from.
    pub source: String,
    /// The day the source spoke of.
    pub source_date: NaiveDate,
    /// The licence under which the source may be used.
    pub licence: String,
}

/// A factor row that an estimate stands on.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FactorUsedBody {
    /// Its id.
    pub id: i64,
    /// What it was used for: `model`, `grid`, `market`, `serving`, `region`.
    pub used_for: String,
    /// What it is about.
    pub key: String,
    /// Since when it holds.
    pub valid_from: DateTime<Utc>,
    /// Until when, if it ends.
    pub valid_to: Option<DateTime<Utc>>,
    /// Where it comes from, and under which licence.
    pub source: SourceDoc,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        n: u8,
    }

    fn path_of(json: &str) -> (String, String) {
        let mut from = serde_json::Deserializer::from_str(json);
        let error = serde_path_to_error::deserialize::<_, OneOrMany<Row>>(&mut from).unwrap_err();
        (error.path().to_string(), error.into_inner().to_string())
    }

    #[test]
    fn one_row_or_an_array_and_an_error_names_the_row_and_the_field() {
        assert_eq!(serde_json::from_str::<OneOrMany<Row>>(r#"{"n":1}"#).unwrap(), OneOrMany::One(Row { n: 1 }));
        let many: OneOrMany<Row> = serde_json::from_str(r#"[{"n":1},{"n":2}]"#).unwrap();
        let rows: Vec<_> = many.rows().map(|(prefix, row)| (prefix, row.n)).collect();
        assert_eq!(rows, [("[0].".to_owned(), 1), ("[1].".to_owned(), 2)]);
        assert_eq!(path_of(r#"[{"n":1},{"n":"x"}]"#).0, "[1].n");
        assert_eq!(path_of(r#"{"n":"x"}"#).0, "n");
        assert!(path_of("[]").1.starts_with("holds no row"));
        assert!(path_of("7").1.contains("expected a row, or an array of rows"));
        let many = format!("[{}]", vec![r#"{"n":1}"#; ROWS_MAX + 1].join(","));
        assert!(path_of(&many).1.starts_with("holds more than 1000 rows"));
    }
}
