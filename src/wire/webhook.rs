//! Webhooks as JSON: endpoints that events are sent to.
//!
//! Invariant: a secret that was read can be used and not printed: [`WebhookSecret`] has an empty `Debug` and no `Serialize`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::FieldError;
use super::alert::AlertKindName;

/// Longest URL of an endpoint, in bytes.
pub const WEBHOOK_URL_LENGTH_MAX: usize = 2_000;
/// Fewest bytes of a secret (Standard Webhooks 1.0.0).
pub const WEBHOOK_SECRET_BYTES_MIN: usize = 24;
/// Most bytes of a secret (Standard Webhooks 1.0.0).
pub const WEBHOOK_SECRET_BYTES_MAX: usize = 64;
/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";

/// The key that signs what an endpoint is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// Of these bytes.
    ///
    /// # Errors
    /// When they are too few or too many.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, FieldError> {
        if (WEBHOOK_SECRET_BYTES_MIN..=WEBHOOK_SECRET_BYTES_MAX).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            let detail = format!("must hold {WEBHOOK_SECRET_BYTES_MIN} to {WEBHOOK_SECRET_BYTES_MAX} bytes");
            Err(FieldError::new("secret", detail))
        }
    }

    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// Says what is wrong, without repeating the text.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let encoded = text.strip_prefix(SECRET_PREFIX);
        let bytes = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
        let bytes = bytes.ok_or_else(|| FieldError::new("secret", "must be `whsec_` and the base64 of the key"))?;
        Self::from_bytes(bytes)
    }

    /// The bytes that sign.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text that receivers are given, for the one answer that shows it and for the store.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(hidden)")
    }
}

/// An endpoint. The body of `PUT /v1/webhooks/{id}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://hooks.example.com/counterfoil", "kinds": ["threshold", "overdraft"]}))]
pub struct WebhookPutBody {
    /// Where events are sent: `https`, or `http`. Redirects are not followed, and unless the service was started with
    /// `--webhook-private-addresses` only public addresses are taken.
    #[schema(example = "https://hooks.example.com/counterfoil")]
    pub url: String,
    /// Only this tenant's events. Without it, those of all tenants and of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only events of these kinds; all if empty.
    #[serde(default)]
    pub kinds: Vec<AlertKindName>,
    /// Whether events are sent. While it is not, none are kept for it.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The key of the signature: `whsec_` and the base64 of 24 to 64 bytes. Without it a new endpoint gets one of 32 bytes,
    /// which the answer shows once, and one that exists keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

const fn yes() -> bool {
    true
}

impl fmt::Debug for WebhookPutBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path of a URL may be a credential as well.
        f.debug_struct("WebhookPutBody")
            .field("tenant", &self.tenant)
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

/// How an endpoint fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// Events are sent.
    Enabled,
    /// Nothing is sent, because somebody said so.
    Disabled,
    /// Nothing but one event every six hours is sent, because it kept failing. What happens is kept for it until it takes one, or
    /// until somebody resumes it. One that answered 410 is not tried.
    Paused,
}

/// An endpoint, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookBody {
    /// Its id.
    #[schema(example = "pager")]
    pub id: String,
    /// Where events are sent. Whoever may not write it sees the host alone: `https://hooks.example.com/…`.
    pub url: String,
    /// Whose events; null for those of all tenants and of the platform.
    pub tenant: Option<String>,
    /// Of which kinds; all if empty.
    pub kinds: Vec<AlertKindName>,
    /// Whether events are sent.
    pub state: WebhookState,
    /// Counts replacements, from 1.
    pub version: i32,
    /// When it was first written.
    pub created_at: DateTime<Utc>,
    /// When it was last written.
    pub changed_at: DateTime<Utc>,
    /// Since when it is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// Failed attempts in a row.
    pub failures: u32,
    /// When the first of them was made.
    pub failing_since: Option<DateTime<Utc>>,
    /// When it last took an event.
    pub last_delivered_at: Option<DateTime<Utc>>,
    /// When it last failed to.
    pub last_failed_at: Option<DateTime<Utc>>,
    /// The HTTP status of the last attempt, if there was an answer.
    pub last_status: Option<u16>,
    /// Why the last attempt failed, or why this replica can make none; null if neither is so.
    pub last_error: Option<String>,
    /// Events that wait for it.
    pub waiting: u64,
    /// Events that were given up, because it did not take them in their time.
    pub given_up: u64,
}

impl WebhookBody {
    /// As it is shown to whoever may look at it and not write it: the path of a URL may be a credential.
    #[must_use]
    pub fn for_reader(mut self) -> Self {
        self.url = masked(&self.url);
        self
    }
}

/// A URL without its path and query, if they say anything.
fn masked(url: &str) -> String {
    let host = url.find("://").and_then(|at| at.checked_add(3)).unwrap_or(0);
    let end = url.get(host..).and_then(|rest| rest.find(['/', '?', '#'])).and_then(|at| at.checked_add(host));
    match end.and_then(|end| url.split_at_checked(end)) {
        Some((_, "" | "/")) | None => url.to_owned(),
        Some((place, _)) => format!("{place}/…"),
    }
}

/// An endpoint that was written.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WrittenWebhook)]
pub struct WrittenWebhookBody {
    /// The endpoint.
    #[serde(flatten)]
    pub webhook: WebhookBody,
    /// The key of the signature, if the service has just made it: it is shown this once.
    pub secret: Option<String>,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WebhookTest)]
pub struct WebhookTestBody {
    /// Whether the endpoint took it: a status of 200 to 299.
    pub delivered: bool,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why it was not delivered.
    pub error: Option<String>,
}

/// A page of endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WebhooksPage {
    /// By id.
    pub items: Vec<WebhookBody>,
    /// For the next page; none on the last.
    pub next_cursor: Option<String>,
}

/// Whose endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WebhookQuery {
    /// The tenant whose webhook it is, where several have one of this id. Without it, the platform's own or the only one.
    pub tenant: Option<String>,
}

/// Which endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WebhooksQuery {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most endpoints of one page: 1 to 1,000; 100 if not given.
    pub limit: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_back_and_printed_nowhere() {
        let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let secret = WebhookSecret::parse(text).unwrap();
        assert_eq!((secret.bytes().len(), secret.reveal().as_str()), (24, text));
        let body = format!(r#"{{"url": "https://h.example/k3y", "secret": "{text}"}}"#);
        let body: WebhookPutBody = serde_json::from_str(&body).unwrap();
        for printed in [format!("{secret:?}"), format!("{body:?}")] {
            assert!(!printed.contains("MfKQ") && !printed.contains("k3y"), "{printed}");
        }
    }

    #[test]
    fn a_reader_sees_the_host_of_a_url_and_not_its_path() {
        for (url, shown) in [
            ("https://hooks.example.com/services/T0/B0/secret", "https://hooks.example.com/…"),
            ("https://hooks.example.com:8443/?token=secret", "https://hooks.example.com:8443/…"),
            ("http://hooks.example.com?token=secret", "http://hooks.example.com/…"),
            ("https://hooks.example.com/", "https://hooks.example.com/"),
            ("https://hooks.example.com", "https://hooks.example.com"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }

    #[test]
    fn a_secret_of_another_form_or_length_is_refused_and_not_repeated() {
        let short = format!("{SECRET_PREFIX}{}", STANDARD.encode([7; 23]));
        let long = format!("{SECRET_PREFIX}{}", STANDARD.encode([7; 65]));
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_hunter2!", &short, &long] {
            let refused = WebhookSecret::parse(text).unwrap_err();
            assert_eq!(refused.field, "secret");
            assert!(!refused.detail.contains("hunter2"), "{refused}");
        }
    }
}
