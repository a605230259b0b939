//! Tenants and budgets: look, list, history, and how a budget stands at this moment.
//!
//! A thing of another tenant looks like one that is not there: row-level security hides it, and no error says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{App, AppError};
use crate::domain::budget::catalogue::{Budget, BudgetClock, Catalogue, Governing};
use crate::domain::budget::counter::{Counter, CounterId, Standing};
use crate::domain::budget::promise::Promise;
use crate::domain::budget::recount::Recount;
use crate::domain::budget::scope::CounterKey;
use crate::domain::calendar::{Period, Zone};
use crate::domain::id::{BudgetId, TenantId};
use crate::domain::ledger::outcome::{BudgetState, Refusal};
use crate::domain::ledger::reservation::Reservation;
use crate::store::catalogue_reads::{self as sql, OpenAsked, OpenCounters};
use crate::store::{StoreError, catalogue, confine};
use crate::wire::answer::BudgetStateBody;
use crate::wire::catalogue::{BudgetNowBody, BudgetRow, BudgetVersionBody, TenantRow, TenantVersionBody};
use crate::wire::page::Page;

/// The end of a version's page key: versions count from 1.
fn version_key(version: i32) -> String {
    version.to_string()
}

impl App {
    /// One tenant, also an archived one.
    ///
    /// # Errors
    /// [`AppError::UnknownTenant`] when there is none that the caller may see.
    pub async fn tenant(&self, id: &TenantId, confined: Option<&TenantId>) -> Result<TenantRow, AppError> {
        let mut read = self.begin_read(confined).await?;
        let found = sql::get_tenant(&mut read, id).await?;
        read.commit().await?;
        found.ok_or_else(|| AppError::UnknownTenant(id.clone()))
    }

    /// A page of the tenants.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tenants(
        &self,
        only: Option<&TenantId>,
        archived: bool,
        page: &Page,
    ) -> Result<(Vec<TenantRow>, Option<String>), AppError> {
        let mut read = self.begin_read(only).await?;
        let rows = sql::list_tenants(&mut read, only, archived, page).await?;
        read.commit().await?;
        Ok(page.cut(rows, |row| row.id.clone()))
    }

    /// A page of a tenant's history.
    ///
    /// # Errors
    /// [`AppError::UnknownTenant`] when there is none that the caller may see.
    pub async fn tenant_versions(
        &self,
        id: &TenantId,
        confined: Option<&TenantId>,
        page: &Page,
    ) -> Result<(Vec<TenantVersionBody>, Option<String>), AppError> {
        self.tenant(id, confined).await?;
        let mut connection = self.pool.acquire().await?;
        let rows = sql::tenant_versions(&mut connection, id, page.after_number()?, page.fetch()).await?;
        Ok(page.cut(rows, |row| version_key(row.version)))
    }

    /// One budget, also an archived one, without its counters.
    ///
    /// # Errors
    /// [`AppError::UnknownBudget`] when there is none that the caller may see.
    pub async fn budget(&self, id: &BudgetId, confined: Option<&TenantId>) -> Result<BudgetRow, AppError> {
        let mut read = self.begin_read(confined).await?;
        let found = sql::get_budget(&mut read, id).await?;
        read.commit().await?;
        Ok(found.ok_or_else(|| AppError::UnknownBudget(id.clone()))?.row)
    }

    /// A page of the budgets, of one tenant's scope if one is named.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn budgets(
        &self,
        only: Option<&TenantId>,
        confined: Option<&TenantId>,
        archived: bool,
        page: &Page,
    ) -> Result<(Vec<BudgetRow>, Option<String>), AppError> {
        let mut read = self.begin_read(confined).await?;
        let rows = sql::list_budgets(&mut read, only, archived, page).await?;
        read.commit().await?;
        let rows = rows.into_iter().map(|stored| stored.row).collect();
        Ok(page.cut(rows, |row: &BudgetRow| row.definition.id.clone().unwrap_or_default()))
    }

    /// A page of a budget's history.
    ///
    /// # Errors
    /// [`AppError::UnknownBudget`] when there is none that the caller may see.
    pub async fn budget_versions(
        &self,
        id: &BudgetId,
        confined: Option<&TenantId>,
        page: &Page,
    ) -> Result<(Vec<BudgetVersionBody>, Option<String>), AppError> {
        self.budget(id, confined).await?;
        let mut connection = self.pool.acquire().await?;
        let rows = sql::budget_versions(&mut connection, id, confined, page.after_number()?, page.fetch()).await?;
        Ok(page.cut(rows, |row| version_key(row.version)))
    }

    /// A budget, and how each of its counters stands now: one state of the books, in which holds whose time has passed count
    /// no more, whether or not that was written down yet.
    ///
    /// # Errors
    /// [`AppError::UnknownBudget`] when there is none that the caller may see.
    pub async fn budget_now(
        &self,
        id: &BudgetId,
        confined: Option<&TenantId>,
        key: Option<&str>,
        page: &Page,
    ) -> Result<BudgetNowBody, AppError> {
        let at = self.clock.now();
        let mut read = self.begin_consistent_read(confined).await?;
        // The catalogue is loaded before the read is confined: it is shared with everybody else.
        let (version, rates_version) = catalogue::versions(&mut read).await?;
        let catalogue = self.snapshots.of_versions(&mut read, version, rates_version).await?.catalogue;
        if let Some(tenant) = confined {
            confine(&mut read, tenant).await?;
        }
        let stored = sql::get_budget(&mut read, id).await?.ok_or_else(|| AppError::UnknownBudget(id.clone()))?;
        let Some(budget) = catalogue.budget(id).filter(|_| stored.row.archived_at.is_none()) else {
            return Ok(BudgetNowBody { budget: stored.row, at, counters: Vec::new(), next_cursor: None });
        };
        let asked = OpenAsked {
            budget: stored.number,
            open: open_periods(budget, &catalogue, at)?,
            slides: budget.period.slides().is_some(),
            key,
            after: page.after.as_deref(),
            limit: page.fetch(),
        };
        let mut open = sql::open_counters(&mut read, &asked).await?;
        let expired = sql::expired_reservations(&mut read, at).await?;
        read.commit().await?;
        if budget.each.is_none() && key.is_none_or(str::is_empty) && page.after.is_none() {
            open.entry(CounterKey::whole()).or_default();
        }
        let given_back = given_back(budget, &catalogue, &expired)?;
        let states = open
            .into_iter()
            .filter_map(|(key, counters)| state(budget, &catalogue, key, &counters, &given_back, at).transpose());
        let states = states.collect::<Result<Vec<BudgetState>, AppError>>()?;
        let (states, next_cursor) = page.cut(states, |state| state.key.as_str().to_owned());
        let mut counters: Vec<BudgetStateBody> = states.iter().map(BudgetStateBody::from).collect();
        self.projections.tell(&mut counters);
        Ok(BudgetNowBody { budget: stored.row, at, counters, next_cursor })
    }
}

/// The zone that bounds the periods of a budget's counters of one tenant.
pub(in crate::app) fn zone_of(budget: &Budget, catalogue: &Catalogue, tenant: Option<&TenantId>) -> Option<Zone> {
    match budget.clock {
        BudgetClock::Fixed(zone) => Some(zone),
        BudgetClock::Tenant => {
            let tenant = budget.scope.tenant.as_ref().or(tenant)?;
            catalogue.tenant(tenant).map(|tenant| tenant.zone)
        }
    }
}

/// The starts of the periods that are open, or since when a sliding window counts, with the zones whose they are; no zone's
/// name for a budget of one zone.
fn open_periods(
    budget: &Budget,
    catalogue: &Catalogue,
    at: DateTime<Utc>,
) -> Result<Vec<(&'static str, DateTime<Utc>)>, AppError> {
    let mut open = Vec::new();
    let mut add = |name, zone| -> Result<(), AppError> {
        open.push((name, budget.period.since(zone, at).map_err(Refusal::Calendar)?));
        Ok(())
    };
    if let Some(zone) = zone_of(budget, catalogue, None) {
        add("", zone)?;
    } else if budget.scope.tenant.is_none() {
        let zones: BTreeSet<Zone> = catalogue.tenants().map(|tenant| tenant.zone).collect();
        for zone in zones {
            add(zone.name(), zone)?;
        }
    }
    Ok(open)
}

/// What a budget's counters no longer hold, because the time of the reservations has passed.
fn given_back(
    budget: &Budget,
    catalogue: &Catalogue,
    expired: &[Reservation],
) -> Result<BTreeMap<CounterId, Counter>, AppError> {
    let mut recount = Recount::new(catalogue, vec![budget.number]);
    for reservation in expired {
        let held = &reservation.hold.consumption;
        let learned = &reservation.learned;
        recount.hold(&reservation.call, reservation.held_at, held, learned).map_err(StoreError::Recount)?;
    }
    Ok(recount.finish().into_iter().map(|(id, recounted)| (id, recounted.counter)).collect())
}

/// How one counter stands, its window added up.
fn state(
    budget: &Arc<Budget>,
    catalogue: &Catalogue,
    key: CounterKey,
    open: &OpenCounters,
    given_back: &BTreeMap<CounterId, Counter>,
    at: DateTime<Utc>,
) -> Result<Option<BudgetState>, AppError> {
    let Some(zone) = zone_of(budget, catalogue, open.tenant.as_ref()) else { return Ok(None) };
    let period = budget.period.holding(zone, at).map_err(Refusal::Calendar)?;
    let since = budget.period.since(zone, at).map_err(Refusal::Calendar)?;
    let closed_until = catalogue.quota_closed_until(budget.number, at);
    let governing = Governing { budget: Arc::clone(budget), key, zone, period, since, closed_until };
    let counters = open.counters.iter().map(|(start, counter)| (governing.counter_from(*start), *counter)).collect();
    let slice = |(period, counter): (Period, &Counter)| -> Result<(Period, Counter), AppError> {
        let back = given_back.get(&governing.counter_from(period.start)).copied().unwrap_or_default();
        let Counter { posted: _, held, margin, at_risk } = back;
        let counter = counter.give_back(Promise { held, margin, at_risk }).map_err(StoreError::Unkeepable)?;
        Ok((period, counter))
    };
    let slices = governing.window(&counters).map(slice).collect::<Result<_, _>>()?;
    let standing = Standing::new(governing.clone(), slices);
    Ok(Some(BudgetState::of(&standing, standing.total)))
}
