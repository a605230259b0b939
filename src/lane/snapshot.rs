//! The catalogue and the rates that this replica knows, shared between its lanes and everybody who reads them; and beside
//! them what was learned of calls, which has no version: replicas may differ, because a reservation keeps what it holds.

use std::sync::{Arc, PoisonError, RwLock};

use sqlx::postgres::PgConnection;

use crate::domain::budget::catalogue::Catalogue;
use crate::domain::learned::lesson::Lessons;
use crate::domain::tariff::RateBooks;
use crate::store::{StoreError, catalogue, rates};

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
pub struct Snapshots(Arc<Known>);

#[derive(Debug)]
struct Known {
    latest: RwLock<Snapshot>,
    lessons: RwLock<Arc<Lessons>>,
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
        let latest = RwLock::new(Snapshot { catalogue, rates, rates_version });
        Ok(Self(Arc::new(Known { latest, lessons: RwLock::default() })))
    }

    /// The latest known.
    #[must_use]
    pub fn latest(&self) -> Snapshot {
        self.0.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What calls really use, as far as it is known here. Empty until it is taught.
    #[must_use]
    pub fn lessons(&self) -> Arc<Lessons> {
        Arc::clone(&self.0.lessons.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the next batch on, learned rules hold by these.
    pub fn teach(&self, lessons: Lessons) {
        *self.0.lessons.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(lessons);
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
            snapshot.catalogue = Arc::new(catalogue::load(connection).await?);
        }
        let mut known = self.0.latest.write().unwrap_or_else(PoisonError::into_inner);
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
