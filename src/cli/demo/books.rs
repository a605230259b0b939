//! What the ledger says at the end, asked through its own API.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hyper::Method;
use rust_decimal::Decimal;
use serde_json::json;

use super::cast::{FEATURES, PER_RUN, budgets};
use super::summary::{BalanceLine, BudgetLine, FeatureLine};
use super::tally::Tally;
use crate::cli::client::Client;
use crate::wire::answer::{BudgetStateBody, PreflightAnswer};

/// The books, read.
pub(super) struct Books {
    pub(super) budgets: Vec<BudgetLine>,
    pub(super) features: Vec<FeatureLine>,
    pub(super) trial_balance: Vec<BalanceLine>,
}

/// Reads all of it.
///
/// # Errors
/// When the service does not answer as expected.
pub(super) async fn read(client: &mut Client, tally: &Tally) -> anyhow::Result<Books> {
    let mut features: Vec<FeatureLine> = tally.spent.values().cloned().collect();
    features.sort_by_key(|line| Reverse(line.usd));
    Ok(Books { budgets: budget_lines(client, tally).await?, features, trial_balance: Vec::new() })
}

/// Asks for each feature without holding: the answer says how every budget stands that would govern the call.
async fn budget_lines(client: &mut Client, tally: &Tally) -> anyhow::Result<Vec<BudgetLine>> {
    let fullest = tally.runs.iter().max_by_key(|(_, spent)| **spent).map(|(key, _)| key.clone());
    let run = fullest.as_deref().and_then(|key| key.rsplit('/').next()).unwrap_or("none");
    let tenant = fullest.as_deref().and_then(|key| key.split('/').next()).unwrap_or_default();
    let mut states: BTreeMap<String, BudgetStateBody> = BTreeMap::new();
    for feature in &FEATURES {
        for route in feature.routes {
            let mut body = json!({"tenant": feature.tenant, "feature": feature.name, "provider": route.provider,
                "model": route.model, "reserve": false, "estimate": {"input": 1, "max_output": 1}});
            if feature.tenant == tenant
                && let Some(fields) = body.as_object_mut()
            {
                fields.insert("run".to_owned(), json!(run));
            }
            let answer: PreflightAnswer = client.send(Method::POST, "/v1/preflight", None, &body).await?.json()?;
            states.extend(answer.budgets.into_iter().map(|state| (state.budget.clone(), state)));
        }
    }
    let line = |planned: super::cast::Planned| {
        let state = states.remove(planned.id)?;
        let counters = (planned.id == PER_RUN).then_some(tally.runs.len());
        Some(BudgetLine { what: planned.what, state, counters })
    };
    Ok(budgets().into_iter().filter_map(line).collect())
}

/// Whether every unit balances; not when there is none.
pub(super) fn balances(lines: &[BalanceLine]) -> bool {
    !lines.is_empty() && lines.iter().all(|line| line.difference == Decimal::ZERO && line.debit == line.credit)
}
