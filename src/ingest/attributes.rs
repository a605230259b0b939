//! Attributes of spans and resources, read by name.
//!
//! The span's own attribute goes before its resource's, and the first of several names before the next.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

/// The attributes of one span, and of the resource that made it.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    span: &'a [KeyValue],
    resource: &'a [KeyValue],
}

/// Why an attribute is no count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a count of tokens")]
pub struct BadCount {
    /// The attribute.
    pub name: String,
}

impl<'a> Attributes<'a> {
    /// Puts them together.
    #[must_use]
    pub const fn new(span: &'a [KeyValue], resource: &'a [KeyValue]) -> Self {
        Self { span, resource }
    }

    /// The value of an attribute. The last one counts where a name is given twice.
    fn value(&self, name: &str) -> Option<&'a Value> {
        let of = |attributes: &'a [KeyValue]| {
            let found = attributes.iter().rev().find(|attribute| attribute.key == name);
            found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref())
        };
        of(self.span).or_else(|| of(self.resource))
    }

    /// Whether the span itself has an attribute whose name starts so.
    #[must_use]
    pub fn span_has_prefix(&self, prefix: &str) -> bool {
        self.span.iter().any(|attribute| attribute.key.starts_with(prefix))
    }

    /// The first of these names that has a text, a number or a truth value; an empty text counts as absent.
    #[must_use]
    pub fn text(&self, names: &[impl AsRef<str>]) -> Option<Cow<'a, str>> {
        names.iter().find_map(|name| as_text(self.value(name.as_ref())?))
    }

    /// The first of these names that is there, as a count, with its name.
    ///
    /// # Errors
    /// When it is negative, a fraction, or no number.
    pub fn count<'n>(&self, names: &[&'n str]) -> Result<Option<(&'n str, u64)>, BadCount> {
        for name in names {
            if let Some(value) = self.value(name) {
                let count = as_count(value).ok_or_else(|| BadCount { name: (*name).to_owned() })?;
                return Ok(Some((name, count)));
            }
        }
        Ok(None)
    }

    /// Names that start with a prefix, without it, and their texts. The resource's first, so that the span's replace them.
    pub fn with_prefix(&self, prefix: &'a str) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let all = self.resource.iter().chain(self.span);
        all.filter_map(move |attribute| {
            let rest = attribute.key.strip_prefix(prefix)?;
            Some((rest, as_text(attribute.value.as_ref()?.value.as_ref()?)?))
        })
    }
}

fn as_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::StringValue(text) => (!text.trim().is_empty()).then(|| Cow::Borrowed(text.trim())),
        Value::IntValue(number) => Some(Cow::Owned(number.to_string())),
        Value::BoolValue(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::DoubleValue(_)
        | Value::ArrayValue(_)
        | Value::KvlistValue(_)
        | Value::BytesValue(_)
        | Value::StringValueStrindex(_) => None,
    }
}

/// A count may come as a whole double or as its decimal text: JavaScript knows no other numbers, and some exporters write
/// attributes as text.
fn as_count(value: &Value) -> Option<u64> {
    match value {
        Value::IntValue(number) => u64::try_from(*number).ok(),
        Value::DoubleValue(number) => whole(*number),
        Value::StringValue(text) => text.trim().parse().ok(),
        Value::BoolValue(_)
        | Value::ArrayValue(_)
        | Value::KvlistValue(_)
        | Value::BytesValue(_)
        | Value::StringValueStrindex(_) => None,
    }
}

/// A double that is a whole number, through its text: a float prints without an exponent and without a fraction then.
fn whole(number: f64) -> Option<u64> {
    (number.is_finite() && number.fract().abs() < f64::EPSILON).then(|| format!("{number:.0}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::AnyValue;

    use super::*;

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    #[test]
    fn the_spans_own_value_goes_before_the_resources_and_the_first_name_before_the_next() {
        let text = |text: &str| Value::StringValue(text.to_owned());
        let span = [attribute("b", text("span-b")), attribute("empty", text("  "))];
        let resource = [attribute("a", text("resource-a")), attribute("b", text("resource-b"))];
        let attributes = Attributes::new(&span, &resource);
        assert_eq!(attributes.text(&["b"]).as_deref(), Some("span-b"));
        assert_eq!(attributes.text(&["a", "b"]).as_deref(), Some("resource-a"));
        assert_eq!(attributes.text(&["empty", "a"]).as_deref(), Some("resource-a"));
        assert_eq!(attributes.text(&["c"]), None);
    }

    #[test]
    fn a_count_is_a_whole_number_that_is_not_negative() {
        for (value, count) in [
            (Value::IntValue(7), Some(7)),
            (Value::IntValue(-1), None),
            (Value::DoubleValue(1200.0), Some(1200)),
            (Value::DoubleValue(1.5), None),
            (Value::DoubleValue(-2.0), None),
            (Value::DoubleValue(f64::NAN), None),
            (Value::DoubleValue(1e300), None),
            (Value::StringValue("42".to_owned()), Some(42)),
            (Value::StringValue("many".to_owned()), None),
            (Value::BoolValue(true), None),
        ] {
            let span = [attribute("n", value.clone())];
            let read = Attributes::new(&span, &[]).count(&["m", "n"]);
            match count {
                Some(count) => assert_eq!(read, Ok(Some(("n", count))), "{value:?}"),
                None => assert_eq!(read, Err(BadCount { name: "n".to_owned() }), "{value:?}"),
            }
        }
    }
}
