//! The catalogue and the rates that this replica knows, shared between its lanes and everybody who reads them; and beside
//! them the paces, and what was learned of calls, which have no version: replicas may differ for a moment.

use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::standing::Standing;
use crate::domain::budget::catalogue::Catalogue;
use crate::domain::learned::lesson::Lessons;
use crate::domain::pacing::pace::Paces;
use crate::domain::tariff::RateBooks;
use crate::store::{StoreError, catalogue, paces, rates};

/// One consistent version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Tenants and budgets.
    pub catalogue: Arc<Catalogue>,
    /// Prices and factors.
    pub rates: Arc<RateBooks>,
    /// The version of prices and factors.
    pub rates_version: i64,
}

/// The latest version known here. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots {
    books: Arc<RwLock<Snapshot>>,
    /// Apart, because they have no version: a batch takes those that are there, and a pace that is out of date is none.
    paces: Arc<RwLock<Arc<Paces>>>,
    /// Apart, because a reservation keeps what it holds, whoever learned what.
    lessons: Arc<RwLock<Arc<Lessons>>>,
    /// Whether what a lane writes is kept.
    pub standing: Standing,
}

impl Snapshots {
    /// Loads the first one.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn load(connection: &mut PgConnection) -> Result<Self, StoreError> {
        let (_, rates_version) = catalogue::versions(&mut *connection).await?;
        let rates = Arc::new(rates::load(&mut *connection).await?);
        let catalogue = Arc::new(catalogue::load(connection).await?);
        let books = Arc::new(RwLock::new(Snapshot { catalogue, rates, rates_version }));
        Ok(Self { books, paces: Arc::default(), lessons: Arc::default(), standing: Standing::default() })
    }

    /// The paces last read.
    #[must_use]
    pub fn paces(&self) -> Arc<Paces> {
        Arc::clone(&self.paces.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the paces that are in date at an instant.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn load_paces(&self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), StoreError> {
        let paces = Arc::new(paces::load(connection, now).await?);
        *self.paces.write().unwrap_or_else(PoisonError::into_inner) = paces;
        Ok(())
    }

    /// The latest known.
    #[must_use]
    pub fn latest(&self) -> Snapshot {
        self.books.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What calls really use, as far as it is known here. Empty until it is taught.
    #[must_use]
    pub fn lessons(&self) -> Arc<Lessons> {
        Arc::clone(&self.lessons.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the next batch on, learned rules hold by these.
    pub fn teach(&self, lessons: Lessons) {
        *self.lessons.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(lessons);
    }

    /// The one of these versions: the latest known if it is theirs, else loaded anew on this connection.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn of_versions(
        &self,
        connection: &mut PgConnection,
        version: i64,
        rates_version: i64,
    ) -> Result<Snapshot, StoreError> {
        let mut snapshot = self.latest();
        if snapshot.catalogue.version == version && snapshot.rates_version == rates_version {
            return Ok(snapshot);
        }
        if snapshot.rates_version != rates_version {
            snapshot.rates = Arc::new(rates::load(&mut *connection).await?);
            snapshot.rates_version = rates_version;
        }
        if snapshot.catalogue.version != version {
            snapshot.catalogue = Arc::new(catalogue::load_since(connection, &snapshot.catalogue).await?);
        }
        let mut known = self.books.write().unwrap_or_else(PoisonError::into_inner);
        if snapshot.catalogue.version >= known.catalogue.version && snapshot.rates_version >= known.rates_version {
            *known = snapshot.clone();
        }
        Ok(snapshot)
    }

    /// Catches up with the database.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn refresh(&self, connection: &mut PgConnection) -> Result<Snapshot, StoreError> {
        let (version, rates_version) = catalogue::versions(&mut *connection).await?;
        self.of_versions(connection, version, rates_version).await
    }
}
