//! The private Postgres: made, started, stopped, shared, killed and recovered.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use counterfoil::store::embedded::{Durability, EmbeddedError, Options, Ownership, PrivatePostgres};
use sqlx::{Connection, PgConnection};

use crate::support::cluster::search;

/// A data folder that the user who runs Postgres can reach.
fn data_dir() -> tempfile::TempDir {
    let parent = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let dir = tempfile::Builder::new().prefix("counterfoil_embedded").tempdir_in(parent).unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

fn options(ownership: Ownership) -> Options {
    let mut options = Options::new(search());
    options.ownership = ownership;
    options.durability = Durability::Scratch;
    options
}

async fn open(dir: &Path, ownership: Ownership) -> Result<PrivatePostgres, EmbeddedError> {
    PrivatePostgres::open(dir, options(ownership)).await
}

/// Connects, and counts how often that was done before in this cluster.
async fn visits(postgres: &PrivatePostgres) -> i64 {
    let mut connection = PgConnection::connect_with(&postgres.connect_options()).await.unwrap();
    sqlx::raw_sql("create table if not exists visit (); insert into visit default values")
        .execute(&mut connection)
        .await
        .unwrap();
    let count = sqlx::query_scalar("select count(*) from visit").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

#[tokio::test]
async fn a_cluster_is_made_once_and_keeps_its_data() {
    let dir = data_dir();
    let postgres = open(dir.path(), Ownership::Exclusive).await.unwrap();
    assert!(postgres.is_owned());
    assert_eq!(visits(&postgres).await, 1);
    let socket_dir = postgres.socket_dir().to_owned();
    postgres.stop().await.unwrap();
    assert!(!socket_dir.exists());
    let postgres = open(dir.path(), Ownership::Exclusive).await.unwrap();
    assert_eq!(visits(&postgres).await, 2);
    postgres.stop().await.unwrap();
}
