//! Restatements: rows of the journal with what is said of their grams now.
//!
//! Invariant: reads only; what is said anew goes through the lane, as every transfer does.

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use rust_decimal::Decimal;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::StoreError;
use super::ledger::ServedAsked;
use super::rows::transfer_from_row;
use crate::domain::amounts::Grams;
use crate::domain::carbon::{CarbonGrams, FactorId, Profile, RecordedFactors};
use crate::domain::id::{RegionId, TenantId};
use crate::domain::ledger::restating::{Stated, Statement};
use crate::domain::tariff::Flags;

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsAsked {
    /// Only what counts from this instant on.
    pub from: DateTime<Utc>,
    /// Only what counts before this instant.
    pub to: DateTime<Utc>,
    /// Only what had occurred by this instant: clocks differ, and what has not happened yet is not corrected.
    pub now: DateTime<Utc>,
    /// Only rows after this one.
    pub after: Uuid,
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only this provider's and this model's, as it was served.
    pub served: ServedAsked,
    /// Only those served there.
    pub region: Option<RegionId>,
    /// So many at most.
    pub limit: i64,
}

/// Calls and true-ups of a period with what is said of them, in the order of their ids, one after the other. Nothing that is
/// written meanwhile is seen.
pub fn stated<'c>(connection: &'c mut PgConnection, asked: &RowsAsked) -> BoxStream<'c, Result<Stated, StoreError>> {
    let statement = concat!(
        include_str!("sql/stated_rows.sql"),
        "where
            transfers.kind in ('settlement', 'usage', 'true_up')
            and transfers.period_at >= $1
            and transfers.period_at < $2
            and transfers.occurred_at <= $3
            and transfers.id > $4
            and ($5::text is null or transfers.tenant = $5)
            and ($6::text[] is null or transfers.provider = any($6))
            and ($7::text[] is null or transfers.model = any($7))
            and ($8::text is null or transfers.region = $8)
        order by transfers.id
        limit $9"
    );
    let rows = sqlx::query(statement)
        .bind(asked.from)
        .bind(asked.to)
        .bind(asked.now)
        .bind(asked.after)
        .bind(asked.tenant.as_ref().map(ToString::to_string))
        .bind(asked.served.providers.clone())
        .bind(asked.served.models.clone())
        .bind(asked.region.as_ref().map(ToString::to_string))
        .bind(asked.limit)
        .fetch(connection);
    Box::pin(rows.map(|row| stated_from_row(&row?)))
}

/// A row of `sql/stated_rows.sql`.
pub(super) fn stated_from_row(row: &PgRow) -> Result<Stated, StoreError> {
    let transfer = transfer_from_row(row)?;
    let mut now = Statement::of(&transfer);
    let grams = |column: &str| Grams::new(row.try_get::<Decimal, _>(column)?).map_err(StoreError::Unkeepable);
    now.grams = CarbonGrams {
        usage_location: grams("location_now")?,
        usage_market: grams("market_now")?,
        embodied: grams("embodied_now")?,
    };
    if let Some(profile) = row.try_get::<Option<&str>, _>("latest_profile")? {
        let factor = |column: &str| Ok::<_, StoreError>(row.try_get::<Option<i64>, _>(column)?.map(FactorId));
        now.factors = RecordedFactors {
            profile: Profile::parse(profile).map_err(|_| StoreError::Row("carbon_profile".to_owned()))?,
            model: factor("latest_model_factor")?,
            grid: factor("latest_grid_factor")?,
            market: factor("latest_market_factor")?,
        };
        let flags: i32 = row.try_get("latest_flags")?;
        let flags = u32::try_from(flags).map_err(|_| StoreError::Row("flags".to_owned()))?;
        now.assumed = Flags::from_bits(flags).common(Flags::FACTOR_FALLBACKS);
    }
    Ok(Stated { row: transfer, now })
}
