//! The books: transfers, accounts, the trial balance.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, ValidPath, ValidQuery};
use crate::app::ledger::{CountersBalance, Pair, Part, RollupBalance};
use crate::domain::access::{Action as Access, confine};
use crate::domain::id::{AgentId, FeatureId, ModelId, ProviderId, RegionId, RunId, TenantId, TransferId};
use crate::wire::ledger::{
    AccountsPage, AccountsQuery, CountedBody, CountersBalanceBody, Order, RolledUnitBody, RollupBalanceBody,
    TransferBody, TransfersPage, TransfersQuery, TrialBalanceBody, TrialBalanceQuery, UnitBalanceBody,
};
use crate::wire::page::Page;
use crate::wire::{FieldError, in_calendar, optional};

/// Longest name of an account, in bytes: a prefix, two names and a slash.
const ACCOUNT_LENGTH_MAX: usize = 512;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list_transfers))
        .routes(routes!(get_transfer))
        .routes(routes!(list_accounts))
        .routes(routes!(get_trial_balance))
}

/// Names what cannot be a value, so that a filter never silently finds nothing, and no strange text reaches the database.
fn check_transfers_query(query: &TransfersQuery) -> Result<(), FieldError> {
    optional::<FeatureId>("feature", query.feature.as_deref())?;
    optional::<ProviderId>("provider", query.provider.as_deref())?;
    optional::<ModelId>("model", query.model.as_deref())?;
    optional::<RegionId>("region", query.region.as_deref())?;
    optional::<RunId>("run", query.run.as_deref())?;
    optional::<AgentId>("agent", query.agent.as_deref())?;
    check_account("account", query.account.as_deref())?;
    for (field, at) in [("from", query.from), ("to", query.to), ("as_of", query.as_of)] {
        in_calendar(field, at)?;
    }
    Ok(())
}

fn check_account(field: &str, name: Option<&str>) -> Result<(), FieldError> {
    let strange = |name: &str| name.len() > ACCOUNT_LENGTH_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic());
    if name.is_some_and(strange) {
        return Err(FieldError::new(field, "is no name of an account: usage:TENANT/FEATURE or supply:PROVIDER/MODEL"));
    }
    Ok(())
}

/// List transfers
///
/// The journal, page by page, in the order in which calls were reported; each row moves one bundle of amounts from its credit
/// account to its debit account. With `as_of` the journal as it stood then: a walk with it shows one consistent state.
#[utoipa::path(
    get,
    path = "/v1/ledger/transfers",
    tag = "ledger",
    params(TransfersQuery),
    responses((status = 200, description = "A page of the journal.", body = TransfersPage))
)]
async fn list_transfers(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<TransfersQuery>,
) -> Result<Json<TransfersPage>, Problem> {
    let tenant = confine(&caller, Access::Read, optional::<TenantId>("tenant", query.tenant.as_deref())?)?;
    check_transfers_query(&query)?;
    let list = match query.order {
        Order::Newest => "transfers, newest first",
        Order::Oldest => "transfers, oldest first",
    };
    let page = Page::new(list, query.cursor.as_deref(), query.limit)?;
    let after = page.after.as_deref().map(|id| id.parse::<Uuid>().map_err(|_| strange_cursor())).transpose()?;
    // The tenant of a confined credential is also what the index is asked for.
    let query = TransfersQuery { tenant: tenant.as_ref().map(ToString::to_string), ..query };
    let found = state.app.transfers(tenant.as_ref(), &query, after, page.fetch()).await?;
    let (found, next_cursor) = page.cut(found, |transfer| transfer.id.to_string());
    Ok(Json(TransfersPage { items: found.iter().map(TransferBody::from).collect(), next_cursor }))
}

fn strange_cursor() -> Problem {
    Problem::field(ProblemCode::InvalidRequest, "cursor", "is no cursor of this list: give `next_cursor` unchanged")
}

/// Look at a transfer
///
/// One journal row: what moved, and by which rows of the price book and the factor book it was priced.
#[utoipa::path(
    get,
    path = "/v1/ledger/transfers/{id}",
    tag = "ledger",
    params(("id" = Uuid, Path, description = "The transfer.")),
    responses((status = 200, description = "The transfer.", body = TransferBody))
)]
async fn get_transfer(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidPath(id): ValidPath<Uuid>,
) -> Result<Json<TransferBody>, Problem> {
    let tenant = confine(&caller, Access::Read, None)?;
    let found = state.app.transfer(tenant.as_ref(), TransferId(id)).await?;
    let found = found
        .ok_or_else(|| Problem::with_detail(ProblemCode::NotFound, format!("transfer {id} is not in the journal")))?;
    Ok(Json(TransferBody::from(&found)))
}

/// List accounts
///
/// What stands on each account as of any instant of recording: debit less credit, in every unit. `usage:` accounts stand on
/// the debit side, `supply:` accounts on the credit side. For a tenant: what its own calls moved.
#[utoipa::path(
    get,
    path = "/v1/ledger/accounts",
    tag = "ledger",
    params(AccountsQuery),
    responses((status = 200, description = "A page of accounts.", body = AccountsPage))
)]
async fn list_accounts(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<AccountsQuery>,
) -> Result<Json<AccountsPage>, Problem> {
    let tenant = confine(&caller, Access::Read, optional("tenant", query.tenant.as_deref())?)?;
    check_account("prefix", query.prefix.as_deref())?;
    in_calendar("as_of", query.as_of)?;
    let page = Page::new("accounts", query.cursor.as_deref(), query.limit)?;
    let as_of = query.as_of.unwrap_or_else(|| state.app.clock.now());
    let prefix = query.prefix.as_deref().unwrap_or("");
    let after = page.after.as_deref().unwrap_or("");
    let found = state.app.accounts(tenant.as_ref(), as_of, prefix, after, page.fetch()).await?;
    let (items, next_cursor) = page.cut(found, |account| account.account.clone());
    Ok(Json(AccountsPage { as_of, items, next_cursor }))
}

/// Show the trial balance
///
/// What the debit and the credit sides of the journal add up to, in each unit; the journal against the usage roll-up, row by row;
/// and the journal and the open reservations against the counters of every budget: all in one snapshot of the books. `balanced`
/// says that nothing differs; where something cannot be read or added up, the answer is an error. Bounded by `from` and `to` it
/// reads only what counts in between: ask for a month where the whole journal takes too long (`timeout`). Which rows differ is
/// listed by `counterfoil verify`.
#[utoipa::path(
    get,
    path = "/v1/ledger/trial-balance",
    tag = "ledger",
    params(TrialBalanceQuery),
    responses((status = 200, description = "The sums of the books, beside each other.", body = TrialBalanceBody))
)]
async fn get_trial_balance(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(query): ValidQuery<TrialBalanceQuery>,
) -> Result<Json<TrialBalanceBody>, Problem> {
    let tenant = confine(&caller, Access::Read, optional("tenant", query.tenant.as_deref())?)?;
    query.check()?;
    let as_of = query.as_of.unwrap_or_else(|| state.app.clock.now());
    let part = Part { tenant, from: query.from, to: query.to };
    let found = state.app.trial_balance(&part, as_of).await?;
    Ok(Json(TrialBalanceBody {
        as_of,
        from: part.from,
        to: part.to,
        balanced: found.is_balanced(),
        transfers: found.rollup.transfers,
        units: found
            .units
            .iter()
            .map(|unit| UnitBalanceBody {
                unit: unit.unit.clone(),
                debit: unit.debit.normalize(),
                credit: unit.credit.normalize(),
                difference: unit.difference.normalize(),
            })
            .collect(),
        rollup: rollup_body(&found.rollup),
        counters: found.counters.iter().map(|(measure, counters)| counters_body(*measure, counters)).collect(),
    }))
}

fn rollup_body(found: &RollupBalance) -> RollupBalanceBody {
    let units = found.units.iter().map(|unit| RolledUnitBody {
        unit: unit.unit.to_owned(),
        journal: unit.journal.normalize(),
        rollup: unit.rollup.normalize(),
        difference: unit.rollup.saturating_sub(unit.journal).normalize(),
    });
    RollupBalanceBody { rows: found.rows, differing: found.differing, units: units.collect() }
}

fn counters_body(measure: Option<&str>, found: &CountersBalance) -> CountersBalanceBody {
    let counted = |pair: Pair| CountedBody {
        counters: pair.recorded.normalize(),
        recomputed: pair.recomputed.normalize(),
        difference: pair.recorded.saturating_sub(pair.recomputed).normalize(),
    };
    CountersBalanceBody {
        measure: measure.map(str::to_owned),
        budgets: u64::try_from(found.budgets.len()).unwrap_or(u64::MAX),
        counters: found.counters,
        differing: found.differing,
        posted: counted(found.posted),
        held: counted(found.held),
    }
}
