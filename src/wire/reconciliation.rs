//! Reconciliations as JSON: the report that comes in, the lines it makes, the true-ups; and closed periods.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::answer::{AmountsBody, UsageBuckets};
use super::said::{SaidAsBody, said_as_column};
use super::{FieldError, optional, required};
use crate::domain::amounts::{Amounts, Grams, Tokens, Usd};
use crate::domain::budget::catalogue::Priority;
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::scope::{Dimensions, SaidAs, Spelling};
use crate::domain::carbon::{FactorId, Profile, RecordedFactors};
use crate::domain::id::{FeatureId, LabelKey, LabelValue, ProviderId, TenantId, TransferId};
use crate::domain::ledger::command::{Adjust, Adjustment};
use crate::domain::ledger::transfer::Direction;
use crate::domain::tariff::Flags;
use crate::domain::usage::{Bucket, Usage};
use crate::reconcile::compare::{Line, Mapping, Owner};
use crate::reconcile::propose::TrueUp;
use crate::reconcile::report::{BadReport, Fold, ReportKind};

/// Most workspaces or projects that one mapping names.
pub const WORKSPACES_MAX: usize = 10_000;

impl From<BadReport> for FieldError {
    fn from(bad: BadReport) -> Self {
        Self { field: bad.place, detail: bad.detail }
    }
}

/// Which report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportKindName {
    /// Anthropic `GET /v1/organizations/usage_report/messages`.
    AnthropicUsage,
    /// Anthropic `GET /v1/organizations/cost_report`.
    AnthropicCosts,
    /// OpenAI `GET /v1/organization/usage/completions`.
    OpenaiUsage,
    /// OpenAI `GET /v1/organization/costs`.
    OpenaiCosts,
    /// A plain CSV invoice.
    Invoice,
}

impl From<ReportKindName> for ReportKind {
    fn from(name: ReportKindName) -> Self {
        match name {
            ReportKindName::AnthropicUsage => Self::AnthropicUsage,
            ReportKindName::AnthropicCosts => Self::AnthropicCosts,
            ReportKindName::OpenaiUsage => Self::OpenAiUsage,
            ReportKindName::OpenaiCosts => Self::OpenAiCosts,
            ReportKindName::Invoice => Self::Invoice,
        }
    }
}

/// Whose a workspace or project is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnerBody {
    /// The tenant.
    #[schema(example = "acme")]
    pub tenant: String,
    /// The feature, if all of it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
}

/// A provider's report. The body of `POST /v1/reconciliations`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"provider": "anthropic", "report": {"has_more": false, "next_page": null, "data": [{
    "starting_at": "2026-06-09T00:00:00Z", "ending_at": "2026-06-10T00:00:00Z", "results": [{
        "model": "claude-sonnet-4-5", "workspace_id": null, "service_tier": "standard",
        "uncached_input_tokens": 1200, "cache_read_input_tokens": 0, "output_tokens": 340,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}}]}]}}))]
pub struct ReconciliationRequest {
    /// The provider, as calls name it.
    pub provider: String,
    /// Which report it is, where its results do not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ReportKindName>,
    /// The answer of the provider as it is; or a list of such pages, of its usage report, its cost report or both; or the text
    /// of a CSV invoice.
    #[schema(value_type = Object)]
    pub report: Value,
    /// Whose the workspaces or projects of the report are; `default` is the one that the report leaves unnamed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"wrkspc_01": {"tenant": "acme"}}))]
    pub mapping: BTreeMap<String, OwnerBody>,
}

impl ReconciliationRequest {
    /// The mapping, parsed.
    ///
    /// # Errors
    /// Names the entry.
    pub fn to_mapping(&self) -> Result<Mapping, FieldError> {
        if self.mapping.len() > WORKSPACES_MAX {
            return Err(FieldError::new("mapping", format!("names more than {WORKSPACES_MAX} workspaces")));
        }
        let owner = |(workspace, body): (&String, &OwnerBody)| {
            let tenant = required(&format!("mapping.{workspace}.tenant"), &body.tenant)?;
            let feature = optional(&format!("mapping.{workspace}.feature"), body.feature.as_deref())?;
            Ok((workspace.clone(), Owner { tenant, feature }))
        };
        self.mapping.iter().map(owner).collect()
    }
}

/// How far a reconciliation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReconciliationState {
    /// Compared; nothing is posted.
    Proposed,
    /// Its true-ups are being posted; approve again if it stays so.
    Approving,
    /// Posted: the supply side of the books is what the report says.
    Approved,
}

impl ReconciliationState {
    /// The word of the column.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approving => "approving",
            Self::Approved => "approved",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Proposed, Self::Approving, Self::Approved].into_iter().find(|state| state.name() == word)
    }
}

/// Tokens or requests of one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountsBody {
    /// `input`, `cache_read`, `cache_write_5m`, `cache_write_1h`, `output`, `reasoning` or `requests`. What the report does not
    /// tell apart is counted where it counts it: reasoning in `output`.
    #[schema(example = "input")]
    pub bucket: String,
    /// What the journal says, true-ups of before included.
    pub ours: i64,
    /// What the report says.
    pub theirs: i64,
    /// Theirs less ours.
    pub difference: i64,
}

/// Dollars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DollarsBody {
    /// What the journal says.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    pub ours: Decimal,
    /// What the report says, to 12 places.
    #[schema(value_type = String, format = "decimal", example = "13")]
    pub theirs: Decimal,
    /// Theirs less ours.
    #[schema(value_type = String, format = "decimal", example = "0.5")]
    pub difference: Decimal,
}

/// A day and model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineBody {
    /// The UTC day: the report's clock.
    pub day: NaiveDate,
    /// The model, by the name its true-ups stand under.
    pub model: String,
    /// All its names in the report and in the journal.
    pub names: Vec<String>,
    /// The tenant of the workspaces this is about, where the mapping tells it; null for all else.
    pub tenant: Option<String>,
    /// Tokens by bucket, and requests; empty where the report tells none.
    pub counts: Vec<CountsBody>,
    /// Dollars; null where the report tells none.
    pub usd: Option<DollarsBody>,
    /// Calls of that day and model that were charged by their estimate.
    pub unconfirmed: usize,
    /// The rows of the price book by which our dollars were computed.
    pub prices: Vec<i64>,
    /// What likely makes the difference, the likeliest first: `clock_boundary`, `uncaptured_calls`, `unconfirmed_timeouts`,
    /// `not_in_report`, `price_difference`, `rounding`, `tokens_not_told`. Empty where the books agree.
    pub causes: Vec<String>,
}

/// A true-up: what is posted on approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrueUpBody {
    /// The transfer; null until it is approved.
    pub transfer: Option<Uuid>,
    /// `forward` from supply to usage, `reverse` back.
    pub direction: String,
    /// The call charged by its estimate that this takes back, if one.
    pub corrects: Option<Uuid>,
    /// Whose; `-` where it is not known, and the account is `adjustment:<provider>`.
    pub tenant: String,
    /// What for; `-` where it is not known.
    pub feature: String,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// What was said of them, where a call of the books is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub said_as: Option<SaidAsBody>,
    /// Where, if known.
    pub region: Option<String>,
    /// The agent's task, of a call.
    pub run: Option<String>,
    /// The agent, of a call.
    pub agent: Option<String>,
    /// The labels, of a call.
    pub labels: BTreeMap<String, String>,
    /// How urgent.
    pub priority: String,
    /// How many calls.
    pub requests: u32,
    /// Tokens by bucket.
    pub usage: UsageBuckets,
    /// What moves.
    pub amounts: AmountsBody,
    /// What its grams stand on; null where it has no tokens.
    #[serde(default)]
    pub factors: Option<FactorRowsBody>,
    /// The instant whose day it belongs to.
    pub occurred_at: DateTime<Utc>,
    /// The instant whose period it counts in, where that is not `occurred_at`: the call that it takes back counted there,
    /// because its own period was closed by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_at: Option<DateTime<Utc>>,
}

/// The method and the rows of the factor book that grams stand on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FactorRowsBody {
    /// The carbon method.
    #[schema(example = "extended-1")]
    pub profile: String,
    /// The row of the model's parameters.
    pub model: Option<i64>,
    /// The row of the grid.
    pub grid: Option<i64>,
    /// The row of a contract.
    pub market: Option<i64>,
    /// What had to be assumed: `model_factor_fallback`, `grid_factor_fallback`.
    pub assumed: Vec<String>,
}

impl FactorRowsBody {
    fn of(factors: RecordedFactors, assumed: Flags) -> Self {
        let id = |id: Option<FactorId>| id.map(|id| id.0);
        Self {
            profile: factors.profile.name().to_owned(),
            model: id(factors.model),
            grid: id(factors.grid),
            market: id(factors.market),
            assumed: assumed.names().map(str::to_owned).collect(),
        }
    }

    fn read(&self) -> Result<(RecordedFactors, Flags), FieldError> {
        let profile = Profile::parse(&self.profile).map_err(|error| FieldError::new("factors.profile", error))?;
        let [model, grid, market] = [self.model, self.grid, self.market].map(|id| id.map(FactorId));
        let all = [Flags::MODEL_FACTOR_FALLBACK, Flags::GRID_FACTOR_FALLBACK];
        let named = |flag: &Flags| flag.names().any(|name| self.assumed.iter().any(|one| one == name));
        let assumed = all.into_iter().filter(named).fold(Flags::NONE, Flags::with);
        Ok((RecordedFactors { profile, model, grid, market }, assumed))
    }
}

/// How much of the dollars an approval moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MovesBody {
    /// Dollars that the true-ups add or take away, by day, model and tenant, all of them counted as positive.
    #[schema(value_type = String, format = "decimal", example = "0.5")]
    pub usd: Decimal,
    /// Dollars that the books have for the days and models of the report.
    #[schema(value_type = String, format = "decimal", example = "12.5")]
    pub books_usd: Decimal,
    /// Whether the approval must name `usd`: more than a fifth of that is moved, apart from dollars that are taken away where tokens agree.
    pub must_be_named: bool,
}

/// What is approved. The body of `POST /v1/reconciliations/{id}/approve`; it may be left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequest {
    /// The dollars that the true-ups move, to the cent: `moves.usd` of the reconciliation. Must be named where they are more than a
    /// fifth of the books; where it is named and the books have changed since, nothing is posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal", example = "0.5")]
    pub usd: Option<Decimal>,
}

/// A reconciliation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReconciliationBody {
    /// Its id.
    pub id: Uuid,
    /// How far it has come.
    pub state: ReconciliationState,
    /// The provider.
    pub provider: String,
    /// What the report was made of.
    pub kinds: Vec<String>,
    /// The first UTC day it tells.
    pub first_day: NaiveDate,
    /// The last UTC day it tells.
    pub last_day: NaiveDate,
    /// Each day and model, also where the books agree. Of an approved one: as they were before its true-ups.
    pub lines: Vec<LineBody>,
    /// How many of them differ.
    pub differing: usize,
    /// Names of models that the price book does not know: matched by their letters alone.
    pub unmatched: Vec<String>,
    /// What is posted on approval, or was. An approval compares again: calls posted meanwhile change what is needed.
    pub true_ups: Vec<TrueUpBody>,
    /// How much of the dollars the true-ups move; not there in reconciliations of releases that did not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moves: Option<MovesBody>,
    /// Who sent the report.
    pub requested_by: String,
    /// When.
    pub requested_at: DateTime<Utc>,
    /// Who approved.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at: Option<DateTime<Utc>>,
}

/// A reconciliation in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReconciliationItemBody {
    /// Its id.
    pub id: Uuid,
    /// How far it has come.
    pub state: ReconciliationState,
    /// The provider.
    pub provider: String,
    /// The first UTC day it tells.
    pub first_day: NaiveDate,
    /// The last UTC day it tells.
    pub last_day: NaiveDate,
    /// Who sent the report.
    pub requested_by: String,
    /// When.
    pub requested_at: DateTime<Utc>,
    /// Who approved.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at: Option<DateTime<Utc>>,
}

impl LineBody {
    /// A line as JSON.
    #[must_use]
    pub fn of(line: &Line, fold: Fold) -> Self {
        let ours = line.ours.tokens.folded(fold).unwrap_or_default();
        let theirs = line.tokens.as_ref().and_then(|tokens| tokens.folded(fold));
        let count = |bucket: &str, ours: i64, theirs: i64| CountsBody {
            bucket: bucket.to_owned(),
            ours,
            theirs,
            difference: theirs.saturating_sub(ours),
        };
        let mut counts: Vec<CountsBody> = Vec::new();
        if let Some(theirs) = theirs {
            let own = Bucket::ALL.into_iter().filter(|bucket| fold.counted_in(*bucket) == *bucket);
            counts.extend(own.map(|bucket| count(bucket.as_str(), ours.get(bucket), theirs.get(bucket))));
        }
        counts.extend(line.requests.map(|theirs| count("requests", line.ours.requests, theirs)));
        let usd = line.usd.zip(line.usd_difference()).map(|(theirs, difference)| DollarsBody {
            ours: line.ours.usd.normalize(),
            theirs: theirs.normalize(),
            difference: difference.normalize(),
        });
        Self {
            day: line.day,
            model: line.model.to_string(),
            names: line.names.iter().map(ToString::to_string).collect(),
            tenant: line.tenant.as_ref().map(ToString::to_string),
            counts,
            usd,
            unconfirmed: line.unconfirmed.len(),
            prices: line.ours.prices.iter().map(|price| price.0).collect(),
            causes: line.causes.iter().map(|cause| cause.name().to_owned()).collect(),
        }
    }
}

const fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "forward",
        Direction::Reverse => "reverse",
    }
}

impl TrueUpBody {
    /// A true-up as JSON, with the id of its transfer once it is to be posted.
    #[must_use]
    pub fn of(true_up: &TrueUp, transfer: Option<Uuid>) -> Self {
        let TrueUp { direction, call, priority, consumption, factors, assumed, corrects, occurred_at, counts_at } =
            true_up;
        let labels = call.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Self {
            transfer,
            direction: direction_name(*direction).to_owned(),
            corrects: corrects.map(|transfer| transfer.0),
            tenant: call.tenant.to_string(),
            feature: call.feature.to_string(),
            provider: call.provider.to_string(),
            model: call.model.to_string(),
            said_as: said_as_column(call),
            region: call.region.as_ref().map(ToString::to_string),
            run: call.run.as_ref().map(ToString::to_string),
            agent: call.agent.as_ref().map(ToString::to_string),
            labels,
            priority: priority.name().to_owned(),
            requests: consumption.requests,
            usage: UsageBuckets::from(consumption.usage),
            amounts: AmountsBody::from(&consumption.amounts),
            factors: factors.map(|factors| FactorRowsBody::of(factors, *assumed)),
            occurred_at: *occurred_at,
            counts_at: Some(*counts_at).filter(|at| at != occurred_at),
        }
    }

    /// The command that posts it.
    ///
    /// # Errors
    /// When it was kept without the id of its transfer, or a value is not valid.
    pub fn to_adjust(&self) -> Result<Adjust, FieldError> {
        let wrong = |field: &str| FieldError::new(field, "is not valid");
        let tokens = |count: u64| Tokens::new(count).map_err(|error| FieldError::new("usage", error));
        let grams = |value: Decimal| Grams::new(value).map_err(|error| FieldError::new("amounts", error));
        let usage = Usage {
            input: tokens(self.usage.input)?,
            cache_read: tokens(self.usage.cache_read)?,
            cache_write_5m: tokens(self.usage.cache_write_5m)?,
            cache_write_1h: tokens(self.usage.cache_write_1h)?,
            output: tokens(self.usage.output)?,
            reasoning: tokens(self.usage.reasoning)?,
        };
        let amounts = Amounts {
            tokens: tokens(self.amounts.tokens)?,
            usd: Usd::new(self.amounts.usd).map_err(|error| FieldError::new("amounts.usd", error))?,
            gco2e_usage_location: grams(self.amounts.gco2e_usage_location)?,
            gco2e_usage_market: grams(self.amounts.gco2e_usage_market)?,
            gco2e_embodied: grams(self.amounts.gco2e_embodied)?,
        };
        let mut labels = BTreeMap::new();
        for (key, value) in &self.labels {
            labels.insert(required::<LabelKey>("labels", key)?, required::<LabelValue>("labels", value)?);
        }
        let call = Dimensions {
            tenant: TenantId::stored(&self.tenant).map_err(|error| FieldError::new("tenant", error))?,
            feature: FeatureId::stored(&self.feature).map_err(|error| FieldError::new("feature", error))?,
            provider: required::<ProviderId>("provider", &self.provider)?,
            model: required("model", &self.model)?,
            region: optional("region", self.region.as_deref())?,
            run: optional("run", self.run.as_deref())?,
            agent: optional("agent", self.agent.as_deref())?,
            labels: Arc::new(labels),
            spelling: match &self.said_as {
                // Kept by a release before there were names, or about what a report says: named when it is posted.
                None => Spelling::AsSaid,
                Some(said) => {
                    let said = said.to_said_as()?;
                    Spelling::Named((said != SaidAs::default()).then(|| Arc::new(said)))
                }
            },
        };
        let factors = self.factors.as_ref().map(FactorRowsBody::read).transpose()?;
        let direction = Direction::ALL.into_iter().find(|direction| direction_name(*direction) == self.direction);
        let priority = Priority::ALL.into_iter().find(|priority| priority.name() == self.priority);
        Ok(Adjust {
            transfer: TransferId(self.transfer.ok_or_else(|| wrong("transfer"))?),
            kind: Adjustment::TrueUp { corrects: self.corrects.map(TransferId) },
            direction: direction.ok_or_else(|| wrong("direction"))?,
            call,
            priority: priority.ok_or_else(|| wrong("priority"))?,
            consumption: Consumption { requests: self.requests, usage, amounts },
            factors: factors.map(|(factors, _)| factors),
            assumed: factors.map_or(Flags::NONE, |(_, assumed)| assumed),
            occurred_at: self.occurred_at,
            counts_at: self.counts_at.unwrap_or(self.occurred_at),
        })
    }
}
