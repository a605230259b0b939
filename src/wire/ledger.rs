//! The books as JSON: journal rows, account balances, the trial balance.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::answer::{AmountsBody, UsageBuckets};
use super::said::SaidAsBody;
use super::{FieldError, in_calendar};
use crate::domain::ledger::transfer::Transfer;

/// In which order a list is walked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// From the newest back.
    #[default]
    Newest,
    /// From the oldest on.
    Oldest,
}

/// Which transfers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TransfersQuery {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only for this feature.
    pub feature: Option<String>,
    /// Only by this provider.
    pub provider: Option<String>,
    /// Only by this model.
    pub model: Option<String>,
    /// Only in this region.
    pub region: Option<String>,
    /// Only of this run.
    pub run: Option<String>,
    /// Only of this agent.
    pub agent: Option<String>,
    /// Only those that debit or credit this account: `usage:acme/support-chat`.
    pub account: Option<String>,
    /// Only the one that settled this reservation.
    pub reservation: Option<Uuid>,
    /// Only calls from this instant on.
    pub from: Option<DateTime<Utc>>,
    /// Only calls before this instant.
    pub to: Option<DateTime<Utc>>,
    /// Only what was recorded by this instant: the journal as it stood then.
    pub as_of: Option<DateTime<Utc>>,
    /// `newest` first, or `oldest`.
    #[param(inline)]
    pub order: Order,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most transfers of one page: 1 to 1,000; 100 if not given.
    pub limit: Option<u32>,
}

/// A journal row: one bundle of amounts, from the credit account to the debit account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TransferBody {
    /// Its id.
    pub transfer: Uuid,
    /// `settlement`, `usage`, `correction` or `true_up`.
    pub kind: String,
    /// Where the amounts go.
    #[schema(example = "usage:acme/support-chat")]
    pub debit_account: String,
    /// Where they come from.
    #[schema(example = "supply:anthropic/claude-sonnet-4-5")]
    pub credit_account: String,
    /// Whose call it was.
    pub tenant: String,
    /// What it was for.
    pub feature: String,
    /// Who served it, by its one name. A row that was written before there were names keeps its spelling.
    pub provider: String,
    /// The model that served, likewise.
    pub model: String,
    /// What was said of them, where that is another spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub said_as: Option<SaidAsBody>,
    /// The model that was asked for, where another one served.
    pub requested_model: Option<String>,
    /// Where it was served.
    pub region: Option<String>,
    /// The agent's task.
    pub run: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The caller's own labels.
    pub labels: BTreeMap<String, String>,
    /// How urgent it was.
    #[schema(example = "standard")]
    pub priority: String,
    /// How many calls it adds up.
    pub requests: u32,
    /// Tokens by bucket.
    pub usage: UsageBuckets,
    /// What moved.
    pub amounts: AmountsBody,
    /// The row of the price book it was priced by; none only where no price of any provider is known.
    pub price: Option<i64>,
    /// The tier of that row: total input tokens from which it holds.
    pub price_tier_from: u64,
    /// The method by which grams were computed.
    #[schema(example = "extended-1")]
    pub carbon_profile: String,
    /// The row of the factor book for the model.
    pub model_factor: Option<i64>,
    /// The row of the factor book for the grid.
    pub grid_factor: Option<i64>,
    /// The row of the factor book for contracts, if one is known.
    pub market_factor: Option<i64>,
    /// What is remarkable about it.
    pub flags: Vec<String>,
    /// How the call ended.
    pub outcome: String,
    /// How long it took, in milliseconds.
    pub latency_ms: Option<u32>,
    /// The provider's id of it.
    pub provider_request_id: Option<String>,
    /// What the provider says it cost, in dollars.
    #[schema(value_type = Option<String>, format = "decimal")]
    pub provider_usd: Option<Decimal>,
    /// When the call happened.
    pub occurred_at: DateTime<Utc>,
    /// When it was written down.
    pub recorded_at: DateTime<Utc>,
    /// The instant whose periods it is counted in.
    pub period_at: DateTime<Utc>,
    /// The reservation it settles.
    pub reservation: Option<Uuid>,
    /// The row it corrects.
    pub corrects: Option<Uuid>,
}

impl From<&Transfer> for TransferBody {
    fn from(transfer: &Transfer) -> Self {
        let (call, priced, report) = (&transfer.call, &transfer.priced, &transfer.report);
        let provenance = &priced.provenance;
        Self {
            transfer: transfer.id.0,
            kind: transfer.kind.name().to_owned(),
            debit_account: transfer.debit().to_string(),
            credit_account: transfer.credit().to_string(),
            tenant: call.tenant.to_string(),
            feature: call.feature.to_string(),
            provider: call.provider.to_string(),
            model: call.model.to_string(),
            said_as: SaidAsBody::of(call),
            requested_model: transfer.requested_model.as_ref().map(ToString::to_string),
            region: call.region.as_ref().map(ToString::to_string),
            run: call.run.as_ref().map(ToString::to_string),
            agent: call.agent.as_ref().map(ToString::to_string),
            labels: call.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            priority: transfer.priority.name().to_owned(),
            requests: priced.consumption.requests,
            usage: priced.consumption.usage.into(),
            amounts: AmountsBody::from(priced),
            price: provenance.price.map(|price| price.0),
            price_tier_from: provenance.tier_from.count(),
            carbon_profile: provenance.profile.name().to_owned(),
            model_factor: provenance.model_factor.map(|factor| factor.0),
            grid_factor: provenance.grid_factor.map(|factor| factor.0),
            market_factor: provenance.market_factor.map(|factor| factor.0),
            flags: priced.flags.names().map(str::to_owned).collect(),
            outcome: report.outcome.name().to_owned(),
            latency_ms: report.latency_ms,
            provider_request_id: report.provider_request_id.clone(),
            provider_usd: report.provider_usd.map(|usd| usd.decimal().normalize()),
            occurred_at: transfer.occurred_at,
            recorded_at: transfer.recorded_at,
            period_at: transfer.period_at,
            reservation: transfer.reservation.map(|reservation| reservation.0),
            corrects: transfer.corrects.map(|corrects| corrects.0),
        }
    }
}

/// A page of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TransfersPage {
    /// In the order that was asked for.
    pub items: Vec<TransferBody>,
    /// For the next page; none on the last.
    pub next_cursor: Option<String>,
}

/// Which accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountsQuery {
    /// Only what this tenant's calls moved.
    pub tenant: Option<String>,
    /// Only accounts whose name starts with this: `usage:acme/`, `supply:`.
    pub prefix: Option<String>,
    /// As of this instant of recording; now if not given.
    pub as_of: Option<DateTime<Utc>>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most accounts of one page: 1 to 1,000; 100 if not given.
    pub limit: Option<u32>,
}

/// What stands on an account: debit less credit, in every unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BalanceBody {
    /// Tokens.
    pub tokens: i64,
    /// Dollars.
    #[schema(value_type = String, format = "decimal", example = "-12.5")]
    pub usd: Decimal,
    /// Grams of the electricity used, by the grid.
    #[schema(value_type = String, format = "decimal", example = "-4.1")]
    pub gco2e_usage_location: Decimal,
    /// Grams of the electricity used, by contracts.
    #[schema(value_type = String, format = "decimal", example = "-4.1")]
    pub gco2e_usage_market: Decimal,
    /// Grams of making the hardware.
    #[schema(value_type = String, format = "decimal", example = "-0.2")]
    pub gco2e_embodied: Decimal,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountBody {
    /// Its name.
    #[schema(example = "supply:anthropic/claude-sonnet-4-5")]
    pub account: String,
    /// How many transfers touched it.
    pub transfers: u64,
    /// What stands on it: above zero on the debit side, below on the credit side.
    pub balance: BalanceBody,
}

/// A page of accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountsPage {
    /// The instant of recording up to which transfers are counted.
    pub as_of: DateTime<Utc>,
    /// By name.
    pub items: Vec<AccountBody>,
    /// For the next page, which needs the same `as_of`; none on the last.
    pub next_cursor: Option<String>,
}

/// Of which part of the books.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TrialBalanceQuery {
    /// Only what this tenant's calls moved, and counters of its calls alone.
    pub tenant: Option<String>,
    /// The sides of each unit as of this instant of recording; now if not given. The roll-up and counters have no past: they are
    /// always compared as they stand now.
    pub as_of: Option<DateTime<Utc>>,
    /// Only what counts from this instant on: on a quarter of an hour, UTC. From the beginning if not given.
    pub from: Option<DateTime<Utc>>,
    /// Only what counts before this instant: on a quarter of an hour, UTC. To the end if not given.
    pub to: Option<DateTime<Utc>>,
}

/// Grain of the roll-up, in seconds.
const QUARTER_S: i64 = 900;

impl TrialBalanceQuery {
    /// # Errors
    /// Names the field that is wrong.
    pub fn check(&self) -> Result<(), FieldError> {
        for (field, at) in [("as_of", self.as_of), ("from", self.from), ("to", self.to)] {
            in_calendar(field, at)?;
        }
        for (field, at) in [("from", self.from), ("to", self.to)] {
            let is_on_quarter =
                |at: DateTime<Utc>| at.timestamp().rem_euclid(QUARTER_S) == 0 && at.timestamp_subsec_nanos() == 0;
            if at.is_some_and(|at| !is_on_quarter(at)) {
                let detail = "must be on a quarter of an hour: the roll-up keeps none of the instants between";
                return Err(FieldError::new(field, detail));
            }
        }
        match self.from.zip(self.to) {
            Some((from, to)) if from >= to => {
                Err(FieldError::new("to", format!("{to} is not after from, which is {from}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// One unit of the trial balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnitBalanceBody {
    /// `tokens`, `usd`, `gco2e_usage_location`, `gco2e_usage_market` or `gco2e_embodied`.
    #[schema(example = "usd")]
    pub unit: String,
    /// What the debit sides add up to.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    pub debit: Decimal,
    /// What the credit sides add up to.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    pub credit: Decimal,
    /// Debit less credit: zero, always.
    #[schema(value_type = String, format = "decimal", example = "0")]
    pub difference: Decimal,
}

/// One unit of the journal beside the same of the roll-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RolledUnitBody {
    /// `requests`, or the name of a unit.
    #[schema(example = "usd")]
    pub unit: String,
    /// What the transfers add up to, less what was taken back.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    pub journal: Decimal,
    /// What the roll-up adds up to.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    pub rollup: Decimal,
    /// Roll-up less journal.
    #[schema(value_type = String, format = "decimal", example = "0")]
    pub difference: Decimal,
}

/// The journal against the usage roll-up, as they stand now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RollupBalanceBody {
    /// Rows of the roll-up.
    pub rows: i64,
    /// Rows in which the two differ: not zero where opposite errors cancel out in the sums.
    pub differing: i64,
    /// Each unit.
    pub units: Vec<RolledUnitBody>,
}

/// What counters say beside what it is a sum of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CountedSums)]
pub struct CountedBody {
    /// What the counters add up to.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    pub counters: Decimal,
    /// What they must add up to: by the journal for `posted`, by the open reservations for `held`.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    pub recomputed: Decimal,
    /// Counters less what they must be.
    #[schema(value_type = String, format = "decimal", example = "0")]
    pub difference: Decimal,
}

/// The counters of all budgets of one measure, as they stand now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CountersBalanceBody {
    /// What they count: `requests`, `tokens`, `usd`, `gco2e`, `gco2e_market` or `weighted`. None for counters without a budget,
    /// which must not be there.
    #[schema(example = "usd")]
    pub measure: Option<String>,
    /// How many budgets they belong to. A call is added up once for each that counts it.
    pub budgets: u64,
    /// How many counters, on either side. Only those whose whole period is between `from` and `to`.
    pub counters: u64,
    /// How many of them differ: not zero where opposite errors cancel out in the sums.
    pub differing: u64,
    /// What is posted, against the journal.
    pub posted: CountedBody,
    /// What is held, against the open reservations.
    pub held: CountedBody,
}

/// The trial balance: of the journal by itself, and of all that is derived from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrialBalanceBody {
    /// The instant of recording up to which the sides of each unit are added up.
    pub as_of: DateTime<Utc>,
    /// As asked for.
    pub from: Option<DateTime<Utc>>,
    /// As asked for.
    pub to: Option<DateTime<Utc>>,
    /// Whether nothing differs: no side of a unit, no row of the roll-up, no counter. Zero rows balance: see `transfers`.
    pub balanced: bool,
    /// Rows of the journal that the roll-up was compared with.
    pub transfers: i64,
    /// Both sides of each unit.
    pub units: Vec<UnitBalanceBody>,
    /// The journal against the roll-up.
    pub rollup: RollupBalanceBody,
    /// The journal and the open reservations against the counters, by measure.
    pub counters: Vec<CountersBalanceBody>,
}
