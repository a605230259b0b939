//! What calls really use of what they ask for: read from the journal beside the hot path, and told.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::names::only;
use super::{App, AppError};
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::id::TenantId;
use crate::domain::learned::WEEKS_LEARNED;
use crate::domain::ledger::outcome::Refusal;
use crate::store::learned::{self, AccuracyAsked, Learned, PAGE};
use crate::wire::FieldError;
use crate::wire::learned::{AccuracyBody, AccuracyDimension, AccuracyQuery, AccuracyRowBody, SharesBody, WEEKS_MAX};

/// Most rows of one answer.
pub const ACCURACY_ROWS_MAX: usize = 10_000;

/// The start of the first of so many weeks, the one of `now` included.
fn first_week(weeks: u32, now: DateTime<Utc>) -> Result<DateTime<Utc>, AppError> {
    let back = TimeDelta::weeks(i64::from(weeks.saturating_sub(1)));
    let week = PeriodSpec::WEEK.holding(Zone::UTC, now - back).map_err(Refusal::Calendar)?;
    Ok(week.start)
}

/// The start of the earliest week that can be asked for: what was learned before is told nobody, and teaches nothing.
///
/// # Errors
/// When the instant is outside the calendar's range.
pub fn first_week_told(now: DateTime<Utc>) -> Result<DateTime<Utc>, AppError> {
    first_week(WEEKS_MAX, now)
}

impl App {
    /// Reads what the journal has that was not read yet, up to transfers that were asked for before `until` if one is given,
    /// and says how many. Nothing, if another replica is at it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn learn(&self, until: Option<DateTime<Utc>>) -> Result<i64, AppError> {
        let mut connection = self.pool.acquire().await?;
        let mut read = 0_i64;
        while let Learned::Read(page) = learned::learn_page(&mut connection, until, self.clock.now()).await? {
            read = read.saturating_add(page);
            if page < PAGE {
                break;
            }
        }
        Ok(read)
    }

    /// Takes in what was learned: from the next batch on, this replica holds by it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take_lessons(&self) -> Result<(), AppError> {
        let from = first_week(WEEKS_LEARNED, self.clock.now())?;
        let mut connection = self.pool.acquire().await?;
        self.snapshots.teach(learned::lessons(&mut connection, from).await?);
        Ok(())
    }

    /// How estimates compare with what calls used, of one tenant or of all.
    ///
    /// # Errors
    /// Names the field that is wrong, or when the database does not answer.
    pub async fn accuracy(&self, tenant: Option<&TenantId>, query: &AccuracyQuery) -> Result<AccuracyBody, AppError> {
        let from = first_week(query.weeks()?, self.clock.now())?;
        let group_by = query.dimensions()?;
        let mut filters = query.filters()?;
        let names = self.names(query.provider.as_deref(), query.model.as_deref())?;
        for (dimension, value) in &mut filters {
            let name = match dimension {
                AccuracyDimension::Provider => names.provider.as_ref().map(ToString::to_string),
                // Where lists call it by several names: as it was asked for.
                AccuracyDimension::Model => only(&names.models).map(ToString::to_string),
                AccuracyDimension::Tenant | AccuracyDimension::Feature => None,
            };
            *value = name.unwrap_or_else(|| std::mem::take(value));
        }
        filters.extend(tenant.map(|tenant| (AccuracyDimension::Tenant, tenant.to_string())));
        let limit = i64::try_from(ACCURACY_ROWS_MAX).unwrap_or(i64::MAX).saturating_add(1);
        let asked = AccuracyAsked { from, group_by, filters, limit };
        let mut transaction = self.begin_read(tenant).await?;
        let learned_at = learned::learned_at(&mut transaction).await?;
        let found = learned::accuracy(&mut transaction, &asked).await?;
        transaction.commit().await?;
        if found.len() > ACCURACY_ROWS_MAX {
            let detail = format!("makes more than {ACCURACY_ROWS_MAX} rows: tell less apart, or ask for one tenant");
            return Err(FieldError::new("group_by", detail).into());
        }
        let names: Vec<&str> = asked.group_by.iter().map(|dimension| dimension.name()).collect();
        let row = |(values, found): (Vec<String>, learned::AccuracyFound)| AccuracyRowBody {
            group: names.iter().map(|name| (*name).to_owned()).zip(values).collect::<BTreeMap<_, _>>(),
            sums: found.sums,
            output: SharesBody::from(&found.output),
            tokens: SharesBody::from(&found.tokens),
        };
        Ok(AccuracyBody { from, learned_at, rows: found.into_iter().map(row).collect() })
    }
}
