//! `RateLimit-Policy` and `RateLimit`: how the hard budgets of a pre-flight stand, for clients that know no body of ours.
//!
//! After draft-ietf-httpapi-ratelimit-headers-11: lists of strings with parameters (RFC 9651), one item for each budget.
//! `q` is the limit and `w` the length of the period; `r` is what is left for calls of this priority and `t` for how many
//! seconds there is no more than that: the *effective window*, which of a paced budget is the pace's. The draft defines no
//! unit but requests, so that `qu` names ours; parameters are integers, so that dollars are told in millionths and grams in
//! thousandths, rounded down.
//!
//! Deliberately absent: `RateLimit-Limit`, `-Remaining` and `-Reset` of earlier drafts, which are of one budget only.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::wire::answer::{BudgetStateBody, EnforcementName, PreflightAnswer};

/// The name of the header that says the limits.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The name of the header that says what is left.
pub const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Most budgets that are told: more would make the header larger than some proxies take.
const ITEMS_MAX: usize = 10;
/// Largest integer of a structured field (RFC 9651, 3.3.1).
const INTEGER_MAX: i64 = 999_999_999_999_999;

/// The unit of a measure, and how many of it are one of the measure.
fn unit(measure: &str) -> (&'static str, Decimal) {
    match measure {
        "requests" => ("requests", Decimal::ONE),
        "tokens" => ("tokens", Decimal::ONE),
        "usd" => ("micro-usd", Decimal::from(1_000_000)),
        "gco2e" => ("mg-co2e", Decimal::ONE_THOUSAND),
        "gco2e_market" => ("mg-co2e-market", Decimal::ONE_THOUSAND),
        // A weighted sum of token buckets.
        _ => ("weighted-tokens", Decimal::ONE),
    }
}

/// A quantity of a measure in whole units, rounded down; never below zero.
fn units(quantity: Decimal, scale: Decimal) -> i64 {
    let whole = quantity.max(Decimal::ZERO).checked_mul(scale).map(|units| units.trunc());
    whole.and_then(|units| units.to_i64()).unwrap_or(INTEGER_MAX).min(INTEGER_MAX)
}

fn policy(state: &BudgetStateBody) -> String {
    let (name, scale) = unit(&state.measure);
    let mut item = format!("\"{}\";q={}", state.budget, units(state.limit, scale));
    if name != "requests" {
        item.push_str(&format!(";qu=\"{name}\""));
    }
    if let Some(end) = state.resets_at {
        item.push_str(&format!(";w={}", (end - state.period_start).num_seconds().max(1)));
    }
    item
}

fn left(state: &BudgetStateBody, answer: &PreflightAnswer, now: DateTime<Utc>) -> String {
    let (_, scale) = unit(&state.measure);
    let paced = answer.pace.as_ref().filter(|pace| pace.budget == state.budget);
    let (quantity, window) = match paced {
        Some(pace) => (pace.units_available, pace.window_s.map(i64::from)),
        None => (state.headroom, state.resets_at.map(|end| (end - now).num_seconds().max(1))),
    };
    let mut item = format!("\"{}\";r={}", state.budget, units(quantity, scale));
    if let Some(window) = window {
        item.push_str(&format!(";t={window}"));
    }
    item
}

/// Adds both headers; neither where no hard budget governs the call.
pub fn add(headers: &mut HeaderMap, answer: &PreflightAnswer, now: DateTime<Utc>) {
    let hard = || answer.budgets.iter().filter(|state| state.enforcement == EnforcementName::Hard).take(ITEMS_MAX);
    let list = |items: Vec<String>| HeaderValue::from_str(&items.join(", ")).ok();
    if hard().next().is_none() {
        return;
    }
    // Ids are slugs and the rest is made here, so that both can always be written.
    if let Some(policies) = list(hard().map(policy).collect()) {
        headers.insert(POLICY, policies);
    }
    if let Some(left) = list(hard().map(|state| left(state, answer, now)).collect()) {
        headers.insert(LIMIT, left);
    }
}
