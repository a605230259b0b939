//! One name for a provider and for a model, whatever they are called.
//!
//! | said | provider | model |
//! |---|---|---|
//! | `OpenAI`, `gpt-4o-2024-08-06` | `openai` | `gpt-4o`: what the provider's list holds it to be |
//! | `bedrock`, `us.anthropic.claude-sonnet-4-5-20250929-v1:0` | `aws` | `claude-sonnet-4-5`: what the maker's list holds it to be |
//! | `openrouter`, `openai/gpt-4o` | `openrouter` | `gpt-4o` |
//! | `acme`, `Own-Model` | `acme` | `own-model`: no list knows it |
//!
//! A name is a function of the book, and the book changes: so it is decided once, when a call enters, and kept with the
//! call. Nothing that is kept is named again.
//!
//! Invariant: a name's name is itself.

use std::collections::BTreeSet;

use super::book::PriceBook;
use super::names;
use crate::domain::id::{ModelId, ProviderId};

/// How often a name may lead to another one before it is taken as it is.
const STEPS_MAX: usize = 4;

impl PriceBook {
    /// The one name of a provider.
    #[must_use]
    pub fn provider_name(&self, provider: &ProviderId) -> ProviderId {
        let name = self.names.name_of(provider.as_str());
        if name == provider.as_str() {
            return provider.clone();
        }
        ProviderId::parse(&name).unwrap_or_else(|_| provider.clone())
    }

    /// The one name of a model that a provider serves.
    #[must_use]
    pub fn model_name(&self, provider: &ProviderId, model: &ModelId) -> ModelId {
        let provider = self.names.name_of(provider.as_str());
        let mut name = names::lower(model.as_str()).into_owned();
        for _ in 0..STEPS_MAX {
            let next = self.step(&provider, &name).0;
            if next == name {
                break;
            }
            name = next;
        }
        if name == model.as_str() { model.clone() } else { ModelId::parse(&name).unwrap_or_else(|_| model.clone()) }
    }

    /// The names of a model where it is not said who serves it: one for each list that knows it by another one.
    #[must_use]
    pub fn model_names(&self, model: &ModelId) -> BTreeSet<ModelId> {
        let lower = names::lower(model.as_str());
        let knows = |provider: &&String| self.step(provider, &lower).1;
        let known = self.shelves.keys().filter(knows).filter_map(|provider| ProviderId::parse(provider).ok());
        let mut found: BTreeSet<ModelId> = known.map(|provider| self.model_name(&provider, model)).collect();
        if found.is_empty() {
            let (maker, bare) = names::undressed(&lower, |head| self.is_provider(head));
            let name = maker.and_then(|maker| self.of_maker(maker, bare)).unwrap_or_else(|| bare.to_owned());
            found.extend(ModelId::parse(&name));
        }
        found
    }

    /// The models by which lists know a name, in lower case: of one provider's lists, if one is named.
    #[must_use]
    pub fn listed_models(&self, provider: Option<&ProviderId>, model: &ModelId) -> BTreeSet<String> {
        let lower = names::lower(model.as_str());
        let own = provider.map(|provider| self.names.name_of(provider.as_str()));
        let shelves = self.shelves.iter().filter(|(id, _)| own.as_ref().is_none_or(|own| own == *id));
        let mut found: BTreeSet<String> = shelves
            .flat_map(|(id, shelf)| {
                let listed = self.look_for(id, &lower, |name| shelf.model_of(name)).map(|history| &history.listed);
                let named = shelf.named.get(&*lower).into_iter().flatten();
                let named = named.filter_map(|index| shelf.histories.get(*index)).map(|history| &history.listed);
                listed.into_iter().chain(named).cloned().collect::<Vec<_>>()
            })
            .collect();
        found.insert(lower.into_owned());
        found
    }

    /// The beginning of the names of a family, without what a marketplace puts before it.
    #[must_use]
    pub fn family_name(&self, beginning: &str) -> String {
        let lower = beginning.to_ascii_lowercase();
        names::undressed(&lower, |head| self.is_provider(head)).1.to_owned()
    }

    /// Whether a text in lower case is a provider of the book.
    fn is_provider(&self, text: &str) -> bool {
        self.shelves.contains_key(text) || self.names.knows(text)
    }

    /// What a name, in lower case, leads to at a provider, and whether a list knows it.
    fn step(&self, provider: &str, name: &str) -> (String, bool) {
        let mut shelves = self.shelves_of(provider);
        let mut here = name;
        if shelves.is_empty() {
            (shelves, here) = self.shelves_of_gateway(name);
        }
        for (id, shelf) in shelves {
            if let Some(history) = self.look_for(id, here, |name| shelf.model_of(name)) {
                return (history.name.clone(), true);
            }
            if shelf.named.contains_key(here) {
                return (here.to_owned(), true);
            }
        }
        let (maker, bare) = names::undressed(name, |head| self.is_provider(head));
        let of_maker = maker.and_then(|maker| self.of_maker(maker, bare));
        (of_maker.unwrap_or_else(|| bare.to_owned()), false)
    }

    /// The name by which a maker's own list knows a model.
    fn of_maker(&self, maker: &str, bare: &str) -> Option<String> {
        let shelf = self.shelves.get(&self.names.name_of(maker))?;
        let shorter = names::without_version(bare);
        let found = shelf.model_of(bare).or_else(|| shorter.and_then(|name| shelf.model_of(name)))?;
        Some(found.listed.clone())
    }

    /// Gives each model of each list its name. A marketplace's list calls it by its maker's name where it says who made it.
    pub(super) fn name_histories(&mut self) {
        let mut all: Vec<(String, Vec<String>)> = Vec::new();
        for (provider, shelf) in &self.shelves {
            let name = |listed: &str| {
                let (maker, bare) = names::undressed(listed, |head| self.is_provider(head));
                match maker {
                    Some(maker) if self.names.name_of(maker) != *provider => {
                        let shorter = || names::without_version(bare).unwrap_or(bare).to_owned();
                        self.of_maker(maker, bare).unwrap_or_else(shorter)
                    }
                    Some(_) | None => listed.to_owned(),
                }
            };
            all.push((provider.clone(), shelf.histories.iter().map(|history| name(&history.listed)).collect()));
        }
        for (provider, named) in all {
            let Some(shelf) = self.shelves.get_mut(&provider) else { continue };
            for (index, name) in named.into_iter().enumerate() {
                shelf.named.entry(name.clone()).or_default().push(index);
                if let Some(history) = shelf.histories.get_mut(index) {
                    history.name = name;
                }
            }
        }
    }
}
