//! The price book: every known price, and the one that applies to a call.
//!
//! Immutable: built from all rows, shared by reference, replaced as a whole when a row is added.
//!
//! How a price is found, first hit wins:
//! 1. the provider as named, then the provider its alias stands for, then the providers whose lists that one uses;
//! 2. the name as given, then as [`names`] undresses it;
//! 3. the model whose canonical name it is, then one that lists it as a whole name, then the one whose pattern pins most of it;
//! 4. of that model: the region and service tier asked for, then any region; then, for a tier that costs less than the
//!    standard one (`batch`, `flex`), the standard tier, and the row found says so. For a dearer tier (`priority`, `fast`) the
//!    standard price would be too low without a word: such a call is unpriced;
//! 5. of those, in force at the instant: the newest `effective_from`, then the highest id.
//!
//! What is not found is never free: [`Fallback`] is the worst known price of the provider for this very usage.
//!
//! Cost: a provider and a whole name are two map look-ups; a pattern is a scan over the provider's patterns.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::amounts::Tokens;
use crate::domain::id::{ModelId, ProviderId, RegionId};
use crate::domain::usage::Usage;

use super::matching::ModelMatch;
use super::names::{self, ProviderNames};
use super::{PriceError, PriceRow, Priced, ServiceTier, price_calls};

/// All prices, indexed.
#[derive(Debug, Default)]
pub struct PriceBook {
    rows: Vec<Arc<PriceRow>>,
    pub(super) shelves: BTreeMap<String, Shelf>,
    pub(super) names: ProviderNames,
}

/// The prices of one provider.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) histories: Vec<History>,
    /// Whole names, in lower case → histories; the one of that canonical name first.
    exact: BTreeMap<String, Vec<usize>>,
    /// Rules that must be tried, and the history each leads to.
    patterns: Vec<(ModelMatch, usize)>,
    /// The one name of a model ([`super::naming`]) → its histories, where no name or rule of the list leads.
    pub(super) named: BTreeMap<String, Vec<usize>>,
}

/// The prices of one model of one provider, the newest first.
#[derive(Debug)]
pub(super) struct History {
    rows: Vec<Arc<PriceRow>>,
    /// The list's own name of the model, in lower case.
    pub(super) listed: String,
    /// The one name of the model.
    pub(super) name: String,
}

/// What a call is asked to be priced by, beside its provider and model.
#[derive(Debug, Clone, Copy)]
struct Terms<'a> {
    tier: ServiceTier,
    region: Option<&'a RegionId>,
    at: DateTime<Utc>,
}

/// The answer to a look-up.
#[derive(Debug)]
pub enum Found<'a> {
    /// The row that applies.
    Priced(Arc<PriceRow>),
    /// No row applies: the worst known price does, and the caller must flag or refuse the call.
    Unpriced(Fallback<'a>),
}

/// The declared fallback for a model without a price: the dearest of the prices that might be meant.
#[derive(Debug)]
pub struct Fallback<'a> {
    book: &'a PriceBook,
    /// The provider's shelves; empty when the provider is unknown, which means all of them.
    shelves: Vec<&'a Shelf>,
    terms: Terms<'a>,
}

/// The row that makes a usage dearest, and what it then costs.
#[derive(Debug, Clone)]
pub struct Dearest {
    /// The row.
    pub row: Arc<PriceRow>,
    /// What the usage costs by it.
    pub priced: Priced,
}

impl PriceBook {
    /// Indexes the rows; providers are known by their ids only.
    #[must_use]
    pub fn new(rows: Vec<PriceRow>) -> Self {
        Self::with_names(rows, ProviderNames::default())
    }

    /// Indexes the rows; providers are also known by their aliases.
    #[must_use]
    pub fn with_names(rows: Vec<PriceRow>, names: ProviderNames) -> Self {
        let mut rows: Vec<Arc<PriceRow>> = rows.into_iter().map(Arc::new).collect();
        rows.sort_by_key(|row| row.id);
        let mut grouped: BTreeMap<String, BTreeMap<String, Vec<Arc<PriceRow>>>> = BTreeMap::new();
        for row in &rows {
            // A list that was entered under an alias is the provider's own.
            let models = grouped.entry(names.name_of(row.provider.as_str())).or_default();
            models.entry(names::lower(row.model.as_str()).into_owned()).or_default().push(Arc::clone(row));
        }
        let shelves = grouped.into_iter().map(|(provider, models)| (provider, Shelf::new(models))).collect();
        let mut book = Self { rows, shelves, names };
        book.name_histories();
        book
    }

    /// Every row, by id.
    #[must_use]
    pub fn rows(&self) -> &[Arc<PriceRow>] {
        &self.rows
    }

    /// The price of a model, at an instant. See the module for what applies when several do.
    #[must_use]
    pub fn find<'a>(
        &'a self,
        provider: &ProviderId,
        model: &ModelId,
        tier: ServiceTier,
        region: Option<&'a RegionId>,
        at: DateTime<Utc>,
    ) -> Found<'a> {
        let terms = Terms { tier, region, at };
        let (provider, model) = (names::lower(provider.as_str()), names::lower(model.as_str()));
        let mut shelves = self.shelves_of(&provider);
        let mut name: &str = &model;
        if shelves.is_empty() {
            (shelves, name) = self.shelves_of_gateway(&model);
        }
        for &(id, shelf) in &shelves {
            if let Some(row) = self.find_on(id, shelf, name, terms) {
                return Found::Priced(Arc::clone(row));
            }
        }
        Found::Unpriced(Fallback { book: self, shelves: shelves.into_iter().map(|(_, shelf)| shelf).collect(), terms })
    }

    /// The price of every model of a provider's own list at an instant, one row for each model that has one.
    #[must_use]
    pub fn models_of(
        &self,
        provider: &ProviderId,
        tier: ServiceTier,
        region: Option<&RegionId>,
        at: DateTime<Utc>,
    ) -> Vec<&PriceRow> {
        let own = self.shelves_of(&names::lower(provider.as_str())).into_iter().next();
        let histories = own.into_iter().flat_map(|(_, shelf)| &shelf.histories);
        histories.filter_map(|history| history.row(Terms { tier, region, at })).map(AsRef::as_ref).collect()
    }

    /// The shelves of the provider that a gateway nobody has priced names before the model, and the model's name there.
    pub(super) fn shelves_of_gateway<'a, 'b>(&'a self, model: &'b str) -> (Vec<(&'a str, &'a Shelf)>, &'b str) {
        match model.split_once('/').map(|(head, rest)| (self.shelves_of(head), rest)) {
            Some((shelves, rest)) if !shelves.is_empty() => (shelves, rest),
            Some(_) | None => (Vec::new(), model),
        }
    }

    /// Whether any price of a provider is known, whatever it is called.
    #[must_use]
    pub fn knows_provider(&self, provider: &ProviderId) -> bool {
        !self.shelves_of(&names::lower(provider.as_str())).is_empty()
    }

    /// The shelves a provider, in lower case, is priced from, in order.
    pub(super) fn shelves_of<'a>(&'a self, provider: &str) -> Vec<(&'a str, &'a Shelf)> {
        let meant = self.names.provider_of(provider).unwrap_or(provider);
        let ids = [provider, meant].into_iter().chain(self.names.fallbacks_of(meant).iter().map(String::as_str));
        let mut shelves: Vec<(&str, &Shelf)> = Vec::new();
        for id in ids {
            if let Some((id, shelf)) = self.shelves.get_key_value(id)
                && !shelves.iter().any(|(known, _)| *known == id)
            {
                shelves.push((id.as_str(), shelf));
            }
        }
        shelves
    }

    /// Looks for a name on a shelf, as given and then undressed.
    fn find_on<'a>(&self, id: &str, shelf: &'a Shelf, name: &str, terms: Terms<'_>) -> Option<&'a Arc<PriceRow>> {
        self.look_for(id, name, |name| shelf.find(name, terms)).or_else(|| shelf.find_named(name, terms))
    }

    /// Tries a name as given and then undressed, until something is found.
    pub(super) fn look_for<T>(&self, id: &str, name: &str, bare: impl Fn(&str) -> Option<T>) -> Option<T> {
        let bare = &bare;
        let own_prefix = || {
            let (head, rest) = name.split_once('/')?;
            let names_it = head == id || self.names.provider_of(head) == Some(id);
            if names_it { Some(rest) } else { None }
        };
        bare(name)
            .or_else(|| names::unwrapped(name).and_then(bare))
            .or_else(|| own_prefix().and_then(bare))
            .or_else(|| own_prefix().and_then(names::unwrapped).and_then(bare))
            .or_else(|| names::with_dashed_date(own_prefix().unwrap_or(name)).and_then(|name| bare(&name)))
    }
}

impl Shelf {
    fn new(models: BTreeMap<String, Vec<Arc<PriceRow>>>) -> Self {
        let mut shelf = Self::default();
        for (index, (name, mut rows)) in models.into_iter().enumerate() {
            let listed = name.clone();
            // The canonical name goes before every history that merely lists it.
            shelf.exact.entry(name).or_default().insert(0, index);
            let mut seen: Vec<&ModelMatch> = Vec::new();
            for row in &rows {
                if seen.contains(&&row.matcher) {
                    continue;
                }
                seen.push(&row.matcher);
                let (whole, pattern) = row.matcher.split();
                for text in whole {
                    let histories = shelf.exact.entry(text.as_str().to_owned()).or_default();
                    if !histories.contains(&index) {
                        histories.push(index);
                    }
                }
                shelf.patterns.extend(pattern.map(|pattern| (pattern, index)));
            }
            rows.sort_by_key(|row| Reverse((row.effective_from, row.id)));
            shelf.histories.push(History { rows, name: listed.clone(), listed });
        }
        shelf
    }

    fn find(&self, name: &str, terms: Terms<'_>) -> Option<&Arc<PriceRow>> {
        let row_of = |index: &usize| self.histories.get(*index).and_then(|history| history.row(terms));
        if let Some(row) = self.exact.get(name).and_then(|histories| histories.iter().find_map(row_of)) {
            return Some(row);
        }
        self.patterns_for(name).iter().find_map(|(_, index)| row_of(index))
    }

    /// Looks for the one name of a model, which the list itself may not know.
    fn find_named(&self, name: &str, terms: Terms<'_>) -> Option<&Arc<PriceRow>> {
        let histories = self.named.get(name).into_iter().flatten();
        histories.filter_map(|index| self.histories.get(*index)).find_map(|history| history.row(terms))
    }

    /// The model that a name means, whatever the terms are.
    pub(super) fn model_of(&self, name: &str) -> Option<&History> {
        let exact = self.exact.get(name).and_then(|histories| histories.first().copied());
        let index = exact.or_else(|| self.patterns_for(name).first().map(|(_, index)| *index));
        index.and_then(|index| self.histories.get(index))
    }

    /// The histories whose rules a name meets, the one that pins most of it first.
    fn patterns_for(&self, name: &str) -> Vec<(usize, usize)> {
        let mut hits: Vec<(usize, usize)> =
            self.patterns.iter().filter_map(|(rule, index)| rule.weigh(name).map(|weight| (weight, *index))).collect();
        hits.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        hits
    }
}

impl History {
    fn row(&self, terms: Terms<'_>) -> Option<&Arc<PriceRow>> {
        let of = |tier: ServiceTier, region: Option<&RegionId>| {
            self.rows
                .iter()
                .find(|row| row.service_tier == tier && row.region.as_ref() == region && row.in_force(terms.at))
        };
        let either_region = |tier| {
            let regional = terms.region.and_then(|region| of(tier, Some(region)));
            regional.or_else(|| of(tier, None))
        };
        let own = either_region(terms.tier);
        if terms.tier.is_dearer_than_standard() { own } else { own.or_else(|| either_region(ServiceTier::Standard)) }
    }
}

impl Fallback<'_> {
    /// The worst known price of this usage. Never zero for a usage that is not empty.
    ///
    /// The prices weighed are those of the provider's models on the terms asked for; where that leaves none, its prices in
    /// force on any terms; then its prices of any time. If those make the call free, every provider's are weighed.
    ///
    /// # Errors
    /// [`PriceError::NothingKnown`] when no row of the book makes the usage cost anything;
    /// [`PriceError::TooLarge`] when the usage or its price cannot be kept.
    pub fn price(&self, usage: &Usage) -> Result<Dearest, PriceError> {
        self.price_calls(usage, 1)
    }

    /// The same for the usage of several calls added up.
    ///
    /// # Errors
    /// As [`Fallback::price`].
    pub fn price_calls(&self, usage: &Usage, requests: u32) -> Result<Dearest, PriceError> {
        let empty = usage.total()? == Tokens::ZERO;
        let acceptable = |found: &Dearest| empty || found.priced.usd.decimal() > rust_decimal::Decimal::ZERO;
        if let Some(found) = dearest(&self.candidates(), usage, requests)?.filter(acceptable) {
            return Ok(found);
        }
        let everywhere = weigh(self.book.shelves.values(), self.terms);
        dearest(&everywhere, usage, requests)?.filter(acceptable).ok_or(PriceError::NothingKnown)
    }

    /// The prices weighed first.
    #[must_use]
    pub fn candidates(&self) -> Vec<&Arc<PriceRow>> {
        if self.shelves.is_empty() {
            weigh(self.book.shelves.values(), self.terms)
        } else {
            weigh(self.shelves.iter().copied(), self.terms)
        }
    }
}

fn weigh<'a>(shelves: impl Iterator<Item = &'a Shelf> + Clone, terms: Terms<'_>) -> Vec<&'a Arc<PriceRow>> {
    let histories = shelves.flat_map(|shelf| &shelf.histories);
    let on_terms: Vec<_> = histories.clone().filter_map(|history| history.row(terms)).collect();
    if !on_terms.is_empty() {
        return on_terms;
    }
    let rows = histories.flat_map(|history| &history.rows);
    let in_force: Vec<_> = rows.clone().filter(|row| row.in_force(terms.at)).collect();
    if in_force.is_empty() { rows.collect() } else { in_force }
}

/// The dearest row; of equals the one with the lowest id, so that the answer does not depend on the order.
fn dearest(rows: &[&Arc<PriceRow>], usage: &Usage, requests: u32) -> Result<Option<Dearest>, PriceError> {
    let mut best: Option<(&Arc<PriceRow>, Priced)> = None;
    for &row in rows {
        let priced = price_calls(row, usage, requests)?;
        let better = best.is_none_or(|(known, worst)| (worst.usd, row.id) < (priced.usd, known.id));
        if better {
            best = Some((row, priced));
        }
    }
    Ok(best.map(|(row, priced)| Dearest { row: Arc::clone(row), priced }))
}
