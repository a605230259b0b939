//! Reads of the books: in a transaction, within a time, and in a place that tenants share.
//!
//! Whoever asks for sums of a year, again and again, waits for itself: a tenant has a share of the connections, the last are
//! left to those who have none, and who waits is served in turn. Some connections are no reads' at all: changes, workers and
//! lookups before a call need them.

use std::ops::{Deref, DerefMut};

use sqlx::postgres::PgConnection;
use sqlx::{Postgres, Transaction};

use super::places::{Bounds, Place};
use super::start::POOL_CONNECTIONS_MAX;
use super::{App, AppError};
use crate::domain::id::TenantId;
use crate::store::StoreError;
use crate::store::reads::{begin, begin_consistent};

/// Reads at once, of one replica: all connections but two.
pub const READS_MAX: usize = 6;
/// Reads at once of one tenant, or of the platform. The last two are left to those who have none.
pub const READS_EACH_MAX: usize = 4;

/// The places of reads.
pub(super) const READ_PLACES: Bounds = Bounds { all: READS_MAX, each: READS_EACH_MAX, kept: 2 };

const _: () = assert!(POOL_CONNECTIONS_MAX == 8, "two more than there are reads at once");

/// A read under way. Dropped, it has ended.
pub struct Read {
    transaction: Transaction<'static, Postgres>,
    /// After the transaction, so that the connection is back before the place is free.
    _place: Place,
}

impl Deref for Read {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for Read {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

impl Read {
    /// Ends it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

impl App {
    async fn read_place(&self, tenant: Option<&TenantId>) -> Result<Place, AppError> {
        self.reads.take(tenant).await.ok_or(AppError::Busy("no read is possible now: come back later"))
    }

    /// Begins a read. For a credential that is confined to a tenant it runs under the role that row-level security
    /// confines, so that a query that forgets its tenant still shows only that tenant's rows.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin_read(&self, tenant: Option<&TenantId>) -> Result<Read, AppError> {
        let place = self.read_place(tenant).await?;
        let mut transaction = begin(&self.pool).await?;
        if let Some(tenant) = tenant {
            crate::store::confine(&mut transaction, tenant).await?;
        }
        Ok(Read { transaction, _place: place })
    }

    /// Begins a read that sees one state of the books, however many queries it makes. It is not confined yet: what it is asked
    /// for on behalf of a tenant takes that tenant's place.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin_consistent_read(&self, tenant: Option<&TenantId>) -> Result<Read, AppError> {
        let place = self.read_place(tenant).await?;
        Ok(Read { transaction: begin_consistent(&self.pool).await?, _place: place })
    }
}
