//! `RateLimit-Policy` and `RateLimit`: how the hard budgets of a pre-flight stand, for clients that know no body of ours.
//!
//! After draft-ietf-httpapi-ratelimit-headers-11: lists of strings with parameters (RFC 9651), one item for each budget.
//! `q` is the limit and `w` the length of the period; `r` is what is left for calls of this priority and `t` for how many
//! seconds there is no more than that: the *effective window*, which of a paced budget is the pace's. The draft defines no
//! unit but requests, so that `qu` names ours; parameters are integers, so that dollars are told in millionths and grams in
//! thousandths, rounded down.
//!
//! At most [`ITEMS_MAX`] are told, the one that binds first at the head. A budget whose volumes the caller may not see is not
//! among them ([`crate::wire::view`]).
//!
//! Deliberately absent: `RateLimit-Limit`, `-Remaining` and `-Reset` of earlier drafts, which are of one budget only.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::wire::answer::{AmountsBody, BudgetStateBody, EnforcementName, PreflightAnswer, VerdictName};

/// The name of the header that says the limits.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The name of the header that says what is left.
pub const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Most budgets that are told, the tightest: more would make the header larger than some proxies take.
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

/// A hard budget whose volumes the caller may see.
struct Item<'a> {
    state: &'a BudgetStateBody,
    limit: Decimal,
    headroom: Decimal,
}

impl<'a> Item<'a> {
    fn of(state: &'a BudgetStateBody) -> Option<Self> {
        let is_hard = state.enforcement == EnforcementName::Hard;
        Some(Self { state, limit: state.limit?, headroom: state.headroom? }).filter(|_| is_hard)
    }

    /// How many calls like this one it leaves room for; none if the call takes nothing of it, or nobody knows how much.
    fn calls_left(&self, asked: &AmountsBody) -> Option<Decimal> {
        let one = match self.state.measure.as_str() {
            "requests" => Decimal::ONE,
            "usd" => asked.usd,
            "gco2e" => asked.gco2e,
            "gco2e_market" => asked.gco2e_market,
            // Of a weighted sum the tokens are the best that the answer says.
            _ => Decimal::from(asked.tokens),
        };
        self.headroom.max(Decimal::ZERO).checked_div(one)
    }
}

/// The hard budgets that are told, the one that binds first at the head: those that were in the way, the one of the pace, and
/// the others by how many such calls they leave room for.
fn tightest(answer: &PreflightAnswer) -> Vec<Item<'_>> {
    let mut items: Vec<Item<'_>> = answer.budgets.iter().filter_map(Item::of).collect();
    let is_refused = matches!(answer.verdict, VerdictName::Wait | VerdictName::Stop);
    items.sort_by_cached_key(|item| {
        let budget = item.state.budget.as_str();
        let obstacle = is_refused && answer.reasons.iter().any(|reason| reason.budget.as_deref() == Some(budget));
        let paced = answer.pace.as_ref().is_some_and(|pace| pace.budget == budget);
        (!obstacle, !paced, item.calls_left(&answer.estimate).unwrap_or(Decimal::MAX))
    });
    items.truncate(ITEMS_MAX);
    items
}

fn policy(Item { state, limit, .. }: &Item<'_>) -> String {
    let (name, scale) = unit(&state.measure);
    let mut item = format!("\"{}\";q={}", state.budget, units(*limit, scale));
    if name != "requests" {
        item.push_str(&format!(";qu=\"{name}\""));
    }
    if let Some(end) = state.resets_at {
        item.push_str(&format!(";w={}", (end - state.period_start).num_seconds().max(1)));
    }
    item
}

fn left(Item { state, headroom, .. }: &Item<'_>, answer: &PreflightAnswer, now: DateTime<Utc>) -> String {
    let (_, scale) = unit(&state.measure);
    let paced = answer.pace.as_ref().filter(|pace| pace.budget == state.budget);
    let (quantity, window) = match paced {
        Some(pace) => (pace.units_available, pace.window_s.map(i64::from)),
        None => (*headroom, state.resets_at.map(|end| (end - now).num_seconds().max(1))),
    };
    let mut item = format!("\"{}\";r={}", state.budget, units(quantity, scale));
    if let Some(window) = window {
        item.push_str(&format!(";t={window}"));
    }
    item
}

/// Adds both headers; neither where no hard budget governs the call, or the caller may see the volumes of none.
pub fn add(headers: &mut HeaderMap, answer: &PreflightAnswer, now: DateTime<Utc>) {
    let hard = tightest(answer);
    let list = |items: Vec<String>| HeaderValue::from_str(&items.join(", ")).ok();
    if hard.is_empty() {
        return;
    }
    // Ids are slugs and the rest is made here, so that both can always be written.
    if let Some(policies) = list(hard.iter().map(policy).collect()) {
        headers.insert(POLICY, policies);
    }
    if let Some(left) = list(hard.iter().map(|item| left(item, answer, now)).collect()) {
        headers.insert(LIMIT, left);
    }
}
