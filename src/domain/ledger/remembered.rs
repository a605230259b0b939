//! What was answered under an idempotency key, and to whom it is repeated.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::command::Idempotency;
use super::outcome::{Answer, FirstAnswer, Outcome, Refusal};

/// An answer that was given before, with what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// SHA-256 of what was asked.
    pub fingerprint: [u8; 32],
    /// What was answered.
    pub outcome: Outcome,
    /// Until when it is repeated; none for as long as it is kept. From then on the key is as good as new.
    pub until: Option<DateTime<Utc>>,
}

impl Remembered {
    /// Whether it is still repeated at an instant.
    #[must_use]
    pub fn is_repeated(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The answer to whoever asks again under the same key.
    ///
    /// # Errors
    /// [`Refusal::IdempotencyMismatch`] when something else was asked then.
    pub fn answer_to(&self, idempotency: &Idempotency) -> Answer {
        if self.fingerprint == idempotency.fingerprint {
            Ok(if matches!(self.outcome, Outcome::Repeated(_)) {
                self.outcome.clone()
            } else {
                Outcome::Repeated(FirstAnswer::Fresh(Arc::new(self.outcome.clone())))
            })
        } else {
            Err(Refusal::IdempotencyMismatch(idempotency.key.clone()))
        }
    }
}
