//! The past of an installation, for the back-test: what each budget's measure used by the hour, tenant by tenant.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::asked::dense;
use super::subject::has_an_end;
use crate::domain::calendar::Zone;
use crate::domain::forecast::{HourlySeries, Source};
use crate::domain::id::{BudgetId, TenantId};
use crate::store::series::{SeriesAsked, SeriesFound, series};
use crate::store::{StoreError, catalogue};

/// How far back is looked, in days: two years and a month.
const DAYS: i64 = 760;

/// The use of one budget, and of one key of it where it is counted apart.
#[derive(Debug, Clone)]
pub struct Past {
    /// The budget, and the key after a space.
    pub name: String,
    /// Its tenants, who all know the same hours.
    pub sources: Vec<Source>,
}

/// Reads the past of all budgets that the roll-up can tell, or of one. Budgets of one scope and measure are one.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn pasts(
    options: &PgConnectOptions,
    now: DateTime<Utc>,
    only: Option<&BudgetId>,
) -> Result<Vec<Past>, StoreError> {
    let mut connection = PgConnection::connect_with(options).await?;
    let catalogue = catalogue::load(&mut connection).await?;
    let to = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let from = to - TimeDelta::days(DAYS);
    let mut pasts = Vec::new();
    let mut seen = Vec::new();
    for budget in catalogue.budgets().filter(|budget| only.is_none_or(|id| *id == budget.id) && has_an_end(budget)) {
        let Some(asked) = SeriesAsked::of(budget, from, to) else { continue };
        let same = (&budget.scope, &budget.each, &budget.measure);
        if seen.contains(&same) {
            continue;
        }
        seen.push(same);
        let mut by_key: BTreeMap<String, Vec<SeriesFound>> = BTreeMap::new();
        for one in series(&mut connection, &asked).await? {
            by_key.entry(one.key.as_str().to_owned()).or_default().push(one);
        }
        for (key, cells) in by_key {
            let name = if key.is_empty() { budget.id.to_string() } else { format!("{} {key}", budget.id) };
            let zone = |tenant: &TenantId| catalogue.tenant(tenant).map_or(Zone::UTC, |tenant| tenant.zone);
            pasts.push(Past { name, sources: sources(&cells, zone, from, to) });
        }
    }
    connection.close().await?;
    Ok(pasts)
}

/// One source for each tenant, all from the first use of the pool on.
fn sources(
    cells: &[SeriesFound],
    zone: impl Fn(&TenantId) -> Zone,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Vec<Source> {
    let first = cells.iter().filter_map(|cell| cell.hours.first()).min().copied().unwrap_or(0);
    let skipped = usize::try_from(first).unwrap_or(0);
    let mut tenants: BTreeMap<&TenantId, Vec<f64>> = BTreeMap::new();
    for cell in cells {
        dense(&cell.hours, &cell.values, tenants.entry(&cell.tenant).or_default());
    }
    let source = |(tenant, mut values): (&TenantId, Vec<f64>)| {
        let values = values.split_off(skipped.min(values.len()));
        let start = from + TimeDelta::hours(first.into());
        Source {
            tenant: tenant.clone(),
            feature: None,
            zone: zone(tenant),
            series: HourlySeries::new(start, to, values),
        }
    };
    tenants.into_iter().map(source).collect()
}
