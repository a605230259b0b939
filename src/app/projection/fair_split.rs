//! The fair split of a shared budget, applied: one budget for each tenant, all in one change of the catalogue.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::asked::project_beside;
use super::shown::fair_shares;
use super::subject::Subject;
use crate::app::catalogue::check_room;
use crate::app::given::{Given, keep};
use crate::app::{App, AppError};
use crate::domain::budget::catalogue::BudgetClock;
use crate::domain::budget::scope::Each;
use crate::domain::id::BudgetId;
use crate::domain::ledger::command::Idempotency;
use crate::store::catalogue_reads::budget_histories;
use crate::store::preparation::prepare;
use crate::wire::FieldError;
use crate::wire::budget::{BudgetBody, KindName};
use crate::wire::projection::answer::{AppliedBody, FairShareBody};
use crate::wire::projection::what_if::ApplyFairSplitBody;
use crate::wire::scope::ModelScopeBody;

impl App {
    /// Applies the fair split of a shared budget as it is at this moment: a budget for each tenant that uses it, on the shared
    /// budget's clock. One that is there keeps all but its limit. Where
    /// nobody shares it nothing is written. A repeat under the same key is the first answer.
    ///
    /// # Errors
    /// [`AppError::UnknownBudget`]; names `key`; [`AppError::IdTaken`] when the id of a
    /// tenant's budget is that of another one.
    pub async fn apply_fair_split(
        &self,
        id: &BudgetId,
        body: &ApplyFairSplitBody,
        key: Option<&Idempotency>,
    ) -> Result<Given<AppliedBody>, AppError> {
        if let Some(given) = self.given_before(&mut *self.pool.acquire().await?, key).await? {
            return Ok(given);
        }
        let subject = self.subject(id, None, body.key.as_deref()).await?;
        let shared = self.budget(id, None).await?.definition;
        let asked = self.ask(vec![subject.clone()], None, self.clock.now()).await?;
        let projected = project_beside(asked).await?;
        let split = projected.first().map(|(asked, projection)| fair_shares(asked, projection)).unwrap_or_default();
        // Who is not expected to use anything is left without a budget of its own: a limit of nothing would lock it out.
        let split: Vec<FairShareBody> = split.into_iter().filter(|share| share.demand > Decimal::ZERO).collect();
        if split.is_empty() {
            return Ok(Given::new(AppliedBody { budget: id.to_string(), written: 0, unchanged: 0, items: split }));
        }
        let ids: Vec<&str> = split.iter().map(|share| share.budget.as_str()).collect();
        let wanted = |before: &BTreeMap<BudgetId, Vec<BudgetBody>>| -> Result<Vec<(BudgetId, BudgetBody)>, AppError> {
            let one =
                |share: &FairShareBody| wanted(before, tenant_budget(&shared, &subject, body, share), body, share);
            Ok(split.iter().map(one).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        };
        let known = self.snapshots.latest().catalogue;
        let _turn = self.changing.take(None).await;
        let mut connection = self.pool.acquire().await?;
        let mut preparation = prepare(&mut connection, self.clock.now()).await?;
        let before = preparation.catalogue(&known).await?;
        let changed = wanted(&budget_histories(preparation.connection(), &ids).await?)?;
        check_room(&before, &changed)?;
        let ahead = preparation.count_budgets(&before, &changed).await?;
        let mut change = preparation.lock().await?;
        if let Some(given) = self.given_before(change.connection(), key).await? {
            return Ok(given);
        }
        // Once more, because limits may have changed while the others were counted.
        let changed = wanted(&budget_histories(change.connection(), &ids).await?)?;
        let before = change.catalogue(&before).await?;
        let written = change.put_budgets(&changed, &before, Some(&ahead)).await?;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let unchanged = count(split.len().saturating_sub(written.len()));
        let items = split.clone();
        let answer = AppliedBody { budget: id.to_string(), written: count(written.len()), unchanged, items };
        keep(change.connection(), key, &answer, self.clock.now()).await?;
        change.commit().await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(Given::new(answer))
    }
}

/// What is to be written for one share; none where it is there as it is to be. What an earlier split wrote and the tenant made
/// another thing of is made what it was.
fn wanted(
    before: &BTreeMap<BudgetId, Vec<BudgetBody>>,
    fresh: BudgetBody,
    body: &ApplyFairSplitBody,
    share: &FairShareBody,
) -> Result<Option<(BudgetId, BudgetBody)>, AppError> {
    let budget = BudgetId::parse(&share.budget).map_err(|error| FieldError::new("id", error))?;
    let versions = before.get(&budget).map(Vec::as_slice).unwrap_or_default();
    let kept = versions.last();
    let wanted = match kept {
        None => fresh,
        Some(kept) if counts_alike(kept, &fresh) => {
            BudgetBody { limit: fresh.limit, enforcement: body.enforcement.unwrap_or(kept.enforcement), ..kept.clone() }
        }
        Some(_) if versions.iter().any(|earlier| counts_alike(earlier, &fresh)) => fresh,
        Some(_) => return Err(AppError::IdTaken(budget)),
    };
    Ok((kept != Some(&wanted)).then_some((budget, wanted)))
}

/// The budget of one tenant: the shared one's scope with the tenant in it, its measure and its window on its clock.
fn tenant_budget(
    shared: &BudgetBody,
    subject: &Subject,
    body: &ApplyFairSplitBody,
    share: &FairShareBody,
) -> BudgetBody {
    let mut scope = shared.scope.clone();
    scope.tenant = Some(share.tenant.clone());
    scope.tenants = Vec::new();
    let parts = subject.key.as_str().split_once('/');
    match subject.budget.each {
        Some(Each::Provider) => scope.provider = Some(subject.key.as_str().to_owned()),
        Some(Each::Model) => {
            let (provider, model) = both(parts);
            (scope.provider, scope.model) = (provider, model.map(ModelScopeBody::One));
        }
        Some(Each::Region) => (scope.provider, scope.region) = both(parts),
        None | Some(Each::Tenant | Each::Feature | Each::Run | Each::Agent | Each::Label(_)) => {}
    }
    let timezone = match subject.budget.clock {
        BudgetClock::Fixed(zone) => zone.name().to_owned(),
        // A shared budget has no tenant's clock; the zone of the counter is the same.
        BudgetClock::Tenant => subject.zone.name().to_owned(),
    };
    BudgetBody {
        id: None,
        scope,
        each: None,
        limit: share.limit,
        timezone,
        enforcement: body.enforcement.unwrap_or(shared.enforcement),
        kind: KindName::Budget,
        contract: None,
        ..shared.clone()
    }
}

fn both(parts: Option<(&str, &str)>) -> (Option<String>, Option<String>) {
    parts.map(|(left, right)| (left.to_owned(), right.to_owned())).unzip()
}

/// Whether a budget that is there is the one that an earlier split made: whatever else was changed about it since.
fn counts_alike(kept: &BudgetBody, fresh: &BudgetBody) -> bool {
    kept.scope == fresh.scope
        && kept.each == fresh.each
        && kept.measure == fresh.measure
        && kept.period == fresh.period
        && kept.timezone == fresh.timezone
}
