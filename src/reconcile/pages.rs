//! What every page of a report has: buckets of time, an end, and no field that is passed over.
//!
//! A field that is not known here may be new at the provider. A name or an id does no harm; a number, or anything whose name
//! speaks of tokens or money, could be what the bill is about, so it is refused by its place rather than passed over.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use serde_json::{Map, Value};

use super::decimal;
use super::report::BadReport;
use crate::domain::id::ModelId;

/// Words in the name of a field that carries tokens or money.
const COUNTED: [&str; 7] = ["token", "amount", "cost", "usd", "price", "credit", "charge"];
/// A day, in seconds.
const DAY_SECONDS: i64 = 86_400;

/// A JSON object at a place of the body.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    fields: &'a Map<String, Value>,
    place: &'a str,
}

impl<'a> Fields<'a> {
    /// Takes an object.
    ///
    /// # Errors
    /// When the value is none.
    pub fn of(value: &'a Value, place: &'a str) -> Result<Self, BadReport> {
        let fields = value.as_object().ok_or_else(|| BadReport::new(place, "must be an object"))?;
        Ok(Self { fields, place })
    }

    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> &'a str {
        self.place
    }

    /// The place of one of its fields.
    #[must_use]
    pub fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    /// An error about one of its fields.
    #[must_use]
    pub fn wrong(&self, name: &str, detail: impl Into<String>) -> BadReport {
        BadReport::new(self.at(name), detail)
    }

    /// A field that is there and not null.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there, also as null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A text, or nothing.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, BadReport> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| self.wrong(name, "must be a text"));
        self.get(name).map(text).transpose()
    }

    /// A count; zero where there is none.
    ///
    /// # Errors
    /// When it is not a whole number from zero on.
    pub fn count(&self, name: &str) -> Result<i64, BadReport> {
        let Some(value) = self.get(name) else { return Ok(0) };
        let count = value.as_i64().filter(|count| *count >= 0);
        count.ok_or_else(|| self.wrong(name, format!("{value} is not a whole number from 0 on")))
    }

    /// A count that must be there.
    ///
    /// # Errors
    /// When it is not, or is not a whole number from zero on.
    pub fn required_count(&self, name: &str) -> Result<i64, BadReport> {
        if self.get(name).is_none() {
            return Err(self.wrong(name, "is required"));
        }
        self.count(name)
    }

    /// A list that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn list(&self, name: &str) -> Result<&'a [Value], BadReport> {
        let list = self.get(name).and_then(Value::as_array);
        list.map(Vec::as_slice).ok_or_else(|| self.wrong(name, "must be a list"))
    }

    /// Refuses what is not known and may be counted.
    ///
    /// # Errors
    /// Names the field.
    pub fn only(&self, known: &[&str]) -> Result<(), BadReport> {
        for (name, value) in self.fields {
            if !known.contains(&name.as_str()) && may_count(name, value) {
                let shown: String = value.to_string().chars().take(40).collect();
                return Err(self.wrong(name, format!("{shown} is not known here and may be tokens or money")));
            }
        }
        Ok(())
    }
}

/// Whether a field that is not known may carry tokens or money.
fn may_count(name: &str, value: &Value) -> bool {
    let speaks = COUNTED.iter().any(|word| name.contains(word));
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => speaks && decimal::parse(text).is_some_and(|value| !value.is_zero()),
        Value::Array(items) => items.iter().any(|item| may_count(name, item)),
        Value::Object(fields) => fields.iter().any(|(inner, value)| may_count(inner, value)),
    }
}

/// A model's name.
///
/// # Errors
/// Names the place.
pub fn model(name: &str, place: impl Into<String>) -> Result<ModelId, BadReport> {
    ModelId::parse(name).map_err(|why| BadReport::new(place, why.to_string()))
}

/// A name for costs that no model's tokens made, from what the provider calls them.
///
/// # Errors
/// Names the place when nothing is left of it.
pub fn line_name(text: &str, place: impl Into<String>) -> Result<ModelId, BadReport> {
    let name: String = text.trim().chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(200).collect();
    model(&name, place)
}

/// The span of time of one bucket of a page: within one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first instant.
    pub start: DateTime<Utc>,
    /// The first instant after it.
    pub end: DateTime<Utc>,
}

impl Span {
    /// Checks that the span is within one day.
    ///
    /// # Errors
    /// Names the place.
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>, place: &str) -> Result<Self, BadReport> {
        let next = start.date_naive().checked_add_days(Days::new(1)).map(|day| day.and_time(NaiveTime::MIN).and_utc());
        if start >= end {
            return Err(BadReport::new(place, format!("ends at {end}, which is not after its start {start}")));
        }
        if next.is_none_or(|next| end > next) {
            let detail =
                "reaches from one UTC day into the next: ask the provider for `bucket_width` 1d, from midnight UTC";
            return Err(BadReport::new(place, detail));
        }
        Ok(Self { start, end })
    }

    /// Its UTC day.
    #[must_use]
    pub fn day(self) -> NaiveDate {
        self.start.date_naive()
    }
}

/// The spans one kind of report tells, to see that none is told twice and that days are whole.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// No two of them overlap, so that only the neighbours of another can.
    spans: BTreeMap<Span, String>,
}

impl Coverage {
    /// Notes a span.
    ///
    /// # Errors
    /// When it was told before: its tokens would count twice.
    pub fn note(&mut self, span: Span, place: &str) -> Result<(), BadReport> {
        let overlaps = |(known, _): &(&Span, &String)| known.start < span.end && span.start < known.end;
        let (before, after) = (self.spans.range(..=span).next_back(), self.spans.range(span..).next());
        if let Some((_, before)) = [before, after].into_iter().flatten().find(overlaps) {
            return Err(BadReport::new(place, format!("tells the same time as {before}: give each page once")));
        }
        self.spans.insert(span, place.to_owned());
        Ok(())
    }

    /// The days that are told.
    ///
    /// # Errors
    /// When a day is told in part: what is not told would look like calls that were never billed.
    pub fn days(&self) -> Result<BTreeSet<NaiveDate>, BadReport> {
        let mut seconds: BTreeMap<NaiveDate, (i64, &str)> = BTreeMap::new();
        for (span, place) in &self.spans {
            let told = seconds.entry(span.day()).or_insert((0, place));
            told.0 = told.0.saturating_add(span.end.signed_duration_since(span.start).num_seconds());
        }
        if let Some((day, (told, place))) = seconds.iter().find(|(_, (told, _))| *told != DAY_SECONDS) {
            let detail = format!("{day} is told for {told} of {DAY_SECONDS} seconds: send whole UTC days");
            return Err(BadReport::new(*place, detail));
        }
        Ok(seconds.into_keys().collect())
    }
}
