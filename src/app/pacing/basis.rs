//! The day's forecast: what each class is expected to use, hour by hour.
//!
//! It is made as of the start of the local day, from what was used before, so that it is the same whenever and on whichever
//! replica it is made. Where nothing was used before, it is made of what there is, and made anew every hour.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use sqlx::postgres::PgConnection;

use super::draft::quarter;
use crate::app::AppError;
use crate::domain::budget::catalogue::{Budget, Catalogue, Priority};
use crate::domain::budget::scope::CounterKey;
use crate::domain::calendar::Zone;
use crate::domain::forecast::{ErrorBook, HourlySeries, Projection, Question, Source, project};
use crate::domain::id::TenantId;
use crate::domain::pacing::curve::Curve;
use crate::store::series::{SeriesAsked, series};
use crate::wire::plan::{BasisDoc, CurveDoc};

/// How far back is looked.
const HISTORY: TimeDelta = TimeDelta::days(84);
/// Hours from now on that are kept one by one; those after that by days.
const FINE_HOURS: usize = 72;
/// Hours of a piece after that.
const COARSE_HOURS: usize = 24;

/// What was used, when.
type Uses = Vec<(DateTime<Utc>, f64)>;

/// What a forecast is made for.
pub(super) struct Asked<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) budget: &'a Budget,
    /// The start of the local day, or of the period.
    pub(super) anchor: DateTime<Utc>,
    pub(super) now: DateTime<Utc>,
    /// How far is looked ahead.
    pub(super) horizon: DateTime<Utc>,
}

/// The forecasts of all counters of a budget.
pub(super) async fn forecast(
    connection: &mut PgConnection,
    asked: &Asked<'_>,
) -> Result<BTreeMap<CounterKey, BasisDoc>, AppError> {
    let mut made = forecast_as_of(connection, asked, asked.anchor).await?;
    let guessed = forecast_as_of(connection, asked, quarter(asked.now)).await?;
    for (key, guess) in guessed {
        made.entry(key).or_insert(guess);
    }
    Ok(made)
}

async fn forecast_as_of(
    connection: &mut PgConnection,
    asked: &Asked<'_>,
    as_of: DateTime<Utc>,
) -> Result<BTreeMap<CounterKey, BasisDoc>, AppError> {
    let mut made: BTreeMap<CounterKey, BasisDoc> = BTreeMap::new();
    for ByClass { priority, key, projection } in by_class(connection, asked, as_of).await? {
        let basis = made.entry(key).or_insert_with(|| BasisDoc {
            made_at: as_of,
            budget_version: asked.budget.version,
            ..BasisDoc::default()
        });
        let curve = CurveDoc::from(&curve(&projection, asked.horizon));
        match priority {
            Priority::Interactive => basis.interactive = curve,
            Priority::Standard => basis.standard = curve,
            Priority::Batch => basis.batch = curve,
        }
        if priority != Priority::Interactive {
            for source in &projection.by_source {
                let a_day: f64 = source.path.iter().take(24).sum();
                *basis.a_day.entry(source.tenant.to_string()).or_default() += a_day;
            }
        }
    }
    Ok(made)
}

/// What one class is expected to take of one counter.
pub(super) struct ByClass {
    pub(super) priority: Priority,
    pub(super) key: CounterKey,
    pub(super) projection: Projection,
}

/// What each class is expected to take of each counter, hour by hour, from what was used before an instant.
pub(super) async fn by_class(
    connection: &mut PgConnection,
    asked: &Asked<'_>,
    as_of: DateTime<Utc>,
) -> Result<Vec<ByClass>, AppError> {
    let from = (as_of - HISTORY).duration_trunc(TimeDelta::hours(1)).unwrap_or(as_of);
    let mut made = Vec::new();
    for priority in Priority::ALL {
        let Some(series_asked) = SeriesAsked::of(asked.budget, from, as_of) else { return Ok(made) };
        let found = series(connection, &SeriesAsked { priority: Some(priority), ..series_asked }).await?;
        let mut uses: BTreeMap<CounterKey, BTreeMap<TenantId, Uses>> = BTreeMap::new();
        for one in found {
            let hours = one.hours.iter().map(|hour| from + TimeDelta::hours(i64::from(*hour)));
            let of_tenant = uses.entry(one.key).or_default().entry(one.tenant).or_default();
            of_tenant.extend(hours.zip(one.values));
        }
        for (key, tenants) in uses {
            let sources: Vec<Source> = tenants
                .into_iter()
                .map(|(tenant, uses)| {
                    let zone = asked.catalogue.tenant(&tenant).map_or(Zone::UTC, |tenant| tenant.zone);
                    let begins = uses.iter().map(|(at, _)| *at).min().unwrap_or(from);
                    let series = HourlySeries::from_uses(begins, as_of, uses);
                    Source { tenant, feature: None, zone, series }
                })
                .collect();
            let projection = project(&Question::of_demand(
                as_of,
                (asked.anchor.min(as_of), asked.horizon),
                &sources,
                &ErrorBook::builtin(),
            ));
            made.push(ByClass { priority, key, projection });
        }
    }
    Ok(made)
}

/// The path of a projection: hour by hour for as long as a verdict may look, and by days after that.
fn curve(projection: &Projection, end: DateTime<Utc>) -> Curve {
    let (fine, coarse) = projection.path.split_at(projection.path.len().min(FINE_HOURS));
    let fine = fine.iter().map(|hour| (hour.start, hour.expected));
    let coarse = coarse.chunks(COARSE_HOURS).filter_map(|hours| {
        let start = hours.first()?.start;
        Some((start, hours.iter().map(|hour| hour.expected).sum::<f64>()))
    });
    Curve::new(fine.chain(coarse), end)
}
