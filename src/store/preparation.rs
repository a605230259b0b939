//! A change of the catalogue before it keeps batches out: it waits for another one that counts, and counts while batches go on.
//!
//! | # | what | who waits |
//! |---|---|---|
//! | 1 | [`prepare`]: the lock of changes that count | other such changes |
//! | 2 | [`Preparation::count_budgets`] and its like | nobody else |
//! | 3 | [`Preparation::lock`]: the lock of the catalogue | batches, until the [`Change`] is committed |

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Postgres, Transaction};

use super::StoreError;
use super::catalogue::{Change, as_written, by_id, counted_before, load_newer, on_the_clock_of};
use super::counting::{CountedAhead, count_ahead};
use super::locks::{Lock, take};
use crate::domain::budget::catalogue::{Budget, BudgetNumber, Catalogue};
use crate::domain::calendar::Zone;
use crate::domain::id::{BudgetId, TenantId};
use crate::wire::budget::{BudgetBody, BudgetRecord};

/// A change of the catalogue that counts before it keeps batches out: one at a time, in all replicas.
pub struct Preparation<'c> {
    transaction: Transaction<'c, Postgres>,
    now: DateTime<Utc>,
}

/// Begins a change that counts first: waits for another one that does.
///
/// # Errors
/// When the database does not answer.
pub async fn prepare(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Preparation<'_>, StoreError> {
    // Read committed, and nothing written before the lock: between its statements it holds no snapshot and no number of its
    // own, so that old versions of counters go while it counts.
    let mut transaction = connection.begin_with("begin isolation level read committed").await?;
    take(&mut transaction, Lock::Counting).await?;
    Ok(Preparation { transaction, now })
}

impl<'c> Preparation<'c> {
    /// The catalogue as it is committed, loaded by way of what is known of it.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn catalogue(&mut self, known: &Catalogue) -> Result<Catalogue, StoreError> {
        load_newer(&mut self.transaction, known).await
    }

    /// The connection, to look something up.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Counts those of some budgets that count otherwise than in this catalogue, as they will be.
    ///
    /// # Errors
    /// When the database does not answer, or something cannot be counted.
    pub async fn count_budgets(
        &mut self,
        before: &Catalogue,
        budgets: &[(BudgetId, BudgetBody)],
    ) -> Result<CountedAhead, StoreError> {
        let now = self.now;
        let counted = |before: &Catalogue| {
            let by_id = by_id(before);
            let mut counted = Vec::new();
            for (place, (id, body)) in (1..).zip(budgets) {
                let was = by_id.get(id);
                // A new one has no number yet, and no other one has a number below zero.
                let number = was.map_or(BudgetNumber(0_i32.saturating_sub(place)), |was| was.number);
                let record = BudgetRecord { number, version: 0, counted_from: counted_before(now) };
                let budget = as_written(id, body, record)?;
                if was.is_none_or(|was| !was.counts_like(&budget)) {
                    counted.push(Arc::new(budget));
                }
            }
            Ok((before.clone(), counted))
        };
        self.count(before, None, counted).await
    }

    /// Counts every budget, as it is.
    ///
    /// # Errors
    /// When the database does not answer, or something cannot be counted.
    pub async fn count_all(&mut self, before: &Catalogue) -> Result<CountedAhead, StoreError> {
        self.count(before, None, |before| Ok((before.clone(), before.budgets().cloned().collect()))).await
    }

    /// Counts the budgets on a tenant's clock, as that zone bounds their periods.
    ///
    /// # Errors
    /// When the database does not answer, or something cannot be counted.
    pub async fn count_tenant(
        &mut self,
        before: &Catalogue,
        tenant: &TenantId,
        zone: Zone,
    ) -> Result<CountedAhead, StoreError> {
        let counted = |before: &Catalogue| {
            let after = before.clone().with_zone(tenant, zone);
            let budgets = on_the_clock_of(tenant, &after).cloned().collect();
            Ok((after, budgets))
        };
        self.count(before, Some(tenant), counted).await
    }

    /// Counts the budgets that follow from a catalogue, by it as it will be. Once more by way of a newer one where calls were seen
    /// of a tenant that was made after the first was loaded.
    async fn count(
        &mut self,
        before: &Catalogue,
        tenant: Option<&TenantId>,
        counted: impl Fn(&Catalogue) -> Result<(Catalogue, Vec<Arc<Budget>>), StoreError>,
    ) -> Result<CountedAhead, StoreError> {
        let (after, budgets) = counted(before)?;
        let ahead = count_ahead(&mut self.transaction, &after, budgets, tenant, self.now).await?;
        if ahead.is_whole() {
            return Ok(ahead);
        }
        let newer = self.catalogue(before).await?;
        let (after, budgets) = counted(&newer)?;
        count_ahead(&mut self.transaction, &after, budgets, tenant, self.now).await
    }

    /// Goes on to the change itself: waits for the batches that are on their way, and keeps new ones out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock(mut self) -> Result<Change<'c>, StoreError> {
        take(&mut self.transaction, Lock::Catalogue).await?;
        // One time for all: a change is written at an instant that no batch before it was later than.
        let now = super::time::instant(&mut self.transaction, self.now).await?;
        Ok(Change { transaction: self.transaction, now, counted_from: counted_before(self.now) })
    }
}
