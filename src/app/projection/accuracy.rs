//! How right the projections of the service were.

use chrono::{DateTime, TimeDelta, Utc};

use crate::app::{App, AppError};
use crate::domain::forecast::ErrorClass;
use crate::domain::id::{BudgetId, TenantId};
use crate::store::catalogue_reads::get_budget;
use crate::store::projections::{self as sql, AccuracyRow};
use crate::wire::projection::accuracy::{AccuracyBody, AccuracyRowBody};
use crate::wire::projection::figure::{figure, hours, share};

/// How far back is looked if nobody says, in days.
const DAYS: i64 = 365;

impl App {
    /// Error, coverage and Brier score of the projections made since an instant, by method and class; of one budget, or of a
    /// confined credential's own.
    ///
    /// # Errors
    /// [`AppError::UnknownBudget`] when there is none that the caller may see.
    pub async fn projection_accuracy(
        &self,
        budget: Option<&BudgetId>,
        confined: Option<&TenantId>,
        since: Option<DateTime<Utc>>,
    ) -> Result<AccuracyBody, AppError> {
        let since = since.unwrap_or_else(|| self.clock.now() - TimeDelta::days(DAYS));
        let mut read = self.begin_read(confined).await?;
        let number = match budget {
            None => None,
            Some(id) => {
                let found = get_budget(&mut read, id).await?.ok_or_else(|| AppError::UnknownBudget(id.clone()))?;
                Some(found.number)
            }
        };
        let rows = sql::accuracy(&mut read, number, confined, since).await?;
        read.commit().await?;
        let book = self.projections.book();
        let row = |row: AccuracyRow| AccuracyRowBody {
            band_scale: ErrorClass::from_name(&row.class).map(|class| figure(book.scale(class))),
            method: row.method,
            version: row.method_version,
            class: row.class,
            scored: row.scored,
            unscored: row.unscored,
            exhausted_share: share(row.exhausted_share),
            error_hours_median: row.error_hours_median.map(hours),
            error_hours_p90: row.error_hours_p90.map(hours),
            bias_hours: row.bias_hours.map(hours),
            coverage: share(row.coverage),
            brier: share(row.brier),
            brier_yes_no: share(row.brier_yes_no),
        };
        Ok(AccuracyBody { since, items: rows.into_iter().map(row).collect() })
    }
}
