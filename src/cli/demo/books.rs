//! What the ledger says at the end, asked through its own API.

use std::cmp::Reverse;

use anyhow::Context;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cast::{PER_RUN, Planned, budgets};
use super::summary::{BalanceLine, BudgetLine, FeatureLine};
use crate::cli::client::Client;
use crate::wire::answer::{AmountsBody, BudgetStateBody};

/// The books, read.
pub(super) struct Books {
    pub(super) budgets: Vec<BudgetLine>,
    pub(super) features: Vec<FeatureLine>,
    pub(super) trial_balance: Vec<BalanceLine>,
}

/// A page of a budget's counters: what is read of it.
#[derive(Deserialize)]
struct CountersPage {
    counters: Vec<BudgetStateBody>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct UsageTotals {
    rows: Vec<UsageRow>,
}

#[derive(Deserialize)]
struct UsageRow {
    group: Group,
    requests: u64,
    amounts: AmountsBody,
}

#[derive(Deserialize)]
struct Group {
    tenant: String,
    feature: String,
}

#[derive(Deserialize)]
struct TrialBalance {
    units: Vec<BalanceLine>,
}

/// Reads all of it.
///
/// # Errors
/// When the service does not answer as expected.
pub(super) async fn read(client: &mut Client) -> anyhow::Result<Books> {
    let mut lines = Vec::new();
    for planned in budgets() {
        lines.push(budget_line(client, planned).await?);
    }
    let usage: UsageTotals = get(client, "/v1/usage?group_by=tenant,feature").await?;
    let mut features: Vec<FeatureLine> = usage.rows.into_iter().map(feature_line).collect();
    features.sort_by_key(|line| Reverse(line.usd));
    let balance: TrialBalance = get(client, "/v1/ledger/trial-balance").await?;
    Ok(Books { budgets: lines, features, trial_balance: balance.units })
}

async fn get<T: DeserializeOwned>(client: &mut Client, path: &str) -> anyhow::Result<T> {
    client.get(path).await?.json().with_context(|| format!("GET {path}"))
}

fn feature_line(row: UsageRow) -> FeatureLine {
    let UsageRow { group: Group { tenant, feature }, requests, amounts } = row;
    FeatureLine { tenant, feature, requests, tokens: amounts.tokens, usd: amounts.usd, gco2e: amounts.gco2e }
}

/// One line for a budget. Of one that is counted apart, its fullest counter.
async fn budget_line(client: &mut Client, planned: Planned) -> anyhow::Result<BudgetLine> {
    let mut fullest: Option<BudgetStateBody> = None;
    let mut counters = 0;
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/budgets/{}?limit=1000{cursor}", planned.id);
        let page: CountersPage = get(client, &path).await?;
        counters += page.counters.len();
        fullest = fullest.into_iter().chain(page.counters).min_by_key(|state| state.headroom);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(BudgetLine {
        what: planned.what,
        state: fullest.with_context(|| format!("budget {} has no counter", planned.id))?,
        slides: planned.document["period"]["kind"] == "sliding",
        counters: (planned.id == PER_RUN).then_some(counters),
    })
}

/// Whether every unit balances; not when there is none.
pub(super) fn balances(lines: &[BalanceLine]) -> bool {
    !lines.is_empty() && lines.iter().all(|line| line.difference == Decimal::ZERO && line.debit == line.credit)
}
