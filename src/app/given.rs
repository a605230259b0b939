//! Answers under an idempotency key, of the writes that do not go through the lane.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;

use super::{App, AppError};
use crate::domain::ledger::command::Idempotency;
use crate::domain::ledger::outcome::Refusal;
use crate::store::{StoreError, idempotency};

/// An answer, and whether it is the one that was given to the same key before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given<T> {
    /// The answer.
    pub answer: T,
    /// Whether nothing was done for it now.
    pub is_repeated: bool,
}

impl<T> Given<T> {
    /// An answer that is new.
    pub const fn new(answer: T) -> Self {
        Self { answer, is_repeated: false }
    }
}

/// The answer that was given, from what is kept of it.
///
/// # Errors
/// [`Refusal::IdempotencyMismatch`] when something else was asked then.
pub fn repeated<T: DeserializeOwned>(
    key: &Idempotency,
    (fingerprint, text): (Vec<u8>, String),
) -> Result<Given<T>, AppError> {
    if fingerprint != key.fingerprint {
        return Err(Refusal::IdempotencyMismatch(key.key.clone()).into());
    }
    let answer = serde_json::from_str(&text).map_err(StoreError::from)?;
    Ok(Given { answer, is_repeated: true })
}

/// Keeps an answer under its key, within the transaction of what was done.
///
/// # Errors
/// [`AppError::Busy`] when somebody else has used the key in between; when the database does not answer.
pub(super) async fn keep<T: Serialize>(
    connection: &mut PgConnection,
    key: Option<&Idempotency>,
    answer: &T,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some(key) = key else { return Ok(()) };
    let text = serde_json::to_string(answer).map_err(StoreError::from)?;
    match idempotency::remember(connection, key, &text, now).await {
        Err(StoreError::KeyTaken) => Err(AppError::Busy("another request with this key was answered: send it again")),
        kept => Ok(kept?),
    }
}

impl App {
    /// The answer that was given to a key before, if one was and is repeated.
    ///
    /// # Errors
    /// [`Refusal::IdempotencyMismatch`] when something else was asked then; when the database does not answer.
    pub(super) async fn given_before<T: DeserializeOwned>(
        &self,
        connection: &mut PgConnection,
        key: Option<&Idempotency>,
    ) -> Result<Option<Given<T>>, AppError> {
        let Some(key) = key else { return Ok(None) };
        let known = idempotency::remembered(connection, key, self.clock.now()).await?;
        known.map(|known| repeated(key, known)).transpose()
    }
}
