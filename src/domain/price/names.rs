//! The names callers use for providers, and the dress gateways put on model names.
//!
//! Provider aliases are data ([`ProviderNames`]): `vertex_ai`, `gcp.gemini` and `google` are one provider with one price
//! list. The dress is a short list of rules, tried in order after the name as it is:
//!
//! | name | tried as | rule |
//! |---|---|---|
//! | `models/gemini-2.5-pro` | `gemini-2.5-pro` | path wrappers of Google and Fireworks, and ARNs, end in the name |
//! | `openai/gpt-4o` at `openai` | `gpt-4o` | the first segment names the provider itself |
//! | `openai/gpt-4o` at an unknown gateway | `gpt-4o` of `openai` | the first segment names a known provider |
//! | `gpt-5.2-20251211` | `gpt-5.2-2025-12-11` | routers write dates without dashes |
//!
//! Deliberately absent: guessing. A dated snapshot or a fine-tune that no rule of the book covers is unpriced, and does not
//! get the price of its base model.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::domain::id::ProviderId;

/// Prefixes after which only the last segment is the model's name.
const WRAPPERS: [&str; 5] = ["arn:", "models/", "projects/", "publishers/", "tunedmodels/"];

/// Where Bedrock serves a model, as it writes before the maker; and what the price list writes for either kind of place.
const PLACES: [&str; 10] = ["apac", "au", "ca", "eu", "global", "jp", "regional", "sa", "us", "us-gov"];

/// What providers are called, and whose price list applies where a provider has none of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderNames {
    aliases: BTreeMap<String, String>,
    fallbacks: BTreeMap<String, Vec<String>>,
}

impl ProviderNames {
    /// Takes the tables: alias → provider, and provider → the providers whose models it serves at their prices.
    #[must_use]
    pub fn new<'a>(
        aliases: impl IntoIterator<Item = (&'a ProviderId, &'a ProviderId)>,
        fallbacks: impl IntoIterator<Item = (&'a ProviderId, &'a [ProviderId])>,
    ) -> Self {
        let lower = |id: &ProviderId| id.as_str().to_ascii_lowercase();
        Self {
            aliases: aliases.into_iter().map(|(alias, provider)| (lower(alias), lower(provider))).collect(),
            fallbacks: fallbacks.into_iter().map(|(id, list)| (lower(id), list.iter().map(lower).collect())).collect(),
        }
    }

    /// The one name of a provider: in lower case, and what an alias stands for.
    #[must_use]
    pub fn name_of(&self, provider: &str) -> String {
        let lower = provider.to_ascii_lowercase();
        self.provider_of(&lower).map_or(lower.clone(), str::to_owned)
    }

    /// Whether a text in lower case is a provider's name, or an alias of one.
    pub(super) fn knows(&self, provider: &str) -> bool {
        self.aliases.contains_key(provider)
            || self.aliases.values().any(|known| known == provider)
            || self.fallbacks.contains_key(provider)
    }

    /// The provider an alias, in lower case, stands for.
    #[must_use]
    pub fn provider_of(&self, alias: &str) -> Option<&str> {
        self.aliases.get(alias).map(String::as_str)
    }

    /// The providers whose price lists a provider, in lower case, uses beside its own.
    pub(super) fn fallbacks_of(&self, provider: &str) -> &[String] {
        self.fallbacks.get(provider).map_or(&[], Vec::as_slice)
    }
}

/// The name in lower case, without a copy when it already is.
pub(super) fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The last segment of a name that is a path or an ARN.
pub(super) fn unwrapped(name: &str) -> Option<&str> {
    let wrapped = WRAPPERS.iter().any(|wrapper| name.starts_with(wrapper));
    if wrapped { name.rsplit_once('/').map(|(_, last)| last) } else { None }
}

/// A name without what a marketplace puts before it: the maker, if the name says one, and the maker's own name of the model.
///
/// `openai/gpt-4o` is `gpt-4o` of `openai`, `us.anthropic.claude-opus-4-1` is `claude-opus-4-1` of `anthropic`. Only a maker that
/// `knows` knows is taken off: `meta-llama/llama-3` stays whole.
pub(super) fn undressed(name: &str, knows: impl Fn(&str) -> bool) -> (Option<&str>, &str) {
    let name = unwrapped(name).unwrap_or(name);
    if let Some((head, rest)) = name.split_once('/')
        && !rest.is_empty()
        && knows(head)
    {
        let inner = undressed(rest, knows);
        return (inner.0.or(Some(head)), inner.1);
    }
    let here = name.split_once('.').filter(|(head, _)| PLACES.contains(head)).map_or(name, |(_, rest)| rest);
    match here.split_once('.') {
        Some((maker, rest)) if !rest.is_empty() && !maker.contains('/') && knows(maker) => (Some(maker), rest),
        Some(_) | None => (None, name),
    }
}

/// A name without the version that Bedrock puts behind it: `-v1:0`.
pub(super) fn without_version(name: &str) -> Option<&str> {
    let (head, version) = name.rsplit_once('-')?;
    let (major, minor) = version.strip_prefix('v').unwrap_or(version).split_once(':')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(major) && is_number(minor) && !head.is_empty()).then_some(head)
}

/// `-20251211`, at the end or before `-` or `:`, as `-2025-12-11`.
pub(super) fn with_dashed_date(name: &str) -> Option<String> {
    name.match_indices("-20").find_map(|(start, _)| {
        let (head, tail) = name.split_at_checked(start)?;
        let digits = tail.get(1..9).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        let (year, month, day) = (digits.get(..4)?, digits.get(4..6)?, digits.get(6..)?);
        let rest = tail.get(9..)?;
        let ends = rest.is_empty() || rest.starts_with('-') || rest.starts_with(':');
        let is_date = ("01"..="12").contains(&month) && ("01"..="31").contains(&day);
        (ends && is_date).then(|| format!("{head}-{year}-{month}-{day}{rest}"))
    })
}
