//! Everything between a database and a service that answers: migrations, the books of prices and factors, the rules of
//! the calendar, the first snapshot, the lane.
//!
//! Many replicas may start at once: migrations run under sqlx's lock, imports and changes under the catalogue's.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio_util::task::TaskTracker;

use super::App;
use super::alerts::hub::EventHub;
use super::exports::Exports;
use super::places::{Bounds, Places};
use super::projection::Projections;
use super::reads::READ_PLACES;
use super::runs::StopsHeard;
use crate::auth::{GrantSigner, SealKey, Verifier};
use crate::clock::Clock;
use crate::courier::Courier;
use crate::domain::budget::catalogue::Catalogue;
use crate::domain::id::FeatureId;
use crate::domain::ledger::call_bound::CallBound;
use crate::ingest::mapping::{FEATURE_DEFAULT, Mapping};
use crate::lane::{Lane, Snapshots};
use crate::store::{MIGRATOR, StoreError, catalogue, preparation, rates};

/// Connections for everything but the lane. On two cores more only queue inside the database.
pub const POOL_CONNECTIONS_MAX: u32 = 8;
/// How long a probe waits for its connection: less than the usual time-outs of those who probe.
const PROBE_TIME_MAX: Duration = Duration::from_secs(5);

/// Brings the schema up to date. Many replicas may do so at once: one does, the others wait.
///
/// # Errors
/// When the database does not answer, or a migration fails.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), StoreError> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let migrated = MIGRATOR.run(&pool).await;
    pool.close().await;
    Ok(migrated?)
}

/// What a start found to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Price rows that are new.
    pub prices: usize,
    /// Factor rows that are new.
    pub factors: usize,
    /// Whether counters were recounted because the timezone rules, or those of counting, changed.
    pub recounted: bool,
    /// Whether counters were recounted by the names of providers and models.
    pub named: bool,
}

/// Migrates, imports the bundled prices and factors, and follows the timezone rules and the names of providers and models.
///
/// # Errors
/// When the database does not answer, or the bundle cannot be read.
pub async fn prepare(options: &PgConnectOptions, clock: &Clock) -> Result<Prepared, StoreError> {
    migrate(options).await?;
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let mut connection = pool.acquire().await?;
    let bundle = |error: &dyn std::fmt::Display| StoreError::Row(format!("the bundled books: {error}"));
    let rows = crate::wire::price::bundled_rows().map_err(|error| bundle(&error))?;
    let prices = rates::add_prices(&mut connection, &rows, clock.now()).await?;
    let factors = crate::wire::factor::bundled().map_err(|error| bundle(&error))?;
    let factors = rates::add_factors(&mut connection, &factors.docs, clock.now()).await?;
    let recounted = !catalogue::has_timezone_rules(&mut connection).await? && {
        let mut preparation = preparation::prepare(&mut connection, clock.now()).await?;
        let before = preparation.catalogue(&Catalogue::default()).await?;
        let ahead = preparation.count_all(&before).await?;
        let mut change = preparation.lock().await?;
        // Another replica may have done it meanwhile.
        let recounted = change.follow_timezone_rules(Some(&ahead)).await?;
        change.commit().await?;
        recounted
    };
    let mut change = catalogue::change(&mut connection, clock.now()).await?;
    let counted_otherwise = change.follow_counting_rules().await?;
    let names = rates::load(change.connection()).await?;
    let named = change.follow_names(&names.prices).await?;
    let recounted = recounted || counted_otherwise;
    if counted_otherwise || named {
        change.commit().await?;
    } else {
        change.abandon().await?;
    }
    drop(connection);
    pool.close().await;
    Ok(Prepared { prices: prices.new_rows(), factors: factors.new_rows(), recounted, named })
}

/// Starts the service on a prepared database. The lane's task is tracked: it ends once every [`App`] is dropped.
///
/// # Errors
/// When the database does not answer, or the catalogue cannot be read.
pub async fn start(
    options: &PgConnectOptions,
    clock: Clock,
    verifier: Arc<Verifier>,
    grants: Arc<GrantSigner>,
    seals: Arc<SealKey>,
    tasks: &TaskTracker,
) -> Result<App, StoreError> {
    let named = options.clone().application_name("counterfoil");
    let probe =
        PgPoolOptions::new().max_connections(1).acquire_timeout(PROBE_TIME_MAX).connect_lazy_with(named.clone());
    let pool = PgPoolOptions::new().max_connections(POOL_CONNECTIONS_MAX).connect_with(named).await?;
    let mut connection = pool.acquire().await?;
    let snapshots = Snapshots::load(&mut connection).await?;
    snapshots.load_paces(&mut connection, clock.now()).await?;
    drop(connection);
    let lane = Lane::start(options.clone(), snapshots.clone(), clock.clone(), tasks);
    let rules = crate::wire::signal::bundled_rules().map_err(|error| StoreError::Row(error.to_string()))?;
    let (otlp, rules) = (Arc::new(standard_mapping()?), Arc::new(rules));
    Ok(App {
        exports: Exports::new(pool.clone(), clock.clone(), Some(Arc::clone(&seals))),
        projections: Projections::default(),
        events: EventHub::default(),
        stops_heard: StopsHeard::default(),
        courier: Courier::default(),
        call_bound: CallBound::default(),
        changing: Places::new(Bounds { all: 1, each: 1, kept: 0 }),
        pool,
        probe,
        reads: Places::new(READ_PLACES),
        lane,
        snapshots,
        clock,
        verifier,
        grants,
        seals,
        otlp,
        rules,
    })
}

/// What the attributes of spans mean where nobody says otherwise.
///
/// # Errors
/// When the bundled names of providers cannot be read.
pub fn standard_mapping() -> Result<Mapping, StoreError> {
    let names = crate::wire::price::bundled_provider_names();
    let names = names.map_err(|error| StoreError::Row(format!("the bundled provider names: {error}")))?;
    let feature =
        FeatureId::parse(FEATURE_DEFAULT).map_err(|error| StoreError::Row(format!("the default feature {error}")))?;
    Ok(Mapping::standard(names, feature))
}
