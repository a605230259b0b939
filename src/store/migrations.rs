//! The schema, brought up to date.

use sqlx::Connection;
use sqlx::migrate::Migrate;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::{MIGRATOR, StoreError};

/// Where sqlx keeps what was run.
const TABLE: &str = "_sqlx_migrations";

/// One numbered step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// Whether it was run just now; it was there before otherwise.
    pub ran: bool,
}

/// Runs what was not run yet, and says which. Many may do so at once: one does, the others wait.
///
/// # Errors
/// When the database does not answer, a migration fails, or one that was run is another one than ours.
pub async fn run(options: &PgConnectOptions) -> Result<Vec<Step>, StoreError> {
    let mut connection = PgConnection::connect_with(options).await?;
    connection.ensure_migrations_table(TABLE).await?;
    let before = connection.list_applied_migrations(TABLE).await?;
    MIGRATOR.run(&mut connection).await?;
    connection.close().await?;
    let was_there = |version: i64| before.iter().any(|applied| applied.version == version);
    let steps = MIGRATOR.iter().map(|migration| Step {
        version: migration.version,
        name: migration.description.to_string(),
        ran: !was_there(migration.version),
    });
    Ok(steps.collect())
}

/// Whether the tables of the books are there. Makes nothing.
///
/// # Errors
/// When the database does not answer.
pub async fn has_books(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let there =
        sqlx::query_scalar("select to_regclass('catalogue_head') is not null and to_regclass('transfers') is not null");
    Ok(there.fetch_one(connection).await?)
}
