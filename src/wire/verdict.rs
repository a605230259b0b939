//! Verdicts that did not grant, as JSON: why was this agent stopped at 03:12.
//!
//! A refusal that carried an idempotency key is kept one by one; the others are counted by tenant, minute, budget, feature,
//! verdict and reason, with the numbers of the latest.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::answer::{PreflightAnswer, VerdictName};

/// Which verdicts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VerdictsQuery {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only for this feature.
    pub feature: Option<String>,
    /// Only of this run: those that were kept one by one.
    pub run: Option<String>,
    /// Only of this agent: those that were kept one by one.
    pub agent: Option<String>,
    /// Only where this budget was the first reason.
    pub budget: Option<String>,
    /// Only `wait`, or only `stop`.
    #[param(inline)]
    pub verdict: Option<VerdictName>,
    /// Only from this instant on.
    pub from: Option<DateTime<Utc>>,
    /// Only before this instant.
    pub to: Option<DateTime<Utc>>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most verdicts of one page: 1 to 1,000; 100 if not given.
    pub limit: Option<u32>,
}

/// What a counted refusal is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CountedKey {
    /// Whose calls.
    pub tenant: String,
    /// In which minute.
    pub minute: DateTime<Utc>,
    /// The budget that was the first reason; empty if none was.
    pub budget: String,
    /// For which feature.
    pub feature: String,
    /// The verdict.
    pub verdict: String,
    /// The code of the first reason.
    pub reason: String,
}

/// The id of a refusal, in the words of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusalId {
    /// Of one refusal.
    One(Uuid),
    /// Of a minute of them.
    Counted(CountedKey),
}

impl RefusalId {
    /// Takes an id back. None if it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(id) = text.parse() {
            return Some(Self::One(id));
        }
        let json = URL_SAFE_NO_PAD.decode(text).ok()?;
        let key: CountedKey = serde_json::from_slice(&json).ok()?;
        // Postgres keeps no NUL: such a key is not ours.
        let texts = [&key.tenant, &key.budget, &key.feature, &key.verdict, &key.reason];
        texts.iter().all(|text| !text.contains('\0')).then_some(Self::Counted(key))
    }

    /// The text of it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::One(id) => id.to_string(),
            // A struct of texts and an instant can always be written.
            Self::Counted(key) => URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).unwrap_or_default()),
        }
    }
}

/// A verdict that did not grant, with its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RefusalBody {
    /// Its id here.
    pub id: String,
    /// `wait` or `stop`.
    pub verdict: VerdictName,
    /// The code of the first reason.
    #[schema(example = "limit_reached")]
    pub reason: String,
    /// The budget of the first reason.
    pub budget: Option<String>,
    /// Whose call it was.
    pub tenant: String,
    /// What it was for.
    pub feature: String,
    /// Who would have served it; not known of those that were counted.
    pub provider: Option<String>,
    /// With what; not known of those that were counted.
    pub model: Option<String>,
    /// The agent's task; not known of those that were counted.
    pub run: Option<String>,
    /// The agent; not known of those that were counted.
    pub agent: Option<String>,
    /// How urgent it was; not known of those that were counted.
    pub priority: Option<String>,
    /// The idempotency key of the call; not known of those that were counted.
    pub idempotency_key: Option<String>,
    /// How many of this kind in this minute. 1 for those kept one by one.
    pub count: u64,
    /// When, or when the first of them.
    pub first_at: DateTime<Utc>,
    /// When, or when the latest of them.
    pub last_at: DateTime<Utc>,
    /// What was answered, with all its numbers; of the latest where they were counted.
    pub answer: PreflightAnswer,
}

/// A page of verdicts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct VerdictsPage {
    /// Newest first.
    pub items: Vec<RefusalBody>,
    /// For the next page; none on the last.
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_a_strange_one_is_none() {
        let one = RefusalId::One(Uuid::from_u128(7));
        let key = CountedKey {
            tenant: "acme".to_owned(),
            minute: "2026-06-10T03:12:00Z".parse().unwrap(),
            budget: String::new(),
            feature: "chat".to_owned(),
            verdict: "stop".to_owned(),
            reason: "limit_reached".to_owned(),
        };
        for id in [one, RefusalId::Counted(key)] {
            assert_eq!(RefusalId::parse(&id.text()), Some(id));
        }
        for strange in ["", "x", "AAAA", "../..", "7"] {
            assert_eq!(RefusalId::parse(strange), None, "{strange}");
        }
    }
}
