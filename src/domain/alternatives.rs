//! Alternatives: models of the same provider that would do where the one that was asked does not.
//!
//! An alternative is cheaper in dollars or in grams for the very same estimate, and the same pre-flight would be allowed with
//! it: the verdict itself is asked ([`decide`]), with floors, ceilings, paces, closed quotas and learned holds, on the numbers
//! of the answer. A hard budget that governs only the other model is not in the answer, so that a model it governs is not
//! offered: what is not known is not promised. It is a hint, not a grant: the caller asks again.
//!
//! A model whose price is zero is offered only if that price is one's own: what a public list has for nothing is a promotion,
//! or a price that nobody knows.
//!
//! Deliberately absent: other providers (a caller may have no contract with them), and any judgement of quality.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::amounts::{Grams, Quantity, Usd};
use super::budget::catalogue::{Budget, Catalogue, Enforcement, Governing, HoldRule, Priority};
use super::budget::counter::{Counter, Standing};
use super::budget::measure::Measure;
use super::budget::scope::{CounterKey, Dimensions, Each, Spelling};
use super::budget::verdict::{Ask, Holding, Verdict, decide};
use super::id::{BudgetId, ModelId, ProviderId};
use super::learned::lesson::Lessons;
use super::ledger::reservation::TTL_SECONDS_DEFAULT;
use super::pacing::pace::Paces;
use super::price::{PriceRow, ServiceTier, price_call};
use super::tariff::{Flags, Priced, RateBooks, Tariff};
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

/// What the same pre-flight would be decided by.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Prices and factors.
    pub books: &'a RateBooks,
    /// Tenants and budgets.
    pub catalogue: &'a Catalogue,
    /// What calls really use.
    pub lessons: &'a Lessons,
    /// How far counters may be taken by calls that can wait.
    pub paces: &'a Paces,
    /// What is free of the counters.
    pub headroom: &'a Headroom,
}

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
pub fn alternatives(asked: &Asked<'_>, known: &Known<'_>, now: DateTime<Utc>) -> Vec<Alternative> {
    let own_call = &known.books.named(asked.call);
    let priced_as = |model: &ModelId| {
        let (tier, region) = (asked.service_tier, own_call.region.as_ref());
        let tariff = known.books.tariff(own_call.said_provider(), model, tier, region, now);
        let priced = tariff.price(&asked.usage, 1, None).ok()?;
        let gco2e = priced.consumption.amounts.gco2e().ok()?;
        Some((tariff, priced, gco2e))
    };
    let Some((_, own, own_grams)) = priced_as(own_call.priced_model()) else { return Vec::new() };
    let Some(tenant) = known.catalogue.tenant(&own_call.tenant) else { return Vec::new() };
    if no_model_fits(asked, &own, known, now) {
        return Vec::new();
    }
    let own_usd = own.consumption.amounts.usd;
    let only_free = governing_is_out_of_dollars(asked, known, now);
    let mut found = Vec::new();
    for (least, row) in candidates(asked, known.books, now) {
        if only_free && least > Usd::ZERO {
            break;
        }
        let Some((tariff, priced, gco2e)) = priced_as(&row.model) else { continue };
        // What costs nothing is worth offering also where its grams are a declared fallback, as those of a model of one's own
        // mostly are.
        let usd = priced.consumption.amounts.usd;
        let vague = if usd == Usd::ZERO { Flags::NONE } else { Flags::MODEL_FACTOR_FALLBACK };
        let guessed = Flags::UNPRICED.with(vague);
        let same_row = priced.provenance.price == own.provenance.price;
        let better = usd < own_usd || gco2e < own_grams;
        let too_vague = tenant.strict && !tariff.has_factors();
        if same_row || priced.flags.intersects(guessed) || too_vague || !better {
            continue;
        }
        let (provider, model) = (own_call.said_provider().clone(), row.model.clone());
        let call = Dimensions { provider, model, spelling: Spelling::AsSaid, ..own_call.clone() };
        if is_allowed(asked, &known.books.named(&call), &tariff, known, now) {
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
        .filter(|(usd, row)| *usd > Usd::ZERO || !row.is_listed_publicly())
        .collect();
    rows.sort_by(|(a_usd, a), (b_usd, b)| (a_usd, &a.model).cmp(&(b_usd, &b.model)));
    rows
}

/// Whether a budget binds that every model meets alike: one that is exhausted, or counts calls or tokens. It only saves the
/// work of asking for each: where it says yes, [`is_allowed`] would say no to all.
fn no_model_fits(asked: &Asked<'_>, own: &Priced, known: &Known<'_>, now: DateTime<Utc>) -> bool {
    let Ok(governing) = known.catalogue.governing(&known.books.named(asked.call), now) else { return true };
    governing.iter().filter(|one| meets_every_model(&one.budget)).any(|one| {
        let Some(free) = available(one, asked, known, now) else { return true };
        let budget = &one.budget;
        let needed = match (&budget.measure, budget.reserve) {
            (Measure::Requests | Measure::Tokens | Measure::Weighted(_), HoldRule::Max) => {
                budget.measure.of(&own.consumption).ok()
            }
            // What calls to the cheapest model really use, or emit, may be next to nothing, but not nothing.
            (Measure::Requests | Measure::Tokens | Measure::Weighted(_), HoldRule::P95 | HoldRule::P99)
            | (Measure::Gco2e | Measure::Gco2eMarket, _) => None,
            // A model of one's own may cost nothing.
            (Measure::Usd, _) => Some(Quantity::ZERO),
        };
        match needed {
            Some(needed) => needed > Quantity::ZERO && needed > free,
            None => free <= Quantity::ZERO,
        }
    })
}

/// Whether a budget of dollars that every model meets alike has none left: then only what costs nothing fits.
fn governing_is_out_of_dollars(asked: &Asked<'_>, known: &Known<'_>, now: DateTime<Utc>) -> bool {
    let Ok(governing) = known.catalogue.governing(asked.call, now) else { return false };
    let of_dollars = |one: &&Governing| one.budget.measure == Measure::Usd && meets_every_model(&one.budget);
    let is_out = |one: &Governing| available(one, asked, known, now).is_some_and(|free| free <= Quantity::ZERO);
    governing.iter().filter(of_dollars).any(is_out)
}

fn meets_every_model(budget: &Budget) -> bool {
    budget.enforcement == Enforcement::Hard && budget.scope.model.is_none() && budget.each != Some(Each::Model)
}

/// What the call may take of a counter, by its priority and the pace; none where the answer does not show it.
fn available(one: &Governing, asked: &Asked<'_>, known: &Known<'_>, now: DateTime<Utc>) -> Option<Quantity> {
    let standing = standing(one, asked.call, known, now)?;
    let wall = one.budget.ceiling(asked.priority);
    let level = standing.pace.as_ref().and_then(|paced| paced.level(asked.priority, now));
    Some(standing.left_of(level.map_or(wall, |level| level.min(wall))))
}

/// How a budget stands for a call; none where it is hard and the answer does not show it.
fn standing(one: &Governing, call: &Dimensions, known: &Known<'_>, now: DateTime<Utc>) -> Option<Standing> {
    let budget = &one.budget;
    if budget.enforcement == Enforcement::Soft {
        // It refuses nobody, whatever is in it.
        return Some(Standing::new(one.clone(), Vec::new()));
    }
    let free = known.headroom.get(&(budget.id.clone(), one.key.clone()))?;
    // Posted or held makes no difference to whether a call is allowed. What was kept aside is in it as well, so that a
    // learned hold counts the noise of its limit once more: too strict, never too lax.
    let taken = Counter::default().post(budget.limit.saturating_sub(*free));
    let pace = known.paces.of(one, &call.tenant, now);
    Some(Standing { pace, ..Standing::new(one.clone(), vec![(one.period, taken)]) })
}

/// Whether the same pre-flight would be allowed with this call, as far as is known.
fn is_allowed(
    asked: &Asked<'_>,
    call: &Dimensions,
    tariff: &Tariff<'_>,
    known: &Known<'_>,
    now: DateTime<Utc>,
) -> bool {
    let Ok(governing) = known.catalogue.governing(call, now) else { return false };
    let standings: Option<Vec<Standing>> = governing.iter().map(|one| standing(one, call, known, now)).collect();
    let Some(standings) = standings else { return false };
    let ask = Ask {
        usage: asked.usage,
        min_output: asked.usage.output,
        allow_cap: false,
        priority: asked.priority,
        tariff,
        jitter: 0,
        holding: Holding::ByRule { lessons: known.lessons, call },
        is_run_stopped: known.catalogue.is_run_stopped(call),
        missing: &known.catalogue.not_counting(call, now),
        hold_seconds: TTL_SECONDS_DEFAULT,
    };
    decide(&ask, &standings, now).is_ok_and(|ruling| ruling.verdict == Verdict::Allow)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
mod tests;
