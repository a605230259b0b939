//! The counters of some budgets from nothing, row by row: for `verify`, and for what could not be counted ahead.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::postgres::PgConnection;

use super::super::StoreError;
use super::super::rows::{reservation_from_row, transfer_from_row};
use crate::domain::budget::catalogue::{BudgetNumber, Catalogue};
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::recount::{Recount, Recounted, counts_since};
use crate::domain::id::TenantId;
use crate::domain::ledger::reservation::ReservationState;
use crate::domain::ledger::transfer::Direction;

/// Adds up the journal and the open reservations for some budgets, of one tenant or of all. Rows are streamed, and each is
/// told to `on_row`: what is kept is one entry for each counter.
///
/// # Errors
/// When the database does not answer, or something cannot be counted.
pub(in crate::store) async fn count(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    budgets: Vec<BudgetNumber>,
    tenant: Option<&TenantId>,
    on_row: &mut (dyn FnMut() + Send),
) -> Result<BTreeMap<CounterId, Recounted>, StoreError> {
    let mut since = Some(DateTime::<Utc>::MAX_UTC);
    for budget in catalogue.budgets().filter(|budget| budgets.contains(&budget.number)) {
        let one = counts_since(budget, catalogue).map_err(StoreError::recount)?;
        since = since.zip(one).map(|(a, b)| a.min(b));
    }
    let mut recount = Recount::new(catalogue, budgets);
    let tenant = tenant.map(TenantId::as_str);
    let mut transfers = sqlx::query(
        "select * from transfers where ($1::timestamptz is null or period_at >= $1) and ($2::text is null or tenant = $2)",
    )
    .bind(since)
    .bind(tenant)
    .fetch(&mut *connection);
    while let Some(row) = transfers.try_next().await? {
        on_row();
        let transfer = transfer_from_row(&row)?;
        let moved = &transfer.priced.consumption;
        match transfer.direction {
            Direction::Forward => recount.post(&transfer.call, transfer.period_at, moved),
            Direction::Reverse => recount.take_back(&transfer.call, transfer.period_at, moved),
        }
        .map_err(StoreError::recount)?;
    }
    drop(transfers);
    // What has ended holds nothing, but it opened what is timed.
    let mut reservations = sqlx::query(
        "select * from reservations
        where (state = 'open' or ($2 and run is not null)) and ($1::text is null or tenant = $1)",
    )
    .bind(tenant)
    .bind(recount.is_timed())
    .fetch(&mut *connection);
    while let Some(row) = reservations.try_next().await? {
        on_row();
        let reservation = reservation_from_row(&row)?;
        let (call, held_at, held) = (&reservation.call, reservation.held_at, &reservation.hold.consumption);
        if reservation.state == ReservationState::Open {
            recount.hold(call, held_at, held, &reservation.learned).map_err(StoreError::recount)?;
        }
        recount.open(call, held_at, reservation.granted_at).map_err(StoreError::recount)?;
    }
    Ok(recount.finish())
}
