//! The names of providers and models in questions: whatever they are called there, the books know them by one name.

use super::App;
use crate::domain::id::{ModelId, ProviderId};
use crate::store::ledger::ServedAsked;
use crate::wire::{FieldError, optional};

/// What a question names, by the names of the books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NamesAsked {
    /// The provider.
    pub provider: Option<ProviderId>,
    /// The models: more than one where no provider is named and lists differ.
    pub models: Vec<ModelId>,
}

/// The only one, where there is one.
pub(super) const fn only(models: &[ModelId]) -> Option<&ModelId> {
    match models {
        [only] => Some(only),
        _ => None,
    }
}

impl App {
    /// The names of a provider and of a model that are asked for.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub(super) fn names(&self, provider: Option<&str>, model: Option<&str>) -> Result<NamesAsked, FieldError> {
        let (provider, model) = (optional::<ProviderId>("provider", provider)?, optional::<ModelId>("model", model)?);
        let rates = self.snapshots.latest().rates;
        let models = match (&provider, &model) {
            (_, None) => Vec::new(),
            (Some(provider), Some(model)) => vec![rates.prices.model_name(provider, model)],
            (None, Some(model)) => rates.prices.model_names(model).into_iter().collect(),
        };
        Ok(NamesAsked { provider: provider.map(|provider| rates.prices.provider_name(&provider)), models })
    }

    /// The same with every spelling that the journal has of them.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub(super) fn spellings(&self, provider: Option<&str>, model: Option<&str>) -> Result<ServedAsked, FieldError> {
        let names = self.names(provider, model)?;
        let spellings = self.snapshots.latest().catalogue.spellings.clone();
        let texts = |ids: Vec<String>| (!ids.is_empty()).then_some(ids);
        let providers = names.provider.iter().flat_map(|name| spellings.of_provider(name));
        let models = names.models.iter().flat_map(|name| spellings.of_model(names.provider.as_ref(), name));
        Ok(ServedAsked {
            providers: texts(providers.map(|id| id.to_string()).collect()),
            models: texts(models.map(|id| id.to_string()).collect()),
        })
    }
}
