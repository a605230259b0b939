//! Tenants and budgets: create, replace, archive.
//!
//! A change that must count goes on to its end although its caller gives up: what is counted is not thrown away, and who asks again
//! finds it done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::{App, AppError};
use crate::domain::budget::catalogue::{Budget, BudgetNumber, Catalogue};
use crate::domain::calendar::Zone;
use crate::domain::id::{BudgetId, TenantId};
use crate::lane::LaneError;
use crate::store::catalogue::{BudgetHead, Change, change};
use crate::store::preparation::prepare;
use crate::wire::FieldError;
use crate::wire::budget::{BudgetBody, BudgetRecord, TenantBody};
use crate::wire::catalogue::{BudgetRow, TenantRow};

/// Longest name of a tenant, in bytes.
const TENANT_NAME_LENGTH_MAX: usize = 200;
/// Most budgets whose scope is one tenant, archived ones apart. Each is looked at for each of the tenant's calls; `each` counts
/// apart by run, agent or label with one.
pub const TENANT_BUDGETS_MAX: usize = 2_000;

/// Longest time that a caller waits for a change that counts. Shorter than a request may take, so that the answer can say that the
/// count goes on.
pub const COUNT_WAIT_MAX: Duration = Duration::from_secs(25);

/// What must be there for something to be written, by `If-Match` and `If-None-Match`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Anything.
    #[default]
    None,
    /// Nothing.
    Absent,
    /// Something.
    Present,
    /// One of these versions.
    Version(Vec<i32>),
}

impl Precondition {
    /// Checks it against the version that is there.
    ///
    /// # Errors
    /// [`AppError::PreconditionFailed`].
    pub fn check(&self, id: &str, there: Option<i32>) -> Result<(), AppError> {
        let holds = match self {
            Self::None => true,
            Self::Absent => there.is_none(),
            Self::Present => there.is_some(),
            Self::Version(wanted) => there.is_some_and(|version| wanted.contains(&version)),
        };
        if holds { Ok(()) } else { Err(AppError::PreconditionFailed { id: id.to_owned(), there }) }
    }
}

/// A budget that is to be written.
#[derive(Debug, Clone)]
pub struct BudgetPut {
    /// Its id.
    pub id: BudgetId,
    /// What it is to be.
    pub body: BudgetBody,
    /// What must be there.
    pub when: Precondition,
}

/// A budget that is to be written, as its document describes it.
#[derive(Debug, Clone)]
pub struct Described {
    /// The budget.
    pub budget: Budget,
    /// The document, with its scope in names of the books.
    pub named: BudgetBody,
    /// The same with everything that was left open decided.
    pub settled: BudgetBody,
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Does a piece of work to its end, whoever still waits for it. The caller waits as long as an answer may take.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    awaited(COUNT_WAIT_MAX, work).await
}

async fn awaited<T: Send + 'static>(
    patience: Duration,
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    match timeout(patience, tokio::spawn(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(LaneError::Stopping.into()),
        },
        Err(_) => Err(AppError::StillCounting),
    }
}

/// The budget that a document describes, before it is written.
fn unwritten(id: &BudgetId, body: &BudgetBody) -> Result<Budget, FieldError> {
    let record = BudgetRecord { number: BudgetNumber(0), version: 0, counted_from: DateTime::<Utc>::UNIX_EPOCH };
    body.to_budget(id.clone(), record)
}

/// Whether one of these budgets counts otherwise than in a catalogue.
fn must_count(catalogue: &Catalogue, budgets: &[(BudgetId, BudgetBody)]) -> bool {
    let known: BTreeMap<_, _> = catalogue.budgets().map(|budget| (&budget.id, budget)).collect();
    budgets.iter().any(|(id, body)| {
        let alike = |was: &Arc<Budget>| unwritten(id, body).is_ok_and(|budget| was.counts_like(&budget));
        !known.get(id).is_some_and(|was| alike(was))
    })
}

/// Checks that no tenant gets more budgets than it may have: in its own space, and as many that the platform makes for it, so that
/// the tenant's leave room for the platform's. Who has more already may replace them.
pub(super) fn check_room(before: &Catalogue, budgets: &[(BudgetId, BudgetBody)]) -> Result<(), AppError> {
    let known: BTreeMap<_, _> = before.budgets().map(|budget| (&budget.id, budget)).collect();
    let mut more: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for (id, body) in budgets {
        let Some(tenant) = body.scope.tenant.as_deref() else { continue };
        let is_its_own = |was: &&Arc<Budget>| was.scope.tenant.as_ref().is_some_and(|own| own.as_str() == tenant);
        if !known.get(id).is_some_and(is_its_own) {
            let count = more.entry((tenant, id.space().is_some())).or_default();
            *count = count.saturating_add(1);
        }
    }
    for ((tenant, in_space), more) in more {
        let is_alike = |budget: &&Arc<Budget>| {
            budget.scope.tenant.as_ref().is_some_and(|own| own.as_str() == tenant)
                && budget.id.space().is_some() == in_space
        };
        let there = before.budgets().filter(is_alike).count();
        if there.saturating_add(more) > TENANT_BUDGETS_MAX {
            return Err(AppError::TooManyBudgets { tenant: tenant.to_owned(), there });
        }
    }
    Ok(())
}

impl App {
    /// Creates or replaces a tenant. A new zone makes the counters on its clock anew.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::PreconditionFailed`].
    pub async fn put_tenant(
        &self,
        id: &TenantId,
        body: &TenantBody,
        when: &Precondition,
    ) -> Result<TenantRow, AppError> {
        if body.id.as_ref().is_some_and(|inner| *inner != id.as_str()) {
            return Err(FieldError::new("id", "differs from the id in the path").into());
        }
        let bad_name =
            |name: &String| name.trim().is_empty() || name.len() > TENANT_NAME_LENGTH_MAX || has_control(name);
        if body.name.as_ref().is_some_and(bad_name) {
            let detail = format!("must be 1 to {TENANT_NAME_LENGTH_MAX} bytes without control characters");
            return Err(FieldError::new("name", detail).into());
        }
        let zone = Zone::parse(&body.timezone).map_err(|error| FieldError::new("timezone", error))?;
        let (app, id, body, when) = (self.clone(), id.clone(), body.clone(), when.clone());
        to_its_end(async move { app.write_tenant(&id, &body, zone, &when).await }).await
    }

    async fn write_tenant(
        &self,
        id: &TenantId,
        body: &TenantBody,
        zone: Zone,
        when: &Precondition,
    ) -> Result<TenantRow, AppError> {
        self.catch_up().await?;
        let known = self.snapshots.latest().catalogue;
        let moves = known.tenant(id).is_some_and(|tenant| tenant.zone != zone);
        let _turn = if moves { self.changing.take(None).await } else { None };
        let mut connection = self.pool.acquire().await?;
        let (mut change, ahead) = if moves {
            let mut preparation = prepare(&mut connection, self.clock.now()).await?;
            let before = preparation.catalogue(&known).await?;
            let ahead = preparation.count_tenant(&before, id, zone).await?;
            (preparation.lock().await?, Some(ahead))
        } else {
            (change(&mut connection, self.clock.now()).await?, None)
        };
        when.check(id.as_str(), change.tenant_version(id).await?)?;
        let before = change.catalogue(&known).await?;
        let written = change.put_tenant(id, body, &before, ahead.as_ref()).await?;
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(written)
    }

    /// Archives a tenant.
    ///
    /// # Errors
    /// [`AppError::UnknownTenant`] when there is none; [`AppError::PreconditionFailed`].
    pub async fn archive_tenant(&self, id: &TenantId, when: &Precondition) -> Result<(), AppError> {
        let mut connection = self.pool.acquire().await?;
        let mut change = change(&mut connection, self.clock.now()).await?;
        when.check(id.as_str(), change.tenant_version(id).await?)?;
        if !change.archive_tenant(id).await? {
            return Err(AppError::UnknownTenant(id.clone()));
        }
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(())
    }

    /// What a document describes before it is written.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn described(&self, id: &BudgetId, body: &BudgetBody) -> Result<Described, FieldError> {
        let known = self.snapshots.latest();
        let scope = body.scope.named(&known.rates.prices)?;
        let named = BudgetBody { scope, ..body.clone() };
        unwritten(id, &named)?;
        if let Some(space) = id.space().filter(|space| named.scope.tenant.as_deref() != Some(*space)) {
            let detail = format!("must be `{space}`: `{id}` is in that tenant's own space");
            return Err(FieldError::new("scope.tenant", detail));
        }
        let settled = named.settled(known.catalogue.budget(id).map(AsRef::as_ref), self.clock.now())?;
        Ok(Described { budget: unwritten(id, &settled)?, named, settled })
    }

    /// Creates or replaces budgets, all or none, and says what is odd about them. One that is new knows what its period has used
    /// already. A caller that is confined to a tenant replaces that tenant's own only.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::UnknownBudget`] when a budget of the platform is to be replaced that is not the
    /// caller's; [`AppError::PreconditionFailed`]; [`AppError::TooManyBudgets`].
    pub async fn put_budgets(
        &self,
        puts: Vec<BudgetPut>,
        confined: Option<&TenantId>,
    ) -> Result<Vec<BudgetRow>, AppError> {
        // Also of what another replica has just written: a budget that is replaced goes on counting from where it did.
        self.catch_up().await?;
        let mut tenants = BTreeSet::new();
        let mut described = Vec::with_capacity(puts.len());
        let mut conditions = Vec::with_capacity(puts.len());
        let mut budgets = Vec::with_capacity(puts.len());
        for put in puts {
            let one = self.described(&put.id, &put.body)?;
            tenants.extend(one.budget.scope.tenant.clone());
            conditions.push((put.id.clone(), put.when));
            budgets.push((put.id, one.settled));
            described.push((one.budget, one.named));
        }
        for tenant in &tenants {
            self.know_tenant(tenant).await?;
        }
        let (app, party, confined) = (self.clone(), confined.cloned(), confined.cloned());
        let check = async move |change: &mut Change<'_>| {
            let ids: Vec<&str> = conditions.iter().map(|(id, _)| id.as_str()).collect();
            let there = change.budget_heads(&ids).await?;
            for (id, when) in &conditions {
                let head = there.get(id);
                // In its own space there is nothing but its own. Elsewhere it makes nothing.
                let is_its_own = |head: &BudgetHead| head.tenant == confined;
                if confined.is_some() && id.space().is_none() && !head.is_some_and(is_its_own) {
                    return Err(AppError::UnknownBudget(id.clone()));
                }
                let name = if confined.is_some() { id.name() } else { id.as_str() };
                when.check(name, head.map(|head| head.version))?;
            }
            Ok(())
        };
        let mut written = to_its_end(async move { app.write_budgets(party.as_ref(), &budgets, check).await }).await?;
        for (row, (budget, named)) in written.iter_mut().zip(&described) {
            row.warnings = self.budget_warnings(budget, named);
        }
        Ok(written)
    }

    /// Writes budgets that are valid, in the turn of a party, if `check` allows it when nothing else changes any more.
    async fn write_budgets(
        &self,
        party: Option<&TenantId>,
        budgets: &[(BudgetId, BudgetBody)],
        check: impl AsyncFnOnce(&mut Change<'_>) -> Result<(), AppError>,
    ) -> Result<Vec<BudgetRow>, AppError> {
        self.catch_up().await?;
        let known = self.snapshots.latest().catalogue;
        let counts = must_count(&known, budgets);
        let _turn = if counts { self.changing.take(party).await } else { None };
        let mut connection = self.pool.acquire().await?;
        let (mut change, ahead) = if counts {
            let mut preparation = prepare(&mut connection, self.clock.now()).await?;
            let before = preparation.catalogue(&known).await?;
            check_room(&before, budgets)?;
            let ahead = preparation.count_budgets(&before, budgets).await?;
            (preparation.lock().await?, Some(ahead))
        } else {
            (change(&mut connection, self.clock.now()).await?, None)
        };
        check(&mut change).await?;
        let before = change.catalogue(&known).await?;
        check_room(&before, budgets)?;
        let written = change.put_budgets(budgets, &before, ahead.as_ref()).await?;
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(written)
    }

    /// Archives a budget.
    ///
    /// # Errors
    /// [`AppError::UnknownBudget`] when there is none; [`AppError::PreconditionFailed`].
    pub async fn archive_budget(&self, id: &BudgetId, when: &Precondition) -> Result<(), AppError> {
        let mut connection = self.pool.acquire().await?;
        let mut change = change(&mut connection, self.clock.now()).await?;
        let there = change.budget_heads(&[id.as_str()]).await?;
        when.check(id.as_str(), there.get(id).map(|head| head.version))?;
        if !change.archive_budget(id).await? {
            return Err(AppError::UnknownBudget(id.clone()));
        }
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_change_that_nobody_waits_for_any_more_is_made_to_its_end() {
        let (go, told_to) = oneshot::channel::<()>();
        let (made, is_made) = oneshot::channel();
        let work = async move {
            told_to.await.unwrap();
            made.send("made").unwrap();
            Ok(())
        };
        let answer = awaited(Duration::ZERO, work).await;
        assert!(matches!(answer, Err(AppError::StillCounting)), "{answer:?}");
        go.send(()).unwrap();
        assert_eq!(is_made.await, Ok("made"));
    }

    #[tokio::test]
    async fn a_change_that_ends_in_time_is_answered_as_it_ended() {
        assert!(matches!(awaited(COUNT_WAIT_MAX, async { Ok(7) }).await, Ok(7)));
        let refused = awaited::<()>(COUNT_WAIT_MAX, async { Err(AppError::Busy("no")) }).await;
        assert!(matches!(refused, Err(AppError::Busy("no"))), "{refused:?}");
    }
}
