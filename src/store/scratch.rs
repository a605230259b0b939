//! A database for a while: made and dropped by `bench`, beside the real one on the same server.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::StoreError;

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, as it prints it.
    pub version: String,
    /// The settings that decide about durability and speed, by name.
    pub settings: Vec<(String, String)>,
}

const SETTINGS: [&str; 6] =
    ["fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers", "max_connections"];

/// Makes a database on the server of these options. The name must be a plain identifier.
///
/// # Errors
/// When the server does not answer, or the user may not make databases.
pub async fn create_database(server: &PgConnectOptions, name: &str) -> Result<(), StoreError> {
    alter(server, format!("create database \"{name}\"")).await
}

/// Drops it, and whoever is connected to it.
///
/// # Errors
/// When the server does not answer or refuses.
pub async fn drop_database(server: &PgConnectOptions, name: &str) -> Result<(), StoreError> {
    alter(server, format!("drop database if exists \"{name}\" with (force)")).await
}

async fn alter(server: &PgConnectOptions, statement: String) -> Result<(), StoreError> {
    let mut connection = PgConnection::connect_with(server).await?;
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Writes everything to its place, so that what is measured next does not pay for what was written before. Answers whether
/// the server let us.
pub async fn checkpoint(connection: &mut PgConnection) -> bool {
    sqlx::query("checkpoint").execute(connection).await.is_ok()
}

/// Asks the server about itself.
///
/// # Errors
/// When it does not answer.
pub async fn server_facts(connection: &mut PgConnection) -> Result<ServerFacts, StoreError> {
    let version = sqlx::query_scalar("select current_setting('server_version')").fetch_one(&mut *connection).await?;
    let rows = sqlx::query(
        "select name, current_setting(name) from unnest($1::text[]) with ordinality as asked (name, place) order by place",
    )
    .bind(SETTINGS.as_slice())
    .fetch_all(connection)
    .await?;
    let settings = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, StoreError>>()?;
    Ok(ServerFacts { version, settings })
}

/// How many bytes of write-ahead log the server has written since it was made.
///
/// # Errors
/// When it does not answer.
pub async fn wal_bytes(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let bytes = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
    Ok(sqlx::query_scalar(bytes).fetch_one(connection).await?)
}
