//! Alternatives: models of the same provider that would do where the one that was asked does not.
//!
//! An alternative is cheaper in dollars or in grams for the very same estimate, and fits every hard budget that would govern
//! a call to *it*, as far as the numbers of the answer tell: a budget that governs only the other model is not in them, and
//! then its limit alone is looked at. It is a hint, not a grant: the caller asks again.
//!
//! Deliberately absent: other providers (a caller may have no contract with them), and any judgement of quality.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::amounts::{Grams, Quantity, Usd};
use super::budget::catalogue::{Budget, Catalogue, Enforcement, Priority};
use super::budget::measure::Measure;
use super::budget::scope::{CounterKey, Dimensions, Each};
use super::id::{BudgetId, ModelId, ProviderId};
use super::price::{PriceRow, ServiceTier, price_call};
use super::tariff::{Flags, Priced, RateBooks};
use super::usage::{Bucket, Usage};

/// Most alternatives of one answer.
pub const ALTERNATIVES_MAX: usize = 5;

/// Words in the names of models that do something else than answer text with text. One is offered only to a caller who asked
/// for a model of the same word.
const OTHER_TRADES: [&str; 16] = [
    "audio",
    "computer-use",
    "embed",
    "ft:",
    ".ft-",
    "guard",
    "image",
    "live",
    "moderation",
    "realtime",
    "rerank",
    "search",
    "transcribe",
    "tts",
    "vision",
    "whisper",
];

/// What was asked and not simply allowed.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// The call.
    pub call: &'a Dimensions,
    /// Its whole estimate.
    pub usage: Usage,
    /// The provider's service tier.
    pub service_tier: ServiceTier,
    /// How urgent.
    pub priority: Priority,
}

/// What is free of each counter that the answer shows, this call's own hold not counted.
pub type Headroom = BTreeMap<(BudgetId, CounterKey), Quantity>;

/// A model that would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// Who serves it.
    pub provider: ProviderId,
    /// With what.
    pub model: ModelId,
    /// What the same estimate costs there.
    pub usd: Usd,
    /// And emits: location-based usage plus embodied.
    pub gco2e: Grams,
}

/// The models that would do, the cheapest first; at most [`ALTERNATIVES_MAX`].
#[must_use]
pub fn alternatives(
    asked: &Asked<'_>,
    books: &RateBooks,
    catalogue: &Catalogue,
    headroom: &Headroom,
    now: DateTime<Utc>,
) -> Vec<Alternative> {
    let priced_as = |model: &ModelId| {
        let call = asked.call;
        let tariff = books.tariff(&call.provider, model, asked.service_tier, call.region.as_ref(), now);
        let priced = tariff.price(&asked.usage, 1, None).ok()?;
        let gco2e = priced.consumption.amounts.gco2e().ok()?;
        Some((priced, gco2e))
    };
    let Some((own, own_grams)) = priced_as(&asked.call.model) else { return Vec::new() };
    if no_model_fits(asked, &own, catalogue, headroom, now) {
        return Vec::new();
    }
    let own_usd = own.consumption.amounts.usd;
    let mut found = Vec::new();
    for (_, row) in candidates(asked, books, now) {
        let Some((priced, gco2e)) = priced_as(&row.model) else { continue };
        let guessed = Flags::UNPRICED.with(Flags::MODEL_FACTOR_FALLBACK);
        let same_row = priced.provenance.price == own.provenance.price;
        let usd = priced.consumption.amounts.usd;
        let better = usd < own_usd || gco2e < own_grams;
        if same_row || priced.flags.intersects(guessed) || !better {
            continue;
        }
        let call = Dimensions { model: row.model.clone(), ..asked.call.clone() };
        if fits(asked.priority, &call, &priced, catalogue, headroom, now) {
            found.push(Alternative { provider: call.provider, model: call.model, usd, gco2e });
        }
        if found.len() == ALTERNATIVES_MAX {
            break;
        }
    }
    found
}

/// The provider's models that answer text with text, with what the estimate costs there, the cheapest first.
fn candidates<'a>(asked: &Asked<'_>, books: &'a RateBooks, now: DateTime<Utc>) -> Vec<(Usd, &'a PriceRow)> {
    let call = asked.call;
    let own_name = call.model.as_str().to_ascii_lowercase();
    let other_trade = |row: &PriceRow| {
        let name = row.model.as_str().to_ascii_lowercase();
        OTHER_TRADES.iter().any(|word| name.contains(word) && !own_name.contains(word))
    };
    let mut rows: Vec<(Usd, &PriceRow)> = books
        .prices
        .models_of(&call.provider, asked.service_tier, call.region.as_ref(), now)
        .into_iter()
        .filter(|row| !row.derived.contains(&Bucket::Output) && !other_trade(row))
        .filter_map(|row| price_call(row, &asked.usage).ok().map(|priced| (priced.usd, row)))
        // What is listed as free is a promotion, or a price that nobody knows.
        .filter(|(usd, _)| *usd > Usd::ZERO)
        .collect();
    rows.sort_by(|(a_usd, a), (b_usd, b)| (a_usd, &a.model).cmp(&(b_usd, &b.model)));
    rows
}

/// Whether a budget binds that every model meets alike: one that is exhausted, or counts calls or tokens.
fn no_model_fits(
    asked: &Asked<'_>,
    own: &Priced,
    catalogue: &Catalogue,
    headroom: &Headroom,
    now: DateTime<Utc>,
) -> bool {
    let Ok(governing) = catalogue.governing(asked.call, now) else { return true };
    governing.iter().filter(|one| meets_every_model(&one.budget)).any(|one| {
        let free = available(&one.budget, &one.key, asked.priority, headroom);
        let needed = match &one.budget.measure {
            Measure::Requests | Measure::Tokens | Measure::Weighted(_) => one.budget.measure.of(&own.consumption).ok(),
            // The cheapest model may need next to nothing, but not nothing.
            Measure::Usd | Measure::Gco2e | Measure::Gco2eMarket => None,
        };
        needed.map_or(free <= Quantity::ZERO, |needed| needed > free)
    })
}

fn meets_every_model(budget: &Budget) -> bool {
    budget.enforcement == Enforcement::Hard && budget.scope.model.is_none() && budget.each != Some(Each::Model)
}

/// What a call of this priority may take of a counter: what is free, less what is kept for more urgent calls. Of a counter
/// that the answer does not show, all of it.
fn available(budget: &Budget, key: &CounterKey, priority: Priority, headroom: &Headroom) -> Quantity {
    let ceiling = budget.ceiling(priority);
    let Some(free) = headroom.get(&(budget.id.clone(), key.clone())) else { return ceiling };
    let kept = budget.limit.checked_sub(ceiling).unwrap_or_default();
    free.checked_sub(kept).unwrap_or_default()
}

fn fits(
    priority: Priority,
    call: &Dimensions,
    priced: &Priced,
    catalogue: &Catalogue,
    headroom: &Headroom,
    now: DateTime<Utc>,
) -> bool {
    let Ok(governing) = catalogue.governing(call, now) else { return false };
    governing.iter().filter(|one| one.budget.enforcement == Enforcement::Hard).all(|one| {
        let needed = one.budget.measure.of(&priced.consumption);
        needed.is_ok_and(|needed| needed <= available(&one.budget, &one.key, priority, headroom))
    })
}

#[cfg(test)]
mod tests;
