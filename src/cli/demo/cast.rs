//! Who takes part: five tenants on five clocks, their features, and the budgets that govern them.
//!
//! All of it is invented, except the zones and the names of models. Limits are chosen for the trace: some are roomy, some so
//! tight that every verdict occurs.

use serde_json::{Value, json};

use super::trace::Workload;

/// A tenant.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) timezone: &'static str,
}

/// From west of the date line eastwards.
pub(super) static TENANTS: [Tenant; 5] = [
    Tenant { id: "hinode", name: "Hinode Travel (Tokyo)", timezone: "Asia/Tokyo" },
    Tenant { id: "himal", name: "Himal Trek (Kathmandu)", timezone: "Asia/Kathmandu" },
    Tenant { id: "spreewerk", name: "Spreewerk (Berlin)", timezone: "Europe/Berlin" },
    Tenant { id: "ipe", name: "Ipê Livros (São Paulo)", timezone: "America/Sao_Paulo" },
    Tenant { id: "bayline", name: "Bayline Robotics (San Francisco)", timezone: "America/Los_Angeles" },
];

/// Who serves a feature's calls, and where.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) provider: &'static str,
    pub(super) model: &'static str,
    pub(super) region: Option<&'static str>,
}

/// What a tenant spends on.
#[derive(Debug)]
pub(super) struct Feature {
    pub(super) tenant: &'static str,
    pub(super) name: &'static str,
    pub(super) workload: Workload,
    /// How many of the workload's calls are this feature's, relative to the others.
    pub(super) share: u64,
    pub(super) priority: &'static str,
    /// The most a call may generate.
    pub(super) max_output: u64,
    /// The agent that makes its calls, in runs of so many.
    pub(super) agent: Option<(&'static str, usize)>,
    /// Alternating: most calls take the first.
    pub(super) routes: &'static [Route],
}

/// The feature whose runs fan out, ask for too much, and loop.
pub(super) const CODING_AGENT: &str = "coding-agent";

/// The most a call of the coding agent asks for when nobody taught it better: more than a run may cost.
pub(super) const CARELESS_MAX_OUTPUT: u64 = 64_000;

/// All features.
pub(super) static FEATURES: [Feature; 11] = [
    Feature {
        tenant: "hinode",
        name: "support-chat",
        workload: Workload::Conversation,
        share: 5,
        priority: "interactive",
        max_output: 1024,
        agent: None,
        routes: &[Route { provider: "google", model: "gemini-2.5-flash", region: Some("asia-northeast1") }],
    },
    Feature {
        tenant: "hinode",
        name: "trip-planner",
        workload: Workload::Conversation,
        share: 4,
        priority: "standard",
        max_output: 2048,
        agent: Some(("planner", 6)),
        routes: &[Route { provider: "openai", model: "gpt-5-mini", region: None }],
    },
    Feature {
        tenant: "himal",
        name: "support-chat",
        workload: Workload::Conversation,
        share: 3,
        priority: "interactive",
        max_output: 1024,
        agent: None,
        routes: &[Route { provider: "anthropic", model: "claude-haiku-4-5", region: Some("ap-south-1") }],
    },
    Feature {
        tenant: "himal",
        name: "translation",
        workload: Workload::Conversation,
        share: 2,
        priority: "batch",
        max_output: 1024,
        agent: None,
        // Nobody has a price for the second: it is charged the provider's worst known price, and flagged.
        routes: &[
            Route { provider: "mistral", model: "mistral-small-latest", region: None },
            Route { provider: "mistral", model: "himal-nepali-finetune", region: None },
        ],
    },
    Feature {
        tenant: "spreewerk",
        name: "code-review",
        workload: Workload::Code,
        share: 4,
        priority: "standard",
        max_output: 2048,
        agent: Some(("reviewer", 8)),
        routes: &[Route { provider: "anthropic", model: "claude-sonnet-4-5", region: Some("eu-central-1") }],
    },
    Feature {
        tenant: "spreewerk",
        name: "contract-search",
        workload: Workload::Conversation,
        share: 3,
        priority: "interactive",
        max_output: 1024,
        agent: None,
        routes: &[Route { provider: "mistral", model: "mistral-large-latest", region: None }],
    },
    Feature {
        tenant: "ipe",
        name: "support-chat",
        workload: Workload::Conversation,
        share: 4,
        priority: "interactive",
        max_output: 1024,
        agent: None,
        routes: &[
            Route { provider: "aws", model: "anthropic.claude-haiku-4-5-20251001-v1:0", region: Some("sa-east-1") },
            Route { provider: "aws", model: "mistral.mistral-large-2402-v1:0", region: Some("sa-east-1") },
        ],
    },
    Feature {
        tenant: "ipe",
        name: "product-texts",
        workload: Workload::Conversation,
        share: 2,
        priority: "batch",
        max_output: 1024,
        agent: None,
        routes: &[Route { provider: "openai", model: "gpt-4.1-mini", region: None }],
    },
    Feature {
        tenant: "bayline",
        name: CODING_AGENT,
        workload: Workload::Code,
        share: 6,
        priority: "standard",
        max_output: 8000,
        agent: Some(("coder", 10)),
        routes: &[Route { provider: "anthropic", model: "claude-opus-4-5", region: Some("us-west-2") }],
    },
    Feature {
        tenant: "bayline",
        name: "search-summaries",
        workload: Workload::Conversation,
        share: 4,
        priority: "interactive",
        max_output: 1024,
        agent: None,
        routes: &[Route { provider: "google", model: "gemini-2.5-pro", region: Some("us-west1") }],
    },
    Feature {
        tenant: "bayline",
        name: "meeting-notes",
        workload: Workload::Conversation,
        share: 2,
        priority: "batch",
        max_output: 2048,
        agent: None,
        routes: &[Route { provider: "openai", model: "gpt-5", region: None }],
    },
];

/// A budget: its id, what it is in a few words, and the document that `PUT` takes.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    pub(super) document: Value,
}

/// The budget whose every counter is a run: shown as one line.
pub(super) const PER_RUN: &str = "per-run-usd";

/// All budgets, in the order in which they are shown.
pub(super) fn budgets() -> Vec<Planned> {
    let planned = |id, what, document| Planned { id, what, document };
    vec![
        planned(
            "hinode-monthly-usd",
            "hinode, dollars, 40% kept for urgent",
            json!({"scope": {"tenant": "hinode"}, "measure": "usd", "limit": "0.4",
                "period": {"kind": "month", "anchor_day": 1}, "timezone": "tenant", "enforcement": "hard",
                "thresholds": ["0.8", "0.95"], "floors": {"interactive": "0.4"}}),
        ),
        planned(
            "himal-tokens-per-minute",
            "himal, tokens in any 60 seconds",
            json!({"scope": {"tenant": "himal"}, "measure": "tokens", "limit": "250000",
                "period": {"kind": "sliding", "seconds": 60}, "timezone": "tenant", "enforcement": "hard"}),
        ),
        planned(
            "spreewerk-monthly-usd",
            "spreewerk, dollars from the 15th",
            json!({"scope": {"tenant": "spreewerk"}, "measure": "usd", "limit": "25",
                "period": {"kind": "month", "anchor_day": 15, "at": "09:00"}, "timezone": "tenant",
                "enforcement": "hard", "thresholds": ["0.8", "0.95"]}),
        ),
        planned(
            "spreewerk-carbon",
            "spreewerk, grams a day, warns only",
            json!({"scope": {"tenant": "spreewerk"}, "measure": "gco2e", "limit": "100",
                "period": {"kind": "day"}, "timezone": "tenant", "enforcement": "soft"}),
        ),
        planned(
            "ipe-daily-tokens",
            "ipe, tokens a day",
            json!({"scope": {"tenant": "ipe"}, "measure": "tokens", "limit": "300000",
                "period": {"kind": "day"}, "timezone": "tenant", "enforcement": "hard", "thresholds": ["0.8"]}),
        ),
        planned(
            "bayline-weekly-usd",
            "bayline, dollars a week",
            json!({"scope": {"tenant": "bayline"}, "measure": "usd", "limit": "50",
                "period": {"kind": "week", "week_start": "mon"}, "timezone": "tenant", "enforcement": "hard"}),
        ),
        planned(
            "bayline-notes-trial",
            "bayline notes, dollars, once",
            json!({"scope": {"tenant": "bayline", "feature": "meeting-notes"}, "measure": "usd", "limit": "0.25",
                "period": {"kind": "once"}, "timezone": "tenant", "enforcement": "hard"}),
        ),
        planned(
            PER_RUN,
            "each run of any agent, dollars",
            json!({"scope": {}, "each": "run", "measure": "usd", "limit": "0.6", "period": {"kind": "once"},
                "enforcement": "hard", "missing": "ignore"}),
        ),
        planned(
            "anthropic-quota",
            "anthropic, weighted tokens a month",
            json!({"scope": {"provider": "anthropic"},
                "measure": {"input": 1, "cache_write_5m": 1, "cache_write_1h": 1, "output": 5, "reasoning": 5},
                "limit": "40000000", "period": {"kind": "month", "anchor_day": 1}, "timezone": "Etc/UTC",
                "enforcement": "hard", "kind": "quota", "contract": "invented for the demo"}),
        ),
        planned(
            "google-requests-per-day",
            "google, requests a day",
            json!({"scope": {"provider": "google"}, "measure": "requests", "limit": "10000",
                "period": {"kind": "day"}, "timezone": "America/Los_Angeles", "enforcement": "hard", "kind": "quota",
                "contract": "invented for the demo"}),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::budget::catalogue::BudgetNumber;
    use crate::domain::calendar::Zone;
    use crate::domain::id::BudgetId;
    use crate::wire::budget::{BudgetBody, BudgetRecord};

    #[test]
    fn every_budget_and_zone_is_one_that_the_ledger_takes() {
        let record = BudgetRecord { number: BudgetNumber(0), version: 1, counted_from: DateTime::UNIX_EPOCH };
        for planned in budgets() {
            let body: BudgetBody = serde_json::from_value(planned.document).unwrap();
            body.to_budget(BudgetId::parse(planned.id).unwrap(), record).unwrap();
        }
        for tenant in &TENANTS {
            Zone::parse(tenant.timezone).unwrap();
        }
    }

    #[test]
    fn every_feature_belongs_to_a_tenant_and_every_workload_has_features() {
        for feature in &FEATURES {
            assert!(TENANTS.iter().any(|tenant| tenant.id == feature.tenant), "{feature:?}");
            assert!(feature.share > 0 && !feature.routes.is_empty(), "{feature:?}");
        }
        for workload in [Workload::Conversation, Workload::Code] {
            assert!(FEATURES.iter().any(|feature| feature.workload == workload));
        }
    }
}
