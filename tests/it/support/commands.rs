//! Commands for a lane, without HTTP around them: calls of `acme` to one model.

use std::collections::BTreeMap;
use std::sync::Arc;

use counterfoil::domain::amounts::Tokens;
use counterfoil::domain::budget::catalogue::Priority;
use counterfoil::domain::budget::scope::{Dimensions, Spelling};
use counterfoil::domain::id::{IdempotencyKey, ReservationId, TransferId};
use counterfoil::domain::ledger::command::{
    Action, Command, Idempotency, KeySpace, PostUsage, ReportedUsage, Reserve, Settle,
};
use counterfoil::domain::ledger::transfer::{CallOutcome, CallReport};
use counterfoil::domain::price::ServiceTier;
use counterfoil::domain::usage::Usage;
use uuid::Uuid;

fn call() -> Dimensions {
    Dimensions {
        tenant: "acme".parse().unwrap(),
        feature: "chat".parse().unwrap(),
        provider: "anthropic".parse().unwrap(),
        model: "claude-sonnet-4-5".parse().unwrap(),
        region: None,
        run: None,
        agent: None,
        labels: Arc::new(BTreeMap::new()),
        spelling: Spelling::AsSaid,
    }
}

fn output(count: u64) -> Usage {
    Usage { output: Tokens::new(count).unwrap(), ..Usage::default() }
}

fn report() -> CallReport {
    CallReport { outcome: CallOutcome::Completed, latency_ms: None, provider_request_id: None, provider_usd: None }
}

fn without_key(action: Action) -> Command {
    Command { action, idempotency: None }
}

/// Asks for so many tokens of output, all or nothing.
pub(crate) fn reserve(tokens: u64) -> Command {
    without_key(Action::Reserve(Box::new(Reserve {
        id: ReservationId(Uuid::now_v7()),
        call: call(),
        priority: Priority::Standard,
        service_tier: ServiceTier::from_word("standard").unwrap(),
        usage: output(tokens),
        min_output: Tokens::new(1).unwrap(),
        allow_cap: false,
        hold: true,
        ttl_seconds: 120,
    })))
}

/// Settles with so many tokens of output.
pub(crate) fn settle(id: Uuid, tokens: u64) -> Command {
    without_key(Action::Settle(Box::new(Settle {
        reservation: ReservationId(id),
        tenant: None,
        transfer: TransferId(Uuid::now_v7()),
        usage: Some(ReportedUsage::Buckets(output(tokens))),
        is_partial: None,
        served_model: None,
        served_region: None,
        served_provider: None,
        service_tier: None,
        is_strict: false,
        report: report(),
    })))
}

/// Posts so many tokens of output.
pub(crate) fn post_usage(tokens: u64) -> Command {
    without_key(Action::PostUsage(Box::new(PostUsage {
        transfer: TransferId(Uuid::now_v7()),
        call: call(),
        requested_model: None,
        priority: Priority::Standard,
        service_tier: None,
        requests: 1,
        usage: ReportedUsage::Buckets(output(tokens)),
        is_partial: None,
        report: report(),
        occurred_at: None,
    })))
}

/// Changes to a command.
pub(crate) trait But: Sized {
    /// Of this tenant.
    fn of_tenant(self, tenant: &str) -> Self;
    /// Of this feature.
    fn of_feature(self, feature: &str) -> Self;
    /// As part of this run.
    fn of_run(self, run: &str) -> Self;
    /// Under this key of the platform's; what is asked is not looked at, only `asked`.
    fn keyed(self, key: &str, asked: u8) -> Self;
    /// Held for so long.
    fn for_seconds(self, seconds: u32) -> Self;
}

impl But for Command {
    fn of_tenant(mut self, tenant: &str) -> Self {
        call_of(&mut self.action).tenant = tenant.parse().unwrap();
        self
    }

    fn of_feature(mut self, feature: &str) -> Self {
        call_of(&mut self.action).feature = feature.parse().unwrap();
        self
    }

    fn of_run(mut self, run: &str) -> Self {
        call_of(&mut self.action).run = Some(run.parse().unwrap());
        self
    }

    fn keyed(mut self, key: &str, asked: u8) -> Self {
        let key = IdempotencyKey::parse(key).unwrap();
        self.idempotency = Some(Idempotency { space: KeySpace(None), key, fingerprint: [asked; 32] });
        self
    }

    fn for_seconds(mut self, seconds: u32) -> Self {
        if let Action::Reserve(reserve) = &mut self.action {
            reserve.ttl_seconds = seconds;
        }
        self
    }
}

fn call_of(action: &mut Action) -> &mut Dimensions {
    match action {
        Action::Reserve(reserve) => &mut reserve.call,
        Action::PostUsage(post) => &mut post.call,
        Action::Adjust(adjust) => &mut adjust.call,
        Action::Settle(_) | Action::Release(_) | Action::Extend(_) | Action::Restate(_) => {
            panic!("this action names no call")
        }
    }
}
