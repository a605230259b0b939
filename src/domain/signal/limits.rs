//! Limits that headers tell: how much there is, how much is left, when it resets.

use chrono::{DateTime, Utc};

use super::ProviderAnswer;
use super::times::{after, go_duration};

/// How a header tells when a limit resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetForm {
    /// RFC 3339.
    Instant,
    /// From now on, as Go writes durations: `6m0s`.
    Duration,
}

/// The headers of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitHeaders {
    /// The providers that send them.
    pub providers: Vec<String>,
    /// What is limited: `requests`, `tokens`, `input_tokens`, `output_tokens`.
    pub counts: String,
    /// The header with the limit.
    pub limit: String,
    /// The header with what remains.
    pub remaining: String,
    /// The header with the reset, and its form.
    pub reset: Option<(String, ResetForm)>,
}

/// One limit, as an answer tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedLimit {
    /// What is limited.
    pub counts: String,
    /// How much.
    pub limit: Option<u64>,
    /// How much is left.
    pub remaining: Option<u64>,
    /// When it is whole again.
    pub resets_at: Option<DateTime<Utc>>,
}

impl LimitHeaders {
    /// The limit, if the answer tells any of it.
    #[must_use]
    pub fn read(&self, answer: &ProviderAnswer, received_at: DateTime<Utc>) -> Option<ReportedLimit> {
        let count = |name: &str| answer.header(name).and_then(|text| text.trim().parse().ok());
        let (limit, remaining) = (count(&self.limit), count(&self.remaining));
        let resets_at = self.reset.as_ref().and_then(|(name, form)| {
            let text = answer.header(name)?.trim();
            match form {
                ResetForm::Instant => DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()),
                ResetForm::Duration => after(received_at, go_duration(text)?),
            }
        });
        let tells = limit.is_some() || remaining.is_some() || resets_at.is_some();
        tells.then(|| ReportedLimit { counts: self.counts.clone(), limit, remaining, resets_at })
    }
}
