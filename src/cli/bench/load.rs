//! The calls that are made: the same for the service and for the baseline.
//!
//! | shape | tenants | budgets that govern a call |
//! |---|---|---|
//! | hot | 1 | tokens and dollars of a provider's quota that everybody shares, dollars of the tenant |
//! | spread | 256 | tokens and dollars of each tenant with that provider, dollars of the tenant |
//! | plain | 4 | tokens and dollars of a feature that the tenants share, dollars of the tenant |
//! | paced | 4 | the same of another feature, and each of the three is paced |
//!
//! Calls of the last two are of each priority in turn. Every limit is so high that nobody is refused: a refusal is cheaper than a grant, and would flatter.

use chrono::{Datelike, Days, NaiveDate};
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// Tenants of the spread shape.
const SPREAD_TENANTS: usize = 256;
/// Tenants of the plain and of the paced shape.
const PACING_TENANTS: usize = 4;
/// As far back as [`past::post_rhythm`](super::beside) posts, and a day.
const FORTNIGHT: Days = Days::new(15);
/// The last day that every month has.
const ANCHOR_DAY_MAX: u32 = 28;
/// The priorities of the plain and of the paced shape.
pub(super) const PRIORITIES: [&str; 3] = ["interactive", "standard", "batch"];
/// Prompt tokens of a call: this and up to so many more.
const INPUT_MIN: u64 = 200;
const INPUT_SPAN: u64 = 4000;
/// Completion tokens that are asked for, and how many are used: this and up to so many more.
const OUTPUT_MAX: u64 = 800;
const OUTPUT_MIN: u64 = 50;
const OUTPUT_SPAN: u64 = 750;

/// How the load falls on the budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Everybody shares one.
    Hot,
    /// Many tenants with their own.
    Spread,
    /// A few tenants share one: what the paced shape is compared with.
    Plain,
    /// The same, paced.
    Paced,
}

/// One call: what is asked, and what will be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) tenant: usize,
    pub(super) input: u64,
    pub(super) output: u64,
}

impl Call {
    /// The most it may use.
    pub(super) const fn asked_tokens(&self) -> u64 {
        self.input + OUTPUT_MAX
    }

    /// What it will use.
    pub(super) const fn used_tokens(&self) -> u64 {
        self.input + self.output
    }

    pub(super) const fn max_output() -> u64 {
        OUTPUT_MAX
    }
}

/// Numbers without end, the same for the same seed (splitmix64, Steele 2014).
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    state: u64,
}

impl Numbers {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) }
    }

    /// The next one. The bound is not zero.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Calls without end, the same for the same seed.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    shape: Shape,
    numbers: Numbers,
}

impl Calls {
    pub(super) const fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, numbers: Numbers::new(seed) }
    }

    pub(super) fn next_call(&mut self) -> Call {
        let tenants = u64::try_from(self.shape.tenants()).unwrap_or(1);
        Call {
            tenant: usize::try_from(self.numbers.below(tenants)).unwrap_or(0),
            input: INPUT_MIN + self.numbers.below(INPUT_SPAN),
            output: OUTPUT_MIN + self.numbers.below(OUTPUT_SPAN),
        }
    }
}

impl Shape {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Spread => "spread",
            Self::Plain => "plain",
            Self::Paced => "paced",
        }
    }

    pub(super) const fn tenants(self) -> usize {
        match self {
            Self::Hot => 1,
            Self::Spread => SPREAD_TENANTS,
            Self::Plain | Self::Paced => PACING_TENANTS,
        }
    }

    pub(super) const fn provider(self) -> &'static str {
        match self {
            Self::Hot | Self::Plain | Self::Paced => "anthropic",
            Self::Spread => "openai",
        }
    }

    pub(super) const fn model(self) -> &'static str {
        match self {
            Self::Hot | Self::Plain | Self::Paced => "claude-sonnet-4-5",
            Self::Spread => "gpt-4o",
        }
    }

    /// What the calls are for.
    pub(super) const fn feature(self) -> &'static str {
        match self {
            Self::Hot | Self::Spread => "bench",
            Self::Plain => "bench-plain",
            Self::Paced => "bench-paced",
        }
    }

    pub(super) fn tenant(self, number: usize) -> String {
        format!("bench-{}-{number}", self.name())
    }

    /// The budgets: id and document.
    ///
    /// Their months have begun a fortnight before `today`, so that what was used before counts in them and none of them turns
    /// while it is measured, at whatever hour of the year.
    pub(super) fn budgets(self, today: NaiveDate) -> Vec<(String, Value)> {
        let begun = today.checked_sub_days(FORTNIGHT).unwrap_or(today);
        let period = json!({"kind": "month", "anchor_day": begun.day().min(ANCHOR_DAY_MAX)});
        let provider = json!({"provider": self.provider()});
        let feature = || json!({"provider": self.provider(), "feature": self.feature()});
        let (scope, each, kind, pacing) = match self {
            Self::Hot => (provider, Value::Null, "quota", "off"),
            Self::Spread => (provider, json!("tenant"), "budget", "off"),
            Self::Plain => (feature(), Value::Null, "quota", "off"),
            Self::Paced => (feature(), Value::Null, "quota", "forecast"),
        };
        let shared = |measure: &str| {
            let body = json!({
                "scope": scope, "each": each, "measure": measure, "limit": "1000000000000", "period": period,
                "timezone": "Etc/UTC", "enforcement": "hard", "kind": kind, "pacing": pacing,
            });
            (self.budget(measure), body)
        };
        let own = |number: usize| {
            let tenant = self.tenant(number);
            let body = json!({
                "scope": {"tenant": tenant}, "measure": "usd", "limit": "1000000000000", "period": period,
                "timezone": "tenant", "enforcement": "hard", "thresholds": ["0.8", "0.95"], "pacing": pacing,
            });
            (tenant, body)
        };
        let mut all = vec![shared("tokens"), shared("usd")];
        all.extend((0..self.tenants()).map(own));
        all
    }

    /// Ids of the budgets that calls of all tenants count against.
    pub(super) fn shared_budgets(self) -> Vec<String> {
        match self {
            Self::Spread => Vec::new(),
            Self::Hot | Self::Plain | Self::Paced => ["tokens", "usd"].map(|measure| self.budget(measure)).into(),
        }
    }

    /// The id of the budget of a provider's tokens or dollars.
    fn budget(self, measure: &str) -> String {
        format!("bench-{}-{measure}", self.name())
    }

    /// The same budgets as the baseline numbers them: two that are shared or each tenant's own, and the tenant's.
    pub(super) fn naive_budgets(self, tenant: usize) -> [i32; 3] {
        let first = i32::try_from(tenant.saturating_mul(3)).unwrap_or(0);
        match self {
            Self::Hot | Self::Plain | Self::Paced => [0, 1, 2],
            // The hot shape's three come before.
            Self::Spread => [first + 3, first + 4, first + 5],
        }
    }

    /// How urgent a call is.
    fn priority(self, call: &Call) -> &'static str {
        let in_turn = usize::try_from(call.input).ok().and_then(|input| PRIORITIES.get(input % PRIORITIES.len()));
        match self {
            Self::Hot | Self::Spread => "interactive",
            Self::Plain | Self::Paced => in_turn.copied().unwrap_or("interactive"),
        }
    }

    pub(super) fn preflight(self, call: &Call) -> Value {
        json!({
            "tenant": self.tenant(call.tenant), "feature": self.feature(), "provider": self.provider(),
            "model": self.model(), "priority": self.priority(call),
            "estimate": {"input": call.input, "max_output": OUTPUT_MAX},
        })
    }
}

/// How many budgets the baseline needs for both shapes.
pub(super) fn naive_budgets_count() -> i32 {
    i32::try_from(3 * (1 + SPREAD_TENANTS)).unwrap_or(i32::MAX)
}

/// Dollars of a call for the baseline, which has no price book: some whole tokens at some price.
pub(super) fn naive_usd(input: u64, output: u64) -> Decimal {
    Decimal::new(i64::try_from(input * 3 + output * 15).unwrap_or(0), 6)
}

/// Grams of a call for the baseline.
pub(super) fn naive_grams(output: u64) -> Decimal {
    Decimal::new(i64::try_from(output).unwrap_or(0), 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::budget::BudgetBody;
    use crate::wire::call::PreflightBody;

    const TODAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 12, 1).unwrap();

    #[test]
    fn no_budget_turns_within_a_week_of_the_day_of_the_bench_and_each_holds_the_fortnight_before() {
        for day in TODAY.iter_days().take(800) {
            for (id, body) in Shape::Plain.budgets(day) {
                let anchor = u32::try_from(body["period"]["anchor_day"].as_u64().unwrap()).unwrap();
                let turns = |day: &NaiveDate| day.day() == anchor;
                assert!(!day.iter_days().skip(1).take(7).any(|day| turns(&day)), "{id} on {day}");
                assert!(!day.iter_days().rev().take(14).any(|day| turns(&day)), "{id} on {day}");
            }
        }
    }

    #[test]
    fn budgets_and_calls_are_what_the_api_takes() {
        for shape in [Shape::Hot, Shape::Spread, Shape::Plain, Shape::Paced] {
            for (id, body) in shape.budgets(TODAY) {
                serde_json::from_value::<BudgetBody>(body).unwrap_or_else(|error| panic!("{id}: {error}"));
            }
            let call = Calls::new(shape, 1).next_call();
            serde_json::from_value::<PreflightBody>(shape.preflight(&call)).expect("a pre-flight");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_calls_and_they_reach_every_tenant() {
        let calls = |seed| {
            let mut calls = Calls::new(Shape::Spread, seed);
            (0..5000).map(|_| calls.next_call()).collect::<Vec<_>>()
        };
        assert_eq!(calls(1), calls(1));
        assert_ne!(calls(1), calls(2));
        let tenants: std::collections::BTreeSet<_> = calls(3).iter().map(|call| call.tenant).collect();
        assert_eq!(tenants.len(), SPREAD_TENANTS);
        assert!(calls(4).iter().all(|call| call.output <= OUTPUT_MAX && call.input >= INPUT_MIN));
    }

    #[test]
    fn the_paced_shape_differs_from_the_plain_one_in_names_and_pacing_alone() {
        let without_names = |shape: Shape| {
            let text = serde_json::to_string(&shape.budgets(TODAY)).expect("JSON");
            text.replace(shape.name(), "").replace("\"forecast\"", "\"off\"")
        };
        assert_eq!(without_names(Shape::Plain), without_names(Shape::Paced));
        assert_ne!(Shape::Plain.budgets(TODAY)[0].1["pacing"], Shape::Paced.budgets(TODAY)[0].1["pacing"]);
        let priorities: std::collections::BTreeSet<_> = {
            let mut calls = Calls::new(Shape::Paced, 1);
            (0..100).map(|_| Shape::Paced.priority(&calls.next_call())).collect()
        };
        assert_eq!(priorities.len(), PRIORITIES.len());
    }

    #[test]
    fn every_budget_of_the_baseline_exists() {
        let last = Shape::Spread.naive_budgets(SPREAD_TENANTS - 1);
        assert_eq!(last[2], naive_budgets_count() - 1);
    }
}
