//! Announced work: add, list, withdraw.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::given::{Given, repeated};
use crate::app::names::only;
use crate::app::{App, AppError};
use crate::domain::amounts::Tokens;
use crate::domain::budget::measure::Consumption;
use crate::domain::id::TenantId;
use crate::domain::ledger::command::Idempotency;
use crate::domain::ledger::outcome::Refusal;
use crate::domain::price::ServiceTier;
use crate::domain::tariff::RateBooks;
use crate::store::{StoreError, idempotency, planned_usage as sql};
use crate::wire::FieldError;
use crate::wire::page::Page;
use crate::wire::projection::planned::{PlannedAmountsBody, PlannedUsage, PlannedUsageBody, PlannedUsageRow};

impl App {
    /// Announces work. A repeat under the same key is the first answer.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::UnknownTenant`]; the refusal of a key that was used for something else.
    pub async fn announce(
        &self,
        id: Uuid,
        body: &PlannedUsageBody,
        key: Option<&Idempotency>,
    ) -> Result<Given<PlannedUsageRow>, AppError> {
        let now = self.clock.now();
        let planned = body.check(now)?;
        self.know_tenant(&planned.tenant).await?;
        let rates = self.snapshots.latest().rates;
        let names = self.names(body.provider.as_deref(), body.model.as_deref())?;
        let row = PlannedUsageRow {
            id,
            tenant: body.tenant.clone(),
            feature: body.feature.clone(),
            provider: names.provider.as_ref().map(ToString::to_string),
            model: only(&names.models).map(ToString::to_string).or_else(|| body.model.clone()),
            region: body.region.clone(),
            start: body.start,
            end: body.end,
            note: body.note.clone(),
            amounts: told_by_the_books(&body.amounts, &planned, &rates, now)?,
            recorded_at: now,
        };
        let mut connection = self.pool.acquire().await?;
        let mut transaction = sql::begin(&mut connection).await?;
        if let Some(key) = key {
            let text = serde_json::to_string(&row).map_err(StoreError::from)?;
            if let Some(answered) = idempotency::claim(&mut transaction, key, &text, now).await? {
                return repeated(key, answered);
            }
        }
        sql::add(&mut transaction, &row).await?;
        transaction.commit().await?;
        Ok(Given::new(row))
    }

    /// A page of what is announced and not over, of one tenant or of all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn announced(
        &self,
        only: Option<&TenantId>,
        confined: Option<&TenantId>,
        page: &Page,
    ) -> Result<(Vec<PlannedUsageRow>, Option<String>), AppError> {
        let bad = |_| FieldError::new("cursor", "is no cursor of planned usage");
        let after = page.after.as_deref().map(Uuid::parse_str).transpose().map_err(bad)?;
        let mut read = self.begin_read(confined).await?;
        let rows = sql::list(&mut read, only, self.clock.now(), page, after).await?;
        read.commit().await?;
        Ok(page.cut(rows, |row| row.id.to_string()))
    }

    /// Announced work of that id, if it is there and, for a confined credential, the tenant's own.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn announced_one(
        &self,
        id: Uuid,
        confined: Option<&TenantId>,
    ) -> Result<Option<PlannedUsageRow>, AppError> {
        let mut read = self.begin_read(confined).await?;
        let found = sql::get(&mut read, id).await?;
        read.commit().await?;
        Ok(found)
    }

    /// Withdraws announced work: no projection counts it any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn withdraw(&self, id: Uuid) -> Result<(), AppError> {
        let mut connection = self.pool.acquire().await?;
        sql::withdraw(&mut connection, id, self.clock.now()).await?;
        Ok(())
    }
}

/// What was said, with what the books tell of the rest: tokens are the sum of the buckets, dollars and grams those of the
/// model at this moment.
fn told_by_the_books(
    said: &PlannedAmountsBody,
    planned: &PlannedUsage,
    rates: &RateBooks,
    now: DateTime<Utc>,
) -> Result<PlannedAmountsBody, AppError> {
    let Some(usage) = &planned.usage else { return Ok(said.clone()) };
    let total: Tokens = usage.total().map_err(Refusal::Amount)?;
    let mut told = PlannedAmountsBody { tokens: Some(total.count()), ..said.clone() };
    if let (Some(provider), Some(model)) = (&planned.provider, &planned.model) {
        let tariff = rates.tariff(provider, model, ServiceTier::Standard, planned.region.as_ref(), now);
        let requests = said.requests.and_then(|requests| u32::try_from(requests).ok()).unwrap_or(1);
        let priced = tariff.price(usage, requests, None).map_err(Refusal::Tariff)?;
        let Consumption { amounts, .. } = priced.consumption;
        let grams = |grams: Result<crate::domain::amounts::Grams, _>| grams.map_err(Refusal::Amount);
        told.usd.get_or_insert(amounts.usd.decimal().normalize());
        told.gco2e.get_or_insert(grams(amounts.gco2e())?.decimal().normalize());
        told.gco2e_market.get_or_insert(grams(amounts.gco2e_market())?.decimal().normalize());
    }
    Ok(told)
}
