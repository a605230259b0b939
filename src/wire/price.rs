//! The price book that comes with the service, and the form in which a price row is kept as JSON.
//!
//! | form | for |
//! |---|---|
//! | [`PriceRowDoc`] | one row, complete, as stored (JSONB) and as answered |
//! | the file `data/prices/genai-prices.json` | all rows of one source, with what they share written once |
//! | the file `data/prices/provider-aliases.json` | what else providers are called |
//!
//! Both directions are exact: decimals are texts, and a row that goes to JSON and back is the same row.
//!
//! Deliberately absent: fetching. The file is made by `scripts/prices/convert.py` and read at build time.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::amounts::{BadAmount, Tokens, Usd};
use crate::domain::id::{BadName, ModelId, ProviderId, RegionId};
use crate::domain::price::matching::{ModelMatch, TEXTS_MAX, Text};
use crate::domain::price::names::ProviderNames;
use crate::domain::price::{BadTiers, NewPriceRow, PublishedPrices, ServiceTier, Tier, Tiers, UsdPerMillion};
use crate::domain::usage::Bucket;

const PRICES: &str = include_str!("../../data/prices/genai-prices.json");
const ALIASES: &str = include_str!("../../data/prices/provider-aliases.json");

/// Why a document is not a price row. The field is the path in the document.
#[derive(Debug, thiserror::Error)]
pub enum BadPriceRow {
    /// A name that breaks its rule.
    #[error("`{field}` {source}")]
    Name {
        /// The field.
        field: &'static str,
        /// The rule.
        source: BadName,
    },
    /// An amount that cannot be kept.
    #[error("`{field}` {source}")]
    Amount {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: BadAmount,
    },
    /// Tiers that leave a call without a price, or give it two.
    #[error("`tiers`: {0}")]
    Tiers(#[from] BadTiers),
    /// No such service tier.
    #[error("`service_tier` {0:?} is none of standard, batch, flex, priority, fast")]
    ServiceTier(String),
    /// No such bucket.
    #[error("`derived` {0:?} is no token bucket")]
    Bucket(String),
    /// A matching rule that is empty, or larger than the book tries.
    #[error("`match` must hold 1 to {TEXTS_MAX} texts, none of them empty")]
    Match,
    /// A price that ends before it begins.
    #[error("`effective_to` must be later than `effective_from`")]
    Period,
}

impl BadPriceRow {
    /// The field that is to blame, as the document spells it.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Name { field, .. } | Self::Amount { field, .. } => field,
            Self::Tiers(_) => "tiers",
            Self::ServiceTier(_) => "service_tier",
            Self::Bucket(_) => "derived",
            Self::Match => "match",
            Self::Period => "effective_to",
        }
    }
}

/// Why the bundled data cannot be read. Only a broken build can show it.
#[derive(Debug, thiserror::Error)]
pub enum BadPriceData {
    /// Not the JSON this build expects.
    #[error("the bundled price data is not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A row that is not a price.
    #[error("bundled price of {provider} {model}: {source}")]
    Row {
        /// The row's provider.
        provider: String,
        /// The row's model.
        model: String,
        /// What is wrong with it.
        source: BadPriceRow,
    },
    /// A provider name that is not a valid id.
    #[error("bundled provider name {name:?} {source}")]
    Provider {
        /// The name.
        name: String,
        /// The rule.
        source: BadName,
    },
}

/// The matching rule of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(no_recursion, example = json!({"starts_with": "claude-sonnet-4-5"}))]
pub enum MatchDoc {
    /// The whole name.
    Equals(String),
    /// The beginning of the name.
    StartsWith(String),
    /// The end of the name.
    EndsWith(String),
    /// Anywhere in the name.
    Contains(String),
    /// The whole name, where each `#` is one digit.
    Digits(String),
    /// At least one of these.
    Any(Vec<Self>),
    /// Each of these.
    All(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
}

/// The prices of one tier, in dollars per million tokens. What is absent follows from what is there
/// ([`PublishedPrices::complete`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TierDoc {
    /// The smallest total input that this tier prices.
    pub from: u64,
    /// Fresh prompt tokens.
    #[schema(value_type = String, format = "decimal", example = "3")]
    pub input: Decimal,
    /// Prompt tokens read from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal")]
    pub cache_read: Option<Decimal>,
    /// Prompt tokens written to a five-minute cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal")]
    pub cache_write_5m: Option<Decimal>,
    /// Prompt tokens written to a one-hour cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal")]
    pub cache_write_1h: Option<Decimal>,
    /// Visible completion tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal")]
    pub output: Option<Decimal>,
    /// Completion tokens spent thinking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "decimal")]
    pub reasoning: Option<Decimal>,
}

/// One price row, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "provider": "anthropic", "model": "claude-sonnet-4-5", "effective_from": "2026-12-01T00:00:00Z",
    "tiers": [{"from": 0, "input": "3", "cache_read": "0.3", "cache_write_5m": "3.75", "output": "15"}],
    "source": "contract 4711", "source_date": "2026-11-20", "licence": "private"
}))]
pub struct PriceRowDoc {
    /// Who serves the model.
    pub provider: String,
    /// The model's canonical name.
    pub model: String,
    /// Every other name; absent, the canonical name only.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matcher: Option<MatchDoc>,
    /// How it is served; absent, `standard`.
    #[serde(default = "standard")]
    pub service_tier: String,
    /// Where it is served; absent, anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The first instant of this price.
    pub effective_from: DateTime<Utc>,
    /// The first instant after it, if it ends without a successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_to: Option<DateTime<Utc>>,
    /// The prices, by total input.
    pub tiers: Vec<TierDoc>,
    /// Charged once for each call, in dollars; absent, nothing.
    #[serde(default)]
    #[schema(value_type = String, format = "decimal", example = "0")]
    pub request_fee_usd: Decimal,
    /// Buckets whose price is not the source's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<String>,
    /// Where the price is from.
    pub source: String,
    /// The day the source spoke of.
    pub source_date: NaiveDate,
    /// The licence under which the source may be used.
    pub licence: String,
}

fn standard() -> String {
    ServiceTier::Standard.as_str().to_owned()
}

/// Every price of the bundled source, in the source's order.
///
/// # Errors
/// [`BadPriceData`] when the file in the build is broken.
pub fn bundled_rows() -> Result<Vec<NewPriceRow>, BadPriceData> {
    let rows = rows_of_file(PRICES)?.into_iter().map(|doc| {
        let (provider, model) = (doc.provider.clone(), doc.model.clone());
        NewPriceRow::try_from(doc).map_err(|source| BadPriceData::Row { provider, model, source })
    });
    rows.collect()
}

/// The rows of a file like the one that ships: `data/prices/genai-prices.json`.
///
/// # Errors
/// When it is not that JSON.
pub fn rows_of_file(text: &str) -> Result<Vec<PriceRowDoc>, serde_json::Error> {
    let file: PricesFile = serde_json::from_str(text)?;
    let of_model = |model: &ModelEntry| model.prices.iter().map(|price| price.row(model, &file)).collect::<Vec<_>>();
    Ok(file.models.iter().flat_map(of_model).collect())
}

/// What providers are called, and whose prices they use: bundled.
///
/// # Errors
/// [`BadPriceData`] when a file in the build is broken.
pub fn bundled_provider_names() -> Result<ProviderNames, BadPriceData> {
    let provider =
        |name: &String| ProviderId::parse(name).map_err(|source| BadPriceData::Provider { name: name.clone(), source });
    let listed = |tables: &BTreeMap<String, Vec<String>>| {
        let parse = |(name, others): (&String, &Vec<String>)| {
            Ok((provider(name)?, others.iter().map(provider).collect::<Result<Vec<_>, BadPriceData>>()?))
        };
        tables.iter().map(parse).collect::<Result<Vec<(ProviderId, Vec<ProviderId>)>, BadPriceData>>()
    };
    let aliases = listed(&serde_json::from_str::<AliasesFile>(ALIASES)?.aliases)?;
    let fallbacks = listed(&serde_json::from_str::<PricesFile>(PRICES)?.provider_fallbacks)?;
    Ok(ProviderNames::new(
        aliases.iter().flat_map(|(id, names)| names.iter().map(move |alias| (alias, id))),
        fallbacks.iter().map(|(id, others)| (id, others.as_slice())),
    ))
}

#[derive(Deserialize)]
struct AliasesFile {
    aliases: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct PricesFile {
    source: String,
    source_date: NaiveDate,
    licence: String,
    provider_fallbacks: BTreeMap<String, Vec<String>>,
    models: Vec<ModelEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    provider: String,
    model: String,
    #[serde(rename = "match")]
    matcher: Option<MatchDoc>,
    prices: Vec<PriceEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceEntry {
    #[serde(default = "standard")]
    service_tier: String,
    #[serde(default)]
    effective_from: NaiveDate,
    effective_to: Option<NaiveDate>,
    #[serde(default)]
    request_fee: Decimal,
    tiers: Vec<TierDoc>,
}

impl PriceEntry {
    /// The row this entry of the file stands for. A day begins at midnight UTC; a price without one holds since 1970.
    fn row(&self, model: &ModelEntry, file: &PricesFile) -> PriceRowDoc {
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        PriceRowDoc {
            provider: model.provider.clone(),
            model: model.model.clone(),
            matcher: model.matcher.clone(),
            service_tier: self.service_tier.clone(),
            region: None,
            effective_from: midnight(self.effective_from),
            effective_to: self.effective_to.map(midnight),
            tiers: self.tiers.clone(),
            request_fee_usd: self.request_fee,
            derived: Vec::new(),
            source: file.source.clone(),
            source_date: file.source_date,
            licence: file.licence.clone(),
        }
    }
}

impl<Id> From<&crate::domain::price::PriceRow<Id>> for PriceRowDoc {
    fn from(row: &crate::domain::price::PriceRow<Id>) -> Self {
        Self {
            provider: row.provider.to_string(),
            model: row.model.to_string(),
            matcher: Some(MatchDoc::from(&row.matcher)),
            service_tier: row.service_tier.as_str().to_owned(),
            region: row.region.as_ref().map(ToString::to_string),
            effective_from: row.effective_from,
            effective_to: row.effective_to,
            tiers: row.tiers.iter().map(TierDoc::from).collect(),
            request_fee_usd: row.request_fee_usd.decimal(),
            derived: row.derived.iter().map(|bucket| bucket.as_str().to_owned()).collect(),
            source: row.source.clone(),
            source_date: row.source_date,
            licence: row.licence.clone(),
        }
    }
}

impl TryFrom<PriceRowDoc> for NewPriceRow {
    type Error = BadPriceRow;

    fn try_from(doc: PriceRowDoc) -> Result<Self, BadPriceRow> {
        let name = |field| move |source| BadPriceRow::Name { field, source };
        let model = ModelId::parse(&doc.model).map_err(name("model"))?;
        let matcher = match &doc.matcher {
            None => ModelMatch::Equals(Text::new(model.as_str())),
            Some(rule) => rule.to_domain()?,
        };
        if matcher.texts() == 0 || matcher.texts() > TEXTS_MAX {
            return Err(BadPriceRow::Match);
        }
        let service_tier = ServiceTier::from_word(&doc.service_tier)
            .ok_or_else(|| BadPriceRow::ServiceTier(doc.service_tier.clone()))?;
        if doc.effective_to.is_some_and(|end| end <= doc.effective_from) {
            return Err(BadPriceRow::Period);
        }
        let mut tiers = Vec::new();
        let mut derived = Vec::new();
        for word in &doc.derived {
            derived.push(Bucket::from_word(word).ok_or_else(|| BadPriceRow::Bucket(word.clone()))?);
        }
        for tier in &doc.tiers {
            let (tier, unpriced) = tier.to_domain()?;
            tiers.push(tier);
            derived.extend(unpriced);
        }
        derived.sort_unstable();
        derived.dedup();
        let amount = |field| move |source| BadPriceRow::Amount { field, source };
        Ok(Self {
            id: (),
            provider: ProviderId::parse(&doc.provider).map_err(name("provider"))?,
            model,
            matcher,
            service_tier,
            region: doc.region.as_deref().map(RegionId::parse).transpose().map_err(name("region"))?,
            effective_from: doc.effective_from,
            effective_to: doc.effective_to,
            tiers: Tiers::new(tiers)?,
            request_fee_usd: Usd::new(doc.request_fee_usd).map_err(amount("request_fee_usd"))?,
            derived,
            source: doc.source,
            source_date: doc.source_date,
            licence: doc.licence,
        })
    }
}

impl From<&Tier> for TierDoc {
    fn from(tier: &Tier) -> Self {
        let prices = &tier.prices;
        Self {
            from: tier.input_total_from.count(),
            input: prices.input.decimal(),
            cache_read: Some(prices.cache_read.decimal()),
            cache_write_5m: Some(prices.cache_write_5m.decimal()),
            cache_write_1h: Some(prices.cache_write_1h.decimal()),
            output: Some(prices.output.decimal()),
            reasoning: Some(prices.reasoning.decimal()),
        }
    }
}

impl TierDoc {
    fn to_domain(&self) -> Result<(Tier, Vec<Bucket>), BadPriceRow> {
        let price = |field, value| UsdPerMillion::new(value).map_err(|source| BadPriceRow::Amount { field, source });
        let optional = |field, value: Option<Decimal>| value.map(|value| price(field, value)).transpose();
        let published = PublishedPrices {
            input: price("tiers.input", self.input)?,
            cache_read: optional("tiers.cache_read", self.cache_read)?,
            cache_write_5m: optional("tiers.cache_write_5m", self.cache_write_5m)?,
            cache_write_1h: optional("tiers.cache_write_1h", self.cache_write_1h)?,
            output: optional("tiers.output", self.output)?,
            reasoning: optional("tiers.reasoning", self.reasoning)?,
        };
        let (prices, derived) = published.complete();
        let from = |source| BadPriceRow::Amount { field: "tiers.from", source };
        Ok((Tier { input_total_from: Tokens::new(self.from).map_err(from)?, prices }, derived))
    }
}

impl From<&ModelMatch> for MatchDoc {
    fn from(rule: &ModelMatch) -> Self {
        let text = |text: &Text| text.as_str().to_owned();
        let all = |rules: &[ModelMatch]| rules.iter().map(Self::from).collect();
        match rule {
            ModelMatch::Equals(name) => Self::Equals(text(name)),
            ModelMatch::StartsWith(part) => Self::StartsWith(text(part)),
            ModelMatch::EndsWith(part) => Self::EndsWith(text(part)),
            ModelMatch::Contains(part) => Self::Contains(text(part)),
            ModelMatch::Digits(name) => Self::Digits(text(name)),
            ModelMatch::Any(rules) => Self::Any(all(rules)),
            ModelMatch::All(rules) => Self::All(all(rules)),
            ModelMatch::Not(rule) => Self::Not(Box::new(Self::from(rule.as_ref()))),
        }
    }
}

impl MatchDoc {
    fn to_domain(&self) -> Result<ModelMatch, BadPriceRow> {
        // An empty text would match every name.
        let text = |text: &str| if text.is_empty() { Err(BadPriceRow::Match) } else { Ok(Text::new(text)) };
        let all = |rules: &[Self]| match rules {
            [] => Err(BadPriceRow::Match),
            rules => rules.iter().map(Self::to_domain).collect::<Result<Vec<_>, _>>(),
        };
        Ok(match self {
            Self::Equals(name) => ModelMatch::Equals(text(name)?),
            Self::StartsWith(part) => ModelMatch::StartsWith(text(part)?),
            Self::EndsWith(part) => ModelMatch::EndsWith(text(part)?),
            Self::Contains(part) => ModelMatch::Contains(text(part)?),
            Self::Digits(name) => ModelMatch::Digits(text(name)?),
            Self::Any(rules) => ModelMatch::Any(all(rules)?),
            Self::All(rules) => ModelMatch::All(all(rules)?),
            Self::Not(rule) => ModelMatch::Not(Box::new(rule.to_domain()?)),
        })
    }
}

#[cfg(test)]
#[path = "price_tests.rs"]
mod tests;
