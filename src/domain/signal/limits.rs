//! Limits that headers report: how much there is, how much is left or used, when it resets.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::ProviderAnswer;
use super::times::{after, bounded, epoch, go_duration};

/// How a header says when a limit resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetForm {
    /// RFC 3339.
    Instant,
    /// From now on, as Go writes durations: `6m0s`.
    Duration,
    /// Seconds since the Unix epoch.
    Epoch,
    /// Seconds from now on.
    Seconds,
}

/// How a header says how much of a limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsedForm {
    /// A share: 1 is the whole.
    Share,
    /// Percent.
    Percent,
}

/// The headers of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitHeaders {
    /// The providers that send them.
    pub providers: Vec<String>,
    /// What is limited: `requests`, `tokens`, `input_tokens`, `output_tokens`; of subscriptions the name of a window.
    pub counts: String,
    /// The header with the limit.
    pub limit: Option<String>,
    /// The header with what remains.
    pub remaining: Option<String>,
    /// The header with how much is used, and its form.
    pub used: Option<(String, UsedForm)>,
    /// The header that says whether calls are refused by it, and the words with which it does.
    pub status: Option<(String, Vec<String>)>,
    /// The header with the window's length in minutes, where it is not always the same.
    pub window_minutes: Option<String>,
    /// The window's length in seconds, where it is.
    pub window_seconds: Option<u64>,
    /// The headers with the reset, each with its form; the first that can be read counts.
    pub resets: Vec<(String, ResetForm)>,
}

/// One limit, as an answer reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedLimit {
    /// What is limited.
    pub counts: String,
    /// How much.
    pub limit: Option<u64>,
    /// How much is left.
    pub remaining: Option<u64>,
    /// How much is used, as a share.
    pub used: Option<Decimal>,
    /// How long its window is, in seconds.
    pub window_seconds: Option<u64>,
    /// When it is whole again.
    pub resets_at: Option<DateTime<Utc>>,
    /// Whether it refuses calls.
    pub is_exhausted: bool,
}

impl LimitHeaders {
    /// The limit, if the answer reports any of it.
    #[must_use]
    pub fn read(&self, answer: &ProviderAnswer, received_at: DateTime<Utc>) -> Option<ReportedLimit> {
        let text = |name: &Option<String>| answer.header(name.as_deref()?).map(str::trim);
        let count = |name: &Option<String>| text(name).and_then(|text| text.parse::<u64>().ok());
        let (limit, remaining) = (count(&self.limit), count(&self.remaining));
        let used = self.used.as_ref().and_then(|(name, form)| {
            let number = answer.header(name)?.trim().parse::<Decimal>().ok().filter(|used| *used >= Decimal::ZERO)?;
            match form {
                UsedForm::Share => Some(number.normalize()),
                UsedForm::Percent => number.checked_div(Decimal::ONE_HUNDRED).map(|share| share.normalize()),
            }
        });
        let resets_at = self.resets.iter().find_map(|(name, form)| {
            let text = answer.header(name)?.trim();
            match form {
                ResetForm::Instant => bounded(DateTime::parse_from_rfc3339(text).ok()?.to_utc(), received_at),
                ResetForm::Duration => after(received_at, go_duration(text)?),
                ResetForm::Epoch => epoch(text, received_at),
                ResetForm::Seconds => after(received_at, go_duration(&format!("{text}s"))?),
            }
        });
        let window = count(&self.window_minutes).and_then(|minutes| minutes.checked_mul(60));
        if window == Some(0) {
            // A plan without this window sends its headers all the same.
            return None;
        }
        // What is used up need not be refused: it may be paid for otherwise. The status is the better word where there is one.
        let status = self.status.as_ref().and_then(|(name, words)| Some((answer.header(name)?.trim(), words)));
        let refuses = match status {
            Some((status, words)) => words.iter().any(|word| status.eq_ignore_ascii_case(word)),
            None => used.is_some_and(|used| used >= Decimal::ONE),
        };
        let is_reported = limit.is_some() || remaining.is_some() || used.is_some() || resets_at.is_some();
        is_reported.then(|| ReportedLimit {
            counts: self.counts.clone(),
            limit,
            remaining,
            used,
            window_seconds: window.or(self.window_seconds),
            resets_at,
            is_exhausted: remaining == Some(0) || refuses,
        })
    }
}
