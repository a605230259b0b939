//! Runs that are going on, and what is usual: followed slice by slice, learnt from once they have ended.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::super::AppError;
use crate::domain::alert::kind::AlertKind;
use crate::domain::alert::runs::{RUN_KEPT, RunFact, RunTrack, read};
use crate::domain::alert::{Cause, Reading};
use crate::domain::id::{FeatureId, RunId, TenantId};
use crate::store::alert_facts::{self as sql, FeatureKey, RunKey};
use crate::store::alert_look::Look;
use crate::store::alerts::OpenFound;

/// Most runs that are learnt from at once.
const LEARN_AT_ONCE: i64 = 10_000;

/// The run that an alert is about.
fn run_of(cause: &Cause, kind: AlertKind) -> Option<RunKey> {
    if !matches!(kind, AlertKind::RunVelocity | AlertKind::LoopSuspicion) {
        return None;
    }
    let mut parts = cause.parts();
    let tenant = TenantId::parse(parts.next()?).ok()?;
    let feature = FeatureId::parse(parts.next()?).ok()?;
    Some((tenant, feature, RunId::parse(parts.next()?).ok()?))
}

/// Follows the runs of what is new, and reads them and those that an alert is about.
pub(super) async fn quick(
    connection: &mut PgConnection,
    look: &Look,
    open: &BTreeMap<Cause, OpenFound>,
    now: DateTime<Utc>,
) -> Result<Vec<Reading>, AppError> {
    let slices = sql::run_slices(&mut *connection, look).await?;
    let told = open.iter().filter_map(|(cause, found)| run_of(cause, found.open.kind));
    let wanted: BTreeSet<RunKey> = slices.keys().cloned().chain(told).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<RunKey> = wanted.into_iter().collect();
    let mut tracks = sql::tracks(&mut *connection, &wanted).await?;
    let mut moved = Vec::with_capacity(slices.len());
    for (key, slices) in slices {
        let known = tracks.get(&key).copied();
        let track = slices.iter().fold(known, |track, slice| Some(RunTrack::with(track, slice)));
        if let Some(track) = track {
            tracks.insert(key.clone(), track);
            moved.push((key, track));
        }
    }
    sql::keep_tracks(&mut *connection, &moved).await?;
    let features: BTreeSet<FeatureKey> =
        wanted.iter().map(|(tenant, feature, _)| (tenant.clone(), feature.clone())).collect();
    let features: Vec<FeatureKey> = features.into_iter().collect();
    let usual = sql::usual_runs(connection, &features).await?;
    let readings = tracks.into_iter().flat_map(|((tenant, feature, run), track)| {
        let usual = usual.get(&(tenant.clone(), feature.clone())).copied().unwrap_or_default();
        read(&RunFact { tenant, run, feature, track, usual }, now)
    });
    Ok(readings.collect())
}

/// Learns from runs that have ended, and forgets them.
pub(super) async fn learn(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), AppError> {
    let before = now.checked_sub_signed(RUN_KEPT).unwrap_or(now);
    let ended = sql::take_ended(&mut *connection, before, LEARN_AT_ONCE).await?;
    if ended.is_empty() {
        return Ok(());
    }
    let features: BTreeSet<FeatureKey> =
        ended.iter().map(|((tenant, feature, _), _)| (tenant.clone(), feature.clone())).collect();
    let features: Vec<FeatureKey> = features.into_iter().collect();
    let mut usual = sql::usual_runs(&mut *connection, &features).await?;
    for ((tenant, feature, _), track) in ended {
        let known = usual.entry((tenant, feature)).or_default();
        *known = known.with(&track);
    }
    Ok(sql::keep_usual(connection, &usual).await?)
}
