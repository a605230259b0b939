//! By which names the calls count that were written down before providers and models had one name each.
//!
//! The journal is not rewritten: such a row keeps its spelling. Which name a spelling means is decided once, when the books
//! are first opened by a release that has names, and kept; so counters stay a function of the books, whatever the price book
//! says later.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::scope::{Dimensions, Spelling};
use crate::domain::id::{ModelId, ProviderId};

/// Who serves a call: a provider and a model.
pub type Served = (ProviderId, ModelId);

/// Spellings, and the names they mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spellings {
    names: BTreeMap<Served, Served>,
}

impl Spellings {
    /// Takes what was decided: spelling → name.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = (Served, Served)>) -> Self {
        Self { names: names.into_iter().collect() }
    }

    /// A call by its names. One that is as it was said counts by what its spelling means, if that is known.
    #[must_use]
    pub fn named<'a>(&self, call: &'a Dimensions) -> Cow<'a, Dimensions> {
        if call.spelling != Spelling::AsSaid || self.names.is_empty() {
            return Cow::Borrowed(call);
        }
        match self.names.get(&(call.provider.clone(), call.model.clone())) {
            Some((provider, model)) => Cow::Owned(call.clone().renamed(provider.clone(), model.clone())),
            None => Cow::Borrowed(call),
        }
    }

    /// Every spelling, and the name it means.
    pub fn iter(&self) -> impl Iterator<Item = (&Served, &Served)> {
        self.names.iter()
    }

    /// Every spelling of a provider in the books, its name first.
    #[must_use]
    pub fn of_provider(&self, name: &ProviderId) -> Vec<ProviderId> {
        let others = self.names.iter().filter(|(_, (provider, _))| provider == name);
        let mut all: BTreeSet<&ProviderId> = others.map(|((spelling, _), _)| spelling).collect();
        all.remove(name);
        std::iter::once(name).chain(all).cloned().collect()
    }

    /// Every spelling of a model in the books, its name first; of one provider's, if one is named.
    #[must_use]
    pub fn of_model(&self, provider: Option<&ProviderId>, name: &ModelId) -> Vec<ModelId> {
        let means = |served: &Served| served.1 == *name && provider.is_none_or(|provider| served.0 == *provider);
        let mut all: BTreeSet<&ModelId> =
            self.names.iter().filter(|(_, named)| means(named)).map(|((_, spelling), _)| spelling).collect();
        all.remove(name);
        std::iter::once(name).chain(all).cloned().collect()
    }
}
