//! Do the books say what callers were told? Asked of the service itself, before and after.

use std::collections::BTreeMap;

use anyhow::Context;
use hyper::Method;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::load::{Calls, Shape};
use super::tally::Told;
use crate::cli::client::Client;

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Counted {
    Tokens,
    Usd,
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Deserialize)]
struct BudgetNow {
    budget: String,
    measure: Value,
    posted: Decimal,
    held: Decimal,
}

#[derive(Debug, Deserialize)]
struct Answer {
    budgets: Vec<BudgetNow>,
}

/// How the budgets of each tenant stand: by tenant's number and budget.
pub(super) type Standing = BTreeMap<(usize, String), (Counter, Decimal, Decimal)>;

/// Which sum of what callers were told a counter must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    Tokens,
    Usd,
}

/// Asks how all budgets of a shape stand.
///
/// # Errors
/// When the service does not answer.
pub(super) async fn standing(client: &mut Client, shape: Shape) -> anyhow::Result<Standing> {
    let mut call = Calls::new(shape, 0).next_call();
    let mut all = Standing::new();
    for tenant in 0..shape.tenants() {
        call.tenant = tenant;
        let mut ask = shape.preflight(&call);
        if let Some(fields) = ask.as_object_mut() {
            fields.insert("reserve".to_owned(), Value::Bool(false));
        }
        let reply = client.send(Method::POST, "/v1/preflight", None, &ask).await?;
        let answer: Answer = reply.json().context("asking how the budgets stand")?;
        for now in answer.budgets.into_iter().filter(|now| now.budget.starts_with("bench-")) {
            let counter = match serde_json::from_value(now.measure).unwrap_or(Counted::Other) {
                Counted::Tokens => Counter::Tokens,
                Counted::Usd => Counter::Usd,
                Counted::Other => continue,
            };
            all.insert((tenant, now.budget), (counter, now.posted, now.held));
        }
    }
    Ok(all)
}

/// Every difference between what callers were told and what the budgets of a shape gained. Those that are `shared` gain what
/// the callers of all tenants were told.
pub(super) fn differences(
    before: &Standing,
    after: &Standing,
    shared: &[String],
    told: &BTreeMap<usize, Told>,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut all = Told::default();
    for one in told.values() {
        all.add(*one);
    }
    for ((tenant, budget), (counter, posted, held)) in after {
        let own = told.get(tenant).copied().unwrap_or_default();
        let told = if shared.contains(budget) { all } else { own };
        let expected = match counter {
            Counter::Tokens => Decimal::from(told.tokens),
            Counter::Usd => told.usd,
        };
        let (_, posted_before, held_before) =
            before.get(&(*tenant, budget.clone())).copied().unwrap_or((*counter, Decimal::ZERO, Decimal::ZERO));
        if *posted - posted_before != expected {
            found.push(format!("{budget}: callers were told {expected} and {} was posted", *posted - posted_before));
        }
        if *held != held_before {
            found.push(format!("{budget}: {} is still held", *held - held_before));
        }
    }
    for tenant in told.keys().filter(|tenant| !after.keys().any(|(known, _)| known == *tenant)) {
        found.push(format!("tenant {tenant}: no budget counts its calls"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing_of(posted: i64, held: i64) -> Standing {
        let row = |counter, factor: i64| (counter, Decimal::from(posted * factor), Decimal::from(held));
        BTreeMap::from([
            ((0, "bench-tokens".to_owned()), row(Counter::Tokens, 100)),
            ((0, "bench-usd".to_owned()), row(Counter::Usd, 1)),
        ])
    }

    fn check(before: (i64, i64), after: (i64, i64), told_usd: i64, expect: usize) {
        let told = Told { requests: 1, tokens: u64::try_from(told_usd * 100).unwrap(), usd: Decimal::from(told_usd) };
        let told = BTreeMap::from([(0, told)]);
        let found = differences(&standing_of(before.0, before.1), &standing_of(after.0, after.1), &[], &told);
        assert_eq!(found.len(), expect, "{found:?}");
    }

    #[test]
    fn only_the_gain_counts_and_every_difference_is_found() {
        check((0, 0), (7, 0), 7, 0);
        check((5, 3), (12, 3), 7, 0);
        check((0, 0), (8, 0), 7, 2);
        check((0, 0), (7, 1), 7, 2);
        check((0, 1), (7, 0), 7, 2);
        let told = BTreeMap::from([(9, Told { requests: 1, tokens: 1, usd: Decimal::ONE })]);
        assert_eq!(differences(&Standing::new(), &Standing::new(), &[], &told).len(), 1);
    }

    #[test]
    fn a_shared_budget_gains_what_all_tenants_were_told() {
        let row = |tenants: i64| (Counter::Usd, Decimal::from(tenants), Decimal::ZERO);
        let after = BTreeMap::from([
            ((0, "bench-usd".to_owned()), row(2)),
            ((1, "bench-usd".to_owned()), row(2)),
            ((0, "bench-0".to_owned()), row(1)),
            ((1, "bench-1".to_owned()), row(1)),
        ]);
        let one = Told { requests: 1, tokens: 1, usd: Decimal::ONE };
        let told = BTreeMap::from([(0, one), (1, one)]);
        let shared = ["bench-usd".to_owned()];
        assert_eq!(differences(&Standing::new(), &after, &shared, &told), Vec::<String>::new());
        assert_eq!(differences(&Standing::new(), &after, &[], &told).len(), 2);
        assert_eq!(differences(&Standing::new(), &after, &shared, &BTreeMap::from([(0, one)])).len(), 3);
    }
}
