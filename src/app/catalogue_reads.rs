//! Tenants and budgets: look, list, history, and how a budget stands at this moment.
//!
//! A thing of another tenant looks like one that is not there: row-level security hides it, and no error says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::reads::Read;
use super::{App, AppError};
use crate::domain::budget::catalogue::{Budget, BudgetClock, BudgetNumber, Catalogue, Governing};
use crate::domain::budget::counter::{Counter, CounterId, Standing};
use crate::domain::budget::promise::Promise;
use crate::domain::budget::recount::Recount;
use crate::domain::budget::scope::CounterKey;
use crate::domain::calendar::{Period, Zone};
use crate::domain::id::{BudgetId, TenantId};
use crate::domain::ledger::outcome::{BudgetState, Refusal};
use crate::domain::ledger::reservation::Reservation;
use crate::store::catalogue_reads::{self as sql, OpenAsked, OpenCounters, OpenPeriod, StoredBudget};
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
        Ok(page.cut(rows.into_iter().map(|stored| stored.row).collect(), budget_key))
    }

    /// The same, each with its first counters: one state of the books at one instant, by as many statements for a page as for
    /// one budget.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn budgets_now(
        &self,
        only: Option<&TenantId>,
        confined: Option<&TenantId>,
        archived: bool,
        page: &Page,
    ) -> Result<(Vec<BudgetNowBody>, DateTime<Utc>, Option<String>), AppError> {
        let (mut read, catalogue, at) = self.begin_look(confined).await?;
        let rows = sql::list_budgets(&mut read, only, archived, page).await?;
        let (rows, next_cursor) = page.cut(rows, |stored| budget_key(&stored.row));
        let look = Look { catalogue: &catalogue, at, key: None, page: &Page::new("counters", None, None)? };
        let items = self.look(&mut read, &look, rows).await?;
        read.commit().await?;
        Ok((items, at, next_cursor))
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
        let (mut read, catalogue, at) = self.begin_look(confined).await?;
        let stored = sql::get_budget(&mut read, id).await?.ok_or_else(|| AppError::UnknownBudget(id.clone()))?;
        let look = Look { catalogue: &catalogue, at, key, page };
        let now = self.look(&mut read, &look, vec![stored]).await?.pop();
        read.commit().await?;
        now.ok_or_else(|| AppError::UnknownBudget(id.clone()))
    }

    /// Begins to read how budgets stand: one state of the books, the catalogue that it has, and the instant.
    async fn begin_look(&self, confined: Option<&TenantId>) -> Result<(Read, Arc<Catalogue>, DateTime<Utc>), AppError> {
        let at = self.clock.now();
        let mut read = self.begin_consistent_read(confined).await?;
        // The catalogue is loaded before the read is confined: it is shared with everybody else.
        let (version, rates_version) = catalogue::versions(&mut read).await?;
        let catalogue = self.snapshots.of_versions(&mut read, version, rates_version).await?.catalogue;
        if let Some(tenant) = confined {
            confine(&mut read, tenant).await?;
        }
        Ok((read, catalogue, at))
    }

    /// How budgets stand, in their order.
    async fn look(
        &self,
        read: &mut PgConnection,
        look: &Look<'_>,
        budgets: Vec<StoredBudget>,
    ) -> Result<Vec<BudgetNowBody>, AppError> {
        let shown = budgets.iter().filter(|stored| stored.row.archived_at.is_none());
        let shown: BTreeSet<BudgetNumber> = shown.map(|stored| stored.number).collect();
        let governing = look.catalogue.budgets().filter(|budget| shown.contains(&budget.number));
        let live: BTreeMap<BudgetNumber, &Arc<Budget>> = governing.map(|budget| (budget.number, budget)).collect();
        let mut open = Vec::new();
        for budget in live.values() {
            open.extend(open_periods(budget, look.catalogue, look.at)?);
        }
        let asked = OpenAsked { open, key: look.key, after: look.page.after.as_deref(), limit: look.page.fetch() };
        let mut found = sql::open_counters(&mut *read, &asked).await?;
        let expired = sql::expired_reservations(read, look.at).await?;
        let given_back = given_back(live.keys().copied().collect(), look.catalogue, &expired)?;
        let mut shown = Vec::with_capacity(budgets.len());
        for stored in budgets {
            let open = found.remove(&stored.number).unwrap_or_default();
            let (counters, next_cursor) = match live.get(&stored.number) {
                Some(budget) => self.counters(look, budget, open, &given_back)?,
                None => (Vec::new(), None),
            };
            shown.push(BudgetNowBody { budget: stored.row, at: look.at, counters, next_cursor });
        }
        Ok(shown)
    }

    /// A page of one budget's counters.
    fn counters(
        &self,
        look: &Look<'_>,
        budget: &Arc<Budget>,
        mut open: BTreeMap<CounterKey, OpenCounters>,
        given_back: &BTreeMap<CounterId, Counter>,
    ) -> Result<(Vec<BudgetStateBody>, Option<String>), AppError> {
        if budget.each.is_none() && look.key.is_none_or(str::is_empty) && look.page.after.is_none() {
            open.entry(CounterKey::whole()).or_default();
        }
        let states = open.into_iter().filter_map(|(key, counters)| {
            state(budget, look.catalogue, key, &counters, given_back, look.at).transpose()
        });
        let states = states.collect::<Result<Vec<BudgetState>, AppError>>()?;
        let (states, next_cursor) = look.page.cut(states, |state| state.key.as_str().to_owned());
        let mut counters: Vec<BudgetStateBody> = states.iter().map(BudgetStateBody::from).collect();
        self.projections.tell(&mut counters);
        Ok((counters, next_cursor))
    }
}

/// What is looked at of budgets, and when.
struct Look<'a> {
    catalogue: &'a Catalogue,
    at: DateTime<Utc>,
    /// Only this key.
    key: Option<&'a str>,
    /// Which part of the counters of each.
    page: &'a Page,
}

/// The page key of a budget.
fn budget_key(row: &BudgetRow) -> String {
    row.definition.id.clone().unwrap_or_default()
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

/// The periods of a budget that are open, or since when a sliding window counts; no zone's name for a budget of one zone.
fn open_periods(budget: &Budget, catalogue: &Catalogue, at: DateTime<Utc>) -> Result<Vec<OpenPeriod>, AppError> {
    let mut open = Vec::new();
    let mut add = |name, zone| -> Result<(), AppError> {
        let start = budget.period.since(zone, at).map_err(Refusal::Calendar)?;
        open.push(OpenPeriod { budget: budget.number, zone: name, start, slides: budget.period.slides().is_some() });
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

/// What the counters of budgets no longer hold, because the time of the reservations has passed.
fn given_back(
    budgets: Vec<BudgetNumber>,
    catalogue: &Catalogue,
    expired: &[Reservation],
) -> Result<BTreeMap<CounterId, Counter>, AppError> {
    let mut recount = Recount::new(catalogue, budgets);
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
