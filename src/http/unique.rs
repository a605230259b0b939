//! JSON without a key that is given twice.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Any JSON in which no object has a key twice. What it holds is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WithoutDuplicates;

impl<'de> Deserialize<'de> for WithoutDuplicates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = WithoutDuplicates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<WithoutDuplicates, E> {
        Ok(WithoutDuplicates)
    }

    fn visit_bool<E>(self, _: bool) -> Result<WithoutDuplicates, E> {
        Ok(WithoutDuplicates)
    }

    fn visit_i64<E>(self, _: i64) -> Result<WithoutDuplicates, E> {
        Ok(WithoutDuplicates)
    }

    fn visit_u64<E>(self, _: u64) -> Result<WithoutDuplicates, E> {
        Ok(WithoutDuplicates)
    }

    fn visit_f64<E>(self, _: f64) -> Result<WithoutDuplicates, E> {
        Ok(WithoutDuplicates)
    }

    fn visit_str<E>(self, _: &str) -> Result<WithoutDuplicates, E> {
        Ok(WithoutDuplicates)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<WithoutDuplicates, A::Error> {
        while list.next_element::<WithoutDuplicates>()?.is_some() {}
        Ok(WithoutDuplicates)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WithoutDuplicates, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(Value { is_new: !keys.contains(&key), key: &key })?;
            keys.insert(key);
        }
        Ok(WithoutDuplicates)
    }
}

/// The value of a key, so that the error stands where the key does.
struct Value<'a> {
    key: &'a str,
    is_new: bool,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = WithoutDuplicates;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<WithoutDuplicates, D::Error> {
        if self.is_new {
            WithoutDuplicates::deserialize(deserializer)
        } else {
            Err(D::Error::custom(format_args!("duplicate field `{}`", self.key)))
        }
    }
}
