//! Events and alerts, to be looked at. What a tenant's credential reads is what row-level security shows it.

use super::super::{App, AppError};
use crate::domain::id::{EventId, TenantId};
use crate::store::alerts as sql;
pub use crate::store::alerts::Placed;
use crate::wire::alert::{AlertsQuery, EventBody, EventsQuery};

impl App {
    /// A page of events, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn events(
        &self,
        confined: Option<&TenantId>,
        query: &EventsQuery,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Placed>, AppError> {
        let mut read = self.begin_read(confined).await?;
        let found = sql::list_events(&mut read, query, before, limit).await?;
        read.commit().await?;
        Ok(found)
    }

    /// Events after a place, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn events_after(
        &self,
        confined: Option<&TenantId>,
        query: &EventsQuery,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Placed>, AppError> {
        let mut read = self.begin_read(confined).await?;
        let found = sql::events_after(&mut read, query, after, limit).await?;
        read.commit().await?;
        Ok(found)
    }

    /// One event, if the caller may see it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn event(&self, confined: Option<&TenantId>, id: EventId) -> Result<Option<EventBody>, AppError> {
        let mut read = self.begin_read(confined).await?;
        let found = sql::event(&mut read, id).await?;
        read.commit().await?;
        Ok(found)
    }

    /// Where a stream begins: after the event it was cut off at, or at the present.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stream_start(
        &self,
        confined: Option<&TenantId>,
        last: Option<EventId>,
    ) -> Result<Option<i64>, AppError> {
        let mut read = self.begin_read(confined).await?;
        let place = match last {
            Some(id) => sql::place_of(&mut read, id).await?,
            None => Some(sql::newest_place(&mut read).await?),
        };
        read.commit().await?;
        Ok(place)
    }

    /// A page of what is firing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alerts(
        &self,
        confined: Option<&TenantId>,
        query: &AlertsQuery,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<(String, EventBody)>, AppError> {
        let now = self.clock.now();
        let mut read = self.begin_read(confined).await?;
        let found = sql::list_alerts(&mut read, query, now, after, limit).await?;
        read.commit().await?;
        Ok(found)
    }
}
