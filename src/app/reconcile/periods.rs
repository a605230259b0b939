//! Closing the books: what belongs before an instant never changes from then on. What comes later for it counts in the open
//! period, and says so.

use chrono::{DateTime, Utc};

use super::super::{App, AppError};
use super::sql;
use crate::store::catalogue::change;
use crate::wire::FieldError;
use crate::wire::period::{ClosingBody, PeriodsBody};

impl App {
    /// Closes all periods before an instant, for ever. To close what is closed changes nothing.
    ///
    /// # Errors
    /// Names `until` when it is not past.
    pub async fn close_periods(&self, until: DateTime<Utc>, subject: &str) -> Result<PeriodsBody, AppError> {
        let now = self.clock.now();
        if until > now {
            return Err(FieldError::new("until", format!("{until} is not past: it is {now}")).into());
        }
        let mut connection = self.pool.acquire().await?;
        let mut change = change(&mut connection, now).await?;
        if change.close_until(until, subject).await? {
            change.commit().await?;
        } else {
            change.abandon().await?;
        }
        self.snapshots.refresh(&mut connection).await?;
        drop(connection);
        self.periods().await
    }

    /// What is closed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn periods(&self) -> Result<PeriodsBody, AppError> {
        let found = sql::closings(&mut *self.pool.acquire().await?).await?;
        let closings = found.into_iter().rev();
        let closings: Vec<ClosingBody> = closings
            .map(|(closed_until, (closed_by, closed_at))| ClosingBody { closed_until, closed_by, closed_at })
            .collect();
        Ok(PeriodsBody { closed_until: closings.first().map(|newest| newest.closed_until), closings })
    }
}
