//! What was used, added up: the question as a query string, the answer as JSON.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FieldError, required};
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::id::{AgentId, FeatureId, LabelKey, LabelValue, ModelId, ProviderId, RegionId, RunId, TenantId};

/// Most dimensions one answer is grouped by.
pub const GROUP_BY_MAX: usize = 8;
/// Decimal places of the cache-read share.
const SHARE_PLACES: u32 = 6;
/// What the names of label filters start with: `label.team=cx`.
const LABEL_FILTER: &str = "label.";
/// What labels are grouped by: `group_by=label:team`.
const LABEL_GROUP: &str = "label:";

/// What usage is told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// Whose call it was.
    Tenant,
    /// What it was for.
    Feature,
    /// Who served it.
    Provider,
    /// With what.
    Model,
    /// Where.
    Region,
    /// The agent's task.
    Run,
    /// The agent.
    Agent,
    /// The value of one of the caller's own labels.
    Label(LabelKey),
}

impl Dimension {
    /// Those with a name of their own, with it.
    pub const NAMED: [(Self, &'static str); 7] = [
        (Self::Tenant, "tenant"),
        (Self::Feature, "feature"),
        (Self::Provider, "provider"),
        (Self::Model, "model"),
        (Self::Region, "region"),
        (Self::Run, "run"),
        (Self::Agent, "agent"),
    ];

    /// The dimension that `group_by` names.
    ///
    /// # Errors
    /// Names `group_by`.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        if let Some(key) = text.strip_prefix(LABEL_GROUP) {
            return Ok(Self::Label(required("group_by", key)?));
        }
        Self::named(text).ok_or_else(|| {
            let detail = format!(
                "`{text}` is not tenant, feature, provider, model, region, run, agent or label:KEY, separated by commas"
            );
            FieldError::new("group_by", detail)
        })
    }

    fn named(text: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|(_, name)| *name == text).map(|(dimension, _)| dimension)
    }

    /// The name in `group_by` and in a row's `group`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Tenant => "tenant".to_owned(),
            Self::Feature => "feature".to_owned(),
            Self::Provider => "provider".to_owned(),
            Self::Model => "model".to_owned(),
            Self::Region => "region".to_owned(),
            Self::Run => "run".to_owned(),
            Self::Agent => "agent".to_owned(),
            Self::Label(key) => format!("{LABEL_GROUP}{key}"),
        }
    }

    /// Whether the roll-up by quarter of an hour knows it.
    #[must_use]
    pub const fn is_rolled_up(&self) -> bool {
        match self {
            Self::Tenant | Self::Feature | Self::Provider | Self::Model | Self::Region => true,
            Self::Run | Self::Agent | Self::Label(_) => false,
        }
    }

    /// A value of it, as the books have it.
    fn value(&self, field: &str, value: &str) -> Result<String, FieldError> {
        let text = |id: &dyn fmt::Display| id.to_string();
        match self {
            Self::Tenant => required::<TenantId>(field, value).map(|id| text(&id)),
            Self::Feature => required::<FeatureId>(field, value).map(|id| text(&id)),
            Self::Provider => required::<ProviderId>(field, value).map(|id| text(&id)),
            Self::Model => required::<ModelId>(field, value).map(|id| text(&id)),
            Self::Region => required::<RegionId>(field, value).map(|id| text(&id)),
            Self::Run => required::<RunId>(field, value).map(|id| text(&id)),
            Self::Agent => required::<AgentId>(field, value).map(|id| text(&id)),
            Self::Label(_) => required::<LabelValue>(field, value).map(|id| text(&id)),
        }
    }
}

/// One end of a span of time, as a caller writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// An instant: `2026-06-01T00:00:00Z`.
    Instant(DateTime<Utc>),
    /// The start of a local day: `2026-06-01`.
    Date(NaiveDate),
}

impl Bound {
    /// Reads an end.
    ///
    /// # Errors
    /// Names the field.
    pub fn parse(field: &str, text: &str) -> Result<Self, FieldError> {
        if let Ok(date) = text.parse() {
            return Ok(Self::Date(date));
        }
        let instant = text.parse().map_err(|_| {
            FieldError::new(
                field,
                format!("`{text}` is neither an instant (2026-06-01T00:00:00Z) nor a date (2026-06-01)"),
            )
        })?;
        Ok(Self::Instant(instant))
    }
}

/// In which period what came late is counted: corrections, true-ups, and usage of a period that was closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Where it was posted: sums of a closed period never change, and tie to invoices and budgets.
    #[default]
    AsPosted,
    /// Where it belongs: with the call that it corrects, by when that happened. Sums of a period become what is known of it now.
    AsRestated,
}

impl Basis {
    /// The word in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsPosted => "as_posted",
            Self::AsRestated => "as_restated",
        }
    }

    fn parse(text: &str) -> Result<Self, FieldError> {
        match text {
            "as_posted" => Ok(Self::AsPosted),
            "as_restated" => Ok(Self::AsRestated),
            other => Err(FieldError::new("basis", format!("`{other}` is not as_posted or as_restated"))),
        }
    }
}

/// The query of `GET /v1/usage`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// The zone of days and months. The tenant's own, if one is named, else UTC.
    pub zone: Option<Zone>,
    /// The first instant. The start of the current month if not given.
    pub from: Option<Bound>,
    /// The first instant no longer counted. The end of the current month if not given.
    pub to: Option<Bound>,
    /// The spans that are told apart. One if not given.
    pub bucket: Option<PeriodSpec>,
    /// In which period what came late is counted.
    pub basis: Basis,
    /// What is told apart.
    pub group_by: Vec<Dimension>,
    /// Only calls with these values.
    pub filters: BTreeMap<Dimension, String>,
}

impl UsageQuery {
    /// Reads the query.
    ///
    /// # Errors
    /// Names the parameter that is wrong.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, FieldError> {
        let mut query = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in pairs {
            if seen.contains(&name.as_str()) {
                return Err(FieldError::new(name, "is given twice"));
            }
            seen.push(name);
            match name.as_str() {
                "zone" => query.zone = Some(Zone::parse(value).map_err(|error| FieldError::new("zone", error))?),
                "from" => query.from = Some(Bound::parse("from", value)?),
                "to" => query.to = Some(Bound::parse("to", value)?),
                "bucket" => query.bucket = Some(bucket(value)?),
                "basis" => query.basis = Basis::parse(value)?,
                "group_by" => query.group_by = group_by(value)?,
                other => {
                    let dimension = match other.strip_prefix(LABEL_FILTER) {
                        Some(key) => Dimension::Label(required(other, key)?),
                        None => Dimension::named(other).ok_or_else(|| unknown(other))?,
                    };
                    let value = dimension.value(other, value)?;
                    query.filters.insert(dimension, value);
                }
            }
        }
        Ok(query)
    }

    /// The tenant that is asked for.
    ///
    /// # Errors
    /// Never: the value was checked.
    pub fn tenant(&self) -> Result<Option<TenantId>, FieldError> {
        self.filters.get(&Dimension::Tenant).map(|tenant| required("tenant", tenant)).transpose()
    }
}

fn unknown(name: &str) -> FieldError {
    let known =
        "from, to, zone, bucket, basis, group_by, tenant, feature, provider, model, region, run, agent, label.KEY";
    FieldError::new(name, format!("is no parameter here: use {known}"))
}

fn bucket(text: &str) -> Result<PeriodSpec, FieldError> {
    match text {
        "hour" => Ok(PeriodSpec::Hour),
        "day" => Ok(PeriodSpec::DAY),
        "week" => Ok(PeriodSpec::WEEK),
        "month" => Ok(PeriodSpec::MONTH),
        "quarter" => Ok(PeriodSpec::Quarter),
        "year" => Ok(PeriodSpec::YEAR),
        other => Err(FieldError::new("bucket", format!("`{other}` is not hour, day, week, month, quarter or year"))),
    }
}

fn group_by(text: &str) -> Result<Vec<Dimension>, FieldError> {
    let mut dimensions = Vec::new();
    for name in text.split(',') {
        let dimension = Dimension::parse(name.trim())?;
        if dimensions.contains(&dimension) {
            return Err(FieldError::new("group_by", format!("names `{name}` twice")));
        }
        dimensions.push(dimension);
    }
    if dimensions.len() > GROUP_BY_MAX {
        return Err(FieldError::new("group_by", format!("names more than {GROUP_BY_MAX} dimensions")));
    }
    Ok(dimensions)
}

/// Tokens of many calls by bucket, added up. Below zero where corrections took back more than was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageSums {
    /// Prompt tokens that no cache served or stored.
    pub input: i64,
    /// Prompt tokens read from a cache.
    pub cache_read: i64,
    /// Prompt tokens written to a five-minute cache.
    pub cache_write_5m: i64,
    /// Prompt tokens written to a one-hour cache.
    pub cache_write_1h: i64,
    /// Visible completion tokens.
    pub output: i64,
    /// Completion tokens spent thinking.
    pub reasoning: i64,
}

/// Amounts of many calls, added up. Below zero where corrections took back more than was used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AmountSums {
    /// Tokens of all buckets.
    pub tokens: i64,
    /// Dollars.
    #[schema(value_type = String, format = "decimal", example = "15.6")]
    pub usd: Decimal,
    /// Grams: location-based usage plus embodied. The default carbon measure.
    #[schema(value_type = String, format = "decimal", example = "410")]
    pub gco2e: Decimal,
    /// Grams: market-based usage plus embodied.
    #[schema(value_type = String, format = "decimal", example = "410")]
    pub gco2e_market: Decimal,
    /// Grams of the electricity used, by the grid.
    #[schema(value_type = String, format = "decimal", example = "400")]
    pub gco2e_usage_location: Decimal,
    /// Grams of the electricity used, by contracts.
    #[schema(value_type = String, format = "decimal", example = "400")]
    pub gco2e_usage_market: Decimal,
    /// Grams of making the hardware.
    #[schema(value_type = String, format = "decimal", example = "10")]
    pub gco2e_embodied: Decimal,
}

/// What was used, in every unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SumsBody {
    /// Calls.
    pub requests: i64,
    /// Tokens by bucket.
    pub usage: UsageSums,
    /// In every unit.
    pub amounts: AmountSums,
    /// How much of the prompt a cache served: cache reads over all prompt tokens. None without a prompt.
    #[schema(value_type = Option<String>, format = "decimal", example = "0.42")]
    pub cache_read_share: Option<Decimal>,
}

/// The nearest whole number of 64 bits.
fn whole(count: Decimal) -> i64 {
    let farthest = if count.is_sign_negative() { i64::MIN } else { i64::MAX };
    count.to_i64().unwrap_or(farthest)
}

impl SumsBody {
    /// From sums: requests and the six buckets; dollars, location-based, market-based and embodied grams. A count beyond
    /// 64 bits is the most that they hold. None when an amount is beyond what can be told.
    #[must_use]
    pub fn new(counts: [Decimal; 7], amounts: [Decimal; 4]) -> Option<Self> {
        let [requests, input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] = counts;
        let [usd, location, market, embodied] = amounts;
        let usage = UsageSums {
            input: whole(input),
            cache_read: whole(cache_read),
            cache_write_5m: whole(cache_write_5m),
            cache_write_1h: whole(cache_write_1h),
            output: whole(output),
            reasoning: whole(reasoning),
        };
        let prompt = [cache_read, cache_write_5m, cache_write_1h].into_iter().try_fold(input, Decimal::checked_add)?;
        let tokens = [output, reasoning].into_iter().try_fold(prompt, Decimal::checked_add)?;
        Some(Self {
            requests: whole(requests),
            usage,
            amounts: AmountSums {
                tokens: whole(tokens),
                usd: usd.normalize(),
                gco2e: location.checked_add(embodied)?.normalize(),
                gco2e_market: market.checked_add(embodied)?.normalize(),
                gco2e_usage_location: location.normalize(),
                gco2e_usage_market: market.normalize(),
                gco2e_embodied: embodied.normalize(),
            },
            cache_read_share: Some(prompt)
                .filter(|prompt| *prompt > Decimal::ZERO)
                .and_then(|prompt| cache_read.checked_div(prompt))
                .map(|share| {
                    share.round_dp_with_strategy(SHARE_PLACES, RoundingStrategy::MidpointNearestEven).normalize()
                }),
        })
    }

    /// Nothing was used.
    #[must_use]
    pub fn zero() -> Self {
        Self { requests: 0, usage: UsageSums::default(), amounts: AmountSums::default(), cache_read_share: None }
    }

    /// Both together. None when a sum is beyond what can be told.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        let counts = |sums: &Self| {
            let usage = sums.usage;
            [
                sums.requests,
                usage.input,
                usage.cache_read,
                usage.cache_write_5m,
                usage.cache_write_1h,
                usage.output,
                usage.reasoning,
            ]
        };
        let amounts = |sums: &Self| {
            let amounts = &sums.amounts;
            [amounts.usd, amounts.gco2e_usage_location, amounts.gco2e_usage_market, amounts.gco2e_embodied]
        };
        let mut summed_counts = [Decimal::ZERO; 7];
        for (sum, (one, two)) in summed_counts.iter_mut().zip(counts(self).into_iter().zip(counts(other))) {
            *sum = Decimal::from(one).checked_add(Decimal::from(two))?;
        }
        let mut summed_amounts = [Decimal::ZERO; 4];
        for (sum, (one, two)) in summed_amounts.iter_mut().zip(amounts(self).into_iter().zip(amounts(other))) {
            *sum = one.checked_add(two)?;
        }
        Self::new(summed_counts, summed_amounts)
    }
}

/// What was used in one span by one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsageRowBody {
    /// The first instant of its span.
    pub start: DateTime<Utc>,
    /// The first instant no longer in it.
    pub end: DateTime<Utc>,
    /// The start on the clock of `zone`.
    #[schema(example = "2026-06-01T00:00:00+09:00")]
    pub start_local: String,
    /// The value of each dimension of `group_by`; null where calls have none.
    #[schema(example = json!({"tenant": "acme", "feature": "support-chat"}))]
    pub group: BTreeMap<String, Option<String>>,
    /// What was used.
    #[serde(flatten)]
    pub sums: SumsBody,
    /// What of it may belong to another month: corrections, true-ups, and calls of a month that was closed when they came; by
    /// month and kind. Empty where there is none.
    pub corrections: Vec<CorrectionsBody>,
}

/// What a sum contains of one month that was changed by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CorrectionsBody {
    /// The month that they are about, in `zone`: by when the call, or the day of the report, occurred.
    #[schema(example = "2026-05")]
    pub period: String,
    /// The first instant of that month.
    pub period_start: DateTime<Utc>,
    /// `correction`, `true_up`, or of calls that came for a closed month `usage` and `settlement`.
    #[schema(example = "true_up")]
    pub kind: String,
    /// How many transfers.
    pub transfers: u64,
    /// Calls that they add; below zero where they take calls back.
    pub requests: i64,
    /// What they add; below zero where they take something back.
    pub amounts: AmountSums,
}

/// Where sums were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The sums by quarter of an hour.
    Rollup,
    /// The journal, call by call.
    Journal,
}

/// The answer of `GET /v1/usage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsageTotalsBody {
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The first instant no longer counted.
    pub to: DateTime<Utc>,
    /// The zone of days and months.
    #[schema(example = "Asia/Tokyo")]
    pub zone: String,
    /// In which period what came late is counted.
    pub basis: Basis,
    /// Where the sums were read from: both say the same.
    pub source: UsageSource,
    /// By span, then by group. Where nothing was used there is no row.
    pub rows: Vec<UsageRowBody>,
    /// All rows together.
    pub totals: SumsBody,
    /// What of that may belong to another month, likewise.
    pub corrections: Vec<CorrectionsBody>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<UsageQuery, FieldError> {
        let pairs: Vec<_> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        UsageQuery::parse(&pairs)
    }

    #[test]
    fn a_query_is_read_and_what_is_wrong_is_named() {
        let query = parse("from=2026-06-01&to=2026-07-01T00:00:00Z&zone=Asia/Tokyo&bucket=day&group_by=tenant,label:team&label.team=cx&run=r/1")
            .unwrap();
        assert_eq!(query.from, Some(Bound::Date("2026-06-01".parse().unwrap())));
        assert_eq!(query.to, Some(Bound::Instant("2026-07-01T00:00:00Z".parse().unwrap())));
        assert_eq!(query.bucket, Some(PeriodSpec::DAY));
        assert_eq!(query.group_by, [Dimension::Tenant, Dimension::Label(LabelKey::parse("team").unwrap())]);
        assert_eq!(query.filters.values().collect::<Vec<_>>(), ["r/1", "cx"]);
        for (wrong, field) in [
            ("from=yesterday", "from"),
            ("from=2026-06-31", "from"),
            ("to=1750000000", "to"),
            ("zone=Tokyo", "zone"),
            ("bucket=fortnight", "bucket"),
            ("group_by=", "group_by"),
            ("group_by=tenant,tenant", "group_by"),
            ("group_by=label:", "group_by"),
            ("group_by=label:a,label:b,label:c,label:d,label:e,label:f,label:g,label:h,label:i", "group_by"),
            ("group=tenant", "group"),
            ("label.=cx", "label."),
            ("label.team=", "label.team"),
            ("tenant=a b", "tenant"),
            ("tenant=a&tenant=b", "tenant"),
        ] {
            assert_eq!(parse(wrong).unwrap_err().field, field, "{wrong}");
        }
    }

    #[test]
    fn sums_add_up_and_say_what_the_cache_served() {
        let one = |n: i64| Decimal::from(n);
        let sums = SumsBody::new([1, 100, 300, 0, 100, 40, 10].map(one), [one(3), one(5), one(7), one(2)]).unwrap();
        assert_eq!(sums.amounts.tokens, 550);
        assert_eq!((sums.amounts.gco2e, sums.amounts.gco2e_market), (one(7), one(9)));
        assert_eq!(sums.cache_read_share.unwrap().to_string(), "0.6");
        let twice = sums.checked_add(&sums).unwrap();
        assert_eq!((twice.requests, twice.amounts.tokens, twice.cache_read_share), (2, 1100, sums.cache_read_share));
        assert_eq!(SumsBody::zero().checked_add(&sums).unwrap(), sums);
        assert_eq!(SumsBody::zero().cache_read_share, None, "no prompt, no share");
        let most = SumsBody::new([Decimal::MAX; 7], [one(0); 4]);
        assert_eq!(most.map(|most| (most.requests, most.usage.input)), None, "tokens add up to what cannot be told");
        let many =
            SumsBody::new([one(i64::MAX), one(i64::MAX), one(i64::MAX), one(0), one(0), one(0), one(0)], [one(0); 4]);
        assert_eq!(many.map(|many| many.amounts.tokens), Some(i64::MAX), "as much as can be told");
    }
}
