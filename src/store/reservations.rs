//! Reservations, to be looked at.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::rows::reservation_from_row;
use crate::domain::id::{ReservationId, TenantId};
use crate::domain::ledger::reservation::Reservation;

/// Which reservations are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Those that are held.
    Open,
    /// Those whose time has passed, whether or not that was written down.
    Expired,
}

/// A page of reservations, of one tenant or of all, in the order in which they were granted.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn list(
    connection: &mut PgConnection,
    listed: Listed,
    tenant: Option<&TenantId>,
    after: Option<Uuid>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Reservation>, StoreError> {
    let statement = match listed {
        Listed::Open => {
            "select * from reservations
            where
                state = 'open'
                and expires_at > $1
                and ($2::text is null or tenant = $2)
                and ($3::uuid is null or id > $3)
            order by id
            limit $4"
        }
        // Each part by its own index.
        Listed::Expired => {
            "(
                select * from reservations
                where state = 'expired' and ($2::text is null or tenant = $2) and ($3::uuid is null or id > $3)
                order by id
                limit $4
            )
            union all
            (
                select * from reservations
                where
                    state = 'open'
                    and expires_at <= $1
                    and ($2::text is null or tenant = $2)
                    and ($3::uuid is null or id > $3)
                order by id
                limit $4
            )
            order by id
            limit $4"
        }
    };
    let rows = sqlx::query(statement)
        .bind(now)
        .bind(tenant.map(TenantId::as_str))
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(reservation_from_row).collect()
}

/// One reservation, if the connection may see it.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn get(connection: &mut PgConnection, id: ReservationId) -> Result<Option<Reservation>, StoreError> {
    let row = sqlx::query("select * from reservations where id = $1").bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(reservation_from_row).transpose()
}
