//! What the ledger answers, as JSON. What is kept of it under an idempotency key is in [`super::kept`].

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::coverage::NotCountedBody;
use super::learned::ReserveName;
use super::pace::{BandName, PaceBody};
use crate::domain::amounts::{Amounts, Quantity, Tokens};
use crate::domain::budget::catalogue::{Enforcement, HoldRule};
use crate::domain::budget::verdict::{Reason, ReasonCode, Ruling, Verdict};
use crate::domain::ledger::outcome::{BudgetState, Extended, Posted, Released, Ruled};
use crate::domain::tariff::Priced;
use crate::domain::usage::Usage;
use crate::wire::projection::answer::ExhaustsAtBody;

/// The four verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictName {
    /// Go.
    Allow,
    /// Go, with a smaller output: at most `max_output`.
    Cap,
    /// Come back after `retry.after_s` seconds.
    Wait,
    /// The budget is gone until `resets_at`, or until it is raised. Do not retry before.
    Stop,
}

impl From<Verdict> for VerdictName {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Cap => Self::Cap,
            Verdict::Wait => Self::Wait,
            Verdict::Stop => Self::Stop,
        }
    }
}

/// Hard or soft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnforcementName {
    /// Never exceeded by what is granted.
    Hard,
    /// Warns, never refuses.
    Soft,
}

impl From<Enforcement> for EnforcementName {
    fn from(enforcement: Enforcement) -> Self {
        match enforcement {
            Enforcement::Hard => Self::Hard,
            Enforcement::Soft => Self::Soft,
        }
    }
}

/// Token buckets that never overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsageBuckets {
    /// Prompt tokens that no cache served or stored.
    pub input: u64,
    /// Prompt tokens read from a cache.
    pub cache_read: u64,
    /// Prompt tokens written to a five-minute cache.
    pub cache_write_5m: u64,
    /// Prompt tokens written to a one-hour cache.
    pub cache_write_1h: u64,
    /// Visible completion tokens.
    pub output: u64,
    /// Completion tokens spent thinking.
    pub reasoning: u64,
}

impl From<Usage> for UsageBuckets {
    fn from(usage: Usage) -> Self {
        Self {
            input: usage.input.count(),
            cache_read: usage.cache_read.count(),
            cache_write_5m: usage.cache_write_5m.count(),
            cache_write_1h: usage.cache_write_1h.count(),
            output: usage.output.count(),
            reasoning: usage.reasoning.count(),
        }
    }
}

/// One bundle of amounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AmountsBody {
    /// Tokens of all buckets.
    pub tokens: u64,
    /// Dollars.
    #[schema(value_type = String, format = "decimal", example = "0.0156")]
    pub usd: Decimal,
    /// Grams: location-based usage plus embodied. The default carbon measure.
    #[schema(value_type = String, format = "decimal", example = "0.41")]
    pub gco2e: Decimal,
    /// Grams: market-based usage plus embodied.
    #[schema(value_type = String, format = "decimal", example = "0.41")]
    pub gco2e_market: Decimal,
    /// Grams of the electricity used, by the grid.
    #[schema(value_type = String, format = "decimal", example = "0.40")]
    pub gco2e_usage_location: Decimal,
    /// Grams of the electricity used, by contracts.
    #[schema(value_type = String, format = "decimal", example = "0.40")]
    pub gco2e_usage_market: Decimal,
    /// Grams of making the hardware.
    #[schema(value_type = String, format = "decimal", example = "0.01")]
    pub gco2e_embodied: Decimal,
}

impl From<&Priced> for AmountsBody {
    fn from(priced: &Priced) -> Self {
        Self::from(&priced.consumption.amounts)
    }
}

impl From<&Amounts> for AmountsBody {
    fn from(amounts: &Amounts) -> Self {
        let sum = |grams: Result<crate::domain::amounts::Grams, _>| grams.unwrap_or_default().decimal().normalize();
        Self {
            tokens: amounts.tokens.count(),
            usd: amounts.usd.decimal().normalize(),
            gco2e: sum(amounts.gco2e()),
            gco2e_market: sum(amounts.gco2e_market()),
            gco2e_usage_location: amounts.gco2e_usage_location.decimal().normalize(),
            gco2e_usage_market: amounts.gco2e_usage_market.decimal().normalize(),
            gco2e_embodied: amounts.gco2e_embodied.decimal().normalize(),
        }
    }
}

/// When and whether to come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetryBody {
    /// Whether a retry can succeed before anything is changed by people.
    pub retryable: bool,
    /// Seconds from now, with jitter; at most 120. Also sent as `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_s: Option<u32>,
    /// The instant there is room, without jitter; of what is paced the instant it is expected at the latest, which may be
    /// beyond `after_s`: then ask again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// How many seconds of `after_s` are jitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_s: Option<u32>,
}

/// One reason for a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonBody {
    /// A stable code: `run_stopped`, `field_missing`, `run_time_over`, `closed_by_provider`, `larger_than_limit`, `hold_too_large`, `limit_reached`, `priority_floor`, `paced`,
    /// `held_by_others`, `output_capped`, `over_soft_limit`, `near_limit`, `unpriced_model`, `factor_fallback`.
    #[schema(example = "near_limit")]
    pub code: String,
    /// Which budget, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// Which field of the call is missing; only with `field_missing`: `run`, `agent`, `region` or `labels.<key>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// In words, with the numbers.
    pub detail: String,
}

impl From<&Reason> for ReasonBody {
    fn from(reason: &Reason) -> Self {
        let number = |quantity: Option<Quantity>| quantity.unwrap_or_default();
        let budget = reason.budget.as_ref().map_or("", |budget| budget.as_str());
        let field = reason.field.as_ref().map(ToString::to_string);
        let detail = match &field {
            Some(field) if reason.code == ReasonCode::FieldMissing => format!(
                "budget {budget} counts such calls by `{field}`, and this one has none: send it, or let the budget say \"missing\": \"ignore\""
            ),
            Some(_) | None => detail(reason.code, budget, number(reason.asked), number(reason.available)),
        };
        Self {
            code: reason.code.name().to_owned(),
            budget: reason.budget.as_ref().map(ToString::to_string),
            field,
            detail,
        }
    }
}

fn detail(code: ReasonCode, budget: &str, asked: Quantity, available: Quantity) -> String {
    match code {
        ReasonCode::RunTimeOver => {
            format!("the run has gone on for {asked} s, and budget {budget} gives it {available} s")
        }
        ReasonCode::Paced => {
            format!("{asked} asked, {available} left for now of what budget {budget} can spare from more urgent calls")
        }
        ReasonCode::LargerThanLimit => format!(
            "{asked} asked, more than budget {budget} may ever grant this call ({available} free now): raise the limit or ask for less"
        ),
        ReasonCode::HoldTooLarge => format!(
            "{asked} asked, and one reservation may hold {available} of budget {budget}: ask for less or for a shorter time, or raise its max_hold_share"
        ),
        ReasonCode::LimitReached => format!("{asked} asked, {available} left in budget {budget}"),
        ReasonCode::PriorityFloor => format!(
            "{asked} asked, {available} left in budget {budget} for this priority: the rest is kept for more urgent calls"
        ),
        ReasonCode::HeldByOthers => {
            format!("{asked} asked, {available} left in budget {budget} until open reservations end")
        }
        ReasonCode::OutputCapped => {
            format!("{asked} asked, {available} left in budget {budget}: the output was made smaller")
        }
        ReasonCode::OverSoftLimit => format!("budget {budget} is over its soft limit: {available} left"),
        ReasonCode::NearLimit => format!("budget {budget} is past {available} of its limit"),
        ReasonCode::RunStopped
        | ReasonCode::FieldMissing
        | ReasonCode::ClosedByProvider
        | ReasonCode::Unpriced
        | ReasonCode::FactorFallback => detail_without_numbers(code, budget),
    }
}

/// The same without the numbers of the budget.
pub(super) fn detail_without_numbers(code: ReasonCode, budget: &str) -> String {
    match code {
        ReasonCode::RunStopped => "the run was stopped by somebody".to_owned(),
        ReasonCode::RunTimeOver => format!("the run has gone on for as long as budget {budget} gives it"),
        ReasonCode::ClosedByProvider => format!("the provider has said that quota {budget} is gone until it resets"),
        ReasonCode::LargerThanLimit => {
            format!("more is asked than budget {budget} may ever grant this call: ask for less")
        }
        ReasonCode::FieldMissing => format!("budget {budget} counts such calls by a field that this one has not"),
        ReasonCode::HoldTooLarge => {
            format!("budget {budget} lets no reservation hold so much: ask for less or for a shorter time")
        }
        ReasonCode::LimitReached => format!("budget {budget} has no room for what is asked"),
        ReasonCode::PriorityFloor => {
            format!("budget {budget} has no room for this priority: the rest is kept for more urgent calls")
        }
        ReasonCode::Paced => format!("budget {budget} cannot spare what is asked from more urgent calls for now"),
        ReasonCode::HeldByOthers => format!("budget {budget} has no room until open reservations end"),
        ReasonCode::OutputCapped => format!("budget {budget} has no room for the whole output: it was made smaller"),
        ReasonCode::OverSoftLimit => format!("budget {budget} is over its soft limit"),
        ReasonCode::NearLimit => format!("budget {budget} is past a threshold"),
        ReasonCode::Unpriced => "no price is known for this model: the worst known price was used".to_owned(),
        ReasonCode::FactorFallback => {
            "no emission factor is known for this model or region: a declared fallback was used".to_owned()
        }
    }
}

/// How one budget stands, this call included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetStateBody {
    /// Which budget.
    pub budget: String,
    /// Which counter of it, where it is counted apart: `acme/r-42`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// What it counts.
    #[schema(example = "usd")]
    pub measure: String,
    /// Whether it counts calls of several tenants; left out where it does not. Of such a budget a credential that is confined to
    /// a tenant is not shown the volumes: `limit`, `posted`, `held`, `margin`, `headroom`, `overdrawn` and `exhausts_at` are left
    /// out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// How much, in one period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal", example = "500")]
    pub limit: Option<Decimal>,
    /// What the journal says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal", example = "431.2")]
    pub posted: Option<Decimal>,
    /// What the open reservations say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal", example = "1.9")]
    pub held: Option<Decimal>,
    /// What its reservations hold, unless it is their whole estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<ReserveName>,
    /// What is kept aside for open calls that use more than is held for them; only where less than whole estimates is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal", example = "2.4")]
    pub margin: Option<Decimal>,
    /// `limit − posted − held`, less the margin; below zero when overdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal", example = "66.9")]
    pub headroom: Option<Decimal>,
    /// Whether more was spent than the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdrawn: Option<bool>,
    /// When its period began.
    pub period_start: DateTime<Utc>,
    /// When its period ends; none for a budget that counts once and for ever.
    pub resets_at: Option<DateTime<Utc>>,
    /// The same, on the clock of `timezone`.
    pub resets_at_local: Option<String>,
    /// The zone whose midnights bound the period.
    #[schema(example = "Asia/Tokyo")]
    pub timezone: String,
    /// Hard or soft.
    pub enforcement: EnforcementName,
    /// When it is expected to run out, by the latest projection of this period; left out where there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhausts_at: Option<ExhaustsAtBody>,
    /// The provider has said that the quota is gone, until this instant; not there for one that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_until: Option<DateTime<Utc>>,
}

/// The rule of a budget that does not hold whole estimates.
pub(super) fn reserve_body(state: &BudgetState) -> Option<ReserveName> {
    Some(state.reserve).filter(|rule| *rule != HoldRule::Max).map(ReserveName::from)
}

/// What is kept aside, where that can be anything but nothing.
pub(super) fn margin_body(state: &BudgetState) -> Option<Decimal> {
    let learned = state.reserve != HoldRule::Max || state.counter.at_risk > Quantity::ZERO;
    learned.then(|| state.margin().decimal().normalize())
}

impl From<&BudgetState> for BudgetStateBody {
    fn from(state: &BudgetState) -> Self {
        Self {
            budget: state.budget.to_string(),
            key: state.key.as_str().to_owned(),
            measure: state.measure.clone(),
            shared: state.is_shared,
            limit: Some(state.limit.decimal().normalize()),
            posted: Some(state.counter.posted.decimal().normalize()),
            held: Some(state.counter.held.decimal().normalize()),
            reserve: reserve_body(state),
            margin: margin_body(state),
            headroom: Some(state.headroom().decimal().normalize()),
            overdrawn: Some(state.counter.posted > state.limit),
            period_start: state.period.start,
            resets_at: state.period.end,
            resets_at_local: state.period.end.map(|end| state.zone.to_local_rfc3339(end)),
            timezone: state.zone.name().to_owned(),
            enforcement: state.enforcement.into(),
            exhausts_at: None,
            closed_until: state.closed_until,
        }
    }
}

/// A model that would fit where the one that was asked does not, or is cheaper or cleaner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlternativeBody {
    /// Who serves it.
    pub provider: String,
    /// With what.
    pub model: String,
    /// What the same estimate would cost there, in dollars.
    #[schema(value_type = String, format = "decimal", example = "0.0052")]
    pub usd: Decimal,
    /// And in grams.
    #[schema(value_type = String, format = "decimal", example = "0.12")]
    pub gco2e: Decimal,
}

/// The answer to a pre-flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreflightAnswer {
    /// May the call go ahead.
    pub verdict: VerdictName,
    /// The reservation to settle, if one was made.
    pub reservation: Option<Uuid>,
    /// The signed token that proves the reservation.
    #[serde(default)]
    pub grant: Option<String>,
    /// Only in a repeated answer whose reservation has ended since: `settled`, `released` or `expired`. Then nothing is held for
    /// the call any more, there is no grant, and a call that is still to be made is asked for under a new key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "expired")]
    pub reservation_ended: Option<String>,
    /// When the reservation was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<DateTime<Utc>>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// What was granted, or what was asked when nothing was.
    pub estimate: AmountsBody,
    /// The largest output that was granted; none when nothing was.
    pub max_output: Option<u64>,
    /// When and whether to come back; none when the call may be made.
    pub retry: Option<RetryBody>,
    /// How far the budgets have come, for calls of this priority.
    #[serde(default)]
    pub band: BandName,
    /// What is left of the hard budget that binds first; none if no hard budget governs the call, or if that one is shared and
    /// the credential is confined to a tenant.
    #[serde(default)]
    pub pace: Option<PaceBody>,
    /// When the budget that binds has room again; only with `stop`, and none if waiting never helps.
    pub resets_at: Option<DateTime<Utc>>,
    /// Why, the headline first.
    pub reasons: Vec<ReasonBody>,
    /// How each governing budget stands, this call included.
    pub budgets: Vec<BudgetStateBody>,
    /// The budgets that would govern the call if it said more, with the field that is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_counted: Vec<NotCountedBody>,
    /// Models that would do: given with `cap`, `wait` and `stop`, cheapest first.
    #[serde(default)]
    pub alternatives: Vec<AlternativeBody>,
}

/// When and whether to come back, after a ruling.
pub(super) fn retry_body(ruling: &Ruling) -> Option<RetryBody> {
    match ruling.verdict {
        Verdict::Allow | Verdict::Cap => None,
        Verdict::Wait => Some(RetryBody {
            retryable: true,
            after_s: ruling.retry.map(|retry| retry.after_seconds),
            not_before: ruling.retry.map(|retry| retry.not_before),
            jitter_s: ruling.retry.map(|retry| retry.jitter_seconds),
        }),
        Verdict::Stop => {
            Some(RetryBody { retryable: false, after_s: None, not_before: ruling.resets_at, jitter_s: None })
        }
    }
}

impl From<&Ruled> for PreflightAnswer {
    fn from(ruled: &Ruled) -> Self {
        let ruling = &ruled.ruling;
        Self {
            verdict: ruling.verdict.into(),
            reservation: ruled.granted.map(|granted| granted.reservation.0),
            grant: None,
            reservation_ended: None,
            granted_at: ruled.granted.map(|granted| granted.granted_at),
            expires_at: ruled.granted.map(|granted| granted.expires_at),
            estimate: AmountsBody::from(&ruling.priced),
            max_output: ruling.max_output.map(Tokens::count),
            retry: retry_body(ruling),
            band: ruling.band.into(),
            pace: ruling.pace.as_ref().map(PaceBody::from),
            resets_at: ruling.resets_at,
            reasons: ruling.reasons.iter().map(ReasonBody::from).collect(),
            budgets: ruled.budgets.iter().map(BudgetStateBody::from).collect(),
            not_counted: ruled.not_counted.iter().map(NotCountedBody::from).collect(),
            alternatives: Vec::new(),
        }
    }
}

/// The answer to a settlement, or to usage posted directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostedAnswer {
    /// The journal row.
    pub transfer: Uuid,
    /// The reservation it settles, if one.
    pub reservation: Option<Uuid>,
    /// The disjoint buckets that were posted.
    pub usage: UsageBuckets,
    /// What moved.
    pub amounts: AmountsBody,
    /// The whole estimate that it settles, if one was held.
    pub held: Option<AmountsBody>,
    /// The price row's tier: total input tokens from which it holds. The estimate's may differ: see `held_tier_from`.
    pub price_tier_from: u64,
    /// The tier the estimate was priced by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_tier_from: Option<u64>,
    /// What is remarkable: `late`, `overrun`, `unconfirmed`, `capped`, `period_closed`, `unpriced_model`, `model_factor_fallback`,
    /// `grid_factor_fallback`, `service_tier_fallback` (the standard price stood in for a cheaper tier's), `learned_overrun` (more was used than a budget held by a learned rule), `expired` (charged by its
    /// estimate, because its reservation expired), `partial_usage` (of a call that was cut off), `usage_unread` (see there).
    pub flags: Vec<String>,
    /// When the call happened.
    pub occurred_at: DateTime<Utc>,
    /// When it was written down.
    pub recorded_at: DateTime<Utc>,
    /// How each governing budget stands, this call included.
    pub budgets: Vec<BudgetStateBody>,
    /// The budgets that would govern the call if it said more, with the field that is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_counted: Vec<NotCountedBody>,
    /// The keys of the provider's usage object that change what the call cost and were not read, or that contradict the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["server_tool_use.web_search_requests"]))]
    pub usage_unread: Vec<String>,
    /// Why the provider's usage object could not be read: the estimate was posted instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub usage_unreadable: Option<String>,
}

impl From<&Posted> for PostedAnswer {
    fn from(posted: &Posted) -> Self {
        Self {
            transfer: posted.transfer.0,
            reservation: posted.reservation.map(|reservation| reservation.0),
            usage: posted.priced.consumption.usage.into(),
            amounts: AmountsBody::from(&posted.priced),
            held: posted.hold.as_ref().map(AmountsBody::from),
            price_tier_from: posted.priced.provenance.tier_from.count(),
            held_tier_from: posted.hold.as_ref().map(|hold| hold.provenance.tier_from.count()),
            flags: posted.priced.flags.names().map(str::to_owned).collect(),
            occurred_at: posted.occurred_at,
            recorded_at: posted.recorded_at,
            budgets: posted.budgets.iter().map(BudgetStateBody::from).collect(),
            not_counted: posted.not_counted.iter().map(NotCountedBody::from).collect(),
            usage_unread: posted.unread.iter().cloned().collect(),
            usage_unreadable: posted.unreadable.as_ref().map(ToString::to_string),
        }
    }
}

/// The answer to a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleasedAnswer {
    /// Which reservation.
    pub reservation: Uuid,
    /// When.
    pub released_at: DateTime<Utc>,
}

impl From<&Released> for ReleasedAnswer {
    fn from(released: &Released) -> Self {
        Self { reservation: released.reservation.0, released_at: released.released_at }
    }
}

/// The answer to an extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExtendedAnswer {
    /// Whether the extra tokens were granted; if not, the reservation is as it was.
    pub verdict: VerdictName,
    /// Which reservation.
    pub reservation: Uuid,
    /// When it now ends by itself.
    pub expires_at: DateTime<Utc>,
    /// What is held for it, or what was asked when that was not granted.
    pub estimate: AmountsBody,
    /// The largest output that is granted; none when the extra was refused.
    pub max_output: Option<u64>,
    /// When and whether to come back; none when granted.
    pub retry: Option<RetryBody>,
    /// When the budget that binds has room again; only with `stop`.
    pub resets_at: Option<DateTime<Utc>>,
    /// Why, the headline first.
    pub reasons: Vec<ReasonBody>,
    /// How each governing budget stands.
    pub budgets: Vec<BudgetStateBody>,
}

impl From<&Extended> for ExtendedAnswer {
    fn from(extended: &Extended) -> Self {
        let ruling = &extended.ruling;
        Self {
            verdict: ruling.verdict.into(),
            reservation: extended.reservation.0,
            expires_at: extended.expires_at,
            estimate: AmountsBody::from(&ruling.priced),
            max_output: ruling.max_output.map(Tokens::count),
            retry: retry_body(ruling),
            resets_at: ruling.resets_at,
            reasons: ruling.reasons.iter().map(ReasonBody::from).collect(),
            budgets: extended.budgets.iter().map(BudgetStateBody::from).collect(),
        }
    }
}
