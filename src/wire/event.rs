//! `CloudEvents` 1.0 in the JSON format: an envelope around usage.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>. Attributes the envelope does not
//! know are extensions, which everybody may add; `data` is as strict as any other body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::FieldError;
use super::call::UsageBody;

/// The version of the specification that is understood.
const SPEC_VERSION: &str = "1.0";

/// Usage as an event. `source` and `id` together say which: sent again, it is one effect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = UsageEvent)]
#[schema(example = json!({
    "specversion": "1.0", "type": "com.example.llm.usage", "source": "/gateways/eu-1", "id": "7f3c",
    "time": "2026-06-10T11:50:00Z", "subject": "acme",
    "data": {"feature": "support-chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 1200, "output": 300}}
}))]
pub struct UsageEventBody {
    /// The version of the specification: `1.0`.
    pub specversion: String,
    /// Its id, unique within its source.
    pub id: String,
    /// Who made it.
    pub source: String,
    /// What kind of event it is. Any: what counts is its `data`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The tenant, where `data` names none.
    #[serde(default)]
    pub subject: Option<String>,
    /// When it happened, where `data` has no `occurred_at`.
    #[serde(default)]
    pub time: Option<DateTime<Utc>>,
    /// The media type of `data`: JSON.
    #[serde(default)]
    pub datacontenttype: Option<String>,
    /// The usage, as in `POST /v1/usage`; `tenant` may be left to `subject`.
    #[serde(default)]
    #[schema(value_type = Option<UsageBody>)]
    pub data: Option<Value>,
    /// Or the same as base64 of its JSON.
    #[serde(default)]
    pub data_base64: Option<String>,
}

impl UsageEventBody {
    /// The usage it holds, as JSON: tenant, time and key are the envelope's where the usage has none.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn usage(self) -> Result<Value, FieldError> {
        if self.specversion != SPEC_VERSION {
            let detail = format!("`{}` is not understood: send {SPEC_VERSION}", self.specversion);
            return Err(FieldError::new("specversion", detail));
        }
        for (field, text) in [("id", &self.id), ("source", &self.source), ("type", &self.kind)] {
            if text.is_empty() {
                return Err(FieldError::new(field, "is empty"));
            }
        }
        if self.datacontenttype.as_deref().is_some_and(|given| !is_json(given)) {
            return Err(FieldError::new("datacontenttype", "must be JSON"));
        }
        let key = self.key();
        let mut usage = data(self.data, self.data_base64)?;
        let mut otherwise = |field: &str, value: Option<String>| {
            if let Some(value) = value.filter(|_| usage.get(field).is_none_or(Value::is_null)) {
                usage.insert(field.to_owned(), Value::String(value));
            }
        };
        otherwise("tenant", self.subject);
        otherwise("occurred_at", self.time.map(|time| time.to_rfc3339()));
        otherwise("idempotency_key", Some(key));
        Ok(Value::Object(usage))
    }

    /// `source` and `id` may be longer than a key, and hold what a key may not.
    fn key(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.source.as_bytes());
        digest.update([0]);
        digest.update(self.id.as_bytes());
        let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("cloudevent:{hex}")
    }
}

fn data(json: Option<Value>, base64: Option<String>) -> Result<Map<String, Value>, FieldError> {
    let value = match (json, base64) {
        (Some(value), None) => value,
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|error| FieldError::new("data_base64", error))?;
            serde_json::from_slice(&bytes).map_err(|error| FieldError::new("data_base64", error))?
        }
        (Some(_), Some(_)) => return Err(FieldError::new("data_base64", "give either data or data_base64, not both")),
        (None, None) => return Err(FieldError::new("data", "is required")),
    };
    let Value::Object(fields) = value else { return Err(FieldError::new("data", "must be an object")) };
    Ok(fields)
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usage_of(with: &Value) -> Result<Value, FieldError> {
        let mut event = json!({"specversion": "1.0", "type": "t", "source": "/s", "id": "1", "data": {"model": "m"}});
        for (field, value) in with.as_object().unwrap() {
            event[field] = value.clone();
        }
        serde_json::from_value::<UsageEventBody>(event).unwrap().usage()
    }

    #[test]
    fn the_envelope_says_what_the_usage_leaves_out() {
        let said = usage_of(&json!({"subject": "acme", "time": "2026-06-10T11:50:00Z", "traceparent": "extension"}));
        let said = said.unwrap();
        assert_eq!((&said["tenant"], &said["occurred_at"]), (&json!("acme"), &json!("2026-06-10T11:50:00+00:00")));
        let own = json!({"tenant": "bolt", "occurred_at": "2026-06-01T00:00:00Z", "idempotency_key": "k"});
        let kept = usage_of(&json!({"subject": "acme", "time": "2026-06-10T11:50:00Z", "data": own})).unwrap();
        assert_eq!(kept, own);
    }

    #[test]
    fn source_and_id_together_are_the_key() {
        let key =
            |source: &str, id: &str| usage_of(&json!({"source": source, "id": id})).unwrap()["idempotency_key"].clone();
        assert_eq!(key("/s", "1"), key("/s", "1"));
        assert_ne!(key("/s", "1"), key("/s", "2"));
        assert_ne!(key("/s1", "2"), key("/s", "12"));
        assert!(key("/s", "1").as_str().unwrap().len() <= crate::domain::id::NAME_LENGTH_MAX);
    }

    #[test]
    fn data_may_be_base64() {
        let text = STANDARD.encode(r#"{"model":"m"}"#);
        assert_eq!(usage_of(&json!({"data": null, "data_base64": text})).unwrap()["model"], "m");
    }

    #[test]
    fn what_is_wrong_with_an_envelope_is_named() {
        for (with, said) in [
            (json!({"specversion": "0.3"}), "specversion: `0.3` is not understood: send 1.0"),
            (json!({"id": ""}), "id: is empty"),
            (json!({"data": null}), "data: is required"),
            (json!({"data": [1]}), "data: must be an object"),
            (json!({"data_base64": "e30="}), "data_base64: give either data or data_base64, not both"),
            (json!({"datacontenttype": "text/xml"}), "datacontenttype: must be JSON"),
        ] {
            assert_eq!(usage_of(&with).unwrap_err().to_string(), said);
        }
    }
}
