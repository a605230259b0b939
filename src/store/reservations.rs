//! Reservations, to be looked at.

use sqlx::postgres::PgConnection;

use super::StoreError;
use super::rows::reservation_from_row;
use crate::domain::id::ReservationId;
use crate::domain::ledger::reservation::Reservation;

/// One reservation, if the connection may see it.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn get(connection: &mut PgConnection, id: ReservationId) -> Result<Option<Reservation>, StoreError> {
    let row = sqlx::query("select * from reservations where id = $1").bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(reservation_from_row).transpose()
}
