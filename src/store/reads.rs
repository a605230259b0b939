//! How reads begin: each of their statements has a time, after which the database gives it up.

use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::{Postgres, Transaction};

use super::StoreError;

/// Longest time of one statement of a read: shorter than that of a request, so that its caller is told, and no statement goes
/// on for a caller who has gone.
pub const READ_TIME_MAX: Duration = Duration::from_secs(20);

/// Begins a read.
///
/// # Errors
/// When the database does not answer.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StoreError> {
    Ok(pool.begin_with("begin; set local statement_timeout = '20s'").await?)
}

/// Begins a read that sees one state of the books, however many queries it makes.
///
/// # Errors
/// When the database does not answer.
pub async fn begin_consistent(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StoreError> {
    const BEGIN: &str = "begin isolation level repeatable read, read only; set local statement_timeout = '20s'";
    Ok(pool.begin_with(BEGIN).await?)
}
