//! What is projected: one counter of one budget, in the period that is open.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::app::catalogue_reads::zone_of;
use crate::app::{App, AppError};
use crate::domain::budget::catalogue::{Budget, Catalogue};
use crate::domain::budget::scope::{CounterKey, Each};
use crate::domain::calendar::{Period, PeriodSpec, Zone};
use crate::domain::id::{BudgetId, TenantId, composed};
use crate::store::projections::OpenCounter;
use crate::wire::FieldError;
use crate::wire::answer::BudgetStateBody;
use crate::wire::page::Page;

/// One counter of one budget.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The budget.
    pub budget: Arc<Budget>,
    /// Which counter.
    pub key: CounterKey,
    /// The tenant whose calls alone it counts.
    pub tenant: Option<TenantId>,
    /// The zone that bounds its periods.
    pub zone: Zone,
    /// The period that is open.
    pub period: Period,
    /// How much, in one period.
    pub limit: Decimal,
    /// What the journal says.
    pub posted: Decimal,
    /// What the open reservations say.
    pub held: Decimal,
}

/// A decimal as a number of a forecast.
pub(super) fn real(value: Decimal) -> f64 {
    value.to_f64().unwrap_or_default()
}

impl Subject {
    /// A counter as the worker found it; none where its zone is not known any more.
    pub(super) fn found(budget: &Arc<Budget>, catalogue: &Catalogue, open: &OpenCounter) -> Option<Self> {
        Some(Self {
            zone: zone_of(budget, catalogue, open.tenant.as_ref())?,
            key: open.id.key.clone(),
            tenant: open.tenant.clone(),
            period: open.period,
            limit: budget.limit.decimal(),
            posted: open.counter.posted.decimal(),
            held: open.counter.held.decimal(),
            budget: Arc::clone(budget),
        })
    }

    /// The counter of a budget that is not counted apart and has counted nothing in the period that is open.
    pub(super) fn untouched(budget: &Arc<Budget>, catalogue: &Catalogue, now: DateTime<Utc>) -> Option<Self> {
        let zone = zone_of(budget, catalogue, None)?;
        Some(Self {
            zone,
            key: CounterKey::whole(),
            tenant: budget.scope.tenant.clone(),
            period: budget.period.holding(zone, now).ok()?,
            limit: budget.limit.decimal(),
            posted: Decimal::ZERO,
            held: Decimal::ZERO,
            budget: Arc::clone(budget),
        })
    }

    /// A counter as a budget's own page shows it.
    fn shown(budget: &Arc<Budget>, state: &BudgetStateBody) -> Option<Self> {
        let tenant = budget.scope.tenant.clone().or_else(|| tenant_of_key(budget, &state.key));
        Some(Self {
            budget: Arc::clone(budget),
            key: CounterKey::stored(&state.key),
            tenant,
            zone: Zone::parse(&state.timezone).ok()?,
            period: Period { start: state.period_start, end: state.resets_at },
            limit: state.limit?,
            posted: state.posted?,
            held: state.held?,
        })
    }

    /// `limit − posted − held`, where a credit counts as nothing posted.
    pub(super) fn headroom(&self) -> Decimal {
        self.limit.saturating_sub(self.posted.max(Decimal::ZERO)).saturating_sub(self.held)
    }
}

/// The tenant that a counter's key names, where it names one.
fn tenant_of_key(budget: &Budget, key: &str) -> Option<TenantId> {
    let named = budget.each.as_ref().is_some_and(Each::is_within_tenant).then_some(key)?;
    TenantId::parse(named.split_once('/').map_or(named, |(tenant, _)| tenant)).ok()
}

/// Whether a budget has an end to see coming: a sliding window has room again within its own length, always.
pub(super) fn has_an_end(budget: &Budget) -> bool {
    !matches!(budget.period, PeriodSpec::Sliding { .. })
}

impl App {
    /// A page of the counters of a budget, as subjects.
    ///
    /// # Errors
    /// [`AppError::UnknownBudget`]; names `id` where a budget has no end to see coming, and `key` where it has no such counter.
    pub(super) async fn subjects(
        &self,
        id: &BudgetId,
        confined: Option<&TenantId>,
        key: Option<&str>,
        page: &Page,
    ) -> Result<(Vec<Subject>, Option<String>), AppError> {
        let now = self.budget_now(id, confined, key, page).await?;
        let catalogue = self.snapshots.latest().catalogue;
        let budget = catalogue.budget(id).filter(|_| now.budget.archived_at.is_none());
        let budget = budget.ok_or_else(|| AppError::UnknownBudget(id.clone()))?;
        if !has_an_end(budget) {
            let detail =
                format!("{} is a sliding window: it has room again within its own length, and never ends", id.name());
            return Err(FieldError::new("id", detail).into());
        }
        let subjects = now.counters.iter().filter_map(|state| Subject::shown(budget, state)).collect();
        Ok((subjects, now.next_cursor))
    }

    /// One counter of a budget; the only one where it is not counted apart.
    ///
    /// # Errors
    /// As [`App::subjects`].
    pub(super) async fn subject(
        &self,
        id: &BudgetId,
        confined: Option<&TenantId>,
        key: Option<&str>,
    ) -> Result<Subject, AppError> {
        let page = Page::new("counters", None, None)?;
        let key = key.map(composed);
        let key = key.as_deref();
        let (subjects, _) = self.subjects(id, confined, Some(key.unwrap_or_default()), &page).await?;
        let none = || match key {
            None => FieldError::new(
                "key",
                format!("{} is counted apart: name one of its keys, as /projections lists them", id.name()),
            ),
            Some(key) => {
                FieldError::new("key", format!("{} has counted nothing for `{key}` in its open period", id.name()))
            }
        };
        Ok(subjects.into_iter().next().ok_or_else(none)?)
    }
}
